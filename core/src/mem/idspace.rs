//! Numbers that are taken and given back, lowest first: interface indexes, units of cloners, vnets.
//!
//! A bitmap with a summary on top: a bit of level `n + 1` is set when its whole word of level `n` is. The lowest free
//! number is found by looking at one word of each level. One level does for 64 numbers, three for 262,144.

use allocator_api2::alloc::Allocator;

use super::{NoMem, TryVec};

/// How many levels are ever needed for numbers of 32 bits: `64^6 > 2^32`.
const LEVELS: usize = 6;
const BITS: u32 = u64::BITS;

/// A set of numbers that are in use.
///
/// # Invariants
///
/// * A bit of level 0 is set if and only if its number is taken.
/// * A bit of a higher level is set if and only if the word below that it stands for is there and is full.
/// * Words and levels that are not there count as empty. The last word of level 0 is not empty.
#[derive(Debug)]
pub struct IdSpace<A: Allocator> {
    /// Level 0.
    lowest: TryVec<u64, A>,
    /// Level 1 and those above it, each made when a word below is full for the first time: most spaces have none.
    summaries: TryVec<TryVec<u64, A>, A>,
}

fn place(id: u32) -> (usize, u64) {
    ((id / BITS) as usize, 1 << (id % BITS))
}

impl<A: Allocator + Clone> IdSpace<A> {
    /// A space in which no number is taken. Allocates nothing.
    pub fn new(allocator: A) -> Self {
        Self { lowest: TryVec::new(allocator.clone()), summaries: TryVec::new(allocator) }
    }

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

    /// Takes this number. False if it is taken already.
    ///
    /// # Errors
    ///
    /// [`NoMem`] if the bitmap has to grow and cannot; nothing has changed then.
    pub fn take(&mut self, id: u32) -> Result<bool, NoMem> {
        if self.is_taken(id) {
            return Ok(false);
        }
        // First all the room that may fail, then the changes. A level is needed only where a word below becomes full.
        let mut at = id;
        for n in 0..LEVELS {
            let (index, bit) = place(at);
            let level = self.level_mut(n)?;
            level.try_reserve((index + 1).saturating_sub(level.len()))?;
            if level.get(index).copied().unwrap_or(0) | bit != u64::MAX {
                break;
            }
            at = index as u32;
        }
        let mut at = id;
        for n in 0..LEVELS {
            let (index, bit) = place(at);
            let level = self.level_mut(n)?;
            while level.len() <= index {
                // INVARIANT: the new words are empty, and the bits above that stand for them are clear or not there.
                level.try_push(0)?;
            }
            level[index] |= bit;
            if level[index] != u64::MAX {
                break;
            }
            at = index as u32;
        }
        Ok(true)
    }

    /// Level `n`; an empty one is made if it is the first that is not there.
    fn level_mut(&mut self, n: usize) -> Result<&mut TryVec<u64, A>, NoMem> {
        let Some(above) = n.checked_sub(1) else { return Ok(&mut self.lowest) };
        if above == self.summaries.len() {
            self.summaries.try_reserve_exact(1)?;
            self.summaries.try_push(TryVec::new(self.lowest.allocator().clone()))?;
        }
        Ok(&mut self.summaries[above])
    }
}

impl<A: Allocator> IdSpace<A> {
    /// The number that [`alloc_lowest`](Self::alloc_lowest) would take if there were no limit.
    #[must_use]
    pub fn lowest_free(&self) -> Option<u32> {
        let mut index = 0_u64;
        for level in self.summaries.iter().rev().chain([&self.lowest]) {
            // INVARIANT: the bit that stands for this word is clear, so the word has a clear bit or is not there. The only
            // word of the highest level stands for all numbers, if that level is there; if it is not, the first word
            // of the highest that is there is not full.
            let word = usize::try_from(index).ok().and_then(|index| level.get(index)).copied().unwrap_or(0);
            index = index * u64::from(BITS) + u64::from(word.trailing_ones());
        }
        u32::try_from(index).ok()
    }

    /// Gives this number back. False if it was not taken. Never allocates.
    pub fn give(&mut self, id: u32) -> bool {
        if !self.is_taken(id) {
            return false;
        }
        let mut at = id;
        for level in core::iter::once(&mut self.lowest).chain(&mut *self.summaries) {
            let (index, bit) = place(at);
            let was_full = level[index] == u64::MAX;
            level[index] &= !bit;
            if !was_full {
                break;
            }
            at = index as u32;
        }
        // Each word is dropped once for the time that it was pushed, so this costs no more than taking did. A word that
        // is not there counts as empty on every level.
        while self.lowest.last() == Some(&0) {
            self.lowest.pop();
        }
        true
    }

    /// Whether the number is taken.
    #[must_use]
    pub fn is_taken(&self, id: u32) -> bool {
        let (index, bit) = place(id);
        self.lowest.get(index).is_some_and(|word| word & bit != 0)
    }

    /// The highest number that is taken: `if_index`. Does not search: the last word of the lowest level is never empty.
    #[must_use]
    pub fn highest(&self) -> Option<u32> {
        let (last, below) = self.lowest.split_last()?;
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
    fn levels_carry() {
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
