//! What a driver does for its interface, and what is left of that when the interface is dead.

use super::{IfFlags, Ifnet};
use crate::Errno;
use crate::platform::Platform;
use crate::thread::Thread;
use crate::vnet::VnetRef;

/// A request to the driver through `if_ioctl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ioctl {
    /// `SIOCSIFFLAGS`: these flags have changed, and are already set or cleared: `IFF_UP` and what else a user may set, or
    /// a counted one (`IFF_PROMISC`, `IFF_ALLMULTI`). None, if a user has asked for what was so already.
    SetFlags(IfFlags),
    /// `SIOCADDMULTI`: the multicast filter has grown.
    AddMulti,
    /// `SIOCDELMULTI`: the multicast filter has shrunk.
    DelMulti,
    /// `SIOCSIFMTU`: the wanted MTU in bytes.
    SetMtu(u32),
}

/// The function pointers of `struct ifnet`. A driver gives one `'static` table; the functions run in the caller's
/// thread, with the caller's locks.
pub struct IfOps<P: Platform> {
    /// `if_transmit`: sends a packet; it owns the buffer whatever it returns.
    pub transmit: fn(&Thread<'_, P>, &Ifnet<P>, P::Buffer) -> Result<(), Errno>,
    /// `if_input`: a packet came in.
    pub input: fn(&Thread<'_, P>, &Ifnet<P>, P::Buffer),
    /// `if_qflush`: throws away what is queued.
    pub qflush: fn(&Thread<'_, P>, &Ifnet<P>),
    /// `if_ioctl`; `None` gives `EOPNOTSUPP`.
    pub ioctl: Option<fn(&Thread<'_, P>, &Ifnet<P>, Ioctl) -> Result<(), Errno>>,
    /// `if_reassign`: the interface changes vnets; runs in the old one, between detach and attach.
    pub reassign: Option<fn(&Thread<'_, P>, &Ifnet<P>, &VnetRef<P>)>,
}

impl<P: Platform> IfOps<P> {
    /// What an interface has whose driver gave nothing: sending is refused, input is dropped.
    pub const DEFAULT: &'static Self =
        &Self { transmit: drop_and_refuse, input: drop_input, qflush: |_, _| {}, ioctl: None, reassign: None };

    /// `if_dead`: what is left after detach. Output and ioctl give `ENXIO`, and buffers are dropped.
    pub const DEAD: &'static Self = &Self {
        transmit: drop_and_refuse,
        input: drop_input,
        qflush: |_, _| {},
        ioctl: Some(|_, _, _| Err(Errno::ENXIO)),
        reassign: None,
    };
}

fn drop_and_refuse<P: Platform>(_: &Thread<'_, P>, _: &Ifnet<P>, packet: P::Buffer) -> Result<(), Errno> {
    drop(packet);
    Err(Errno::ENXIO)
}

fn drop_input<P: Platform>(_: &Thread<'_, P>, _: &Ifnet<P>, packet: P::Buffer) {
    drop(packet);
}
