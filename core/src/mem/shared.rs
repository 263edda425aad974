//! The counted handle: `refcount(9)` and `epoch_call(9)` behind one type.
//!
//! A [`Shared`] is an `Arc` that lives in a domain. When the last handle goes, the value is not dropped at once: some
//! reader may still be looking at it through a [`Borrowed`]. It is dropped after a grace period. The room for that
//! callback is in the object's header, so that giving up a handle never needs memory.
//!
//! The count reaches zero once: [`Borrowed::try_share`] refuses to count up from zero. So the object is retired once.
#![expect(unsafe_code, reason = "counts references by hand, and frees memory after a grace period")]

mod any;

use core::any::TypeId;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::NonNull;

use super::{NoMem, raw};
use crate::epoch::{Context, DomainRef};
use crate::platform::Platform;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
pub(super) use any::AnyBorrowed;
pub use any::AnyShared;

/// What every object carries, whatever its type.
#[repr(C)]
pub(super) struct Header<P: Platform> {
    /// First, so that a pointer to the context is one to the block.
    context: Context,
    /// Of 32 bits, as `refcount(9)`.
    count: AtomicU32,
    /// The context is claimed for a callback.
    queued: AtomicBool,
    pub(super) domain: DomainRef<P>,
    kind: &'static Kind,
}

/// What the type of a value means for its block.
struct Kind {
    type_id: fn() -> TypeId,
    type_name: fn() -> &'static str,
    /// Drops the value and frees the block of an object whose count is zero, after a grace period.
    destroy: unsafe fn(NonNull<Context>),
}

/// A counted object in memory.
///
/// # Invariants
///
/// * Pointers to a block are made from the one that the allocator gave, never from a reference to a part of it.
/// * `value` is there while `count` is not zero, and until a grace period has gone by after that.
#[repr(C)]
pub(super) struct Block<T, P: Platform> {
    pub(super) header: Header<P>,
    value: ManuallyDrop<T>,
}

impl<P: Platform> Header<P> {
    /// Counts so many more handles, made from one that exists.
    pub(super) fn acquire(&self, handles: u32) {
        let old = self.count.fetch_add(handles, Ordering::Relaxed);
        Self::check_room(old);
    }

    /// Handles can be forgotten, so their number is bounded by nothing else; a count that wraps around would free an object
    /// that has handles. Half of the range is left for threads that count up at the same moment.
    fn check_room(count: u32) {
        assert!(count <= i32::MAX as u32, "too many handles of an object");
    }

    /// Claims the context for one callback. False if it is still queued for an earlier one.
    fn claim(&self) -> bool {
        !self.queued.swap(true, Ordering::AcqRel)
    }

    /// Gives the context back, so that it can be queued again. The first thing that a callback does.
    fn unclaim(&self) {
        self.queued.store(false, Ordering::Release);
    }

    /// Counts one more handle unless there is none.
    fn try_acquire(&self) -> bool {
        self.domain.platform().preempt();
        let mut count = self.count.load(Ordering::Relaxed);
        while count != 0 {
            Self::check_room(count);
            // Acquire is not needed: what made the object visible to the caller has ordered its contents already.
            match self.count.compare_exchange_weak(count, count + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => count = now,
            }
        }
        false
    }
}

/// Gives up one handle. The last one retires the object.
///
/// # Safety
///
/// The caller owns one of the handles that `count` counts, and does not use it afterwards.
// Not inlined: handles are given up in hundreds of places. Beside the atomic step a call costs little.
#[inline(never)]
pub(super) unsafe fn release<P: Platform>(header: NonNull<Header<P>>) {
    // SAFETY: the caller's promise.
    unsafe { release_many(header, 1) };
}

/// Gives up so many handles of an object in one step.
///
/// # Safety
///
/// As [`release`], for each of them; there is at least one.
#[inline(never)]
pub(super) unsafe fn release_many<P: Platform>(header: NonNull<Header<P>>, handles: u32) {
    // SAFETY: the caller's handles keep the block alive up to the decrement.
    let this = unsafe { header.as_ref() };
    this.domain.platform().preempt();
    // Release: all that was done through these handles comes before. Acquire: the last one sees all of that.
    let old = this.count.fetch_sub(handles, Ordering::AcqRel);
    debug_assert!(old >= handles, "a handle was given up that was not counted");
    if old != handles {
        return;
    }
    // Nobody can have it queued for a deferred function any more: such a function owns a handle until it has run.
    let claimed = this.claim();
    debug_assert!(claimed, "the context of a dead object is queued");
    // SAFETY:
    // 1. The context is claimed, and `destroy` frees it.
    // 2. With a count of zero nobody but the callback frees the block; values are `Send`, so any thread may.
    unsafe { this.domain.call(header.cast(), this.kind.destroy) };
}

/// The callback that ends a block: no handle is left, and no reader that may have found one.
///
/// # Safety
///
/// As `Kind::destroy`, for the type that the block was made with.
unsafe fn destroy<T, P: Platform>(context: NonNull<Context>) {
    let mut block = context.cast::<Block<T, P>>();
    // SAFETY:
    // 1. The grace period is over and the count is zero, so this is the only pointer to the block.
    // 2. The context is the first field of the first field (`repr(C)`), and its pointer was made from the block's.
    let domain = unsafe {
        ManuallyDrop::drop(&mut block.as_mut().value);
        (&raw const (*block.as_ptr()).header.domain).read()
    };
    let allocator = domain.platform().allocator();
    // SAFETY: the value has been dropped and the domain moved out; nothing else in the block needs dropping.
    unsafe { raw::free(&allocator, block) };
}

/// A counted handle of a `T` that epoch readers may be looking at.
///
/// Cloning and dropping never allocate and never block. The value is dropped, and its memory returned to the host, a
/// grace period after the last handle: by [`poll`](crate::epoch::Domain::poll) or
/// [`drain_callbacks`](crate::epoch::Domain::drain_callbacks), in whichever thread calls it.
///
/// # Invariants
///
/// `block` is alive, holds a `T`, and this handle is one of its `count`.
#[repr(transparent)]
pub struct Shared<T, P: Platform> {
    block: NonNull<Block<T, P>>,
    owns: PhantomData<T>,
}

// SAFETY:
// 1. Handles in several threads give out `&T` in all of them: `T: Sync`.
// 2. The value is dropped by any thread: `T: Send`.
unsafe impl<T: Send + Sync, P: Platform> Send for Shared<T, P> {}
// SAFETY: as for `Send`; a shared handle can be cloned.
unsafe impl<T: Send + Sync, P: Platform> Sync for Shared<T, P> {}

impl<T: Send + Sync + 'static, P: Platform> Shared<T, P> {
    const KIND: &'static Kind =
        &Kind { type_id: TypeId::of::<T>, type_name: core::any::type_name::<T>, destroy: destroy::<T, P> };

    /// Moves `value` into memory of the domain's host.
    ///
    /// # Errors
    ///
    /// [`NoMem`] if there is none; the value is dropped.
    pub fn try_new(domain: &DomainRef<P>, value: T) -> Result<Self, NoMem> {
        let allocator = domain.platform().allocator();
        let header = Header {
            context: Context::new(),
            count: AtomicU32::new(1),
            queued: AtomicBool::new(false),
            domain: domain.clone(),
            kind: Self::KIND,
        };
        let block = Block { header, value: ManuallyDrop::new(value) };
        let block = match raw::try_alloc(&allocator, block) {
            Ok(block) => block,
            Err((no_mem, block)) => {
                drop(ManuallyDrop::into_inner(block.value));
                return Err(no_mem);
            }
        };
        Ok(Self { block, owns: PhantomData })
    }

    /// `epoch_call(9)`: after a grace period, calls `f` once on the object, and then gives up this handle.
    ///
    /// Never allocates and never blocks: it uses the same room in the object's header as the object's own end. There is no
    /// room for anything that `f` might capture: a function or a closure without captures, or it does not compile.
    ///
    /// # Panics
    ///
    /// The emulated kernel panics if the object is still queued from an earlier call. FreeBSD would corrupt its lists.
    pub fn defer<F: Fn(&T) + Copy + Send + 'static>(self, f: F) {
        const { assert!(size_of::<F>() == 0, "a deferred function captures nothing") };
        let _ = f;
        let this = ManuallyDrop::new(self);
        // SAFETY: the block is alive (invariant).
        let block = unsafe { this.block.as_ref() };
        let domain = &block.header.domain;
        domain.platform().preempt();
        if !block.header.claim() {
            domain.platform().panic(format_args!(
                "epoch_call: {} at {:#x} is already queued (double epoch_call)",
                (block.header.kind.type_name)(),
                this.addr()
            ));
        }
        // SAFETY:
        // 1. The context is claimed; `run_deferred` releases it.
        // 2. The handle in `this`, which is not dropped here, keeps the block alive until then.
        // 3. `T: Send + Sync`: `f` may look at it on any thread, and there is nothing of `f` that could not go there.
        // 4. There is an `F`, which was given here.
        unsafe { domain.call(this.block.cast(), run_deferred::<T, P, F>) };
    }
}

/// The callback of [`Shared::defer`].
///
/// # Safety
///
/// `context` is that of a `Block<T, P>`, and the callback owns one of its handles. `F` has no size, and there was one.
unsafe fn run_deferred<T: Send + Sync + 'static, P: Platform, F: Fn(&T) + Copy + Send>(context: NonNull<Context>) {
    let this = Shared::<T, P> { block: context.cast(), owns: PhantomData };
    this.header().unclaim();
    // SAFETY: an `F` was given to `defer`, and it is `Copy`: another one is made of no bytes.
    let f = unsafe { NonNull::<F>::dangling().read() };
    f(&this);
}

impl<T, P: Platform> Shared<T, P> {
    fn header(&self) -> &Header<P> {
        // SAFETY: the block is alive (invariant).
        unsafe { &self.block.as_ref().header }
    }

    /// The domain the object lives in.
    #[must_use]
    pub fn domain(&self) -> &DomainRef<P> {
        &self.header().domain
    }

    /// Whether both are handles of the same object.
    #[must_use]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.block == other.block
    }

    /// The address of the object, as an identity. Unique among objects whose grace period is not over.
    #[must_use]
    pub fn addr(&self) -> usize {
        self.block.addr().get()
    }

    /// Looks at the object through this handle as a reader would.
    #[must_use]
    pub fn borrow(&self) -> Borrowed<'_, T, P> {
        Borrowed { block: self.block, during: PhantomData }
    }
}

impl<T, P: Platform> Clone for Shared<T, P> {
    fn clone(&self) -> Self {
        self.header().acquire(1);
        Self { block: self.block, owns: PhantomData }
    }
}

impl<T, P: Platform> Drop for Shared<T, P> {
    fn drop(&mut self) {
        // SAFETY: this handle is one of the count (invariant) and ends here.
        unsafe { release(self.block.cast::<Header<P>>()) };
    }
}

impl<T, P: Platform> Deref for Shared<T, P> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the count is not zero, so the value is there, and it is only ever shared.
        unsafe { &self.block.as_ref().value }
    }
}

impl<T: fmt::Debug, P: Platform> fmt::Debug for Shared<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// An object that stays valid for `'g`: because an epoch section is open that long, or a handle is borrowed.
///
/// # Invariants
///
/// The value is there for all of `'g`.
pub struct Borrowed<'g, T, P: Platform> {
    block: NonNull<Block<T, P>>,
    during: PhantomData<&'g T>,
}

impl<'g, T, P: Platform> Borrowed<'g, T, P> {
    /// A handle that outlives the section, unless the last one is gone already and the object waits for its end.
    #[must_use]
    pub fn try_share(self) -> Option<Shared<T, P>> {
        // SAFETY: the block is alive during `'g` (invariant).
        let header = unsafe { &self.block.as_ref().header };
        // Not `then_some`: it would make the handle before it asks, and give up one that was never counted.
        header.try_acquire().then(|| Shared { block: self.block, owns: PhantomData })
    }

    /// The object, for as long as this is valid (`Deref` gives it for as long as this is borrowed).
    #[must_use]
    pub fn get(self) -> &'g T {
        // SAFETY: the value is there during `'g` (invariant), and it is only ever shared.
        unsafe { &(*self.block.as_ptr()).value }
    }

    /// The address of the object, as [`Shared::addr`].
    #[must_use]
    pub fn addr(self) -> usize {
        self.block.addr().get()
    }

    /// Whether `handle` is of this object.
    #[must_use]
    pub fn is(self, handle: &Shared<T, P>) -> bool {
        self.block == handle.block
    }
}

impl<T, P: Platform> Clone for Borrowed<'_, T, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, P: Platform> Copy for Borrowed<'_, T, P> {}

impl<T, P: Platform> Deref for Borrowed<'_, T, P> {
    type Target = T;

    fn deref(&self) -> &T {
        self.get()
    }
}

impl<T: fmt::Debug, P: Platform> fmt::Debug for Borrowed<'_, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests;
