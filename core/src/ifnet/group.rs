//! Interface groups: `struct ifg_group` and the membership that ties an interface to one.
//!
//! A group exists exactly while it has members. The membership object is linked on both sides, so leaving costs the same
//! whatever the number of members. An interface owns two spare memberships from its birth, for the group `all` and for
//! its cloner's group, so that a move or the return from a dying vnet needs no memory to join them again.

use super::Ifnet;
use super::name::IfName;
use crate::epoch::DomainRef;
use crate::mem::{Link, Linked, NoMem, Shared, TailQ};
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

/// One interface in one group: `struct ifg_list` and `struct ifg_member`.
pub(crate) struct Membership<P: Platform> {
    in_group: Link<Self, P>,
    in_ifnet: Link<Self, P>,
    sides: P::Mutex<Option<Sides<P>>>,
}

/// What a membership ties together while it is in force.
pub(crate) struct Sides<P: Platform> {
    pub(crate) group: Shared<Group<P>, P>,
    pub(crate) ifp: Shared<Ifnet<P>, P>,
}

impl<P: Platform> Clone for Sides<P> {
    fn clone(&self) -> Self {
        Self { group: self.group.clone(), ifp: self.ifp.clone() }
    }
}

impl<P: Platform> Membership<P> {
    pub(crate) fn alloc(domain: &DomainRef<P>) -> Result<Shared<Self, P>, NoMem> {
        let (in_group, in_ifnet) = (Link::new(domain), Link::new(domain));
        Shared::try_new(domain, Self { in_group, in_ifnet, sides: P::Mutex::new(None) })
    }

    pub(crate) fn sides(&self) -> Option<Sides<P>> {
        self.sides.lock().clone()
    }

    pub(crate) fn set_sides(&self, sides: Option<Sides<P>>) {
        let old = core::mem::replace(&mut *self.sides.lock(), sides);
        drop(old);
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

/// The spare memberships of an interface.
pub(crate) struct Spares<P: Platform> {
    /// For the group `all`.
    pub(crate) all: Option<Shared<Membership<P>, P>>,
    /// For the group of its cloner.
    pub(crate) cloner: Option<Shared<Membership<P>, P>>,
}
