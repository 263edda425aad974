//! What is stacked on an interface: `if_lagg`, `if_bridge` and `if_vlantrunk`.
//!
//! FreeBSD has a pointer for each in `struct ifnet`, and a global function pointer that its input path calls when the
//! pointer is set. Here both are one [`Hook`], which the driver of the upper interface puts on the lower one, with the
//! adjacency that makes it the upper one, under the detach lock. A lower interface that departs tells its hooks, and each
//! of them lets go of it. It has one master at most, so that the first two never are together.

use super::{Ifnet, Ifp};
use crate::event::Event;
use crate::mem::AnyShared;
use crate::platform::{Mutex, Platform};
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::thread::Thread;

/// Which of the pointers: in the order in which `ether_input` asks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HookKind {
    /// `if_lagg`: the interface is a port of an aggregate.
    Lagg = 0,
    /// `if_bridge`: the interface is a member of a bridge.
    Bridge = 1,
    /// `if_vlantrunk`: VLANs are configured on the interface.
    Vlan = 2,
}

const KINDS: [HookKind; 3] = [HookKind::Lagg, HookKind::Bridge, HookKind::Vlan];

/// What a driver wants to hear of the interface below.
pub(crate) struct HookOps<P: Platform> {
    /// A packet came in; `None` if the driver has taken it. Inside an epoch section.
    pub(crate) input: fn(&Thread<'_, P>, &Ifnet<P>, &AnyShared<P>, P::Buffer) -> Option<P::Buffer>,
    /// Something happened to the interface below: a departure that is not half of a rename (the detach lock is held),
    /// a change of its link state or of its link-level address.
    pub(crate) event: fn(&Thread<'_, P>, &Ifp<P>, &AnyShared<P>, &Event<'_, P>),
}

/// One of the pointers, with the functions of its driver.
pub(crate) struct Hook<P: Platform> {
    pub(crate) softc: AnyShared<P>,
    pub(crate) ops: &'static HookOps<P>,
}

impl<P: Platform> Clone for Hook<P> {
    fn clone(&self) -> Self {
        Self { softc: self.softc.clone(), ops: self.ops }
    }
}

/// The pointers of an interface.
///
/// # Invariants
/// A bit of `set` is the presence of a hook; both change under the lock of `slots`.
pub(crate) struct Hooks<P: Platform> {
    set: AtomicU8,
    slots: P::Mutex<[Option<Hook<P>>; KINDS.len()]>,
}

impl<P: Platform> Hooks<P> {
    pub(crate) fn new() -> Self {
        Self { set: AtomicU8::new(0), slots: P::Mutex::new([None, None, None]) }
    }

    /// Whether there is a hook of this kind. Stable under the detach lock.
    pub(crate) fn has(&self, kind: HookKind) -> bool {
        self.set.load(Ordering::Acquire) & bit(kind) != 0
    }

    /// The hook of this kind.
    pub(crate) fn get(&self, kind: HookKind) -> Option<Hook<P>> {
        if !self.has(kind) {
            return None;
        }
        self.slots.lock()[kind as usize].clone()
    }

    /// Sets or clears a hook. Under the detach lock.
    pub(crate) fn set(&self, kind: HookKind, hook: Option<Hook<P>>) {
        let former = {
            let mut slots = self.slots.lock();
            if hook.is_some() {
                self.set.fetch_or(bit(kind), Ordering::AcqRel);
            } else {
                self.set.fetch_and(!bit(kind), Ordering::AcqRel);
            }
            core::mem::replace(&mut slots[kind as usize], hook)
        };
        drop(former);
    }

    /// Shows a packet to every hook until one takes it; otherwise it is given back.
    pub(crate) fn input(&self, td: &Thread<'_, P>, ifp: &Ifnet<P>, packet: P::Buffer) -> Option<P::Buffer> {
        if self.set.load(Ordering::Acquire) == 0 {
            return Some(packet);
        }
        KINDS.into_iter().try_fold(packet, |packet, kind| match self.get(kind) {
            Some(hook) => (hook.ops.input)(td, ifp, &hook.softc, packet),
            None => Some(packet),
        })
    }

    /// Tells every hook what happened to the interface.
    pub(crate) fn tell(&self, td: &Thread<'_, P>, ifp: &Ifp<P>, event: &Event<'_, P>) {
        for hook in KINDS.into_iter().filter_map(|kind| self.get(kind)) {
            (hook.ops.event)(td, ifp, &hook.softc, event);
        }
    }
}

const fn bit(kind: HookKind) -> u8 {
    1 << kind as u8
}
