//! A growable array that says so when memory is short.
//!
//! Why not `allocator_api2::vec::Vec`: that one links the `alloc` crate, and a kernel that links `alloc` must define a
//! global allocator. This one needs nothing but [`core`] and the [`Allocator`] it is given.
//!
//! Most vectors of a kernel are empty: the addresses of an interface, the listeners of a tap. So the length and the
//! capacity are in the allocation, in front of the values, and an empty vector is a null pointer beside its allocator.
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
/// If there is an `array`, it came from `allocator` with the `layout` of its capacity. The first `len` of its
/// places have values, and `len <= capacity`.
pub struct TryVec<T, A: Allocator> {
    array: Option<NonNull<Array<T>>>,
    allocator: A,
    owns: PhantomData<T>,
}

/// What is allocated; the values follow.
#[repr(C)]
struct Array<T> {
    len: usize,
    capacity: usize,
    values: [T; 0],
}

// SAFETY: it owns its values and its allocator, like an array next to an allocator.
unsafe impl<T: Send, A: Allocator + Send> Send for TryVec<T, A> {}
// SAFETY: as for `Send`; a shared vector gives out shared references only.
unsafe impl<T: Sync, A: Allocator + Sync> Sync for TryVec<T, A> {}

impl<T, A: Allocator> TryVec<T, A> {
    /// An empty vector. Allocates nothing.
    pub const fn new(allocator: A) -> Self {
        Self { array: None, allocator, owns: PhantomData }
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
        let (len, capacity) = self.extent();
        if additional <= capacity - len {
            return Ok(());
        }
        let wanted = len.checked_add(additional).ok_or(NoMem)?;
        // Doubling keeps the cost of a push constant on average.
        self.grow_to(wanted.max(capacity.saturating_mul(2)).max(4))
    }

    /// As [`try_reserve`](Self::try_reserve), without room to spare.
    ///
    /// # Errors
    ///
    /// [`NoMem`] if the room cannot be allocated; nothing has changed then.
    pub fn try_reserve_exact(&mut self, additional: usize) -> Result<(), NoMem> {
        let (len, capacity) = self.extent();
        if additional <= capacity - len {
            return Ok(());
        }
        self.grow_to(len.checked_add(additional).ok_or(NoMem)?)
    }

    /// Appends a value.
    ///
    /// # Errors
    ///
    /// [`NoMem`] if there is no room and none can be had; the value is dropped.
    pub fn try_push(&mut self, value: T) -> Result<(), NoMem> {
        self.try_reserve(1)?;
        let Some(mut array) = self.array else { return Err(NoMem) };
        // SAFETY:
        // 1. The array is ours, and nobody else looks at it meanwhile.
        // 2. `len < capacity`, so the place is in the allocation; nothing is there that would be overwritten.
        unsafe {
            Self::values(array).add(array.as_ref().len).write(value);
            array.as_mut().len += 1;
        }
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
        assert!(index <= self.len(), "insertion index {index} is beyond the length {}", self.len());
        // By swaps, here and in `remove`: such arrays are short, and a small kernel that copies nothing onto itself links no
        // `memmove`.
        self.try_push(value)?;
        for at in (index + 1..self.len()).rev() {
            self.swap(at - 1, at);
        }
        Ok(())
    }

    /// Takes the last value.
    pub fn pop(&mut self) -> Option<T> {
        let mut array = self.array?;
        // SAFETY:
        // 1. The array is ours, and nobody else looks at it meanwhile.
        // 2. The value at the old last place is there, and with the smaller length nobody else will read it.
        unsafe {
            let last = array.as_ref().len.checked_sub(1)?;
            array.as_mut().len = last;
            Some(Self::values(array).add(last).read())
        }
    }

    /// Takes the value at `index`, and moves those behind it down.
    ///
    /// # Panics
    ///
    /// If there is no such value.
    pub fn remove(&mut self, index: usize) -> T {
        assert!(index < self.len(), "removal index {index} is beyond the length {}", self.len());
        for at in index + 1..self.len() {
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
        let last = self.len().checked_sub(1).expect("swap_remove from an empty vector");
        self.swap(index, last);
        self.remove(last)
    }

    /// Keeps the first `len` values and drops the others.
    pub fn truncate(&mut self, len: usize) {
        while self.len() > len {
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
        for index in 0..self.len() {
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
        self.extent().1
    }

    /// Where the memory comes from.
    pub fn allocator(&self) -> &A {
        &self.allocator
    }

    /// The length and the capacity.
    fn extent(&self) -> (usize, usize) {
        // SAFETY: the array is ours, and `&self` guards it.
        self.array.map_or((0, 0), |array| unsafe { (array.as_ref().len, array.as_ref().capacity) })
    }

    /// Where the values begin. The pointer is one to the whole allocation.
    fn values(array: NonNull<Array<T>>) -> NonNull<T> {
        // SAFETY: the values follow what is in front of them, in the same allocation (`repr(C)`).
        unsafe { array.byte_add(size_of::<Array<T>>()).cast() }
    }

    fn grow_to(&mut self, capacity: usize) -> Result<(), NoMem> {
        let (len, old) = self.extent();
        let new = Self::layout(capacity)?;
        let memory = match self.array {
            None => self.allocator.allocate(new),
            // SAFETY:
            // 1. The memory came from this allocator with this layout (invariant).
            // 2. The new layout has the same alignment, and is not smaller: callers ask for more than the capacity.
            Some(array) => unsafe { self.allocator.grow(array.cast(), Self::layout(old)?, new) },
        };
        let array = memory.map_err(|_| NoMem)?.cast::<Array<T>>();
        // SAFETY: the memory has room for an `Array` and is ours; what follows it has been copied by the allocator.
        unsafe { array.write(Array { len, capacity, values: [] }) };
        self.array = Some(array);
        Ok(())
    }

    /// The layout of an allocation for so many values.
    fn layout(capacity: usize) -> Result<Layout, NoMem> {
        let values = Layout::array::<T>(capacity).map_err(|_| NoMem)?;
        Layout::new::<Array<T>>().extend(values).map(|(all, _)| all).map_err(|_| NoMem)
    }
}

impl<T, A: Allocator> Drop for TryVec<T, A> {
    fn drop(&mut self) {
        self.clear();
        if let (Some(array), Ok(layout)) = (self.array, Self::layout(self.capacity())) {
            // SAFETY: the memory came from this allocator with this layout, and all values are gone.
            unsafe { self.allocator.deallocate(array.cast(), layout) };
        }
    }
}

impl<T, A: Allocator> Deref for TryVec<T, A> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let Some(array) = self.array else { return &[] };
        // SAFETY: the first `len` values of the array are there, aligned, and `&self` guards them.
        unsafe { core::slice::from_raw_parts(Self::values(array).as_ptr(), array.as_ref().len) }
    }
}

impl<T, A: Allocator> DerefMut for TryVec<T, A> {
    fn deref_mut(&mut self) -> &mut [T] {
        let Some(array) = self.array else { return &mut [] };
        // SAFETY: as for `deref`, with `&mut self`.
        unsafe { core::slice::from_raw_parts_mut(Self::values(array).as_ptr(), array.as_ref().len) }
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
            vec.try_push(()).expect("memory");
        }
        assert_eq!((vec.len(), vec.pop()), (100, Some(())));
        drop(vec);
        assert_eq!(arena.live(), 0);
    }
}
