//! The rules of interfaces that stand on others: VLANs, bridges, aggregates, and those that share a lower one.

use ifnet::Errno;

use super::kind::{Cloner, Kind};
use super::name::Name;
use super::op::Jail;
use super::state::{ETHERMTU, How, Id, Link, Model};

/// As many interfaces may stand on each other, the lowest included.
const NEST_MAX: usize = 8;
/// Length of an 802.1Q header, in bytes.
const ENCAPLEN: u32 = 4;
/// `LAGG_MAX_PORTS`.
const PORTS_MAX: usize = 32;

/// Where an interface that is about to be made is going to stand.
#[derive(PartialEq)]
pub(super) struct Place {
    lower: Id,
    how: How,
}

impl Place {
    pub(super) const fn of(self, upper: Id) -> Link {
        Link { lower: self.lower, upper, how: self.how }
    }
}

impl Model {
    /// What a driver says to a create: where the new interface will stand, if anywhere.
    pub(super) fn admit(&self, at: Jail, cloner: Cloner, on: Option<(Id, u16)>) -> Result<Option<Place>, Errno> {
        match (cloner.family(), on) {
            (Some(_), None) => Err(Errno::EINVAL),
            (Some(_), Some((asked, _))) => self.share(cloner, asked).map(Some),
            (None, Some((parent, tag))) if cloner == Cloner::Vlan => {
                self.admit_vlan(at, parent, tag)?;
                self.is_low_enough(parent, None)?;
                Ok(Some(Place { lower: parent, how: How::Vlan(tag) }))
            }
            _ => Ok(None),
        }
    }

    /// One more that shares a lower interface. An upper of the same family is not stood upon, but beside.
    fn share(&self, cloner: Cloner, asked: Id) -> Result<Place, Errno> {
        let family = |id: Id| match self.iface(id).kind {
            Kind::Cloned(cloner) => cloner.family(),
            Kind::Plain { .. } => None,
        };
        let beside = if family(asked) == cloner.family() { self.lower_of(asked) } else { None };
        let lower = beside.unwrap_or(asked);
        let it = self.iface(lower);
        if it.dying || it.queued {
            return Err(Errno::ENODEV);
        }
        let sharer = self.uppers(lower).find(|link| link.how == How::Shared);
        if !sharer.is_some_and(|link| family(link.upper) == cloner.family()) {
            if !it.kind.is_ethernet() && !it.kind.is(Cloner::Vlan) {
                return Err(Errno::EINVAL);
            }
            if self.is_received(lower) {
                return Err(Errno::EBUSY);
            }
        }
        self.is_low_enough(lower, None)?;
        Ok(Place { lower, how: How::Shared })
    }

    /// Whether somebody takes the packets of an interface: its master, those that share it, or a character device.
    fn is_received(&self, id: Id) -> bool {
        let it = self.iface(id);
        it.kind.is(Cloner::Ipvtap) && !it.queued || self.uppers(id).any(|link| !matches!(link.how, How::Vlan(_)))
    }

    /// The bridge or the aggregate that has an interface as a member.
    fn master(&self, id: Id) -> Option<Id> {
        let mut masters = self.uppers(id).filter(|link| matches!(link.how, How::Bridge | How::Lagg));
        masters.next().map(|link| link.upper)
    }

    /// The new interface has come to stand there, or a VLAN got a parent.
    pub(super) fn stand(&mut self, link: Link) {
        let below = self.iface(link.lower).mtu;
        self.change(link.upper).mtu = if matches!(link.how, How::Vlan(_)) { below - ENCAPLEN } else { below };
        self.links.push(link);
    }

    fn uppers(&self, lower: Id) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(move |link| link.lower == lower)
    }

    fn lowers(&self, upper: Id) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(move |link| link.upper == upper)
    }

    fn upper_of(&self, lower: Id) -> Option<Id> {
        self.uppers(lower).next().map(|link| link.upper)
    }

    fn lower_of(&self, upper: Id) -> Option<Id> {
        self.lowers(upper).next().map(|link| link.lower)
    }

    /// Those that share the lower interface of this one, and may not have an address that it has.
    pub(super) fn siblings(&self, id: Id) -> impl Iterator<Item = Id> {
        let exclusive = matches!(self.iface(id).kind, Kind::Cloned(Cloner::Ipvlan | Cloner::Ipvtap));
        let lower = self.lower_of(id).filter(|_| exclusive);
        let beside = lower.into_iter().flat_map(|lower| self.uppers(lower));
        beside.filter(|link| link.how == How::Shared).map(|link| link.upper).filter(move |upper| *upper != id)
    }

    /// Whether `upper`, or a new interface, can be put on `lower` without making the stack too high.
    fn is_low_enough(&self, lower: Id, upper: Option<Id>) -> Result<(), Errno> {
        let above = upper.map_or(1, |upper| self.height(upper, |link| (link.lower, link.upper)));
        let below = self.height(lower, |link| (link.upper, link.lower));
        if above + below > NEST_MAX { Err(Errno::EMLINK) } else { Ok(()) }
    }

    /// How many stand on each other in one direction, this one included.
    fn height(&self, id: Id, direction: fn(&Link) -> (Id, Id)) -> usize {
        let next = self.links.iter().map(direction).filter(|(from, _)| *from == id);
        1 + next.map(|(_, to)| self.height(to, direction)).max().unwrap_or(0)
    }

    /// Whether `upper` stands on `lower`, at whatever distance, or is it.
    fn stands_on(&self, upper: Id, lower: Id) -> bool {
        upper == lower || self.lowers(upper).any(|link| self.stands_on(link.lower, lower))
    }

    // Departures.

    /// An interface has left its vnet: members and ports leave, VLANs lose their parent. Those that share it go too, if
    /// it left for good: at once in its own vnet, and elsewhere by the work of the vnet that they are in.
    pub(super) fn departs(&mut self, id: Id, for_good: bool) {
        self.forget(|link| link.lower == id && link.how != How::Shared);
        if !for_good {
            return;
        }
        let vnet = self.iface(id).vnet;
        while let Some(upper) = self.upper_of(id) {
            if self.iface(upper).vnet == vnet {
                self.unregister(upper);
            } else {
                self.change(upper).queued = true;
                self.forget(|link| link.upper == upper);
            }
        }
    }

    /// A bridge or an aggregate lets go of what it stands on.
    pub(super) fn release_lowers(&mut self, id: Id) {
        self.forget(|link| link.upper == id && matches!(link.how, How::Bridge | How::Lagg));
    }

    fn forget(&mut self, gone: impl Fn(&Link) -> bool) {
        for at in 0..self.links.len() {
            let link = self.links[at];
            if gone(&link) && matches!(link.how, How::Vlan(_)) {
                self.change(link.upper).mtu = ETHERMTU;
            }
        }
        self.links.retain(|link| !gone(link));
    }

    /// Does the pending work of a vnet.
    pub(super) fn flush(&mut self, at: Jail) {
        while let Some(id) = self.queued(Some(at)) {
            self.unregister(id);
        }
    }

    /// An interface that is queued in this vnet, or in any.
    pub(super) fn queued(&self, at: Option<Jail>) -> Option<Id> {
        let mut queued = self.ifaces().filter(|(_, it)| it.queued && at.is_none_or(|at| it.vnet == at));
        queued.next().map(|(id, _)| id)
    }

    // VLANs.

    fn admit_vlan(&self, at: Jail, parent: Id, tag: u16) -> Result<(), Errno> {
        if !(1..=4094).contains(&tag) {
            return Err(Errno::EINVAL);
        }
        let it = self.iface(parent);
        if it.dying || !it.linked || it.vnet != at {
            return Err(Errno::ENXIO);
        }
        if !it.kind.is_ethernet() && !it.kind.is(Cloner::Vlan) && !it.kind.is(Cloner::Bridge) {
            return Err(Errno::EPROTONOSUPPORT);
        }
        if self.uppers(parent).any(|link| link.how == How::Vlan(tag)) { Err(Errno::EEXIST) } else { Ok(()) }
    }

    /// The VLAN of this name, which can be configured only at home.
    fn vlan(&self, at: Jail, name: Name) -> Result<Id, Errno> {
        let id = self.lookup_ref(at, name).ok_or(Errno::ENXIO)?;
        let it = self.iface(id);
        if !it.kind.is(Cloner::Vlan) {
            return Err(Errno::EINVAL);
        }
        if it.home != Some(at) {
            return Err(Errno::EPERM);
        }
        Ok(id)
    }

    pub(super) fn set_vlan(&mut self, at: Jail, vlan: Name, parent: Name, tag: u16) -> Result<(), Errno> {
        let lower = self.lookup_ref(at, parent).ok_or(Errno::ENXIO)?;
        let upper = self.vlan(at, vlan)?;
        if self.lower_of(upper).is_some() {
            return Err(Errno::EBUSY);
        }
        self.admit_vlan(at, lower, tag)?;
        if self.stands_on(lower, upper) {
            return Err(Errno::EINVAL);
        }
        self.is_low_enough(lower, Some(upper))?;
        self.stand(Link { lower, upper, how: How::Vlan(tag) });
        Ok(())
    }

    pub(super) fn unset_vlan(&mut self, at: Jail, vlan: Name) -> Result<(), Errno> {
        let upper = self.vlan(at, vlan)?;
        self.forget(|link| link.upper == upper);
        Ok(())
    }

    // Bridges and aggregates.

    /// The ports of an aggregate, the primary first.
    pub(super) fn ports(&self, lagg: Id) -> Vec<Id> {
        self.lowers(lagg).filter(|link| link.how == How::Lagg).map(|link| link.lower).collect()
    }

    /// The master and the lower interface of these names.
    fn members(&self, at: Jail, master: Name, lower: Name, lagg: bool) -> Result<(Id, Id), Errno> {
        let upper = self.lookup_ref(at, master).ok_or(Errno::ENXIO)?;
        let lower = self.lookup_ref(at, lower).ok_or(Errno::ENXIO)?;
        let wanted = if lagg { Cloner::Lagg } else { Cloner::Bridge };
        if self.iface(upper).kind.is(wanted) { Ok((upper, lower)) } else { Err(Errno::EINVAL) }
    }

    pub(super) fn join_master(&mut self, at: Jail, master: Name, lower: Name, lagg: bool) -> Result<(), Errno> {
        let (upper, lower) = self.members(at, master, lower, lagg)?;
        let how = if lagg { self.admit_port(upper, lower)? } else { self.admit_member(lower)? };
        if self.stands_on(lower, upper) || self.is_received(lower) {
            return Err(Errno::EBUSY);
        }
        self.is_low_enough(lower, Some(upper))?;
        // The promiscuity that a bridge asks for needs a driver that can be asked.
        if !lagg && matches!(self.iface(lower).kind, Kind::Plain { .. }) {
            return Err(Errno::EOPNOTSUPP);
        }
        if lagg && self.ports(upper).is_empty() {
            self.change(upper).mtu = self.iface(lower).mtu;
        }
        self.links.push(Link { lower, upper, how });
        if lagg {
            self.change(lower).up = self.iface(upper).up;
        }
        Ok(())
    }

    fn admit_member(&self, member: Id) -> Result<How, Errno> {
        let it = self.iface(member);
        if it.kind.is_ethernet() || it.kind.is(Cloner::Vlan) { Ok(How::Bridge) } else { Err(Errno::EINVAL) }
    }

    fn admit_port(&self, lagg: Id, port: Id) -> Result<How, Errno> {
        let it = self.iface(port);
        if it.kind.is(Cloner::Lagg) {
            return Err(Errno::EINVAL);
        }
        if let Some(master) = self.master(port) {
            return Err(if master == lagg { Errno::EEXIST } else { Errno::EBUSY });
        }
        if !it.kind.is_ethernet() {
            return Err(Errno::EPROTONOSUPPORT);
        }
        let ports = self.ports(lagg).len();
        if ports >= PORTS_MAX {
            return Err(Errno::ENOSPC);
        }
        if ports > 0 && it.mtu != self.iface(lagg).mtu { Err(Errno::EINVAL) } else { Ok(How::Lagg) }
    }

    pub(super) fn part_master(&mut self, at: Jail, master: Name, lower: Name, lagg: bool) -> Result<(), Errno> {
        let (upper, lower) = self.members(at, master, lower, lagg)?;
        let before = self.links.len();
        self.forget(|link| link.upper == upper && link.lower == lower);
        if self.links.len() < before { Ok(()) } else { Err(Errno::ENOENT) }
    }
}
