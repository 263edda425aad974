//! Packets of upper interfaces that share a lower one.
//!
//! What the two families do with a frame whose destination is known is in [`by_inet`] (`ipvlan`) and [`by_lladdr`]
//! (`macvlan`); here is what they have in common. On a host whose buffers are opaque there is no destination: what an
//! upper sends goes out, and what comes in is for the first upper that is up.
//!
//! Uppers are looked for in a walk over the port, as the addresses are in the interfaces and not in a table of the port.

use crate::Errno;
use crate::epoch::Section;
use crate::ifnet::{IfCounter, IfFlags, Ifnet};
use crate::lifecycle::{if_deliver, if_forward};
use crate::mem::{AnyShared, Borrowed};
use crate::platform::Platform;
use crate::sync::atomic::Ordering;
use crate::thread::{FLOOD_HOPS, Thread};

use super::{Demux, Port, Upper, by_inet, by_lladdr, upper_of};

/// `ipvlan_queue_xmit`, `macvlan_start_xmit`: to a sibling or out of the lower, in the vnet of that.
pub(super) fn transmit<P: Platform>(td: &Thread<'_, P>, ifp: &Ifnet<P>, packet: P::Buffer) -> Result<(), Errno> {
    let upper = upper_of(ifp).ok_or(Errno::ENXIO)?;
    let lower = &upper.port.lower;
    if upper.dying.load(Ordering::Acquire) || lower.is_dying() {
        return Err(Errno::ENXIO);
    }
    if !ifp.flags().contains(IfFlags::UP) || !lower.flags().contains(IfFlags::UP) {
        return Err(Errno::ENETDOWN);
    }
    let section = td.net_epoch_enter();
    match (td.platform().frame_header(&packet), upper.kind.family.demux) {
        (None, _) => if_forward(td, lower, packet, &section),
        (Some(header), Demux::Inet) => by_inet::transmit(td, &upper, &header, packet, &section),
        (Some(header), Demux::Lladdr) => by_lladdr::transmit(td, &upper, &header, packet, &section),
    }
}

/// `ipvlan_handle_frame`, `macvlan_handle_frame`: to the uppers that the frame is for. What is for none of them is the
/// lower's own.
pub(super) fn receive<P: Platform>(td: &Thread<'_, P>, lower: &Ifnet<P>, data: &AnyShared<P>, packet: P::Buffer) {
    let Some(port) = data.downcast::<Port<P>>() else { return };
    let section = td.net_epoch_enter();
    let own = match (td.platform().frame_header(&packet), port.family.demux) {
        (None, _) => give(td, port.find_up(&section, |_| true), packet, &section),
        (Some(header), Demux::Inet) => by_inet::receive(td, port, &header, packet, &section),
        (Some(header), Demux::Lladdr) => by_lladdr::receive(td, port, &header, packet, &section),
    };
    if let Some(packet) = own {
        (lower.ops().input)(td, lower, packet);
    }
}

/// Brings a packet in through an upper; without one it is given back. An upper that is just leaving drops it.
pub(super) fn give<P: Platform>(
    td: &Thread<'_, P>,
    upper: Option<Borrowed<'_, Upper<P>, P>>,
    packet: P::Buffer,
    section: &Section<'_, P>,
) -> Option<P::Buffer> {
    let Some(upper) = upper else { return Some(packet) };
    // Nobody hears of an upper that is on its way into another vnet: it is down, and a packet for it is lost.
    let _ = if_deliver(td, &upper.ifp, packet, section);
    None
}

impl<P: Platform> Port<P> {
    /// The first upper that `wanted` accepts, in the order of creation.
    pub(super) fn find<'s>(
        &'s self,
        section: &'s Section<'_, P>,
        mut wanted: impl FnMut(&Upper<P>) -> bool,
    ) -> Option<Borrowed<'s, Upper<P>, P>> {
        self.uppers.iter(section).find(|upper| wanted(upper))
    }

    /// The first of those that are up.
    pub(super) fn find_up<'s>(
        &'s self,
        section: &'s Section<'_, P>,
        mut wanted: impl FnMut(&Upper<P>) -> bool,
    ) -> Option<Borrowed<'s, Upper<P>, P>> {
        self.find(section, |upper| is_up(upper) && wanted(upper))
    }

    /// Brings a copy of a packet in through every upper that is up and that `wanted` accepts. An upper for which there
    /// is no copy counts an error.
    pub(super) fn flood(
        &self,
        td: &Thread<'_, P>,
        packet: &P::Buffer,
        section: &Section<'_, P>,
        wanted: impl Fn(&Upper<P>) -> bool,
    ) {
        let Some(_hops) = td.hop(FLOOD_HOPS) else {
            self.lower.count(IfCounter::Oqdrops, 1);
            return;
        };
        for upper in self.uppers.iter(section).filter(|upper| is_up(upper) && wanted(upper)) {
            match td.platform().copy_packet(packet) {
                Some(copy) => drop(give(td, Some(upper), copy, section)),
                None => upper.ifp.count(IfCounter::Ierrors, 1),
            }
        }
    }
}

fn is_up<P: Platform>(upper: &Upper<P>) -> bool {
    upper.ifp.raw_flags().contains(IfFlags::UP)
}
