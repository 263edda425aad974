//! Taps: `bpf(4)`, as far as they follow the life of their interface.
//!
//! A tap ([`BpfIf`]) hangs off an interface and stands on the list of its vnet. Listeners hang off the tap. Moving the
//! interface takes its listeners off (review D45727) and carries the tap over to the new vnet's list; detaching takes
//! both down. The slot in the interface says which of three states it is in: no tap yet, a tap, or the dead sentinel
//! that stands where a tap has been, so that the data path never follows a pointer to nothing.

use crate::Errno;
use crate::hazard::Hazard;
use crate::ifnet::{IfType, Ifnet, Ifp, if_ref};
use crate::ifnet::{IfnetRef, life::Life};
use crate::mem::{Link, Linked, Published, Shared, TailQ, TryVec};
use crate::platform::{Mutex, Platform};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::thread::Thread;
use crate::vnet::{VnetRef, ifunit_ref};

/// The list of a vnet's taps.
pub(crate) enum ByVnet {}

/// The taps of a vnet: `V_bpf_iflist`.
pub(crate) type Taps<P> = TailQ<BpfIf<P>, P, ByVnet>;

/// `struct bpf_if`: the tap of one interface.
pub struct BpfIf<P: Platform> {
    /// The tap keeps the interface, until it is detached.
    ifp: P::Mutex<Option<IfnetRef<P>>>,
    vnet: P::Mutex<Option<VnetRef<P>>>,
    listeners: P::Mutex<TryVec<Shared<Descriptor<P>, P>, P::Allocator>>,
    life: Life,
    link: Link<Self, P>,
}

impl<P: Platform> Linked<P, ByVnet> for BpfIf<P> {
    fn link(&self) -> &Link<Self, P> {
        &self.link
    }
}

/// What an open descriptor and its tap share: `struct bpf_d`.
struct Descriptor<P: Platform> {
    /// The vnet in which it was opened.
    vnet: VnetRef<P>,
    /// Written under `bpf_sx`, but for the close.
    tap: Published<BpfIf<P>, P>,
    received: AtomicUsize,
}

/// An open `/dev/bpf` that listens on an interface. Dropping it closes it.
pub struct BpfListener<P: Platform>(Shared<Descriptor<P>, P>);

/// `if_bpf`.
pub(crate) struct BpfSlot<P: Platform>(P::Mutex<Tap<P>>);

/// What stands in `if_bpf`.
enum Tap<P: Platform> {
    /// Nothing: before the first `bpfattach`.
    Null,
    /// A tap.
    Live(Shared<BpfIf<P>, P>),
    /// `dead_bpf_if`: the tap is gone.
    Dead,
}

impl<P: Platform> BpfSlot<P> {
    pub(crate) fn new() -> Self {
        Self(P::Mutex::new(Tap::Null))
    }

    /// The tap, if there is one.
    fn live(&self) -> Option<Shared<BpfIf<P>, P>> {
        match &*self.0.lock() {
            Tap::Live(tap) => Some(tap.clone()),
            Tap::Null | Tap::Dead => None,
        }
    }
}

impl<P: Platform> BpfIf<P> {
    /// The vnet on whose list it is, and its interface.
    pub(crate) fn place(&self) -> (Option<VnetRef<P>>, Option<Ifp<P>>) {
        let ifp = self.ifp.lock().as_ref().map(|ifp| Ifp::clone(ifp));
        (self.vnet.lock().clone(), ifp)
    }
}

/// `bpfattach`: gives the interface a tap, in the current vnet.
///
/// # Locks
/// Takes `bpf_sx`.
///
/// # Errors
/// `EEXIST` if it has one, `ENOMEM`.
#[track_caller]
pub fn bpfattach<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) -> Result<(), Errno> {
    td.assert_can_sleep("bpfattach");
    let vnet = td.curvnet();
    let tap = Shared::try_new(
        td.domain(),
        BpfIf {
            ifp: P::Mutex::new(Some(if_ref(ifp))),
            vnet: P::Mutex::new(Some(vnet.clone())),
            listeners: P::Mutex::new(TryVec::new(td.allocator())),
            life: Life::new(),
            link: Link::new(td.domain()),
        },
    )?;
    let _lock = td.kernel().bpf_sx.xlock(td);
    {
        let mut slot = ifp.bpf.0.lock();
        if let Tap::Live(_) = *slot {
            // Not left to the end of `tap`, which is a grace period away.
            let reference = tap.ifp.lock().take();
            drop(reference);
            return Err(Errno::EEXIST);
        }
        *slot = Tap::Live(tap.clone());
    }
    let listed = vnet.taps.insert_tail(&tap);
    debug_assert!(listed, "a new tap is on no list");
    Ok(())
}

/// `bpfdetach`: takes the tap away; its listeners get `ENXIO`. Nothing happens to an interface without one.
///
/// # Locks
/// Takes `bpf_sx`. The caller holds the detach lock, so that the tap does not change vnets meanwhile.
#[track_caller]
pub fn bpfdetach<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    td.assert_can_sleep("bpfdetach");
    let tap = {
        let mut slot = ifp.bpf.0.lock();
        match core::mem::replace(&mut *slot, Tap::Dead) {
            Tap::Live(tap) => tap,
            other => {
                *slot = other;
                return;
            }
        }
    };
    td.preempt();
    {
        let _lock = td.kernel().bpf_sx.xlock(td);
        let vnet = tap.vnet.lock().take();
        if let Some(vnet) = vnet {
            unlist(&vnet, &tap);
        }
        detach_listeners(td, &tap);
    }
    tap.life.free();
    let reference = tap.ifp.lock().take();
    drop(reference);
}

/// `bpf_ifdetach`: takes the listeners off an interface that is about to move. The tap stays.
pub(crate) fn bpf_ifdetach<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    let _lock = td.kernel().bpf_sx.xlock(td);
    if let Some(tap) = ifp.bpf.live() {
        // No vnet until it has arrived: nobody can begin to listen in between.
        let left = tap.vnet.lock().take();
        if let Some(left) = left {
            unlist(&left, &tap);
        }
        detach_listeners(td, &tap);
    }
}

/// `bpf_vmove`: puts the tap of a moved interface on the current vnet's list.
///
/// # Panics
/// If the slot holds the dead sentinel, which is no tap: FreeBSD writes through it. Impossible while the detach lock
/// covers both this and `bpfdetach`.
pub(crate) fn bpf_vmove<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    td.preempt();
    let tap = match &*ifp.bpf.0.lock() {
        Tap::Live(tap) => tap.clone(),
        Tap::Null => return,
        // An interface that lost its tap long ago can be attached again, and moved.
        Tap::Dead if !td.hazard(Hazard::BpfDetachUnlocked) => return,
        Tap::Dead => td.platform().panic(format_args!("bpf_vmove: the tap of {} is dead_bpf_if", ifp.name())),
    };
    let _lock = td.kernel().bpf_sx.xlock(td);
    let vnet = td.curvnet();
    let former = tap.vnet.lock().replace(vnet.clone());
    if let Some(former) = former {
        unlist(&former, &tap);
    }
    if tap.life.is_freed() {
        td.platform().panic(format_args!("use after free: bpf_vmove of a detached tap"));
    }
    vnet.changes(td, "bpf_vmove");
    if !vnet.taps.insert_tail(&tap) {
        td.platform().panic(format_args!("bpf_vmove: the tap of {} is on another list", ifp.name()));
    }
}

/// Takes a tap off the list of the vnet that it names.
fn unlist<P: Platform>(vnet: &VnetRef<P>, tap: &Shared<BpfIf<P>, P>) {
    let listed = vnet.taps.remove(tap);
    debug_assert!(listed, "a tap that names a vnet is on its list");
}

fn detach_listeners<P: Platform>(td: &Thread<'_, P>, tap: &Shared<BpfIf<P>, P>) {
    loop {
        let Some(listener) = ({ tap.listeners.lock().pop() }) else { break };
        listener.tap.swap(None);
        td.platform().wakeup(crate::platform::Channel(listener.addr()));
    }
}

/// Opens a listener on the interface `name` of the current vnet: `open` of `/dev/bpf` and `BIOCSETIF`.
///
/// # Locks
/// Takes `bpf_sx`.
///
/// # Errors
/// `ENXIO` if there is no such interface, or it has no tap, or it is being moved; `ENOMEM`.
#[track_caller]
pub fn bpf_open<P: Platform>(td: &Thread<'_, P>, name: &str) -> Result<BpfListener<P>, Errno> {
    td.assert_can_sleep("bpf_open");
    let ifp = ifunit_ref(td, name).ok_or(Errno::ENXIO)?;
    let vnet = td.curvnet();
    let tap = Published::new(td.domain());
    let descriptor = Descriptor { vnet: vnet.clone(), tap, received: AtomicUsize::new(0) };
    let listener = Shared::try_new(td.domain(), descriptor)?;
    let _lock = td.kernel().bpf_sx.xlock(td);
    let tap = ifp.bpf.live().filter(|tap| tap.vnet.lock().as_ref().is_some_and(|at| at.ptr_eq(&vnet)));
    let tap = tap.ok_or(Errno::ENXIO)?;
    tap.listeners.lock().try_push(listener.clone())?;
    listener.tap.swap(Some(tap));
    Ok(BpfListener(listener))
}

impl<P: Platform> BpfListener<P> {
    /// How many packets it has seen.
    pub fn received(&self) -> usize {
        self.0.received.load(Ordering::Relaxed)
    }

    /// Whether its interface is still there: `read` gives `ENXIO` once it was detached or moved.
    ///
    /// # Errors
    /// `ENXIO`.
    pub fn poll(&self) -> Result<usize, Errno> {
        if self.0.tap.is_none() { Err(Errno::ENXIO) } else { Ok(self.received()) }
    }

    /// Sleeps until the interface is detached or moved away.
    #[track_caller]
    pub fn wait_gone(&self, td: &Thread<'_, P>) {
        td.assert_can_sleep("bpf read");
        td.platform().sleep(crate::platform::Channel(self.0.addr()), &mut || self.0.tap.is_none());
    }
}

impl<P: Platform> Drop for BpfListener<P> {
    fn drop(&mut self) {
        let Some(tap) = self.0.tap.swap(None) else { return };
        let closed = {
            let mut listeners = tap.listeners.lock();
            let at = listeners.iter().position(|other| other.ptr_eq(&self.0));
            at.map(|at| listeners.swap_remove(at))
        };
        drop(closed);
    }
}

/// `BPF_MTAP`: shows a packet to the listeners. Inside an epoch section.
///
/// # Panics
/// If an attached Ethernet interface has no tap, not even the dead one: FreeBSD's data path faults there.
pub(crate) fn bpf_mtap<P: Platform>(td: &Thread<'_, P>, ifp: &Ifnet<P>) {
    // Looked at before the tap: an interface that is only allocated can be found by its index, and has no tap yet.
    let needs_tap = cfg!(feature = "hazards")
        && ifp.if_type() == IfType::Ether
        && td.read(&ifp.vnet).is_some_and(|vnet| vnet.ifnets.contains(ifp));
    td.preempt();
    let tap = match &*ifp.bpf.0.lock() {
        Tap::Live(tap) => tap.clone(),
        Tap::Dead => return,
        Tap::Null if !needs_tap => return,
        Tap::Null => td.platform().panic(format_args!("page fault: if_bpf of {} is NULL in the data path", ifp.name())),
    };
    for listener in tap.listeners.lock().iter() {
        if cfg!(feature = "hazards") && !ifp.vnet.is(&listener.vnet) {
            td.platform().panic(format_args!(
                "vnet isolation: a listener of v{} sees a packet of {} in another vnet",
                listener.vnet.id(),
                ifp.name()
            ));
        }
        listener.received.fetch_add(1, Ordering::Relaxed);
    }
}
