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
//!
//! # One copy of the code
//!
//! A kernel has a dozen kinds of lists. What is done to a list does not depend on what its elements are, so it is compiled
//! once, for elements of unknown type (`untyped.rs`); what is here gives it a type again, and says where in an element
//! the link is.
#![expect(unsafe_code, reason = "gives elements of unknown type their type back")]

mod untyped;

use core::fmt;
use core::marker::PhantomData;

use self::untyped::{Ends, Place, Queue};
use super::shared::{AnyBorrowed, Borrowed, Shared};
use crate::epoch::{DomainRef, Section};
use crate::platform::Platform;

/// Names the link that lists of kind `L` use, so that an element can be on several lists: `TAILQ_ENTRY`.
pub trait Linked<P: Platform, L>: Sized + 'static {
    /// The element's link for such lists.
    fn link(&self) -> &Link<Self, P>;
}

/// What an element carries to be on a list: at most one at a time.
///
/// # Invariants
///
/// All that is ever in the slots of `untyped` are objects of type `T`.
pub struct Link<T, P: Platform> {
    untyped: untyped::Link<P>,
    owns: PhantomData<Shared<T, P>>,
}

impl<T, P: Platform> Link<T, P> {
    /// A link that is on no list.
    #[must_use]
    pub fn new(domain: &DomainRef<P>) -> Self {
        Self { untyped: untyped::Link::new(domain), owns: PhantomData }
    }

    /// Whether the element is on a list, or being moved on or off one.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.untyped.is_listed()
    }
}

impl<T, P: Platform> fmt::Debug for Link<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("is_listed", &self.is_listed()).finish_non_exhaustive()
    }
}

/// A list of elements that are linked by their `L` link.
///
/// Writers (`insert_*`, `remove`, and dropping the list) must be serialised by the caller, with one lock for all lists
/// that an element may be on at the same time. Readers need only a section. Writers that break the rule get lists with
/// wrong contents, but no memory error.
///
/// # Invariants
///
/// All that is ever on the list are objects of type `T`.
pub struct TailQ<T: Linked<P, L>, P: Platform, L> {
    ends: Ends<P>,
    owns: PhantomData<Shared<T, P>>,
    kind: PhantomData<fn() -> L>,
}

/// Where the link is in an element of type `T`.
///
/// # Safety
///
/// The element is a `T`.
unsafe fn link_of<T: Linked<P, L>, P: Platform, L>(element: AnyBorrowed<'_, P>) -> &untyped::Link<P> {
    // SAFETY: the caller's promise.
    let element: Borrowed<'_, T, P> = unsafe { element.typed() };
    &element.get().link().untyped
}

impl<T: Linked<P, L>, P: Platform, L> TailQ<T, P, L> {
    /// An empty list of objects of `domain`. Allocates nothing.
    #[must_use]
    pub fn new(domain: &DomainRef<P>) -> Self {
        Self { ends: Ends::new(domain), owns: PhantomData, kind: PhantomData }
    }

    /// `TAILQ_INSERT_TAIL`. False, and nothing has changed, if the element is on a list already.
    #[must_use = "an element that is on a list is refused"]
    pub fn insert_tail(&self, element: &Shared<T, P>) -> bool {
        // SAFETY: it is a `T`.
        unsafe { self.queue().insert_tail(element.untyped()) }
    }

    /// `TAILQ_INSERT_HEAD`. False, and nothing has changed, if the element is on a list already.
    #[must_use = "an element that is on a list is refused"]
    pub fn insert_head(&self, element: &Shared<T, P>) -> bool {
        // SAFETY: it is a `T`.
        unsafe { self.queue().insert_head(element.untyped()) }
    }

    /// `TAILQ_REMOVE`, in constant time. False, and nothing has changed, if the element is not on this list.
    ///
    /// The list's handles of the element are given up. Readers in flight may see it until their sections end.
    #[must_use = "false if the element was not on this list"]
    pub fn remove(&self, element: &Shared<T, P>) -> bool {
        self.queue().remove(&element.link().untyped)
    }

    /// Whether the element is on this list.
    #[must_use]
    pub fn contains(&self, element: &T) -> bool {
        self.ends.contains(&element.link().untyped)
    }

    /// How many elements are on the list.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// `TAILQ_FIRST`.
    pub fn first<'g>(&self, section: &'g Section<'_, P>) -> Option<Borrowed<'g, T, P>> {
        self.queue().front(section).map(typed)
    }

    /// `TAILQ_NEXT`: the element after `element`. If that has been removed from this list and is on no other, the one
    /// that follows the place where it was; `None` if it is, or was last, on another list.
    pub fn next<'g>(&self, element: &T, section: &'g Section<'_, P>) -> Option<Borrowed<'g, T, P>> {
        self.queue().next(&element.link().untyped, section).map(typed)
    }

    /// `TAILQ_FOREACH`: walks the list from head to tail. Elements that are on it all the time are visited in order and
    /// once; of those that come or go meanwhile some may be missed.
    pub fn iter<'q, 'g>(&'q self, section: &'g Section<'_, P>) -> Iter<'q, 'g, T, P, L> {
        Iter { list: self, section, at: None, ended: false }
    }

    fn queue(&self) -> Queue<'_, P> {
        // SAFETY: all elements of the list are `T`s (invariant), and so are those in the slots of their links.
        unsafe { Queue::new(&self.ends, link_of::<T, P, L>) }
    }
}

/// The element of a place on a list of `T`s.
fn typed<'g, T, P: Platform>(place: Place<'g, P>) -> Borrowed<'g, T, P> {
    // SAFETY: all elements of the list are `T`s (invariant).
    unsafe { place.element.typed() }
}

impl<T: Linked<P, L>, P: Platform, L> Drop for TailQ<T, P, L> {
    fn drop(&mut self) {
        self.queue().clear();
    }
}

impl<T: Linked<P, L>, P: Platform, L> fmt::Debug for TailQ<T, P, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TailQ").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A walk along a [`TailQ`]: see [`TailQ::iter`].
pub struct Iter<'q, 'g, T: Linked<P, L>, P: Platform, L> {
    list: &'q TailQ<T, P, L>,
    section: &'g Section<'g, P>,
    at: Option<Place<'g, P>>,
    ended: bool,
}

impl<'g, T: Linked<P, L>, P: Platform, L> Iterator for Iter<'_, 'g, T, P, L> {
    type Item = Borrowed<'g, T, P>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let queue = self.list.queue();
        self.at = match self.at {
            None => queue.front(self.section),
            Some(place) => queue.after(place, self.section),
        };
        self.ended = self.at.is_none();
        self.at.map(typed)
    }
}

impl<T: Linked<P, L>, P: Platform, L> core::iter::FusedIterator for Iter<'_, '_, T, P, L> {}

#[cfg(test)]
mod tests;
