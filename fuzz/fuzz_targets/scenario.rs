//! The parser and the runner on hostile text: an error or a run that ends, never a Rust panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(what) = ifnet_std::fuzz::scenario(bytes) {
        panic!("{what}");
    }
});
