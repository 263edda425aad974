//! Addresses: adding and deleting them, the link-level one, and what detach purges.

use crate::Errno;
use crate::event::Event;
use crate::hazard::Hazard;
use crate::ifnet::addr::ifa_free;
use crate::ifnet::{IfAddr, IfaRef, Ifnet, Ifp, SockAddr};
use crate::mem::Shared;
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;

/// `SIOCAIFADDR`: gives the interface a network address.
///
/// # Locks
/// The interface's address lock; before it, that of the port of an `ipvlan`.
///
/// # Errors
/// `EADDRINUSE` if a sibling on the same port has the address, `EEXIST` if it has it itself, `ENXIO` for an interface that is dying, `EINVAL` for a link-level address or a prefix
/// longer than the address, `ENOMEM`.
pub fn if_addaddr<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, addr: SockAddr, prefix: u8) -> Result<(), Errno> {
    let longest = match addr {
        SockAddr::Link(_) => return Err(Errno::EINVAL),
        SockAddr::Inet(_) => 32,
        SockAddr::Inet6(_) => 128,
    };
    if prefix > longest {
        return Err(Errno::EINVAL);
    }
    let mut ifa = Some(IfAddr::alloc(td.domain(), addr, prefix)?);
    let mut admit = || {
        let addrs = &mut ifp.addrs.lock().network;
        // Tested under the lock that detach purges under: what is added is purged.
        if ifp.is_dying() {
            return Err(Errno::ENXIO);
        }
        if addrs.iter().any(|other| other.sockaddr() == addr) {
            return Err(Errno::EEXIST);
        }
        addrs.try_reserve(1)?;
        if let Some(ifa) = ifa.take() {
            addrs.try_push(ifa)?;
        }
        Ok(())
    };
    match ifp.stack_ops().and_then(|ops| ops.address) {
        Some(decide) => decide(td, ifp, &addr, &mut admit),
        None => admit(),
    }
}

/// `SIOCDIFADDR`: takes a network address away.
///
/// # Locks
/// The interface's address lock.
///
/// # Errors
/// `EADDRNOTAVAIL` if the interface does not have it.
pub fn if_deladdr<P: Platform>(ifp: &Ifp<P>, addr: SockAddr) -> Result<(), Errno> {
    let removed = {
        let addrs = &mut ifp.addrs.lock().network;
        let at = addrs.iter().position(|other| other.sockaddr() == addr).ok_or(Errno::EADDRNOTAVAIL)?;
        addrs.remove(at)
    };
    ifa_free(removed);
    Ok(())
}

/// The link-level address, as a dump of the interface reads it, with a reference that keeps it: `None` once the
/// interface is detached.
pub fn if_lladdr<P: Platform>(td: &Thread<'_, P>, ifp: &Ifnet<P>) -> Option<SockAddr> {
    if td.hazard(Hazard::LladdrAfterDetach) {
        let ifa: Shared<IfAddr<P>, P> = ifp.addrs.lock().lladdr.clone()?;
        td.preempt();
        return Some(ifa.sockaddr());
    }
    let ifa = ifp.addrs.lock().lladdr.clone().and_then(IfaRef::try_new)?;
    td.preempt();
    Some(ifa.sockaddr())
}

/// `SIOCSIFLLADDR`: changes the link-level address.
///
/// # Events
/// `iflladdr_event`.
///
/// # Errors
/// `ENXIO` for an interface that has none, `ENOMEM`.
pub fn if_setlladdr<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, lladdr: [u8; 6]) -> Result<(), Errno> {
    let fresh = IfAddr::alloc(td.domain(), SockAddr::Link(lladdr), 0)?;
    let former = {
        let slot = &mut ifp.addrs.lock().lladdr;
        if slot.is_none() || ifp.is_dying() {
            return Err(Errno::ENXIO);
        }
        slot.replace(fresh)
    };
    if let Some(former) = former {
        ifa_free(former);
    }
    td.kernel().events.invoke(td, &Event::Lladdr(ifp));
    Ok(())
}

/// Lets an interface show a link-level address that is another's as well: a member of an aggregate, a VLAN. Both then
/// hold the same object, so that this needs no memory. Gives what the interface held before, with its reference; `None`
/// if it has no link-level address any more, and then nothing has happened.
///
/// # Events
/// `iflladdr_event`.
pub(crate) fn lladdr_lend<P: Platform>(
    td: &Thread<'_, P>,
    ifp: &Ifp<P>,
    lent: &Shared<IfAddr<P>, P>,
) -> Option<Shared<IfAddr<P>, P>> {
    let former = {
        let slot = &mut ifp.addrs.lock().lladdr;
        if slot.is_none() || ifp.is_dying() || !lent.life.try_acquire() {
            return None;
        }
        slot.replace(lent.clone())
    };
    td.kernel().events.invoke(td, &Event::Lladdr(ifp));
    former
}

/// [`lladdr_lend`], when nobody wants to give back what the interface held before.
pub(crate) fn lladdr_follow<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, lent: &Shared<IfAddr<P>, P>) {
    if let Some(former) = lladdr_lend(td, ifp, lent) {
        ifa_free(former);
    }
}

/// Gives an interface the address back that [`lladdr_lend`] has taken from it.
///
/// # Events
/// `iflladdr_event`, unless the interface is dying.
pub(crate) fn lladdr_restore<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, own: Shared<IfAddr<P>, P>) {
    lladdr_follow(td, ifp, &own);
    // The reference that the borrower kept; the interface has one of its own again, or is dying and wants none.
    ifa_free(own);
}

/// `if_purgeaddrs`: takes every network address away. The link-level address stays.
pub(crate) fn if_purgeaddrs<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    td.preempt();
    loop {
        // One at a time: freeing queues a callback and needs the lock released.
        let Some(ifa) = ({ ifp.addrs.lock().network.pop() }) else { break };
        ifa_free(ifa);
    }
}

/// `if_purgemaddrs`: ends every multicast membership. The driver is not told.
pub(super) fn if_purgemaddrs<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    td.preempt();
    ifp.addrs.lock().multicast.clear();
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests {
    use super::*;
    use crate::ifnet::IfFlags;
    use crate::testing::{attached, gone, kernel};
    use crate::{IfType, TaskMode, if_alloc, if_free};

    #[test]
    fn an_address_is_lent_to_what_has_one_and_lives() {
        let (_, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        let [one, two] = [attached(&td, "em", 0), attached(&td, "em", 1)];
        let fresh = if_alloc(&td, IfType::Other).expect("memory");
        if_setlladdr(&td, &one, [2, 0, 0, 0, 0, 1]).expect("attached");
        let lent = one.addrs.lock().lladdr.clone().expect("attached");
        assert!(lladdr_lend(&td, &fresh, &lent).is_none(), "it has none that could be given back");
        assert!(if_lladdr(&td, &fresh).is_none());
        let own = lladdr_lend(&td, &two, &lent).expect("it has one");
        assert_eq!(if_lladdr(&td, &two), if_lladdr(&td, &one));
        lladdr_restore(&td, &two, own);
        assert_eq!(if_lladdr(&td, &two), Some(SockAddr::Link([0; 6])));
        two.set_flags(IfFlags::DYING);
        assert!(lladdr_lend(&td, &two, &lent).is_none(), "it would be left with it");
        assert_eq!(if_lladdr(&td, &two), Some(SockAddr::Link([0; 6])));
        drop(lent);
        if_free(&td, fresh);
        gone(&td, one);
        gone(&td, two);
    }
}
