//! The built-in drivers: each a cloner and nothing special.

use crate::Errno;
use crate::clone::CloneType;
use crate::platform::Platform;
use crate::thread::Thread;

mod disc;
mod epair;
mod ipvlan;
mod loopback;
mod macvlan;
mod simple;
mod stacked;
mod veth;

pub use stacked::stack_mode;
pub use veth::veth_peer;

/// The cloners that every kernel has, in the order in which a vnet gets them.
pub fn builtin<P: Platform>() -> [&'static CloneType<P>; 7] {
    [
        loopback::cloner(),
        disc::cloner(),
        epair::cloner(),
        veth::cloner(),
        ipvlan::cloner(),
        ipvlan::tap_cloner(),
        macvlan::cloner(),
    ]
}

/// Registers what the drivers want to be told, at boot.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn init<P: Platform>(td: &Thread<'_, P>) -> Result<(), Errno> {
    veth::init(td)?;
    stacked::init(td)
}
