//! Sequences of operations on one kernel, with the reference model as the oracle.
//!
//! Every four bytes are one operation: which, and three operands that count live objects (`ifnet_std::model`). After
//! each one the outcome and what can be seen must be the model's and the invariants must hold; at the end
//! no memory may be left. A panic of the emulated kernel is a crash.
//!
//! ```text
//! cargo +nightly fuzz run lifecycle fuzz/corpus/lifecycle fuzz/seeds/lifecycle
//! cargo +nightly fuzz fmt lifecycle fuzz/artifacts/lifecycle/crash-…    # prints it as a scenario
//! cargo +nightly fuzz tmin lifecycle fuzz/artifacts/lifecycle/crash-…
//! ```
//!
//! The seeds are: what every vnet begins and ends with; the life of a driver's interface, detached and attached again;
//! a pair torn apart by moves and by the death of either vnet; two interfaces of one name, by reclaim and by return;
//! groups over moves, and the refused destroy of a moved `lo0`.
#![no_main]

use ifnet_fuzz::compare;
use ifnet_std::model::Table;
use libfuzzer_sys::fuzz_target;

mod program;

/// What is chosen from.
const TABLE: Table = Table::Lifecycle;

fuzz_target!(|input: program::Input| compare(&input.0));
