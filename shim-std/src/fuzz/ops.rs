//! Which command four bytes stand for, in the state of the world in which it is given.
//!
//! Operands pick among what is alive at that moment: the k-th jail, the k-th interface on its list. A small share of them
//! picks what is gone: a name that was there, an index and generation that were looked up before. An operation is a line
//! of the scenario language, so that an input *is* a scenario, and nothing has to be written twice.

use std::borrow::Cow;

use crate::runner::observe::Listed;

/// What can be picked from, at this moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// The names of the jails and the numbers of their vnets, the host's first.
    pub(crate) jails: Vec<(Cow<'static, str>, u32)>,
    /// All interfaces that ever arrived.
    pub(crate) listed: Vec<Listed>,
    /// The thread as the driver of an interface of its own.
    pub(crate) own: Driver,
    /// The indices of what drivers hold, attached or not.
    pub(crate) driven: Vec<u32>,
    /// The indices of what other threads may be busy with, the likeliest first.
    pub(crate) recent: Vec<u32>,
}

/// A thread as a driver.
#[derive(Clone, Debug, Default)]
pub(crate) struct Driver {
    /// What it calls its interface. No interface has that name: who gives a name means what has it now, and not what a
    /// driver may have freed.
    pub(crate) label: &'static str,
    /// The name that the interface gets.
    pub(crate) name: &'static str,
    pub(crate) own: Own,
    pub(crate) index: Option<u32>,
}

/// How far the interface of a thread's own has come. A driver that detaches what is not attached, or frees what is, has a
/// bug; so what a thread may do depends on what it did, and no other thread has its label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Own {
    /// There is none.
    #[default]
    Nothing,
    /// By `if_alloc`.
    Allocated,
    /// By `if_attach`.
    Attached,
    /// By `ether_ifattach`.
    Ether,
}

/// A line, and whether it runs in an epoch section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) section: bool,
    /// The index of the interface that it is about, if that lives.
    pub(crate) about: Option<u32>,
}

/// Operands from here on pick what another thread is busy with, wherever it is, the likeliest first: what they do to the same
/// interface at the same time is what goes wrong.
pub(super) const RECENT: u8 = 224;
/// Operands from here on pick what is gone, if there is any.
const STALE: u8 = 248;
/// As many verbs there are; those that races need have several numbers.
const VERBS: u8 = 64;
/// As many interfaces may be on a list; then those that make one more destroy one.
const CROWD: usize = 12;

const KINDS: [&str; 16] = [
    "epair", "disc", "epair0", "disc0", "lo", "gif", "tun", "tap", "bridge", "lagg", "epair1", "disc1", "lo1", "tun0",
    "vmnet", "bridge0",
];
const NAMES: [&str; 8] = ["x", "em0", "epair0a", "disc0", "epair0b", "y", "disc1", "lo1"];
const GROUPS: [&str; 4] = ["g", "h", "epair", "disc"];
const MODULES: [&str; 4] = ["epair", "disc", "tun", "bridge"];
const JAILS: [&str; 3] = ["j1", "j2", "j3"];

fn one<'a>(of: &[&'a str], by: u8) -> &'a str {
    of[usize::from(by) % of.len()]
}

/// What `ip` calls the jail `name`; the host's is that of process 1.
fn netns(name: &str) -> &str {
    if name == "0" { "1" } else { name }
}

/// What most operations are about: an interface, and the jail that it is in.
struct Subject<'v> {
    jail: &'v str,
    vnet: u32,
    name: &'v str,
    index: Option<u32>,
}

impl View {
    fn jail(&self, by: u8) -> (&str, u32) {
        self.jails.get(usize::from(by) % self.jails.len().max(1)).map_or(("0", 0), |(name, vnet)| (name, *vnet))
    }

    fn on(&self, vnet: Option<u32>) -> impl Iterator<Item = &Listed> {
        self.listed.iter().filter(move |it| it.vnet == vnet)
    }

    /// The index of what another thread is busy with, if this operand asks for it.
    fn recent(&self, by: u8) -> Option<u32> {
        let nth = (RECENT..STALE).contains(&by).then(|| usize::from(by - RECENT))?;
        nth.checked_rem(self.recent.len()).map(|nth| self.recent[nth])
    }

    /// The index of an interface, wherever it is, and whether it still is.
    fn index(&self, by: u8) -> u32 {
        let all = || self.driven.iter().copied().chain(self.listed.iter().map(|it| it.index));
        let nth = || usize::from(by).checked_rem(all().count()).and_then(|nth| all().nth(nth));
        self.recent(by).or_else(nth).unwrap_or(1)
    }

    /// An interface, of a certain jail unless it is what another thread is busy with. `lo0`, which can hardly be done
    /// anything with, comes last.
    fn subject(&self, jail: u8, by: u8) -> Subject<'_> {
        let busy = self.recent(by).and_then(|index| {
            let it = self.listed.iter().find(|it| it.index == index && it.vnet.is_some())?;
            let (jail, vnet) = self.jails.iter().find(|(_, vnet)| Some(*vnet) == it.vnet)?;
            Some(Subject { jail, vnet: *vnet, name: &it.name, index: Some(index) })
        });
        busy.unwrap_or_else(|| {
            let (jail, vnet) = self.jail(jail);
            let it = self.named(vnet, by);
            let index = it.filter(|it| it.vnet.is_some()).map(|it| it.index);
            Subject { jail, vnet, name: it.map_or("lo0", |it| &it.name), index }
        })
    }

    /// An interface of a vnet.
    fn named(&self, vnet: u32, by: u8) -> Option<&Listed> {
        let nth = |vnet| {
            let here = || self.on(vnet).filter(|it| *it.name != *"lo0");
            here().nth(usize::from(by).checked_rem(here().count())?)
        };
        let gone = if by >= STALE { nth(None) } else { None };
        gone.or_else(|| nth(Some(vnet)))
    }

    fn name(&self, vnet: u32, by: u8) -> &str {
        self.named(vnet, by).map_or("lo0", |it| &it.name)
    }
}

/// The line that four bytes stand for.
pub(crate) fn choose(view: &View, [verb, a, b, c]: [u8; 4]) -> Line {
    let Subject { mut jail, vnet, name, index: mut about } = view.subject(a, b);
    let crowded = view.on(Some(vnet)).count() > CROWD;
    let mut section = false;
    let text = match verb % VERBS {
        0 if c % 8 == 0 => {
            jail = "0";
            format!("kldunload if_{}", one(&MODULES, b))
        }
        1 if c % 4 == 0 => {
            jail = "0";
            format!("kldload if_{}", one(&MODULES, b))
        }
        2..=4 if !crowded => format!("ifconfig {} create", one(&KINDS, b)),
        2..=4 | 6..=9 => format!("ifconfig {name} destroy"),
        10 | 11 => {
            jail = "0";
            format!("devctl attach em{}", c % 3)
        }
        12 | 13 => {
            jail = "0";
            format!("devctl detach em{}", c % 3)
        }
        15..=19 => format!("ifconfig {name} vnet {}", view.jail(c).0),
        20..=22 => {
            let from = view.subject(c, b);
            (jail, about) = (view.jail(a).0, from.index);
            format!("ifconfig {} -vnet {}", from.name, from.jail)
        }
        23 | 54 => {
            jail = "0";
            format!("jail -c name={} vnet persist", one(&JAILS, c))
        }
        24..=26 | 53 => {
            jail = "0";
            let how = if verb % VERBS == 53 { "-R" } else { "-r" };
            let alive: Vec<&str> = view.jails.iter().skip(1).map(|(name, _)| &**name).collect();
            let nth = usize::from(c).checked_rem(alive.len()).and_then(|nth| alive.get(nth));
            format!("jail {how} {}", nth.unwrap_or(&"j1"))
        }
        0 | 27 => format!("ifconfig {name} name {}", one(&NAMES, c)),
        1 | 28 => format!("ifconfig {name} group {}", one(&GROUPS, c)),
        29 => format!("ifconfig {name} -group {}", one(&GROUPS, c)),
        30 => format!("ifconfig {name} inet 192.0.2.{}/24", c % 4 + 1),
        31 => format!("ifconfig {name} {}", one(&["up", "down", "promisc", "-promisc", "mtu 1400"], c)),
        32 | 33 => format!("kpi if_link_state_change {name} {}", one(&["up", "down"], c)),
        34 => format!("tcpdump -i {name}"),
        35 | 36 => format!("ping -I {name}"),
        37 => "kpi run_tasks".to_owned(),
        38 | 39 => {
            section = true;
            let index = view.index(b);
            match c % 4 {
                0 => format!("kpi ifunit {name}"),
                1 => format!("kpi ifnet_byindexgen {index} {}", c / 4),
                2 => format!("kpi ifnet_byindex {index}"),
                _ => format!("kpi if_transmit {name}"),
            }
        }
        40 => format!("kpi lladdr {name}"),
        41 => format!("ifconfig vlan create vlan {} vlandev {name}", c % 4 + 1),
        42 => match c % 2 {
            0 => format!("ifconfig {name} addm {}", view.name(vnet, c / 2)),
            _ => format!("ifconfig {name} laggport {}", view.name(vnet, c / 2)),
        },
        // There is no `tun_read`: it waits for a packet that may never come, and that is right.
        43 => match c % 3 {
            0 => format!("kpi tun_open {name}"),
            1 => format!("kpi tun_close {name}"),
            _ => format!("kpi tun_transient {name}"),
        },
        44 if !crowded => format!("ip link add veth{} type veth peer veth{}", c % 4, c % 4 + 4),
        45 if !crowded => {
            let kind = one(&["ipvlan mode l2", "macvlan"], c);
            format!("ip link add up{} link {name} type {kind}", c / 2 % 4)
        }
        44..=47 => format!("ip link del {name}"),
        48..=51 => {
            jail = "0";
            about = view.own.index;
            let Driver { label, name, own, .. } = &view.own;
            match (own, c % 3) {
                (Own::Nothing, _) => format!("kpi if_alloc {label} {name}"),
                (Own::Allocated, 0) => format!("kpi if_free {label}"),
                (Own::Allocated, 1) => format!("kpi if_attach {label}"),
                (Own::Allocated, _) => format!("kpi ether_ifattach {label}"),
                (Own::Attached, _) => format!("kpi if_detach {label}"),
                (Own::Ether, _) => format!("kpi ether_ifdetach {label}"),
            }
        }
        52 => format!("kpi if_vmove {name} {}", view.jail(c).0),
        55 => format!("kpi tun_open {name}"),
        5 => {
            section = true;
            about = Some(view.index(b));
            format!("kpi ifnet_byindex {}", view.index(b))
        }
        14 | 56 => {
            about = Some(view.index(b));
            match c % 4 {
                0 => format!("kpi ip6_input {}", view.index(b)),
                _ => format!("kpi ifnet_byindex_ref {}", view.index(b)),
            }
        }
        57 => format!("kpi if_input {name}"),
        58 => "kpi epoch_drain_callbacks".to_owned(),
        // A driver may report the carrier for as long as it has the interface.
        59 if view.own.own != Own::Nothing => {
            jail = "0";
            about = view.own.index;
            format!("kpi if_link_state_change {} {}", view.own.label, one(&["up", "down"], c))
        }
        60 => format!("ip link set {name} netns {}", netns(view.jail(c).0)),
        61 | 62 if !crowded => {
            let below = view.subject(c, if view.recent(b).is_some() { b } else { b / 4 });
            (jail, about) = (view.jail(a).0, below.index);
            let kind = one(&["ipvlan mode l2", "macvlan"], b / 4);
            format!("ip link add up{} link {} link-netns {} type {kind}", b % 4, below.name, netns(below.jail))
        }
        63 if !crowded => {
            format!("ip link add veth{} type veth peer veth{} netns {}", b % 4, b % 4 + 4, netns(view.jail(c).0))
        }
        _ => {
            section = true;
            format!("kpi ifunit {name}")
        }
    };
    let text = if jail == "0" { text } else { format!("jexec {jail} {text}") };
    Line { text, section, about }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::mutate::{DRIVE, ENDS, JAIL_ENDS, LOOKUPS, USES};
    use crate::scenario::{Source, parse};

    fn view() -> View {
        let listed = |index, name: &str, vnet| Listed { index, name: name.into(), vnet };
        View {
            jails: vec![("0".into(), 0), ("j1".into(), 1)],
            listed: vec![
                listed(1, "lo0", Some(0)),
                listed(2, "epair0a", Some(0)),
                listed(3, "lo0", Some(1)),
                listed(4, "was", None),
            ],
            own: Driver { label: "own1", name: "h1", own: Own::Ether, index: Some(9) },
            driven: vec![9],
            recent: vec![3, 2],
        }
    }

    #[test]
    fn operands_pick_what_lives_and_some_what_is_gone() {
        let line = |pick| choose(&view(), pick).text;
        assert_eq!(line([6, 0, 7, 0]), "ifconfig epair0a destroy");
        assert_eq!(line([6, 0, STALE, 0]), "ifconfig was destroy");
        assert_eq!(line([15, 0, 0, 1]), "ifconfig epair0a vnet j1");
        assert_eq!(line([6, 1, 0, 0]), "jexec j1 ifconfig lo0 destroy");
        assert_eq!(line([24, 1, 1, 9]), "jail -r j1");
        assert_eq!(line([53, 1, 1, 9]), "jail -R j1");
        assert_eq!(line([48, 1, 1, 0]), "kpi ether_ifdetach own1");
        assert_eq!(line([52, 1, 0, 0]), "jexec j1 kpi if_vmove lo0 0");
        // What another thread is busy with, wherever that is.
        assert_eq!(line([6, 0, RECENT, 0]), "jexec j1 ifconfig lo0 destroy");
        assert_eq!(line([39, 0, RECENT, 2]), "jexec j1 kpi ifnet_byindex 3");
        assert_eq!(line([39, 0, RECENT + 3, 2]), "kpi ifnet_byindex 2");
    }

    #[test]
    fn the_mutator_means_these_verbs() {
        let has = |verbs: &[u8], words: &[&str]| {
            for verb in verbs {
                let lines: Vec<_> = (0..24).map(|c| choose(&view(), [*verb, 0, 0, c]).text).collect();
                let says = |line: &String| words.iter().any(|word| line.contains(word));
                assert!(lines.iter().any(says), "{verb}: {lines:?} for {words:?}");
            }
        };
        let words = [
            "destroy",
            "detach",
            " vnet ",
            "-vnet",
            "jail -",
            "kldunload",
            " name ",
            "-group",
            "del ",
            "vmove",
            "netns",
        ];
        has(&ENDS, &words);
        has(&JAIL_ENDS, &["jail -r", "jail -R"]);
        has(&USES, &["ifnet_byindex", "ifunit", "tcpdump", "ping", "lladdr", "if_input", "if_link_state_change"]);
        has(&LOOKUPS, &["ifnet_byindex"]);
        has(&[DRIVE], &["own1"]);
    }

    #[test]
    fn every_pick_is_a_line_that_parses_and_every_verb_occurs() {
        let mut words = std::collections::BTreeSet::new();
        let owns = [Own::Nothing, Own::Allocated, Own::Attached];
        let driven =
            owns.map(|own| View { own: Driver { label: "own1", name: "h1", own, index: Some(9) }, ..View::default() });
        for view in [view()].into_iter().chain(driven) {
            for (verb, operand) in (0..=255).flat_map(|verb| (0..=255).step_by(3).map(move |operand| (verb, operand))) {
                let Line { text, section, about: _ } =
                    choose(&view, [verb, operand, operand ^ 5, operand.rotate_left(3)]);
                let line = if section { format!("net_epoch {{ {text} || true; }}") } else { format!("{text} || true") };
                assert!(parse(&Source::new("t", line.as_str())).is_ok(), "{line}");
                words.insert(text.split(' ').next().unwrap_or_default().to_owned());
            }
        }
        let all = ["devctl", "ifconfig", "ip", "jail", "jexec", "kldload", "kldunload", "kpi", "ping", "tcpdump"];
        assert_eq!(words.into_iter().collect::<Vec<_>>(), all);
    }
}
