//! What an sx promises: who gets in, in which order, what it says when it is misused, and that nobody sleeps for ever.

use super::*;
use crate::platform::spin::SpinHost;
use allocator_api2::alloc::Global;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicU32, Ordering};

extern crate std;
use std::sync::Mutex as StdMutex;
use std::vec::Vec;

type Host = SpinHost<Global>;

/// A host on which threads wait politely.
fn host() -> Host {
    SpinHost::with_relax(Global, std::thread::yield_now)
}

fn id(n: u32) -> ThreadId {
    ThreadId(NonZeroU32::new(n).unwrap())
}

fn sx<P: Platform>(recursive: bool) -> Sx<P> {
    Sx::new("test_sx", LockClass::user(0, "test_sx"), recursive)
}

#[test]
fn exclusive_excludes_and_shared_shares() {
    let host = host();
    let (t1, t2) = (Td::new(id(1), &host), Td::new(id(2), &host));
    let sx = sx(false);

    let x = sx.xlock(&t1);
    assert_eq!(sx.owner(), Some(id(1)));
    assert!(sx.is_xlocked_by(&t1) && !sx.is_xlocked_by(&t2));
    assert!(sx.try_xlock(&t2).is_none() && sx.try_slock(&t2).is_none());
    drop(x);
    assert_eq!(sx.owner(), None);

    let s1 = sx.slock(&t1);
    let s2 = sx.try_slock(&t2).unwrap();
    assert!(sx.try_xlock(&t2).is_none(), "not even by a sharer");
    drop((s1, s2));
    assert!(sx.try_xlock(&t2).is_some());
}

#[test]
fn recursion_ends_with_the_last_guard() {
    let host = host();
    let (t1, t2) = (Td::new(id(1), &host), Td::new(id(2), &host));
    let sx = sx(true);
    let one = sx.xlock(&t1);
    let two = sx.xlock(&t1);
    let three = sx.try_xlock(&t1).unwrap();
    sx.assert_held(&t1, SxAssert::XLOCKED | SxAssert::RECURSED);
    // In any order.
    drop(one);
    drop(three);
    assert_eq!(sx.owner(), Some(id(1)));
    sx.assert_held(&t1, SxAssert::XLOCKED | SxAssert::NOTRECURSED);
    assert!(sx.try_slock(&t2).is_none());
    drop(two);
    assert!(sx.try_slock(&t2).is_some());
}

#[test]
fn upgrade_and_downgrade() {
    let host = host();
    let (t1, t2) = (Td::new(id(1), &host), Td::new(id(2), &host));
    let sx = sx(false);

    let s1 = sx.xlock(&t1).downgrade();
    sx.assert_held(&t1, SxAssert::SLOCKED | SxAssert::NOTRECURSED);
    let s2 = sx.slock(&t2);
    let s1 = s1.try_upgrade().expect_err("another sharer");
    drop(s2);
    let again = sx.slock(&t1);
    let s1 = s1.try_upgrade().expect_err("held twice");
    drop(again);
    let x1 = s1.try_upgrade().unwrap();
    assert_eq!(sx.owner(), Some(id(1)));
    sx.assert_held(&t1, SxAssert::XLOCKED);
    drop(x1);
    assert_eq!(t1.held_count(), 0);
    assert!(sx.try_xlock(&t2).is_some());
}

#[test]
fn try_in_a_section_is_allowed() {
    let host = host();
    let td = Td::new(id(1), &host);
    td.section_enter();
    let sx = sx(false);
    assert!(sx.try_xlock(&td).is_some());
    assert!(sx.try_slock(&td).is_some());
}

// Misuse. Each text is FreeBSD's.

#[test]
#[should_panic(expected = "_sx_xlock_hard: recursed on non-recursive sx test_sx @ core/src/sync/sx/tests.rs:")]
fn recursion_must_be_asked_for() {
    let host = host();
    let td = Td::new(id(1), &host);
    let sx = sx(false);
    assert!({
        let _x = sx.xlock(&td);
        sx.try_xlock(&td).is_none()
    });
    let _x = sx.xlock(&td);
    let _y = sx.xlock(&td);
}

#[test]
#[should_panic(expected = " while share locked from core/src/sync/sx/tests.rs:")]
fn exclusive_over_shared() {
    let host = host();
    let td = Td::new(id(1), &host);
    let sx = sx(true);
    let _s = sx.slock(&td);
    let _x = sx.xlock(&td);
}

#[test]
#[should_panic(expected = " while exclusively locked from core/src/sync/sx/tests.rs:")]
fn shared_over_exclusive() {
    let host = host();
    let td = Td::new(id(1), &host);
    let sx = sx(true);
    let _x = sx.xlock(&td);
    assert!(sx.try_slock(&td).is_none());
    let _s = sx.slock(&td);
}

#[test]
#[should_panic(expected = "test_sx: sleeping in an epoch section")]
fn xlock_in_a_section() {
    let host = host();
    let td = Td::new(id(1), &host);
    td.section_enter();
    let sx = sx(false);
    let _x = sx.xlock(&td);
}

#[test]
#[should_panic(expected = "test_sx: sleeping in an epoch section")]
fn slock_in_a_section() {
    let host = host();
    let td = Td::new(id(1), &host);
    td.section_enter();
    let sx = sx(false);
    let _s = sx.slock(&td);
}

#[test]
#[should_panic(expected = "downgrade of a recursed lock (sx) test_sx @ ")]
fn downgrade_of_a_recursed_lock() {
    let host = host();
    let td = Td::new(id(1), &host);
    let sx = sx(true);
    let _outer = sx.xlock(&td);
    let _inner = sx.xlock(&td).downgrade();
}

#[test]
#[should_panic(expected = "test_sx: thread 1 has two Tds")]
fn two_handles_of_one_thread() {
    let host = host();
    let (td, other) = (Td::new(id(1), &host), Td::new(id(1), &host));
    let sx = sx(true);
    let _x = sx.xlock(&td);
    let _y = sx.xlock(&other);
}

/// How the thread holds the lock while an assertion is tried.
#[derive(Clone, Copy, Debug)]
enum Way {
    Not,
    Shared(u32),
    Exclusive(u32),
}

#[test]
fn assertions() {
    use SxAssert as Sa;
    use Way::{Exclusive, Not, Shared};
    let table: &[(Way, Sa, Option<&str>)] = &[
        (Not, Sa::UNLOCKED, None),
        (Not, Sa::LOCKED, Some("Lock test_sx not locked @ ")),
        (Not, Sa::SLOCKED, Some("Lock test_sx not share locked @ ")),
        (Not, Sa::XLOCKED, Some("Lock test_sx not exclusively locked @ ")),
        (Not, Sa::XLOCKED | Sa::RECURSED, Some("Lock test_sx not exclusively locked @ ")),
        (Shared(1), Sa::LOCKED, None),
        (Shared(1), Sa::SLOCKED, None),
        (Shared(1), Sa::XLOCKED, Some("Lock test_sx not exclusively locked @ ")),
        (Shared(1), Sa::UNLOCKED, Some("Lock test_sx share locked @ ")),
        (Shared(2), Sa::SLOCKED | Sa::RECURSED, None),
        (Shared(2), Sa::LOCKED | Sa::NOTRECURSED, Some("Lock test_sx recursed @ ")),
        (Exclusive(1), Sa::LOCKED, None),
        (Exclusive(1), Sa::XLOCKED, None),
        (Exclusive(1), Sa::SLOCKED, Some("Lock test_sx not share locked @ ")),
        (Exclusive(1), Sa::UNLOCKED, Some("Lock test_sx exclusively locked @ ")),
        (Exclusive(1), Sa::XLOCKED | Sa::NOTRECURSED, None),
        (Exclusive(1), Sa::XLOCKED | Sa::RECURSED, Some("Lock test_sx not recursed @ ")),
        (Exclusive(2), Sa::XLOCKED | Sa::RECURSED, None),
        (Exclusive(2), Sa::XLOCKED | Sa::NOTRECURSED, Some("Lock test_sx recursed @ ")),
        (Not, Sa::XLOCKED | Sa::SLOCKED, Some("Unknown sx lock assertion: 0x6 @ ")),
        (Not, Sa::UNLOCKED | Sa::RECURSED, Some("Unknown sx lock assertion: 0x18 @ ")),
    ];
    for &(way, what, expected) in table {
        let outcome = std::panic::catch_unwind(|| {
            let host = host();
            let td = Td::new(id(1), &host);
            let sx = sx(true);
            let (mut shared, mut exclusive) = (Vec::new(), Vec::new());
            match way {
                Not => {}
                Shared(n) => shared.extend((0..n).map(|_| sx.slock(&td))),
                Exclusive(n) => exclusive.extend((0..n).map(|_| sx.xlock(&td))),
            }
            sx.assert_held(&td, what);
        });
        match (outcome, expected) {
            (Ok(()), None) => {}
            (Ok(()), Some(text)) => panic!("{way:?} {what:?}: no panic, expected {text}"),
            (Err(payload), expected) => {
                let message = payload.downcast_ref::<std::string::String>().unwrap();
                let at = std::format!("@ {}:", file!());
                assert!(
                    expected.is_some_and(|text| message.starts_with(text)) && message.contains(&at),
                    "{way:?} {what:?}: {message}, expected {expected:?}"
                );
            }
        }
    }
}

#[test]
fn nobody_is_woken_for_nothing_and_events_are_in_order() {
    #[derive(Default)]
    struct EventHost {
        log: StdMutex<Vec<(u32, LockEvent)>>,
        wakeups: AtomicU32,
    }

    impl Platform for EventHost {
        type Mutex<T: Send> = spin::mutex::SpinMutex<T>;
        type Allocator = Global;
        type Buffer = ();

        fn allocator(&self) -> Global {
            Global
        }

        fn relax(&self) {
            std::thread::yield_now();
        }

        fn wakeup(&self, _: Channel) {
            self.wakeups.fetch_add(1, Ordering::Relaxed);
        }

        fn lock_event(&self, thread: ThreadId, lock: &'static str, what: LockEvent) {
            assert_eq!(lock, "test_sx");
            self.log.lock().unwrap().push((thread.0.get(), what));
        }
    }

    const X: LockEvent = LockEvent::Acquired { exclusive: true };
    const S: LockEvent = LockEvent::Acquired { exclusive: false };
    let host = EventHost::default();
    let sx = sx(true);
    {
        let td = Td::new(id(1), &host);
        let s = sx.xlock(&td).downgrade();
        let x = s.try_upgrade().unwrap();
        drop((sx.xlock(&td), x));
    }
    assert_eq!(*host.log.lock().unwrap(), [(1, X), (1, S), (1, X), (1, LockEvent::Released)]);
    assert_eq!(host.wakeups.load(Ordering::Relaxed), 0);

    host.log.lock().unwrap().clear();
    std::thread::scope(|scope| {
        let td = Td::new(id(1), &host);
        let x = sx.xlock(&td);
        let (host, sx) = (&host, &sx);
        scope.spawn(move || drop(sx.slock(&Td::new(id(2), host))));
        while sx.state.lock().readers_waiting == 0 {
            std::thread::yield_now();
        }
        // The state says "waiting" before the event does.
        while host.log.lock().unwrap().len() < 2 {
            std::thread::yield_now();
        }
        drop(x);
    });
    let expected = [(1, X), (2, LockEvent::Waiting), (1, LockEvent::Released), (2, S), (2, LockEvent::Released)];
    assert_eq!(*host.log.lock().unwrap(), expected);
    assert_eq!(host.wakeups.load(Ordering::Relaxed), 1);
}

// Waiting, on threads.

/// Starts `name`s as threads that wait for the lock one after the other behind the lock held by the caller, releases it,
/// and returns the order in which they got in. Upper case waits exclusively, lower case shared.
fn order_of_entry(names: &'static str, newcomer: Option<char>) -> Vec<char> {
    let host = host();
    let sx = sx(false);
    let order = StdMutex::new(Vec::new());
    let readers_in = AtomicU32::new(0);
    let readers = names.chars().filter(char::is_ascii_lowercase).count() as u32;
    std::thread::scope(|scope| {
        let main = Td::new(id(1), &host);
        let x = sx.xlock(&main);
        let enter = |n: u32, name: char| {
            let (host, sx, order, readers_in) = (&host, &sx, &order, &readers_in);
            scope.spawn(move || {
                let td = Td::new(id(n), host);
                if name.is_ascii_uppercase() {
                    let _x = sx.xlock(&td);
                    order.lock().unwrap().push(name);
                } else {
                    let _s = sx.slock(&td);
                    order.lock().unwrap().push(name);
                    readers_in.fetch_add(1, Ordering::Relaxed);
                    // Readers of one phase are in together; a newcomer that were let in would not be waited for.
                    while name != 'n' && readers_in.load(Ordering::Relaxed) < readers {
                        std::thread::yield_now();
                    }
                }
            });
        };
        let waiting = || {
            let state = sx.state.lock();
            state.next_ticket.wrapping_sub(state.serving) + state.readers_waiting
        };
        for (n, name) in (2..).zip(names.chars()) {
            enter(n, name);
            while waiting() != n - 1 {
                std::thread::yield_now();
            }
        }
        let all = names.len() as u32;
        if let Some(name) = newcomer {
            // Keeps the lock shared, so that the newcomer finds a waiting writer and no owner.
            let s = x.downgrade();
            while waiting() != all - readers {
                std::thread::yield_now();
            }
            assert!(sx.try_slock(&Td::new(id(99), &host)).is_none(), "a writer waits");
            enter(50, name);
            while waiting() != all - readers + 1 {
                std::thread::yield_now();
            }
            drop(s);
        } else {
            drop(x);
        }
    });
    order.into_inner().unwrap()
}

#[test]
fn writers_are_served_in_order_of_arrival() {
    assert_eq!(order_of_entry("ABCDE", None), ['A', 'B', 'C', 'D', 'E']);
}

#[test]
fn waiting_readers_go_before_the_next_writer_together() {
    let order = order_of_entry("AbCd", None);
    let mut readers = order[..2].to_vec();
    readers.sort_unstable();
    assert_eq!((&readers[..], &order[2..]), (&['b', 'd'][..], &['A', 'C'][..]));
}

#[test]
fn new_readers_wait_behind_a_waiting_writer() {
    // After the downgrade 'b' shares the lock; 'n' comes while A waits.
    assert_eq!(order_of_entry("Ab", Some('n')), ['b', 'A', 'n']);
}

#[test]
fn mutual_exclusion_and_readers_see_no_half() {
    let host = host();
    let sx = sx(true);
    // Two plain counters that are equal whenever no writer is inside: relaxed accesses, ordered by the lock alone.
    let (left, right) = (AtomicU32::new(0), AtomicU32::new(0));
    let relaxed = Ordering::Relaxed;
    let bump = |n: &AtomicU32| n.store(n.load(relaxed) + 1, relaxed);
    let rounds = if cfg!(miri) { 20 } else { 500 };
    let upgrades = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for n in 1..=4 {
            let (host, sx, left, right, upgrades) = (&host, &sx, &left, &right, &upgrades);
            scope.spawn(move || {
                let td = Td::new(id(n), host);
                for round in 0..rounds {
                    let write = || {
                        bump(left);
                        std::thread::yield_now();
                        bump(right);
                    };
                    match (n + round) % 4 {
                        0 => {
                            let s = sx.slock(&td);
                            assert_eq!(left.load(relaxed), right.load(relaxed));
                            if let Ok(x) = s.try_upgrade() {
                                write();
                                upgrades.fetch_add(1, relaxed);
                                let _s = x.downgrade();
                                assert_eq!(left.load(relaxed), right.load(relaxed));
                            }
                        }
                        1 => {
                            let _s = sx.slock(&td);
                            assert_eq!(left.load(relaxed), right.load(relaxed));
                        }
                        _ => {
                            let _outer = sx.xlock(&td);
                            let _inner = sx.xlock(&td);
                            write();
                        }
                    }
                    assert_eq!(td.held_count(), 0);
                }
            });
        }
    });
    let writes = 4 * rounds / 2 + upgrades.load(relaxed);
    assert_eq!((left.load(relaxed), right.load(relaxed)), (writes, writes));
}

#[test]
fn of_two_upgraders_none_waits_for_the_other() {
    let host = host();
    let sx = sx(false);
    let both = std::sync::Barrier::new(2);
    let upgraded = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for n in 1..=2 {
            let (host, sx, both, upgraded) = (&host, &sx, &both, &upgraded);
            scope.spawn(move || {
                let td = Td::new(id(n), host);
                for _ in 0..50 {
                    let s = sx.slock(&td);
                    both.wait();
                    // Both share the lock here, so the first to try fails; the second may succeed after the first left.
                    match s.try_upgrade() {
                        Ok(x) => {
                            upgraded.fetch_add(1, Ordering::Relaxed);
                            drop(x);
                        }
                        Err(s) => drop(s),
                    }
                    both.wait();
                }
            });
        }
    });
    assert!(upgraded.load(Ordering::Relaxed) <= 50);
    assert!(sx.state.lock().is_free());
}

#[test]
fn a_stream_of_readers_does_not_starve_a_writer() {
    let host = host();
    let sx = sx(false);
    let written = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for n in 2..=4 {
            let (host, sx, written) = (&host, &sx, &written);
            scope.spawn(move || {
                let td = Td::new(id(n), host);
                // Each reader overlaps the next; they end only after the writer got in.
                while written.load(Ordering::Relaxed) < 20 {
                    let _s = sx.slock(&td);
                    std::thread::yield_now();
                }
            });
        }
        let td = Td::new(id(1), &host);
        for _ in 0..20 {
            let _x = sx.xlock(&td);
            written.fetch_add(1, Ordering::Relaxed);
        }
    });
}
