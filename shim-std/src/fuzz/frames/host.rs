//! The host of the target: one thread, and eyes on every hand-over of a frame.
//!
//! Each interface's table of functions is replaced by one that notes the call and then calls the driver's own. So what is
//! seen is what the drivers are really asked to do, and the checks here hold at every moment, in the middle of a change
//! as well:
//!
//! * what a frame is handed to is attached, and not dying;
//! * the current vnet is the one that the interface is in;
//! * nothing comes in through an interface that is down;
//! * a frame that is handed over is gone afterwards, except into the queue of a device that is open and up;
//! * one frame makes so many hand-overs, and no more.
//!
//! A frame can be *armed*: it is sent at one of the moments at which the core calls out in the middle of the next command,
//! which are its events and the requests to drivers. What a driver or a handler sends there meets a graph that is half
//! changed.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ifnet::event::Event;
use ifnet::platform::spin::SpinHost;
use ifnet::platform::{Channel, FrameHeader, Platform};
use ifnet::{Errno, IfFlags, IfOps, Ifnet, Thread, if_foreach, if_input, if_transmit};

use super::graph::{Id, is_device};
use crate::alloc::CountingAlloc;
use crate::host::frame::{self, Frame, FramePool};
use crate::runner::{Host, Observer};

type Spin = SpinHost<CountingAlloc, Frame>;
type Td<'k> = Thread<'k, Wire>;

/// As many hand-overs one command may make. The limit of the core on what a packet passes within a call lets a broadcast
/// through three floods, each to as many interfaces as there are.
const HANDOVERS: usize = 20_000;
/// As often a sleeper looks before it is given up: there is no other thread that could wake it.
const LOOKS: usize = 10_000;

/// The host.
pub(super) struct Wire {
    spin: Spin,
    observer: Observer,
    probe: Mutex<Probe>,
}

/// What was seen, and what is to be done.
#[derive(Default)]
pub(super) struct Probe {
    /// The drivers' own functions, by the address of the interface.
    drivers: HashMap<usize, (Id, &'static IfOps<Wire>)>,
    /// Frames given to drivers for sending since the last command began, and whether they were taken.
    pub(super) sent: Vec<(u32, bool)>,
    /// Frames that arrived in the stack.
    pub(super) up: Vec<u32>,
    handovers: usize,
    /// Frames in the queues of devices.
    pub(super) queued: BTreeMap<Id, usize>,
    pool: FramePool,
    armed: Option<Armed>,
    /// The first thing that was wrong.
    pub(super) wrong: Option<String>,
}

/// A frame to be sent in the middle of a command.
#[derive(Clone, Debug)]
pub(super) struct Armed {
    /// At so many moments from now.
    pub(super) moment: u8,
    pub(super) on: Id,
    /// Out of the interface, not in through it.
    pub(super) out: bool,
    pub(super) bytes: Vec<u8>,
}

impl Probe {
    /// A command begins.
    pub(super) fn begin(&mut self, armed: Option<Armed>) {
        self.sent.clear();
        self.up.clear();
        self.handovers = 0;
        self.armed = armed;
    }

    /// How many frames are on their way. Only differences count: in the middle of a teardown the queue of a device may be
    /// empty before it is noted here.
    fn loose(&self) -> isize {
        self.pool.live().cast_signed() - self.queued.values().sum::<usize>().cast_signed()
    }

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        self.wrong.get_or_insert_with(what);
    }
}

impl Wire {
    pub(super) fn new() -> Self {
        Self { spin: Spin::new(CountingAlloc::new()), observer: Observer::default(), probe: Mutex::default() }
    }

    pub(super) fn probe(&self) -> MutexGuard<'_, Probe> {
        self.probe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts frames with this pool, and looks at the interfaces that there are.
    pub(super) fn watch(td: &Td<'_>, pool: &FramePool) -> Result<(), Errno> {
        td.platform().probe().pool = pool.clone();
        ifnet::event::eventhandler_register(td, event, 0, ifnet::event::PRI_FIRST)?;
        if_foreach(td, |ifp| {
            put_on(td, ifp);
            Ok(())
        })
    }
}

/// Replaces the functions of an interface.
fn put_on(td: &Td<'_>, ifp: &Ifnet<Wire>) {
    if !core::ptr::eq(ifp.ops(), PROBED) {
        td.platform().probe().drivers.insert(core::ptr::from_ref(ifp).addr(), (Id::of(ifp), ifp.ops()));
        ifp.set_ops(PROBED);
    }
}

/// Who arrives is looked at; who leaves for good has other functions afterwards.
fn event(td: &Td<'_>, event: &Event<'_, Wire>, _: usize) {
    if let Event::Arrival(ifp) = event {
        put_on(td, ifp);
    }
    moment(td);
}

/// The core has called out in the middle of something.
fn moment(td: &Td<'_>) {
    let armed = {
        let mut probe = td.platform().probe();
        match &mut probe.armed {
            Some(Armed { moment: 0, .. }) => probe.armed.take(),
            Some(armed) => {
                armed.moment -= 1;
                None
            }
            None => None,
        }
    };
    let Some(Armed { on, out, bytes, .. }) = armed else { return };
    let section = td.net_epoch_enter();
    let Some(ifp) = ifnet::ifnet_byindexgen(td, on.index, on.generation, &section) else { return };
    // As if it had been looked up by name: what is on no list is not found.
    let _cur = td.curvnet_set(Some(ifp.if_vnet(td)));
    if !listed(td, &ifp) {
        return;
    }
    let frame = td.platform().probe().pool.clone().frame(bytes);
    if out {
        // The sender takes what comes.
        let _ = if_transmit(td, &ifp, frame, &section);
    } else {
        if_input(td, &ifp, frame, &section);
    }
}

/// Whether an interface is on the list of the current vnet.
fn listed(td: &Td<'_>, ifp: &Ifnet<Wire>) -> bool {
    let same = |other: &Ifnet<Wire>| core::ptr::eq(other, ifp);
    if_foreach(td, |other| if same(other) { Err(Errno::EEXIST) } else { Ok(()) }).is_err()
}

/// What is installed in place of a driver's functions.
const PROBED: &IfOps<Wire> = &IfOps { transmit, input, qflush, ioctl: Some(ioctl), reassign: Some(reassign) };

/// Notes a hand-over, and what is wrong with it; the driver's functions.
fn handed(td: &Td<'_>, ifp: &Ifnet<Wire>, up: bool) -> &'static IfOps<Wire> {
    let (vnet, cur) = (ifp.if_vnet(td).id(), td.curvnet().id());
    let isolated = vnet == cur;
    let attached = !ifp.is_dying() && listed(td, ifp);
    let comes = if up { "comes in through" } else { "goes out of" };
    let mut probe = td.platform().probe();
    if !isolated {
        probe.note(|| format!("a frame {comes} {} of v{vnet}, with curvnet v{cur}", ifp.name()));
    } else if !attached {
        probe.note(|| format!("a frame {comes} {}, which is not attached", ifp.name()));
    } else if up && !is_up(ifp) {
        probe.note(|| format!("a frame {comes} {}, which is down", ifp.name()));
    }
    probe.handovers += 1;
    assert!(probe.handovers <= HANDOVERS, "endless: a frame has been handed over {HANDOVERS} times");
    probe.drivers.get(&core::ptr::from_ref(ifp).addr()).map_or(IfOps::DEFAULT, |(_, ops)| ops)
}

/// A loopback takes frames whether it is up or not, and a tunnel that nobody has set up takes none.
pub(super) fn is_up(ifp: &Ifnet<Wire>) -> bool {
    ifp.flags().intersects(IfFlags::UP | IfFlags::LOOPBACK | IfFlags::POINTOPOINT)
}

fn transmit(td: &Td<'_>, ifp: &Ifnet<Wire>, frame: Frame) -> Result<(), Errno> {
    let ops = handed(td, ifp, false);
    let (at, loose) = {
        let mut probe = td.platform().probe();
        probe.sent.push((ifp.index(), false));
        (probe.sent.len() - 1, probe.loose())
    };
    let sent = (ops.transmit)(td, ifp, frame);
    let mut probe = td.platform().probe();
    if let Some(entry) = probe.sent.get_mut(at) {
        entry.1 = sent.is_ok();
    }
    match probe.loose() + 1 - loose {
        0 => {}
        1 if sent.is_ok() && ifp.flags().contains(IfFlags::UP | IfFlags::RUNNING) && is_device(ifp) => {
            *probe.queued.entry(Id::of(ifp)).or_default() += 1;
        }
        _ => probe.note(|| format!("a frame that went out of {} ({sent:?}) was not given up once", ifp.name())),
    }
    sent
}

fn input(td: &Td<'_>, ifp: &Ifnet<Wire>, frame: Frame) {
    let ops = handed(td, ifp, true);
    let loose = {
        let mut probe = td.platform().probe();
        probe.up.push(ifp.index());
        probe.loose()
    };
    (ops.input)(td, ifp, frame);
    let mut probe = td.platform().probe();
    if probe.loose() + 1 != loose {
        probe.note(|| format!("a frame that came in through {} was not given up once", ifp.name()));
    }
}

fn qflush(td: &Td<'_>, ifp: &Ifnet<Wire>) {
    (own(td, ifp).qflush)(td, ifp);
    td.platform().probe().queued.remove(&Id::of(ifp));
    moment(td);
}

fn ioctl(td: &Td<'_>, ifp: &Ifnet<Wire>, request: ifnet::Ioctl) -> Result<(), Errno> {
    moment(td);
    let done = own(td, ifp).ioctl.map_or(Err(Errno::EOPNOTSUPP), |ioctl| ioctl(td, ifp, request));
    moment(td);
    done
}

fn reassign(td: &Td<'_>, ifp: &Ifnet<Wire>, to: &ifnet::VnetRef<Wire>) {
    moment(td);
    if let Some(reassign) = own(td, ifp).reassign {
        reassign(td, ifp, to);
    }
    moment(td);
}

fn own(td: &Td<'_>, ifp: &Ifnet<Wire>) -> &'static IfOps<Wire> {
    let probe = td.platform().probe();
    probe.drivers.get(&core::ptr::from_ref(ifp).addr()).map_or(IfOps::DEFAULT, |(_, ops)| ops)
}

impl Platform for Wire {
    type Mutex<T: Send> = <Spin as Platform>::Mutex<T>;
    type Allocator = CountingAlloc;
    type Buffer = Frame;
    const TRACES: bool = false;

    fn allocator(&self) -> CountingAlloc {
        self.spin.allocator()
    }

    fn sleep(&self, _: Channel, ready: &mut dyn FnMut() -> bool) {
        assert!((0..LOOKS).any(|_| ready()), "dead-lock: the only thread sleeps");
    }

    fn copy_packet(&self, packet: &Frame) -> Option<Frame> {
        packet.copy()
    }

    fn frame_header(&self, frame: &Frame) -> Option<FrameHeader> {
        frame.header()
    }

    fn vlan_encap(&self, frame: &mut Frame, tag: u16) -> bool {
        frame::encap(frame, tag)
    }

    fn vlan_decap(&self, frame: &mut Frame) -> Option<u16> {
        frame::decap(frame)
    }
}

impl Host for Wire {
    type Join = ();

    /// There is no other thread; what a worker would do is done by `kpi run_tasks`.
    fn spawn(&self, _: String, body: Box<dyn FnOnce() + Send>) {
        drop(body);
    }

    fn join(&self, _: &[()]) {}

    fn pause(&self, _: Duration) {}

    fn wait_for_work(&self) -> bool {
        false
    }

    fn close_work(&self) {}

    fn observer(&self) -> &Observer {
        &self.observer
    }

    fn output(&self, _: &str) {}

    fn refuse(&self, first: u64, every: u64) {
        self.allocator().fail_next(first, every);
    }

    fn refuse_none(&self) -> u64 {
        self.allocator().fail_never();
        self.allocator().failures()
    }

    fn live_bytes(memory: &CountingAlloc) -> usize {
        memory.live_bytes()
    }
}
