//! An allocator over one piece of memory, for a kernel that has no heap.
//!
//! Sizes are rounded up to one of eight steps between two powers of two, so that no more than an eighth is lost. Each of
//! these sizes has a list of free pieces, last freed first; what no list has is cut from the part of the memory that was
//! never used. Pieces are never split or joined: a kernel's interfaces come and go in the same few sizes, and so the same
//! history of calls always gives the same addresses.
//!
//! Pieces lie side by side, aligned to two words. What must be aligned to more is put into a larger piece, whose beginning
//! is noted in the word before it.
//!
//! The pool has a spin lock of its own, and the core allocates and frees with a [`Mutex`](crate::platform::Mutex) held.
//! Where that mutex masks interrupts or preemption, whoever holds the pool's lock must not be interrupted either: the next
//! one would spin for it on that CPU, masked, for ever. Such a kernel says by a [`Mask`] what to do around that lock.
#![expect(unsafe_code, reason = "is an allocator")]

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};
use spin::Mutex;

use crate::platform::spin::Mask;

/// All pieces are aligned to this, and their sizes are multiples of it. A free one has room for the link to the next.
const GRAIN: usize = 2 * size_of::<usize>();
/// How many sizes there are from one power of two to the next, beginning with `STEPS * GRAIN`. Below, all multiples of
/// `GRAIN` are sizes.
const STEPS: usize = 8;
/// Larger pieces are refused.
const LARGEST: usize = 1 << 30;
/// One list for each size.
const CLASSES: usize = class_of(LARGEST) + 1;

/// The number of the smallest size that is not less than `size`, which is greater than zero.
const fn class_of(size: usize) -> usize {
    // In grains, less one: the sizes of a class differ in bits below the uppermost four.
    let grains = (size - 1) / GRAIN;
    if grains < STEPS {
        return grains;
    }
    let step = grains.ilog2() - STEPS.ilog2();
    (grains >> step) + step as usize * STEPS
}

/// The reverse of [`class_of`]: the size of the pieces of a class.
const fn size_of_class(class: usize) -> usize {
    if class < STEPS {
        return (class + 1) * GRAIN;
    }
    let step = class / STEPS - 1;
    ((class % STEPS + STEPS + 1) << step) * GRAIN
}

/// A pool of memory that was given once and for all. Allocate from a [`PoolRef`].
pub struct FixedPool<M = ()> {
    pool: Mutex<Pool>,
    mask: PhantomData<fn() -> M>,
}

/// A free piece: the link to the next free one of its size is written into it.
struct Free {
    next: Option<NonNull<Self>>,
}

/// # Invariants
///
/// * Bytes from `used` to `end` (relative to `start`) were never handed out.
/// * A piece on `free[c]` has `size_of_class(c)` bytes, is aligned to `GRAIN`, in nobody's hands, and begins with a `Free`.
struct Pool {
    /// `None` before the memory is known.
    start: Option<NonNull<u8>>,
    used: usize,
    end: usize,
    in_use: usize,
    free: [Option<NonNull<Free>>; CLASSES],
}

// SAFETY: it owns all the memory that its pointers point to, for ever.
unsafe impl Send for Pool {}

impl FixedPool {
    /// A pool over `memory`.
    #[must_use]
    pub fn new(memory: &'static mut [MaybeUninit<u8>]) -> Self {
        Self::masked(memory)
    }
}

impl<M: Mask> FixedPool<M> {
    /// A pool over `memory` whose lock is taken masked.
    #[must_use]
    pub fn masked(memory: &'static mut [MaybeUninit<u8>]) -> Self {
        let end = memory.len();
        let pool = Pool { start: Some(NonNull::from(memory).cast()), end, ..Pool::EMPTY };
        Self { pool: Mutex::new(pool), mask: PhantomData }
    }

    /// The size of the whole memory, in bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.locked(|pool| pool.end)
    }

    /// How many bytes are handed out, rounded up as they were.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.locked(|pool| pool.in_use)
    }

    fn locked<R>(&self, f: impl FnOnce(&mut Pool) -> R) -> R {
        M::mask();
        let result = f(&mut self.pool.lock());
        M::unmask();
        result
    }

    /// Gives the pool as an allocator that can be copied about.
    #[must_use]
    pub fn by_ref(&'static self) -> PoolRef<M> {
        PoolRef(self)
    }

    /// The class that serves a layout. The pieces have room for a word and for the alignment, if that is not theirs anyway.
    fn class(layout: Layout) -> Result<usize, AllocError> {
        let spare = if is_wide(layout) { layout.align() } else { 0 };
        let size = layout.size().max(1).checked_add(spare).ok_or(AllocError)?;
        if size <= LARGEST { Ok(class_of(size)) } else { Err(AllocError) }
    }
}

/// Whether a layout wants more alignment than pieces have.
fn is_wide(layout: Layout) -> bool {
    layout.align() > GRAIN
}

/// A [`FixedPool`] together with its `N` bytes, for a `static`: a kernel without a heap writes one line and no `unsafe`.
///
/// ```
/// use ifnet::mem::StaticPool;
///
/// static MEMORY: StaticPool<{ 1 << 20 }> = StaticPool::new();
/// assert_eq!(MEMORY.by_ref().pool().capacity(), 1 << 20);
/// ```
///
/// # Invariants
///
/// Once `pool` has an end, `bytes` are its memory, and nobody else's.
pub struct StaticPool<const N: usize, M = ()> {
    pool: FixedPool<M>,
    bytes: UnsafeCell<[MaybeUninit<u8>; N]>,
}

// SAFETY: `bytes` are reached through the pool only, which hands each of them to one caller at a time.
unsafe impl<const N: usize, M> Sync for StaticPool<N, M> {}

impl<const N: usize> StaticPool<N> {
    /// A pool that has handed out nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self::masked()
    }
}

impl<const N: usize, M: Mask> StaticPool<N, M> {
    /// A pool whose lock is taken masked. All of it is zero or undefined, so that a `static` of it is in `.bss`.
    #[must_use]
    pub const fn masked() -> Self {
        // The address of the memory is not known before the whole stands where it will stay: see `by_ref`.
        let pool = FixedPool { pool: Mutex::new(Pool::EMPTY), mask: PhantomData };
        Self { pool, bytes: UnsafeCell::new([MaybeUninit::uninit(); N]) }
    }

    /// Gives the pool as an allocator that can be copied about.
    #[must_use]
    pub fn by_ref(&'static self) -> PoolRef<M> {
        self.pool.locked(|pool| {
            // INVARIANT: `'static`, so the bytes stay where they are; this is the only place that looks at them.
            pool.start = Some(NonNull::from(&self.bytes).cast());
            pool.end = N;
        });
        PoolRef(&self.pool)
    }
}

impl<const N: usize> Default for StaticPool<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize, M: Mask> fmt::Debug for StaticPool<N, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pool.fmt(f)
    }
}

impl Pool {
    /// Without memory.
    const EMPTY: Self = Self { start: None, used: 0, end: 0, in_use: 0, free: [None; CLASSES] };

    fn take(&mut self, class: usize) -> Option<NonNull<u8>> {
        let size = size_of_class(class);
        let piece = match self.free[class] {
            Some(free) => {
                // SAFETY: a piece on a free list begins with a `Free` and is ours (invariant).
                self.free[class] = unsafe { free.as_ref().next };
                free.cast()
            }
            None => {
                let start = self.start?;
                let address = start.addr().get() + self.used;
                // Not zero before the first piece at most.
                let padding = address.wrapping_neg() % GRAIN;
                let begin = self.used.checked_add(padding)?;
                let after = begin.checked_add(size)?;
                if after > self.end {
                    return None;
                }
                self.used = after;
                // SAFETY: `begin + size <= end`: inside the memory that the pool was given.
                unsafe { start.add(begin) }
            }
        };
        self.in_use += size;
        Some(piece)
    }

    /// # Safety
    ///
    /// `piece` was taken with the same class, and is not used by the caller any more.
    unsafe fn give(&mut self, piece: NonNull<u8>, class: usize) {
        let free = piece.cast::<Free>();
        // SAFETY: the piece is the pool's again, aligned and large enough for a `Free` (`GRAIN`).
        unsafe { free.write(Free { next: self.free[class] }) };
        self.free[class] = Some(free);
        self.in_use -= size_of_class(class);
    }
}

impl<M: Mask> fmt::Debug for FixedPool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedPool").field("capacity", &self.capacity()).field("in_use", &self.in_use()).finish()
    }
}

/// An [`Allocator`] that takes from a [`FixedPool`]: what [`Platform::allocator`](crate::Platform::allocator) returns.
pub struct PoolRef<M: Mask = ()>(&'static FixedPool<M>);

impl<M: Mask> PoolRef<M> {
    /// The pool.
    #[must_use]
    pub fn pool(self) -> &'static FixedPool<M> {
        self.0
    }
}

impl<M: Mask> Clone for PoolRef<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: Mask> Copy for PoolRef<M> {}

impl<M: Mask> fmt::Debug for PoolRef<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PoolRef").field(self.0).finish()
    }
}

// SAFETY:
// 1. A piece stays valid until it is given back: the memory is `'static`, and pieces overlap no others.
// 2. Copies are of the same pool, so each may free what another allocated.
// 3. What is given out fits its layout: the piece is as large and as aligned, or larger by the alignment that is wanted.
unsafe impl<M: Mask> Allocator for PoolRef<M> {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let class = FixedPool::<M>::class(layout)?;
        let mut piece = self.0.locked(|pool| pool.take(class)).ok_or(AllocError)?;
        if is_wide(layout) {
            // From one grain on, so that there is a word before it.
            let shift = layout.align() - piece.addr().get() % layout.align();
            // SAFETY:
            // 1. `shift` is at most the alignment, by which the piece is larger than the layout.
            // 2. Both addresses are multiples of a grain and differ: the word before the second one is in the piece.
            unsafe {
                let at = piece.add(shift);
                at.cast::<NonNull<u8>>().sub(1).write(piece);
                piece = at;
            }
        }
        Ok(NonNull::slice_from_raw_parts(piece, layout.size()))
    }

    unsafe fn deallocate(&self, piece: NonNull<u8>, layout: Layout) {
        let Ok(class) = FixedPool::<M>::class(layout) else { return };
        // SAFETY:
        // 1. The caller promises that the piece came from this pool with a layout that fits, and the class and the width
        //    depend on the layout only.
        // 2. Before what is wide stands where its piece begins.
        unsafe {
            let piece = if is_wide(layout) { piece.cast::<NonNull<u8>>().sub(1).read() } else { piece };
            self.0.locked(|pool| pool.give(piece, class));
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::boxed::Box;
    use std::vec::Vec;

    use super::*;
    use crate::mem::TryVec;
    use crate::testing::Random;

    fn pool(size: usize) -> &'static FixedPool {
        // Kept reachable, so that a leak checker does not mind them.
        static POOLS: std::sync::Mutex<Vec<&'static FixedPool>> = std::sync::Mutex::new(Vec::new());
        let memory = Box::leak(std::vec![MaybeUninit::uninit(); size].into_boxed_slice());
        let pool: &'static FixedPool = Box::leak(Box::new(FixedPool::new(memory)));
        POOLS.lock().expect("not poisoned").push(pool);
        pool
    }

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).expect("a layout")
    }

    #[test]
    fn pieces_are_aligned_disjoint_and_reused() {
        let pool = pool(1 << 16);
        let at = pool.by_ref();
        let mut random = Random(5);
        let mut out: Vec<(NonNull<u8>, Layout, u8)> = Vec::new();
        for n in 0..if cfg!(miri) { 150 } else { 5000 } {
            if random.below(2) == 0 {
                let layout = layout(random.below(100), 1 << random.below(8));
                let Ok(piece) = at.allocate(layout) else { continue };
                assert_eq!(piece.cast::<u8>().addr().get() % layout.align(), 0);
                // SAFETY: the piece has `layout.size()` bytes.
                unsafe { piece.cast::<u8>().write_bytes(n as u8, layout.size()) };
                out.push((piece.cast(), layout, n as u8));
            } else if !out.is_empty() {
                let (piece, layout, mark) = out.swap_remove(random.below(out.len()));
                for byte in 0..layout.size() {
                    // SAFETY: the piece has `layout.size()` bytes, and all were written.
                    assert_eq!(unsafe { piece.add(byte).read() }, mark, "overwritten by another piece");
                }
                // SAFETY: it was allocated with this layout.
                unsafe { at.deallocate(piece, layout) };
            }
        }
        for (piece, layout, _) in out {
            // SAFETY: it was allocated with this layout.
            unsafe { at.deallocate(piece, layout) };
        }
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn an_eighth_is_lost_at_most() {
        for size in (1..5000).chain([LARGEST / 8 * 7, LARGEST - 1, LARGEST]) {
            let class = class_of(size);
            let piece = size_of_class(class);
            assert!(piece >= size && piece.is_multiple_of(GRAIN), "{size}: {piece}");
            assert!(piece - size < GRAIN || piece - size <= size / STEPS, "{size}: {piece}");
            assert!(class == 0 || size_of_class(class - 1) < size, "{size} fits a smaller one than {piece}");
        }
        assert_eq!(size_of_class(CLASSES - 1), LARGEST);
    }

    #[test]
    fn last_freed_first_and_exhaustion() {
        // Room for four pieces of 64 bytes, wherever the memory begins: the first begins at a multiple of the grain.
        let size = 4 * 64 + GRAIN - 1;
        let pool = pool(size);
        assert_eq!(pool.capacity(), size);
        let at = pool.by_ref();
        let mut pieces = Vec::new();
        while let Ok(piece) = at.allocate(layout(60, 4)) {
            pieces.push(piece);
        }
        assert_eq!((pieces.len(), pool.in_use()), (4, 256));
        assert!(at.allocate(layout(usize::MAX / 4, 1)).is_err());
        let last = pieces.pop().expect("a piece");
        // SAFETY: it was allocated with a layout of the same class.
        unsafe { at.deallocate(last.cast(), layout(60, 4)) };
        assert_eq!(at.allocate(layout(50, 1)).expect("memory").cast::<u8>(), last.cast());
    }

    #[test]
    fn a_static_pool_hands_out_its_own_bytes_and_no_more() {
        static MEMORY: StaticPool<1024> = StaticPool::new();
        let (at, again) = (MEMORY.by_ref(), MEMORY.by_ref());
        let inside = (&raw const MEMORY).addr()..(&raw const MEMORY).addr() + size_of_val(&MEMORY);
        let mut pieces = Vec::new();
        // In turn through two handles: they are of one pool.
        while let Ok(piece) = [at, again][pieces.len() % 2].allocate(layout(64, 8)) {
            let piece = piece.cast::<u8>();
            assert!(inside.contains(&piece.addr().get()) && inside.contains(&(piece.addr().get() + 63)));
            // SAFETY: the piece has 64 bytes.
            unsafe { piece.write_bytes(0xa5, 64) };
            pieces.push(piece);
        }
        assert!((15..=16).contains(&pieces.len()), "{}", pieces.len());
        for piece in pieces {
            // SAFETY: it was allocated with this layout.
            unsafe { again.deallocate(piece, layout(64, 8)) };
        }
        assert_eq!((at.pool().in_use(), at.pool().capacity()), (0, 1024));
    }

    #[test]
    fn a_masked_pool_is_locked_in_between() {
        use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
        static DEPTH: AtomicI32 = AtomicI32::new(0);
        static MASKED: AtomicUsize = AtomicUsize::new(0);
        static MEMORY: StaticPool<1024, Masked> = StaticPool::masked();
        struct Masked;
        impl Mask for Masked {
            fn mask() {
                assert!(DEPTH.fetch_add(1, Ordering::SeqCst) == 0 && !MEMORY.pool.pool.is_locked());
                MASKED.fetch_add(1, Ordering::SeqCst);
            }
            fn unmask() {
                assert!(DEPTH.fetch_sub(1, Ordering::SeqCst) == 1 && !MEMORY.pool.pool.is_locked());
            }
        }
        let at = MEMORY.by_ref();
        let piece = at.allocate(layout(64, 8)).expect("memory");
        assert_eq!(at.pool().in_use(), 64);
        // SAFETY: it was allocated with this layout.
        unsafe { at.deallocate(piece.cast(), layout(64, 8)) };
        assert_eq!((DEPTH.load(Ordering::SeqCst), MASKED.load(Ordering::SeqCst)), (0, 4));
    }

    #[test]
    fn a_vector_lives_in_a_pool() {
        let pool = pool(4096);
        let mut vec = TryVec::new(pool.by_ref());
        let pushed = (0_u64..).take_while(|n| vec.try_push(*n).is_ok()).count();
        assert!((64..512).contains(&pushed));
        assert!(vec.iter().copied().eq(0..pushed as u64));
        drop(vec);
        assert_eq!(pool.in_use(), 0);
    }
}
