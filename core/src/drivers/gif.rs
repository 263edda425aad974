//! `gif(4)`: a generic tunnel. Here it never has the outer addresses that would make it one, so it refuses to send, as
//! FreeBSD's does without them.

use crate::Errno;
use crate::clone::CloneType;
use crate::ifnet::{GIF_MTU, IfFlags, IfOps, IfType};
use crate::platform::Platform;

use super::simple::{self, Kind};

/// A name for the constants that need the platform.
struct Gif<P>(core::marker::PhantomData<P>);

impl<P: Platform> Gif<P> {
    const KIND: Kind<P> = Kind {
        if_type: IfType::Gif,
        flags: IfFlags::POINTOPOINT.union(IfFlags::MULTICAST),
        mtu: GIF_MTU,
        ops: &IfOps {
            transmit: |_, _, packet| {
                drop(packet);
                Err(Errno::ENETDOWN)
            },
            input: |_, _, packet| drop(packet),
            qflush: |_, _| {},
            ioctl: Some(|_, _, _| Ok(())),
            reassign: None,
        },
    };

    const CLONER: &'static CloneType<P> =
        &CloneType::auto("gif", |td, request| simple::create(td, request, &Self::KIND), simple::destroy);
}

/// The cloner of the kind.
pub(super) fn cloner<P: Platform>() -> &'static CloneType<P> {
    Gif::CLONER
}
