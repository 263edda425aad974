//! Handles of objects whose type only their users know: a driver's data, what is in a slot or on a list.
//!
//! One copy of the code serves all types. What a type means is in the object's header.
#![expect(unsafe_code, reason = "gives handles their types back")]

use core::any::TypeId;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use super::{Block, Borrowed, Header, Shared, release, release_many};
use crate::epoch::DomainRef;
use crate::platform::Platform;

/// A [`Shared`] whose type is not known at compile time: `void *if_softc`.
///
/// # Invariants
///
/// As for [`Shared`]: `header` begins a live block, and this handle is one of its count.
#[repr(transparent)]
pub struct AnyShared<P: Platform> {
    header: NonNull<Header<P>>,
}

// SAFETY: it is made only from a `Shared<T, P>` with `T: Send + Sync`.
unsafe impl<P: Platform> Send for AnyShared<P> {}
// SAFETY: as for `Send`.
unsafe impl<P: Platform> Sync for AnyShared<P> {}

impl<T: Send + Sync + 'static, P: Platform> Shared<T, P> {
    /// Forgets the type.
    #[must_use]
    pub fn erase(self) -> AnyShared<P> {
        self.into_untyped()
    }
}

impl<T, P: Platform> Shared<T, P> {
    /// The same handle, with its type forgotten.
    pub(in crate::mem) fn into_untyped(self) -> AnyShared<P> {
        AnyShared { header: ManuallyDrop::new(self).block.cast() }
    }

    /// This handle, with its type forgotten.
    pub(in crate::mem) fn untyped(&self) -> &AnyShared<P> {
        // SAFETY: both are nothing but a pointer to the same block (`repr(transparent)`), and a handle of it.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }
}

impl<P: Platform> AnyShared<P> {
    fn header(&self) -> &Header<P> {
        // SAFETY: the block is alive (invariant).
        unsafe { self.header.as_ref() }
    }

    /// The object, if it is a `T`.
    #[must_use]
    pub fn downcast<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let block = self.block_of::<T>()?;
        // SAFETY: the block holds a `T`, and the count is not zero, so the value is there.
        Some(unsafe { &(*block.as_ptr()).value })
    }

    /// A typed handle of the object, if it is a `T`.
    #[must_use]
    pub fn to_shared<T: Send + Sync + 'static>(&self) -> Option<Shared<T, P>> {
        let block = self.block_of::<T>()?;
        self.header().acquire(1);
        Some(Shared { block, owns: PhantomData })
    }

    /// The name of the object's type, for messages.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        (self.header().kind.type_name)()
    }

    /// The address of the object, as [`Shared::addr`].
    #[must_use]
    pub fn addr(&self) -> usize {
        self.header.addr().get()
    }

    pub(in crate::mem) fn domain(&self) -> &DomainRef<P> {
        &self.header().domain
    }

    /// Looks at the object through this handle as a reader would.
    pub(in crate::mem) fn borrow(&self) -> AnyBorrowed<'_, P> {
        AnyBorrowed { header: self.header, during: PhantomData }
    }

    /// The handle as a pointer, which now stands for it.
    pub(in crate::mem) fn into_header(self) -> NonNull<Header<P>> {
        ManuallyDrop::new(self).header
    }

    /// The reverse of [`into_header`](Self::into_header).
    ///
    /// # Safety
    ///
    /// `header` stands for a handle, which is the result from now on.
    pub(in crate::mem) unsafe fn from_header(header: NonNull<Header<P>>) -> Self {
        Self { header }
    }

    /// The reverse of [`Shared::into_untyped`].
    ///
    /// # Safety
    ///
    /// The object is a `T`.
    pub(in crate::mem) unsafe fn into_typed<T>(self) -> Shared<T, P> {
        Shared { block: self.into_header().cast(), owns: PhantomData }
    }

    /// Three more handles: what an element of a list is held by. They are counted in one step.
    pub(in crate::mem) fn thrice(&self) -> [Self; 3] {
        self.header().acquire(3);
        [(); 3].map(|()| Self { header: self.header })
    }

    /// Gives up three handles, in one step if they are of one object.
    pub(in crate::mem) fn give_up(handles: [Option<Self>; 3]) {
        if let [Some(one), Some(two), Some(three)] = &handles
            && one.header == two.header
            && two.header == three.header
        {
            let header = one.header;
            core::mem::forget(handles);
            // SAFETY: the three were handles of this object, and end here.
            unsafe { release_many(header, 3) };
        }
    }

    fn block_of<T: 'static>(&self) -> Option<NonNull<Block<T, P>>> {
        ((self.header().kind.type_id)() == TypeId::of::<T>()).then_some(self.header.cast())
    }
}

impl<P: Platform> Clone for AnyShared<P> {
    fn clone(&self) -> Self {
        self.header().acquire(1);
        Self { header: self.header }
    }
}

impl<P: Platform> Drop for AnyShared<P> {
    fn drop(&mut self) {
        // SAFETY: this handle is one of the count (invariant) and ends here.
        unsafe { release(self.header) };
    }
}

impl<P: Platform> fmt::Debug for AnyShared<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnyShared({} at {:#x})", self.type_name(), self.addr())
    }
}

/// A [`Borrowed`] whose type is not known at compile time.
///
/// # Invariants
///
/// As for [`Borrowed`].
pub(in crate::mem) struct AnyBorrowed<'g, P: Platform> {
    header: NonNull<Header<P>>,
    during: PhantomData<&'g ()>,
}

impl<'g, P: Platform> AnyBorrowed<'g, P> {
    /// # Safety
    ///
    /// The value of the object is not dropped during `'g`.
    pub(in crate::mem) unsafe fn new(header: NonNull<Header<P>>) -> Self {
        Self { header, during: PhantomData }
    }

    pub(in crate::mem) fn addr(self) -> usize {
        self.header.addr().get()
    }

    /// # Safety
    ///
    /// The object is a `T`.
    pub(in crate::mem) unsafe fn typed<T>(self) -> Borrowed<'g, T, P> {
        Borrowed { block: self.header.cast(), during: PhantomData }
    }
}

impl<P: Platform> Clone for AnyBorrowed<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Platform> Copy for AnyBorrowed<'_, P> {}
