//! `if_alloc` and `if_free`: the two ends of an interface, and of its index.

use crate::Errno;
use crate::hazard::Hazard;
use crate::ifnet::group::IfGroups;
use crate::ifnet::holders::Held;
use crate::ifnet::{IfFlags, IfName, IfType, Ifnet, IfnetOwner, Ifp, if_rele};
use crate::mem::Shared;
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;

/// `if_alloc`: an interface with one reference and an index, in the current vnet, on no list.
///
/// FreeBSD's cannot fail, because it may sleep for memory. All memory that the interface will need to be moved, to
/// return home and to be torn down is taken here, so that none of these can fail.
///
/// # Locks
/// Takes `ifnet_sx`.
///
/// # Errors
/// `ENOMEM`.
#[track_caller]
pub fn if_alloc<P: Platform>(td: &Thread<'_, P>, if_type: IfType) -> Result<IfnetOwner<P>, Errno> {
    if_alloc_indexed(td, if_type, None)
}

/// [`if_alloc`], of an interface with this index, if one is asked for. There is one table for all vnets, unlike Linux',
/// and so an index that is in use in any vnet is in use.
///
/// # Locks
/// As [`if_alloc`].
///
/// # Errors
/// `EBUSY` if the index is in use, `EINVAL` if it is 0 or above [`IF_INDEX_MAX`](crate::vnet::IF_INDEX_MAX), `ENOMEM`.
#[track_caller]
pub fn if_alloc_indexed<P: Platform>(
    td: &Thread<'_, P>,
    if_type: IfType,
    index: Option<u32>,
) -> Result<IfnetOwner<P>, Errno> {
    td.assert_can_sleep("if_alloc");
    let groups = IfGroups::try_new(td.domain())?;
    let ifp = Shared::try_new(td.domain(), Ifnet::new(td, if_type, groups))?;
    let indexed = {
        let _wlock = td.kernel().ifnet_sx.xlock(td);
        td.kernel().index.alloc(td, &ifp, index)
    };
    indexed.inspect_err(|_| abandon(&ifp))?;
    Ok(IfnetOwner(ifp))
}

/// Frees an interface that nobody has seen.
fn abandon<P: Platform>(ifp: &Ifp<P>) {
    ifp.set_flags(IfFlags::DYING);
    if_rele(ifp, Held::OWNER);
}

/// `if_initname`: names the interface `<dname><dunit>`, or `<dname>` without a unit. Before attach.
///
/// # Errors
/// `ENAMETOOLONG`, `EINVAL` for an empty name or one with a NUL.
pub fn if_initname<P: Platform>(ifp: &IfnetOwner<P>, dname: &str, dunit: Option<u32>) -> Result<(), Errno> {
    let xname = match dunit {
        Some(unit) => IfName::numbered(dname, unit, "")?,
        None => IfName::new(dname)?,
    };
    set_names(ifp, &xname, dname, dunit)
}

/// As [`if_initname`], for a driver whose names have more than a number after the driver's name.
pub(crate) fn set_names<P: Platform>(
    ifp: &Ifp<P>,
    xname: &IfName,
    dname: &str,
    dunit: Option<u32>,
) -> Result<(), Errno> {
    let dname = IfName::new(dname)?;
    let mut names = ifp.names.lock();
    names.xname = xname.clone();
    names.dname = dname;
    names.dunit = dunit;
    Ok(())
}

/// `if_free`: gives the interface up. Its index is free at once; the interface itself is freed a grace period after the
/// last reference is gone.
///
/// # Locks
/// Takes `ifnet_sx`.
#[track_caller]
pub fn if_free<P: Platform>(td: &Thread<'_, P>, owner: IfnetOwner<P>) {
    td.assert_can_sleep("if_free");
    let IfnetOwner(ifp) = owner;
    ifp.set_flags(IfFlags::DYING);
    // Tasks of an interface that was never attached; nothing queues another from here on.
    if !td.hazard(Hazard::LinkstateAfterDetach) {
        td.kernel().taskq.drain(td, &ifp);
    }
    td.preempt();
    // The index first: whoever finds the interface by its index must be able to take a reference (rS220317).
    let drops_first = td.hazard(Hazard::FreeDropsRefFirst);
    if drops_first {
        if_rele(&ifp, Held::OWNER);
        td.preempt();
    }
    {
        let _wlock = td.kernel().ifnet_sx.xlock(td);
        td.kernel().index.free(td, &ifp);
    }
    if !drops_first {
        if_rele(&ifp, Held::OWNER);
    }
    note_lingering(td, &ifp);
}

/// Notes an interface that is kept by references, so that their holders can be named; forgets those that are freed.
pub(crate) fn note_lingering<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    let _ = (td, ifp);
    #[cfg(feature = "holders")]
    {
        forget_freed(td);
        if ifp.refcount() > 0 {
            td.kernel().lingering.note(ifp);
        }
    }
}

/// Looks which of the noted ones are freed by now.
pub(crate) fn forget_freed<P: Platform>(td: &Thread<'_, P>) {
    let _ = td;
    #[cfg(feature = "holders")]
    while td.kernel().lingering.take_freed(td).is_some() {}
}
