//! What things cost in this kernel's pool, which rounds each piece up to a power of two.

use ifnet::{
    Errno, IfType, Kernel, Thread, ether_ifattach, ether_ifdetach, if_alloc, if_free, if_initname, vnet_alloc,
};

use crate::host::{Bare, MEMORY};

/// So many of each are made, so that arrays that grow by doubling are shared by many.
const MANY: usize = 16;

/// Prints the bytes for an attached interface and for a vnet.
pub fn report(kernel: &Kernel<Bare>) {
    let td = kernel.thread().expect("room");
    let interface = interfaces(&td).expect("memory");
    let vnet = vnets(&td).expect("memory");
    say!("bytes: {interface} for an attached Ethernet interface, {vnet} for a vnet with its lo0 and its cloners");
}

fn in_use(td: &Thread<'_, Bare>) -> usize {
    while td.kernel().run_deferred(td) {}
    td.net_epoch_drain_callbacks();
    MEMORY.by_ref().pool().in_use()
}

fn interfaces(td: &Thread<'_, Bare>) -> Result<usize, Errno> {
    let before = in_use(td);
    let mut made = [const { None }; MANY];
    for (unit, place) in (0..).zip(&mut made) {
        let owner = place.insert(if_alloc(td, IfType::Ether)?);
        if_initname(owner, "em", Some(unit))?;
        ether_ifattach(td, owner, [2, 0, 0, 0, 1, unit as u8])?;
    }
    let bytes = (in_use(td) - before) / MANY;
    for owner in made.into_iter().flatten() {
        ether_ifdetach(td, &owner);
        if_free(td, owner);
    }
    Ok(bytes)
}

fn vnets(td: &Thread<'_, Bare>) -> Result<usize, Errno> {
    let before = in_use(td);
    let mut made = [const { None }; MANY];
    for place in &mut made {
        *place = Some(vnet_alloc(td)?);
    }
    let bytes = (in_use(td) - before) / MANY;
    for vnet in made.iter().flatten() {
        ifnet::vnet_destroy(td, vnet)?;
    }
    Ok(bytes)
}
