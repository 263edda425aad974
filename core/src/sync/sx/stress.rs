//! Many threads on one sx, on a host that never looks at a condition unless it is woken.
//!
//! The other hosts look again after a while, which would hide a wakeup that is missing. This one gives up instead.

use super::*;
use allocator_api2::alloc::Global;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

extern crate std;
use std::sync::{Condvar, Mutex as StdMutex};

/// One sleep queue for all channels; counts the wakeups.
#[derive(Default)]
struct WakeHost {
    wakeups: StdMutex<u64>,
    changed: Condvar,
}

impl Platform for WakeHost {
    type Mutex<T: Send> = spin::mutex::SpinMutex<T>;
    type Allocator = Global;
    type Buffer = ();

    fn allocator(&self) -> Global {
        Global
    }

    fn sleep(&self, _: Channel, ready: &mut dyn FnMut() -> bool) {
        loop {
            let seen = *self.wakeups.lock().unwrap();
            if ready() {
                return;
            }
            let wakeups = self.wakeups.lock().unwrap();
            let limit = Duration::from_secs(20);
            let (guard, timeout) = self.changed.wait_timeout_while(wakeups, limit, |now| *now == seen).unwrap();
            drop(guard);
            assert!(!timeout.timed_out(), "lost wakeup");
        }
    }

    fn wakeup(&self, _: Channel) {
        *self.wakeups.lock().unwrap() += 1;
        self.changed.notify_all();
    }
}

fn host() -> WakeHost {
    WakeHost::default()
}

fn id(n: u32) -> ThreadId {
    ThreadId(NonZeroU32::new(n).unwrap())
}

fn sx(recursive: bool) -> Sx<WakeHost> {
    Sx::new("test_sx", LockClass::user(0, "test_sx"), recursive)
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
