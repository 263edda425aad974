//! The host of the models: loom's locks, and memory that is never used again before the end of an execution.

use core::alloc::Layout;
use core::ptr::NonNull;
use std::sync::{Arc as StdArc, Mutex as StdMutex};

use allocator_api2::alloc::{AllocError, Allocator};
use ifnet::platform::{Channel, Mutex, Platform};
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar};

/// Every interleaving of `f` with at most four preemptions, or `LOOM_MAX_PREEMPTIONS`.
pub fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(4));
    // Enough to boot a kernel in an execution.
    builder.max_branches = 100_000;
    builder.check(f);
}

/// Memory that is not used again before the end of the execution.
#[derive(Clone, Default)]
pub struct Arena(StdArc<StdMutex<Pieces>>);

#[derive(Default)]
struct Pieces {
    all: Vec<(usize, Layout, NonNull<u8>)>,
    live: usize,
}

// SAFETY: the pointers are to memory that the list owns.
unsafe impl Send for Pieces {}

// SAFETY: every piece is its own allocation of `std`, and stays valid until the last clone of the arena goes.
unsafe impl Allocator for Arena {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        assert_ne!(layout.size(), 0);
        // SAFETY: the size is not zero.
        let memory = NonNull::new(unsafe { std::alloc::alloc(layout) }).ok_or(AllocError)?;
        let mut pieces = self.0.lock().unwrap();
        pieces.all.push((memory.addr().get(), layout, memory));
        pieces.live += 1;
        Ok(NonNull::slice_from_raw_parts(memory, layout.size()))
    }

    unsafe fn deallocate(&self, _: NonNull<u8>, _: Layout) {
        self.0.lock().unwrap().live -= 1;
    }
}

impl Arena {
    /// How many pieces have not been given back.
    pub fn live(&self) -> usize {
        self.0.lock().unwrap().live
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        for (_, layout, memory) in self.all.drain(..) {
            // SAFETY: it was allocated with this layout, and nobody is left to use it.
            unsafe { std::alloc::dealloc(memory.as_ptr(), layout) };
        }
    }
}

pub struct LoomMutex<T>(loom::sync::Mutex<T>);

impl<T: Send> Mutex<T> for LoomMutex<T> {
    type Guard<'a>
        = loom::sync::MutexGuard<'a, T>
    where
        Self: 'a;

    fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    fn lock(&self) -> Self::Guard<'_> {
        self.0.lock().unwrap()
    }
}

/// The host. All channels are one: a wakeup too many does no harm.
pub struct Host {
    arena: Arena,
    wakeups: loom::sync::Mutex<usize>,
    woken: Condvar,
}

impl Host {
    pub fn new(arena: &Arena) -> Self {
        Self { arena: arena.clone(), wakeups: loom::sync::Mutex::new(0), woken: Condvar::new() }
    }
}

impl Platform for Host {
    type Mutex<T: Send> = LoomMutex<T>;
    type Allocator = Arena;
    type Buffer = ();

    const ANNOUNCES_SECTIONS: bool = true;

    fn allocator(&self) -> Arena {
        self.arena.clone()
    }

    fn sleep(&self, _: Channel, ready: &mut dyn FnMut() -> bool) {
        loop {
            let seen = *self.wakeups.lock().unwrap();
            if ready() {
                return;
            }
            let mut now = self.wakeups.lock().unwrap();
            while *now == seen {
                now = self.woken.wait(now).unwrap();
            }
        }
    }

    fn wakeup(&self, _: Channel) {
        *self.wakeups.lock().unwrap() += 1;
        self.woken.notify_all();
    }
}

/// What a value's end writes and a look at the value reads.
#[derive(Clone)]
pub struct Mark(Arc<UnsafeCell<bool>>);

// SAFETY: loom checks each access, and that is the purpose.
unsafe impl Send for Mark {}
// SAFETY: as for `Send`.
unsafe impl Sync for Mark {}

impl Mark {
    pub fn new() -> Self {
        Self(Arc::new(UnsafeCell::new(false)))
    }

    /// The value is looked at.
    pub fn look(&self) {
        // SAFETY: loom reports it if this is not ordered before `end`.
        assert!(!self.0.with(|ended| unsafe { *ended }), "looked at after its end");
    }

    pub fn end(&self) {
        // SAFETY: loom reports it if anything else is not ordered before this.
        self.0.with_mut(|ended| unsafe { *ended = true });
    }

    pub fn has_ended(&self) -> bool {
        // SAFETY: as for `look`.
        self.0.with(|ended| unsafe { *ended })
    }
}
