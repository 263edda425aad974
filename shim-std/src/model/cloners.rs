//! The rules of the cloners: names, units, and both ends of a pair.

use ifnet::Errno;

use super::kind::{Cloner, Kind};
use super::name::Name;
use super::op::Jail;
use super::state::{Id, Model, NAME_MAX};

/// Highest unit of a cloner.
const UNIT_MAX: u32 = 0x7fff;

impl Model {
    /// Makes an interface by name, standing on another if there is one: the lower, and the tag of a VLAN.
    pub(super) fn clone_create(&mut self, at: Jail, name: Name, on: Option<(Id, u16)>) -> Result<Name, Errno> {
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if name.is_empty() {
            return Err(Errno::EINVAL);
        }
        if self.is_dead(at) {
            return Err(Errno::EBUSY);
        }
        let (cloner, digits) = numbers(&name).ok_or(Errno::EINVAL)?;
        if self.lookup(at, name).is_some() {
            return Err(Errno::EEXIST);
        }
        if digits.len() > 1 && digits.starts_with('0') {
            return Err(Errno::EINVAL);
        }
        let asked: Option<u32> =
            if digits.is_empty() { None } else { Some(digits.parse().map_err(|_| Errno::EINVAL)?) };
        if asked.is_some_and(|unit| unit > i32::MAX as u32) {
            return Err(Errno::EINVAL);
        }
        if asked.is_some_and(|unit| unit > UNIT_MAX) {
            return Err(Errno::ENOSPC);
        }
        let unit = match asked {
            Some(unit) => unit,
            // A pair takes the lowest unit or none; the others go on upward past names that are in use.
            None if cloner == Cloner::Epair => {
                (0..=UNIT_MAX).find(|unit| !self.is_used(at, cloner, *unit)).ok_or(Errno::ENOSPC)?
            }
            None => self.free_unit(at, cloner)?,
        };
        if !self.is_free(at, cloner, unit) {
            return Err(Errno::EEXIST);
        }
        self.create_unit(at, cloner, unit, on)
    }

    /// Makes an interface by kind, standing on another. Works in the vnet, and so does what is pending there.
    pub(super) fn create_kind(&mut self, at: Jail, cloner: Cloner, on: (Id, u16)) -> Result<Name, Errno> {
        if self.is_dead(at) {
            return Err(Errno::EBUSY);
        }
        let made = self.free_unit(at, cloner).and_then(|unit| self.create_unit(at, cloner, unit, Some(on)));
        self.flush(at);
        made
    }

    /// Makes a pair of `veth`, with the second end in another vnet.
    pub(super) fn create_pair(&mut self, at: Jail, to: Jail) -> Result<Name, Errno> {
        if self.is_dead(at) {
            return Err(Errno::EBUSY);
        }
        let made = self.free_unit(at, Cloner::Veth).and_then(|unit| self.make_veth(at, unit, to));
        self.flush(at);
        made
    }

    /// Makes the interfaces of a unit; gives the name of the first.
    fn create_unit(&mut self, at: Jail, cloner: Cloner, unit: u32, on: Option<(Id, u16)>) -> Result<Name, Errno> {
        match cloner {
            Cloner::Veth => return self.make_veth(at, unit, at),
            Cloner::Epair => {
                let [a, b] = names(cloner, unit).map(|name| self.make(at, cloner, name, unit));
                self.pair(a, b);
                self.take_unit(at, cloner, unit);
                // The second end is the cloner's before the first.
                self.adopt(b, cloner);
                self.adopt(a, cloner);
                return Ok(self.iface(a).name);
            }
            _ => {}
        }
        let [name, _] = names(cloner, unit);
        let stands = self.admit(at, cloner, on);
        // How high a stack gets is seen when the new interface has an index; it gives that back.
        if stands == Err(Errno::EMLINK) {
            let id = self.alloc(at, Kind::Cloned(cloner), name, Name::new(cloner.name()), Some(unit));
            self.free(id);
        }
        let stands = stands?;
        let id = self.make(at, cloner, name, unit);
        self.take_unit(at, cloner, unit);
        if let Some(place) = stands {
            self.stand(place.of(id));
        }
        self.adopt(id, cloner);
        Ok(name)
    }

    /// The end that is elsewhere comes first.
    fn make_veth(&mut self, at: Jail, unit: u32, to: Jail) -> Result<Name, Errno> {
        if self.is_dead(to) {
            return Err(Errno::EBUSY);
        }
        self.take_unit(at, Cloner::Veth, unit);
        let [name, _] = names(Cloner::Veth, unit);
        let there = self.free_unit(to, Cloner::Veth)?;
        self.take_unit(to, Cloner::Veth, there);
        let [other, _] = names(Cloner::Veth, there);
        let b = self.make(to, Cloner::Veth, other, there);
        let a = self.make(at, Cloner::Veth, name, unit);
        self.pair(a, b);
        self.adopt(b, Cloner::Veth);
        self.adopt(a, Cloner::Veth);
        Ok(name)
    }

    fn make(&mut self, at: Jail, cloner: Cloner, name: Name, unit: u32) -> Id {
        let id = self.alloc(at, Kind::Cloned(cloner), name, Name::new(cloner.name()), Some(unit));
        self.link(id, at);
        id
    }

    /// It is its cloner's from now on.
    fn adopt(&mut self, id: Id, cloner: Cloner) {
        self.join(id, Name::new(cloner.name()));
        let home = self.iface(id).vnet;
        self.stack(home).made.push(id);
    }

    fn pair(&mut self, a: Id, b: Id) {
        self.change(a).peer = Some(b);
        self.change(b).peer = Some(a);
    }

    fn take_unit(&mut self, at: Jail, cloner: Cloner, unit: u32) {
        self.stack(at).units[cloner as usize].push(unit);
    }

    fn is_used(&self, at: Jail, cloner: Cloner, unit: u32) -> bool {
        self.live(at).is_some_and(|stack| stack.units[cloner as usize].contains(&unit))
    }

    /// Whether the unit is free, and the names that go with it are.
    fn is_free(&self, at: Jail, cloner: Cloner, unit: u32) -> bool {
        let [a, b] = names(cloner, unit);
        let is_free = |name: Name| self.lookup(at, name).is_none();
        !self.is_used(at, cloner, unit) && is_free(a) && (a == b || is_free(b))
    }

    fn free_unit(&self, at: Jail, cloner: Cloner) -> Result<u32, Errno> {
        (0..=UNIT_MAX).find(|unit| self.is_free(at, cloner, *unit)).ok_or(Errno::ENOSPC)
    }

    pub(super) fn clone_destroy(&mut self, at: Jail, name: Name) -> Result<(), Errno> {
        let id = self.lookup_ref(at, name).ok_or(Errno::ENXIO)?;
        let it = self.iface(id);
        let home = it.home.ok_or(Errno::ENXIO)?;
        let is_cloner = Cloner::ALL.into_iter().any(|cloner| it.dname == Name::new(cloner.name()));
        if self.is_dead(home) || !is_cloner {
            return Err(Errno::EINVAL);
        }
        // A driver may use a cloner's name.
        let Kind::Cloned(cloner) = it.kind else { return Err(Errno::ENXIO) };
        if cloner == Cloner::Lo && it.unit == Some(0) {
            // It has left its group and joins again, behind those that it joined meanwhile.
            let group = Name::new(cloner.name());
            self.leave(id, group);
            self.join(id, group);
            return Err(Errno::EINVAL);
        }
        self.destroy(id);
        Ok(())
    }

    /// Destroys a cloned interface, with whatever goes with it.
    pub(super) fn destroy(&mut self, id: Id) {
        let it = self.iface(id);
        if it.queued {
            // Its driver has given it up: the pending work of its vnet is done now.
            return self.flush(it.vnet);
        }
        let (peer, vnet) = (it.peer, it.vnet);
        let waits = |peer: Id| it.kind.is(Cloner::Veth) && self.iface(peer).vnet != vnet;
        match peer {
            // The work of its own vnet takes the other end away.
            Some(peer) if waits(peer) => {
                self.change(peer).queued = true;
                self.change(peer).peer = None;
                self.unregister(id);
            }
            Some(peer) => {
                self.detach(id);
                self.detach(peer);
                self.disown(peer);
                self.disown(id);
            }
            None => self.unregister(id),
        }
    }

    /// The end of a cloned interface.
    pub(super) fn unregister(&mut self, id: Id) {
        self.detach(id);
        self.disown(id);
    }

    /// It is its cloner's no more, and freed. The cloner may be gone with its vnet, as the interface's home.
    fn disown(&mut self, id: Id) {
        let it = self.iface(id);
        let (Kind::Cloned(cloner), Some(home), unit) = (it.kind, it.home, it.unit) else { return };
        if !self.is_dead(home) {
            let stack = self.stack(home);
            stack.made.retain(|other| *other != id);
            stack.units[cloner as usize].retain(|other| Some(*other) != unit);
        }
        self.free(id);
    }
}

/// The cloner whose name this is, followed by digits only; and the digits.
fn numbers(name: &Name) -> Option<(Cloner, &str)> {
    let is_number = |digits: &&str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let after = |cloner: Cloner| name.as_str().strip_prefix(cloner.name()).filter(is_number);
    Cloner::ALL.into_iter().find_map(|cloner| Some((cloner, after(cloner)?)))
}

/// The names that go with a unit: of both ends of an `epair`, or twice the same.
fn names(cloner: Cloner, unit: u32) -> [Name; 2] {
    let name = |end| Name::numbered(cloner.name(), unit, end);
    if cloner == Cloner::Epair { [name(Some('a')), name(Some('b'))] } else { [name(None); 2] }
}
