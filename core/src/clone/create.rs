//! `if_clone_create`: `SIOCIFCREATE`.

use crate::Errno;
use crate::hazard::Hazard;
use crate::ifnet::group::Spare;
use crate::ifnet::{IfName, Ifp};
use crate::lifecycle::vnet_lock;
use crate::mem::Shared;
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;
use crate::vnet::{VnetRef, ifunit};

use super::{CloneFlags, CloneParams, CloneRequest, Cloner, if_clone_addif};

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
#[track_caller]
pub fn if_clone_create<P: Platform>(td: &Thread<'_, P>, name: &str) -> Result<IfName, Errno> {
    if_clone_create2(td, name, &CloneParams::NONE)
}

/// `SIOCIFCREATE2`: [`if_clone_create`] with attributes for the driver, such as the parent and the tag of a VLAN.
///
/// # Locks
/// As [`if_clone_create`].
///
/// # Events
/// As [`if_clone_create`].
///
/// # Errors
/// As [`if_clone_create`].
#[track_caller]
pub fn if_clone_create2<P: Platform>(td: &Thread<'_, P>, name: &str, params: &CloneParams<P>) -> Result<IfName, Errno> {
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
    let ifp = if !cloner.ty.numbers(&name) {
        create_reserved(td, &cloner, &name, None, params)?
    } else if cloner.ty.flags.contains(CloneFlags::AUTOUNIT) {
        create_unit(td, &cloner, parse_unit(&name[cloner.name().len()..])?, params)?
    } else {
        create_named(td, &cloner, &name, None, params)?
    };
    Ok(ifp.name())
}

/// Creation by kind, as `RTM_NEWLINK` does it: makes an interface of `kind` with any name that is free, in the current
/// vnet. Without a name it is the kind's with the lowest free unit. Gives the name of what was made.
///
/// A name that is the kind's with a number takes that unit, if it is free; other names have no unit. Kinds whose driver
/// makes the names of its interfaces (`epair`) take only names of that form.
///
/// # Locks
/// Takes the detach lock and the vnet's.
///
/// # Events
/// As [`if_clone_create`].
///
/// # Errors
/// `EOPNOTSUPP` for a kind that does not exist, `EINVAL` for a name that Linux would not take (`.`, `..`, `/`, `:`,
/// white space) or that the kind cannot have, and for an index out of range, `EEXIST` if the name or the index is in
/// use, `EBUSY` if the vnet is being destroyed, `ENAMETOOLONG`, `ENOMEM`, or the driver's. Then nothing is left.
#[track_caller]
pub fn if_clone_create_kind<P: Platform>(
    td: &Thread<'_, P>,
    kind: &str,
    name: Option<&str>,
    params: &CloneParams<P>,
) -> Result<IfName, Errno> {
    td.assert_can_sleep("if_clone_create_kind");
    let name = name.map(valid_name).transpose()?;
    let vnet = td.curvnet();
    let _work = vnet_lock(td, &vnet);
    if vnet.is_shutdown() {
        return Err(Errno::EBUSY);
    }
    let cloner = vnet.find_cloner(td, |ty| ty.name == kind).ok_or(Errno::EOPNOTSUPP)?;
    if params.index.is_some_and(|index| td.kernel().index.is_taken(index)) {
        // The request is taken for one to make what exists already.
        return Err(Errno::EEXIST);
    }
    let autounit = cloner.ty.flags.contains(CloneFlags::AUTOUNIT);
    let ifp = match name {
        None if autounit => create_unit(td, &cloner, None, params)?,
        None => create_named(td, &cloner, &IfName::new(cloner.name())?, None, params)?,
        Some(name) if vnet.names.lock().is_taken(&name) => return Err(Errno::EEXIST),
        Some(name) if autounit => create_free(td, &cloner, &name, params)?,
        Some(name) if cloner.ty.matches(&name) => create_named(td, &cloner, &name, None, params)?,
        Some(_) => return Err(Errno::EINVAL),
    };
    Ok(ifp.name())
}

/// `dev_valid_name`.
///
/// # Errors
/// `EINVAL`, `ENAMETOOLONG`.
fn valid_name(name: &str) -> Result<IfName, Errno> {
    if name == "." || name == ".." || name.contains(|c: char| c == '/' || c == ':' || c.is_ascii_whitespace()) {
        return Err(Errno::EINVAL);
    }
    Ok(IfName::new(name)?)
}

/// Makes an interface of a name that the user chose.
fn create_free<P: Platform>(
    td: &Thread<'_, P>,
    cloner: &Shared<Cloner<P>, P>,
    name: &IfName,
    params: &CloneParams<P>,
) -> Result<Ifp<P>, Errno> {
    let vnet = td.curvnet();
    let (name, unit) = reserve_name(td, &vnet, cloner, Some(name))?;
    let created = create_named(td, cloner, &name, unit, params);
    release_name(td, &vnet, cloner, &name, unit.filter(|_| created.is_err()));
    created
}

/// Reserves a name in a vnet for an interface of a kind whose framework gives out the units. A name that was asked for
/// takes the unit that it says, unless another interface has that one, from a time when it had that name. Without one,
/// the lowest unit whose name is free.
///
/// # Errors
/// `EEXIST` if the name is taken, `ENOSPC` if no unit is free, `ENAMETOOLONG`, `ENOMEM`.
pub(crate) fn reserve_name<P: Platform>(
    td: &Thread<'_, P>,
    vnet: &VnetRef<P>,
    cloner: &Cloner<P>,
    wanted: Option<&IfName>,
) -> Result<(IfName, Option<u32>), Errno> {
    let reserve = |name: &IfName| match vnet.names.lock().reserve(name, td.id()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Errno::EEXIST),
        Err(error) => Err(error.into()),
    };
    if let Some(name) = wanted {
        reserve(name)?;
        let digits = name.strip_prefix(cloner.name()).filter(|digits| !digits.is_empty());
        let unit = digits.and_then(|digits| parse_unit(digits).ok().flatten());
        return match unit.map(|unit| cloner.alloc_unit(Some(unit))) {
            Some(Err(Errno::ENOMEM)) => {
                release_name(td, vnet, cloner, name, None);
                Err(Errno::ENOMEM)
            }
            taken => Ok((name.clone(), taken.and_then(Result::ok))),
        };
    }
    let lowest = cloner.alloc_unit(None)?;
    cloner.free_unit(lowest);
    for unit in lowest..=cloner.ty.maxunit {
        let taken = cloner.alloc_unit(Some(unit)).and_then(|unit| {
            let name = IfName::numbered(cloner.name(), unit, "").map_err(Errno::from);
            let reserved = name.and_then(|name| reserve(&name).map(|()| name));
            reserved.inspect_err(|_| cloner.free_unit(unit))
        });
        match taken {
            Err(Errno::EEXIST) => {}
            taken => return taken.map(|name| (name, Some(unit))),
        }
    }
    Err(Errno::ENOSPC)
}

/// Gives a reservation back, unless it has turned live, and the unit, if there is one to give.
pub(crate) fn release_name<P: Platform>(
    td: &Thread<'_, P>,
    vnet: &VnetRef<P>,
    cloner: &Cloner<P>,
    name: &IfName,
    unit: Option<u32>,
) {
    vnet.names.lock().unreserve(name, td.id());
    if let Some(unit) = unit {
        cloner.free_unit(unit);
    }
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
    params: &CloneParams<P>,
) -> Result<Ifp<P>, Errno> {
    if let Some(unit) = unit {
        return create_specific(td, cloner, unit, params);
    }
    let lowest = cloner.alloc_unit(None)?;
    cloner.free_unit(lowest);
    // Upward from the lowest free unit, past those whose name is taken by something else. What the driver says of the
    // first that can be had is final.
    for unit in lowest..=cloner.ty.maxunit {
        match reserve_unit(td, cloner, unit) {
            Err(Errno::EEXIST) => {}
            name => return create_at(td, cloner, &name?, unit, params),
        }
    }
    Err(Errno::ENOSPC)
}

fn create_specific<P: Platform>(
    td: &Thread<'_, P>,
    cloner: &Shared<Cloner<P>, P>,
    unit: u32,
    params: &CloneParams<P>,
) -> Result<Ifp<P>, Errno> {
    let name = reserve_unit(td, cloner, unit)?;
    create_at(td, cloner, &name, unit, params)
}

/// Takes a unit and the name that goes with it, or neither; `EEXIST` if either is in use.
fn reserve_unit<P: Platform>(td: &Thread<'_, P>, cloner: &Cloner<P>, unit: u32) -> Result<IfName, Errno> {
    cloner.alloc_unit(Some(unit))?;
    let reserved = IfName::numbered(cloner.name(), unit, "").map_err(Errno::from).and_then(|name| {
        let reserved = td.curvnet().names.lock().reserve(&name, td.id())?;
        if reserved { Ok(name) } else { Err(Errno::EEXIST) }
    });
    reserved.inspect_err(|_| cloner.free_unit(unit))
}

/// Makes the interface of a unit whose name is reserved; gives both back if the driver fails.
fn create_at<P: Platform>(
    td: &Thread<'_, P>,
    cloner: &Shared<Cloner<P>, P>,
    name: &IfName,
    unit: u32,
    params: &CloneParams<P>,
) -> Result<Ifp<P>, Errno> {
    let vnet = td.curvnet();
    let created = create_named(td, cloner, name, Some(unit), params);
    vnet.names.lock().unreserve(name, td.id());
    created.inspect_err(|_| cloner.free_unit(unit))
}

/// Takes the name, and makes the interface.
fn create_reserved<P: Platform>(
    td: &Thread<'_, P>,
    cloner: &Shared<Cloner<P>, P>,
    name: &IfName,
    unit: Option<u32>,
    params: &CloneParams<P>,
) -> Result<Ifp<P>, Errno> {
    let vnet = td.curvnet();
    if !vnet.names.lock().reserve(name, td.id())? {
        return Err(Errno::EEXIST);
    }
    let created = create_named(td, cloner, name, unit, params);
    // Turned live by the attach, unless the driver has failed.
    vnet.names.lock().unreserve(name, td.id());
    created
}

/// Calls the driver, and makes the interface the cloner's. A driver that gives out its own units makes its own names,
/// and reserves them.
fn create_named<P: Platform>(
    td: &Thread<'_, P>,
    cloner: &Shared<Cloner<P>, P>,
    name: &IfName,
    unit: Option<u32>,
    params: &CloneParams<P>,
) -> Result<Ifp<P>, Errno> {
    let spare = Spare::try_new(td.domain())?;
    let ifp = (cloner.ty.create)(td, &CloneRequest { cloner, name, unit, params })?;
    td.preempt();
    if_clone_addif(td, cloner, &ifp, spare);
    Ok(ifp)
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests {
    use super::*;
    use crate::testing::kernel;
    use crate::{TaskMode, if_clone_destroy, if_rename};

    #[test]
    fn a_kind_takes_any_name_and_the_unit_that_the_name_says() {
        let (_, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        let make = |kind: &str, name| {
            if_clone_create_kind(&td, kind, name, &CloneParams::default()).map(|name| std::string::String::from(&*name))
        };
        assert_eq!(make("disc", Some("x")).as_deref(), Ok("x"));
        assert_eq!(make("disc", Some("disc0")).as_deref(), Ok("disc0"));
        assert_eq!(make("disc", None).as_deref(), Ok("disc1"));
        let disc0 = ifunit(&td, "disc0").expect("made");
        if_rename(&td, &disc0, "y").expect("free");
        assert_eq!(make("disc", Some("disc0")).as_deref(), Ok("disc0"), "the unit is y's, the name is free");
        assert_eq!(make("disc", Some("disc0")), Err(Errno::EEXIST));
        for bad in ["a/b", "a b", ".", "..", "a:b", ""] {
            assert_eq!(make("disc", Some(bad)), Err(Errno::EINVAL), "{bad:?}");
        }
        assert_eq!(make("disc", Some("sixteen-bytes-xy")), Err(Errno::ENAMETOOLONG));
        assert_eq!(make("nosuch", None), Err(Errno::EOPNOTSUPP));
        assert_eq!(make("epair", Some("x9")), Err(Errno::EINVAL), "epair makes its own names");
        assert_eq!(make("epair", Some("x")), Err(Errno::EEXIST), "a name that exists is that first of all");
        assert_eq!(make("epair", Some("epair3")).as_deref(), Ok("epair3a"));
        for name in ["x", "y", "disc0", "disc1", "epair3b"] {
            if_clone_destroy(&td, name).expect(name);
        }
        assert_eq!(make("disc", None).as_deref(), Ok("disc0"), "all units are free again");
        assert_eq!(make("disc", Some("disc7")).as_deref(), Ok("disc7"));
        let disc7 = ifunit(&td, "disc7").expect("made");
        assert_eq!(disc7.dunit(), Some(7));
        if_rename(&td, &disc7, "z").expect("free");
        assert_eq!(if_clone_create(&td, "disc7"), Err(Errno::EEXIST), "the unit is z's");
        for _ in 0..2 {
            assert_eq!(make("epair", None).as_deref(), Ok("epair0a"));
            if_clone_destroy(&td, "epair0a").expect("made");
        }
        crate::invariants::check(&td).expect("sound");
    }
}
