//! `if_attach`: an interface becomes visible in the current vnet.

use crate::Errno;
use crate::clone::if_clone_restoregroup;
use crate::event::{Event, devctl};
use crate::ifnet::addr::ifa_free;
use crate::ifnet::afdata::AfData;
use crate::ifnet::{IfAddr, IfnetOwner, Ifp, SockAddr};
use crate::mem::NoMem;
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;
use crate::vnet::VnetRef;
use crate::vnet::group_verbs::{if_delgroups, join_all};
use crate::vnet::list::{NameRule, if_link_ifnet};

/// `if_attach`: links an interface into the current vnet, which becomes its home at the first time. A detached
/// interface can be attached again; it stays marked as dying.
///
/// Names are not checked: two interfaces of one name can exist, and a lookup finds the earliest.
///
/// # Locks
/// Takes `ifnet_sx`; not the detach lock.
///
/// # Events
/// `group_attach_event` and `group_change_event` of `all`, `ifnet_arrival_event`, `ifnet_attached_event`, devctl
/// `ATTACH` in the default vnet.
///
/// # Errors
/// `EINVAL` without a name, `EEXIST` if it is attached, `EBUSY` if the vnet is being destroyed, `ENOMEM`. Then the
/// interface is as before.
#[track_caller]
pub fn if_attach<P: Platform>(td: &Thread<'_, P>, owner: &IfnetOwner<P>) -> Result<(), Errno> {
    attach_with(td, owner, [0; 6])
}

/// [`if_attach`], with the link-level address that the driver knows.
#[track_caller]
pub(super) fn attach_with<P: Platform>(
    td: &Thread<'_, P>,
    owner: &IfnetOwner<P>,
    lladdr: [u8; 6],
) -> Result<(), Errno> {
    td.assert_can_sleep("if_attach");
    let ifp: &Ifp<P> = owner;
    if ifp.names.lock().xname.is_empty() {
        return Err(Errno::EINVAL);
    }
    let vnet = td.curvnet();
    if vnet.is_shutdown() {
        return Err(Errno::EBUSY);
    }
    if is_attached(td, ifp) {
        return Err(Errno::EEXIST);
    }
    // All memory first: a failure must not leave, say, the families' data on an interface that is not attached.
    let home = ifp.if_home_vnet(td).unwrap_or_else(|| vnet.clone());
    let afdata = ifp.afdata.is_none().then(|| AfData::attach(td.domain())).transpose()?;
    let lladdr = IfAddr::alloc(td.domain(), SockAddr::Link(lladdr), 0)?;
    hold_places(td, &vnet, &home)?;

    let undo = Undo { vnet: td.read(&ifp.vnet), homeless: ifp.home.is_none(), afdata: afdata.is_some() };
    if undo.homeless {
        let none = ifp.home.swap(Some(home.clone()));
        drop(none);
    }
    if undo.afdata {
        let none = ifp.afdata.swap(afdata);
        drop(none);
    }
    attach_in(td, ifp, &vnet);
    let former = ifp.lladdr.lock().replace(lladdr);
    drop(former);
    if link_unless_shutdown(td, ifp, &vnet) {
        announce(td, ifp);
        Ok(())
    } else {
        if_delgroups(td, &vnet, ifp);
        vnet.names.lock().release(1);
        release_places_away(td, &vnet, &home, 1);
        undo.run(ifp);
        Err(Errno::EBUSY)
    }
}

/// What an attach has changed of the interface itself, for the case that its vnet dies under it.
struct Undo<P: Platform> {
    vnet: Option<VnetRef<P>>,
    homeless: bool,
    afdata: bool,
}

impl<P: Platform> Undo<P> {
    fn run(self, ifp: &Ifp<P>) {
        let Self { vnet, homeless, afdata } = self;
        if let Some(lladdr) = { ifp.lladdr.lock().take() } {
            ifa_free(lladdr);
        }
        if afdata && let Some(afdata) = ifp.afdata.swap(None) {
            afdata.defer(|afdata| afdata.detach());
        }
        let home = if homeless { ifp.home.swap(None) } else { None };
        let entered = ifp.vnet.swap(vnet);
        drop((home, entered));
    }
}

/// Whether the interface is on the list of the vnet that it names.
fn is_attached<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) -> bool {
    let vnet = ifp.if_vnet(td);
    let _rlock = td.kernel().ifnet_sx.slock(td);
    vnet.ifnets.contains(ifp)
}

/// `if_attach_internal` up to the linking: the vnet and the groups. Needs no memory.
fn attach_in<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, vnet: &VnetRef<P>) {
    let former = ifp.vnet.swap(Some(vnet.clone()));
    drop(former);
    td.preempt();
    join_all(td, vnet, ifp);
}

/// Links, unless the vnet's destruction has begun: decided and done under `ifnet_sx`, under which it begins.
fn link_unless_shutdown<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, vnet: &VnetRef<P>) -> bool {
    let _wlock = td.kernel().ifnet_sx.xlock(td);
    if vnet.is_shutdown() {
        return false;
    }
    let reserved = vnet.names.lock().is_reserved_by(&ifp.name(), td.id());
    let lost = if_link_ifnet(td, ifp, if reserved { NameRule::Unique } else { NameRule::Unchecked });
    debug_assert!(lost == 0, "an interface that was on no list has one name");
    true
}

/// `if_attach_internal` of a move: everything was reserved, so that it cannot fail. Under the detach lock.
pub(super) fn attach_moved<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, vnet: &VnetRef<P>, rule: NameRule) {
    attach_in(td, ifp, vnet);
    if_clone_restoregroup(td, ifp);
    td.preempt();
    let lost = if_link_ifnet(td, ifp, rule);
    if lost > 0 {
        let home = ifp.if_home_vnet(td).unwrap_or_else(|| vnet.clone());
        release_places_away(td, vnet, &home, lost);
    }
    announce(td, ifp);
}

fn announce<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    let events = &td.kernel().events;
    events.invoke(td, &Event::Arrival(ifp));
    events.invoke(td, &Event::Attached(ifp));
    devctl(td, "IFNET", &ifp.name(), "ATTACH", "-");
}

/// Holds the places that an interface needs in the tables of names: one where it is going to be linked, one in its home
/// while it is elsewhere, and one in the default vnet in case its home dies first.
fn hold_places<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>, home: &VnetRef<P>) -> Result<(), NoMem> {
    vnet.names.lock().hold(1)?;
    let result = hold_place_away(td, vnet, home);
    result.inspect_err(|_| vnet.names.lock().release(1))
}

/// Holds what one name of an interface in `vnet` needs elsewhere.
pub(super) fn hold_place_away<P: Platform>(
    td: &Thread<'_, P>,
    vnet: &VnetRef<P>,
    home: &VnetRef<P>,
) -> Result<(), NoMem> {
    let away = !home.ptr_eq(vnet);
    if away {
        home.names.lock().hold(1)?;
    }
    let vnet0 = td.kernel().vnet0();
    if !home.ptr_eq(&vnet0) {
        let held = vnet0.names.lock().hold(1);
        if held.is_err() && away {
            home.names.lock().release(1);
        }
        held?;
    }
    Ok(())
}

/// Gives back what `count` names of an interface that is, or was, linked in `vnet` hold elsewhere.
pub(super) fn release_places_away<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>, home: &VnetRef<P>, count: usize) {
    if !home.ptr_eq(vnet) {
        home.names.lock().release(count);
    }
    let vnet0 = td.kernel().vnet0();
    if !home.ptr_eq(&vnet0) {
        vnet0.names.lock().release(count);
    }
}

/// The end of an interface's names, after it has left the list of `vnet` for good. Needs no memory.
pub(super) fn release_names<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>, ifp: &Ifp<P>) {
    let home = ifp.if_home_vnet(td).unwrap_or_else(|| vnet.clone());
    release_places_away(td, vnet, &home, ifp.name_count());
    ifp.altnames.lock().clear();
}
