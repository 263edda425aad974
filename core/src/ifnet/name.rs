//! Interface and group names: at most `IFNAMSIZ` bytes with the terminating NUL.

use core::fmt;
use core::ops::Deref;

use crate::Errno;

/// Size of the C buffer of a name, with its terminating NUL.
pub const IFNAMSIZ: usize = 16;

/// A name that fits `IFNAMSIZ`: at most 15 bytes, none of them NUL. May be empty, as a group name in FreeBSD may.
#[derive(Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct IfName(heapless::String<{ IFNAMSIZ - 1 }, u8>);

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// More than 15 bytes: `ENAMETOOLONG`.
    TooLong,
    /// An interface's name may not be empty: `EINVAL`.
    Empty,
    /// A NUL byte inside the name: `EINVAL`.
    Nul,
}

impl NameError {
    /// The error number that the ioctl gives.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::TooLong => Errno::ENAMETOOLONG,
            Self::Empty | Self::Nul => Errno::EINVAL,
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "name longer than 15 bytes",
            Self::Empty => "empty name",
            Self::Nul => "NUL in a name",
        })
    }
}

impl core::error::Error for NameError {}

impl From<NameError> for Errno {
    fn from(error: NameError) -> Self {
        error.errno()
    }
}

impl IfName {
    /// A name that may be empty: a group's.
    ///
    /// # Errors
    /// [`NameError::TooLong`], [`NameError::Nul`].
    pub fn new_or_empty(text: &str) -> Result<Self, NameError> {
        if text.contains('\0') {
            return Err(NameError::Nul);
        }
        heapless::String::try_from(text).map(Self).map_err(|_| NameError::TooLong)
    }

    /// An interface's name.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() { Err(NameError::Empty) } else { Self::new_or_empty(text) }
    }

    /// `<stem><number>`, as `if_initname` makes it.
    ///
    /// # Errors
    /// [`NameError::TooLong`].
    pub fn numbered(stem: &str, number: u32, suffix: &str) -> Result<Self, NameError> {
        let mut name = Self::new(stem)?;
        fmt::Write::write_fmt(&mut name.0, format_args!("{number}{suffix}")).map_err(|_| NameError::TooLong)?;
        Ok(name)
    }
}

impl Deref for IfName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_to_fifteen_bytes_and_no_nul() {
        assert_eq!(IfName::new("abcdefghijklmno").map(|n| n.len()), Ok(15));
        assert_eq!(IfName::new("abcdefghijklmnop"), Err(NameError::TooLong));
        assert_eq!(IfName::new(""), Err(NameError::Empty));
        assert_eq!(IfName::new("a\0b"), Err(NameError::Nul));
        assert_eq!(IfName::new_or_empty(""), Ok(IfName::default()));
        assert_eq!(NameError::TooLong.errno(), Errno::ENAMETOOLONG);
        assert_eq!(NameError::Nul.errno(), Errno::EINVAL);
    }

    #[test]
    fn a_numbered_name_may_not_overflow() {
        assert_eq!(&*IfName::numbered("disc", 32767, "").unwrap(), "disc32767");
        assert_eq!(&*IfName::numbered("epair", 0, "b").unwrap(), "epair0b");
        assert_eq!(IfName::numbered("abcdefghijklmn", 10, ""), Err(NameError::TooLong));
    }
}
