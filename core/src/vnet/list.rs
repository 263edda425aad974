//! The interface list of a vnet: `V_ifnet`, linking, unlinking and lookup by name.

use crate::Errno;
use crate::hazard::Hazard;
use crate::ifnet::{IfFlags, IfPtr, IfnetRef, Ifp, if_found_ref};
use crate::platform::{Mutex, Platform};
use crate::sync::atomic::Ordering;
use crate::thread::Thread;

/// What a linking promises about the name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// The name was reserved, or found free: it is unique.
    Unique,
    /// Nobody looked, as in FreeBSD: attach, reclaim, and the return from a dying vnet.
    Unchecked,
}

/// `if_link_ifnet`: puts an attached interface at the tail of the current vnet's list; from here it is visible by name.
/// There must be room in the table of names. Takes `ifnet_sx`. Gives the number of further names that are lost.
pub(crate) fn if_link_ifnet<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, rule: NameRule) -> usize {
    let mut lost = 0;
    let kernel = td.kernel();
    let vnet = td.curvnet();
    let _wlock = kernel.ifnet_sx.xlock(td);
    vnet.changes(td, "if_link_ifnet");
    ifp.touch();
    let name = ifp.name();
    {
        let mut names = vnet.names.lock();
        // With a reservation the promise was kept, and whoever came in meanwhile did not look: a driver, a reclaim.
        if rule == NameRule::Unique && names.is_linked(&name) && !names.is_reserved_by(&name, td.id()) {
            vnet.name_clashes.fetch_add(1, Ordering::Relaxed);
        }
        names.link(&name, ifp, td.id());
        // Only an interface that moves has any. A name that is taken where it arrives was reserved, or is lost.
        ifp.altnames.lock().retain(|altname| {
            let linked = names.link_alternative(altname, ifp, td.id());
            lost += usize::from(!linked);
            linked
        });
        names.release(lost);
    }
    if !vnet.ifnets.insert_tail(ifp) {
        td.platform().panic(format_args!("if_link_ifnet: {name} is already on a list"));
    }
    vnet.ifcnt.fetch_add(1, Ordering::AcqRel);
    lost
}

/// Whether readers may still hold an interface that is off its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grace {
    /// A grace period is owed to those that found it on the list.
    Owed,
    /// It was taken off with others, and they have had one together.
    Shared,
}

/// `if_unlink_ifnet`: takes an interface off the current vnet's list; `None` if it was not on it. With `vmove` it stays
/// alive; otherwise it is marked `IFF_DYING` in the same critical section. Under the detach lock. Takes `ifnet_sx`.
///
/// An interface that the teardown of its vnet has taken off already counts as found, once.
pub(crate) fn if_unlink_ifnet<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, vmove: bool) -> Option<Grace> {
    let kernel = td.kernel();
    let vnet = td.curvnet();
    let _wlock = kernel.ifnet_sx.xlock(td);
    if vnet.leaving.remove(ifp) {
        vnet.changes(td, "if_unlink_ifnet");
        if !vmove {
            ifp.set_flags(IfFlags::DYING);
        }
        return Some(Grace::Shared);
    }
    let found = vnet.ifnets.remove(ifp);
    if found {
        vnet.changes(td, "if_unlink_ifnet");
        let mut names = vnet.names.lock();
        names.unlink(&ifp.name(), ifp);
        for altname in &*ifp.altnames.lock() {
            names.unlink_alternative(altname, ifp);
        }
        drop(names);
        if !vmove {
            ifp.set_flags(IfFlags::DYING);
        }
    }
    if found || td.hazard(Hazard::IfcntDrift) {
        // `fetch_update` and not `fetch_sub`: with the hazard open the count may fall below what it counts.
        let _ = vnet.ifcnt.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| Some(count.wrapping_sub(1)));
    }
    found.then_some(Grace::Owed)
}

/// `ifunit`: the interface of this name in the current vnet, the earliest linked if there are several.
///
/// The pointer is bare: the interface may be detached and freed at any time after.
pub fn ifunit<P: Platform>(td: &Thread<'_, P>, name: &str) -> Option<Ifp<P>> {
    td.preempt();
    td.look_at_curvnet(|vnet| vnet.names.lock().find(name, |_| true))
}

/// `ifunit_ref`: the same, with a reference; an interface that is dying is not found.
#[cfg_attr(feature = "holders", track_caller)]
pub fn ifunit_ref<P: Platform>(td: &Thread<'_, P>, name: &str) -> Option<IfnetRef<P>> {
    td.preempt();
    let ifp = td.look_at_curvnet(|vnet| vnet.names.lock().find(name, |ifp| !ifp.is_dying()))?;
    if_found_ref(ifp)
}

/// `if_foreach`: calls `each` for every interface of the current vnet, in the order of attach, until it returns an error.
///
/// # Locks
/// None; inside an epoch section, so that `each` may not sleep.
///
/// # Errors
/// The first error of `each`.
pub fn if_foreach<P: Platform>(
    td: &Thread<'_, P>,
    mut each: impl FnMut(&IfPtr<'_, P>) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let vnet = td.curvnet();
    let section = td.net_epoch_enter();
    vnet.ifnets.iter(&section).try_for_each(|ifp| each(&ifp))
}
