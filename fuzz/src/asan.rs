//! Lets AddressSanitizer know which blocks of an [`Arena`](ifnet_std::host::shuttle::Arena) may be touched.
//!
//! The arena keeps what the emulated kernel frees, so without this a use of freed memory, or a write past the end of a
//! block, would be none for the sanitizer.

/// From now on, in a process that has AddressSanitizer.
#[cfg(sanitize = "address")]
pub fn watch() {
    use core::ffi::c_void;
    use core::ptr::NonNull;

    use ifnet_std::host::shuttle::Watch;

    unsafe extern "C" {
        fn __asan_poison_memory_region(start: *const c_void, size: usize);
        fn __asan_unpoison_memory_region(start: *const c_void, size: usize);
    }
    // SAFETY: 1. Both only write the sanitizer's own memory. 2. The bytes are the arena's, so no memory of somebody else
    // becomes untouchable.
    let given = |start: NonNull<u8>, size| unsafe { __asan_unpoison_memory_region(start.as_ptr().cast(), size) };
    // SAFETY: as above.
    let kept = |start: NonNull<u8>, size| unsafe { __asan_poison_memory_region(start.as_ptr().cast(), size) };
    Watch { given, kept }.set();
}

/// There is no sanitizer.
#[cfg(not(sanitize = "address"))]
pub fn watch() {}
