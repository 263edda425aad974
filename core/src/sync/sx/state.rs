//! The record behind an sx: who holds it, who waits, and whose turn it is.

use crate::platform::ThreadId;

/// Who holds an sx and who waits for it.
///
/// # Invariants
///
/// * `owner` is set only while `sharers` is 0.
/// * `next_ticket - serving` (wrapping) writers wait, each with a ticket of its own from `serving` on.
/// * `passes <= readers_waiting`: as many of the waiting readers are of an earlier phase and may enter before writers.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The thread that holds the lock exclusively.
    pub(super) owner: Option<ThreadId>,
    /// How many threads hold the lock shared.
    pub(super) sharers: u32,
    /// The ticket of the next writer that has to wait.
    pub(super) next_ticket: u32,
    /// The ticket of the waiting writer whose turn is next.
    pub(super) serving: u32,
    /// How many readers wait.
    pub(super) readers_waiting: u32,
    /// How many waiting readers may enter although writers wait.
    pub(super) passes: u32,
    /// Counts the ends of exclusive ownership. A reader that began to wait before the last one has a pass.
    pub(super) phase: u32,
}

impl State {
    pub(super) const fn is_free(&self) -> bool {
        self.owner.is_none() && self.sharers == 0
    }

    pub(super) const fn writers_wait(&self) -> bool {
        self.next_ticket != self.serving
    }

    pub(super) const fn somebody_waits(&self) -> bool {
        self.writers_wait() || self.readers_waiting > 0
    }

    /// The exclusive owner has left or became a sharer: the readers that wait now go before the next writer.
    pub(super) const fn end_phase(&mut self) {
        self.owner = None;
        self.phase = self.phase.wrapping_add(1);
        self.passes = self.readers_waiting;
    }
}
