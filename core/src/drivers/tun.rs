//! `tun(4)`, `tap(4)` and `vmnet(4)`: interfaces whose wire is a file that a program holds open.
//!
//! What is sent out of the interface is read from the handle, and what is written to the handle comes in through the
//! interface. `tun` is point to point, `tap` is an Ethernet, and `vmnet` is a tap that stays up when it is closed.
//!
//! # Two lives
//!
//! The interface ends by a destroy, the handle by a close, and either can come first. So the two share a softc, and each
//! end is only marked there:
//!
//! | | what it marks | what the other side sees |
//! |---|---|---|
//! | destroy | the interface is gone | readers wake; every call of the handle gives `ENXIO` |
//! | close | nobody holds the device | what is sent is thrown away, the device can be opened again |
//!
//! The softc is freed when both are gone. A destroy therefore never waits for a close. FreeBSD's does, while it holds the
//! detach lock; a program that does not close hangs every later detach, move and removal of a jail (hazard
//! `destroy-waits-with-lock`).
//!
//! A close in turn needs the detach lock, because it takes the interface down, or destroys a transient one, and so it must
//! be sure that the interface stays while it does. It stops the traffic before it waits for the lock.

use core::mem;

use crate::Errno;
use crate::bpf::{bpfattach, bpfdetach};
use crate::clone::{CloneFlags, CloneRequest, CloneType, Cloner, destroy_with_flags};
use crate::hazard::Hazard;
use crate::ifnet::{ETHERMTU, IfFlags, IfOps, IfType, Ifnet, IfnetOwner, Ifp, LinkState};
use crate::lifecycle::{
    alloc::set_names, ether_ifattach, ether_ifdetach, if_alloc_indexed, if_attach, if_detach, if_down, if_free,
    if_input, if_link_state_change, if_purgeaddrs,
};
use crate::mem::{Shared, TryVec};
use crate::platform::{Channel, Mutex, Platform};
use crate::thread::Thread;
use crate::vnet::ifunit_ref;

/// `ifqmaxlen`: as many packets wait to be read.
pub const QUEUE_LEN: usize = 50;

/// The kinds of one driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tun,
    Tap,
    Vmnet,
}

impl Kind {
    /// `TUN_L2`.
    const fn is_ethernet(self) -> bool {
        !matches!(self, Self::Tun)
    }

    const fn if_type(self) -> IfType {
        if self.is_ethernet() { IfType::Ether } else { IfType::Ppp }
    }

    const fn flags(self) -> IfFlags {
        if self.is_ethernet() {
            IfFlags::BROADCAST.union(IfFlags::SIMPLEX).union(IfFlags::MULTICAST)
        } else {
            IfFlags::POINTOPOINT.union(IfFlags::MULTICAST)
        }
    }
}

/// Whether somebody holds the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Closed,
    Open,
    /// No traffic any more, but not to be opened again yet.
    Closing,
}

/// `struct tuntap_softc`.
struct Softc<P: Platform> {
    kind: Kind,
    owner: P::Mutex<Option<IfnetOwner<P>>>,
    state: P::Mutex<State<P>>,
}

struct State<P: Platform> {
    /// `None` once its destruction has begun, which is for ever.
    interface: Option<Ifp<P>>,
    used: Use,
    /// `TUN_TRANSIENT`: the last close destroys the interface.
    transient: bool,
    /// What waits to be read, oldest first. It has room for [`QUEUE_LEN`] packets while the device is open, so that
    /// sending needs no memory.
    queue: TryVec<P::Buffer, P::Allocator>,
}

impl<P: Platform> State<P> {
    /// Whether one more packet can be queued.
    fn accepts(&self, is_up: bool) -> Result<(), Errno> {
        if self.interface.is_none() {
            Err(Errno::ENXIO)
        } else if self.used != Use::Open || !is_up {
            Err(Errno::EHOSTDOWN)
        } else if self.queue.len() >= QUEUE_LEN {
            Err(Errno::ENOBUFS)
        } else {
            Ok(())
        }
    }

    /// Takes the queue, and with it its room. The caller drops it without the lock.
    fn take_queue(&mut self) -> TryVec<P::Buffer, P::Allocator> {
        let none = TryVec::new(self.queue.allocator().clone());
        mem::replace(&mut self.queue, none)
    }
}

impl<P: Platform> Softc<P> {
    /// The interface, unless its destruction has begun. It stays until the end of an epoch section that was begun before
    /// this call, or of the detach lock.
    fn interface(&self) -> Option<Ifp<P>> {
        self.state.lock().interface.clone()
    }

    /// `tunopen`: gives the device to the caller, with room for what waits.
    fn start(&self, room: TryVec<P::Buffer, P::Allocator>) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.interface.is_none() {
            return Err(Errno::ENXIO);
        }
        if state.used != Use::Closed {
            return Err(Errno::EBUSY);
        }
        state.used = Use::Open;
        state.transient = false;
        // The old one has no memory: it was taken at the last close.
        state.queue = room;
        Ok(())
    }

    /// Ends the traffic.
    fn stop(&self, now: Use) -> TryVec<P::Buffer, P::Allocator> {
        let mut state = self.state.lock();
        state.used = now;
        state.take_queue()
    }

    /// Marks the interface as going: nobody opens, sends or receives from here on.
    fn go(&self) -> (Option<Ifp<P>>, TryVec<P::Buffer, P::Allocator>) {
        let mut state = self.state.lock();
        (state.interface.take(), state.take_queue())
    }
}

/// Readers sleep here, and with the hazard open the one who destroys.
fn channel<P: Platform>(softc: &Shared<Softc<P>, P>) -> Channel {
    Channel(softc.addr())
}

fn softc_of<P: Platform>(ifp: &Ifnet<P>) -> Option<Shared<Softc<P>, P>> {
    ifp.softc_as()
}

/// A name for the constants that need the platform.
struct Tuntap<P>(core::marker::PhantomData<P>);

impl<P: Platform> Tuntap<P> {
    const OPS: &'static IfOps<P> = &IfOps {
        transmit,
        input: |_, _, packet| drop(packet),
        qflush: |_, ifp| {
            if let Some(softc) = softc_of(ifp) {
                empty(&softc);
            }
        },
        ioctl: Some(|_, _, _| Ok(())),
        reassign: None,
    };

    const TUN: &'static CloneType<P> = &CloneType::auto("tun", |td, request| create(td, request, Kind::Tun), destroy);

    const TAP: &'static CloneType<P> = &CloneType::auto("tap", |td, request| create(td, request, Kind::Tap), destroy);

    const VMNET: &'static CloneType<P> =
        &CloneType::auto("vmnet", |td, request| create(td, request, Kind::Vmnet), destroy);
}

/// The cloners of the kinds.
pub(super) fn cloners<P: Platform>() -> [&'static CloneType<P>; 3] {
    [Tuntap::TUN, Tuntap::TAP, Tuntap::VMNET]
}

/// `tuncreate`.
fn create<P: Platform>(td: &Thread<'_, P>, request: &CloneRequest<'_, P>, kind: Kind) -> Result<Ifp<P>, Errno> {
    let state = State { interface: None, used: Use::Closed, transient: false, queue: TryVec::new(td.allocator()) };
    let softc = Softc { kind, owner: P::Mutex::new(None), state: P::Mutex::new(state) };
    let softc: Shared<Softc<P>, P> = Shared::try_new(td.domain(), softc)?;
    let owner = if_alloc_indexed(td, kind.if_type(), request.params.index)?;
    let ifp: Ifp<P> = owner.clone();
    let attached = set_names(&ifp, request.name, request.cloner.name(), request.unit).and_then(|()| {
        ifp.init_flags(kind.flags());
        ifp.set_mtu(ETHERMTU);
        ifp.set_ops(Tuntap::OPS);
        // Before it is visible: who finds the interface can open the device.
        softc.state.lock().interface = Some(ifp.clone());
        ifp.set_softc(Some(softc.clone().erase()));
        attach(td, &owner, kind)
    });
    if let Err(errno) = attached {
        untie(&softc, &ifp);
        if_free(td, owner);
        return Err(errno);
    }
    *softc.owner.lock() = Some(owner);
    Ok(ifp)
}

/// Attaches with a tap, which is there before the interface is visible.
fn attach<P: Platform>(td: &Thread<'_, P>, owner: &IfnetOwner<P>, kind: Kind) -> Result<(), Errno> {
    if kind.is_ethernet() {
        let [_, high, middle, low] = owner.index().to_be_bytes();
        return ether_ifattach(td, owner, [0x02, high, middle, low, 0x00, 0x0c]);
    }
    bpfattach(td, owner)?;
    if_attach(td, owner).inspect_err(|_| bpfdetach(td, owner))
}

/// `tun_destroy`, under the detach lock: never sleeps for the device to be closed.
fn destroy<P: Platform>(
    td: &Thread<'_, P>,
    _: &Shared<Cloner<P>, P>,
    ifp: &Ifp<P>,
    _: CloneFlags,
) -> Result<(), Errno> {
    let softc = softc_of(ifp).ok_or(Errno::ENXIO)?;
    let owner = { softc.owner.lock().take() }.ok_or(Errno::ENXIO)?;
    if td.hazard(Hazard::DestroyWaitsWithLock) {
        td.platform().sleep(channel(&softc), &mut || softc.state.lock().used != Use::Open);
    }
    td.preempt();
    untie(&softc, ifp);
    td.platform().wakeup(channel(&softc));
    if softc.kind.is_ethernet() {
        ether_ifdetach(td, &owner);
    } else {
        bpfdetach(td, &owner);
        if_detach(td, &owner);
    }
    if_free(td, owner);
    Ok(())
}

/// Parts the interface and its softc, which may live on in a handle, and throws away what was queued.
fn untie<P: Platform>(softc: &Shared<Softc<P>, P>, ifp: &Ifp<P>) {
    let gone = softc.go();
    drop(gone);
    ifp.set_softc(None);
}

/// Throws away what waits to be read; the room stays.
fn empty<P: Platform>(softc: &Softc<P>) {
    loop {
        // One at a time: the end of a buffer is the host's code, and comes without the lock.
        let Some(packet) = ({ softc.state.lock().queue.pop() }) else { break };
        drop(packet);
    }
}

/// `tunoutput` and `tunstart_l2`: queues the packet for the reader. Without one a tun says so, and a tap throws it away.
fn transmit<P: Platform>(td: &Thread<'_, P>, ifp: &Ifnet<P>, packet: P::Buffer) -> Result<(), Errno> {
    let softc = softc_of(ifp).ok_or(Errno::ENXIO)?;
    let is_up = ifp.flags().contains(IfFlags::UP);
    td.preempt();
    let mut packet = Some(packet);
    let sent = {
        let mut state = softc.state.lock();
        state.accepts(is_up).and_then(|()| match packet.take() {
            Some(packet) => Ok(state.queue.try_push(packet)?),
            None => Ok(()),
        })
    };
    // What was refused ends here, without the lock.
    drop(packet);
    match sent {
        Ok(()) => td.platform().wakeup(channel(&softc)),
        Err(Errno::EHOSTDOWN) if softc.kind.is_ethernet() => {}
        Err(errno) => return Err(errno),
    }
    Ok(())
}

/// An open `/dev/tunN`: the only one of its interface. It stays good for nothing but a close when the interface is
/// destroyed.
///
/// Dropping it is the end of a process that did not close: the device is free again and what was queued is thrown away,
/// but without a thread the interface is left as it is. [`close`](Self::close) does all that a close does.
pub struct TunHandle<P: Platform>(Shared<Softc<P>, P>);

/// Opens the device of the interface `name` of the current vnet: `open` of `/dev/tunN`, `/dev/tapN` or `/dev/vmnetN`. A
/// renamed interface is opened by its new name. The link goes up.
///
/// # Locks
/// None are held over the call; it may allocate.
///
/// # Errors
/// `ENXIO` if there is no such interface, it is of another kind, or it is being destroyed; `EBUSY` if it is open;
/// `ENOMEM`. Then nothing has changed.
#[track_caller]
pub fn tun_open<P: Platform>(td: &Thread<'_, P>, name: &str) -> Result<TunHandle<P>, Errno> {
    td.assert_can_sleep("tun_open");
    let ifp = ifunit_ref(td, name).ok_or(Errno::ENXIO)?;
    let softc = softc_of(&ifp).ok_or(Errno::ENXIO)?;
    let room = TryVec::try_with_capacity(QUEUE_LEN, td.allocator())?;
    td.preempt();
    softc.start(room)?;
    ifp.set_flags(IfFlags::RUNNING);
    if_link_state_change(td, &ifp, LinkState::Up);
    Ok(TunHandle(softc))
}

impl<P: Platform> TunHandle<P> {
    /// `TUNSTRANSIENT`, `TAPSTRANSIENT`: whether the close destroys the interface. Off after an open.
    ///
    /// # Errors
    /// `ENXIO` if the interface is gone.
    pub fn set_transient(&self, transient: bool) -> Result<(), Errno> {
        let mut state = self.0.state.lock();
        if state.interface.is_none() {
            return Err(Errno::ENXIO);
        }
        state.transient = transient;
        Ok(())
    }

    /// `read` with `O_NONBLOCK`: the oldest packet that was sent out of the interface.
    ///
    /// # Errors
    /// `EAGAIN` if there is none, `ENXIO` if the interface is gone.
    pub fn try_read(&self) -> Result<P::Buffer, Errno> {
        let mut state = self.0.state.lock();
        if state.interface.is_none() {
            return Err(Errno::ENXIO);
        }
        // At most `QUEUE_LEN` handles move up.
        if state.queue.is_empty() { Err(Errno::EAGAIN) } else { Ok(state.queue.remove(0)) }
    }

    /// `read`: sleeps for a packet.
    ///
    /// # Errors
    /// `ENXIO` if the interface is gone, also while the reader sleeps.
    #[track_caller]
    pub fn read(&self, td: &Thread<'_, P>) -> Result<P::Buffer, Errno> {
        td.assert_can_sleep("tun read");
        let mut got = Err(Errno::EAGAIN);
        td.platform().sleep(channel(&self.0), &mut || {
            got = self.try_read();
            !matches!(got, Err(Errno::EAGAIN))
        });
        got
    }

    /// `write`: the packet comes in through the interface, in the vnet where that is. While the interface is down it is
    /// thrown away, which is no error.
    ///
    /// # Errors
    /// `ENXIO` if the interface is gone.
    pub fn write(&self, td: &Thread<'_, P>, packet: P::Buffer) -> Result<(), Errno> {
        let section = td.net_epoch_enter();
        let ifp = self.0.interface().ok_or(Errno::ENXIO)?;
        td.preempt();
        if ifp.flags().contains(IfFlags::UP) {
            let _cur = td.curvnet_set(Some(ifp.if_vnet(td)));
            if_input(td, &ifp, packet, &section);
        }
        Ok(())
    }

    /// `close`: the link goes down, and so does the interface, with its addresses; that of a vmnet stays up. A
    /// transient interface is destroyed: it is gone when this returns.
    ///
    /// # Locks
    /// Takes the detach lock, after the traffic has ended.
    #[track_caller]
    pub fn close(self, td: &Thread<'_, P>) {
        td.assert_can_sleep("tun close");
        let queued = self.0.stop(Use::Closing);
        drop(queued);
        td.platform().wakeup(channel(&self.0));
        td.preempt();
        let _detach = td.kernel().detach_sx.xlock(td);
        let Some(ifp) = self.0.interface() else { return };
        if self.0.state.lock().transient {
            destroy_transient(td, &ifp);
        } else {
            go_idle(td, &ifp, self.0.kind);
        }
    }
}

/// The last close of a transient interface, under the detach lock.
fn destroy_transient<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    let cloner = ifp.cloner.lock().clone();
    if let Some(cloner) = cloner {
        // Refused only if it is being destroyed already, by a caller of this thread.
        let _ = destroy_with_flags(td, &cloner, ifp, CloneFlags::empty());
    }
}

/// What a close does to an interface that stays, under the detach lock.
fn go_idle<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, kind: Kind) {
    if_link_state_change(td, ifp, LinkState::Down);
    if kind == Kind::Vmnet {
        return;
    }
    if ifp.flags().contains(IfFlags::UP) {
        if_down(td, ifp);
    }
    if_purgeaddrs(td, ifp);
    ifp.clear_flags(IfFlags::RUNNING);
}

impl<P: Platform> Drop for TunHandle<P> {
    fn drop(&mut self) {
        let queued = self.0.stop(Use::Closed);
        drop(queued);
        self.0.domain().platform().wakeup(channel(&self.0));
    }
}

impl<P: Platform> core::fmt::Debug for TunHandle<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let state = self.0.state.lock();
        let index = state.interface.as_ref().map(|ifp| ifp.index());
        write!(f, "TunHandle({:?}, index {index:?}, {} queued)", self.0.kind, state.queue.len())
    }
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests;
