//! What must hold between operations, checked from the outside: the general oracle of tests, fuzzing and exploration.
//!
//! The numbers are those of the specification (I1–I14); I15 to I17 are this library's own. [`check`] walks the whole kernel and
//! is meant for moments when no operation is under way. The rest of the list is checked where it happens: sleeping
//! inside a section (I7) and freeing too early (I10) panic, the witness watches the lock order (I12), and with the
//! feature `hazards` events that do not alternate (I13) panic.
//!
//! | | what holds |
//! |---|---|
//! | I1 | an interface on a list is alive, names that vnet, and its index slot holds it |
//! | I2 | `vnet_ifcnt` is the length of the list, and the table of names has exactly its interfaces |
//! | I4 | the index of an interface is the one that `if_alloc` gave |
//! | I8 | both sides of every group membership agree; a group has members; it belongs to the vnet of each |
//! | I9 | a cloned interface is on exactly the list of its cloner, in its home vnet |
//! | I11 | no interface is in a vnet that is destroyed |
//! | I14 | a tap is on the list of its interface's vnet |
//! | I15 | no move, create or rename has made two interfaces of one name |
//! | I16 | driver, hook and adjacency of every membership agree; neither side is freed; what comes in has one receiver |
//! | I17 | an interface that is queued for unregistration is on the queue of its vnet |

use core::fmt;

use crate::epoch::Section;
use crate::ifnet::{IfName, Ifnet, Ifp};
use crate::platform::{Mutex, Platform};
use crate::sync::atomic::Ordering;
use crate::thread::Thread;
use crate::vnet::{Vnet, VnetRef};

/// An invariant that does not hold, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number in the specification: `"I2"`.
    pub invariant: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// The vnet in which it is wrong.
    pub vnet: u32,
    /// The interface, group or kind that it is about; may be empty.
    pub name: IfName,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, what, vnet, name } = self;
        write!(f, "{invariant}: {what} (v{vnet}")?;
        if !name.is_empty() {
            write!(f, ", {name}")?;
        }
        f.write_str(")")
    }
}

impl core::error::Error for Violation {}

/// A vnet that is being looked at.
struct Look<'a, P: Platform> {
    td: &'a Thread<'a, P>,
    vnet: &'a VnetRef<P>,
    section: &'a Section<'a, P>,
}

/// Checks every invariant that can be seen from outside.
///
/// # Locks
/// Takes `ifnet_sx` shared, and an epoch section. No operation may be under way in another thread.
///
/// # Errors
/// The first [`Violation`] found.
pub fn check<P: Platform>(td: &Thread<'_, P>) -> Result<(), Violation> {
    let kernel = td.kernel();
    let _rlock = kernel.ifnet_sx.slock(td);
    let section = td.net_epoch_enter();
    let mut at = 0;
    while let Some(vnet) = { kernel.vnets.lock().list.get(at).cloned() } {
        let look = Look { td, vnet: &vnet, section: &section };
        look.interfaces()?;
        #[cfg(feature = "groups")]
        look.groups()?;
        look.cloners()?;
        #[cfg(feature = "bpf")]
        look.taps()?;
        look.queue()?;
        at += 1;
    }
    Ok(())
}

/// Checks what can be said of one attached interface without walking a vnet (I1, I2, I4, I8, I9, I16), for oracles that
/// run after every operation.
///
/// # Locks
/// As [`check`].
///
/// # Errors
/// The first [`Violation`] found.
pub fn check_interface<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) -> Result<(), Violation> {
    let _rlock = td.kernel().ifnet_sx.slock(td);
    let section = td.net_epoch_enter();
    let vnet = ifp.vnet.share(&section).unwrap_or_else(|| td.curvnet());
    let look = Look { td, vnet: &vnet, section: &section };
    if !vnet.ifnets.contains(ifp) {
        return look.require(false, "I1", "an attached interface is on no list", &name_of(ifp));
    }
    look.interface(ifp).map(drop)
}

impl<P: Platform> Look<'_, P> {
    fn require(&self, holds: bool, invariant: &'static str, what: &'static str, name: &str) -> Result<(), Violation> {
        if holds {
            return Ok(());
        }
        let name = IfName::new_or_empty(name).unwrap_or_default();
        Err(Violation { invariant, what, vnet: self.vnet.id(), name })
    }

    /// I1, I2, I4, I11, I15.
    fn interfaces(&self) -> Result<(), Violation> {
        let Vnet { ifnets, names, name_clashes, .. } = &**self.vnet;
        let (mut count, mut further) = (0, 0);
        for ifp in ifnets.iter(self.section) {
            let Some(ifp) = ifp.try_share() else {
                return self.require(false, "I1", "an interface without handles is on a list", &name_of(ifp.get()));
            };
            further += self.interface(&ifp)?;
            count += 1;
        }
        self.require(count == self.vnet.ifcnt(), "I2", "vnet_ifcnt is not the length of the list", "")?;
        self.require(names.lock().linked() == count, "I2", "the table of names has more than the list", "")?;
        let alternative = names.lock().alternative();
        self.require(alternative == further, "I2", "the table has further names that no interface has", "")?;
        self.require(!self.vnet.is_destroyed() || count == 0, "I11", "a destroyed vnet has interfaces", "")?;
        self.require(self.vnet.leaving.is_empty(), "I11", "an interface was taken off a list and forgotten", "")?;
        let clashes = name_clashes.load(Ordering::Relaxed);
        self.require(clashes == 0, "I15", "a move, create or rename made two interfaces of one name", "")
    }

    /// I1, I2, I4, I8, I9 and I16 of one interface that is on the list. How many further names it has.
    fn interface(&self, ifp: &Ifp<P>) -> Result<usize, Violation> {
        let name = name_of(ifp);
        self.require(!ifp.life.is_freed(), "I1", "a freed interface is on a list", &name)?;
        self.require(ifp.refcount() > 0, "I1", "an interface without references is on a list", &name)?;
        self.require(ifp.vnet.is(self.vnet), "I1", "an interface is on the list of another vnet", &name)?;
        let indexed = self.td.kernel().index.at(ifp.index(), self.section);
        self.require(
            indexed.is_some_and(|at| at.addr() == ifp.addr()),
            "I1",
            "the index slot lost the interface",
            &name,
        )?;
        self.require(ifp.index_is_first(), "I4", "the index of an interface changed", &name)?;
        let names = &self.vnet.names;
        self.require(names.lock().has(&name, ifp), "I2", "the table of names lacks an interface", &name)?;
        let altnames = ifp.altnames.lock();
        for altname in &*altnames {
            let known = names.lock().has_alternative(altname, ifp);
            self.require(known, "I2", "the table of names lacks a further name", altname)?;
        }
        let further = altnames.len();
        drop(altnames);
        #[cfg(feature = "groups")]
        self.memberships(ifp, &name)?;
        self.cloned(ifp, &name)?;
        #[cfg(feature = "drivers")]
        self.members(ifp, &name)?;
        self.stacked(ifp, &name)?;
        Ok(further)
    }

    /// I8, from the interface's side.
    #[cfg(feature = "groups")]
    fn memberships(&self, ifp: &Ifnet<P>, name: &str) -> Result<(), Violation> {
        for membership in ifp.groups.joined.iter(self.section) {
            let agrees = membership.group(self.section).is_some_and(|group| {
                group.members.contains(membership.get()) && self.vnet.groups.existing.contains(&group)
            });
            self.require(agrees, "I8", "an interface is in a group that its vnet does not have", name)?;
        }
        Ok(())
    }

    /// I8, from the group's side.
    #[cfg(feature = "groups")]
    fn groups(&self) -> Result<(), Violation> {
        for group in self.vnet.groups.existing.iter(self.section) {
            let name = group.name();
            self.require(group.refcnt() > 0, "I8", "a group has no members", name)?;
            for membership in group.members.iter(self.section) {
                let agrees = membership
                    .ifp(self.section)
                    .is_some_and(|ifp| ifp.groups.joined.contains(membership.get()) && ifp.vnet.is(self.vnet));
                self.require(agrees, "I8", "a group has a member in another vnet", name)?;
            }
        }
        Ok(())
    }

    /// I9, from the interface's side.
    fn cloned(&self, ifp: &Ifnet<P>, name: &str) -> Result<(), Violation> {
        let cloner = ifp.cloner.lock();
        let listed = cloner.as_ref().is_none_or(|cloner| cloner.interfaces.contains(ifp) || cloner.is_detached());
        drop(cloner);
        self.require(listed, "I9", "a cloned interface is not on its cloner's list", name)
    }

    /// I16.
    #[cfg(feature = "drivers")]
    fn members(&self, ifp: &Ifp<P>, name: &str) -> Result<(), Violation> {
        let wrong = crate::drivers::check(ifp, self.section).err();
        self.require(wrong.is_none(), "I16", wrong.unwrap_or_default(), name)
    }

    /// I9, from the cloner's side.
    fn cloners(&self) -> Result<(), Violation> {
        for cloner in self.vnet.cloners.iter(self.section) {
            for ifp in cloner.get().interfaces.iter(self.section) {
                let name = name_of(ifp.get());
                self.require(!ifp.get().life.is_freed(), "I9", "a freed interface is on a cloner's list", &name)?;
                let home = ifp.get().home.is(self.vnet);
                self.require(home, "I9", "an interface is on the list of a cloner that is not its home's", &name)?;
            }
        }
        Ok(())
    }

    /// I16, from an interface that is on a list; the other one may be on its way out.
    fn stacked(&self, ifp: &Ifnet<P>, name: &str) -> Result<(), Violation> {
        let masters = ifp.uppers(self.section).filter(|link| link.master).count();
        let receivers = masters + usize::from(ifp.rx_handler().is_some());
        self.require(receivers <= 1, "I16", "an interface has two receivers", name)?;
        for link in ifp.uppers(self.section) {
            let agrees = link.upper().is_some_and(|upper| {
                upper.stack().is_some_and(|stack| stack.lowers.contains(&link)) && !upper.life.is_freed()
            });
            self.require(agrees, "I16", "an interface is below one that does not stand above it", name)?;
        }
        for link in ifp.lowers(self.section) {
            let agrees = link.lower().is_some_and(|lower| {
                lower.stack().is_some_and(|stack| stack.uppers.contains(&link)) && !lower.life.is_freed()
            });
            self.require(agrees, "I16", "an interface is above one that does not stand below it", name)?;
        }
        Ok(())
    }

    /// I17.
    fn queue(&self) -> Result<(), Violation> {
        for ifp in self.vnet.unreg.iter(self.section) {
            let name = name_of(ifp.get());
            self.require(!ifp.get().life.is_freed(), "I17", "a freed interface is queued", &name)?;
            let here = ifp.get().vnet.is(self.vnet) && self.vnet.ifnets.contains(ifp.get());
            self.require(here, "I17", "an interface is queued in another vnet than its own", &name)?;
        }
        Ok(())
    }

    /// I14.
    #[cfg(feature = "bpf")]
    fn taps(&self) -> Result<(), Violation> {
        for tap in self.vnet.taps.iter(self.section) {
            let (vnet, ifp) = tap.get().place();
            self.require(
                vnet.is_some_and(|vnet| vnet.ptr_eq(self.vnet)),
                "I14",
                "a tap is on another vnet's list",
                "",
            )?;
            let together = ifp.as_ref().is_some_and(|ifp| ifp.vnet.is(self.vnet));
            let name = ifp.map(|ifp| name_of(&ifp)).unwrap_or_default();
            self.require(together, "I14", "a tap is not where its interface is", &name)?;
        }
        Ok(())
    }
}

/// The name, without the shadow check: a report is not a use.
fn name_of<P: Platform>(ifp: &Ifnet<P>) -> IfName {
    ifp.names.lock().xname.clone()
}
