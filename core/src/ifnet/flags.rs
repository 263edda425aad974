//! Interface flags and capabilities, by FreeBSD's names and values.

use bitflags::bitflags;

bitflags! {
    /// `if_flags` and `if_drv_flags` in one word, as `ifconfig` and the routing socket show them.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct IfFlags: u32 {
        /// Up.
        const UP = 0x1;
        /// Broadcast address valid.
        const BROADCAST = 0x2;
        /// Loopback.
        const LOOPBACK = 0x8;
        /// Point-to-point link.
        const POINTOPOINT = 0x10;
        /// Resources allocated; the driver runs.
        const RUNNING = 0x40;
        /// Does not resolve addresses.
        const NOARP = 0x80;
        /// Receives all packets, counted by `if_pcount`.
        const PROMISC = 0x100;
        /// Receives all multicast packets, counted by `if_amcount`.
        const ALLMULTI = 0x200;
        /// Cannot hear its own transmissions.
        const SIMPLEX = 0x800;
        /// Supports multicast.
        const MULTICAST = 0x8000;
        /// Promiscuous by request of the user, whatever the count.
        const PPROMISC = 0x2_0000;
        /// All multicast by request of the user, whatever the count.
        const PALLMULTI = 0x4_0000;
        /// Detached or freed, or about to be. Set once, never cleared.
        const DYING = 0x20_0000;
        /// Being renamed.
        const RENAMING = 0x40_0000;
    }
}

impl IfFlags {
    /// `IFF_CANTCHANGE`: what `SIOCSIFFLAGS` leaves alone.
    pub const CANTCHANGE: Self = Self::BROADCAST
        .union(Self::POINTOPOINT)
        .union(Self::RUNNING)
        .union(Self::SIMPLEX)
        .union(Self::MULTICAST)
        .union(Self::ALLMULTI)
        .union(Self::PROMISC)
        .union(Self::DYING)
        .union(Self::RENAMING);
}

bitflags! {
    /// `if_capabilities` and `if_capenable`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct IfCaps: u32 {
        /// Receive checksums.
        const RXCSUM = 0x1;
        /// Transmit checksums.
        const TXCSUM = 0x2;
        /// VLAN-sized frames.
        const VLAN_MTU = 0x8;
        /// Hardware tagging.
        const VLAN_HWTAGGING = 0x10;
        /// Jumbo frames.
        const JUMBO_MTU = 0x20;
        /// TCP segmentation of IPv4.
        const TSO4 = 0x100;
        /// TCP segmentation of IPv6.
        const TSO6 = 0x200;
        /// Large receive offload.
        const LRO = 0x400;
        /// Link-state reports.
        const LINKSTATE = 0x8_0000;
    }
}

/// `if_type`: what kind of link it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum IfType {
    /// Anything else.
    Other = 0x01,
    /// Ethernet.
    Ether = 0x06,
    /// Point-to-point protocol, and what looks like it: tun.
    Ppp = 0x17,
    /// Loopback.
    Loop = 0x18,
    /// A VLAN.
    L2Vlan = 0x87,
    /// A bridge.
    Bridge = 0xd1,
    /// Generic tunnel.
    Gif = 0xf0,
}

/// `if_link_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LinkState {
    /// Nobody knows.
    Unknown = 0,
    /// Down.
    Down = 1,
    /// Up.
    Up = 2,
}

impl LinkState {
    pub(crate) const fn from_raw(raw: u8) -> Self {
        match raw {
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::Unknown,
        }
    }
}

/// Smallest MTU that `SIOCSIFMTU` takes, in bytes.
pub const IF_MINMTU: u32 = 72;
/// Largest MTU that `SIOCSIFMTU` takes, in bytes.
pub const IF_MAXMTU: u32 = 65535;
/// MTU of Ethernet, in bytes.
pub const ETHERMTU: u32 = 1500;
/// MTU of the loopback, in bytes.
pub const LOMTU: u32 = 16384;
/// MTU of a generic tunnel, in bytes: the least that IPv6 allows.
pub const GIF_MTU: u32 = 1280;
