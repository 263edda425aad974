//! `refcount(9)` as plain data.

use crate::sync::atomic::{AtomicU32, Ordering};

/// A count that is only a count: what happens at zero is the caller's business.
#[derive(Debug)]
pub struct Refcount(AtomicU32);

/// A count that was zero already has been released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Underflow;

impl Refcount {
    /// `refcount_init(9)`.
    #[must_use]
    pub fn new(count: u32) -> Self {
        Self(AtomicU32::new(count))
    }

    /// `refcount_acquire(9)`: counts one more and returns the old count. The caller has a reference already: an old
    /// count of zero is his bug, and he is shown it.
    pub fn acquire(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// `refcount_acquire_if_not_zero(9)`.
    pub fn try_acquire(&self) -> bool {
        self.0
            .fetch_update(
                Ordering::Relaxed,
                Ordering::Relaxed,
                |count| if count == 0 { None } else { count.checked_add(1) },
            )
            .is_ok()
    }

    /// `refcount_release(9)`: whether that was the last reference. All that others did before they released theirs
    /// happens before a `true`.
    ///
    /// # Errors
    ///
    /// [`Underflow`] if the count was zero; it stays zero.
    pub fn release(&self) -> Result<bool, Underflow> {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |count| count.checked_sub(1))
            .map(|old| old == 1)
            .map_err(|_| Underflow)
    }

    /// `refcount_load(9)`. It may have changed by the time it is looked at.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let count = Refcount::new(1);
        assert_eq!(count.acquire(), 1);
        assert!(count.try_acquire());
        assert_eq!(count.get(), 3);
        assert_eq!([count.release(), count.release(), count.release()], [Ok(false), Ok(false), Ok(true)]);
        assert_eq!(count.release(), Err(Underflow));
        assert!(!count.try_acquire());
        assert_eq!(count.acquire(), 0);
        assert!(!Refcount::new(u32::MAX).try_acquire());
    }
}
