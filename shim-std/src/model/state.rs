//! The state of the model, and what every change of it is made of.
//!
//! The rules stand in the files beside this one, written once each, in the order in which the core checks them, because
//! the order decides which error a call gives that could fail for two reasons.

use super::kind::{Cloner, Kind};
use super::name::Name;
use super::op::{Jail, Who};
use super::touched::Touched;

use ifnet::Errno;

/// What an operation gives, or its error.
pub type Outcome = Result<Made, Errno>;

/// What an operation made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// Nothing that has a name.
    Nothing,
    /// A vnet, with the number in `v0`, `v1`, ….
    Vnet(u32),
    /// A cloned interface.
    Interface(Name),
}

impl From<()> for Made {
    fn from((): ()) -> Self {
        Self::Nothing
    }
}

/// The MTU of an Ethernet.
pub(super) const ETHERMTU: u32 = 1500;
/// Longest name, in bytes.
pub(super) const NAME_MAX: usize = 15;

/// Which interface: its place in the index table. It names the interface as long as that exists.
pub(super) type Id = usize;

/// An interface between `if_alloc` and `if_free`.
#[derive(Clone, Debug)]
pub(super) struct Iface {
    pub(super) kind: Kind,
    pub(super) name: Name,
    /// The name of the driver, and the number that it gave.
    pub(super) dname: Name,
    pub(super) unit: Option<u32>,
    /// `if_vnet`.
    pub(super) vnet: Jail,
    pub(super) home: Option<Jail>,
    pub(super) linked: bool,
    pub(super) groups: Vec<Name>,
    pub(super) up: bool,
    /// In bytes. Of Ethernet interfaces and VLANs, whose ports must agree.
    pub(super) mtu: u32,
    /// The last byte of each network address.
    pub(super) addrs: Vec<u8>,
    pub(super) dying: bool,
    /// Its driver has given it up; its vnet's work will take it away.
    pub(super) queued: bool,
    /// The other end of a pair.
    pub(super) peer: Option<Id>,
}

impl Iface {
    pub(super) fn has_tap(&self) -> bool {
        self.linked && self.kind.has_tap()
    }

    /// The ends of a `veth` hold each other; those of an `epair` do not.
    pub(super) fn is_held_by_peer(&self) -> bool {
        self.peer.is_some() && self.kind.is(Cloner::Veth)
    }
}

/// A vnet.
#[derive(Clone, Debug)]
pub(super) struct Stack {
    pub(super) jail: Jail,
    /// The number in `v0`, `v1`, ….
    pub(super) number: u32,
    /// Its interfaces in the order of linking.
    pub(super) list: Vec<Id>,
    /// What its cloners made and have not destroyed, in the order of making.
    pub(super) made: Vec<Id>,
    pub(super) groups: Vec<Group>,
    /// Units in use, in no order, by cloner.
    pub(super) units: [Vec<u32>; Cloner::ALL.len()],
}

/// A group exists while it has members.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: Name,
    /// In the order of joining.
    pub(super) members: Vec<Id>,
}

/// A slot of the index table.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub(super) generation: u16,
    pub(super) iface: Option<Iface>,
}

/// An open listener.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    pub(super) number: u32,
    /// What it listens on, until that goes away.
    pub(super) on: Option<Id>,
}

/// How one interface stands on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// A VLAN of this tag, on its parent.
    Vlan(u16),
    /// A bridge, on its member.
    Bridge,
    /// An aggregate, on its port.
    Lagg,
    /// One of those that share a lower interface.
    Shared,
}

/// One interface stands on another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) lower: Id,
    pub(super) upper: Id,
    pub(super) how: How,
}

/// The model. Jails, handles and listeners have numbers that are never used again.
#[derive(Clone, Debug)]
pub struct Model {
    /// In the order of creation; the host is the first.
    pub(super) stacks: Vec<Stack>,
    pub(super) dead: Vec<Jail>,
    /// The index table. Index 0 is never used.
    pub(super) slots: Vec<Slot>,
    /// How many indices are in use.
    pub(super) count: usize,
    /// By handle: the interface, while it exists.
    pub(super) handles: Vec<Option<Id>>,
    pub(super) listeners: Vec<Listener>,
    /// Who stands on whom, in the order of joining.
    pub(super) links: Vec<Link>,
    /// The numbers that the next jail and the next listener get.
    pub(super) next_jail: Jail,
    pub(super) next_listener: u32,
    /// Where the last operation wrote.
    pub(super) touched: Touched,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// A kernel that has just booted.
    #[must_use]
    pub fn new() -> Self {
        let mut model = Self {
            stacks: Vec::new(),
            dead: Vec::new(),
            slots: vec![Slot::default()],
            count: 0,
            handles: Vec::new(),
            listeners: Vec::new(),
            links: Vec::new(),
            next_jail: Jail::HOST,
            next_listener: 0,
            touched: Touched::default(),
        };
        model.new_stack(Jail::HOST);
        model
    }

    // Looking.

    pub(super) fn iface(&self, id: Id) -> &Iface {
        self.slots[id].iface.as_ref().expect("interfaces are named while they exist")
    }

    /// The interface, to change it.
    pub(super) fn change(&mut self, id: Id) -> &mut Iface {
        self.touched.iface(id);
        self.slots[id].iface.as_mut().expect("interfaces are named while they exist")
    }

    /// All interfaces, by index.
    pub(super) fn ifaces(&self) -> impl Iterator<Item = (Id, &Iface)> {
        self.slots.iter().enumerate().filter_map(|(id, slot)| Some((id, slot.iface.as_ref()?)))
    }

    pub(super) fn live(&self, jail: Jail) -> Option<&Stack> {
        self.stacks.iter().find(|stack| stack.jail == jail)
    }

    pub(super) fn is_dead(&self, jail: Jail) -> bool {
        self.live(jail).is_none()
    }

    pub(super) fn stack(&mut self, jail: Jail) -> &mut Stack {
        self.stacks.iter_mut().find(|stack| stack.jail == jail).expect("a live vnet")
    }

    /// `ifunit`: the earliest linked of that name.
    pub(super) fn lookup(&self, at: Jail, name: Name) -> Option<Id> {
        self.live(at)?.list.iter().copied().find(|id| self.iface(*id).name == name)
    }

    /// `ifunit_ref`: the earliest linked of that name that is not dying.
    pub(super) fn lookup_ref(&self, at: Jail, name: Name) -> Option<Id> {
        let is = |it: &Iface| it.name == name && !it.dying;
        self.live(at)?.list.iter().copied().find(|id| is(self.iface(*id)))
    }

    pub(super) fn handle(&self, handle: u32) -> Id {
        self.handles[handle as usize].expect("operations name handles that exist")
    }

    pub(super) fn find(&self, who: Who) -> Result<Id, Errno> {
        match who {
            Who::Handle(handle) => Ok(self.handle(handle)),
            Who::Name(at, name) => self.lookup(at, name).ok_or(Errno::ENXIO),
        }
    }

    // What every change is made of. Whoever writes says where.

    pub(super) fn alloc(&mut self, at: Jail, kind: Kind, name: Name, dname: Name, unit: Option<u32>) -> Id {
        let free = self.slots.iter().skip(1).position(|slot| slot.iface.is_none());
        let id = free.map_or(self.slots.len(), |at| at + 1);
        if id == self.slots.len() {
            self.slots.push(Slot::default());
        }
        let (vnet, home, peer) = (at, None, None);
        let (groups, linked, up, dying, queued) = (Vec::new(), false, false, false, false);
        let mtu = ETHERMTU;
        let addrs = Vec::new();
        let iface = Iface { kind, name, dname, unit, vnet, home, linked, groups, up, mtu, addrs, dying, queued, peer };
        self.slots[id].iface = Some(iface);
        self.count += 1;
        self.touched.iface(id);
        id
    }

    pub(super) fn free(&mut self, id: Id) {
        let slot = &mut self.slots[id];
        slot.iface = None;
        slot.generation = slot.generation.wrapping_add(1);
        self.count -= 1;
        self.links.retain(|link| link.lower != id && link.upper != id);
        self.touched.iface(id);
    }

    pub(super) fn link(&mut self, id: Id, at: Jail) {
        let it = self.change(id);
        it.vnet = at;
        it.home = it.home.or(Some(at));
        it.linked = true;
        let name = it.name;
        self.stack(at).list.push(id);
        self.touched.place(at, name);
        self.join(id, Name::new("all"));
    }

    /// What a detach and a move have in common, up to those that stand on it.
    pub(super) fn unlink(&mut self, id: Id) {
        let it = self.change(id);
        it.linked = false;
        it.up = false;
        it.addrs.clear();
        let (at, name) = (it.vnet, it.name);
        self.stack(at).list.retain(|other| *other != id);
        self.touched.place(at, name);
        while let Some(group) = self.iface(id).groups.first().copied() {
            self.leave(id, group);
        }
        for listener in self.listeners.iter_mut().filter(|listener| listener.on == Some(id)) {
            listener.on = None;
        }
    }

    /// Whether it was no member before.
    pub(super) fn join(&mut self, id: Id, group: Name) -> bool {
        let it = self.change(id);
        if it.groups.contains(&group) {
            return false;
        }
        it.groups.push(group);
        let at = it.vnet;
        let groups = &mut self.stack(at).groups;
        match groups.iter_mut().find(|it| it.name == group) {
            Some(group) => group.members.push(id),
            None => groups.push(Group { name: group, members: vec![id] }),
        }
        self.touched.group(at, group);
        true
    }

    /// Whether it was a member.
    pub(super) fn leave(&mut self, id: Id, group: Name) -> bool {
        let it = self.change(id);
        let Some(place) = it.groups.iter().position(|other| *other == group) else { return false };
        it.groups.remove(place);
        let at = it.vnet;
        let groups = &mut self.stack(at).groups;
        if let Some(place) = groups.iter().position(|it| it.name == group) {
            groups[place].members.retain(|other| *other != id);
            if groups[place].members.is_empty() {
                groups.remove(place);
            }
        }
        self.touched.group(at, group);
        true
    }
}
