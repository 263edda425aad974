//! `epoch(9)`: read without locks, free when nobody can be reading any more.
//!
//! # The problem
//!
//! A reader finds an interface through a shared pointer, without a lock. A writer takes the pointer away and wants to
//! free the interface. It must wait until every reader that may have found it is done: a *grace period*. Counting
//! readers in the object itself would cost each of them a write to a contended cache line; here a reader only writes
//! to a record of its own.
//!
//! # The algorithm
//!
//! There is a global *epoch*, a number that grows. A reader that opens a section copies it into its record; when it
//! closes the section it writes zero there. The epoch may go from `e` to `e + 1` only if every record shows zero or
//! `e`. A callback queued in epoch `e` may be called when the epoch has reached `e + 2`.
//!
//! ```text
//! enter    state = announced(epoch);  F1                    (section.rs)
//! exit     state = 0                                        release
//! retire   take the pointer away;  F2;  lock;  put the callback on the list of epoch e;  unlock
//! advance  lock;  F3;  every state zero or announced(e)?    acquire
//!              then epoch = e + 1, and what was queued in e - 1 is ripe;  unlock
//! ```
//!
//! `F1`, `F2` and `F3` are `SeqCst` fences. The lock (any [`Platform::Mutex`]) serialises retiring and advancing.
//!
//! # Why it is right
//!
//! Claim: when a callback queued in epoch `e` is called, every section that can have seen the pointer has ended, and
//! all that was done in it *happens before* the callback. `SeqCst` fences have one total order `S`, consistent with
//! happens-before; let `A1` be the advance from `e` to `e + 1`, and `A2` the one from `e + 1` to `e + 2`.
//!
//! 1. *A section whose `F1` is after `F2` in `S` cannot see the pointer*: taking it away comes before `F2`, looking for
//!    it comes after `F1`, and a fence pair ordered like that forbids to read the older value. What is left are
//!    sections with `F1` before `F2`.
//! 2. The callback was queued in `e` under the lock, so `A1` and `A2` take the lock later, and their `F3` are after
//!    `F2` in `S`, hence after `F1`. By the rule of 1., both see the section's announcement or something newer there.
//! 3. *If `A1` or `A2` saw something newer*, the section had ended. Every store to a record is a release and the load
//!    an acquire, so all of the section happens before the advance, and (by the lock) before the callback. Done.
//! 4. *Otherwise both saw the announcement itself*, of some epoch `v`. `A1` went ahead, so `v = e`; `A2` went ahead, so
//!    `v = e + 1`. Both cannot be. So this does not happen.
//!
//! Step 4 is why it takes two advances: after `A1` alone, a section of epoch `e` may still be open. It does not ask how
//! fresh the epoch was that `enter` copied. A stale one is just another number that is not the current one: it holds
//! the epoch back until the section ends, which is slower but safe. For the same reason the copy may wrap around.
//!
//! Sections never wait for anything, so an advance that fails now succeeds once the sections open now have ended. The
//! same proof, with the caller of [`Domain::wait`] in the place of `F2`, makes that function's promise.
//!
//! # Three lists
//!
//! In epoch `e`, callbacks of `e` and of `e - 1` wait; older ones are ripe. Two lists are in use and the third is empty,
//! ready to be the list of `e + 1`. All of them are chained through a context inside the object (`limbo.rs`): to retire
//! something needs no memory, which is what a teardown path wants. Ripe callbacks are called in the order in which they
//! were queued, without the lock, by one thread at a time.
//!
//! # Who moves it along
//!
//! Nobody in particular: [`Domain::wait`], [`Domain::drain_callbacks`] and [`Domain::poll`] advance the epoch when they
//! can, and the last two call what is ripe. A host with a worker thread lets it poll after [`Platform::work_queued`].
//! There is one sleep channel for a domain. It is woken after an advance, after callbacks have been called, and, on
//! hosts that want it ([`Platform::ANNOUNCES_SECTIONS`]), after a section; these are all that a sleeper waits for.
//! Elsewhere a sleeper notices the end of a section because it polls.

mod handle;
mod limbo;
mod section;

use core::fmt;
use core::ptr::NonNull;

use crate::mem::{NoMem, TryVec};
use crate::platform::{Channel, Mutex, Platform};
use crate::sync::atomic::{AtomicUsize, Ordering, fence};

use limbo::{Callback, Limbo, List};
use section::{Record, announced};

pub use handle::DomainRef;
pub(crate) use limbo::Context;
pub use section::{NoReader, Reader, Section};

/// One instance of the algorithm: `epoch_t`. Readers of one domain do not hold back another.
///
/// Dropping it does not call callbacks that are still queued; but each of them belongs to an object that holds a
/// [`DomainRef`], so that this cannot happen.
pub struct Domain<P: Platform> {
    platform: P,
    /// A copy of [`Limbo::epoch`] for readers, cut to the word size. Written under the lock of `limbo`.
    epoch: AtomicUsize,
    records: TryVec<Record, P::Allocator>,
    limbo: P::Mutex<Limbo>,
    grace_periods: AtomicUsize,
    next_id: AtomicUsize,
}

impl<P: Platform> Domain<P> {
    fn try_new(platform: P, readers: usize) -> Result<Self, NoMem> {
        let mut records = TryVec::try_with_capacity(readers, platform.allocator())?;
        for _ in 0..readers {
            records.try_push(Record::new())?;
        }
        Ok(Self {
            platform,
            epoch: AtomicUsize::new(0),
            records,
            limbo: P::Mutex::new(Limbo::default()),
            grace_periods: AtomicUsize::new(0),
            next_id: AtomicUsize::new(1),
        })
    }

    /// The host.
    #[must_use]
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// `epoch_wait_preempt(9)`: returns when all sections that were open at the call have ended. Callbacks that have
    /// become ripe by that are left to [`poll`](Self::poll) and [`drain_callbacks`](Self::drain_callbacks).
    ///
    /// Sleeps; hold no [`Platform::Mutex`].
    ///
    /// # Panics
    ///
    /// The emulated kernel panics if the calling `reader` is in a section of this domain: it would wait for itself.
    pub fn wait(&self, reader: &Reader<P>) {
        if self.is_inside(reader) {
            self.platform
                .panic(format_args!("epoch_wait_preempt() called in the middle of an epoch section of the same epoch"));
        }
        self.platform.preempt();
        // F2 of the proof: what the caller did before comes before all sections that begin later.
        fence(Ordering::SeqCst);
        let target = self.limbo.lock().epoch + 2;
        self.platform.sleep(self.channel(), &mut || {
            let mut limbo = self.limbo.lock();
            let mut moved = false;
            while limbo.epoch < target && self.advance(&mut limbo) {
                moved = true;
            }
            let over = limbo.epoch >= target;
            drop(limbo);
            if moved {
                self.wake();
            }
            over
        });
        self.grace_periods.fetch_add(1, Ordering::Relaxed);
    }

    /// `epoch_drain_callbacks(9)`: returns when every callback that was queued before the call has been called.
    /// Callbacks that those callbacks queue are not waited for.
    ///
    /// Sleeps; hold no [`Platform::Mutex`], and nothing that a callback may want.
    ///
    /// # Panics
    ///
    /// The emulated kernel panics if `reader` is in a section of this domain, or in a callback that it calls from a
    /// drain: it would wait for itself. (A callback that drains with a reader of its own waits for ever.)
    pub fn drain_callbacks(&self, reader: &Reader<P>) {
        let same = core::ptr::eq(&raw const **reader.domain(), self);
        if self.is_inside(reader) {
            self.platform.panic(format_args!(
                "epoch_drain_callbacks() called in the middle of an epoch section of the same epoch"
            ));
        }
        if same && reader.draining.get() {
            self.platform.panic(format_args!("epoch_drain_callbacks() called from a callback of the same epoch"));
        }
        self.platform.preempt();
        // INVARIANT: callbacks are called in the order in which they were queued, so counting them is enough.
        let target = self.limbo.lock().queued;
        loop {
            let mut done = false;
            self.platform.sleep(self.channel(), &mut || {
                let mut limbo = self.limbo.lock();
                let mut moved = false;
                while limbo.done < target && limbo.ripe.is_empty() && limbo.is_waiting() && self.advance(&mut limbo) {
                    moved = true;
                }
                done = limbo.done >= target;
                let to_do = !limbo.ripe.is_empty() && !limbo.running;
                drop(limbo);
                if moved {
                    self.wake();
                }
                done || to_do
            });
            if done {
                break;
            }
            let _draining = Draining::begin(same.then_some(reader));
            self.run_ripe();
        }
    }

    /// Does what can be done now, without waiting: advances the epoch as far as callbacks need it, and calls those that
    /// are ripe. Returns whether that got anywhere, so that a worker says `while domain.poll() {}`.
    ///
    /// Does not sleep. Hold no [`Platform::Mutex`] and nothing that a callback may want.
    pub fn poll(&self) -> bool {
        self.platform.preempt();
        let mut limbo = self.limbo.lock();
        let mut moved = false;
        while limbo.ripe.is_empty() && limbo.is_waiting() && self.advance(&mut limbo) {
            moved = true;
        }
        drop(limbo);
        if moved {
            self.wake();
        }
        // Not `||`: both are to be done.
        self.run_ripe() | moved
    }

    /// How many callbacks have been queued that have not been called yet, or have not returned.
    #[must_use]
    pub fn pending(&self) -> usize {
        let limbo = self.limbo.lock();
        usize::try_from(limbo.queued - limbo.done).unwrap_or(usize::MAX)
    }

    /// How many calls of [`wait`](Self::wait) have returned. For benchmarks: batches must not wait once per member.
    #[must_use]
    pub fn grace_periods(&self) -> usize {
        self.grace_periods.load(Ordering::Relaxed)
    }

    /// A number that no other caller gets from this domain. Never zero (before it wraps around).
    pub(crate) fn unique_id(&self) -> usize {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// `epoch_call(9)`: has `run` called with `context` after a grace period.
    ///
    /// # Safety
    ///
    /// 1. The caller has claimed `context`, and `run` is the first to release it.
    /// 2. `context` stays alive, and `run` may be called with it, on any thread, until that has happened.
    #[expect(unsafe_code, reason = "takes a context that lives inside a foreign object")]
    pub(crate) unsafe fn call(&self, context: NonNull<Context>, run: Callback) {
        self.platform.preempt();
        // F2 of the proof.
        fence(Ordering::SeqCst);
        // SAFETY: the caller's promises are those that the list asks for.
        unsafe { self.limbo.lock().push(context, run) };
        self.platform.work_queued();
    }

    /// Lets every sleeper of this domain look again: an object that somebody may wait for has changed.
    pub(crate) fn wake_sleepers(&self) {
        self.platform.wakeup(self.channel());
    }

    /// What sleepers of this domain sleep on.
    pub(crate) fn channel(&self) -> Channel {
        Channel::of(&self.limbo)
    }

    /// Tries to begin the next epoch. If that succeeds, [`wake`](Self::wake) is due after unlocking.
    fn advance(&self, limbo: &mut Limbo) -> bool {
        self.platform.preempt();
        let now = self.epoch.load(Ordering::Relaxed);
        // F3 of the proof: comes after F2 of everything queued so far.
        fence(Ordering::SeqCst);
        if self.records.iter().any(|record| record.holds_back(announced(now))) {
            return false;
        }
        limbo.turn();
        self.epoch.store(now.wrapping_add(1), Ordering::Relaxed);
        true
    }

    fn wake(&self) {
        self.platform.wakeup(self.channel());
    }

    /// Calls what is ripe, unless somebody else is at it. Returns whether it called anything.
    fn run_ripe(&self) -> bool {
        let mut limbo = self.limbo.lock();
        if limbo.running || limbo.ripe.is_empty() {
            return false;
        }
        limbo.running = true;
        let batch = core::mem::take(&mut limbo.ripe);
        drop(limbo);
        Runner { domain: self, batch, called: 0 }.run();
        true
    }

    fn is_inside(&self, reader: &Reader<P>) -> bool {
        reader.depth() != 0 && core::ptr::eq(&raw const **reader.domain(), self)
    }
}

impl<P: Platform> fmt::Debug for Domain<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Domain").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// The one who calls callbacks. If one of them panics (and the host unwinds), the rest goes back on the list.
struct Runner<'a, P: Platform> {
    domain: &'a Domain<P>,
    batch: List,
    called: u64,
}

impl<P: Platform> Runner<'_, P> {
    fn run(mut self) {
        while let Some((context, callback)) = self.batch.pop() {
            self.called += 1;
            self.domain.platform.preempt();
            #[expect(unsafe_code, reason = "calls what `Domain::call` was given")]
            // SAFETY:
            // 1. `Domain::call` was promised that the callback may be called with this context, once, on any thread.
            // 2. The grace period is over: the context was on the list of ripe ones.
            unsafe {
                callback(context);
            }
        }
    }
}

impl<P: Platform> Drop for Runner<'_, P> {
    fn drop(&mut self) {
        let mut limbo = self.domain.limbo.lock();
        // INVARIANT: `ripe` stays ordered: what is left of the batch is older than what became ripe meanwhile.
        let newer = core::mem::replace(&mut limbo.ripe, core::mem::take(&mut self.batch));
        limbo.ripe.append(newer);
        limbo.done += self.called;
        limbo.running = false;
        drop(limbo);
        self.domain.wake();
    }
}

/// Marks the reader of a drain while callbacks are being called, even if one of them unwinds.
struct Draining<'a, P: Platform>(Option<&'a Reader<P>>);

impl<'a, P: Platform> Draining<'a, P> {
    fn begin(reader: Option<&'a Reader<P>>) -> Self {
        if let Some(reader) = reader {
            reader.draining.set(true);
        }
        Self(reader)
    }
}

impl<P: Platform> Drop for Draining<'_, P> {
    fn drop(&mut self) {
        if let Some(reader) = self.0 {
            reader.draining.set(false);
        }
    }
}

#[cfg(test)]
mod tests;
