//! `if_detach`: an interface leaves its vnet for good.

use crate::event::{Event, devctl};
use crate::hazard::Hazard;
use crate::ifnet::addr::ifa_free;
use crate::ifnet::{IfOps, IfnetOwner, Ifp};
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;
use crate::vnet::group_verbs::if_delgroups;
use crate::vnet::list::{Grace, if_unlink_ifnet};

use super::attach::release_names;
use super::flags::go_down;
use super::purge::{if_purgeaddrs, if_purgemaddrs};

/// `if_detach`: takes an interface off its vnet's list and takes everything down that hangs off it. It is dead
/// afterwards: its functions refuse, and only `if_free` is left to do.
///
/// Detaching has no way to fail: the driver's private data owns the interface, and so it must be attached.
///
/// # Locks
/// Holds the detach lock from before the vnet is read until the end (review D56374). Waits for readers and for epoch
/// callbacks.
///
/// # Events
/// The groups' changes, `ifnet_event` `DOWN`, `ifnet_departure_event`, devctl `DETACH` in the default vnet.
///
/// # Panics
/// `<if>: interface is not on the active list`, in every build, for an interface that is not attached.
#[track_caller]
pub fn if_detach<P: Platform>(td: &Thread<'_, P>, owner: &IfnetOwner<P>) {
    td.assert_can_sleep("if_detach");
    let ifp: &Ifp<P> = owner;
    let ignores_failure = ignores_failure(td);
    let late_lock = ignores_failure || td.hazard(Hazard::DetachLockInternalOnly);
    let early = (!late_lock).then(|| td.kernel().detach_sx.xlock(td));

    let vnet = ifp.if_vnet(td);
    let _cur = td.curvnet_set(Some(vnet.clone()));
    td.preempt();
    let Some(grace) = if_unlink_ifnet(td, ifp, false) else {
        if ignores_failure {
            return;
        }
        let name = ifp.name();
        td.platform().panic(format_args!("{name}: interface is not on the active list"));
    };
    let _detach = early.unwrap_or_else(|| td.kernel().detach_sx.xlock(td));
    if_detach_internal(td, ifp, false, grace);
    release_names(td, &vnet, ifp);
}

/// Hazards of the time before D56374, when a failed unlink was no error.
pub(super) fn ignores_failure<P: Platform>(td: &Thread<'_, P>) -> bool {
    td.hazard(Hazard::UnlinkFailureIgnored) || td.hazard(Hazard::LinkdownUafEpair)
}

/// `if_detach_internal`: what detach and a move have in common. The interface is off its list already, the current vnet
/// is the one that it was in, and the detach lock is held.
pub(super) fn if_detach_internal<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, vmove: bool, grace: Grace) {
    if grace == Grace::Owed {
        // Nobody who found it on the list is still in a section; and callbacks that touch it have run.
        td.net_epoch_wait();
        td.net_epoch_drain_callbacks();
    }
    take_down(td, ifp, vmove);
}

/// `if_detach_internal` after its grace period, which several interfaces may share.
pub(super) fn take_down<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, vmove: bool) {
    let vnet = td.curvnet();
    let shutdown = vnet.is_shutting_down();
    if_delgroups(td, &vnet, ifp);
    td.kernel().taskq.drain(td, ifp);
    go_down(td, ifp);
    // Of a vnet that ends, the stack has deleted them before (`in_ifscrub_all`): nothing of it may follow the interface.
    if_purgeaddrs(td, ifp);
    if_purgemaddrs(td, ifp);
    td.kernel().events.invoke(td, &Event::Departure(ifp));
    if !shutdown {
        devctl(td, "IFNET", &ifp.name(), "DETACH", "-");
    }
    if !vmove {
        die(td, ifp);
    }
}

/// `if_dead`, and the end of the link-level address and of the families' data. Both are freed after a grace period.
fn die<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    ifp.set_ops(IfOps::DEAD);
    if td.hazard(Hazard::LladdrAfterDetach) {
        // The pointer stays behind, as `if_addr` does in FreeBSD.
        if let Some(lladdr) = ifp.addrs.lock().lladdr.clone() {
            ifa_free(lladdr);
        }
    } else if let Some(lladdr) = { ifp.addrs.lock().lladdr.take() } {
        ifa_free(lladdr);
    }
    if td.hazard(Hazard::DyingFoundByIndex) {
        if let Some(afdata) = td.read(&ifp.afdata) {
            afdata.detach();
        }
    } else if let Some(afdata) = ifp.afdata.swap(None) {
        afdata.defer(|afdata| afdata.detach());
    }
}
