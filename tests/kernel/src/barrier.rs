//! All workers meet here. Who is early does the deferred work: this is the idle loop of the kernel.

use core::sync::atomic::{AtomicUsize, Ordering};

use ifnet::Thread;

use crate::arch::WORKERS;
use crate::host::{self, Bare, IDLE};

static ARRIVED: AtomicUsize = AtomicUsize::new(0);
static ROUND: AtomicUsize = AtomicUsize::new(0);

/// Returns when all workers have called it. Meanwhile a worker with a thread runs callbacks and vnet work.
pub fn meet(td: Option<&Thread<'_, Bare>>) {
    let round = ROUND.load(Ordering::Acquire);
    if ARRIVED.fetch_add(1, Ordering::AcqRel) + 1 == WORKERS {
        ARRIVED.store(0, Ordering::Relaxed);
        ROUND.store(round + 1, Ordering::Release);
        host::wakeup(IDLE);
        return;
    }
    let over = || ROUND.load(Ordering::Acquire) != round;
    while !over() {
        let mut work = false;
        host::sleep(IDLE, &mut || {
            work = td.is_some() && host::take_work();
            work || over()
        });
        if let (true, Some(td)) = (work, td) {
            while td.kernel().run_deferred(td) {}
        }
    }
}

/// Does the deferred work that there is now, between two pieces of other work.
pub fn idle(td: &Thread<'_, Bare>) {
    if host::take_work() {
        while td.kernel().run_deferred(td) {}
    }
}

/// A worker that is not needed any more.
pub fn rest() -> ! {
    loop {
        let mut looks = 0;
        host::sleep(IDLE, &mut || {
            looks += 1;
            looks > 1000
        });
    }
}
