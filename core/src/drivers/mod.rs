//! The built-in drivers: each a cloner and nothing special.

use crate::Errno;
use crate::clone::CloneType;
use crate::epoch::Section;
use crate::ifnet::Ifp;
use crate::platform::Platform;
use crate::thread::Thread;

mod bridge;
mod disc;
mod epair;
mod gif;
mod ipvlan;
mod lagg;
mod loopback;
mod macvlan;
mod simple;
mod stack;
mod stacked;
pub mod tun;
mod veth;
mod vlan;
mod vlan8021q;

pub use bridge::{bridge_addm, bridge_delm};
pub use lagg::{lagg_addport, lagg_delport};
pub use stacked::stack_mode;
pub use veth::veth_peer;
pub use vlan::{vlan_config, vlan_parent, vlan_unconfig};
pub use vlan8021q::vlan8021q_lower;

/// The cloners that every kernel has, in the order in which a vnet gets them.
pub fn builtin<P: Platform>() -> [&'static CloneType<P>; 15] {
    let [tun, tap, vmnet] = tun::cloners();
    [
        loopback::cloner(),
        disc::cloner(),
        epair::cloner(),
        gif::cloner(),
        tun,
        tap,
        vmnet,
        vlan::cloner(),
        bridge::cloner(),
        lagg::cloner(),
        veth::cloner(),
        ipvlan::cloner(),
        ipvlan::tap_cloner(),
        macvlan::cloner(),
        vlan8021q::cloner(),
    ]
}

/// What the drivers do once, when the kernel boots: their event handlers.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn init<P: Platform>(td: &Thread<'_, P>) -> Result<(), Errno> {
    stack::init(td)?;
    veth::init(td)?;
    stacked::init(td)?;
    vlan8021q::init(td)
}

/// Whether driver, hook and adjacency of every membership of an interface agree (I16); what is wrong.
pub(crate) fn check<P: Platform>(ifp: &Ifp<P>, section: &Section<'_, P>) -> Result<(), &'static str> {
    vlan::check(ifp, section)?;
    vlan8021q::check(ifp, section)?;
    bridge::check(ifp, section)?;
    lagg::check(ifp, section)?;
    stacked::check(ifp, section)
}
