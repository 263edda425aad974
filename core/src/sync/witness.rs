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
    index: u8,
    name: &'static str,
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

    const USER_FIRST: u8 = 5;

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

    fn index(self) -> usize {
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

/// Where the order "first, then second" was seen for the first time: where the second was taken.
#[derive(Clone, Copy)]
struct Origin {
    first: LockClass,
    second: LockClass,
    at: &'static Location<'static>,
}

/// How many origins are remembered. Orders beyond it are still checked; their reports lack a line.
const ORIGINS_MAX: usize = 128;

/// A lock-order witness, shared by all threads that were given it ([`Td::with_witness`](super::Td::with_witness)).
///
/// # Invariants
///
/// * The graph `orders` has no cycle.
/// * `orders` grows only under the lock of `origins`.
pub struct Witness {
    orders: Pairs,
    reported: Pairs,
    reports: AtomicU32,
    origins: SpinMutex<heapless::Vec<Origin, ORIGINS_MAX>>,
}

impl Witness {
    /// A witness that has seen nothing. `const`, so that it can be a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            orders: Pairs::new(),
            reported: Pairs::new(),
            reports: AtomicU32::new(0),
            origins: SpinMutex::new(heapless::Vec::new()),
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

    /// Checks and learns the orders that come from taking `wanted` with `held` held: `witness_checkorder`.
    pub(super) fn check<P: Platform>(&self, host: &P, thread: ThreadId, held: &[Held], wanted: &Held) {
        // Newest first, as FreeBSD looks: the innermost lock makes the most telling report.
        for held in held.iter().rev() {
            let (first, second) = (held.class.index(), wanted.class.index());
            if self.orders.contains(first, second) || self.reported.contains(first, second) {
                continue;
            }
            let Some(route) = self.learn(held.class, wanted) else { continue };
            self.reports.fetch_add(1, Ordering::Relaxed);
            host.lock_order_reversal(thread, format_args!("{}", Report { held, wanted, route: &route }));
        }
    }

    /// Adds the order "`first`, then `wanted`". When that would close a cycle, it is not added, and the route from
    /// `wanted` back to `first` is returned (empty for two locks of one class), the first time for each pair.
    fn learn(&self, first: LockClass, wanted: &Held) -> Option<Route> {
        let (from, to) = (first.index(), wanted.class.index());
        let mut origins = self.origins.lock();
        // Somebody else may have come first since the look without the lock.
        if self.orders.contains(from, to) || self.reported.contains(from, to) {
            return None;
        }
        if let Some(route) = self.route(to, from, &origins) {
            self.reported.insert(from, to);
            return Some(route);
        }
        // INVARIANT: there is no way from `to` to `from`, so this edge closes no cycle; and it is added under the lock.
        self.orders.insert(from, to);
        // Full: the order counts all the same, see `ORIGINS_MAX`.
        let _ = origins.push(Origin { first, second: wanted.class, at: wanted.location });
        None
    }

    /// The shortest chain of observed orders that leads from class `from` to class `to`.
    fn route(&self, from: usize, to: usize, origins: &[Origin]) -> Option<Route> {
        if from == to {
            return Some(Route::new());
        }
        // Breadth first. `came_from[class]` is the class from which the search reached it.
        let mut came_from = [None; LockClass::MAX];
        let mut queue: heapless::Deque<usize, { LockClass::MAX }> = heapless::Deque::new();
        came_from[from] = Some(from);
        // No push overflows the queue, or the route below: each class enters at most once.
        let _ = queue.push_back(from);
        while let Some(class) = queue.pop_front() {
            for next in 0..LockClass::MAX {
                if came_from[next].is_none() && self.orders.contains(class, next) {
                    came_from[next] = Some(class);
                    let _ = queue.push_back(next);
                }
            }
        }
        let mut route = Route::new();
        let mut class = to;
        while class != from {
            let before = came_from[class]?;
            let origin = origins.iter().find(|o| (o.first.index(), o.second.index()) == (before, class));
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
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { held, wanted, route } = self;
        let duplicate = held.class.index == wanted.class.index;
        if duplicate {
            writeln!(f, "acquiring duplicate lock of same type: \"{}\"", wanted.class.name)?;
        } else {
            writeln!(f, "lock order reversal:")?;
        }
        writeln!(f, " 1st {} ({}, sx) @ {}", held.name, held.class.name, held.location)?;
        writeln!(f, " 2nd {} ({}, sx) @ {}", wanted.name, wanted.class.name, wanted.location)?;
        for Origin { first, second, at } in route.iter() {
            writeln!(f, "lock order {} -> {} established at {at}", first.name, second.name)?;
        }
        if !duplicate {
            writeln!(f, "lock order {} -> {} attempted at {}", held.class.name, wanted.class.name, wanted.location)?;
        }
        Ok(())
    }
}
