//! The list, for elements of whatever type: one copy of this code serves all lists.
//!
//! The ends of a list and the links of its elements are slots for handles. Which type the elements have knows only
//! [`TailQ`](super::TailQ), which brings a function that finds the link in an element.
#![expect(unsafe_code, reason = "finds the links of elements of unknown type")]

use crate::epoch::{DomainRef, Section};
use crate::mem::published::{Slot, identity};
use crate::mem::shared::{AnyBorrowed, AnyShared};
use crate::platform::Platform;
use crate::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

/// Where an element is: the number of the list that it is on, or was on last, and above that number its state there. The
/// order of the steps is the order of the values.
mod state {
    /// On no list; `next`, `after` and `before` are empty.
    pub(super) const FREE: usize = 0;
    /// Being put on a list. The number is still that of the former one.
    pub(super) const ENTERING: usize = 1;
    /// On the list.
    pub(super) const LISTED: usize = 2;
    /// Being taken off; `next` is still good.
    pub(super) const LEAVING: usize = 3;
    /// Off the list; `next` may have been cleared.
    pub(super) const LEFT: usize = 4;
    /// Lists are numbered in steps of this.
    pub(super) const STEP: usize = 8;

    pub(super) const fn of(place: usize) -> usize {
        place % STEP
    }

    /// The number of the list.
    pub(super) const fn list(place: usize) -> usize {
        place - of(place)
    }
}

/// What an element carries.
///
/// # Invariants
///
/// All objects that are ever in the slots are of the domain whose identity is `domain`.
pub(super) struct Link<P: Platform> {
    /// The next element, for readers. Good until the element is off the list.
    next: Slot<P>,
    /// The same for writers, who take it out at the beginning of a removal, while `next` must stay.
    after: Slot<P>,
    /// The element before, for writers.
    before: Slot<P>,
    domain: usize,
    /// The list that the element is on, or was on last, and a [`state`].
    place: AtomicUsize,
    rank: AtomicIsize,
}

impl<P: Platform> Link<P> {
    pub(super) fn new(domain: &DomainRef<P>) -> Self {
        Self {
            next: Slot::new(),
            after: Slot::new(),
            before: Slot::new(),
            domain: identity(domain),
            place: AtomicUsize::new(state::FREE),
            rank: AtomicIsize::new(0),
        }
    }

    pub(super) fn is_listed(&self) -> bool {
        state::of(self.place.load(Ordering::Acquire)) != state::FREE
    }

    /// Begins to put the element on a list. False if it is on one.
    fn enter(&self) -> bool {
        let place = self.place.load(Ordering::Relaxed);
        state::of(place) == state::FREE && self.step(place, place + state::ENTERING)
    }

    fn step(&self, from: usize, to: usize) -> bool {
        self.place.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// What a list itself consists of.
///
/// # Invariants
///
/// 1. All objects that are ever in the slots are of the domain whose identity is `domain`.
/// 2. Outside of writers: from `head` along `next`, and from `tail` along `before`, the same elements are found; those and
///    no others are `LISTED` with this list's `id`, and their ranks grow along `next`. `after` equals `next`.
pub(super) struct Ends<P: Platform> {
    head: Slot<P>,
    /// As [`Link::after`], for the head.
    first: Slot<P>,
    tail: Slot<P>,
    domain: usize,
    len: AtomicUsize,
    /// A number that no other list of the domain has. Not the address: a list may be moved.
    id: usize,
}

impl<P: Platform> Ends<P> {
    pub(super) fn new(domain: &DomainRef<P>) -> Self {
        Self {
            head: Slot::new(),
            first: Slot::new(),
            tail: Slot::new(),
            domain: identity(domain),
            len: AtomicUsize::new(0),
            id: domain.unique_id().wrapping_mul(state::STEP),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    pub(super) fn contains(&self, link: &Link<P>) -> bool {
        link.place.load(Ordering::Acquire) == self.id + state::LISTED
    }

    /// Makes the element a member, before anybody can find it.
    fn admit(&self, link: &Link<P>, rank: isize) {
        // Release, and in this order: whoever sees the element in its new place sees that it has left the old one; and
        // whoever sees the new rank also sees what the old place has become.
        link.rank.store(rank, Ordering::Release);
        link.place.store(self.id + state::LISTED, Ordering::Release);
        self.count(1);
    }

    /// The number of elements changes. One writer at a time: no need for one step.
    fn count(&self, change: isize) {
        self.len.store(self.len().wrapping_add_signed(change), Ordering::Relaxed);
    }

    /// The rank of an element that is, or was last, on this list.
    fn rank_of(&self, link: &Link<P>) -> Option<isize> {
        let rank = link.rank.load(Ordering::Acquire);
        (state::list(link.place.load(Ordering::Acquire)) == self.id).then_some(rank)
    }

    /// Whether the element has been on this list at this rank all the time, so that what was read in its `next` is its
    /// successor.
    fn is_at(&self, link: &Link<P>, rank: isize) -> bool {
        let place = link.place.load(Ordering::Acquire);
        (place == self.id + state::LISTED || place == self.id + state::LEAVING) && self.rank_of(link) == Some(rank)
    }
}

/// Finds the link in an element.
///
/// # Safety
///
/// The element is of the type that the function was made for.
pub(super) type LinkOf<P> = for<'a> unsafe fn(AnyBorrowed<'a, P>) -> &'a Link<P>;

/// An element, and the rank at which a reader found it.
pub(super) struct Place<'g, P: Platform> {
    pub(super) element: AnyBorrowed<'g, P>,
    rank: isize,
}

impl<P: Platform> Clone for Place<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Platform> Copy for Place<'_, P> {}

/// The element the reader stood on is not where it was.
struct Gone;

/// A list, and how to find the links of its elements.
///
/// # Invariants
///
/// All that is ever on the list is of the type that `link_of` was made for, and so is all that is ever in the slots of the
/// links of its elements.
pub(super) struct Queue<'q, P: Platform> {
    ends: &'q Ends<P>,
    link_of: LinkOf<P>,
}

impl<'q, P: Platform> Queue<'q, P> {
    /// # Safety
    ///
    /// The invariant holds.
    pub(super) unsafe fn new(ends: &'q Ends<P>, link_of: LinkOf<P>) -> Self {
        Self { ends, link_of }
    }

    /// The link of an element. It was in a slot of the list, or whoever brings it has promised its type.
    ///
    /// # Panics
    ///
    /// If it belongs to another domain, so that objects of two domains are never in one slot.
    fn link<'a>(&self, element: AnyBorrowed<'a, P>) -> &'a Link<P> {
        // SAFETY: all elements are of the type that `link_of` was made for (invariant, or the promise).
        let link = unsafe { (self.link_of)(element) };
        assert!(link.domain == self.ends.domain, "object of another epoch domain");
        link
    }

    /// As [`TailQ::insert_tail`](super::TailQ::insert_tail).
    ///
    /// # Safety
    ///
    /// The element is of the type that `link_of` was made for.
    pub(super) unsafe fn insert_tail(&self, element: &AnyShared<P>) -> bool {
        let ends = self.ends;
        let Some(link) = self.begin(element) else { return false };
        let [as_tail, as_after, as_next] = element.thrice();
        let last = ends.tail.swap(Some(as_tail));
        let last_link = last.as_ref().map(|last| self.link(last.borrow()));
        ends.admit(link, last_link.map_or(0, |last| last.rank.load(Ordering::Relaxed).wrapping_add(1)));
        let (next, after) = last_link.map_or((&ends.head, &ends.first), |last| (&last.next, &last.after));
        after.swap(Some(as_after));
        next.swap(Some(as_next));
        link.before.put(last);
        true
    }

    /// As [`TailQ::insert_head`](super::TailQ::insert_head).
    ///
    /// # Safety
    ///
    /// The element is of the type that `link_of` was made for.
    pub(super) unsafe fn insert_head(&self, element: &AnyShared<P>) -> bool {
        let ends = self.ends;
        let Some(link) = self.begin(element) else { return false };
        let [as_first, as_before, as_head] = element.thrice();
        let second = ends.first.swap(Some(as_first));
        let second_link = second.as_ref().map(|second| self.link(second.borrow()));
        ends.admit(link, second_link.map_or(0, |second| second.rank.load(Ordering::Relaxed).wrapping_sub(1)));
        second_link.map_or(&ends.tail, |second| &second.before).swap(Some(as_before));
        link.next.put(second.clone());
        link.after.put(second);
        ends.head.swap(Some(as_head));
        true
    }

    /// Begins to put an element on the list; its link. `None` if it is on a list.
    fn begin<'a>(&self, element: &'a AnyShared<P>) -> Option<&'a Link<P>> {
        assert!(identity(element.domain()) == self.ends.domain, "object of another epoch domain");
        let link = self.link(element.borrow());
        link.enter().then_some(link)
    }

    /// As [`TailQ::remove`](super::TailQ::remove), of the element with this link.
    pub(super) fn remove(&self, link: &Link<P>) -> bool {
        let ends = self.ends;
        if link.domain != ends.domain || !link.step(ends.id + state::LISTED, ends.id + state::LEAVING) {
            return false;
        }
        let (before, after) = (link.before.take(), link.after.take());
        let before_link = before.as_ref().map(|before| self.link(before.borrow()));
        let (first, head) = before_link.map_or((&ends.first, &ends.head), |before| (&before.after, &before.next));
        let was_head = head.swap(after.clone());
        let after_link = after.as_ref().map(|after| self.link(after.borrow()));
        // Cloned, as `first` may be in it: mostly there is none, since lists are emptied from the head.
        let was_tail = after_link.map_or(&ends.tail, |after| &after.before).swap(before.clone());
        let was_first = first.swap(after);
        AnyShared::give_up([was_head, was_tail, was_first]);
        ends.count(-1);
        // Only now that the element cannot be found from the head any more may readers be sent back there: a search
        // must not come back to an element whose removal it would have to wait for.
        link.place.store(ends.id + state::LEFT, Ordering::Release);
        link.next.take();
        link.place.store(ends.id + state::FREE, Ordering::Release);
        true
    }

    /// Takes all elements off. One by one: elements of a list are not dropped inside each other, and none stays marked as
    /// listed.
    pub(super) fn clear(&self) {
        while let Some(first) = self.ends.first.take() {
            self.ends.first.swap(Some(first.clone()));
            if !self.remove(self.link(first.borrow())) {
                break;
            }
        }
    }

    /// As [`TailQ::next`](super::TailQ::next), of the element with this link.
    pub(super) fn next<'g>(&self, link: &Link<P>, section: &'g Section<'_, P>) -> Option<Place<'g, P>> {
        let rank = self.ends.rank_of(link)?;
        self.step(link, rank, section).unwrap_or_else(|Gone| self.search(rank, section))
    }

    /// What follows a place where a reader stands.
    pub(super) fn after<'g>(&self, place: Place<'g, P>, section: &'g Section<'_, P>) -> Option<Place<'g, P>> {
        self.step_from(place, section).unwrap_or_else(|Gone| self.search(place.rank, section))
    }

    /// The first element of a rank above `rank`. Starts over when an element on the way is removed under its feet,
    /// which takes a whole removal by a writer each time.
    fn search<'g>(&self, rank: isize, section: &'g Section<'_, P>) -> Option<Place<'g, P>> {
        let mut place = self.front(section)?;
        while place.rank.wrapping_sub(rank) <= 0 {
            place = self.step_from(place, section).unwrap_or_else(|Gone| self.front(section))?;
        }
        Some(place)
    }

    fn step_from<'g>(&self, at: Place<'g, P>, section: &'g Section<'_, P>) -> Result<Option<Place<'g, P>>, Gone> {
        self.step(self.link(at.element), at.rank, section)
    }

    /// One step along `next`, from an element that was at `rank`.
    fn step<'g>(&self, at: &Link<P>, rank: isize, section: &'g Section<'_, P>) -> Result<Option<Place<'g, P>>, Gone> {
        assert!(identity(section.domain()) == at.domain, "epoch section of another domain");
        // SAFETY: the section is of the domain of all objects that are ever in the slot (invariant of the link).
        let load = || unsafe { at.next.load(section) };
        loop {
            let next = load();
            if !self.ends.is_at(at, rank) {
                return Err(Gone);
            }
            let Some(next) = next else { return Ok(None) };
            // The rank that is found is that of this place only if the element is still what follows. If it is not, a
            // writer has changed the list meanwhile, and there is something else to see.
            if let Some(rank) = self.ends.rank_of(self.link(next))
                && load().is_some_and(|now| now.addr() == next.addr())
            {
                return Ok(Some(Place { element: next, rank }));
            }
        }
    }

    /// The first element of the list.
    pub(super) fn front<'g>(&self, section: &'g Section<'_, P>) -> Option<Place<'g, P>> {
        let ends = self.ends;
        assert!(identity(section.domain()) == ends.domain, "epoch section of another domain");
        // SAFETY: the section is of the domain of all objects that are ever in the slot (invariant 1).
        let load = || unsafe { ends.head.load(section) };
        loop {
            let first = load()?;
            if let Some(rank) = ends.rank_of(self.link(first))
                && load().is_some_and(|now| now.addr() == first.addr())
            {
                return Some(Place { element: first, rank });
            }
        }
    }
}
