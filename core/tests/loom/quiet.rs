//! What the epoch orders by itself. The host of the other models takes a lock at the end of each section, and that lock
//! orders what an epoch that is too weak would leave unordered; this one does nothing there.
//!
//! To see these fail, let any of these be `Relaxed`: the announcement of a section or its end, the load of a record, the
//! claim of a record or its return. Or take the fence `F1` out; or `F2` with `F3`. (One of those two is enough: the lock is
//! between them. The proof has both, because it is shorter with both.)

use ifnet::epoch::{Domain, DomainRef, Reader};
use ifnet::mem::{Published, Shared};
use ifnet::platform::Platform;
use loom::sync::Arc;
use loom::thread;

use crate::host::{Arena, LoomMutex, Mark, model};

/// A host that sleeps nowhere and tells nothing.
struct Quiet(Arena);

impl Platform for Quiet {
    type Mutex<T: Send> = LoomMutex<T>;
    type Allocator = Arena;
    type Buffer = ();

    fn allocator(&self) -> Arena {
        self.0.clone()
    }
}

struct Value(Mark);

impl Drop for Value {
    fn drop(&mut self) {
        self.0.end();
    }
}

struct World {
    domain: DomainRef<Quiet>,
    slot: Published<Value, Quiet>,
    mark: Mark,
}

impl World {
    fn new() -> Arc<Self> {
        let domain = DomainRef::try_new(Quiet(Arena::default()), 1).unwrap();
        let (slot, mark) = (Published::new(&domain), Mark::new());
        slot.swap(Some(Shared::try_new(&domain, Value(mark.clone())).unwrap()));
        Arc::new(Self { domain, slot, mark })
    }

    fn read(&self, reader: &Reader<Quiet>) {
        let section = reader.enter();
        if self.slot.load(&section).is_some() {
            self.mark.look();
        }
    }

    fn retire(&self) {
        drop(self.slot.swap(None));
        while self.domain.poll() {}
    }

    /// What a section held back goes now; nothing may be left.
    fn end(&self) {
        while self.domain.poll() {}
        assert!(self.mark.has_ended());
    }
}

#[test]
fn a_section_is_over_when_the_next_one_is_seen() {
    model(|| {
        let world = World::new();
        let reading = thread::spawn({
            let (world, reader) = (world.clone(), Domain::register(&world.domain).unwrap());
            move || {
                world.read(&reader);
                world.read(&reader);
            }
        });
        world.retire();
        reading.join().unwrap();
        world.end();
    });
}

#[test]
fn a_section_is_over_when_one_of_the_records_next_reader_is_seen() {
    model(|| {
        let world = World::new();
        let first = thread::spawn({
            let (world, reader) = (world.clone(), Domain::register(&world.domain).unwrap());
            move || {
                world.read(&reader);
                drop(reader);
            }
        });
        let second = thread::spawn({
            let world = world.clone();
            move || {
                // There is one record, which the first thread may still have.
                if let Ok(reader) = Domain::register(&world.domain) {
                    drop(reader.enter());
                }
            }
        });
        world.retire();
        first.join().unwrap();
        second.join().unwrap();
        world.end();
    });
}
