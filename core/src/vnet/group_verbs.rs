//! Joining and leaving groups: `if_addgroup`, `if_delgroup`.

use crate::Errno;
use crate::epoch::Section;
use crate::event::Event;
use crate::hazard::Hazard;
use crate::ifnet::group::{ALL, Group, KindGroup, Membership, Spare};
use crate::ifnet::{IfName, Ifp};
use crate::mem::{Borrowed, Shared};
use crate::platform::{Mutex, Platform};
use crate::sync::XGuard;
use crate::thread::Thread;

use super::list::Grace;
use super::{Vnet, VnetRef};

impl<P: Platform> Vnet<P> {
    /// The group of this name. Under `ifnet_sx`, or for a report.
    fn find_group<'g>(&self, name: &str, section: &'g Section<'_, P>) -> Option<Borrowed<'g, Group<P>, P>> {
        self.groups.existing.iter(section).find(|group| **group.name() == *name)
    }
}

/// `if_addgroup`: makes an interface a member of a group of its vnet, which comes into being with its first member.
///
/// # Locks
/// Takes `ifnet_sx`.
///
/// # Events
/// `group_attach_event` if the group is new, then `group_change_event`.
///
/// # Errors
/// `EINVAL` for a name that ends in a digit, `ENAMETOOLONG`, `ENXIO` for an interface that is not attached (FreeBSD
/// does not look, and leaks the membership), `EEXIST` for a member, `ENOMEM`.
#[track_caller]
pub fn if_addgroup<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, name: &str) -> Result<(), Errno> {
    td.assert_can_sleep("if_addgroup");
    if name.ends_with(|last: char| last.is_ascii_digit()) {
        return Err(Errno::EINVAL);
    }
    let name = IfName::new_or_empty(name)?;
    // The vnet of a moving interface is not stable, and its groups are being left. FreeBSD uses the caller's vnet.
    let stable = (!td.hazard(Hazard::GroupRaceOnMove)).then(|| td.kernel().detach_sx.xlock(td));
    let vnet = if stable.is_some() { ifp.if_vnet(td) } else { td.curvnet() };
    td.preempt();
    // A membership of an interface that is on no list would outlive it: detach has left the groups already.
    if stable.is_some() && !vnet.ifnets.contains(ifp) {
        return Err(Errno::ENXIO);
    }
    vnet.changes(td, "if_addgroup");
    let Spare(membership) = Spare::try_new(td.domain())?;
    let group = Group::alloc(td.domain(), &name)?;
    join(td, &vnet, ifp, &group, &membership)
}

/// Joins the group `all` of a vnet with the spare for it.
pub(crate) fn join_all<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>, ifp: &Ifp<P>) {
    let all = vnet.groups.all();
    let spare = ifp.groups.spares.lock().all.take();
    if let (Some(all), Some(Spare(membership))) = (all, spare) {
        // A member already can only be one that joined by hand while it was off the list.
        let _ = join(td, vnet, ifp, &all, &membership);
    }
}

/// Gives an interface the spare for the group of its kind.
pub(crate) fn give_spare<P: Platform>(ifp: &Ifp<P>, spare: Spare<P>) {
    let none = ifp.groups.spares.lock().cloner.replace(spare);
    drop(none);
}

/// Joins the group of a kind, in the vnet where the interface is, with the spare for it.
pub(crate) fn join_kind<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, group: &KindGroup<P>) {
    let Some(Spare(membership)) = ({ ifp.groups.spares.lock().cloner.take() }) else { return };
    let vnet = ifp.if_vnet(td);
    // A member already is one that joined by hand.
    if join(td, &vnet, ifp, &group.0, &membership).is_err() {
        give_spare(ifp, Spare(membership));
    }
}

/// Leaves the group of a kind; the membership is the spare again.
pub(crate) fn leave_kind<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>, ifp: &Ifp<P>, name: &str) {
    if let Some(membership) = leave(td, vnet, ifp, name, Grace::Shared) {
        give_spare(ifp, Spare(membership));
    }
}

/// Joins `group`, or the group that already has its name; `membership` must not be in force.
///
/// # Errors
/// `EEXIST` for a member.
fn join<P: Platform>(
    td: &Thread<'_, P>,
    vnet: &VnetRef<P>,
    ifp: &Ifp<P>,
    group: &Shared<Group<P>, P>,
    membership: &Shared<Membership<P>, P>,
) -> Result<(), Errno> {
    let wlock = td.kernel().ifnet_sx.xlock(td);
    let section = td.net_epoch_enter();
    if find_membership(ifp, group.name(), &section).is_some() {
        return Err(Errno::EEXIST);
    }
    let existing = vnet.find_group(group.name(), &section).and_then(|group| group.try_share());
    drop(section);
    let is_new = existing.is_none();
    let group = existing.unwrap_or_else(|| {
        // Refused only if it is on another vnet's list, which needs the hole of `group-race-on-move`.
        let _ = vnet.groups.existing.insert_tail(group);
        group.clone()
    });
    membership.begin(group.clone(), ifp.clone());
    let joined = group.members.insert_tail(membership) && ifp.groups.joined.insert_tail(membership);
    debug_assert!(joined, "a membership that is not in force is on no list");
    drop(wlock);

    let events = &td.kernel().events;
    if is_new {
        events.invoke_in(td, vnet, &Event::GroupAttach(group.name()));
    }
    events.invoke_in(td, vnet, &Event::GroupChange(group.name()));
    Ok(())
}

/// `if_delgroup`: ends a membership; the group ends with its last member.
///
/// # Locks
/// Takes `ifnet_sx`, and waits for a grace period.
///
/// # Events
/// `group_change_event`, then `group_detach_event` if the group has ended.
///
/// # Errors
/// `ENOENT` if the interface is no member.
#[track_caller]
pub fn if_delgroup<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, name: &str) -> Result<(), Errno> {
    td.assert_can_sleep("if_delgroup");
    let _stable = (!td.hazard(Hazard::GroupRaceOnMove)).then(|| td.kernel().detach_sx.xlock(td));
    let membership = leave(td, &ifp.if_vnet(td), ifp, name, Grace::Owed).ok_or(Errno::ENOENT)?;
    keep_spare(ifp, name, membership);
    Ok(())
}

/// Ends the membership in the group `name`; the membership, which can be used again.
fn leave<P: Platform>(
    td: &Thread<'_, P>,
    vnet: &VnetRef<P>,
    ifp: &Ifp<P>,
    name: &str,
    grace: Grace,
) -> Option<Shared<Membership<P>, P>> {
    let wlock = td.kernel().ifnet_sx.xlock(td);
    let membership = find_membership(ifp, name, &td.net_epoch_enter())?.try_share()?;
    end(td, wlock, vnet, ifp, &membership, grace)?;
    Some(membership)
}

/// `_if_delgroup_locked`: ends a membership, which can be used again; its group. `None` if it is not in force. Gives up
/// `ifnet_sx`.
///
/// FreeBSD waits for readers each time, so that it can free the group. Here what a reader sees is kept by handles: only
/// the public [`if_delgroup`] owes a grace period, after which no reader takes the interface for a member. An interface
/// that is being taken down or moved has had one, or shares one.
fn end<P: Platform>(
    td: &Thread<'_, P>,
    wlock: XGuard<'_, '_, P>,
    vnet: &VnetRef<P>,
    ifp: &Ifp<P>,
    membership: &Shared<Membership<P>, P>,
    grace: Grace,
) -> Option<Shared<Group<P>, P>> {
    let group = membership.group(&td.net_epoch_enter())?.try_share()?;
    let left = ifp.groups.joined.remove(membership) && group.members.remove(membership);
    debug_assert!(left, "a membership in force is on both lists");
    let ended = group.refcnt() == 0;
    if ended {
        // As in `join`: it may be on another vnet's list only with that hole open.
        let _ = vnet.groups.existing.remove(&group);
    }
    drop(wlock);
    if grace == Grace::Owed {
        td.net_epoch_wait();
    }
    membership.end();

    let events = &td.kernel().events;
    events.invoke_in(td, vnet, &Event::GroupChange(group.name()));
    if ended {
        events.invoke_in(td, vnet, &Event::GroupDetach(group.name()));
    }
    Some(group)
}

/// `if_delgroups`: leaves every group, in the order of joining. The memberships of `all` and of the cloner's group are
/// kept as spares for the next attach. Under the detach lock.
pub(crate) fn if_delgroups<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>, ifp: &Ifp<P>) {
    while !ifp.groups.joined.is_empty() {
        let wlock = td.kernel().ifnet_sx.xlock(td);
        let Some(first) = first_membership(td, ifp) else { break };
        let Some(group) = end(td, wlock, vnet, ifp, &first, Grace::Shared) else { break };
        keep_spare(ifp, group.name(), first);
    }
}

fn first_membership<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) -> Option<Shared<Membership<P>, P>> {
    ifp.groups.joined.first(&td.net_epoch_enter())?.try_share()
}

/// Puts a membership that was left aside for the next time, if it is one of the two that the interface owns.
fn keep_spare<P: Platform>(ifp: &Ifp<P>, name: &str, membership: Shared<Membership<P>, P>) {
    let is_cloner = ifp.cloner.lock().as_ref().is_some_and(|cloner| cloner.name() == name);
    let mut spares = ifp.groups.spares.lock();
    let spare = if name == ALL && spares.all.is_none() {
        &mut spares.all
    } else if is_cloner && spares.cloner.is_none() {
        &mut spares.cloner
    } else {
        return;
    };
    *spare = Some(Spare(membership));
}

fn find_membership<'g, P: Platform>(
    ifp: &Ifp<P>,
    name: &str,
    section: &'g Section<'_, P>,
) -> Option<Borrowed<'g, Membership<P>, P>> {
    ifp.groups.joined.iter(section).find(|it| it.group(section).is_some_and(|group| **group.name() == *name))
}

/// `SIOCGIFGROUP`: calls `each` with the name of every group of the interface, in the order of joining.
///
/// # Locks
/// Takes `ifnet_sx`, shared.
pub fn if_getgroup<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, mut each: impl FnMut(&str)) {
    let _rlock = td.kernel().ifnet_sx.slock(td);
    let section = td.net_epoch_enter();
    for membership in ifp.groups.joined.iter(&section) {
        if let Some(group) = membership.group(&section) {
            each(group.name());
        }
    }
}

/// `SIOCGIFGMEMB`: calls `each` with the name of every member of a group of the current vnet, in the order of joining.
///
/// # Locks
/// Takes `ifnet_sx`, shared.
///
/// # Errors
/// `ENOENT` if there is no such group.
pub fn if_getgroupmembers<P: Platform>(
    td: &Thread<'_, P>,
    name: &str,
    mut each: impl FnMut(&str),
) -> Result<(), Errno> {
    let _rlock = td.kernel().ifnet_sx.slock(td);
    let section = td.net_epoch_enter();
    let group = td.look_at_curvnet(|vnet| vnet.find_group(name, &section)).ok_or(Errno::ENOENT)?;
    for membership in group.members.iter(&section) {
        if let Some(ifp) = membership.ifp(&section) {
            each(&ifp.name());
        }
    }
    Ok(())
}
