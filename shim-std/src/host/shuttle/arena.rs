//! The memory of one execution: deterministic, counted, and able to fail on demand.
//!
//! A schedule must decide everything, so it must also decide which freed block the next allocation gets. Blocks are
//! therefore kept in one last-in-first-out list per power of two, the way a kernel's per-CPU cache hands back the
//! hottest block: the address that was freed last is the address that is given out next, which is exactly the reuse
//! that turns a stale pointer into a wrong object.
//!
//! The arena counts live blocks and bytes, so that a test can say that nothing leaked, and it can refuse the n-th
//! allocation, so that a test can walk through every `ENOMEM`.
//!
//! AddressSanitizer does not know which blocks are given out, since the slabs are not freed. Who runs under it says so with
//! a [`Watch`].
//!
//! Slabs outlive executions: the next execution of the OS thread gets those of the last. To ask the system for them each
//! time costs more than many an execution, above all under `AddressSanitizer`, which keeps freed memory for a while.
#![expect(
    unsafe_code,
    reason = "an Allocator can only be implemented with an unsafe impl, and its memory must be given back"
)]

use core::alloc::Layout;
use core::cell::RefCell;
use core::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use allocator_api2::alloc::{AllocError, Allocator};

/// Number of size classes: blocks of `2^0` to `2^47` bytes.
const CLASSES: usize = 48;

/// Blocks up to this size are carved from slabs of [`SLAB`] bytes; larger ones come from the system one by one.
const SMALL: usize = 2048;

/// How much is taken from the system for small blocks at a time. Also the alignment of a slab, so that every block in it
/// is aligned to its own size.
const SLAB: usize = 16 * 1024;

/// As many slabs are kept for the next execution of an OS thread.
const KEPT: usize = 64;

/// Who wants to know which bytes may be touched.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// From here on so many bytes may be.
    pub given: fn(NonNull<u8>, usize),
    /// From here on so many bytes may not be, until they are given again.
    pub kept: fn(NonNull<u8>, usize),
}

static WATCH: OnceLock<Watch> = OnceLock::new();

impl Watch {
    /// Watches all arenas of the process from now on. The first watch stays.
    pub fn set(self) {
        let _ = WATCH.set(self);
    }
}

/// Tells the watch, if there is one.
fn tell(what: impl FnOnce(&Watch)) {
    if let Some(watch) = WATCH.get() {
        what(watch);
    }
}

/// Slabs that no execution has.
#[derive(Default)]
struct Spare(Vec<NonNull<u8>>);

impl Drop for Spare {
    fn drop(&mut self) {
        self.0.drain(..).for_each(give_back_slab);
    }
}

thread_local! {
    static SPARE: RefCell<Spare> = RefCell::default();
}

/// The layout of a slab.
const SLAB_LAYOUT: Layout = match Layout::from_size_align(SLAB, SLAB) {
    Ok(layout) => layout,
    Err(_) => panic!("a power of two"),
};

fn give_back_slab(slab: NonNull<u8>) {
    tell(|watch| (watch.given)(slab, SLAB));
    // SAFETY:
    // 1. Only what `take` got with this layout is passed here, by its last owner.
    unsafe { std::alloc::dealloc(slab.as_ptr(), SLAB_LAYOUT) };
}

/// A handle to the memory of one execution. Clones share the memory; the last one gives it back.
#[derive(Clone, Debug)]
pub struct Arena(Arc<Shared>);

#[derive(Debug)]
struct Shared(Mutex<State>);

/// # Invariants
///
/// 1. Every pointer in `free[c]` is a block of `2^c` bytes, aligned to `2^c`, inside memory that `taken` lists, and
///    nobody uses it.
/// 2. `slab` is the unused rest of the newest slab in `taken`; it overlaps no block that was handed out.
/// 3. `taken` lists, once each, what was obtained from the system and not given back.
#[derive(Debug)]
struct State {
    free: [Vec<NonNull<u8>>; CLASSES],
    slab: Option<(NonNull<u8>, usize)>,
    taken: Vec<(NonNull<u8>, Layout)>,
    usage: Usage,
    fail_at: Option<u64>,
    /// Then every so many of those that follow; 0: none.
    fail_every: u64,
    refused: u64,
}

/// What an [`Arena`] has been asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Blocks that are allocated now.
    pub live_blocks: usize,
    /// Bytes that were asked for in these blocks.
    pub live_bytes: usize,
    /// Allocations that were asked for, with those refused.
    pub allocations: u64,
}

// SAFETY:
// 1. `State` owns the memory that its pointers point to; no pointer is tied to a thread.
unsafe impl Send for State {}

impl Arena {
    /// An arena that holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Shared(Mutex::new(State {
            free: [const { Vec::new() }; CLASSES],
            slab: None,
            taken: Vec::new(),
            usage: Usage::default(),
            fail_at: None,
            fail_every: 0,
            refused: 0,
        }))))
    }

    /// What is allocated now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.state().usage
    }

    /// Refuses the allocation with this number (the first is 1, counted in [`Usage::allocations`]); `None`: none.
    pub fn fail_at(&self, number: Option<u64>) {
        let mut state = self.state();
        state.fail_at = number;
        state.fail_every = 0;
    }

    /// Refuses the `nth` allocation from now on (1 is the next), and then every `every`-th; 0: only that one.
    pub fn fail_next(&self, nth: u64, every: u64) {
        let mut state = self.state();
        state.fail_at = Some(state.usage.allocations + nth);
        state.fail_every = every;
    }

    /// How many allocations were refused because of [`fail_at`](Self::fail_at) or [`fail_next`](Self::fail_next).
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.state().refused
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Arena {
    fn default() -> Self {
        Self::new()
    }
}

/// The class of a layout, its exponent; `None` when it is absurdly large. At least eight bytes, of which AddressSanitizer can
/// remember how many may be touched.
fn class(layout: Layout) -> Option<usize> {
    let size = layout.size().max(layout.align()).max(8).checked_next_power_of_two()?;
    let class = size.trailing_zeros() as usize;
    (class < CLASSES).then_some(class)
}

impl State {
    /// Whether the allocation that was just counted is to be refused.
    fn refuses(&mut self) -> bool {
        let Some(since) = self.fail_at.and_then(|first| self.usage.allocations.checked_sub(first)) else {
            return false;
        };
        let refuses = since == 0 || self.fail_every != 0 && since.is_multiple_of(self.fail_every);
        self.refused += u64::from(refuses);
        refuses
    }

    fn block(&mut self, class: usize) -> Option<NonNull<u8>> {
        if let Some(block) = self.free[class].pop() {
            return Some(block);
        }
        let size = 1_usize << class;
        if size > SMALL {
            return self.take(Layout::from_size_align(size, size.min(SLAB)).ok()?);
        }
        let (start, offset) = match self.slab {
            Some((start, used)) if used.next_multiple_of(size) + size <= SLAB => (start, used.next_multiple_of(size)),
            _ => (self.take(SLAB_LAYOUT)?, 0),
        };
        self.slab = Some((start, offset + size));
        // SAFETY:
        // 1. `offset + size <= SLAB` by the guard above, or `0 + size <= SMALL <= SLAB`; `start` is a slab of that size.
        Some(unsafe { start.add(offset) })
    }

    fn take(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let spare = || SPARE.try_with(|spare| spare.borrow_mut().0.pop()).ok().flatten();
        let memory = match (layout == SLAB_LAYOUT).then(spare).flatten() {
            Some(slab) => slab,
            // SAFETY:
            // 1. `layout` has a size of at least one: it is `SLAB` or more than `SMALL`.
            None => NonNull::new(unsafe { std::alloc::alloc(layout) })?,
        };
        tell(|watch| (watch.kept)(memory, layout.size()));
        self.taken.push((memory, layout));
        Some(memory)
    }
}

// SAFETY:
// 1. A block is at least as large and as aligned as asked: its class is the power of two above both, small blocks lie at
//    multiples of their size in a slab aligned to `SLAB`, large ones are aligned to `min(size, SLAB)`; a layout that
//    wants more alignment than that is refused.
// 2. No block is given out twice: it leaves its free list or the unused rest of a slab (invariants 1 and 2).
// 3. Memory stays valid until the last clone is gone: `taken` is released in `Shared`'s drop only.
unsafe impl Allocator for Arena {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let mut state = self.state();
        state.usage.allocations += 1;
        if state.refuses() || layout.align() > SLAB {
            return Err(AllocError);
        }
        let class = class(layout).ok_or(AllocError)?;
        let block = state.block(class).ok_or(AllocError)?;
        tell(|watch| (watch.given)(block, layout.size()));
        state.usage.live_blocks += 1;
        state.usage.live_bytes += layout.size();
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    unsafe fn deallocate(&self, ptr: NonNull<u8>, layout: Layout) {
        let mut state = self.state();
        state.usage.live_blocks -= 1;
        state.usage.live_bytes -= layout.size();
        if let Some(class) = class(layout) {
            tell(|watch| (watch.kept)(ptr, layout.size()));
            state.free[class].push(ptr);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Last in, first out: the next execution carves the same slabs in the same order.
        for (memory, layout) in state.taken.drain(..).rev() {
            let keep = |spare: &RefCell<Spare>| {
                let kept = &mut spare.borrow_mut().0;
                (kept.len() < KEPT).then(|| kept.push(memory)).is_some()
            };
            if layout == SLAB_LAYOUT && SPARE.try_with(keep).unwrap_or(false) {
                continue;
            }
            // The system's allocator may have to write into it.
            tell(|watch| (watch.given)(memory, layout.size()));
            // SAFETY:
            // 1. It came from `alloc` with this layout (invariant 3) and is given back once.
            // 2. No handle is left, so by the contract of `Allocator` no block in it is used any more.
            unsafe { std::alloc::dealloc(memory.as_ptr(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reuse_is_last_in_first_out_within_a_class() {
        let arena = Arena::new();
        let layout = Layout::from_size_align(40, 8).unwrap();
        let [a, b, c] = [0; 3].map(|_| arena.allocate(layout).unwrap().cast::<u8>());
        assert_eq!(arena.usage(), Usage { live_blocks: 3, live_bytes: 120, allocations: 3 });
        // SAFETY: each block came from this arena with this layout and is freed once.
        unsafe {
            arena.deallocate(a, layout);
            arena.deallocate(c, layout);
            arena.deallocate(b, layout);
        }
        assert_eq!(arena.usage().live_blocks, 0);
        let other = Layout::from_size_align(100, 4).unwrap();
        assert_ne!(arena.allocate(other).unwrap().cast::<u8>(), b, "another class");
        assert_eq!([0; 3].map(|_| arena.allocate(layout).unwrap().cast::<u8>()), [b, c, a]);
    }

    #[test]
    fn alignment_and_refusal() {
        let arena = Arena::new();
        for align in [1, 8, 64, 4096] {
            for size in [1, 33, 3000, 70_000] {
                let layout = Layout::from_size_align(size, align).unwrap();
                let block = arena.allocate(layout).unwrap();
                assert!(block.cast::<u8>().addr().get().is_multiple_of(align) && block.len() == size);
            }
        }
        arena.fail_at(Some(18));
        let layout = Layout::new::<u64>();
        assert!(arena.allocate(layout).is_ok());
        assert!(arena.allocate(layout).is_err());
        assert!(arena.allocate(layout).is_ok());
        arena.fail_next(2, 3);
        let refused: Vec<bool> = (0..8).map(|_| arena.allocate(layout).is_err()).collect();
        assert_eq!(refused, [false, true, false, false, true, false, false, true]);
        assert_eq!(arena.refused(), 4);
        arena.fail_at(None);
        assert!(arena.allocate(layout).is_ok());
    }

    /// What a watch is told: whether it was given, where, and how many bytes.
    type Told = (bool, NonNull<u8>, usize);

    thread_local! {
        /// Of this thread, which wants to know.
        static TOLD: RefCell<Option<Vec<Told>>> = const { RefCell::new(None) };
    }

    fn note(given: bool, start: NonNull<u8>, size: usize) {
        // A thread that ends gives its slabs back, perhaps after this is gone.
        let _ = TOLD.try_with(|told| told.borrow_mut().iter_mut().for_each(|told| told.push((given, start, size))));
    }

    #[test]
    fn a_watch_is_told_what_may_be_touched() {
        Watch { given: |start, size| note(true, start, size), kept: |start, size| note(false, start, size) }.set();
        TOLD.set(Some(Vec::new()));
        let arena = Arena::new();
        let layout = Layout::from_size_align(41, 8).unwrap();
        let block = arena.allocate(layout).unwrap().cast::<u8>();
        // SAFETY: it came from this arena with this layout and is freed once.
        unsafe { arena.deallocate(block, layout) };
        let told = TOLD.take().unwrap_or_default();
        // Nothing of a slab, but what is given out of it, without the rest of its class; and no longer once it is freed.
        let (slab, of_slab) = (told[0].1, told[0].2);
        assert_eq!((told[0].0, of_slab), (false, SLAB));
        assert!(slab <= block && block.addr().get() < slab.addr().get() + SLAB);
        assert_eq!(told[1..], [(true, block, 41), (false, block, 41)]);
    }
}
