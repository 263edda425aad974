//! The memory of the hosts: the global allocator, counted, and failing when it is told to.
//!
//! The core frees everything it allocates and survives every failed allocation. [`CountingAlloc`] makes both testable:
//! it counts what is live, so that a test can end with `live_blocks() == 0`, and it can fail the n-th allocation, so
//! that a test can run an operation once for each allocation in it and look that nothing changed.
#![expect(unsafe_code, reason = "implementing `Allocator` is a promise about memory; it is passed on to `Global`")]

use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;

use allocator_api2::alloc::{AllocError, Allocator, Global, Layout};

/// The global allocator with a counter. Clones share the counter and the memory.
#[derive(Clone, Default)]
pub struct CountingAlloc {
    counts: Arc<Counts>,
}

// All accesses are relaxed: the counters publish nothing but themselves. They are exact when they are read by a thread
// that has synchronised with the others, for example by joining them.
struct Counts {
    live_bytes: AtomicUsize,
    peak_bytes: AtomicUsize,
    attempts: AtomicU64,
    failures: AtomicU64,
    freed: AtomicU64,
    /// Attempts with these numbers fail, from the first to the last, this far apart; attempts are counted from 1.
    fail_first: AtomicU64,
    fail_last: AtomicU64,
    fail_every: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            live_bytes: AtomicUsize::new(0),
            peak_bytes: AtomicUsize::new(0),
            attempts: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            freed: AtomicU64::new(0),
            fail_first: AtomicU64::new(u64::MAX),
            fail_last: AtomicU64::new(0),
            fail_every: AtomicU64::new(1),
        }
    }
}

impl CountingAlloc {
    /// An allocator with all counters at zero, which does not fail unless the global one does.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes that are allocated and not yet freed.
    #[must_use]
    pub fn live_bytes(&self) -> usize {
        self.counts.live_bytes.load(Ordering::Relaxed)
    }

    /// Allocations that are not yet freed.
    #[must_use]
    pub fn live_blocks(&self) -> usize {
        let gone = self.failures() + self.counts.freed.load(Ordering::Relaxed);
        // Other threads may be at it; then the number is about right.
        self.attempts().saturating_sub(gone) as usize
    }

    /// The most bytes that were live at one time.
    #[must_use]
    pub fn peak_bytes(&self) -> usize {
        self.counts.peak_bytes.load(Ordering::Relaxed)
    }

    /// How many allocations were tried, failed ones included. A reallocation that needs a new block is one.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.counts.attempts.load(Ordering::Relaxed)
    }

    /// How many allocations failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.counts.failures.load(Ordering::Relaxed)
    }

    /// Fails the `n`-th allocation from now on, once; `1` is the next one. Replaces an earlier order.
    pub fn fail_nth(&self, n: u64) {
        let nth = self.attempts().saturating_add(n);
        self.fail(nth, nth, 1);
    }

    /// Fails the `n`-th allocation from now on, and then every `every`-th; 0: only that one. Replaces an earlier order.
    pub fn fail_next(&self, n: u64, every: u64) {
        let nth = self.attempts().saturating_add(n);
        self.fail(nth, if every == 0 { nth } else { u64::MAX }, every.max(1));
    }

    /// Fails the `n`-th allocation from now on and all after it: memory is full. Replaces an earlier order.
    pub fn fail_from(&self, n: u64) {
        self.fail(self.attempts().saturating_add(n), u64::MAX, 1);
    }

    /// Does not fail any more.
    pub fn fail_never(&self) {
        self.fail(u64::MAX, 0, 1);
    }

    fn fail(&self, first: u64, last: u64, every: u64) {
        // An allocation in between sees an empty range.
        self.counts.fail_last.store(0, Ordering::Relaxed);
        self.counts.fail_first.store(first, Ordering::Relaxed);
        self.counts.fail_every.store(every, Ordering::Relaxed);
        self.counts.fail_last.store(last, Ordering::Relaxed);
    }

    fn must_fail(&self) -> bool {
        let attempt = self.counts.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        let first = self.counts.fail_first.load(Ordering::Relaxed);
        let last = self.counts.fail_last.load(Ordering::Relaxed);
        (first..=last).contains(&attempt)
            && (attempt - first).is_multiple_of(self.counts.fail_every.load(Ordering::Relaxed))
    }
}

// SAFETY:
// 1. Blocks come from `Global` and are handed out as they are, so they are valid until given back to `Global`.
// 2. `Global` has no state, so clones are interchangeable and a moved allocator keeps its blocks.
// 3. `grow` and `shrink` are the trait's own, made from the two methods below.
unsafe impl Allocator for CountingAlloc {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block = if self.must_fail() { Err(AllocError) } else { Global.allocate(layout) };
        let counts = &self.counts;
        if block.is_err() {
            counts.failures.fetch_add(1, Ordering::Relaxed);
        } else {
            let live = counts.live_bytes.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
            // Looked at first: a write for each allocation costs more than the rest.
            if live > counts.peak_bytes.load(Ordering::Relaxed) {
                counts.peak_bytes.fetch_max(live, Ordering::Relaxed);
            }
        }
        block
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        self.counts.live_bytes.fetch_sub(layout.size(), Ordering::Relaxed);
        self.counts.freed.fetch_add(1, Ordering::Relaxed);
        // SAFETY:
        // 1. The caller promises that `block` is live, from this allocator, and fits `layout`.
        // 2. All blocks of this allocator come from `Global`.
        unsafe { Global.deallocate(block, layout) }
    }
}

impl fmt::Debug for CountingAlloc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountingAlloc")
            .field("live_bytes", &self.live_bytes())
            .field("live_blocks", &self.live_blocks())
            .field("attempts", &self.attempts())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use allocator_api2::boxed::Box;
    use allocator_api2::vec::Vec;

    #[test]
    fn counts_what_is_live_in_all_clones() {
        let memory = CountingAlloc::new();
        let boxed = Box::new_in([0_u8; 40], memory.clone());
        let mut vec: Vec<u8, _> = Vec::with_capacity_in(10, memory.clone());
        assert_eq!((memory.live_bytes(), memory.live_blocks()), (50, 2));
        drop(boxed);
        vec.reserve_exact(20);
        assert_eq!((memory.live_bytes(), memory.live_blocks()), (20, 1));
        drop(vec);
        assert_eq!((memory.live_bytes(), memory.live_blocks(), memory.peak_bytes()), (0, 0, 50));
        assert_eq!((memory.attempts(), memory.failures()), (3, 0));
    }

    #[test]
    fn fails_when_told() {
        let memory = CountingAlloc::new();
        let outcomes = |n: usize| -> std::vec::Vec<bool> {
            (0..n).map(|_| Box::try_new_in(1_u8, memory.clone()).is_ok()).collect()
        };
        assert_eq!(outcomes(2), [true, true]);
        memory.fail_nth(2);
        assert_eq!(outcomes(3), [true, false, true]);
        memory.fail_from(2);
        assert_eq!(outcomes(3), [true, false, false]);
        memory.fail_next(2, 2);
        assert_eq!(outcomes(5), [true, false, true, false, true]);
        memory.fail_next(1, 0);
        assert_eq!(outcomes(2), [false, true]);
        memory.fail_never();
        assert_eq!(outcomes(2), [true, true]);
        assert_eq!((memory.failures(), memory.live_blocks()), (6, 0));
    }
}
