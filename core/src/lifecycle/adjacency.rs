//! Which interface stands above which: `netdev_upper_dev_link`.
//!
//! An upper interface may live in another vnet than its lower one, and either may be moved: the adjacency stays. Each
//! side is kept by a counted reference, so neither can be freed while the other can still be reached through it.
//!
//! Links are made and undone under the detach lock. They are read under it too, or inside an epoch section.

use crate::Errno;
use crate::ifnet::stack::{Adjacency, Ends};
use crate::ifnet::{Ifp, if_try_ref};
use crate::mem::Shared;
use crate::platform::Platform;
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
/// `EBUSY` for an interface above itself, at whatever distance, and for a second master; `EEXIST` if the upper is above
/// the lower already; `EMLINK` if more than [`MAX_NEST_DEV`] would stand above each other; `ENXIO` if one of them is
/// freed; `ENOMEM`.
#[track_caller]
pub fn if_upper_link<P: Platform>(
    td: &Thread<'_, P>,
    lower: &Ifp<P>,
    upper: &Ifp<P>,
    master: bool,
) -> Result<(), Errno> {
    td.assert_can_sleep("if_upper_link");
    let _detach = td.kernel().detach_sx.xlock(td);
    let adjacency = prepare(td, lower, upper, master)?;
    commit(td, lower, upper, &adjacency);
    Ok(())
}

/// Everything of [`if_upper_link`] that can fail. Under the detach lock, which is held until [`commit`].
pub(crate) fn prepare<P: Platform>(
    td: &Thread<'_, P>,
    lower: &Ifp<P>,
    upper: &Ifp<P>,
    master: bool,
) -> Result<Shared<Adjacency<P>, P>, Errno> {
    if lower.ptr_eq(upper) || is_above(td, upper, lower) {
        return Err(Errno::EBUSY);
    }
    if is_above(td, lower, upper) {
        return Err(Errno::EEXIST);
    }
    if master && has_master(td, lower) {
        return Err(Errno::EBUSY);
    }
    if height(td, lower, lowers) + height(td, upper, uppers) > MAX_NEST_DEV {
        return Err(Errno::EMLINK);
    }
    let (Some(lower), Some(upper)) = (if_try_ref(lower), if_try_ref(upper)) else { return Err(Errno::ENXIO) };
    Ok(Adjacency::alloc(td.domain(), Ends { lower, upper }, master)?)
}

/// Puts what [`prepare`] made in force.
pub(crate) fn commit<P: Platform>(td: &Thread<'_, P>, lower: &Ifp<P>, upper: &Ifp<P>, link: &Shared<Adjacency<P>, P>) {
    let above = if link.master { lower.uppers.insert_head(link) } else { lower.uppers.insert_tail(link) };
    let listed = above && upper.lowers.insert_tail(link);
    if !listed {
        td.platform().panic(format_args!("if_upper_link: {} is above {} already", upper.name(), lower.name()));
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
    let found = {
        let section = td.net_epoch_enter();
        let mut above = lower.uppers.iter(&section);
        above.find(|link| link.upper().is_some_and(|it| it.ptr_eq(upper))).and_then(|link| link.try_share())
    };
    let Some(link) = found else { return false };
    let removed = lower.uppers.remove(&link) && upper.lowers.remove(&link);
    debug_assert!(removed, "an adjacency is on both lists");
    link.end();
    removed
}

/// Calls `each` for every interface that stands directly above, masters first, with whether it is a master.
///
/// # Locks
/// None; inside an epoch section, so that `each` may not sleep.
pub fn for_each_upper<P: Platform>(td: &Thread<'_, P>, lower: &Ifp<P>, mut each: impl FnMut(&Ifp<P>, bool)) {
    let section = td.net_epoch_enter();
    for link in lower.uppers.iter(&section) {
        if let Some(upper) = link.upper() {
            each(&upper, link.master);
        }
    }
}

/// Calls `each` for every interface that stands directly below, with whether it is a member of this one.
///
/// # Locks
/// None; inside an epoch section, so that `each` may not sleep.
pub fn for_each_lower<P: Platform>(td: &Thread<'_, P>, upper: &Ifp<P>, mut each: impl FnMut(&Ifp<P>, bool)) {
    let section = td.net_epoch_enter();
    for link in upper.lowers.iter(&section) {
        if let Some(lower) = link.lower() {
            each(&lower, link.master);
        }
    }
}

fn has_master<P: Platform>(td: &Thread<'_, P>, lower: &Ifp<P>) -> bool {
    let section = td.net_epoch_enter();
    lower.uppers.iter(&section).any(|link| link.master)
}

/// Whether `upper` is above `lower`, directly or not.
fn is_above<P: Platform>(td: &Thread<'_, P>, lower: &Ifp<P>, upper: &Ifp<P>) -> bool {
    let mut found = false;
    for_each_upper(td, lower, |it, _| found = found || it.ptr_eq(upper) || is_above(td, it, upper));
    found
}

/// One direction of the stack.
type Neighbours<P> = fn(&Thread<'_, P>, &Ifp<P>, &mut dyn FnMut(&Ifp<P>));

fn uppers<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, each: &mut dyn FnMut(&Ifp<P>)) {
    for_each_upper(td, ifp, |it, _| each(it));
}

fn lowers<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, each: &mut dyn FnMut(&Ifp<P>)) {
    for_each_lower(td, ifp, |it, _| each(it));
}

/// How many stand above each other in one direction, this one included. The depth of the recursion is bounded by the
/// limit itself.
fn height<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, neighbours: Neighbours<P>) -> u32 {
    let mut highest = 0;
    neighbours(td, ifp, &mut |it| highest = highest.max(height(td, it, neighbours)));
    highest + 1
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests {
    use super::*;
    use crate::TaskMode;
    use crate::testing::{attached, gone, kernel};

    #[test]
    fn loops_duplicates_second_masters_and_towers_are_refused() {
        let (_, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        let ifs: [_; 9] = core::array::from_fn(|unit| attached(&td, "em", u32::try_from(unit).expect("small")));
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
}
