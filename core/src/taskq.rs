//! The task queue: `taskqueue_swi`, with the two tasks that an interface has.
//!
//! An interface with pending tasks is on the queue once, through a link of its own, so that queueing needs no memory.
//! Tasks run in whatever thread asks for them: a worker of the host, or a thread that drains. A drain does not wait for
//! a worker to come: it runs the interface's tasks itself, and waits only for one that is running elsewhere.

use bitflags::bitflags;

use crate::epoch::DomainRef;
use crate::hazard::Hazard;
use crate::ifnet::{ByTaskq, Ifp};
use crate::lifecycle::{link, multi};
use crate::mem::{Shared, TailQ};
use crate::platform::{Channel, Mutex, Platform, ThreadId};
use crate::sync::atomic::Ordering;
use crate::thread::Thread;

bitflags! {
    /// The pending tasks of an interface.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Tasks: u8 {
        /// `if_linktask`.
        const LINK = 1;
        /// `if_addmultitask`.
        const ADDMULTI = 2;
    }
}

/// When queued tasks run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskMode {
    /// When a worker of the host calls [`Kernel::run_deferred`](crate::Kernel::run_deferred), or somebody drains.
    #[default]
    Deferred,
    /// Before the call that queued them returns, as on one CPU with a preemptive kernel.
    Immediate,
}

/// The interface whose tasks a thread is running.
struct Running<P: Platform> {
    thread: ThreadId,
    /// `None` for a task that is no interface's (hazard `teardown-on-own-queue`).
    ifp: Option<Ifp<P>>,
}

/// The queue. One thread runs tasks at a time, as a software interrupt thread does.
pub(crate) struct TaskQueue<P: Platform> {
    mode: TaskMode,
    queue: TailQ<crate::Ifnet<P>, P, ByTaskq>,
    running: P::Mutex<Option<Running<P>>>,
}

impl<P: Platform> TaskQueue<P> {
    pub(crate) fn new(domain: &DomainRef<P>, mode: TaskMode) -> Self {
        Self { mode, queue: TailQ::new(domain), running: P::Mutex::new(None) }
    }

    /// `taskqueue_enqueue`: marks a task of the interface as pending.
    pub(crate) fn enqueue(&self, td: &Thread<'_, P>, ifp: &Ifp<P>, task: Tasks) {
        {
            // The lock orders this with `drain`: what is refused here cannot have been seen alive there.
            let _guard = self.running.lock();
            if !link::accepts_tasks(td, ifp) {
                return;
            }
            ifp.tasks.fetch_or(task.bits(), Ordering::AcqRel);
            // On the queue already if another task is pending.
            let _ = self.queue.insert_tail(ifp);
        }
        td.platform().work_queued();
        if self.mode == TaskMode::Immediate {
            self.run(td);
        }
    }

    /// Runs pending tasks until there are none; whether there was one. Does nothing if another thread is at it.
    pub(crate) fn run(&self, td: &Thread<'_, P>) -> bool {
        let mut ran = false;
        while let Some((ifp, tasks)) = self.begin(td) {
            run_tasks(td, &ifp, tasks);
            self.end(td);
            ran = true;
        }
        ran
    }

    /// `taskqueue_drain`: returns when no task of the interface is pending or running.
    pub(crate) fn drain(&self, td: &Thread<'_, P>, ifp: &Ifp<P>) {
        td.preempt();
        // FreeBSD's waits until the queue has come to the task, also on the queue's own thread.
        let waits = td.hazard(Hazard::TeardownOnOwnQueue);
        if !waits {
            while let Some(tasks) = self.take_back(ifp) {
                run_tasks(td, ifp, tasks);
            }
        }
        let busy = || {
            let running = self.running.lock();
            let is_running = |now: &Running<P>| now.ifp.as_ref().is_some_and(|task| task.ptr_eq(ifp));
            running.as_ref().is_some_and(|now| is_running(now) && now.thread != td.id())
                || (waits && self.queue.contains(ifp))
        };
        td.platform().sleep(self.channel(), &mut || !busy());
    }

    /// Runs `task` as one of the queue's: no other runs meanwhile. `false` if one is running.
    pub(crate) fn run_as_task(&self, td: &Thread<'_, P>, task: impl FnOnce() -> bool) -> bool {
        {
            let mut running = self.running.lock();
            if running.is_some() {
                return false;
            }
            *running = Some(Running { thread: td.id(), ifp: None });
        }
        let ran = task();
        self.end(td);
        ran
    }

    /// Takes the first interface off the queue with its tasks, and marks it as running.
    fn begin(&self, td: &Thread<'_, P>) -> Option<(Ifp<P>, Tasks)> {
        let mut running = self.running.lock();
        if running.is_some() {
            return None;
        }
        let ifp = first(td, &self.queue)?;
        let tasks = self.unqueue(&ifp)?;
        *running = Some(Running { thread: td.id(), ifp: Some(ifp.clone()) });
        Some((ifp, tasks))
    }

    /// Takes this interface off the queue, whatever else is running.
    fn take_back(&self, ifp: &Ifp<P>) -> Option<Tasks> {
        let _guard = self.running.lock();
        self.unqueue(ifp)
    }

    /// Under the lock of `running`.
    fn unqueue(&self, ifp: &Ifp<P>) -> Option<Tasks> {
        self.queue.remove(ifp).then(|| Tasks::from_bits_truncate(ifp.tasks.swap(0, Ordering::AcqRel)))
    }

    fn end(&self, td: &Thread<'_, P>) {
        let done = self.running.lock().take();
        drop(done);
        td.platform().wakeup(self.channel());
    }

    fn channel(&self) -> Channel {
        Channel::of(&self.running)
    }
}

fn first<P: Platform>(td: &Thread<'_, P>, queue: &TailQ<crate::Ifnet<P>, P, ByTaskq>) -> Option<Ifp<P>> {
    let section = td.net_epoch_enter();
    queue.first(&section).and_then(crate::ifnet::IfPtr::try_share)
}

fn run_tasks<P: Platform>(td: &Thread<'_, P>, ifp: &Shared<crate::Ifnet<P>, P>, tasks: Tasks) {
    if tasks.contains(Tasks::LINK) {
        link::do_link_state_change(td, ifp);
    }
    if tasks.contains(Tasks::ADDMULTI) {
        multi::do_addmulti(td, ifp);
    }
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests {
    use super::*;
    use crate::testing::{attached, gone, kernel};
    use crate::{LinkState, if_link_state_change};

    fn pending(ifp: &Ifp<crate::testing::Host>) -> bool {
        ifp.tasks.load(Ordering::Acquire) != 0
    }

    #[test]
    fn a_task_waits_for_a_worker_unless_it_runs_at_once() {
        for mode in [TaskMode::Deferred, TaskMode::Immediate] {
            let (_, kernel) = kernel(mode);
            let td = kernel.thread().expect("room");
            let em0 = attached(&td, "em", 0);
            if_link_state_change(&td, &em0, LinkState::Up);
            assert_eq!(pending(&em0), mode == TaskMode::Deferred);
            assert_eq!(kernel.run_deferred(&td), mode == TaskMode::Deferred);
            assert!(!pending(&em0));
            gone(&td, em0);
        }
    }

    #[test]
    fn a_drain_leaves_nothing_pending_and_nothing_comes_after_detach() {
        let (_, kernel) = kernel(TaskMode::Deferred);
        let td = kernel.thread().expect("room");
        let [em0, em1] = [attached(&td, "em", 0), attached(&td, "em", 1)];
        if_link_state_change(&td, &em1, LinkState::Up);
        if_link_state_change(&td, &em0, LinkState::Up);
        kernel.taskq.drain(&td, &em0);
        assert!(!pending(&em0) && pending(&em1), "a drain is of one interface");
        crate::if_detach(&td, &em0);
        if_link_state_change(&td, &em0, LinkState::Down);
        assert!(!pending(&em0), "a dying interface gets no task");
        crate::if_free(&td, em0);
        gone(&td, em1);
        assert!(!kernel.taskq.run(&td));
    }
}
