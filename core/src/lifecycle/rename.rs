//! `if_rename`: `SIOCSIFNAME`. And the description.

use crate::Errno;
use crate::event::{Event, devctl, log};
use crate::ifnet::{IFDESCRSIZE, IfFlags, IfName, Ifp};
use crate::mem::TryVec;
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;

/// `if_rename`: gives an attached interface another name. Its cloner, its unit and its place in the order of the list
/// stay as they are.
///
/// FreeBSD checks the name and sets it in two steps; here both are one, under the detach lock, so that the interface
/// does not change vnets in between.
///
/// # Locks
/// Takes the detach lock.
///
/// # Events
/// Departure and arrival with `IFF_RENAMING` set, `ifnet_rename_event`, devctl `RENAME` in the default vnet.
///
/// # Errors
/// `EINVAL` for an empty name or one with a NUL, `ENAMETOOLONG`, `EEXIST` if the name is in use, `ENXIO` if the
/// interface is not attached, `ENOMEM`. The same name as before succeeds without an event.
#[track_caller]
pub fn if_rename<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, new_name: &str) -> Result<(), Errno> {
    td.assert_can_sleep("if_rename");
    let new = IfName::new(new_name)?;
    let _stable = td.kernel().detach_sx.xlock(td);
    let vnet = ifp.if_vnet(td);
    let _cur = td.curvnet_set(Some(vnet.clone()));
    let old = ifp.name();
    if !vnet.ifnets.contains(ifp) {
        return Err(Errno::ENXIO);
    }
    if new == old {
        return Ok(());
    }
    // Taken first: the events announce a name that nobody else can get.
    if !vnet.names.lock().reserve(&new, td.id())? {
        return Err(Errno::EEXIST);
    }
    let events = &td.kernel().events;
    ifp.set_flags(IfFlags::RENAMING);
    events.invoke(td, &Event::Departure(ifp));
    log(td, format_args!("{old}: changing name to '{new}'"));
    vnet.names.lock().rename(&old, &new, ifp, td.id());
    ifp.names.lock().xname = new.clone();
    events.invoke(td, &Event::Arrival(ifp));
    ifp.clear_flags(IfFlags::RENAMING);
    events.invoke(td, &Event::Rename(ifp, &old));
    let mut data: heapless::String<32> = heapless::String::new();
    let fits = data.push_str("name=").and_then(|()| data.push_str(&new));
    debug_assert!(fits.is_ok(), "a name has at most 15 bytes");
    devctl(td, "IFNET", &old, "RENAME", &data);
    Ok(())
}

/// `SIOCSIFDESCR`: sets the description; an empty one clears it.
///
/// # Errors
/// `ENAMETOOLONG` for more than 63 bytes, `ENOMEM`.
pub fn if_setdescription<P: Platform>(ifp: &Ifp<P>, text: &str) -> Result<(), Errno> {
    if text.len() > IFDESCRSIZE {
        return Err(Errno::ENAMETOOLONG);
    }
    let mut description = TryVec::try_with_capacity(text.len(), ifp.domain.platform().allocator())?;
    text.bytes().try_for_each(|byte| description.try_push(byte))?;
    let former = core::mem::replace(&mut ifp.names.lock().description, description);
    drop(former);
    Ok(())
}
