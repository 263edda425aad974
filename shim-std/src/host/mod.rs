//! The hosts: what the emulated kernel stands on when it runs inside a process.

use ifnet::platform::ThreadId;

pub mod shuttle;

/// The payload of the Rust panic that carries a panic of the emulated kernel: `panic(9)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelPanic {
    /// The text, as FreeBSD words it.
    pub message: String,
    /// The thread that panicked.
    pub thread: ThreadId,
}
