//! The built-in drivers: each a cloner and nothing special.

use crate::clone::CloneType;
use crate::platform::Platform;

mod disc;
mod epair;
mod loopback;
mod simple;
mod veth;

pub use veth::veth_peer;

/// The cloners that every kernel has, in the order in which a vnet gets them.
pub fn builtin<P: Platform>() -> [&'static CloneType<P>; 4] {
    [loopback::cloner(), disc::cloner(), epair::cloner(), veth::cloner()]
}
