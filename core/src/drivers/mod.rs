//! The built-in drivers: each a cloner and nothing special.

use crate::clone::CloneType;
use crate::platform::Platform;

mod disc;
mod epair;
mod gif;
mod loopback;
mod simple;
pub mod tun;

/// The cloners that every kernel has, in the order in which a vnet gets them.
pub fn builtin<P: Platform>() -> [&'static CloneType<P>; 7] {
    let [tun, tap, vmnet] = tun::cloners();
    [loopback::cloner(), disc::cloner(), epair::cloner(), gif::cloner(), tun, tap, vmnet]
}
