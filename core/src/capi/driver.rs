//! A driver in C: its functions and its private data, behind the core's `IfOps`.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};

use spin::mutex::SpinMutex;

use super::abi::{
    IFNET_SIOCADDMULTI, IFNET_SIOCDELMULTI, IFNET_SIOCSIFFLAGS, IFNET_SIOCSIFMTU, if_input_fn_t, if_ioctl_fn_t,
    if_qflush_fn_t, if_reassign_fn_t, if_t, if_transmit_fn_t,
};
use super::handle::Handle;
use super::host::{CHost, Mbuf};
use super::objects::handle_of;
use super::registry::{handle_of_thread, with_thread};
use crate::ifnet::{IfOps, Ifnet, IfnetOwner, Ifp, Ioctl};
use crate::mem::Shared;
use crate::thread::Thread;
use crate::{Errno, VnetRef};

/// What `if_setsoftc` and `if_set…fn` set; it hangs where a driver in Rust has its own data.
pub(super) struct Driver {
    softc: AtomicPtr<c_void>,
    functions: SpinMutex<Functions>,
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
const OPS: &IfOps<CHost> = &IfOps {
    transmit: |td, ifp, packet| match functions(ifp).transmit {
        Some(transmit) => result(transmit(handle_of_thread(td), c_ifp(td, ifp), packet.into_c())),
        None => Err(Errno::ENXIO),
    },
    input: |td, ifp, packet: Mbuf| {
        if let Some(input) = functions(ifp).input {
            input(handle_of_thread(td), c_ifp(td, ifp), packet.into_c());
        }
    },
    qflush: |td, ifp| {
        if let Some(qflush) = functions(ifp).qflush {
            qflush(handle_of_thread(td), c_ifp(td, ifp));
        }
    },
    ioctl: Some(|td, ifp, request| {
        let ioctl = functions(ifp).ioctl.ok_or(Errno::EOPNOTSUPP)?;
        let (command, data) = match request {
            Ioctl::SetFlags(_) => (IFNET_SIOCSIFFLAGS, 0),
            Ioctl::AddMulti => (IFNET_SIOCADDMULTI, 0),
            Ioctl::DelMulti => (IFNET_SIOCDELMULTI, 0),
            Ioctl::SetMtu(mtu) => (IFNET_SIOCSIFMTU, mtu),
        };
        result(ioctl(handle_of_thread(td), c_ifp(td, ifp), command, data))
    }),
    reassign: Some(reassign),
};

fn reassign(td: &Thread<'_, CHost>, ifp: &Ifnet<CHost>, new_vnet: &VnetRef<CHost>) {
    let Some(function) = functions(ifp).reassign else { return };
    let td_handle = handle_of_thread(td);
    // Null if there is no memory for the handle of a vnet that C has not seen yet.
    let vnet = with_thread(td_handle, |call| call.vnet_handle(new_vnet)).unwrap_or(core::ptr::null_mut());
    function(td_handle, c_ifp(td, ifp), vnet);
}

/// Prepares an interface that was just allocated for a driver in C.
pub(super) fn install(owner: &IfnetOwner<CHost>) -> Result<(), Errno> {
    let softc = AtomicPtr::new(core::ptr::null_mut());
    let driver = Shared::try_new(&owner.domain, Driver { softc, functions: SpinMutex::new(Functions::default()) })?;
    owner.set_softc(Some(driver.erase()));
    owner.set_ops(OPS);
    Ok(())
}

/// Runs `work` on the data of the driver, if that is one in C.
fn with_driver<R>(ifp: &Ifnet<CHost>, work: impl FnOnce(&Driver) -> R) -> Result<R, Errno> {
    let softc = ifp.softc().ok_or(Errno::EPERM)?;
    softc.downcast::<Driver>().map(work).ok_or(Errno::EPERM)
}

fn functions(ifp: &Ifnet<CHost>) -> Functions {
    with_driver(ifp, |driver| *driver.functions.lock()).unwrap_or_default()
}

/// Changes one of the driver's functions.
///
/// # Errors
/// `EPERM` if the interface was not allocated by C.
pub(super) fn set(ifp: &Ifp<CHost>, change: impl FnOnce(&mut Functions)) -> Result<(), Errno> {
    with_driver(ifp, |driver| change(&mut driver.functions.lock()))
}

/// `if_setsoftc`.
pub(super) fn set_softc(ifp: &Ifp<CHost>, softc: *mut c_void) -> Result<(), Errno> {
    with_driver(ifp, |driver| driver.softc.store(softc, Ordering::Release))
}

/// `if_getsoftc`.
pub(super) fn softc(ifp: &Ifp<CHost>) -> Result<*mut c_void, Errno> {
    with_driver(ifp, |driver| driver.softc.load(Ordering::Acquire))
}

fn c_ifp(td: &Thread<'_, CHost>, ifp: &Ifnet<CHost>) -> if_t {
    handle_of(td.platform().tag, ifp).map_or(core::ptr::null_mut(), Handle::encode)
}

/// What a driver returned. A number that the library does not know is `EINVAL`.
fn result(number: c_int) -> Result<(), Errno> {
    if number == 0 {
        return Ok(());
    }
    Err(Errno::ALL.iter().copied().find(|errno| errno.value() == number).unwrap_or(Errno::EINVAL))
}
