//! Runs executions: the bridge between a [`Strategy`] and shuttle.
//!
//! Shuttle must never see a failure. Panics are caught inside the emulated threads, and an execution that failed is
//! ended by scheduling nothing more.
//!
//! Shuttle's own runner is not used, because it makes stacks anew each time it is called, and a fuzz target calls once for
//! each execution: to map, to fault in, and to unmap them costs as much as a short execution. What the runner does beside
//! that is a loop. Here the stacks are kept for the next execution of the OS thread, whoever asks for it.

use core::cell::RefCell;
use core::panic::{AssertUnwindSafe, Location};
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shuttle::scheduler::{Schedule as ShuttleSchedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps};
use shuttle_engine::runtime::execution::Execution as ShuttleExecution;
use shuttle_engine::runtime::thread::continuation::{CONTINUATION_POOL, ContinuationPool};

use super::execution::{Execution, Next, Outcome, ThreadIndex};
use super::schedule::Schedule;
use super::strategy::{Decision, Strategy};
use super::{Failure, FailureKind, Program, hook::Quiet};

/// How to run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many executions.
    pub(super) schedules: u64,
    /// Scheduling points of one execution, after which it counts as making no progress.
    pub(super) max_steps: u64,
    /// Stack of an emulated thread.
    pub(super) stack: usize,
    /// Keep the log.
    pub(super) recording: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) schedules: u64,
    pub(super) steps: u64,
    /// Decisions of the longest execution.
    pub(super) longest: usize,
    pub(super) failure: Option<Failure>,
}

/// Runs executions until one fails, the strategy has nothing left, or the limit is reached.
pub(super) fn run(program: &Program, strategy: &mut Box<dyn Strategy>, limits: Limits) -> Batch {
    let _quiet = Quiet::new();
    let strategy_of_nothing = Box::new(super::strategy::Replay::new(Schedule::default()));
    let decider = Arc::new(Mutex::new(Decider {
        strategy: core::mem::replace(strategy, strategy_of_nothing),
        schedule: Schedule::default(),
        preemptions: 0,
    }));
    let engine = Arc::new(Mutex::new(Engine {
        decider: Arc::clone(&decider),
        limits,
        batch: Batch::default(),
        running: None,
        candidates: Vec::new(),
    }));
    let mut config = Config::new();
    config.stack_size = limits.stack;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::None;
    config.silence_warnings = true;
    let bridge = Rc::new(RefCell::new(Bridge(Arc::clone(&engine))));
    let result = catch_unwind(AssertUnwindSafe(|| {
        on_kept_stacks(limits.stack, || {
            loop {
                let Some(schedule) = bridge.borrow_mut().new_execution() else { break };
                let program = Arc::clone(program);
                let body = move || {
                    let execution = Execution::current().expect("set by new_execution");
                    execution.guard(|| {
                        if let Err(violation) = program(&execution) {
                            execution.violation(&violation.kind, violation.message);
                        }
                    });
                    execution.finish();
                };
                ShuttleExecution::new(Rc::clone(&bridge) as _, schedule).run(&config, body, Location::caller());
            }
        });
    }));
    let mut engine = lock(&engine);
    engine.end();
    if let (Err(payload), None) = (result, &engine.batch.failure) {
        // Shuttle itself gave up: only a destructor that panics, or blocks for ever, during a panic leads here.
        let message = payload.downcast_ref::<String>().map_or("the scheduler gave up", |text| text);
        let (kind, schedule) = (FailureKind::Bug, lock(&decider).schedule.clone());
        engine.batch.failure = Some(Failure { kind, message: message.into(), schedule, ..Failure::default() });
    }
    Execution::leave();
    core::mem::swap(strategy, &mut lock(&decider).strategy);
    core::mem::take(&mut engine.batch)
}

thread_local! {
    /// Stacks that no execution has, and their size.
    static STACKS: RefCell<Option<(usize, ContinuationPool)>> = const { RefCell::new(None) };
}

/// Runs executions whose threads have stacks of this size. Should that panic, the stacks are given back.
fn on_kept_stacks(size: usize, run: impl FnOnce()) {
    let kept = STACKS.take().filter(|&(of, _)| of == size);
    let pool = kept.map_or_else(ContinuationPool::new, |(_, pool)| pool);
    CONTINUATION_POOL.set(&pool, run);
    STACKS.set(Some((size, pool)));
}

/// Decides, and remembers what was decided.
pub(super) struct Decider {
    strategy: Box<dyn Strategy>,
    /// What was decided so far.
    schedule: Schedule,
    preemptions: u32,
}

impl core::fmt::Debug for Decider {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Decider").field("schedule", &self.schedule).finish_non_exhaustive()
    }
}

impl Decider {
    /// Who runs next, of at least two; `current` is named if it may go on, `yielding` says that it wants to be passed by.
    pub(super) fn decide(
        &mut self,
        candidates: &[ThreadIndex],
        current: Option<ThreadIndex>,
        yielding: bool,
    ) -> ThreadIndex {
        let thread = self.strategy.choose(Decision { candidates, current, yielding });
        // A strategy that names a thread which cannot run has lost its way; go on with one that can.
        let thread = if candidates.contains(&thread) { thread } else { candidates[0] };
        self.preemptions += u32::from(!yielding && current.is_some_and(|current| current != thread));
        self.schedule.push(thread as u32, 1);
        thread
    }

    /// How many decisions would follow to let `current` go on, after one that was to do so.
    pub(super) fn stays(&mut self, current: ThreadIndex) -> u32 {
        self.strategy.stays(current)
    }

    /// As many of them were made.
    pub(super) fn stayed(&mut self, current: ThreadIndex, count: u32) {
        self.strategy.stayed(current, count);
        self.schedule.push(current as u32, count);
    }
}

struct Engine {
    decider: Arc<Mutex<Decider>>,
    limits: Limits,
    batch: Batch,
    running: Option<Execution>,
    candidates: Vec<ThreadIndex>,
}

impl Engine {
    fn begin(&mut self) -> bool {
        self.end();
        if self.batch.failure.is_some() || self.batch.schedules >= self.limits.schedules {
            return false;
        }
        {
            let mut decider = lock(&self.decider);
            if !decider.strategy.begin() {
                return false;
            }
            decider.schedule.runs.clear();
            decider.preemptions = 0;
        }
        let execution = Execution::new(self.limits.recording, self.limits.max_steps, Arc::clone(&self.decider));
        execution.enter();
        self.running = Some(execution);
        true
    }

    fn end(&mut self) {
        let Some(execution) = self.running.take() else { return };
        let Outcome { failure, steps, log, threads } = execution.outcome();
        let mut decider = lock(&self.decider);
        let Decider { strategy, schedule, preemptions } = &mut *decider;
        strategy.end(schedule);
        self.batch.schedules += 1;
        self.batch.steps += steps;
        self.batch.longest = self.batch.longest.max(schedule.len() as usize);
        if let Some((kind, message, thread)) = failure {
            let (schedule, preemptions) = (core::mem::take(schedule), *preemptions);
            let thread = super::execution::thread_id(thread);
            self.batch.failure = Some(Failure { kind, message, thread, schedule, preemptions, steps, log, threads });
        }
    }

    fn next(&mut self, runnable: &[&Task]) -> Option<ThreadIndex> {
        let execution = self.running.as_ref()?;
        let thread = match execution.next(runnable.iter().map(|task| usize::from(task.id())), &mut self.candidates) {
            Next::Forced(thread) => thread,
            Next::Stop => return None,
            Next::Choose => lock(&self.decider).decide(&self.candidates, None, false),
        };
        execution.run_thread(thread);
        Some(thread)
    }
}

struct Bridge(Arc<Mutex<Engine>>);

impl Scheduler for Bridge {
    fn new_execution(&mut self) -> Option<ShuttleSchedule> {
        lock(&self.0).begin().then(|| ShuttleSchedule::new(0))
    }

    fn next_task(&mut self, runnable: &[&Task], _current: Option<TaskId>, _is_yielding: bool) -> Option<TaskId> {
        lock(&self.0).next(runnable).map(TaskId::from)
    }

    fn next_u64(&mut self) -> u64 {
        0
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
