//! Order, registration and deregistration of event handlers.

use super::*;
use crate::testing::{Host, attached, gone, kernel};
use crate::{Kernel, TaskMode};

use std::sync::Mutex as StdMutex;
use std::vec::Vec;

/// What the handlers of one test did. Each test has a log of its own, found by the cookie.
static LOGS: [StdMutex<Vec<u32>>; 3] = [const { StdMutex::new(Vec::new()) }; 3];

fn note(log: usize, what: u32) {
    LOGS[log].lock().expect("not poisoned").push(what);
}

fn take(log: usize) -> Vec<u32> {
    core::mem::take(&mut LOGS[log].lock().expect("not poisoned"))
}

fn notes_arrivals(_: &Thread<'_, Host>, event: &Event<'_, Host>, cookie: usize) {
    if let Event::Arrival(_) = event {
        note(cookie / 100, cookie as u32 % 100);
    }
}

fn arrive(kernel: &Kernel<Host>) {
    let td = kernel.thread().expect("room");
    let em0 = attached(&td, "em", 0);
    gone(&td, em0);
}

#[test]
fn handlers_run_by_priority_and_then_in_order_of_registration() {
    let (_, kernel) = kernel(TaskMode::Deferred);
    let td = kernel.thread().expect("room");
    for (cookie, priority) in [(3, PRI_ANY), (4, PRI_ANY), (5, PRI_LAST), (1, PRI_FIRST), (2, PRI_FIRST)] {
        eventhandler_register(&td, notes_arrivals, cookie, priority).expect("memory");
    }
    arrive(&kernel);
    assert_eq!(take(0), [1, 2, 3, 4, 5]);
}

#[test]
fn a_handler_that_was_deregistered_is_not_called() {
    let (_, kernel) = kernel(TaskMode::Deferred);
    let td = kernel.thread().expect("room");
    let first = eventhandler_register(&td, notes_arrivals, 101, PRI_ANY).expect("memory");
    eventhandler_register(&td, notes_arrivals, 102, PRI_ANY).expect("memory");
    arrive(&kernel);
    eventhandler_deregister(&td, first);
    arrive(&kernel);
    assert_eq!(take(1), [1, 2, 2]);
}

/// Registers another handler at its first call.
fn registers(td: &Thread<'_, Host>, event: &Event<'_, Host>, _: usize) {
    if let Event::Arrival(_) = event {
        note(2, 1);
        if LOGS[2].lock().expect("not poisoned").len() == 1 {
            eventhandler_register(td, notes_arrivals, 202, PRI_ANY).expect("memory");
        }
    }
}

#[test]
fn a_handler_can_be_registered_while_the_list_runs() {
    let (_, kernel) = kernel(TaskMode::Deferred);
    let td = kernel.thread().expect("room");
    let tag = eventhandler_register(&td, registers, 0, PRI_ANY).expect("memory");
    arrive(&kernel);
    assert_eq!(take(2), [1, 2], "the new one runs for the same event, behind");
    eventhandler_deregister(&td, tag);
    arrive(&kernel);
    assert_eq!(take(2), [2]);
}
