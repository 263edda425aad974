//! Operations, how they are chosen, and how they print.

use core::fmt;

use super::state::{Kind, Model};

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
#[derive(Clone, PartialEq, Eq)]
pub enum Who {
    /// The driver's.
    Handle(u32),
    /// Looked up.
    Name(Jail, String),
}

/// An operation. It prints as the command of a scenario. Jails, handles and listeners get numbers that are new.
#[expect(missing_docs, reason = "each prints as the command that explains it; `at` is the jail in which it is given")]
#[derive(Clone, PartialEq, Eq)]
pub enum Op {
    JailCreate { jail: Jail },
    JailRemove { jail: Jail },
    Create { at: Jail, name: String },
    Destroy { at: Jail, name: String },
    Alloc { at: Jail, handle: u32, name: String, ether: bool },
    Attach { at: Jail, handle: u32, ether: bool },
    Detach { handle: u32, ether: bool },
    Free { handle: u32 },
    Loan { at: Jail, name: String, to: Jail },
    Reclaim { at: Jail, name: String, from: Jail },
    Vmove { who: Who, to: Jail },
    Rename { at: Jail, name: String, new: String },
    AddGroup { who: Who, group: String },
    DelGroup { who: Who, group: String },
    Up { at: Jail, name: String, up: bool },
    Listen { at: Jail, name: String, listener: u32 },
    Close { listener: u32 },
    RunTasks,
}

/// `jexec J `, or nothing on the host.
fn inside(at: Jail) -> String {
    if at == Jail::HOST { String::new() } else { format!("jexec {at} ") }
}

/// A word as a shell needs it.
fn word(text: &str) -> &str {
    if text.is_empty() { "''" } else { text }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |who: &Who| match who {
            Who::Handle(handle) => (String::new(), format!("h{handle}")),
            Who::Name(at, name) => (inside(*at), name.clone()),
        };
        match self {
            Self::JailCreate { jail } => write!(f, "jail -c name={jail} vnet persist"),
            Self::JailRemove { jail } => write!(f, "jail -r {jail}"),
            Self::Create { at, name } => write!(f, "{}ifconfig {} create", inside(*at), word(name)),
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

/// Four bytes that choose an operation among those that make sense now: which, and three operands.
pub type Pick = [u8; 4];

/// Operands from here on select what is gone, if there is any.
const STALE: u8 = 248;
/// As many jails may live at a time.
const JAILS: usize = 4;
/// As many interfaces may live at a time; then those that make one more free one.
const IFACES: usize = 24;

const CREATE: [&str; 20] = [
    "disc",
    "epair",
    "lo",
    "epair",
    "disc",
    "epair",
    "epair0",
    "epair1",
    "disc0",
    "disc1",
    "disc2",
    "lo1",
    "disc",
    "epair",
    "disc01",
    "disc32768",
    "disc9999999999",
    "epair0a",
    "",
    "sixteen-letters-",
];
const NAMES: [&str; 16] = [
    "em0",
    "em1",
    "x",
    "y",
    "disc0",
    "disc1",
    "disc2",
    "lo0",
    "epair0a",
    "epair0b",
    "epair1a",
    "disc",
    "epair",
    "lo1",
    "",
    "sixteen-letters-",
];
/// The driver names of `if_alloc` are neither empty nor too long.
const DRIVER_NAMES: usize = 14;
const GROUPS: [&str; 9] = ["g", "h", "all", "disc", "lo", "epair", "", "g1", "sixteen-letters-"];

fn one<'a>(of: &[&'a str], by: u8) -> &'a str {
    of[usize::from(by) % of.len()]
}

impl Op {
    /// The operation that four bytes stand for in this state of the world. Operands count live objects: the k-th vnet,
    /// the k-th interface on its list; a small share of them names what is gone.
    #[must_use]
    pub fn choose(model: &Model, [verb, a, b, c]: Pick) -> Self {
        let at = jail(model, a);
        let crowded = model.ifaces.len() >= IFACES;
        match verb % 32 {
            0 | 1 if model.stacks.len() <= JAILS => Self::JailCreate { jail: Jail(model.next) },
            0..=2 => Self::JailRemove { jail: at },
            3..=6 if !crowded => Self::Create { at, name: one(&CREATE, b).to_owned() },
            3..=9 => Self::Destroy { at, name: name(model, at, b) },
            10 | 11 if !crowded => Self::Alloc {
                at,
                handle: model.next,
                name: one(&NAMES[..DRIVER_NAMES], b).to_owned(),
                ether: c % 2 == 1,
            },
            10..=15 => match handle(model, b) {
                // The next step in the life of a driver's interface, most of the time.
                Some(it) if it.linked && c < 128 => Self::Detach { handle: it.handle, ether: it.ether },
                Some(it) if !it.linked && it.dying && c < 192 => Self::Free { handle: it.handle },
                Some(it) if !it.linked && c < 8 => Self::Free { handle: it.handle },
                Some(it) => Self::Attach { at, handle: it.handle, ether: it.ether },
                None => Self::RunTasks,
            },
            16..=18 => Self::Loan { at, name: name(model, at, b), to: jail(model, c) },
            19 | 20 => {
                let from = jail(model, c);
                Self::Reclaim { at, name: name(model, from, b), from }
            }
            21 | 22 => match handle(model, b) {
                Some(it) if c % 4 == 0 => Self::Vmove { who: Who::Handle(it.handle), to: at },
                _ => Self::Vmove { who: Who::Name(at, name(model, at, b)), to: jail(model, c) },
            },
            23 | 24 => Self::Rename { at, name: name(model, at, b), new: one(&NAMES, c).to_owned() },
            25 | 26 => Self::AddGroup { who: who(model, at, b, c), group: one(&GROUPS, c).to_owned() },
            27 => Self::DelGroup { who: Who::Name(at, name(model, at, b)), group: one(&GROUPS, c).to_owned() },
            28 => Self::Up { at, name: name(model, at, b), up: c % 4 != 0 },
            29 | 30 if model.listeners.len() < 4 => Self::Listen { at, name: name(model, at, b), listener: model.next },
            29 | 30 => {
                let open = model.listeners.keys().nth(usize::from(b) % model.listeners.len());
                open.map_or(Self::RunTasks, |listener| Self::Close { listener: *listener })
            }
            _ => Self::RunTasks,
        }
    }
}

fn jail(model: &Model, by: u8) -> Jail {
    if by >= STALE && !model.dead.is_empty() {
        let back = usize::from(by - STALE) % model.dead.len();
        return model.dead[model.dead.len() - 1 - back];
    }
    let nth = usize::from(by) % model.stacks.len();
    model.stacks.keys().nth(nth).copied().unwrap_or(Jail::HOST)
}

fn name(model: &Model, at: Jail, by: u8) -> String {
    let list = model.stacks.get(&at).map_or(&[][..], |stack| &stack.list);
    match list.len() {
        0 => "nosuch0".to_owned(),
        _ if by >= STALE => "nosuch0".to_owned(),
        len => model.ifaces[&list[usize::from(by) % len]].name.clone(),
    }
}

struct Held {
    handle: u32,
    ether: bool,
    linked: bool,
    dying: bool,
}

fn handle(model: &Model, by: u8) -> Option<Held> {
    let held = model.ifaces.values().filter_map(|iface| match iface.kind {
        Kind::Plain { handle, ether } => Some(Held { handle, ether, linked: iface.linked, dying: iface.dying }),
        Kind::Cloned(_) => None,
    });
    let held: Vec<Held> = held.collect();
    let nth = usize::from(by).checked_rem(held.len())?;
    held.into_iter().nth(nth)
}

/// Mostly by name; a driver may also act on an interface that is not attached.
fn who(model: &Model, at: Jail, by: u8, how: u8) -> Who {
    match handle(model, by) {
        Some(it) if how >= 224 => Who::Handle(it.handle),
        _ => Who::Name(at, name(model, at, by)),
    }
}
