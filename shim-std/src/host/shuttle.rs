//! The host whose schedule is chosen: each run is one interleaving, picked by the [explorer](crate::explore).
//!
//! Shuttle provides the threads (a stack each, all on one OS thread) and calls the scheduler; [`Execution`] decides who
//! may run. A scheduling point is placed before each lock and at each `preempt` of the core, and nowhere else: what
//! happens in between touches only memory that other threads reach through a lock or after a `preempt`, so a switch there
//! would show no other behaviour. Releasing a lock is therefore no point of its own.
//!
//! Nothing spins: a thread that cannot have a lock, or sleeps on a channel, is not a candidate until somebody changes
//! that. When no thread is a candidate, the execution ends as a deadlock.
//!
//! The host is made inside the program that is explored, once for each execution: `ShuttleHost::new(execution)`.

use core::fmt;
use core::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard as StdGuard, PoisonError, TryLockError};

use ifnet::platform::{Channel, Mutex, Platform, ThreadId};
use ifnet::trace::Record;

mod arena;

pub use arena::{Arena, Usage};

use crate::explore::{Execution, What};

/// The platform of one explored execution.
#[derive(Clone, Debug)]
pub struct ShuttleHost {
    execution: Execution,
    arena: Arena,
    work: Arc<StdMutex<Work>>,
}

/// What the worker is to do.
#[derive(Debug, Default)]
struct Work {
    queued: bool,
    closed: bool,
}

impl ShuttleHost {
    /// A host for this execution, with memory of its own.
    #[must_use]
    pub fn new(execution: &Execution) -> Self {
        Self { execution: execution.clone(), arena: Arena::new(), work: Arc::default() }
    }

    /// The execution it runs in.
    #[must_use]
    pub fn execution(&self) -> &Execution {
        &self.execution
    }

    /// The memory: to see that nothing leaked, or to refuse an allocation.
    #[must_use]
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// For the worker thread: waits until work is queued and returns `true`; `false` once there is none and there will
    /// be none, after [`close_work`](Self::close_work).
    #[must_use]
    pub fn wait_for_work(&self) -> bool {
        let mut queued = false;
        self.execution.point();
        self.execution.sleep(self.work_channel(), &mut || {
            let mut work = self.work();
            queued = core::mem::take(&mut work.queued);
            queued || work.closed
        });
        queued
    }

    /// No more work will come: the worker ends when it has done what is queued.
    pub fn close_work(&self) {
        self.work().closed = true;
        self.execution.wakeup(self.work_channel());
    }

    fn work(&self) -> StdGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work_channel(&self) -> usize {
        Arc::as_ptr(&self.work).addr()
    }
}

impl Platform for ShuttleHost {
    type Mutex<T: Send> = HostMutex<T>;
    type Allocator = Arena;
    type Buffer = Vec<u8>;

    const ANNOUNCES_SECTIONS: bool = true;

    fn allocator(&self) -> Arena {
        self.arena.clone()
    }

    fn preempt(&self) {
        self.execution.point();
    }

    fn relax(&self) {
        self.execution.yield_now();
    }

    fn sleep(&self, channel: Channel, ready: &mut dyn FnMut() -> bool) {
        self.execution.sleep(channel.0, ready);
    }

    fn wakeup(&self, channel: Channel) {
        self.execution.wakeup(channel.0);
    }

    fn work_queued(&self) {
        self.work().queued = true;
        self.execution.wakeup(self.work_channel());
    }

    fn panic(&self, message: fmt::Arguments<'_>) -> ! {
        self.execution.kernel_panic(message.to_string())
    }

    fn trace(&self, _thread: ThreadId, record: &Record<'_>) {
        self.execution.log(|| What::Trace(record.to_string()));
    }
}

/// `mtx(9)` of the shuttle host: taking it is a scheduling point.
///
/// Outside an execution (in a constructor that runs before the program, say) it is an ordinary lock.
#[derive(Debug)]
pub struct HostMutex<T> {
    /// Who waits, in order of arrival. All of them are let loose by a release, and the schedule picks the next owner.
    waiters: StdMutex<Vec<ThreadId>>,
    value: StdMutex<T>,
}

/// Holds a [`HostMutex`].
#[derive(Debug)]
pub struct HostGuard<'a, T> {
    waiters: &'a StdMutex<Vec<ThreadId>>,
    /// `None` only while it is dropped.
    value: Option<StdGuard<'a, T>>,
}

impl<T: Send> Mutex<T> for HostMutex<T> {
    type Guard<'a>
        = HostGuard<'a, T>
    where
        Self: 'a;

    fn new(value: T) -> Self {
        Self { waiters: StdMutex::new(Vec::new()), value: StdMutex::new(value) }
    }

    fn lock(&self) -> HostGuard<'_, T> {
        let guard = |value| HostGuard { waiters: &self.waiters, value: Some(value) };
        let Some(execution) = Execution::current() else {
            return guard(self.value.lock().unwrap_or_else(PoisonError::into_inner));
        };
        execution.point();
        loop {
            match self.value.try_lock() {
                Ok(value) => return guard(value),
                Err(TryLockError::Poisoned(poisoned)) => return guard(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {
                    self.waiters.lock().unwrap_or_else(PoisonError::into_inner).push(execution.thread());
                    execution.block("a mutex");
                }
            }
        }
    }
}

impl<T> Deref for HostGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("present until the drop")
    }
}

impl<T> DerefMut for HostGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("present until the drop")
    }
}

impl<T> Drop for HostGuard<'_, T> {
    fn drop(&mut self) {
        self.value = None;
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiters.is_empty()
            && let Some(execution) = Execution::current()
        {
            waiters.drain(..).for_each(|thread| execution.unblock(thread));
        }
    }
}
