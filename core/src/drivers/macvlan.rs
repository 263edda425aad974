//! `macvlan`: uppers with link-level addresses of their own on one lower interface.

use crate::clone::{CloneType, StackMode};
use crate::platform::Platform;

use super::stacked::{self, Demux, Family, Kind};

const MACVLAN: &Kind = &Kind {
    family: &Family {
        name: "macvlan",
        uninit: "macvlan_uninit",
        modes: &[StackMode::Vepa, StackMode::Private, StackMode::Bridge, StackMode::Passthru],
        demux: Demux::Lladdr,
        port_mode: false,
        same_lladdr: false,
        mtu_grows: false,
    },
    tap: false,
};

/// A name for the constants that need the platform.
struct Macvlan<P>(core::marker::PhantomData<P>);

impl<P: Platform> Macvlan<P> {
    const CLONER: &'static CloneType<P> =
        &CloneType::auto("macvlan", |td, request| stacked::create(td, request, MACVLAN), stacked::dellink);
}

/// The cloner of the kind.
pub(super) fn cloner<P: Platform>() -> &'static CloneType<P> {
    Macvlan::CLONER
}
