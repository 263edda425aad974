//! What an epoch promises: no callback before the sections that were open have ended, each one after, and in order.

extern crate std;

use core::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::vec::Vec;

use super::*;
use crate::mem::Shared;
use crate::testing::{Host, domain};

#[test]
fn callback_waits_for_the_section() {
    let (host, domain) = domain();
    let reader = Domain::register(&domain).expect("a record");
    let object = Shared::try_new(&domain, 7).expect("memory");
    let section = reader.enter();
    drop(object);
    assert_eq!(domain.pending(), 1);
    assert_eq!(host.queued(), 1);
    while domain.poll() {}
    assert_eq!(domain.pending(), 1, "called while a section was open");
    drop(section);
    while domain.poll() {}
    assert_eq!(domain.pending(), 0);
    drop((reader, domain));
    assert_eq!(host.arena().live(), 0);
}

#[test]
fn a_younger_section_does_not_hold_back_for_ever() {
    let (_, domain) = domain();
    let [one, two] = [0; 2].map(|_| Domain::register(&domain).expect("a record"));
    drop(Shared::try_new(&domain, ()).expect("memory"));
    let first = one.enter();
    assert!(domain.poll(), "one advance is possible");
    let second = two.enter();
    drop(first);
    while domain.poll() {}
    // Two advances have been made; the second section is of the epoch between.
    assert_eq!(domain.pending(), 0);
    drop(second);
}

#[test]
fn sections_nest() {
    let (_, domain) = domain();
    let reader = Domain::register(&domain).expect("a record");
    let outer = reader.enter();
    let inner = reader.enter();
    assert_eq!(reader.depth(), 2);
    drop(outer);
    drop(Shared::try_new(&domain, ()).expect("memory"));
    while domain.poll() {}
    assert_eq!(domain.pending(), 1, "the inner section is open");
    drop(inner);
    assert_eq!(reader.depth(), 0);
    domain.drain_callbacks(&reader);
    assert_eq!(domain.pending(), 0);
}

#[test]
#[should_panic = "epoch_wait_preempt() called in the middle of an epoch section of the same epoch"]
fn wait_inside_a_section_panics() {
    let (_, domain) = domain();
    let reader = Domain::register(&domain).expect("a record");
    let _section = reader.enter();
    domain.wait(&reader);
}

#[test]
#[should_panic = "epoch_drain_callbacks() called in the middle of an epoch section of the same epoch"]
fn drain_inside_a_section_panics() {
    let (_, domain) = domain();
    let reader = Domain::register(&domain).expect("a record");
    let _section = reader.enter();
    domain.drain_callbacks(&reader);
}

#[test]
#[cfg_attr(miri, ignore = "a panic in a destructor leaks")]
#[should_panic = "epoch_drain_callbacks() called from a callback of the same epoch"]
fn drain_inside_a_callback_of_a_drain_panics() {
    std::thread_local! {
        static READER: core::cell::OnceCell<Reader<Host>> = const { core::cell::OnceCell::new() };
    }
    fn drain() {
        READER.with(|reader| {
            let reader = reader.get().expect("set below");
            reader.domain().drain_callbacks(reader);
        });
    }
    struct Drains;
    impl Drop for Drains {
        fn drop(&mut self) {
            drain();
        }
    }
    let (_, domain) = domain();
    let reader = Domain::register(&domain).expect("a record");
    assert!(READER.with(|place| place.set(reader)).is_ok());
    drop(Shared::try_new(&domain, Drains).expect("memory"));
    drain();
}

#[test]
fn wait_inside_a_section_of_another_domain_is_fine() {
    let (_, one) = domain();
    let (_, two) = domain();
    let reader = Domain::register(&one).expect("a record");
    let _section = reader.enter();
    two.wait(&reader);
    assert_eq!((one.grace_periods(), two.grace_periods()), (0, 1));
}

#[test]
fn wait_sleeps_until_the_section_ends() {
    let (_, domain) = domain();
    let over = AtomicBool::new(false);
    let (opened, is_open) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let (domain, over) = (&domain, &over);
        scope.spawn(move || {
            let reader = Domain::register(domain).expect("a record");
            let section = reader.enter();
            opened.send(()).expect("a receiver");
            std::thread::sleep(core::time::Duration::from_millis(20));
            over.store(true, Ordering::SeqCst);
            drop(section);
        });
        let reader = Domain::register(domain).expect("a record");
        is_open.recv().expect("a sender");
        domain.wait(&reader);
        assert!(over.load(Ordering::SeqCst));
    });
}

#[test]
fn records_run_out_and_come_back() {
    let host = Host::default();
    let domain = DomainRef::try_new(host, 2).expect("memory");
    let one = Domain::register(&domain).expect("a record");
    let two = Domain::register(&domain).expect("a record");
    assert_eq!(Domain::register(&domain).err(), Some(NoReader));
    core::mem::forget(one.enter());
    drop(one);
    let three = Domain::register(&domain).expect("a record");
    // The section that was forgotten does not hold back.
    domain.wait(&three);
    drop(two);
}

#[test]
fn no_memory_for_a_domain() {
    for allowed in 0..2 {
        let host = Host::default();
        host.arena().fail_after(allowed);
        assert!(DomainRef::try_new(host.clone(), 4).is_err());
        assert_eq!(host.arena().live(), 0);
    }
}

#[test]
fn callbacks_are_called_in_order_and_may_queue_more() {
    struct Chain {
        inner: Option<Shared<Self, Host>>,
        name: u32,
        log: Arc<std::sync::Mutex<Vec<u32>>>,
    }
    impl Drop for Chain {
        fn drop(&mut self) {
            self.log.lock().expect("not poisoned").push(self.name);
            self.inner.take();
        }
    }
    let (host, domain) = domain();
    let reader = Domain::register(&domain).expect("a record");
    let log = Arc::new(std::sync::Mutex::new(Vec::new()));
    let new = |name, inner| Shared::try_new(&domain, Chain { inner, name, log: log.clone() }).expect("memory");
    let inner = new(9, None);
    drop([new(1, Some(inner)), new(2, None), new(3, None)]);
    let before = host.arena().total();
    domain.drain_callbacks(&reader);
    assert_eq!(*log.lock().expect("not poisoned"), [1, 2, 3]);
    domain.drain_callbacks(&reader);
    assert_eq!(*log.lock().expect("not poisoned"), [1, 2, 3, 9]);
    assert_eq!(host.arena().total(), before, "a teardown allocated");
    drop((reader, domain));
    assert_eq!(host.arena().live(), 0);
}

#[test]
#[cfg_attr(miri, ignore = "a panic in a destructor leaks")]
fn a_panicking_callback_loses_no_other() {
    struct Bomb(bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(!self.0, "boom");
        }
    }
    let (_, domain) = domain();
    for armed in [false, true, false] {
        drop(Shared::try_new(&domain, Bomb(armed)).expect("memory"));
    }
    let caught = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| while domain.poll() {}));
    assert!(caught.is_err());
    assert_eq!(domain.pending(), 1);
    while domain.poll() {}
    assert_eq!(domain.pending(), 0);
    // The bomb's memory is lost with it, and its handle of the domain: that is what a panic in a destructor costs.
}

#[test]
fn many_drains_at_once() {
    let (host, domain) = domain();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let reader = Domain::register(&domain).expect("a record");
                for n in 0..if cfg!(miri) { 3 } else { 300 } {
                    drop(Shared::try_new(&domain, n).expect("memory"));
                    if n % 3 == 0 {
                        domain.drain_callbacks(&reader);
                    }
                    drop(reader.enter());
                }
                domain.drain_callbacks(&reader);
            });
        }
    });
    assert_eq!(domain.pending(), 0);
    drop(domain);
    assert_eq!(host.arena().live(), 0);
}

#[test]
fn a_handle_is_equal_to_its_clones_only() {
    let ((_, one), (_, two)) = (domain(), domain());
    assert!(one.ptr_eq(&one.clone()));
    assert!(!one.ptr_eq(&two));
}

/// For Miri, which sees whether the end of the domain comes after all that was done with it elsewhere.
#[test]
fn the_last_handle_ends_the_domain_on_whatever_thread() {
    let (host, domain) = domain();
    std::thread::scope(|scope| {
        for handle in [domain.clone(), domain] {
            scope.spawn(move || assert_eq!(handle.pending(), 0));
        }
    });
    assert_eq!(host.arena().live(), 0);
}

/// For Miri: the room for a callback passes from the thread that called it to the one that queues the next.
#[test]
fn a_context_is_used_again_by_another_thread() {
    let (_, domain) = domain();
    let called = Shared::try_new(&domain, AtomicBool::new(false)).expect("memory");
    called.clone().defer(|called| called.store(true, Ordering::Relaxed));
    std::thread::scope(|scope| {
        scope.spawn(|| while domain.poll() {});
        while !called.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        called.clone().defer(|called| called.store(false, Ordering::Relaxed));
    });
    while domain.poll() {}
    assert!(!called.load(Ordering::Relaxed));
    drop(called);
    while domain.poll() {}
    assert_eq!(domain.pending(), 0);
}
