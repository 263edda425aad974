//! Does nothing: what the fuzzer itself costs, for `.ci/fuzz-rates`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|_input: &[u8]| {});
