//! How operations are chosen.

use super::kind::{Cloner, Kind};
use super::name::Name;
use super::op::{Jail, Op, Who};
use super::state::{Iface, Model};

/// Four bytes that choose an operation among those that make sense now: which, and three operands.
pub type Pick = [u8; 4];

/// Which operations are chosen, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Table {
    /// All of them.
    #[default]
    Lifecycle,
    /// Mostly stacks that span vnets, built up and torn down.
    Unregister,
}

/// Operands from here on select what is gone, if there is any.
const STALE: u8 = 248;
/// As many jails may live at a time.
const JAILS: usize = 4;
/// As many interfaces may live at a time; then those that make one more destroy one.
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
/// Kinds that the first table does not make; they are made by name.
const KINDS: [&str; 16] = [
    "bridge", "lagg", "vlan", "tap", "veth", "bridge", "lagg", "vlan", "gif", "tun", "vmnet", "veth", "ipvlan",
    "bridge0", "veth1", "vlan1",
];
/// Few tags, so that they meet.
const TAGS: [u16; 4] = [1, 2, 3, 4094];
/// As few addresses.
const ADDRESSES: u8 = 4;

fn one(of: &[&str], by: u8) -> Name {
    Name::new(of[usize::from(by) % of.len()])
}

impl Op {
    /// The operation that four bytes stand for in this state of the world. Operands count live objects: the k-th vnet,
    /// the k-th interface on its list; a small share of them names what is gone.
    #[must_use]
    pub fn choose(model: &Model, table: Table, [verb, a, b, c]: Pick) -> Self {
        let at = jail(model, a);
        let crowded = model.count >= IFACES;
        let verb = match table {
            Table::Lifecycle => verb % 64,
            Table::Unregister => STACKING[usize::from(verb) % STACKING.len()],
        };
        match verb {
            0 | 1 if model.stacks.len() <= JAILS => Self::JailCreate { jail: model.next_jail },
            0..=2 => Self::JailRemove { jail: at },
            3..=6 if !crowded => Self::Create { at, name: one(&CREATE, b) },
            3..=9 => Self::Destroy { at, name: name(model, at, b) },
            10 | 11 if !crowded => {
                let handle = u32::try_from(model.handles.len()).unwrap_or(u32::MAX);
                Self::Alloc { at, handle, name: one(&NAMES[..DRIVER_NAMES], b), ether: c % 2 == 1 }
            }
            10..=15 => match handle(model, b) {
                // The next step in the life of a driver's interface, most of the time.
                Some((handle, ether, it)) if it.linked && c < 128 => Self::Detach { handle, ether },
                Some((handle, _, it)) if !it.linked && it.dying && c < 192 => Self::Free { handle },
                Some((handle, _, it)) if !it.linked && c < 8 => Self::Free { handle },
                Some((handle, ether, _)) => Self::Attach { at, handle, ether },
                None => Self::RunTasks,
            },
            16..=18 => Self::Loan { at, name: name(model, at, b), to: jail(model, c) },
            19 | 20 => {
                let from = jail(model, c);
                Self::Reclaim { at, name: name(model, from, b), from }
            }
            21 | 22 => match handle(model, b) {
                Some((handle, ..)) if c % 4 == 0 => Self::Vmove { who: Who::Handle(handle), to: at },
                _ => Self::Vmove { who: Who::Name(at, name(model, at, b)), to: jail(model, c) },
            },
            23 | 24 => Self::Rename { at, name: name(model, at, b), new: one(&NAMES, c) },
            25 | 26 => Self::AddGroup { who: who(model, at, b, c), group: one(&GROUPS, c) },
            27 => Self::DelGroup { who: Who::Name(at, name(model, at, b)), group: one(&GROUPS, c) },
            28 => Self::Up { at, name: name(model, at, b), up: c % 4 != 0 },
            29 | 30 if model.listeners.len() < 4 => {
                Self::Listen { at, name: name(model, at, b), listener: model.next_listener }
            }
            29 | 30 => match model.listeners.get(usize::from(b) % model.listeners.len().max(1)) {
                Some(listener) => Self::Close { listener: listener.number },
                None => Self::RunTasks,
            },
            31 => {
                let (name, last) = (name(model, at, b), c % ADDRESSES);
                if c < 192 { Self::AddAddr { at, name, last } } else { Self::DelAddr { at, name, last } }
            }
            32..=35 if !crowded => Self::Create { at, name: one(&KINDS, b) },
            36..=41 if !crowded => {
                let kinds = [Cloner::Ipvlan, Cloner::Macvlan, Cloner::Vlan, Cloner::Ipvtap];
                let kind = kinds[usize::from(verb) % kinds.len()];
                // A VLAN is made beside its parent.
                let from = if kind == Cloner::Vlan { at } else { jail(model, c) };
                Self::CreateOn { at, kind, from, lower: name(model, from, b), tag: tag(c) }
            }
            42 | 43 if !crowded => Self::CreatePair { at, to: jail(model, b) },
            32..=43 => Self::Destroy { at, name: name(model, at, b) },
            44 | 45 => match of_kind(model, at, Cloner::Vlan, b) {
                Some(vlan) => Self::SetVlan { at, vlan, parent: name(model, at, c), tag: tag(b) },
                None => Self::SetVlan { at, vlan: name(model, at, b), parent: name(model, at, c), tag: tag(b) },
            },
            46 => {
                let vlan = of_kind(model, at, Cloner::Vlan, b).unwrap_or_else(|| name(model, at, b));
                Self::UnsetVlan { at, vlan }
            }
            47..=54 => {
                let lagg = verb % 2 == 1;
                let wanted = if lagg { Cloner::Lagg } else { Cloner::Bridge };
                let master = of_kind(model, at, wanted, b).unwrap_or_else(|| name(model, at, b));
                let lower = name(model, at, c);
                let parts = verb >= 53;
                if parts { Self::Part { at, master, lower, lagg } } else { Self::Join { at, master, lower, lagg } }
            }
            55..=58 => Self::Vmove { who: Who::Name(at, name(model, at, b)), to: jail(model, c) },
            59 => Self::Up { at, name: name(model, at, b), up: c % 4 != 0 },
            60..=62 => Self::Destroy { at, name: name(model, at, b) },
            _ => Self::RunTasks,
        }
    }
}

/// What [`Table::Unregister`] chooses from, as numbers of the first table.
const STACKING: [u8; 40] = [
    0, 1, 2, 3, 4, 7, 32, 33, 36, 37, 38, 39, 40, 41, 36, 37, 38, 41, 42, 43, 44, 47, 48, 49, 50, 53, 54, 55, 56, 57,
    58, 60, 60, 61, 62, 8, 31, 17, 19, 63,
];

fn jail(model: &Model, by: u8) -> Jail {
    if by >= STALE && !model.dead.is_empty() {
        let back = usize::from(by - STALE) % model.dead.len();
        return model.dead[model.dead.len() - 1 - back];
    }
    model.stacks[usize::from(by) % model.stacks.len()].jail
}

fn name(model: &Model, at: Jail, by: u8) -> Name {
    let list = model.live(at).map_or(&[][..], |stack| &stack.list);
    match list.len() {
        0 => Name::new("nosuch0"),
        _ if by >= STALE => Name::new("nosuch0"),
        len => model.iface(list[usize::from(by) % len]).name,
    }
}

fn tag(by: u8) -> u16 {
    TAGS[usize::from(by) % TAGS.len()]
}

/// The k-th of this kind in a vnet.
fn of_kind(model: &Model, at: Jail, cloner: Cloner, by: u8) -> Option<Name> {
    let of_kind = || {
        let list = model.live(at).into_iter().flat_map(|stack| &stack.list);
        list.map(|id| model.iface(*id)).filter(|it| it.kind.is(cloner))
    };
    let nth = usize::from(by).checked_rem(of_kind().count())?;
    of_kind().nth(nth).map(|it| it.name)
}

/// The k-th interface of a driver: its handle, whether it is an Ethernet, and the interface.
fn handle(model: &Model, by: u8) -> Option<(u32, bool, &Iface)> {
    let held = || {
        model.ifaces().filter_map(|(_, it)| match it.kind {
            Kind::Plain { handle, ether } => Some((handle, ether, it)),
            Kind::Cloned(_) => None,
        })
    };
    let nth = usize::from(by).checked_rem(held().count())?;
    held().nth(nth)
}

/// Mostly by name; a driver may also act on an interface that is not attached.
fn who(model: &Model, at: Jail, by: u8, how: u8) -> Who {
    match handle(model, by) {
        Some((handle, ..)) if how >= 224 => Who::Handle(handle),
        _ => Who::Name(at, name(model, at, by)),
    }
}
