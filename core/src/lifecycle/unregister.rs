//! Unregistration of interfaces whose uppers and peers live in other vnets.
//!
//! # The problem
//!
//! When a lower interface goes away, everything that stands above it must go too, and an upper may live in any vnet. The
//! number of vnets involved has no bound and is not known before the lower's departure is announced, so their locks
//! cannot be taken beforehand in order; and taking them one after the other, as the uppers are met, is an order that
//! another thread may have the other way round.
//!
//! # The answer
//!
//! The thread that takes the lower down never touches another vnet's interfaces. It *queues* them: each vnet has a queue
//! of interfaces to unregister, and whoever holds a vnet's lock empties its queue before letting go. So an upper goes
//! either in its own vnet's work ([`Kernel::run_deferred`](crate::Kernel::run_deferred), which takes one vnet's lock
//! after the other), or in whatever operation happens to use that vnet next. Uppers in the lower's own vnet need no
//! queue: they go at once, nested in the lower's departure.
//!
//! A queued interface is still attached, listed and found by name, but its driver has already taken it apart (`dying`).
//! Deleting it again does nothing, succeeds, and does the pending work. If it is moved, its place in the queue moves with
//! it. Queueing needs no memory: the link is in the interface.
//!
//! # Locks
//!
//! Detach lock, then a vnet's lock, then a port's. The detach lock stays what it is in FreeBSD, the outermost lock of
//! every detach, move and teardown: it pins `if_vnet`, and protects the queues. A vnet's lock says who works in the
//! vnet. A thread holds at most one of them (the witness reports two), except recursively; so no order among them is
//! needed. A [`VnetGuard`] holds both locks, and empties the queue under both.
//!
//! # Waiting
//!
//! An interface is freed when its last reference is gone: its port keeps a lower until the last upper is uninitialised,
//! so the lower is freed last whatever the order of the works. Nobody who unregisters waits for that. Only
//! [`if_unregister`], the user's `ip link del`, returns after what it unregistered is freed. It waits without a lock, and
//! it *helps*: it empties the queues of other vnets, one at a time. So the wait ends even if no worker exists, or if the
//! only worker is somebody who waits here. Linux 7.3-rc7 waits in the work itself, and a chain over three vnets hangs:
//! the work that would drop the last reference is queued behind the one that waits for it.

use crate::Errno;
use crate::bpf::bpfdetach;
use crate::clone::{CloneFlags, destroy_with_flags, forget_cloned};
use crate::event::{log, view};
use crate::hazard::Hazard;
use crate::ifnet::{ByTodo, ByUnreg, Ifnet, IfnetOwner, Ifp};
use crate::mem::TailQ;
use crate::platform::{Mutex, Platform};
use crate::sync::XGuard;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::thread::Thread;
use crate::trace::Record;
use crate::vnet::destroy::{first, next};
use crate::vnet::group_verbs::if_delgroups;
use crate::vnet::list::if_unlink_ifnet;
use crate::vnet::{VnetRef, ifunit_ref};

use super::alloc::if_free;
use super::attach::release_names;
use super::detach::take_down;
use super::until_freed::UntilFreed;

/// How often a waiter gives way to a worker before it does the work itself.
const PATIENCE: u32 = 4;

/// After how many fruitless rounds a wait is reported, and then after each twice as many.
const FIRST_REPORT: u32 = 4;

/// What a kernel knows of interfaces that are on their way out.
pub(crate) struct Unregistering<P: Platform> {
    /// How many are on the queues of all vnets.
    queued: AtomicUsize,
    /// Those that are unregistered and not yet seen freed: `net_todo_list`.
    todo: UntilFreed<P, ByTodo>,
}

impl<P: Platform> Unregistering<P> {
    pub(crate) fn new(domain: &crate::epoch::DomainRef<P>) -> Self {
        Self { queued: AtomicUsize::new(0), todo: UntilFreed::new(domain) }
    }

    fn is_queued(&self) -> bool {
        self.queued.load(Ordering::Acquire) != 0
    }
}

/// Interfaces that the owner of this list is going to unregister together: the `list_head` of `dellink`. An interface
/// is on one such list, or on the queue of its vnet, or on none.
pub struct UnregisterList<P: Platform>(TailQ<Ifnet<P>, P, ByUnreg>);

impl<P: Platform> UnregisterList<P> {
    /// An empty list.
    pub fn new(td: &Thread<'_, P>) -> Self {
        Self(TailQ::new(td.domain()))
    }

    /// How many are on it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is on it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A vnet's lock, with the detach lock. Dropping it empties the vnet's queue, and then releases both.
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct VnetGuard<'v, 't, 'k, P: Platform> {
    td: &'t Thread<'k, P>,
    vnet: &'v VnetRef<P>,
    /// What the thread worked in before.
    outer: Option<u32>,
    // Dropped in this order: the outer lock last.
    _vnet_sx: XGuard<'v, 't, P>,
    _detach: XGuard<'k, 't, P>,
}

impl<P: Platform> Drop for VnetGuard<'_, '_, '_, P> {
    fn drop(&mut self) {
        flush(self.td, self.vnet);
        self.td.set_dead_work(self.outer);
    }
}

/// Holds the lock of a vnet: `rtnl_net_lock`. What is queued there is unregistered before the lock is released.
///
/// # Locks
/// Takes the detach lock, then the vnet's. No other vnet's may be held. The vnet may have been destroyed meanwhile: look
/// ([`is_destroyed`](crate::Vnet::is_destroyed)) before anything is changed.
pub fn vnet_lock<'v, 't, 'k, P: Platform>(td: &'t Thread<'k, P>, vnet: &'v VnetRef<P>) -> VnetGuard<'v, 't, 'k, P> {
    let detach = td.kernel().detach_sx.xlock(td);
    let sx = vnet.sx.xlock(td);
    // Under the detach lock, which its destruction needs: it stays as it is.
    let outer = td.set_dead_work(vnet.is_destroyed().then_some(vnet.id()));
    VnetGuard { td, vnet, outer, _vnet_sx: sx, _detach: detach }
}

/// `unregister_netdevice_queue_net`: gives an interface up for unregistration. In the vnet in which the caller works it
/// goes onto the caller's list; in another one onto that vnet's queue, and the work is announced. Never allocates.
///
/// # Locks
/// Under the detach lock, which keeps the interface in its vnet.
///
/// # Panics
/// `unregister_queue: <if> is queued already`: its driver has given it up twice.
pub fn unregister_queue<P: Platform>(
    td: &Thread<'_, P>,
    caller_vnet: &VnetRef<P>,
    owner: IfnetOwner<P>,
    list: &UnregisterList<P>,
) {
    let _detach = td.kernel().detach_sx.xlock(td);
    let IfnetOwner(ifp) = owner;
    let vnet = ifp.if_vnet(td);
    vnet.changes(td, "unregister_queue");
    let mine = vnet.ptr_eq(caller_vnet);
    let queue = if mine { &list.0 } else { &vnet.unreg };
    if !queue.insert_tail(&ifp) {
        td.platform().panic(format_args!("unregister_queue: {} is queued already", ifp.name()));
    }
    if !mine {
        announce(td, 1);
    }
}

fn announce<P: Platform>(td: &Thread<'_, P>, count: usize) {
    td.kernel().unregistering.queued.fetch_add(count, Ordering::AcqRel);
    td.platform().work_queued();
    // A waiter can help.
    td.domain().wake_sleepers();
}

/// The end of a driver's `dellink`: unregisters what it has given up; or, with [`CloneFlags::QUEUE`], leaves that to the
/// queues of the vnets, in this order. Under the detach lock.
pub(crate) fn end_of_dellink<P: Platform>(td: &Thread<'_, P>, list: &UnregisterList<P>, flags: CloneFlags) {
    if !flags.contains(CloneFlags::QUEUE) {
        return unregister_many(td, list);
    }
    while let Some(ifp) = pop(td, &list.0) {
        push(td, &ifp.if_vnet(td).unreg, &ifp);
        announce(td, 1);
    }
}

/// An interface that is queued has arrived in another vnet: its place in the queue comes with it. Under the detach lock.
pub(crate) fn rehome<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, old: &VnetRef<P>, new: &VnetRef<P>) {
    if td.hazard(Hazard::QueuedThenMoved) || !old.unreg.remove(ifp) {
        return;
    }
    new.changes(td, "rehome");
    let queued = new.unreg.insert_tail(ifp);
    debug_assert!(queued, "it has just left the other queue");
    announce(td, 0);
}

/// Unregisters what is queued in a vnet, until nothing is. Under the detach lock.
pub(crate) fn flush<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>) {
    while !vnet.unreg.is_empty() {
        let _work = vnet.sx.xlock(td);
        let batch = UnregisterList::new(td);
        while let Some(ifp) = pop(td, &vnet.unreg) {
            td.kernel().unregistering.queued.fetch_sub(1, Ordering::AcqRel);
            push(td, &batch.0, &ifp);
        }
        let _cur = td.curvnet_set(Some(vnet.clone()));
        unregister_in(td, Some(vnet), &batch);
    }
}

/// `unregister_netdevice_many`: unregisters all that are on the list, which is empty afterwards. They share grace
/// periods: phases that need one are done for all before the next begins.
///
/// # Locks
/// Holds the detach lock. Waits for readers, and for no reference.
///
/// # Events
/// For each, in the order of the list, those of [`if_detach`](super::if_detach).
///
/// # Panics
/// `<if>: interface is not on the active list`.
#[track_caller]
pub fn unregister_many<P: Platform>(td: &Thread<'_, P>, list: &UnregisterList<P>) {
    td.assert_can_sleep("unregister_many");
    let _detach = td.kernel().detach_sx.xlock(td);
    unregister_in(td, None, list);
}

/// [`unregister_many`], of interfaces that were queued in `vnet`.
fn unregister_in<P: Platform>(td: &Thread<'_, P>, vnet: Option<&VnetRef<P>>, list: &UnregisterList<P>) {
    if list.is_empty() {
        return;
    }
    let unlinked = UnregisterList::new(td);
    while let Some(ifp) = pop(td, &list.0) {
        let vnet = vnet.cloned().unwrap_or_else(|| ifp.if_vnet(td));
        let _cur = td.curvnet_set(Some(vnet.clone()));
        forget_cloned(&ifp);
        bpfdetach(td, &ifp);
        if if_unlink_ifnet(td, &ifp, false).is_none() {
            let name = ifp.name();
            td.platform().panic(format_args!("{name}: interface is not on the active list"));
        }
        if_delgroups(td, &vnet, &ifp);
        push(td, &unlinked.0, &ifp);
    }

    // Once for all: nobody who found one of them on a list is still in a section; callbacks that touch them have run.
    td.net_epoch_wait();
    td.net_epoch_drain_callbacks();

    let departed = UnregisterList::new(td);
    while let Some(ifp) = pop(td, &unlinked.0) {
        let vnet = ifp.if_vnet(td);
        let _cur = td.curvnet_set(Some(vnet.clone()));
        take_down(td, &ifp, false);
        if let Some(ops) = ifp.stack_ops() {
            (ops.uninit)(td, &ifp);
        }
        release_names(td, &vnet, &ifp);
        push(td, &departed.0, &ifp);
    }
    while let Some(ifp) = pop(td, &departed.0) {
        note_todo(td, &ifp);
        if_free(td, IfnetOwner(ifp));
    }
}

fn pop<P: Platform>(td: &Thread<'_, P>, queue: &TailQ<Ifnet<P>, P, ByUnreg>) -> Option<Ifp<P>> {
    let first = {
        let section = td.net_epoch_enter();
        queue.first(&section).and_then(|ifp| ifp.try_share())
    };
    first.filter(|ifp| queue.remove(ifp))
}

fn push<P: Platform>(td: &Thread<'_, P>, queue: &TailQ<Ifnet<P>, P, ByUnreg>, ifp: &Ifp<P>) {
    if !queue.insert_tail(ifp) {
        td.platform().panic(format_args!("unregister_many: {} was queued again", ifp.name()));
    }
}

/// `net_set_todo`.
fn note_todo<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    run_todo(td);
    let by = if td.awaits_unregistered() { td.id().0.get() } else { 0 };
    ifp.awaited_by.store(by, Ordering::Relaxed);
    let noted = td.kernel().unregistering.todo.note(ifp);
    debug_assert!(noted, "an interface is unregistered once");
}

/// `netdev_run_todo` without its wait: takes note of those that are freed by now, in whatever order.
pub(crate) fn run_todo<P: Platform>(td: &Thread<'_, P>) {
    while let Some(ifp) = td.kernel().unregistering.todo.take_freed(td) {
        call(td, "free_netdev", &ifp);
    }
}

/// Records that a driver's function was called for an interface, as the trace of seed 2 shows it.
pub(crate) fn call<P: Platform>(td: &Thread<'_, P>, function: &str, ifp: &Ifp<P>) {
    let cur = td.cur();
    view(td, ifp, |ifp| td.trace(&Record::Call { function, ifp, cur }));
}

/// Does the work of every vnet that has something queued, one after the other; whether there was any. Waits for no
/// reference.
pub(crate) fn run_works<P: Platform>(td: &Thread<'_, P>) -> bool {
    let mut worked = false;
    while td.kernel().unregistering.is_queued() {
        let Some(vnet) = next_queued(td) else {
            // It is being destroyed, and its destruction, which holds this lock, does the work.
            drop(td.kernel().detach_sx.xlock(td));
            continue;
        };
        drop(vnet_lock(td, &vnet));
        worked = true;
        if td.hazard(Hazard::WaitOnOwnExecutor) {
            wait_for_all(td);
        }
    }
    worked
}

/// A vnet with something queued. One that is being destroyed is not found: its destruction does the work.
fn next_queued<P: Platform>(td: &Thread<'_, P>) -> Option<VnetRef<P>> {
    let vnets = td.kernel().vnets.lock();
    vnets.list.iter().find(|vnet| !vnet.unreg.is_empty()).cloned()
}

/// The hole of `wait-on-own-executor`: the work waits until all that it has unregistered is freed.
fn wait_for_all<P: Platform>(td: &Thread<'_, P>) {
    loop {
        td.net_epoch_drain_callbacks();
        run_todo(td);
        let Some(ifp) = td.kernel().unregistering.todo.find(td, |_| true) else { return };
        let ready = &mut || ifp.life.is_deferred();
        td.sleep("unregister", td.domain().channel(), ready);
    }
}

/// `ip link del`: destroys a cloned interface of the current vnet by its name, and returns when it, and whatever else
/// had to go with it in this vnet, is freed. That includes interfaces in other vnets that hold references on these.
///
/// # Locks
/// Takes the detach lock and the vnet's lock. Waits with neither.
///
/// # Errors
/// `ENODEV` if there is no such interface, or somebody else destroys it; `EOPNOTSUPP` if it was not cloned, or may not
/// be destroyed (`lo0`); or the driver's. An interface that is queued already counts as deleted: success.
#[track_caller]
pub fn if_unregister<P: Platform>(td: &Thread<'_, P>, name: &str) -> Result<(), Errno> {
    td.assert_can_sleep("if_unregister");
    and_wait(td, || delete(td, name))
}

/// Does a deletion, and waits until what it has unregistered is freed.
fn and_wait<P: Platform>(td: &Thread<'_, P>, delete: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    let collecting = td.await_unregistered();
    let result = delete();
    drop(collecting);
    wait_until_freed(td);
    result
}

fn delete<P: Platform>(td: &Thread<'_, P>, name: &str) -> Result<(), Errno> {
    let ifp = ifunit_ref(td, name).ok_or(Errno::ENODEV)?;
    // Read under the lock that a move holds: read before, it may be another vnet than the one that is locked.
    let early = td.hazard(Hazard::VnetReadThenLock).then(|| ifp.if_vnet(td));
    td.preempt();
    let _detach = td.kernel().detach_sx.xlock(td);
    let vnet = early.unwrap_or_else(|| ifp.if_vnet(td));
    let _work = vnet_lock(td, &vnet);
    // The name was looked up before the lock, and is the caller's only in its own vnet.
    if ifp.is_dying() || !td.look_at_curvnet(|cur| cur.ptr_eq(&vnet)) || !ifp.has_name(name) {
        return Err(Errno::ENODEV);
    }
    let cloner = Option::clone(&*ifp.cloner.lock()).ok_or(Errno::EOPNOTSUPP)?;
    destroy_with_flags(td, &cloner, &ifp, CloneFlags::empty()).map_err(|errno| match errno {
        Errno::ENXIO => Errno::ENODEV,
        Errno::EINVAL => Errno::EOPNOTSUPP,
        errno => errno,
    })
}

/// `ip link del group`: destroys every interface of the current vnet whose [`link_group`](Ifnet::link_group) this is, in
/// the order of the list, and returns as [`if_unregister`] does. Those of kinds that unregister in batches go together:
/// all are given up before the first departs.
///
/// # Locks
/// As [`if_unregister`].
///
/// # Errors
/// `EPERM` for group 0, in which every interface is that nobody has put elsewhere; `ENODEV` if the group has no member;
/// `EOPNOTSUPP` if one of them was not cloned, or may not be destroyed, and then all are as before. What a driver says is
/// final, and those before it are gone.
#[track_caller]
pub fn if_unregister_group<P: Platform>(td: &Thread<'_, P>, group: u32) -> Result<(), Errno> {
    td.assert_can_sleep("if_unregister_group");
    if group == 0 {
        return Err(Errno::EPERM);
    }
    and_wait(td, || delete_group(td, group))
}

fn delete_group<P: Platform>(td: &Thread<'_, P>, group: u32) -> Result<(), Errno> {
    let vnet = td.curvnet();
    // Its release unregisters what the drivers have queued.
    let _work = vnet_lock(td, &vnet);
    let mut found = Err(Errno::ENODEV);
    {
        let section = td.net_epoch_enter();
        for ifp in vnet.ifnets.iter(&section).filter(|ifp| ifp.link_group() == group) {
            if !is_deletable(ifp.get()) {
                return Err(Errno::EOPNOTSUPP);
            }
            found = Ok(());
        }
    }
    found?;
    let mut cursor = first(td, &vnet);
    while let Some(ifp) = cursor {
        let cloner = ifp.cloner.lock().clone();
        if let Some(cloner) = cloner.filter(|_| ifp.link_group() == group && !ifp.is_queued()) {
            destroy_with_flags(td, &cloner, &ifp, CloneFlags::QUEUE)?;
        }
        // What is queued stays on the list; what went at once may have taken its neighbour along.
        cursor = if vnet.ifnets.contains(&ifp) { next(td, &vnet, &ifp) } else { first(td, &vnet) };
    }
    Ok(())
}

/// Whether a user may destroy it: it was cloned, and is not one of those that its vnet has from the start.
fn is_deletable<P: Platform>(ifp: &Ifnet<P>) -> bool {
    let cloner = ifp.cloner.lock().clone();
    cloner.is_some_and(|cloner| !cloner.is_permanent(ifp.dunit()))
}

/// `netdev_wait_allrefs_any`: waits until everything that this call has unregistered is freed, and helps.
fn wait_until_freed<P: Platform>(td: &Thread<'_, P>) {
    let me = td.id().0.get();
    let (mut patience, mut rounds, mut report_at) = (PATIENCE, 0_u32, FIRST_REPORT);
    loop {
        run_todo(td);
        let Some(ifp) = td.kernel().unregistering.todo.find(td, |ifp| ifp.awaited_by.load(Ordering::Relaxed) == me)
        else {
            return;
        };
        let helps = !td.hazard(Hazard::WaitOnOwnExecutor);
        if ifp.life.is_deferred() {
            td.net_epoch_drain_callbacks();
        } else if patience > 0 {
            patience -= 1;
            td.platform().relax();
        } else if !(helps && run_works(td)) {
            let kernel = td.kernel();
            let ready = &mut || {
                // A look is a round: a sleep does not end by itself, and the report is for a wait that has no end.
                rounds = rounds.saturating_add(1);
                rounds >= report_at || ifp.life.is_deferred() || (helps && kernel.unregistering.is_queued())
            };
            td.sleep("unregister", td.domain().channel(), ready);
            if rounds >= report_at && !ifp.life.is_deferred() {
                report_at = report_at.saturating_mul(2);
                report(td, &ifp);
            }
        }
    }
}

fn report<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    let (name, count) = (ifp.names.lock().xname.clone(), ifp.refcount());
    log(td, format_args!("unregister: waiting for {name} to become free. Usage count = {count}{}", ifp.held_by()));
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests;
