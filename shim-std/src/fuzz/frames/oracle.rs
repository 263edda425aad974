//! Who is to get a frame: the rules of the drivers once more, in one place, without locks, sections or queues.
//!
//! The oracle walks a frame through a [`Graph`] and notes where it is handed to a driver for sending, where it arrives in
//! the stack, and what each interface counts. The rules are those of `ether_input` and `bridge_input` (FreeBSD), and of the
//! receive handlers of `macvlan` and `ipvlan` (Linux); what is left of them here is in the drivers' own tables.
//!
//! A frame that passes the same place twice, or more places than the core allows within a call, is too much for it: then
//! it says nothing. What such a frame has taught the bridges is in doubt from then on, and so is what depends on it.

use std::collections::{BTreeMap, BTreeSet};

use ifnet::SockAddr;
use ifnet::clone::{StackFlags, StackMode};
use ifnet::platform::FrameHeader;

use super::graph::{Graph, Id, Kind, Node};
use crate::host::frame::{Frame, decap, encap};

type Lladdr = [u8; 6];

/// What the core allows within a call, and what a flood takes of it.
const HOPS: u32 = 32;
const FLOOD: u32 = 8;

/// Which addresses the bridges have learned: behind which member each is; `None` if that is in doubt.
#[derive(Clone, Default)]
pub(super) struct Learned(BTreeMap<Id, BTreeMap<Lladdr, Option<u32>>>);

impl Learned {
    /// Forgets bridges that are gone, and what was behind members that have left.
    pub(super) fn forget(&mut self, graph: &Graph) {
        self.0.retain(|id, _| graph.get(id.index).is_some_and(|node| node.id == *id));
        for (id, table) in &mut self.0 {
            let Some(bridge) = graph.get(id.index) else { continue };
            table.retain(|_, behind| behind.is_none_or(|member| bridge.lowers.contains(&member)));
        }
    }

    /// A frame from this address has gone who knows where.
    pub(super) fn doubt(&mut self, graph: &Graph, bytes: &[u8]) {
        let Some(header) = Frame::from(bytes.to_vec()).header() else { return };
        for bridge in graph.0.values().filter(|node| node.kind == Kind::Bridge) {
            self.0.entry(bridge.id).or_default().insert(header.source, None);
        }
    }
}

/// What a frame is to come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// Handed to the drivers of these for sending.
    pub(super) sent: Vec<u32>,
    /// Arrived in the stack through these.
    pub(super) up: Vec<u32>,
    /// What was received, by interface.
    pub(super) counted: BTreeMap<u32, usize>,
}

/// Where a frame of this length is, inwards or outwards; headers change its length.
type Place = (u32, bool, usize);

struct Walk<'g> {
    graph: &'g Graph,
    learned: &'g mut Learned,
    expected: Expected,
    been: BTreeSet<Place>,
}

/// The walk is too much for the oracle.
struct TooMuch;

/// Sends a frame out of an interface, or brings it in through it; who is to get it, if that can be said.
pub(super) fn expect(graph: &Graph, learned: &mut Learned, on: u32, out: bool, bytes: &[u8]) -> Option<Expected> {
    let node = graph.get(on)?;
    let mut walk = Walk { graph, learned, expected: Expected::default(), been: BTreeSet::new() };
    let frame = bytes.to_vec();
    let walked = if out { walk.transmit(node, frame, 0) } else { walk.input(node, frame, 0) };
    let mut expected = walk.expected;
    expected.sent.sort_unstable();
    expected.up.sort_unstable();
    match walked {
        Ok(()) => Some(expected),
        Err(TooMuch) => {
            learned.doubt(graph, bytes);
            None
        }
    }
}

fn header(frame: &[u8]) -> Option<FrameHeader> {
    Frame::from(frame.to_vec()).header()
}

impl<'g> Walk<'g> {
    fn node(&self, index: u32) -> Option<&'g Node> {
        self.graph.get(index)
    }

    fn nodes(&self, of: &'g [u32]) -> impl Iterator<Item = &'g Node> + use<'g> {
        let graph = self.graph;
        of.iter().filter_map(move |index| graph.get(*index))
    }

    fn enter(&mut self, node: &Node, out: bool, frame: &[u8], hops: u32) -> Result<(), TooMuch> {
        let new = self.been.insert((node.id.index, out, frame.len()));
        if new && hops <= HOPS { Ok(()) } else { Err(TooMuch) }
    }

    /// `if_transmit`.
    fn transmit(&mut self, node: &'g Node, mut frame: Vec<u8>, hops: u32) -> Result<(), TooMuch> {
        let hops = hops + 1;
        self.enter(node, true, &frame, hops)?;
        self.expected.sent.push(node.id.index);
        let other = |index: &Option<u32>| index.and_then(|index| self.graph.get(index)).filter(|other| other.up);
        match &node.kind {
            Kind::Loopback => self.input(node, frame, hops),
            Kind::End => Ok(()),
            Kind::Pair(peer) => match other(peer) {
                Some(peer) if node.up => self.input(peer, frame, hops),
                _ => Ok(()),
            },
            Kind::Vlan(on) | Kind::Vlan8021q(on) => {
                let lower = other(&on.map(|(lower, _)| lower));
                let sends = node.up || matches!(node.kind, Kind::Vlan(_));
                match (lower, on) {
                    (Some(lower), Some((_, tag))) if sends && encap(&mut frame, *tag) => {
                        self.transmit(lower, frame, hops)
                    }
                    _ => Ok(()),
                }
            }
            Kind::Bridge if node.up => self.bridge(node, None, frame, hops),
            Kind::Bridge => Ok(()),
            Kind::Lagg => match self.active(node) {
                Some(port) => self.transmit(port, frame, hops),
                None => Ok(()),
            },
            Kind::Upper { mode, flags } | Kind::Tap { mode, flags } => {
                let lower = node.lowers.first().and_then(|lower| self.node(*lower));
                match lower.filter(|lower| lower.up && node.up) {
                    Some(lower) => self.upper(node, lower, (*mode, *flags), frame, hops),
                    None => Ok(()),
                }
            }
        }
    }

    /// `if_input`.
    fn input(&mut self, node: &'g Node, mut frame: Vec<u8>, hops: u32) -> Result<(), TooMuch> {
        self.enter(node, false, &frame, hops)?;
        *self.expected.counted.entry(node.id.index).or_default() += 1;
        if !node.hears {
            return Ok(());
        }
        if let Some(master) = node.master.and_then(|master| self.node(master)) {
            match master.kind {
                Kind::Lagg => {
                    let active = self.active(master).is_some_and(|port| port.id == node.id);
                    return if active && master.up { self.input(master, frame, hops) } else { Ok(()) };
                }
                Kind::Bridge if master.up => match self.bridge_input(master, node, frame, hops)? {
                    Some(own) => frame = own,
                    None => return Ok(()),
                },
                _ => {}
            }
        }
        self.demux(node, frame, hops)
    }

    /// `ether_demux`: VLANs, then receive handlers, then the stack.
    fn demux(&mut self, node: &'g Node, mut frame: Vec<u8>, hops: u32) -> Result<(), TooMuch> {
        let tag_of = |node: &Node| match node.kind {
            Kind::Vlan(Some((_, tag))) | Kind::Vlan8021q(Some((_, tag))) => Some(tag),
            _ => None,
        };
        let vlans: Vec<_> = self.nodes(&node.uppers).filter(|upper| tag_of(upper).is_some()).collect();
        if !vlans.is_empty()
            && let Some(tag) = decap(&mut frame)
        {
            return match vlans.into_iter().find(|vlan| tag_of(vlan) == Some(tag)) {
                Some(vlan) if vlan.up => self.input(vlan, frame, hops),
                _ => Ok(()),
            };
        }
        // It goes with its lower, and is an interface like others until it is gone itself.
        if matches!(node.kind, Kind::Tap { .. }) && !node.lowers.is_empty() {
            return Ok(());
        }
        let first = self.graph.port(node).next();
        let own = match first.map(is_mac) {
            None => Some(frame),
            Some(_) if header(&frame).is_none() => {
                let up = self.graph.port(node).find(|upper| upper.up);
                self.give(up, frame, hops)?
            }
            Some(true) => self.macvlan_receive(node, frame, hops)?,
            Some(false) => self.ipvlan_receive(node, frame, hops)?,
        };
        if own.is_some() {
            self.expected.up.push(node.id.index);
        }
        Ok(())
    }

    /// `lagg_link_active`, for failover.
    fn active(&self, lagg: &'g Node) -> Option<&'g Node> {
        self.nodes(&lagg.lowers).find(|port| port.up && port.carrier)
    }

    /// `bridge_input`: gives back what goes on to the member's own stack.
    fn bridge_input(
        &mut self,
        bridge: &'g Node,
        from: &'g Node,
        frame: Vec<u8>,
        hops: u32,
    ) -> Result<Option<Vec<u8>>, TooMuch> {
        let passes = |this: &mut Self, frame: Vec<u8>| {
            *this.expected.counted.entry(bridge.id.index).or_default() += 1;
            this.bridge(bridge, Some(from), frame, hops).map(|()| None)
        };
        let Some(header) = header(&frame) else { return passes(self, frame) };
        if header.is_multicast() {
            self.learn(bridge, from, &header);
            self.input(bridge, frame.clone(), hops)?;
            self.bridge(bridge, Some(from), frame.clone(), hops)?;
            return Ok(Some(frame));
        }
        let ours = [bridge, from].into_iter().chain(self.nodes(&bridge.lowers));
        for (at, our) in ours.enumerate() {
            if our.lladdr == Some(header.destination) {
                self.learn(bridge, from, &header);
                match at {
                    0 => self.input(bridge, frame, hops)?,
                    1 => return Ok(Some(frame)),
                    _ => {
                        *self.expected.counted.entry(our.id.index).or_default() += 1;
                        if our.hears {
                            self.demux(our, frame, hops)?;
                        }
                    }
                }
                return Ok(None);
            }
            // It was sent from here, and has come back.
            if our.lladdr == Some(header.source) {
                return Ok(None);
            }
        }
        self.learn(bridge, from, &header);
        passes(self, frame)
    }

    fn learn(&mut self, bridge: &Node, from: &Node, header: &FrameHeader) {
        if header.source[0] & 1 == 0 && header.source != [0; 6] {
            self.learned.0.entry(bridge.id).or_default().insert(header.source, Some(from.id.index));
        }
    }

    /// `bridge_forward`: out of the member that the address is behind, or of all but the one that it came from.
    fn bridge(&mut self, bridge: &'g Node, from: Option<&'g Node>, frame: Vec<u8>, hops: u32) -> Result<(), TooMuch> {
        let sends = |member: &&Node| member.up && member.carrier && from.is_none_or(|from| from.id != member.id);
        let unicast = header(&frame).filter(|header| !header.is_multicast());
        let behind = unicast.and_then(|header| self.learned.0.get(&bridge.id)?.get(&header.destination).copied());
        match behind {
            Some(None) => Err(TooMuch),
            Some(Some(index)) => match self.node(index).filter(sends) {
                Some(member) => self.transmit(member, frame, hops),
                None => Ok(()),
            },
            None => {
                let members: Vec<_> = self.nodes(&bridge.lowers).filter(sends).collect();
                let hops = hops + FLOOD;
                if hops > HOPS {
                    return Err(TooMuch);
                }
                members.into_iter().try_for_each(|member| self.transmit(member, frame.clone(), hops))
            }
        }
    }

    fn give(&mut self, to: Option<&'g Node>, frame: Vec<u8>, hops: u32) -> Result<Option<Vec<u8>>, TooMuch> {
        match to {
            Some(upper) => self.input(upper, frame, hops).map(|()| None),
            None => Ok(Some(frame)),
        }
    }

    /// A copy to each of the uppers that is up and wanted.
    fn flood(
        &mut self,
        lower: &'g Node,
        frame: &[u8],
        hops: u32,
        wanted: impl Fn(&Node) -> bool,
    ) -> Result<(), TooMuch> {
        let hops = hops + FLOOD;
        if hops > HOPS {
            return Err(TooMuch);
        }
        let graph = self.graph;
        graph
            .port(lower)
            .filter(|upper| upper.up && wanted(upper))
            .try_for_each(|upper| self.input(self.node(upper.id.index).ok_or(TooMuch)?, frame.to_vec(), hops))
    }

    fn by_lladdr(&self, lower: &'g Node, lladdr: Lladdr) -> Result<Option<&'g Node>, TooMuch> {
        let mut found = self.nodes(&lower.uppers).filter(|upper| is_upper(upper) && upper.lladdr == Some(lladdr));
        match (found.next(), found.next()) {
            // Which of two it is, nobody says.
            (_, Some(_)) => Err(TooMuch),
            (first, None) => Ok(first),
        }
    }

    /// The upper that is up and has the network address.
    fn by_inet(&self, lower: &'g Node, header: &FrameHeader) -> Option<&'g Node> {
        let wanted = match header.inet_destination? {
            core::net::IpAddr::V4(addr) => SockAddr::Inet(addr.octets()),
            core::net::IpAddr::V6(addr) => SockAddr::Inet6(addr.octets()),
        };
        self.nodes(&lower.uppers).find(|upper| is_upper(upper) && upper.up && upper.has(wanted))
    }

    /// `macvlan_queue_xmit`, `ipvlan_queue_xmit`.
    fn upper(
        &mut self,
        node: &'g Node,
        lower: &'g Node,
        (mode, flags): (StackMode, StackFlags),
        frame: Vec<u8>,
        hops: u32,
    ) -> Result<(), TooMuch> {
        let Some(header) = header(&frame) else { return self.transmit(lower, frame, hops) };
        let others = |other: &Node| other.id != node.id;
        let (private, vepa) = (flags.contains(StackFlags::PRIVATE), flags.contains(StackFlags::VEPA));
        match mode {
            StackMode::Private | StackMode::Vepa | StackMode::Passthru => self.transmit(lower, frame, hops),
            StackMode::Bridge if header.is_multicast() => {
                self.flood(lower, &frame, hops, |other| others(other) && mode_of(other) == Some(StackMode::Bridge))?;
                self.transmit(lower, frame, hops)
            }
            StackMode::Bridge => match self.by_lladdr(lower, header.destination)? {
                Some(to) if mode_of(to) == Some(StackMode::Bridge) => {
                    if to.up {
                        self.input(to, frame, hops)
                    } else {
                        Ok(())
                    }
                }
                _ => self.transmit(lower, frame, hops),
            },
            StackMode::L2 => {
                let local = header.destination == header.source;
                if vepa || !(local || header.is_multicast()) {
                    return self.transmit(lower, frame, hops);
                }
                if header.is_multicast() {
                    if !private {
                        self.flood(lower, &frame, hops, others)?;
                    }
                    return self.transmit(lower, frame, hops);
                }
                match self.by_inet(lower, &header) {
                    Some(_) if private => Ok(()),
                    Some(to) => self.input(to, frame, hops),
                    None => self.input(lower, frame, hops),
                }
            }
            // L3, L3s.
            _ if header.is_multicast() || header.inet_destination.is_none() => Ok(()),
            _ => match self.by_inet(lower, &header).filter(|_| !vepa) {
                Some(_) if private => Ok(()),
                Some(to) => self.input(to, frame, hops),
                None => self.transmit(lower, frame, hops),
            },
        }
    }

    /// `macvlan_handle_frame`: gives back what is the lower's own.
    fn macvlan_receive(&mut self, lower: &'g Node, frame: Vec<u8>, hops: u32) -> Result<Option<Vec<u8>>, TooMuch> {
        let Some(header) = header(&frame) else { return Ok(Some(frame)) };
        let passthru = self.nodes(&lower.uppers).find(|upper| mode_of(upper) == Some(StackMode::Passthru));
        let sender = self.by_lladdr(lower, header.source)?;
        if passthru.is_none() && header.is_multicast() {
            let from = sender.and_then(mode_of);
            self.flood(lower, &frame, hops, |upper| {
                let hears = match from {
                    None => true,
                    Some(StackMode::Vepa) => matches!(mode_of(upper), Some(StackMode::Vepa | StackMode::Bridge)),
                    Some(StackMode::Bridge) => mode_of(upper) == Some(StackMode::Vepa),
                    Some(_) => false,
                };
                hears && sender.is_none_or(|sender| sender.id != upper.id)
            })?;
            return Ok(Some(frame));
        }
        let to = match passthru {
            Some(passthru) => Some(passthru),
            None => self.by_lladdr(lower, header.destination)?,
        };
        let Some(to) = to else { return Ok(Some(frame)) };
        let private = |node: &Node| mode_of(node) == Some(StackMode::Private);
        if !to.up || sender.is_some_and(|sender| private(sender) || private(to)) {
            return Ok(None);
        }
        self.give(Some(to), frame, hops)
    }

    /// `ipvlan_handle_frame`: gives back what is the lower's own.
    fn ipvlan_receive(&mut self, lower: &'g Node, frame: Vec<u8>, hops: u32) -> Result<Option<Vec<u8>>, TooMuch> {
        let Some(header) = header(&frame) else { return Ok(Some(frame)) };
        if !header.is_multicast() {
            let to = self.by_inet(lower, &header);
            return self.give(to, frame, hops);
        }
        let l2 = self.graph.port(lower).any(|upper| mode_of(upper) == Some(StackMode::L2));
        if l2 && lower.lladdr != Some(header.source) {
            self.flood(lower, &frame, hops, |_| true)?;
        }
        Ok(Some(frame))
    }
}

fn mode_of(node: &Node) -> Option<StackMode> {
    match node.kind {
        Kind::Upper { mode, .. } | Kind::Tap { mode, .. } => Some(mode),
        _ => None,
    }
}

fn is_upper(node: &Node) -> bool {
    mode_of(node).is_some()
}

/// Whether an upper is a `macvlan`; the others go by network addresses.
fn is_mac(upper: &Node) -> bool {
    use StackMode::{Bridge, Passthru, Private, Vepa};
    matches!(mode_of(upper), Some(Private | Vepa | Bridge | Passthru))
}
