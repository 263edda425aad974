//! Numbers that are taken and given back, lowest first: interface indexes, units of cloners, vnets.
//!
//! A bitmap with a summary on top, which has a bit for each word of the bitmap that is full. The lowest free number is found
//! by looking along the summary, one word for 4,096 numbers.

use allocator_api2::alloc::Allocator;

use super::{NoMem, TryVec};

const BITS: u32 = u64::BITS;

/// A set of numbers that are in use.
///
/// # Invariants
///
/// * A bit of `words` is set if and only if its number is taken.
/// * A bit of `full` is set if and only if the word that it stands for is there and is full.
/// * Words that are not there count as empty. The last one of `words` is not empty.
#[derive(Debug)]
pub struct IdSpace<A: Allocator> {
    words: TryVec<u64, A>,
    full: TryVec<u64, A>,
}

/// The word and the bit of a number.
fn place(id: u32) -> (usize, u64) {
    ((id / BITS) as usize, 1 << (id % BITS))
}

/// Sets a bit of the word `at`.
fn set<A: Allocator>(words: &mut TryVec<u64, A>, at: usize, bit: u64) -> Result<(), NoMem> {
    while words.len() <= at {
        words.try_push(0)?;
    }
    words[at] |= bit;
    Ok(())
}

impl<A: Allocator + Clone> IdSpace<A> {
    /// A space in which no number is taken. Allocates nothing.
    pub fn new(allocator: A) -> Self {
        Self { words: TryVec::new(allocator.clone()), full: TryVec::new(allocator) }
    }
}

impl<A: Allocator> IdSpace<A> {
    /// Takes the lowest free number below `limit`. `None` if all of them are taken.
    ///
    /// # Errors
    ///
    /// [`NoMem`] if the bitmap has to grow and cannot; nothing has changed then.
    pub fn alloc_lowest(&mut self, limit: u32) -> Result<Option<u32>, NoMem> {
        let id = self.lowest_free();
        match id {
            Some(id) if id < limit => self.take(id).map(|taken| taken.then_some(id)),
            _ => Ok(None),
        }
    }

    /// The number that [`alloc_lowest`](Self::alloc_lowest) would take if there were no limit.
    #[must_use]
    pub fn lowest_free(&self) -> Option<u32> {
        let lowest_clear = |words: &[u64], at: usize| {
            at as u64 * u64::from(BITS) + u64::from(words.get(at).map_or(0, |word| word.trailing_ones()))
        };
        let some_not_full = self.full.iter().position(|word| *word != u64::MAX).unwrap_or(self.full.len());
        // INVARIANT: the word that is found is not full, or not there.
        let word = lowest_clear(&self.full, some_not_full);
        u32::try_from(lowest_clear(&self.words, usize::try_from(word).ok()?)).ok()
    }

    /// Takes this number. False if it is taken already.
    ///
    /// # Errors
    ///
    /// [`NoMem`] if the bitmap has to grow and cannot; nothing has changed then.
    pub fn take(&mut self, id: u32) -> Result<bool, NoMem> {
        if self.is_taken(id) {
            return Ok(false);
        }
        let (at, bit) = place(id);
        let (summary, full) = place(at as u32);
        // First the room that may fail, then the changes. Empty words at the end of the summary are none.
        self.words.try_reserve((at + 1).saturating_sub(self.words.len()))?;
        if self.words.get(at).is_some_and(|word| word | bit == u64::MAX) {
            set(&mut self.full, summary, full)?;
        }
        set(&mut self.words, at, bit)?;
        Ok(true)
    }

    /// Gives this number back. False if it was not taken. Never allocates.
    pub fn give(&mut self, id: u32) -> bool {
        if !self.is_taken(id) {
            return false;
        }
        let (at, bit) = place(id);
        if self.words[at] == u64::MAX {
            let (summary, full) = place(at as u32);
            self.full[summary] &= !full;
        }
        self.words[at] &= !bit;
        // Each word is dropped once for the time that it was pushed, so this costs no more than taking did.
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
        true
    }

    /// Whether the number is taken.
    #[must_use]
    pub fn is_taken(&self, id: u32) -> bool {
        let (at, bit) = place(id);
        self.words.get(at).is_some_and(|word| word & bit != 0)
    }

    /// The highest number that is taken: `if_index`. Does not search: the last word is never empty.
    #[must_use]
    pub fn highest(&self) -> Option<u32> {
        let (last, below) = self.words.split_last()?;
        Some(below.len() as u32 * BITS + (BITS - 1 - last.leading_zeros()))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::{Arena, Random};

    #[test]
    fn lowest_first_and_limit() {
        let arena = Arena::default();
        let mut ids = IdSpace::new(arena.clone());
        assert_eq!(ids.highest(), None);
        for id in 0..200 {
            assert_eq!(ids.alloc_lowest(200), Ok(Some(id)));
        }
        assert_eq!(ids.alloc_lowest(200), Ok(None));
        assert!(ids.give(63) && ids.give(64) && !ids.give(64));
        assert_eq!(ids.take(64), Ok(true));
        assert_eq!(ids.take(64), Ok(false));
        assert_eq!(ids.alloc_lowest(200), Ok(Some(63)));
        assert_eq!(ids.highest(), Some(199));
        drop(ids);
        assert_eq!(arena.live(), 0);
    }

    #[test]
    fn the_summary_carries() {
        let mut ids = IdSpace::new(Arena::default());
        let n = if cfg!(miri) { 64 * 3 } else { 64 * 64 * 3 };
        for id in 0..n {
            assert_eq!(ids.alloc_lowest(u32::MAX), Ok(Some(id)));
        }
        assert!(ids.give(n / 2));
        assert_eq!(ids.lowest_free(), Some(n / 2));
        assert_eq!(ids.alloc_lowest(u32::MAX), Ok(Some(n / 2)));
        assert_eq!(ids.lowest_free(), Some(n));
    }

    #[test]
    fn a_number_far_out() {
        let mut ids = IdSpace::new(Arena::default());
        assert_eq!(ids.take(100_000), Ok(true));
        assert_eq!(ids.highest(), Some(100_000));
        assert_eq!(ids.alloc_lowest(10), Ok(Some(0)));
        assert!(ids.is_taken(100_000) && !ids.is_taken(99_999) && !ids.is_taken(u32::MAX));
    }

    #[test]
    fn no_memory_changes_nothing() {
        let arena = Arena::default();
        let mut ids = IdSpace::new(arena.clone());
        for id in 0..64 {
            arena.fail_after(0);
            let failed = ids.alloc_lowest(1000);
            arena.fail_never();
            if failed.is_err() {
                assert!(!ids.is_taken(id));
                assert_eq!(ids.alloc_lowest(1000), Ok(Some(id)));
            } else {
                assert_eq!(failed, Ok(Some(id)));
            }
        }
        assert_eq!(ids.lowest_free(), Some(64));
    }

    #[test]
    fn agrees_with_a_set() {
        let mut ids = IdSpace::new(Arena::default());
        let mut model = BTreeSet::new();
        let mut random = Random(7);
        for _ in 0..if cfg!(miri) { 300 } else { 20_000 } {
            let id = random.below(500) as u32;
            match random.below(3) {
                0 => assert_eq!(ids.take(id), Ok(model.insert(id))),
                1 => assert_eq!(ids.give(id), model.remove(&id)),
                _ => {
                    let lowest = (0..).find(|id| !model.contains(id)).expect("endless");
                    assert_eq!(ids.alloc_lowest(u32::MAX), Ok(Some(lowest)));
                    model.insert(lowest);
                }
            }
            assert_eq!(ids.highest(), model.last().copied());
        }
    }
}
