//! The functions for threads, the epoch and vnets. What each does, and its errors, is said in `export`.
#![expect(unsafe_code, reason = "passes on what C promises of its pointers")]

use core::ffi::{c_char, c_int};

use super::abi::{ifnet_kernel_t, ifnet_thread_t, vnet_t};
use super::handle::CHandle;
use super::raw::{self, errno};
use super::registry::CPlatform;
use super::session::{self, Call, with_thread};
use crate::{Errno, invariants};

/// Runs a verb as the thread `td`.
pub(super) fn verb<P: CPlatform>(td: ifnet_thread_t, work: impl FnOnce(&Call<'_, P>) -> Result<(), Errno>) -> c_int {
    errno(with_thread(td, work))
}

/// The same, of one that gives a handle; null is failure.
pub(super) fn handle<P: CPlatform, H: CHandle>(
    td: ifnet_thread_t,
    work: impl FnOnce(&Call<'_, P>) -> Result<H, Errno>,
) -> H {
    with_thread(td, work).unwrap_or(H::NULL)
}

pub unsafe fn ifnet_thread_enter<P: CPlatform>(kernel: ifnet_kernel_t, td: *mut ifnet_thread_t) -> c_int {
    if td.is_null() {
        return Errno::EINVAL.value();
    }
    // SAFETY: the caller's promise.
    errno(session::thread_enter::<P>(kernel).and_then(|entered| unsafe { raw::put(td, entered) }))
}

pub fn ifnet_thread_exit<P: CPlatform>(td: ifnet_thread_t) -> c_int {
    errno(session::thread_exit::<P>(td))
}

pub fn ifnet_errno<P: CPlatform>(td: ifnet_thread_t) -> c_int {
    with_thread::<P, _>(td, |call| Ok(call.last_errno())).unwrap_or_else(Errno::value)
}

pub unsafe fn ifnet_run_deferred<P: CPlatform>(td: ifnet_thread_t, ran: *mut c_int) -> c_int {
    verb::<P>(td, |call| {
        let any = call.kernel.kernel.run_deferred(call.td());
        if !ran.is_null() {
            // SAFETY: the caller's promise.
            unsafe { raw::put(ran, c_int::from(any))? };
        }
        Ok(())
    })
}

pub unsafe fn ifnet_check<P: CPlatform>(td: ifnet_thread_t, text: *mut c_char, len: usize) -> c_int {
    verb::<P>(td, |call| {
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

pub fn net_epoch_enter<P: CPlatform>(td: ifnet_thread_t) -> c_int {
    verb::<P>(td, |call| call.section_enter())
}

pub fn net_epoch_exit<P: CPlatform>(td: ifnet_thread_t) -> c_int {
    verb::<P>(td, |call| call.section_exit())
}

pub fn net_epoch_wait<P: CPlatform>(td: ifnet_thread_t) -> c_int {
    verb::<P>(td, |call| {
        call.td().net_epoch_wait();
        Ok(())
    })
}

pub fn net_epoch_drain_callbacks<P: CPlatform>(td: ifnet_thread_t) -> c_int {
    verb::<P>(td, |call| {
        call.td().net_epoch_drain_callbacks();
        Ok(())
    })
}

pub fn vnet_alloc<P: CPlatform>(td: ifnet_thread_t) -> vnet_t {
    handle::<P, _>(td, |call| {
        let vnet = crate::vnet_alloc(call.td())?;
        call.vnet_handle(&vnet).inspect_err(|_| {
            // It was just made, and nobody else knows it.
            let _ = crate::vnet_destroy(call.td(), &vnet);
        })
    })
}

pub fn vnet_destroy<P: CPlatform>(td: ifnet_thread_t, vnet: vnet_t) -> c_int {
    verb::<P>(td, |call| {
        let vnet = call.vnet(vnet)?;
        crate::vnet_destroy(call.td(), &vnet)?;
        call.kernel.objects.forget_vnet(&vnet);
        Ok(())
    })
}

pub fn vnet_default<P: CPlatform>(td: ifnet_thread_t) -> vnet_t {
    handle::<P, _>(td, |call| call.vnet_handle(&call.kernel.kernel.vnet0()))
}

pub fn vnet_ifcnt<P: CPlatform>(td: ifnet_thread_t, vnet: vnet_t) -> c_int {
    with_thread::<P, _>(td, |call| Ok(call.vnet(vnet)?.ifcnt()))
        .map_or(-1, |count| c_int::try_from(count).unwrap_or(c_int::MAX))
}

pub fn curvnet<P: CPlatform>(td: ifnet_thread_t) -> vnet_t {
    handle::<P, _>(td, |call| call.vnet_handle(&call.td().curvnet()))
}

pub fn curvnet_set<P: CPlatform>(td: ifnet_thread_t, vnet: vnet_t) -> vnet_t {
    handle::<P, _>(td, |call| {
        let new = call.vnet(vnet)?;
        // First the handle, which may need memory.
        let former = call.vnet_handle(&call.td().curvnet())?;
        drop(call.td().curvnet_swap(new));
        Ok(former)
    })
}
