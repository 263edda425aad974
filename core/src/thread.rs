//! The calling thread: `struct thread *td`, with its vnet.
//!
//! FreeBSD keeps `curthread` and `curvnet` in a CPU register. A library without thread-locals passes them: every call
//! takes a [`Thread`], which knows the kernel, the current vnet, the epoch record and, for the witness, the locks held.

use core::cell::{Cell, RefCell};
use core::ops::Deref;

use crate::Kernel;
use crate::epoch::{DomainRef, Reader, Section};
use crate::hazard::{Hazard, HazardSet};
use crate::mem::{Published, Shared};
use crate::platform::Platform;
use crate::sync::Td;
use crate::trace::Record;
use crate::vnet::{Vnet, VnetRef};

/// A thread of the emulated kernel. One for each thread of the host; it can be handed on, but not shared.
pub struct Thread<'k, P: Platform> {
    kernel: &'k Kernel<P>,
    td: Td<'k, P>,
    reader: Reader<P>,
    curvnet: RefCell<Option<VnetRef<P>>>,
    /// What the thread unregisters now, it will wait for.
    awaits: Cell<bool>,
    hops: Cell<u32>,
    /// The vnet whose lock it holds, if that was destroyed before it was locked.
    dead_work: Cell<Option<u32>>,
}

impl<'k, P: Platform> Thread<'k, P> {
    pub(crate) fn new(kernel: &'k Kernel<P>, td: Td<'k, P>, reader: Reader<P>, vnet: Option<VnetRef<P>>) -> Self {
        let (awaits, hops) = (Cell::new(false), Cell::new(0));
        Self { kernel, td, reader, curvnet: RefCell::new(vnet), awaits, hops, dead_work: Cell::new(None) }
    }

    /// The kernel that this thread runs in.
    pub fn kernel(&self) -> &'k Kernel<P> {
        self.kernel
    }

    /// Notes the vnet whose lock is taken, if it is dead; what was noted before.
    pub(crate) fn set_dead_work(&self, vnet: Option<u32>) -> Option<u32> {
        self.dead_work.replace(vnet)
    }

    /// The dead vnet whose lock this thread holds.
    pub(crate) fn dead_work(&self) -> Option<u32> {
        self.dead_work.get()
    }

    /// The host.
    pub fn platform(&self) -> &P {
        self.kernel.platform()
    }

    pub(crate) fn domain(&self) -> &'k DomainRef<P> {
        &self.kernel.domain
    }

    pub(crate) fn allocator(&self) -> P::Allocator {
        self.platform().allocator()
    }

    /// `curvnet`: the vnet in whose context the thread works.
    pub fn curvnet(&self) -> VnetRef<P> {
        self.look_at_curvnet(VnetRef::clone)
    }

    /// What `look` says of the current vnet, without a handle being counted. It sets no context.
    pub(crate) fn look_at_curvnet<R>(&self, look: impl FnOnce(&VnetRef<P>) -> R) -> R {
        look(self.curvnet.borrow().as_ref().unwrap_or(&self.kernel.vnet0))
    }

    /// Whether a vnet context is set; without one, lookups by index see every vnet's interfaces.
    pub(crate) fn filters(&self, vnet: &Published<Vnet<P>, P>) -> bool {
        self.curvnet.borrow().as_ref().is_some_and(|cur| !vnet.is(cur))
    }

    /// `CURVNET_SET`: works in `vnet` until the guard is dropped, which is `CURVNET_RESTORE`. `None` clears the context.
    pub fn curvnet_set(&self, vnet: Option<VnetRef<P>>) -> CurvnetGuard<'_, 'k, P> {
        CurvnetGuard { td: self, saved: self.curvnet.replace(vnet) }
    }

    /// [`curvnet_set`](Self::curvnet_set) for a caller that restores by hand: the former vnet.
    #[cfg(all(feature = "capi", not(ifnet_loom)))]
    pub(crate) fn curvnet_swap(&self, vnet: VnetRef<P>) -> VnetRef<P> {
        self.curvnet.replace(Some(vnet)).unwrap_or_else(|| self.kernel.vnet0.clone())
    }

    /// `NET_EPOCH_ENTER`: what is found inside stays usable until the section is dropped. Nestable; never blocks.
    pub fn net_epoch_enter(&self) -> NetEpoch<'_, P> {
        self.td.section_enter();
        NetEpoch { section: self.reader.enter(), _exit: SectionExit(&self.td) }
    }

    /// `NET_EPOCH_WAIT`: returns when every section that is open now has ended.
    ///
    /// # Panics
    /// `epoch_wait_preempt() called in the middle of an epoch section of the same epoch`; `epoch_wait_preempt: sleeping in
    /// an interrupt`.
    #[track_caller]
    pub fn net_epoch_wait(&self) {
        if !self.in_section() {
            self.td.assert_can_sleep("epoch_wait_preempt");
        }
        self.domain().wait(&self.reader);
    }

    /// `NET_EPOCH_DRAIN_CALLBACKS`: returns when every callback that was queued before has run.
    ///
    /// # Panics
    /// Inside an epoch section, or an interrupt.
    #[track_caller]
    pub fn net_epoch_drain_callbacks(&self) {
        self.td.assert_can_sleep("epoch_drain_callbacks");
        self.domain().drain_callbacks(&self.reader);
    }

    /// Panics if the thread is inside an epoch section or an interrupt, before anything is changed.
    #[track_caller]
    pub(crate) fn assert_can_sleep(&self, what: &'static str) {
        self.td.assert_can_sleep(what);
    }

    /// The thread will wait for the end of everything that it unregisters until the guard is dropped.
    pub(crate) fn await_unregistered(&self) -> Awaits<'_> {
        self.awaits.set(true);
        Awaits(&self.awaits)
    }

    pub(crate) fn awaits_unregistered(&self) -> bool {
        self.awaits.get()
    }

    /// A handle from a published slot.
    pub(crate) fn read<T: Send + Sync>(&self, slot: &Published<T, P>) -> Option<Shared<T, P>> {
        slot.share(&self.reader.enter())
    }

    /// Whether a historical bug is open. Constant `false` without the feature `hazards`.
    #[inline]
    pub fn hazard(&self, hazard: Hazard) -> bool {
        cfg!(feature = "hazards") && self.kernel.hazards().contains(hazard.set())
    }

    pub(crate) fn hazards(&self) -> HazardSet {
        self.kernel.hazards()
    }

    /// A packet passes an interface, within the call that it came from: takes `cost` of the hops that one call may make,
    /// until the guard is dropped. `None` if too few are left: packets go round in a ring, and the stack would overflow.
    pub(crate) fn hop(&self, cost: u32) -> Option<Hop<'_>> {
        let hops = self.hops.get() + cost;
        (hops <= HOPS_MAX).then(|| {
            self.hops.set(hops);
            Hop { hops: &self.hops, cost }
        })
    }

    /// A step on shared memory: a scheduling point of a model checker.
    #[inline]
    pub(crate) fn preempt(&self) {
        self.platform().preempt();
    }

    /// Number of the current vnet, for the trace.
    pub(crate) fn cur(&self) -> u32 {
        self.curvnet.borrow().as_ref().unwrap_or(&self.kernel.vnet0).id()
    }

    pub(crate) fn trace(&self, record: &Record<'_>) {
        self.platform().trace(self.td.id(), record);
    }
}

/// How many interfaces a packet may pass within one call.
const HOPS_MAX: u32 = 32;

/// How many of them count for one that copies a packet to several others: what goes through a ring of those grows with
/// every round.
pub(crate) const FLOOD_HOPS: u32 = 8;

/// See [`Thread::hop`].
#[must_use = "the hop is over at once if the guard is not kept"]
pub(crate) struct Hop<'t> {
    hops: &'t Cell<u32>,
    cost: u32,
}

impl Drop for Hop<'_> {
    fn drop(&mut self) {
        self.hops.set(self.hops.get() - self.cost);
    }
}

/// Gives access to the lower half: what locks need of a thread.
impl<'k, P: Platform> Deref for Thread<'k, P> {
    type Target = Td<'k, P>;
    fn deref(&self) -> &Td<'k, P> {
        &self.td
    }
}

/// While it lives, the thread notes what it unregisters.
pub(crate) struct Awaits<'t>(&'t Cell<bool>);

impl Drop for Awaits<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// The former vnet context, restored when this is dropped.
#[must_use = "the vnet context is restored at once if the guard is not kept"]
pub struct CurvnetGuard<'t, 'k, P: Platform> {
    td: &'t Thread<'k, P>,
    saved: Option<VnetRef<P>>,
}

impl<P: Platform> Drop for CurvnetGuard<'_, '_, P> {
    fn drop(&mut self) {
        let set = self.td.curvnet.replace(self.saved.take());
        drop(set);
    }
}

/// An open net epoch section.
#[must_use = "the section ends at once if it is not kept"]
pub struct NetEpoch<'t, P: Platform> {
    section: Section<'t, P>,
    // Dropped after `section`: fields are dropped in order.
    _exit: SectionExit<'t, P>,
}

struct SectionExit<'t, P: Platform>(&'t Td<'t, P>);

impl<P: Platform> Drop for SectionExit<'_, P> {
    fn drop(&mut self) {
        self.0.section_exit();
    }
}

impl<'t, P: Platform> Deref for NetEpoch<'t, P> {
    type Target = Section<'t, P>;
    fn deref(&self) -> &Section<'t, P> {
        &self.section
    }
}
