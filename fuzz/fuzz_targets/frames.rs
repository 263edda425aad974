//! Frames through the graph of drivers while it changes.
//!
//! Every eight bytes are a command: a change of the graph, or a frame into it (`ifnet_std::fuzz`). Each frame must end once,
//! arrive where it should and nowhere else, and be counted; the invariants must hold and nothing may be left.
//!
//! ```text
//! cargo +nightly fuzz run frames fuzz/corpus/frames fuzz/seeds/frames
//! ifnet replay fuzz/artifacts/frames/crash-…       # what was wrong, and the scenario
//! ifnet minimize fuzz/artifacts/frames/crash-…     # the same with fewer commands
//! ```
#![no_main]

use ifnet_fuzz::pass;
use ifnet_std::fuzz::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| pass(Target::Frames, bytes));
