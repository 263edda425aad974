//! A bare-metal program around the core that cannot be linked if anything it reaches allocates.
//!
//! hashbrown names the `alloc` crate for its `Layout`, and rustc then asks every final program for a global allocator,
//! used or not. This one satisfies rustc and calls functions that nobody defines. Whatever is not reachable is dropped
//! before symbols are resolved, so the link fails exactly when some reachable code allocates.
#![no_std]
#![no_main]

use core::alloc::{GlobalAlloc, Layout};

use ifnet as _;

struct Nobody;

unsafe extern "C" {
    fn somebody_allocates(size: usize) -> *mut u8;
    fn somebody_frees(ptr: *mut u8);
}

// SAFETY: neither function can ever run: a program that reaches one of them is not linked.
unsafe impl GlobalAlloc for Nobody {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { somebody_allocates(layout.size()) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, _: Layout) {
        // SAFETY: as above.
        unsafe { somebody_frees(ptr) }
    }
}

#[global_allocator]
static NOBODY: Nobody = Nobody;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Where a kernel would begin.
// SAFETY: the only symbol of this name in the program.
#[unsafe(no_mangle)]
pub extern "C" fn _start() -> ! {
    #[cfg(feature = "allocate")]
    {
        extern crate alloc;
        core::hint::black_box(alloc::boxed::Box::new(core::hint::black_box(1u64)));
    }
    loop {}
}
