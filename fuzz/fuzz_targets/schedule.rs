//! A program for up to four threads *and* every scheduling decision come from the input (`ifnet_std::fuzz::input`).
//!
//! A panic of the emulated kernel, a dead-lock, a broken invariant, a use of what was freed, and whatever is left at the
//! end are crashes. `IFNET_HAZARDS=name,…` opens historical bugs, to see that they are found.
//!
//! ```text
//! cargo +nightly fuzz run schedule fuzz/corpus/schedule fuzz/seeds/schedule
//! cargo +nightly fuzz fmt schedule fuzz/artifacts/schedule/crash-…    # the scenario
//! ifnet replay fuzz/artifacts/schedule/crash-…       # the story
//! ifnet minimize fuzz/artifacts/schedule/crash-…     # the same with fewer operations
//! ```
#![no_main]

use ifnet_fuzz::{change, play};
use ifnet_std::fuzz::Target;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

mod played;

/// What the bytes are played as.
const TARGET: Target = Target::Schedule;

fuzz_target!(|input: played::Input<'_>| play(TARGET, input.0));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { change(data, size, max_size, seed) });
