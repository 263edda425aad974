//! The port: what the core asks of this kernel.
//!
//! A worker that waits looks at its condition a few times, because most waits are short, and then dozes. It has put up
//! what it waits for where others can see it, so that whoever ends the wait can kick it. A tick of the timer ends every
//! doze as well; that is how a wait for readers, whose end nobody announces, goes on.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use ifnet::mem::{PoolRef, StaticPool};
use ifnet::platform::spin::Mask;
use ifnet::platform::{Channel, Mutex, Platform};

use crate::arch::{self, Verdict, WORKERS};
use crate::console;
use crate::lock::{self, TicketGuard, TicketLock};
use crate::packet::Packet;

/// All the memory that the core gets. The core allocates with a lock held, and so with interrupts masked: who holds the
/// pool's lock must not be interrupted either.
pub static MEMORY: StaticPool<{ 4 << 20 }, Masked> = StaticPool::masked();

/// As the locks do.
pub struct Masked;

impl Mask for Masked {
    fn mask() {
        lock::enter();
    }

    fn unmask() {
        lock::leave();
    }
}

/// How often a worker looks before it dozes.
const LOOKS: u32 = 64;

/// A worker that sleeps.
struct Sleeper {
    /// Its channel; zero if it does not sleep.
    channel: AtomicUsize,
    /// Somebody wants it to look again.
    woken: AtomicBool,
}

static SLEEPERS: [Sleeper; WORKERS] =
    [const { Sleeper { channel: AtomicUsize::new(0), woken: AtomicBool::new(false) } }; WORKERS];

/// What a worker with nothing to do sleeps on.
pub const IDLE: Channel = Channel(1);

/// There is deferred work.
static WORK: AtomicBool = AtomicBool::new(false);

/// Whether there is deferred work that nobody has begun.
pub fn take_work() -> bool {
    WORK.load(Ordering::Relaxed) && WORK.swap(false, Ordering::AcqRel)
}

/// Waits until `ready` returns `true`. It is called at least once.
pub fn sleep(channel: Channel, ready: &mut dyn FnMut() -> bool) {
    assert!(!lock::any_held() && !arch::in_interrupt(), "a sleep where none may be");
    for _ in 0..LOOKS {
        if ready() {
            return;
        }
        core::hint::spin_loop();
    }
    let sleeper = &SLEEPERS[arch::worker()];
    sleeper.channel.store(channel.0, Ordering::Relaxed);
    loop {
        sleeper.woken.store(false, Ordering::Relaxed);
        // Pairs with the fence of `wakeup`: if that one does not see the channel, `ready` sees what it was called for.
        fence(Ordering::SeqCst);
        if ready() {
            break;
        }
        arch::doze(&sleeper.woken);
    }
    sleeper.channel.store(0, Ordering::Relaxed);
}

/// Lets whoever sleeps on the channel look again.
pub fn wakeup(channel: Channel) {
    fence(Ordering::SeqCst);
    for (worker, sleeper) in SLEEPERS.iter().enumerate() {
        if sleeper.channel.load(Ordering::Relaxed) == channel.0 {
            sleeper.woken.store(true, Ordering::SeqCst);
            arch::kick(worker);
        }
    }
}

/// This kernel.
pub struct Bare;

impl Platform for Bare {
    type Mutex<T: Send> = TicketLock<T>;
    type Allocator = PoolRef<Masked>;
    type Buffer = Packet;

    fn allocator(&self) -> PoolRef<Masked> {
        MEMORY.by_ref()
    }

    fn in_interrupt(&self) -> bool {
        arch::in_interrupt()
    }

    fn sleep(&self, channel: Channel, ready: &mut dyn FnMut() -> bool) {
        sleep(channel, ready);
    }

    fn wakeup(&self, channel: Channel) {
        wakeup(channel);
    }

    fn work_queued(&self) {
        WORK.store(true, Ordering::Release);
        wakeup(IDLE);
    }

    fn copy_packet(&self, packet: &Packet) -> Option<Packet> {
        packet.copy()
    }

    fn vlan_encap(&self, frame: &mut Packet, tag: u16) -> bool {
        frame.push_tag(tag)
    }

    fn vlan_decap(&self, frame: &mut Packet) -> Option<u16> {
        frame.pop_tag()
    }

    fn panic(&self, message: fmt::Arguments<'_>) -> ! {
        console::last_words(format_args!("panic: {message}"));
        arch::exit(Verdict::Panicked)
    }
}

impl<T: Send> Mutex<T> for TicketLock<T> {
    type Guard<'a>
        = TicketGuard<'a, T>
    where
        Self: 'a;

    fn new(value: T) -> Self {
        Self::new(value)
    }

    fn lock(&self) -> TicketGuard<'_, T> {
        self.lock()
    }
}
