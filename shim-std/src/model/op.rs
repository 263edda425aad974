//! Operations, and how they print.

use core::fmt;

use super::kind::Cloner;
use super::name::Name;

/// A jail, by its number; its name is `j1`, `j2`, …. The host is `0`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Jail(pub u32);

impl Jail {
    /// The host, with the default vnet.
    pub const HOST: Self = Self(0);
}

impl fmt::Display for Jail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::HOST { f.write_str("0") } else { write!(f, "j{}", self.0) }
    }
}

impl fmt::Debug for Jail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An interface: by the handle of its driver, or as what a name means in a jail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The driver's.
    Handle(u32),
    /// Looked up.
    Name(Jail, Name),
}

/// An operation. Names are looked up when it is done. It prints as the command of a scenario. Jails, handles and listeners get numbers that are new.
#[expect(missing_docs, reason = "each prints as the command that explains it; `at` is the jail in which it is given")]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Op {
    JailCreate { jail: Jail },
    JailRemove { jail: Jail },
    Create { at: Jail, name: Name },
    CreateOn { at: Jail, kind: Cloner, from: Jail, lower: Name, tag: u16 },
    CreatePair { at: Jail, to: Jail },
    Destroy { at: Jail, name: Name },
    Alloc { at: Jail, handle: u32, name: Name, ether: bool },
    Attach { at: Jail, handle: u32, ether: bool },
    Detach { handle: u32, ether: bool },
    Free { handle: u32 },
    Loan { at: Jail, name: Name, to: Jail },
    Reclaim { at: Jail, name: Name, from: Jail },
    Vmove { who: Who, to: Jail },
    Rename { at: Jail, name: Name, new: Name },
    AddGroup { who: Who, group: Name },
    DelGroup { who: Who, group: Name },
    Up { at: Jail, name: Name, up: bool },
    SetVlan { at: Jail, vlan: Name, parent: Name, tag: u16 },
    UnsetVlan { at: Jail, vlan: Name },
    AddAddr { at: Jail, name: Name, last: u8 },
    DelAddr { at: Jail, name: Name, last: u8 },
    Join { at: Jail, master: Name, lower: Name, lagg: bool },
    Part { at: Jail, master: Name, lower: Name, lagg: bool },
    Listen { at: Jail, name: Name, listener: u32 },
    Close { listener: u32 },
    RunTasks,
}

/// `jexec J `, or nothing on the host.
fn inside(at: Jail) -> String {
    if at == Jail::HOST { String::new() } else { format!("jexec {at} ") }
}

/// `-n J `, or nothing on the host.
fn netns(at: Jail) -> String {
    if at == Jail::HOST { String::new() } else { format!("-n {at} ") }
}

/// A word as a shell needs it.
fn word(name: &Name) -> &str {
    if name.is_empty() { "''" } else { name.as_str() }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |who: &Who| match who {
            Who::Handle(handle) => (String::new(), format!("h{handle}")),
            Who::Name(at, name) => (inside(*at), name.to_string()),
        };
        match self {
            Self::JailCreate { jail } => write!(f, "jail -c name={jail} vnet persist"),
            Self::JailRemove { jail } => write!(f, "jail -r {jail}"),
            Self::Create { at, name } => write!(f, "{}ifconfig {} create", inside(*at), word(name)),
            Self::CreateOn { at, kind, from, lower, tag } => {
                write!(f, "ip {}link add link {lower} link-netns {from} type {}", netns(*at), kind.name())?;
                if *kind == Cloner::Vlan { write!(f, " id {tag}") } else { Ok(()) }
            }
            Self::CreatePair { at, to } => write!(f, "ip {}link add type veth peer netns {to}", netns(*at)),
            Self::Destroy { at, name } => write!(f, "{}ifconfig {name} destroy", inside(*at)),
            Self::Alloc { at, handle, name, ether: _ } => write!(f, "{}kpi if_alloc h{handle} {name}", inside(*at)),
            Self::Attach { at, handle, ether } => {
                write!(f, "{}kpi {} h{handle}", inside(*at), if *ether { "ether_ifattach" } else { "if_attach" })
            }
            Self::Detach { handle, ether } => {
                write!(f, "kpi {} h{handle}", if *ether { "ether_ifdetach" } else { "if_detach" })
            }
            Self::Free { handle } => write!(f, "kpi if_free h{handle}"),
            Self::Loan { at, name, to } => write!(f, "{}ifconfig {name} vnet {to}", inside(*at)),
            Self::Reclaim { at, name, from } => write!(f, "{}ifconfig {name} -vnet {from}", inside(*at)),
            Self::Vmove { who: it, to } => {
                let (inside, it) = who(it);
                write!(f, "{inside}kpi if_vmove {it} {to}")
            }
            Self::Rename { at, name, new } => write!(f, "{}ifconfig {name} name {}", inside(*at), word(new)),
            Self::AddGroup { who: it, group } => {
                let (inside, it) = who(it);
                write!(f, "{inside}kpi if_addgroup {it} {}", word(group))
            }
            Self::DelGroup { who: it, group } => {
                let (inside, it) = who(it);
                write!(f, "{inside}kpi if_delgroup {it} {}", word(group))
            }
            Self::Up { at, name, up } => {
                write!(f, "{}ifconfig {name} {}", inside(*at), if *up { "up" } else { "down" })
            }
            Self::SetVlan { at, vlan, parent, tag } => {
                write!(f, "{}ifconfig {vlan} vlan {tag} vlandev {parent}", inside(*at))
            }
            Self::UnsetVlan { at, vlan } => write!(f, "{}ifconfig {vlan} -vlandev", inside(*at)),
            Self::AddAddr { at, name, last } => write!(f, "{}ifconfig {name} inet 10.0.0.{last}/24", inside(*at)),
            Self::DelAddr { at, name, last } => write!(f, "{}ifconfig {name} inet 10.0.0.{last} -alias", inside(*at)),
            Self::Join { at, master, lower, lagg } => {
                write!(f, "{}ifconfig {master} {} {lower}", inside(*at), if *lagg { "laggport" } else { "addm" })
            }
            Self::Part { at, master, lower, lagg } => {
                write!(f, "{}ifconfig {master} {} {lower}", inside(*at), if *lagg { "-laggport" } else { "deletem" })
            }
            Self::Listen { at, name, listener } => {
                write!(f, "{}tcpdump -i {name} & # listener {listener}", inside(*at))
            }
            Self::Close { listener } => write!(f, ": # listener {listener} ends"),
            Self::RunTasks => f.write_str("kpi run_tasks"),
        }
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
