//! A slot that readers look into without a lock: a pointer published for epoch readers.
#![expect(unsafe_code, reason = "turns a published pointer back into a handle")]

use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use super::NoMem;
use super::shared::{AnyBorrowed, AnyShared, Borrowed, Header, Shared};
use crate::epoch::{DomainRef, Section};
use crate::platform::Platform;
use crate::sync::atomic::{AtomicPtr, Ordering};

/// A slot for one handle. Readers see what is in it for as long as their section is open; whoever swaps it out may drop
/// it at once, because the object waits for the readers.
///
/// # Invariants
///
/// What is ever in `slot` is a `T` of the domain whose address is `domain`.
pub struct Published<T, P: Platform> {
    slot: Slot<P>,
    /// The identity of the domain. It is not kept alive: while the slot is full, its object does that; while it is
    /// empty, a new domain at the same address is as good as the old one.
    domain: usize,
    owns: PhantomData<Shared<T, P>>,
}

/// A slot for a handle of an object of any type and domain: who has the slot knows them.
///
/// # Invariants
///
/// * `header` is null or stands for one handle of an object.
/// * A pointer that was in the slot may be used in a section of that object's domain that was open when it was read.
pub(super) struct Slot<P: Platform> {
    header: AtomicPtr<Header<P>>,
}

/// What tells a domain from all others that exist.
pub(super) fn identity<P: Platform>(domain: &DomainRef<P>) -> usize {
    ptr::from_ref(&**domain).addr()
}

impl<P: Platform> Slot<P> {
    pub(super) fn new() -> Self {
        Self { header: AtomicPtr::new(ptr::null_mut()) }
    }

    /// As [`Published::load`].
    ///
    /// # Safety
    ///
    /// The section is of the domain of every object that is ever in this slot.
    pub(super) unsafe fn load<'g>(&self, section: &'g Section<'_, P>) -> Option<AnyBorrowed<'g, P>> {
        section.domain().platform().preempt();
        // Acquire: what the publisher wrote into the object comes before what the reader sees there.
        let header = NonNull::new(self.header.load(Ordering::Acquire))?;
        // SAFETY:
        // 1. The section is open during `'g`, and of the domain of every object that is ever in this slot.
        // 2. The object was in the slot when it was read, so it is retired, if at all, after this section began; its
        //    value is dropped a grace period later, which cannot end before `'g` does.
        Some(unsafe { AnyBorrowed::new(header) })
    }

    /// Puts `new` into the slot, and returns what was there.
    pub(super) fn swap(&self, new: Option<AnyShared<P>>) -> Option<AnyShared<P>> {
        let new = new.map_or(ptr::null_mut(), |new| {
            new.domain().platform().preempt();
            new.into_header().as_ptr()
        });
        // Release: what we wrote into the new object is seen by its readers. Acquire: we see the old one's contents.
        let old = NonNull::new(self.header.swap(new, Ordering::AcqRel))?;
        // SAFETY: the pointer in the slot stood for a handle (invariant), and the swap took it out for us alone.
        Some(unsafe { AnyShared::from_header(old) })
    }

    /// Takes out what is in the slot. Looks first: many slots are empty, and a look costs less than a swap.
    // Not inlined: the end of an object does this for each of its slots.
    #[inline(never)]
    pub(super) fn take(&self) -> Option<AnyShared<P>> {
        if self.is_empty() { None } else { self.swap(None) }
    }

    /// Puts `new`, if there is any, into a slot that is empty.
    pub(super) fn put(&self, new: Option<AnyShared<P>>) {
        if new.is_some() {
            self.swap(new);
        }
    }

    /// Fills an empty slot. False if it is full; `new` is given up then.
    fn fill(&self, new: AnyShared<P>) -> bool {
        let new = new.into_header();
        // As in `swap`.
        let filled =
            self.header.compare_exchange(ptr::null_mut(), new.as_ptr(), Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if !filled {
            // SAFETY: the pointer stands for the handle, which did not go into the slot.
            drop(unsafe { AnyShared::from_header(new) });
        }
        filled
    }

    fn addr(&self) -> usize {
        self.header.load(Ordering::Acquire).addr()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.addr() == 0
    }
}

impl<P: Platform> Drop for Slot<P> {
    fn drop(&mut self) {
        self.take();
    }
}

/// A slot that is filled once and stays so as long as it is there. Readers need no section: for what many objects of a
/// type never have.
///
/// # Invariants
///
/// What is in the slot is a `T`, and nothing takes it out before the slot is dropped.
pub struct Once<T, P: Platform> {
    slot: Slot<P>,
    owns: PhantomData<Shared<T, P>>,
}

impl<T: Send + Sync + 'static, P: Platform> Once<T, P> {
    /// An empty slot.
    #[must_use]
    pub fn new() -> Self {
        Self { slot: Slot::new(), owns: PhantomData }
    }

    /// What is in the slot.
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        // Acquire: what was written into the object before it came here is seen.
        let header = NonNull::new(self.slot.header.load(Ordering::Acquire))?;
        // SAFETY: the slot has a handle of a `T`, and keeps it as long as `self` is borrowed (invariant).
        Some(unsafe { AnyBorrowed::new(header).typed::<T>() }.get())
    }

    /// What is in the slot, which is filled with a fresh object of `domain` if it is empty. Of two threads that come at the
    /// same time one does that.
    ///
    /// # Errors
    ///
    /// [`NoMem`] if there is none for the object.
    pub fn get_or_try_init(&self, domain: &DomainRef<P>, fresh: impl FnOnce() -> T) -> Result<&T, NoMem> {
        if self.slot.is_empty() {
            self.slot.fill(Shared::try_new(domain, fresh())?.into_untyped());
        }
        self.get().ok_or(NoMem)
    }
}

impl<T: Send + Sync + 'static, P: Platform> Default for Once<T, P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, P: Platform> fmt::Debug for Once<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Once").field(&self.slot.header).finish()
    }
}

impl<T, P: Platform> Published<T, P> {
    /// An empty slot for objects of `domain`.
    #[must_use]
    pub fn new(domain: &DomainRef<P>) -> Self {
        Self { slot: Slot::new(), domain: identity(domain), owns: PhantomData }
    }

    /// What is in the slot. Valid while the section is open, whatever happens to the slot.
    ///
    /// # Panics
    ///
    /// If the section is of another domain.
    pub fn load<'g>(&self, section: &'g Section<'_, P>) -> Option<Borrowed<'g, T, P>> {
        assert!(identity(section.domain()) == self.domain, "epoch section of another domain");
        // SAFETY: what is ever in the slot is a `T` of this domain (invariant).
        unsafe { self.slot.load(section).map(|object| object.typed()) }
    }

    /// A handle of what is in the slot. `None` also if the last handle of it has just gone.
    ///
    /// # Panics
    ///
    /// If the section is of another domain.
    pub fn share(&self, section: &Section<'_, P>) -> Option<Shared<T, P>> {
        self.load(section)?.try_share()
    }

    /// Puts `new` into the slot, and returns what was there.
    ///
    /// # Panics
    ///
    /// If `new` lives in another domain than the slot is for.
    pub fn swap(&self, new: Option<Shared<T, P>>) -> Option<Shared<T, P>> {
        let new = new.map(|new| {
            assert!(identity(new.domain()) == self.domain, "object of another epoch domain");
            new.into_untyped()
        });
        // SAFETY: what is ever in the slot is a `T` (invariant).
        self.slot.swap(new).map(|old| unsafe { old.into_typed() })
    }

    /// Whether the slot holds this very object now.
    #[must_use]
    pub fn is(&self, handle: &Shared<T, P>) -> bool {
        self.slot.addr() == handle.addr()
    }

    /// Whether the slot is empty now.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.slot.is_empty()
    }
}

// SAFETY: it owns a handle and gives out handles: what `Shared` needs to be sent, this needs.
unsafe impl<T: Send + Sync, P: Platform> Send for Published<T, P> {}
// SAFETY: as for `Send`: threads that share the slot share what is in it.
unsafe impl<T: Send + Sync, P: Platform> Sync for Published<T, P> {}

impl<T, P: Platform> fmt::Debug for Published<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Published").field(&self.slot.header).finish()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::sync::atomic::AtomicUsize;
    use std::sync::Arc;

    use super::*;
    use crate::epoch::Domain;
    use crate::testing::domain;

    #[test]
    fn readers_see_the_old_object_until_they_leave() {
        let (host, domain) = domain();
        let reader = Domain::register(&domain).expect("a record");
        let slot = Published::new(&domain);
        assert!(slot.is_none());
        let one = Shared::try_new(&domain, 1).expect("memory");
        assert!(slot.swap(Some(one.clone())).is_none());
        assert!(slot.is(&one));
        drop(one);
        let section = reader.enter();
        let seen = slot.load(&section).expect("an object");
        drop(slot.swap(Some(Shared::try_new(&domain, 2).expect("memory"))));
        while domain.poll() {}
        assert_eq!(*seen, 1);
        assert!(seen.try_share().is_none(), "no handle is left to share");
        assert_eq!(slot.share(&section).as_deref(), Some(&2));
        drop(section);
        drop(slot);
        domain.drain_callbacks(&reader);
        drop((reader, domain));
        assert_eq!(host.arena().live(), 0);
    }

    #[test]
    #[should_panic = "epoch section of another domain"]
    fn a_section_of_another_domain_is_refused() {
        let (_, one) = domain();
        let (_, two) = domain();
        let reader = Domain::register(&two).expect("a record");
        let section = reader.enter();
        let _ = Published::<u8, _>::new(&one).load(&section);
    }

    #[test]
    #[should_panic = "object of another epoch domain"]
    #[cfg_attr(miri, ignore = "the panic leaves a callback queued")]
    fn an_object_of_another_domain_is_refused() {
        let (_, one) = domain();
        let (_, two) = domain();
        Published::new(&one).swap(Some(Shared::try_new(&two, ()).expect("memory")));
    }

    #[test]
    fn a_slot_is_filled_once_and_keeps_what_it_has() {
        let (host, domain) = domain();
        let slot = Once::<usize, _>::new();
        assert!(slot.get().is_none());
        host.arena().fail_after(0);
        assert_eq!(slot.get_or_try_init(&domain, || 1), Err(NoMem));
        host.arena().fail_never();
        assert!(slot.get().is_none());
        let seen = std::thread::scope(|scope| {
            let fill = |n| *slot.get_or_try_init(&domain, || n).expect("memory");
            [2, 3].map(|n| scope.spawn(move || fill(n))).map(|filled| filled.join().expect("no panic"))
        });
        assert_eq!([slot.get().copied(); 2], seen.map(Some));
        assert!(!slot.slot.fill(Shared::try_new(&domain, 4_usize).expect("memory").into_untyped()), "it is full");
        drop(slot);
        while domain.poll() {}
        drop(domain);
        assert_eq!(host.arena().live(), 0);
    }

    /// A value that is never the same twice while alive, and is zero when it is not.
    struct Live(AtomicUsize, Arc<AtomicUsize>);

    impl Drop for Live {
        fn drop(&mut self) {
            self.0.store(0, Ordering::SeqCst);
            self.1.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn stress() {
        let rounds = if cfg!(miri) { 12 } else { 4000 };
        let (host, domain) = domain();
        let alive = Arc::new(AtomicUsize::new(0));
        let slot = Published::<Live, _>::new(&domain);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let reader = Domain::register(&domain).expect("a record");
                    for _ in 0..rounds {
                        let section = reader.enter();
                        let kept = slot.share(&section);
                        if let Some(seen) = slot.load(&section) {
                            assert_ne!(seen.0.load(Ordering::Relaxed), 0, "seen after the end");
                        }
                        drop(section);
                        assert!(kept.is_none_or(|kept| kept.0.load(Ordering::Relaxed) != 0));
                    }
                });
            }
            scope.spawn(|| {
                let reader = Domain::register(&domain).expect("a record");
                for n in 1..=rounds {
                    alive.fetch_add(1, Ordering::SeqCst);
                    let new = Live(AtomicUsize::new(n), alive.clone());
                    drop(slot.swap(Some(Shared::try_new(&domain, new).expect("memory"))));
                    match n % 5 {
                        0 => domain.wait(&reader),
                        1 => domain.drain_callbacks(&reader),
                        _ => drop(domain.poll()),
                    }
                }
            });
        });
        drop(slot);
        while domain.poll() {}
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        drop(domain);
        assert_eq!(host.arena().live(), 0);
    }
}
