//! A kernel for a test, interfaces in it, and a picture of all that can be seen of it.

use core::fmt::Write as _;

use ifnet::mem::Shared;
use ifnet::{
    Config, Errno, IfFlags, IfName, IfType, IfnetOwner, Kernel, Thread, VnetRef, if_alloc, if_attach, if_detach,
    if_foreach, if_free, if_getgroup, if_getgroupmembers, if_initname, if_lladdr, ifnet_byindex, invariants, ip6_input,
};
use ifnet_std::alloc::CountingAlloc;
use ifnet_std::host::threads::ThreadHost;

pub(crate) type Host = ThreadHost;
pub(crate) type Td<'k> = Thread<'k, Host>;
pub(crate) type Vnet = VnetRef<Host>;
pub(crate) type Owner = IfnetOwner<Host>;
pub(crate) type Ifp = Shared<ifnet::Ifnet<Host>, Host>;

/// A kernel on the thread host with this memory.
pub(crate) fn boot(memory: &CountingAlloc) -> Result<Kernel<Host>, Errno> {
    Kernel::boot(Host::new().with_memory(memory.clone()), Config::default().threads(4))
}

/// Runs `body` in a fresh kernel. The invariants hold after it, and the kernel gives all its memory back.
pub(crate) fn kernel(body: impl FnOnce(&Td<'_>)) {
    kernel_with_memory(|td, _| body(td));
}

/// The same, with the memory in the hand of `body`.
pub(crate) fn kernel_with_memory(body: impl FnOnce(&Td<'_>, &CountingAlloc)) {
    let memory = CountingAlloc::new();
    let kernel = boot(&memory).expect("memory");
    {
        let td = kernel.thread().expect("a thread");
        body(&td, &memory);
        settle(&td);
        invariants::check(&td).expect("the invariants");
    }
    kernel.shutdown();
    assert_eq!(memory.live_blocks(), 0, "blocks are left after shutdown");
}

/// Runs deferred work to its end.
pub(crate) fn settle(td: &Td<'_>) {
    while td.kernel().run_deferred(td) {}
    td.net_epoch_drain_callbacks();
    while td.kernel().run_deferred(td) {}
}

/// A plain interface with a name, not attached.
pub(crate) fn alloc(td: &Td<'_>, name: &str) -> Owner {
    let owner = if_alloc(td, IfType::Other).expect("memory");
    if_initname(&owner, name, None).expect("a good name");
    owner.init_flags(IfFlags::MULTICAST);
    owner
}

/// A plain interface, attached to the current vnet.
pub(crate) fn plug(td: &Td<'_>, name: &str) -> Owner {
    let owner = alloc(td, name);
    if_attach(td, &owner).expect("memory");
    owner
}

/// Detaches and frees.
pub(crate) fn unplug(td: &Td<'_>, owner: Owner) {
    if_detach(td, &owner);
    if_free(td, owner);
}

/// Works in `vnet`.
pub(crate) fn within<R>(td: &Td<'_>, vnet: &Vnet, body: impl FnOnce() -> R) -> R {
    let _cur = td.curvnet_set(Some(vnet.clone()));
    body()
}

/// The names on the list of a vnet, in order.
pub(crate) fn listed(td: &Td<'_>, vnet: &Vnet) -> Vec<String> {
    let mut names = Vec::new();
    let every = within(td, vnet, || {
        if_foreach(td, |ifp| {
            names.push(ifp.name().to_string());
            Ok(())
        })
    });
    every.expect("the walk does not fail");
    names
}

/// The groups of an interface, in the order of joining.
pub(crate) fn groups(td: &Td<'_>, ifp: &Ifp) -> Vec<String> {
    let mut groups = Vec::new();
    if_getgroup(td, ifp, |group| groups.push(group.to_string()));
    groups
}

/// The members of a group of the current vnet.
pub(crate) fn members(td: &Td<'_>, group: &str) -> Result<Vec<String>, Errno> {
    let mut members = Vec::new();
    if_getgroupmembers(td, group, |member| members.push(member.to_string()))?;
    Ok(members)
}

/// Everything that can be seen of the kernel through these vnets and through the index table.
pub(crate) fn snapshot(td: &Td<'_>, vnets: &[Vnet]) -> String {
    let mut text = String::new();
    let mut line = |args: core::fmt::Arguments<'_>| writeln!(text, "{args}").expect("a string takes it");
    line(format_args!("{} interfaces", td.kernel().interfaces()));
    for vnet in core::iter::once(&td.kernel().vnet0()).chain(vnets) {
        let _cur = td.curvnet_set(Some(vnet.clone()));
        let names = listed(td, vnet);
        line(format_args!("v{} ifcnt={} shutdown={} {names:?}", vnet.id(), vnet.ifcnt(), vnet.is_shutdown()));
        ifnet::clone::if_clone_list(td, |cloner| line(format_args!("  cloner {cloner}")));
        for group in ["all", "lo", "disc", "epair", "vlan", "bridge", "lagg", "foo", "toy"] {
            line(format_args!("  group {group}: {:?}", members(td, group)));
        }
    }
    let _cur = td.curvnet_set(None);
    for index in 0..64 {
        let section = td.net_epoch_enter();
        let Some(ifp) = ifnet_byindex(td, index, &section).and_then(|ifp| ifp.try_share()) else { continue };
        drop(section);
        line(format_args!(
            "#{index}.{} {:?} of {:?}/{:?} v{} home {:?} refs {} flags {:?} mtu {} link {:?} lladdr {:?} groups {:?} \
             promisc {} input {:?}",
            ifp.idxgen(),
            ifp.name(),
            ifp.dname(),
            ifp.dunit(),
            ifp.if_vnet(td).id(),
            ifp.if_home_vnet(td).map(|home| home.id()),
            ifp.refcount(),
            ifp.flags(),
            ifp.mtu(),
            ifp.link_state(),
            if_lladdr(td, &ifp),
            groups(td, &ifp),
            ifp.pcount(),
            ip6_input(td, index).map(drop),
        ));
    }
    text
}

/// A name, for comparisons.
pub(crate) fn name(text: &str) -> IfName {
    IfName::new(text).expect("a good name")
}

/// Runs `body`, which must make the emulated kernel panic; the text of the panic.
pub(crate) fn panic_of(body: impl FnOnce()) -> String {
    let unwound = std::panic::catch_unwind(core::panic::AssertUnwindSafe(body)).expect_err("a panic");
    let panic = unwound.downcast::<ifnet_std::host::threads::KernelPanic>().expect("a panic of the emulated kernel");
    panic.message
}
