//! The verbs.

use core::sync::atomic::Ordering;

use ifnet::clone::CloneParams;
use ifnet::drivers::{bridge_addm, bridge_delm, lagg_addport, lagg_delport};
use ifnet::{
    Errno, IfType, LinkState, SockAddr, bpf_open, ether_ifattach, ether_ifdetach, if_addaddr, if_addgroup, if_addmulti,
    if_alloc, if_clone_create, if_clone_create_kind, if_clone_create2, if_clone_destroy, if_deladdr, if_down,
    if_foreach, if_free, if_initname, if_link_state_change, if_rename, if_setlladdr, if_setmtu, if_transmit,
    if_unregister, if_up, if_vmove_loan, if_vmove_reclaim, ifnet_byindex, ifpromisc, ifunit_ref, tun_open, vnet_alloc,
    vnet_destroy, vnet_destroy_deferred,
};

use super::{CROWD, Count, JAILS, OWNED, READ, VNETS, Worker};
use crate::packet::Packet;

/// Kinds that stand alone, or in pairs.
const KINDS: [&str; 10] = ["epair", "veth", "disc", "gif", "tun", "tap", "bridge", "lagg", "vlan", "epair"];
/// Kinds that stand on another interface.
const UPPERS: [&str; 4] = ["ipvlan", "macvlan", "ipvtap", "vlan"];

impl Worker<'_> {
    /// Some verb, in some vnet.
    pub(super) fn verb(&mut self) {
        let vnet = self.some_vnet();
        let td = self.td;
        let _cur = td.curvnet_set(Some(vnet));
        match self.random.below(100) {
            0..20 => self.create(),
            20..30 => self.stack(),
            30..50 => self.destroy(),
            50..60 => self.loan(),
            60..68 => self.reclaim(),
            68..72 => self.rename(),
            72..80 => self.driver(),
            80..83 => self.vnet(),
            83..87 => self.member(),
            87..90 => self.open(),
            90..96 => self.change(),
            _ => self.read(),
        }
    }

    fn is_crowded(&self) -> bool {
        self.td.kernel().interfaces() >= CROWD
    }

    fn create(&mut self) {
        if self.is_crowded() {
            return self.destroy();
        }
        let kind = self.random.of(&KINDS);
        let created = match kind {
            "veth" => if_clone_create_kind(self.td, kind, None, &CloneParams::NONE),
            _ => if_clone_create(self.td, kind),
        };
        self.note(Count::Life, kind, created);
    }

    /// Puts something on an interface, which may be in another vnet than what is put on it.
    fn stack(&mut self) {
        if self.is_crowded() {
            return self.destroy();
        }
        let Some(name) = self.some_name(|_| true) else { return };
        let Some(lower) = ifunit_ref(self.td, &name) else { return };
        let other = self.some_vnet();
        let _cur = self.td.curvnet_set(Some(other));
        let kind = self.random.of(&UPPERS);
        let tag = (kind == "vlan").then(|| self.random.below(4000) as u16 + 1);
        let params = CloneParams { lower: Some(lower), tag, ..CloneParams::NONE };
        let created = match kind {
            "vlan" => if_clone_create2(self.td, kind, &params),
            _ => if_clone_create_kind(self.td, kind, None, &params),
        };
        self.note(Count::Life, kind, created);
    }

    fn destroy(&mut self) {
        let Some(name) = self.some_name(|_| true) else { return };
        // The first as on FreeBSD, the second as on Linux.
        let destroyed = match self.random.below(3) {
            0 => if_unregister(self.td, &name),
            _ => if_clone_destroy(self.td, &name),
        };
        self.note(Count::Life, "destroy", destroyed);
    }

    fn loan(&mut self) {
        let Some(name) = self.some_name(|_| true) else { return };
        let target = self.some_vnet();
        let moved = if_vmove_loan(self.td, &name, &target).map(drop);
        self.note(Count::Life, "if_vmove_loan", moved);
    }

    /// Pulls an interface of the current vnet into another one.
    fn reclaim(&mut self) {
        let Some(name) = self.some_name(|_| true) else { return };
        let (source, target) = (self.td.curvnet(), self.some_vnet());
        let _cur = self.td.curvnet_set(Some(target));
        let moved = if_vmove_reclaim(self.td, &name, &source).map(drop);
        self.note(Count::Life, "if_vmove_reclaim", moved);
    }

    fn rename(&mut self) {
        let Some(name) = self.some_name(|_| true) else { return };
        let Some(ifp) = ifunit_ref(self.td, &name) else { return };
        let new = self.random.of(&["wan", "lan", "dmz0", "uplink1", "epair1a", "disc0", "x", "y"]);
        let renamed = if_rename(self.td, &ifp, new);
        self.note(Count::Life, "if_rename", renamed);
    }

    /// A driver of hardware comes or goes.
    fn driver(&mut self) {
        let at = self.random.below(OWNED);
        if let Some(owner) = self.owned[at].take() {
            ether_ifdetach(self.td, &owner);
            if_free(self.td, owner);
            self.note(Count::Life, "ether_ifdetach", Ok(()));
            return;
        }
        let Some(owner) = self.note(Count::Other, "if_alloc", if_alloc(self.td, IfType::Ether)) else { return };
        let unit = (self.id * OWNED + at) as u32;
        let attached = if_initname(&owner, "em", Some(unit))
            .and_then(|()| ether_ifattach(self.td, &owner, [2, 0, 0, 0, self.id as u8, at as u8]));
        match self.note(Count::Life, "ether_ifattach", attached) {
            Some(()) => self.owned[at] = Some(owner),
            None => if_free(self.td, owner),
        }
    }

    fn vnet(&mut self) {
        let slot = &VNETS[self.random.below(JAILS)];
        let old = slot.lock().take();
        if let Some(old) = old {
            let destroyed = match self.random.below(2) {
                0 => vnet_destroy(self.td, &old),
                _ => vnet_destroy_deferred(self.td, &old),
            };
            self.note(Count::Life, "vnet_destroy", destroyed);
            return;
        }
        let Some(new) = self.note(Count::Life, "vnet_alloc", vnet_alloc(self.td)) else { return };
        let late = slot.lock().replace(new);
        // Somebody else was quicker, and his is in nobody's hands now.
        if let Some(late) = late {
            self.note(Count::Life, "vnet_destroy", vnet_destroy(self.td, &late));
        }
    }

    /// A bridge or a lagg gets a member, or loses one.
    fn member(&mut self) {
        let kind = self.random.of(&["bridge", "lagg"]);
        let Some(master) = self.some_name(|name| name.starts_with(kind)) else { return };
        let Some(member) = self.some_name(|_| true) else { return };
        let (Some(master), Some(member)) = (ifunit_ref(self.td, &master), ifunit_ref(self.td, &member)) else { return };
        let verb = match (kind, self.random.below(4)) {
            ("bridge", 0) => bridge_delm,
            ("bridge", _) => bridge_addm,
            (_, 0) => lagg_delport,
            _ => lagg_addport,
        };
        let done = verb(self.td, &master, &member);
        self.note(Count::Other, "member", done);
    }

    /// The device of a tun or tap, or a tap of an interface, is opened, used, or closed.
    fn open(&mut self) {
        if let Some(device) = self.device.take() {
            let read = device.try_read().map(drop);
            self.note(Count::Other, "tun read", read);
            if let Some(packet) = Packet::new() {
                self.note(Count::Other, "tun write", device.write(self.td, packet));
            }
            match self.random.below(3) {
                0 => self.device = Some(device),
                1 => drop(device),
                _ => device.close(self.td),
            }
        } else if self.random.below(2) == 0 {
            let Some(name) = self.some_name(|name| name.starts_with("ta") || name.starts_with("tu")) else { return };
            self.device = self.note(Count::Other, "tun_open", tun_open(self.td, &name));
        } else {
            let Some(name) = self.some_name(|_| true) else { return };
            self.listener = self.note(Count::Other, "bpf_open", bpf_open(self.td, &name));
        }
    }

    /// Something about an interface changes.
    fn change(&mut self) {
        let Some(name) = self.some_name(|_| true) else { return };
        let Some(ifp) = ifunit_ref(self.td, &name) else { return };
        let td = self.td;
        let host = self.random.below(4) as u8 + 1;
        let addr = SockAddr::Inet([192, 0, 2, host]);
        let changed = match self.random.below(11) {
            0..3 => {
                if_up(td, &ifp);
                Ok(())
            }
            3 => {
                if_down(td, &ifp);
                Ok(())
            }
            4 => if_addaddr(td, &ifp, addr, 24),
            5 => if_deladdr(&ifp, addr),
            6 => if_addmulti(td, &ifp, SockAddr::Link([1, 0, 94, 0, 0, host])),
            7 => if_addgroup(td, &ifp, "uplink"),
            8 => if_setlladdr(td, &ifp, [2, 0, 0, 1, 0, host]),
            9 => ifpromisc(td, &ifp, true).and_then(|()| ifpromisc(td, &ifp, false)),
            _ => {
                if_link_state_change(td, &ifp, if host == 1 { LinkState::Up } else { LinkState::Down });
                if_setmtu(td, &ifp, 1400)
            }
        };
        self.note(Count::Other, "change", changed);
    }

    /// A reader: in one epoch section, looks at every interface of the vnet and sends a packet out of it.
    fn read(&mut self) {
        let td = self.td;
        let section = td.net_epoch_enter();
        let mut read = 0;
        let _ = if_foreach(td, |ifp| {
            let index = ifp.get().index();
            // It may be taken away meanwhile, but another one cannot come to have its index within this section.
            if let Some(found) = ifnet_byindex(td, index, &section) {
                assert!(found.addr() == ifp.addr(), "index {index} names two interfaces in one section");
            }
            if let Some(packet) = Packet::new() {
                let _ = if_transmit(td, ifp.get(), packet, &section);
            }
            read += 1;
            Ok::<(), Errno>(())
        });
        READ.fetch_add(read, Ordering::Relaxed);
    }

    /// Gives back what this worker holds.
    pub(super) fn end(&mut self) {
        self.listener = None;
        if let Some(device) = self.device.take() {
            device.close(self.td);
        }
        for at in 0..OWNED {
            if let Some(owner) = self.owned[at].take() {
                ether_ifdetach(self.td, &owner);
                if_free(self.td, owner);
            }
        }
    }
}
