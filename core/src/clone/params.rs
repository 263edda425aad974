//! What a create by kind may say beside the name: the attributes of Linux's `RTM_NEWLINK`, and `struct vlanreq`.
//!
//! One structure for all kinds, so that a command line can fill it without knowing the drivers. A driver takes what it
//! understands and refuses what it needs and does not find.

use bitflags::bitflags;

use crate::ifnet::{IfName, IfnetRef};
use crate::platform::Platform;
use crate::vnet::VnetRef;

/// The other end of a pair: `IFLA_INFO_DATA`'s peer of `veth`.
pub struct Peer<P: Platform> {
    /// Its name; `None` takes the lowest free unit of the kind.
    pub name: Option<IfName>,
    /// Where it is made; `None` is the current vnet.
    pub vnet: Option<VnetRef<P>>,
}

/// How a stacked interface shares its lower one. Each kind knows some of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StackMode {
    /// `ipvlan`: switches by link-level frames.
    L2,
    /// `ipvlan`: switches by network addresses. The default of the kind.
    L3,
    /// `ipvlan`: as `L3`, with the packet filter's hooks of the lower's vnet.
    L3s,
    /// `macvlan`: uppers do not see each other.
    Private,
    /// `macvlan`: uppers see each other through an external switch. The default of the kind.
    Vepa,
    /// `macvlan`: uppers see each other directly.
    Bridge,
    /// `macvlan`: one upper has the lower to itself.
    Passthru,
}

bitflags! {
    /// `IPVLAN_F_*`: what holds for all uppers of a lower interface.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct StackFlags: u16 {
        /// Uppers do not see each other.
        const PRIVATE = 0x1;
        /// Uppers see each other through an external switch.
        const VEPA = 0x2;
    }
}

/// Attributes of an interface that is to be made; [`Default`] says nothing.
pub struct CloneParams<P: Platform> {
    /// `IFLA_LINK`, `vlandev`: the interface below, in whatever vnet.
    pub lower: Option<IfnetRef<P>>,
    /// `vlr_tag`: the tag of a VLAN.
    pub tag: Option<u16>,
    /// The other end of a pair.
    pub peer: Option<Peer<P>>,
    /// How it shares its lower interface.
    pub mode: Option<StackMode>,
    /// What holds for all uppers of the lower interface.
    pub flags: Option<StackFlags>,
    /// `IFLA_MTU`, in bytes.
    pub mtu: Option<u32>,
    /// The index that it gets; without one, the lowest that is free. Of a pair, the index of the end that is named.
    pub index: Option<u32>,
}

impl<P: Platform> CloneParams<P> {
    /// Says nothing.
    pub const NONE: Self = Self { lower: None, tag: None, peer: None, mode: None, flags: None, mtu: None, index: None };
}

impl<P: Platform> Default for CloneParams<P> {
    fn default() -> Self {
        Self::NONE
    }
}
