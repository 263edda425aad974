//! The store that needs no `alloc`: linear probing in an array of slots, in safe code on top of [`TryVec`].
//!
//! Removal moves later values of the run back instead of leaving tombstones, so a table that lives for ever does not
//! degrade.

use allocator_api2::alloc::Allocator;

use crate::mem::{NoMem, TryVec};

/// The slots: a value with the lower half of its hash, or nothing.
///
/// # Invariants
///
/// * The number of slots is zero or a power of two, and at least one eighth of them are empty.
/// * A value is in the first slot, counted round from the one its hash asks for, that was free: there is no empty slot
///   between the two.
pub(super) struct Store<T, A: Allocator> {
    slots: TryVec<Option<(u32, T)>, A>,
    len: usize,
}

impl<T, A: Allocator> Store<T, A> {
    pub(super) const fn new(allocator: A) -> Self {
        Self { slots: TryVec::new(allocator), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn capacity(&self) -> usize {
        self.slots.len() / 8 * 7
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten().map(|(_, value)| value)
    }

    /// Makes the capacity at least `wanted`.
    pub(super) fn grow(&mut self, wanted: usize) -> Result<(), NoMem>
    where
        A: Clone,
    {
        let slots = (wanted / 7 + 1).checked_mul(8).and_then(usize::checked_next_power_of_two).ok_or(NoMem)?;
        let mut larger = TryVec::try_with_capacity(slots, self.slots.allocator().clone())?;
        for _ in 0..slots {
            larger.try_push(None)?;
        }
        let mut old = core::mem::replace(&mut self.slots, larger);
        self.len = 0;
        while let Some(slot) = old.pop() {
            if let Some((hash, value)) = slot {
                self.place(hash, value);
            }
        }
        Ok(())
    }

    /// Adds a value; the table is not full.
    pub(super) fn insert(&mut self, hash: u64, value: T) {
        self.place(hash as u32, value);
    }

    fn place(&mut self, hash: u32, value: T) {
        let mut index = self.home(hash);
        while self.slots[index].is_some() {
            index = self.following(index);
        }
        self.slots[index] = Some((hash, value));
        self.len += 1;
    }

    pub(super) fn find<'a>(&'a self, hash: u64, mut eq: impl FnMut(&'a T) -> bool) -> Option<&'a T> {
        let index = self.position(hash, &mut eq)?;
        self.slots[index].as_ref().map(|(_, value)| value)
    }

    pub(super) fn find_mut(&mut self, hash: u64, mut eq: impl FnMut(&T) -> bool) -> Option<&mut T> {
        let index = self.position(hash, &mut eq)?;
        self.slots[index].as_mut().map(|(_, value)| value)
    }

    pub(super) fn iter_hash(&self, hash: u64) -> impl Iterator<Item = &T> {
        let hash = hash as u32;
        self.run(hash).filter_map(move |(_, found, value)| (found == hash).then_some(value))
    }

    pub(super) fn remove(&mut self, hash: u64, mut eq: impl FnMut(&T) -> bool) -> Option<T> {
        let hole = self.position(hash, &mut eq)?;
        self.take(hole)
    }

    /// Empties a slot.
    fn take(&mut self, mut hole: usize) -> Option<T> {
        let (_, value) = self.slots[hole].take()?;
        self.len -= 1;
        // INVARIANT: whatever may not stay behind the hole moves into it, which makes the next hole.
        let mut index = self.following(hole);
        while let Some((hash, _)) = &self.slots[index] {
            let home = self.home(*hash);
            let mask = self.slots.len() - 1;
            // The distance from its home to where it is, against the one from the hole: it may only move towards home.
            if index.wrapping_sub(home) & mask >= index.wrapping_sub(hole) & mask {
                self.slots[hole] = self.slots[index].take();
                hole = index;
            }
            index = self.following(index);
        }
        Some(value)
    }

    /// `dyn`: one search serves whatever is looked for.
    fn position<'a>(&'a self, hash: u64, eq: &mut dyn FnMut(&'a T) -> bool) -> Option<usize> {
        let hash = hash as u32;
        self.run(hash).find(|(_, found, value)| *found == hash && eq(value)).map(|(index, ..)| index)
    }

    /// The occupied slots from the home of `hash` up to the first empty one.
    fn run(&self, hash: u32) -> impl Iterator<Item = (usize, u32, &T)> {
        let slots = self.slots.len();
        let home = if slots == 0 { 0 } else { self.home(hash) };
        (0..slots).map_while(move |step| {
            let index = (home + step) & (slots - 1);
            self.slots[index].as_ref().map(|(hash, value)| (index, *hash, value))
        })
    }

    fn home(&self, hash: u32) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    fn following(&self, index: usize) -> usize {
        (index + 1) & (self.slots.len() - 1)
    }
}
