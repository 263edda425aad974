//! The host on which the emulated kernel's threads are threads of the operating system.
//!
//! ```
//! use core::num::NonZeroU32;
//! use ifnet::platform::ThreadId;
//! use ifnet::sync::{LockClass, Sx, Td};
//! use ifnet_std::host::threads::ThreadHost;
//!
//! let host: ThreadHost = ThreadHost::new();
//! let sx = Sx::new("ifnet_sx", LockClass::IFNET_SX, true);
//! std::thread::scope(|scope| {
//!     for id in 1..=3 {
//!         let (host, sx) = (&host, &sx);
//!         scope.spawn(move || {
//!             let id = ThreadId(NonZeroU32::new(id).unwrap());
//!             let _registered = host.register(id);
//!             let td = Td::new(id, host);
//!             let _exclusive = sx.xlock(&td);
//!         });
//!     }
//! });
//! assert_eq!(host.memory().live_blocks(), 0);
//! ```
//!
//! # When the emulated kernel panics
//!
//! The panicking thread unwinds with a [`KernelPanic`], which tells it apart from a bug of the program. The host is
//! halted by it: every thread that sleeps, or is about to, unwinds with [`Halted`], as the other CPUs of a real kernel
//! stop. That holds even if what it waits for comes free just then, because a dying thread drops its locks: nobody
//! shall go on with what such a lock protects. So all threads can be joined, whatever they were waiting for.
//! [`ThreadHost::halt`] does the same for a runner that has found its threads [stuck](ThreadHost::stuck).

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::panic::{panic_any, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Instant;

use ifnet::Platform;
use ifnet::platform::{self, Channel, FrameHeader, LockEvent, ThreadId};
use ifnet::trace::Record;

use super::frame;
use super::parking::Parking;
pub use super::watch::Sleeper;
use super::watch::{Doing, Watch};
use crate::alloc::CountingAlloc;

/// Receives the trace. Called by many threads at once; the order of the calls is the order of events only as far as the
/// core orders them.
pub type TraceSink = Arc<dyn Fn(ThreadId, &Record<'_>) + Send + Sync>;

/// Receives what happens to sleepable locks; see [`Platform::lock_event`].
pub type LockSink = Arc<dyn Fn(ThreadId, &'static str, LockEvent) + Send + Sync>;

/// The payload with which a thread unwinds when the emulated kernel panicked in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelPanic {
    /// The text of `panic(9)`.
    pub message: String,
    /// The thread, if it was [registered](ThreadHost::register).
    pub thread: Option<ThreadId>,
}

impl fmt::Display for KernelPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panic: {}", self.message)
    }
}

impl core::error::Error for KernelPanic {}

/// The payload with which a sleeping thread unwinds when the host was halted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halted;

/// A lock of the operating system. A panic of a holder does not poison it: after a [`KernelPanic`] the host is halted
/// anyway, and the post-mortem wants to look inside.
#[derive(Debug)]
pub struct Lock<T>(Mutex<T>);

impl<T: Send> platform::Mutex<T> for Lock<T> {
    type Guard<'a>
        = MutexGuard<'a, T>
    where
        Self: 'a;

    fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    fn lock(&self) -> Self::Guard<'_> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The host. `B` is the packet. See the [module](self).
pub struct ThreadHost<B = Vec<u8>> {
    memory: CountingAlloc,
    trace: Option<TraceSink>,
    lock_trace: Option<LockSink>,
    parking: Parking,
    watch: Watch,
    /// Guards the sleep of workers; the flag itself is `watch.work_pending`.
    work: Mutex<()>,
    work_arrived: Condvar,
    halted: AtomicBool,
    first_panic: OnceLock<KernelPanic>,
    buffer: PhantomData<fn() -> B>,
}

thread_local! {
    /// The host that this thread is registered with, by address, and its number there.
    static CURRENT: Cell<Option<(usize, ThreadId)>> = const { Cell::new(None) };
    /// The lock that this thread is about to sleep for.
    static WANTED: Cell<Option<&'static str>> = const { Cell::new(None) };
}

impl<B> ThreadHost<B> {
    /// A host with memory of its own and without sinks.
    #[must_use]
    pub fn new() -> Self {
        Self {
            memory: CountingAlloc::new(),
            trace: None,
            lock_trace: None,
            parking: Parking::new(),
            watch: Watch::default(),
            work: Mutex::new(()),
            work_arrived: Condvar::new(),
            halted: AtomicBool::new(false),
            first_panic: OnceLock::new(),
            buffer: PhantomData,
        }
    }

    /// With this memory.
    #[must_use]
    pub fn with_memory(self, memory: CountingAlloc) -> Self {
        Self { memory, ..self }
    }

    /// With a receiver for the trace.
    #[must_use]
    pub fn with_trace(self, sink: TraceSink) -> Self {
        Self { trace: Some(sink), ..self }
    }

    /// With a receiver for what happens to sleepable locks.
    #[must_use]
    pub fn with_lock_trace(self, sink: LockSink) -> Self {
        Self { lock_trace: Some(sink), ..self }
    }

    /// The memory of the core, to count what is live and to make allocations fail.
    pub const fn memory(&self) -> &CountingAlloc {
        &self.memory
    }

    /// Says that the calling thread is the emulated thread `thread`, so that panics name it and the watchdog watches
    /// it, until the result is dropped.
    ///
    /// # Panics
    ///
    /// When the number is taken, or the calling thread is registered already.
    pub fn register(&self, thread: ThreadId) -> Registration<'_, B> {
        assert!(CURRENT.get().is_none(), "the calling thread is registered already");
        assert!(self.watch.register(thread), "thread {} exists already", thread.0);
        CURRENT.set(Some((self.address(), thread)));
        Registration { host: self, thread, not_send: PhantomData }
    }

    /// The number of the calling thread, if it is registered with this host.
    pub fn current(&self) -> Option<ThreadId> {
        CURRENT.get().filter(|&(host, _)| host == self.address()).map(|(_, thread)| thread)
    }

    /// Whether all registered threads sleep, each for `limit` at least and on a condition that did not come true:
    /// nobody is left who could wake them. `limit` should be long against what the machine's scheduler may do to a
    /// thread; a second is. `false` when no thread sleeps.
    pub fn stuck(&self, limit: Duration) -> bool {
        self.watch.stuck(limit)
    }

    /// The registered threads that sleep now.
    pub fn sleepers(&self) -> Vec<Sleeper> {
        self.watch.sleepers()
    }

    /// Makes every thread that sleeps, or will, unwind with [`Halted`], and workers come back.
    pub fn halt(&self) {
        self.halted.store(true, Ordering::Release);
        self.parking.wakeup_all();
        // The lock makes sure that a worker either sees the flag or sleeps already.
        drop(self.work.lock().unwrap_or_else(PoisonError::into_inner));
        self.work_arrived.notify_all();
    }

    /// Whether the host was halted, by [`halt`](Self::halt) or by a panic.
    pub fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Acquire)
    }

    /// The first panic of the emulated kernel, if there was one.
    pub fn panicked(&self) -> Option<&KernelPanic> {
        self.first_panic.get()
    }

    /// For a worker: waits until work was queued that no worker took notice of, and returns `true`; or `false` after
    /// `timeout`, or when the host is halted.
    pub fn wait_for_work(&self, timeout: Duration) -> bool {
        let noted = self.current().map(|thread| self.watch.note(thread, Doing::Idle));
        let pending = &self.watch.work_pending;
        {
            let work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
            let nothing = |(): &mut ()| !pending.load(Ordering::Acquire) && !self.is_halted();
            drop(self.work_arrived.wait_timeout_while(work, timeout, nothing));
        }
        // Running first, then not pending: the watchdog never sees a worker idle with its work noticed but not done.
        drop(noted);
        pending.swap(false, Ordering::AcqRel) && !self.is_halted()
    }

    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

impl<B> Default for ThreadHost<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Send + 'static> Platform for ThreadHost<B> {
    type Mutex<T: Send> = Lock<T>;
    type Allocator = CountingAlloc;
    type Buffer = B;

    fn allocator(&self) -> CountingAlloc {
        self.memory.clone()
    }

    fn relax(&self) {
        thread::yield_now();
    }

    fn sleep(&self, channel: Channel, ready: &mut dyn FnMut() -> bool) {
        let lock = WANTED.take();
        let asleep = || self.current().map(|thread| self.watch.note(thread, Doing::Asleep(Instant::now(), lock)));
        let interrupted = || {
            // A thread that unwinds already must not start again; it waits for what it needs to finish.
            if self.is_halted() && !thread::panicking() {
                resume_unwind(Box::new(Halted));
            }
        };
        self.parking.sleep(channel, ready, asleep, interrupted);
    }

    fn wakeup(&self, channel: Channel) {
        self.parking.wakeup(channel);
    }

    fn work_queued(&self) {
        let _work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        self.watch.work_pending.store(true, Ordering::Release);
        self.work_arrived.notify_one();
    }

    fn copy_packet(&self, packet: &B) -> Option<B> {
        frame::copy(packet)
    }

    fn frame_header(&self, frame: &B) -> Option<FrameHeader> {
        frame::header(frame)
    }

    fn vlan_encap(&self, frame: &mut B, tag: u16) -> bool {
        frame::encap(frame, tag)
    }

    fn vlan_decap(&self, frame: &mut B) -> Option<u16> {
        frame::decap(frame)
    }

    fn panic(&self, message: fmt::Arguments<'_>) -> ! {
        let panic = KernelPanic { message: message.to_string(), thread: self.current() };
        // A later panic is most likely a consequence of the first one, which is kept.
        let _ = self.first_panic.set(panic.clone());
        self.halt();
        panic_any(panic)
    }

    fn trace(&self, thread: ThreadId, record: &Record<'_>) {
        if let Some(sink) = &self.trace {
            sink(thread, record);
        }
    }

    fn lock_event(&self, thread: ThreadId, lock: &'static str, what: LockEvent) {
        if what == LockEvent::Waiting {
            WANTED.set(Some(lock));
        }
        if let Some(sink) = &self.lock_trace {
            sink(thread, lock, what);
        }
    }
}

impl<B> fmt::Debug for ThreadHost<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadHost")
            .field("memory", &self.memory)
            .field("sleepers", &self.sleepers())
            .field("panicked", &self.panicked())
            .finish_non_exhaustive()
    }
}

/// The calling thread is an emulated thread; see [`ThreadHost::register`].
pub struct Registration<'h, B> {
    host: &'h ThreadHost<B>,
    thread: ThreadId,
    /// It ends where it began: the registration is the thread's.
    not_send: PhantomData<*const ()>,
}

impl<B> Drop for Registration<'_, B> {
    fn drop(&mut self) {
        CURRENT.set(None);
        self.host.watch.unregister(self.thread);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::num::NonZeroU32;
    use core::panic::AssertUnwindSafe;
    use core::sync::atomic::AtomicU32;
    use ifnet::sync::{LockClass, Sx, Td};
    use std::panic::catch_unwind;

    type Host = ThreadHost;

    const LIMIT: Duration = Duration::from_secs(30);

    fn id(n: u32) -> ThreadId {
        ThreadId(NonZeroU32::new(n).unwrap())
    }

    fn until(mut what: impl FnMut() -> bool) {
        let started = Instant::now();
        while !what() {
            assert!(started.elapsed() < LIMIT, "waited too long");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn sx_stress_on_threads() {
        let host = Host::new();
        let sx: Sx<Host> = Sx::new("ifnet_sx", LockClass::IFNET_SX, true);
        let counter = AtomicU32::new(0);
        let started = Instant::now();
        thread::scope(|scope| {
            for n in 1..=6 {
                let (host, sx, counter) = (&host, &sx, &counter);
                scope.spawn(move || {
                    let _registered = host.register(id(n));
                    let td = Td::new(id(n), host);
                    for round in 0..300 {
                        if n % 3 == 0 {
                            let _s = sx.slock(&td);
                        } else {
                            let _x = sx.xlock(&td);
                            // Not atomic as a whole: loses counts unless the lock excludes.
                            let value = counter.load(Ordering::Relaxed);
                            if round % 16 == 0 {
                                thread::yield_now();
                            }
                            counter.store(value + 1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(counter.into_inner(), 4 * 300);
        assert!(started.elapsed() < LIMIT);
        assert!(host.sleepers().is_empty());
    }

    #[test]
    fn a_panic_names_its_thread_and_halts_the_others() {
        let host = Host::new();
        let sx: Sx<Host> = Sx::new("ifnet_detach_sx", LockClass::IFNET_DETACH_SX, false);
        thread::scope(|scope| {
            let td = Td::new(id(1), &host);
            let _registered = host.register(id(1));
            let x = sx.xlock(&td);
            let sleeper = scope.spawn(|| {
                let _registered = host.register(id(2));
                let td = Td::new(id(2), &host);
                let unwound = catch_unwind(AssertUnwindSafe(|| drop(sx.xlock(&td)))).unwrap_err();
                assert!(unwound.is::<Halted>());
            });
            until(|| host.sleepers().iter().any(|sleeper| sleeper.lock == Some("ifnet_detach_sx")));
            let unwound = catch_unwind(AssertUnwindSafe(|| drop(sx.xlock(&td)))).unwrap_err();
            let panic = unwound.downcast_ref::<KernelPanic>().unwrap();
            assert!(panic.message.starts_with("_sx_xlock_hard: recursed on non-recursive sx ifnet_detach_sx @ "));
            assert_eq!(panic.thread, Some(id(1)));
            assert_eq!(host.panicked(), Some(panic));
            // The lock is still held: the other thread ends without it.
            sleeper.join().unwrap();
            drop(x);
        });
    }

    #[test]
    fn a_dead_lock_is_noticed() {
        let host = Host::new();
        let new = |n| -> Sx<Host> { Sx::new(["a", "b"][n], LockClass::user(n as u8, "ab"), false) };
        let locks = [new(0), new(1)];
        let both = std::sync::Barrier::new(2);
        thread::scope(|scope| {
            for n in 0..2 {
                let (host, locks, both) = (&host, &locks, &both);
                scope.spawn(move || {
                    let me = id(n as u32 + 1);
                    let _registered = host.register(me);
                    let td = Td::new(me, host);
                    let _first = locks[n].xlock(&td);
                    both.wait();
                    let unwound = catch_unwind(AssertUnwindSafe(|| drop(locks[1 - n].xlock(&td))));
                    assert!(unwound.unwrap_err().is::<Halted>());
                });
            }
            until(|| host.stuck(Duration::from_millis(100)));
            let waits: Vec<_> = host.sleepers().iter().map(|s| (s.thread, s.lock)).collect();
            assert_eq!(waits, [(id(1), Some("b")), (id(2), Some("a"))]);
            host.halt();
        });
        assert!(!host.stuck(Duration::ZERO));
        assert!(host.panicked().is_none());
    }

    #[test]
    fn work_wakes_a_worker_once() {
        let host = Host::new();
        assert!(!host.wait_for_work(Duration::from_millis(1)));
        host.work_queued();
        host.work_queued();
        assert!(host.wait_for_work(LIMIT));
        assert!(!host.wait_for_work(Duration::ZERO));
        let started = Instant::now();
        thread::scope(|scope| {
            let worker = scope.spawn(|| host.wait_for_work(2 * LIMIT));
            host.work_queued();
            assert!(worker.join().unwrap());
            let worker = scope.spawn(|| host.wait_for_work(2 * LIMIT));
            host.halt();
            assert!(!worker.join().unwrap());
        });
        assert!(started.elapsed() < LIMIT);
    }

    #[test]
    fn sinks_receive() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (trace, locks) = (Arc::clone(&seen), Arc::clone(&seen));
        let host = Host::new()
            .with_trace(Arc::new(move |thread, record| trace.lock().unwrap().push(format!("{} {record}", thread.0))))
            .with_lock_trace(Arc::new(move |thread, lock, what| {
                locks.lock().unwrap().push(format!("{} {lock} {what:?}", thread.0));
            }));
        host.trace(id(7), &Record::Log { message: "hello" });
        drop(Sx::new("bpf_sx", LockClass::BPF_SX, false).xlock(&Td::new(id(8), &host)));
        assert_eq!(*seen.lock().unwrap(), ["7 hello", "8 bpf_sx Acquired { exclusive: true }", "8 bpf_sx Released"]);
    }

    #[test]
    #[should_panic(expected = "thread 1 exists already")]
    fn thread_numbers_are_unique() {
        let host = Host::new();
        let _one = host.register(id(1));
        thread::scope(|scope| {
            let payload = scope.spawn(|| drop(host.register(id(1)))).join().unwrap_err();
            resume_unwind(payload);
        });
    }
}
