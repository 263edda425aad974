//! The port: a lower interface that has uppers, their ids, and how long it is held.

use super::packets::receive;
use super::{Family, Upper};
use crate::Errno;
use crate::clone::{StackFlags, StackMode};
use crate::hazard::Hazard;
use crate::ifnet::{IfFlags, IfType, Ifnet, IfnetRef, Ifp, RxHandler, if_try_ref};
use crate::mem::{IdSpace, Shared, TailQ};
use crate::platform::{Mutex, Platform};
use crate::sync::{LockClass, Sx};
use crate::thread::Thread;

/// The highest id of an upper on its port.
const ID_MAX: u32 = 0xFFFD;

/// The list of a port's uppers: `pnodes`.
pub(super) enum ByPort {}

/// `struct ipvl_port`: a lower interface with uppers.
pub(super) struct Port<P: Platform> {
    pub(super) family: &'static Family,
    /// Good as long as `reference` is there.
    pub(super) lower: Ifp<P>,
    reference: P::Mutex<Option<IfnetRef<P>>>,
    /// `pnodes_lock`.
    pub(super) pnodes: Sx<P>,
    /// In the order of creation, written under `pnodes`.
    pub(super) uppers: TailQ<Upper<P>, P, ByPort>,
    pub(super) state: P::Mutex<PortState<P>>,
}

pub(super) struct PortState<P: Platform> {
    /// Uppers that are not yet uninitialised.
    count: u32,
    pub(super) mode: StackMode,
    pub(super) flags: StackFlags,
    ids: IdSpace<P::Allocator>,
    /// Where the search for an id begins: ids are not used again before the range is through.
    next_id: u32,
}

pub(super) fn port_of<P: Platform>(lower: &Ifnet<P>) -> Option<Shared<Port<P>, P>> {
    lower.rx_handler()?.data.to_shared::<Port<P>>()
}

/// The port of a lower, made if there is none; counted once more. Under the detach lock.
pub(super) fn port_get<P: Platform>(
    td: &Thread<'_, P>,
    lower: &Ifp<P>,
    family: &'static Family,
) -> Result<Shared<Port<P>, P>, Errno> {
    if let Some(port) = port_of(lower).filter(|port| port.family.name == family.name) {
        port.state.lock().count += 1;
        return Ok(port);
    }
    if !matches!(lower.if_type(), IfType::Ether | IfType::L2Vlan) || lower.flags().contains(IfFlags::LOOPBACK) {
        return Err(Errno::EINVAL);
    }
    if lower.is_received(td) {
        return Err(Errno::EBUSY);
    }
    let reference =
        if td.hazard(Hazard::UpperFreedBeforeLowerRef) { None } else { Some(if_try_ref(lower).ok_or(Errno::ENODEV)?) };
    let state = PortState {
        count: 1,
        mode: family.modes[0],
        flags: StackFlags::empty(),
        ids: IdSpace::new(td.allocator()),
        next_id: 1,
    };
    let port = Port {
        family,
        lower: lower.clone(),
        reference: P::Mutex::new(reference),
        pnodes: Sx::new("pnodes_lock", LockClass::PORT, false),
        uppers: TailQ::new(td.domain()),
        state: P::Mutex::new(state),
    };
    let port = Shared::try_new(td.domain(), port)?;
    lower.rx_handler_register(td, RxHandler { kind: family.name, data: port.clone().erase(), input: receive })?;
    Ok(port)
}

/// `ipvlan_port_destroy` by the last one: the receive slot is free again, and the lower is let go.
pub(super) fn port_put<P: Platform>(td: &Thread<'_, P>, port: &Port<P>) {
    let last = {
        let _pnodes = port.pnodes.xlock(td);
        let mut state = port.state.lock();
        state.count -= 1;
        state.count == 0
    };
    if last {
        port.lower.rx_handler_unregister();
        let reference = port.reference.lock().take();
        drop(reference);
    }
}

impl<P: Platform> Port<P> {
    /// The next id that is free, cyclically.
    pub(super) fn alloc_id(&self) -> Result<u32, Errno> {
        let mut state = self.state.lock();
        let from = state.next_id;
        for id in (from..=ID_MAX).chain(1..from) {
            if state.ids.take(id)? {
                state.next_id = if id == ID_MAX { 1 } else { id + 1 };
                return Ok(id);
            }
        }
        Err(Errno::ENOSPC)
    }

    pub(super) fn free_id(&self, id: u32) {
        self.state.lock().ids.give(id);
    }

    pub(super) fn has_passthru(&self, td: &Thread<'_, P>) -> bool {
        let section = td.net_epoch_enter();
        self.uppers.iter(&section).any(|upper| upper.mode == StackMode::Passthru)
    }

    /// `ipvlan_set_port_mode`: the mode holds for all uppers of the port; in the layer-3 modes they do not resolve
    /// addresses.
    pub(super) fn set_mode(&self, td: &Thread<'_, P>, mode: StackMode, flags: Option<StackFlags>) {
        if !self.family.port_mode {
            return;
        }
        {
            let mut state = self.state.lock();
            state.mode = mode;
            state.flags = flags.unwrap_or(state.flags);
        }
        self.for_each(td, |upper| {
            if mode == StackMode::L2 {
                upper.ifp.clear_flags(IfFlags::NOARP);
            } else {
                upper.ifp.set_flags(IfFlags::NOARP);
            }
        });
    }

    /// Calls `each` for every upper, outside of any epoch section. Under the detach lock, or for reports.
    pub(super) fn for_each(&self, td: &Thread<'_, P>, mut each: impl FnMut(&Shared<Upper<P>, P>)) {
        let mut cursor = {
            let section = td.net_epoch_enter();
            self.uppers.first(&section).and_then(|upper| upper.try_share())
        };
        while let Some(upper) = cursor {
            let next = {
                let section = td.net_epoch_enter();
                self.uppers.next(&upper, &section).and_then(|upper| upper.try_share())
            };
            each(&upper);
            cursor = next;
        }
    }
}
