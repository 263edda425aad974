//! The kinds of interfaces.

/// The cloners of every vnet, in the order in which it gets them.
#[expect(missing_docs, reason = "each is the driver of that name")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloner {
    Lo,
    Disc,
    Epair,
    Gif,
    Tun,
    Tap,
    Vmnet,
    Vlan,
    Bridge,
    Lagg,
    Veth,
    Ipvlan,
    Ipvtap,
    Macvlan,
}

impl Cloner {
    pub(super) const ALL: [Self; 14] = [
        Self::Lo,
        Self::Disc,
        Self::Epair,
        Self::Gif,
        Self::Tun,
        Self::Tap,
        Self::Vmnet,
        Self::Vlan,
        Self::Bridge,
        Self::Lagg,
        Self::Veth,
        Self::Ipvlan,
        Self::Ipvtap,
        Self::Macvlan,
    ];

    /// The name of the kind, which is also that of its group and the stem of its interfaces' names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lo => "lo",
            Self::Disc => "disc",
            Self::Epair => "epair",
            Self::Gif => "gif",
            Self::Tun => "tun",
            Self::Tap => "tap",
            Self::Vmnet => "vmnet",
            Self::Vlan => "vlan",
            Self::Bridge => "bridge",
            Self::Lagg => "lagg",
            Self::Veth => "veth",
            Self::Ipvlan => "ipvlan",
            Self::Ipvtap => "ipvtap",
            Self::Macvlan => "macvlan",
        }
    }

    /// Kinds of one family share a lower interface; no other family stands on it meanwhile.
    pub(super) const fn family(self) -> Option<Family> {
        match self {
            Self::Ipvlan | Self::Ipvtap => Some(Family::Ipvlan),
            Self::Macvlan => Some(Family::Macvlan),
            _ => None,
        }
    }
}

/// Who receives the packets of a lower interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Ipvlan,
    Macvlan,
}

/// Which kind of interface it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A driver's, with this handle.
    Plain { handle: u32, ether: bool },
    /// Made by this cloner.
    Cloned(Cloner),
}

impl Kind {
    pub(super) fn is(self, cloner: Cloner) -> bool {
        self == Self::Cloned(cloner)
    }

    /// `IFT_ETHER`.
    pub(super) const fn is_ethernet(self) -> bool {
        match self {
            Self::Plain { ether, .. } => ether,
            Self::Cloned(cloner) => {
                !matches!(cloner, Cloner::Lo | Cloner::Disc | Cloner::Gif | Cloner::Tun | Cloner::Vlan | Cloner::Bridge)
            }
        }
    }

    /// Whether there is a tap while it is attached.
    pub(super) fn has_tap(self) -> bool {
        let taps = [Cloner::Tun, Cloner::Vlan, Cloner::Bridge];
        self.is_ethernet() || taps.into_iter().any(|cloner| self.is(cloner))
    }
}
