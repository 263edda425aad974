//! Memory: handles that wait for readers, lists of them, and containers that report a lack of memory.
//!
//! Nothing here names a global allocator or links the `alloc` crate (a kernel that links it must define one), and
//! nothing aborts when memory is short: every call that may need some is named `try_…` and returns [`NoMem`], having
//! changed nothing. The others never allocate, and that is what a teardown path may call.
//!
//! | for | take |
//! |---|---|
//! | an object that epoch readers look at | [`Shared`], seen as [`Borrowed`], published in a [`Published`] |
//! | a list of them, in order | [`TailQ`] |
//! | what most of its kind never have | [`Once`] |
//! | a driver's private part | [`AnyShared`] |
//! | a bare reference count | [`Refcount`] |
//! | the lowest free index or unit | [`IdSpace`] |
//! | an array, a hash table | [`TryVec`], [`TryTable`] |
//! | a kernel without a heap | [`StaticPool`], or a [`FixedPool`] over memory that it has found |
//!
//! The containers know nothing of [`epoch`](crate::epoch), which uses one of them; the handles are built on top of it.

pub(crate) mod raw;

mod idspace;
mod pool;
mod published;
mod refcount;
mod shared;
mod table;
mod tailq;
mod vec;

use core::fmt;

use crate::errno::Errno;

pub use idspace::IdSpace;
pub use pool::{FixedPool, PoolRef, StaticPool};
pub use published::{Once, Published};
pub use refcount::{Refcount, Underflow};
pub use shared::{AnyShared, Borrowed, Shared};
pub use table::{TryTable, hash_str, hash_u64};
pub use tailq::{Iter, Link, Linked, TailQ};
pub use vec::TryVec;

/// There is not enough memory: `ENOMEM`. Whatever was asked for has not happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NoMem;

impl From<NoMem> for Errno {
    fn from(_: NoMem) -> Self {
        Self::ENOMEM
    }
}

impl fmt::Display for NoMem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Errno::ENOMEM.fmt(f)
    }
}

impl core::error::Error for NoMem {}
