//! Input whose operations are chosen while it runs, so that only a run of it says what they are. `cargo fuzz fmt` and a
//! failing target print that: the scenario that the bytes come to.

use core::fmt;

use arbitrary::{Arbitrary, Unstructured};
use ifnet_fuzz::scenario_of;

/// The whole input.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Arbitrary<'a> for Input<'a> {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        bytes.bytes(bytes.len()).map(Self)
    }

    fn arbitrary_take_rest(bytes: Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self(bytes.take_rest()))
    }

    fn size_hint(_: usize) -> (usize, Option<usize>) {
        (0, None)
    }
}

impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&scenario_of(crate::TARGET, self.0))
    }
}
