//! The error numbers that the emulated calls return, by FreeBSD's names and values.

use core::fmt;

macro_rules! errnos {
    ($($name:ident = $value:literal, $text:literal;)*) => {
        /// An error number of FreeBSD's `<errno.h>`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Errno {
            $(#[doc = $text] $name = $value,)*
        }

        impl Errno {
            /// Every error number known here, in ascending order of value.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The symbolic name, as in the manual page: `"ENXIO"`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The text of `strerror(3)`.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

errnos! {
    EPERM = 1, "Operation not permitted";
    ENOENT = 2, "No such file or directory";
    ENXIO = 6, "Device not configured";
    EBADF = 9, "Bad file descriptor";
    ENOMEM = 12, "Cannot allocate memory";
    EBUSY = 16, "Device busy";
    EEXIST = 17, "File exists";
    ENODEV = 19, "Operation not supported by device";
    EINVAL = 22, "Invalid argument";
    ENOSPC = 28, "No space left on device";
    EMLINK = 31, "Too many links";
    EAGAIN = 35, "Resource temporarily unavailable";
    EPROTONOSUPPORT = 43, "Protocol not supported";
    EOPNOTSUPP = 45, "Operation not supported";
    EADDRINUSE = 48, "Address already in use";
    EADDRNOTAVAIL = 49, "Can't assign requested address";
    ENETDOWN = 50, "Network is down";
    ENOBUFS = 55, "No buffer space available";
    ELOOP = 62, "Too many levels of symbolic links";
    ENAMETOOLONG = 63, "File name too long";
    EHOSTDOWN = 64, "Host is down";
    ENOMSG = 83, "No message of desired type";
    EDOOFUS = 88, "Programming error";
}

impl Errno {
    /// The number that FreeBSD's C interfaces carry.
    #[must_use]
    pub const fn value(self) -> i32 {
        self as i32
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for Errno {}
