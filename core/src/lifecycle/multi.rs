//! Multicast memberships: `if_addmulti`, `if_delmulti`.

use crate::Errno;
use crate::ifnet::addr::IfMultiaddr;
use crate::ifnet::{IfFlags, Ifp, Ioctl, SockAddr};
use crate::platform::{Mutex, Platform};
use crate::taskq::Tasks;
use crate::thread::Thread;

/// `if_addmulti`: joins a multicast group on the interface; joins are counted. The driver's filter is updated by a task.
///
/// # Locks
/// The interface's address lock.
///
/// # Errors
/// `EOPNOTSUPP` without `IFF_MULTICAST`, `ENXIO` for an interface that is dying, `ENOMEM`.
pub fn if_addmulti<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, addr: SockAddr) -> Result<(), Errno> {
    if !ifp.flags().contains(IfFlags::MULTICAST) {
        return Err(Errno::EOPNOTSUPP);
    }
    {
        let list = &mut ifp.addrs.lock().multicast;
        // Tested under the lock that detach purges under: what is joined is purged.
        if ifp.is_dying() {
            return Err(Errno::ENXIO);
        }
        match list.iter_mut().find(|member| member.addr == addr) {
            Some(member) => {
                member.joins = member.joins.checked_add(1).ok_or(Errno::ENOSPC)?;
                return Ok(());
            }
            None => list.try_push(IfMultiaddr { addr, joins: 1 })?,
        }
    }
    td.kernel().taskq.enqueue(td, ifp, Tasks::ADDMULTI);
    Ok(())
}

/// The task that tells the driver that its filter has grown.
pub(crate) fn do_addmulti<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    ifp.touch();
    let _cur = td.curvnet_set(Some(ifp.if_vnet(td)));
    tell(td, ifp, Ioctl::AddMulti);
}

/// `if_delmulti`: ends one join; the last ends the membership and tells the driver.
///
/// # Locks
/// The interface's address lock.
///
/// # Errors
/// `ENOENT` if there is no such membership.
pub fn if_delmulti<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, addr: SockAddr) -> Result<(), Errno> {
    {
        let list = &mut ifp.addrs.lock().multicast;
        let at = list.iter().position(|member| member.addr == addr).ok_or(Errno::ENOENT)?;
        list[at].joins -= 1;
        if list[at].joins > 0 {
            return Ok(());
        }
        list.swap_remove(at);
    }
    tell(td, ifp, Ioctl::DelMulti);
    Ok(())
}

fn tell<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, request: Ioctl) {
    if let Some(ioctl) = ifp.ops().ioctl {
        // A filter that the driver could not set shows as missing packets, in FreeBSD too.
        let _ = ioctl(td, ifp, request);
    }
}
