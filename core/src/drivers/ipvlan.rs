//! `ipvlan` and `ipvtap`: uppers that share a lower interface and its link-level address, told apart by their network
//! addresses. The two differ in where packets go, and can be mixed on one port.

use crate::clone::{CloneType, StackMode};
use crate::platform::Platform;

use super::stacked::{self, Demux, Family, Kind};

const FAMILY: Family = Family {
    name: "ipvlan",
    uninit: "ipvlan_uninit",
    modes: &[StackMode::L3, StackMode::L2, StackMode::L3s],
    demux: Demux::Inet,
    port_mode: true,
    same_lladdr: true,
    mtu_grows: true,
};

const IPVLAN: &Kind = &Kind { family: &FAMILY, tap: false };
const IPVTAP: &Kind = &Kind { family: &FAMILY, tap: true };

/// A name for the constants that need the platform.
struct Ipvlan<P>(core::marker::PhantomData<P>);

impl<P: Platform> Ipvlan<P> {
    const CLONER: &'static CloneType<P> =
        &CloneType::auto("ipvlan", |td, request| stacked::create(td, request, IPVLAN), stacked::dellink);

    const TAP_CLONER: &'static CloneType<P> =
        &CloneType::auto("ipvtap", |td, request| stacked::create(td, request, IPVTAP), stacked::dellink);
}

/// The cloner of `ipvlan`.
pub(super) fn cloner<P: Platform>() -> &'static CloneType<P> {
    Ipvlan::CLONER
}

/// The cloner of `ipvtap`.
pub(super) fn tap_cloner<P: Platform>() -> &'static CloneType<P> {
    Ipvlan::TAP_CLONER
}
