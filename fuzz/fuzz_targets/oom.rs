//! One thread; the input picks the operations, and which allocations of each of them fail.
//!
//! What fails for lack of memory must say `ENOMEM`, must work when the memory is back, and must leave every invariant and
//! no memory. The format is that of `schedule`; the fields for switches are those for allocations. As a scenario it is
//! made of `nomem` lines, and `ifnet minimize FILE --scenario OUT` gives one that fails in the same way.
#![no_main]

use ifnet_fuzz::{change, play};
use ifnet_std::fuzz::Target;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

mod played;

/// What the bytes are played as.
const TARGET: Target = Target::Oom;

fuzz_target!(|input: played::Input<'_>| play(TARGET, input.0));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { change(data, size, max_size, seed) });
