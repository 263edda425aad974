//! Moving an interface between vnets: `if_vmove`, `if_vmove_loan`, `if_vmove_reclaim`.
//!
//! A move has two halves. First everything is decided and reserved that could stop it: the target is alive, the name is
//! free and taken for this thread, and there is a place in each table of names that will need one. Then the interface is
//! unlinked, and from there on nothing can fail.
//!
//! What a move loses: addresses, multicast memberships, groups other than `all` and the cloner's, `IFF_UP`, listeners.
//! What it keeps: the interface, its index and generation, name, link-level address, capabilities, counters, the
//! driver's data, and its home.

use crate::Errno;
use crate::bpf::{bpf_ifdetach, bpf_vmove};
use crate::hazard::Hazard;
use crate::ifnet::{IfName, IfnetRef, Ifp, if_try_ref};
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;
use crate::vnet::list::{Grace, NameRule, if_unlink_ifnet};
use crate::vnet::{VnetRef, ifunit};

use super::altname::{reserve_altnames, unreserve_altnames};
use super::attach::attach_moved;
use super::detach::if_detach_internal;
use super::unregister::rehome;

/// `if_vmove`: moves an interface that was unlinked with `vmove` from the current vnet to `new_vnet`, in whose table of
/// names a place is held. Under the detach lock.
pub(crate) fn if_vmove<P: Platform>(
    td: &Thread<'_, P>,
    ifp: &Ifp<P>,
    new_vnet: &VnetRef<P>,
    rule: NameRule,
    grace: Grace,
) {
    if_vmove_as(td, ifp, new_vnet, rule, grace, None);
}

/// [`if_vmove`], of an interface that arrives under another name. It is on no list in between, so that no table of names
/// has to know.
fn if_vmove_as<P: Platform>(
    td: &Thread<'_, P>,
    ifp: &Ifp<P>,
    new_vnet: &VnetRef<P>,
    rule: NameRule,
    grace: Grace,
    new_name: Option<&IfName>,
) {
    if !td.hazard(Hazard::BpfFollowsMove) {
        bpf_ifdetach(td, ifp);
    }
    if_detach_internal(td, ifp, true, grace);
    if let Some(name) = new_name {
        ifp.names.lock().xname = name.clone();
    }
    td.preempt();
    if let Some(reassign) = ifp.ops().reassign {
        reassign(td, ifp, new_vnet);
    }
    let old_vnet = td.curvnet();
    let _cur = td.curvnet_set(Some(new_vnet.clone()));
    if td.hazard(Hazard::IndexReallocOnMove) {
        let _wlock = td.kernel().ifnet_sx.xlock(td);
        td.kernel().index.free(td, ifp);
        td.preempt();
        // The hazard cannot run out of memory: the index was just given back.
        let _ = td.kernel().index.alloc(td, ifp, None);
    }
    attach_moved(td, ifp, new_vnet, rule);
    rehome(td, ifp, &old_vnet, new_vnet);
    bpf_vmove(td, ifp);
}

/// `if_vmove_loan`: `SIOCSIFVNET`. Lends the interface `name` of the current vnet to `target`, a child jail's vnet.
/// Gives the interface, with a reference.
///
/// # Locks
/// Holds the detach lock over the whole move.
///
/// # Errors
/// `ENXIO` if there is no such interface, `EEXIST` if the target is the current vnet or has an interface of that name,
/// or of one of its further names,
/// `EBUSY` if the target is being destroyed, `ENODEV` if the interface was taken away meanwhile, `ENOMEM`.
#[track_caller]
pub fn if_vmove_loan<P: Platform>(td: &Thread<'_, P>, name: &str, target: &VnetRef<P>) -> Result<IfnetRef<P>, Errno> {
    loan(td, name, target, None)
}

/// [`if_vmove_loan`], of an interface that arrives as `new_name`: `dev_change_net_namespace` with the pattern for a name
/// that is taken. It departs under the old name, and only the new one has to be free in the target.
///
/// # Locks
/// As [`if_vmove_loan`].
///
/// # Errors
/// As [`if_vmove_loan`]; `EINVAL` and `ENAMETOOLONG` for a bad name.
#[track_caller]
pub fn if_vmove_loan_as<P: Platform>(
    td: &Thread<'_, P>,
    name: &str,
    target: &VnetRef<P>,
    new_name: &str,
) -> Result<IfnetRef<P>, Errno> {
    loan(td, name, target, Some(&IfName::new(new_name)?))
}

#[track_caller]
fn loan<P: Platform>(
    td: &Thread<'_, P>,
    name: &str,
    target: &VnetRef<P>,
    new_name: Option<&IfName>,
) -> Result<IfnetRef<P>, Errno> {
    td.assert_can_sleep("if_vmove_loan");
    let found = ifunit(td, name).ok_or(Errno::ENXIO)?;
    if target.ptr_eq(&td.curvnet()) {
        return Err(Errno::EEXIST);
    }
    let ifp = if td.hazard(Hazard::LoanWeakPointer) { found_again(td, found)? } else { found };
    let name = IfName::new(name)?;
    let arrives_as = new_name.unwrap_or(&name);
    if !td.hazard(Hazard::MoveNameToctou) {
        if !target.names.lock().reserve(arrives_as, td.id())? {
            return Err(Errno::EEXIST);
        }
    } else if target.names.lock().is_taken(arrives_as) {
        return Err(Errno::EEXIST);
    }
    td.preempt();
    let moved = move_out(td, &ifp, target, NameRule::Unique, &name, new_name);
    // Turned live if the move succeeded; otherwise given back.
    target.names.lock().unreserve(arrives_as, td.id());
    moved
}

/// The hole of `loan-weak-pointer`: only the address of the interface is kept, and whatever is on the list at that
/// address later is taken for it.
fn found_again<P: Platform>(td: &Thread<'_, P>, found: Ifp<P>) -> Result<Ifp<P>, Errno> {
    let address = found.addr();
    drop(found);
    td.preempt();
    let section = td.net_epoch_enter();
    let vnet = td.curvnet();
    let ifp = vnet.ifnets.iter(&section).find(|ifp| ifp.addr() == address).and_then(|ifp| ifp.try_share());
    ifp.ok_or(Errno::ENODEV)
}

/// `if_vmove_reclaim`: `SIOCSIFRVNET`. Pulls the interface `name` of `source`, a child jail's vnet, up into the current
/// one. Names are not checked, as in FreeBSD: two interfaces of one name can result. Gives the interface, with a
/// reference.
///
/// # Locks
/// Holds the detach lock over the whole move.
///
/// # Errors
/// `ENXIO` if there is no such interface, `EEXIST` if the source is the current vnet, `EBUSY` if the current vnet is
/// being destroyed, `ENODEV` if the interface was taken away meanwhile, `ENOMEM`.
#[track_caller]
pub fn if_vmove_reclaim<P: Platform>(
    td: &Thread<'_, P>,
    name: &str,
    source: &VnetRef<P>,
) -> Result<IfnetRef<P>, Errno> {
    td.assert_can_sleep("if_vmove_reclaim");
    let target = td.curvnet();
    let _cur = td.curvnet_set(Some(source.clone()));
    let ifp = ifunit(td, name).ok_or(Errno::ENXIO)?;
    if target.ptr_eq(source) {
        return Err(Errno::EEXIST);
    }
    td.preempt();
    if td.hazard(Hazard::ReclaimUnlinksFirst) {
        return reclaim_unlinking_first(td, &ifp, &target);
    }
    // The name as it was asked for: the pointer is bare, and is not looked through before it is proven.
    move_out(td, &ifp, &target, NameRule::Unchecked, &IfName::new(name)?, None)
}

/// The hole of `reclaim-unlinks-first`: the unlinking is outside the lock, and its success is asserted.
#[cfg_attr(feature = "holders", track_caller)]
fn reclaim_unlinking_first<P: Platform>(
    td: &Thread<'_, P>,
    ifp: &Ifp<P>,
    target: &VnetRef<P>,
) -> Result<IfnetRef<P>, Errno> {
    hold_for_move(td, ifp, target)?;
    let Some(grace) = if_unlink_ifnet(td, ifp, true) else {
        td.platform().panic(format_args!("if_vmove_reclaim: Assertion found failed"));
    };
    td.preempt();
    let _detach = td.kernel().detach_sx.xlock(td);
    let moved = if_try_ref(ifp).ok_or(Errno::ENODEV)?;
    if_vmove(td, ifp, target, NameRule::Unchecked, grace);
    Ok(moved)
}

/// Moves an interface of the current vnet, which was looked up as `name`, to `target`, with its further names.
#[cfg_attr(feature = "holders", track_caller)]
fn move_out<P: Platform>(
    td: &Thread<'_, P>,
    ifp: &Ifp<P>,
    target: &VnetRef<P>,
    rule: NameRule,
    name: &IfName,
    new_name: Option<&IfName>,
) -> Result<IfnetRef<P>, Errno> {
    let _detach = td.kernel().detach_sx.xlock(td);
    if target.is_shutdown() {
        return Err(Errno::EBUSY);
    }
    // The bare pointer is proven before it is used: on the list, and still under the name that was asked for.
    let listed = |ifp: &IfnetRef<P>| td.curvnet().ifnets.contains(ifp) || td.hazard(Hazard::IfcntDrift);
    let moved = if_try_ref(ifp).filter(listed).ok_or(Errno::ENODEV)?;
    if ifp.name() != *name && !td.hazard(Hazard::LoanWeakPointer) {
        return Err(Errno::ENODEV);
    }
    if ifp.name() != *name {
        td.platform().panic(format_args!("if_vmove_loan: asked to move {name}, moves {}", ifp.name()));
    }
    reserve_altnames(td, ifp, target)?;
    hold_for_move(td, ifp, target).inspect_err(|_| unreserve_altnames(td, ifp, target))?;
    let Some(grace) = if_unlink_ifnet(td, ifp, true) else {
        release_after_move(td, ifp, target);
        unreserve_altnames(td, ifp, target);
        return Err(Errno::ENODEV);
    };
    if_vmove_as(td, ifp, target, rule, grace, new_name);
    Ok(moved)
}

/// Holds the places that a move from the current vnet needs: one in the target, unless the interface is at home there
/// and so holds one already, and one in the home that it leaves.
fn hold_for_move<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, target: &VnetRef<P>) -> Result<(), Errno> {
    let source = td.curvnet();
    let home = ifp.if_home_vnet(td).ok_or(Errno::ENODEV)?;
    let count = ifp.name_count();
    if !home.ptr_eq(target) {
        target.names.lock().hold(count)?;
    }
    if home.ptr_eq(&source)
        && let Err(error) = source.names.lock().hold(count)
    {
        target.names.lock().release(count);
        return Err(error.into());
    }
    Ok(())
}

/// Undoes [`hold_for_move`].
fn release_after_move<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, target: &VnetRef<P>) {
    let (source, home, count) = (td.curvnet(), ifp.if_home_vnet(td), ifp.name_count());
    if home.as_ref().is_some_and(|home| !home.ptr_eq(target)) {
        target.names.lock().release(count);
    }
    if home.is_some_and(|home| home.ptr_eq(&source)) {
        source.names.lock().release(count);
    }
}

/// Where a borrowed interface returns to when its vnet dies: its home, or the default vnet if that is gone. It holds a
/// place there. FreeBSD keeps a bare pointer to the home.
pub(crate) fn return_place<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) -> (VnetRef<P>, NameRule) {
    let vnet0 = td.kernel().vnet0();
    let home = ifp.if_home_vnet(td).filter(|home| !home.is_destroyed());
    let home = home.unwrap_or_else(|| {
        let former = ifp.home.swap(Some(vnet0.clone()));
        drop(former);
        vnet0
    });
    (home, NameRule::Unchecked)
}

/// `if_vmove` as a driver or a jail manager calls it: from wherever the interface is to `target`.
///
/// # Errors
/// As [`if_vmove_reclaim`].
#[track_caller]
pub fn if_vmove_to<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, target: &VnetRef<P>) -> Result<(), Errno> {
    td.assert_can_sleep("if_vmove");
    let _detach = td.kernel().detach_sx.xlock(td);
    let source = ifp.if_vnet(td);
    if source.ptr_eq(target) {
        return Err(Errno::EEXIST);
    }
    let _cur = td.curvnet_set(Some(source));
    let name = ifp.name();
    move_out(td, ifp, target, NameRule::Unchecked, &name, None).map(drop)
}
