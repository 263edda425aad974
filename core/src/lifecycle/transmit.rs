//! Packets, as far as the life cycle is concerned: who may still be sending while an interface goes away.

use crate::Errno;
use crate::bpf::bpf_mtap;
use crate::epoch::Section;
use crate::ifnet::{IfCounter, IfFlags, IfType, Ifnet};
use crate::platform::Platform;
use crate::thread::{CurvnetGuard, Thread};
use crate::vnet::ifnet_byindex;

/// `if_transmit`: taps the packet and gives it to the driver, who owns it whatever happens.
///
/// # Locks
/// None; inside an epoch section.
///
/// # Errors
/// The driver's; `ENXIO` from an interface that is dead; `ENOBUFS` if the packet came through too many interfaces within
/// this call, as it does when bridges form a ring.
pub fn if_transmit<P: Platform>(
    td: &Thread<'_, P>,
    ifp: &Ifnet<P>,
    packet: P::Buffer,
    _section: &Section<'_, P>,
) -> Result<(), Errno> {
    bpf_mtap(td, ifp);
    let Some(_hop) = td.hop(1) else {
        drop(packet);
        ifp.count(IfCounter::Oerrors, 1);
        return Err(Errno::ENOBUFS);
    };
    let sent = (ifp.ops().transmit)(td, ifp, packet);
    ifp.count(if sent.is_ok() { IfCounter::Opackets } else { IfCounter::Oerrors }, 1);
    sent
}

/// `if_input`: a packet came in through the interface. What is stacked on it may take the packet. An Ethernet interface
/// that is down drops it, as `ether_input` does: it is tapped and counted, and nobody above hears of it.
///
/// # Locks
/// None; inside an epoch section.
pub fn if_input<P: Platform>(td: &Thread<'_, P>, ifp: &Ifnet<P>, packet: P::Buffer, _section: &Section<'_, P>) {
    bpf_mtap(td, ifp);
    ifp.count(IfCounter::Ipackets, 1);
    if !is_listening(ifp) {
        return;
    }
    let Some(stack) = ifp.stack() else { return (ifp.ops().input)(td, ifp, packet) };
    let Some(packet) = stack.hooks.input(td, ifp, packet) else { return };
    match ifp.rx_handler() {
        Some(handler) => (handler.input)(td, ifp, &handler.data, packet),
        None => (ifp.ops().input)(td, ifp, packet),
    }
}

/// Whether what comes in is looked at. A loopback takes what is sent through it, up or not, and what has no link level has
/// no `ether_input`: its driver decides.
pub(crate) fn is_listening<P: Platform>(ifp: &Ifnet<P>) -> bool {
    let ethernet = matches!(ifp.if_type(), IfType::Ether | IfType::L2Vlan | IfType::Bridge);
    !ethernet || ifp.raw_flags().contains(IfFlags::UP)
}

/// Enters the vnet of an interface that a driver has found through another one, for as long as the guard lives; `None`
/// if the interface is on no vnet's list, because it is gone or on its way into another vnet.
///
/// # Invariants
/// A detach and a move take an interface off its list first and then wait for the sections that are open. So what is
/// seen on a list inside a section stays in that vnet until the end of the section, and a packet that is passed to it
/// meanwhile does not turn up in another vnet.
pub(crate) fn enter_vnet<'t, 'k, P: Platform>(
    td: &'t Thread<'k, P>,
    ifp: &Ifnet<P>,
    _section: &Section<'_, P>,
) -> Option<CurvnetGuard<'t, 'k, P>> {
    let vnet = ifp.if_vnet(td);
    td.preempt();
    vnet.ifnets.contains(ifp).then(|| td.curvnet_set(Some(vnet)))
}

/// [`if_input`] of an interface that may be in another vnet, in that vnet.
///
/// # Errors
/// `ENXIO` if it is on no list; the packet is dropped.
pub(crate) fn if_deliver<P: Platform>(
    td: &Thread<'_, P>,
    ifp: &Ifnet<P>,
    packet: P::Buffer,
    section: &Section<'_, P>,
) -> Result<(), Errno> {
    let _cur = enter_vnet(td, ifp, section).ok_or(Errno::ENXIO)?;
    if_input(td, ifp, packet, section);
    Ok(())
}

/// [`if_transmit`] of an interface that may be in another vnet, in that vnet.
///
/// # Errors
/// `ENXIO` if it is on no list; the packet is dropped. Otherwise as [`if_transmit`].
pub(crate) fn if_forward<P: Platform>(
    td: &Thread<'_, P>,
    ifp: &Ifnet<P>,
    packet: P::Buffer,
    section: &Section<'_, P>,
) -> Result<(), Errno> {
    let _cur = enter_vnet(td, ifp, section).ok_or(Errno::ENXIO)?;
    if_transmit(td, ifp, packet, section)
}

/// The part of `ip6_input` that matters here: a packet was queued with the index of its receiving interface, which is
/// found again now, and the family's data of that interface is used. Gives how many packets the family has seen there.
///
/// # Locks
/// None; in an epoch section of its own.
///
/// # Errors
/// `ENXIO` if there is no such interface, or no family data on it any more.
pub fn ip6_input<P: Platform>(td: &Thread<'_, P>, index: u32) -> Result<usize, Errno> {
    let section = td.net_epoch_enter();
    let ifp = ifnet_byindex(td, index, &section).ok_or(Errno::ENXIO)?;
    td.preempt();
    let afdata = ifp.get().afdata.load(&section).ok_or(Errno::ENXIO)?;
    Ok(afdata.input())
}
