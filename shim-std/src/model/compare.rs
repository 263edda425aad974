//! The complete observable state of both, side by side.

use core::fmt::Debug;
use std::collections::BTreeSet;

use ifnet::{
    Errno, IfFlags, Ifp, Platform, Thread, if_foreach, if_getgroup, if_getgroupmembers, ifnet_byindex,
    ifnet_byindexgen, ifunit, ifunit_ref,
};

use super::drive::Subject;
use super::op::Jail;
use super::state::Model;

/// What can be seen of one interface.
#[derive(Debug, PartialEq)]
struct View {
    name: String,
    index: usize,
    generation: u16,
    home: Option<Jail>,
    groups: Vec<String>,
    up: bool,
    dying: bool,
    /// The index's reference, and the tap's.
    references: u32,
}

/// Compares what can be seen of the model and of the kernel.
///
/// # Errors
/// The first difference, as text.
pub fn compare<P: Platform>(model: &Model, td: &Thread<'_, P>, subject: &Subject<P>) -> Result<(), String> {
    same("indices in use", &model.ifaces.len(), &td.kernel().interfaces())?;
    for jail in model.stacks.keys() {
        let _cur = td.curvnet_set(Some(subject.vnets[jail].clone()));
        compare_vnet(model, td, subject, *jail).map_err(|what| format!("jail {jail}: {what}"))?;
    }
    compare_indices(model, td)?;
    for (handle, owner) in &subject.owners {
        let expected = model_view(model, model.handle(*handle));
        same(&format!("h{handle}"), &expected, &kernel_view(td, subject, owner))?;
    }
    for (listener, on) in &model.listeners {
        same(&format!("listener {listener} listens"), &on.is_some(), &subject.listeners[listener].poll().is_ok())?;
    }
    Ok(())
}

fn same<T: Debug + PartialEq>(what: &str, model: &T, kernel: &T) -> Result<(), String> {
    if model == kernel { Ok(()) } else { Err(format!("{what}\n  model:  {model:?}\n  kernel: {kernel:?}")) }
}

/// One vnet, which is the thread's current one.
fn compare_vnet<P: Platform>(
    model: &Model,
    td: &Thread<'_, P>,
    subject: &Subject<P>,
    jail: Jail,
) -> Result<(), String> {
    let (stack, vnet) = (&model.stacks[&jail], td.curvnet());
    same("number", &stack.number, &vnet.id())?;
    same("ifcnt", &stack.list.len(), &vnet.ifcnt())?;

    let expected: Vec<View> = stack.list.iter().map(|iface| model_view(model, *iface)).collect();
    let mut found = Vec::new();
    let all = if_foreach(td, |ifp| {
        found.extend(ifp.try_share());
        Ok(())
    });
    same("list", &Ok(()), &all)?;
    let found: Vec<View> = found.iter().map(|ifp| kernel_view(td, subject, ifp)).collect();
    same("list", &expected, &found)?;

    let names: BTreeSet<&str> = model.ifaces.values().map(|iface| &*iface.name).collect();
    for name in names {
        let index = |iface: Option<u32>| iface.map(|iface| model.ifaces[&iface].index as u32);
        let (bare, counted) = (ifunit(td, name), ifunit_ref(td, name));
        same(&format!("ifunit {name}"), &index(model.lookup(jail, name)), &bare.map(|ifp| ifp.index()))?;
        same(&format!("ifunit_ref {name}"), &index(model.lookup_ref(jail, name)), &counted.map(|ifp| ifp.index()))?;
    }
    for (index, slot) in model.slots.iter().enumerate() {
        let section = td.net_epoch_enter();
        let here = slot.iface.map(|iface| &model.ifaces[&iface]).filter(|it| it.vnet == jail && !it.dying);
        let found = ifnet_byindex(td, index as u32, &section);
        let found = found.map(|ifp| ifp.name().to_string());
        same(&format!("ifnet_byindex {index}"), &here.map(|it| it.name.clone()), &found)?;
    }
    // Groups of other vnets must not be seen here.
    let groups: BTreeSet<&String> = model.stacks.values().flat_map(|stack| stack.groups.keys()).collect();
    for group in groups {
        let members = stack.groups.get(group).ok_or(Errno::ENOENT);
        let members = members.map(|ids| ids.iter().map(|id| model.ifaces[id].name.clone()).collect::<Vec<_>>());
        let mut found = Vec::new();
        let listed = if_getgroupmembers(td, group, |member| found.push(member.to_owned()));
        same(&format!("members of {group:?}"), &members, &listed.map(|()| found))?;
    }
    Ok(())
}

/// The index table, seen without a vnet.
fn compare_indices<P: Platform>(model: &Model, td: &Thread<'_, P>) -> Result<(), String> {
    let _cur = td.curvnet_set(None);
    let section = td.net_epoch_enter();
    for (index, slot) in model.slots.iter().enumerate() {
        let expected = slot.iface.map(|iface| &model.ifaces[&iface]);
        let found =
            |generation| ifnet_byindexgen(td, index as u32, generation, &section).map(|ifp| ifp.name().to_string());
        same(&format!("ifnet_byindexgen {index}"), &expected.map(|it| it.name.clone()), &found(slot.generation))?;
        same(&format!("ifnet_byindexgen {index}, old"), &None, &found(slot.generation.wrapping_sub(1)))?;
        let found = ifnet_byindex(td, index as u32, &section).is_some();
        same(&format!("ifnet_byindex {index}, any vnet"), &expected.is_some_and(|it| !it.dying), &found)?;
    }
    Ok(())
}

fn model_view(model: &Model, iface: u32) -> View {
    let it = &model.ifaces[&iface];
    View {
        name: it.name.clone(),
        index: it.index,
        generation: it.generation,
        home: it.home,
        groups: it.groups.clone(),
        up: it.up,
        dying: it.dying,
        references: 1 + u32::from(it.has_tap()),
    }
}

fn kernel_view<P: Platform>(td: &Thread<'_, P>, subject: &Subject<P>, ifp: &Ifp<P>) -> View {
    let mut groups = Vec::new();
    if_getgroup(td, ifp, |group| groups.push(group.to_owned()));
    View {
        name: ifp.name().to_string(),
        index: ifp.index() as usize,
        generation: ifp.idxgen(),
        home: ifp.if_home_vnet(td).and_then(|home| subject.jail_of(&home)),
        groups,
        up: ifp.flags().contains(IfFlags::UP),
        dying: ifp.is_dying(),
        references: ifp.refcount(),
    }
}
