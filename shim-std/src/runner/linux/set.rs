//! `ip link set`, `ip link property` and `ip addr`: what changes of a device, its namespace included.

use core::net::IpAddr;

use ifnet::{
    Errno, Ifp, SockAddr, VnetRef, if_addaddr, if_addaltname, if_deladdr, if_delaltname, if_rename, if_setlladdr,
    if_setmtu, if_vmove_loan, if_vmove_loan_as, ifunit_ref,
};

use super::{Call, kind_of, linux_errno};
use crate::runner::host::Host;
use crate::runner::interp::Interp;
use crate::scenario::command::ip::LinkSet;

/// Up to which number a pattern is tried.
const PATTERN_MAX: u32 = 0x7fff;

impl<H: Host> Interp<'_, '_, H> {
    /// `RTM_SETLINK`, in the order in which Linux does it: the move first, then the rest, one by one, with no way back.
    pub(super) fn set(&self, name: &str, mut changes: Vec<LinkSet>) -> Result<(), Errno> {
        let td = self.td;
        let errno = |errno| linux_errno(Call::Set, errno);
        let ifp = self.lookup_device(name)?;
        changes.sort_by_key(rank);
        let new_name = changes.iter().find_map(|change| match change {
            LinkSet::Name(new) => Some(new.clone()),
            _ => None,
        });
        let (mut moved, mut named) = (None, false);
        for change in changes {
            let there: Option<VnetRef<H>> = moved.clone();
            let vnet = there.unwrap_or_else(|| td.curvnet());
            let _cur = td.curvnet_set(Some(vnet.clone()));
            match change {
                LinkSet::Netns(netns) => {
                    let target = self.netns(Some(&netns))?;
                    named = self.move_to(&ifp, &target, new_name.as_deref())?;
                    moved = Some(target);
                }
                LinkSet::Address(address) => if_setlladdr(td, &ifp, address).map_err(errno)?,
                LinkSet::Mtu(mtu) => if_setmtu(td, &ifp, mtu).map_err(errno)?,
                LinkSet::Group(group) => ifp.set_link_group(group),
                LinkSet::Name(_) if named => {}
                LinkSet::Name(new) => {
                    self.by_pattern(&vnet, &new, |new| if_rename(td, &ifp, new)).map_err(errno)?;
                }
                LinkSet::Master(master) => self.enslave(&ifp, master.as_deref()).map_err(errno)?,
                LinkSet::Up => self.flag_up(&ifp, true).map_err(errno)?,
                LinkSet::Down => self.flag_up(&ifp, false).map_err(errno)?,
            }
        }
        Ok(())
    }

    /// `dev_change_net_namespace`: everything is checked before anything changes. Whether the new name was taken for it:
    /// it is only if the old one is taken where the device goes.
    fn move_to(&self, ifp: &Ifp<H>, target: &VnetRef<H>, new_name: Option<&str>) -> Result<bool, Errno> {
        let td = self.td;
        if target.ptr_eq(&td.curvnet()) {
            return Ok(false);
        }
        if ["lo", "bridge", "lagg"].contains(&kind_of(ifp).as_str()) {
            return Err(Errno::EINVAL);
        }
        let errno = |errno| linux_errno(Call::Move, errno);
        let name = ifp.name();
        match (if_vmove_loan(td, &name, target), new_name) {
            (Ok(_), _) => Ok(false),
            (Err(Errno::EEXIST), Some(new)) if self.has_device(target, &name) => {
                let moved = self.by_pattern(target, new, |new| if_vmove_loan_as(td, &name, target, new).map(drop));
                moved.map(|_| true).map_err(errno)
            }
            (Err(error), _) => Err(errno(error)),
        }
    }

    /// Whether a name is a device's in a namespace, be it a further one.
    pub(super) fn has_device(&self, vnet: &VnetRef<H>, name: &str) -> bool {
        let _cur = self.td.curvnet_set(Some(vnet.clone()));
        ifunit_ref(self.td, name).is_some()
    }

    /// `dev_get_valid_name`: does something with a name that has to be free in a namespace; the name. A pattern with one
    /// `%d` stands for the name with the lowest number that is free; two threads that want the same get one each.
    pub(super) fn by_pattern(
        &self,
        vnet: &VnetRef<H>,
        pattern: &str,
        mut attempt: impl FnMut(&str) -> Result<(), Errno>,
    ) -> Result<String, Errno> {
        if pattern == "." || pattern == ".." || pattern.contains(['/', ':', ' ']) {
            return Err(Errno::EINVAL);
        }
        if !pattern.contains('%') {
            return attempt(pattern).map(|()| pattern.to_owned());
        }
        let (before, after) = pattern.split_once("%d").ok_or(Errno::EINVAL)?;
        if before.contains('%') || after.contains('%') {
            return Err(Errno::EINVAL);
        }
        for number in 0..=PATTERN_MAX {
            let name = format!("{before}{number}{after}");
            if self.has_device(vnet, &name) {
                continue;
            }
            match attempt(&name) {
                // Somebody else was faster; anything else that exists is not the name.
                Err(Errno::EEXIST) if self.has_device(vnet, &name) => {}
                done => return done.map(|()| name),
            }
        }
        Err(Errno::ENOSPC)
    }

    /// `RTM_NEWLINKPROP`, `RTM_DELLINKPROP`: one after the other, with no way back.
    pub(super) fn change_altnames(&self, name: &str, del: bool, altnames: &[String]) -> Result<(), Errno> {
        let ifp = self.lookup_device(name)?;
        altnames.iter().try_for_each(|altname| {
            let changed =
                if del { if_delaltname(self.td, &ifp, altname) } else { if_addaltname(self.td, &ifp, altname) };
            changed.map_err(|errno| linux_errno(Call::Set, errno))
        })
    }

    /// `RTM_NEWADDR`, `RTM_DELADDR`.
    pub(super) fn addr(
        &self,
        netns: Option<&str>,
        name: &str,
        del: bool,
        address: IpAddr,
        prefix: Option<u8>,
    ) -> Result<(), Errno> {
        let vnet = self.netns(netns)?;
        let _cur = self.td.curvnet_set(Some(vnet));
        let ifp = self.lookup_device(name)?;
        let (address, longest) = match address {
            IpAddr::V4(v4) => (SockAddr::Inet(v4.octets()), 32),
            IpAddr::V6(v6) => (SockAddr::Inet6(v6.octets()), 128),
        };
        if del { if_deladdr(&ifp, address) } else { if_addaddr(self.td, &ifp, address, prefix.unwrap_or(longest)) }
    }
}

/// The order of `do_setlink`.
fn rank(change: &LinkSet) -> u8 {
    match change {
        LinkSet::Netns(_) => 0,
        LinkSet::Address(_) => 1,
        LinkSet::Mtu(_) => 2,
        LinkSet::Group(_) => 3,
        LinkSet::Name(_) => 4,
        LinkSet::Master(_) => 5,
        LinkSet::Up | LinkSet::Down => 6,
    }
}
