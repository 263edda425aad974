//! The life of a vnet: `vnet_alloc`, `vnet_destroy`, and the return of borrowed interfaces in between.

use crate::Errno;
use crate::hazard::Hazard;
use crate::ifnet::Ifp;
use crate::lifecycle::alloc::forget_freed;
use crate::lifecycle::unregister::{flush, run_todo, run_works};
use crate::lifecycle::vmove::{if_vmove, return_place};
use crate::mem::Shared;
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;

use super::list::{Grace, NameRule, if_unlink_ifnet};
use super::{Vnet, VnetRef, sysinit};

/// `vnet_alloc`: makes a vnet with its `lo0`, and runs the constructors. It is on the list of vnets only when it is
/// complete.
///
/// # Locks
/// Takes the detach lock, `vnet_sysinit_sxlock` shared, and `vnet_sxlock`.
///
/// # Errors
/// `ENOMEM`, or that of a constructor; nothing is left.
#[track_caller]
pub fn vnet_alloc<P: Platform>(td: &Thread<'_, P>) -> Result<VnetRef<P>, Errno> {
    td.assert_can_sleep("vnet_alloc");
    let kernel = td.kernel();
    let _detach = kernel.detach_sx.xlock(td);
    let number = kernel.vnets.lock().ids.alloc_lowest(u32::MAX)?.ok_or(Errno::ENOSPC)?;
    alloc_numbered(td, number).inspect_err(|_| {
        kernel.vnets.lock().ids.give(number);
    })
}

fn alloc_numbered<P: Platform>(td: &Thread<'_, P>, number: u32) -> Result<VnetRef<P>, Errno> {
    let kernel = td.kernel();
    // Room first: nothing can fail once the constructors have run.
    kernel.vnets.lock().list.try_reserve(1)?;
    let vnet = Shared::try_new(td.domain(), Vnet::new(td.domain(), number))?;
    if let Err(errno) = sysinit::construct(td, &vnet) {
        retire(td, &vnet);
        return Err(errno);
    }
    let _list = kernel.vnet_sx.xlock(td);
    let pushed = kernel.vnets.lock().list.try_push(vnet.clone());
    debug_assert!(pushed.is_ok(), "room was reserved under the detach lock");
    Ok(vnet)
}

/// `vnet_destroy`: returns borrowed interfaces to their home vnets, runs the destructors in reverse order, which
/// destroys every cloned interface that was made here, and frees the vnet. An interface of a driver that nobody took
/// away moves to the default vnet, as nothing may be left behind.
///
/// # Locks
/// Holds the detach lock over the whole teardown; takes `vnet_sxlock`, and `vnet_sysinit_sxlock` shared.
///
/// # Errors
/// `EINVAL` for the default vnet; `EBUSY` if the vnet is already being destroyed, or was.
#[track_caller]
pub fn vnet_destroy<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>) -> Result<(), Errno> {
    td.assert_can_sleep("vnet_destroy");
    let kernel = td.kernel();
    if vnet.ptr_eq(&kernel.vnet0) {
        return Err(Errno::EINVAL);
    }
    let unlocked = [Hazard::VnetReturnUnlocked, Hazard::VnetReturnWalksList, Hazard::LinkdownUafEpair];
    let unlocked = unlocked.into_iter().any(|hazard| td.hazard(hazard));
    // Before the vnet leaves the list: a module that is unloaded in between would not find the vnet there, nor be found
    // by the destructors below, and its interfaces would be left.
    let early = (!unlocked).then(|| kernel.detach_sx.xlock(td));
    let listed = {
        let _list = kernel.vnet_sx.xlock(td);
        // Marked under `ifnet_sx`, so that an attach either linked before or is refused.
        let _wlock = kernel.ifnet_sx.xlock(td);
        if !vnet.begin_shutdown() {
            return Err(Errno::EBUSY);
        }
        let mut vnets = kernel.vnets.lock();
        vnets.list.iter().position(|other| other.ptr_eq(vnet)).map(|at| vnets.list.remove(at))
    };
    drop(listed);
    // What is queued here goes here, and not in the vnet that it would return to.
    if early.is_some() {
        flush(td, vnet);
    }
    let _detach = match early {
        Some(locked) => {
            vnet_if_return(td, vnet);
            locked
        }
        None => {
            vnet_if_return_unlocked(td, vnet);
            kernel.detach_sx.xlock(td)
        }
    };
    sysinit::destruct(td, vnet, || gather_cloned(td, vnet));
    // The destructors may have queued more: uppers here of what was made here and is elsewhere.
    flush(td, vnet);
    expel_all(td, vnet);
    retire(td, vnet);
    kernel.vnets.lock().ids.give(vnet.id());
    Ok(())
}

/// The end of a vnet: breaks the cycles of handles, so that its memory can go.
fn retire<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>) {
    vnet.groups.end();
    vnet.set_destroyed();
    td.preempt();
}

/// Takes every interface of `vnet` off its list that is `wanted`, and waits once for the readers of all of them. What
/// was taken off is on `leaving`. Under the detach lock, which keeps the list from shrinking under the walk. So the
/// number of grace periods of a teardown does not depend on the number of interfaces.
fn gather<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>, vmove: bool, wanted: impl Fn(&Ifp<P>) -> bool) {
    let mut cursor = first(td, vnet);
    while let Some(ifp) = cursor {
        cursor = next(td, vnet, &ifp);
        if wanted(&ifp) && if_unlink_ifnet(td, &ifp, vmove).is_some() {
            let listed = vnet.leaving.insert_tail(&ifp);
            debug_assert!(listed, "it has just left the other list");
        }
    }
    if !vnet.leaving.is_empty() {
        td.net_epoch_wait();
        td.net_epoch_drain_callbacks();
    }
}

fn is_borrowed<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>, ifp: &Ifp<P>) -> bool {
    ifp.if_home_vnet(td).is_some_and(|home| !home.ptr_eq(vnet))
}

/// `vnet_if_return`: moves every borrowed interface back to its home vnet. Under the detach lock. All leave the list
/// first and share a grace period; what an event handler detaches meanwhile has left `leaving` when its turn comes.
fn vnet_if_return<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>) {
    let _cur = td.curvnet_set(Some(vnet.clone()));
    gather(td, vnet, true, |ifp| is_borrowed(td, vnet, ifp));
    while let Some(ifp) = take_leaving(td, vnet) {
        let (home, rule) = return_place(td, &ifp);
        if_vmove(td, &ifp, &home, rule, Grace::Shared);
    }
}

/// The return of the time before the detach lock covered it: one after the other, while others change the list.
fn vnet_if_return_unlocked<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>) {
    let _cur = td.curvnet_set(Some(vnet.clone()));
    let walks = td.hazard(Hazard::VnetReturnWalksList);
    let mut cursor = first(td, vnet);
    while let Some(ifp) = cursor {
        td.preempt();
        cursor = next(td, vnet, &ifp);
        if is_borrowed(td, vnet, &ifp) && (if_unlink_ifnet(td, &ifp, true).is_some() || walks) {
            let (home, rule) = return_place(td, &ifp);
            td.preempt();
            if_vmove(td, &ifp, &home, rule, Grace::Owed);
        }
    }
}

fn take_leaving<P: Platform>(td: &Thread<'_, P>, vnet: &Vnet<P>) -> Option<Ifp<P>> {
    let first = {
        let section = td.net_epoch_enter();
        vnet.leaving.first(&section).and_then(|ifp| ifp.try_share())
    };
    first.filter(|ifp| vnet.leaving.remove(ifp))
}

/// The first interface of a vnet.
pub(crate) fn first<P: Platform>(td: &Thread<'_, P>, vnet: &Vnet<P>) -> Option<Ifp<P>> {
    let section = td.net_epoch_enter();
    vnet.ifnets.first(&section).and_then(|ifp| ifp.try_share())
}

/// The interface after one that is on the list.
pub(crate) fn next<P: Platform>(td: &Thread<'_, P>, vnet: &Vnet<P>, ifp: &Ifp<P>) -> Option<Ifp<P>> {
    let section = td.net_epoch_enter();
    vnet.ifnets.next(ifp, &section).and_then(|ifp| ifp.try_share())
}

/// Takes off the list of the current vnet what the cloners' destructors are going to destroy.
fn gather_cloned<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>) {
    gather(td, vnet, false, |ifp| ifp.cloner.lock().is_some());
}

/// Moves what is left in a dying vnet to the default vnet: interfaces of drivers that do not know vnets.
fn expel_all<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>) {
    let _cur = td.curvnet_set(Some(vnet.clone()));
    let vnet0 = td.kernel().vnet0();
    // What a driver would not destroy is on no list any more.
    while let Some(ifp) = take_leaving(td, vnet).or_else(|| first(td, vnet)) {
        let grace = if_unlink_ifnet(td, &ifp, true).unwrap_or(Grace::Shared);
        let former = ifp.home.swap(Some(vnet0.clone()));
        drop(former);
        if_vmove(td, &ifp, &vnet0, NameRule::Unchecked, grace);
    }
}

/// Takes the default vnet down, at the end of the kernel.
pub(crate) fn teardown_default<P: Platform>(td: &Thread<'_, P>) {
    let kernel = td.kernel();
    let vnet0 = kernel.vnet0();
    let _detach = kernel.detach_sx.xlock(td);
    vnet0.begin_shutdown();
    sysinit::destruct(td, &vnet0, || ());
    run_works(td);
    td.net_epoch_drain_callbacks();
    run_todo(td);
    forget_freed(td);
    retire(td, &vnet0);
    while kernel.vnets.lock().list.pop().is_some() {}
}
