//! `ifconfig`: queries, creation, and a list of actions that run in the order written.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::diag::quote;
use super::CmdError;
use super::args::{Arg, Args};

/// One call of `ifconfig`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ifconfig {
    /// `ifconfig -l`: the names of the current vnet's interfaces, on one line.
    List,
    /// `ifconfig -a`, or nothing at all: all interfaces.
    All,
    /// `ifconfig -C`: the cloners.
    Cloners,
    /// `ifconfig -g G`: the members of a group.
    Group(String),
    /// `ifconfig IF`: one interface.
    Show(String),
    /// `ifconfig NAME create …`: prints the name made if it was not written out.
    Create {
        /// A kind (`epair`) or a name (`epair7`, `em0.5`).
        name: String,
        /// `vlan N vlandev IF`, handed to the cloner.
        vlan: Option<Vlan>,
        /// What is done to the new interface.
        actions: Vec<Action>,
    },
    /// `ifconfig IF …`
    Act {
        /// The interface.
        interface: String,
        /// What is done to it; never empty.
        actions: Vec<Action>,
    },
}

/// A vlan's tag and parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// The tag. The kernel refuses what is not from 1 to 4094.
    pub tag: u16,
    /// The parent interface.
    pub parent: String,
}

/// What is done to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `destroy`
    Destroy,
    /// `up`
    Up,
    /// `down`
    Down,
    /// `name NEW`
    Name(String),
    /// `mtu N`
    Mtu(u32),
    /// `group G`
    Group(String),
    /// `-group G`
    UnGroup(String),
    /// `vnet J`: lends the interface to a jail.
    Vnet(String),
    /// `-vnet J`: takes it back from a jail.
    UnVnet(String),
    /// `promisc`, `-promisc`
    Promisc(bool),
    /// `allmulti`, `-allmulti`
    Allmulti(bool),
    /// `addm IF`: adds a bridge member.
    AddMember(String),
    /// `deletem IF`: removes a bridge member.
    DeleteMember(String),
    /// `laggport IF`
    LaggPort(String),
    /// `-laggport IF`
    UnLaggPort(String),
    /// `laggproto P`
    LaggProto(String),
    /// `vlan N vlandev IF`
    VlanDev(Vlan),
    /// `-vlandev [IF]`: takes the vlan off its parent.
    UnVlanDev,
    /// `ether MAC`
    Ether([u8; 6]),
    /// `description TEXT`; `None` for `-description`.
    Description(Option<String>),
    /// `inet …`, `inet6 …`
    Address(Address),
}

/// An address to set, add or remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address. `None` only with [`AddressOp::Remove`]: the first one of its family.
    pub address: Option<IpAddr>,
    /// True for `inet6`.
    pub inet6: bool,
    /// From `/P`, `netmask` or `prefixlen`.
    pub prefix: Option<u8>,
    /// The other end of a point-to-point link.
    pub peer: Option<IpAddr>,
    /// `broadcast`
    pub broadcast: Option<Ipv4Addr>,
    /// What is done with it.
    pub op: AddressOp,
}

/// What is done with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressOp {
    /// No keyword: the address replaces the first one of its family (`inet`) or is added (`inet6`).
    Set,
    /// `alias`
    Alias,
    /// `-alias`, `delete`
    Remove,
}

const KEYWORDS: &[&str] = &[
    "create",
    "plumb",
    "destroy",
    "unplumb",
    "up",
    "down",
    "name",
    "mtu",
    "group",
    "-group",
    "vnet",
    "-vnet",
    "promisc",
    "-promisc",
    "allmulti",
    "-allmulti",
    "addm",
    "deletem",
    "laggport",
    "-laggport",
    "laggproto",
    "vlan",
    "vlandev",
    "-vlandev",
    "ether",
    "lladdr",
    "link",
    "description",
    "-description",
    "descr",
    "-descr",
    "inet",
    "inet6",
];

pub(super) fn decode(args: &mut Args<'_>) -> Result<Ifconfig, CmdError> {
    let Some(first) = args.next() else { return Ok(Ifconfig::All) };
    match first.text.as_str() {
        "-l" => return Ok(Ifconfig::List),
        // `-m` adds the supported media, of which there are none.
        "-a" | "-am" => return Ok(Ifconfig::All),
        "-C" => return Ok(Ifconfig::Cloners),
        "-g" => return Ok(Ifconfig::Group(args.value(first, "a group")?.text.clone())),
        option if option.starts_with('-') => return Err(first.unknown("option", &["-l", "-a", "-C", "-g"])),
        _ => {}
    }
    let name = first.text.clone();
    if args.peek().is_none() {
        return Ok(Ifconfig::Show(name));
    }
    let create = args.eat("create") || args.eat("plumb");
    let mut actions = Vec::new();
    while let Some(word) = args.next() {
        actions.push(action(word, args)?);
    }
    if !create {
        return Ok(Ifconfig::Act { interface: name, actions });
    }
    // The cloner gets the vlan's parameters with the call that makes the interface.
    let at = actions.iter().position(|action| matches!(action, Action::VlanDev(_)));
    let vlan = match at.map(|at| actions.remove(at)) {
        Some(Action::VlanDev(vlan)) => Some(vlan),
        _ => None,
    };
    Ok(Ifconfig::Create { name, vlan, actions })
}

fn action(word: &Arg, args: &mut Args<'_>) -> Result<Action, CmdError> {
    let value = |args: &mut Args<'_>, what: &str| args.value(word, what).map(|arg| arg.text.clone());
    Ok(match word.text.as_str() {
        "create" | "plumb" => return Err(word.error("`create` must come right behind the name")),
        "destroy" | "unplumb" => {
            if let Some(next) = args.peek() {
                return Err(next.error("nothing can follow `destroy`"));
            }
            Action::Destroy
        }
        "up" => Action::Up,
        "down" => Action::Down,
        "name" => Action::Name(value(args, "a new name")?),
        "mtu" => Action::Mtu(args.value(word, "a number")?.number("an mtu", 0..=u32::MAX)?),
        "group" => Action::Group(value(args, "a group")?),
        "-group" => Action::UnGroup(value(args, "a group")?),
        "vnet" => Action::Vnet(value(args, "a jail")?),
        "-vnet" => Action::UnVnet(value(args, "a jail")?),
        "promisc" => Action::Promisc(true),
        "-promisc" => Action::Promisc(false),
        "allmulti" => Action::Allmulti(true),
        "-allmulti" => Action::Allmulti(false),
        "addm" => Action::AddMember(value(args, "an interface")?),
        "deletem" => Action::DeleteMember(value(args, "an interface")?),
        "laggport" => Action::LaggPort(value(args, "an interface")?),
        "-laggport" => Action::UnLaggPort(value(args, "an interface")?),
        "laggproto" => Action::LaggProto(value(args, "a protocol")?),
        "vlan" | "vlandev" => Action::VlanDev(vlan(word, args)?),
        "-vlandev" => {
            if args.peek().is_some_and(|arg| !KEYWORDS.contains(&arg.text.as_str())) {
                args.next();
            }
            Action::UnVlanDev
        }
        "ether" | "lladdr" | "link" => Action::Ether(args.value(word, "a link-level address")?.mac()?),
        "description" | "descr" => Action::Description(Some(value(args, "a text")?)),
        "-description" | "-descr" => Action::Description(None),
        "inet" => Action::Address(address(word, None, false, args)?),
        "inet6" => Action::Address(address(word, None, true, args)?),
        text if text.contains(':') && host(text).is_some_and(|ip| ip.is_ipv6()) => {
            let error = word.error("an IPv6 address must follow `inet6`");
            return Err(error.help(format!("write `inet6 {text}`")));
        }
        text if host(text).is_some() => Action::Address(address(word, Some(word), false, args)?),
        _ => return Err(word.unknown("action of `ifconfig`", KEYWORDS)),
    })
}

/// `vlan N vlandev IF`, in either order.
fn vlan(word: &Arg, args: &mut Args<'_>) -> Result<Vlan, CmdError> {
    let (mut tag, mut parent) = (None, None);
    let mut option = word;
    loop {
        let value = args.value(option, "a value")?;
        if option.text == "vlan" {
            tag = Some(value.number("a vlan tag", 0..=u16::MAX)?);
        } else {
            parent = Some(value.text.clone());
        }
        if let (Some(tag), Some(parent)) = (tag, parent.clone()) {
            return Ok(Vlan { tag, parent });
        }
        match args.peek() {
            Some(next) if matches!(next.text.as_str(), "vlan" | "vlandev") => option = next,
            _ => return Err(word.error("a vlan needs both a tag and a parent").help("write `vlan N vlandev IF`")),
        }
        args.next();
    }
}

/// The address in `A` or `A/P`, if it is one.
fn host(text: &str) -> Option<IpAddr> {
    text.split_once('/').map_or(text, |(address, _)| address).parse().ok()
}

/// What follows `inet` or `inet6`; `first` is the address if it was written without the keyword.
fn address(word: &Arg, first: Option<&Arg>, inet6: bool, args: &mut Args<'_>) -> Result<Address, CmdError> {
    let mut out = Address { address: None, inet6, prefix: None, peer: None, broadcast: None, op: AddressOp::Set };
    let first = first.or_else(|| match args.peek() {
        // `inet -alias` removes the first address.
        Some(next) if matches!(next.text.as_str(), "-alias" | "delete") => None,
        _ => args.next(),
    });
    if let Some(arg) = first {
        let (text, prefix) = match arg.text.split_once('/') {
            Some((text, prefix)) => (text, Some(Arg::new(prefix, arg.span))),
            None => (arg.text.as_str(), None),
        };
        out.address = Some(ip(&Arg::new(text, arg.span), inet6)?);
        out.prefix = prefix.map(|arg| prefix_length(&arg, inet6)).transpose()?;
    } else if args.peek().is_none() {
        return Err(word.error(format!("{} needs an address", quote(&word.text))));
    }
    while let Some(next) = args.peek() {
        match next.text.as_str() {
            "alias" => out.op = AddressOp::Alias,
            "-alias" | "delete" => out.op = AddressOp::Remove,
            "netmask" if !inet6 => {
                args.next();
                out.prefix = Some(netmask(args.value(next, "a mask")?)?);
                continue;
            }
            "broadcast" if !inet6 => {
                args.next();
                let arg = args.value(next, "an address")?;
                let IpAddr::V4(v4) = ip(arg, false)? else { continue };
                out.broadcast = Some(v4);
                continue;
            }
            "prefixlen" if inet6 => {
                args.next();
                out.prefix = Some(prefix_length(args.value(next, "a length")?, true)?);
                continue;
            }
            text if out.peer.is_none() && host(text).is_some() && !text.contains('/') => {
                out.peer = Some(ip(next, inet6)?);
            }
            _ => break,
        }
        args.next();
    }
    Ok(out)
}

fn ip(arg: &Arg, inet6: bool) -> Result<IpAddr, CmdError> {
    let parsed = if inet6 {
        arg.text.parse::<Ipv6Addr>().map(IpAddr::V6).ok()
    } else {
        arg.text.parse::<Ipv4Addr>().map(IpAddr::V4).ok()
    };
    let family = if inet6 { "IPv6" } else { "IPv4" };
    parsed.ok_or_else(|| arg.error(format!("{} is not an {family} address", quote(&arg.text))))
}

fn prefix_length(arg: &Arg, inet6: bool) -> Result<u8, CmdError> {
    arg.number("a prefix length", 0..=if inet6 { 128 } else { 32 })
}

/// `255.255.255.0` or `0xffffff00`, as a prefix length.
fn netmask(arg: &Arg) -> Result<u8, CmdError> {
    let hex = arg.text.strip_prefix("0x").filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    let mask = match hex {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => arg.text.parse::<Ipv4Addr>().ok().map(u32::from),
    };
    let length = mask.filter(|mask| mask.leading_ones() + mask.trailing_zeros() >= 32).map(u32::leading_ones);
    let length = length.and_then(|ones| u8::try_from(ones).ok());
    length.ok_or_else(|| arg.error(format!("{} is not a netmask", quote(&arg.text))))
}
