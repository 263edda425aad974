//! The epoch and the counted handle under [loom]: every interleaving and every value that the memory model allows.
//!
//! `RUSTFLAGS="--cfg ifnet_loom" cargo test -p ifnet --release --test loom`
//!
//! Bound: at most three preemptions in an execution (`LOOM_MAX_PREEMPTIONS`, if it is set, takes the place of that), two
//! or three threads, one or two sections each. What needs more switches than that to fail is not found here.
//!
//! Each value carries a [`Mark`], a cell of loom's: dropping the value writes it and looking at the value reads it. A
//! read that does not happen before the write is a use after free, and loom reports it as a race, without anything
//! being touched that is really gone. The host hands out memory and never takes it back before the end of an execution.
//!
//! The models are worth something only if they fail when they should. To see that, take the fence `F1` out of
//! `Reader::enter`, or let `Limbo::turn` hand out the list of the epoch that ends (`slot(self.epoch + 2)`): both make
//! `reader_against_retire` fail.
#![cfg(ifnet_loom)]
#![expect(unsafe_code, reason = "a test allocator, and the cell of a model checker")]

use core::alloc::Layout;
use core::ptr::NonNull;
use std::sync::{Arc as StdArc, Mutex as StdMutex};

use allocator_api2::alloc::{AllocError, Allocator};
use ifnet::epoch::{Domain, DomainRef, Reader};
use ifnet::mem::{Published, Shared};
use ifnet::platform::{Channel, Mutex, Platform};
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar};
use loom::thread;

/// Memory that is not used again before the end of the execution.
#[derive(Clone, Default)]
struct Arena(StdArc<StdMutex<Pieces>>);

#[derive(Default)]
struct Pieces {
    all: Vec<(usize, Layout, NonNull<u8>)>,
    live: usize,
}

// SAFETY: the pointers are to memory that the list owns.
unsafe impl Send for Pieces {}

// SAFETY: every piece is its own allocation of `std`, and stays valid until the last clone of the arena goes.
unsafe impl Allocator for Arena {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        assert_ne!(layout.size(), 0);
        // SAFETY: the size is not zero.
        let memory = NonNull::new(unsafe { std::alloc::alloc(layout) }).ok_or(AllocError)?;
        let mut pieces = self.0.lock().unwrap();
        pieces.all.push((memory.addr().get(), layout, memory));
        pieces.live += 1;
        Ok(NonNull::slice_from_raw_parts(memory, layout.size()))
    }

    unsafe fn deallocate(&self, _: NonNull<u8>, _: Layout) {
        self.0.lock().unwrap().live -= 1;
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        for (_, layout, memory) in self.all.drain(..) {
            // SAFETY: it was allocated with this layout, and nobody is left to use it.
            unsafe { std::alloc::dealloc(memory.as_ptr(), layout) };
        }
    }
}

struct LoomMutex<T>(loom::sync::Mutex<T>);

impl<T: Send> Mutex<T> for LoomMutex<T> {
    type Guard<'a>
        = loom::sync::MutexGuard<'a, T>
    where
        Self: 'a;

    fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    fn lock(&self) -> Self::Guard<'_> {
        self.0.lock().unwrap()
    }
}

/// The host. All channels are one: a wakeup too many does no harm.
struct Host {
    arena: Arena,
    wakeups: loom::sync::Mutex<usize>,
    woken: Condvar,
}

impl Platform for Host {
    type Mutex<T: Send> = LoomMutex<T>;
    type Allocator = Arena;
    type Buffer = ();

    const ANNOUNCES_SECTIONS: bool = true;

    fn allocator(&self) -> Arena {
        self.arena.clone()
    }

    fn sleep(&self, _: Channel, ready: &mut dyn FnMut() -> bool) {
        loop {
            let seen = *self.wakeups.lock().unwrap();
            if ready() {
                return;
            }
            let mut now = self.wakeups.lock().unwrap();
            while *now == seen {
                now = self.woken.wait(now).unwrap();
            }
        }
    }

    fn wakeup(&self, _: Channel) {
        *self.wakeups.lock().unwrap() += 1;
        self.woken.notify_all();
    }
}

/// What a value's end writes and a look at the value reads.
#[derive(Clone)]
struct Mark(Arc<UnsafeCell<bool>>);

// SAFETY: loom checks each access, and that is the purpose.
unsafe impl Send for Mark {}
// SAFETY: as for `Send`.
unsafe impl Sync for Mark {}

impl Mark {
    fn new() -> Self {
        Self(Arc::new(UnsafeCell::new(false)))
    }

    /// The value is looked at.
    fn look(&self) {
        // SAFETY: loom reports it if this is not ordered before `end`.
        assert!(!self.0.with(|ended| unsafe { *ended }), "looked at after its end");
    }

    fn end(&self) {
        // SAFETY: loom reports it if anything else is not ordered before this.
        self.0.with_mut(|ended| unsafe { *ended = true });
    }

    fn has_ended(&self) -> bool {
        // SAFETY: as for `look`.
        self.0.with(|ended| unsafe { *ended })
    }
}

struct Value(Mark);

impl Drop for Value {
    fn drop(&mut self) {
        self.0.end();
    }
}

struct World {
    domain: DomainRef<Host>,
    slot: Published<Value, Host>,
    arena: Arena,
    mark: Mark,
}

impl World {
    /// A domain, and a slot with one value in it.
    fn new() -> Arc<Self> {
        let arena = Arena::default();
        let host = Host { arena: arena.clone(), wakeups: loom::sync::Mutex::new(0), woken: Condvar::new() };
        let domain = DomainRef::try_new(host, 2).unwrap();
        let (slot, mark) = (Published::new(&domain), Mark::new());
        slot.swap(Some(Shared::try_new(&domain, Value(mark.clone())).unwrap()));
        Arc::new(Self { domain, slot, arena, mark })
    }

    fn reader(&self) -> Reader<Host> {
        Domain::register(&self.domain).unwrap()
    }

    /// Looks at what is in the slot, whose mark is known. (Not through the value: if it were gone, that would crash.)
    fn read(&self, reader: &Reader<Host>) -> bool {
        let section = reader.enter();
        let seen = self.slot.load(&section).is_some();
        if seen {
            self.mark.look();
        }
        seen
    }

    /// Calls all callbacks, drops everything, and checks that nothing has leaked.
    fn end(this: Arc<Self>) {
        let Self { domain, slot, arena, mark } = Arc::try_unwrap(this).ok().expect("all threads have ended");
        drop(slot);
        while domain.poll() {}
        assert_eq!(domain.pending(), 0);
        assert!(mark.has_ended());
        drop(domain);
        assert_eq!(arena.0.lock().unwrap().live, 0, "memory has leaked");
    }
}

fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(f);
}

/// A reader looks at a value that is being retired and, by polling, freed.
#[test]
fn reader_against_retire() {
    model(|| {
        let world = World::new();
        let reading = thread::spawn({
            let (world, reader) = (world.clone(), world.reader());
            move || drop((world.read(&reader), reader))
        });
        drop(world.slot.swap(None));
        while world.domain.poll() {}
        reading.join().unwrap();
        World::end(world);
    });
}

/// As before; the reader reads twice, so that it may announce a stale epoch.
#[test]
fn two_sections_against_retire() {
    model(|| {
        let world = World::new();
        let reading = thread::spawn({
            let (world, reader) = (world.clone(), world.reader());
            move || {
                let first = world.read(&reader);
                let second = world.read(&reader);
                assert!(first || !second, "an empty slot was seen full again");
            }
        });
        drop(world.slot.swap(None));
        while world.domain.poll() {}
        reading.join().unwrap();
        World::end(world);
    });
}

/// A reader makes a handle of what it sees, while the last other handle goes.
#[test]
fn share_against_last_release() {
    model(|| {
        let world = World::new();
        let sharing = thread::spawn({
            let (world, reader) = (world.clone(), world.reader());
            move || {
                let section = reader.enter();
                let kept = world.slot.share(&section);
                drop(section);
                if kept.is_some() {
                    world.mark.look();
                }
            }
        });
        drop(world.slot.swap(None));
        while world.domain.poll() {}
        sharing.join().unwrap();
        World::end(world);
    });
}

/// What the publisher wrote into a value is seen by whoever finds it.
#[test]
fn publication() {
    model(|| {
        let world = World::new();
        drop(world.slot.swap(None));
        while world.domain.poll() {}
        let cell = Arc::new(Written(UnsafeCell::new(0)));
        let reading = thread::spawn({
            let (world, reader, cell) = (world.clone(), world.reader(), cell.clone());
            move || {
                let section = reader.enter();
                if world.slot.load(&section).is_some() {
                    // SAFETY: loom reports it if this is not ordered after the write.
                    assert_eq!(cell.0.with(|number| unsafe { *number }), 7);
                }
            }
        });
        // SAFETY: loom reports it if this is not ordered before the read.
        cell.0.with_mut(|number| unsafe { *number = 7 });
        world.slot.swap(Some(Shared::try_new(&world.domain, Value(Mark::new())).unwrap()));
        reading.join().unwrap();
        World::end(world);
    });
}

struct Written(UnsafeCell<u32>);

// SAFETY: loom checks each access.
unsafe impl Send for Written {}
// SAFETY: as for `Send`.
unsafe impl Sync for Written {}

/// After `wait`, the waiter may destroy by itself what it took away, without any callback; and it always wakes up.
#[test]
fn wait_against_section() {
    model(|| {
        let world = World::new();
        let reading = thread::spawn({
            let (world, reader) = (world.clone(), world.reader());
            move || drop((world.read(&reader), reader))
        });
        let reader = world.reader();
        let taken = world.slot.swap(None);
        world.domain.wait(&reader);
        world.mark.end();
        drop(taken);
        drop(reader);
        reading.join().unwrap();
        World::end(world);
    });
}

/// `drain_callbacks` returns after the callback, whoever called it, and it always wakes up.
#[test]
fn drain_against_section_and_drain() {
    model(|| {
        let world = World::new();
        let other = thread::spawn({
            let (world, reader) = (world.clone(), world.reader());
            move || {
                world.read(&reader);
                world.domain.drain_callbacks(&reader);
            }
        });
        let reader = world.reader();
        drop(world.slot.swap(None));
        world.domain.drain_callbacks(&reader);
        assert!(world.mark.has_ended());
        drop(reader);
        other.join().unwrap();
        World::end(world);
    });
}
