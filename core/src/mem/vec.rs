//! A growable array that says so when memory is short.
//!
//! Why not `allocator_api2::vec::Vec`: that one links the `alloc` crate, and a kernel that links `alloc` must define a
//! global allocator. This one needs nothing but [`core`] and the [`Allocator`] it is given.
#![expect(unsafe_code, reason = "owns an array of memory by hand")]

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use allocator_api2::alloc::Allocator;

use super::NoMem;

/// A vector whose every growth can fail, and that never aborts. As a slice it has all that slices have.
///
/// # Invariants
///
/// `memory` is room for `capacity` values of `T`, from `allocator`; the first `len` of them are there. If `capacity` is
/// zero or `T` has no size, nothing is allocated and `memory` dangles.
pub struct TryVec<T, A: Allocator> {
    memory: NonNull<T>,
    capacity: usize,
    len: usize,
    allocator: A,
    owns: PhantomData<T>,
}

// SAFETY: it owns its values and its allocator, like an array next to an allocator.
unsafe impl<T: Send, A: Allocator + Send> Send for TryVec<T, A> {}
// SAFETY: as for `Send`; a shared vector gives out shared references only.
unsafe impl<T: Sync, A: Allocator + Sync> Sync for TryVec<T, A> {}

impl<T, A: Allocator> TryVec<T, A> {
    /// An empty vector. Allocates nothing.
    pub const fn new(allocator: A) -> Self {
        let capacity = if size_of::<T>() == 0 { usize::MAX } else { 0 };
        Self { memory: NonNull::dangling(), capacity, len: 0, allocator, owns: PhantomData }
    }

    /// An empty vector with room for `capacity` values.
    ///
    /// # Errors
    ///
    /// [`NoMem`] if the room cannot be allocated.
    pub fn try_with_capacity(capacity: usize, allocator: A) -> Result<Self, NoMem> {
        let mut vec = Self::new(allocator);
        vec.try_reserve_exact(capacity)?;
        Ok(vec)
    }

    /// Makes room for `additional` more values: as many pushes cannot fail after that.
    ///
    /// # Errors
    ///
    /// [`NoMem`] if the room cannot be allocated; nothing has changed then.
    pub fn try_reserve(&mut self, additional: usize) -> Result<(), NoMem> {
        if additional <= self.capacity - self.len {
            return Ok(());
        }
        let wanted = self.len.checked_add(additional).ok_or(NoMem)?;
        // Doubling keeps the cost of a push constant on average.
        self.grow_to(wanted.max(self.capacity.saturating_mul(2)).max(4))
    }

    /// As [`try_reserve`](Self::try_reserve), without room to spare.
    ///
    /// # Errors
    ///
    /// [`NoMem`] if the room cannot be allocated; nothing has changed then.
    pub fn try_reserve_exact(&mut self, additional: usize) -> Result<(), NoMem> {
        if additional <= self.capacity - self.len {
            return Ok(());
        }
        self.grow_to(self.len.checked_add(additional).ok_or(NoMem)?)
    }

    /// Appends a value.
    ///
    /// # Errors
    ///
    /// [`NoMem`] if there is no room and none can be had; the value is dropped.
    pub fn try_push(&mut self, value: T) -> Result<(), NoMem> {
        self.try_reserve(1)?;
        // SAFETY: `len < capacity`, so the place is in the allocation; nothing is there that would be overwritten.
        unsafe { self.memory.add(self.len).write(value) };
        self.len += 1;
        Ok(())
    }

    /// Puts a value at `index`, and moves those behind it up.
    ///
    /// # Errors
    ///
    /// [`NoMem`] if there is no room and none can be had; the value is dropped.
    ///
    /// # Panics
    ///
    /// If `index` is greater than the length.
    pub fn try_insert(&mut self, index: usize, value: T) -> Result<(), NoMem> {
        assert!(index <= self.len, "insertion index {index} is beyond the length {}", self.len);
        // By swaps, here and in `remove`: such arrays are short, and a small kernel that copies nothing onto itself links no
        // `memmove`.
        self.try_push(value)?;
        for at in (index + 1..self.len).rev() {
            self.swap(at - 1, at);
        }
        Ok(())
    }

    /// Takes the last value.
    pub fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: the value at the old last place is there, and with the smaller length nobody else will read it.
        Some(unsafe { self.memory.add(self.len).read() })
    }

    /// Takes the value at `index`, and moves those behind it down.
    ///
    /// # Panics
    ///
    /// If there is no such value.
    pub fn remove(&mut self, index: usize) -> T {
        assert!(index < self.len, "removal index {index} is beyond the length {}", self.len);
        for at in index + 1..self.len {
            self.swap(at - 1, at);
        }
        self.pop().expect("there is a value at the index")
    }

    /// Takes the value at `index`, and puts the last one into its place.
    ///
    /// # Panics
    ///
    /// If there is no such value.
    pub fn swap_remove(&mut self, index: usize) -> T {
        let last = self.len.checked_sub(1).expect("swap_remove from an empty vector");
        self.swap(index, last);
        self.remove(last)
    }

    /// Keeps the first `len` values and drops the others.
    pub fn truncate(&mut self, len: usize) {
        while self.len > len {
            self.pop();
        }
    }

    /// Drops all values. Keeps the room.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Keeps the values that `keep` wants, in their order.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let mut kept = 0;
        for index in 0..self.len {
            if keep(&self[index]) {
                if kept < index {
                    let (before, from) = self.split_at_mut(index);
                    core::mem::swap(&mut before[kept], &mut from[0]);
                }
                kept += 1;
            }
        }
        self.truncate(kept);
    }

    /// How many values fit without allocating.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Where the memory comes from.
    pub fn allocator(&self) -> &A {
        &self.allocator
    }

    fn grow_to(&mut self, capacity: usize) -> Result<(), NoMem> {
        let new = Layout::array::<T>(capacity).map_err(|_| NoMem)?;
        let memory = if self.capacity == 0 {
            self.allocator.allocate(new)
        } else {
            // SAFETY:
            // 1. The memory came from this allocator with this layout (invariant).
            // 2. The new layout has the same alignment, and is larger: callers ask for more than `capacity`.
            unsafe { self.allocator.grow(self.memory.cast(), Self::layout(self.capacity), new) }
        };
        self.memory = memory.map_err(|_| NoMem)?.cast();
        self.capacity = capacity;
        Ok(())
    }

    /// The layout of an allocation that was made.
    fn layout(capacity: usize) -> Layout {
        Layout::array::<T>(capacity).expect("the layout was valid when the memory was allocated")
    }
}

impl<T, A: Allocator> Drop for TryVec<T, A> {
    fn drop(&mut self) {
        self.clear();
        if size_of::<T>() != 0 && self.capacity != 0 {
            // SAFETY: the memory came from this allocator with this layout, and all values are gone.
            unsafe { self.allocator.deallocate(self.memory.cast(), Self::layout(self.capacity)) };
        }
    }
}

impl<T, A: Allocator> Deref for TryVec<T, A> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `memory` is aligned and not null, the first `len` values are there, and `&self` guards them.
        unsafe { core::slice::from_raw_parts(self.memory.as_ptr(), self.len) }
    }
}

impl<T, A: Allocator> DerefMut for TryVec<T, A> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`, with `&mut self`.
        unsafe { core::slice::from_raw_parts_mut(self.memory.as_ptr(), self.len) }
    }
}

impl<'a, T, A: Allocator> IntoIterator for &'a TryVec<T, A> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: fmt::Debug, A: Allocator> fmt::Debug for TryVec<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::sync::Arc;
    use std::vec::Vec;

    use super::*;
    use crate::testing::{Arena, Random};

    #[test]
    fn agrees_with_a_vec_and_frees_all() {
        let arena = Arena::default();
        let marker = Arc::new(());
        let mut ours = TryVec::new(arena.clone());
        let mut model = Vec::new();
        let mut random = Random(3);
        for n in 0..if cfg!(miri) { 200 } else { 5000 } {
            let at = random.below(model.len() + 1);
            match random.below(7) {
                0..3 => {
                    ours.try_push((n, marker.clone())).expect("memory");
                    model.push(n);
                }
                3 => {
                    ours.try_insert(at, (n, marker.clone())).expect("memory");
                    model.insert(at, n);
                }
                4 if at < model.len() => assert_eq!(ours.remove(at).0, model.remove(at)),
                5 if at < model.len() => assert_eq!(ours.swap_remove(at).0, model.swap_remove(at)),
                _ => assert_eq!(ours.pop().map(|(n, _)| n), model.pop()),
            }
            assert!(ours.iter().map(|(n, _)| n).eq(&model));
        }
        ours.retain(|(n, _)| n % 2 == 0);
        model.retain(|n| n % 2 == 0);
        assert!(ours.iter().map(|(n, _)| n).eq(&model));
        assert_eq!(Arc::strong_count(&marker), 1 + model.len());
        drop(ours);
        assert_eq!((Arc::strong_count(&marker), arena.live()), (1, 0));
    }

    #[test]
    fn no_memory_changes_nothing() {
        let arena = Arena::default();
        let mut vec = TryVec::new(arena.clone());
        arena.fail_after(1);
        for n in 0..4 {
            vec.try_push(n).expect("memory");
        }
        assert_eq!(vec.try_push(4), Err(NoMem));
        assert_eq!(vec.try_reserve(usize::MAX), Err(NoMem));
        assert_eq!(*vec, [0, 1, 2, 3]);
        arena.fail_never();
        vec.try_reserve(10).expect("memory");
        arena.fail_after(0);
        for n in 4..14 {
            vec.try_push(n).expect("it was reserved");
        }
    }

    #[test]
    fn values_without_size() {
        let arena = Arena::default();
        let mut vec = TryVec::new(arena.clone());
        for _ in 0..100 {
            vec.try_push(()).expect("no memory is needed");
        }
        assert_eq!((vec.len(), vec.pop(), arena.total()), (100, Some(()), 0));
    }
}
