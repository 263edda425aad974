//! The rules of the life cycle: vnets, attach and detach, moves, names and groups.

use ifnet::Errno;

use super::kind::{Cloner, Kind};
use super::name::Name;
use super::op::{Jail, Op, Who};
use super::state::{Id, Listener, Made, Model, NAME_MAX, Outcome, Stack};

impl Model {
    /// Does what the operation does, and says what it gives.
    pub fn apply(&mut self, op: &Op) -> Outcome {
        self.touched.clear();
        match *op {
            Op::JailCreate { jail } => Ok(Made::Vnet(self.new_stack(jail))),
            Op::JailRemove { jail } => self.remove_stack(jail).map(Made::from),
            Op::Create { at, name } => self.clone_create(at, name, None).map(Made::Interface),
            Op::CreateOn { at, kind, from, lower, tag } => {
                let lower = self.lookup_ref(from, lower).ok_or(Errno::ENXIO)?;
                self.create_kind(at, kind, (lower, tag)).map(Made::Interface)
            }
            Op::CreatePair { at, to } => self.create_pair(at, to).map(Made::Interface),
            Op::Destroy { at, name } => self.clone_destroy(at, name).map(Made::from),
            Op::Alloc { at, handle, name, ether } => {
                let (dname, unit) = split_unit(&name);
                let id = self.alloc(at, Kind::Plain { handle, ether }, name, dname, unit);
                debug_assert_eq!(handle as usize, self.handles.len(), "handles are counted");
                self.handles.push(Some(id));
                Ok(Made::Nothing)
            }
            Op::Attach { at, handle, ether: _ } => self.attach_handle(at, handle).map(Made::from),
            Op::Detach { handle, ether: _ } => {
                self.detach(self.handle(handle));
                Ok(Made::Nothing)
            }
            Op::Free { handle } => {
                self.free(self.handle(handle));
                self.handles[handle as usize] = None;
                Ok(Made::Nothing)
            }
            Op::Loan { at, name, to } => self.loan(at, name, to).map(Made::from),
            Op::Reclaim { at, name, from } => self.reclaim(at, name, from).map(Made::from),
            Op::Vmove { who, to } => self.vmove_to(who, to).map(Made::from),
            Op::Rename { at, name, new } => self.rename(at, name, new).map(Made::from),
            Op::AddGroup { who, group } => self.add_group(who, group).map(Made::from),
            Op::DelGroup { who, group } => {
                let id = self.find(who)?;
                if self.leave(id, group) { Ok(Made::Nothing) } else { Err(Errno::ENOENT) }
            }
            Op::Up { at, name, up } => {
                let id = self.lookup(at, name).ok_or(Errno::ENXIO)?;
                if self.iface(id).dying {
                    return Err(Errno::ENXIO);
                }
                self.set_up(id, up);
                Ok(Made::Nothing)
            }
            Op::AddAddr { at, name, last } => self.add_addr(at, name, last).map(Made::from),
            Op::DelAddr { at, name, last } => {
                let id = self.lookup(at, name).ok_or(Errno::ENXIO)?;
                let addrs = &mut self.change(id).addrs;
                let nth = addrs.iter().position(|other| *other == last).ok_or(Errno::EADDRNOTAVAIL)?;
                addrs.remove(nth);
                Ok(Made::Nothing)
            }
            Op::SetVlan { at, vlan, parent, tag } => self.set_vlan(at, vlan, parent, tag).map(Made::from),
            Op::UnsetVlan { at, vlan } => self.unset_vlan(at, vlan).map(Made::from),
            Op::Join { at, master, lower, lagg } => self.join_master(at, master, lower, lagg).map(Made::from),
            Op::Part { at, master, lower, lagg } => self.part_master(at, master, lower, lagg).map(Made::from),
            Op::Listen { at, name, listener } => {
                self.next_listener = self.next_listener.max(listener + 1);
                let on = self.lookup_ref(at, name).filter(|id| self.iface(*id).has_tap());
                let on = Some(on.ok_or(Errno::ENXIO)?);
                self.listeners.push(Listener { number: listener, on });
                Ok(Made::Nothing)
            }
            Op::Close { listener } => {
                self.listeners.retain(|it| it.number != listener);
                Ok(Made::Nothing)
            }
            Op::RunTasks => {
                // What goes in one vnet may queue something in another.
                while let Some(id) = self.queued(None) {
                    self.flush(self.iface(id).vnet);
                }
                Ok(Made::Nothing)
            }
        }
    }

    // Vnets.

    /// The number of the new vnet, which is the lowest that is free.
    pub(super) fn new_stack(&mut self, jail: Jail) -> u32 {
        self.next_jail = Jail(jail.0 + 1);
        let is_taken = |number: u32| self.stacks.iter().any(|stack| stack.number == number);
        let number = (0..).find(|number| !is_taken(*number)).expect("numbers do not run out");
        let (list, made, groups, units) = (Vec::new(), Vec::new(), Vec::new(), Default::default());
        self.stacks.push(Stack { jail, number, list, made, groups, units });
        self.clone_create(jail, Name::new("lo0"), None).expect("a new vnet has no interfaces");
        number
    }

    fn remove_stack(&mut self, jail: Jail) -> Result<(), Errno> {
        if jail == Jail::HOST {
            return Err(Errno::EINVAL);
        }
        if self.is_dead(jail) {
            return Err(Errno::EBUSY);
        }
        self.flush(jail);
        // Borrowed interfaces return home, or to the host if home is gone.
        for id in self.stack(jail).list.clone() {
            let home = self.iface(id).home.expect("a linked interface has a home");
            if home != jail {
                let to = if self.is_dead(home) { Jail::HOST } else { home };
                self.change(id).home = Some(to);
                self.vmove(id, to);
            }
        }
        // What was made here is destroyed, wherever it is now: the latest kinds first, and of a kind the latest.
        for cloner in Cloner::ALL.into_iter().rev() {
            while let Some(id) = self.latest(jail, cloner) {
                self.destroy(id);
            }
        }
        self.flush(jail);
        // Plain interfaces are left: they go to the host and are at home there.
        for id in self.stack(jail).list.clone() {
            self.change(id).home = Some(Jail::HOST);
            self.vmove(id, Jail::HOST);
        }
        self.stacks.retain(|stack| stack.jail != jail);
        self.dead.push(jail);
        Ok(())
    }

    fn latest(&self, jail: Jail, cloner: Cloner) -> Option<Id> {
        let mut made = self.live(jail)?.made.iter().rev().copied();
        made.find(|id| self.iface(*id).kind.is(cloner))
    }

    // The life of one interface.

    fn attach_handle(&mut self, at: Jail, handle: u32) -> Result<(), Errno> {
        let id = self.handle(handle);
        let is = self.iface(id);
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
        self.link(id, at);
        Ok(())
    }

    pub(super) fn detach(&mut self, id: Id) {
        self.unlink(id);
        self.change(id).dying = true;
        self.departs(id, true);
    }

    fn rename(&mut self, at: Jail, name: Name, new: Name) -> Result<(), Errno> {
        let id = self.lookup(at, name).ok_or(Errno::ENXIO)?;
        if new.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if new.is_empty() {
            return Err(Errno::EINVAL);
        }
        if new != name && self.lookup(at, new).is_some() {
            return Err(Errno::EEXIST);
        }
        self.change(id).name = new;
        self.touched.place(at, name);
        self.touched.place(at, new);
        Ok(())
    }

    fn add_addr(&mut self, at: Jail, name: Name, last: u8) -> Result<(), Errno> {
        let id = self.lookup(at, name).ok_or(Errno::ENXIO)?;
        if self.siblings(id).any(|sibling| self.iface(sibling).addrs.contains(&last)) {
            return Err(Errno::EADDRINUSE);
        }
        let it = self.iface(id);
        if it.dying {
            return Err(Errno::ENXIO);
        }
        if it.addrs.contains(&last) {
            return Err(Errno::EEXIST);
        }
        self.change(id).addrs.push(last);
        Ok(())
    }

    /// The ports of an aggregate go up and down with it, when it does.
    fn set_up(&mut self, id: Id, up: bool) {
        if self.iface(id).up == up {
            return;
        }
        self.change(id).up = up;
        for port in self.ports(id) {
            if !self.iface(port).dying {
                self.change(port).up = up;
            }
        }
    }

    // Moves.

    pub(super) fn vmove(&mut self, id: Id, to: Jail) {
        self.unlink(id);
        self.departs(id, false);
        // The members of a bridge and the ports of an aggregate stay behind, and are free.
        self.release_lowers(id);
        self.link(id, to);
        if let Kind::Cloned(cloner) = self.iface(id).kind {
            self.join(id, Name::new(cloner.name()));
        }
    }

    fn loan(&mut self, at: Jail, name: Name, to: Jail) -> Result<(), Errno> {
        let id = self.lookup(at, name).ok_or(Errno::ENXIO)?;
        if to == at || self.lookup(to, name).is_some() {
            return Err(Errno::EEXIST);
        }
        if self.is_dead(to) {
            return Err(Errno::EBUSY);
        }
        self.vmove(id, to);
        Ok(())
    }

    fn reclaim(&mut self, at: Jail, name: Name, from: Jail) -> Result<(), Errno> {
        let id = self.lookup(from, name).ok_or(Errno::ENXIO)?;
        if from == at {
            return Err(Errno::EEXIST);
        }
        if self.is_dead(at) {
            return Err(Errno::EBUSY);
        }
        self.vmove(id, at);
        Ok(())
    }

    fn vmove_to(&mut self, who: Who, to: Jail) -> Result<(), Errno> {
        let id = self.find(who)?;
        if self.iface(id).vnet == to {
            return Err(Errno::EEXIST);
        }
        if self.is_dead(to) {
            return Err(Errno::EBUSY);
        }
        if !self.iface(id).linked {
            return Err(Errno::ENODEV);
        }
        self.vmove(id, to);
        Ok(())
    }

    // Groups.

    fn add_group(&mut self, who: Who, group: Name) -> Result<(), Errno> {
        let id = self.find(who)?;
        if group.as_str().ends_with(|last: char| last.is_ascii_digit()) {
            return Err(Errno::EINVAL);
        }
        if group.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if !self.iface(id).linked {
            return Err(Errno::ENXIO);
        }
        if self.join(id, group) { Ok(()) } else { Err(Errno::EEXIST) }
    }
}

/// `em0` is unit 0 of the driver `em`; a name without digits at its end has no unit.
pub(super) fn split_unit(name: &Name) -> (Name, Option<u32>) {
    let text = name.as_str();
    let stem = text.trim_end_matches(|c: char| c.is_ascii_digit());
    match text[stem.len()..].parse() {
        Ok(unit) if !stem.is_empty() => (Name::new(stem), Some(unit)),
        _ => (*name, None),
    }
}
