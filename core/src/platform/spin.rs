//! The smallest host: spin locks, polling sleep, an allocator given by the caller. Needs no `std`.
//!
//! For a kernel that has threads or several CPUs but no better way to wait yet. [`SpinHost::with_relax`] takes the
//! function that gives the CPU away in a waiting loop (the kernel's `yield`); without one a waiter keeps its CPU, which
//! is right only when whoever it waits for runs on another CPU or preempts it.
//!
//! Its locks do not mask interrupts: interrupt handlers must not call the core. A kernel that needs more (handlers, sleep
//! queues, a log, a panic screen) implements [`Platform`] itself and may still take its locks from here: [`MaskedMutex`] is
//! one that masks.
//!
//! ```
//! use core::num::NonZeroU32;
//!
//! use allocator_api2::alloc::Global; // a kernel brings its own heap: any `Allocator` will do
//! use ifnet::platform::ThreadId;
//! use ifnet::platform::spin::SpinHost;
//! use ifnet::sync::{LockClass, Sx, Td};
//!
//! let host: SpinHost<Global> = SpinHost::new(Global);
//! let cpu0 = Td::new(ThreadId(NonZeroU32::MIN), &host);
//!
//! let lock = Sx::new("ifnet_detach_sx", LockClass::IFNET_DETACH_SX, true);
//! let outer = lock.xlock(&cpu0);
//! let inner = lock.xlock(&cpu0);
//! drop((inner, outer));
//! assert_eq!(lock.owner(), None);
//! ```

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use allocator_api2::alloc::Allocator;
use spin::mutex::{SpinMutex, SpinMutexGuard};

use super::{Mutex, Platform};

/// A host that spins. `A` is the memory, `B` the packet. See the [module](self).
pub struct SpinHost<A, B = ()> {
    allocator: A,
    relax: fn(),
    buffer: PhantomData<fn() -> B>,
}

impl<A, B> SpinHost<A, B> {
    /// A host with the memory `allocator`, which waits with the CPU's pause hint.
    pub const fn new(allocator: A) -> Self {
        Self::with_relax(allocator, core::hint::spin_loop)
    }

    /// The same; a waiting loop of [`Platform::sleep`] calls `relax` between two looks at its condition.
    pub const fn with_relax(allocator: A, relax: fn()) -> Self {
        Self { allocator, relax, buffer: PhantomData }
    }
}

impl<A, B> Platform for SpinHost<A, B>
where
    A: Allocator + Clone + Send + Sync + 'static,
    B: Send + 'static,
{
    type Mutex<T: Send> = SpinMutex<T>;
    type Allocator = A;
    type Buffer = B;
    const TRACES: bool = false;

    fn allocator(&self) -> A {
        self.allocator.clone()
    }

    #[inline]
    fn relax(&self) {
        (self.relax)();
    }
}

impl<T: Send> Mutex<T> for SpinMutex<T> {
    type Guard<'a>
        = SpinMutexGuard<'a, T>
    where
        Self: 'a;

    fn new(value: T) -> Self {
        Self::new(value)
    }

    #[inline]
    fn lock(&self) -> Self::Guard<'_> {
        self.lock()
    }
}

/// What a kernel does around its spin locks: `spinlock_enter` and `spinlock_exit`. Calls come in pairs, which nest; those
/// of several locks need not end in the order in which they began.
pub trait Mask: 'static {
    /// Before a lock is taken: this CPU takes no interrupts (and no preemption) until the last `unmask`.
    fn mask() {}
    /// After it is released.
    fn unmask() {}
}

/// Nothing is masked.
impl Mask for () {}

/// A spin lock that is held masked, so that interrupt handlers may take it too: FreeBSD's `MTX_SPIN`.
pub struct MaskedMutex<T, M> {
    lock: SpinMutex<T>,
    mask: PhantomData<fn() -> M>,
}

/// Proof that a [`MaskedMutex`] is held. It stays on its CPU.
pub struct MaskedGuard<'a, T, M: Mask> {
    guard: SpinMutexGuard<'a, T>,
    // Dropped after `guard`: fields are dropped in order.
    _masked: Masked<M>,
}

struct Masked<M: Mask>(PhantomData<(*const (), M)>);

impl<M: Mask> Drop for Masked<M> {
    fn drop(&mut self) {
        M::unmask();
    }
}

impl<T: Send, M: Mask> Mutex<T> for MaskedMutex<T, M> {
    type Guard<'a>
        = MaskedGuard<'a, T, M>
    where
        Self: 'a;

    fn new(value: T) -> Self {
        Self { lock: SpinMutex::new(value), mask: PhantomData }
    }

    #[inline]
    fn lock(&self) -> MaskedGuard<'_, T, M> {
        M::mask();
        MaskedGuard { guard: self.lock.lock(), _masked: Masked(PhantomData) }
    }
}

impl<T, M: Mask> Deref for MaskedGuard<'_, T, M> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T, M: Mask> DerefMut for MaskedGuard<'_, T, M> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<A: fmt::Debug, B> fmt::Debug for SpinHost<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpinHost").field("allocator", &self.allocator).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Channel;
    use allocator_api2::alloc::Global;
    use core::sync::atomic::{AtomicU32, Ordering};

    static RELAXED: AtomicU32 = AtomicU32::new(0);

    #[test]
    fn sleep_polls_with_the_given_relax() {
        let host: SpinHost<Global> = SpinHost::with_relax(Global, || {
            RELAXED.fetch_add(1, Ordering::Relaxed);
        });
        let mut looks = 0;
        host.sleep(Channel(1), &mut || {
            looks += 1;
            looks == 4
        });
        assert_eq!((looks, RELAXED.load(Ordering::Relaxed)), (4, 3));
    }

    #[test]
    fn the_lock_excludes() {
        let lock = <SpinMutex<u32> as Mutex<u32>>::new(7);
        let guard = Mutex::lock(&lock);
        assert!(lock.try_lock().is_none());
        drop(guard);
        assert_eq!(*Mutex::lock(&lock), 7);
    }

    #[test]
    fn a_masked_lock_is_held_in_between() {
        static DEPTH: AtomicU32 = AtomicU32::new(0);
        struct Counted;
        impl Mask for Counted {
            fn mask() {
                DEPTH.fetch_add(1, Ordering::Relaxed);
            }
            fn unmask() {
                DEPTH.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let depth = || DEPTH.load(Ordering::Relaxed);
        let [first, second] = [7, 8].map(<MaskedMutex<u32, Counted> as Mutex<u32>>::new);
        let (mut outer, inner) = (first.lock(), second.lock());
        assert_eq!((depth(), first.lock.is_locked()), (2, true));
        *outer += *inner;
        // Out of order.
        drop(outer);
        assert_eq!((depth(), first.lock.is_locked(), second.lock.is_locked()), (1, false, true));
        drop(inner);
        assert_eq!((depth(), *first.lock()), (0, 15));
        assert_eq!(depth(), 0);
    }
}
