//! A hash table that says so when memory is short.
//!
//! Why not `hashbrown`: it links the `alloc` crate, and a kernel that links `alloc` must define a global allocator.
//! This one is linear probing in an array of slots, in safe code on top of [`TryVec`]. Removal moves later entries of
//! the run back (there are no tombstones), so a table that lives for ever does not degrade, and removing never
//! allocates. The caller hashes and compares, as a kernel's tables are keyed by parts of their values.

use core::fmt;

use allocator_api2::alloc::Allocator;

use super::{NoMem, TryVec};

/// A hash table of values that contain their keys.
///
/// # Invariants
///
/// * The number of slots is zero or a power of two, and at least one eighth of them are empty.
/// * A value is in the first slot, counted round from the one its hash asks for, that was free: there is no empty slot
///   between the two.
pub struct TryTable<T, A: Allocator> {
    slots: TryVec<Option<(u64, T)>, A>,
    len: usize,
}

impl<T, A: Allocator> TryTable<T, A> {
    /// An empty table. Allocates nothing.
    pub const fn new(allocator: A) -> Self {
        Self { slots: TryVec::new(allocator), len: 0 }
    }

    /// How many values are in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the table is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many values fit without allocating.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slots.len() / 8 * 7
    }

    /// All values, in the order of their slots: the same for the same history.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten().map(|(_, value)| value)
    }
}

impl<T, A: Allocator + Clone> TryTable<T, A> {
    /// Makes room for `additional` more values: as many calls of [`insert_reserved`](Self::insert_reserved) will not
    /// allocate. All values are moved when the table grows.
    ///
    /// # Errors
    ///
    /// [`NoMem`] if the room cannot be allocated; nothing has changed then.
    pub fn try_reserve(&mut self, additional: usize) -> Result<(), NoMem> {
        let wanted = self.len.checked_add(additional).ok_or(NoMem)?;
        if wanted <= self.capacity() {
            return Ok(());
        }
        let slots = (wanted / 7 + 1).checked_mul(8).and_then(usize::checked_next_power_of_two).ok_or(NoMem)?;
        let mut larger = TryVec::try_with_capacity(slots, self.slots.allocator().clone())?;
        for _ in 0..slots {
            larger.try_push(None)?;
        }
        let old = core::mem::replace(&mut self.slots, larger);
        self.len = 0;
        self.take_over(old);
        Ok(())
    }

    fn take_over(&mut self, mut old: TryVec<Option<(u64, T)>, A>) {
        while let Some(slot) = old.pop() {
            if let Some((hash, value)) = slot {
                self.insert_reserved(hash, value);
            }
        }
    }
}

impl<T, A: Allocator> TryTable<T, A> {
    /// Adds a value. Values that are equal to it, or have the same hash, are no obstacle. Never allocates.
    ///
    /// # Panics
    ///
    /// If the table is full: room must have been reserved.
    pub fn insert_reserved(&mut self, hash: u64, value: T) {
        assert!(self.len < self.capacity(), "insertion into a table without a reservation");
        let mut index = self.home(hash);
        while self.slots[index].is_some() {
            index = self.following(index);
        }
        self.slots[index] = Some((hash, value));
        self.len += 1;
    }

    /// The first value of this hash that `eq` accepts.
    pub fn find(&self, hash: u64, mut eq: impl FnMut(&T) -> bool) -> Option<&T> {
        self.iter_hash(hash).find(|value| eq(value))
    }

    /// As [`find`](Self::find), for changing the value. Its hash must stay the same.
    pub fn find_mut(&mut self, hash: u64, eq: impl FnMut(&T) -> bool) -> Option<&mut T> {
        let index = self.position(hash, eq)?;
        self.slots[index].as_mut().map(|(_, value)| value)
    }

    /// All values of this hash.
    pub fn iter_hash(&self, hash: u64) -> impl Iterator<Item = &T> {
        self.run(hash).filter_map(move |(_, found, value)| (found == hash).then_some(value))
    }

    /// Takes the first value of this hash that `eq` accepts out of the table. Never allocates.
    pub fn remove(&mut self, hash: u64, eq: impl FnMut(&T) -> bool) -> Option<T> {
        let mut hole = self.position(hash, eq)?;
        let (_, value) = self.slots[hole].take()?;
        self.len -= 1;
        // INVARIANT: whatever may not stay behind the hole moves into it, which makes the next hole.
        let mut index = self.following(hole);
        while let Some((hash, _)) = &self.slots[index] {
            let home = self.home(*hash);
            let mask = self.slots.len() - 1;
            // The distance from its home to where it is, against the one from the hole: it may only move towards home.
            if index.wrapping_sub(home) & mask >= index.wrapping_sub(hole) & mask {
                self.slots.swap(hole, index);
                hole = index;
            }
            index = self.following(index);
        }
        Some(value)
    }

    fn position(&self, hash: u64, mut eq: impl FnMut(&T) -> bool) -> Option<usize> {
        self.run(hash).find(|(_, found, value)| *found == hash && eq(value)).map(|(index, ..)| index)
    }

    /// The occupied slots from the home of `hash` up to the first empty one.
    fn run(&self, hash: u64) -> impl Iterator<Item = (usize, u64, &T)> {
        let slots = self.slots.len();
        let home = if slots == 0 { 0 } else { self.home(hash) };
        (0..slots).map_while(move |step| {
            let index = (home + step) & (slots - 1);
            self.slots[index].as_ref().map(|(hash, value)| (index, *hash, value))
        })
    }

    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    fn following(&self, index: usize) -> usize {
        (index + 1) & (self.slots.len() - 1)
    }
}

impl<T: fmt::Debug, A: Allocator> fmt::Debug for TryTable<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// A repeatable hash of a name: the same in every run, so that a replay sees the same tables. Not for hostile keys in
/// unbounded numbers.
#[must_use]
pub fn hash_str(name: &str) -> u64 {
    // FNV-1a, whose weak low bits the final mix makes up for.
    mix(name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)))
}

/// A repeatable hash of a number. See [`hash_str`].
#[must_use]
pub fn hash_u64(number: u64) -> u64 {
    mix(number.wrapping_add(0x9e37_79b9_7f4a_7c15))
}

/// Lets every bit of the input change every bit of the result with even odds (the finalizer of `SplitMix64`).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::{Arena, Random};

    #[test]
    fn agrees_with_a_map() {
        let arena = Arena::default();
        let mut table = TryTable::new(arena.clone());
        let mut model = BTreeMap::new();
        let mut random = Random(11);
        for n in 0..if cfg!(miri) { 300 } else { 20_000 } {
            let key = random.below(200) as u64;
            // Few hashes, so that runs are long, overlap, and go round the end.
            let hash = key % 13 * 37;
            if random.below(2) == 0 {
                table.try_reserve(1).expect("memory");
                if model.insert(key, n).is_none() {
                    table.insert_reserved(hash, (key, n));
                } else {
                    table.find_mut(hash, |(found, _)| *found == key).expect("it is in").1 = n;
                }
            } else {
                assert_eq!(table.remove(hash, |(found, _)| *found == key), model.remove_entry(&key));
            }
            assert_eq!(table.len(), model.len());
            let key = random.below(200) as u64;
            let found = table.find(key % 13 * 37, |(found, _)| *found == key);
            assert_eq!(found.map(|(_, n)| n), model.get(&key));
        }
        assert_eq!(table.iter_hash(37).count(), model.keys().filter(|key| *key % 13 == 1).count());
        assert_eq!(table.iter().count(), model.len());
        drop(table);
        assert_eq!(arena.live(), 0);
    }

    #[test]
    fn a_reservation_is_kept_and_a_failed_one_changes_nothing() {
        let arena = Arena::default();
        let mut table = TryTable::new(arena.clone());
        table.try_reserve(7).expect("memory");
        arena.fail_after(0);
        for n in 0..table.capacity() as u64 {
            table.insert_reserved(hash_u64(n), n);
        }
        assert_eq!(table.try_reserve(1), Err(NoMem));
        assert_eq!(table.find(hash_u64(3), |n| *n == 3), Some(&3));
        assert_eq!(table.find(hash_u64(99), |_| true), None);
        assert_eq!(table.remove(hash_u64(3), |n| *n == 3), Some(3));
        table.insert_reserved(1, 1);
    }

    #[test]
    #[should_panic = "without a reservation"]
    fn insertion_without_a_reservation() {
        TryTable::new(Arena::default()).insert_reserved(0, 0);
    }

    #[test]
    fn hashes_are_repeatable_and_spread() {
        // The values are part of what a replay relies on.
        assert_eq!(hash_str("lo0"), hash_str("lo0"));
        let mut seen = [0; 64];
        for n in 0..640 {
            seen[hash_str(&std::format!("epair{n}a")) as usize % 64] += 1;
        }
        assert!(seen.iter().all(|n| (1..30).contains(n)), "{seen:?}");
        assert_ne!(hash_u64(0) % 64, hash_u64(64) % 64);
    }
}
