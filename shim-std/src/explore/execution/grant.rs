//! Points that are passed without asking.
//!
//! An execution has thousands of scheduling points, and at nearly all of them the running thread goes on: because no other
//! thread may run, because it is only observing, or because that is what was decided. Who decides can often say in advance
//! for how many points that holds. Such a *grant* is a number in a thread-local: a point takes one off, and nothing else is
//! touched. Only when none are left is the state of the execution looked at.
//!
//! What holds is what held when the grant was given. So whoever gets hold of the state ends the grant first and accounts for
//! the points that were passed under it; the next point asks again.

use core::cell::Cell;

thread_local! {
    /// Points that may still be passed, by the running thread of the execution that runs on this OS thread.
    static LEFT: Cell<u32> = const { Cell::new(0) };
}

/// Passes a point, if it was granted.
#[inline]
pub(crate) fn pass() -> bool {
    LEFT.with(|left| match left.get().checked_sub(1) {
        Some(rest) => {
            left.set(rest);
            true
        }
        None => false,
    })
}

/// Why points may be passed, and so how they count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// They are none: there is one thread, or it is observing.
    #[default]
    Nothing,
    /// No other thread may run: steps, but no decisions.
    Step,
    /// Decisions to stay.
    Decision,
}

/// The grant of the running thread.
#[derive(Debug, Default)]
pub(super) struct Grant {
    kind: Kind,
    size: u32,
}

impl Grant {
    /// As many points as this; more than fit into a number are granted in parts.
    pub(super) fn give(kind: Kind, size: u64) -> Self {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        LEFT.set(size);
        Self { kind, size }
    }

    /// Ends it: how many points were passed, and as what.
    pub(super) fn end(&mut self) -> (Kind, u32) {
        let Self { kind, size } = core::mem::take(self);
        (kind, size - LEFT.replace(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_passed_as_were_granted() {
        assert!(!pass(), "nothing was granted");
        let mut grant = Grant::give(Kind::Step, 2);
        assert_eq!([pass(), pass(), pass()], [true, true, false]);
        assert_eq!(grant.end(), (Kind::Step, 2));
        let mut grant = Grant::give(Kind::Decision, u64::MAX);
        assert!(pass());
        assert_eq!(grant.end(), (Kind::Decision, 1));
        assert!(!pass(), "it has ended");
        assert_eq!(grant.end(), (Kind::Nothing, 0));
    }
}
