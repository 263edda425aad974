//! The lock-order witness: `witness(4)` for sleepable locks.
//!
//! Two threads that take two locks in opposite orders will dead-lock one day, but in most runs they do not meet. The
//! witness finds the mistake in any run that merely shows both orders, even one after the other on a single thread:
//! it remembers every order "held A, took B" as an edge between the locks' classes, and complains when a new edge would
//! close a cycle. As on FreeBSD it only reports (through [`Platform::lock_order_reversal`]), once for each pair.
//!
//! Orders are kept between [classes](LockClass), not locks: all locks of a class play the same role, and two of one
//! class held together have no order at all, which is reported as a duplicate.
//!
//! # Cost and concurrency
//!
//! After warming up, an acquisition reads one word for each lock that the thread holds. Only an order never seen before
//! takes the witness's own lock, which makes "no path back? then add the edge" one step; the graph therefore stays free
//! of cycles. There are at most [`LockClass::MAX`] squared such moments.
//!
//! The words are `core`'s atomics and the lock is a spin lock even where a model checker replaces the primitives of the
//! core: the witness watches the algorithm and must not add steps to it. Nothing inside its lock switches threads, so
//! under a checker it is never contended.

use core::fmt;
use core::panic::Location;
use core::sync::atomic::{AtomicU32, Ordering};

use spin::mutex::SpinMutex;

use super::td::Held;
use crate::platform::{Platform, ThreadId};

/// A role that locks play; the unit in which the witness thinks.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LockClass {
    pub(super) index: u8,
    pub(super) name: &'static str,
}

impl LockClass {
    /// `ifnet_detach_sxlock`: serialises every detach, move, clone destroy and vnet teardown.
    pub const IFNET_DETACH_SX: Self = Self { index: 0, name: "ifnet_detach_sx" };
    /// `vnet_sysinit_sxlock`: the lists of constructors and destructors.
    pub const VNET_SYSINIT_SX: Self = Self { index: 1, name: "vnet_sysinit_sx" };
    /// `vnet_sxlock`: the list of vnets.
    pub const VNET_SX: Self = Self { index: 2, name: "vnet_sx" };
    /// `ifnet_sxlock`: interface lists, index table, groups.
    pub const IFNET_SX: Self = Self { index: 3, name: "ifnet_sx" };
    /// `bpf_sx`: bpf interfaces and descriptors.
    pub const BPF_SX: Self = Self { index: 4, name: "bpf_sx" };

    /// A vnet's own lock: its queue of interfaces to unregister. At most one is held at a time.
    pub const VNET: Self = Self { index: 5, name: "vnet" };
    /// The lock of a lower interface's port: the list of its uppers.
    pub const PORT: Self = Self { index: 6, name: "port" };

    const USER_FIRST: u8 = 7;

    /// How many classes of their own users of the library may define.
    pub const USER_MAX: u8 = 32;

    /// How many classes there are together.
    pub const MAX: usize = (Self::USER_FIRST + Self::USER_MAX) as usize;

    /// A class of the user's own: number `n`, by which it is told apart, and the name that reports show.
    ///
    /// # Panics
    ///
    /// When `n` is not below [`USER_MAX`](Self::USER_MAX); at compile time, in a constant.
    #[must_use]
    pub const fn user(n: u8, name: &'static str) -> Self {
        assert!(n < Self::USER_MAX, "LockClass::user: no such class number");
        Self { index: Self::USER_FIRST + n, name }
    }

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    fn index(&self) -> usize {
        usize::from(self.index)
    }
}

impl fmt::Debug for LockClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A set of ordered pairs of classes that only grows.
struct Pairs([[AtomicU32; Self::WORDS]; LockClass::MAX]);

impl Pairs {
    // Words of 32 bits, because not every small machine has atomics of 64.
    const WORDS: usize = LockClass::MAX.div_ceil(32);

    const fn new() -> Self {
        Self([const { [const { AtomicU32::new(0) }; Self::WORDS] }; LockClass::MAX])
    }

    // Relaxed: a bit publishes nothing but itself. Decisions on several bits are made under the witness's lock.
    fn contains(&self, from: usize, to: usize) -> bool {
        self.0[from][to / 32].load(Ordering::Relaxed) & (1 << (to % 32)) != 0
    }

    fn insert(&self, from: usize, to: usize) {
        self.0[from][to / 32].fetch_or(1 << (to % 32), Ordering::Relaxed);
    }
}

/// Where the order "first, then second" of two classes was seen for the first time: where the second was taken.
#[derive(Clone, Copy)]
struct Origin {
    first: u8,
    second: u8,
    at: &'static Location<'static>,
}

/// What reports tell of the orders.
struct Known {
    origins: heapless::Vec<Origin, ORIGINS_MAX>,
    /// The names of the classes that are in an origin.
    names: [&'static str; LockClass::MAX],
}

/// How many origins are remembered. Orders beyond it are still checked; their reports lack a line.
const ORIGINS_MAX: usize = 128;

/// A lock-order witness, shared by all threads that were given it ([`Td::with_witness`](super::Td::with_witness)).
///
/// # Invariants
///
/// * The graph `orders` has no cycle.
/// * `orders` grows only under the lock of `known`.
pub struct Witness {
    orders: Pairs,
    reported: Pairs,
    reports: AtomicU32,
    known: SpinMutex<Known>,
}

impl Witness {
    /// A witness that has seen nothing. `const`, so that it can be a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            orders: Pairs::new(),
            reported: Pairs::new(),
            reports: AtomicU32::new(0),
            known: SpinMutex::new(Known { origins: heapless::Vec::new(), names: [""; LockClass::MAX] }),
        }
    }

    /// How many reports were made so far: the length of `debug.witness.badstacks`.
    #[must_use]
    pub fn reports(&self) -> u32 {
        self.reports.load(Ordering::Relaxed)
    }

    /// Whether the order "`first` held, then `second` taken" was seen and accepted.
    #[must_use]
    pub fn has_order(&self, first: LockClass, second: LockClass) -> bool {
        self.orders.contains(first.index(), second.index())
    }

    /// Whether there is nothing to learn or to report when `wanted` is taken with `held` held.
    #[inline]
    pub(super) fn knows(&self, held: &[Held], wanted: &LockClass) -> bool {
        held.iter().all(|held| self.has_met(held.class.into(), wanted.index()))
    }

    /// Whether an order was accepted or reported before.
    fn has_met(&self, first: usize, second: usize) -> bool {
        self.orders.contains(first, second) || self.reported.contains(first, second)
    }

    /// Checks and learns the orders that come from taking `wanted` with `held` held: `witness_checkorder`.
    pub(super) fn check<P: Platform>(&self, host: &P, thread: ThreadId, held: &[Held], wanted: &Held) {
        // Newest first, as FreeBSD looks: the innermost lock makes the most telling report.
        for held in held.iter().rev() {
            let Some(route) = self.learn(held, wanted) else { continue };
            self.reports.fetch_add(1, Ordering::Relaxed);
            host.lock_order_reversal(thread, format_args!("{}", Report { held, wanted, route: &route, witness: self }));
        }
    }

    /// Adds the order "`first`, then `wanted`". When that would close a cycle, it is not added, and the route from
    /// `wanted` back to `first` is returned (empty for two locks of one class), the first time for each pair.
    fn learn(&self, first: &Held, wanted: &Held) -> Option<Route> {
        let (from, to) = (first.class.into(), wanted.class.into());
        let mut known = self.known.lock();
        if self.has_met(from, to) {
            return None;
        }
        if let Some(route) = self.route(to, from, &known.origins) {
            self.reported.insert(from, to);
            return Some(route);
        }
        // INVARIANT: there is no way from `to` to `from`, so this edge closes no cycle; and it is added under the lock.
        self.orders.insert(from, to);
        // Full: the order counts all the same, see `ORIGINS_MAX`.
        let _ = known.origins.push(Origin { first: first.class, second: wanted.class, at: wanted.location });
        known.names[from] = first.class_name;
        known.names[to] = wanted.class_name;
        None
    }

    /// The shortest chain of observed orders that leads from class `from` to class `to`.
    fn route(&self, from: usize, to: usize, origins: &[Origin]) -> Option<Route> {
        if from == to {
            return Some(Route::new());
        }
        // Breadth first. `came_from[class]` is the class from which the search reached it.
        let mut came_from = [None; LockClass::MAX];
        let mut queue: heapless::Deque<u8, { LockClass::MAX }> = heapless::Deque::new();
        let (from, to) = (u8::try_from(from).ok()?, u8::try_from(to).ok()?);
        came_from[usize::from(from)] = Some(from);
        // No push overflows the queue, or the route below: each class enters at most once.
        let _ = queue.push_back(from);
        while let Some(class) = queue.pop_front() {
            for (next, reached_from) in (0..).zip(&mut came_from) {
                if reached_from.is_none() && self.orders.contains(usize::from(class), usize::from(next)) {
                    *reached_from = Some(class);
                    let _ = queue.push_back(next);
                }
            }
        }
        let mut route = Route::new();
        let mut class = to;
        while class != from {
            let before = came_from[usize::from(class)]?;
            let origin = origins.iter().find(|origin| (origin.first, origin.second) == (before, class));
            if let Some(origin) = origin {
                let _ = route.push(*origin);
            }
            class = before;
        }
        route.reverse();
        Some(route)
    }
}

impl Default for Witness {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").field("reports", &self.reports()).finish_non_exhaustive()
    }
}

/// The observed orders that contradict an attempted one.
type Route = heapless::Vec<Origin, { LockClass::MAX }>;

/// A complaint, in FreeBSD's layout but without addresses, so that the same run prints the same text.
struct Report<'a> {
    held: &'a Held,
    wanted: &'a Held,
    route: &'a Route,
    witness: &'a Witness,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { held, wanted, route, witness } = self;
        // Copied out, so that nothing is written under the lock.
        let name = |class: u8| witness.known.lock().names[usize::from(class)];
        let duplicate = held.class == wanted.class;
        if duplicate {
            writeln!(f, "acquiring duplicate lock of same type: \"{}\"", wanted.class_name)?;
        } else {
            writeln!(f, "lock order reversal:")?;
        }
        writeln!(f, " 1st {} ({}, sx) @ {}", held.name, held.class_name, held.location)?;
        writeln!(f, " 2nd {} ({}, sx) @ {}", wanted.name, wanted.class_name, wanted.location)?;
        for Origin { first, second, at } in route.iter() {
            writeln!(f, "lock order {} -> {} established at {at}", name(*first), name(*second))?;
        }
        if !duplicate {
            writeln!(f, "lock order {} -> {} attempted at {}", held.class_name, wanted.class_name, wanted.location)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::spin::SpinHost;
    use crate::sync::{Sx, Td};
    use crate::trace::Record;
    use allocator_api2::alloc::Global;
    use core::num::NonZeroU32;

    extern crate std;
    use std::string::{String, ToString as _};
    use std::sync::Mutex as StdMutex;
    use std::vec::Vec;

    const A: LockClass = LockClass::IFNET_DETACH_SX;
    const B: LockClass = LockClass::VNET_SYSINIT_SX;
    const C: LockClass = LockClass::user(31, "c_sx");

    /// Keeps the log.
    struct LogHost(StdMutex<Vec<String>>);

    impl Platform for LogHost {
        type Mutex<T: Send> = spin::mutex::SpinMutex<T>;
        type Allocator = Global;
        type Buffer = ();

        fn allocator(&self) -> Global {
            Global
        }

        fn trace(&self, _: ThreadId, record: &Record<'_>) {
            self.0.lock().unwrap().push(record.to_string());
        }
    }

    impl LogHost {
        fn new() -> Self {
            Self(StdMutex::new(Vec::new()))
        }

        /// The log, with the line numbers of this file taken off.
        fn log(&self) -> Vec<String> {
            let strip = |line: &String| match line.split_once(file!()) {
                Some((text, _)) => text.trim_end().to_string(),
                None => line.clone(),
            };
            self.0.lock().unwrap().iter().map(strip).collect()
        }
    }

    fn sx<P: Platform>(class: LockClass) -> Sx<P> {
        Sx::new(class.name(), class, true)
    }

    #[test]
    fn cycle_of_two() {
        let (host, witness) = (LogHost::new(), Witness::new());
        let td = Td::with_witness(ThreadId(NonZeroU32::MIN), &host, &witness);
        let (a, b) = (sx(A), sx(B));
        {
            let _a = a.xlock(&td);
            let _b = b.slock(&td);
        }
        assert!(witness.has_order(A, B));
        assert_eq!(witness.reports(), 0);
        for _ in 0..3 {
            let _b = b.xlock(&td);
            let _a = a.xlock(&td);
        }
        assert_eq!(witness.reports(), 1, "once for the pair");
        assert!(!witness.has_order(B, A), "a reversed order is not learned");
        assert_eq!(
            host.log(),
            [
                "lock order reversal:",
                " 1st vnet_sysinit_sx (vnet_sysinit_sx, sx) @",
                " 2nd ifnet_detach_sx (ifnet_detach_sx, sx) @",
                "lock order ifnet_detach_sx -> vnet_sysinit_sx established at",
                "lock order vnet_sysinit_sx -> ifnet_detach_sx attempted at",
            ]
        );
    }

    #[test]
    fn cycle_of_three() {
        let (host, witness) = (LogHost::new(), Witness::new());
        let td = Td::with_witness(ThreadId(NonZeroU32::MIN), &host, &witness);
        let (a, b, c) = (sx(A), sx(B), sx(C));
        drop((a.xlock(&td), b.xlock(&td)));
        drop((b.xlock(&td), c.xlock(&td)));
        assert_eq!(witness.reports(), 0);
        drop((c.xlock(&td), a.xlock(&td)));
        assert_eq!(witness.reports(), 1);
        assert_eq!(
            host.log()[3..],
            [
                "lock order ifnet_detach_sx -> vnet_sysinit_sx established at",
                "lock order vnet_sysinit_sx -> c_sx established at",
                "lock order c_sx -> ifnet_detach_sx attempted at",
            ]
        );
    }

    #[test]
    fn every_held_lock_counts_not_only_the_last() {
        let (host, witness) = (LogHost::new(), Witness::new());
        let td = Td::with_witness(ThreadId(NonZeroU32::MIN), &host, &witness);
        let (a, b, c) = (sx(A), sx(B), sx(C));
        drop((c.xlock(&td), a.xlock(&td)));
        // Trying teaches no order a -> b, so c contradicts only a, the older of the two.
        drop((a.xlock(&td), b.try_xlock(&td), c.xlock(&td)));
        assert_eq!(host.log()[1], " 1st ifnet_detach_sx (ifnet_detach_sx, sx) @");
        assert_eq!(witness.reports(), 1);
        assert!(witness.has_order(B, C) && !witness.has_order(A, C));
    }

    #[test]
    fn two_locks_of_one_class() {
        let (host, witness) = (LogHost::new(), Witness::new());
        let td = Td::with_witness(ThreadId(NonZeroU32::MIN), &host, &witness);
        let (first, second) = (sx(C), sx(C));
        drop((first.xlock(&td), second.xlock(&td)));
        drop((second.xlock(&td), first.xlock(&td)));
        assert_eq!(host.log().len(), 3);
        assert_eq!(host.log()[0], "acquiring duplicate lock of same type: \"c_sx\"");
    }

    #[test]
    fn recursion_and_try_are_not_orders() {
        let (host, witness) = (LogHost::new(), Witness::new());
        let td = Td::with_witness(ThreadId(NonZeroU32::MIN), &host, &witness);
        let (a, b) = (sx(A), sx(B));
        drop((a.xlock(&td), b.xlock(&td), a.xlock(&td)));
        let b = b.xlock(&td);
        let a = a.try_xlock(&td);
        assert!(a.is_some());
        drop((a, b));
        assert_eq!(witness.reports(), 0);
    }

    #[test]
    fn threads_share_what_they_saw() {
        // Many threads learn one order, and half of them the other; exactly one pair is reported, whoever is first.
        fn host() -> SpinHost<Global> {
            SpinHost::with_relax(Global, std::thread::yield_now)
        }
        let (host, witness) = (host(), Witness::new());
        let (a, b) = (sx(A), sx(B));
        std::thread::scope(|scope| {
            for id in 1..=4 {
                let (host, witness, a, b) = (&host, &witness, &a, &b);
                scope.spawn(move || {
                    let td = Td::with_witness(ThreadId(NonZeroU32::new(id).unwrap()), host, witness);
                    for _ in 0..50 {
                        // Shared, so that the reversal does not dead-lock.
                        if id % 2 == 0 {
                            drop((a.slock(&td), b.slock(&td)));
                        } else {
                            drop((b.slock(&td), a.slock(&td)));
                        }
                    }
                });
            }
        });
        assert_eq!(witness.reports(), 1);
        assert!(witness.has_order(A, B) != witness.has_order(B, A));
    }

    #[test]
    #[should_panic(expected = "no such class number")]
    fn class_numbers_are_bounded() {
        let _ = LockClass::user(LockClass::USER_MAX, "one too many");
    }
}
