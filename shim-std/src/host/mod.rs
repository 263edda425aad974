//! The hosts: implementations of [`Platform`](ifnet::Platform) on an operating system.

mod parking;
pub mod threads;
mod watch;
