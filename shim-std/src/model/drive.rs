//! The same operations on the real core.

use std::collections::BTreeMap;

use ifnet::{
    BpfListener, Errno, IfFlags, IfType, IfnetOwner, Ifp, Platform, Thread, VnetRef, bpf_open, ether_ifattach,
    ether_ifdetach, if_addgroup, if_alloc, if_attach, if_clone_create, if_clone_destroy, if_delgroup, if_detach,
    if_free, if_initname, if_rename, if_setflags, if_vmove_loan, if_vmove_reclaim, if_vmove_to, ifunit, vnet_alloc,
    vnet_destroy,
};

use super::op::{Jail, Op, Who};
use super::state::{Outcome, split_unit};

/// What a user, a jail manager and drivers hold of the kernel under test.
pub struct Subject<P: Platform> {
    /// Every vnet that ever was, so that a stale handle stays one and is never mistaken for a new vnet.
    pub(super) vnets: BTreeMap<Jail, VnetRef<P>>,
    pub(super) owners: BTreeMap<u32, IfnetOwner<P>>,
    pub(super) listeners: BTreeMap<u32, BpfListener<P>>,
}

impl<P: Platform> Subject<P> {
    /// Of a kernel that has just booted.
    pub fn new(td: &Thread<'_, P>) -> Self {
        let vnets = BTreeMap::from([(Jail::HOST, td.kernel().vnet0())]);
        Self { vnets, owners: BTreeMap::new(), listeners: BTreeMap::new() }
    }

    pub(super) fn jail_of(&self, vnet: &VnetRef<P>) -> Option<Jail> {
        self.vnets.iter().find(|(_, other)| other.ptr_eq(vnet)).map(|(jail, _)| *jail)
    }

    fn find(&self, td: &Thread<'_, P>, who: &Who) -> Result<Ifp<P>, Errno> {
        match who {
            Who::Handle(handle) => Ok((*self.owners[handle]).clone()),
            Who::Name(at, name) => {
                let _cur = td.curvnet_set(Some(self.vnets[at].clone()));
                ifunit(td, name).ok_or(Errno::ENXIO)
            }
        }
    }

    /// Gives everything back: drivers go, jails are removed, listeners are closed.
    pub fn finish(self, td: &Thread<'_, P>) {
        let Self { vnets, owners, listeners } = self;
        drop(listeners);
        for vnet in vnets.values() {
            // The host and the dead ones refuse.
            let _ = vnet_destroy(td, vnet);
        }
        for owner in owners.into_values() {
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

/// Does what the operation says on the kernel under test.
pub fn drive<P: Platform>(td: &Thread<'_, P>, subject: &mut Subject<P>, op: &Op) -> Outcome {
    let nothing = |()| String::new();
    let at = |subject: &Subject<P>, at: &Jail| td.curvnet_set(Some(subject.vnets[at].clone()));
    match op {
        Op::JailCreate { jail } => {
            let vnet = vnet_alloc(td)?;
            let number = vnet.id();
            subject.vnets.insert(*jail, vnet);
            Ok(format!("v{number}"))
        }
        Op::JailRemove { jail } => vnet_destroy(td, &subject.vnets[jail]).map(nothing),
        Op::Create { at: jail, name } => {
            let _cur = at(subject, jail);
            if_clone_create(td, name).map(|made| made.to_string())
        }
        Op::Destroy { at: jail, name } => {
            let _cur = at(subject, jail);
            if_clone_destroy(td, name).map(nothing)
        }
        Op::Alloc { at: jail, handle, name, ether } => {
            let _cur = at(subject, jail);
            let owner = if_alloc(td, if *ether { IfType::Ether } else { IfType::Other })?;
            let (dname, unit) = split_unit(name);
            if_initname(&owner, dname, unit)?;
            subject.owners.insert(*handle, owner);
            Ok(String::new())
        }
        Op::Attach { at: jail, handle, ether } => {
            let _cur = at(subject, jail);
            let owner = &subject.owners[handle];
            let attached = if *ether { ether_ifattach(td, owner, [2, 0, 0, 0, 0, 1]) } else { if_attach(td, owner) };
            attached.map(nothing)
        }
        Op::Detach { handle, ether } => {
            let detach = if *ether { ether_ifdetach } else { if_detach };
            detach(td, &subject.owners[handle]);
            Ok(String::new())
        }
        Op::Free { handle } => {
            if let Some(owner) = subject.owners.remove(handle) {
                if_free(td, owner);
            }
            Ok(String::new())
        }
        Op::Loan { at: jail, name, to } => {
            let _cur = at(subject, jail);
            if_vmove_loan(td, name, &subject.vnets[to]).map(drop).map(nothing)
        }
        Op::Reclaim { at: jail, name, from } => {
            let _cur = at(subject, jail);
            if_vmove_reclaim(td, name, &subject.vnets[from]).map(drop).map(nothing)
        }
        Op::Vmove { who, to } => {
            let ifp = subject.find(td, who)?;
            if_vmove_to(td, &ifp, &subject.vnets[to]).map(nothing)
        }
        Op::Rename { at: jail, name, new } => {
            let _cur = at(subject, jail);
            let ifp = ifunit(td, name).ok_or(Errno::ENXIO)?;
            if_rename(td, &ifp, new).map(nothing)
        }
        Op::AddGroup { who, group } => if_addgroup(td, &subject.find(td, who)?, group).map(nothing),
        Op::DelGroup { who, group } => if_delgroup(td, &subject.find(td, who)?, group).map(nothing),
        Op::Up { at: jail, name, up } => {
            let _cur = at(subject, jail);
            let ifp = ifunit(td, name).ok_or(Errno::ENXIO)?;
            let flags = ifp.flags().difference(IfFlags::UP);
            if_setflags(td, &ifp, if *up { flags | IfFlags::UP } else { flags }).map(nothing)
        }
        Op::Listen { at: jail, name, listener } => {
            let _cur = at(subject, jail);
            subject.listeners.insert(*listener, bpf_open(td, name)?);
            Ok(String::new())
        }
        Op::Close { listener } => {
            drop(subject.listeners.remove(listener));
            Ok(String::new())
        }
        Op::RunTasks => {
            while td.kernel().run_deferred(td) {}
            Ok(String::new())
        }
    }
}
