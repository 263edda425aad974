//! Where callbacks wait: intrusive first-in-first-out lists, and the three of them that wait for their epoch.
#![expect(unsafe_code, reason = "lists of nodes that live inside other objects")]

use core::cell::UnsafeCell;
use core::ptr::NonNull;

use crate::sync::atomic::{AtomicBool, Ordering};

/// What a queued callback does: it is given the context that it was queued with.
pub(crate) type Callback = unsafe fn(NonNull<Context>);

/// Room for one callback inside the object that the callback is about: `epoch_context_t`.
///
/// # Invariants
///
/// * `next` and `run` belong to the list that holds the context while `queued` is set, and to nobody otherwise.
/// * A context on a list lives until its callback has been called.
pub(crate) struct Context {
    next: UnsafeCell<Option<NonNull<Self>>>,
    run: UnsafeCell<Callback>,
    queued: AtomicBool,
}

impl Context {
    pub(crate) fn new() -> Self {
        unsafe fn nothing(_: NonNull<Context>) {}
        Self { next: UnsafeCell::new(None), run: UnsafeCell::new(nothing), queued: AtomicBool::new(false) }
    }

    /// Claims the context for one callback. False if it is still queued for an earlier one.
    pub(crate) fn claim(&self) -> bool {
        !self.queued.swap(true, Ordering::AcqRel)
    }

    /// Gives the context back, so that it can be queued again. The first thing that a callback does.
    pub(crate) fn release(&self) {
        self.queued.store(false, Ordering::Release);
    }
}

/// A first-in-first-out list of queued contexts.
///
/// # Invariants
///
/// `ends` is the first and the last node of a chain through `Context::next`; the last one's `next` is `None`. Every node
/// is alive, claimed, and on no other list.
#[derive(Default)]
pub(super) struct List {
    ends: Option<(NonNull<Context>, NonNull<Context>)>,
}

// SAFETY:
// 1. A list owns its nodes' `next` and `run` (invariant of `Context`), so moving the list moves them along.
// 2. What a callback may do on another thread is the promise of the one who queues it: see `Domain::call`.
unsafe impl Send for List {}

impl List {
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_none()
    }

    /// Appends one context.
    ///
    /// # Safety
    ///
    /// The caller has claimed `context`, it is on no list, and it stays alive until it has been popped.
    pub(super) unsafe fn push(&mut self, context: NonNull<Context>, run: Callback) {
        // SAFETY:
        // 1. The context is alive and claimed by the caller, so nobody else touches the two cells.
        // 2. Only a shared reference is made: other threads may be looking at `queued`.
        unsafe {
            *context.as_ref().next.get() = None;
            *context.as_ref().run.get() = run;
        }
        self.append(Self { ends: Some((context, context)) });
    }

    /// Moves all of `other` behind the end of this list.
    pub(super) fn append(&mut self, other: Self) {
        let Some((other_first, other_last)) = other.ends else { return };
        self.ends = match self.ends {
            None => Some((other_first, other_last)),
            Some((first, last)) => {
                // SAFETY: `last` is alive and its `next` is ours (invariants of `List` and `Context`).
                unsafe { *last.as_ref().next.get() = Some(other_first) };
                Some((first, other_last))
            }
        };
    }

    /// Takes the first context off, with what it wants to have called.
    pub(super) fn pop(&mut self) -> Option<(NonNull<Context>, Callback)> {
        let (first, last) = self.ends?;
        // SAFETY: `first` is alive and its cells are ours (invariants of `List` and `Context`).
        let (next, run) = unsafe { (*first.as_ref().next.get(), *first.as_ref().run.get()) };
        self.ends = next.map(|next| (next, last));
        Some((first, run))
    }
}

/// All callbacks of a domain that have not been called yet, and the epoch they are measured by.
///
/// # Invariants
///
/// * `waiting[e % 3]` holds what was queued in epoch `e`, for the current epoch and the one before it; the third list
///   is empty. `ripe` holds what was queued earlier, oldest first.
/// * `queued - done` callbacks are on the lists or in the hands of the one runner.
#[derive(Default)]
pub(super) struct Limbo {
    /// The true value of the global epoch. It only grows, and it cannot overflow.
    pub(super) epoch: u64,
    /// `epoch % 3`: a small machine has no division of 64 bits.
    slot: u8,
    waiting: [List; 3],
    /// Callbacks whose grace period is over.
    pub(super) ripe: List,
    /// How many callbacks were ever queued, and how many of them have been called and have returned.
    pub(super) queued: u64,
    pub(super) done: u64,
    /// Somebody is calling callbacks.
    pub(super) running: bool,
}

impl Limbo {
    /// Queues a callback in the current epoch.
    ///
    /// # Safety
    ///
    /// As for [`List::push`].
    pub(super) unsafe fn push(&mut self, context: NonNull<Context>, run: Callback) {
        // SAFETY: passed on from the caller.
        unsafe { self.waiting[usize::from(self.slot)].push(context, run) };
        self.queued += 1;
    }

    /// Begins the next epoch: what was queued in the epoch before the one that ends now is ripe.
    pub(super) fn turn(&mut self) {
        // INVARIANT: the list of epoch `e + 1` is that of `e - 2`, which became ripe when `e` began.
        self.epoch += 1;
        self.slot = Self::following(self.slot);
        let oldest = core::mem::take(&mut self.waiting[usize::from(Self::following(self.slot))]);
        self.ripe.append(oldest);
    }

    /// Whether some callback still has to wait for the epoch to change.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.iter().any(|list| !list.is_empty())
    }

    fn following(slot: u8) -> u8 {
        (slot + 1) % 3
    }
}
