//! A host for the unit tests of the core: threads and locks of `std`, and memory that is counted and can run out.
//!
//! It counts without ordering anything: an ordering here would hide from Miri one that is missing in the core.

extern crate std;

use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar};

use allocator_api2::alloc::{AllocError, Allocator};

use crate::epoch::DomainRef;
use crate::platform::{Channel, Mutex, Platform, ThreadId};
use crate::trace::Record;

/// Memory of `std` that counts the pieces that are out, and fails on demand.
#[derive(Clone, Default)]
pub(crate) struct Arena(Arc<Counters>);

#[derive(Default)]
struct Counters {
    live: AtomicUsize,
    total: AtomicUsize,
    /// One more than the number of allocations that still succeed; zero if none fails.
    fuse: AtomicUsize,
}

impl Arena {
    /// How many pieces are out.
    pub(crate) fn live(&self) -> usize {
        self.0.live.load(Ordering::Relaxed)
    }

    /// How many pieces were ever handed out.
    pub(crate) fn total(&self) -> usize {
        self.0.total.load(Ordering::Relaxed)
    }

    /// Lets `n` more allocations succeed and all after them fail.
    pub(crate) fn fail_after(&self, n: usize) {
        self.0.fuse.store(n + 1, Ordering::Relaxed);
    }

    pub(crate) fn fail_never(&self) {
        self.0.fuse.store(0, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on to `std`'s allocator with the same layout.
#[expect(unsafe_code, reason = "an allocator is an unsafe trait")]
unsafe impl Allocator for Arena {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        match self.0.fuse.load(Ordering::Relaxed) {
            0 => {}
            1 => return Err(AllocError),
            n => self.0.fuse.store(n - 1, Ordering::Relaxed),
        }
        self.0.live.fetch_add(1, Ordering::Relaxed);
        self.0.total.fetch_add(1, Ordering::Relaxed);
        if layout.size() == 0 {
            let dangling = NonNull::new(core::ptr::without_provenance_mut(layout.align())).ok_or(AllocError)?;
            return Ok(NonNull::slice_from_raw_parts(dangling, 0));
        }
        // SAFETY: the size is not zero.
        let memory = NonNull::new(unsafe { std::alloc::alloc(layout) }).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(memory, layout.size()))
    }

    unsafe fn deallocate(&self, memory: NonNull<u8>, layout: Layout) {
        self.0.live.fetch_sub(1, Ordering::Relaxed);
        if layout.size() != 0 {
            // SAFETY: the caller's promise.
            unsafe { std::alloc::dealloc(memory.as_ptr(), layout) };
        }
    }
}

pub(crate) struct StdMutex<T>(std::sync::Mutex<T>);

impl<T: Send> Mutex<T> for StdMutex<T> {
    type Guard<'a>
        = std::sync::MutexGuard<'a, T>
    where
        Self: 'a;

    fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    fn lock(&self) -> Self::Guard<'_> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The host. It really sleeps, and it relies on being told of the end of sections.
#[derive(Clone, Default)]
pub(crate) struct Host(Arc<HostState>);

#[derive(Default)]
struct HostState {
    arena: Arena,
    wakeups: std::sync::Mutex<u64>,
    woken: Condvar,
    queued: AtomicUsize,
    steps: AtomicUsize,
    logged: std::sync::Mutex<std::vec::Vec<std::string::String>>,
}

impl Host {
    pub(crate) fn arena(&self) -> &Arena {
        &self.0.arena
    }

    /// How often the host was told of queued work.
    pub(crate) fn queued(&self) -> usize {
        self.0.queued.load(Ordering::Relaxed)
    }

    /// How often sleepers were woken.
    pub(crate) fn wakeups(&self) -> u64 {
        *self.0.wakeups.lock().expect("not poisoned")
    }

    /// How many steps on shared memory `work` takes.
    pub(crate) fn steps(&self, work: impl FnOnce()) -> usize {
        let before = self.0.steps.load(Ordering::Relaxed);
        work();
        self.0.steps.load(Ordering::Relaxed) - before
    }

    /// The lines of the message buffer.
    #[cfg(feature = "holders")]
    pub(crate) fn logged(&self) -> std::vec::Vec<std::string::String> {
        self.0.logged.lock().expect("not poisoned").clone()
    }
}

impl Platform for Host {
    type Mutex<T: Send> = StdMutex<T>;
    type Allocator = Arena;
    type Buffer = ();

    const ANNOUNCES_SECTIONS: bool = true;

    fn allocator(&self) -> Arena {
        self.0.arena.clone()
    }

    fn sleep(&self, _: Channel, ready: &mut dyn FnMut() -> bool) {
        loop {
            let seen = *self.0.wakeups.lock().expect("not poisoned");
            if ready() {
                return;
            }
            let guard = self.0.wakeups.lock().expect("not poisoned");
            drop(self.0.woken.wait_while(guard, |now| *now == seen).expect("not poisoned"));
        }
    }

    fn wakeup(&self, _: Channel) {
        *self.0.wakeups.lock().expect("not poisoned") += 1;
        self.0.woken.notify_all();
    }

    fn preempt(&self) {
        self.0.steps.fetch_add(1, Ordering::Relaxed);
    }

    fn trace(&self, _: ThreadId, record: &Record<'_>) {
        if let Record::Log { message } = record {
            self.0.logged.lock().expect("not poisoned").push((*message).into());
        }
    }

    fn work_queued(&self) {
        self.0.queued.fetch_add(1, Ordering::Relaxed);
    }
}

/// A host and a domain of it for eight readers.
pub(crate) fn domain() -> (Host, DomainRef<Host>) {
    let host = Host::default();
    let domain = DomainRef::try_new(host.clone(), 8).expect("memory");
    (host, domain)
}

/// A kernel for one test: it is shut down at the end, and has then given all its memory back.
pub(crate) struct Booted {
    kernel: Option<crate::Kernel<Host>>,
    host: Host,
}

impl core::ops::Deref for Booted {
    type Target = crate::Kernel<Host>;
    fn deref(&self) -> &Self::Target {
        self.kernel.as_ref().expect("taken only by drop")
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // A test that has failed already says why; its kernel is in no state to be shut down.
        if let (Some(kernel), false) = (self.kernel.take(), std::thread::panicking()) {
            kernel.shutdown();
            assert_eq!(self.host.arena().live(), 0, "the kernel leaks");
        }
    }
}

/// A kernel on this host, with room for four threads.
pub(crate) fn kernel(tasks: crate::TaskMode) -> (Host, Booted) {
    let host = Host::default();
    let config = crate::Config::default().threads(4).tasks(tasks);
    let kernel = Some(crate::Kernel::boot(host.clone(), config).expect("memory"));
    (host.clone(), Booted { kernel, host })
}

/// A plain interface, attached in the current vnet.
pub(crate) fn attached(td: &crate::Thread<'_, Host>, dname: &str, dunit: u32) -> crate::IfnetOwner<Host> {
    let owner = crate::if_alloc(td, crate::IfType::Other).expect("memory");
    owner.init_flags(crate::IfFlags::MULTICAST);
    crate::if_initname(&owner, dname, Some(dunit)).expect("a good name");
    crate::if_attach(td, &owner).expect("memory");
    owner
}

/// Takes an interface of [`attached`] away again.
pub(crate) fn gone(td: &crate::Thread<'_, Host>, owner: crate::IfnetOwner<Host>) {
    crate::if_detach(td, &owner);
    crate::if_free(td, owner);
}

/// Repeatable pseudo-random numbers (Marsaglia's xorshift).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }
}
