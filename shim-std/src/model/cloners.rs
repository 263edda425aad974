//! The rules of the cloners: names, units, and both ends of a pair.

use ifnet::Errno;

use super::op::Jail;
use super::state::{CLONERS, Iface, Kind, Model, NAME_MAX, Outcome};

/// Highest unit of a cloner.
const UNIT_MAX: u32 = 0x7fff;

impl Model {
    pub(super) fn clone_create(&mut self, at: Jail, name: &str) -> Outcome {
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if name.is_empty() {
            return Err(Errno::EINVAL);
        }
        if self.is_dead(at) {
            return Err(Errno::EBUSY);
        }
        let digits_after =
            |cloner: &str| name.strip_prefix(cloner).filter(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
        let cloner = CLONERS.into_iter().find(|cloner| digits_after(cloner).is_some()).ok_or(Errno::EINVAL)?;
        if self.lookup(at, name).is_some() {
            return Err(Errno::EEXIST);
        }
        let digits = &name[cloner.len()..];
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
        let is_used = |unit: u32| self.stacks[&at].units.get(cloner).is_some_and(|used| used.contains(&unit));
        let names = |unit: u32| match cloner {
            "epair" => vec![format!("epair{unit}a"), format!("epair{unit}b")],
            _ => vec![format!("{cloner}{unit}")],
        };
        let is_free = |unit: u32| !is_used(unit) && names(unit).iter().all(|name| self.lookup(at, name).is_none());
        let unit = match asked {
            Some(unit) => unit,
            // A pair takes the lowest unit or none; the others go on upward past names that are in use.
            None if cloner == "epair" => (0..=UNIT_MAX).find(|unit| !is_used(*unit)).ok_or(Errno::ENOSPC)?,
            None => (0..=UNIT_MAX).find(|unit| is_free(*unit)).ok_or(Errno::ENOSPC)?,
        };
        if !is_free(unit) {
            return Err(Errno::EEXIST);
        }
        let names = names(unit);
        self.stack(at).units.entry(cloner).or_default().insert(unit);
        let made: Vec<u32> =
            names.iter().map(|name| self.alloc(at, Kind::Cloned(cloner), name, cloner, Some(unit))).collect();
        for iface in &made {
            self.attach(*iface, at);
        }
        // The second end is the cloner's before the first.
        for iface in made.iter().rev() {
            self.join(*iface, cloner);
        }
        Ok(names[0].clone())
    }

    pub(super) fn clone_destroy(&mut self, at: Jail, name: &str) -> Result<(), Errno> {
        let iface = self.lookup_ref(at, name).ok_or(Errno::ENXIO)?;
        let it = self.ifaces[&iface].clone();
        let home = it.home.ok_or(Errno::ENXIO)?;
        if self.is_dead(home) || !CLONERS.contains(&it.dname.as_str()) {
            return Err(Errno::EINVAL);
        }
        // A driver may use a cloner's name.
        let Kind::Cloned(cloner) = it.kind else { return Err(Errno::ENXIO) };
        if cloner == "lo" && it.unit == Some(0) {
            // It has left its group and joins again, behind those that it joined meanwhile.
            self.leave(iface, cloner);
            self.join(iface, cloner);
            return Err(Errno::EINVAL);
        }
        let same = |other: &Iface| other.kind == it.kind && other.home == it.home && other.unit == it.unit;
        let ends: Vec<u32> = self.ifaces.iter().filter(|(_, other)| same(other)).map(|(id, _)| *id).collect();
        for end in ends {
            self.detach(end);
            self.free(end);
        }
        if let (Some(used), Some(unit)) = (self.stack(home).units.get_mut(cloner), it.unit) {
            used.remove(&unit);
        }
        Ok(())
    }
}
