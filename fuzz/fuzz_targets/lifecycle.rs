//! Sequences of operations on one kernel, with the reference model as the oracle.
//!
//! Every four bytes are one operation: which, and three operands that count live objects (`ifnet_std::model`). After
//! each one the outcome and the complete observable state must be the model's and the invariants must hold; at the end
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

use core::fmt;

use arbitrary::{Arbitrary, Unstructured};
use ifnet_std::model::{Program, check};
use libfuzzer_sys::fuzz_target;

/// The whole input, so that seeds and artifacts are the plain bytes of a program.
struct Input(Program);

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Self::arbitrary_take_rest(Unstructured::new(bytes.bytes(bytes.len())?))
    }

    fn arbitrary_take_rest(bytes: Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self(Program::from_bytes(bytes.take_rest())))
    }

    fn size_hint(_: usize) -> (usize, Option<usize>) {
        (0, None)
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fuzz_target!(|input: Input| {
    if let Err(difference) = check(&input.0) {
        panic!("{difference}");
    }
});
