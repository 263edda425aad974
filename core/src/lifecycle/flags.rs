//! Flags: up and down, the counted ones, and `SIOCSIFFLAGS`. Also the MTU.

use crate::Errno;
use crate::event::{Event, rt_ifmsg};
use crate::ifnet::hook::HookKind;
use crate::ifnet::{FlagCounts, IF_MAXMTU, IF_MINMTU, IfFlags, Ifp, Ioctl};
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;

/// `if_up`: marks an interface up.
///
/// # Events
/// A routing message, then `ifnet_event` `UP`.
pub fn if_up<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    let _cur = td.curvnet_set(Some(ifp.if_vnet(td)));
    ifp.set_flags(IfFlags::UP);
    rt_ifmsg(td, ifp);
    td.kernel().events.invoke(td, &Event::Up(ifp));
}

/// `if_down`: marks an interface down and throws its queue away.
///
/// # Events
/// `ifnet_event` `DOWN`, then a routing message.
pub fn if_down<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    let _cur = td.curvnet_set(Some(ifp.if_vnet(td)));
    go_down(td, ifp);
}

/// `if_down` in the current vnet, which is the interface's.
pub(super) fn go_down<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    td.kernel().events.invoke(td, &Event::Down(ifp));
    ifp.clear_flags(IfFlags::UP);
    (ifp.ops().qflush)(td, ifp);
    rt_ifmsg(td, ifp);
}

/// `SIOCSIFFLAGS`: sets the flags that a user may set, and takes the interface up or down. `IFF_PPROMISC` brings
/// `IFF_PROMISC` with it, which then stays as long as somebody is counted, and `IFF_PALLMULTI` likewise. The driver's error
/// is ignored, as in FreeBSD.
///
/// # Errors
/// `ENXIO` for an interface that is dying.
#[track_caller]
pub fn if_setflags<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, flags: IfFlags) -> Result<(), Errno> {
    td.assert_can_sleep("if_setflags");
    // A down interface that is being detached may not come up again behind the detach.
    let _stable = td.kernel().detach_sx.xlock(td);
    if ifp.is_dying() {
        return Err(Errno::ENXIO);
    }
    let former = ifp.flags();
    let (was_up, be_up) = (former.contains(IfFlags::UP), flags.contains(IfFlags::UP));
    if was_up && !be_up {
        if_down(td, ifp);
    }
    let changeable = IfFlags::CANTCHANGE.union(IfFlags::UP).complement();
    ifp.clear_flags(changeable.difference(flags));
    for which in [Counted::Promisc, Counted::Allmulti] {
        if (former ^ flags).contains(which.permanent()) {
            // What the user wants for good, and what the count says, show in one flag.
            toggle(ifp, which, flags.contains(which.permanent()) || *which.count(&mut ifp.counts.lock()) > 0);
        }
    }
    // As in FreeBSD, the driver sees `IFF_UP` already.
    ifp.set_flags(flags.intersection(changeable.union(IfFlags::UP)));
    if let Some(ioctl) = ifp.ops().ioctl {
        let _ = ioctl(td, ifp, Ioctl::SetFlags(former ^ ifp.flags()));
    }
    if be_up && !was_up {
        if_up(td, ifp);
    }
    Ok(())
}

/// One of the two flags that are counted.
#[derive(Clone, Copy)]
enum Counted {
    Promisc,
    Allmulti,
}

impl Counted {
    const fn flag(self) -> IfFlags {
        match self {
            Self::Promisc => IfFlags::PROMISC,
            Self::Allmulti => IfFlags::ALLMULTI,
        }
    }

    const fn permanent(self) -> IfFlags {
        match self {
            Self::Promisc => IfFlags::PPROMISC,
            Self::Allmulti => IfFlags::PALLMULTI,
        }
    }

    const fn count(self, counts: &mut FlagCounts) -> &mut u32 {
        match self {
            Self::Promisc => &mut counts.promisc,
            Self::Allmulti => &mut counts.allmulti,
        }
    }
}

/// `ifpromisc`: one more or one fewer wants every packet. The first and the last tell the driver.
///
/// # Errors
/// `EOPNOTSUPP` without an ioctl of the driver, or the driver's error; count and flag are then as before. `EINVAL` for
/// one fewer than none, where FreeBSD asserts.
pub fn ifpromisc<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, on: bool) -> Result<(), Errno> {
    if_setflag(td, ifp, Counted::Promisc, on)
}

/// `if_allmulti`: the same for every multicast packet.
///
/// # Errors
/// As [`ifpromisc`].
pub fn if_allmulti<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, on: bool) -> Result<(), Errno> {
    if_setflag(td, ifp, Counted::Allmulti, on)
}

/// One fewer wants every packet, of an interface that departs: its driver is not told.
pub(crate) fn ifpromisc_gone<P: Platform>(ifp: &Ifp<P>) {
    if step(ifp, Counted::Promisc, false) == Ok(true) && !ifp.raw_flags().contains(IfFlags::PPROMISC) {
        toggle(ifp, Counted::Promisc, false);
    }
}

fn if_setflag<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, which: Counted, on: bool) -> Result<(), Errno> {
    if !step(ifp, which, on)? || ifp.raw_flags().contains(which.permanent()) {
        return Ok(());
    }
    toggle(ifp, which, on);
    let changed = Ioctl::SetFlags(which.flag());
    let told = ifp.ops().ioctl.ok_or(Errno::EOPNOTSUPP).and_then(|ioctl| ioctl(td, ifp, changed));
    if let Err(errno) = told {
        toggle(ifp, which, !on);
        step(ifp, which, !on)?;
        return Err(errno);
    }
    let _cur = td.curvnet_set(Some(ifp.if_vnet(td)));
    rt_ifmsg(td, ifp);
    Ok(())
}

/// Counts; whether this was the first on or the last off.
fn step<P: Platform>(ifp: &Ifp<P>, which: Counted, on: bool) -> Result<bool, Errno> {
    let mut counts = ifp.counts.lock();
    let count = which.count(&mut counts);
    let next = if on { count.checked_add(1) } else { count.checked_sub(1) }.ok_or(Errno::EINVAL)?;
    *count = next;
    Ok(next == u32::from(on))
}

fn toggle<P: Platform>(ifp: &Ifp<P>, which: Counted, on: bool) {
    if on {
        ifp.set_flags(which.flag());
    } else {
        ifp.clear_flags(which.flag());
    }
}

/// `SIOCSIFMTU`, in bytes.
///
/// # Errors
/// `EINVAL` outside `IF_MINMTU..=IF_MAXMTU`, `EOPNOTSUPP` for a member of a bridge, or the driver's error; the MTU is then
/// as before.
pub fn if_setmtu<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, mtu: u32) -> Result<(), Errno> {
    if !(IF_MINMTU..=IF_MAXMTU).contains(&mtu) {
        return Err(Errno::EINVAL);
    }
    if ifp.has_hook(HookKind::Bridge) {
        return Err(Errno::EOPNOTSUPP);
    }
    let ioctl = ifp.ops().ioctl.ok_or(Errno::EOPNOTSUPP)?;
    ioctl(td, ifp, Ioctl::SetMtu(mtu))?;
    ifp.set_mtu(mtu);
    let _cur = td.curvnet_set(Some(ifp.if_vnet(td)));
    rt_ifmsg(td, ifp);
    td.kernel().events.invoke(td, &Event::Mtu(ifp));
    Ok(())
}
