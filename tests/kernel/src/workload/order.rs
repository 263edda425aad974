//! The lock order of `core/PORTING.md`, against what the witness has seen of the workload.

use ifnet::Thread;
use ifnet::sync::LockClass;

use crate::host::Bare;

/// Outermost first.
const ORDER: [LockClass; 7] = [
    LockClass::IFNET_DETACH_SX,
    LockClass::VNET_SYSINIT_SX,
    LockClass::VNET_SX,
    LockClass::VNET,
    LockClass::PORT,
    LockClass::IFNET_SX,
    LockClass::BPF_SX,
];

/// Fails if two locks were taken the other way round. Nothing without the feature `witness`.
pub(super) fn check(td: &Thread<'_, Bare>) {
    let Some(witness) = td.witness() else { return };
    assert_eq!(witness.reports(), 0, "lock orders that contradict each other");
    let mut seen = 0;
    for (at, outer) in ORDER.iter().enumerate() {
        for inner in &ORDER[at + 1..] {
            assert!(!witness.has_order(*inner, *outer), "{outer:?} was taken with {inner:?} held");
            if witness.has_order(*outer, *inner) {
                say!("lock order: {} -> {}", outer.name(), inner.name());
                seen += 1;
            }
        }
    }
    assert!(seen > 0, "the witness has seen nothing");
    say!("lock order: {seen} orders, all as documented");
}
