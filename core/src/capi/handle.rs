//! Handles: what C holds instead of pointers.
//!
//! A handle is a number of 64 bits, on every machine. It says what kind of object it names, in which place the kernel is,
//! where the object is found, and its *serial*. A serial is given once and never again, in that place: not for another
//! object, not at another boot. So a handle that is null, stale, made up, of another kind or of another kernel is an error
//! and nothing else, however long C has kept it. There are 2^44 serials; who has used them up gets `ENOSPC`.
//!
//! From the low end: kind 2 bits, place 2, number 16, serial 44. The number of a thread or of a vnet is that of its slot;
//! that of an interface is the low part of its index, by which the table of shares is hashed.

use super::abi::{if_t, ifnet_kernel_t, ifnet_thread_t, vnet_t};
use crate::Errno;

const KIND_BITS: u32 = 2;
const PLACE_BITS: u32 = 2;
const NUMBER_BITS: u32 = 16;

/// How many kernels of one platform C can see at a time.
pub(super) const PLACES: usize = 1 << PLACE_BITS;
/// Slots have smaller numbers than this.
pub(super) const NUMBERS: usize = 1 << NUMBER_BITS;
/// The last serial that fits.
const LAST_SERIAL: u64 = u64::MAX >> (KIND_BITS + PLACE_BITS + NUMBER_BITS);

/// One of the types that C knows.
pub(super) trait CHandle: Copy {
    /// What it names; not two types the same.
    const KIND: u64;
    /// None.
    const NULL: Self;
    fn bits(self) -> u64;
    fn from_bits(bits: u64) -> Self;
}

/// Numbers the types that C knows.
macro_rules! handles {
    ($($name:ident = $kind:literal),*) => {$(
        impl CHandle for $name {
            const KIND: u64 = $kind;
            const NULL: Self = Self(0);
            fn bits(self) -> u64 {
                self.0
            }
            fn from_bits(bits: u64) -> Self {
                Self(bits)
            }
        }
    )*};
}
handles! { ifnet_kernel_t = 0, ifnet_thread_t = 1, vnet_t = 2, if_t = 3 }

/// A handle, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) place: usize,
    pub(super) number: usize,
    /// Not zero, so that no handle is null.
    pub(super) serial: u64,
}

impl Handle {
    /// As C gets it.
    pub(super) fn encode<H: CHandle>(self) -> H {
        let Self { place, number, serial } = self;
        let high = serial << NUMBER_BITS | (number % NUMBERS) as u64;
        H::from_bits((high << PLACE_BITS | (place % PLACES) as u64) << KIND_BITS | H::KIND)
    }

    /// As it came from C.
    ///
    /// # Errors
    /// `EINVAL` for null, `EBADF` for what cannot be a handle of this kind.
    pub(super) fn decode<H: CHandle>(handle: H) -> Result<Self, Errno> {
        let mut bits = handle.bits();
        if bits == 0 {
            return Err(Errno::EINVAL);
        }
        let mut take = |count: u32| {
            let field = bits & ((1 << count) - 1);
            bits >>= count;
            field
        };
        let (kind, place, number) = (take(KIND_BITS), take(PLACE_BITS) as usize, take(NUMBER_BITS) as usize);
        if kind != H::KIND || bits == 0 {
            return Err(Errno::EBADF);
        }
        Ok(Self { place, number, serial: bits })
    }
}

/// Where the serials of a place come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Serials {
    last: u64,
}

impl Serials {
    /// None is used yet.
    pub(super) const NEW: Self = Self { last: 0 };

    /// One that was never given before.
    ///
    /// # Errors
    /// `ENOSPC` if all have been given.
    pub(super) fn next(&mut self) -> Result<u64, Errno> {
        if self.last == LAST_SERIAL {
            return Err(Errno::ENOSPC);
        }
        self.last += 1;
        Ok(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_survives_the_way_through_c() {
        for (place, number, serial) in [(0, 0, 1), (3, 65535, LAST_SERIAL), (1, 300, 1 << 40)] {
            let handle = Handle { place, number, serial };
            assert_eq!(Handle::decode(handle.encode::<if_t>()), Ok(handle));
            assert_eq!(Handle::decode(handle.encode::<ifnet_kernel_t>()), Ok(handle));
            assert_eq!(Handle::decode(vnet_t(handle.encode::<if_t>().0)), Err(Errno::EBADF));
            assert_ne!(handle.encode::<ifnet_thread_t>(), ifnet_thread_t::NULL);
        }
    }

    #[test]
    fn what_cannot_be_a_handle_is_refused() {
        assert_eq!(Handle::decode(if_t(0)), Err(Errno::EINVAL));
        for kind in 0..4 {
            assert_eq!(Handle::decode(if_t(kind | 5 << 4)), Err(Errno::EBADF), "without a serial");
        }
    }

    #[test]
    fn no_serial_is_given_twice() {
        let mut serials = Serials { last: LAST_SERIAL - 2 };
        assert_eq!((serials.next(), serials.next()), (Ok(LAST_SERIAL - 1), Ok(LAST_SERIAL)));
        assert_eq!((serials.next(), serials.next()), (Err(Errno::ENOSPC), Err(Errno::ENOSPC)));
    }
}
