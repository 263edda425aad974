//! Who holds the references of an interface: the feature `holders`.
//!
//! A count of two says that something was forgotten, and not by whom. With the feature each counted handle is entered in a
//! small table of its interface, under the line of the source that took it (`#[track_caller]`), and struck out when it is
//! given up. So "waiting for veth0 to become free" can name the lines that it waits for. Linux has the same as
//! `CONFIG_NET_DEV_REFCNT_TRACKER`.
//!
//! Handles move, so they cannot be links of a list; and an entry for each would need memory. The table has a fixed number
//! of lines of source with a count each. A handle keeps the number of its row. A row whose count is zero is free for
//! another line. Handles that find no row, and those that meet another thread in the table for too long, count only in
//! the sum; a report calls them "unnamed". So entering never waits and never fails.
//!
//! The table's lock and counts are not those of [`sync`](crate::sync) nor the host's: the book-keeping is no step of the
//! emulated kernel, and a model checker shall not choose between its orders.
//!
//! Without the feature all of this has size zero and does nothing.

use core::fmt;
use core::panic::Location;

use super::Ifnet;
use crate::platform::Platform;

/// What a counted handle remembers: its row in the table of its interface.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    #[cfg(feature = "holders")]
    row: u8,
}

/// Who holds references of one interface.
pub(crate) struct Holders {
    #[cfg(feature = "holders")]
    table: table::Table,
}

#[cfg(feature = "holders")]
impl Held {
    /// The first reference, which is the driver's from `if_alloc` to `if_free`.
    pub(crate) const OWNER: Self = Self { row: 0 };
}

#[cfg(feature = "holders")]
impl Holders {
    /// Of an interface that is born with one reference, made at `line`.
    pub(crate) fn new(line: &'static Location<'static>) -> Self {
        Self { table: table::Table::new(line) }
    }

    /// Enters a handle that was taken at `line`.
    pub(crate) fn enter(&self, line: &'static Location<'static>) -> Held {
        Held { row: self.table.enter(line) }
    }

    /// Strikes a handle out.
    pub(crate) fn strike(&self, held: Held) {
        self.table.strike(held.row);
    }

    fn each(&self, each: impl FnMut(&'static Location<'static>, u32)) {
        self.table.each(each);
    }
}

#[cfg(not(feature = "holders"))]
impl Held {
    pub(crate) const OWNER: Self = Self {};
}

#[cfg(not(feature = "holders"))]
impl Holders {
    pub(crate) fn new(_: &'static Location<'static>) -> Self {
        Self {}
    }

    #[inline]
    pub(crate) fn enter(&self, _: &'static Location<'static>) -> Held {
        Held {}
    }

    #[inline]
    pub(crate) fn strike(&self, _: Held) {}

    fn each(&self, _: impl FnMut(&'static Location<'static>, u32)) {}
}

/// Calls `each` for every line of source that took references of `ifp` which are not given up yet, with their number. The
/// driver's own is under the line of its `if_alloc`. Calls nothing without the feature `holders`.
///
/// Others may take and give up references meanwhile: it is a report, and not a snapshot.
pub fn if_holders<P: Platform>(ifp: &Ifnet<P>, each: impl FnMut(&'static Location<'static>, u32)) {
    ifp.holders.each(each);
}

/// The same as a text: `: core/src/bpf.rs:96 x1, 2 unnamed`; empty if nothing is held, or without the feature.
pub struct HeldBy<'a, P: Platform>(&'a Ifnet<P>);

impl<P: Platform> Ifnet<P> {
    /// Who holds references on the interface, as the end of a sentence: see [`HeldBy`].
    pub fn held_by(&self) -> HeldBy<'_, P> {
        HeldBy(self)
    }
}

impl<P: Platform> fmt::Display for HeldBy<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !cfg!(feature = "holders") {
            return Ok(());
        }
        // Before the lines are read: a reference is counted before it is entered, and struck out before it is given up.
        let all = self.0.refcount();
        let (mut named, mut written) = (0, Ok(()));
        let mut between = ": ";
        if_holders(self.0, |line, count| {
            written = written.and_then(|()| write!(f, "{between}{}:{} x{count}", line.file(), line.line()));
            named += count;
            between = ", ";
        });
        written?;
        if all > named { write!(f, "{between}{} unnamed", all - named) } else { Ok(()) }
    }
}

#[cfg(feature = "holders")]
mod table {
    use core::panic::Location;
    use core::sync::atomic::{AtomicU32, Ordering};

    use spin::mutex::{SpinMutex, SpinMutexGuard};

    /// So many different lines can hold references of one interface at a time.
    pub(super) const ROWS: usize = 16;
    /// The row of a handle that is not in the table.
    const NONE: u8 = u8::MAX;
    /// How often the lock of the table is tried.
    const TRIES: u32 = 100;

    /// # Invariants
    /// The line of a row changes only under the lock, and only while the count of the row is zero.
    pub(super) struct Table {
        lines: SpinMutex<[Option<&'static Location<'static>>; ROWS]>,
        counts: [AtomicU32; ROWS],
    }

    /// Numbers first: most lines that are compared are of one file.
    fn is_same(one: &Location<'_>, other: &Location<'_>) -> bool {
        (one.line(), one.column()) == (other.line(), other.column()) && one.file() == other.file()
    }

    impl Table {
        pub(super) fn new(line: &'static Location<'static>) -> Self {
            let counts = core::array::from_fn(|row| AtomicU32::new(u32::from(row == 0)));
            let mut lines = [None; ROWS];
            lines[0] = Some(line);
            Self { lines: SpinMutex::new(lines), counts }
        }

        fn lock(&self) -> Option<SpinMutexGuard<'_, [Option<&'static Location<'static>>; ROWS]>> {
            // Not until it is free: who holds it may be preempted by the caller.
            (0..TRIES).find_map(|_| self.lines.try_lock())
        }

        pub(super) fn enter(&self, line: &'static Location<'static>) -> u8 {
            let Some(mut lines) = self.lock() else { return NONE };
            // Row 0 is the driver's, the others are used from the first.
            let used = lines[1..].iter().take_while(|line| line.is_some()).count();
            let rows = 1..=used;
            let held = rows.clone().find(|row| lines[*row].is_some_and(|other| is_same(other, line)));
            let unused = |row: &usize| self.counts[*row].load(Ordering::Relaxed) == 0;
            let row = held.or_else(|| rows.clone().find(unused)).unwrap_or(used + 1);
            if row == ROWS {
                return NONE;
            }
            lines[row] = Some(line);
            self.counts[row].fetch_add(1, Ordering::Relaxed);
            row as u8
        }

        pub(super) fn strike(&self, row: u8) {
            if let Some(count) = self.counts.get(usize::from(row)) {
                // Not below zero: with a hazard open the driver's reference is given up twice.
                let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
            }
        }

        /// Outside of the lock: `each` may take references.
        pub(super) fn each(&self, mut each: impl FnMut(&'static Location<'static>, u32)) {
            let Some(lines) = self.lock().map(|lines| *lines) else { return };
            for (line, count) in lines.iter().zip(&self.counts) {
                let count = count.load(Ordering::Relaxed);
                if let Some(line) = line.filter(|_| count > 0) {
                    each(line, count);
                }
            }
        }
    }
}

#[cfg(all(test, feature = "holders", not(ifnet_loom)))]
mod tests {
    extern crate std;

    use core::panic::Location;
    use std::string::ToString;
    use std::vec::Vec;
    use std::{format, vec};

    use super::*;
    use crate::testing::{attached, gone, kernel};
    use crate::{
        CloneParams, IfnetRef, Ifp, TaskMode, if_clone_create_kind, if_ref, if_try_ref, if_unregister,
        ifnet_byindex_ref, ifunit_ref,
    };

    fn lines<P: Platform>(ifp: &Ifnet<P>) -> Vec<(&'static str, u32, u32)> {
        let mut lines = Vec::new();
        if_holders(ifp, |line, count| lines.push((line.file(), line.line(), count)));
        lines
    }

    #[track_caller]
    fn here() -> (&'static str, u32, u32) {
        (file!(), Location::caller().line(), 1)
    }

    #[test]
    fn each_holder_is_named_by_its_line_and_gone_after_the_release() {
        let (_, kernel) = kernel(TaskMode::Deferred);
        let td = kernel.thread().expect("room");
        let em0 = attached(&td, "em", 0);
        let born = lines(&em0);
        let (a, at_a) = (if_ref(&em0), here());
        let (b, at_b) = (a.clone(), here());
        let (c, at_c) = (ifunit_ref(&td, "em0").expect("attached"), here());
        let (d, at_d) = (ifnet_byindex_ref(&td, em0.index()).expect("attached"), here());
        let (e, at_e) = (if_try_ref(&em0).expect("attached"), here());
        assert_eq!(lines(&em0)[born.len()..], [at_a, at_b, at_c, at_d, at_e]);
        drop(a);
        assert_eq!(lines(&em0)[born.len()..], [at_b, at_c, at_d, at_e], "the copy has a line of its own");
        let again: Vec<_> = (0..3).map(|_| if_ref(&em0)).collect();
        assert_eq!(lines(&em0)[born.len()].2, 3, "the row that was free is used again");
        drop((b, c, d, e, again));
        assert_eq!(lines(&em0), born);
        gone(&td, em0);
    }

    #[track_caller]
    fn r<P: Platform>(ifp: &Ifp<P>) -> IfnetRef<P> {
        if_ref(ifp)
    }

    #[test]
    fn who_is_waited_for_is_named() {
        let (host, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        if_clone_create_kind(&td, "veth", Some("veth0"), &CloneParams::NONE).expect("memory");
        let held = ifunit_ref(&td, "veth0").expect("just made");
        let (file, line, _) = here();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let td = kernel.thread().expect("room");
                assert_eq!(if_unregister(&td, "veth0"), Ok(()));
            });
            while host.logged().is_empty() {
                std::thread::yield_now();
                // The waiter counts wakeups, and this is one.
                kernel.domain.wake_sleepers();
            }
            let waiting = "unregister: waiting for veth0 to become free. Usage count = 1";
            assert_eq!(host.logged()[0], format!("{waiting}: {file}:{} x1", line - 1));
            let mut left = Vec::new();
            kernel.if_foreach_left(&td, |ifp| left.push(format!("{}{}", ifp.name(), ifp.held_by())));
            assert_eq!(left.last(), Some(&format!("veth0: {file}:{} x1", line - 1)));
            drop(held);
        });
        while kernel.run_deferred(&td) {}
        let mut left = 0;
        kernel.if_foreach_left(&td, |_| left += 1);
        assert_eq!(left, 1, "lo0");
    }

    #[test]
    fn more_lines_than_rows_are_counted_and_not_named() {
        let (_, kernel) = kernel(TaskMode::Deferred);
        let td = kernel.thread().expect("room");
        let em0 = attached(&td, "em", 0);
        let named = lines(&em0).len();
        let i = &em0;
        // A place is a column too.
        let held = vec![r(i), r(i), r(i), r(i), r(i), r(i), r(i), r(i), r(i), r(i), r(i), r(i), r(i), r(i), r(i), r(i)];
        let missing = held.len() - (table::ROWS - named);
        assert!(em0.held_by().to_string().ends_with(&format!(", {missing} unnamed")), "{}", em0.held_by());
        drop(held);
        assert_eq!(lines(&em0).len(), named);
        gone(&td, em0);
    }
}
