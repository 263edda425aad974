//! Event handlers: their order, and registration and deregistration while the list runs.

use core::cell::RefCell;

use ifnet::event::{Event, EventTag, PRI_ANY, PRI_FIRST, PRI_LAST, eventhandler_deregister, eventhandler_register};
use ifnet::{Errno, if_addgroup, if_attach, if_detach, if_free, if_rename, ifunit};

use super::bed::{Host, Td, alloc, kernel, plug, unplug};

thread_local! {
    /// The cookies of the handlers that ran, in order.
    static RAN: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    /// Registrations that handlers take away or have made.
    static TAGS: RefCell<Vec<EventTag<Host>>> = const { RefCell::new(Vec::new()) };
}

fn ran() -> Vec<usize> {
    RAN.take()
}

fn note(_: &Td<'_>, event: &Event<'_, Host>, cookie: usize) {
    if let Event::Arrival(_) = event {
        RAN.with_borrow_mut(|ran| ran.push(cookie));
    }
}

fn register(td: &Td<'_>, cookie: usize, priority: u32) -> EventTag<Host> {
    eventhandler_register(td, note, cookie, priority).unwrap()
}

#[test]
fn handlers_run_by_priority_then_in_the_order_of_registration() {
    kernel(|td| {
        let tags = [
            register(td, 1, PRI_ANY),
            register(td, 2, PRI_LAST),
            register(td, 3, PRI_FIRST),
            register(td, 4, PRI_ANY),
            register(td, 5, PRI_ANY - 1),
            register(td, 6, u32::MAX),
        ];
        let em0 = plug(td, "em0");
        assert_eq!(ran(), [3, 5, 1, 4, 2, 6]);
        for tag in tags {
            eventhandler_deregister(td, tag);
        }
        if_rename(td, &em0, "wan").unwrap();
        assert_eq!(ran(), [0_usize; 0]);
        unplug(td, em0);
    });
}

/// Takes itself away when it runs.
fn once(td: &Td<'_>, event: &Event<'_, Host>, cookie: usize) {
    note(td, event, cookie);
    if let Event::Arrival(_) = event
        && let Some(tag) = TAGS.with_borrow_mut(Vec::pop)
    {
        eventhandler_deregister(td, tag);
    }
}

#[test]
fn a_handler_may_take_itself_away() {
    kernel(|td| {
        let before = register(td, 1, PRI_ANY);
        let tag = eventhandler_register(td, once, 2, PRI_ANY).unwrap();
        let after = register(td, 3, PRI_ANY);
        TAGS.with_borrow_mut(|tags| tags.push(tag));
        let em0 = plug(td, "em0");
        assert_eq!(ran(), [1, 2, 3], "those behind it run");
        if_rename(td, &em0, "wan").unwrap();
        assert_eq!(ran(), [1, 3]);
        for tag in [before, after] {
            eventhandler_deregister(td, tag);
        }
        unplug(td, em0);
    });
}

#[test]
fn a_handler_may_take_the_next_one_away() {
    kernel(|td| {
        let first = eventhandler_register(td, once, 1, PRI_ANY).unwrap();
        let second = register(td, 2, PRI_ANY);
        let third = register(td, 3, PRI_ANY);
        TAGS.with_borrow_mut(|tags| tags.push(second));
        let em0 = plug(td, "em0");
        assert_eq!(ran(), [1, 3]);
        for tag in [first, third] {
            eventhandler_deregister(td, tag);
        }
        unplug(td, em0);
    });
}

/// Registers one that runs before it and one behind.
fn multiply(td: &Td<'_>, event: &Event<'_, Host>, cookie: usize) {
    note(td, event, cookie);
    if let Event::Arrival(_) = event
        && TAGS.with_borrow(Vec::is_empty)
    {
        let tags = [register(td, 10, PRI_FIRST), register(td, 20, PRI_LAST)];
        TAGS.with_borrow_mut(|all| all.extend(tags));
    }
}

#[test]
fn a_handler_may_register_others() {
    kernel(|td| {
        let tag = eventhandler_register(td, multiply, 1, PRI_ANY).unwrap();
        let em0 = plug(td, "em0");
        assert_eq!(ran(), [1, 20], "what stands behind runs at once");
        if_rename(td, &em0, "wan").unwrap();
        assert_eq!(ran(), [10, 1, 20]);
        eventhandler_deregister(td, tag);
        for tag in TAGS.take() {
            eventhandler_deregister(td, tag);
        }
        unplug(td, em0);
    });
}

#[test]
fn a_handler_may_work_on_interfaces() {
    kernel(|td| {
        let tag = eventhandler_register(
            td,
            |td, event, _| match event {
                Event::Arrival(ifp) if &*ifp.name() == "em0" => {
                    if_addgroup(td, ifp, "foo").unwrap();
                    // What has arrived is visible.
                    assert!(ifunit(td, "em0").is_some());
                }
                Event::Departure(ifp) if &*ifp.name() == "em0" => {
                    assert!(ifunit(td, "em0").is_none());
                    assert_eq!(if_rename(td, ifp, "zombie"), Err(Errno::ENXIO));
                    let other = plug(td, "other");
                    unplug(td, other);
                }
                _ => {}
            },
            0,
            PRI_ANY,
        );
        let em0 = plug(td, "em0");
        assert_eq!(super::bed::members(td, "foo").unwrap(), ["em0"]);
        unplug(td, em0);
        assert_eq!(super::bed::members(td, "foo"), Err(Errno::ENOENT));
        eventhandler_deregister(td, tag.unwrap());
    });
}

#[test]
fn what_an_attach_and_a_detach_tell() {
    kernel(|td| {
        let tag = eventhandler_register(
            td,
            |_, event, _| {
                let number = match event {
                    Event::GroupChange(_) => 1,
                    Event::Arrival(_) => 2,
                    Event::Attached(_) => 3,
                    Event::Down(_) => 4,
                    Event::Departure(_) => 5,
                    Event::Rename(_, old) => 60 + old.len(),
                    _ => return,
                };
                RAN.with_borrow_mut(|ran| ran.push(number));
            },
            0,
            PRI_ANY,
        )
        .unwrap();
        let em0 = alloc(td, "em0");
        assert_eq!(ran(), [0_usize; 0], "if_alloc is silent");
        if_attach(td, &em0).unwrap();
        assert_eq!(ran(), [1, 2, 3]);
        if_rename(td, &em0, "em0").unwrap();
        assert_eq!(ran(), [0_usize; 0], "the same name");
        if_rename(td, &em0, "wan0").unwrap();
        assert_eq!(ran(), [5, 2, 63]);
        if_detach(td, &em0);
        assert_eq!(ran(), [1, 4, 5]);
        if_free(td, em0);
        assert_eq!(ran(), [0_usize; 0], "if_free is silent");
        eventhandler_deregister(td, tag);
    });
}
