//! What threads share and wait for: the thread handle, `sx(9)`, the lock-order witness, the atomics.
//!
//! Lowest room but one: it knows the [`Platform`](crate::Platform) and nothing of interfaces. All waiting goes through
//! [`Platform::sleep`](crate::Platform::sleep), so that the same code runs on bare metal, on threads, and under a model
//! checker that chooses the schedule.

pub mod atomic;
mod sx;
mod td;
mod witness;

pub use sx::{SGuard, Sx, SxAssert, XGuard};
pub use td::Td;
pub use witness::{LockClass, Witness};
