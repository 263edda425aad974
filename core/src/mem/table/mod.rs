//! A hash table that says so when memory is short.
//!
//! The caller hashes and compares, as a kernel's tables are keyed by parts of their values. Hashes are repeatable
//! ([`hash_str`], [`hash_u64`]), so that a replay sees the same tables as the run that it repeats.
//!
//! # Why two stores
//!
//! With the feature `hashbrown` (on by default) the values are in a `hashbrown::HashTable`, the table of Rust's own
//! `HashMap`. That crate links `alloc`, if only for the name of a type, and rustc asks every program that links `alloc`
//! for a global allocator. A kernel that has none builds the core with `default-features = false`, and the values are in
//! a small table of linear probing that needs nothing but [`core`].
//!
//! | | file | probing | removal |
//! |---|---|---|---|
//! | `hashbrown` | `hashed.rs` | groups of slots, SIMD | leaves a tombstone at worst; they are swept out in place |
//! | without | `probing.rs` | one slot after the other | moves the rest of the run back; no tombstones |
//!
//! # The promise
//!
//! Both keep the same one, which is what teardown relies on: while [`len`](TryTable::len) is less than
//! [`capacity`](TryTable::capacity) an insertion does not allocate, and nothing makes the capacity smaller. So after
//! `try_reserve(k)`, `k` insertions do not allocate, whatever is removed in between; and a place that a removal has
//! freed is a place for another value.
//!
//! The tests below run in both configurations.

use core::fmt;

use allocator_api2::alloc::Allocator;

use super::NoMem;

#[cfg(feature = "hashbrown")]
mod hashed;
#[cfg(not(feature = "hashbrown"))]
mod probing;

#[cfg(feature = "hashbrown")]
use hashed::Store;
#[cfg(not(feature = "hashbrown"))]
use probing::Store;

/// A hash table of values that contain their keys. With the feature `hashbrown` they are stored in a
/// `hashbrown::HashTable`, without it in a table that does not link `alloc`; both keep the same promises.
///
/// While [`len`](Self::len) is less than [`capacity`](Self::capacity) an insertion does not allocate. After
/// `try_reserve(k)`, `k` insertions do not, whatever is removed in between; and a place that a removal has freed is a
/// place for another value.
///
/// # Invariants
///
/// `len <= capacity`.
pub struct TryTable<T, A: Allocator> {
    store: Store<T, A>,
}

impl<T, A: Allocator> TryTable<T, A> {
    /// An empty table. Allocates nothing.
    pub const fn new(allocator: A) -> Self {
        Self { store: Store::new(allocator) }
    }

    /// How many values are in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether the table is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values fit without allocating, those that are in the table included. Never gets smaller.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.store.capacity()
    }

    /// All values, in an order that is the same for the same history of calls in the same build.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.store.iter()
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
        let wanted = self.len().checked_add(additional).ok_or(NoMem)?;
        if wanted <= self.capacity() { Ok(()) } else { self.store.grow(wanted) }
    }
}

impl<T, A: Allocator> TryTable<T, A> {
    /// Adds a value. Values that are equal to it, or have the same hash, are no obstacle. Never allocates.
    ///
    /// # Panics
    ///
    /// If the table is full: room must have been reserved.
    pub fn insert_reserved(&mut self, hash: u64, value: T) {
        assert!(self.len() < self.capacity(), "insertion into a table without a reservation");
        self.store.insert(hash, value);
    }

    /// A value of this hash that `eq` accepts.
    pub fn find<'a>(&'a self, hash: u64, eq: impl FnMut(&'a T) -> bool) -> Option<&'a T> {
        self.store.find(hash, eq)
    }

    /// As [`find`](Self::find), for changing the value. Its hash must stay the same.
    pub fn find_mut(&mut self, hash: u64, eq: impl FnMut(&T) -> bool) -> Option<&mut T> {
        self.store.find_mut(hash, eq)
    }

    /// All values of this hash.
    pub fn iter_hash(&self, hash: u64) -> impl Iterator<Item = &T> {
        self.store.iter_hash(hash)
    }

    /// Takes a value of this hash that `eq` accepts out of the table. Never allocates.
    pub fn remove(&mut self, hash: u64, eq: impl FnMut(&T) -> bool) -> Option<T> {
        self.store.remove(hash, eq)
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
        assert!(table.capacity() >= 7);
        arena.fail_after(0);
        for n in 0..table.capacity() as u64 {
            table.insert_reserved(hash_u64(n), n);
        }
        assert_eq!(table.try_reserve(1), Err(NoMem));
        assert_eq!(table.try_reserve(usize::MAX), Err(NoMem));
        assert_eq!(table.try_reserve(usize::MAX / 4), Err(NoMem));
        assert_eq!(table.find(hash_u64(3), |n| *n == 3), Some(&3));
        assert_eq!(table.find(hash_u64(99), |_| true), None);
        assert_eq!(table.remove(hash_u64(3), |n| *n == 3), Some(3));
        table.insert_reserved(1, 1);
    }

    #[test]
    fn churn_in_a_full_table_needs_no_memory() {
        for places in if cfg!(miri) { 1..30 } else { 1_u64..200 }.step_by(13) {
            // Four hashes give the longest runs, all different ones the most tombstones.
            for hashes in [4, u64::MAX] {
                churn(places, hashes);
            }
        }
    }

    fn churn(places: u64, hashes: u64) {
        let arena = Arena::default();
        let mut table = TryTable::new(arena.clone());
        table.try_reserve(places as usize).expect("memory");
        let (capacity, allocated) = (table.capacity(), arena.total());
        arena.fail_after(0);
        let hash = |n: u64| hash_u64(n) % hashes;
        let mut random = Random(places + 1);
        let mut inside: std::vec::Vec<u64> = (0..capacity as u64).collect();
        for n in &inside {
            table.insert_reserved(hash(*n), *n);
        }
        for n in 0..if cfg!(miri) { 4 } else { 200 } {
            // Some go, as many others come: every removal's place is used again, in any order.
            let batch = 1 + random.below(inside.len());
            for _ in 0..batch {
                let gone = inside.swap_remove(random.below(inside.len()));
                assert_eq!(table.remove(hash(gone), |n| *n == gone), Some(gone));
            }
            assert_eq!(table.try_reserve(batch), Ok(()), "the room is there already");
            for other in 0..batch as u64 {
                let key = 1_000_000 + n * 1000 + other;
                table.insert_reserved(hash(key), key);
                inside.push(key);
            }
            assert_eq!((table.len(), table.capacity()), (capacity, capacity));
        }
        for n in &inside {
            assert_eq!(table.find(hash(*n), |found| found == n), Some(n));
        }
        assert_eq!(arena.total(), allocated, "something was allocated");
        drop(table);
        assert_eq!(arena.live(), 0);
    }

    #[test]
    fn the_order_is_a_function_of_the_history() {
        let order = || {
            let mut table = TryTable::new(Arena::default());
            for n in 0..100 {
                table.try_reserve(1).expect("memory");
                table.insert_reserved(hash_u64(n), n);
                if n % 3 == 0 {
                    table.remove(hash_u64(n / 2), |found| *found == n / 2);
                }
            }
            table.iter().copied().collect::<std::vec::Vec<_>>()
        };
        assert_eq!(order(), order());
    }

    #[test]
    fn equal_values_are_no_obstacle() {
        let mut table = TryTable::new(Arena::default());
        table.try_reserve(3).expect("memory");
        (0..3).for_each(|_| table.insert_reserved(5, 5));
        assert_eq!(table.iter_hash(5).count(), 3);
        assert_eq!(table.remove(5, |_| true), Some(5));
        assert_eq!((table.len(), table.iter_hash(5).count()), (2, 2));
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
