//! A tail queue that readers walk without a lock: the role of `CK_STAILQ` in FreeBSD, with removal in constant time.
//!
//! The links live in the elements, so that putting one on a list and taking it off never needs memory. They are
//! [`Published`] slots, each of which owns a handle: an element on a list is kept alive by it, and all that concurrent
//! misuse could break is the order of a list, never memory.
//!
//! # Removal under a reader's feet
//!
//! In `CK_STAILQ` a removed element keeps its next pointer, for readers that stand on it. If that pointer owned a
//! handle, a removed element that somebody holds on to would keep its former successor alive; if it did not, it would
//! dangle one day; and if the element is put on another list at once, as a move between vnets does, readers of the
//! first list would wander off into the second. Here a removed element lets go of everything at once. Instead, every
//! element gets a *rank* when it is put on a list, growing from head to tail. A reader remembers the rank of the
//! element it stands on. If the element is gone when it wants to go on, the reader searches from the head for the first
//! element of a higher rank. So a walk visits, in order and once, each element that is on the list all the time; it may
//! or may not see those that come or go meanwhile, and it never strays into another list. Only a reader that met a
//! removal pays for the search.

use core::fmt;
use core::marker::PhantomData;

use super::{Borrowed, Published, Shared};
use crate::epoch::{DomainRef, Section};
use crate::platform::Platform;
use crate::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

/// Names the link that lists of kind `L` use, so that an element can be on several lists: `TAILQ_ENTRY`.
pub trait Linked<P: Platform, L>: Sized {
    /// The element's link for such lists.
    fn link(&self) -> &Link<Self, P>;
}

/// Where an element is in its life on a list. The order of the steps is the order of the values.
mod state {
    /// On no list; `next`, `after` and `before` are empty.
    pub(super) const FREE: usize = 0;
    /// Being put on a list.
    pub(super) const ENTERING: usize = 1;
    /// On the list.
    pub(super) const LISTED: usize = 2;
    /// Being taken off; `next` is still good.
    pub(super) const LEAVING: usize = 3;
    /// Off the list; `next` may have been cleared.
    pub(super) const LEFT: usize = 4;
}

/// What an element carries to be on a list: at most one at a time.
pub struct Link<T, P: Platform> {
    /// The next element, for readers. Good until the element is off the list.
    next: Published<T, P>,
    /// The same for writers, who take it out at the beginning of a removal, while `next` must stay.
    after: Published<T, P>,
    /// The element before, for writers.
    before: Published<T, P>,
    state: AtomicUsize,
    /// The number of the list the element is on, or was on last.
    list: AtomicUsize,
    rank: AtomicIsize,
}

impl<T, P: Platform> Link<T, P> {
    /// A link that is on no list.
    #[must_use]
    pub fn new(domain: &DomainRef<P>) -> Self {
        Self {
            next: Published::new(domain),
            after: Published::new(domain),
            before: Published::new(domain),
            state: AtomicUsize::new(state::FREE),
            list: AtomicUsize::new(0),
            rank: AtomicIsize::new(0),
        }
    }

    /// Whether the element is on a list, or being moved on or off one.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.state.load(Ordering::Acquire) != state::FREE
    }

    fn step(&self, from: usize, to: usize) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

impl<T, P: Platform> fmt::Debug for Link<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("state", &self.state).field("list", &self.list).finish_non_exhaustive()
    }
}

/// A list of elements that are linked by their `L` link.
///
/// Writers (`insert_*`, `remove`, and dropping the list) must be serialised by the caller, with one lock for all lists
/// that an element may be on at the same time. Readers need only a section. Writers that break the rule get lists with
/// wrong contents, but no memory error.
///
/// # Invariants (outside of writers)
///
/// From `head` along `next`, and from `tail` along `before`, the same elements are found; those and no others are
/// `LISTED` with this list's `id`, and their ranks grow along `next`. `after` equals `next`.
pub struct TailQ<T: Linked<P, L>, P: Platform, L> {
    head: Published<T, P>,
    /// As [`Link::after`], for the head.
    first: Published<T, P>,
    tail: Published<T, P>,
    len: AtomicUsize,
    /// A number that no other list of the domain has. Not the address: a list may be moved.
    id: usize,
    kind: PhantomData<fn() -> L>,
}

impl<T: Linked<P, L>, P: Platform, L> TailQ<T, P, L> {
    /// An empty list of objects of `domain`. Allocates nothing.
    #[must_use]
    pub fn new(domain: &DomainRef<P>) -> Self {
        Self {
            head: Published::new(domain),
            first: Published::new(domain),
            tail: Published::new(domain),
            len: AtomicUsize::new(0),
            id: domain.unique_id(),
            kind: PhantomData,
        }
    }

    /// `TAILQ_INSERT_TAIL`. False, and nothing has changed, if the element is on a list already.
    #[must_use = "an element that is on a list is refused"]
    pub fn insert_tail(&self, element: &Shared<T, P>) -> bool {
        let link = element.link();
        if !link.step(state::FREE, state::ENTERING) {
            return false;
        }
        let last = self.tail.swap(Some(element.clone()));
        let rank = last.as_ref().map_or(0, |last| last.link().rank.load(Ordering::Relaxed).wrapping_add(1));
        self.admit(link, rank);
        let (next, after) = match &last {
            Some(last) => (&last.link().next, &last.link().after),
            None => (&self.head, &self.first),
        };
        after.swap(Some(element.clone()));
        next.swap(Some(element.clone()));
        link.before.swap(last);
        true
    }

    /// `TAILQ_INSERT_HEAD`. False, and nothing has changed, if the element is on a list already.
    #[must_use = "an element that is on a list is refused"]
    pub fn insert_head(&self, element: &Shared<T, P>) -> bool {
        let link = element.link();
        if !link.step(state::FREE, state::ENTERING) {
            return false;
        }
        let second = self.first.swap(Some(element.clone()));
        let rank = second.as_ref().map_or(0, |second| second.link().rank.load(Ordering::Relaxed).wrapping_sub(1));
        self.admit(link, rank);
        match &second {
            Some(second) => second.link().before.swap(Some(element.clone())),
            None => self.tail.swap(Some(element.clone())),
        };
        link.next.swap(second.clone());
        link.after.swap(second);
        self.head.swap(Some(element.clone()));
        true
    }

    /// `TAILQ_REMOVE`, in constant time. False, and nothing has changed, if the element is not on this list.
    ///
    /// The list's handles of the element are given up. Readers in flight may see it until their sections end.
    #[must_use = "false if the element was not on this list"]
    pub fn remove(&self, element: &Shared<T, P>) -> bool {
        let link = element.link();
        if link.list.load(Ordering::Acquire) != self.id || !link.step(state::LISTED, state::LEAVING) {
            return false;
        }
        let (before, after) = (link.before.swap(None), link.after.swap(None));
        match &before {
            Some(before) => {
                before.link().after.swap(after.clone());
                before.link().next.swap(after.clone());
            }
            None => {
                self.first.swap(after.clone());
                self.head.swap(after.clone());
            }
        }
        match &after {
            Some(after) => after.link().before.swap(before),
            None => self.tail.swap(before),
        };
        self.len.fetch_sub(1, Ordering::Relaxed);
        // Only now that the element cannot be found from the head any more may readers be sent back there: a search
        // must not come back to an element whose removal it would have to wait for.
        link.state.store(state::LEFT, Ordering::Release);
        link.next.swap(None);
        link.state.store(state::FREE, Ordering::Release);
        true
    }

    /// Whether the element is on this list.
    #[must_use]
    pub fn contains(&self, element: &T) -> bool {
        let link = element.link();
        link.state.load(Ordering::Acquire) == state::LISTED && link.list.load(Ordering::Acquire) == self.id
    }

    /// How many elements are on the list.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// `TAILQ_FIRST`.
    pub fn first<'g>(&self, section: &'g Section<'_, P>) -> Option<Borrowed<'g, T, P>> {
        self.front(section).map(|(element, _)| element)
    }

    /// `TAILQ_NEXT`: the element after `element`. If that has been removed from this list and is on no other, the one
    /// that follows the place where it was; `None` if it is, or was last, on another list.
    pub fn next<'g>(&self, element: &T, section: &'g Section<'_, P>) -> Option<Borrowed<'g, T, P>> {
        let rank = self.rank_of(element)?;
        self.next_after(element, rank, section).map(|(element, _)| element)
    }

    /// `TAILQ_FOREACH`: walks the list from head to tail. Elements that are on it all the time are visited in order and
    /// once; of those that come or go meanwhile some may be missed.
    pub fn iter<'q, 'g>(&'q self, section: &'g Section<'_, P>) -> Iter<'q, 'g, T, P, L> {
        Iter { list: self, section, at: None, ended: false }
    }

    /// Makes the element a member, before anybody can find it.
    fn admit(&self, link: &Link<T, P>, rank: isize) {
        // Release, and in this order: whoever sees the element in its new place sees that it has left the old one; and
        // whoever sees the new rank also sees what the old place has become.
        link.rank.store(rank, Ordering::Release);
        link.list.store(self.id, Ordering::Release);
        link.state.store(state::LISTED, Ordering::Release);
        self.len.fetch_add(1, Ordering::Relaxed);
    }

    /// The rank of an element that is, or was last, on this list.
    fn rank_of(&self, element: &T) -> Option<isize> {
        let link = element.link();
        let rank = link.rank.load(Ordering::Acquire);
        (link.list.load(Ordering::Acquire) == self.id).then_some(rank)
    }

    /// Whether the element has been on this list at this rank all the time, so that what was read in its `next` is its
    /// successor.
    fn is_at(&self, element: &T, rank: isize) -> bool {
        let link = element.link();
        let state = link.state.load(Ordering::Acquire);
        (state == state::LISTED || state == state::LEAVING) && self.rank_of(element) == Some(rank)
    }

    /// The element that follows a reader who stands on `element`, which had `rank` when the reader came.
    fn next_after<'g>(&self, element: &T, rank: isize, section: &'g Section<'_, P>) -> Option<Place<'g, T, P>> {
        self.step(element, rank, section).unwrap_or_else(|Gone| self.search(rank, section))
    }

    /// The first element of a rank above `rank`. Starts over when an element on the way is removed under its feet,
    /// which takes a whole removal by a writer each time.
    fn search<'g>(&self, rank: isize, section: &'g Section<'_, P>) -> Option<Place<'g, T, P>> {
        let mut place = self.front(section);
        loop {
            let (at, found) = place?;
            if found.wrapping_sub(rank) > 0 {
                return place;
            }
            place = self.step(&at, found, section).unwrap_or_else(|Gone| self.front(section));
        }
    }

    /// One step along `next`, from an element that was at `rank`.
    fn step<'g>(&self, element: &T, rank: isize, section: &'g Section<'_, P>) -> Result<Option<Place<'g, T, P>>, Gone> {
        loop {
            let next = element.link().next.load(section);
            if !self.is_at(element, rank) {
                return Err(Gone);
            }
            let Some(next) = next else { return Ok(None) };
            // The rank that is found is that of this place only if the element is still what follows. If it is not, a
            // writer has changed the list meanwhile, and there is something else to see.
            match self.rank_of(&next) {
                Some(found) if self.same(&element.link().next, next, section) => return Ok(Some((next, found))),
                _ => {}
            }
        }
    }

    /// The first element of the list.
    fn front<'g>(&self, section: &'g Section<'_, P>) -> Option<Place<'g, T, P>> {
        loop {
            let first = self.head.load(section)?;
            match self.rank_of(&first) {
                Some(found) if self.same(&self.head, first, section) => return Some((first, found)),
                _ => {}
            }
        }
    }

    fn same<'g>(&self, slot: &Published<T, P>, seen: Borrowed<'g, T, P>, section: &'g Section<'_, P>) -> bool {
        slot.load(section).is_some_and(|now| now.addr() == seen.addr())
    }
}

impl<T: Linked<P, L>, P: Platform, L> Drop for TailQ<T, P, L> {
    fn drop(&mut self) {
        // One by one: elements of a list are not dropped inside each other, and none stays marked as listed.
        while let Some(first) = self.first.swap(None) {
            self.first.swap(Some(first.clone()));
            if !self.remove(&first) {
                break;
            }
        }
    }
}

impl<T: Linked<P, L>, P: Platform, L> fmt::Debug for TailQ<T, P, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TailQ").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// An element and the rank at which a reader found it.
type Place<'g, T, P> = (Borrowed<'g, T, P>, isize);

/// The element the reader stood on is not where it was.
struct Gone;

/// A walk along a [`TailQ`]: see [`TailQ::iter`].
pub struct Iter<'q, 'g, T: Linked<P, L>, P: Platform, L> {
    list: &'q TailQ<T, P, L>,
    section: &'g Section<'g, P>,
    at: Option<Place<'g, T, P>>,
    ended: bool,
}

impl<'g, T: Linked<P, L>, P: Platform, L> Iterator for Iter<'_, 'g, T, P, L> {
    type Item = Borrowed<'g, T, P>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        self.at = match self.at {
            None => self.list.front(self.section),
            Some((element, rank)) => self.list.next_after(&element, rank, self.section),
        };
        self.ended = self.at.is_none();
        self.at.map(|(element, _)| element)
    }
}

impl<T: Linked<P, L>, P: Platform, L> core::iter::FusedIterator for Iter<'_, '_, T, P, L> {}

#[cfg(test)]
mod tests;
