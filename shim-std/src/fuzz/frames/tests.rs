use ifnet::hazard::Hazard;

use super::*;
use crate::fuzz::tests::noise;
use crate::fuzz::{Target, minimize};
use crate::host::frame::{FramePool, ether};
use crate::scenario::parse;

#[test]
fn programs_that_look_random_pass_and_are_scenarios() {
    for seed in 0..200 {
        let (text, ended) = play(&noise(seed, RECORD * 60), HazardSet::empty());
        assert_eq!(ended, Ok(()), "seed {seed}\n{text}");
        assert!(parse(&Source::new("t", text.as_str())).is_ok(), "seed {seed}\n{text}");
    }
}

#[test]
fn any_length_is_an_input() {
    for bytes in [&[][..], &[7], &[41; 9], &[0xff; 100_000]] {
        assert_eq!(check(bytes, HazardSet::empty()), Ok(()));
    }
}

#[test]
fn what_breaks_is_told_as_a_scenario_and_cut() {
    let hazards = Hazard::IndexReallocOnMove.set();
    let broken = (0..200).map(|seed| noise(seed, RECORD * 60)).find(|bytes| check(bytes, hazards).is_err());
    let broken = broken.expect("a move changes an index");
    let small = minimize(Target::Frames, &broken, hazards, 300);
    let what = check(&small, hazards).expect_err("it still does");
    assert!(what.contains("\n\nifconfig") && small.len() < broken.len(), "{what}");
    assert_eq!(check(&small, HazardSet::empty()), Ok(()));
}

#[test]
#[should_panic(expected = "endless: a frame has been handed over")]
fn a_command_that_hands_over_without_end_is_given_up() {
    let _ = execute_with(Wire::new(), &Source::new("t", ""), config(HazardSet::empty()), |main| {
        let pool = FramePool::default();
        Wire::watch(main.td, &pool).expect("memory");
        let section = main.td.net_epoch_enter();
        let lo0 = ifnet::ifunit(main.td, "lo0").expect("it is there from the start");
        loop {
            let _ = ifnet::if_transmit(main.td, &lo0, pool.frame(vec![0; 60]), &section);
        }
    });
}

/// Runs lines, and then looks at the graph.
fn after<R: Default>(lines: &[&str], look: impl FnOnce(&Graph) -> R) -> R {
    let mut looked = R::default();
    let ended = execute_with(Wire::new(), &Source::new("t", ""), config(HazardSet::empty()), |main| {
        Wire::watch(main.td, &FramePool::default()).expect("memory");
        for line in lines {
            let words: Vec<Arg> = line.split(' ').map(|word| Arg::new(word, Span::default())).collect();
            assert!(main.argv(&words, Span::default())?.is_ok(), "{line}");
        }
        looked = look(&Graph::read(main.td, &main.world.vnets(), &BTreeMap::new()));
        Ok(())
    });
    assert_eq!(ended, Ok(()));
    looked
}

/// Who sends a frame and through whom it arrives, by name.
fn told(graph: &Graph, learned: &mut Learned, on: &str, out: bool, [to, from]: [[u8; 6]; 2]) -> Option<String> {
    let index = *graph.0.iter().find(|(_, node)| node.name == on)?.0;
    let Expected { sent, up, .. } = expect(graph, learned, index, out, &ether(to, from, None))?;
    let names = |all: &[u32]| all.iter().map(|index| graph.0[index].name.as_str()).collect::<Vec<_>>().join(" ");
    Some(format!("{} > {}", names(&sent), names(&up)))
}

fn lladdr(graph: &Graph, name: &str) -> [u8; 6] {
    graph.0.values().find(|node| node.name == name).and_then(|node| node.lladdr).expect(name)
}

const ALL: [u8; 6] = [0xff; 6];
const FAR: [u8; 6] = [2, 0xee, 0, 0, 0, 1];
const OTHER: [u8; 6] = [2, 0xee, 0, 0, 0, 2];

const BRIDGED: [&str; 7] = [
    "ifconfig bridge0 create up",
    "devctl attach em0",
    "devctl attach em1",
    "devctl attach em2",
    "ifconfig bridge0 addm em0 addm em1 addm em2",
    "ifconfig em0 up",
    "ifconfig em1 up",
];

#[test]
fn the_oracle_floods_learns_and_never_sends_back() {
    after(&BRIDGED, |graph| {
        let mut learned = Learned::default();
        let mut told = |on, out, frame| told(graph, &mut learned, on, out, frame);
        assert_eq!(told("bridge0", true, [FAR, OTHER]).as_deref(), Some("bridge0 em0 em1 > "), "em2 is down");
        assert_eq!(told("em0", false, [OTHER, FAR]).as_deref(), Some("em1 > "));
        assert_eq!(told("em1", false, [FAR, OTHER]).as_deref(), Some("em0 > "), "it was learned");
        assert_eq!(told("em0", false, [FAR, OTHER]).as_deref(), Some(" > "), "it came from there");
        assert_eq!(told("em0", false, [ALL, FAR]).as_deref(), Some("em1 > bridge0 em0"));
        assert_eq!(told("em0", false, [lladdr(graph, "em1"), FAR]).as_deref(), Some(" > em1"));
        assert_eq!(told("em0", false, [OTHER, lladdr(graph, "em1")]).as_deref(), Some(" > "), "it has come back");
        assert_eq!(told("em2", false, [ALL, FAR]).as_deref(), Some(" > "), "down");
    });
}

#[test]
fn the_oracle_says_nothing_of_rings_and_of_what_they_teach() {
    let mut lines = vec!["ifconfig bridge0 create up", "ip link add name v0 type veth peer name v1"];
    lines.extend(["ifconfig v0 up", "ifconfig v1 up", "ifconfig bridge0 addm v0 addm v1"]);
    after(&lines, |graph| {
        let mut learned = Learned::default();
        let mut told = |frame| told(graph, &mut learned, "bridge0", true, frame);
        assert_eq!(told([ALL, FAR]), None);
        assert_eq!(told([FAR, OTHER]), None, "in doubt");
    });
}

#[test]
fn the_oracle_keeps_private_uppers_apart() {
    let mut lines = vec!["devctl attach em0", "ifconfig em0 up"];
    lines.extend(["ip link add link em0 name a up type macvlan mode bridge"]);
    lines.extend(["ip link add link em0 name b up type macvlan mode bridge"]);
    lines.extend(["ip link add link em0 name p up type macvlan mode private"]);
    after(&lines, |graph| {
        let mut learned = Learned::default();
        let [a, b, p] = ["a", "b", "p"].map(|name| lladdr(graph, name));
        let mut told = |on, out, frame| told(graph, &mut learned, on, out, frame);
        assert_eq!(told("a", true, [b, a]).as_deref(), Some("a > b"));
        assert_eq!(told("a", true, [p, a]).as_deref(), Some("em0 a > "));
        assert_eq!(told("a", true, [ALL, a]).as_deref(), Some("em0 a > b"));
        assert_eq!(told("em0", false, [ALL, FAR]).as_deref(), Some(" > em0 a b p"));
        assert_eq!(told("em0", false, [p, a]).as_deref(), Some(" > "), "not through a switch either");
        assert_eq!(told("em0", false, [p, FAR]).as_deref(), Some(" > p"));
    });
}
