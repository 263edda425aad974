//! The packets that a scenario sends.
//!
//! There is no IP stack here: a scenario says what a stack would have found out. `ping -I IF ADDR` sends an IP packet for
//! `ADDR` to the link-level address of the interface that has `ADDR`, in whatever vnet, as if ARP had found it, and to
//! the broadcast address if there is none. All frames are counted; none may be left at the end.

use core::net::IpAddr;

use ifnet::{Errno, Ifp, SockAddr, if_lladdr, if_transmit, ifunit};

use super::host::Host;
use super::interp::Interp;
use super::show;
use crate::host::frame::{Frame, ether};

/// `ff:ff:ff:ff:ff:ff`.
const BROADCAST: [u8; 6] = [0xff; 6];

impl<H: Host> Interp<'_, '_, H> {
    /// A frame from this interface: to everybody, unless there is a destination, and with its own address as the source,
    /// unless there is another.
    pub(super) fn frame(
        &self,
        ifp: &Ifp<H>,
        destination: Option<[u8; 6]>,
        source: Option<[u8; 6]>,
        inet: Option<IpAddr>,
    ) -> Frame {
        let own = || match if_lladdr(self.td, ifp) {
            Some(SockAddr::Link(own)) => own,
            _ => [0; 6],
        };
        self.world.frames.frame(ether(destination.unwrap_or(BROADCAST), source.unwrap_or_else(own), inet))
    }

    /// `ping -I IF [ADDR]`.
    pub(super) fn ping(&self, interface: &str, to: Option<IpAddr>) -> Result<(), Errno> {
        let neighbour = to.and_then(|to| self.neighbour(to));
        let section = self.td.net_epoch_enter();
        let ifp = ifunit(self.td, interface).ok_or(Errno::ENXIO)?;
        if_transmit(self.td, &ifp, self.frame(&ifp, neighbour, None, to), &section)
    }

    /// The link-level address of the interface that has a network address.
    fn neighbour(&self, addr: IpAddr) -> Option<[u8; 6]> {
        let wanted = match addr {
            IpAddr::V4(addr) => SockAddr::Inet(addr.octets()),
            IpAddr::V6(addr) => SockAddr::Inet6(addr.octets()),
        };
        self.world.vnets().into_iter().find_map(|vnet| {
            let _cur = self.td.curvnet_set(Some(vnet));
            let with_address = show::interfaces(self.td).into_iter().find(|ifp| {
                let mut has = false;
                ifp.addresses(|addr, _| has |= addr == wanted);
                has
            })?;
            match if_lladdr(self.td, &with_address)? {
                SockAddr::Link(lladdr) => Some(lladdr),
                _ => None,
            }
        })
    }
}
