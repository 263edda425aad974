//! The built-in drivers: each a cloner and nothing special.

use crate::clone::CloneType;
use crate::platform::Platform;

mod disc;
mod epair;
mod gif;
mod loopback;
mod simple;
pub mod tun;
mod veth;

pub use veth::veth_peer;

/// The cloners that every kernel has, in the order in which a vnet gets them.
pub fn builtin<P: Platform>() -> [&'static CloneType<P>; 8] {
    let [tun, tap, vmnet] = tun::cloners();
    [loopback::cloner(), disc::cloner(), epair::cloner(), gif::cloner(), tun, tap, vmnet, veth::cloner()]
}
