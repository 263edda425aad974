//! Behind which member an address is: `bridge_rtable`.
//!
//! The table is sorted by address, so that a look-up is a binary search and nothing depends on a hash. It grows with
//! what is learned, up to a limit; when it is full, or there is no memory, an address is not learned, and frames for it
//! go to all members. Nothing grows old: an address moves with the frames that come from it, and is forgotten with its
//! member.

use crate::mem::TryVec;
use crate::platform::{Platform, is_multicast};

/// `BRIDGE_RTABLE_MAX`: how many addresses a bridge learns.
pub(super) const RTABLE_MAX: usize = 2000;

/// `struct bridge_rtnode`.
struct Entry {
    lladdr: [u8; 6],
    /// The index of the member: it does not change while the bridge holds the member.
    member: u32,
}

/// The addresses that a bridge has learned.
///
/// # Invariants
/// Sorted by address, each once; no more than [`RTABLE_MAX`]; each names a member of the bridge.
pub(super) struct Table<P: Platform> {
    entries: TryVec<Entry, P::Allocator>,
}

impl<P: Platform> Table<P> {
    /// An empty table. Allocates nothing.
    pub(super) const fn new(allocator: P::Allocator) -> Self {
        Self { entries: TryVec::new(allocator) }
    }

    /// `bridge_rtlookup`: the index of the member that an address is behind.
    pub(super) fn lookup(&self, lladdr: &[u8; 6]) -> Option<u32> {
        self.find(lladdr).ok().map(|at| self.entries[at].member)
    }

    /// `bridge_rtupdate`: notes that an address is behind a member. A multicast address and that of all zeroes are no
    /// interface's, and are not noted; nor is a new one in a full table or without memory.
    pub(super) fn learn(&mut self, lladdr: [u8; 6], member: u32) {
        if is_multicast(&lladdr) || lladdr == [0; 6] {
            return;
        }
        match self.find(&lladdr) {
            Ok(at) => self.entries[at].member = member,
            Err(at) if self.entries.len() < RTABLE_MAX => {
                // Without the memory the frames go to all members.
                let _ = self.entries.try_insert(at, Entry { lladdr, member });
            }
            Err(_) => {}
        }
    }

    /// `bridge_rtdelete`: forgets what is behind a member. Needs no memory.
    pub(super) fn forget(&mut self, member: u32) {
        self.entries.retain(|entry| entry.member != member);
    }

    fn find(&self, lladdr: &[u8; 6]) -> Result<usize, usize> {
        self.entries.binary_search_by_key(lladdr, |entry| entry.lladdr)
    }
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests {
    use super::*;
    use crate::testing::{Arena, Host};

    fn addr(n: usize) -> [u8; 6] {
        [2, 0, 0, 0, (n / 256) as u8, (n % 256) as u8]
    }

    #[test]
    fn an_address_moves_and_is_forgotten_with_its_member() {
        let mut table = Table::<Host>::new(Arena::default());
        for n in [5, 3, 9, 1] {
            table.learn(addr(n), 7);
        }
        table.learn(addr(3), 8);
        assert_eq!([1, 3, 4, 9].map(|n| table.lookup(&addr(n))), [Some(7), Some(8), None, Some(7)]);
        table.forget(7);
        assert_eq!([1, 3, 5, 9].map(|n| table.lookup(&addr(n))), [None, Some(8), None, None]);
    }

    #[test]
    fn only_addresses_of_interfaces_are_learned() {
        let mut table = Table::<Host>::new(Arena::default());
        for lladdr in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [0; 6]] {
            table.learn(lladdr, 7);
            assert_eq!(table.lookup(&lladdr), None, "{lladdr:?}");
        }
    }

    #[test]
    fn a_full_table_learns_nothing_new_and_follows_what_it_knows() {
        let mut table = Table::<Host>::new(Arena::default());
        (0..=RTABLE_MAX).for_each(|n| table.learn(addr(n), 7));
        assert_eq!((table.lookup(&addr(RTABLE_MAX - 1)), table.lookup(&addr(RTABLE_MAX))), (Some(7), None));
        table.learn(addr(0), 8);
        assert_eq!(table.lookup(&addr(0)), Some(8));
        table.forget(8);
        table.learn(addr(RTABLE_MAX), 9);
        assert_eq!(table.lookup(&addr(RTABLE_MAX)), Some(9), "there is room again");
    }

    #[test]
    fn without_memory_nothing_is_learned_and_forgetting_needs_none() {
        let arena = Arena::default();
        let mut table = Table::<Host>::new(arena.clone());
        table.learn(addr(1), 7);
        arena.fail_after(0);
        (2..200).for_each(|n| table.learn(addr(n), 7));
        assert_eq!((table.lookup(&addr(1)), table.lookup(&addr(199))), (Some(7), None));
        let pieces = arena.live();
        table.forget(7);
        assert_eq!((table.lookup(&addr(1)), arena.live()), (None, pieces));
    }
}
