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
/// * Level `n + 1` has a bit for each word of level `n`. Words that are not there count as empty.
#[derive(Debug)]
pub struct IdSpace<A: Allocator> {
    levels: [TryVec<u64, A>; LEVELS],
}

fn place(id: u32) -> (usize, u64) {
    ((id / BITS) as usize, 1 << (id % BITS))
}

impl<A: Allocator + Clone> IdSpace<A> {
    /// A space in which no number is taken. Allocates nothing.
    pub fn new(allocator: A) -> Self {
        Self { levels: core::array::from_fn(|_| TryVec::new(allocator.clone())) }
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
        let mut index = 0_u64;
        for level in self.levels.iter().rev() {
            // INVARIANT: the bit that stands for this word is clear, so the word has a clear bit or is not there. On
            // the highest level the only word stands for all numbers.
            let word = usize::try_from(index).ok().and_then(|index| level.get(index)).copied().unwrap_or(0);
            index = index * u64::from(BITS) + u64::from(word.trailing_ones());
        }
        u32::try_from(index).ok()
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
        let mut at = id;
        for level in &mut self.levels {
            let (index, _) = place(at);
            let missing = (index + 1).saturating_sub(level.len());
            level.try_reserve(missing)?;
            at = index as u32;
        }
        let mut at = id;
        let mut full = true;
        for level in &mut self.levels {
            let (index, bit) = place(at);
            while level.len() <= index {
                // INVARIANT: the new words are empty, and the bits above that stand for them are clear or not there.
                level.try_push(0)?;
            }
            if full {
                level[index] |= bit;
                full = level[index] == u64::MAX;
            }
            at = index as u32;
        }
        Ok(true)
    }

    /// Gives this number back. False if it was not taken. Never allocates.
    pub fn give(&mut self, id: u32) -> bool {
        if !self.is_taken(id) {
            return false;
        }
        let mut at = id;
        for level in &mut self.levels {
            let (index, bit) = place(at);
            let was_full = level[index] == u64::MAX;
            level[index] &= !bit;
            if !was_full {
                break;
            }
            at = index as u32;
        }
        true
    }

    /// Whether the number is taken.
    #[must_use]
    pub fn is_taken(&self, id: u32) -> bool {
        let (index, bit) = place(id);
        self.levels[0].get(index).is_some_and(|word| word & bit != 0)
    }

    /// The highest number that is taken: `if_index`. Looks at the words from the end, so it is fast unless most of a
    /// once large space is free.
    #[must_use]
    pub fn highest(&self) -> Option<u32> {
        let index = self.levels[0].iter().rposition(|word| *word != 0)?;
        Some(index as u32 * BITS + (BITS - 1 - self.levels[0][index].leading_zeros()))
    }
}
