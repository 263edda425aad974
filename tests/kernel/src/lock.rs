//! A ticket lock that masks interrupts while it is held: FreeBSD's spin mutex.
//!
//! The handler takes these locks too. If a lock could be held while a handler runs on the same CPU, that handler would
//! spin for ever. So the first lock that a CPU takes masks its interrupts, and the last one it releases unmasks them, if
//! they were on: guards may be dropped in any order.
//!
//! An emulated CPU may be stopped at any time, and with tickets everybody behind it would burn the time that it needs.
//! So who has spun for long stops its CPU, and whoever calls its ticket kicks it.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};

use crate::arch;

/// `md_spinlock_count` and what was there before the first, for each CPU. Only its CPU touches it, masked.
struct Masked {
    depth: AtomicU32,
    were_on: AtomicBool,
}

static MASKED: [Masked; arch::CPUS] =
    [const { Masked { depth: AtomicU32::new(0), were_on: AtomicBool::new(false) } }; arch::CPUS];

/// `spinlock_enter`.
pub fn enter() {
    let on = arch::interrupts_off();
    let Masked { depth, were_on } = &MASKED[arch::cpu()];
    let before = depth.load(Ordering::Relaxed);
    if before == 0 {
        were_on.store(on, Ordering::Relaxed);
    }
    depth.store(before + 1, Ordering::Relaxed);
}

/// `spinlock_exit`.
pub fn leave() {
    let Masked { depth, were_on } = &MASKED[arch::cpu()];
    let left = depth.load(Ordering::Relaxed) - 1;
    depth.store(left, Ordering::Relaxed);
    if left == 0 && were_on.load(Ordering::Relaxed) {
        arch::interrupts_on();
    }
}

/// Whether this CPU holds one of these locks: then it may not sleep.
pub fn any_held() -> bool {
    // If it holds none, a moment later it may be another CPU that answers; it holds none either, or it is not asked.
    MASKED[arch::cpu()].depth.load(Ordering::Relaxed) != 0
}

/// How often a CPU looks before it stops.
const LOOKS: u32 = 256;

/// What a stopped CPU waits for.
struct Stopped {
    /// The address of the lock; zero if the CPU runs.
    lock: AtomicUsize,
    ticket: AtomicU32,
}

static STOPPED: [Stopped; arch::CPUS] =
    [const { Stopped { lock: AtomicUsize::new(0), ticket: AtomicU32::new(0) } }; arch::CPUS];

/// The lock. First come, first served.
pub struct TicketLock<T> {
    next: AtomicU32,
    serving: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through the guard only, and one guard exists at a time.
unsafe impl<T: Send> Sync for TicketLock<T> {}

impl<T> TicketLock<T> {
    /// A free lock.
    pub const fn new(value: T) -> Self {
        Self { next: AtomicU32::new(0), serving: AtomicU32::new(0), value: UnsafeCell::new(value) }
    }

    /// Acquires it.
    pub fn lock(&self) -> TicketGuard<'_, T> {
        enter();
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        if !(0..LOOKS).any(|_| self.is_called(ticket)) {
            self.stop_until_called(ticket);
        }
        TicketGuard { lock: self, _stays_on_its_cpu: PhantomData }
    }

    fn is_called(&self, ticket: u32) -> bool {
        // Acquire: what the one before has done comes before.
        let called = self.serving.load(Ordering::Acquire) == ticket;
        if !called {
            core::hint::spin_loop();
        }
        called
    }

    #[cold]
    fn stop_until_called(&self, ticket: u32) {
        let stopped = &STOPPED[arch::cpu()];
        stopped.ticket.store(ticket, Ordering::Relaxed);
        stopped.lock.store(self.address(), Ordering::Release);
        // Pairs with the fence of `drop`: if that one does not see the entry, the call is seen here.
        fence(Ordering::SeqCst);
        while !self.is_called(ticket) {
            arch::stop();
        }
        stopped.lock.store(0, Ordering::Relaxed);
    }

    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

/// Proof that the lock is held.
pub struct TicketGuard<'a, T> {
    lock: &'a TicketLock<T>,
    _stays_on_its_cpu: PhantomData<*const ()>,
}

impl<T> Deref for TicketGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard exists, so the lock is held, and no other guard exists.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for TicketGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and this borrow is exclusive.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for TicketGuard<'_, T> {
    fn drop(&mut self) {
        // The lock may be gone as soon as the next one has it.
        let address = self.lock.address();
        let next = self.lock.serving.load(Ordering::Relaxed).wrapping_add(1);
        // Release: what was done under the lock comes before what the next one does.
        self.lock.serving.store(next, Ordering::Release);
        fence(Ordering::SeqCst);
        for (cpu, stopped) in STOPPED.iter().enumerate() {
            if stopped.lock.load(Ordering::Acquire) == address && stopped.ticket.load(Ordering::Relaxed) == next {
                arch::kick(cpu);
            }
        }
        leave();
    }
}
