//! Event handlers: `EVENTHANDLER_INVOKE`, and who is told what by whom.
//!
//! Handlers run in the thread of the operation, with the locks that it holds, outside of any epoch section: they may
//! sleep, and they may destroy *other* interfaces. They run in the order of priority, and of registration among equals.
//! A handler can be registered or deregistered while the list runs, from within a handler too; deregistration returns
//! when the handler is not running any more.

use core::fmt;

use bitflags::bitflags;

use crate::Errno;
use crate::ifnet::{Ifp, LinkState};
use crate::mem::{Shared, TryVec};
use crate::platform::{Channel, Mutex, Platform, ThreadId};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::thread::Thread;
use crate::trace::{IfView, Record};

mod rtsock;

pub(crate) use rtsock::{devctl, log, rt_ifmsg, rtsock_init};

/// What happened. The names in parentheses are those of the event handler lists in FreeBSD.
#[non_exhaustive]
pub enum Event<'a, P: Platform> {
    /// An interface was linked (`ifnet_arrival_event`); also the second half of a rename.
    Arrival(&'a Ifp<P>),
    /// An interface is attached and linked (`ifnet_attached_event`).
    Attached(&'a Ifp<P>),
    /// An interface leaves its vnet (`ifnet_departure_event`); also the first half of a rename.
    Departure(&'a Ifp<P>),
    /// An interface was renamed (`ifnet_rename_event`); the old name.
    Rename(&'a Ifp<P>, &'a str),
    /// An interface went up (`ifnet_event`, `IFNET_EVENT_UP`).
    Up(&'a Ifp<P>),
    /// An interface is going down (`ifnet_event`, `IFNET_EVENT_DOWN`).
    Down(&'a Ifp<P>),
    /// The state of a link changed (`ifnet_link_event`).
    Link(&'a Ifp<P>, LinkState),
    /// The link-level address changed (`iflladdr_event`).
    Lladdr(&'a Ifp<P>),
    /// The MTU changed (Linux's `NETDEV_CHANGEMTU`).
    Mtu(&'a Ifp<P>),
    /// An Ethernet driver has attached (`ether_ifattach_event`).
    EtherIfattach(&'a Ifp<P>),
    /// A group came into being (`group_attach_event`).
    GroupAttach(&'a str),
    /// A group ended (`group_detach_event`).
    GroupDetach(&'a str),
    /// The members of a group changed (`group_change_event`).
    GroupChange(&'a str),
    /// A VLAN of this tag was configured on an interface (`vlan_config`).
    VlanConfig(&'a Ifp<P>, u16),
    /// A VLAN of this tag left its parent (`vlan_unconfig`).
    VlanUnconfig(&'a Ifp<P>, u16),
    /// A cloner was attached to a vnet (`if_clone_event`).
    Clone(&'a str),
}

bitflags! {
    /// The lists that a handler of the core is on. FreeBSD has one list for each event.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Lists: u16 {
        const ARRIVAL = 1 << 0;
        const ATTACHED = 1 << 1;
        const DEPARTURE = 1 << 2;
        const RENAME = 1 << 3;
        const UP = 1 << 4;
        const DOWN = 1 << 5;
        const LINK = 1 << 6;
        const LLADDR = 1 << 7;
        const MTU = 1 << 8;
        const ETHER_IFATTACH = 1 << 9;
        const GROUP = 1 << 10;
        const VLAN = 1 << 11;
        const CLONE = 1 << 12;
    }
}

impl<P: Platform> Event<'_, P> {
    const fn list(&self) -> Lists {
        match self {
            Self::Arrival(_) => Lists::ARRIVAL,
            Self::Attached(_) => Lists::ATTACHED,
            Self::Departure(_) => Lists::DEPARTURE,
            Self::Rename(..) => Lists::RENAME,
            Self::Up(_) => Lists::UP,
            Self::Down(_) => Lists::DOWN,
            Self::Link(..) => Lists::LINK,
            Self::Lladdr(_) => Lists::LLADDR,
            Self::Mtu(_) => Lists::MTU,
            Self::EtherIfattach(_) => Lists::ETHER_IFATTACH,
            Self::GroupAttach(_) | Self::GroupDetach(_) | Self::GroupChange(_) => Lists::GROUP,
            Self::VlanConfig(..) | Self::VlanUnconfig(..) => Lists::VLAN,
            Self::Clone(_) => Lists::CLONE,
        }
    }
}

/// A handler: called with the cookie that it was registered with.
pub type Handler<P> = fn(&Thread<'_, P>, &Event<'_, P>, usize);

/// `EVENTHANDLER_PRI_FIRST`.
pub const PRI_FIRST: u32 = 0;
/// `EVENTHANDLER_PRI_ANY`.
pub const PRI_ANY: u32 = 10_000;
/// `EVENTHANDLER_PRI_LAST`.
pub const PRI_LAST: u32 = 20_000;

type Rank = (u32, usize);

struct Entry<P: Platform> {
    function: Handler<P>,
    cookie: usize,
    lists: Lists,
    /// Priority, then order of registration.
    rank: Rank,
    /// One of the core's, which are never deregistered.
    for_ever: bool,
    dead: AtomicBool,
    /// How many threads are in `function`.
    running: AtomicUsize,
    /// The thread that is in it, as far as one is enough to tell: deregistering from within must not wait for itself.
    runner: P::Mutex<Option<ThreadId>>,
}

impl<P: Platform> Entry<P> {
    /// Calls the handler unless it was deregistered; who deregisters it meanwhile waits.
    fn call(this: &Shared<Self, P>, td: &Thread<'_, P>, event: &Event<'_, P>) {
        this.running.fetch_add(1, Ordering::AcqRel);
        if !this.dead.load(Ordering::Acquire) {
            let outer = this.runner.lock().replace(td.id());
            (this.function)(td, event, this.cookie);
            *this.runner.lock() = outer;
        }
        this.running.fetch_sub(1, Ordering::AcqRel);
        if this.dead.load(Ordering::Acquire) {
            td.platform().wakeup(channel(this));
        }
    }
}

/// What is called next.
enum Turn<P: Platform> {
    /// A handler that stays. Nobody waits for its end.
    ForEver(Handler<P>),
    /// One that may be deregistered.
    Entry(Shared<Entry<P>, P>),
}

/// `eventhandler_tag`: names a registration.
pub struct EventTag<P: Platform>(Shared<Entry<P>, P>);

impl<P: Platform> fmt::Debug for EventTag<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventTag{:?}", self.0.rank)
    }
}

/// The handlers of a kernel.
pub(crate) struct EventHandlers<P: Platform> {
    list: P::Mutex<HandlerList<P>>,
    /// The lists that have a handler, written under the lock of `list`: most events have none.
    handled: AtomicUsize,
}

struct HandlerList<P: Platform> {
    entries: TryVec<Shared<Entry<P>, P>, P::Allocator>,
    registered: usize,
}

impl<P: Platform> EventHandlers<P> {
    pub(crate) fn new(allocator: P::Allocator) -> Self {
        let list = HandlerList { entries: TryVec::new(allocator), registered: 0 };
        Self { list: P::Mutex::new(list), handled: AtomicUsize::new(0) }
    }

    /// Changes the list.
    fn change<R>(&self, change: impl FnOnce(&mut HandlerList<P>) -> R) -> R {
        let mut list = self.list.lock();
        let changed = change(&mut list);
        let handled = list.entries.iter().fold(Lists::empty(), |lists, entry| lists | entry.lists);
        self.handled.store(handled.bits().into(), Ordering::Release);
        changed
    }

    /// Calls every handler of this event in order, then the trace.
    pub(crate) fn invoke(&self, td: &Thread<'_, P>, event: &Event<'_, P>) {
        check_alternation(td, event);
        let mut last = None;
        while let Some((rank, turn)) = self.after(last, event.list()) {
            last = Some(rank);
            match turn {
                Turn::ForEver(function) => function(td, event, 0),
                Turn::Entry(entry) => Entry::call(&entry, td, event),
            }
        }
        trace(td, event);
    }

    /// The same in the context of a vnet, which is set if anybody is told.
    #[cfg(feature = "groups")]
    pub(crate) fn invoke_in(&self, td: &Thread<'_, P>, vnet: &crate::vnet::VnetRef<P>, event: &Event<'_, P>) {
        if P::TRACES || self.is_handled(event.list()) {
            let _cur = td.curvnet_set(Some(vnet.clone()));
            self.invoke(td, event);
        }
    }

    fn is_handled(&self, list: Lists) -> bool {
        self.handled.load(Ordering::Acquire) & usize::from(list.bits()) != 0
    }

    /// The first handler behind rank `last` that is on this list.
    fn after(&self, last: Option<Rank>, of: Lists) -> Option<(Rank, Turn<P>)> {
        if !self.is_handled(of) {
            return None;
        }
        let list = self.list.lock();
        let at = last.map_or(0, |last| list.entries.partition_point(|entry| entry.rank <= last));
        let entry = list.entries[at..].iter().find(|entry| entry.lists.contains(of))?;
        let turn = if entry.for_ever { Turn::ForEver(entry.function) } else { Turn::Entry(entry.clone()) };
        Some((entry.rank, turn))
    }
}

fn channel<P: Platform>(entry: &Shared<Entry<P>, P>) -> Channel {
    Channel(entry.addr())
}

/// `EVENTHANDLER_REGISTER`: `function` is called with `cookie` for every event from now on.
///
/// # Errors
/// `ENOMEM`.
pub fn eventhandler_register<P: Platform>(
    td: &Thread<'_, P>,
    function: Handler<P>,
    cookie: usize,
    priority: u32,
) -> Result<EventTag<P>, Errno> {
    register(td, function, cookie, priority, Lists::all(), false).map(EventTag)
}

/// Registers a handler of the core for these events, with a cookie of 0: it stays as long as the kernel.
pub(crate) fn register_for_ever<P: Platform>(
    td: &Thread<'_, P>,
    function: Handler<P>,
    priority: u32,
    lists: Lists,
) -> Result<(), Errno> {
    register(td, function, 0, priority, lists, true).map(drop)
}

fn register<P: Platform>(
    td: &Thread<'_, P>,
    function: Handler<P>,
    cookie: usize,
    priority: u32,
    lists: Lists,
    for_ever: bool,
) -> Result<Shared<Entry<P>, P>, Errno> {
    td.kernel().events.change(|list| {
        let rank = (priority, list.registered);
        let entry = Shared::try_new(
            td.domain(),
            Entry {
                function,
                cookie,
                lists,
                rank,
                for_ever,
                dead: AtomicBool::new(false),
                running: AtomicUsize::new(0),
                runner: P::Mutex::new(None),
            },
        )?;
        let at = list.entries.partition_point(|other| other.rank <= rank);
        list.entries.try_insert(at, entry.clone())?;
        list.registered += 1;
        Ok(entry)
    })
}

/// `EVENTHANDLER_DEREGISTER`: the handler is not called again, and is not running any more when this returns. Called
/// from within the handler itself it does not wait.
///
/// # Panics
/// Inside an epoch section.
#[track_caller]
pub fn eventhandler_deregister<P: Platform>(td: &Thread<'_, P>, tag: EventTag<P>) {
    td.assert_can_sleep("eventhandler_deregister");
    let EventTag(entry) = tag;
    let removed = td.kernel().events.change(|list| {
        let at = list.entries.iter().position(|other| other.ptr_eq(&entry));
        at.map(|at| list.entries.remove(at))
    });
    drop(removed);
    entry.dead.store(true, Ordering::Release);
    if *entry.runner.lock() == Some(td.id()) {
        return;
    }
    td.platform().sleep(channel(&entry), &mut || entry.running.load(Ordering::Acquire) == 0);
}

/// I13: arrivals and departures of an interface alternate. Checked with the feature `hazards`.
fn check_alternation<P: Platform>(td: &Thread<'_, P>, event: &Event<'_, P>) {
    let (ifp, arrives) = match *event {
        Event::Arrival(ifp) => (ifp, true),
        Event::Departure(ifp) => (ifp, false),
        _ => return,
    };
    if !ifp.announce(arrives) && cfg!(feature = "hazards") {
        let twice = if arrives { "arrives" } else { "departs" };
        td.platform().panic(format_args!("I13: {} {twice} twice", ifp.name()));
    }
}

/// An interface as the trace shows it. Reads without the shadow check: a report is not a use.
pub(crate) fn view<P: Platform, R>(td: &Thread<'_, P>, ifp: &Ifp<P>, show: impl FnOnce(IfView<'_>) -> R) -> R {
    let flags = ifp.raw_flags();
    let name = ifp.names.lock().xname.clone();
    show(IfView {
        name: &name,
        index: ifp.index(),
        vnet: td.read(&ifp.vnet).map_or(0, |vnet| vnet.id()),
        home: td.read(&ifp.home).map(|home| home.id()),
        up: flags.contains(crate::IfFlags::UP),
        dying: flags.contains(crate::IfFlags::DYING),
        renaming: flags.contains(crate::IfFlags::RENAMING),
    })
}

fn trace<P: Platform>(td: &Thread<'_, P>, event: &Event<'_, P>) {
    if !P::TRACES {
        return;
    }
    let cur = td.cur();
    let interface = |name: &str, ifp: &Ifp<P>| {
        view(td, ifp, |ifp| td.trace(&Record::Interface { event: name, ifp, cur }));
    };
    let vlan = |name: &str, ifp: &Ifp<P>, vid: u16| {
        let mut event: heapless::String<24> = heapless::String::new();
        let fits = fmt::Write::write_fmt(&mut event, format_args!("{name} {vid}"));
        debug_assert!(fits.is_ok(), "a tag has at most 5 digits");
        interface(&event, ifp);
    };
    let group = |name: &str, group: &str| td.trace(&Record::Group { event: name, group, cur });
    match *event {
        Event::Arrival(ifp) => interface("ifnet_arrival_event", ifp),
        Event::Departure(ifp) => interface("ifnet_departure_event", ifp),
        Event::Up(ifp) => interface("ifnet_event UP", ifp),
        Event::Down(ifp) => interface("ifnet_event DOWN", ifp),
        Event::Link(ifp, LinkState::Up) => interface("ifnet_link_event UP", ifp),
        Event::Link(ifp, LinkState::Down) => interface("ifnet_link_event DOWN", ifp),
        Event::Link(ifp, LinkState::Unknown) => interface("ifnet_link_event UNKNOWN", ifp),
        Event::Lladdr(ifp) => interface("iflladdr_event", ifp),
        Event::EtherIfattach(ifp) => interface("ether_ifattach_event", ifp),
        Event::VlanConfig(ifp, vid) => vlan("vlan_config", ifp, vid),
        Event::VlanUnconfig(ifp, vid) => vlan("vlan_unconfig", ifp, vid),
        Event::GroupAttach(name) => group("group_attach_event", name),
        Event::GroupDetach(name) => group("group_detach_event", name),
        Event::GroupChange(name) => group("group_change_event", name),
        // Not on the lists of FreeBSD 15.1, whose log the trace equals, or left out of that log.
        Event::Attached(_) | Event::Rename(..) | Event::Clone(_) | Event::Mtu(_) => {}
    }
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests;
