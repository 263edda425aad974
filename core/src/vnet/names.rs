//! The names of a vnet's interfaces, so that lookup by name does not walk the list.
//!
//! FreeBSD walks `V_ifnet` and takes the first match. Two interfaces of one name can exist there (a plain attach, a
//! reclaim and the return from a dying vnet do not look), so each entry carries the order of linking and a lookup
//! takes the earliest.
//!
//! # Reservations
//!
//! A name that is about to be linked (by a move, a create) is put into the table first, marked with the thread that
//! reserved it: nobody can take it in between, and the linking only turns the entry live.
//!
//! # Places
//!
//! Linking needs no memory, because whoever links has *held a place* before: at all times the table has room for as many
//! more entries as places are held. An attach holds one while it is under way. An interface that is away from home holds
//! one there until it returns, and every interface that is not at home in the default vnet holds one in that.
//!
//! # Alternative names
//!
//! Linux gives an interface further names, in the same table: they are found, they are taken, and they are reserved
//! and moved like the first name, with a place each. A lookup prefers a first name, of which a plain attach of FreeBSD
//! can bring a second one at any time.

use crate::ifnet::{IfName, Ifp};
use crate::mem::{NoMem, TryTable, hash_str};
use crate::platform::{Platform, ThreadId};

/// Where an entry stands.
enum State<P: Platform> {
    /// On the list, in this order among all that were linked.
    Live { ifp: Ifp<P>, order: usize },
    /// A further name of an interface on the list.
    Alternative { ifp: Ifp<P> },
    /// Somebody is about to link an interface of this name.
    Reserved { by: ThreadId },
}

struct Entry<P: Platform> {
    name: IfName,
    state: State<P>,
}

/// The names of one vnet.
pub(crate) struct NameTable<P: Platform> {
    table: TryTable<Entry<P>, P::Allocator>,
    next: usize,
    held: usize,
}

impl<P: Platform> State<P> {
    fn is_reserved_by(&self, thread: ThreadId) -> bool {
        matches!(*self, Self::Reserved { by } if by == thread)
    }

    fn is_first_of(&self, ifp: &Ifp<P>) -> bool {
        matches!(self, Self::Live { ifp: it, .. } if ifp.ptr_eq(it))
    }

    fn is_alternative_of(&self, ifp: &Ifp<P>) -> bool {
        matches!(self, Self::Alternative { ifp: it } if ifp.ptr_eq(it))
    }
}

impl<P: Platform> NameTable<P> {
    pub(crate) fn new(allocator: P::Allocator) -> Self {
        Self { table: TryTable::new(allocator), next: 0, held: 0 }
    }

    /// Makes room for this many more entries beside the places held.
    fn make_room(&mut self, count: usize) -> Result<(), NoMem> {
        self.table.try_reserve(self.held + count)
    }

    /// Holds this many places.
    pub(crate) fn hold(&mut self, count: usize) -> Result<(), NoMem> {
        self.make_room(count)?;
        self.held += count;
        Ok(())
    }

    /// Gives this many places up.
    pub(crate) fn release(&mut self, count: usize) {
        debug_assert!(self.held >= count, "a place is released that nobody held");
        self.held = self.held.saturating_sub(count);
    }

    /// How many places are held.
    #[cfg(all(test, not(ifnet_loom)))]
    pub(crate) fn places(&self) -> usize {
        self.held
    }

    /// The earliest linked interface of this name that satisfies `wanted`; without one, that of which it is a further
    /// name.
    pub(crate) fn find(&self, name: &str, wanted: impl Fn(&Ifp<P>) -> bool) -> Option<Ifp<P>> {
        let (mut first, mut alternative) = (None, None);
        self.entry(name, &mut |entry| {
            match &entry.state {
                State::Live { ifp, order } if wanted(ifp) && first.is_none_or(|(_, least)| *order < least) => {
                    first = Some((ifp, *order));
                }
                State::Alternative { ifp } if alternative.is_none() && wanted(ifp) => alternative = Some(ifp),
                _ => {}
            }
            false
        });
        first.map(|(ifp, _)| ifp).or(alternative).cloned()
    }

    /// An entry of this name that is `wanted`. One function, and not an iterator for each question: what is small is called
    /// often.
    fn entry<'a>(&'a self, name: &str, wanted: &mut dyn FnMut(&'a Entry<P>) -> bool) -> Option<&'a Entry<P>> {
        self.table.find(hash_str(name), |entry| *entry.name == *name && wanted(entry))
    }

    fn has_entry(&self, name: &str, wanted: impl Fn(&State<P>) -> bool) -> bool {
        self.entry(name, &mut |entry| wanted(&entry.state)).is_some()
    }

    /// Takes an entry of this name that is `wanted` out.
    fn take(&mut self, name: &str, wanted: &dyn Fn(&State<P>) -> bool) -> Option<Entry<P>> {
        self.table.remove(hash_str(name), |entry| *entry.name == *name && wanted(&entry.state))
    }

    /// The reservation of a name by `by`.
    fn reservation(&mut self, name: &str, by: ThreadId) -> Option<&mut Entry<P>> {
        self.table.find_mut(hash_str(name), |entry| *entry.name == *name && entry.state.is_reserved_by(by))
    }

    /// Whether the name is in use or reserved.
    pub(crate) fn is_taken(&self, name: &str) -> bool {
        self.has_entry(name, |_| true)
    }

    /// Whether an interface of this name is on the list.
    pub(crate) fn is_linked(&self, name: &str) -> bool {
        self.has_entry(name, |state| matches!(state, State::Live { .. }))
    }

    /// Takes a name that is free, for thread `by` to link soon. `Ok(false)` if it is taken.
    pub(crate) fn reserve(&mut self, name: &IfName, by: ThreadId) -> Result<bool, NoMem> {
        if self.is_taken(name) {
            return Ok(false);
        }
        self.make_room(1)?;
        self.insert(Entry { name: name.clone(), state: State::Reserved { by } });
        Ok(true)
    }

    /// Gives a reservation of `by` up, if there is one.
    pub(crate) fn unreserve(&mut self, name: &IfName, by: ThreadId) -> bool {
        self.take(name, &|state| state.is_reserved_by(by)).is_some()
    }

    /// Whether `by` has reserved the name.
    pub(crate) fn is_reserved_by(&self, name: &str, by: ThreadId) -> bool {
        self.has_entry(name, |state| state.is_reserved_by(by))
    }

    /// Puts a linked interface in, in the place that the caller held; a reservation of `by` turns live.
    pub(crate) fn link(&mut self, name: &IfName, ifp: &Ifp<P>, by: ThreadId) {
        let state = State::Live { ifp: ifp.clone(), order: self.next };
        self.next += 1;
        self.settle(name, state, by);
    }

    /// Puts an entry in, in the place that the caller held; a reservation of `by` turns into it.
    fn settle(&mut self, name: &IfName, state: State<P>, by: ThreadId) {
        self.release(1);
        match self.reservation(name, by) {
            Some(entry) => entry.state = state,
            None => self.insert(Entry { name: name.clone(), state }),
        }
    }

    /// Gives a linked interface a further name, in the place that the caller held; a reservation of `by` turns into it.
    /// `false` if the name is taken by somebody else, and then the place is still held.
    pub(crate) fn link_alternative(&mut self, name: &IfName, ifp: &Ifp<P>, by: ThreadId) -> bool {
        if self.is_taken(name) && !self.is_reserved_by(name, by) {
            return false;
        }
        self.settle(name, State::Alternative { ifp: ifp.clone() }, by);
        true
    }

    /// Takes a further name out.
    pub(crate) fn unlink_alternative(&mut self, name: &IfName, ifp: &Ifp<P>) -> bool {
        self.take(name, &|state| state.is_alternative_of(ifp)).is_some()
    }

    /// Takes an interface out that leaves the list.
    pub(crate) fn unlink(&mut self, name: &IfName, ifp: &Ifp<P>) -> bool {
        self.take(name, &|state| state.is_first_of(ifp)).is_some()
    }

    /// Changes the name of a linked interface to one that `by` has reserved. It keeps its place in the order.
    pub(crate) fn rename(&mut self, old: &IfName, new: &IfName, ifp: &Ifp<P>, by: ThreadId) {
        let Some(entry) = self.take(old, &|state| state.is_first_of(ifp)) else { return };
        if let Some(slot) = self.reservation(new, by) {
            slot.state = entry.state;
        }
    }

    fn insert(&mut self, entry: Entry<P>) {
        self.table.insert_reserved(hash_str(&entry.name), entry);
    }

    /// Whether the table has this interface under this name.
    pub(crate) fn has(&self, name: &str, ifp: &Ifp<P>) -> bool {
        self.has_entry(name, |state| state.is_first_of(ifp))
    }

    /// Whether the table has this further name of this interface.
    pub(crate) fn has_alternative(&self, name: &str, ifp: &Ifp<P>) -> bool {
        self.has_entry(name, |state| state.is_alternative_of(ifp))
    }

    /// The number of further names in the table.
    pub(crate) fn alternative(&self) -> usize {
        self.table.iter().filter(|entry| matches!(entry.state, State::Alternative { .. })).count()
    }

    /// The number of linked interfaces in the table.
    pub(crate) fn linked(&self) -> usize {
        self.table.iter().filter(|entry| matches!(entry.state, State::Live { .. })).count()
    }
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests {
    use core::num::NonZeroU32;

    use super::*;
    use crate::TaskMode;
    use crate::platform::Mutex as _;
    use crate::testing::{Host, attached, gone, kernel};

    fn thread(number: u32) -> ThreadId {
        ThreadId(NonZeroU32::new(number).expect("not zero"))
    }

    #[test]
    fn a_reserved_name_is_taken_but_not_found() {
        let (_, kernel) = kernel(TaskMode::Deferred);
        let name = IfName::new("em0").expect("a good name");
        let vnet = kernel.vnet0();
        let mut names = vnet.names.lock();
        assert_eq!(names.reserve(&name, thread(1)), Ok(true));
        assert_eq!(names.reserve(&name, thread(2)), Ok(false));
        assert!(names.is_taken("em0") && !names.is_linked("em0"));
        assert!(names.find("em0", |_| true).is_none());
        assert!(!names.unreserve(&name, thread(2)), "only who reserved it gives it back");
        assert!(names.unreserve(&name, thread(1)));
        assert!(!names.is_taken("em0"));
    }

    #[test]
    fn of_two_equal_names_the_earliest_is_found_and_a_rename_keeps_its_place() {
        let (_, kernel) = kernel(TaskMode::Deferred);
        let td = kernel.thread().expect("room");
        let [first, second] = [attached(&td, "re", 0), attached(&td, "re", 0)];
        let find = |name: &str| kernel.vnet0().names.lock().find(name, |_| true).map(|ifp| ifp.index());
        assert_eq!(find("re0"), Some(first.index()));
        crate::if_rename(&td, &first, "wan").expect("a free name");
        assert_eq!((find("re0"), find("wan")), (Some(second.index()), Some(first.index())));
        gone(&td, first);
        gone(&td, second);
        assert_eq!(kernel.vnet0().names.lock().linked(), 1);
    }

    #[test]
    fn a_place_that_is_held_needs_no_memory() {
        let (host, kernel) = kernel(TaskMode::Deferred);
        let td = kernel.thread().expect("room");
        let em0 = attached(&td, "em", 0);
        let vnet = kernel.vnet0();
        for _ in 0..100 {
            vnet.names.lock().hold(1).expect("memory");
        }
        host.arena().fail_after(0);
        for number in 0..100 {
            let name = IfName::numbered("x", number, "").expect("a good name");
            vnet.names.lock().link(&name, &em0, td.id());
        }
        host.arena().fail_never();
        assert!(vnet.names.lock().is_linked("x99"));
        for number in 0..100 {
            let name = IfName::numbered("x", number, "").expect("a good name");
            assert!(vnet.names.lock().unlink(&name, &em0));
        }
        gone(&td, em0);
    }

    #[test]
    fn a_rename_takes_the_reservation_and_not_another_interface_of_the_name() {
        let (_, kernel) = kernel(TaskMode::Deferred);
        let td = kernel.thread().expect("room");
        let [mine, other] = [attached(&td, "em", 0), attached(&td, "em", 1)];
        let [em0, em1, wan] = ["em0", "em1", "wan"].map(|name| IfName::new(name).expect("a good name"));
        let vnet = kernel.vnet0();
        let mut names = vnet.names.lock();
        assert_eq!(names.reserve(&wan, td.id()), Ok(true));
        // Nobody looks at names when a driver attaches.
        names.unlink(&em1, &other);
        names.hold(1).expect("memory");
        names.link(&wan, &other, thread(99));
        names.rename(&em0, &wan, &mine, td.id());
        let both = [&mine, &other].map(|ifp| names.find("wan", |found| found.index() == ifp.index()).is_some());
        assert_eq!((both, names.is_reserved_by("wan", td.id())), ([true, true], false));
        assert!(names.unlink(&wan, &mine) && names.unlink(&wan, &other));
        for (name, ifp) in [(&em0, &mine), (&em1, &other)] {
            names.hold(1).expect("memory");
            names.link(name, ifp, td.id());
        }
        drop(names);
        gone(&td, mine);
        gone(&td, other);
    }

    #[test]
    fn a_name_that_is_not_in_the_table_is_noticed() {
        let (_, kernel) = kernel(TaskMode::Deferred);
        let td = kernel.thread().expect("room");
        let [one, two] = [attached(&td, "em", 0), attached(&td, "em", 1)];
        let invariant = || crate::invariants::check(&td).map_err(|it| it.invariant);
        crate::if_addaltname(&td, &one, "wan").expect("free");
        crate::if_addaltname(&td, &two, "lan").expect("free");
        assert_eq!(invariant(), Ok(()));
        let vnet = kernel.vnet0();
        // Each table has the right number of names, and one of them is another's.
        let [em0, em1, wan, free] = ["em0", "em1", "wan", "free"].map(|name| IfName::new(name).expect("a good name"));
        let swap = |from: &IfName, of: &Ifp<Host>, to: &IfName| {
            let mut names = vnet.names.lock();
            assert!(names.unlink(from, of));
            names.hold(1).expect("memory");
            names.link(to, of, td.id());
        };
        swap(&em0, &one, &em1);
        assert_eq!(invariant(), Err("I2"));
        swap(&em1, &one, &em0);
        let swap = |from: &IfName, to: &IfName, of: &Ifp<Host>| {
            let mut names = vnet.names.lock();
            assert!(names.unlink_alternative(from, of));
            names.hold(1).expect("memory");
            assert!(names.link_alternative(to, of, td.id()));
        };
        assert_eq!(invariant(), Ok(()));
        swap(&wan, &free, &one);
        assert_eq!(invariant(), Err("I2"));
        swap(&free, &wan, &one);
        assert_eq!(invariant(), Ok(()));
        gone(&td, one);
        gone(&td, two);
    }
}
