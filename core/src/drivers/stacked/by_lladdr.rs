//! `macvlan`: every upper has a link-level address and a mode of its own.
//!
//! | an upper sends | mode bridge | private, vepa, passthru |
//! |---|---|---|
//! | to an upper in mode bridge | to that upper | out of the lower |
//! | multicast | to all other uppers in mode bridge, and out | out |
//! | anything else | out | out |
//!
//! | from outside comes | is for |
//! |---|---|
//! | anything, for a lower with an upper in mode passthru | that upper |
//! | to an upper's address | that upper; dropped if it is down |
//! | multicast from elsewhere | all uppers, and the lower |
//! | multicast from an upper, which a switch has sent back | in mode vepa: the other uppers in vepa and bridge; in mode bridge: those in vepa, as the others had it already; in mode private: nobody. And the lower |
//! | anything else | the lower |
//!
//! In mode private uppers do not speak to each other, not even through a switch that sends frames back: what comes from
//! one upper for another, one of them in mode private, is dropped. Linux says so, and does so for multicast only, where
//! the sender gets its own frame back.

use crate::Errno;
use crate::clone::StackMode;
use crate::epoch::Section;
use crate::ifnet::{IfFlags, SockAddr};
use crate::lifecycle::{if_deliver, if_forward, if_lladdr};
use crate::mem::{Borrowed, Shared};
use crate::platform::{FrameHeader, Platform};
use crate::thread::Thread;

use super::packets::give;
use super::{Port, Upper};

/// `macvlan_queue_xmit`.
pub(super) fn transmit<P: Platform>(
    td: &Thread<'_, P>,
    upper: &Shared<Upper<P>, P>,
    header: &FrameHeader,
    packet: P::Buffer,
    section: &Section<'_, P>,
) -> Result<(), Errno> {
    let port = &upper.port;
    if upper.mode == StackMode::Bridge {
        if header.is_multicast() {
            port.flood(td, &packet, section, |other| other.mode == StackMode::Bridge && !other.ifp.ptr_eq(&upper.ifp));
        } else if let Some(sibling) = by_address(td, port, header.destination, section)
            && sibling.mode == StackMode::Bridge
        {
            if !sibling.ifp.raw_flags().contains(IfFlags::UP) {
                return Err(Errno::ENETDOWN);
            }
            return if_deliver(td, &sibling.ifp, packet, section);
        }
    }
    if_forward(td, &port.lower, packet, section)
}

/// `macvlan_handle_frame`: gives back what is the lower's own.
pub(super) fn receive<P: Platform>(
    td: &Thread<'_, P>,
    port: &Port<P>,
    header: &FrameHeader,
    packet: P::Buffer,
    section: &Section<'_, P>,
) -> Option<P::Buffer> {
    let alone = port.find(section, |upper| upper.mode == StackMode::Passthru);
    let sender = by_address(td, port, header.source, section);
    if alone.is_none() && header.is_multicast() {
        let from = sender.map(|sender| sender.mode);
        let is_sender = |upper: &Upper<P>| sender.is_some_and(|sender| sender.ifp.ptr_eq(&upper.ifp));
        port.flood(td, &packet, section, |upper| !is_sender(upper) && from.is_none_or(|from| hears(upper.mode, from)));
        return Some(packet);
    }
    let upper = alone.or_else(|| by_address(td, port, header.destination, section));
    let Some(to) = upper else { return Some(packet) };
    let private = sender.is_some_and(|from| [from.mode, to.mode].contains(&StackMode::Private));
    if private || !to.ifp.raw_flags().contains(IfFlags::UP) {
        return None;
    }
    give(td, upper, packet, section)
}

/// Whether an upper is to hear multicast that another one sent and a switch has sent back.
fn hears(to: StackMode, from: StackMode) -> bool {
    match from {
        StackMode::Vepa => matches!(to, StackMode::Vepa | StackMode::Bridge),
        StackMode::Bridge => to == StackMode::Vepa,
        _ => false,
    }
}

/// `macvlan_hash_lookup`: the upper that has this link-level address.
fn by_address<'s, P: Platform>(
    td: &Thread<'_, P>,
    port: &'s Port<P>,
    lladdr: [u8; 6],
    section: &'s Section<'_, P>,
) -> Option<Borrowed<'s, Upper<P>, P>> {
    port.find(section, |upper| if_lladdr(td, &upper.ifp) == Some(SockAddr::Link(lladdr)))
}
