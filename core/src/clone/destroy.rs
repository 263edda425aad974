//! `if_clone_destroy`: `SIOCIFDESTROY`.

use crate::Errno;
use crate::hazard::Hazard;
use crate::ifnet::Ifp;
use crate::lifecycle::unregister::flush;
use crate::mem::Shared;
use crate::platform::{Mutex, Platform};
use crate::sync::SxAssert;
use crate::thread::Thread;
use crate::vnet::{group_verbs, ifunit_ref};

use super::{CloneFlags, Cloner, if_clone_restoregroup, list};

/// `if_clone_destroy`: destroys a cloned interface of the current vnet by its name. Its cloner is looked for in the vnet
/// in which it was made.
///
/// # Locks
/// Holds the detach lock.
///
/// # Errors
/// `ENXIO` if there is no such interface, or somebody else destroys it; `EINVAL` if it was not cloned, or may not be
/// destroyed (`lo0`); or the driver's, and then the interface is as before.
#[track_caller]
pub fn if_clone_destroy<P: Platform>(td: &Thread<'_, P>, name: &str) -> Result<(), Errno> {
    td.assert_can_sleep("if_clone_destroy");
    let ifp = ifunit_ref(td, name).ok_or(Errno::ENXIO)?;
    let home = ifp.if_home_vnet(td).ok_or(Errno::ENXIO)?;
    let dname = ifp.dname();
    let cloner = home.find_cloner(td, |ty| *ty.name == *dname).ok_or(Errno::EINVAL)?;
    if_clone_destroyif(td, &cloner, &ifp)
}

/// `if_clone_destroyif`: destroys an interface of a cloner.
///
/// # Locks
/// Holds the detach lock, which keeps the vnet of the interface as it is.
///
/// # Errors
/// As [`if_clone_destroy`].
pub fn if_clone_destroyif<P: Platform>(
    td: &Thread<'_, P>,
    cloner: &Shared<Cloner<P>, P>,
    ifp: &Ifp<P>,
) -> Result<(), Errno> {
    let _detach = (!td.hazard(Hazard::LinkdownUafEpair)).then(|| td.kernel().detach_sx.xlock(td));
    destroy_with_flags(td, cloner, ifp, CloneFlags::empty())
}

/// `if_clone_destroyif_flags`: under the detach lock.
pub(crate) fn destroy_with_flags<P: Platform>(
    td: &Thread<'_, P>,
    cloner: &Shared<Cloner<P>, P>,
    ifp: &Ifp<P>,
    flags: CloneFlags,
) -> Result<(), Errno> {
    if td.hazards().is_empty() {
        td.kernel().detach_sx.assert_held(td, SxAssert::XLOCKED);
    }
    let vnet = ifp.if_vnet(td);
    if ifp.is_queued() && !td.hazard(Hazard::UpperDeletedTwice) {
        // `dying`: its driver has given it up. Whoever comes second does the pending work, and that is success.
        flush(td, &vnet);
        return Ok(());
    }
    let _cur = td.curvnet_set(Some(vnet.clone()));
    if !cloner.interfaces.remove(ifp) {
        return Err(Errno::ENXIO);
    }
    group_verbs::leave_kind(td, &vnet, ifp, cloner.name());
    let unit = ifp.dunit();
    if let Err(errno) = (cloner.ty.destroy)(td, cloner, ifp, flags) {
        list(td, cloner, ifp);
        // The group is that of the vnet in which the interface is now, not that of its home.
        if_clone_restoregroup(td, ifp);
        return Err(errno);
    }
    if let (true, Some(unit)) = (cloner.ty.flags.contains(CloneFlags::AUTOUNIT), unit) {
        cloner.free_unit(unit);
    }
    Ok(())
}

/// Takes an interface away from its cloner that is unregistered by somebody else than [`destroy_with_flags`], and gives
/// its unit back. Under the detach lock.
pub(crate) fn forget_cloned<P: Platform>(ifp: &Ifp<P>) {
    let Some(cloner) = ({ ifp.cloner.lock().clone() }) else { return };
    if !cloner.interfaces.remove(ifp) {
        return;
    }
    if let (true, Some(unit)) = (cloner.ty.flags.contains(CloneFlags::AUTOUNIT), ifp.dunit()) {
        cloner.free_unit(unit);
    }
}
