//! What is told, and under which lock: tests that read the trace and the trace of the locks.

use core::cell::RefCell;
use std::sync::{Arc, Mutex};

use ifnet::event::{Event, PRI_ANY, eventhandler_deregister, eventhandler_register};
use ifnet::platform::LockEvent;
use ifnet::vnet::vnet_deregister_sysuninit;
use ifnet::{
    Config, IfFlags, Kernel, if_addgroup, if_alloc, if_attach, if_clone_create, if_clone_destroy, if_delgroup,
    if_detach, if_free, if_rename, if_setflags, if_vmove_loan, if_vmove_reclaim, if_vmove_to, ifunit, vnet_alloc,
    vnet_destroy, vnet_lock,
};

use super::bed::{Host, Owner, Td, Vnet, plug, unplug};

/// Lines that were written while nobody looked.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn push(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        core::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A kernel that writes down what it tells.
fn telling() -> (Lines, Kernel<Host>) {
    let lines = Lines::default();
    let sink = lines.clone();
    let host = Host::new().with_trace(Arc::new(move |_, record| sink.push(record.to_string())));
    let kernel = Kernel::boot(host, Config::default().threads(4)).unwrap();
    (lines, kernel)
}

#[test]
fn only_a_change_takes_an_interface_up_or_down() {
    let (lines, kernel) = telling();
    let td = kernel.thread().unwrap();
    let em0 = plug(&td, "em0");
    let told = |flags: IfFlags| {
        lines.take();
        if_setflags(&td, &em0, flags).unwrap();
        let of_state = |line: &String| line.starts_with("ifnet_event ");
        lines.take().into_iter().filter(of_state).map(|line| line.split(' ').nth(1).unwrap().into()).collect()
    };
    let (down, up) = (IfFlags::empty(), IfFlags::UP);
    let all: [Vec<String>; 5] = [told(down), told(up), told(up | IfFlags::NOARP), told(down), told(IfFlags::NOARP)];
    assert_eq!(all, [vec![], vec!["UP".to_string()], vec![], vec!["DOWN".to_string()], vec![]]);
    unplug(&td, em0);
}

#[test]
fn what_departs_for_good_is_dying_by_then_and_what_moves_is_not() {
    let (lines, kernel) = telling();
    let td = kernel.thread().unwrap();
    let jail = vnet_alloc(&td).unwrap();
    let em0 = plug(&td, "em0");
    drop(if_vmove_loan(&td, "em0", &jail).unwrap());
    {
        let _cur = td.curvnet_set(Some(jail.clone()));
        if_clone_create(&td, "disc").unwrap();
    }
    lines.take();
    vnet_destroy(&td, &jail).unwrap();
    let departures = |lines: Vec<String>| -> Vec<(String, bool)> {
        let of = |line: &String| line.starts_with("ifnet_departure_event ");
        let name = |line: String| (line.split(' ').nth(1).unwrap().to_string(), line.ends_with(" DYING"));
        lines.into_iter().filter(of).map(name).collect()
    };
    // The borrowed one first; then what was made there, the newest first.
    let expected = [("em0", false), ("disc0", true), ("lo0", true)].map(|(name, dying)| (name.to_string(), dying));
    assert_eq!(departures(lines.take()), expected);
    unplug(&td, em0);
    assert_eq!(departures(lines.take()), [("em0".to_string(), true)]);
}

thread_local! {
    /// What [`takes_another_along`] detaches.
    static OTHER: RefCell<Option<Owner>> = const { RefCell::new(None) };
}

/// A driver whose second interface goes when its first one leaves.
fn takes_another_along(td: &Td<'_>, event: &Event<'_, Host>, _: usize) {
    if let Event::Departure(ifp) = event
        && *ifp.name() == *"em0"
        && let Some(other) = OTHER.take()
    {
        if_detach(td, &other);
        if_free(td, other);
    }
}

#[test]
fn what_is_detached_while_its_vnet_returns_it_is_dying_too() {
    let (lines, kernel) = telling();
    let td = kernel.thread().unwrap();
    let jail = vnet_alloc(&td).unwrap();
    let (em0, em1) = (plug(&td, "em0"), plug(&td, "em1"));
    for name in ["em0", "em1"] {
        drop(if_vmove_loan(&td, name, &jail).unwrap());
    }
    OTHER.set(Some(em1));
    let tag = eventhandler_register(&td, takes_another_along, 0, PRI_ANY).unwrap();
    lines.take();
    vnet_destroy(&td, &jail).unwrap();
    let lines = lines.take();
    let departure = lines.iter().find(|line| line.starts_with("ifnet_departure_event em1 ")).expect("detached");
    assert!(departure.ends_with(" DYING"), "{departure}");
    assert!(!lines.iter().any(|line| line.starts_with("ifnet_arrival_event em1 ")), "it has not returned");
    eventhandler_deregister(&td, tag);
    unplug(&td, em0);
    assert_eq!(kernel.interfaces(), 1);
}

#[test]
fn devctl_hears_nothing_of_the_end_of_the_default_vnet() {
    let (lines, kernel) = telling();
    {
        let td = kernel.thread().unwrap();
        if_clone_create(&td, "disc").unwrap();
        lines.take();
        if_clone_destroy(&td, "disc0").unwrap();
        assert!(lines.take().contains(&"devctl IFNET disc0 DETACH -".to_string()), "before that it does");
    }
    kernel.shutdown();
    let lines = lines.take();
    assert!(lines.iter().any(|line| line.starts_with("ifnet_departure_event lo0 ")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("devctl ")), "{lines:?}");
}

struct Stage<'t, 'k> {
    td: &'t Td<'k>,
    em0: &'t Owner,
    jail: &'t Vnet,
}

type Step = (&'static str, fn(&Stage<'_, '_>));

/// What takes the detach lock before anything else, in an order in which each is possible.
const UNDER_THE_DETACH_LOCK: &[Step] = &[
    ("if_addgroup", |s| if_addgroup(s.td, s.em0, "foo").unwrap()),
    ("if_delgroup", |s| if_delgroup(s.td, s.em0, "foo").unwrap()),
    ("if_rename", |s| if_rename(s.td, s.em0, "wan").unwrap()),
    ("if_setflags", |s| if_setflags(s.td, s.em0, IfFlags::UP).unwrap()),
    ("if_vmove_loan", |s| drop(if_vmove_loan(s.td, "wan", s.jail).unwrap())),
    ("if_vmove_reclaim", |s| drop(if_vmove_reclaim(s.td, "wan", s.jail).unwrap())),
    ("if_vmove_to", |s| if_vmove_to(s.td, s.em0, s.jail).unwrap()),
    ("if_clone_create", |s| drop(if_clone_create(s.td, "disc").unwrap())),
    ("if_clone_destroy", |s| if_clone_destroy(s.td, "disc0").unwrap()),
    ("vnet_lock", |s| drop(vnet_lock(s.td, s.jail))),
    ("vnet_deregister_sysuninit", |s| vnet_deregister_sysuninit(s.td, "disc").unwrap()),
    ("vnet_alloc and vnet_destroy", |s| {
        let vnet = vnet_alloc(s.td).unwrap();
        vnet_destroy(s.td, &vnet).unwrap();
    }),
    ("vnet_destroy", |s| vnet_destroy(s.td, s.jail).unwrap()),
    ("if_detach", |s| if_detach(s.td, s.em0)),
];

#[test]
fn the_detach_lock_is_the_first_and_held_to_the_end() {
    let lines = Lines::default();
    let sink = lines.clone();
    let note = move |_, lock: &'static str, event| match event {
        LockEvent::Acquired { exclusive } => sink.push(format!("{lock} {}", if exclusive { "x" } else { "s" })),
        LockEvent::Released => sink.push(format!("{lock} -")),
        LockEvent::Waiting => {}
    };
    let kernel: Kernel<Host> =
        Kernel::boot(Host::new().with_lock_trace(Arc::new(note)), Config::default().threads(4)).unwrap();
    let td = kernel.thread().unwrap();
    let (em0, jail) = (plug(&td, "em0"), vnet_alloc(&td).unwrap());
    let stage = Stage { td: &td, em0: &em0, jail: &jail };
    for (verb, step) in UNDER_THE_DETACH_LOCK {
        lines.take();
        step(&stage);
        let locks = lines.take();
        assert_eq!(locks.first().map(String::as_str), Some("ifnet_detach_sx x"), "{verb}: {locks:?}");
        assert_eq!(locks.last().map(String::as_str), Some("ifnet_detach_sx -"), "{verb}: {locks:?}");
    }
    // Not even these wait for somebody who detaches.
    lines.take();
    let fresh = if_alloc(&td, ifnet::IfType::Other).unwrap();
    ifnet::if_initname(&fresh, "em", Some(1)).unwrap();
    if_attach(&td, &fresh).unwrap();
    assert!(!lines.take().iter().any(|lock| lock.starts_with("ifnet_detach_sx")));
    assert!(ifunit(&td, "em1").is_some());
    if_detach(&td, &fresh);
    if_free(&td, fresh);
    if_free(&td, em0);
}
