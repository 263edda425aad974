//! `sx(9)`: exclusion, what the holder wrote is seen by the next one, and no wakeup is missed.
//!
//! The data is a cell of loom's: two holders at once, or one that does not see what the last one wrote, are a race. A
//! wakeup that is missed is a dead-lock. To see these fail, let `Sx::xlock` take the lock whenever there is no owner,
//! whoever shares it (`writer_against_reader`), or let `Sx::change` not wake anybody when
//! the last sharer leaves (the same).

use core::num::NonZeroU32;

use ifnet::platform::ThreadId;
use ifnet::sync::{LockClass, Sx, Td};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::host::{Arena, Host, model};

struct World {
    host: Host,
    sx: Sx<Host>,
    data: UnsafeCell<u32>,
}

// SAFETY: loom checks each access.
unsafe impl Send for World {}
// SAFETY: as for `Send`.
unsafe impl Sync for World {}

impl World {
    fn new() -> Arc<Self> {
        let host = Host::new(&Arena::default());
        Arc::new(Self { host, sx: Sx::new("sx", LockClass::user(0, "sx"), true), data: UnsafeCell::new(0) })
    }

    fn td(&self, number: u32) -> Td<'_, Host> {
        Td::new(ThreadId(NonZeroU32::new(number).unwrap()), &self.host)
    }

    /// Adds one, exclusively and recursively.
    fn write(&self, number: u32) {
        let td = self.td(number);
        let outer = self.sx.xlock(&td);
        let inner = self.sx.xlock(&td);
        drop(inner);
        self.add();
        drop(outer);
    }

    fn add(&self) {
        // SAFETY: loom reports it if the lock does not order this.
        self.data.with_mut(|data| unsafe { *data += 1 });
    }

    fn read(&self, number: u32) -> u32 {
        let td = self.td(number);
        let _shared = self.sx.slock(&td);
        self.get()
    }

    fn get(&self) -> u32 {
        // SAFETY: as in `add`.
        self.data.with(|data| unsafe { *data })
    }
}

fn spawn(world: &Arc<World>, f: impl FnOnce(&World) + 'static) -> thread::JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || f(&world))
}

#[test]
fn writers_exclude_each_other() {
    model(|| {
        let world = World::new();
        let other = spawn(&world, |world| world.write(2));
        world.write(1);
        other.join().unwrap();
        assert_eq!(world.read(1), 2);
    });
}

#[test]
fn writer_against_reader() {
    model(|| {
        let world = World::new();
        let reading = spawn(&world, |world| assert!(world.read(2) <= 1));
        world.write(1);
        reading.join().unwrap();
    });
}

/// A reader and a writer wait for a writer: the phase lets both through.
#[test]
fn reader_and_writer_wait_for_a_writer() {
    model(|| {
        let world = World::new();
        let writing = spawn(&world, |world| world.write(2));
        let reading = spawn(&world, |world| assert!(world.read(3) <= 2));
        world.write(1);
        writing.join().unwrap();
        reading.join().unwrap();
        assert_eq!(world.read(1), 2);
    });
}

/// Two sharers want to become the owner: one at most does without letting go, and a downgrade lets the other read.
#[test]
fn upgrades_and_a_downgrade() {
    model(|| {
        let world = World::new();
        let change = |world: &World, number| {
            let td = world.td(number);
            let shared = world.sx.slock(&td);
            match shared.try_upgrade() {
                Ok(exclusive) => {
                    world.add();
                    let _shared = exclusive.downgrade();
                    assert!(world.get() >= 1);
                }
                Err(shared) => drop(shared),
            }
        };
        let other = spawn(&world, move |world| change(world, 2));
        change(&world, 1);
        other.join().unwrap();
    });
}
