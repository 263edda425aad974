//! What address families keep on an interface: `if_afdata`, `if_inet6`.
//!
//! There is no IP stack here. This is the one object that an output or input path of a family dereferences on every
//! packet, so that its life relative to detach can be checked: FreeBSD freed it while a thread that had found the
//! interface by its index was still using it (reviews D34076, D49447).

use super::life::{Life, Watch};
use crate::epoch::DomainRef;
use crate::mem::{NoMem, Shared};
use crate::platform::Platform;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Per-family data of an interface. It stays with the interface over a move and is freed a grace period after detach.
pub(crate) struct AfData<P: Platform> {
    life: Life,
    watch: Watch<P>,
    packets: AtomicUsize,
}

impl<P: Platform> AfData<P> {
    /// `dom_ifattach`.
    pub(crate) fn attach(domain: &DomainRef<P>) -> Result<Shared<Self, P>, NoMem> {
        let watch = Watch::new(domain);
        Shared::try_new(domain, Self { life: Life::new(), watch, packets: AtomicUsize::new(0) })
    }

    /// What the input path does with it: counts a packet.
    pub(crate) fn input(&self) -> usize {
        self.watch.touch(&self.life, &"the family data of an interface after dom_ifdetach");
        self.packets.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// `dom_ifdetach`, at once: only after a grace period, or as a historical bug.
    pub(crate) fn detach(&self) {
        self.life.free();
    }
}
