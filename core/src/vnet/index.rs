//! The index table: one for all vnets.
//!
//! An index is handed out by `if_alloc`, the lowest that is free, and taken back by `if_free`; it does not change over
//! a move. Slot 0 stays empty, because an index of 0 means "none" in every interface that carries one. Each slot counts
//! its generations, so that an index kept in a queued packet finds its interface or nothing, never another one.
//!
//! Readers are lock-free: they find the current array, and the slot in it, inside an epoch section. Writers hold
//! `ifnet_sx`. When the array is full a twice as large one is filled and published; the old one lives until its last
//! reader has left.

use crate::Errno;
use crate::epoch::{DomainRef, Section};
use crate::hazard::Hazard;
use crate::ifnet::{IfPtr, Ifnet, IfnetRef, Ifp, if_found_ref, if_ref};
use crate::mem::{IdSpace, NoMem, Published, Shared, TryVec};
use crate::platform::{Mutex, Platform};
use crate::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use crate::thread::Thread;

/// The highest index that can be asked for: what FreeBSD's 16 bits hold. The table is an array, so that any number would
/// be a request for that much memory.
pub const IF_INDEX_MAX: u32 = u16::MAX as u32;

/// `if_indexlim` at boot: the number of slots of the first array.
const FIRST_LIMIT: usize = 8;

/// `struct ifindex_entry`.
struct Slot<P: Platform> {
    ifp: Published<Ifnet<P>, P>,
    gencnt: AtomicU16,
}

/// One array of slots.
struct Slots<P: Platform>(TryVec<Slot<P>, P::Allocator>);

impl<P: Platform> Slots<P> {
    /// An array of `limit` slots, filled from `old`.
    fn try_new(domain: &DomainRef<P>, limit: usize, old: Option<(&Self, &Section<'_, P>)>) -> Result<Self, NoMem> {
        let mut slots = TryVec::new(domain.platform().allocator());
        slots.try_reserve(limit)?;
        for at in 0..limit {
            let ifp = Published::new(domain);
            let mut gencnt = 0;
            if let Some((slot, section)) = old.and_then(|(old, section)| Some((old.0.get(at)?, section))) {
                ifp.swap(slot.ifp.share(section));
                gencnt = slot.gencnt.load(Ordering::Relaxed);
            }
            slots.try_push(Slot { ifp, gencnt: AtomicU16::new(gencnt) }).map_err(|_| NoMem)?;
        }
        Ok(Self(slots))
    }
}

/// The table and what is known of it.
pub(crate) struct IndexTable<P: Platform> {
    slots: Published<Slots<P>, P>,
    taken: P::Mutex<IdSpace<P::Allocator>>,
    /// `if_index`: the highest index in use.
    highest: AtomicU32,
    /// How many are in use.
    used: AtomicU32,
}

impl<P: Platform> IndexTable<P> {
    pub(crate) fn try_new(domain: &DomainRef<P>) -> Result<Self, NoMem> {
        let mut taken = IdSpace::new(domain.platform().allocator());
        taken.take(0)?;
        let slots = Published::new(domain);
        slots.swap(Some(Shared::try_new(domain, Slots::try_new(domain, FIRST_LIMIT, None)?)?));
        Ok(Self { slots, taken: P::Mutex::new(taken), highest: AtomicU32::new(0), used: AtomicU32::new(0) })
    }

    /// `if_index` and `if_indexlim`.
    pub(crate) fn limits(&self, td: &Thread<'_, P>) -> (u32, usize) {
        (self.highest.load(Ordering::Relaxed), td.read(&self.slots).map_or(0, |slots| slots.0.len()))
    }

    /// The number of indices in use.
    pub(crate) fn in_use(&self) -> usize {
        self.used.load(Ordering::Relaxed) as usize
    }

    /// Whether an index is in use, in whatever vnet.
    pub(crate) fn is_taken(&self, index: u32) -> bool {
        self.taken.lock().is_taken(index)
    }

    /// `ifindex_alloc`: publishes `ifp` under the lowest free index, or under the one that is wanted, and stores index
    /// and generation in it. Under `ifnet_sx`, exclusively.
    ///
    /// # Errors
    /// `EBUSY` if the wanted index is in use, `EINVAL` if it is 0 or above [`IF_INDEX_MAX`], `ENOMEM`.
    pub(crate) fn alloc(&self, td: &Thread<'_, P>, ifp: &Ifp<P>, wanted: Option<u32>) -> Result<(), Errno> {
        let index = match wanted {
            None => self.taken.lock().alloc_lowest(u32::MAX)?.ok_or(Errno::ENOSPC)?,
            Some(index) if !(1..=IF_INDEX_MAX).contains(&index) => return Err(Errno::EINVAL),
            Some(index) if !self.taken.lock().take(index)? => return Err(Errno::EBUSY),
            Some(index) => index,
        };
        let slots = self.grown_to(td, index).inspect_err(|_| self.give(index))?;
        let slot = &slots.0[index as usize];
        ifp.set_index(index);
        ifp.idxgen.store(slot.gencnt.load(Ordering::Relaxed), Ordering::Relaxed);
        let none = slot.ifp.swap(Some(ifp.clone()));
        drop(none);
        self.used.fetch_add(1, Ordering::Relaxed);
        self.note_highest();
        Ok(())
    }

    /// `ifindex_free`: empties the slot and begins its next generation. Under `ifnet_sx`, exclusively.
    pub(crate) fn free(&self, td: &Thread<'_, P>, ifp: &Ifp<P>) {
        let index = ifp.index();
        if let Some(slots) = td.read(&self.slots) {
            let slot = &slots.0[index as usize];
            slot.gencnt.store(slot.gencnt.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
            let emptied = slot.ifp.swap(None);
            drop(emptied);
        }
        self.give(index);
        self.used.fetch_sub(1, Ordering::Relaxed);
        self.note_highest();
    }

    fn give(&self, index: u32) {
        self.taken.lock().give(index);
    }

    fn note_highest(&self) {
        let highest = self.taken.lock().highest().unwrap_or(0);
        self.highest.store(highest, Ordering::Relaxed);
    }

    /// The current array, doubled until `index` fits.
    fn grown_to(&self, td: &Thread<'_, P>, index: u32) -> Result<Shared<Slots<P>, P>, NoMem> {
        let slots = td.read(&self.slots).ok_or(NoMem)?;
        let mut limit = slots.0.len();
        if (index as usize) < limit {
            return Ok(slots);
        }
        while limit <= index as usize {
            limit *= 2;
        }
        let section = td.net_epoch_enter();
        let larger = Shared::try_new(td.domain(), Slots::try_new(td.domain(), limit, Some((&*slots, &*section)))?)?;
        let replaced = self.slots.swap(Some(larger.clone()));
        drop(replaced);
        Ok(larger)
    }

    /// What stands in a slot, with the generation of the slot.
    fn load<'g>(&self, index: u32, section: &'g Section<'_, P>) -> Option<(IfPtr<'g, P>, u16)> {
        let slots = self.slots.load(section)?;
        let slot = slots.get().0.get(index as usize)?;
        let ifp = slot.ifp.load(section)?;
        Some((ifp, slot.gencnt.load(Ordering::Relaxed)))
    }

    /// What stands in a slot, whatever its vnet and state.
    pub(crate) fn at<'g>(&self, index: u32, section: &'g Section<'_, P>) -> Option<IfPtr<'g, P>> {
        self.load(index, section).map(|(ifp, _)| ifp)
    }
}

/// `ifnet_byindex`: the interface with this index in the current vnet; in any vnet if none is current.
///
/// An interface that is detached but not yet freed is not found. FreeBSD finds it (reviews D34076, D49447) and every
/// caller has to know better.
///
/// # Locks
/// None; inside an epoch section.
pub fn ifnet_byindex<'g, P: Platform>(
    td: &Thread<'_, P>,
    index: u32,
    section: &'g Section<'_, P>,
) -> Option<IfPtr<'g, P>> {
    let (ifp, _) = td.kernel().index.load(index, section)?;
    if td.filters(&ifp.vnet) || (ifp.is_dying() && !td.hazard(Hazard::DyingFoundByIndex)) {
        return None;
    }
    Some(ifp)
}

/// `ifnet_byindex_ref`: the same, with a reference.
#[cfg_attr(feature = "holders", track_caller)]
pub fn ifnet_byindex_ref<P: Platform>(td: &Thread<'_, P>, index: u32) -> Option<IfnetRef<P>> {
    let section = td.net_epoch_enter();
    let ifp = ifnet_byindex(td, index, &section)?.try_share()?;
    td.preempt();
    if td.hazard(Hazard::FreeDropsRefFirst) {
        return Some(if_ref(&ifp));
    }
    if ifp.is_dying() { None } else { if_found_ref(ifp) }
}

/// `ifnet_byindexgen`: the interface that had this index in this generation, in whatever vnet; for an index that was
/// kept while the interface could have been freed.
///
/// # Locks
/// None; inside an epoch section.
pub fn ifnet_byindexgen<'g, P: Platform>(
    td: &Thread<'_, P>,
    index: u32,
    gencnt: u16,
    section: &'g Section<'_, P>,
) -> Option<IfPtr<'g, P>> {
    let (ifp, current) = td.kernel().index.load(index, section)?;
    (current == gencnt).then_some(ifp)
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests {
    use crate::testing::{attached, gone, kernel};
    use crate::{
        Errno, IfType, TaskMode, if_alloc, if_alloc_indexed, if_free, ifnet_byindex, ifnet_byindexgen, vnet_alloc,
        vnet_destroy,
    };

    #[test]
    fn the_lowest_free_index_is_given_and_each_use_is_a_generation() {
        let (_, kernel) = kernel(TaskMode::Deferred);
        let td = kernel.thread().expect("room");
        let [a, b] = [attached(&td, "a", 0), attached(&td, "b", 0)];
        assert_eq!((a.index(), b.index(), a.idxgen()), (2, 3, 0));
        gone(&td, a);
        let c = attached(&td, "c", 0);
        assert_eq!((c.index(), c.idxgen()), (2, 1));
        let section = td.net_epoch_enter();
        assert!(ifnet_byindexgen(&td, 2, 0, &section).is_none(), "a stale generation finds nothing");
        assert!(ifnet_byindexgen(&td, 2, 1, &section).is_some_and(|ifp| ifp.is(&c)));
        assert!(ifnet_byindex(&td, 0, &section).is_none());
        assert!(ifnet_byindex(&td, u32::MAX, &section).is_none());
        drop(section);
        assert_eq!(kernel.if_index(&td), (3, 8));
        gone(&td, b);
        assert_eq!(kernel.if_index(&td).0, 2);
        gone(&td, c);
    }

    #[test]
    fn an_index_that_is_asked_for_is_given_or_refused() {
        let (host, kernel) = kernel(TaskMode::Deferred);
        let td = kernel.thread().expect("room");
        let ask = |index| if_alloc_indexed(&td, IfType::Other, Some(index));
        for bad in [0, super::IF_INDEX_MAX + 1, u32::MAX] {
            assert_eq!(ask(bad).map(drop), Err(Errno::EINVAL), "{bad}");
        }
        assert_eq!(ask(1).map(drop), Err(Errno::EBUSY), "that is lo0's");
        let far = ask(100).expect("free");
        assert_eq!((far.index(), far.idxgen(), kernel.if_index(&td)), (100, 0, (100, 128)));
        assert_eq!(ask(100).map(drop), Err(Errno::EBUSY));
        let lowest = if_alloc(&td, IfType::Other).expect("memory");
        assert_eq!(lowest.index(), 2, "the others are as before");
        if_free(&td, far);
        assert_eq!(kernel.if_index(&td), (2, 128));
        let again = ask(100).expect("free again");
        assert_eq!((again.index(), again.idxgen()), (100, 1), "the next generation");
        host.arena().fail_after(2);
        assert_eq!(ask(5_000).map(drop), Err(Errno::ENOMEM));
        host.arena().fail_never();
        assert!(!kernel.index.is_taken(5_000), "what could not be had is free");
        if_free(&td, again);
        if_free(&td, lowest);
    }

    #[test]
    fn the_table_doubles_and_keeps_what_it_has() {
        let (_, kernel) = kernel(TaskMode::Deferred);
        let td = kernel.thread().expect("room");
        let owners: std::vec::Vec<_> = (0..50).map(|_| if_alloc(&td, IfType::Other).expect("memory")).collect();
        assert_eq!(kernel.if_index(&td), (51, 64));
        for owner in &owners {
            let section = td.net_epoch_enter();
            assert!(ifnet_byindex(&td, owner.index(), &section).is_some_and(|ifp| ifp.is(owner)));
        }
        for owner in owners {
            if_free(&td, owner);
        }
        assert_eq!(kernel.if_index(&td), (1, 64));
    }

    #[test]
    fn an_index_is_seen_from_its_vnet_only() {
        let (_, kernel) = kernel(TaskMode::Deferred);
        let td = kernel.thread().expect("room");
        let v1 = vnet_alloc(&td).expect("memory");
        let em0 = attached(&td, "em", 0);
        let seen = || {
            let section = td.net_epoch_enter();
            ifnet_byindex(&td, em0.index(), &section).is_some()
        };
        assert!(seen());
        let cur = td.curvnet_set(Some(v1.clone()));
        assert!(!seen());
        drop(cur);
        let cur = td.curvnet_set(None);
        assert!(seen());
        drop(cur);
        vnet_destroy(&td, &v1).expect("alive");
        gone(&td, em0);
    }
}
