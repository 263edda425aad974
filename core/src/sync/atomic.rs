//! The atomics of the core: `core`'s, or loom's when the weak-memory models are built.

#[cfg(not(ifnet_loom))]
pub use core::sync::atomic::*;
#[cfg(ifnet_loom)]
pub use loom::sync::atomic::*;
