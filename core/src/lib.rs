//! The interface life cycle of FreeBSD, out of the kernel.
#![no_std]

pub mod epoch;
pub mod errno;
pub mod mem;
pub mod platform;
pub mod sync;
#[cfg(all(test, not(ifnet_loom)))]
mod testing;
pub mod trace;

pub use errno::Errno;
pub use platform::Platform;
