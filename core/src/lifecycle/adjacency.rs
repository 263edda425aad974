//! Which interface stands above which: `netdev_upper_dev_link`.
//!
//! One graph for all kinds: what shares a lower (`ipvlan`, `macvlan`), VLANs on their parents, and members of bridges and
//! aggregates. So a stack of many kinds is checked as one. A *master* has its lowers as members: an interface has at most
//! one, and what comes in through it is its master's. So an interface with a master has no `rx_handler`, and the other way
//! round ([`Ifnet::is_received`](crate::ifnet::Ifnet)); VLANs leave both alone.
//!
//! An upper interface may live in another vnet than its lower one, and either may be moved: the adjacency stays. Each
//! side is kept by a counted reference, so neither can be freed while the other can still be reached through it.
//!
//! Links are made and undone under the detach lock. They are read under it too, or inside an epoch section. A driver that
//! makes one first [`prepare`]s it, which is all that can fail, and then [commits](Prepared::commit) it where it sets its
//! own data. Undoing one needs no memory.

use crate::Errno;
use crate::ifnet::stack::{Adjacency, Ends};
use crate::ifnet::{IfnetRef, Ifp, if_try_ref};
use crate::mem::{Borrowed, Shared};
use crate::platform::Platform;
use crate::sync::atomic::Ordering;
use crate::thread::Thread;

/// How many interfaces may stand above each other, the lowest included.
pub const MAX_NEST_DEV: u32 = 8;

/// `netdev_upper_dev_link`: puts `upper` above `lower`. With `master` the lower is a member of the upper, and can be of
/// one only.
///
/// # Locks
/// Takes the detach lock.
///
/// # Errors
/// `EBUSY` for an interface above itself, at whatever distance, for a second master, and for a master of what has an
/// `rx_handler`; `EEXIST` for a master that it has, and for another upper that is above the lower already, at whatever
/// distance; `EMLINK` if more than [`MAX_NEST_DEV`] would stand above each other; `ENXIO` if one of them is freed;
/// `ENOMEM`.
#[track_caller]
pub fn if_upper_link<P: Platform>(
    td: &Thread<'_, P>,
    lower: &Ifp<P>,
    upper: &Ifp<P>,
    master: bool,
) -> Result<(), Errno> {
    td.assert_can_sleep("if_upper_link");
    let _detach = td.kernel().detach_sx.xlock(td);
    prepare(td, lower, upper, master)?.commit(td);
    Ok(())
}

/// An adjacency that has passed every check and is not in force. Dropped as it is, it leaves nothing behind.
pub(crate) struct Prepared<P: Platform>(Shared<Adjacency<P>, P>);

/// Everything of [`if_upper_link`] that can fail. Under the detach lock, which is held until the commit.
pub(crate) fn prepare<P: Platform>(
    td: &Thread<'_, P>,
    lower: &Ifp<P>,
    upper: &Ifp<P>,
    master: bool,
) -> Result<Prepared<P>, Errno> {
    let below = survey(td, lower, lowers, upper);
    if below.met {
        return Err(Errno::EBUSY);
    }
    if master {
        if if_master(td, lower).is_some_and(|it| it.ptr_eq(upper)) {
            return Err(Errno::EEXIST);
        }
        if lower.is_received(td) {
            return Err(Errno::EBUSY);
        }
    } else if survey(td, upper, lowers, lower).met {
        // Looked for from above: most uppers have one lower, while a lower may have a thousand uppers.
        return Err(Errno::EEXIST);
    }
    if below.height + survey(td, upper, uppers, lower).height > MAX_NEST_DEV {
        return Err(Errno::EMLINK);
    }
    lower.make_stack()?;
    upper.make_stack()?;
    let (Some(lower), Some(upper)) = (if_try_ref(lower), if_try_ref(upper)) else { return Err(Errno::ENXIO) };
    Ok(Prepared(Adjacency::alloc(td.domain(), Ends { lower, upper }, master)?))
}

impl<P: Platform> Prepared<P> {
    /// Puts it in force. The driver's own data changes with it, under the same hold of the detach lock.
    pub(crate) fn commit(self, td: &Thread<'_, P>) {
        let link = &self.0;
        let (Some(lower), Some(upper)) = (link.lower(), link.upper()) else { return };
        let listed = lower.stack().zip(upper.stack()).is_some_and(|(below, above)| {
            let uppers = &below.uppers;
            (if link.master { uppers.insert_head(link) } else { uppers.insert_tail(link) })
                && above.lowers.insert_tail(link)
        });
        if !listed {
            td.platform().panic(format_args!("if_upper_link: {} is above {} already", upper.name(), lower.name()));
        }
    }
}

impl<P: Platform> Drop for Prepared<P> {
    fn drop(&mut self) {
        if !self.0.is_listed() {
            self.0.end();
        }
    }
}

/// `netdev_upper_dev_unlink`: takes `upper` off `lower`; whether it stood there. The references on both are given up.
///
/// # Locks
/// Takes the detach lock.
#[track_caller]
pub fn if_upper_unlink<P: Platform>(td: &Thread<'_, P>, lower: &Ifp<P>, upper: &Ifp<P>) -> bool {
    td.assert_can_sleep("if_upper_unlink");
    let _detach = td.kernel().detach_sx.xlock(td);
    let Some((below, above)) = lower.stack().zip(upper.stack()) else { return false };
    let Some(link) = find(td, lower, upper) else { return false };
    let removed = below.uppers.remove(&link) && above.lowers.remove(&link);
    debug_assert!(removed, "an adjacency is on both lists");
    link.end();
    removed
}

/// The adjacency of two. A master is the first above its member, and whatever else stands on something stands on little:
/// so this does not take longer for a bridge of a thousand members, or a parent of a thousand VLANs.
fn find<P: Platform>(td: &Thread<'_, P>, lower: &Ifp<P>, upper: &Ifp<P>) -> Option<Shared<Adjacency<P>, P>> {
    let section = td.net_epoch_enter();
    let is_it = |link: &Borrowed<'_, Adjacency<P>, P>| {
        let ends = (link.lower(), link.upper());
        matches!(ends, (Some(below), Some(above)) if below.ptr_eq(lower) && above.ptr_eq(upper))
    };
    let (uppers, lowers) = (&lower.stack()?.uppers, &upper.stack()?.lowers);
    let first = uppers.first(&section).filter(is_it);
    let link = first.or_else(|| {
        if uppers.len() < lowers.len() { uppers.iter(&section).find(is_it) } else { lowers.iter(&section).find(is_it) }
    });
    link?.try_share()
}

/// `netdev_master_upper_dev_get`: the bridge or the aggregate that has an interface as a member.
///
/// # Locks
/// None. Stable under the detach lock.
#[cfg_attr(feature = "holders", track_caller)]
pub fn if_master<P: Platform>(td: &Thread<'_, P>, lower: &Ifp<P>) -> Option<IfnetRef<P>> {
    let section = td.net_epoch_enter();
    let link = lower.uppers(&section).next().filter(|link| link.master)?;
    if_try_ref(&link.upper()?)
}

/// Calls `each` for every interface that stands directly above, masters first, with whether it is a master.
///
/// # Locks
/// None; inside an epoch section, so that `each` may not sleep.
pub fn for_each_upper<P: Platform>(td: &Thread<'_, P>, lower: &Ifp<P>, mut each: impl FnMut(&Ifp<P>, bool)) {
    let section = td.net_epoch_enter();
    for link in lower.uppers(&section) {
        if let Some(upper) = link.upper() {
            each(&upper, link.master);
        }
    }
}

/// Calls `each` for every interface that stands directly below, in the order of joining, with whether it is a member of
/// this one.
///
/// # Locks
/// None; inside an epoch section, so that `each` may not sleep.
pub fn for_each_lower<P: Platform>(td: &Thread<'_, P>, upper: &Ifp<P>, mut each: impl FnMut(&Ifp<P>, bool)) {
    let section = td.net_epoch_enter();
    for link in upper.lowers(&section) {
        if let Some(lower) = link.lower() {
            each(&lower, link.master);
        }
    }
}

/// The first interface directly below.
pub(crate) fn first_lower<P: Platform>(td: &Thread<'_, P>, upper: &Ifp<P>) -> Option<Ifp<P>> {
    let section = td.net_epoch_enter();
    upper.lowers(&section).next()?.lower()
}

/// One direction of the stack.
type Neighbours<P> = fn(&Thread<'_, P>, &Ifp<P>, &mut dyn FnMut(&Ifp<P>));

fn uppers<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, each: &mut dyn FnMut(&Ifp<P>)) {
    for_each_upper(td, ifp, |it, _| each(it));
}

fn lowers<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, each: &mut dyn FnMut(&Ifp<P>)) {
    for_each_lower(td, ifp, |it, _| each(it));
}

/// What a walk in one direction has found.
struct Survey {
    /// How many stand above each other, where it began included.
    height: u32,
    /// Whether it came by the interface that was looked for; also if it began there.
    met: bool,
}

/// Walks in one direction as far as it goes. Many ways may lead to the same interface, so each notes its own height when
/// the walk first comes by, and is not walked through again. A second walk takes the notes away. Under the detach lock,
/// which keeps both the graph and the notes.
fn survey<P: Platform>(td: &Thread<'_, P>, from: &Ifp<P>, neighbours: Neighbours<P>, wanted: &Ifp<P>) -> Survey {
    let height = measure(td, from, neighbours);
    let met = wanted.tower.load(Ordering::Relaxed) != 0;
    forget(td, from, neighbours);
    Survey { height, met }
}

/// The depth of the recursion is bounded by the limit itself.
fn measure<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, neighbours: Neighbours<P>) -> u32 {
    let noted = ifp.tower.load(Ordering::Relaxed);
    if noted != 0 {
        return noted;
    }
    let mut highest = 0;
    neighbours(td, ifp, &mut |it| highest = highest.max(measure(td, it, neighbours)));
    ifp.tower.store(highest + 1, Ordering::Relaxed);
    highest + 1
}

fn forget<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, neighbours: Neighbours<P>) {
    if ifp.tower.swap(0, Ordering::Relaxed) != 0 {
        neighbours(td, ifp, &mut |it| forget(td, it, neighbours));
    }
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests {
    use super::*;
    use crate::TaskMode;
    use crate::ifnet::{IfnetOwner, RxHandler};
    use crate::testing::{Host, attached, gone, kernel};

    fn em<const N: usize>(td: &Thread<'_, Host>) -> [IfnetOwner<Host>; N] {
        core::array::from_fn(|unit| attached(td, "em", u32::try_from(unit).expect("small")))
    }

    #[test]
    fn loops_duplicates_second_masters_and_towers_are_refused() {
        let (_, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        let ifs = em::<9>(&td);
        for pair in ifs[..8].windows(2) {
            if_upper_link(&td, &pair[0], &pair[1], false).expect("eight are allowed");
        }
        let link = |lower: usize, upper: usize, master| if_upper_link(&td, &ifs[lower], &ifs[upper], master);
        assert_eq!(link(7, 8, false), Err(Errno::EMLINK), "nine");
        assert_eq!(link(8, 0, false), Err(Errno::EMLINK), "nine, from below");
        assert_eq!(link(0, 0, false), Err(Errno::EBUSY));
        assert_eq!(link(7, 0, false), Err(Errno::EBUSY), "a loop");
        assert_eq!(link(0, 1, false), Err(Errno::EEXIST));
        assert_eq!(link(0, 7, false), Err(Errno::EEXIST), "above it already, though not directly");
        assert!(!if_upper_unlink(&td, &ifs[0], &ifs[7]), "not directly");
        assert_eq!(link(0, 8, true), Ok(()));
        assert_eq!(link(1, 8, true), Ok(()), "a master has many members");
        let refs = ifs[0].refcount();
        assert_eq!(refs, 3, "the index, and one for each that stands on it");
        let mut above = std::vec::Vec::new();
        for_each_upper(&td, &ifs[0], |upper, master| above.push((upper.index(), master)));
        assert_eq!(above, [(ifs[8].index(), true), (ifs[1].index(), false)], "masters first");
        let mut below = 0;
        for_each_lower(&td, &ifs[8], |_, master| below += u32::from(master));
        assert_eq!(below, 2);
        crate::invariants::check(&td).expect("sound");
        for lower in [0, 1] {
            assert!(if_upper_unlink(&td, &ifs[lower], &ifs[8]));
        }
        assert_eq!(link(0, 8, true), Ok(()));
        let second = attached(&td, "br", 0);
        assert_eq!(if_upper_link(&td, &ifs[0], &second, true), Err(Errno::EBUSY), "a second master");
        assert!(if_upper_unlink(&td, &ifs[0], &ifs[8]));
        for pair in ifs[..8].windows(2) {
            assert!(if_upper_unlink(&td, &pair[0], &pair[1]));
        }
        assert!(ifs.iter().all(|ifp| ifp.refcount() == 1));
        gone(&td, second);
        ifs.into_iter().for_each(|ifp| gone(&td, ifp));
    }

    #[test]
    fn a_master_and_an_rx_handler_exclude_each_other() {
        let (_, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        let [lower, bridge, lagg, vlan] = em(&td);
        let data = || Shared::try_new(td.domain(), ()).expect("memory").erase();
        let claim =
            || lower.rx_handler_register(&td, RxHandler { kind: "ipvlan", data: data(), input: |_, _, _, _| {} });
        assert_eq!(if_upper_link(&td, &lower, &vlan, false), Ok(()), "takes no slot");
        assert_eq!(claim(), Ok(()));
        assert_eq!(claim(), Err(Errno::EBUSY));
        assert_eq!(if_upper_link(&td, &lower, &bridge, true), Err(Errno::EBUSY));
        assert!(if_master(&td, &lower).is_none());
        lower.rx_handler_unregister();
        assert_eq!(if_upper_link(&td, &lower, &bridge, true), Ok(()));
        assert!(if_master(&td, &lower).is_some_and(|master| master.ptr_eq(&bridge)));
        assert_eq!(claim(), Err(Errno::EBUSY));
        assert_eq!(if_upper_link(&td, &lower, &bridge, true), Err(Errno::EEXIST));
        assert_eq!(if_upper_link(&td, &lower, &lagg, true), Err(Errno::EBUSY));
        // What the bridge has through a VLAN of the member it may have as a member, too; and the other way round.
        assert_eq!(if_upper_link(&td, &vlan, &bridge, true), Ok(()));
        assert!(if_upper_unlink(&td, &lower, &bridge));
        assert_eq!(if_upper_link(&td, &lower, &bridge, true), Ok(()));
        for (lower, upper) in [(&lower, &bridge), (&vlan, &bridge), (&lower, &vlan)] {
            assert!(if_upper_unlink(&td, lower, upper));
        }
        assert_eq!(claim(), Ok(()));
        lower.rx_handler_unregister();
        [lower, bridge, lagg, vlan].into_iter().for_each(|ifp| gone(&td, ifp));
    }

    #[test]
    fn what_was_prepared_and_not_committed_leaves_nothing() {
        let (_, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        let [lower, upper] = em(&td);
        drop(prepare(&td, &lower, &upper, true).expect("memory"));
        assert_eq!((lower.refcount(), upper.refcount(), lower.has_uppers()), (1, 1, false));
        assert!(!if_upper_unlink(&td, &lower, &upper));
        [lower, upper].into_iter().for_each(|ifp| gone(&td, ifp));
    }

    /// Seven floors with everything on everything: the ways from the top to the bottom are many, the interfaces few.
    #[test]
    fn a_walk_comes_to_each_interface_once() {
        const WIDE: usize = 6;
        let (host, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        let ifs = em::<{ 7 * WIDE + 2 }>(&td);
        let pairs = || {
            let floors = ifs[..7 * WIDE].chunks(WIDE);
            floors
                .clone()
                .zip(floors.skip(1))
                .flat_map(|(floor, next)| floor.iter().flat_map(|lower| next.iter().map(move |upper| (lower, upper))))
        };
        let mut links = 0;
        for (lower, upper) in pairs() {
            if_upper_link(&td, lower, upper, false).expect("seven are allowed");
            links += 1;
        }
        let [top, above] = &ifs[7 * WIDE..] else { panic!("two are left") };
        let steps = host.steps(|| {
            if_upper_link(&td, &ifs[6 * WIDE], top, false).expect("eight are allowed");
            assert_eq!(if_upper_link(&td, top, above, false), Err(Errno::EMLINK));
            assert_eq!(if_upper_link(&td, top, &ifs[0], false), Err(Errno::EBUSY));
        });
        assert!(steps < 100 * links, "{steps} steps for {links} links");
        assert!(if_upper_unlink(&td, &ifs[6 * WIDE], top));
        assert!(pairs().all(|(lower, upper)| if_upper_unlink(&td, lower, upper)));
        ifs.into_iter().for_each(|ifp| gone(&td, ifp));
    }

    #[test]
    fn a_pair_is_found_in_a_crowd_as_fast_as_alone() {
        let cost = |members: usize| {
            let (host, kernel) = kernel(TaskMode::Immediate);
            let td = kernel.thread().expect("room");
            let [bridge, lone] = em(&td);
            let unit = |unit: usize| u32::try_from(unit).expect("small");
            let crowd: std::vec::Vec<_> = (0..members).map(|at| attached(&td, "ix", unit(at))).collect();
            let steps = host.steps(|| {
                crowd.iter().for_each(|member| if_upper_link(&td, member, &bridge, true).expect("memory"));
                crowd.iter().for_each(|vlan| if_upper_link(&td, &lone, vlan, false).expect("memory"));
                // A pair of two crowded ones.
                for _ in &crowd {
                    if_upper_link(&td, &lone, &bridge, true).expect("memory");
                    assert!(if_upper_unlink(&td, &lone, &bridge));
                }
                crowd.iter().rev().for_each(|vlan| assert!(if_upper_unlink(&td, &lone, vlan)));
                crowd.iter().rev().for_each(|member| assert!(if_upper_unlink(&td, member, &bridge)));
            });
            crowd.into_iter().chain([bridge, lone]).for_each(|ifp| gone(&td, ifp));
            steps / members
        };
        let (few, many) = (cost(10), cost(if cfg!(miri) { 20 } else { 1_000 }));
        assert!(many <= 2 * few, "{few} steps for each of a few, {many} for each of many");
    }

    #[test]
    fn a_pair_is_looked_for_on_the_side_that_has_fewer() {
        let (host, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        let [bridge, above] = em(&td);
        let crowd: std::vec::Vec<_> = (0..50).map(|unit| attached(&td, "ix", unit)).collect();
        for member in &crowd {
            if_upper_link(&td, member, &bridge, true).expect("memory");
            if_upper_link(&td, member, &above, false).expect("memory");
        }
        // The last of its many lowers, which has two uppers, and this is not the first of them.
        let last = &crowd[49];
        let steps = host.steps(|| assert!(if_upper_unlink(&td, last, &above)));
        assert!(steps < 100, "{steps} steps");
        for member in &crowd {
            assert!(if_upper_unlink(&td, member, &bridge));
            assert_eq!(if_upper_unlink(&td, member, &above), !member.ptr_eq(last));
        }
        crowd.into_iter().chain([bridge, above]).for_each(|ifp| gone(&td, ifp));
    }
}
