//! A driver in C: its functions and its private data, behind the core's `IfOps`.

use core::ffi::{c_int, c_void};
use core::marker::PhantomData;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::abi::{
    IFNET_SIOCADDMULTI, IFNET_SIOCDELMULTI, IFNET_SIOCSIFFLAGS, IFNET_SIOCSIFMTU, if_input_fn_t, if_ioctl_fn_t,
    if_qflush_fn_t, if_reassign_fn_t, if_t, if_transmit_fn_t, ifnet_thread_t, vnet_t,
};
use super::handle::{CHandle as _, Handle};
use super::registry::CPlatform;
use super::session::{lend, with_thread};
use crate::ifnet::{IfOps, Ifnet, IfnetOwner, Ifp, Ioctl};
use crate::mem::Shared;
use crate::platform::Mutex as _;
use crate::thread::Thread;
use crate::{Errno, VnetRef};

/// What `if_setsoftc` and `if_set…fn` set; it hangs where a driver in Rust has its own data.
pub(super) struct Driver<P: CPlatform> {
    handle: Handle,
    softc: AtomicPtr<c_void>,
    functions: P::Mutex<Functions>,
}

/// Copied before a call, so that no lock is held over it.
#[derive(Clone, Copy, Default)]
pub(super) struct Functions {
    pub(super) transmit: if_transmit_fn_t,
    pub(super) input: if_input_fn_t,
    pub(super) qflush: if_qflush_fn_t,
    pub(super) ioctl: if_ioctl_fn_t,
    pub(super) reassign: if_reassign_fn_t,
}

/// The functions of every interface that C has allocated.
struct Ops<P>(PhantomData<P>);

impl<P: CPlatform> Ops<P> {
    const OPS: &'static IfOps<P> = &IfOps {
        transmit: |td, ifp, packet| match function(ifp, |functions| functions.transmit) {
            Some((transmit, handle)) => result(as_c(td, handle, |td, ifp| transmit(td, ifp, P::packet_into_c(packet)))),
            None => Err(Errno::ENXIO),
        },
        input: |td, ifp, packet| {
            if let Some((input, handle)) = function(ifp, |functions| functions.input) {
                as_c(td, handle, |td, ifp| input(td, ifp, P::packet_into_c(packet)));
            }
        },
        qflush: |td, ifp| {
            if let Some((qflush, handle)) = function(ifp, |functions| functions.qflush) {
                as_c(td, handle, |td, ifp| qflush(td, ifp));
            }
        },
        ioctl: Some(|td, ifp, request| {
            let (ioctl, handle) = function(ifp, |functions| functions.ioctl).ok_or(Errno::EOPNOTSUPP)?;
            let (command, data) = match request {
                Ioctl::SetFlags(_) => (IFNET_SIOCSIFFLAGS, 0),
                Ioctl::AddMulti => (IFNET_SIOCADDMULTI, 0),
                Ioctl::DelMulti => (IFNET_SIOCDELMULTI, 0),
                Ioctl::SetMtu(mtu) => (IFNET_SIOCSIFMTU, mtu),
            };
            result(as_c(td, handle, |td, ifp| ioctl(td, ifp, command, data)))
        }),
        reassign: Some(reassign),
    };
}

fn reassign<P: CPlatform>(td: &Thread<'_, P>, ifp: &Ifnet<P>, new_vnet: &VnetRef<P>) {
    let Some((function, handle)) = function(ifp, |functions| functions.reassign) else { return };
    as_c(td, handle, |td, ifp| {
        // Null if there is no memory for the handle of a vnet that C has not seen yet.
        let vnet = with_thread::<P, _>(td, |call| call.vnet_handle(new_vnet)).unwrap_or(vnet_t::NULL);
        function(td, ifp, vnet);
    });
}

/// Calls a function of the driver.
fn as_c<P: CPlatform, R>(td: &Thread<'_, P>, ifp: Handle, call: impl FnOnce(ifnet_thread_t, if_t) -> R) -> R {
    lend(ifp.place, td, |td| call(td, ifp.encode()))
}

/// Prepares an interface that was just allocated for a driver in C.
pub(super) fn install<P: CPlatform>(owner: &IfnetOwner<P>, handle: Handle) -> Result<(), Errno> {
    let softc = AtomicPtr::new(core::ptr::null_mut());
    let driver = Driver::<P> { handle, softc, functions: P::Mutex::new(Functions::default()) };
    let driver = Shared::try_new(&owner.domain, driver)?;
    owner.set_softc(Some(driver.erase()));
    owner.set_ops(Ops::OPS);
    Ok(())
}

/// Runs `work` on the data of the driver, if that is one in C.
fn with_driver<P: CPlatform, R>(ifp: &Ifnet<P>, work: impl FnOnce(&Driver<P>) -> R) -> Result<R, Errno> {
    let softc = ifp.softc().ok_or(Errno::EPERM)?;
    softc.downcast::<Driver<P>>().map(work).ok_or(Errno::EPERM)
}

/// A function of the driver, and the handle of its interface.
fn function<P: CPlatform, F>(ifp: &Ifnet<P>, which: impl FnOnce(&Functions) -> Option<F>) -> Option<(F, Handle)> {
    with_driver(ifp, |driver| Some((which(&driver.functions.lock())?, driver.handle))).ok().flatten()
}

/// Changes one of the driver's functions.
///
/// # Errors
/// `EPERM` if the interface was not allocated by C.
pub(super) fn set<P: CPlatform>(ifp: &Ifp<P>, change: impl FnOnce(&mut Functions)) -> Result<(), Errno> {
    with_driver(ifp, |driver| change(&mut driver.functions.lock()))
}

/// `if_setsoftc`.
pub(super) fn set_softc<P: CPlatform>(ifp: &Ifp<P>, softc: *mut c_void) -> Result<(), Errno> {
    with_driver(ifp, |driver| driver.softc.store(softc, Ordering::Release))
}

/// `if_getsoftc`.
pub(super) fn softc<P: CPlatform>(ifp: &Ifp<P>) -> Result<*mut c_void, Errno> {
    with_driver(ifp, |driver| driver.softc.load(Ordering::Acquire))
}

/// What a driver returned. A number that the library does not know is `EINVAL`.
fn result(number: c_int) -> Result<(), Errno> {
    if number == 0 {
        return Ok(());
    }
    Err(Errno::ALL.iter().copied().find(|errno| errno.value() == number).unwrap_or(Errno::EINVAL))
}
