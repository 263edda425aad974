//! Running a scenario on threads of the operating system.

use core::any::Any;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use core::{fmt, mem};
use std::panic::{catch_unwind, panic_any};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, mpsc};
use std::thread;

use ifnet::TaskMode;
use ifnet::hazard::HazardSet;
use ifnet::platform::{Channel, FrameHeader, LockEvent, Platform, ThreadId};
use ifnet::trace::Record;

use super::host::Host;
use super::{Boot, Failure, Observer, execute};
use crate::alloc::CountingAlloc;
use crate::host::frame::Frame;
use crate::host::threads::{Halted, KernelPanic, Lock, Sleeper, ThreadHost};
use crate::scenario::{Diagnostics, Script, Source, parse};

/// Receives the lines that a scenario prints, as they come.
pub type LineSink = Arc<dyn Fn(&str) + Send + Sync>;

/// How a scenario is run on threads.
#[derive(Clone, Default)]
pub struct Options {
    /// Prints what happens in the emulated kernel, in the form of the golden logs.
    pub trace: bool,
    /// When queued tasks run; see [`Boot::tasks`].
    pub tasks: Option<TaskMode>,
    /// The historical bugs to open.
    pub hazards: HazardSet,
    /// Gets each line at once. The report has all of them anyway.
    pub sink: Option<LineSink>,
    /// How long all threads must have slept to be called dead-locked; a second if not set.
    pub patience: Option<Duration>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("trace", &self.trace).field("hazards", &self.hazards).finish_non_exhaustive()
    }
}

/// How a scenario ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// As expected, in everything.
    Passed,
    /// It cannot be run.
    Syntax(Diagnostics),
    /// Expectations were not met, or the panic that was expected did not come.
    Expectation(Vec<Diagnostics>),
    /// The emulated kernel panicked.
    Panic(KernelPanic),
    /// All threads waited for each other.
    Deadlock(Vec<Sleeper>),
    /// The emulated kernel could not be booted, broke an invariant, or left something behind.
    Broken(Failure),
    /// A bug of this program: a Rust panic with this text.
    Bug(String),
}

impl Verdict {
    /// The exit status of `ifnet run`: 0 as expected, 1 an expectation was not met, 2 bad syntax, 3 the emulated kernel
    /// panicked, dead-locked or broke an invariant.
    #[must_use]
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Expectation(_) => 1,
            Self::Syntax(_) => 2,
            Self::Panic(_) | Self::Deadlock(_) | Self::Broken(_) | Self::Bug(_) => 3,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("as expected"),
            Self::Syntax(diagnostics) => diagnostics.fmt(f),
            Self::Expectation(all) => Failure::Expectation(all.clone()).fmt(f),
            Self::Panic(panic) => panic.fmt(f),
            Self::Deadlock(sleepers) => {
                f.write_str("dead-lock:")?;
                for (n, sleeper) in sleepers.iter().enumerate() {
                    let comma = if n == 0 { "" } else { "," };
                    write!(f, "{comma} thread {} waits for {}", sleeper.thread.0, sleeper.lock.unwrap_or("a wakeup"))?;
                }
                Ok(())
            }
            Self::Broken(failure) => failure.fmt(f),
            Self::Bug(text) => write!(f, "bug in this program: {text}"),
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it ended.
    pub verdict: Verdict,
    /// What it printed, the trace included if that was asked for.
    pub lines: Vec<String>,
}

/// Parses a scenario and runs it on threads.
///
/// A dead-lock ends the run: it is noticed when all threads have slept for [`Options::patience`].
#[must_use]
pub fn run(source: &Source, options: &Options) -> Report {
    match parse(source) {
        Ok(script) => run_script(source, script, options),
        Err(diagnostics) => Report { verdict: Verdict::Syntax(diagnostics), lines: Vec::new() },
    }
}

/// Runs a scenario that was parsed from `source` on threads.
#[must_use]
pub fn run_script(source: &Source, script: Script, options: &Options) -> Report {
    hush();
    let shared = Shared::new(options);
    let expected = script.expected_panic().map(str::to_owned);
    let boot = Boot { tasks: options.tasks, hazards: options.hazards };
    let (ended, end) = mpsc::channel();
    let host = Threads(Arc::clone(&shared));
    let for_main = (host.clone(), source.clone());
    host.start("main".into(), move || {
        let (host, source) = for_main;
        let failure = execute(host, &source, &script, &boot).err();
        // Nobody listens after a dead-lock.
        let _ = ended.send(failure);
    });
    let failure = watch(&shared, &end, options.patience.unwrap_or(Duration::from_secs(1)));
    // Everybody has ended or is unwinding.
    loop {
        let handles = mem::take(&mut *shared.handles());
        if handles.is_empty() {
            break;
        }
        // What a thread died of was noted by itself.
        handles.into_iter().for_each(|handle| drop(handle.join()));
    }
    let verdict = shared.verdict(source, failure, expected);
    let lines = mem::take(&mut shared.lines().all);
    Report { verdict, lines }
}

/// Waits for the end of the main thread. `None` if it unwound.
fn watch(shared: &Shared, end: &mpsc::Receiver<Option<Failure>>, patience: Duration) -> Option<Option<Failure>> {
    loop {
        match end.recv_timeout(Duration::from_millis(20)) {
            Ok(failure) => return Some(failure),
            Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        if !shared.host.is_halted() && shared.host.stuck(patience) {
            *lock(&shared.deadlock) = Some(shared.host.sleepers());
            shared.host.halt();
        }
    }
}

/// The host of the runner: a [`ThreadHost`] that starts threads and collects lines. Clones are the same host.
#[derive(Clone, Debug)]
pub struct Threads(Arc<Shared>);

struct Shared {
    host: ThreadHost<Frame>,
    lines: Mutex<Lines>,
    handles: Mutex<Vec<thread::JoinHandle<()>>>,
    deadlock: Mutex<Option<Vec<Sleeper>>>,
    bug: Mutex<Option<String>>,
    closed: AtomicBool,
    observer: Observer,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)
    }
}

#[derive(Default)]
struct Lines {
    all: Vec<String>,
    sink: Option<LineSink>,
    trace: bool,
    /// The scenario is over: what follows is not shown.
    over: bool,
}

impl Lines {
    fn push(&mut self, line: String) {
        if let Some(sink) = &self.sink {
            sink(&line);
        }
        self.all.push(line);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn new(options: &Options) -> Arc<Self> {
        let observer = Observer::default();
        if options.trace {
            observer.keep_paths();
        }
        Arc::new(Self {
            host: ThreadHost::new(),
            lines: Mutex::new(Lines { all: Vec::new(), sink: options.sink.clone(), trace: options.trace, over: false }),
            handles: Mutex::default(),
            deadlock: Mutex::default(),
            bug: Mutex::default(),
            closed: AtomicBool::new(false),
            observer,
        })
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        lock(&self.lines)
    }

    fn handles(&self) -> MutexGuard<'_, Vec<thread::JoinHandle<()>>> {
        lock(&self.handles)
    }

    /// Notes what a thread died of, unless the host knows already.
    fn died(&self, payload: &(dyn Any + Send)) {
        if payload.is::<KernelPanic>() || payload.is::<Halted>() {
            return;
        }
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|&text| text.to_owned()));
        lock(&self.bug).get_or_insert(text.unwrap_or_else(|| "a panic without a text".into()));
        self.host.halt();
    }

    /// The gravest of what was noted.
    fn verdict(&self, source: &Source, failure: Option<Option<Failure>>, expected: Option<String>) -> Verdict {
        if let Some(text) = lock(&self.bug).take() {
            return Verdict::Bug(text);
        }
        if let Some(panic) = self.host.panicked() {
            return match expected {
                Some(text) if panic.message == text => Verdict::Passed,
                _ => Verdict::Panic(panic.clone()),
            };
        }
        if let Some(sleepers) = lock(&self.deadlock).take() {
            return Verdict::Deadlock(sleepers);
        }
        match (failure, expected) {
            (None, _) => Verdict::Bug("the main thread ended without a word".into()),
            (Some(Some(Failure::Syntax(diagnostics))), _) => Verdict::Syntax(diagnostics),
            (Some(Some(Failure::Expectation(all))), _) => Verdict::Expectation(all),
            (Some(Some(failure)), _) => Verdict::Broken(failure),
            (Some(None), Some(text)) => {
                let at = source.text.find("expect panic").unwrap_or(0);
                let span = crate::scenario::Span::new(at, at + "expect panic".len());
                let what =
                    crate::scenario::Diagnostic::new(span, format!("expected the kernel panic `{text}`, got none"));
                Verdict::Expectation(vec![Diagnostics::new(source.clone(), vec![what])])
            }
            (Some(None), None) => Verdict::Passed,
        }
    }
}

impl Threads {
    /// A host of its own, whose lines nobody reads.
    #[must_use]
    pub fn new() -> Self {
        hush();
        Self(Shared::new(&Options::default()))
    }

    /// Whether a panic of the emulated kernel has stopped everybody.
    pub(crate) fn is_halted(&self) -> bool {
        self.0.host.is_halted()
    }

    /// Starts a thread of the operating system whose end is waited for at the end of the run.
    fn start(&self, name: String, body: impl FnOnce() + Send + 'static) {
        let shared = Arc::clone(&self.0);
        let run = move || {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(body)) {
                shared.died(&*payload);
            }
        };
        match thread::Builder::new().name(name).spawn(run) {
            Ok(handle) => self.0.handles().push(handle),
            Err(error) => panic_any(format!("cannot start a thread: {error}")),
        }
    }
}

impl Default for Threads {
    fn default() -> Self {
        Self::new()
    }
}

/// A thread that was started.
#[derive(Debug)]
pub struct Started(Arc<AtomicBool>);

impl Started {
    fn channel(&self) -> Channel {
        Channel::of(&*self.0)
    }
}

impl Host for Threads {
    type Join = Started;

    fn spawn(&self, name: String, body: Box<dyn FnOnce() + Send>) -> Started {
        let ended = Started(Arc::default());
        // However it ends: a thread that waits for it must not wait in vain.
        struct End(Threads, Started);
        impl Drop for End {
            fn drop(&mut self) {
                self.1.0.store(true, Ordering::Release);
                self.0.wakeup(self.1.channel());
            }
        }
        let end = End(self.clone(), Started(Arc::clone(&ended.0)));
        self.start(name, move || {
            let end = end;
            body();
            drop(end);
        });
        ended
    }

    /// Sleeps on the host, so that the watchdog sees who waits for whom.
    fn join(&self, threads: &[Started]) {
        for thread in threads {
            self.sleep(thread.channel(), &mut || thread.0.load(Ordering::Acquire));
        }
    }

    fn pause(&self, length: Duration) {
        // What a script calls a second need not be one: nothing here takes that long.
        thread::sleep(length.min(Duration::from_millis(2)));
    }

    fn enter<R>(&self, thread: ThreadId, body: impl FnOnce() -> R) -> R {
        let _registered = self.0.host.register(thread);
        body()
    }

    /// Comes back now and then by itself: a grace period ends without anybody queueing work.
    fn wait_for_work(&self) -> bool {
        self.0.host.wait_for_work(Duration::from_millis(5));
        !self.0.closed.load(Ordering::Acquire) && !self.0.host.is_halted()
    }

    fn close_work(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.work_queued();
    }

    fn observer(&self) -> &Observer {
        &self.0.observer
    }

    fn output(&self, line: &str) {
        self.0.lines().push(line.to_owned());
    }

    fn taking_down(&self) {
        let mut lines = self.0.lines();
        (lines.trace, lines.over) = (false, true);
    }

    fn live_bytes(memory: &CountingAlloc) -> usize {
        memory.live_bytes()
    }
}

impl Platform for Threads {
    type Mutex<T: Send> = Lock<T>;
    type Allocator = CountingAlloc;
    type Buffer = Frame;

    fn allocator(&self) -> CountingAlloc {
        self.0.host.allocator()
    }

    fn preempt(&self) {
        self.0.host.preempt();
    }

    fn relax(&self) {
        self.0.host.relax();
    }

    fn sleep(&self, channel: Channel, ready: &mut dyn FnMut() -> bool) {
        self.0.host.sleep(channel, ready);
    }

    fn wakeup(&self, channel: Channel) {
        self.0.host.wakeup(channel);
    }

    fn work_queued(&self) {
        self.0.host.work_queued();
    }

    fn copy_packet(&self, packet: &Frame) -> Option<Frame> {
        self.0.host.copy_packet(packet)
    }

    fn frame_header(&self, frame: &Frame) -> Option<FrameHeader> {
        self.0.host.frame_header(frame)
    }

    fn vlan_encap(&self, frame: &mut Frame, tag: u16) -> bool {
        self.0.host.vlan_encap(frame, tag)
    }

    fn vlan_decap(&self, frame: &mut Frame) -> Option<u16> {
        self.0.host.vlan_decap(frame)
    }

    fn panic(&self, message: fmt::Arguments<'_>) -> ! {
        self.0.host.panic(message)
    }

    fn trace(&self, thread: ThreadId, record: &Record<'_>) {
        let monitored = self.0.observer.record(record);
        let mut lines = self.0.lines();
        if lines.trace {
            match (self.0.observer.call_path(thread, record), record) {
                (Some(path), _) => path.into_iter().for_each(|line| lines.push(line)),
                // A line of the kernel's log stands alone; events are indented.
                (None, Record::Log { .. }) => lines.push(record.to_string()),
                (None, _) => lines.push(format!("    . {record}")),
            }
        }
        if let Some(line) = monitored.filter(|_| !lines.over) {
            lines.push(line);
        }
    }

    fn lock_event(&self, thread: ThreadId, lock: &'static str, what: LockEvent) {
        self.0.host.lock_event(thread, lock, what);
    }
}

/// Keeps the panics of the emulated kernel from being reported as panics of this program.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.payload().is::<KernelPanic>() {
                report(info);
            }
        }));
    });
}
