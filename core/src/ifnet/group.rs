//! Interface groups: `struct ifg_group` and the membership that ties an interface to one.
//!
//! A group exists exactly while it has members. The membership object is linked on both sides, so leaving costs the same
//! whatever the number of members. An interface owns two spare memberships from its birth, for the group `all` and for
//! its cloner's group, so that a move or the return from a dying vnet needs no memory to join them again.

use super::Ifnet;
use super::name::IfName;
use crate::Errno;
use crate::epoch::{DomainRef, Section};
use crate::mem::{Borrowed, Link, Linked, NoMem, Published, Shared, TailQ};
use crate::platform::{Mutex, Platform};

/// The list of a group's members.
pub(crate) enum ByGroup {}
/// The list of an interface's groups.
pub(crate) enum ByIfnet {}
/// The list of a vnet's groups: `V_ifg_head`.
pub(crate) enum ByVnet {}

/// `struct ifg_group`.
pub struct Group<P: Platform> {
    name: IfName,
    link: Link<Self, P>,
    pub(crate) members: TailQ<Membership<P>, P, ByGroup>,
}

impl<P: Platform> Group<P> {
    pub(crate) fn alloc(domain: &DomainRef<P>, name: &IfName) -> Result<Shared<Self, P>, NoMem> {
        Shared::try_new(domain, Self { name: name.clone(), link: Link::new(domain), members: TailQ::new(domain) })
    }

    /// `ifg_group`: the name.
    pub fn name(&self) -> &IfName {
        &self.name
    }

    /// `ifg_refcnt`: the number of members.
    pub fn refcnt(&self) -> usize {
        self.members.len()
    }
}

impl<P: Platform> Linked<P, ByVnet> for Group<P> {
    fn link(&self) -> &Link<Self, P> {
        &self.link
    }
}

/// One interface in one group: `struct ifg_list` and `struct ifg_member`. While it is in force both slots are full: they
/// are filled under `ifnet_sx`, and emptied by whoever took it off both lists.
pub(crate) struct Membership<P: Platform> {
    in_group: Link<Self, P>,
    in_ifnet: Link<Self, P>,
    group: Published<Group<P>, P>,
    ifp: Published<Ifnet<P>, P>,
}

impl<P: Platform> Membership<P> {
    /// `ifgl_group`; `None` if the membership is not in force.
    pub(crate) fn group<'g>(&self, section: &'g Section<'_, P>) -> Option<Borrowed<'g, Group<P>, P>> {
        self.group.load(section)
    }

    /// `ifgm_ifp`; `None` if the membership is not in force.
    pub(crate) fn ifp<'g>(&self, section: &'g Section<'_, P>) -> Option<Borrowed<'g, Ifnet<P>, P>> {
        self.ifp.load(section)
    }

    /// Comes into force.
    pub(crate) fn begin(&self, group: Shared<Group<P>, P>, ifp: Shared<Ifnet<P>, P>) {
        self.group.swap(Some(group));
        self.ifp.swap(Some(ifp));
    }

    /// Is not in force any more.
    pub(crate) fn end(&self) {
        self.group.swap(None);
        self.ifp.swap(None);
    }
}

impl<P: Platform> Linked<P, ByGroup> for Membership<P> {
    fn link(&self) -> &Link<Self, P> {
        &self.in_group
    }
}

impl<P: Platform> Linked<P, ByIfnet> for Membership<P> {
    fn link(&self) -> &Link<Self, P> {
        &self.in_ifnet
    }
}

/// A membership that is not in force.
pub(crate) struct Spare<P: Platform>(pub(crate) Shared<Membership<P>, P>);

impl<P: Platform> Spare<P> {
    pub(crate) fn try_new(domain: &DomainRef<P>) -> Result<Self, NoMem> {
        let (in_group, in_ifnet) = (Link::new(domain), Link::new(domain));
        let (group, ifp) = (Published::new(domain), Published::new(domain));
        Shared::try_new(domain, Membership { in_group, in_ifnet, group, ifp }).map(Self)
    }
}

/// The spare memberships of an interface.
pub(crate) struct Spares<P: Platform> {
    /// For the group `all`.
    pub(crate) all: Option<Spare<P>>,
    /// For the group of its cloner.
    pub(crate) cloner: Option<Spare<P>>,
}

/// What an interface has of groups.
pub(crate) struct IfGroups<P: Platform> {
    /// In the order of joining, written under `ifnet_sx`.
    pub(crate) joined: TailQ<Membership<P>, P, ByIfnet>,
    pub(crate) spares: P::Mutex<Spares<P>>,
}

impl<P: Platform> IfGroups<P> {
    /// In none, with the spare for `all`.
    pub(crate) fn try_new(domain: &DomainRef<P>) -> Result<Self, NoMem> {
        let spares = Spares { all: Some(Spare::try_new(domain)?), cloner: None };
        Ok(Self { joined: TailQ::new(domain), spares: P::Mutex::new(spares) })
    }
}

/// What a vnet has of groups.
pub(crate) struct VnetGroups<P: Platform> {
    /// `V_ifg_head`, written under `ifnet_sx`.
    pub(crate) existing: TailQ<Group<P>, P, ByVnet>,
    /// The group `all`, which every attach joins; it *exists* only while it has members.
    all: P::Mutex<Option<Shared<Group<P>, P>>>,
}

/// The group that every attached interface joins.
pub(crate) const ALL: &str = "all";

impl<P: Platform> VnetGroups<P> {
    pub(crate) fn new(domain: &DomainRef<P>) -> Self {
        Self { existing: TailQ::new(domain), all: P::Mutex::new(None) }
    }

    /// Makes the group `all`.
    pub(crate) fn begin(&self, domain: &DomainRef<P>) -> Result<(), Errno> {
        let all = Group::alloc(domain, &IfName::new(ALL)?)?;
        *self.all.lock() = Some(all);
        Ok(())
    }

    pub(crate) fn all(&self) -> Option<Shared<Group<P>, P>> {
        self.all.lock().clone()
    }

    /// Breaks the cycle of handles, so that the vnet's memory can go.
    pub(crate) fn end(&self) {
        let all = self.all.lock().take();
        drop(all);
    }
}

/// The group of a kind of interfaces, which exists while it has members.
pub(crate) struct KindGroup<P: Platform>(pub(crate) Shared<Group<P>, P>);

impl<P: Platform> KindGroup<P> {
    pub(crate) fn try_new(domain: &DomainRef<P>, kind: &IfName) -> Result<Self, NoMem> {
        Group::alloc(domain, kind).map(Self)
    }
}
