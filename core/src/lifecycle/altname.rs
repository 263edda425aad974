//! Alternative names: `ip link property add … altname`.
//!
//! FreeBSD has none. Linux keeps them in the table of first names: no two interfaces of a vnet share a name of either
//! sort, and a lookup finds an interface by any. They go with the interface on a move, which fails if one of them is
//! taken where it goes. Only the return from a dying vnet cannot fail; there a name that is taken is lost. A detach ends
//! them all.
//!
//! Linux allows 127 bytes; here they are names of interfaces, of 15.

use crate::Errno;
use crate::ifnet::{IfName, Ifp};
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;
use crate::vnet::VnetRef;

use super::attach::{hold_place_away, release_places_away};

/// Gives an attached interface a further name.
///
/// # Locks
/// Takes the detach lock.
///
/// # Errors
/// `EEXIST` if the name is in use in the interface's vnet, by whatever interface; `EINVAL` for an empty name or one with
/// a NUL, `ENAMETOOLONG`, `ENXIO` if the interface is not attached, `ENOMEM`. Then nothing has changed.
#[track_caller]
pub fn if_addaltname<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, name: &str) -> Result<(), Errno> {
    td.assert_can_sleep("if_addaltname");
    let name = IfName::new(name)?;
    let _stable = td.kernel().detach_sx.xlock(td);
    let vnet = ifp.if_vnet(td);
    if ifp.is_dying() || !vnet.ifnets.contains(ifp) {
        return Err(Errno::ENXIO);
    }
    let home = ifp.if_home_vnet(td).unwrap_or_else(|| vnet.clone());
    if !vnet.names.lock().reserve(&name, td.id())? {
        return Err(Errno::EEXIST);
    }
    let held = reserve_places(td, &vnet, &home).and_then(|()| {
        let room = ifp.altnames.lock().try_reserve(1);
        room.inspect_err(|_| {
            vnet.names.lock().release(1);
            release_places_away(td, &vnet, &home, 1);
        })?;
        Ok(())
    });
    if let Err(errno) = held {
        vnet.names.lock().unreserve(&name, td.id());
        return Err(errno);
    }
    let linked = vnet.names.lock().link_alternative(&name, ifp, td.id());
    let pushed = ifp.altnames.lock().try_push(name);
    debug_assert!(linked && pushed.is_ok(), "the name and its room were reserved");
    Ok(())
}

/// The places of one more name: here, and wherever the interface may go without being asked.
fn reserve_places<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>, home: &VnetRef<P>) -> Result<(), Errno> {
    vnet.names.lock().hold(1)?;
    Ok(hold_place_away(td, vnet, home).inspect_err(|_| vnet.names.lock().release(1))?)
}

/// Takes a further name away.
///
/// # Locks
/// Takes the detach lock.
///
/// # Errors
/// `ENOENT` if the interface has no further name like this.
#[track_caller]
pub fn if_delaltname<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, name: &str) -> Result<(), Errno> {
    td.assert_can_sleep("if_delaltname");
    let _stable = td.kernel().detach_sx.xlock(td);
    let removed = {
        let mut altnames = ifp.altnames.lock();
        let at = altnames.iter().position(|altname| **altname == *name).ok_or(Errno::ENOENT)?;
        altnames.remove(at)
    };
    let vnet = ifp.if_vnet(td);
    let home = ifp.if_home_vnet(td).unwrap_or_else(|| vnet.clone());
    let unlinked = vnet.names.lock().unlink_alternative(&removed, ifp);
    debug_assert!(unlinked, "a further name is in the table of the interface's vnet");
    release_places_away(td, &vnet, &home, 1);
    Ok(())
}

/// Calls `each` with every further name, in the order in which they were added.
///
/// # Locks
/// Holds the short lock of the names: `each` may not call back into the interface.
pub fn if_altnames<P: Platform>(ifp: &Ifp<P>, mut each: impl FnMut(&str)) {
    ifp.touch();
    ifp.altnames.lock().iter().for_each(|altname| each(altname));
}

/// Reserves the further names of an interface in the vnet that it is going to move to. Under the detach lock.
///
/// # Errors
/// `EEXIST` if one of them is taken there, `ENOMEM`; then none is reserved.
pub(super) fn reserve_altnames<P: Platform>(
    td: &Thread<'_, P>,
    ifp: &Ifp<P>,
    target: &VnetRef<P>,
) -> Result<(), Errno> {
    let reserved = ifp.altnames.lock().iter().try_for_each(|altname| {
        let free = target.names.lock().reserve(altname, td.id())?;
        if free { Ok(()) } else { Err(Errno::EEXIST) }
    });
    reserved.inspect_err(|_| unreserve_altnames(td, ifp, target))
}

/// Gives back what [`reserve_altnames`] took and no move has used.
pub(super) fn unreserve_altnames<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, target: &VnetRef<P>) {
    for altname in &*ifp.altnames.lock() {
        target.names.lock().unreserve(altname, td.id());
    }
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests {
    use std::string::{String, ToString};
    use std::vec::Vec;

    use super::*;
    use crate::testing::{Host, attached, gone, kernel};
    use crate::{
        TaskMode, if_rename, if_vmove_loan, if_vmove_loan_as, if_vmove_reclaim, ifunit, ifunit_ref, vnet_alloc,
        vnet_destroy,
    };

    fn altnames(ifp: &Ifp<Host>) -> Vec<String> {
        let mut all = Vec::new();
        if_altnames(ifp, |altname| all.push(altname.to_string()));
        all
    }

    #[test]
    fn a_further_name_is_found_and_taken_and_ends_with_the_interface() {
        let (_, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        let [em0, em1] = [attached(&td, "em", 0), attached(&td, "em", 1)];
        assert_eq!(if_addaltname(&td, &em0, "wan"), Ok(()));
        assert!(ifunit(&td, "wan").is_some_and(|ifp| ifp.ptr_eq(&em0)));
        for taken in ["wan", "em0", "em1"] {
            assert_eq!(if_addaltname(&td, &em1, taken), Err(Errno::EEXIST), "{taken}");
        }
        assert_eq!(if_addaltname(&td, &em1, ""), Err(Errno::EINVAL));
        assert_eq!(if_rename(&td, &em1, "wan"), Err(Errno::EEXIST));
        assert_eq!(if_rename(&td, &em0, "wan"), Err(Errno::EEXIST), "its own as well");
        assert_eq!(if_rename(&td, &em0, "lan"), Ok(()));
        assert!(ifunit(&td, "wan").is_some_and(|ifp| ifp.ptr_eq(&em0)), "a rename leaves it");
        assert_eq!(if_delaltname(&td, &em1, "wan"), Err(Errno::ENOENT));
        assert_eq!(if_delaltname(&td, &em0, "lan"), Err(Errno::ENOENT), "that is the first name");
        assert_eq!(if_addaltname(&td, &em0, "uplink"), Ok(()));
        assert_eq!(if_delaltname(&td, &em0, "wan"), Ok(()));
        assert_eq!(altnames(&em0), ["uplink"]);
        crate::invariants::check(&td).expect("sound");
        // A driver may bring an interface of the same name at any time: it is preferred.
        assert_eq!(if_addaltname(&td, &em0, "re7"), Ok(()));
        let re7 = attached(&td, "re", 7);
        assert!(ifunit(&td, "re7").is_some_and(|ifp| ifp.ptr_eq(&re7)));
        assert_eq!(if_delaltname(&td, &em0, "re7"), Ok(()));
        assert!(ifunit(&td, "re7").is_some_and(|ifp| ifp.ptr_eq(&re7)), "that is re7's own");
        crate::if_detach(&td, &em0);
        assert!(ifunit(&td, "uplink").is_none() && altnames(&em0).is_empty());
        assert_eq!(if_addaltname(&td, &em0, "x"), Err(Errno::ENXIO), "it is detached");
        let fresh = crate::if_alloc(&td, crate::IfType::Other).expect("memory");
        crate::if_initname(&fresh, "em", Some(9)).expect("a good name");
        assert_eq!(if_addaltname(&td, &fresh, "x"), Err(Errno::ENXIO), "it is not attached");
        crate::if_free(&td, fresh);
        assert_eq!(if_addaltname(&td, &em1, "uplink"), Ok(()), "free again");
        crate::if_free(&td, em0);
        gone(&td, em1);
        gone(&td, re7);
        assert_eq!(kernel.vnet0().names.lock().alternative(), 0);
    }

    #[test]
    fn further_names_move_along_or_the_move_fails_and_a_return_drops_them() {
        let (_, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        let [v1, v2] = [(); 2].map(|()| vnet_alloc(&td).expect("memory"));
        let [em0, em1] = [attached(&td, "em", 0), attached(&td, "em", 1)];
        for altname in ["a", "b"] {
            if_addaltname(&td, &em0, altname).expect("free");
        }
        drop(if_vmove_loan(&td, "em1", &v1).expect("free"));
        if_addaltname(&td, &em1, "b").expect("free there");
        let before = v1.names.lock().places();
        assert_eq!(if_vmove_loan(&td, "em0", &v1).map(drop), Err(Errno::EEXIST));
        assert_eq!(if_vmove_loan_as(&td, "em0", &v1, "new").map(drop), Err(Errno::EEXIST));
        assert!(!v1.names.lock().is_taken("a") && !v1.names.lock().is_taken("em0") && !v1.names.lock().is_taken("new"));
        assert_eq!((v1.names.lock().places(), altnames(&em0).len()), (before, 2));
        drop(if_vmove_loan_as(&td, "em0", &v2, "new").expect("free"));
        crate::invariants::check(&td).expect("sound");
        {
            let _cur = td.curvnet_set(Some(v2.clone()));
            let found = ["a", "b", "new"].map(|name| ifunit_ref(&td, name).expect(name).index());
            assert_eq!(found, [em0.index(); 3]);
            assert!(ifunit(&td, "em0").is_none());
            if_delaltname(&td, &em0, "a").expect("its own");
            if_addaltname(&td, &em0, "c").expect("free");
        }
        // Home, where one of them is taken by now: the return cannot fail.
        drop(if_vmove_reclaim(&td, "em1", &v1).expect("there"));
        vnet_destroy(&td, &v2).expect("alive");
        assert_eq!(altnames(&em0), ["c"]);
        assert!(ifunit(&td, "b").is_some_and(|ifp| ifp.ptr_eq(&em1)));
        assert!(ifunit(&td, "c").is_some_and(|ifp| ifp.ptr_eq(&em0)));
        crate::invariants::check(&td).expect("sound");
        vnet_destroy(&td, &v1).expect("alive");
        gone(&td, em0);
        gone(&td, em1);
        assert_eq!(kernel.vnet0().names.lock().places(), 0, "every place is given back");
    }

    #[test]
    fn a_name_that_is_lost_on_a_return_gives_its_places_back() {
        let (_, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        let [home, away] = [(); 2].map(|()| vnet_alloc(&td).expect("memory"));
        let places = || [&kernel.vnet0(), &home, &away].map(|vnet| vnet.names.lock().places());
        assert_eq!(places(), [2, 0, 0], "one for each lo0 that is not here");
        let cur = td.curvnet_set(Some(home.clone()));
        let em0 = attached(&td, "em", 0);
        if_addaltname(&td, &em0, "a").expect("free");
        drop(if_vmove_loan(&td, "em0", &away).expect("free"));
        let em1 = attached(&td, "em", 1);
        if_addaltname(&td, &em1, "a").expect("free here");
        vnet_destroy(&td, &away).expect("alive");
        assert!(altnames(&em0).is_empty(), "em1 has it");
        gone(&td, em1);
        gone(&td, em0);
        assert_eq!(places(), [1, 0, 0]);
        drop(cur);
        vnet_destroy(&td, &home).expect("alive");
    }

    #[test]
    fn what_is_refused_memory_leaves_nothing_and_a_return_needs_none() {
        let (host, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        let v1 = vnet_alloc(&td).expect("memory");
        let em0 = attached(&td, "em", 0);
        drop(if_vmove_loan(&td, "em0", &v1).expect("free"));
        let places = || [kernel.vnet0().names.lock().places(), v1.names.lock().places()];
        for number in 0..40 {
            let name = std::format!("alt{number}");
            for memory in 0.. {
                let before = places();
                host.arena().fail_after(memory);
                let added = if_addaltname(&td, &em0, &name);
                host.arena().fail_never();
                crate::invariants::check(&td).expect("sound");
                if added.is_ok() {
                    break;
                }
                assert_eq!((added, places()), (Err(Errno::ENOMEM), before), "after {memory}");
                assert!(!v1.names.lock().is_taken(&name));
            }
        }
        assert_eq!(places(), [42, 0], "one for each name, and for lo0 of the other vnet");
        host.arena().fail_after(0);
        vnet_destroy(&td, &v1).expect("alive");
        host.arena().fail_never();
        assert_eq!((altnames(&em0).len(), kernel.vnet0().names.lock().places()), (40, 0));
        gone(&td, em0);
    }
}
