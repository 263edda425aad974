//! What a tail queue promises: to its writers an order, and to readers a walk that no removal leads astray.

extern crate std;

use std::vec::Vec;

use super::*;
use crate::epoch::{Domain, Reader};
use crate::testing::{Host, Random, domain};

struct Active;

struct Node {
    name: usize,
    link: Link<Self, Host>,
}

impl Linked<Host, Active> for Node {
    fn link(&self) -> &Link<Self, Host> {
        &self.link
    }
}

type List = TailQ<Node, Host, Active>;

fn node(domain: &DomainRef<Host>, name: usize) -> Shared<Node, Host> {
    Shared::try_new(domain, Node { name, link: Link::new(domain) }).expect("memory")
}

fn names(list: &List, reader: &Reader<Host>) -> Vec<usize> {
    list.iter(&reader.enter()).map(|node| node.name).collect()
}

#[test]
fn order_is_kept_and_removal_is_exact() {
    let (host, domain) = domain();
    let reader = Domain::register(&domain).expect("a record");
    let (list, other) = (List::new(&domain), List::new(&domain));
    let nodes: Vec<_> = (0..5).map(|name| node(&domain, name)).collect();
    assert!(list.insert_tail(&nodes[2]) && list.insert_tail(&nodes[3]) && list.insert_head(&nodes[1]));
    assert!(list.insert_head(&nodes[0]) && list.insert_tail(&nodes[4]));
    assert_eq!(names(&list, &reader), [0, 1, 2, 3, 4]);
    assert!(!list.insert_tail(&nodes[2]) && !other.insert_head(&nodes[2]), "it is on a list");
    assert!(!other.remove(&nodes[2]), "it is on another list");
    assert!(list.contains(&nodes[2]) && !other.contains(&nodes[2]));
    assert!(list.remove(&nodes[2]) && !list.remove(&nodes[2]));
    assert!(list.remove(&nodes[0]) && list.remove(&nodes[4]));
    assert_eq!(names(&list, &reader), [1, 3]);
    assert_eq!((list.len(), list.is_empty()), (2, false));
    assert!(other.insert_tail(&nodes[2]));
    assert_eq!(names(&other, &reader), [2]);
    drop((list, nodes, other));
    domain.drain_callbacks(&reader);
    drop((reader, domain));
    assert_eq!(host.arena().live(), 0);
}

#[test]
fn a_reader_goes_on_from_a_removed_element() {
    let (_, domain) = domain();
    let reader = Domain::register(&domain).expect("a record");
    let (list, other) = (List::new(&domain), List::new(&domain));
    let nodes: Vec<_> = (0..5).map(|name| node(&domain, name)).collect();
    assert!(nodes.iter().all(|node| list.insert_tail(node)));
    let section = reader.enter();
    let mut walk = list.iter(&section);
    assert_eq!(walk.by_ref().nth(1).map(|node| node.name), Some(1));
    // Where the reader stands, what follows, and what comes before go; one of them to another list.
    assert!(list.remove(&nodes[1]) && list.remove(&nodes[2]) && list.remove(&nodes[0]));
    assert_eq!(list.next(&nodes[1], &section).map(|node| node.name), Some(3));
    assert!(other.insert_tail(&nodes[4 - 3]) && other.insert_tail(&nodes[0]));
    assert!(list.next(&nodes[1], &section).is_none(), "it is on another list");
    assert_eq!(walk.map(|node| node.name).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(list.first(&section).map(|node| node.name), Some(3));
    drop((section, list, other, nodes));
    domain.drain_callbacks(&reader);
}

#[test]
fn a_removed_element_keeps_nothing_alive() {
    let (_, domain) = domain();
    let reader = Domain::register(&domain).expect("a record");
    let list = List::new(&domain);
    let [one, two] = [1, 2].map(|name| node(&domain, name));
    assert!(list.insert_tail(&one) && list.insert_tail(&two));
    assert!(list.remove(&one) && list.remove(&two));
    drop(two);
    assert_eq!(domain.pending(), 1, "the removed element holds its old successor");
    drop((one, list));
    domain.drain_callbacks(&reader);
}

#[test]
fn agrees_with_a_model() {
    let (host, domain) = domain();
    let reader = Domain::register(&domain).expect("a record");
    let lists = [List::new(&domain), List::new(&domain)];
    let nodes: Vec<_> = (0..12).map(|name| node(&domain, name)).collect();
    let mut models = [Vec::new(), Vec::new()];
    let mut random = Random(9);
    let before = host.arena().total();
    for _ in 0..if cfg!(miri) { 100 } else { 5000 } {
        let (name, at) = (random.below(nodes.len()), random.below(2));
        let free = models.iter().all(|model| !model.contains(&name));
        match random.below(3) {
            0 => {
                assert_eq!(lists[at].insert_tail(&nodes[name]), free);
                models[at].extend(free.then_some(name));
            }
            1 => {
                assert_eq!(lists[at].insert_head(&nodes[name]), free);
                if free {
                    models[at].insert(0, name);
                }
            }
            _ => {
                assert_eq!(lists[at].remove(&nodes[name]), models[at].contains(&name));
                models[at].retain(|other| *other != name);
            }
        }
        for (list, model) in lists.iter().zip(&models) {
            assert_eq!(names(list, &reader), *model);
            assert_eq!(list.len(), model.len());
        }
    }
    assert_eq!(host.arena().total(), before, "a list allocated");
    drop((lists, nodes));
    domain.drain_callbacks(&reader);
}

#[test]
fn a_long_list_is_dropped_without_recursion() {
    let (host, domain) = domain();
    let list = List::new(&domain);
    for name in 0..if cfg!(miri) { 20 } else { 100_000 } {
        assert!(list.insert_tail(&node(&domain, name)));
    }
    drop(list);
    while domain.poll() {}
    drop(domain);
    assert_eq!(host.arena().live(), 0);
}

#[test]
fn readers_see_what_stays_while_a_writer_moves_the_rest() {
    let (_, domain) = domain();
    let lists = [List::new(&domain), List::new(&domain)];
    let nodes: Vec<_> = (0..6).map(|name| node(&domain, name)).collect();
    assert!(nodes.iter().all(|node| lists[0].insert_tail(node)));
    let rounds = if cfg!(miri) { 10 } else { 3000 };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random(1);
            for _ in 0..rounds {
                // The even ones stay where they are; the odd ones move to and fro.
                let node = &nodes[random.below(3) * 2 + 1];
                let to = usize::from(lists[0].remove(node));
                assert!(to == 1 || lists[1].remove(node));
                assert!(lists[to].insert_tail(node));
                domain.poll();
            }
        });
        scope.spawn(|| {
            let reader = Domain::register(&domain).expect("a record");
            for _ in 0..rounds {
                let seen = names(&lists[0], &reader);
                let stay: Vec<_> = seen.iter().filter(|name| *name % 2 == 0).collect();
                assert_eq!(stay, [&0, &2, &4], "{seen:?}");
                assert!(names(&lists[1], &reader).iter().all(|name| name % 2 == 1));
            }
        });
    });
    drop((lists, nodes));
    while domain.poll() {}
}
