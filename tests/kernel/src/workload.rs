//! The workload: every worker does random verbs on the same vnets and interfaces as the others.
//!
//! Refusals are part of it: the interface that one worker has picked may be gone, moved or renamed when its verb begins.
//! What may not happen is a lack of memory, a panic, or an invariant that does not hold. Invariants can be looked at only
//! when no verb is under way, so the workers meet after each round.

mod order;
mod verbs;

use core::sync::atomic::{AtomicUsize, Ordering};

use ifnet::{BpfListener, Errno, IfName, IfnetOwner, Kernel, Thread, TunHandle, VnetRef, if_clone_destroy, if_foreach};

use crate::arch::WORKERS;
use crate::barrier;
use crate::host::{Bare, MEMORY};
use crate::lock::TicketLock;
use crate::random::Random;

/// Vnets beside the default one.
const JAILS: usize = 6;
/// So many interfaces at a time: beyond it, a worker destroys instead of creating.
const CROWD: usize = 64;
/// Verbs of a worker in a round.
const ROUND: usize = 1600;
/// Interfaces of a driver that a worker has at most.
const OWNED: usize = 3;

static VNETS: [TicketLock<Option<VnetRef<Bare>>>; JAILS] = [const { TicketLock::new(None) }; JAILS];

/// Verbs of all workers: life-cycle operations that were done, others that were done, and refused ones.
static LIFE: AtomicUsize = AtomicUsize::new(0);
static OTHER: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);
/// Interfaces that readers have looked at.
static READ: AtomicUsize = AtomicUsize::new(0);

/// A worker, with what it holds.
struct Worker<'k> {
    td: &'k Thread<'k, Bare>,
    id: usize,
    random: Random,
    owned: [Option<IfnetOwner<Bare>>; OWNED],
    device: Option<TunHandle<Bare>>,
    listener: Option<BpfListener<Bare>>,
}

/// What a verb was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    /// A life-cycle operation: create, attach, move, rename, detach, destroy; of an interface or a vnet.
    Life,
    /// Anything else.
    Other,
}

/// Does the rounds. The last thing a worker does is to give back what it holds.
pub fn run(kernel: &Kernel<Bare>, id: usize) {
    let td = kernel.thread().expect("room for every worker");
    let rounds = crate::number("rounds", 40);
    let seed = crate::number("seed", 0) as u64;
    let random = Random::new(seed * WORKERS as u64 + id as u64);
    let mut worker = Worker { td: &td, id, random, owned: [const { None }; OWNED], device: None, listener: None };
    for round in 0..rounds {
        for _ in 0..ROUND {
            worker.verb();
            barrier::idle(&td);
        }
        barrier::meet(Some(&td));
        if id == 0 {
            look(&td, (round % 8 == 7 || round + 1 == rounds).then_some(round + 1));
        }
        barrier::meet(None);
    }
    worker.end();
    barrier::meet(Some(&td));
    if id == 0 {
        clear(&td);
        look(&td, None);
        assert_eq!(kernel.interfaces(), 1, "interfaces beside lo0 are left");
        let (life, other, refused) = (load(&LIFE), load(&OTHER), load(&REFUSED));
        order::check(&td);
        say!("workload: {life} life-cycle operations, {other} others, {refused} refused, {} reads", load(&READ));
    }
    barrier::meet(None);
}

fn load(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::Relaxed)
}

/// Does the deferred work and checks the invariants, while all other workers wait.
pub fn look(td: &Thread<'_, Bare>, round: Option<usize>) {
    let kernel = td.kernel();
    while kernel.run_deferred(td) {}
    td.net_epoch_drain_callbacks();
    if let Err(violation) = ifnet::invariants::check(td) {
        panic!("invariant {violation}");
    }
    if let Some(round) = round {
        let mut vnets = 0;
        kernel.vnet_foreach(|_| vnets += 1);
        let (interfaces, life, bytes) = (kernel.interfaces(), load(&LIFE), MEMORY.by_ref().pool().in_use());
        say!("round {round}: {life} operations; {interfaces} interfaces in {vnets} vnets, {bytes} bytes; sound");
    }
}

/// Destroys all vnets but the default one, and all cloned interfaces there, with all workers out of the way.
pub fn clear(td: &Thread<'_, Bare>) {
    for slot in &VNETS {
        let vnet = slot.lock().take();
        if let Some(vnet) = vnet {
            ifnet::vnet_destroy(td, &vnet).expect("nobody else destroys it");
        }
    }
    // Those that are to be destroyed later.
    while td.kernel().run_deferred(td) {}
    while let Some(name) = first_of(td) {
        match if_clone_destroy(td, &name) {
            Ok(()) => {}
            Err(errno) => panic!("{name} is left: {errno}"),
        }
        while td.kernel().run_deferred(td) {}
    }
}

/// Some interface of the current vnet beside `lo0`.
fn first_of(td: &Thread<'_, Bare>) -> Option<IfName> {
    let mut first = None;
    let _ = if_foreach(td, |ifp| {
        let name = ifp.get().name();
        if *name == *"lo0" {
            return Ok(());
        }
        first = Some(name);
        Err(Errno::EEXIST)
    });
    first
}

impl<'k> Worker<'k> {
    /// Counts what came of a verb. `ENOMEM` is a failure of this kernel: there is enough for the crowd.
    fn note<T>(&self, count: Count, what: &str, result: Result<T, Errno>) -> Option<T> {
        let counter = match (&result, count) {
            (Ok(_), Count::Life) => &LIFE,
            (Ok(_), Count::Other) => &OTHER,
            (Err(errno), _) => {
                assert_ne!(*errno, Errno::ENOMEM, "{what} of worker {}", self.id);
                &REFUSED
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        result.ok()
    }

    /// One of the vnets: the default one as often as all others together.
    fn some_vnet(&mut self) -> VnetRef<Bare> {
        let slot = self.random.below(2 * JAILS);
        let vnet = VNETS.get(slot).and_then(|slot| slot.lock().clone());
        vnet.unwrap_or_else(|| self.td.kernel().vnet0())
    }

    /// The name of an interface of the current vnet that is `wanted`.
    fn some_name(&mut self, wanted: impl Fn(&str) -> bool) -> Option<IfName> {
        let (mut seen, mut chosen) = (0, None);
        let Self { td, random, .. } = self;
        let _ = if_foreach(td, |ifp| {
            let name = ifp.get().name();
            if *name != *"lo0" && wanted(&name) {
                seen += 1;
                // Each of those seen so far is as likely as another.
                if random.below(seen) == 0 {
                    chosen = Some(name);
                }
            }
            Ok::<(), Errno>(())
        });
        chosen
    }
}
