//! `disc(4)`: an interface whose output throws packets away.

use crate::clone::CloneType;
use crate::ifnet::{ETHERMTU, IfFlags, IfOps, IfType};
use crate::platform::Platform;

use super::simple::{self, Kind};

/// A name for the constants that need the platform.
struct Disc<P>(core::marker::PhantomData<P>);

impl<P: Platform> Disc<P> {
    const KIND: Kind<P> = Kind {
        if_type: IfType::Loop,
        flags: IfFlags::LOOPBACK.union(IfFlags::RUNNING).union(IfFlags::MULTICAST),
        mtu: ETHERMTU,
        ops: &IfOps {
            transmit: |_, _, packet| {
                drop(packet);
                Ok(())
            },
            input: |_, _, packet| drop(packet),
            qflush: |_, _| {},
            ioctl: Some(|_, _, _| Ok(())),
            reassign: None,
        },
    };

    const CLONER: &'static CloneType<P> =
        &CloneType::auto("disc", |td, request| simple::create(td, request, &Self::KIND), simple::destroy);
}

/// The cloner of the kind.
pub(super) fn cloner<P: Platform>() -> &'static CloneType<P> {
    Disc::CLONER
}
