//! One object in one allocation: the two steps that everything counted in this crate is built from.
#![expect(unsafe_code, reason = "owns memory by hand")]

use core::alloc::Layout;
use core::ptr::NonNull;

use allocator_api2::alloc::Allocator;

use super::NoMem;

/// Moves `value` into memory of its own. On failure it is given back.
pub(crate) fn try_alloc<T, A: Allocator>(allocator: &A, value: T) -> Result<NonNull<T>, (NoMem, T)> {
    let Ok(memory) = allocator.allocate(Layout::new::<T>()) else { return Err((NoMem, value)) };
    let memory = memory.cast::<T>();
    // SAFETY:
    // 1. The allocator returned memory that fits the layout of `T` in size and alignment.
    // 2. The memory is ours alone, and writing does not drop what was there.
    unsafe { memory.write(value) };
    Ok(memory)
}

/// Returns the memory of an object whose value has already been dropped or moved out.
///
/// # Safety
///
/// `memory` came from [`try_alloc`] with the same `T` and a clone of the same allocator; nothing uses it afterwards.
pub(crate) unsafe fn free<T, A: Allocator>(allocator: &A, memory: NonNull<T>) {
    // SAFETY: the caller's promise is the contract of `deallocate`.
    unsafe { allocator.deallocate(memory.cast(), Layout::new::<T>()) };
}
