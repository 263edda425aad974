//! How long a kernel object lives: its references, and the mark that it was freed.
//!
//! FreeBSD counts references in the object and frees the memory after a grace period. Here the two are separate. The
//! *memory* belongs to [`Shared`](crate::mem::Shared) and cannot be touched after it is gone, whatever a driver does. The
//! *object* lives as long as its [`Life`] says: by `refcount(9)`, as in FreeBSD, and then it is marked freed. Touching a
//! freed object is the use after free of the emulated kernel; with the feature `hazards` every touch is checked and
//! reported at once, and it is never undefined behaviour of this library.

use core::fmt;
use core::marker::PhantomData;

use crate::epoch::DomainRef;
use crate::mem::Refcount;
use crate::platform::Platform;
use crate::sync::atomic::{AtomicBool, Ordering};

/// How an object that knows no domain itself is watched: by the host, with the feature `hazards`. Nothing without it.
pub(crate) struct Watch<P: Platform> {
    #[cfg(feature = "hazards")]
    domain: DomainRef<P>,
    host: PhantomData<fn() -> P>,
}

impl<P: Platform> Watch<P> {
    pub(crate) fn new(domain: &DomainRef<P>) -> Self {
        let _ = domain;
        Self {
            #[cfg(feature = "hazards")]
            domain: domain.clone(),
            host: PhantomData,
        }
    }

    /// As [`Life::touch`].
    pub(crate) fn touch(&self, life: &Life, what: &dyn fmt::Display) {
        let _ = (life, what);
        #[cfg(feature = "hazards")]
        life.touch(self.domain.platform(), what);
    }
}

/// References of an object, and whether it was freed.
pub(crate) struct Life {
    refs: Refcount,
    freed: AtomicBool,
    /// The last reference is gone, and what frees the object is queued.
    deferred: AtomicBool,
}

impl Life {
    /// An object that is born with one reference.
    pub(crate) fn new() -> Self {
        Self { refs: Refcount::new(1), freed: AtomicBool::new(false), deferred: AtomicBool::new(false) }
    }

    /// The number of references.
    pub(crate) fn refs(&self) -> u32 {
        self.refs.get()
    }

    /// `refcount_acquire`. `false` if the count was zero, which is an error of the caller.
    pub(crate) fn acquire(&self) -> bool {
        self.refs.acquire() > 0
    }

    /// `refcount_acquire_if_not_zero`.
    pub(crate) fn try_acquire(&self) -> bool {
        self.refs.try_acquire()
    }

    /// `refcount_release`: `true` when this was the last reference. One release too many is a panic.
    pub(crate) fn release<P: Platform>(&self, platform: &P) -> bool {
        match self.refs.release() {
            Ok(last) => last,
            Err(_) => platform.panic(format_args!("refcount_release: the count was zero")),
        }
    }

    /// Marks the object as freed. `false` if it already was: a double free.
    pub(crate) fn free(&self) -> bool {
        !self.freed.swap(true, Ordering::AcqRel)
    }

    /// Notes that what frees the object is queued.
    pub(crate) fn note_deferred(&self) {
        self.deferred.store(true, Ordering::Release);
    }

    /// Whether the object is freed as soon as the callbacks run that are queued now.
    pub(crate) fn is_deferred(&self) -> bool {
        self.deferred.load(Ordering::Acquire)
    }

    pub(crate) fn is_freed(&self) -> bool {
        self.freed.load(Ordering::Acquire)
    }

    /// Every access to the object passes here. It is a step on shared memory for the model checker, and the shadow
    /// check for use after free. Nothing without the feature `hazards`.
    #[inline]
    pub(crate) fn touch<P: Platform>(&self, platform: &P, what: &dyn fmt::Display) {
        if cfg!(feature = "hazards") {
            platform.preempt();
            if self.is_freed() {
                platform.panic(format_args!("use after free: {what}"));
            }
        }
    }
}
