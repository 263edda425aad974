//! The Linux dialect: what `ip` does with the calls of the core.
//!
//! A network namespace is a vnet, a device is an interface, `lo` is `lo0`, and a `dummy` is a `disc`, which throws
//! everything away as well. What Linux has no notion of is left out of what the dialect shows: homes and borrowed
//! interfaces. Indices are those of one table for all namespaces, and stay over a move.
//!
//! What is made is here; what is changed, and moved, in `set.rs`; the end of a namespace in `netns.rs`.
//!
//! The numbers of errors are Linux's; [`linux_errno`] has the table.

use core::fmt::Write as _;

use ifnet::clone::{CloneParams, Peer, StackFlags, StackMode};
use ifnet::drivers::{bridge_addm, bridge_delm, lagg_addport, lagg_delport};
use ifnet::{
    Errno, IfFlags, IfName, IfnetRef, Ifp, VnetRef, if_altnames, if_clone_create_kind, if_master, if_setflags,
    if_setlladdr, if_unregister, if_unregister_group, ifunit_ref,
};

use super::host::Host;
use super::interp::Interp;
use super::{Done, Fail, Status, show};
use crate::scenario::Span;
use crate::scenario::command::Ip;
use crate::scenario::command::ip::{Ipvl, Link, LinkAdd, LinkKind};

mod netns;
mod set;

/// What a call of `ip` asks the core for, as far as error numbers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Add,
    Del,
    Set,
    Move,
}

/// One row of the table: what the core says in a call, what Linux says, and why they differ.
struct Row {
    call: Option<Call>,
    core: Errno,
    linux: Errno,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reader, and for the test that asks for one"))]
    why: &'static str,
}

const fn row(call: Option<Call>, core: Errno, linux: Errno, why: &'static str) -> Row {
    Row { call, core, linux, why }
}

/// Where the numbers differ. The first row that fits is taken; without one the number is the same.
const ERRNOS: &[Row] = &[
    row(Some(Call::Del), Errno::EINVAL, Errno::EOPNOTSUPP, "no dellink: hardware, and what a vnet always has (lo0)"),
    row(Some(Call::Move), Errno::EBUSY, Errno::ENOENT, "a dying namespace has lost its name already"),
    row(None, Errno::ENXIO, Errno::ENODEV, "no device of that name: ifioctl says ENXIO, rtnetlink ENODEV"),
    row(None, Errno::ENAMETOOLONG, Errno::EINVAL, "`ip` refuses a name of 16 bytes as not valid"),
    row(Some(Call::Add), Errno::ENOSPC, Errno::ENODEV, "no unit left: Linux finds no name for the pattern"),
];

fn linux_errno(call: Call, errno: Errno) -> Errno {
    let fits = |row: &&Row| row.core == errno && row.call.is_none_or(|only| only == call);
    ERRNOS.iter().find(fits).map_or(errno, |row| row.linux)
}

impl<H: Host> Interp<'_, '_, H> {
    pub(super) fn ip(&mut self, ip: Ip, span: Span) -> Done {
        let status = match ip {
            Ip::NetnsAdd(name) => self.jail_make(&name).map(drop).map_err(Fail::from),
            Ip::NetnsDel(name) => self.netns_del(&name).map_err(Fail::from),
            Ip::NetnsList => {
                self.jls();
                Ok(())
            }
            Ip::NetnsExec { netns, rest } => {
                let vnet = match self.netns(Some(&netns)) {
                    Ok(vnet) => vnet,
                    Err(errno) => return Ok(Err(errno.into())),
                };
                let td = self.td;
                let _cur = td.curvnet_set(Some(vnet));
                return self.argv(&rest, span);
            }
            Ip::Monitor { netns } => self.monitor(netns.as_deref()).map_err(Fail::from),
            Ip::Link { netns, call } => self.link(netns.as_deref(), call),
            Ip::Addr { netns, del, address, prefix, dev } => {
                self.addr(netns.as_deref(), &dev, del, address, prefix).map_err(Fail::from)
            }
        };
        Ok(status)
    }

    /// The vnet of a namespace; the thread's without a name. Names are known everywhere; `1` is that of process 1.
    fn netns(&self, name: Option<&str>) -> Result<VnetRef<H>, Errno> {
        match name {
            None => Ok(self.td.curvnet()),
            Some("1") => Ok(self.world.kernel.vnet0()),
            Some(name) => self.world.vnet_by_jail(name).ok_or(Errno::ENOENT),
        }
    }

    fn monitor(&self, netns: Option<&str>) -> Result<(), Errno> {
        let vnet = self.netns(netns)?;
        self.world.host().observer().watch(vnet.id(), netns.unwrap_or("root"));
        Ok(())
    }

    fn link(&mut self, netns: Option<&str>, call: Link) -> Status {
        let vnet = self.netns(netns)?;
        let td = self.td;
        let _cur = td.curvnet_set(Some(vnet));
        match call {
            Link::Add(add) => self.add(&add).map_err(|errno| linux_errno(Call::Add, errno).into()),
            Link::Del(name) => {
                if_unregister(td, self.device(&name)).map_err(|errno| linux_errno(Call::Del, errno).into())
            }
            Link::DelGroup(group) => {
                if_unregister_group(td, group).map_err(|errno| linux_errno(Call::Del, errno).into())
            }
            Link::Property { name, del, altnames } => self.change_altnames(&name, del, &altnames).map_err(Fail::from),
            Link::Set { name, changes } => self.set(&name, changes).map_err(Fail::from),
            Link::Show(name) => self.show_links(name.as_deref()).map_err(Fail::from),
        }
    }

    /// `lo` is the loopback device, unless something else has that name.
    fn device<'n>(&self, name: &'n str) -> &'n str {
        if name == "lo" && ifunit_ref(self.td, name).is_none() { "lo0" } else { name }
    }

    fn lookup_device(&self, name: &str) -> Result<IfnetRef<H>, Errno> {
        ifunit_ref(self.td, self.device(name)).ok_or(Errno::ENODEV)
    }

    /// `RTM_NEWLINK`: the lower is looked up in its namespace, the rest happens in the target's.
    fn add(&self, add: &LinkAdd) -> Result<(), Errno> {
        let td = self.td;
        let target = self.netns(add.netns.as_deref())?;
        let below = self.netns(add.lower_netns.as_deref())?;
        let lower = add.lower.as_deref().map(|lower| {
            let _cur = td.curvnet_set(Some(below));
            self.lookup_device(lower)
        });
        let mut params = CloneParams { lower: lower.transpose()?, mtu: add.mtu, index: add.index, ..CloneParams::NONE };
        let kind = self.parameters(&add.kind, &mut params)?;
        let _cur = td.curvnet_set(Some(target.clone()));
        let made = match add.name.as_deref() {
            Some(name) => {
                self.by_pattern(&target, name, |name| if_clone_create_kind(td, kind, Some(name), &params).map(drop))?
            }
            None => if_clone_create_kind(td, kind, None, &params)?.to_string(),
        };
        if let Some(group) = add.group {
            self.lookup_device(&made)?.set_link_group(group);
        }
        if let Some(address) = add.address {
            if_setlladdr(td, &*self.lookup_device(&made)?, address)?;
        }
        if add.up {
            self.flag_up(&*self.lookup_device(&made)?, true)?;
        }
        Ok(())
    }

    /// What follows `type`: the name of the cloner, and what it is told.
    fn parameters<'n>(&self, kind: &'n LinkKind, params: &mut CloneParams<H>) -> Result<&'n str, Errno> {
        Ok(match kind {
            LinkKind::Veth { peer, peer_netns } => {
                let name = peer.as_deref().map(IfName::new).transpose()?;
                let vnet = peer_netns.as_deref().map(|netns| self.netns(Some(netns))).transpose()?;
                params.peer = Some(Peer { name, vnet });
                "veth"
            }
            LinkKind::Ipvlan(ipvl) => ipvlan("ipvlan", ipvl, params)?,
            LinkKind::Ipvtap(ipvl) => ipvlan("ipvtap", ipvl, params)?,
            LinkKind::Macvlan(mode) => {
                params.mode = mode.as_deref().map(stack_mode).transpose()?;
                "macvlan"
            }
            LinkKind::Vlan(tag) => {
                params.tag = Some(*tag);
                "vlan8021q"
            }
            LinkKind::Bridge => "bridge",
            LinkKind::Bond => "lagg",
            LinkKind::Dummy => "disc",
            LinkKind::Other(kind) => kind,
        })
    }

    /// `do_set_master`: leaves the old master, and joins the new one.
    fn enslave(&self, ifp: &Ifp<H>, master: Option<&str>) -> Result<(), Errno> {
        let td = self.td;
        let master = master.map(|name| self.lookup_device(name)).transpose()?;
        if let Some(former) = if_master(td, ifp) {
            if master.as_ref().is_some_and(|master| master.ptr_eq(&former)) {
                return Ok(());
            }
            match kind_of(&former).as_str() {
                "lagg" => lagg_delport(td, &former, ifp)?,
                _ => bridge_delm(td, &former, ifp)?,
            }
        }
        let Some(master) = master else { return Ok(()) };
        match kind_of(&master).as_str() {
            "bridge" if kind_of(ifp) == "bridge" => Err(Errno::ELOOP),
            "bridge" if kind_of(ifp) == "lo" => Err(Errno::EINVAL),
            "bridge" => bridge_addm(td, &master, ifp),
            "lagg" => lagg_addport(td, &master, ifp),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn flag_up(&self, ifp: &Ifp<H>, up: bool) -> Result<(), Errno> {
        let mut flags = ifp.flags();
        flags.set(IfFlags::UP, up);
        if_setflags(self.td, ifp, flags)
    }

    fn show_links(&mut self, name: Option<&str>) -> Result<(), Errno> {
        let all = match name {
            Some(name) => vec![self.lookup_device(name)?],
            None => show::interfaces(self.td),
        };
        for ifp in all {
            let mut line = format!("{}: {}: <", ifp.index(), ifp.name());
            let flags = ifp.flags();
            for (n, (flag, _)) in flags.iter_names().enumerate() {
                line.push_str(if n == 0 { "" } else { "," });
                line.push_str(flag);
            }
            // Writing to a string cannot fail.
            let _ = write!(line, "> mtu {}", ifp.mtu());
            if let Some(master) = if_master(self.td, &ifp) {
                let _ = write!(line, " master {}", master.name());
            }
            let _ = write!(line, " kind {}", kind_of(&ifp));
            if ifp.link_group() != 0 {
                let _ = write!(line, " group {}", ifp.link_group());
            }
            if_altnames(&ifp, |altname| {
                let _ = write!(line, " altname {altname}");
            });
            self.print(&line);
        }
        Ok(())
    }
}

/// `IFLA_INFO_KIND`: the stem of the name that the driver gave it; that does not change with the name.
fn kind_of<H: Host>(ifp: &Ifp<H>) -> String {
    ifp.dname().to_string()
}

fn ipvlan<H: Host>(kind: &'static str, ipvl: &Ipvl, params: &mut CloneParams<H>) -> Result<&'static str, Errno> {
    params.mode = ipvl.mode.as_deref().map(stack_mode).transpose()?;
    let mut flags = StackFlags::empty();
    flags.set(StackFlags::PRIVATE, ipvl.private);
    flags.set(StackFlags::VEPA, ipvl.vepa);
    params.flags = (!flags.is_empty()).then_some(flags);
    Ok(kind)
}

fn stack_mode(mode: &str) -> Result<StackMode, Errno> {
    Ok(match mode {
        "l2" => StackMode::L2,
        "l3" => StackMode::L3,
        "l3s" => StackMode::L3s,
        "private" => StackMode::Private,
        "vepa" => StackMode::Vepa,
        "bridge" => StackMode::Bridge,
        "passthru" => StackMode::Passthru,
        _ => return Err(Errno::EINVAL),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_linuxs_and_each_row_has_a_reason() {
        assert_eq!(linux_errno(Call::Del, Errno::ENXIO), Errno::ENODEV);
        assert_eq!(linux_errno(Call::Del, Errno::EINVAL), Errno::EOPNOTSUPP);
        assert_eq!(linux_errno(Call::Set, Errno::EINVAL), Errno::EINVAL);
        assert_eq!(linux_errno(Call::Set, Errno::EBUSY), Errno::EBUSY);
        for row in ERRNOS {
            assert!(row.core != row.linux && !row.why.is_empty());
        }
    }
}
