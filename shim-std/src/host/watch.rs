//! The watchdog's view: which threads run, which sleep, and since when.
//!
//! Under real threads a dead-lock looks like patience. It is told apart by time: when every registered thread has been
//! asleep, on a condition that stayed false, for longer than anything in the emulation takes, nobody is left to make a
//! condition true. A worker that waits for work counts as asleep as long as there is none.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ifnet::platform::ThreadId;

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Running,
    /// Sleeps since then; for the lock of that name, if it is a lock.
    Asleep(Instant, Option<&'static str>),
    /// Waits for work.
    Idle,
}

/// A registered thread that sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleeper {
    /// The thread.
    pub thread: ThreadId,
    /// The lock that it waits for, if it is a lock and not an epoch or a queue.
    pub lock: Option<&'static str>,
    /// For how long.
    pub asleep_for: Duration,
}

#[derive(Default)]
pub(super) struct Watch {
    threads: Mutex<BTreeMap<ThreadId, Doing>>,
    /// Work was queued and no worker has taken notice yet.
    pub(super) work_pending: AtomicBool,
}

impl Watch {
    fn threads(&self) -> MutexGuard<'_, BTreeMap<ThreadId, Doing>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false` when the thread is registered already.
    pub(super) fn register(&self, thread: ThreadId) -> bool {
        match self.threads().entry(thread) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(Doing::Running);
                true
            }
        }
    }

    pub(super) fn unregister(&self, thread: ThreadId) {
        self.threads().remove(&thread);
    }

    /// Notes what a registered thread does until the returned value is dropped; it runs then.
    pub(super) fn note(&self, thread: ThreadId, doing: Doing) -> Noted<'_> {
        self.threads().insert(thread, doing);
        Noted { watch: self, thread }
    }

    pub(super) fn stuck(&self, limit: Duration) -> bool {
        let threads = self.threads();
        let mut asleep = false;
        let nobody_can_act = threads.values().all(|doing| match doing {
            Doing::Running => false,
            Doing::Idle => !self.work_pending.load(Ordering::Acquire),
            Doing::Asleep(since, _) => {
                asleep = true;
                since.elapsed() >= limit
            }
        });
        asleep && nobody_can_act
    }

    pub(super) fn sleepers(&self) -> Vec<Sleeper> {
        let sleeper = |(&thread, doing): (&ThreadId, &Doing)| match *doing {
            Doing::Asleep(since, lock) => Some(Sleeper { thread, lock, asleep_for: since.elapsed() }),
            Doing::Running | Doing::Idle => None,
        };
        self.threads().iter().filter_map(sleeper).collect()
    }
}

pub(super) struct Noted<'w> {
    watch: &'w Watch,
    thread: ThreadId,
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.watch.threads().insert(self.thread, Doing::Running);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::num::NonZeroU32;

    #[test]
    fn stuck_is_everybody_asleep_long_enough() {
        let watch = Watch::default();
        let [one, two, worker] = [1, 2, 3].map(|n| ThreadId(NonZeroU32::new(n).unwrap()));
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let limit = Duration::from_secs(30);
        assert!(!watch.stuck(Duration::ZERO), "nobody is there");

        assert!(watch.register(one) && watch.register(two) && !watch.register(one));
        let _one = watch.note(one, Doing::Asleep(long_ago, Some("ifnet_sx")));
        assert!(!watch.stuck(limit), "two runs");
        let two_asleep = watch.note(two, Doing::Asleep(long_ago, None));
        assert!(watch.stuck(limit));
        assert!(!watch.stuck(Duration::from_secs(90)));
        let locks: Vec<_> = watch.sleepers().iter().map(|sleeper| (sleeper.thread, sleeper.lock)).collect();
        assert_eq!(locks, [(one, Some("ifnet_sx")), (two, None)]);

        watch.register(worker);
        assert!(!watch.stuck(limit), "the worker runs");
        let _idle = watch.note(worker, Doing::Idle);
        assert!(watch.stuck(limit));
        watch.work_pending.store(true, Ordering::Release);
        assert!(!watch.stuck(limit), "the worker is about to run");
        watch.work_pending.store(false, Ordering::Release);
        drop(two_asleep);
        assert!(!watch.stuck(limit), "two runs again");
        watch.unregister(two);
        assert!(watch.stuck(limit));
    }
}
