//! A kernel in Rust lets C in.
#![expect(unsafe_code, reason = "a kernel on the stack is shown to C for a while")]

use core::ptr::NonNull;

use super::abi::ifnet_kernel_t;
use super::registry::{CKernel, CPlatform, Kernels};
use crate::{Errno, Kernel};

/// Runs `work` with a handle of a kernel, which functions in C can use for as long as `work` runs: `ifnet_thread_enter`, and
/// then whatever [`capi_export`](crate::capi_export) has exported. C and Rust share the kernel, its vnets and interfaces.
///
/// ```
/// # use ifnet::capi::{CPlatform, serve};
/// # use ifnet::{Config, Errno, Kernel};
/// fn with_drivers<P: CPlatform>(kernel: &Kernel<P>) -> Result<(), Errno> {
///     serve(kernel, |handle| {
///         // What a driver in C has as its `attach(ifnet_kernel_t)` is called with `handle` here.
///         assert_ne!(handle.0, 0);
///     })
/// }
/// ```
///
/// # Errors
/// `EAGAIN` if four kernels of this platform are served, `ENOMEM`, `ENOSPC` if there are no more handles. Then `work` was not
/// called.
///
/// # Panics
/// The emulated kernel panics if a thread is still entered at the end, or C has not freed an interface or released a
/// reference: `serve: C has not let go of the kernel`.
pub fn serve<P: CPlatform, R>(kernel: &Kernel<P>, work: impl FnOnce(ifnet_kernel_t) -> R) -> Result<R, Errno> {
    let claim = Kernels::<P>::claim()?;
    // As many as the kernel can have: any may call a function of a driver, and then needs a handle.
    let threads = kernel.config().threads;
    // SAFETY: `kernel` is borrowed for longer than `whole` lives.
    let whole = unsafe { claim.build(kernel, threads)? };
    // SAFETY: it was built for this place; `Served` closes the place before this function returns or unwinds, or never
    // returns.
    let served = Served { kernel, handle: unsafe { claim.open(NonNull::from(&whole)) } };
    let result = work(served.handle);
    drop(served);
    Ok(result)
}

/// Closes the place at the end.
struct Served<'k, P: CPlatform> {
    kernel: &'k Kernel<P>,
    handle: ifnet_kernel_t,
}

impl<P: CPlatform> Drop for Served<'_, P> {
    fn drop(&mut self) {
        if Kernels::<P>::close(self.handle, CKernel::is_left).is_err() {
            let _never_unwinds = NeverUnwinds;
            self.kernel.platform().panic(format_args!("serve: C has not let go of the kernel"));
        }
    }
}

/// Whoever is left may be in a call at this moment. So the kernel may not be taken away by a host whose panic unwinds: a
/// second panic ends the program.
struct NeverUnwinds;

impl Drop for NeverUnwinds {
    fn drop(&mut self) {
        panic!("the panic of a kernel that C is using has unwound");
    }
}

#[cfg(test)]
mod tests;
