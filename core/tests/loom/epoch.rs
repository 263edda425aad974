//! The epoch and the counted handle. Each value carries a [`Mark`]: see [`host`](crate::host).
//!
//! To see these fail, take the fence `F1` out of `Reader::enter`, or let `Limbo::turn` hand out the list of the epoch
//! that ends (`slot(self.epoch + 2)`): both make `reader_against_retire` fail. `then_some` in place of `then` in
//! `Borrowed::try_share` makes `share_against_last_release` fail.

use ifnet::epoch::{Domain, DomainRef, Reader};
use ifnet::mem::{Published, Shared};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::host::{Arena, Host, Mark, model};

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
        let domain = DomainRef::try_new(Host::new(&arena), 2).unwrap();
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
        assert_eq!(arena.live(), 0, "memory has leaked");
    }
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

/// A reader makes a handle of what it sees, while the last other handle goes. What is refused once is refused for ever.
#[test]
fn share_against_last_release() {
    model(|| {
        let world = World::new();
        let sharing = thread::spawn({
            let (world, reader) = (world.clone(), world.reader());
            move || {
                let section = reader.enter();
                let seen = world.slot.load(&section);
                let first = seen.and_then(|seen| seen.try_share());
                let kept = seen.and_then(|seen| seen.try_share());
                assert!(first.is_some() || kept.is_none(), "a handle of an object that is being freed");
                drop((section, first));
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
