//! The short lock of a host in C: `mtx_lock` and `mtx_unlock` of `struct ifnet_host`, or a spin lock.
//!
//! A lock of the core is made without knowing of which kernel it will be, so there is one pair of functions for all
//! kernels in C that are up. They are set when the first of these boots, and stay until the last one has gone.
#![expect(unsafe_code, reason = "is a lock, whose functions are in a static that is written by hand")]

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicUsize, Ordering};

use spin::mutex::SpinMutex;

use super::host::Arg;
use crate::Errno;
use crate::platform::Mutex;

pub(super) type Function = extern "C" fn(*mut core::ffi::c_void, *mut usize);

/// The functions of a host's locks.
#[derive(Clone, Copy)]
pub(super) struct LockFunctions {
    pub(super) arg: Arg,
    pub(super) lock: Function,
    pub(super) unlock: Function,
    pub(super) destroy: Option<Function>,
}

impl LockFunctions {
    /// What makes them the same as others.
    fn identity(&self) -> [usize; 4] {
        let &Self { arg, lock, unlock, destroy } = self;
        [arg.addr(), lock as usize, unlock as usize, destroy.map_or(0, |destroy| destroy as usize)]
    }
}

/// # Invariants
/// `functions` is written only under `kernels`, and only when that is 0: then no lock exists.
struct Shared {
    /// How many kernels use them.
    kernels: SpinMutex<usize>,
    functions: UnsafeCell<Option<LockFunctions>>,
}

// SAFETY: by the invariant nobody reads while somebody writes; what is written are numbers and functions for any thread.
unsafe impl Sync for Shared {}

static SHARED: Shared = Shared { kernels: SpinMutex::new(0), functions: UnsafeCell::new(None) };

/// Before a kernel is made: says what its locks do. Comes with an [`end_use`].
///
/// # Errors
/// `EINVAL` if another kernel is up whose locks do something else.
pub(super) fn begin_use(functions: Option<LockFunctions>) -> Result<(), Errno> {
    let mut kernels = SHARED.kernels.lock();
    let identity = |functions: &Option<LockFunctions>| functions.as_ref().map(LockFunctions::identity);
    if *kernels == 0 {
        // SAFETY: no kernel is up and none can come up meanwhile, so no lock exists that would read.
        unsafe { *SHARED.functions.get() = functions };
    } else if identity(functions_now()) != identity(&functions) {
        return Err(Errno::EINVAL);
    }
    *kernels += 1;
    Ok(())
}

/// After the last lock of a kernel is gone.
pub(super) fn end_use() {
    *SHARED.kernels.lock() -= 1;
}

fn functions_now() -> &'static Option<LockFunctions> {
    // SAFETY: the caller is `begin_use` with kernels up, or a lock, which exists only then: nobody writes.
    unsafe { &*SHARED.functions.get() }
}

/// [`Platform::Mutex`](crate::Platform::Mutex) of a host in C. Only a kernel of such a host makes one.
#[doc(hidden)]
pub struct CMutex<T> {
    word: AtomicUsize,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through the guard only, and one guard exists at a time: by the spinning below, or by the
// promise of `ifnet_host::mtx_lock`.
unsafe impl<T: Send> Sync for CMutex<T> {}

impl<T: Send> Mutex<T> for CMutex<T> {
    type Guard<'a>
        = CGuard<'a, T>
    where
        Self: 'a;

    fn new(value: T) -> Self {
        Self { word: AtomicUsize::new(0), value: UnsafeCell::new(value) }
    }

    fn lock(&self) -> CGuard<'_, T> {
        match functions_now() {
            Some(functions) => (functions.lock)(functions.arg.get(), self.word.as_ptr()),
            None => {
                // Acquire: what was done under the lock before comes before.
                while self.word.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
                    while self.word.load(Ordering::Relaxed) != 0 {
                        core::hint::spin_loop();
                    }
                }
            }
        }
        CGuard { mutex: self, stays: core::marker::PhantomData }
    }
}

impl<T> CMutex<T> {
    /// Tells the host that the lock is not used any more.
    pub(super) fn end(&self) {
        if let Some(LockFunctions { arg, destroy: Some(destroy), .. }) = functions_now() {
            destroy(arg.get(), self.word.as_ptr());
        }
    }
}

impl<T> Drop for CMutex<T> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Proof that a [`CMutex`] is held.
#[doc(hidden)]
pub struct CGuard<'a, T> {
    mutex: &'a CMutex<T>,
    /// A host's lock is released by who has acquired it.
    stays: core::marker::PhantomData<*const ()>,
}

impl<T> Deref for CGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard exists, so the lock is held, and no other guard exists.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for CGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and this borrow is exclusive.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T> Drop for CGuard<'_, T> {
    fn drop(&mut self) {
        match functions_now() {
            Some(functions) => (functions.unlock)(functions.arg.get(), self.mutex.word.as_ptr()),
            // Release: what was done under the lock comes before what the next one does.
            None => self.mutex.word.store(0, Ordering::Release),
        }
    }
}
