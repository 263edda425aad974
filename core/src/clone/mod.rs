//! Cloners: how software interfaces are made and destroyed by name.
//!
//! A driver describes its kind once, in a [`CloneType`]; every vnet has a [`Cloner`] of it, with the units in use and the
//! interfaces that were made there. An interface stays on the list of the vnet in which it was created, its home,
//! wherever it is moved.

use core::fmt;

use bitflags::bitflags;

use crate::Errno;
use crate::event::Event;
use crate::ifnet::group::{KindGroup, Spare};
use crate::ifnet::{self, IfName, Ifnet, Ifp};
use crate::mem::{IdSpace, Link, Linked, Shared, TailQ};
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;
use crate::vnet::Vnet;
use crate::vnet::group_verbs;

mod create;
mod destroy;
mod params;

pub(crate) use create::parse_unit;
pub use create::{if_clone_create, if_clone_create_kind, if_clone_create2};
pub use destroy::{if_clone_destroy, if_clone_destroyif};
pub use params::{CloneParams, Peer, StackFlags, StackMode};

pub(crate) use create::{release_name, reserve_name};
pub(crate) use destroy::{destroy_with_flags, forget_cloned};

/// The list of a vnet's cloners: `V_if_cloners`.
pub(crate) enum ByVnet {}

/// `IF_MAXUNIT`: the highest unit that a cloner gives out unless it says otherwise.
pub const IF_MAXUNIT: u32 = 0x7fff;

bitflags! {
    /// Flags of a cloner, and of a call to destroy.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CloneFlags: u32 {
        /// `IFC_F_AUTOUNIT`: the framework gives out the units.
        const AUTOUNIT = 0x1;
        /// `IFC_F_FORCE`: destroy even what may not be destroyed by a user.
        const FORCE = 0x2;
        /// Of a call to destroy: what the driver gives up stays on the queue of its vnet, whose lock the caller
        /// holds, so that it is unregistered together with others. A driver that does not unregister in batches
        /// ignores it.
        const QUEUE = 0x4;
    }
}

/// What a driver's create is asked for.
pub struct CloneRequest<'a, P: Platform> {
    /// The cloner of the current vnet.
    pub cloner: &'a Shared<Cloner<P>, P>,
    /// The name that was asked for, with its unit if the framework chose one.
    pub name: &'a IfName,
    /// The unit, if the framework gave it out.
    pub unit: Option<u32>,
    /// What else was asked for.
    pub params: &'a CloneParams<P>,
}

/// Makes and attaches an interface, in the current vnet; the interface.
pub type CreateFn<P> = fn(&Thread<'_, P>, &CloneRequest<'_, P>) -> Result<Ifp<P>, Errno>;
/// Detaches and frees an interface that the framework has taken off the cloner's list. Under the detach lock.
pub type DestroyFn<P> = fn(&Thread<'_, P>, &Shared<Cloner<P>, P>, &Ifp<P>, CloneFlags) -> Result<(), Errno>;

/// `struct if_clone_addreq`: a kind of interface.
pub struct CloneType<P: Platform> {
    /// Name of the kind, and stem of its interfaces' names.
    pub name: &'static str,
    /// Flags.
    pub flags: CloneFlags,
    /// The highest unit.
    pub maxunit: u32,
    /// How many units every vnet has from the start; they cannot be destroyed by a user.
    pub minifs: u32,
    /// Names that are the kind's beside its own with a number: `em0.10` of the kind `vlan`. They have no unit.
    pub matches: Option<fn(&str) -> bool>,
    /// Makes one.
    pub create: CreateFn<P>,
    /// Destroys one.
    pub destroy: DestroyFn<P>,
}

impl<P: Platform> CloneType<P> {
    /// What most kinds are: the lowest free unit is found for the user, there is no limit to units, and nothing there from
    /// the start.
    pub const fn auto(name: &'static str, create: CreateFn<P>, destroy: DestroyFn<P>) -> Self {
        Self { name, flags: CloneFlags::AUTOUNIT, maxunit: IF_MAXUNIT, minifs: 0, matches: None, create, destroy }
    }

    /// `ifc_match`: whether an interface of this name is of the kind.
    pub fn matches(&self, name: &str) -> bool {
        self.numbers(name) || self.matches.is_some_and(|matches| matches(name))
    }

    /// `ifc_simple_match`: the name of the kind, followed by digits only.
    pub(crate) fn numbers(&self, name: &str) -> bool {
        name.strip_prefix(self.name).is_some_and(|unit| unit.bytes().all(|byte| byte.is_ascii_digit()))
    }
}

impl<P: Platform> fmt::Debug for CloneType<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloneType({})", self.name)
    }
}

/// `struct if_clone`: the cloner of one kind in one vnet.
pub struct Cloner<P: Platform> {
    ty: &'static CloneType<P>,
    units: P::Mutex<IdSpace<P::Allocator>>,
    /// `ifc_iflist`, written under the detach lock.
    pub(crate) interfaces: TailQ<Ifnet<P>, P, ifnet::ByCloner>,
    group: KindGroup<P>,
    link: Link<Self, P>,
}

impl<P: Platform> Linked<P, ByVnet> for Cloner<P> {
    fn link(&self) -> &Link<Self, P> {
        &self.link
    }
}

impl<P: Platform> Cloner<P> {
    /// The name of the kind.
    pub fn name(&self) -> &'static str {
        self.ty.name
    }

    /// Whether the interface of this unit is there from the start, and stays.
    pub(crate) fn is_permanent(&self, unit: Option<u32>) -> bool {
        unit.is_some_and(|unit| unit < self.ty.minifs)
    }

    /// Whether the cloner was taken away; an interface that its driver would not destroy may remain.
    pub(crate) fn is_detached(&self) -> bool {
        !Linked::<P, ByVnet>::link(self).is_listed()
    }

    /// `ifc_alloc_unit`: takes a unit, for a driver that gives out its own; the lowest free one if none is asked for.
    ///
    /// # Errors
    /// `ENOSPC` beyond the highest unit or if none is free, `EEXIST` if it is in use, `ENOMEM`.
    pub fn alloc_unit(&self, unit: Option<u32>) -> Result<u32, Errno> {
        let mut units = self.units.lock();
        match unit {
            None => units.alloc_lowest(self.ty.maxunit.saturating_add(1))?.ok_or(Errno::ENOSPC),
            Some(unit) if unit > self.ty.maxunit => Err(Errno::ENOSPC),
            Some(unit) => {
                if units.take(unit)? {
                    Ok(unit)
                } else {
                    Err(Errno::EEXIST)
                }
            }
        }
    }

    /// `ifc_free_unit`.
    pub fn free_unit(&self, unit: u32) {
        self.units.lock().give(unit);
    }
}

impl<P: Platform> Vnet<P> {
    /// The cloner of this vnet that satisfies `wanted`, newest first.
    pub(crate) fn find_cloner(
        &self,
        td: &Thread<'_, P>,
        wanted: impl Fn(&CloneType<P>) -> bool,
    ) -> Option<Shared<Cloner<P>, P>> {
        let section = td.net_epoch_enter();
        self.cloners.iter(&section).find(|cloner| wanted(cloner.ty)).and_then(|cloner| cloner.try_share())
    }
}

/// `SIOCIFGCLONERS`: calls `each` with the name of every cloner of the current vnet, newest first.
pub fn if_clone_list<P: Platform>(td: &Thread<'_, P>, mut each: impl FnMut(&str)) {
    let vnet = td.curvnet();
    let section = td.net_epoch_enter();
    for cloner in vnet.cloners.iter(&section) {
        each(cloner.get().name());
    }
}

/// `if_clone_attach`: gives the current vnet a cloner, and the units that it has from the start.
///
/// # Errors
/// `EEXIST` if it has one of that name, `ENAMETOOLONG`, `ENOMEM`; then nothing is left.
pub(crate) fn if_clone_attach<P: Platform>(td: &Thread<'_, P>, ty: &'static CloneType<P>) -> Result<(), Errno> {
    let vnet = td.curvnet();
    if vnet.find_cloner(td, |other| other.name == ty.name).is_some() {
        return Err(Errno::EEXIST);
    }
    let group = KindGroup::try_new(td.domain(), &IfName::new(ty.name)?)?;
    let cloner = Shared::try_new(
        td.domain(),
        Cloner {
            ty,
            units: P::Mutex::new(IdSpace::new(td.allocator())),
            interfaces: TailQ::new(td.domain()),
            group,
            link: Link::new(td.domain()),
        },
    )?;
    vnet.changes(td, "if_clone_attach");
    let listed = vnet.cloners.insert_head(&cloner);
    debug_assert!(listed, "a new cloner is on no list");
    td.kernel().events.invoke(td, &Event::Clone(ty.name));
    for unit in 0..ty.minifs {
        let created = IfName::numbered(ty.name, unit, "").map_err(Errno::from);
        if let Err(errno) = created.and_then(|name| if_clone_create(td, &name)) {
            if_clone_detach(td, ty.name);
            return Err(errno);
        }
    }
    Ok(())
}

/// `if_clone_detach`: takes a cloner away from the current vnet and destroys every interface that it made, wherever
/// they are now.
pub(crate) fn if_clone_detach<P: Platform>(td: &Thread<'_, P>, name: &str) {
    let vnet = td.curvnet();
    let Some(cloner) = vnet.find_cloner(td, |ty| ty.name == name) else { return };
    if !vnet.cloners.remove(&cloner) {
        return;
    }
    let _detach = td.kernel().detach_sx.xlock(td);
    while let Some(ifp) = first(td, &cloner) {
        if destroy_with_flags(td, &cloner, &ifp, CloneFlags::FORCE).is_err() {
            // A driver that refuses even now keeps its interface; it is no longer the cloner's.
            let kept = cloner.interfaces.remove(&ifp);
            debug_assert!(kept, "a refused destroy puts the interface back");
        }
    }
}

fn first<P: Platform>(td: &Thread<'_, P>, cloner: &Cloner<P>) -> Option<Ifp<P>> {
    let section = td.net_epoch_enter();
    cloner.interfaces.first(&section).and_then(|ifp| ifp.try_share())
}

/// `if_clone_addif`: makes an interface the cloner's: it joins the group of the kind and goes on the list. The
/// spare membership was allocated before the interface was visible, so that this cannot fail.
pub(crate) fn if_clone_addif<P: Platform>(
    td: &Thread<'_, P>,
    cloner: &Shared<Cloner<P>, P>,
    ifp: &Ifp<P>,
    spare: Spare<P>,
) {
    let none = ifp.cloner.lock().replace(cloner.clone());
    drop(none);
    group_verbs::give_spare(ifp, spare);
    group_verbs::join_kind(td, ifp, &cloner.group);
    list(td, cloner, ifp);
}

/// Puts an interface on its cloner's list.
fn list<P: Platform>(td: &Thread<'_, P>, cloner: &Cloner<P>, ifp: &Ifp<P>) {
    if !cloner.interfaces.insert_head(ifp) {
        td.platform().panic(format_args!("if_clone_addif: {} is on a cloner's list", ifp.name()));
    }
}

/// `if_clone_restoregroup`: after a move, an interface joins the group of its kind again, if the new vnet has a cloner of
/// that kind.
pub(crate) fn if_clone_restoregroup<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    let Some(home) = ({ ifp.cloner.lock().clone() }) else { return };
    if !home.interfaces.contains(ifp) {
        return;
    }
    if let Some(here) = td.look_at_curvnet(|vnet| vnet.find_cloner(td, |ty| ty.name == home.ty.name)) {
        group_verbs::join_kind(td, ifp, &here.group);
    }
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests {
    use super::*;
    use crate::invariants::check;
    use crate::testing::kernel;
    use crate::{TaskMode, if_clone_destroy, ifunit};

    #[test]
    fn an_interface_that_its_cloner_does_not_list_is_noticed() {
        let (_, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        if_clone_create(&td, "disc").expect("memory");
        let disc0 = ifunit(&td, "disc0").expect("made");
        let cloner = Option::clone(&*disc0.cloner.lock()).expect("cloned");
        assert!(cloner.interfaces.remove(&disc0));
        assert_eq!(check(&td).map_err(|it| it.invariant), Err("I9"));
        list(&td, &cloner, &disc0);
        check(&td).expect("as before");
        if_clone_destroy(&td, "disc0").expect("made");
    }
}
