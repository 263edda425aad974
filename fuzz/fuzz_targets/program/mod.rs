//! Input that is a program of the reference model, so that seeds and artifacts are its plain bytes, and `cargo fuzz fmt`
//! prints it as a scenario.

use core::fmt;

use arbitrary::{Arbitrary, Unstructured};
use ifnet_std::model::Program;

/// The whole input.
pub(crate) struct Input(pub(crate) Program);

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Self::arbitrary_take_rest(Unstructured::new(bytes.bytes(bytes.len())?))
    }

    fn arbitrary_take_rest(bytes: Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self(Program::from_bytes(crate::TABLE, bytes.take_rest())))
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
