//! The lock-free parts under [loom]: every interleaving and every value that the memory model allows.
//!
//! `RUSTFLAGS="--cfg ifnet_loom" cargo test -p ifnet --release --test loom`
//!
//! Bound: at most four preemptions in an execution (`LOOM_MAX_PREEMPTIONS`, if it is set, takes the place of that), two
//! or three threads, one or two sections each. What needs more switches than that to fail is not found here.
//!
//! The models are worth something only if they fail when they should; the head of each file says which change of the
//! code makes which of them fail.
#![cfg(ifnet_loom)]
#![expect(unsafe_code, reason = "a test allocator, and the cell of a model checker")]
#![expect(unreachable_pub, reason = "a test has no outside")]

mod epoch;
mod host;
mod index;
mod quiet;
mod sx;
mod tailq;
