//! What can be seen of both, side by side.

use core::cell::Cell;
use core::fmt::Debug;

use ifnet::{
    Errno, IfFlags, Ifp, NetEpoch, Platform, Thread, if_foreach, if_getgroup, if_getgroupmembers, ifnet_byindex,
    ifnet_byindexgen, ifunit, ifunit_ref, invariants,
};

use super::drive::{Subject, inet};
use super::kind::Cloner;
use super::name::Name;
use super::op::Jail;
use super::state::{Id, Iface, Model};
use super::touched::Touched;

/// Compares all that can be seen, and checks every invariant.
///
/// # Errors
/// The first difference, as text.
pub fn compare<P: Platform>(model: &Model, td: &Thread<'_, P>, subject: &Subject<P>) -> Result<(), String> {
    compare_part(model, td, subject, &Touched::everything(model))?;
    invariants::check(td).map_err(broken)
}

/// Compares what the last operation can have changed, and checks the invariants of the interfaces there.
///
/// # Errors
/// The first difference, as text.
pub fn compare_touched<P: Platform>(model: &Model, td: &Thread<'_, P>, subject: &Subject<P>) -> Result<(), String> {
    compare_part(model, td, subject, &model.touched)
}

fn compare_part<P: Platform>(
    model: &Model,
    td: &Thread<'_, P>,
    subject: &Subject<P>,
    part: &Touched,
) -> Result<(), String> {
    same(|| "indices in use".into(), &model.count, &td.kernel().interfaces())?;
    for jail in part.jails().filter(|jail| !model.is_dead(*jail)) {
        let _cur = td.curvnet_set(Some(subject.vnet(jail).clone()));
        if part.lists.contains(&jail) {
            let section = td.net_epoch_enter();
            compare_list(model, td, subject, jail)?;
            part.ifaces.iter().try_for_each(|id| compare_visible(model, td, *id, jail, &section))?;
        }
        for (_, name) in part.names.iter().filter(|(of, _)| *of == jail) {
            compare_name(model, td, jail, *name)?;
        }
        for (_, group) in part.groups.iter().filter(|(of, _)| *of == jail) {
            compare_group(model, td, jail, *group)?;
        }
    }
    {
        let _cur = td.curvnet_set(None);
        for id in &part.ifaces {
            compare_slot(model, td, subject, *id)?;
        }
    }
    same(|| "listeners".into(), &model.listeners.len(), &subject.listeners.len())?;
    for (listener, (number, tap)) in model.listeners.iter().zip(&subject.listeners) {
        same(|| "a listener".into(), &listener.number, number)?;
        same(|| format!("listener {number} listens"), &listener.on.is_some(), &tap.poll().is_ok())?;
    }
    Ok(())
}

fn same<T: Debug + PartialEq>(what: impl FnOnce() -> String, model: &T, kernel: &T) -> Result<(), String> {
    if model == kernel { Ok(()) } else { Err(difference(what, model, kernel)) }
}

// What writes a text is not inlined: its room on the stack would be set up, and poisoned by a sanitizer, at each comparison.

#[cold]
#[inline(never)]
fn difference<T: Debug>(what: impl FnOnce() -> String, model: &T, kernel: &T) -> String {
    format!("{}\n  model:  {model:?}\n  kernel: {kernel:?}", what())
}

#[cold]
#[inline(never)]
fn difference_of(name: Name, what: &str) -> String {
    format!("{name}: {what}")
}

#[cold]
#[inline(never)]
fn broken(violation: invariants::Violation) -> String {
    violation.to_string()
}

/// Looks whether the kernel shows exactly these, in this order. `show` calls what it is given for each.
fn same_sequence<T: Debug + PartialEq + Copy>(
    what: impl FnOnce() -> String,
    model: impl Iterator<Item = T> + Clone,
    show: impl Fn(&mut dyn FnMut(T)),
) -> Result<(), String> {
    let (mut expected, mut agree) = (model.clone(), true);
    show(&mut |found| agree &= expected.next() == Some(found));
    if agree && expected.next().is_none() {
        return Ok(());
    }
    let mut found = Vec::new();
    show(&mut |it| found.push(it));
    Err(difference(what, &model.collect::<Vec<_>>(), &found))
}

/// Number and list of the current vnet.
fn compare_list<P: Platform>(
    model: &Model,
    td: &Thread<'_, P>,
    subject: &Subject<P>,
    jail: Jail,
) -> Result<(), String> {
    let Some(stack) = model.live(jail) else { return Ok(()) };
    let vnet = subject.vnet(jail);
    same(|| format!("number of {jail}"), &stack.number, &vnet.id())?;
    same(|| format!("ifcnt of {jail}"), &stack.list.len(), &vnet.ifcnt())?;
    same_sequence(
        || format!("list of {jail}"),
        stack.list.iter().map(|id| *id as u32),
        |each| {
            let listed = if_foreach(td, |ifp| {
                each(ifp.index());
                Ok(())
            });
            debug_assert_eq!(listed, Ok(()), "nothing stops it");
        },
    )
}

/// Who has a name in the current vnet.
fn compare_name<P: Platform>(model: &Model, td: &Thread<'_, P>, jail: Jail, name: Name) -> Result<(), String> {
    let text = name.as_str();
    let (bare, counted) = (ifunit(td, text), ifunit_ref(td, text));
    let index = |id: Option<Id>| id.map(|id| id as u32);
    same(|| format!("ifunit {name} in {jail}"), &index(model.lookup(jail, name)), &bare.map(|it| it.index()))?;
    let counted = counted.map(|it| it.index());
    same(|| format!("ifunit_ref {name} in {jail}"), &index(model.lookup_ref(jail, name)), &counted)
}

/// A group of the current vnet.
fn compare_group<P: Platform>(model: &Model, td: &Thread<'_, P>, jail: Jail, name: Name) -> Result<(), String> {
    let group = model.live(jail).and_then(|stack| stack.groups.iter().find(|group| group.name == name));
    let members = group.into_iter().flat_map(|group| &group.members);
    let shown = Cell::new(Ok(()));
    same_sequence(
        || format!("members of {name} in {jail}"),
        members.map(|id| model.iface(*id).name),
        |each| shown.set(if_getgroupmembers(td, name.as_str(), |member| each(Name::new(member)))),
    )?;
    // A group that does not exist shows none.
    let expected = if group.is_some() { Ok(()) } else { Err(Errno::ENOENT) };
    same(|| format!("group {name} of {jail}"), &expected, &shown.get())
}

/// A slot of the index table, as seen in the current vnet, which is this jail's.
fn compare_visible<P: Platform>(
    model: &Model,
    td: &Thread<'_, P>,
    id: Id,
    jail: Jail,
    section: &NetEpoch<'_, P>,
) -> Result<(), String> {
    let found = ifnet_byindex(td, id as u32, section).is_some();
    let here = model.slots[id].iface.as_ref().is_some_and(|it| it.vnet == jail && !it.dying);
    same(|| format!("ifnet_byindex {id} in {jail}"), &here, &found)
}

/// A slot of the index table, as seen from no vnet, and the interface in it, with its invariants.
fn compare_slot<P: Platform>(model: &Model, td: &Thread<'_, P>, subject: &Subject<P>, id: Id) -> Result<(), String> {
    let slot = &model.slots[id];
    let expected = slot.iface.as_ref();
    let found = {
        let section = td.net_epoch_enter();
        let old = ifnet_byindexgen(td, id as u32, slot.generation.wrapping_sub(1), &section).is_some();
        same(|| format!("the former interface of index {id}"), &false, &old)?;
        let visible = ifnet_byindex(td, id as u32, &section).is_some();
        same(|| format!("ifnet_byindex {id} in any vnet"), &expected.is_some_and(|it| !it.dying), &visible)?;
        ifnet_byindexgen(td, id as u32, slot.generation, &section).and_then(|ifp| ifp.try_share())
    };
    same(|| format!("index {id} is in use"), &expected.is_some(), &found.is_some())?;
    let (Some(it), Some(ifp)) = (expected, found) else { return Ok(()) };
    compare_iface(model, td, subject, id, it, &ifp).map_err(|what| difference_of(it.name, &what))?;
    if it.linked {
        invariants::check_interface(td, &ifp).map_err(broken)?;
    }
    Ok(())
}

fn compare_iface<P: Platform>(
    model: &Model,
    td: &Thread<'_, P>,
    subject: &Subject<P>,
    id: Id,
    it: &Iface,
    ifp: &Ifp<P>,
) -> Result<(), String> {
    same(|| "name".into(), &it.name, &Name::new(&ifp.name()))?;
    let flags = ifp.flags();
    let expected = (id as u32, it.up, it.dying);
    let found = (ifp.index(), flags.contains(IfFlags::UP), flags.contains(IfFlags::DYING));
    same(|| "index, up, dying".into(), &expected, &found)?;
    if it.kind.is_ethernet() || it.kind.is(Cloner::Vlan) {
        same(|| "MTU".into(), &it.mtu, &ifp.mtu())?;
    }
    let home = ifp.if_home_vnet(td);
    let same_home = match (it.home, &home) {
        (Some(jail), Some(home)) => home.ptr_eq(subject.vnet(jail)),
        (home, found) => home.is_none() == found.is_none(),
    };
    same(|| format!("home is {:?}", it.home), &true, &same_home)?;
    same_sequence(
        || "groups".into(),
        it.groups.iter().copied(),
        |each| if_getgroup(td, ifp, |group| each(Name::new(group))),
    )?;
    same_sequence(
        || "addresses".into(),
        it.addrs.iter().map(|last| (inet(*last), 24)),
        |each| ifp.addresses(|addr, prefix| each((addr, prefix))),
    )?;
    // How many references an interface in a stack has is the drivers' business; the end of the program shows whether
    // they gave all back. One that is dying may still be held by what stood on it.
    if !it.dying && model.links.iter().all(|link| link.lower != id && link.upper != id) {
        // The index's, the tap's, and that of the other end of a veth.
        let references = 1 + u32::from(it.has_tap()) + u32::from(it.is_held_by_peer());
        same(|| "references".into(), &references, &ifp.refcount())?;
    }
    Ok(())
}
