//! `lo(4)`: every vnet has `lo0` from its first moment to its last.

use crate::Errno;
use crate::clone::{CloneFlags, CloneType};
use crate::ifnet::{IfFlags, IfOps, IfType, LOMTU};
use crate::lifecycle::if_input;
use crate::platform::Platform;

use super::simple::{self, Kind};

/// A name for the constants that need the platform.
struct Loopback<P>(core::marker::PhantomData<P>);

impl<P: Platform> Loopback<P> {
    /// How many loopbacks every vnet has, whom no user can destroy.
    const MINIFS: u32 = 1;

    const KIND: Kind<P> = Kind {
        if_type: IfType::Loop,
        flags: IfFlags::LOOPBACK.union(IfFlags::MULTICAST),
        mtu: LOMTU,
        ops: &IfOps {
            // What goes out comes in.
            transmit: |td, ifp, packet| {
                let section = td.net_epoch_enter();
                if_input(td, ifp, packet, &section);
                Ok(())
            },
            input: |_, _, packet| drop(packet),
            qflush: |_, _| {},
            ioctl: Some(|_, _, _| Ok(())),
            reassign: None,
        },
    };

    const CLONER: &'static CloneType<P> = &CloneType {
        minifs: Self::MINIFS,
        ..CloneType::auto(
            "lo",
            |td, request| simple::create(td, request, &Self::KIND),
            |td, cloner, ifp, flags| {
                let permanent = ifp.dunit().is_some_and(|unit| unit < Self::MINIFS);
                if permanent && !flags.contains(CloneFlags::FORCE) {
                    return Err(Errno::EINVAL);
                }
                simple::destroy(td, cloner, ifp, flags)
            },
        )
    };
}

/// The cloner of the kind.
pub(super) fn cloner<P: Platform>() -> &'static CloneType<P> {
    Loopback::CLONER
}
