//! Stacks that span vnets, against the reference model: what goes with what, and when.
//!
//! The operations are those of `lifecycle`, chosen by another table: vnets, pairs, uppers of interfaces in other vnets,
//! VLANs, bridges and aggregates are made, moved and torn down in any order. A lower interface or a vnet that dies takes
//! with it what stands there; elsewhere it waits for the work of that vnet.
//!
//! ```text
//! cargo +nightly fuzz run unregister fuzz/corpus/unregister fuzz/seeds/unregister
//! ```
#![no_main]

use ifnet_fuzz::compare;
use ifnet_std::model::Table;
use libfuzzer_sys::fuzz_target;

mod program;

/// What is chosen from.
const TABLE: Table = Table::Unregister;

fuzz_target!(|input: program::Input| compare(&input.0));
