//! `ipvlan` and `ipvtap`: the uppers have one link-level address, and the network address that a frame is for decides.
//!
//! | an upper sends, mode l2 | in bridge mode | private | vepa |
//! |---|---|---|---|
//! | to the common link-level address, network address of an upper | to that upper | dropped, `ENOBUFS` | out of the lower |
//! | to the common link-level address, another network address | to the lower itself | to the lower itself | out |
//! | multicast | to all other uppers, and out | out | out |
//! | anything else | out | out | out |
//!
//! In the modes l3 and l3s only the network address counts: to an upper that has it as above, out otherwise. What has
//! none is dropped, and so is multicast. The lower's stack would route the packet; here it goes out as it is.
//!
//! What comes in from outside goes to the upper that has its network address; in l2 also a copy of each multicast frame
//! to every upper, and the frame itself to the lower. An upper that is down has no address, as far as this goes.
//!
//! Linux passes multicast between the uppers of a private or vepa port as well; its documentation says of private that
//! nothing passes, and that is what is done here. Of the frames that a switch sends back, Linux tells an upper's own by
//! their source network address, which the core is not told: here, multicast from the common link-level address is
//! nobody's.

use core::net::IpAddr;

use crate::Errno;
use crate::clone::{StackFlags, StackMode};
use crate::epoch::Section;
use crate::ifnet::SockAddr;
use crate::lifecycle::{if_deliver, if_forward, if_lladdr};
use crate::mem::{Borrowed, Shared};
use crate::platform::{FrameHeader, Mutex, Platform};
use crate::thread::Thread;

use super::packets::give;
use super::{Port, Upper};

/// `ipvlan_xmit_mode_l2`, `ipvlan_xmit_mode_l3`.
pub(super) fn transmit<P: Platform>(
    td: &Thread<'_, P>,
    upper: &Shared<Upper<P>, P>,
    header: &FrameHeader,
    packet: P::Buffer,
    section: &Section<'_, P>,
) -> Result<(), Errno> {
    let port = &upper.port;
    let (mode, flags) = {
        let state = port.state.lock();
        (state.mode, state.flags)
    };
    let l2 = mode == StackMode::L2;
    if !l2 && (header.is_multicast() || header.inet_destination.is_none()) {
        return Err(Errno::ENOBUFS);
    }
    // In l2 a sibling is spoken to at the address that all have in common.
    let local = !l2 || header.destination == header.source;
    if flags.contains(StackFlags::VEPA) || (!local && !header.is_multicast()) {
        return if_forward(td, &port.lower, packet, section);
    }
    let private = flags.contains(StackFlags::PRIVATE);
    if header.is_multicast() {
        if !private {
            port.flood(td, &packet, section, |other| !other.ifp.ptr_eq(&upper.ifp));
        }
        return if_forward(td, &port.lower, packet, section);
    }
    match by_address(port, header, section) {
        Some(_) if private => Err(Errno::ENOBUFS),
        Some(sibling) => if_deliver(td, &sibling.ifp, packet, section),
        None if l2 => if_deliver(td, &port.lower, packet, section),
        None => if_forward(td, &port.lower, packet, section),
    }
}

/// `ipvlan_handle_mode_l2`, `ipvlan_handle_mode_l3`: gives back what is the lower's own.
pub(super) fn receive<P: Platform>(
    td: &Thread<'_, P>,
    port: &Port<P>,
    header: &FrameHeader,
    packet: P::Buffer,
    section: &Section<'_, P>,
) -> Option<P::Buffer> {
    if !header.is_multicast() {
        return give(td, by_address(port, header, section), packet, section);
    }
    let l2 = { port.state.lock().mode } == StackMode::L2;
    if l2 && if_lladdr(td, &port.lower) != Some(SockAddr::Link(header.source)) {
        port.flood(td, &packet, section, |_| true);
    }
    Some(packet)
}

/// `ipvlan_addr_lookup`: the upper that has the network address that a frame is for.
fn by_address<'s, P: Platform>(
    port: &'s Port<P>,
    header: &FrameHeader,
    section: &'s Section<'_, P>,
) -> Option<Borrowed<'s, Upper<P>, P>> {
    let wanted = match header.inet_destination? {
        IpAddr::V4(addr) => SockAddr::Inet(addr.octets()),
        IpAddr::V6(addr) => SockAddr::Inet6(addr.octets()),
    };
    port.find_up(section, |upper| {
        let mut has = false;
        upper.ifp.addresses(|addr, _| has = has || addr == wanted);
        has
    })
}
