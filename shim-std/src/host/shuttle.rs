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
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard as StdGuard, PoisonError, TryLockError};

use ifnet::platform::{Channel, FrameHeader, LockEvent, Mutex, Platform, ThreadId};
use ifnet::trace::Record;

mod arena;

pub use arena::{Arena, Usage, Watch};

use super::frame::{self, Frame};
use crate::explore::{Execution, What, point};
use crate::runner::Observer;

/// The platform of one explored execution.
#[derive(Clone, Debug)]
pub struct ShuttleHost {
    execution: Execution,
    arena: Arena,
    work: Arc<StdMutex<Work>>,
    observer: Arc<Observer>,
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
        Self { execution: execution.clone(), arena: Arena::new(), work: Arc::default(), observer: Arc::default() }
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

    /// What was seen so far.
    #[must_use]
    pub fn observer(&self) -> &Observer {
        &self.observer
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
    type Buffer = Frame;

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

    fn copy_packet(&self, packet: &Frame) -> Option<Frame> {
        packet.copy()
    }

    fn frame_header(&self, frame: &Frame) -> Option<FrameHeader> {
        frame.header()
    }

    fn vlan_encap(&self, frame: &mut Frame, tag: u16) -> bool {
        frame::encap(frame, tag)
    }

    fn vlan_decap(&self, frame: &mut Frame) -> Option<u16> {
        frame::decap(frame)
    }

    fn panic(&self, message: fmt::Arguments<'_>) -> ! {
        self.execution.kernel_panic(message.to_string())
    }

    fn trace(&self, _thread: ThreadId, record: &Record<'_>) {
        self.execution.log(|| What::Trace(record.to_string()));
        if let Some(line) = self.observer.record(record) {
            self.execution.log(|| What::Note(line));
        }
    }

    fn lock_event(&self, _thread: ThreadId, lock: &'static str, what: LockEvent) {
        self.execution.lock_event(lock, what);
    }

    fn lock_order_reversal(&self, _thread: ThreadId, report: fmt::Arguments<'_>) {
        self.execution.log(|| What::Reversal(report.to_string()));
    }
}

/// `mtx(9)` of the shuttle host: taking it is a scheduling point.
///
/// Outside an execution (in a constructor that runs before the program, say) it is an ordinary lock.
#[derive(Debug)]
pub struct HostMutex<T> {
    /// Somebody waits. All who do are let loose by a release, and the schedule picks the next owner.
    wanted: AtomicBool,
    value: StdMutex<T>,
}

/// Holds a [`HostMutex`].
#[derive(Debug)]
pub struct HostGuard<'a, T> {
    wanted: &'a AtomicBool,
    /// `None` only while it is dropped.
    value: Option<StdGuard<'a, T>>,
}

impl<T: Send> Mutex<T> for HostMutex<T> {
    type Guard<'a>
        = HostGuard<'a, T>
    where
        Self: 'a;

    fn new(value: T) -> Self {
        Self { wanted: AtomicBool::new(false), value: StdMutex::new(value) }
    }

    fn lock(&self) -> HostGuard<'_, T> {
        point();
        match self.value.try_lock() {
            Ok(value) => self.guard(value),
            Err(TryLockError::Poisoned(poisoned)) => self.guard(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => self.wait(),
        }
    }
}

impl<T: Send> HostMutex<T> {
    fn guard<'a>(&'a self, value: StdGuard<'a, T>) -> HostGuard<'a, T> {
        HostGuard { wanted: &self.wanted, value: Some(value) }
    }

    #[cold]
    fn wait(&self) -> HostGuard<'_, T> {
        let Some(execution) = Execution::current() else {
            return self.guard(self.value.lock().unwrap_or_else(PoisonError::into_inner));
        };
        loop {
            // All emulated threads share one OS thread.
            self.wanted.store(true, Ordering::Relaxed);
            execution.block_on(address(&self.wanted));
            match self.value.try_lock() {
                Ok(value) => return self.guard(value),
                Err(TryLockError::Poisoned(poisoned)) => return self.guard(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
    }
}

/// What stands for a mutex among those that threads wait for.
fn address(wanted: &AtomicBool) -> usize {
    core::ptr::from_ref(wanted).addr()
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
        if self.wanted.load(Ordering::Relaxed) {
            self.wanted.store(false, Ordering::Relaxed);
            if let Some(execution) = Execution::current() {
                execution.release(address(self.wanted));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ifnet::sync::{LockClass, Sx, Td, Witness};

    use super::*;
    use crate::explore::progress::Silent;
    use crate::explore::{Explorer, FailureKind, Program, StrategyName};
    use crate::story::text::{Style, render};
    use crate::story::{Class, Story};

    const A: LockClass = LockClass::user(0, "A");
    const B: LockClass = LockClass::user(1, "B");

    /// Two threads take the core's own sx locks, in these orders.
    fn two_sx(orders: [[usize; 2]; 2]) -> Program {
        Arc::new(move |execution| {
            let host = ShuttleHost::new(execution);
            let locks: Arc<[Sx<ShuttleHost>; 2]> = Arc::new([Sx::new("sx_a", A, false), Sx::new("sx_b", B, false)]);
            let witness = Arc::new(Witness::new());
            let threads = orders.map(|order| {
                let (host, locks, witness) = (host.clone(), Arc::clone(&locks), Arc::clone(&witness));
                execution.spawn(format!("{}{}", order[0], order[1]), move |execution| {
                    let td = Td::with_witness(execution.thread(), &host, &witness);
                    let _guards = order.map(|lock| locks[lock].xlock(&td));
                })
            });
            execution.join(&threads);
            Ok(())
        })
    }

    #[test]
    fn sx_locks_in_opposite_orders_deadlock_and_the_witness_complains() {
        let explorer = Explorer { strategies: vec![StrategyName::Dfs], ..Explorer::default() };
        let failure = explorer.run(&two_sx([[0, 1], [1, 0]]), &Silent).failure.expect("found");
        assert_eq!(failure.kind, FailureKind::Deadlock);
        assert_eq!(
            failure.message,
            "deadlock: main waits for the end of 01, 10; 01 holds sx_a and waits for sx_b; \
             10 holds sx_b and waits for sx_a"
        );
        let story = Story::of(&failure);
        let text = render(&story, Style::default());
        assert!(text.contains("held by 01") && text.contains("held by 10"), "{text}");
        assert!(story.rows.iter().any(|row| row.class == Class::Note && row.text.contains("reversal")), "{text}");
    }

    #[test]
    fn sx_locks_in_one_order_are_clean_in_every_schedule() {
        let explorer = Explorer { strategies: vec![StrategyName::Dfs], max_deviations: 99, ..Explorer::default() };
        let report = explorer.run(&two_sx([[0, 1], [0, 1]]), &Silent);
        assert_eq!(report.failure, None);
        assert!(report.strategies[0].complete, "{report:?}");
    }

    #[test]
    fn a_mutex_excludes_and_works_outside_an_execution() {
        let outside = HostMutex::new(1);
        *outside.lock() += 1;
        assert_eq!(*outside.lock(), 2);
        let program: Program = Arc::new(|execution| {
            let host = ShuttleHost::new(execution);
            let count = Arc::new(HostMutex::new(0));
            let threads = [0, 1].map(|n| {
                let (host, count) = (host.clone(), Arc::clone(&count));
                execution.spawn(n.to_string(), move |_| {
                    let mut count = count.lock();
                    let seen = *count;
                    host.preempt();
                    *count = seen + 1;
                })
            });
            execution.join(&threads);
            assert_eq!(*count.lock(), 2);
            Ok(())
        });
        let explorer = Explorer { strategies: vec![StrategyName::Dfs], max_deviations: 99, ..Explorer::default() };
        let report = explorer.run(&program, &Silent);
        assert!(report.failure.is_none() && report.strategies[0].complete, "{report:?}");
    }
}
