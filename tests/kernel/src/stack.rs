//! The workers' stacks, painted so that the kernel can tell how much of them was used.

use core::cell::UnsafeCell;

use crate::arch;

/// A small system's kernel stack, if the compiler optimises.
pub const SIZE: usize = if cfg!(debug_assertions) { 48 << 10 } else { 16 << 10 };

/// What no stack frame is likely to write.
const PAINT: u64 = 0x5afe_57ac_5afe_57ac;

/// The stacks, lowest worker first.
#[repr(C, align(16))]
pub struct Stacks(UnsafeCell<[[u64; SIZE / 8]; arch::WORKERS]>);

// SAFETY: each stack belongs to one worker; others read it only when that worker has stopped.
unsafe impl Sync for Stacks {}

/// Where the boot code takes them from.
pub static STACKS: Stacks = Stacks(UnsafeCell::new([[0; SIZE / 8]; arch::WORKERS]));

/// The lowest address of a worker's stack.
pub fn bottom(worker: usize) -> *mut u64 {
    STACKS.0.get().cast::<u64>().wrapping_add(worker * (SIZE / 8))
}

/// The address behind a worker's stack.
#[cfg(target_arch = "x86_64")]
pub fn top(worker: usize) -> *mut u64 {
    bottom(worker + 1)
}

/// Paints what of this worker's stack is below the current frame.
pub fn paint(worker: usize) {
    let bottom = bottom(worker);
    // Some room for this function itself, and for an interrupt, which does no harm by painting over its dead frame.
    let words = (arch::stack_pointer() - 1024 - bottom.addr()) / 8;
    for word in 0..words {
        // SAFETY: inside the worker's own stack, below everything that lives on it. Volatile: it is memory that the
        // compiler knows nothing of.
        unsafe { bottom.wrapping_add(word).write_volatile(PAINT) };
    }
}

/// How many bytes of a worker's stack were used at most.
pub fn used(worker: usize) -> usize {
    let bottom = bottom(worker);
    let untouched = (0..SIZE / 8)
        // SAFETY: inside a stack. Volatile: its worker may be running, and then the answer is a moment old.
        .take_while(|word| unsafe { bottom.wrapping_add(*word).read_volatile() } == PAINT)
        .count();
    SIZE - 8 * untouched
}
