//! The hosts: what the emulated kernel stands on when it runs inside a process.
//!
//! [`threads`] runs it on OS threads, [`shuttle`] under a scheduler that the [explorer](crate::explore) controls.
//! Their packets are [`frame`]s.

pub mod frame;
mod parking;
pub mod shuttle;
pub mod threads;
mod watch;
