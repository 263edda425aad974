//! The graph of interfaces, as anybody can see it: read from the kernel through its public interface.
//!
//! That the graph is what the commands have made of it is the business of the targets `lifecycle` and `unregister`. Here
//! it is what the [`oracle`](super::oracle) goes by.

use std::collections::BTreeMap;

use ifnet::clone::{StackFlags, StackMode};
use ifnet::drivers::{stack_mode, veth_peer, vlan_parent, vlan8021q_lower};
use ifnet::{
    IfCounter, IfFlags, Ifnet, Ifp, LinkState, SockAddr, Thread, VnetRef, for_each_lower, for_each_upper, if_foreach,
    if_lladdr,
};

use super::host::{Wire, is_up};

/// Names an interface for good: indices are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    pub(super) index: u32,
    pub(super) generation: u16,
}

impl Id {
    pub(super) fn of(ifp: &Ifnet<Wire>) -> Self {
        Self { index: ifp.index(), generation: ifp.idxgen() }
    }
}

/// What an interface is, and with whom it goes. Others are named by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `lo`.
    Loopback,
    /// Whatever is sent is gone, or waits for a reader, or is refused.
    End,
    /// `epair` and `veth`, with the other end.
    Pair(Option<u32>),
    /// `vlan`.
    Vlan(Option<(u32, u16)>),
    /// `vlan8021q`.
    Vlan8021q(Option<(u32, u16)>),
    Bridge,
    Lagg,
    /// `ipvlan` and `macvlan`.
    Upper {
        mode: StackMode,
        flags: StackFlags,
    },
    /// `ipvtap`: what comes in is for whoever reads.
    Tap {
        mode: StackMode,
        flags: StackFlags,
    },
}

/// `tun`, `tap` and `vmnet`: what goes out waits for whoever reads the device.
pub(super) fn is_device(ifp: &Ifnet<Wire>) -> bool {
    ["tun", "tap", "vmnet"].contains(&&*ifp.dname())
}

/// An interface.
pub(super) struct Node {
    pub(super) ifp: Ifp<Wire>,
    pub(super) id: Id,
    pub(super) vnet: u32,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// `IFF_UP`.
    pub(super) up: bool,
    /// Takes what comes in.
    pub(super) hears: bool,
    pub(super) carrier: bool,
    pub(super) lladdr: Option<[u8; 6]>,
    /// Bridge or aggregate, that it is below.
    pub(super) master: Option<u32>,
    /// Members of a bridge, ports of an aggregate, in the order of joining; or what an upper stands on.
    pub(super) lowers: Vec<u32>,
    /// What stands on it and is no master, in the order of creation.
    pub(super) uppers: Vec<u32>,
    /// Ipackets, Opackets, Oerrors at this moment.
    pub(super) counters: [usize; 3],
}

impl Node {
    /// What has been counted since.
    pub(super) fn counted(&self) -> [usize; 3] {
        let now = counters(&self.ifp);
        core::array::from_fn(|at| now[at] - self.counters[at])
    }

    /// Whether it has a network address.
    pub(super) fn has(&self, wanted: SockAddr) -> bool {
        let mut has = false;
        self.ifp.addresses(|addr, _| has |= addr == wanted);
        has
    }
}

fn counters(ifp: &Ifnet<Wire>) -> [usize; 3] {
    [IfCounter::Ipackets, IfCounter::Opackets, IfCounter::Oerrors].map(|counter| ifp.counter(counter))
}

/// All interfaces, by index.
#[derive(Default)]
pub(super) struct Graph(pub(super) BTreeMap<u32, Node>);

impl Graph {
    /// The graph as it is now; `pairs` are the ends of each `epair`, which the kernel does not tell.
    pub(super) fn read(td: &Thread<'_, Wire>, vnets: &[VnetRef<Wire>], pairs: &BTreeMap<Id, Id>) -> Self {
        let mut all = Vec::new();
        for vnet in vnets {
            let _cur = td.curvnet_set(Some(vnet.clone()));
            // `each` never fails.
            let _ = if_foreach(td, |ifp| {
                all.extend(ifp.try_share().map(|ifp| (vnet.id(), ifp)));
                Ok(())
            });
        }
        let nodes: Vec<_> = all.into_iter().map(|(vnet, ifp)| node(td, vnet, ifp, pairs)).collect();
        Self(nodes.into_iter().map(|node| (node.id.index, node)).collect())
    }

    /// Counts from now on.
    pub(super) fn rebase(&mut self) {
        self.0.values_mut().for_each(|node| node.counters = counters(&node.ifp));
    }

    pub(super) fn get(&self, index: u32) -> Option<&Node> {
        self.0.get(&index)
    }

    /// The uppers of an interface that are `ipvlan`, `ipvtap` or `macvlan`.
    pub(super) fn port(&self, lower: &Node) -> impl Iterator<Item = &Node> {
        let uppers: Vec<_> = lower.uppers.iter().filter_map(|index| self.get(*index)).collect();
        uppers.into_iter().filter(|upper| matches!(upper.kind, Kind::Upper { .. } | Kind::Tap { .. }))
    }
}

fn node(td: &Thread<'_, Wire>, vnet: u32, ifp: Ifp<Wire>, pairs: &BTreeMap<Id, Id>) -> Node {
    let id = Id::of(&ifp);
    let (mut lowers, mut uppers, mut master) = (Vec::new(), Vec::new(), None);
    for_each_lower(td, &ifp, |lower, _| lowers.push(lower.index()));
    for_each_upper(td, &ifp, |upper, is_master| match is_master {
        true => master = Some(upper.index()),
        false => uppers.push(upper.index()),
    });
    let (mode, flags, _) = stack_mode(&ifp).unwrap_or((StackMode::L3, StackFlags::empty(), 0));
    let kind = match &*ifp.dname() {
        "lo" => Kind::Loopback,
        "epair" => Kind::Pair(pairs.get(&id).map(|peer| peer.index)),
        "veth" => Kind::Pair(veth_peer(&ifp).map(|peer| peer.index())),
        "vlan" => Kind::Vlan(vlan_parent(&ifp).map(|(parent, tag)| (parent.index(), tag))),
        // It holds its lower for longer than it stands on it.
        "vlan8021q" => Kind::Vlan8021q(lowers.first().copied().zip(vlan8021q_lower(&ifp).map(|(_, tag)| tag))),
        "bridge" => Kind::Bridge,
        "lagg" => Kind::Lagg,
        "ipvlan" | "macvlan" => Kind::Upper { mode, flags },
        "ipvtap" => Kind::Tap { mode, flags },
        _ => Kind::End,
    };
    let lladdr = match if_lladdr(td, &ifp) {
        Some(SockAddr::Link(lladdr)) => Some(lladdr),
        _ => None,
    };
    Node {
        id,
        vnet,
        name: ifp.name().to_string(),
        kind,
        up: ifp.flags().contains(IfFlags::UP),
        hears: is_up(&ifp),
        carrier: ifp.link_state() != LinkState::Down,
        lladdr,
        master,
        lowers,
        uppers,
        counters: counters(&ifp),
        ifp,
    }
}
