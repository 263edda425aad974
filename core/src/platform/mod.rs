//! The one trait that a host implements, so that the life cycle can run on it.
//!
//! A host is a kernel, a process with threads, or a model checker. It brings a short lock, a way to sleep and to wake a
//! sleeper, memory, the packet buffer type, and sinks for panics and for the trace. Everything else ([`Sx`](crate::sync::Sx),
//! epoch, task queue) is built from these by the core, so that it is the same code on every host.
//!
//! # How to sleep
//!
//! [`Platform::sleep`] and [`Platform::wakeup`] are FreeBSD's `sleep(9)` with the condition made explicit. A sleeper
//! names a [`Channel`] and a condition; it may return only after it has seen the condition hold. The smallest host polls:
//! the default `sleep` spins with [`Platform::relax`] and the default `wakeup` does nothing. A host with real sleeping
//! queues the thread on the channel and evaluates the condition again after each wakeup of that channel.
//!
//! The core calls `wakeup` after every release of a lock that somebody sleeps for. It announces the end of an epoch section
//! only to hosts that ask for it ([`Platform::ANNOUNCES_SECTIONS`]), because a read-side section must cost nothing more
//! than it has to; other hosts let the rare `epoch_wait` poll.

pub mod spin;

use core::fmt::{self, Write as _};
use core::net::IpAddr;
use core::num::NonZeroU32;
use core::ops::DerefMut;

use allocator_api2::alloc::Allocator;

use crate::trace::Record;

/// What a thread sleeps on: the address of the thing it waits for, as `wchan` in `sleep(9)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Channel(pub usize);

impl Channel {
    /// The channel of an object: its address.
    pub fn of<T>(object: &T) -> Self {
        Self(core::ptr::from_ref(object).addr())
    }
}

/// Identifies a thread of control of the emulated kernel: `curthread`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThreadId(pub NonZeroU32);

/// What a driver has to know of a frame to pass it on: see [`Platform::frame_header`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameHeader {
    /// The link-level address that the frame is for.
    pub destination: [u8; 6],
    /// The link-level address that it comes from.
    pub source: [u8; 6],
    /// The network address that it is for: the destination of an IP packet, the target of an ARP one. `None` for any
    /// other protocol, and for a frame with a VLAN header.
    pub inet_destination: Option<IpAddr>,
}

impl FrameHeader {
    /// Whether the frame is for more than one interface: a multicast or broadcast address.
    #[must_use]
    pub const fn is_multicast(&self) -> bool {
        is_multicast(&self.destination)
    }
}

/// `ETHER_IS_MULTICAST`: a group's address, the broadcast one included.
#[must_use]
pub const fn is_multicast(lladdr: &[u8; 6]) -> bool {
    lladdr[0] & 1 != 0
}

/// What happened between a thread and a sleepable lock, for [`Platform::lock_event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockEvent {
    /// The lock is not free for this thread; it is about to sleep for it.
    Waiting,
    /// The thread holds the lock now. Also after an upgrade, and just before a downgrade takes effect.
    Acquired {
        /// Held exclusively, not shared.
        exclusive: bool,
    },
    /// The thread is about to let go of the lock. Recursive acquisitions and their releases are not reported.
    Released,
}

/// A short, non-recursive lock: `mtx(9)`. Never held over a sleep, and allowed inside an epoch section.
pub trait Mutex<T: Send>: Send + Sync {
    /// Proof that the lock is held; dropping it releases the lock.
    type Guard<'a>: DerefMut<Target = T>
    where
        Self: 'a;

    /// A free lock around `value`. Not `const`: a model checker cannot build its locks at compile time.
    fn new(value: T) -> Self;

    /// Acquires the lock. It may spin or block; it may not fail.
    fn lock(&self) -> Self::Guard<'_>;
}

/// A host of the emulated kernel. See the [module](self) for what each part must guarantee.
pub trait Platform: Sized + Send + Sync + 'static {
    /// The short lock.
    type Mutex<T: Send>: Mutex<T>;

    /// Where all memory comes from. Clones must share one arena: what one clone allocates, any other may free.
    type Allocator: Allocator + Clone + Send + Sync + 'static;

    /// A packet: `struct mbuf *`. Dropping it is `m_freem`.
    type Buffer: Send + 'static;

    /// Whether [`wakeup`](Self::wakeup) must also be called at the end of each outermost epoch section. Model checkers
    /// want it, so that waiting for readers needs no polling; a real host leaves it off.
    const ANNOUNCES_SECTIONS: bool = false;

    /// Whether [`trace`](Self::trace) does anything. A host that says no is spared the making of records.
    const TRACES: bool = true;

    /// A handle to the memory arena.
    fn allocator(&self) -> Self::Allocator;

    /// Called before every step on shared memory. A real host does nothing; a model checker may switch threads here.
    #[inline]
    fn preempt(&self) {}

    /// Called in a waiting loop: the CPU's pause hint or a yield of the thread.
    #[inline]
    fn relax(&self) {
        core::hint::spin_loop();
    }

    /// Whether the caller runs in an interrupt handler: `td_intr_nesting_level != 0`. What may sleep asks this first and
    /// panics (`<what>: sleeping in an interrupt`), because a handler that sleeps never lets go of the thread beneath it.
    /// A host whose handlers do not call the core has nothing to implement.
    #[inline]
    fn in_interrupt(&self) -> bool {
        false
    }

    /// Waits until `ready` has returned `true`, and returns at once after that. `ready` is called without any lock of
    /// the host held that [`wakeup`](Self::wakeup) takes, and it takes and releases [`Mutex`]es of the core.
    fn sleep(&self, channel: Channel, ready: &mut dyn FnMut() -> bool) {
        let _ = channel;
        while !ready() {
            self.relax();
        }
    }

    /// Lets every sleeper on `channel` evaluate its condition again. Called with no [`Mutex`] of the core held.
    fn wakeup(&self, channel: Channel) {
        let _ = channel;
    }

    /// Called when work was queued that somebody has to do outside the caller: an epoch callback or a task. A host
    /// with a worker thread wakes it; the worker calls the kernel's `run_deferred`.
    fn work_queued(&self) {}

    /// `m_copypacket`: a copy of a packet, for a bridge that sends it out of several members. `None` is a lack of
    /// memory, or a host whose packets cannot be copied: the last member still gets the packet itself.
    fn copy_packet(&self, packet: &Self::Buffer) -> Option<Self::Buffer> {
        let _ = packet;
        None
    }

    /// Where a frame comes from and where it goes: `struct ether_header`, and what `ipvlan` reads behind it. The core
    /// reads no packet itself; this is all that it asks of one.
    ///
    /// `None` is a host whose buffers are opaque, or what is no Ethernet frame. The drivers do then what can be done
    /// without a destination: a bridge learns nothing and floods, and what comes in below an `ipvlan` or a `macvlan` goes
    /// to the first upper that is up. What such an upper sends leaves through the lower interface, whatever the mode.
    fn frame_header(&self, frame: &Self::Buffer) -> Option<FrameHeader> {
        let _ = frame;
        None
    }

    /// `ether_vlanencap`: puts an 802.1Q header with this tag on a frame, outside of any that it has. `false` from a
    /// host whose buffers have no such thing; then nothing can be sent through a VLAN.
    fn vlan_encap(&self, frame: &mut Self::Buffer, tag: u16) -> bool {
        let _ = (frame, tag);
        false
    }

    /// Takes the outermost 802.1Q header off a frame; its tag. `None` if it has none.
    fn vlan_decap(&self, frame: &mut Self::Buffer) -> Option<u16> {
        let _ = frame;
        None
    }

    /// The emulated kernel panics with `message`: the texts of FreeBSD's `panic(9)`. Must not return.
    fn panic(&self, message: fmt::Arguments<'_>) -> ! {
        panic!("{message}")
    }

    /// Something happened that a log of the real kernel would show. Not every record is made for a host that does not
    /// [trace](Self::TRACES).
    fn trace(&self, thread: ThreadId, record: &Record<'_>) {
        let _ = (thread, record);
    }

    /// A thread waits for, got, or is about to release the sleepable lock named `lock`. Called with no [`Mutex`] of the
    /// core held. `Released` comes before the release and `Acquired` after the acquisition, so that a log in the order
    /// of the calls never shows two holders of an exclusive lock.
    #[inline]
    fn lock_event(&self, thread: ThreadId, lock: &'static str, what: LockEvent) {
        let _ = (thread, lock, what);
    }

    /// The lock-order witness complains. `report` is several lines, the first of which says what is wrong (`lock order
    /// reversal:`). The default sends each line to [`trace`](Self::trace) as a [`Record::Log`].
    fn lock_order_reversal(&self, thread: ThreadId, report: fmt::Arguments<'_>) {
        let mut log = LogLines { host: self, thread, line: heapless::String::new() };
        // Writing to `LogLines` cannot fail; a failure could only come from a broken `Display` and would cost the rest
        // of a diagnostic text.
        let _ = log.write_fmt(report);
        log.flush();
    }
}

/// Cuts formatted text into the lines of the message buffer, without an allocation. Longer lines are cut off.
struct LogLines<'p, P: Platform> {
    host: &'p P,
    thread: ThreadId,
    line: heapless::String<256>,
}

impl<P: Platform> LogLines<'_, P> {
    fn flush(&mut self) {
        if !self.line.is_empty() {
            self.host.trace(self.thread, &Record::Log { message: &self.line });
            self.line.clear();
        }
    }
}

impl<P: Platform> fmt::Write for LogLines<'_, P> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if c == '\n' {
                self.flush();
            } else {
                // A full line drops the character: a truncated report is better than none.
                let _ = self.line.push(c);
            }
        }
        Ok(())
    }
}
