//! Handles: what C holds instead of pointers.
//!
//! A handle has the type of a pointer, so that the C compiler tells `if_t` from `struct vnet *`, but it is a number in
//! disguise and is never followed. It says which kernel it is of, at which of its boots, what kind of object it names, and
//! the object's number and generation. All of that is compared before anything is touched, and so a handle that is null,
//! stale, made up, of another kind or of another kernel is an error and nothing else.
//!
//! From the low end: number, generation, kind, place of the kernel, boot. On a 64-bit machine 32, 16, 2, 2 and 12 bits; on
//! a 32-bit one 16, 10, 2, 2 and 2. An object whose number does not fit has no handle. A generation comes back after so
//! many uses of one number as it has values; a handle that is kept for so long may name another object of its kind.

use core::ffi::c_void;

use crate::Errno;

const WIDE: bool = usize::BITS >= 64;
const NUMBER_BITS: u32 = if WIDE { 32 } else { 16 };
const GENERATION_BITS: u32 = if WIDE { 16 } else { 10 };
const KIND_BITS: u32 = 2;
const PLACE_BITS: u32 = 2;
const BOOT_BITS: u32 = if WIDE { 12 } else { 2 };

/// How many kernels there can be at a time.
pub(super) const PLACES: usize = 1 << PLACE_BITS;

/// What a handle names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Kernel = 0,
    Thread = 1,
    Vnet = 2,
    Ifnet = 3,
}

/// Which kernel, at which of the boots in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) place: usize,
    boot: usize,
}

impl Tag {
    /// The tag of a boot; of their number, only what fits is kept.
    pub(super) fn new(place: usize, boot: usize) -> Self {
        Self { place, boot: boot & mask(BOOT_BITS) }
    }

    /// Whether this is the tag of the boot with that number, which is not cut.
    pub(super) fn is_of(self, boot: usize) -> bool {
        self.boot == boot & mask(BOOT_BITS)
    }
}

/// A handle, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) tag: Tag,
    pub(super) kind: Kind,
    generation: usize,
    /// Not zero, so that no handle is null.
    pub(super) number: usize,
}

const fn mask(bits: u32) -> usize {
    (1 << bits) - 1
}

impl Handle {
    /// A handle of an object; `None` if its number is zero or does not fit.
    pub(super) fn new(tag: Tag, kind: Kind, generation: usize, number: usize) -> Option<Self> {
        let generation = generation & mask(GENERATION_BITS);
        (1..=mask(NUMBER_BITS)).contains(&number).then_some(Self { tag, kind, generation, number })
    }

    /// Whether this is the generation, of which only the low bits are kept.
    pub(super) fn is_generation(self, generation: usize) -> bool {
        self.generation == generation & mask(GENERATION_BITS)
    }

    /// As C gets it.
    pub(super) fn encode<T>(self) -> *mut T {
        let Self { tag: Tag { place, boot }, kind, generation, number } = self;
        let high = (boot << PLACE_BITS | place) << KIND_BITS | kind as usize;
        let bits = (high << GENERATION_BITS | generation) << NUMBER_BITS | number;
        core::ptr::without_provenance_mut::<c_void>(bits).cast()
    }

    /// As it came from C.
    ///
    /// # Errors
    /// `EINVAL` for null, `EBADF` for what cannot be a handle of this kind.
    pub(super) fn decode<T>(handle: *mut T, kind: Kind) -> Result<Self, Errno> {
        if handle.is_null() {
            return Err(Errno::EINVAL);
        }
        let mut bits = handle.addr();
        let mut take = |count: u32| {
            let field = bits & mask(count);
            bits >>= count;
            field
        };
        let (number, generation) = (take(NUMBER_BITS), take(GENERATION_BITS));
        let found = take(KIND_BITS);
        let tag = Tag { place: take(PLACE_BITS), boot: take(BOOT_BITS) };
        if number == 0 || found != kind as usize {
            return Err(Errno::EBADF);
        }
        Ok(Self { tag, kind, generation, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_survives_the_way_through_c() {
        for kind in [Kind::Kernel, Kind::Thread, Kind::Vnet, Kind::Ifnet] {
            for (place, boot, generation, number) in [(0, 0, 0, 1), (3, 3, 1023, 65535), (1, 2, 7, 300)] {
                let handle = Handle::new(Tag::new(place, boot), kind, generation, number).expect("fits");
                let raw: *mut u8 = handle.encode();
                assert_eq!(Handle::decode(raw, kind), Ok(handle));
                assert!(handle.is_generation(generation) && handle.tag.is_of(boot));
            }
        }
    }

    #[test]
    fn what_cannot_be_a_handle_is_refused() {
        assert_eq!(Handle::decode(core::ptr::null_mut::<u8>(), Kind::Ifnet), Err(Errno::EINVAL));
        let local = 0_u8;
        let zero_number = core::ptr::without_provenance_mut::<u8>(1 << NUMBER_BITS);
        assert_eq!(Handle::decode(zero_number, Kind::Kernel), Err(Errno::EBADF));
        let vnet: *mut u8 = Handle::new(Tag::new(0, 1), Kind::Vnet, 0, 1).expect("fits").encode();
        assert_eq!(Handle::decode(vnet, Kind::Ifnet), Err(Errno::EBADF));
        // A real pointer is no handle of a kernel that exists, whatever it decodes to.
        let _ = Handle::decode((&raw const local).cast_mut(), Kind::Ifnet);
        assert_eq!(Handle::new(Tag::new(0, 1), Kind::Ifnet, 0, 0), None);
        assert_eq!(Handle::new(Tag::new(0, 1), Kind::Ifnet, 0, mask(NUMBER_BITS) + 1), None);
    }
}
