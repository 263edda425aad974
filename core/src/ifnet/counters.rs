//! Interface counters: `if_inc_counter` and `if_get_counter`.

use crate::sync::atomic::{AtomicUsize, Ordering};

/// A counter of an interface: `ift_counter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum IfCounter {
    /// Packets received.
    Ipackets,
    /// Input errors.
    Ierrors,
    /// Packets sent.
    Opackets,
    /// Output errors.
    Oerrors,
    /// Input packets dropped.
    Iqdrops,
    /// Output packets dropped.
    Oqdrops,
    /// Packets received that nobody wanted: of a VLAN that is not there.
    Noproto,
}

const COUNT: usize = IfCounter::Noproto as usize + 1;

/// The counters of one interface. They survive a move.
pub(crate) struct Counters([AtomicUsize; COUNT]);

impl Counters {
    pub(crate) fn new() -> Self {
        Self(core::array::from_fn(|_| AtomicUsize::new(0)))
    }

    pub(crate) fn add(&self, counter: IfCounter, by: usize) {
        self.0[counter as usize].fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, counter: IfCounter) -> usize {
        self.0[counter as usize].load(Ordering::Relaxed)
    }
}
