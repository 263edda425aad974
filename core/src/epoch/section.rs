//! The readers' side: a record for each reader, and the sections it opens and closes.

use core::cell::Cell;
use core::fmt;

use super::{Domain, DomainRef};
use crate::platform::Platform;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

/// What a reader tells the others, on cache lines of its own: on large machines two, because their processors fetch them in
/// pairs; on small ones, which may have none, a short one.
///
/// # Invariants
///
/// While `claimed` is set, only the one [`Reader`] that claimed the record writes `state`.
#[cfg_attr(target_pointer_width = "64", repr(align(128)))]
#[cfg_attr(not(target_pointer_width = "64"), repr(align(32)))]
pub(super) struct Record {
    claimed: AtomicBool,
    /// Zero outside a section; inside one, [`announced`] of the epoch that its beginning saw.
    state: AtomicUsize,
}

/// How an epoch looks in [`Record::state`]: never zero. Only compared for equality, so it may wrap around.
pub(super) fn announced(epoch: usize) -> usize {
    (epoch << 1) | 1
}

impl Record {
    pub(super) fn new() -> Self {
        Self { claimed: AtomicBool::new(false), state: AtomicUsize::new(0) }
    }

    /// Takes the record for a new reader. False if it is in use.
    fn claim(&self) -> bool {
        self.claimed.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Whether the reader is in a section that began in another epoch than the one that is announced as `now`.
    ///
    /// The caller has issued a `SeqCst` fence. Acquire: what the reader did in sections that have ended comes before.
    pub(super) fn holds_back(&self, now: usize) -> bool {
        let state = self.state.load(Ordering::Acquire);
        state != 0 && state != now
    }
}

/// The right to open sections in a domain: one for each thread (or CPU) that reads. It cannot be shared by threads,
/// but it may be handed from one to another between sections.
pub struct Reader<P: Platform> {
    domain: DomainRef<P>,
    record: usize,
    /// How many sections are open.
    depth: Cell<usize>,
    /// This reader's thread is calling callbacks from a drain.
    pub(super) draining: Cell<bool>,
}

/// All records of a domain are taken: more threads than it was created for want to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoReader;

impl fmt::Display for NoReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("all reader records of the epoch domain are in use")
    }
}

impl core::error::Error for NoReader {}

impl<P: Platform> Domain<P> {
    /// Takes one of the domain's reader records. It is given back when the reader is dropped.
    ///
    /// # Errors
    ///
    /// [`NoReader`] if there are as many readers already as the domain was created for.
    pub fn register(domain: &DomainRef<P>) -> Result<Reader<P>, NoReader> {
        let record = domain.records.iter().position(Record::claim).ok_or(NoReader)?;
        Ok(Reader { domain: domain.clone(), record, depth: Cell::new(0), draining: Cell::new(false) })
    }
}

impl<P: Platform> Reader<P> {
    /// `epoch_enter_preempt(9)`: opens a section. What a [`Published`](crate::mem::Published) slot shows inside it
    /// stays valid until it is closed. Sections of one reader may nest. Never blocks, takes no lock.
    pub fn enter(&self) -> Section<'_, P> {
        let depth = self.depth.get();
        if depth == 0 {
            let platform = self.domain.platform();
            platform.preempt();
            // Relaxed, and possibly an old value: an old epoch holds back more than is needed, never less.
            let now = self.domain.epoch.load(Ordering::Relaxed);
            // Release, so that whoever sees this section knows that the one before it has ended.
            self.record().state.store(announced(now), Ordering::Release);
            // F1 of the proof: the announcement comes before every read in the section.
            fence(Ordering::SeqCst);
        }
        self.depth.set(depth + 1);
        Section { reader: self }
    }

    /// How many sections are open.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth.get()
    }

    /// The domain this reader belongs to.
    #[must_use]
    pub fn domain(&self) -> &DomainRef<P> {
        &self.domain
    }

    fn record(&self) -> &Record {
        &self.domain.records[self.record]
    }

    /// Closes the outermost section.
    fn leave(&self) {
        let platform = self.domain.platform();
        platform.preempt();
        // Release: everything read in the section comes before whatever is done after it has been seen to end.
        self.record().state.store(0, Ordering::Release);
        if P::ANNOUNCES_SECTIONS {
            platform.wakeup(self.domain.channel());
        }
    }
}

impl<P: Platform> Drop for Reader<P> {
    fn drop(&mut self) {
        // A section that was forgotten (`mem::forget`) is over: nothing borrowed from it can outlive the reader.
        if self.depth.get() != 0 {
            self.leave();
        }
        // Release: the next one to claim the record must come after our last store to it.
        self.record().claimed.store(false, Ordering::Release);
    }
}

impl<P: Platform> fmt::Debug for Reader<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("record", &self.record).field("depth", &self.depth).finish_non_exhaustive()
    }
}

/// An open section. Dropping it closes the section: `epoch_exit_preempt(9)`.
///
/// It cannot leave its thread, because the reader it borrows cannot be shared.
#[must_use = "the section ends when this is dropped"]
pub struct Section<'a, P: Platform> {
    reader: &'a Reader<P>,
}

impl<'a, P: Platform> Section<'a, P> {
    /// The reader that opened the section.
    #[must_use]
    pub fn reader(&self) -> &'a Reader<P> {
        self.reader
    }

    /// The domain whose objects this section protects.
    #[must_use]
    pub fn domain(&self) -> &'a DomainRef<P> {
        &self.reader.domain
    }
}

impl<P: Platform> Drop for Section<'_, P> {
    fn drop(&mut self) {
        let depth = self.reader.depth.get() - 1;
        self.reader.depth.set(depth);
        if depth == 0 {
            self.reader.leave();
        }
    }
}

impl<P: Platform> fmt::Debug for Section<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section").field("reader", self.reader).finish()
    }
}
