//! The state of the model, and the rules by which an operation changes it.
//!
//! Rules are written once each, in the order in which the core checks them, because the order decides which error a call
//! gives that could fail for two reasons.

use std::collections::{BTreeMap, BTreeSet};

use ifnet::Errno;

use super::op::{Jail, Op, Who};

/// What an operation gives: the name that it made, or nothing; or its error.
pub type Outcome = Result<String, Errno>;

/// Longest name, in bytes.
pub(super) const NAME_MAX: usize = 15;
/// The cloners of every vnet.
pub(super) const CLONERS: [&str; 3] = ["lo", "disc", "epair"];

/// Which kind of interface it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A driver's, with this handle; `ether` has a tap.
    Plain { handle: u32, ether: bool },
    /// Made by this cloner.
    Cloned(&'static str),
}

/// An interface between `if_alloc` and `if_free`.
#[derive(Clone, Debug)]
pub(super) struct Iface {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) dname: String,
    pub(super) unit: Option<u32>,
    pub(super) index: usize,
    pub(super) generation: u16,
    /// `if_vnet`.
    pub(super) vnet: Jail,
    pub(super) home: Option<Jail>,
    pub(super) linked: bool,
    pub(super) groups: Vec<String>,
    pub(super) up: bool,
    pub(super) dying: bool,
}

impl Iface {
    pub(super) fn has_tap(&self) -> bool {
        self.linked && matches!(self.kind, Kind::Plain { ether: true, .. } | Kind::Cloned("epair"))
    }
}

/// A vnet.
#[derive(Clone, Debug, Default)]
pub(super) struct Stack {
    /// The number in `v0`, `v1`, ….
    pub(super) number: u32,
    /// Its interfaces in the order of linking.
    pub(super) list: Vec<u32>,
    /// The members of each group, in the order of joining.
    pub(super) groups: BTreeMap<String, Vec<u32>>,
    /// Units in use, by cloner.
    pub(super) units: BTreeMap<&'static str, BTreeSet<u32>>,
}

/// A slot of the index table.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub(super) generation: u16,
    pub(super) iface: Option<u32>,
}

/// The model. Interfaces have numbers of its own that are never used again; so have jails and handles.
#[derive(Clone, Debug)]
pub struct Model {
    pub(super) stacks: BTreeMap<Jail, Stack>,
    pub(super) dead: Vec<Jail>,
    pub(super) ifaces: BTreeMap<u32, Iface>,
    pub(super) slots: Vec<Slot>,
    /// Open listeners, and what they listen on; `None` when it went away.
    pub(super) listeners: BTreeMap<u32, Option<u32>>,
    /// The next number of a jail, a handle or a listener.
    pub(super) next: u32,
    next_iface: u32,
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
            stacks: BTreeMap::new(),
            dead: Vec::new(),
            ifaces: BTreeMap::new(),
            slots: vec![Slot::default()],
            listeners: BTreeMap::new(),
            next: 1,
            next_iface: 0,
        };
        model.new_stack(Jail::HOST);
        model
    }

    /// Does what the operation does, and says what it gives.
    pub fn apply(&mut self, op: &Op) -> Outcome {
        match op {
            Op::JailCreate { jail } => {
                self.next = self.next.max(jail.0 + 1);
                self.new_stack(*jail);
                Ok(format!("v{}", self.stacks[jail].number))
            }
            Op::JailRemove { jail } => self.remove_stack(*jail).map(nothing),
            Op::Create { at, name } => self.clone_create(*at, name),
            Op::Destroy { at, name } => self.clone_destroy(*at, name).map(nothing),
            Op::Alloc { at, handle, name, ether } => {
                self.next = self.next.max(handle + 1);
                let (dname, unit) = split_unit(name);
                self.alloc(*at, Kind::Plain { handle: *handle, ether: *ether }, name, dname, unit);
                Ok(String::new())
            }
            Op::Attach { at, handle, ether: _ } => self.attach_handle(*at, *handle).map(nothing),
            Op::Detach { handle, ether: _ } => {
                self.detach(self.handle(*handle));
                Ok(String::new())
            }
            Op::Free { handle } => {
                self.free(self.handle(*handle));
                Ok(String::new())
            }
            Op::Loan { at, name, to } => self.loan(*at, name, *to).map(nothing),
            Op::Reclaim { at, name, from } => self.reclaim(*at, name, *from).map(nothing),
            Op::Vmove { who, to } => self.vmove_to(who, *to).map(nothing),
            Op::Rename { at, name, new } => self.rename(*at, name, new).map(nothing),
            Op::AddGroup { who, group } => self.add_group(who, group).map(nothing),
            Op::DelGroup { who, group } => {
                let iface = self.find(who)?;
                self.leave(iface, group).then(String::new).ok_or(Errno::ENOENT)
            }
            Op::Up { at, name, up } => {
                let iface = self.lookup(*at, name).ok_or(Errno::ENXIO)?;
                if self.ifaces[&iface].dying {
                    return Err(Errno::ENXIO);
                }
                self.iface(iface).up = *up;
                Ok(String::new())
            }
            Op::Listen { at, name, listener } => {
                self.next = self.next.max(listener + 1);
                let iface = self.lookup_ref(*at, name).filter(|iface| self.ifaces[iface].has_tap());
                self.listeners.insert(*listener, Some(iface.ok_or(Errno::ENXIO)?));
                Ok(String::new())
            }
            Op::Close { listener } => {
                self.listeners.remove(listener);
                Ok(String::new())
            }
            Op::RunTasks => Ok(String::new()),
        }
    }

    // Lookups.

    /// `ifunit`: the earliest linked of that name.
    pub(super) fn lookup(&self, at: Jail, name: &str) -> Option<u32> {
        self.stacks.get(&at)?.list.iter().copied().find(|iface| self.ifaces[iface].name == name)
    }

    /// `ifunit_ref`: the earliest linked of that name that is not dying.
    pub(super) fn lookup_ref(&self, at: Jail, name: &str) -> Option<u32> {
        let list = &self.stacks.get(&at)?.list;
        list.iter().copied().find(|iface| self.ifaces[iface].name == name && !self.ifaces[iface].dying)
    }

    pub(super) fn handle(&self, handle: u32) -> u32 {
        let is = |kind: Kind| matches!(kind, Kind::Plain { handle: it, .. } if it == handle);
        let found = self.ifaces.iter().find(|(_, iface)| is(iface.kind));
        *found.expect("operations name handles that exist").0
    }

    pub(super) fn find(&self, who: &Who) -> Result<u32, Errno> {
        match who {
            Who::Handle(handle) => Ok(self.handle(*handle)),
            Who::Name(at, name) => self.lookup(*at, name).ok_or(Errno::ENXIO),
        }
    }

    fn iface(&mut self, iface: u32) -> &mut Iface {
        self.ifaces.get_mut(&iface).expect("interfaces are named while they exist")
    }

    pub(super) fn stack(&mut self, jail: Jail) -> &mut Stack {
        self.stacks.get_mut(&jail).expect("a live vnet")
    }

    pub(super) fn is_dead(&self, jail: Jail) -> bool {
        !self.stacks.contains_key(&jail)
    }

    // Vnets.

    fn new_stack(&mut self, jail: Jail) {
        let taken: Vec<u32> = self.stacks.values().map(|stack| stack.number).collect();
        let number = (0..).find(|number| !taken.contains(number)).expect("numbers do not run out");
        self.stacks.insert(jail, Stack { number, ..Stack::default() });
        self.clone_create(jail, "lo0").expect("a new vnet has no interfaces");
    }

    fn remove_stack(&mut self, jail: Jail) -> Result<(), Errno> {
        if jail == Jail::HOST {
            return Err(Errno::EINVAL);
        }
        if self.is_dead(jail) {
            return Err(Errno::EBUSY);
        }
        // Borrowed interfaces return home, or to the host if home is gone.
        for iface in self.stacks[&jail].list.clone() {
            let home = self.ifaces[&iface].home.expect("a linked interface has a home");
            if home != jail {
                let to = if self.is_dead(home) { Jail::HOST } else { home };
                self.iface(iface).home = Some(to);
                self.vmove(iface, to);
            }
        }
        // What was made here is destroyed, wherever it is now.
        let made_here = |iface: &Iface| matches!(iface.kind, Kind::Cloned(_)) && iface.home == Some(jail);
        let mine: Vec<u32> = self.ifaces.iter().filter(|(_, it)| made_here(it)).map(|(id, _)| *id).collect();
        for iface in mine {
            self.detach(iface);
            self.free(iface);
        }
        // Plain interfaces are left: they go to the host and are at home there.
        for iface in self.stacks[&jail].list.clone() {
            self.iface(iface).home = Some(Jail::HOST);
            self.vmove(iface, Jail::HOST);
        }
        self.stacks.remove(&jail);
        self.dead.push(jail);
        Ok(())
    }

    // The life of one interface.

    pub(super) fn alloc(&mut self, at: Jail, kind: Kind, name: &str, dname: &str, unit: Option<u32>) -> u32 {
        let id = self.next_iface;
        self.next_iface += 1;
        let free = self.slots.iter().skip(1).position(|slot| slot.iface.is_none());
        let index = free.map_or(self.slots.len(), |at| at + 1);
        if index == self.slots.len() {
            self.slots.push(Slot::default());
        }
        self.slots[index].iface = Some(id);
        let iface = Iface {
            kind,
            name: name.to_owned(),
            dname: dname.to_owned(),
            unit,
            index,
            generation: self.slots[index].generation,
            vnet: at,
            home: None,
            linked: false,
            groups: Vec::new(),
            up: false,
            dying: false,
        };
        self.ifaces.insert(id, iface);
        id
    }

    pub(super) fn free(&mut self, iface: u32) {
        let slot = &mut self.slots[self.ifaces[&iface].index];
        slot.iface = None;
        slot.generation = slot.generation.wrapping_add(1);
        self.ifaces.remove(&iface);
    }

    fn attach_handle(&mut self, at: Jail, handle: u32) -> Result<(), Errno> {
        let iface = self.handle(handle);
        let is = &self.ifaces[&iface];
        // The tap of an Ethernet interface comes first.
        if is.has_tap() {
            return Err(Errno::EEXIST);
        }
        if self.is_dead(at) {
            return Err(Errno::EBUSY);
        }
        if is.linked {
            return Err(Errno::EEXIST);
        }
        self.attach(iface, at);
        Ok(())
    }

    pub(super) fn attach(&mut self, iface: u32, at: Jail) {
        let it = self.iface(iface);
        it.vnet = at;
        it.home = it.home.or(Some(at));
        it.linked = true;
        self.stack(at).list.push(iface);
        self.join(iface, "all");
    }

    /// What a detach and a move have in common.
    fn unlink(&mut self, iface: u32) {
        let at = self.ifaces[&iface].vnet;
        self.stack(at).list.retain(|other| *other != iface);
        for group in self.ifaces[&iface].groups.clone() {
            self.leave(iface, &group);
        }
        for on in self.listeners.values_mut().filter(|on| **on == Some(iface)) {
            *on = None;
        }
        let it = self.iface(iface);
        it.linked = false;
        it.up = false;
    }

    pub(super) fn detach(&mut self, iface: u32) {
        self.unlink(iface);
        self.iface(iface).dying = true;
    }

    fn rename(&mut self, at: Jail, name: &str, new: &str) -> Result<(), Errno> {
        let iface = self.lookup(at, name).ok_or(Errno::ENXIO)?;
        if new.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if new.is_empty() {
            return Err(Errno::EINVAL);
        }
        if new != name && self.lookup(at, new).is_some() {
            return Err(Errno::EEXIST);
        }
        new.clone_into(&mut self.iface(iface).name);
        Ok(())
    }

    // Moves.

    fn vmove(&mut self, iface: u32, to: Jail) {
        self.unlink(iface);
        self.attach(iface, to);
        if let Kind::Cloned(cloner) = self.ifaces[&iface].kind {
            self.join(iface, cloner);
        }
    }

    fn loan(&mut self, at: Jail, name: &str, to: Jail) -> Result<(), Errno> {
        let iface = self.lookup(at, name).ok_or(Errno::ENXIO)?;
        if to == at || self.lookup(to, name).is_some() {
            return Err(Errno::EEXIST);
        }
        if self.is_dead(to) {
            return Err(Errno::EBUSY);
        }
        self.vmove(iface, to);
        Ok(())
    }

    fn reclaim(&mut self, at: Jail, name: &str, from: Jail) -> Result<(), Errno> {
        let iface = self.lookup(from, name).ok_or(Errno::ENXIO)?;
        if from == at {
            return Err(Errno::EEXIST);
        }
        if self.is_dead(at) {
            return Err(Errno::EBUSY);
        }
        self.vmove(iface, at);
        Ok(())
    }

    fn vmove_to(&mut self, who: &Who, to: Jail) -> Result<(), Errno> {
        let iface = self.find(who)?;
        if self.ifaces[&iface].vnet == to {
            return Err(Errno::EEXIST);
        }
        if self.is_dead(to) {
            return Err(Errno::EBUSY);
        }
        if !self.ifaces[&iface].linked {
            return Err(Errno::ENODEV);
        }
        self.vmove(iface, to);
        Ok(())
    }

    // Groups.

    fn add_group(&mut self, who: &Who, group: &str) -> Result<(), Errno> {
        let iface = self.find(who)?;
        if group.ends_with(|last: char| last.is_ascii_digit()) {
            return Err(Errno::EINVAL);
        }
        if group.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if !self.ifaces[&iface].linked {
            return Err(Errno::ENXIO);
        }
        self.join(iface, group).then_some(()).ok_or(Errno::EEXIST)
    }

    /// Whether it was no member before.
    pub(super) fn join(&mut self, iface: u32, group: &str) -> bool {
        let it = self.iface(iface);
        if it.groups.iter().any(|other| other == group) {
            return false;
        }
        it.groups.push(group.to_owned());
        let at = it.vnet;
        self.stack(at).groups.entry(group.to_owned()).or_default().push(iface);
        true
    }

    /// Whether it was a member.
    pub(super) fn leave(&mut self, iface: u32, group: &str) -> bool {
        let it = self.iface(iface);
        let Some(place) = it.groups.iter().position(|other| other == group) else { return false };
        it.groups.remove(place);
        let at = it.vnet;
        let groups = &mut self.stack(at).groups;
        let members = groups.get_mut(group).expect("a group has its members");
        members.retain(|other| *other != iface);
        if members.is_empty() {
            groups.remove(group);
        }
        true
    }
}

fn nothing((): ()) -> String {
    String::new()
}

/// `em0` is unit 0 of the driver `em`; a name without digits at its end has no unit.
pub(super) fn split_unit(name: &str) -> (&str, Option<u32>) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    match name[stem.len()..].parse() {
        Ok(unit) if !stem.is_empty() => (stem, Some(unit)),
        _ => (name, None),
    }
}
