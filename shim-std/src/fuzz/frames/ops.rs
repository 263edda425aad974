//! Which command eight bytes stand for: a change of the graph, or a frame.
//!
//! As in the other targets an operand picks among what is alive: the k-th jail, the k-th interface on its list, the
//! address of the k-th interface anywhere. Half of the commands are frames.

use core::fmt::Write as _;
use core::net::{IpAddr, Ipv4Addr};

use super::graph::{Graph, Id, Kind, Node, is_device};
use crate::host::frame::{encap, ether};

/// Bytes of a command.
pub(crate) const RECORD: usize = 8;
/// As many commands are read.
pub(crate) const MAX_RECORDS: usize = 128;

/// What can be picked from.
pub(super) struct View<'v> {
    /// The names of the jails and the numbers of their vnets, the host's first.
    pub(super) jails: &'v [(String, u32)],
    pub(super) graph: &'v Graph,
    /// Names of the devices that are open, and how many frames wait in each.
    pub(super) open: &'v [(String, Id, usize)],
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// A line.
    Line(String),
    /// One that makes interfaces, which are brought up then.
    Make(String),
    /// A frame, out of an interface or in through it.
    Send { line: String, on: Id, out: bool, bytes: Vec<u8> },
    /// A frame that is queued with its interface.
    Queue { line: String, on: Id, bytes: Vec<u8> },
    /// What is queued comes in.
    Run,
    /// A frame that is sent at this moment of the next command.
    Arm { line: String, on: Id, out: bool, bytes: Vec<u8>, moment: u8 },
    /// Opens a device.
    Open { line: String, name: String, on: Id },
    /// Closes one.
    Close { line: String, name: String },
    /// Reads a frame from one.
    Read { line: String, name: String },
    /// Writes a frame to one.
    Write { line: String, name: String, bytes: Vec<u8> },
}

/// As many interfaces may be there; then those that make one more destroy one.
const CROWD: usize = 14;
const JAILS: [&str; 3] = ["j1", "j2", "j3"];
const KINDS: [&str; 16] = [
    "epair", "bridge", "epair", "tap", "lagg", "epair", "bridge", "tun", "disc", "lo", "vlan", "vmnet", "gif", "epair",
    "tap", "bridge",
];
const MACVLAN: [&str; 5] = ["bridge", "private", "vepa", "bridge", "passthru"];
const IPVLAN: [&str; 6] = [
    "ipvlan mode l2",
    "ipvlan mode l2 private",
    "ipvlan mode l3",
    "ipvlan mode l2 vepa",
    "ipvlan mode l3s",
    "ipvtap mode l2",
];

fn one<'a>(of: &[&'a str], by: u8) -> &'a str {
    of[usize::from(by) % of.len()]
}

impl View<'_> {
    /// Mostly the host: what is to meet must be in one place.
    fn jail(&self, by: u8) -> (&str, u32) {
        let by = by.saturating_sub(128);
        self.jails.get(usize::from(by) % self.jails.len().max(1)).map_or(("0", 0), |(name, vnet)| (name, *vnet))
    }

    /// The interface that a name means in a vnet, for the k-th name; `lo0` last.
    fn interface(&self, vnet: u32, by: u8) -> Option<&Node> {
        let here = || self.graph.0.values().filter(move |node| node.vnet == vnet);
        let all: Vec<_> =
            here().filter(|node| node.name != "lo0").chain(here().filter(|node| node.name == "lo0")).collect();
        let picked = all.get(usize::from(by).checked_rem(all.len())?)?;
        // Of two of one name the earliest is found; which that is, the graph does not know.
        (here().filter(|node| node.name == picked.name).count() == 1).then_some(*picked)
    }

    fn name(&self, vnet: u32, by: u8) -> &str {
        self.interface(vnet, by).map_or("lo0", |node| &node.name)
    }

    /// The k-th interface of a kind in a vnet, as the driver calls it; or any.
    fn of_kind(&self, vnet: u32, kind: &str, by: u8) -> &str {
        let of_kind = || self.graph.0.values().filter(|node| node.vnet == vnet && *node.ifp.dname() == *kind);
        let nth = usize::from(by).checked_rem(of_kind().count());
        nth.and_then(|nth| of_kind().nth(nth)).map_or_else(|| self.name(vnet, by), |node| &node.name)
    }

    /// The k-th interface of a vnet that a bridge or an aggregate may take.
    fn member(&self, vnet: u32, by: u8) -> &str {
        let takes =
            |node: &&Node| !matches!(node.kind, Kind::Loopback | Kind::Bridge | Kind::Lagg) && node.master.is_none();
        let free = || self.graph.0.values().filter(move |node| node.vnet == vnet).filter(takes);
        let nth = usize::from(by).checked_rem(free().count());
        nth.and_then(|nth| free().nth(nth)).map_or_else(|| self.name(vnet, by), |node| &node.name)
    }

    fn lladdr(&self, by: u8) -> [u8; 6] {
        let all: Vec<_> = self.graph.0.values().filter_map(|node| node.lladdr).filter(|own| *own != [0; 6]).collect();
        usize::from(by).checked_rem(all.len()).map_or([2, 0, 0, 0, 0, 1], |nth| all[nth])
    }

    /// A frame: where to, where from, of what kind and how much of it.
    fn frame(&self, own: Option<[u8; 6]>, [to, from, kind, cut]: [u8; 4]) -> Vec<u8> {
        let own = own.unwrap_or([0; 6]);
        let destination = match to {
            0..160 => self.lladdr(to),
            160..200 => [0xff; 6],
            200..220 => [0x01, 0, 0x5e, 0, 0, 1],
            220..240 => [0x02, 0xff, 0, 0, 0, to % 2],
            240..250 => own,
            _ => [0; 6],
        };
        let source = match from {
            0..100 => own,
            100..170 => [0x02, 0xee, 0, 0, 0, from % 4],
            170..245 => self.lladdr(from),
            245..250 => [0x01, 0, 0x5e, 0, 0, 2],
            _ => [0; 6],
        };
        let inet = IpAddr::V4(Ipv4Addr::new(10, 0, 0, kind % 4 + 1));
        let mut bytes = match kind % 16 {
            0..6 => ether(destination, source, Some(inet)),
            6 => ether(destination, source, Some([0x20, 1, 0xd, 0xb8, 0, 0, 0, u16::from(kind % 3)].into())),
            7 => arp(destination, source, inet),
            8..12 => {
                let mut bytes = ether(destination, source, Some(inet));
                encap(&mut bytes, u16::from(kind / 16 % 3) + 1);
                bytes
            }
            12 => {
                let mut bytes = ether(destination, source, Some(inet));
                let (inner, outer) = (u16::from(kind / 16 % 3) + 1, u16::from(kind / 64) + 1);
                encap(&mut bytes, inner);
                encap(&mut bytes, outer | 0xe000);
                bytes
            }
            13 => {
                // A header that promises more than there is.
                let mut bytes = ether(destination, source, Some(inet));
                bytes[14] = 0x4f;
                bytes[16..18].fill(0xff);
                bytes
            }
            14 => ether(destination, source, None),
            _ => [&destination[..], &source, &[0x81, 0x00]].concat(),
        };
        // Padding teaches nothing and would only be printed.
        bytes.truncate(bytes.len().min(54));
        if cut >= 224 {
            bytes.truncate(usize::from(cut - 224) * 2);
        }
        bytes
    }
}

fn arp(destination: [u8; 6], source: [u8; 6], target: IpAddr) -> Vec<u8> {
    let mut bytes =
        [&destination[..], &source, &[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1], &source, &[10, 0, 0, 9], &[0; 6]].concat();
    if let IpAddr::V4(target) = target {
        bytes.extend(target.octets());
    }
    bytes
}

/// `0x…`, as `kpi` reads it.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What `ip` calls the jail; the host's is that of process 1.
fn netns(jail: &str) -> &str {
    if jail == "0" { "1" } else { jail }
}

/// The command that eight bytes stand for.
pub(super) fn choose(view: &View<'_>, record: [u8; RECORD]) -> Op {
    let [verb, a, b, c, frame @ ..] = record;
    let (jail, vnet) = view.jail(a);
    let inside = |text: String| if jail == "0" { text } else { format!("jexec {jail} {text}") };
    let line = |text: String| Op::Line(inside(text));
    let make = |text: String| if frame[0] < 224 { Op::Make(inside(text)) } else { Op::Line(inside(text)) };
    let name = view.name(vnet, b);
    let crowded = view.graph.0.len() >= CROWD;
    let (other, below) = view.jail(frame[1]);
    let host = "1".to_owned();
    let at = if jail == "0" { String::new() } else { format!("-n {jail} ") };
    match verb % 64 {
        // Nothing can be sent through a world of loopbacks.
        _ if view.graph.0.len() <= view.jails.len() => make(format!("ifconfig {} create", one(&KINDS, b))),
        0 if c % 4 == 0 && view.jails.len() > 1 => {
            let nth = 1 + usize::from(b) % (view.jails.len() - 1);
            Op::Line(format!("jail -r {}", view.jails[nth].0))
        }
        0 | 1 => match JAILS.iter().find(|name| view.jails.iter().all(|(jail, _)| jail != *name)) {
            Some(free) => Op::Line(format!("jail -c name={free} vnet persist")),
            None => line(format!("ifconfig {name} down")),
        },
        2..=6 if !crowded => make(format!("ifconfig {} create", one(&KINDS, b))),
        7 if !crowded => Op::Make(format!("devctl attach em{}", c % 3)),
        8 if c % 4 == 0 => Op::Line(format!("devctl detach em{}", c % 3)),
        8 => line(format!("ifconfig {name} up")),
        9..=13 if !crowded => {
            let lower = view.name(below, b);
            let kind = match verb % 64 {
                9 | 10 => format!("macvlan mode {}", one(&MACVLAN, c)),
                11 | 12 => one(&IPVLAN, c).to_owned(),
                _ => format!("vlan id {}", c % 3 + 1),
            };
            let text = format!("ip {at}link add link {lower} link-netns {} type {kind}", netns(other));
            Op::Make(text)
        }
        14 if !crowded => make(format!("ifconfig vlan create vlan {} vlandev {name}", c % 3 + 1)),
        15 if !crowded => {
            let peer = if other == "0" { host.as_str() } else { other };
            Op::Make(format!("ip {at}link add type veth peer netns {peer}"))
        }
        16..=18 => line(format!("ifconfig {} addm {}", view.of_kind(vnet, "bridge", c), view.member(vnet, b))),
        19 => line(format!("ifconfig {} deletem {}", view.of_kind(vnet, "bridge", c), name)),
        20 => line(format!("ifconfig {} laggport {}", view.of_kind(vnet, "lagg", c), view.member(vnet, b))),
        21 => line(format!("ifconfig {} -laggport {}", view.of_kind(vnet, "lagg", c), name)),
        22 => line(format!("kpi if_vmove {name} {other}")),
        23 => line(format!("ifconfig {name} vnet {other}")),
        24 => line(format!("ifconfig {} -vnet {other}", view.name(below, b))),
        25 | 26 => line(format!("ifconfig {name} up")),
        27 => line(format!("ifconfig {name} down")),
        28 => line(format!("ifconfig {name} {}", one(&["promisc", "-promisc", "mtu 1400", "mtu 1500"], c))),
        29 | 30 => match c {
            0..200 => line(format!("ifconfig {name} inet 10.0.0.{}/24", c % 4 + 1)),
            200..230 => line(format!("ifconfig {name} inet6 2001:db8::{}/64", c % 3)),
            _ => line(format!("ifconfig {name} inet 10.0.0.{} -alias", c % 4 + 1)),
        },
        31 => {
            let [x0, x1, x2, x3, x4, x5] = if c < 200 { [2, 0xee, 0, 0, 0, c % 4] } else { view.lladdr(c) };
            line(format!("ifconfig {name} ether {x0:02x}:{x1:02x}:{x2:02x}:{x3:02x}:{x4:02x}:{x5:02x}"))
        }
        32 => line(format!("kpi if_link_state_change {name} {}", one(&["up", "down"], c))),
        33 => match view.interface(vnet, b).filter(|node| is_device(&node.ifp)) {
            // Two open devices of one name could not be told apart.
            Some(node) if view.open.iter().all(|(open, ..)| *open != node.name) => {
                Op::Open { line: inside(format!("kpi tun_open {}", node.name)), name: node.name.clone(), on: node.id }
            }
            _ => line(format!("ifconfig {name} up")),
        },
        34..=36 => match view.open.get(usize::from(b).checked_rem(view.open.len()).unwrap_or(0)) {
            Some((name, ..)) if verb % 64 == 34 && c % 4 == 0 => {
                Op::Close { line: format!("kpi tun_close {name}"), name: name.clone() }
            }
            Some((name, _, waiting)) if verb % 64 == 34 && *waiting > 0 => {
                Op::Read { line: format!("kpi tun_read {name}"), name: name.clone() }
            }
            Some((name, ..)) => {
                let bytes = view.frame(None, frame);
                Op::Write { line: format!("kpi tun_write {name} {}", hex(&bytes)), name: name.clone(), bytes }
            }
            None => Op::Run,
        },
        2..=15 | 37 => line(format!("ifconfig {name} destroy")),
        38 => Op::Line("kpi run_tasks".to_owned()),
        39 if c % 2 == 0 => {
            let vlan = view.of_kind(vnet, "vlan", c);
            line(format!("ifconfig {vlan} vlan {} vlandev {name}", frame[0] % 3 + 1))
        }
        39 => line(format!("ifconfig {} -vlandev", view.of_kind(vnet, "vlan", b))),
        verb => {
            let Some(node) = view.interface(vnet, b) else { return Op::Run };
            let bytes = view.frame(node.lladdr, frame);
            let (name, bits) = (&node.name, hex(&bytes));
            let out = !(51..=55).contains(&verb) && (verb < 58 || c % 2 == 0);
            let call = if out { "if_transmit" } else { "if_input" };
            let line = inside(format!("kpi {call} {name} {bits}"));
            match verb {
                56 => Op::Queue { line: inside(format!("kpi netisr_queue {name} {bits}")), on: node.id, bytes },
                57 => Op::Run,
                58..=63 if c >= 64 => Op::Arm { line, on: node.id, out, bytes, moment: c / 2 % 16 },
                _ => Op::Send { line, on: node.id, out, bytes },
            }
        }
    }
}
