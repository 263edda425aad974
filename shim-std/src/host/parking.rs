//! Sleep queues: where threads sleep on channels.
//!
//! A channel is hashed to one of a fixed number of buckets, as FreeBSD's `sleepqueue(9)` does. A bucket counts the
//! wakeups of its channels. A sleeper reads the count, looks at its condition without any lock of the bucket, and goes
//! to sleep only if the count is still the same: a wakeup between the look and the sleep is not lost. Two channels in
//! one bucket wake each other for nothing, which costs a look and is otherwise harmless.
//!
//! Each sleep is also limited in time, because some conditions come true without a wakeup: the end of an epoch section
//! is not announced on this host (see [`Platform::ANNOUNCES_SECTIONS`](ifnet::Platform::ANNOUNCES_SECTIONS)).

use core::time::Duration;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use ifnet::platform::Channel;

const BUCKETS: usize = 64;

/// How often a sleeper only gives its turn away before it sleeps. Epoch sections and most lock holders are done by then.
const YIELDS: u32 = 16;

/// The first sleeps last this long at most, for the sake of those who wait for an epoch.
const FIRST_PAUSE: Duration = Duration::from_micros(50);

/// Long sleepers look this often: they are most likely woken, and many of them should not keep the machine busy.
const LONGEST_PAUSE: Duration = Duration::from_millis(1);

/// How many sleeps are short before they become longer.
const SHORT_PAUSES: u32 = 20;

#[derive(Default)]
struct Bucket {
    /// Counts the wakeups; wraps.
    wakeups: Mutex<u64>,
    changed: Condvar,
}

pub(super) struct Parking {
    buckets: [Bucket; BUCKETS],
}

impl Parking {
    pub(super) fn new() -> Self {
        Self { buckets: core::array::from_fn(|_| Bucket::default()) }
    }

    fn bucket(&self, channel: Channel) -> &Bucket {
        // Multiplicative hashing: the upper bits of the product depend on all bits of the address.
        let hash = (channel.0 as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        &self.buckets[(hash >> (64 - BUCKETS.trailing_zeros())) as usize]
    }

    /// Returns once `ready` was seen to hold. `asleep` is called before the first real sleep, and what it returns is
    /// kept until the end; `interrupted` is called after every look at the condition and may unwind.
    pub(super) fn sleep<G>(
        &self,
        channel: Channel,
        ready: &mut dyn FnMut() -> bool,
        asleep: impl FnOnce() -> G,
        interrupted: impl Fn(),
    ) {
        // After the look: what made the condition true may be what the interrupter let go of.
        let mut look = || {
            let ready = ready();
            interrupted();
            ready
        };
        for _ in 0..YIELDS {
            if look() {
                return;
            }
            thread::yield_now();
        }
        let _asleep = asleep();
        let bucket = self.bucket(channel);
        let mut pause = FIRST_PAUSE;
        for round in 1_u32.. {
            let seen = *bucket.wakeups.lock().unwrap_or_else(PoisonError::into_inner);
            if look() {
                return;
            }
            if round > SHORT_PAUSES {
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            let wakeups = bucket.wakeups.lock().unwrap_or_else(PoisonError::into_inner);
            let slept = bucket.changed.wait_timeout_while(wakeups, pause, |now| *now == seen);
            // Why the sleep ended does not matter: the condition is looked at in any case.
            drop(slept.unwrap_or_else(PoisonError::into_inner));
        }
    }

    pub(super) fn wakeup(&self, channel: Channel) {
        self.bucket(channel).wakeup();
    }

    pub(super) fn wakeup_all(&self) {
        self.buckets.iter().for_each(Bucket::wakeup);
    }
}

impl Bucket {
    fn wakeup(&self) {
        let mut wakeups = self.wakeups.lock().unwrap_or_else(PoisonError::into_inner);
        *wakeups = wakeups.wrapping_add(1);
        drop(wakeups);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    #[test]
    fn ping_pong_loses_no_wakeup() {
        const ROUNDS: u32 = 2000;
        let parking = Parking::new();
        let turn = AtomicU32::new(0);
        let started = Instant::now();
        thread::scope(|scope| {
            for me in 0..2 {
                let (parking, turn) = (&parking, &turn);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let mine = 2 * round + me;
                        let mut ready = || turn.load(Ordering::Acquire) == mine;
                        parking.sleep(Channel(1), &mut ready, || (), || ());
                        turn.store(mine + 1, Ordering::Release);
                        parking.wakeup(Channel(1));
                    }
                });
            }
        });
        assert_eq!(turn.load(Ordering::Relaxed), 2 * ROUNDS);
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_condition_that_nobody_announces_is_seen() {
        let parking = Parking::new();
        let done = AtomicU32::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(20));
                done.store(1, Ordering::Release);
            });
            parking.sleep(Channel(7), &mut || done.load(Ordering::Acquire) == 1, || (), || ());
        });
    }

    #[test]
    fn a_wakeup_ends_a_sleep_early() {
        // The bucket's own sleep, with a limit that would fail the test.
        let parking = Parking::new();
        let bucket = parking.bucket(Channel(3));
        let started = Instant::now();
        thread::scope(|scope| {
            let wakeups = bucket.wakeups.lock().unwrap();
            scope.spawn(|| parking.wakeup(Channel(3)));
            let (wakeups, timeout) =
                bucket.changed.wait_timeout_while(wakeups, Duration::from_secs(60), |now| *now == 0).unwrap();
            assert_eq!((*wakeups, timeout.timed_out()), (1, false));
        });
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn ready_is_not_asked_again() {
        let parking = Parking::new();
        for after in [1, YIELDS + 3] {
            let mut looks = 0;
            let mut ready = || {
                assert!(looks < after);
                looks += 1;
                looks == after
            };
            parking.sleep(Channel(1), &mut ready, || (), || ());
            assert_eq!(looks, after);
        }
    }
}
