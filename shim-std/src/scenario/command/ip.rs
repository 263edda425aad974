//! The Linux dialect: `ip netns`, `ip [-n NS] link` and `ip [-n NS] addr`, as far as seed 2 and its neighbours need it.
//!
//! A network namespace is a vnet, and its name is a jail's name.

use core::net::IpAddr;

use super::super::diag::quote;
use super::super::suggest::nearest;
use super::CmdError;
use super::args::{Arg, Args};

/// One call of `ip`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ip {
    /// `ip netns add NS`
    NetnsAdd(String),
    /// `ip netns del NS`
    NetnsDel(String),
    /// `ip netns list`
    NetnsList,
    /// `ip netns exec NS cmd…`
    NetnsExec {
        /// The namespace.
        netns: String,
        /// The command; never empty.
        rest: Vec<Arg>,
    },
    /// `ip [-n NS] monitor`: notes the link messages of a namespace from now on.
    Monitor {
        /// `-n NS`: the namespace, if not the thread's.
        netns: Option<String>,
    },
    /// `ip [-n NS] link …`
    Link {
        /// `-n NS`: the namespace it runs in, if not the thread's.
        netns: Option<String>,
        /// What is done.
        call: Link,
    },
    /// `ip [-n NS] addr add|del A[/P] dev NAME`
    Addr {
        /// `-n NS`: the namespace it runs in, if not the thread's.
        netns: Option<String>,
        /// Whether it is taken away.
        del: bool,
        /// The address.
        address: IpAddr,
        /// The length of its prefix; all of it, if none is said.
        prefix: Option<u8>,
        /// The device.
        dev: String,
    },
}

/// What `ip link` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// `add`
    Add(LinkAdd),
    /// `del NAME`
    Del(String),
    /// `del group N`
    DelGroup(u32),
    /// `property add|del dev NAME altname ALT…`
    Property {
        /// The device.
        name: String,
        /// Whether they are taken away.
        del: bool,
        /// The further names, in order; never empty.
        altnames: Vec<String>,
    },
    /// `set NAME …`
    Set {
        /// The device.
        name: String,
        /// What is changed, in order; never empty.
        changes: Vec<LinkSet>,
    },
    /// `show [NAME]`
    Show(Option<String>),
}

/// `ip link add`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkAdd {
    /// The new device; the kernel makes a name up if there is none.
    pub name: Option<String>,
    /// `link DEV`: the lower device.
    pub lower: Option<String>,
    /// `link-netns NS`: where the lower device is.
    pub lower_netns: Option<String>,
    /// `netns NS`: where the new device is put.
    pub netns: Option<String>,
    /// `mtu N`
    pub mtu: Option<u32>,
    /// `address MAC`
    pub address: Option<[u8; 6]>,
    /// `index N`
    pub index: Option<u32>,
    /// `group N`
    pub group: Option<u32>,
    /// `up`: brought up at once.
    pub up: bool,
    /// `type …`
    pub kind: LinkKind,
}

/// The type of a new device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// `veth [peer [name] X [netns NS]]`
    Veth {
        /// The other end's name.
        peer: Option<String>,
        /// Where the other end is put.
        peer_netns: Option<String>,
    },
    /// `ipvlan [mode l2|l3|l3s] [private|vepa]`
    Ipvlan(Ipvl),
    /// `ipvtap [mode l2|l3|l3s] [private|vepa]`
    Ipvtap(Ipvl),
    /// `macvlan [mode private|vepa|bridge|passthru]`
    Macvlan(Option<String>),
    /// `vlan id N`
    Vlan(u16),
    /// `bridge`
    Bridge,
    /// `bond`
    Bond,
    /// `dummy`
    Dummy,
    /// Any other word: the kernel's to refuse.
    Other(String),
}

/// The options of `ipvlan` and `ipvtap`. A mode that does not exist is the kernel's to refuse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipvl {
    /// `mode M`
    pub mode: Option<String>,
    /// `private`
    pub private: bool,
    /// `vepa`
    pub vepa: bool,
}

/// A change by `ip link set`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkSet {
    /// `up`
    Up,
    /// `down`
    Down,
    /// `name NEW`
    Name(String),
    /// `netns NS`
    Netns(String),
    /// `master DEV`; `None` for `nomaster`.
    Master(Option<String>),
    /// `mtu N`
    Mtu(u32),
    /// `address MAC`
    Address([u8; 6]),
    /// `group N`
    Group(u32),
}

const TYPES: &[&str] = &["veth", "ipvlan", "ipvtap", "macvlan", "vlan", "bridge", "bond", "dummy"];

pub(super) fn decode(args: &mut Args<'_>) -> Result<Ip, CmdError> {
    let mut netns = None;
    loop {
        let object = args.need("`netns`, `link`, `addr` or `monitor`")?;
        match object.text.as_str() {
            "-n" | "-netns" => netns = Some(value(object, args, "a namespace")?),
            "link" => return Ok(Ip::Link { netns, call: link(object, args)? }),
            "addr" | "address" => return addr(object, netns, args),
            "monitor" => {
                // All there is to be seen are links.
                let _ = args.eat("link") || args.eat("all");
                return Ok(Ip::Monitor { netns });
            }
            "netns" if netns.is_some() => return Err(object.error("`-n` has no meaning before `netns`")),
            "netns" => return self::netns(object, args),
            _ => return Err(object.unknown("object of `ip`", &["netns", "link", "addr", "monitor"])),
        }
    }
}

fn value(option: &Arg, args: &mut Args<'_>, what: &str) -> Result<String, CmdError> {
    args.value(option, what).map(|arg| arg.text.clone())
}

fn netns(object: &Arg, args: &mut Args<'_>) -> Result<Ip, CmdError> {
    let Some(verb) = args.next() else { return Ok(Ip::NetnsList) };
    match verb.text.as_str() {
        "add" => value(verb, args, "a namespace").map(Ip::NetnsAdd),
        "del" | "delete" => value(verb, args, "a namespace").map(Ip::NetnsDel),
        "list" | "show" | "ls" => Ok(Ip::NetnsList),
        "exec" => Ok(Ip::NetnsExec { netns: value(verb, args, "a namespace")?, rest: args.command()? }),
        _ => Err(verb.unknown(&format!("verb of `ip {}`", object.text), &["add", "del", "list", "exec"])),
    }
}

fn link(object: &Arg, args: &mut Args<'_>) -> Result<Link, CmdError> {
    let Some(verb) = args.next() else { return Ok(Link::Show(None)) };
    match verb.text.as_str() {
        "add" => add(verb, args).map(Link::Add),
        "del" | "delete" => {
            if args.peek().is_some_and(|arg| arg.text == "group") {
                return group(args.need("a group")?, args).map(Link::DelGroup);
            }
            args.eat("dev");
            value(verb, args, "a device").map(Link::Del)
        }
        "property" => property(verb, args),
        "set" => set(verb, args),
        "show" | "list" | "ls" => {
            args.eat("dev");
            Ok(Link::Show(args.next().map(|arg| arg.text.clone())))
        }
        _ => Err(verb.unknown(&format!("verb of `ip {}`", object.text), &["add", "del", "set", "show", "property"])),
    }
}

fn group(option: &Arg, args: &mut Args<'_>) -> Result<u32, CmdError> {
    args.value(option, "a number")?.number("a group", 0..=u32::MAX)
}

fn addr(object: &Arg, netns: Option<String>, args: &mut Args<'_>) -> Result<Ip, CmdError> {
    let verb = args.value(object, "`add` or `del`")?;
    let del = match verb.text.as_str() {
        "add" => false,
        "del" | "delete" => true,
        _ => return Err(verb.unknown(&format!("verb of `ip {}`", object.text), &["add", "del"])),
    };
    let whole = args.value(verb, "an address")?;
    let (text, prefix) = match whole.text.split_once('/') {
        Some((text, prefix)) => (text, Some(prefix)),
        None => (whole.text.as_str(), None),
    };
    let bad = || whole.error(format!("{} is not an address", quote(&whole.text))).help("as in `10.0.0.1/24`");
    let address: IpAddr = text.parse().map_err(|_| bad())?;
    let longest = if address.is_ipv6() { 128 } else { 32 };
    let prefix = prefix.map(|prefix| prefix.parse().ok().filter(|&bits: &u8| bits <= longest).ok_or_else(bad));
    let prefix = prefix.transpose()?;
    args.eat("dev");
    Ok(Ip::Addr { netns, del, address, prefix, dev: value(whole, args, "a device")? })
}

fn property(verb: &Arg, args: &mut Args<'_>) -> Result<Link, CmdError> {
    let what = args.value(verb, "`add` or `del`")?;
    let del = match what.text.as_str() {
        "add" => false,
        "del" | "delete" => true,
        _ => return Err(what.unknown(&format!("verb of `ip link {}`", verb.text), &["add", "del"])),
    };
    args.eat("dev");
    let name = args.value(what, "a device")?;
    let mut altnames = Vec::new();
    while let Some(word) = args.next() {
        match word.text.as_str() {
            "altname" => altnames.push(value(word, args, "a name")?),
            _ => return Err(word.unknown("property", &["altname"])),
        }
    }
    if altnames.is_empty() {
        return Err(name.error("`ip link property` needs a property").help("write `altname NAME`"));
    }
    Ok(Link::Property { name: name.text.clone(), del, altnames })
}

/// Options in any order up to `type`, whose own options end the line.
fn add(verb: &Arg, args: &mut Args<'_>) -> Result<LinkAdd, CmdError> {
    let mut out = LinkAdd {
        name: None,
        lower: None,
        lower_netns: None,
        netns: None,
        mtu: None,
        address: None,
        index: None,
        group: None,
        up: false,
        kind: LinkKind::Dummy,
    };
    while let Some(arg) = args.next() {
        match arg.text.as_str() {
            "link" => out.lower = Some(value(arg, args, "a device")?),
            "link-netns" => out.lower_netns = Some(value(arg, args, "a namespace")?),
            "netns" => out.netns = Some(value(arg, args, "a namespace")?),
            "mtu" => out.mtu = Some(args.value(arg, "a number")?.number("an mtu", 0..=u32::MAX)?),
            "address" => out.address = Some(args.value(arg, "a link-level address")?.mac()?),
            "index" => out.index = Some(args.value(arg, "a number")?.number("an index", 1..=i32::MAX as u32)?),
            "group" => out.group = Some(group(arg, args)?),
            "up" => out.up = true,
            "name" | "dev" if out.name.is_none() => out.name = Some(value(arg, args, "a name")?),
            "type" => {
                out.kind = kind(arg, args)?;
                return Ok(out);
            }
            _ if out.name.is_none() => out.name = Some(arg.text.clone()),
            _ => {
                let known = ["link", "link-netns", "netns", "mtu", "address", "index", "group", "up", "type"];
                return Err(arg.unknown("option of `ip link add`", &known));
            }
        }
    }
    Err(verb.error("`ip link add` needs a type").help(format!("end it with `type` and one of {}", TYPES.join(", "))))
}

fn kind(word: &Arg, args: &mut Args<'_>) -> Result<LinkKind, CmdError> {
    let name = args.value(word, "the name of a type")?;
    Ok(match name.text.as_str() {
        "veth" => veth(args)?,
        "ipvlan" => LinkKind::Ipvlan(ipvl(args)?),
        "ipvtap" => LinkKind::Ipvtap(ipvl(args)?),
        "macvlan" => LinkKind::Macvlan(mode(args)?),
        "vlan" => match args.next() {
            Some(id) if id.text == "id" => LinkKind::Vlan(args.value(id, "a tag")?.number("a vlan tag", 0..=4095)?),
            _ => return Err(name.error("a vlan needs a tag").help("write `type vlan id N`")),
        },
        "bridge" => LinkKind::Bridge,
        "bond" => LinkKind::Bond,
        "dummy" => LinkKind::Dummy,
        // A slip is told where it is; what is like nothing known goes to the kernel.
        other if nearest(other, TYPES).is_none() => LinkKind::Other(other.to_owned()),
        _ => return Err(name.unknown("type", TYPES)),
    })
}

fn mode(args: &mut Args<'_>) -> Result<Option<String>, CmdError> {
    match args.peek() {
        Some(word) if word.text == "mode" => {
            args.next();
            value(word, args, "the name of a mode").map(Some)
        }
        _ => Ok(None),
    }
}

fn ipvl(args: &mut Args<'_>) -> Result<Ipvl, CmdError> {
    let mut out = Ipvl { mode: mode(args)?, ..Ipvl::default() };
    while let Some(word) = args.next() {
        match word.text.as_str() {
            "private" => out.private = true,
            "vepa" => out.vepa = true,
            "bridge" => (out.private, out.vepa) = (false, false),
            _ => return Err(word.unknown("option of an ipvlan", &["mode", "private", "vepa", "bridge"])),
        }
    }
    Ok(out)
}

fn veth(args: &mut Args<'_>) -> Result<LinkKind, CmdError> {
    let (mut peer, mut peer_netns) = (None, None);
    if let Some(word) = args.peek().filter(|arg| arg.text == "peer") {
        args.next();
        while let Some(arg) = args.next() {
            match arg.text.as_str() {
                "name" if peer.is_none() => peer = Some(value(arg, args, "a name")?),
                "netns" => peer_netns = Some(value(arg, args, "a namespace")?),
                _ if peer.is_none() => peer = Some(arg.text.clone()),
                _ => return Err(arg.unknown("option of a peer", &["name", "netns"])),
            }
        }
        if peer.is_none() && peer_netns.is_none() {
            return Err(word.error("`peer` needs a name"));
        }
    }
    Ok(LinkKind::Veth { peer, peer_netns })
}

fn set(verb: &Arg, args: &mut Args<'_>) -> Result<Link, CmdError> {
    args.eat("dev");
    let name = args.value(verb, "a device")?;
    let mut changes = Vec::new();
    while let Some(arg) = args.next() {
        changes.push(match arg.text.as_str() {
            "up" => LinkSet::Up,
            "down" => LinkSet::Down,
            "name" => LinkSet::Name(value(arg, args, "a name")?),
            "netns" => LinkSet::Netns(value(arg, args, "a namespace")?),
            "master" => LinkSet::Master(Some(value(arg, args, "a device")?)),
            "nomaster" => LinkSet::Master(None),
            "group" => LinkSet::Group(group(arg, args)?),
            "mtu" => LinkSet::Mtu(args.value(arg, "a number")?.number("an mtu", 0..=u32::MAX)?),
            "address" => LinkSet::Address(args.value(arg, "a link-level address")?.mac()?),
            _ => {
                let known = ["up", "down", "name", "netns", "master", "nomaster", "mtu", "address", "group"];
                return Err(arg.unknown("option of `ip link set`", &known));
            }
        });
    }
    if changes.is_empty() {
        return Err(name.error("`ip link set` needs something to set"));
    }
    Ok(Link::Set { name: name.text.clone(), changes })
}
