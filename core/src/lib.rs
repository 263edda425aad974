//! The interface life cycle of FreeBSD, out of the kernel.
#![no_std]

pub mod errno;
pub mod platform;
pub mod sync;
pub mod trace;

pub use errno::Errno;
pub use platform::Platform;
