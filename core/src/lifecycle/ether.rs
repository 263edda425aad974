//! `ether_ifattach` and `ether_ifdetach`: what a driver of Ethernet hardware calls.

use crate::Errno;
use crate::bpf::{bpfattach, bpfdetach};
use crate::event::{Event, devctl};
use crate::hazard::Hazard;
use crate::ifnet::{ETHERMTU, IfnetOwner};
use crate::platform::Platform;
use crate::thread::Thread;

use super::attach::attach_with;
use super::detach::{if_detach, ignores_failure};

/// `ether_ifattach`: attaches an Ethernet interface with its link-level address and a tap.
///
/// The tap is attached before the interface is visible, so that the data path never meets an interface without one.
/// FreeBSD does it after (freebsd-net, May 2025; the author of D56374 plans this order).
///
/// # Locks
/// Takes `bpf_sx` and `ifnet_sx`.
///
/// # Events
/// Those of [`if_attach`](super::if_attach), then `ether_ifattach_event` and devctl `ETHERNET … IFATTACH`.
///
/// # Errors
/// Those of [`if_attach`](super::if_attach); the interface is then as before.
#[track_caller]
pub fn ether_ifattach<P: Platform>(td: &Thread<'_, P>, owner: &IfnetOwner<P>, lladdr: [u8; 6]) -> Result<(), Errno> {
    td.assert_can_sleep("ether_ifattach");
    let tap_first = !td.hazard(Hazard::BpfNullWindow);
    if tap_first {
        bpfattach(td, owner)?;
    }
    let mtu = owner.mtu();
    owner.set_mtu(ETHERMTU);
    if let Err(errno) = attach_with(td, owner, lladdr) {
        owner.set_mtu(mtu);
        if tap_first {
            bpfdetach(td, owner);
        }
        return Err(errno);
    }
    td.preempt();
    if !tap_first {
        bpfattach(td, owner)?;
    }
    td.kernel().events.invoke(td, &Event::EtherIfattach(owner));
    devctl(td, "ETHERNET", &owner.name(), "IFATTACH", "-");
    Ok(())
}

/// `ether_ifdetach`: detaches an Ethernet interface and its tap.
///
/// # Locks
/// Holds the detach lock over both, so that no move comes between them (review D56375).
///
/// # Panics
/// As [`if_detach`](super::if_detach).
#[track_caller]
pub fn ether_ifdetach<P: Platform>(td: &Thread<'_, P>, owner: &IfnetOwner<P>) {
    td.assert_can_sleep("ether_ifdetach");
    let unlocked =
        td.hazard(Hazard::BpfDetachUnlocked) || td.hazard(Hazard::DetachLockInternalOnly) || ignores_failure(td);
    let _detach = (!unlocked).then(|| td.kernel().detach_sx.xlock(td));
    bpfdetach(td, owner);
    td.preempt();
    if_detach(td, owner);
}
