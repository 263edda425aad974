//! The same operations on the real core.

use ifnet::drivers::{bridge_addm, bridge_delm, lagg_addport, lagg_delport, vlan_config, vlan_unconfig};
use ifnet::{
    BpfListener, CloneParams, Errno, IfFlags, IfName, IfType, IfnetOwner, IfnetRef, Ifp, Peer, Platform, SockAddr,
    Thread, VnetRef, bpf_open, ether_ifattach, ether_ifdetach, if_addaddr, if_addgroup, if_alloc, if_attach,
    if_clone_create, if_clone_create_kind, if_clone_destroy, if_deladdr, if_delgroup, if_detach, if_free, if_initname,
    if_rename, if_setflags, if_vmove_loan, if_vmove_reclaim, if_vmove_to, ifunit, ifunit_ref, vnet_alloc, vnet_destroy,
};

use super::kind::Cloner;
use super::name::Name;
use super::op::{Jail, Op, Who};
use super::state::{Made, Outcome};
use super::verbs::split_unit;

/// What a user, a jail manager and drivers hold of the kernel under test.
pub struct Subject<P: Platform> {
    /// By jail: every vnet that ever was, so that a stale handle stays one and is never mistaken for a new vnet.
    pub(super) vnets: Vec<VnetRef<P>>,
    /// By handle.
    pub(super) owners: Vec<Option<IfnetOwner<P>>>,
    pub(super) listeners: Vec<(u32, BpfListener<P>)>,
}

impl<P: Platform> Subject<P> {
    /// Of a kernel that has just booted.
    pub fn new(td: &Thread<'_, P>) -> Self {
        Self { vnets: vec![td.kernel().vnet0()], owners: Vec::new(), listeners: Vec::new() }
    }

    pub(super) fn vnet(&self, jail: Jail) -> &VnetRef<P> {
        &self.vnets[jail.0 as usize]
    }

    fn owner(&self, handle: u32) -> &IfnetOwner<P> {
        self.owners[handle as usize].as_ref().expect("operations name handles that exist")
    }

    fn find(&self, td: &Thread<'_, P>, who: Who) -> Result<Ifp<P>, Errno> {
        match who {
            Who::Handle(handle) => Ok((**self.owner(handle)).clone()),
            Who::Name(at, name) => {
                let _cur = td.curvnet_set(Some(self.vnet(at).clone()));
                ifunit(td, name.as_str()).ok_or(Errno::ENXIO)
            }
        }
    }

    fn find_ref(&self, td: &Thread<'_, P>, at: Jail, name: Name) -> Result<IfnetRef<P>, Errno> {
        let _cur = td.curvnet_set(Some(self.vnet(at).clone()));
        ifunit_ref(td, name.as_str()).ok_or(Errno::ENXIO)
    }

    /// Gives everything back: drivers go, jails are removed, listeners are closed.
    pub fn finish(self, td: &Thread<'_, P>) {
        let Self { vnets, owners, listeners } = self;
        drop(listeners);
        for vnet in &vnets {
            // The host and the dead ones refuse.
            let _ = vnet_destroy(td, vnet);
        }
        for owner in owners.into_iter().flatten() {
            let attached =
                ifnet::if_foreach(td, |ifp| if ifp.addr() == owner.addr() { Err(Errno::EEXIST) } else { Ok(()) });
            match (attached.is_err(), owner.if_type()) {
                (true, IfType::Ether) => ether_ifdetach(td, &owner),
                (true, _) => if_detach(td, &owner),
                (false, _) => {}
            }
            if_free(td, owner);
        }
    }
}

/// The address 10.0.0.`last`.
pub(super) const fn inet(last: u8) -> SockAddr {
    SockAddr::Inet([10, 0, 0, last])
}

/// Does what the operation says on the kernel under test.
pub fn drive<P: Platform>(td: &Thread<'_, P>, subject: &mut Subject<P>, op: &Op) -> Outcome {
    let at = |subject: &Subject<P>, at: Jail| td.curvnet_set(Some(subject.vnet(at).clone()));
    let made = |name: Result<IfName, Errno>| name.map(|name| Made::Interface(Name::new(&name)));
    match *op {
        Op::JailCreate { jail } => {
            let vnet = vnet_alloc(td)?;
            let number = vnet.id();
            debug_assert_eq!(jail.0 as usize, subject.vnets.len(), "jails are counted");
            subject.vnets.push(vnet);
            Ok(Made::Vnet(number))
        }
        Op::JailRemove { jail } => vnet_destroy(td, subject.vnet(jail)).map(Made::from),
        Op::Create { at: jail, name } => {
            let _cur = at(subject, jail);
            made(if_clone_create(td, name.as_str()))
        }
        Op::CreateOn { at: jail, kind, from, lower, tag } => {
            let lower = Some(subject.find_ref(td, from, lower)?);
            let tag = (kind == Cloner::Vlan).then_some(tag);
            let _cur = at(subject, jail);
            made(if_clone_create_kind(td, kind.name(), None, &CloneParams { lower, tag, ..CloneParams::NONE }))
        }
        Op::CreatePair { at: jail, to } => {
            let peer = Some(Peer { name: None, vnet: Some(subject.vnet(to).clone()) });
            let _cur = at(subject, jail);
            made(if_clone_create_kind(td, "veth", None, &CloneParams { peer, ..CloneParams::NONE }))
        }
        Op::Destroy { at: jail, name } => {
            let _cur = at(subject, jail);
            if_clone_destroy(td, name.as_str()).map(Made::from)
        }
        Op::Alloc { at: jail, handle, name, ether } => {
            let _cur = at(subject, jail);
            let owner = if_alloc(td, if ether { IfType::Ether } else { IfType::Other })?;
            let (dname, unit) = split_unit(&name);
            if_initname(&owner, dname.as_str(), unit)?;
            debug_assert_eq!(handle as usize, subject.owners.len(), "handles are counted");
            subject.owners.push(Some(owner));
            Ok(Made::Nothing)
        }
        Op::Attach { at: jail, handle, ether } => {
            let _cur = at(subject, jail);
            let owner = subject.owner(handle);
            let attached = if ether { ether_ifattach(td, owner, [2, 0, 0, 0, 0, 1]) } else { if_attach(td, owner) };
            attached.map(Made::from)
        }
        Op::Detach { handle, ether } => {
            let detach = if ether { ether_ifdetach } else { if_detach };
            detach(td, subject.owner(handle));
            Ok(Made::Nothing)
        }
        Op::Free { handle } => {
            if let Some(owner) = subject.owners[handle as usize].take() {
                if_free(td, owner);
            }
            Ok(Made::Nothing)
        }
        Op::Loan { at: jail, name, to } => {
            let _cur = at(subject, jail);
            if_vmove_loan(td, name.as_str(), subject.vnet(to)).map(drop).map(Made::from)
        }
        Op::Reclaim { at: jail, name, from } => {
            let _cur = at(subject, jail);
            if_vmove_reclaim(td, name.as_str(), subject.vnet(from)).map(drop).map(Made::from)
        }
        Op::Vmove { who, to } => {
            let ifp = subject.find(td, who)?;
            if_vmove_to(td, &ifp, subject.vnet(to)).map(Made::from)
        }
        Op::Rename { at: jail, name, new } => {
            let _cur = at(subject, jail);
            let ifp = ifunit(td, name.as_str()).ok_or(Errno::ENXIO)?;
            if_rename(td, &ifp, new.as_str()).map(Made::from)
        }
        Op::AddGroup { who, group } => if_addgroup(td, &subject.find(td, who)?, group.as_str()).map(Made::from),
        Op::DelGroup { who, group } => if_delgroup(td, &subject.find(td, who)?, group.as_str()).map(Made::from),
        Op::Up { at: jail, name, up } => {
            let _cur = at(subject, jail);
            let ifp = ifunit(td, name.as_str()).ok_or(Errno::ENXIO)?;
            let flags = ifp.flags().difference(IfFlags::UP);
            if_setflags(td, &ifp, if up { flags | IfFlags::UP } else { flags }).map(Made::from)
        }
        Op::AddAddr { at: jail, name, last } => {
            let _cur = at(subject, jail);
            if_addaddr(td, &ifunit(td, name.as_str()).ok_or(Errno::ENXIO)?, inet(last), 24).map(Made::from)
        }
        Op::DelAddr { at: jail, name, last } => {
            let _cur = at(subject, jail);
            if_deladdr(&ifunit(td, name.as_str()).ok_or(Errno::ENXIO)?, inet(last)).map(Made::from)
        }
        Op::SetVlan { at: jail, vlan, parent, tag } => {
            let parent = subject.find_ref(td, jail, parent)?;
            let vlan = subject.find_ref(td, jail, vlan)?;
            vlan_config(td, &vlan, &parent, tag).map(Made::from)
        }
        Op::UnsetVlan { at: jail, vlan } => vlan_unconfig(td, &*subject.find_ref(td, jail, vlan)?).map(Made::from),
        Op::Join { at: jail, master, lower, lagg } => {
            let (master, lower) = (subject.find_ref(td, jail, master)?, subject.find_ref(td, jail, lower)?);
            let join = if lagg { lagg_addport } else { bridge_addm };
            join(td, &master, &lower).map(Made::from)
        }
        Op::Part { at: jail, master, lower, lagg } => {
            let (master, lower) = (subject.find_ref(td, jail, master)?, subject.find_ref(td, jail, lower)?);
            let part = if lagg { lagg_delport } else { bridge_delm };
            part(td, &master, &lower).map(Made::from)
        }
        Op::Listen { at: jail, name, listener } => {
            let _cur = at(subject, jail);
            subject.listeners.push((listener, bpf_open(td, name.as_str())?));
            Ok(Made::Nothing)
        }
        Op::Close { listener } => {
            subject.listeners.retain(|(number, _)| *number != listener);
            Ok(Made::Nothing)
        }
        Op::RunTasks => {
            while td.kernel().run_deferred(td) {}
            Ok(Made::Nothing)
        }
    }
}
