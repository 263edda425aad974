//! The tail queue: readers walk, a writer removes and inserts.
//!
//! To see these fail, let `TailQ::remove` clear the element's own `next` before it is marked as having left (swap the
//! last two steps): a reader that stands on the element believes that the list ends there.

use ifnet::epoch::{Domain, DomainRef, Reader};
use ifnet::mem::{Link, Linked, Shared, TailQ};
use loom::sync::Arc;
use loom::thread;

use crate::host::{Arena, Host, Mark, model};

enum ByName {}

/// An element; its end writes the mark.
struct Element {
    name: char,
    link: Link<Self, Host>,
    mark: Mark,
}

impl Linked<Host, ByName> for Element {
    fn link(&self) -> &Link<Self, Host> {
        &self.link
    }
}

impl Drop for Element {
    fn drop(&mut self) {
        self.mark.end();
    }
}

/// A list, and whatever is needed to put more on it.
struct World {
    list: TailQ<Element, Host, ByName>,
    domain: DomainRef<Host>,
    arena: Arena,
}

impl World {
    fn new() -> Arc<Self> {
        let arena = Arena::default();
        let domain = DomainRef::try_new(Host::new(&arena), 3).unwrap();
        Arc::new(Self { list: TailQ::new(&domain), domain, arena })
    }

    fn element(&self, name: char) -> Shared<Element, Host> {
        let link = Link::new(&self.domain);
        Shared::try_new(&self.domain, Element { name, link, mark: Mark::new() }).unwrap()
    }

    fn append(&self, name: char) -> Shared<Element, Host> {
        let element = self.element(name);
        assert!(self.list.insert_tail(&element));
        element
    }

    fn reader(&self) -> Reader<Host> {
        Domain::register(&self.domain).unwrap()
    }

    /// What a walk sees; each element is looked at.
    fn walk(&self, reader: &Reader<Host>) -> String {
        let section = reader.enter();
        let seen = self.list.iter(&section).map(|element| {
            element.mark.look();
            element.name
        });
        seen.collect()
    }

    fn end(this: Arc<Self>) {
        let Self { list, domain, arena } = Arc::try_unwrap(this).ok().expect("all threads have ended");
        drop(list);
        while domain.poll() {}
        drop(domain);
        assert_eq!(arena.live(), 0, "memory has leaked");
    }
}

/// Runs `write` while a thread walks; what the walk saw.
fn walked_during(world: &Arc<World>, write: impl FnOnce()) -> String {
    let walking = thread::spawn({
        let (world, reader) = (world.clone(), world.reader());
        move || (world.walk(&reader), reader)
    });
    write();
    let (seen, reader) = walking.join().unwrap();
    drop(reader);
    seen
}

/// What stays is seen; what is removed and freed is seen or not.
#[test]
fn walk_against_remove() {
    model(|| {
        let world = World::new();
        let [a, b, c] = ['a', 'b', 'c'].map(|name| world.append(name));
        let seen = walked_during(&world, || {
            assert!(world.list.remove(&b));
            drop(b);
            while world.domain.poll() {}
        });
        assert!(seen == "abc" || seen == "ac", "{seen}");
        drop((a, c));
        World::end(world);
    });
}

/// What comes is seen whole or not at all.
#[test]
fn walk_against_insert() {
    model(|| {
        let world = World::new();
        let a = world.append('a');
        let seen = walked_during(&world, || drop(world.append('b')));
        assert!(seen == "ab" || seen == "a", "{seen}");
        drop(a);
        World::end(world);
    });
}

/// An element goes to the end of its list, or, as in a move, to another one: whoever stands on it does not stray, and
/// sees nothing twice.
#[test]
fn walk_against_move() {
    model(|| {
        let world = World::new();
        let other = TailQ::<Element, Host, ByName>::new(&world.domain);
        let [a, b] = ['a', 'b'].map(|name| world.append(name));
        let z = world.element('z');
        assert!(other.insert_tail(&z));
        let seen = walked_during(&world, || {
            assert!(world.list.remove(&a));
            assert!(other.insert_head(&a));
        });
        assert!(seen == "ab" || seen == "b", "{seen}");
        drop((a, b, z, other));
        World::end(world);
    });
}
