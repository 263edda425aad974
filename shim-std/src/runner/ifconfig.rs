//! `ifconfig`: what the program of that name does with the ioctls of the core.

use core::fmt::Write as _;
use core::net::IpAddr;

use ifnet::clone::if_clone_list;
use ifnet::drivers::{bridge_addm, bridge_delm, lagg_addport, lagg_delport, vlan_config, vlan_parent, vlan_unconfig};
use ifnet::{
    CloneParams, Errno, IfFlags, IfName, IfType, IfnetRef, Ifp, LinkState, SockAddr, Thread, for_each_lower,
    if_addaddr, if_addgroup, if_clone_create2, if_clone_destroy, if_deladdr, if_delgroup, if_getgroupmembers,
    if_lladdr, if_rename, if_setdescription, if_setflags, if_setlladdr, if_setmtu, if_vmove_loan, if_vmove_reclaim,
    ifunit_ref,
};

use super::host::Host;
use super::interp::Interp;
use super::{Status, show};
use crate::scenario::command::Ifconfig;
use crate::scenario::command::ifconfig::{Action, Address, AddressOp};

impl<H: Host> Interp<'_, '_, H> {
    pub(super) fn ifconfig(&mut self, call: Ifconfig) -> Status {
        let td = self.td;
        match call {
            Ifconfig::List => {
                let names: Vec<_> = show::interfaces(td).iter().map(|ifp| ifp.name().to_string()).collect();
                self.print(&names.join(" "));
            }
            Ifconfig::All => {
                for ifp in show::interfaces(td) {
                    self.describe(&ifp);
                }
            }
            Ifconfig::Show(name) => {
                let ifp = ifunit_ref(td, &name).ok_or(Errno::ENXIO)?;
                self.describe(&ifp);
            }
            Ifconfig::Cloners => {
                let mut names = Vec::new();
                if_clone_list(td, |name| names.push(name.to_owned()));
                self.print(&names.join(" "));
            }
            Ifconfig::Group(group) => {
                let mut names = Vec::new();
                // A group that is not there has no members.
                let _ = if_getgroupmembers(td, &group, |name| names.push(name.to_owned()));
                names.iter().for_each(|name| self.print(name));
            }
            Ifconfig::Create { name, vlan, actions } => {
                let mut params = CloneParams::default();
                if let Some(vlan) = vlan {
                    params.lower = Some(self.lookup(&vlan.parent)?);
                    params.tag = Some(vlan.tag);
                }
                let created = if_clone_create2(td, &name, &params)?.to_string();
                if created != name {
                    self.print(&created);
                }
                self.act(&created, actions)?;
            }
            Ifconfig::Act { interface, actions } => self.act(&interface, actions)?,
        }
        Ok(())
    }

    /// Runs the actions in the order written; the first error ends it. The interface is looked up again for each, as each
    /// is an ioctl of its own.
    fn act(&self, interface: &str, actions: Vec<Action>) -> Result<(), Errno> {
        let mut name = interface.to_owned();
        for action in actions {
            match action {
                Action::Name(new) => {
                    if_rename(self.td, &*self.lookup(&name)?, &new)?;
                    name = new;
                }
                action => self.one(&name, action)?,
            }
        }
        Ok(())
    }

    /// `ifunit_ref`, as at the start of `ifioctl`.
    fn lookup(&self, name: &str) -> Result<IfnetRef<H>, Errno> {
        ifunit_ref(self.td, name).ok_or(Errno::ENXIO)
    }

    fn named(&self, name: &str, absent: Errno) -> Result<IfnetRef<H>, Errno> {
        ifunit_ref(self.td, name).ok_or(absent)
    }

    fn one(&self, name: &str, action: Action) -> Result<(), Errno> {
        let td = self.td;
        // These look the interface up themselves; `-vnet` does it in the other vnet.
        match &action {
            Action::Destroy => return if_clone_destroy(td, name),
            Action::Vnet(jail) => {
                self.lookup(name)?;
                let target = self.world.jail(&td.curvnet(), jail).ok_or(Errno::ENXIO)?;
                return if_vmove_loan(td, name, &target).map(drop);
            }
            Action::UnVnet(jail) => {
                let source = self.world.jail(&td.curvnet(), jail).ok_or(Errno::ENXIO)?;
                return if_vmove_reclaim(td, name, &source).map(drop);
            }
            _ => {}
        }
        let ifp = self.lookup(name)?;
        match action {
            Action::Up => self.flag(&ifp, IfFlags::UP, true),
            Action::Down => self.flag(&ifp, IfFlags::UP, false),
            Action::Promisc(on) => self.flag(&ifp, IfFlags::PPROMISC, on),
            Action::Allmulti(on) => self.flag(&ifp, IfFlags::PALLMULTI, on),
            Action::Mtu(mtu) => if_setmtu(td, &ifp, mtu),
            Action::Group(group) => if_addgroup(td, &ifp, &group),
            Action::UnGroup(group) => if_delgroup(td, &ifp, &group),
            Action::Ether(mac) => if_setlladdr(td, &ifp, mac),
            Action::Description(text) => if_setdescription(&ifp, text.as_deref().unwrap_or_default()),
            Action::Address(address) => self.address(&ifp, &address),
            // What is not there gives the errno of each ioctl, not that of `ifioctl`.
            Action::AddMember(member) => bridge_addm(td, &ifp, &*self.named(&member, Errno::ENOENT)?),
            Action::DeleteMember(member) => bridge_delm(td, &ifp, &*self.named(&member, Errno::ENOENT)?),
            Action::LaggPort(port) => lagg_addport(td, &ifp, &*self.named(&port, Errno::EINVAL)?),
            Action::UnLaggPort(port) => lagg_delport(td, &ifp, &*self.named(&port, Errno::EINVAL)?),
            Action::LaggProto(proto) if proto == "failover" => Ok(()),
            Action::LaggProto(_) => Err(Errno::EPROTONOSUPPORT),
            Action::VlanDev(vlan) => vlan_config(td, &ifp, &*self.named(&vlan.parent, Errno::ENOENT)?, vlan.tag),
            Action::UnVlanDev => vlan_unconfig(td, &ifp),
            Action::Destroy | Action::Name(_) | Action::Vnet(_) | Action::UnVnet(_) => Ok(()),
        }
    }

    /// Reads the flags, changes one, writes them back: what `ifconfig` does with `SIOCGIFFLAGS` and `SIOCSIFFLAGS`.
    fn flag(&self, ifp: &Ifp<H>, flag: IfFlags, on: bool) -> Result<(), Errno> {
        let mut flags = ifp.flags();
        flags.set(flag, on);
        if_setflags(self.td, ifp, flags)
    }

    fn address(&self, ifp: &Ifp<H>, address: &Address) -> Result<(), Errno> {
        let longest = if address.inet6 { 128 } else { 32 };
        match (address.op, address.address.map(sockaddr)) {
            (AddressOp::Remove, Some(addr)) => if_deladdr(ifp, addr),
            (AddressOp::Remove, None) => {
                let of_family = |addr: &SockAddr| matches!(addr, SockAddr::Inet6(_)) == address.inet6;
                let first = addresses(ifp).into_iter().map(|(addr, _)| addr).find(of_family);
                if_deladdr(ifp, first.ok_or(Errno::EADDRNOTAVAIL)?)
            }
            (AddressOp::Set | AddressOp::Alias, Some(addr)) => {
                // Without a mask the network is what the class of the address said; hosts are all that matters here.
                let default = if address.inet6 { 64 } else { 24 };
                if_addaddr(self.td, ifp, addr, address.prefix.unwrap_or(default).min(longest))?;
                // An address brings its interface up.
                if ifp.flags().contains(IfFlags::UP) { Ok(()) } else { self.flag(ifp, IfFlags::UP, true) }
            }
            (AddressOp::Set | AddressOp::Alias, None) => Err(Errno::EINVAL),
        }
    }

    /// One interface, as `ifconfig IF` shows it.
    fn describe(&mut self, ifp: &Ifp<H>) {
        let flags = ifp.flags();
        let names: Vec<_> = flags.iter_names().map(|(name, _)| name).collect();
        let names = names.join(",");
        self.print(&format!("{}: flags={:x}<{names}> metric 0 mtu {}", ifp.name(), flags.bits(), ifp.mtu()));
        if let Some(address) = if_lladdr(self.td, ifp).filter(|address| *address != SockAddr::Link([0; 6])) {
            self.print(&format!("\tether {address}"));
        }
        for (address, prefix) in addresses(ifp) {
            let line = match address {
                SockAddr::Inet6(_) => format!("\tinet6 {address} prefixlen {prefix}"),
                _ => format!("\tinet {address}/{prefix}"),
            };
            self.print(&line);
        }
        if let Some((parent, tag)) = vlan_parent(ifp) {
            self.print(&format!("\tvlan: {tag} parent interface: {}", parent.name()));
        }
        let members = members(self.td, ifp);
        if ifp.if_type() == IfType::Bridge {
            members.iter().for_each(|member| self.print(&format!("\tmember: {}", member.name)));
        } else if *ifp.dname() == *"lagg" {
            self.print("\tlaggproto failover");
            lagg_status(&members).iter().for_each(|line| self.print(line));
        }
        let groups = show::groups(self.td, ifp);
        let mut line = String::new();
        // `all` is everybody's and goes without saying.
        for group in groups.iter().filter(|group| *group != "all") {
            let _ = write!(line, " {group}");
        }
        if !line.is_empty() {
            self.print(&format!("\tgroups:{line}"));
        }
    }
}

/// A member of a bridge or a port of an aggregate, as it was when it was looked at.
struct Member {
    name: IfName,
    sends: bool,
}

/// The members of a bridge and the ports of an aggregate, in the order of joining. They may be gone by now.
fn members<H: Host>(td: &Thread<'_, H>, upper: &Ifp<H>) -> Vec<Member> {
    let mut members = Vec::new();
    for_each_lower(td, upper, |lower, member| {
        let sends = lower.link_state() == LinkState::Up && lower.flags().contains(IfFlags::UP);
        members.extend(member.then(|| Member { name: lower.name(), sends }));
    });
    members
}

/// The ports of an aggregate, as `lagg_status` shows them: the first is the master, and the first that can send is in use.
fn lagg_status(ports: &[Member]) -> Vec<String> {
    let in_use = ports.iter().position(|port| port.sends);
    let line = |(at, port): (usize, &Member)| {
        let flags = match (at == 0, in_use == Some(at)) {
            (true, true) => "5<MASTER,ACTIVE>",
            (true, false) => "1<MASTER>",
            (false, true) => "4<ACTIVE>",
            (false, false) => "0<>",
        };
        format!("\tlaggport: {} flags={flags}", port.name)
    };
    ports.iter().enumerate().map(line).collect()
}

fn sockaddr(address: IpAddr) -> SockAddr {
    match address {
        IpAddr::V4(v4) => SockAddr::Inet(v4.octets()),
        IpAddr::V6(v6) => SockAddr::Inet6(v6.octets()),
    }
}

/// The network addresses of an interface with their prefix lengths.
fn addresses<H: Host>(ifp: &Ifp<H>) -> Vec<(SockAddr, u8)> {
    let mut all = Vec::new();
    ifp.addresses(|address, prefix| all.push((address, prefix)));
    all
}
