//! What the timer's handler does: everything that the core lets an interrupt do, at any instruction of everything else.
//!
//! A CPU's handler has a thread of the core of its own, because the interrupted one may be in the middle of anything. It
//! reads in an epoch section, sends a packet out of whatever interface it finds, and reports a change of a link, whose
//! task the idle loop runs later. It neither sleeps nor allocates.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use ifnet::{LinkState, Thread, if_link_state_change, if_transmit, ifnet_byindex};

use crate::arch::{self, CPUS};
use crate::host::Bare;
use crate::packet::Packet;
use crate::random::Random;

/// What a CPU's handler works with.
struct Handler {
    thread: AtomicPtr<Thread<'static, Bare>>,
    ticks: AtomicUsize,
    found: AtomicUsize,
    sent: AtomicUsize,
}

static HANDLERS: [Handler; CPUS] = [const {
    Handler {
        thread: AtomicPtr::new(ptr::null_mut()),
        ticks: AtomicUsize::new(0),
        found: AtomicUsize::new(0),
        sent: AtomicUsize::new(0),
    }
}; CPUS];

/// What is done in a handler.
type Deed<'d> = &'d dyn Fn(&Thread<'_, Bare>);

/// What the next tick does that it must not, for the boots that have to end in a panic: points to a [`Deed`].
static WRONG: AtomicPtr<Deed<'static>> = AtomicPtr::new(ptr::null_mut());

/// The handlers of all CPUs so far: ticks, interfaces found, packets sent.
pub fn totals() -> (usize, usize, usize) {
    let sum = |of: fn(&Handler) -> &AtomicUsize| HANDLERS.iter().map(|h| of(h).load(Ordering::Relaxed)).sum();
    (sum(|h| &h.ticks), sum(|h| &h.found), sum(|h| &h.sent))
}

/// How often a CPU's timer has ticked.
pub fn ticks(cpu: usize) -> usize {
    HANDLERS[cpu].ticks.load(Ordering::Relaxed)
}

/// While it lives, the handler of this CPU uses the thread.
pub struct Armed<'t>(usize, core::marker::PhantomData<&'t ()>);

/// Gives the handler of this CPU a thread, which nobody else uses. The caller stays on this CPU.
pub fn arm<'t>(td: &'t mut Thread<'_, Bare>) -> Armed<'t> {
    let cpu = arch::cpu();
    // The lifetimes are those that `Armed` keeps.
    HANDLERS[cpu].thread.store(ptr::from_mut(td).cast(), Ordering::Release);
    Armed(cpu, core::marker::PhantomData)
}

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        // On the same CPU, whose handler is therefore not running.
        HANDLERS[self.0].thread.store(ptr::null_mut(), Ordering::Release);
    }
}

/// A tick of the timer of this CPU, in its handler.
pub fn tick(cpu: usize) {
    let handler = &HANDLERS[cpu];
    let ticks = handler.ticks.fetch_add(1, Ordering::Relaxed);
    let thread = handler.thread.load(Ordering::Acquire);
    // SAFETY:
    // 1. `Armed` has borrowed the thread exclusively, and takes the pointer away before it ends.
    // 2. Handlers do not nest, and each CPU has its own: this is the only reference.
    let Some(td) = (unsafe { thread.as_ref() }) else { return };
    // SAFETY: `in_the_next_tick` has put it there, and does not return.
    if let Some(deed) = unsafe { WRONG.load(Ordering::Acquire).as_ref() } {
        deed(td);
    }
    handler.found.fetch_add(look_around(td, ticks, &handler.sent), Ordering::Relaxed);
}

fn look_around(td: &Thread<'_, Bare>, ticks: usize, sent: &AtomicUsize) -> usize {
    // Without a vnet, an index finds the interfaces of all of them.
    let _cur = td.curvnet_set(None);
    let mut random = Random::new(ticks as u64);
    let section = td.net_epoch_enter();
    let mut found = 0;
    for _ in 0..4 {
        let index = random.below(96) as u32 + 1;
        let Some(ifp) = ifnet_byindex(td, index, &section) else { continue };
        found += 1;
        assert_eq!(ifp.get().index(), index, "another interface than the one asked for");
        if let Some(packet) = Packet::new()
            && if_transmit(td, ifp.get(), packet, &section).is_ok()
        {
            sent.fetch_add(1, Ordering::Relaxed);
        }
        if random.below(8) == 0
            && let Some(ifp) = ifp.try_share()
        {
            let state = if random.below(2) == 0 { LinkState::Up } else { LinkState::Down };
            if_link_state_change(td, &ifp, state);
        }
    }
    found
}

/// Has this CPU's next tick do what it must not survive.
pub fn in_the_next_tick(deed: Deed<'_>) -> ! {
    WRONG.store(ptr::from_ref(&deed).cast_mut().cast(), Ordering::Release);
    crate::barrier::rest()
}
