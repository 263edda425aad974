//! The store of the feature `hashbrown`: a [`HashTable`] that is never more than half full.
//!
//! # Why half
//!
//! `hashbrown` counts down the slots that were never used since the last sweep (its `growth_left`), and a removal may
//! leave a tombstone, which does not give the slot back. When none is left, the next insertion makes room: if the values
//! fill at most half of what the slots allow, by sweeping the tombstones out in place; otherwise in a larger allocation.
//! A table that promises only half of its room therefore always takes the first way, and a place that was freed can be
//! filled again without memory. The cost of a sweep is spread over the removals that made it necessary, at least as many
//! as there are values.
//!
//! This rests on how `hashbrown` decides, so each insertion asks with the fallible `try_reserve` first: a version that
//! decided otherwise would show as a panic with a message (and in the tests of the room), not as an abort.

use allocator_api2::alloc::Allocator;
use hashbrown::HashTable;

use crate::mem::NoMem;

/// Values with their hashes, which are given and so cannot be computed again.
pub(super) struct Store<T, A: Allocator> {
    table: HashTable<(u64, T), A>,
}

fn hash_of<T>(&(hash, _): &(u64, T)) -> u64 {
    hash
}

impl<T, A: Allocator> Store<T, A> {
    pub(super) const fn new(allocator: A) -> Self {
        Self { table: HashTable::new_in(allocator) }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Half of the load that `hashbrown` allows: seven eighths of the slots, or all but one of a few.
    /// `HashTable::capacity` is no help, because it gets smaller with each tombstone.
    pub(super) fn capacity(&self) -> usize {
        let slots = self.table.num_buckets();
        let load = if slots <= 8 { slots - 1 } else { slots / 8 * 7 };
        load / 2
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.table.iter().map(|(_, value)| value)
    }

    /// Makes the capacity at least `wanted`, which is more than it is.
    pub(super) fn grow(&mut self, wanted: usize) -> Result<(), NoMem> {
        let load = wanted.checked_mul(2).ok_or(NoMem)?;
        self.table.try_reserve(load - self.len(), hash_of).map_err(|_| NoMem)?;
        debug_assert!(self.capacity() >= wanted, "the table has grown to what was asked for");
        Ok(())
    }

    /// Adds a value; the table is not full.
    pub(super) fn insert(&mut self, hash: u64, value: T) {
        self.table.try_reserve(1, hash_of).expect("a table that is half full at most has room");
        #[expect(clippy::disallowed_methods, reason = "room was reserved: it cannot allocate")]
        self.table.insert_unique(hash, (hash, value), hash_of);
    }

    pub(super) fn find<'a>(&'a self, hash: u64, mut eq: impl FnMut(&'a T) -> bool) -> Option<&'a T> {
        self.iter_hash(hash).find(|value| eq(value))
    }

    pub(super) fn find_mut(&mut self, hash: u64, mut eq: impl FnMut(&T) -> bool) -> Option<&mut T> {
        self.table.find_mut(hash, |(found, value)| *found == hash && eq(value)).map(|(_, value)| value)
    }

    /// `hashbrown` compares seven bits of the hash only.
    pub(super) fn iter_hash(&self, hash: u64) -> impl Iterator<Item = &T> {
        self.table.iter_hash(hash).filter(move |(found, _)| *found == hash).map(|(_, value)| value)
    }

    pub(super) fn remove(&mut self, hash: u64, mut eq: impl FnMut(&T) -> bool) -> Option<T> {
        let entry = self.table.find_entry(hash, |(found, value)| *found == hash && eq(value)).ok()?;
        let ((_, value), _) = entry.remove();
        Some(value)
    }
}
