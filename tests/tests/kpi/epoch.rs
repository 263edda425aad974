//! What may sleep panics inside an epoch section, before it has changed anything.

use ifnet::event::{PRI_ANY, eventhandler_deregister, eventhandler_register};
use ifnet::{
    IfFlags, IfType, bpf_open, bpfattach, bpfdetach, ether_ifattach, ether_ifdetach, if_addgroup, if_alloc, if_attach,
    if_clone_create, if_clone_destroy, if_delgroup, if_detach, if_free, if_rename, if_setflags, if_vmove_loan,
    if_vmove_reclaim, if_vmove_to, vnet_alloc, vnet_destroy,
};
use ifnet_std::alloc::CountingAlloc;

use super::bed::{Owner, Td, Vnet, alloc, boot, panic_of, plug, snapshot};

struct Stage<'t, 'k> {
    td: &'t Td<'k>,
    em0: &'t Owner,
    fresh: &'t Owner,
    jail: &'t Vnet,
}

type Sleeper = (&'static str, fn(&Stage<'_, '_>));

/// The text of the panic, and what causes it.
const SLEEPERS: &[Sleeper] = &[
    ("if_alloc: sleeping in an epoch section", |s| ignore(if_alloc(s.td, IfType::Other))),
    ("if_attach: sleeping in an epoch section", |s| ignore(if_attach(s.td, s.fresh))),
    ("if_detach: sleeping in an epoch section", |s| if_detach(s.td, s.em0)),
    ("ether_ifattach: sleeping in an epoch section", |s| ignore(ether_ifattach(s.td, s.fresh, [2; 6]))),
    ("ether_ifdetach: sleeping in an epoch section", |s| ether_ifdetach(s.td, s.em0)),
    ("if_rename: sleeping in an epoch section", |s| ignore(if_rename(s.td, s.em0, "wan"))),
    ("if_vmove_loan: sleeping in an epoch section", |s| ignore(if_vmove_loan(s.td, "em0", s.jail))),
    ("if_vmove_reclaim: sleeping in an epoch section", |s| ignore(if_vmove_reclaim(s.td, "lo0", s.jail))),
    ("if_vmove: sleeping in an epoch section", |s| ignore(if_vmove_to(s.td, s.em0, s.jail))),
    ("if_clone_create: sleeping in an epoch section", |s| ignore(if_clone_create(s.td, "disc"))),
    ("if_clone_destroy: sleeping in an epoch section", |s| ignore(if_clone_destroy(s.td, "disc0"))),
    ("if_addgroup: sleeping in an epoch section", |s| ignore(if_addgroup(s.td, s.em0, "foo"))),
    ("if_delgroup: sleeping in an epoch section", |s| ignore(if_delgroup(s.td, s.em0, "all"))),
    ("if_setflags: sleeping in an epoch section", |s| ignore(if_setflags(s.td, s.em0, IfFlags::UP))),
    ("vnet_alloc: sleeping in an epoch section", |s| ignore(vnet_alloc(s.td))),
    ("vnet_destroy: sleeping in an epoch section", |s| ignore(vnet_destroy(s.td, s.jail))),
    ("bpfattach: sleeping in an epoch section", |s| ignore(bpfattach(s.td, s.em0))),
    ("bpfdetach: sleeping in an epoch section", |s| bpfdetach(s.td, s.em0)),
    ("bpf_open: sleeping in an epoch section", |s| ignore(bpf_open(s.td, "em0"))),
    ("epoch_wait_preempt() called in the middle of an epoch section of the same epoch", |s| s.td.net_epoch_wait()),
    ("epoch_drain_callbacks: sleeping in an epoch section", |s| s.td.net_epoch_drain_callbacks()),
];

/// A panic text without the place of the caller, which those of sleepers have with debug assertions.
fn without_place(text: &str) -> &str {
    let (what, place) = text.split_once(" @ ").unwrap_or((text, ""));
    let is_told = cfg!(debug_assertions) && text.contains(": sleeping in ");
    assert_eq!(place.is_empty(), !is_told, "{text}");
    what
}

/// What the call gives is nothing: it panics.
fn ignore<T>(_: T) {}

#[test]
fn nothing_sleeps_inside_a_section() {
    for (text, sleeper) in SLEEPERS {
        let memory = CountingAlloc::new();
        let kernel = boot(&memory).unwrap();
        let td = kernel.thread().unwrap();
        let (em0, fresh, jail) = (plug(&td, "em0"), alloc(&td, "em1"), vnet_alloc(&td).unwrap());
        if_clone_create(&td, "disc").unwrap();
        let before = snapshot(&td, core::slice::from_ref(&jail));
        let section = td.net_epoch_enter();
        let stage = Stage { td: &td, em0: &em0, fresh: &fresh, jail: &jail };
        assert_eq!(without_place(&panic_of(|| sleeper(&stage))), *text);
        drop(section);
        assert_eq!(snapshot(&td, core::slice::from_ref(&jail)), before, "{text}");
        ifnet::invariants::check(&td).unwrap_or_else(|broken| panic!("{text}: {broken}"));
    }
}

#[test]
fn nothing_that_takes_its_argument_away_sleeps_inside_a_section() {
    let memory = CountingAlloc::new();
    let kernel = boot(&memory).unwrap();
    let td = kernel.thread().unwrap();
    let tag = eventhandler_register(&td, |_, _, _| {}, 0, PRI_ANY).unwrap();
    let fresh = alloc(&td, "em1");
    let section = td.net_epoch_enter();
    assert_eq!(without_place(&panic_of(|| if_free(&td, fresh))), "if_free: sleeping in an epoch section");
    let text = panic_of(|| eventhandler_deregister(&td, tag));
    assert_eq!(without_place(&text), "eventhandler_deregister: sleeping in an epoch section");
    drop(section);
    assert_eq!(kernel.interfaces(), 2, "it is still there");
}

#[test]
fn sections_nest() {
    super::bed::kernel(|td| {
        let outer = td.net_epoch_enter();
        let inner = td.net_epoch_enter();
        drop(outer);
        assert!(ifnet::ifnet_byindex(td, 1, &inner).is_some());
        drop(inner);
        td.net_epoch_wait();
    });
}
