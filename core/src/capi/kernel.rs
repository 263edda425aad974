//! The functions for kernels, threads, the epoch and vnets.
#![expect(unsafe_code, reason = "exports functions by name, and passes on what C promises of its pointers")]

use core::ffi::{c_char, c_int, c_void};

use super::abi::{ifnet_config, ifnet_host, ifnet_kernel, thread, vnet};
use super::raw::{self, errno};
use super::registry::{self, Call, with_kernel, with_thread};
use crate::{Errno, invariants};

/// Runs a verb as the thread `td`.
pub(super) fn verb(td: *mut thread, work: impl FnOnce(&Call<'_>) -> Result<(), Errno>) -> c_int {
    errno(with_thread(td, work))
}

/// The same, of one that gives a handle; null is failure.
pub(super) fn handle<T>(td: *mut thread, work: impl FnOnce(&Call<'_>) -> Result<*mut T, Errno>) -> *mut T {
    with_thread(td, work).unwrap_or(core::ptr::null_mut())
}

/// Boots a kernel: the default vnet with its `lo0`.
///
/// `host` is copied. `memory` holds everything if the host has no `alloc`; otherwise it may be null. It is the kernel's
/// until `ifnet_shutdown`. `config` may be null.
///
/// Errors: `EINVAL` for null or for a host that lacks what it must have; `EAGAIN` if four kernels are running; `ENOMEM`.
///
/// # Safety
/// Pointers that are not null point to what their types say; `memory`, to `len` bytes that are nobody else's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ifnet_boot(
    host: *const ifnet_host,
    memory: *mut c_void,
    len: usize,
    config: *const ifnet_config,
    kernel: *mut *mut ifnet_kernel,
) -> c_int {
    if kernel.is_null() {
        return Errno::EINVAL.value();
    }
    // SAFETY: the caller's promise.
    let booted = unsafe {
        raw::get(host).ok_or(Errno::EINVAL).and_then(|host| {
            let config = raw::get(config).unwrap_or_default();
            registry::boot(&host, memory.cast(), len, config)
        })
    };
    // SAFETY: the caller's promise.
    errno(booted.and_then(|booted| unsafe { raw::put(kernel, booted) }))
}

/// Takes a kernel down. All its memory is given back.
///
/// Errors: `EINVAL`, `EBADF`; `EBUSY` if a thread is in it, a vnet besides the default one exists, or C has not freed an
/// interface or released a reference.
#[unsafe(no_mangle)]
pub extern "C" fn ifnet_shutdown(kernel: *mut ifnet_kernel) -> c_int {
    errno(registry::shutdown(kernel))
}

/// How many bytes of the memory of `ifnet_boot` are in use; 0 with a host that has `alloc`, and for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn ifnet_memory_in_use(kernel: *mut ifnet_kernel) -> usize {
    with_kernel(kernel, |kernel| kernel.memory_in_use()).unwrap_or(0)
}

/// Makes the calling thread one of the kernel, in the default vnet. Its handle is good in no other thread.
///
/// Errors: `EINVAL`, `EBADF`; `EAGAIN` if as many are entered as the kernel was booted for.
///
/// # Safety
/// `td` is null or points to a place for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ifnet_thread_enter(kernel: *mut ifnet_kernel, td: *mut *mut thread) -> c_int {
    if td.is_null() {
        return Errno::EINVAL.value();
    }
    // SAFETY: the caller's promise.
    errno(registry::thread_enter(kernel).and_then(|entered| unsafe { raw::put(td, entered) }))
}

/// Ends what `ifnet_thread_enter` began.
///
/// Errors: `EINVAL`, `EBADF`; `EPERM` in another thread; `EBUSY` inside an epoch section, or from a function of a driver.
#[unsafe(no_mangle)]
pub extern "C" fn ifnet_thread_exit(td: *mut thread) -> c_int {
    errno(registry::thread_exit(td))
}

/// The error of the thread's last call that failed: for those that return a handle or a number.
#[unsafe(no_mangle)]
pub extern "C" fn ifnet_errno(td: *mut thread) -> c_int {
    with_thread(td, |call| Ok(call.last_errno())).unwrap_or_else(Errno::value)
}

/// Does deferred work: queued tasks, unregistrations, epoch callbacks. Stores in `ran`, if that is not null, whether there
/// was any. It may sleep; call it from where that is allowed, until there was none.
///
/// # Safety
/// `ran` is null or points to an `int`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ifnet_run_deferred(td: *mut thread, ran: *mut c_int) -> c_int {
    verb(td, |call| {
        let any = call.kernel.kernel.run_deferred(call.td());
        if !ran.is_null() {
            // SAFETY: the caller's promise.
            unsafe { raw::put(ran, c_int::from(any))? };
        }
        Ok(())
    })
}

/// Checks every invariant of the kernel that can be seen from outside, while no other thread is in a call.
///
/// Errors: `EDOOFUS` if one does not hold; `text`, if it is not null, says which, if it fits.
///
/// # Safety
/// `text` is null or points to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ifnet_check(td: *mut thread, text: *mut c_char, len: usize) -> c_int {
    verb(td, |call| {
        let Err(violation) = invariants::check(call.td()) else { return Ok(()) };
        let mut report = heapless::String::<128>::new();
        // A report that is too long is cut off.
        let _ = core::fmt::Write::write_fmt(&mut report, format_args!("{violation}"));
        if !text.is_null() {
            // SAFETY: the caller's promise.
            let _ = unsafe { raw::put_text(text, len, &report) };
        }
        Err(Errno::EDOOFUS)
    })
}

/// `NET_EPOCH_ENTER`: what is found inside lives until the end of the section. Nests; may not sleep inside.
#[unsafe(no_mangle)]
pub extern "C" fn net_epoch_enter(td: *mut thread) -> c_int {
    verb(td, |call| call.section_enter())
}

/// `NET_EPOCH_EXIT`. Errors: `EINVAL` without a section.
#[unsafe(no_mangle)]
pub extern "C" fn net_epoch_exit(td: *mut thread) -> c_int {
    verb(td, |call| call.section_exit())
}

/// `NET_EPOCH_WAIT`: waits for every section that is open now. Panics inside one.
#[unsafe(no_mangle)]
pub extern "C" fn net_epoch_wait(td: *mut thread) -> c_int {
    verb(td, |call| {
        call.td().net_epoch_wait();
        Ok(())
    })
}

/// `NET_EPOCH_DRAIN_CALLBACKS`: runs what was deferred so far. Panics inside a section.
#[unsafe(no_mangle)]
pub extern "C" fn net_epoch_drain_callbacks(td: *mut thread) -> c_int {
    verb(td, |call| {
        call.td().net_epoch_drain_callbacks();
        Ok(())
    })
}

/// Makes a vnet with its `lo0`. Null without memory, or for a bad thread.
#[unsafe(no_mangle)]
pub extern "C" fn vnet_alloc(td: *mut thread) -> *mut vnet {
    handle(td, |call| {
        let vnet = crate::vnet_alloc(call.td())?;
        call.vnet_handle(&vnet).inspect_err(|_| {
            // It was just made, and nobody else knows it.
            let _ = crate::vnet_destroy(call.td(), &vnet);
        })
    })
}

/// Destroys a vnet: what is lent to it returns home first, and what was cloned in it is destroyed.
///
/// Errors: `EINVAL` for null and for the default vnet; `EBADF`; `EBUSY` if another thread destroys it.
#[unsafe(no_mangle)]
pub extern "C" fn vnet_destroy(td: *mut thread, vnet: *mut vnet) -> c_int {
    verb(td, |call| {
        let vnet = call.vnet(vnet)?;
        crate::vnet_destroy(call.td(), &vnet)?;
        call.kernel.objects.forget_vnet(&vnet);
        Ok(())
    })
}

/// The default vnet.
#[unsafe(no_mangle)]
pub extern "C" fn vnet_default(td: *mut thread) -> *mut vnet {
    handle(td, |call| call.vnet_handle(&call.kernel.kernel.vnet0()))
}

/// How many interfaces a vnet has; -1 for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn vnet_ifcnt(td: *mut thread, vnet: *mut vnet) -> c_int {
    with_thread(td, |call| Ok(call.vnet(vnet)?.ifcnt()))
        .map_or(-1, |count| c_int::try_from(count).unwrap_or(c_int::MAX))
}

/// The vnet in which the thread works: `curvnet`.
#[unsafe(no_mangle)]
pub extern "C" fn curvnet(td: *mut thread) -> *mut vnet {
    handle(td, |call| call.vnet_handle(&call.td().curvnet()))
}

/// `CURVNET_SET`: works in `vnet` from now on. Gives the former one, for another call of this as `CURVNET_RESTORE`; null
/// for a bad handle.
#[unsafe(no_mangle)]
pub extern "C" fn curvnet_set(td: *mut thread, vnet: *mut vnet) -> *mut vnet {
    handle(td, |call| {
        let new = call.vnet(vnet)?;
        // First the handle, which may need memory.
        let former = call.vnet_handle(&call.td().curvnet())?;
        drop(call.td().curvnet_swap(new));
        Ok(former)
    })
}
