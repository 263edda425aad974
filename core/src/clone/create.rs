//! `if_clone_create`: `SIOCIFCREATE`.

use crate::Errno;
use crate::hazard::Hazard;
use crate::ifnet::group::Membership;
use crate::ifnet::{IfName, Ifp};
use crate::mem::Shared;
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;
use crate::vnet::ifunit;

use super::{CloneFlags, CloneRequest, Cloner, if_clone_addif};

/// `if_clone_create`: makes an interface of the kind that the name begins with, in the current vnet. Without a unit the
/// lowest free one is taken. Gives the name of what was made.
///
/// # Locks
/// Takes the detach lock, so that nobody can destroy the interface between its becoming visible and its being listed by
/// its cloner. FreeBSD does not, and panics there (hazard `clone-create-window`).
///
/// # Events
/// Those of the attach, then the changes of the kind's group.
///
/// # Errors
/// `EINVAL` if no cloner matches, or for a unit that is no number, `EEXIST` if the name or the unit is in use,
/// `ENOSPC` beyond the highest unit or if none is free, `EBUSY` if the vnet is being destroyed, `ENAMETOOLONG`,
/// `ENOMEM`, or the driver's. Then nothing is left.
pub fn if_clone_create<P: Platform>(td: &Thread<'_, P>, name: &str) -> Result<IfName, Errno> {
    td.assert_can_sleep("if_clone_create");
    let name = IfName::new(name)?;
    let _detach = (!td.hazard(Hazard::CloneCreateWindow)).then(|| td.kernel().detach_sx.xlock(td));
    let vnet = td.curvnet();
    if vnet.is_shutdown() {
        return Err(Errno::EBUSY);
    }
    let cloner = vnet.find_cloner(td, |ty| ty.matches(&name)).ok_or(Errno::EINVAL)?;
    if ifunit(td, &name).is_some() {
        return Err(Errno::EEXIST);
    }
    let ifp = if cloner.ty.flags.contains(CloneFlags::AUTOUNIT) {
        create_unit(td, &cloner, parse_unit(&name[cloner.name.len()..])?)?
    } else {
        create_named(td, &cloner, &name, None)?
    };
    Ok(ifp.name())
}

/// `ifc_name2unit`: the unit behind the name of the kind; `None` without digits.
///
/// # Errors
/// `EINVAL` for a leading zero, something else than digits, or more than `INT_MAX`.
pub(crate) fn parse_unit(digits: &str) -> Result<Option<u32>, Errno> {
    match digits.as_bytes() {
        [] => Ok(None),
        [b'0', _, ..] => Err(Errno::EINVAL),
        _ => match digits.parse::<u32>() {
            Ok(unit) if unit <= i32::MAX as u32 => Ok(Some(unit)),
            _ => Err(Errno::EINVAL),
        },
    }
}

/// Takes a unit and makes its interface; without one, the lowest that can be had.
fn create_unit<P: Platform>(
    td: &Thread<'_, P>,
    cloner: &Shared<Cloner<P>, P>,
    unit: Option<u32>,
) -> Result<Ifp<P>, Errno> {
    if let Some(unit) = unit {
        return create_specific(td, cloner, unit);
    }
    let lowest = cloner.alloc_unit(None)?;
    cloner.free_unit(lowest);
    // Upward from the lowest free unit, past those whose name is taken by something else.
    for unit in lowest..=cloner.ty.maxunit {
        match create_specific(td, cloner, unit) {
            Err(Errno::EEXIST) => {}
            other => return other,
        }
    }
    Err(Errno::ENOSPC)
}

fn create_specific<P: Platform>(td: &Thread<'_, P>, cloner: &Shared<Cloner<P>, P>, unit: u32) -> Result<Ifp<P>, Errno> {
    let unit = cloner.alloc_unit(Some(unit))?;
    let created = IfName::numbered(&cloner.name, unit, "")
        .map_err(Errno::from)
        .and_then(|name| create_named(td, cloner, &name, Some(unit)));
    created.inspect_err(|_| cloner.free_unit(unit))
}

/// Takes the name, calls the driver, and makes the interface the cloner's.
fn create_named<P: Platform>(
    td: &Thread<'_, P>,
    cloner: &Shared<Cloner<P>, P>,
    name: &IfName,
    unit: Option<u32>,
) -> Result<Ifp<P>, Errno> {
    let vnet = td.curvnet();
    let membership = Membership::alloc(td.domain())?;
    // A driver that gives out its own units makes its own names, and reserves them.
    if unit.is_some() && !vnet.names.lock().reserve(name, td.id())? {
        return Err(Errno::EEXIST);
    }
    let created = (cloner.ty.create)(td, &CloneRequest { cloner, name, unit });
    // Turned live by the attach, unless the driver has failed.
    vnet.names.lock().unreserve(name, td.id());
    let ifp = created?;
    td.preempt();
    if_clone_addif(td, cloner, &ifp, membership);
    Ok(ifp)
}
