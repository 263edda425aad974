//! The end of a scenario: what it left is taken down, and then nothing of it may be left.

use std::sync::Arc;

use ifnet::platform::Mutex as _;
use ifnet::{
    Kernel, Thread, VnetRef, ether_ifdetach, if_clone_destroy, if_detach, if_free, if_rename, ifunit_ref, vnet_destroy,
};

use super::host::Host;
use super::world::{Attached, Outcome, World};
use super::{Failure, device, show};

/// Takes down what a scenario has left, as a shutting down system does: open files, clones, drivers, jails.
pub(crate) fn take_down<H: Host>(world: &World<H>, td: &Thread<'_, H>) {
    world.host().taking_down();
    let listeners = core::mem::take(&mut world.tables.lock().listeners);
    drop(listeners);
    let waiting = core::mem::take(&mut world.tables.lock().netisr);
    drop(waiting);
    let tuns = core::mem::take(&mut world.tables.lock().tuns);
    tuns.into_iter().for_each(|(_, tun)| tun.close(td));
    let vnets: Vec<_> = world.tables.lock().jails.iter().filter_map(|jail| jail.vnet.clone()).collect();
    vnets.into_iter().chain([world.kernel.vnet0()]).for_each(|vnet| destroy_clones(td, vnet));
    let handles = core::mem::take(&mut world.tables.lock().handles);
    for handle in handles.into_values() {
        if let Some(owner) = handle.owner {
            match handle.attached {
                Attached::No => {}
                Attached::Plain => if_detach(td, &owner),
                Attached::Ether => ether_ifdetach(td, &owner),
            }
            if_free(td, owner);
        }
        drop(handle.refs);
    }
    let devices = core::mem::take(&mut world.tables.lock().devices);
    devices.into_values().flatten().for_each(|owner| device::detach(td, owner));
    // Children were made after their parents.
    loop {
        let Some(jail) = ({ world.tables.lock().jails.pop() }) else { break };
        let Some(vnet) = jail.vnet else { continue };
        if let Err(errno) = vnet_destroy(td, &vnet) {
            world.leaked(format!("the vnet of jail {}: {errno}", jail.name));
        }
    }
}

/// Destroys what cloners have made in a vnet.
fn destroy_clones<H: Host>(td: &Thread<'_, H>, vnet: VnetRef<H>) {
    let _cur = td.curvnet_set(Some(vnet));
    // What is no clone, or `lo0`, refuses; an epair takes its other end along.
    for ifp in show::interfaces(td) {
        let found = ifunit_ref(td, &ifp.name());
        if found.is_none_or(|found| found.index() != ifp.index()) {
            // Two of one name, because one was sent home to the other. It is destroyed by a name of its own.
            let _ = if_rename(td, &ifp, &format!("left{}", ifp.index()));
        }
        let _ = if_clone_destroy(td, &ifp.name());
    }
}

/// Lets everything that was deferred happen, and looks at what is left. The worker has ended.
pub(crate) fn check<H: Host>(world: &World<H>, td: &Thread<'_, H>) {
    while world.kernel.run_deferred(td) {}
    // A vnet that was left to deferred work (`jail -R`) may have sent home what it was lent only now.
    destroy_clones(td, world.kernel.vnet0());
    while world.kernel.run_deferred(td) {}
    // Twice: what the first round frees may defer once more.
    td.net_epoch_drain_callbacks();
    td.net_epoch_drain_callbacks();
    world.check(td);
    let frames = world.frames.live();
    if frames > 0 {
        world.leaked(format!("{frames} packets that nobody has dropped"));
    }
    let left = world.kernel.interfaces();
    let held = still_held(world, td);
    if left != 1 {
        world.leaked(format!("{left} interfaces in place of lo0 alone: {held}"));
    } else if !held.is_empty() {
        world.leaked(format!("references of {held}"));
    }
}

/// The index of the host's `lo0`, the first interface that there is, whatever it is called by now.
const LO0: u32 = 1;

/// The interfaces that are left beside `lo0`, and which lines of the source hold them.
fn still_held<H: Host>(world: &World<H>, td: &Thread<'_, H>) -> String {
    let mut held = Vec::new();
    world.kernel.if_foreach_left(td, |ifp| {
        // What was given to `if_free` has an index that may be another's by now.
        if ifp.index() != LO0 || ifp.is_dying() {
            held.push(format!("{}{}", ifp.name(), ifp.held_by()));
        }
    });
    held.join("; ")
}

/// Shuts the kernel down and says what went wrong, the gravest first.
pub(crate) fn shut_down<H: Host>(world: Arc<World<H>>, memory: &H::Allocator) -> Result<(), Failure> {
    let Ok(world) = Arc::try_unwrap(world) else {
        return Err(Failure::Leak("a thread that has not ended".into()));
    };
    let (kernel, mut outcome) = world.into_parts();
    Kernel::shutdown(kernel);
    let live = H::live_bytes(memory);
    if live > 0 {
        outcome.leak.get_or_insert_with(|| format!("{live} bytes of the kernel's memory"));
    }
    let Outcome { syntax, expectations, invariant, leak } = outcome;
    if let Some(what) = invariant {
        return Err(Failure::Invariant(what));
    }
    if let Some(diagnostics) = syntax {
        return Err(Failure::Syntax(diagnostics));
    }
    if !expectations.is_empty() {
        return Err(Failure::Expectation(expectations));
    }
    leak.map_or(Ok(()), |what| Err(Failure::Leak(what)))
}
