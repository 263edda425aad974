//! What happened, in order: the records that [`Platform::trace`](crate::Platform::trace) receives.
//!
//! A record is plain data. Its [`Display`](core::fmt::Display) form is the line that the recorder on a real FreeBSD 15.1
//! kernel printed (`tests/golden/`), so that two logs can be compared with `diff`.

use core::fmt;

/// The interface that a record is about, as it was at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IfView<'a> {
    /// `if_xname`.
    pub name: &'a str,
    /// `if_index`.
    pub index: u32,
    /// Number of `if_vnet`.
    pub vnet: u32,
    /// Number of `if_home_vnet`; `None` before the first attach.
    pub home: Option<u32>,
    /// `IFF_UP` is set.
    pub up: bool,
    /// `IFF_DYING` is set.
    pub dying: bool,
    /// `IFF_RENAMING` is set.
    pub renaming: bool,
}

impl fmt::Display for IfView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Self { name, index, vnet, home, up: _, dying: _, renaming: _ } = self;
        write!(f, "{name} idx={index} in=v{vnet} home=")?;
        match home {
            Some(home) => write!(f, "v{home}"),
            None => f.write_str("nil"),
        }
    }
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record<'a> {
    /// An event handler list about an interface was invoked: `ifnet_arrival_event`, `ifnet_event DOWN`, …
    Interface {
        /// The name of the list, with what the event says.
        event: &'a str,
        /// The interface.
        ifp: IfView<'a>,
        /// Number of `curvnet`.
        cur: u32,
    },
    /// An event handler list about a group was invoked: `group_change_event`, …
    Group {
        /// The name of the list.
        event: &'a str,
        /// `ifg_group`.
        group: &'a str,
        /// Number of `curvnet`.
        cur: u32,
    },
    /// A routing-socket announcement was dispatched: `RTM_IFANNOUNCE`.
    Announce {
        /// `ARRIVAL` or `DEPARTURE`.
        what: &'a str,
        /// `ifan_index`.
        index: u32,
        /// `ifan_name`.
        name: &'a str,
        /// Number of `curvnet`.
        cur: u32,
    },
    /// A routing-socket interface message was dispatched: `RTM_IFINFO`.
    IfInfo {
        /// `ifm_index`.
        index: u32,
        /// `ifm_flags`.
        flags: u32,
        /// Number of `curvnet`.
        cur: u32,
    },
    /// A devctl notification, as `devd(8)` reads it: `!system=IFNET subsystem=em0 type=ATTACH`.
    Devctl {
        /// `IFNET` or `ETHERNET`.
        system: &'a str,
        /// The name of the interface.
        subsystem: &'a str,
        /// The type: `ATTACH`, `LINK_UP`, …
        kind: &'a str,
        /// Further data; `-` if there are none.
        data: &'a str,
    },
    /// A function of a driver was called for an interface: `veth_dellink`, `ipvlan_uninit`, `free_netdev`. Of stacked
    /// and paired drivers only.
    Call {
        /// Its name.
        function: &'a str,
        /// The interface.
        ifp: IfView<'a>,
        /// Number of `curvnet`.
        cur: u32,
    },
    /// A line of the kernel's message buffer.
    Log {
        /// The line, without its end.
        message: &'a str,
    },
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Interface { event, ifp, cur } => {
                write!(f, "{event} {ifp} cur=v{cur}")?;
                for (set, word) in [(ifp.up, " UP"), (ifp.dying, " DYING"), (ifp.renaming, " RENAMING")] {
                    f.write_str(if set { word } else { "" })?;
                }
                Ok(())
            }
            Self::Group { event, group, cur } => write!(f, "{event} {group} cur=v{cur}"),
            Self::Announce { what, index, name, cur } => {
                write!(f, "rtsock RTM_IFANNOUNCE {what} idx={index} name={name} cur=v{cur}")
            }
            Self::IfInfo { index, flags, cur } => {
                write!(f, "rtsock RTM_IFINFO idx={index} flags={flags:#x} cur=v{cur}")
            }
            Self::Devctl { system, subsystem, kind, data } => write!(f, "devctl {system} {subsystem} {kind} {data}"),
            Self::Call { function, ifp, cur: _ } => write!(f, "CALL {function} {} in=v{}", ifp.name, ifp.vnet),
            Self::Log { message } => f.write_str(message),
        }
    }
}
