//! What C passes by pointer: texts that it gives and places for results.
//!
//! Null is an error; that a pointer that is not null points to what the header says is the caller's promise, as for every
//! function in C. Nothing is read or written beyond the lengths given here.
#![expect(unsafe_code, reason = "follows pointers that C passed")]

use core::ffi::{c_char, c_int};

use crate::Errno;
use crate::ifnet::{IFNAMSIZ, IfName};

/// A name; at most `IFNAMSIZ` bytes are read.
///
/// # Safety
/// `text` is null, or points to bytes that can be read up to the first NUL, or up to `IFNAMSIZ` of them.
///
/// # Errors
/// `EINVAL` for null and for what is no UTF-8, `ENAMETOOLONG` if there is no NUL among the first `IFNAMSIZ` bytes.
pub(super) unsafe fn name(text: *const c_char) -> Result<IfName, Errno> {
    if text.is_null() {
        return Err(Errno::EINVAL);
    }
    let mut bytes = heapless::Vec::<u8, { IFNAMSIZ - 1 }>::new();
    loop {
        // SAFETY: no byte before this one was NUL, and it is one of the first `IFNAMSIZ`: the caller's promise.
        let byte = unsafe { text.cast::<u8>().add(bytes.len()).read() };
        if byte == 0 {
            break;
        }
        bytes.push(byte).map_err(|_| Errno::ENAMETOOLONG)?;
    }
    let text = core::str::from_utf8(&bytes).map_err(|_| Errno::EINVAL)?;
    Ok(IfName::new_or_empty(text)?)
}

/// Writes a result.
///
/// # Safety
/// `place` is null or points to memory that is aligned for a `T` and can be written.
///
/// # Errors
/// `EINVAL` for null.
pub(super) unsafe fn put<T>(place: *mut T, value: T) -> Result<(), Errno> {
    if place.is_null() {
        return Err(Errno::EINVAL);
    }
    // SAFETY: not null, and so the caller's promise.
    unsafe { place.write(value) };
    Ok(())
}

/// Reads a structure, or takes the default for null.
///
/// # Safety
/// `place` is null or points to a `T` that nobody writes meanwhile.
pub(super) unsafe fn get<T: Copy>(place: *const T) -> Option<T> {
    // SAFETY: not null, and so the caller's promise.
    (!place.is_null()).then(|| unsafe { place.read() })
}

/// Writes a text with its NUL.
///
/// # Safety
/// `place` is null or points to `len` bytes that can be written.
///
/// # Errors
/// `EINVAL` for null, `ENAMETOOLONG` if it does not fit; then nothing is written.
pub(super) unsafe fn put_text(place: *mut c_char, len: usize, text: &str) -> Result<(), Errno> {
    if place.is_null() {
        return Err(Errno::EINVAL);
    }
    if text.len() >= len {
        return Err(Errno::ENAMETOOLONG);
    }
    // SAFETY: `text.len() + 1 <= len` bytes can be written, and C gave them for nothing else.
    unsafe {
        place.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), text.len());
        place.cast::<u8>().add(text.len()).write(0);
    }
    Ok(())
}

/// The number that C gets of a result.
pub(super) fn errno(result: Result<(), Errno>) -> c_int {
    result.map_or_else(Errno::value, |()| 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_no_further_than_they_may_be() {
        // SAFETY: each is null or a whole C string, or has `IFNAMSIZ` bytes.
        unsafe {
            assert_eq!(name(c"em0".as_ptr()).as_deref(), Ok("em0"));
            assert_eq!(name(c"abcdefghijklmno".as_ptr()).as_deref(), Ok("abcdefghijklmno"));
            assert_eq!(name([b'x'; IFNAMSIZ].as_ptr().cast()), Err(Errno::ENAMETOOLONG));
            assert_eq!(name(c"\xff".as_ptr()), Err(Errno::EINVAL));
            assert_eq!(name(core::ptr::null()), Err(Errno::EINVAL));
        }
    }

    #[test]
    fn a_text_that_does_not_fit_is_not_written() {
        let mut place = [7_u8; 4];
        // SAFETY: `place` has as many bytes as it is said to have.
        unsafe {
            assert_eq!(put_text(place.as_mut_ptr().cast(), 4, "four"), Err(Errno::ENAMETOOLONG));
            assert_eq!(place, [7; 4]);
            assert_eq!(put_text(place.as_mut_ptr().cast(), 4, "abc"), Ok(()));
            assert_eq!(put_text(core::ptr::null_mut(), 4, "abc"), Err(Errno::EINVAL));
            assert_eq!(put(core::ptr::null_mut::<u32>(), 1), Err(Errno::EINVAL));
        }
        assert_eq!(&place, b"abc\0");
    }
}
