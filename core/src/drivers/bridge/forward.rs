//! What a bridge does with a frame: `bridge_input`, `bridge_transmit`, `bridge_forward` and `bridge_broadcast`.
//!
//! | a frame for | goes |
//! |---|---|
//! | the bridge's own address | up, as come in through the bridge |
//! | the own address of the member that it came in through | up through that member |
//! | another member's own address | up, as come in through that member, if that is up; its VLANs first |
//! | many | out of all other members; a copy up through the bridge, and one through the member it came from |
//! | an address that was learned | out of that member alone; nowhere if it came from there |
//! | any other | out of all other members |
//!
//! A frame for one that comes *from* the bridge's address or a member's was sent here and has come back: it is dropped.
//! Addresses are looked at in this order: the bridge's, that of the member that the frame came in through, those of all
//! members. So of two VLANs of one parent, which show one address, each takes what came in through it.
//!
//! On a host whose buffers are opaque every frame is of the last kind.
//!
//! A member that leaves is still on the way of frames that have looked it up. It takes none of them along into another
//! vnet: see [`enter_vnet`].

use crate::Errno;
use crate::bpf::bpf_mtap;
use crate::epoch::Section;
use crate::ifnet::hook::HookKind;
use crate::ifnet::{IfCounter, IfFlags, Ifnet, Ifp, LinkState, SockAddr};
use crate::lifecycle::{enter_vnet, if_input, if_lladdr, if_transmit, is_listening};
use crate::mem::{AnyShared, Shared};
use crate::platform::{FrameHeader, Mutex, Platform};
use crate::thread::{FLOOD_HOPS, Thread};

use super::{Bridge, bridge_of};

/// `bridge_input`: a packet came in through a member. A bridge that is down, or just leaving, leaves it to the member.
pub(super) fn input<P: Platform>(
    td: &Thread<'_, P>,
    member: &Ifnet<P>,
    softc: &AnyShared<P>,
    packet: P::Buffer,
) -> Option<P::Buffer> {
    let softc = softc.to_shared::<Bridge<P>>()?;
    let Some(bridge) = softc.ifp().filter(|bridge| bridge.raw_flags().contains(IfFlags::UP)) else {
        return Some(packet);
    };
    let section = td.net_epoch_enter();
    let Some(_cur) = enter_vnet(td, &bridge, &section) else { return Some(packet) };
    // A bridge that moves loses its members before it arrives: if this is still one, both are in one vnet.
    if !is_member(member, &softc) {
        return Some(packet);
    }
    let frame = Frame { td, bridge: &bridge, softc: &softc, from: Some(member), section: &section };
    match td.platform().frame_header(&packet) {
        Some(header) => frame.received(member, &header, packet),
        None => frame.forwarded(None, packet),
    }
}

/// `bridge_transmit`.
pub(super) fn transmit<P: Platform>(td: &Thread<'_, P>, ifp: &Ifnet<P>, packet: P::Buffer) -> Result<(), Errno> {
    let softc = bridge_of(ifp).ok_or(Errno::ENXIO)?;
    if !ifp.raw_flags().contains(IfFlags::UP) {
        return Err(Errno::ENETDOWN);
    }
    let section = td.net_epoch_enter();
    let _cur = enter_vnet(td, ifp, &section).ok_or(Errno::ENXIO)?;
    let header = td.platform().frame_header(&packet);
    Frame { td, bridge: ifp, softc: &softc, from: None, section: &section }.send(header.as_ref(), packet)
}

fn is_member<P: Platform>(member: &Ifnet<P>, softc: &Shared<Bridge<P>, P>) -> bool {
    member.hook(HookKind::Bridge).is_some_and(|hook| hook.softc.addr() == softc.addr())
}

/// Which address of a frame is one of ours.
enum End {
    Destination,
    Source,
}

/// Whose it is.
enum Whose<P: Platform> {
    Bridge,
    /// The member that the frame came in through.
    Receiver,
    Other(Ifp<P>),
}

/// A frame on its way through a bridge, in the vnet of that.
struct Frame<'f, 'k, P: Platform> {
    td: &'f Thread<'k, P>,
    bridge: &'f Ifnet<P>,
    softc: &'f Shared<Bridge<P>, P>,
    /// The member that it came in through; `None` if the bridge itself sends it.
    from: Option<&'f Ifnet<P>>,
    section: &'f Section<'f, P>,
}

impl<P: Platform> Frame<'_, '_, P> {
    /// Notes where the frame comes from. A member that has left since is not noted: its hook is cleared before its
    /// addresses are forgotten, under the lock of the table.
    fn learn(&self, member: &Ifnet<P>, header: &FrameHeader) {
        let mut table = self.softc.table.lock();
        if is_member(member, self.softc) {
            table.learn(header.source, member.index());
        }
    }

    /// A frame with this header came in through a member: gives back what is that member's own.
    fn received(&self, member: &Ifnet<P>, header: &FrameHeader, packet: P::Buffer) -> Option<P::Buffer> {
        let td = self.td;
        if header.is_multicast() {
            self.learn(member, header);
            match td.platform().copy_packet(&packet) {
                Some(copy) => if_input(td, self.bridge, copy, self.section),
                None => self.bridge.count(IfCounter::Ierrors, 1),
            }
            match td.platform().copy_packet(&packet) {
                // Counted on the bridge; whoever sent the packet is not concerned.
                Some(copy) => drop(self.send(Some(header), copy)),
                None => self.bridge.count(IfCounter::Oerrors, 1),
            }
            return Some(packet);
        }
        let end = |ifp: &Ifnet<P>| match if_lladdr(td, ifp) {
            Some(SockAddr::Link(own)) if own == header.destination => Some(End::Destination),
            Some(SockAddr::Link(own)) if own == header.source => Some(End::Source),
            _ => None,
        };
        let ours = end(self.bridge).map(|end| (Whose::Bridge, end));
        let ours = ours.or_else(|| end(member).map(|end| (Whose::Receiver, end)));
        let ours = ours.or_else(|| self.members().find_map(|other| end(&other).map(|end| (Whose::Other(other), end))));
        if matches!(ours, Some((_, End::Source))) {
            return None;
        }
        self.learn(member, header);
        match ours {
            Some((Whose::Receiver, _)) => return Some(packet),
            Some((Whose::Bridge, _)) => if_input(td, self.bridge, packet, self.section),
            Some((Whose::Other(other), _)) => self.local(&other, packet),
            None => return self.forwarded(Some(header), packet),
        }
        None
    }

    /// A frame for another member than the one that it came in through goes on there behind the bridge, as `ether_input`
    /// does with the interface that `bridge_input` has changed.
    fn local(&self, other: &Ifnet<P>, packet: P::Buffer) {
        let td = self.td;
        other.count(IfCounter::Ipackets, 1);
        if !is_listening(other) {
            return;
        }
        bpf_mtap(td, other);
        let packet = match other.hook(HookKind::Vlan) {
            Some(vlans) => (vlans.ops.input)(td, other, &vlans.softc, packet),
            None => Some(packet),
        };
        if let Some(packet) = packet {
            (other.ops().input)(td, other, packet);
        }
    }

    /// Passes on a frame that came in.
    fn forwarded(&self, header: Option<&FrameHeader>, packet: P::Buffer) -> Option<P::Buffer> {
        bpf_mtap(self.td, self.bridge);
        self.bridge.count(IfCounter::Ipackets, 1);
        let _ = self.send(header, packet);
        None
    }

    /// Out of the member that the address is behind, or of all.
    fn send(&self, header: Option<&FrameHeader>, packet: P::Buffer) -> Result<(), Errno> {
        let unicast = header.filter(|header| !header.is_multicast());
        let behind = unicast.and_then(|header| self.softc.table.lock().lookup(&header.destination));
        match behind.and_then(|index| self.members().find(|member| member.index() == index)) {
            Some(member) if self.sends(&member) => if_transmit(self.td, &member, packet, self.section),
            // It came from there, or nothing can be sent there.
            Some(_) => Ok(()),
            None => self.broadcast(packet),
        }
    }

    /// `bridge_broadcast`: out of every member that can send. The last one gets the packet itself, the others a copy.
    fn broadcast(&self, packet: P::Buffer) -> Result<(), Errno> {
        let td = self.td;
        let Some(_hops) = td.hop(FLOOD_HOPS) else {
            self.bridge.count(IfCounter::Oerrors, 1);
            return Err(Errno::ENOBUFS);
        };
        let mut members = self.members().filter(|member| self.sends(member));
        let mut last = members.next();
        while let Some(member) = last {
            last = members.next();
            if last.is_none() {
                return if_transmit(td, &member, packet, self.section);
            }
            match td.platform().copy_packet(&packet) {
                // A member that cannot send has counted it.
                Some(copy) => drop(if_transmit(td, &member, copy, self.section)),
                None => self.bridge.count(IfCounter::Oerrors, 1),
            }
        }
        Ok(())
    }

    /// Whether the frame can go out of this member.
    fn sends(&self, member: &Ifnet<P>) -> bool {
        let other = self.from.is_none_or(|from| !core::ptr::eq(from, member));
        other && member.raw_flags().contains(IfFlags::UP) && member.link_state() != LinkState::Down
    }

    /// The members that are in the vnet of the bridge, in the order of joining.
    fn members(&self) -> impl Iterator<Item = Ifp<P>> {
        let vnet = self.td.curvnet();
        let members = self.bridge.lowers(self.section).filter(|link| link.master).filter_map(|link| link.lower());
        members.inspect(|_| self.td.preempt()).filter(move |member| vnet.ifnets.contains(member))
    }
}
