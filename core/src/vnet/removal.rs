//! The removal of vnets at a later time, by somebody else: what `prison_deref` does for the last process of a jail.
//!
//! Who drops the last reference to a jail may be anybody, with any lock, and a vnet's end takes long and sleeps. So the
//! vnet is put on a queue of its own, through a link of its own, and
//! [`Kernel::run_deferred`](crate::Kernel::run_deferred) removes it.
//!
//! The queue is not the task queue. A removal drains the tasks of every interface that it detaches, and so it must not be
//! a task in front of those: a queue that waits for itself never ends. FreeBSD had it so, until review D47991 gave the
//! removal a thread of its own (hazard `teardown-on-own-queue`).

use crate::Errno;
use crate::epoch::DomainRef;
use crate::hazard::Hazard;
use crate::mem::{Link, Linked, TailQ};
use crate::platform::{Mutex, Platform};
use crate::taskq::TaskMode;
use crate::thread::Thread;

use super::destroy::vnet_destroy;
use super::{Vnet, VnetRef};

/// The queue of vnets to be removed.
pub(crate) enum ByRemoval {}

impl<P: Platform> Linked<P, ByRemoval> for Vnet<P> {
    fn link(&self) -> &Link<Self, P> {
        &self.removal
    }
}

/// Vnets to be removed, the first to go first.
pub(crate) struct Removals<P: Platform> {
    queue: TailQ<Vnet<P>, P, ByRemoval>,
    /// For the writers of `queue`.
    lock: P::Mutex<()>,
}

impl<P: Platform> Removals<P> {
    pub(crate) fn new(domain: &DomainRef<P>) -> Self {
        Self { queue: TailQ::new(domain), lock: P::Mutex::new(()) }
    }

    fn push(&self, vnet: &VnetRef<P>) -> bool {
        let _guard = self.lock.lock();
        self.queue.insert_tail(vnet)
    }

    fn pop(&self, td: &Thread<'_, P>) -> Option<VnetRef<P>> {
        let _guard = self.lock.lock();
        let section = td.net_epoch_enter();
        let vnet = self.queue.first(&section)?.try_share()?;
        self.queue.remove(&vnet).then_some(vnet)
    }

    /// Whether a vnet waits to be removed.
    pub(crate) fn is_pending(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Removes what is queued; whether there was anything. Several threads may do it, each a vnet at a time.
    pub(crate) fn run(&self, td: &Thread<'_, P>) -> bool {
        let mut ran = false;
        while let Some(vnet) = self.pop(td) {
            // Somebody else may have destroyed it since, which is as good.
            let _ = vnet_destroy(td, &vnet);
            ran = true;
        }
        ran
    }
}

/// `prison_deref` of a jail's last reference: has the vnet destroyed later, by a thread that does deferred work. With
/// [`TaskMode::Immediate`] that is this one, before this returns.
///
/// # Locks
/// None; needs no memory and does not sleep, except as said.
///
/// # Errors
/// `EINVAL` for the default vnet; `EBUSY` if the vnet is being destroyed, or was, or is to be.
pub fn vnet_destroy_deferred<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>) -> Result<(), Errno> {
    let kernel = td.kernel();
    if vnet.ptr_eq(&kernel.vnet0) {
        return Err(Errno::EINVAL);
    }
    if vnet.is_shutdown() || !kernel.removals.push(vnet) {
        return Err(Errno::EBUSY);
    }
    td.platform().work_queued();
    if kernel.config().tasks == TaskMode::Immediate {
        run(td);
    }
    Ok(())
}

/// Removes what is queued: beside the task queue, or with the hazard open, as one of its tasks.
pub(crate) fn run<P: Platform>(td: &Thread<'_, P>) -> bool {
    let kernel = td.kernel();
    if td.hazard(Hazard::TeardownOnOwnQueue) {
        kernel.removals.is_pending() && kernel.taskq.run_as_task(td, || kernel.removals.run(td))
    } else {
        kernel.removals.run(td)
    }
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests {
    use super::*;
    use crate::testing::kernel;
    use crate::{LinkState, if_clone_create, if_link_state_change, ifunit_ref, vnet_alloc};

    #[test]
    fn a_vnet_goes_when_deferred_work_is_done_and_not_before() {
        for mode in [TaskMode::Deferred, TaskMode::Immediate] {
            let (host, kernel) = kernel(mode);
            let td = kernel.thread().expect("room");
            let [a, b] = [vnet_alloc(&td), vnet_alloc(&td)].map(|made| made.expect("memory"));
            for vnet in [&a, &b] {
                let _cur = td.curvnet_set(Some(vnet.clone()));
                if_clone_create(&td, "epair").expect("memory");
                let end = ifunit_ref(&td, "epair0a").expect("just made");
                if_link_state_change(&td, &end, LinkState::Down);
            }
            for vnet in [&a, &b] {
                let allocated = host.arena().total();
                vnet_destroy_deferred(&td, vnet).expect("alive");
                assert_eq!(vnet.is_destroyed(), mode == TaskMode::Immediate);
                assert_eq!(host.arena().total(), allocated, "nothing is allocated");
                assert_eq!(vnet_destroy_deferred(&td, vnet), Err(Errno::EBUSY), "once is enough");
            }
            while kernel.run_deferred(&td) {}
            assert!(a.is_destroyed() && b.is_destroyed());
            assert_eq!(vnet_destroy(&td, &a), Err(Errno::EBUSY));
            assert_eq!(kernel.interfaces(), 1);
        }
    }

    #[test]
    fn a_destroy_in_between_wins_and_the_default_vnet_stays() {
        let (_, kernel) = kernel(TaskMode::Deferred);
        let td = kernel.thread().expect("room");
        assert_eq!(vnet_destroy_deferred(&td, &kernel.vnet0()), Err(Errno::EINVAL));
        let vnet = vnet_alloc(&td).expect("memory");
        vnet_destroy_deferred(&td, &vnet).expect("alive");
        vnet_destroy(&td, &vnet).expect("not begun");
        assert!(kernel.run_deferred(&td), "the entry is used up");
        // A kernel that is shut down removes what still waits: the end of the test looks for leaks.
        vnet_destroy_deferred(&td, &vnet_alloc(&td).expect("memory")).expect("alive");
    }
}
