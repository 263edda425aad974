//! Switchable historical bugs: the races that real kernels had, each at its exact place.
//!
//! Every [`Hazard`] is closed in this library. With the cargo feature `hazards` a kernel can be booted with some of them
//! open ([`Config::hazards`](crate::Config)), so that a checker can prove that it would have caught the bug. Without the
//! feature [`Thread::hazard`](crate::Thread::hazard) is a constant `false` and no code is left.

use core::fmt;

macro_rules! hazards {
    ($($flag:ident, $variant:ident, $name:literal, $source:literal, $hole:literal, $upstream:ident;)*) => {
        /// One historical bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Hazard {
            $(#[doc = $hole] $variant,)*
        }

        impl Hazard {
            /// Every hazard, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in the catalogue and on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Where the bug is described: reviews, problem reports, and entries of the specification.
            #[must_use]
            pub const fn source(self) -> &'static str {
                match self { $(Self::$variant => $source,)* }
            }

            /// What is wrong while the hazard is open.
            #[must_use]
            pub const fn hole(self) -> &'static str {
                match self { $(Self::$variant => $hole,)* }
            }

            /// Whether the real system still has the bug, was fixed, or works around it.
            #[must_use]
            pub const fn upstream(self) -> Upstream {
                match self { $(Self::$variant => Upstream::$upstream,)* }
            }
        }

        bitflags::bitflags! {
            /// The hazards that are open in a kernel.
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
            pub struct HazardSet: u64 {
                $(#[doc = $name] const $flag = 1 << Hazard::$variant as u64;)*
            }
        }
    };
}

/// What became of a hazard in the system that had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// Repaired.
    Fixed,
    /// Avoided at some places, not repaired.
    WorkedAround,
    /// Still there: this library is better than the system that it emulates.
    Open,
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixed => "fixed",
            Self::WorkedAround => "worked around",
            Self::Open => "open",
        })
    }
}

hazards! {
    DETACH_LOCK_INTERNAL_ONLY, DetachLockInternalOnly, "detach-lock-internal-only", "D56374, PR 292993, B5",
        "if_detach reads if_vnet and unlinks before it takes the detach lock; a failed unlink panics.", Fixed;
    UNLINK_FAILURE_IGNORED, UnlinkFailureIgnored, "unlink-failure-ignored", "D56374, B5",
        "As detach-lock-internal-only, and a failed unlink returns silently: the driver frees what a mover then links.", Fixed;
    VNET_RETURN_UNLOCKED, VnetReturnUnlocked, "vnet-return-unlocked", "D27378, PR 238870 234985 244703 250870, B4",
        "vnet teardown moves borrowed interfaces home without the detach lock.", Fixed;
    VNET_RETURN_WALKS_LIST, VnetReturnWalksList, "vnet-return-walks-list", "D27279, B3",
        "vnet_if_return walks the interface list unprotected while it moves.", Fixed;
    FREE_DROPS_REF_FIRST, FreeDropsRefFirst, "free-drops-ref-first", "rS220317, B1",
        "if_free drops the last reference before it clears the index slot.", Fixed;
    IFCNT_DRIFT, IfcntDrift, "ifcnt-drift", "B7",
        "A failed unlink still decrements the count of the vnet's interfaces.", Fixed;
    RECLAIM_UNLINKS_FIRST, ReclaimUnlinksFirst, "reclaim-unlinks-first", "B8",
        "Reclaim unlinks before it takes the detach lock, and asserts that it succeeded.", Fixed;
    LOAN_WEAK_POINTER, LoanWeakPointer, "loan-weak-pointer", "spec 5.2(b)",
        "Loan keeps a bare address between lookup and unlink; the memory can be reused by another interface.", Open;
    MOVE_NAME_TOCTOU, MoveNameToctou, "move-name-toctou", "spec 5.2(a)",
        "The name check in the target of a move is not atomic with the linking.", Open;
    INDEX_REALLOC_ON_MOVE, IndexReallocOnMove, "index-realloc-on-move", "D33672, B9",
        "A move frees the interface's index and allocates another.", Fixed;
    DYING_FOUND_BY_INDEX, DyingFoundByIndex, "dying-found-by-index", "D34076, D49447, B10, B32",
        "A detached, not yet freed interface is still found by index.", WorkedAround;
    FREE_WITHOUT_GRACE, FreeWithoutGrace, "free-without-grace", "spec 10",
        "An interface is freed at its last release, not after a grace period.", Fixed;
    BPF_DETACH_UNLOCKED, BpfDetachUnlocked, "bpf-detach-unlocked", "D56375, B6",
        "bpfdetach runs outside the detach lock, against bpf_vmove.", WorkedAround;
    BPF_NULL_WINDOW, BpfNullWindow, "bpf-null-window", "freebsd-net 2025-05, B20",
        "An interface is visible before its tap is attached, so that the data path finds none.", Open;
    BPF_FOLLOWS_MOVE, BpfFollowsMove, "bpf-follows-move", "D45727, B11",
        "Listeners stay attached while their interface moves to another vnet.", Fixed;
    LINKSTATE_AFTER_DETACH, LinkstateAfterDetach, "linkstate-after-detach", "D39614, B16",
        "A link-state task that is queued after detach has drained runs on a freed interface.", Open;
    LLADDR_AFTER_DETACH, LladdrAfterDetach, "lladdr-after-detach", "B17",
        "A reader that holds only the interface dumps a link-level address that detach has freed.", Open;
    CLONE_CREATE_WINDOW, CloneCreateWindow, "clone-create-window", "B15",
        "Create publishes an interface before its cloner lists it, and a destroy can run in between.", Open;
    SYSUNINIT_LOCK_ORDER, SysuninitLockOrder, "sysuninit-lock-order", "B14",
        "Module unload takes the constructor lock, then the detach lock; vnet teardown the reverse.", Open;
    GROUP_RACE_ON_MOVE, GroupRaceOnMove, "group-race-on-move", "spec 8.1",
        "Joining a group uses the current vnet's table while the interface is moving.", Open;
    LINKDOWN_UAF_EPAIR, LinkdownUafEpair, "linkdown-uaf-epair", "D20868, B2",
        "Destroying an epair clears the other end's softc while a move flushes that end's queue.", Fixed;
    UPPER_DELETED_TWICE, UpperDeletedTwice, "upper-deleted-twice", "seed 2 (dying), linux-netns 3.5",
        "An upper that its lower's departure has queued is deleted again by its owner.", Fixed;
    UPPER_FREED_BEFORE_LOWER_REF, UpperFreedBeforeLowerRef, "upper-freed-before-lower-ref", "seed 2, Linux 3.6",
        "The port of a lower interface keeps no reference on it, so that it is freed before its uppers are gone.", Fixed;
    UNREGISTER_UNDER_PORT_LOCK, UnregisterUnderPortLock, "unregister-under-port-lock", "a8455260b2e9, Linux B22",
        "The departure handler unregisters the uppers while it holds the port's lock.", Fixed;
    WAIT_ON_OWN_EXECUTOR, WaitOnOwnExecutor, "wait-on-own-executor", "linux-netns 1.5",
        "The work of a vnet waits for references that only a work queued behind it can drop.", Open;
    QUEUED_THEN_MOVED, QueuedThenMoved, "queued-then-moved", "linux-netns 1.3",
        "An interface that is queued in one vnet moves to another, and its place in the queue stays behind.", Fixed;
    VNET_READ_THEN_LOCK, VnetReadThenLock, "vnet-read-then-lock", "65161fb544aa, Linux B12",
        "The vnet of an interface is read, then locked, and not read again.", Fixed;
}

impl Hazard {
    /// The set with only this hazard open.
    #[must_use]
    pub const fn set(self) -> HazardSet {
        HazardSet::from_bits_truncate(1 << self as u64)
    }

    /// Finds a hazard by its name in the catalogue.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|hazard| hazard.name() == name)
    }
}

impl fmt::Display for Hazard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
