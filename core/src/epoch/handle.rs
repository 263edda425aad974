//! The counted handle of a domain: an `Arc` on the host's own memory.
#![expect(unsafe_code, reason = "counts references by hand: `alloc::sync::Arc` aborts when memory is short")]

use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;

use super::Domain;
use crate::mem::{NoMem, raw};
use crate::platform::Platform;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// A counted handle of a [`Domain`]. The domain is freed, at once, when the last handle goes.
///
/// Every [`Shared`](crate::mem::Shared) and every [`Reader`](super::Reader) holds one. So a domain outlives all that was
/// ever allocated in it; and an object that nobody runs the callback of keeps its domain: drain before the end.
///
/// # Invariants
///
/// `block` is alive and its `count` is the number of handles.
pub struct DomainRef<P: Platform> {
    block: NonNull<Block<P>>,
}

struct Block<P: Platform> {
    count: AtomicUsize,
    domain: Domain<P>,
}

// SAFETY:
// 1. A handle gives out `&Domain<P>` only, and `Domain<P>` is `Sync` (checked by `domain_is_sync` below).
// 2. Whoever drops the last handle drops the domain, and `Domain<P>` is `Send` (same check).
unsafe impl<P: Platform> Send for DomainRef<P> {}
// SAFETY: as for `Send`; cloning needs only the atomic count.
unsafe impl<P: Platform> Sync for DomainRef<P> {}

const fn domain_is_sync<P: Platform>() {
    const fn check<T: Send + Sync>() {}
    check::<Domain<P>>();
}

impl<P: Platform> DomainRef<P> {
    /// Creates a domain for at most `readers` readers at a time.
    ///
    /// # Errors
    ///
    /// [`NoMem`] if the domain or its table of readers cannot be allocated.
    pub fn try_new(platform: P, readers: usize) -> Result<Self, NoMem> {
        const { domain_is_sync::<P>() };
        let allocator = platform.allocator();
        let domain = Domain::try_new(platform, readers)?;
        let block = raw::try_alloc(&allocator, Block { count: AtomicUsize::new(1), domain });
        let block = block.map_err(|(no_mem, _)| no_mem)?;
        Ok(Self { block })
    }

    /// Whether both handles are of the same domain.
    #[must_use]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.block == other.block
    }
}

impl<P: Platform> Deref for DomainRef<P> {
    type Target = Domain<P>;

    fn deref(&self) -> &Domain<P> {
        // SAFETY: the block is alive (invariant), and nobody has a mutable reference into it before the last drop.
        unsafe { &self.block.as_ref().domain }
    }
}

impl<P: Platform> Clone for DomainRef<P> {
    fn clone(&self) -> Self {
        // SAFETY: the block is alive (invariant).
        let count = unsafe { &self.block.as_ref().count };
        // A new handle comes from one that exists, so nothing has to be ordered.
        let old = count.fetch_add(1, Ordering::Relaxed);
        assert!(old <= isize::MAX as usize, "too many handles of an epoch domain");
        Self { block: self.block }
    }
}

impl<P: Platform> Drop for DomainRef<P> {
    fn drop(&mut self) {
        // SAFETY: the block is alive until the count has become zero.
        let count = unsafe { &self.block.as_ref().count };
        // Release: what this thread did with the domain comes before its end. Acquire: the last one sees all of that.
        if count.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let allocator = self.platform().allocator();
        // SAFETY:
        // 1. The count is zero: this was the last handle, and handles are only made from handles.
        // 2. The block came from `try_alloc` with an allocator of the same arena.
        unsafe {
            self.block.drop_in_place();
            raw::free(&allocator, self.block);
        }
    }
}

impl<P: Platform> fmt::Debug for DomainRef<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DomainRef").field(&self.block).finish()
    }
}
