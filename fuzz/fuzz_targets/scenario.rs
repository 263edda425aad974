//! The parser and the runner on hostile text: an error or a run that ends, never a Rust panic.
#![no_main]

use ifnet_fuzz::pass;
use ifnet_std::fuzz::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| pass(Target::Scenario, bytes));
