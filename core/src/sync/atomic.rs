//! The atomics of the core: `core`'s own, or [loom](https://docs.rs/loom)'s under `--cfg ifnet_loom`.
//!
//! Only this module knows of the difference. loom replays every interleaving *and* every value that the memory model
//! lets a load return, so what passes under it does not lean on the strong ordering of the machine it was written on.
//! Two rules follow for the whole crate. Constructors are not `const` (loom registers each object with the running
//! model), so nothing shared lives in a `static`. And total orders come from [`fence`]`(SeqCst)`, never from a
//! `SeqCst` access, because loom treats the latter as `AcqRel`.

#[cfg(not(ifnet_loom))]
pub use core::sync::atomic::{
    AtomicBool, AtomicIsize, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicUsize, Ordering, fence,
};

#[cfg(ifnet_loom)]
pub use loom::sync::atomic::{
    AtomicBool, AtomicIsize, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicUsize, Ordering, fence,
};
