//! `kpi`: the functions that drivers call.
//!
//! An argument that names an interface is a label, which stands for a driver's own pointer, or else a name in the current
//! vnet. How a name is held depends on what real callers do. The data path finds the interface and uses it inside one
//! epoch section, as a bare pointer; what may sleep takes a reference, as `ifioctl` does.

use ifnet::platform::Mutex as _;
use ifnet::{
    Errno, IfFlags, IfType, IfnetRef, Ifp, LinkState, NetEpoch, SockAddr, TunHandle, bpfattach, bpfdetach,
    ether_ifattach, ether_ifdetach, if_addgroup, if_addmulti, if_allmulti, if_alloc, if_attach, if_delgroup,
    if_delmulti, if_detach, if_down, if_free, if_initname, if_input, if_link_state_change, if_lladdr, if_ref,
    if_rename, if_transmit, if_try_ref, if_up, if_vmove_to, ifnet_byindex, ifnet_byindex_ref, ifnet_byindexgen,
    ifpromisc, ifunit, ifunit_ref, ip6_input, tun_open,
};

use super::device::{lladdr, split_name};
use super::host::Host;
use super::interp::Interp;
use super::show;
use super::world::{Attached, Handle};
use crate::host::frame::{Frame, ether};
use crate::scenario::command::kpi::FrameSpec;
use crate::scenario::command::{Kpi, KpiCall};

/// An interface for a call that may sleep.
struct Held<H: Host> {
    ifp: Ifp<H>,
    /// `None` for a driver's own pointer.
    _reference: Option<IfnetRef<H>>,
}

impl<H: Host> Interp<'_, '_, H> {
    pub(super) fn kpi(&mut self, kpi: Kpi) -> Result<(), Errno> {
        let td = self.td;
        let _cur = kpi.no_vnet.then(|| td.curvnet_set(None));
        match kpi.call {
            KpiCall::IfAlloc { handle, name } => self.alloc(&handle, name.as_deref().unwrap_or(&handle)),
            KpiCall::IfAttach { handle } => self.attach(&handle),
            KpiCall::EtherIfattach { handle, mac } => self.ether_attach(&handle, mac),
            KpiCall::IfDetach { handle } => self.detach(&handle, Attached::Plain),
            KpiCall::EtherIfdetach { handle } => self.detach(&handle, Attached::Ether),
            KpiCall::IfFree { handle } => self.free(&handle),
            KpiCall::IfRef { handle } => self.reference(&handle),
            KpiCall::IfRele { handle } => self.release(&handle),
            KpiCall::Bpfattach { handle } => bpfattach(td, &self.held(&handle)?.ifp),
            KpiCall::Bpfdetach { handle } => self.bpfdetach(&handle),
            KpiCall::Ifunit { name } => {
                let _section = td.net_epoch_enter();
                self.print_name(ifunit(td, &name).as_ref())
            }
            KpiCall::IfunitRef { name } => self.print_name(ifunit_ref(td, &name).as_deref()),
            KpiCall::IfnetByindex { index } => {
                let section = td.net_epoch_enter();
                self.print_name(ifnet_byindex(td, index, &section).and_then(|ifp| ifp.try_share()).as_ref())
            }
            KpiCall::IfnetByindexRef { index } => self.print_name(ifnet_byindex_ref(td, index).as_deref()),
            KpiCall::IfnetByindexgen { index, generation } => {
                let section = td.net_epoch_enter();
                let found = ifnet_byindexgen(td, index, generation, &section);
                self.print_name(found.and_then(|ifp| ifp.try_share()).as_ref())
            }
            KpiCall::Index { handle } => self.property(&handle, |ifp| ifp.index().to_string()),
            KpiCall::Gen { handle } => self.property(&handle, |ifp| ifp.idxgen().to_string()),
            KpiCall::Refcount { handle } => self.property(&handle, |ifp| ifp.refcount().to_string()),
            KpiCall::Flags { handle } => self.property(&handle, |ifp| format!("{:#x}", ifp.flags().bits())),
            KpiCall::Vnet { handle } => self.property(&handle, |ifp| format!("v{}", ifp.if_vnet(td).id())),
            KpiCall::Home { handle } => self.property(&handle, |ifp| match ifp.if_home_vnet(td) {
                Some(home) => format!("v{}", home.id()),
                None => "nil".into(),
            }),
            KpiCall::Dname { handle } => self.property(&handle, |ifp| ifp.dname().to_string()),
            KpiCall::Dunit { handle } => {
                self.property(&handle, |ifp| ifp.dunit().map_or_else(|| "-1".into(), |unit| unit.to_string()))
            }
            KpiCall::IfAddgroup { handle, group } => if_addgroup(td, &self.held(&handle)?.ifp, &group),
            KpiCall::IfDelgroup { handle, group } => if_delgroup(td, &self.held(&handle)?.ifp, &group),
            KpiCall::IfLinkStateChange { handle, up } => {
                let state = if up { LinkState::Up } else { LinkState::Down };
                if_link_state_change(td, &self.held(&handle)?.ifp, state);
                Ok(())
            }
            KpiCall::IfRename { handle, new } => if_rename(td, &self.held(&handle)?.ifp, &new),
            KpiCall::IfVmove { handle, jail } => self.vmove(&handle, &jail),
            KpiCall::IfUp { handle } => {
                if_up(td, &self.held(&handle)?.ifp);
                Ok(())
            }
            KpiCall::IfDown { handle } => {
                if_down(td, &self.held(&handle)?.ifp);
                Ok(())
            }
            KpiCall::Ifpromisc { handle, on } => ifpromisc(td, &self.held(&handle)?.ifp, on),
            KpiCall::IfAllmulti { handle, on } => if_allmulti(td, &self.held(&handle)?.ifp, on),
            KpiCall::IfAddmulti { handle, mac } => if_addmulti(td, &self.held(&handle)?.ifp, SockAddr::Link(mac)),
            KpiCall::IfDelmulti { handle, mac } => if_delmulti(td, &self.held(&handle)?.ifp, SockAddr::Link(mac)),
            KpiCall::IfTransmit { handle, frame } => {
                self.bare(&handle, |ifp, section| if_transmit(td, ifp, self.specified(ifp, &frame), section))?
            }
            KpiCall::IfInput { handle, frame } => {
                self.bare(&handle, |ifp, section| if_input(td, ifp, self.specified(ifp, &frame), section))
            }
            KpiCall::NetisrQueue { handle, frame } => self.bare(&handle, |ifp, _| {
                let frame = self.specified(ifp, &frame);
                self.world.tables.lock().netisr.push_back((ifp.index(), ifp.idxgen(), frame));
            }),
            KpiCall::SwiNet {} => {
                self.swi_net();
                Ok(())
            }
            KpiCall::IfGetCounter { handle, counter } => self.property(&handle, |ifp| ifp.counter(counter).to_string()),
            KpiCall::Ip6Input { index } => {
                let packets = ip6_input(td, index)?;
                self.print(&packets.to_string());
                Ok(())
            }
            KpiCall::Lladdr { handle } => {
                let address = if_lladdr(td, &self.held(&handle)?.ifp).ok_or(Errno::EADDRNOTAVAIL)?;
                self.print(&address.to_string());
                Ok(())
            }
            KpiCall::TunOpen { name } => self.tun_open(name),
            KpiCall::TunClose { name } => {
                self.take_tun(&name)?.close(td);
                Ok(())
            }
            KpiCall::TunTransient { name } => self.with_tun(name, |tun| tun.set_transient(true)),
            KpiCall::TunRead { name } => self.with_tun(name, |tun| tun.read(td).map(drop)),
            KpiCall::TunWrite { name, frame } => self.with_tun(name, |tun| {
                let bytes = match frame {
                    FrameSpec::Addressed { destination, source } => {
                        ether(destination.unwrap_or([0xff; 6]), source.unwrap_or_default(), None)
                    }
                    FrameSpec::Bytes(bytes) => bytes,
                };
                tun.write(td, self.world.frames.frame(bytes))
            }),
            KpiCall::EpochWait {} => {
                td.net_epoch_wait();
                Ok(())
            }
            KpiCall::EpochDrainCallbacks {} => {
                td.net_epoch_drain_callbacks();
                Ok(())
            }
            KpiCall::RunTasks {} => {
                while self.world.kernel.run_deferred(td) {}
                Ok(())
            }
        }
    }

    fn specified(&self, ifp: &Ifp<H>, frame: &FrameSpec) -> Frame {
        match frame {
            FrameSpec::Addressed { destination, source } => self.frame(ifp, *destination, *source, None),
            FrameSpec::Bytes(bytes) => self.world.frames.frame(bytes.clone()),
        }
    }

    /// `swi_net` and `m_rcvif_restore`: a frame whose interface has gone is dropped; one whose interface has moved comes
    /// in where that is now.
    fn swi_net(&self) {
        let td = self.td;
        while let Some((index, generation, frame)) = { self.world.tables.lock().netisr.pop_front() } {
            let section = td.net_epoch_enter();
            let Some(ifp) = ifnet_byindexgen(td, index, generation, &section) else { continue };
            let _cur = td.curvnet_set(Some(ifp.if_vnet(td)));
            if_input(td, &ifp, frame, &section);
        }
    }

    /// Prints the name of what a lookup found. The caller still holds what keeps it: a reference, or the section.
    fn print_name(&mut self, found: Option<&Ifp<H>>) -> Result<(), Errno> {
        match found {
            Some(ifp) => self.print(&ifp.name()),
            None => self.print("NULL"),
        }
        Ok(())
    }

    /// The driver's pointer behind a label; `live` asks for one that something keeps.
    fn pointer(&self, label: &str, live: bool) -> Option<Ifp<H>> {
        let tables = self.world.tables.lock();
        tables.handles.get(label).filter(|handle| !live || handle.is_live()).map(|handle| handle.ifp.clone())
    }

    /// An interface for a call that may sleep.
    fn held(&self, label: &str) -> Result<Held<H>, Errno> {
        if let Some(ifp) = self.pointer(label, true) {
            return Ok(Held { ifp, _reference: None });
        }
        match ifunit(self.td, label) {
            Some(ifp) => {
                let reference = if_try_ref(&ifp).ok_or(Errno::ENXIO)?;
                Ok(Held { ifp, _reference: Some(reference) })
            }
            // Nothing of that name is alive: a driver that kept its pointer uses it, and is caught.
            None => self.pointer(label, false).map(|ifp| Held { ifp, _reference: None }).ok_or(Errno::ENXIO),
        }
    }

    /// Uses an interface as the data path does: found and used in one epoch section.
    fn bare<R>(&self, label: &str, call: impl FnOnce(&Ifp<H>, &NetEpoch<'_, H>) -> R) -> Result<R, Errno> {
        let section = self.td.net_epoch_enter();
        let found = self.pointer(label, true).or_else(|| ifunit(self.td, label)).or_else(|| self.pointer(label, false));
        found.map(|ifp| call(&ifp, &section)).ok_or(Errno::ENXIO)
    }

    fn property(&mut self, label: &str, read: impl FnOnce(&Ifp<H>) -> String) -> Result<(), Errno> {
        let value = self.bare(label, |ifp, _| read(ifp))?;
        self.print(&value);
        Ok(())
    }

    fn alloc(&mut self, label: &str, name: &str) -> Result<(), Errno> {
        if self.pointer(label, true).is_some() {
            return Err(Errno::EEXIST);
        }
        let owner = if_alloc(self.td, IfType::Other)?;
        let (stem, unit) = split_name(name);
        if let Err(errno) = if_initname(&owner, stem, unit) {
            if_free(self.td, owner);
            return Err(errno);
        }
        owner.init_flags(IfFlags::MULTICAST);
        let ifp = (*owner).clone();
        let handle = Handle { owner: Some(owner), busy: false, attached: Attached::No, ifp, refs: Vec::new() };
        let stale = self.world.tables.lock().handles.insert(label.to_owned(), handle);
        // Another thread may have taken the label since; its interface is given back, not lost.
        if let Some(owner) = stale.and_then(|stale| stale.owner) {
            if_free(self.td, owner);
        }
        Ok(())
    }

    fn attach(&self, label: &str) -> Result<(), Errno> {
        let td = self.td;
        self.world.with_owner(label, |owner, attached| {
            if_attach(td, owner)?;
            *attached = Attached::Plain;
            Ok(())
        })
    }

    fn ether_attach(&self, label: &str, mac: Option<[u8; 6]>) -> Result<(), Errno> {
        let td = self.td;
        self.world.with_owner(label, |owner, attached| {
            ether_ifattach(td, owner, mac.unwrap_or_else(|| lladdr(label)))?;
            *attached = Attached::Ether;
            Ok(())
        })
    }

    fn detach(&self, label: &str, how: Attached) -> Result<(), Errno> {
        let td = self.td;
        self.world.with_owner(label, |owner, attached| {
            if how == Attached::Ether {
                ether_ifdetach(td, owner);
            } else {
                if_detach(td, owner);
            }
            *attached = Attached::No;
            Ok(())
        })
    }

    fn free(&self, label: &str) -> Result<(), Errno> {
        let (owner, _) = self.world.take_owner(label)?;
        if_free(self.td, owner);
        if let Some(handle) = self.world.tables.lock().handles.get_mut(label) {
            handle.busy = false;
        }
        Ok(())
    }

    fn reference(&self, label: &str) -> Result<(), Errno> {
        let held = self.held(label)?;
        let reference = if_ref(&held.ifp);
        let mut tables = self.world.tables.lock();
        let none =
            || Handle { owner: None, busy: false, attached: Attached::No, ifp: held.ifp.clone(), refs: Vec::new() };
        tables.handles.entry(label.to_owned()).or_insert_with(none).refs.push(reference);
        Ok(())
    }

    /// `if_rele` of a reference that nobody took would be a bug of the scenario; it is refused.
    fn release(&self, label: &str) -> Result<(), Errno> {
        let reference = self.world.tables.lock().handles.get_mut(label).and_then(|handle| handle.refs.pop());
        reference.map(drop).ok_or(Errno::EINVAL)
    }

    /// `bpfdetach`, by a driver for its own interface: the detach lock is `ether_ifdetach`'s business.
    fn bpfdetach(&self, label: &str) -> Result<(), Errno> {
        bpfdetach(self.td, &self.held(label)?.ifp);
        Ok(())
    }

    fn tun_open(&self, name: String) -> Result<(), Errno> {
        let tun = tun_open(self.td, &name)?;
        self.world.tables.lock().tuns.push((name, tun));
        Ok(())
    }

    /// Takes out what was opened first under this name.
    fn take_tun(&self, name: &str) -> Result<TunHandle<H>, Errno> {
        let mut tables = self.world.tables.lock();
        let at = tables.tuns.iter().position(|(opened, _)| opened == name).ok_or(Errno::ENXIO)?;
        Ok(tables.tuns.remove(at).1)
    }

    /// Uses an open device, which no other thread can meanwhile.
    fn with_tun<R>(&self, name: String, call: impl FnOnce(&TunHandle<H>) -> Result<R, Errno>) -> Result<R, Errno> {
        let tun = self.take_tun(&name)?;
        let result = call(&tun);
        self.world.tables.lock().tuns.push((name, tun));
        result
    }

    /// `if_vmove` unlinks from the current vnet: what is not there cannot be moved.
    fn vmove(&self, label: &str, jail: &str) -> Result<(), Errno> {
        let held = self.held(label)?;
        let target = self.world.vnet_by_jail(jail).ok_or(Errno::ENXIO)?;
        if !show::interfaces(self.td).iter().any(|ifp| ifp.ptr_eq(&held.ifp)) {
            return Err(Errno::ENODEV);
        }
        if_vmove_to(self.td, &held.ifp, &target)
    }
}
