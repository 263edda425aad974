//! One execution: its threads, who may run, what each waits for, and the log of what happened.
//!
//! Shuttle gives every emulated thread a stack of its own and switches between them on one OS thread. Everything else is
//! decided here: a thread that waits for a lock is marked as blocked, the scheduler never picks a blocked thread, and a
//! moment at which no thread may run is a deadlock. So nothing ever spins, and the state of a deadlock is known exactly.
//!
//! A *scheduling point* is a call of [`Execution::point`]. Only points at which more than one thread may run are
//! decisions; a schedule is the list of these decisions and nothing else. A decision to stay is made on the spot: shuttle
//! is only told of switches, which are rare. While no second thread has been started, a point is nothing at all.
//!
//! There are thousands of points in an execution, and nearly all of them are passed. So they are [granted](grant) in bulk.
//!
//! When the emulated kernel panics or an oracle is violated, the execution *freezes*: the thread stops where it is and
//! no stack is unwound, as in a kernel that has stopped. The memory of a frozen execution is not given back.

mod grant;
mod state;
mod wait;
mod words;

use core::cell::RefCell;
use core::num::NonZeroU32;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ifnet::platform::{LockEvent, ThreadId};

use super::FailureKind;
use super::engine::Decider;
use super::log::{LogEntry, What};
use grant::{Grant, Kind};
pub(super) use state::ThreadIndex;
use state::{State, Thread};
use words::{classify, deadlock};

/// A handle to the execution that runs now. Clones are the same execution.
#[derive(Clone, Debug)]
pub struct Execution(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Whether the log is kept. It is off while exploring and on when a failure is told.
    recording: bool,
    max_steps: u64,
    /// No second thread has been started yet.
    alone: AtomicBool,
    decider: Arc<Mutex<Decider>>,
    /// A bit for each channel that somebody sleeps on; others may have the same. Nearly all wakeups wake nobody.
    channels: AtomicU64,
    state: Mutex<State>,
}

/// What the engine needs from an execution after its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) failure: Option<(FailureKind, String, ThreadIndex)>,
    pub(super) steps: u64,
    pub(super) log: Vec<LogEntry>,
    pub(super) threads: Vec<String>,
}

/// What the scheduler is to do next.
pub(super) enum Next {
    /// Run this thread: it is the only one that can run, or it was chosen before the switch.
    Forced(ThreadIndex),
    /// The current thread cannot go on: choose one of the others.
    Choose,
    /// The execution is over.
    Stop,
}

thread_local! {
    static CURRENT: RefCell<Option<Execution>> = const { RefCell::new(None) };
}

impl Execution {
    pub(super) fn new(recording: bool, max_steps: u64, decider: Arc<Mutex<Decider>>) -> Self {
        // Enough for all but a few scenarios.
        let threads = Vec::with_capacity(8);
        let mut state = State { threads, ..State::default() };
        state.add(Thread::new("main".into()));
        let alone = AtomicBool::new(true);
        let channels = AtomicU64::new(0);
        Self(Arc::new(Shared { recording, max_steps, alone, decider, channels, state: Mutex::new(state) }))
    }

    /// The execution that runs on this OS thread, if any.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    pub(super) fn enter(&self) {
        CURRENT.set(Some(self.clone()));
    }

    pub(super) fn leave() {
        CURRENT.set(None);
    }

    /// The state, to look at it or to change what no decision depends on.
    fn peek(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, to change it: points that were granted have been accounted for, and no more are.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.peek();
        let (kind, passed) = state.grant.end();
        if kind != Kind::Nothing {
            state.steps += u64::from(passed);
        }
        if kind == Kind::Decision && passed > 0 {
            self.decider().stayed(state.current, passed);
        }
        state
    }

    /// What was decided in advance no longer holds: the next point is decided anew.
    pub fn reconsider(&self) {
        drop(self.state());
    }

    /// The emulated thread that runs now: `curthread`.
    #[must_use]
    pub fn thread(&self) -> ThreadId {
        thread_id(self.peek().current)
    }

    /// Gives the running thread another name (a column of the story).
    pub fn name_thread(&self, name: &str) {
        let mut state = self.peek();
        let current = state.current;
        name.clone_into(&mut state.threads[current].name);
    }

    /// Whether [`log`](Self::log) keeps anything: it does when a failure is told, not while exploring.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.0.recording
    }

    /// Appends to the log. `what` is called only if the log is kept; it must not change what happens.
    pub fn log(&self, what: impl FnOnce() -> What) {
        if self.0.recording {
            let what = what();
            let mut state = self.state();
            let (step, thread) = (state.steps, thread_id(state.current));
            state.log.push(LogEntry { step, thread, what });
        }
    }

    /// Tells what the running thread does with a lock: for the story, and for the words of a deadlock.
    pub fn lock_event(&self, lock: &'static str, event: LockEvent) {
        {
            let mut state = self.peek();
            let current = state.current;
            let thread = &mut state.threads[current];
            match event {
                LockEvent::Waiting => thread.waits_lock = Some(lock),
                LockEvent::Acquired { exclusive } => {
                    thread.waits_lock = None;
                    // An upgrade or a downgrade changes how it is held; otherwise it is another lock of that name.
                    match thread.holds.iter_mut().find(|held| **held == (lock, !exclusive)) {
                        Some(held) => held.1 = exclusive,
                        None => thread.holds.push((lock, exclusive)),
                    }
                }
                LockEvent::Released => {
                    if let Some(at) = thread.holds.iter().rposition(|&(held, _)| held == lock) {
                        thread.holds.remove(at);
                    }
                }
            }
        }
        self.log(|| What::Lock { lock: lock.into(), event });
    }

    /// Starts an emulated thread. No scheduling point: what runs next is decided at the next one.
    pub fn spawn(&self, name: impl Into<String>, body: impl FnOnce(&Self) + Send + 'static) -> ThreadId {
        // All emulated threads share one OS thread.
        self.0.alone.store(false, Ordering::Relaxed);
        self.state().quiet = true;
        let execution = self.clone();
        let handle = shuttle::thread::spawn(move || {
            execution.guard(|| body(&execution));
            execution.finish_thread();
        });
        let index = usize::from(handle.thread().id());
        let mut state = self.state();
        state.quiet = false;
        debug_assert_eq!(index, state.threads.len(), "every task of shuttle is started here");
        state.add(Thread::new(name.into()));
        thread_id(index)
    }

    /// A scheduling point: another thread may run before this call returns.
    #[inline]
    pub fn point(&self) {
        if !grant::pass() {
            self.point_with(false);
        }
    }

    /// A scheduling point in a waiting loop: others run first, if any can.
    pub fn yield_now(&self) {
        self.point_with(true);
    }

    /// Runs `observe` without scheduling points: for oracles and bookkeeping, which are not part of what is explored.
    /// It may still wait for a lock that another thread holds.
    pub fn undisturbed<R>(&self, observe: impl FnOnce() -> R) -> R {
        let set = |undisturbed| {
            let mut state = self.state();
            let current = state.current;
            core::mem::replace(&mut state.threads[current].undisturbed, undisturbed)
        };
        let outer = set(true);
        let seen = observe();
        set(outer);
        seen
    }

    #[cold]
    fn point_with(&self, yielding: bool) {
        let mut guard = self.state();
        let state = &mut *guard;
        let current = state.current;
        if self.0.alone.load(Ordering::Relaxed) && !yielding || state.threads[current].undisturbed {
            state.grant = Grant::give(Kind::Nothing, u64::MAX);
            return;
        }
        if state.finished || state.unwinding.is_some() && std::thread::panicking() {
            return;
        }
        // The program has caught a Rust panic of its own: go on as before.
        state.unwinding = None;
        state.steps += 1;
        let over = state.failure.is_some() || state.expected_came;
        if state.steps > self.0.max_steps && !over {
            drop(guard);
            self.freeze(FailureKind::NoProgress, format!("no end after {} steps", self.0.max_steps));
        }
        if !over {
            // While the log is kept, each entry has the number of its step.
            let most = if self.0.recording { 0 } else { self.0.max_steps - state.steps };
            // A point without an alternative is no decision; who passes a point may run.
            if state.able == 1 {
                state.grant = Grant::give(Kind::Step, most);
                return;
            }
            let may_run = |(i, thread): (ThreadIndex, &Thread)| (!thread.blocked && !thread.finished).then_some(i);
            state.candidates.clear();
            state.candidates.extend(state.threads.iter().enumerate().filter_map(may_run));
            debug_assert_eq!(state.candidates.len(), state.able, "each change is counted");
            let mut decider = self.decider();
            let next = decider.decide(&state.candidates, Some(current), yielding);
            if next == current {
                if !yielding {
                    state.grant = Grant::give(Kind::Decision, most.min(decider.stays(current).into()));
                }
                return;
            }
            drop(decider);
            state.decided = Some(next);
        }
        drop(guard);
        self.switch();
    }

    fn decider(&self) -> MutexGuard<'_, Decider> {
        self.0.decider.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An oracle has seen what must not be. The execution ends here.
    pub fn violation(&self, kind: &str, message: impl Into<String>) -> ! {
        self.freeze(FailureKind::Violation(kind.into()), message.into())
    }

    /// From here a panic of the emulated kernel with this text is a good end of the execution.
    pub fn expect_panic(&self, message: impl Into<String>) {
        self.state().expected = Some(message.into());
    }

    /// The emulated kernel has panicked. The execution ends here.
    pub fn kernel_panic(&self, message: impl Into<String>) -> ! {
        let message = message.into();
        if self.state().expected.as_ref() == Some(&message) && !std::thread::panicking() {
            self.state().expected_came = true;
            loop {
                self.switch();
            }
        }
        self.freeze(FailureKind::Panic, message)
    }

    /// Ends the execution without unwinding anything.
    fn freeze(&self, kind: FailureKind, message: String) -> ! {
        if std::thread::panicking() {
            // Only a destructor during a Rust panic gets here; the first failure is the one to report.
            panic!("{message}");
        }
        self.fail(kind, message);
        loop {
            self.switch();
        }
    }

    fn fail(&self, kind: FailureKind, message: String) {
        self.log(|| What::Failed(message.clone()));
        let mut state = self.state();
        let current = state.current;
        state.failure.get_or_insert((kind, message, current));
    }

    /// Runs a thread's body and turns a Rust panic of it into the failure of the execution.
    pub(super) fn guard(&self, body: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(body)) {
            let (kind, message) = classify(payload.as_ref());
            self.fail(kind, message);
            self.state().unwinding = None;
        }
    }

    /// A Rust panic has begun in the running thread: from here it runs whenever it can, and nothing is a decision.
    pub(super) fn unwinding(&self) {
        let mut state = self.state();
        let current = state.current;
        state.unwinding = Some(current);
    }

    pub(super) fn finish(&self) {
        self.finish_thread();
        self.state().finished = true;
    }

    fn finish_thread(&self) {
        let mut state = self.state();
        let current = state.current;
        if !core::mem::replace(&mut state.threads[current].finished, true) && !state.threads[current].blocked {
            state.able -= 1;
        }
        for thread in 0..state.threads.len() {
            let waiting = &mut state.threads[thread];
            if let Some(at) = waiting.joins.iter().position(|&joined| joined == current) {
                waiting.joins.swap_remove(at);
                if waiting.joins.is_empty() {
                    state.set_blocked(thread, false);
                }
            }
        }
    }

    fn switch(&self) {
        // Sleeping is shuttle's bare switch: it asks the scheduler and does nothing else.
        shuttle::thread::sleep(Duration::ZERO);
    }

    /// What is to run next. `runnable` are the threads that exist for shuttle; `candidates` receives those that may run.
    pub(super) fn next(&self, runnable: impl Iterator<Item = ThreadIndex>, candidates: &mut Vec<ThreadIndex>) -> Next {
        let mut state = self.state();
        let current = state.current;
        if state.quiet {
            return Next::Forced(current);
        }
        if let Some(thread) = state.decided.take() {
            return Next::Forced(thread);
        }
        candidates.clear();
        candidates.extend(runnable.filter(|&i| !state.threads.get(i).is_some_and(|t| t.blocked)));
        if state.finished {
            let all_done = state.threads.iter().all(|thread| thread.finished);
            return if all_done { Next::Forced(current) } else { Next::Stop };
        }
        if let Some(thread) = state.unwinding {
            return match candidates.contains(&thread) {
                true => Next::Forced(thread),
                false => candidates.first().map_or(Next::Stop, |&other| Next::Forced(other)),
            };
        }
        if state.failure.is_some() || state.expected_came {
            return Next::Stop;
        }
        match **candidates {
            [] => {
                let message = deadlock(&state.threads);
                drop(state);
                self.fail(FailureKind::Deadlock, message);
                Next::Stop
            }
            [only] => Next::Forced(only),
            _ => {
                debug_assert!(!candidates.contains(&current), "who can go on decides before the switch");
                Next::Choose
            }
        }
    }

    pub(super) fn run_thread(&self, thread: ThreadIndex) {
        self.state().current = thread;
    }

    pub(super) fn outcome(&self) -> Outcome {
        let mut state = self.state();
        Outcome {
            failure: state.failure.take(),
            steps: state.steps,
            log: core::mem::take(&mut state.log),
            threads: state.threads.drain(..).map(|thread| thread.name).collect(),
        }
    }
}

/// A scheduling point of the execution that runs on this OS thread; nothing, if there is none.
#[inline]
pub(crate) fn point() {
    if !grant::pass()
        && let Some(execution) = Execution::current()
    {
        execution.point_with(false);
    }
}

pub(super) fn thread_id(index: ThreadIndex) -> ThreadId {
    let number = u32::try_from(index).unwrap_or(u32::MAX - 1) + 1;
    ThreadId(NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN))
}

pub(super) fn index(thread: ThreadId) -> ThreadIndex {
    thread.0.get() as usize - 1
}
