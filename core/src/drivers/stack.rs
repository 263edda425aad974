//! Interfaces that stand on others: what VLANs, bridges and aggregates have in common.
//!
//! A packet passes a stack in one call, so that a stack may have no loop and no great height. Only a VLAN can stand on
//! something that stands on something (a bridge takes no bridges, an aggregate takes neither VLANs nor aggregates), and
//! so it is enough to look when a VLAN gets its parent and when a bridge gets a member.

use crate::Errno;
use crate::event::{Event, PRI_ANY, eventhandler_register};
use crate::ifnet::{IfFlags, Ifnet, Ifp};
use crate::platform::Platform;
use crate::thread::Thread;

use super::{bridge, lagg, vlan};

/// How many interfaces can stand on each other, beside the lowest. FreeBSD has no limit; Linux has this one.
const NEST_MAX: u32 = 8;

/// Module init: one handler tells whatever is stacked on an interface what happens to it.
pub(super) fn init<P: Platform>(td: &Thread<'_, P>) -> Result<(), Errno> {
    eventhandler_register(td, tell, 0, PRI_ANY).map(drop)
}

fn tell<P: Platform>(td: &Thread<'_, P>, event: &Event<'_, P>, _cookie: usize) {
    match *event {
        // Half of a rename, and nobody leaves.
        Event::Departure(ifp) if ifp.raw_flags().contains(IfFlags::RENAMING) => {}
        Event::Departure(ifp) | Event::Link(ifp, _) => ifp.hooks.tell(td, ifp, event),
        Event::Lladdr(ifp) => {
            ifp.hooks.tell(td, ifp, event);
            lagg::lladdr_changed(td, ifp);
        }
        _ => {}
    }
}

/// Whether an interface is attached, to the current vnet. Stable under the detach lock.
pub(super) fn attached_here<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) -> bool {
    !ifp.is_dying() && td.curvnet().ifnets.contains(ifp)
}

/// Whether `upper` can be put on `lower`. Under the detach lock.
///
/// # Errors
/// `EINVAL` if that would close a loop, `EMLINK` if the stack would be too high.
pub(super) fn can_stand_on<P: Platform>(td: &Thread<'_, P>, upper: &Ifp<P>, lower: &Ifp<P>) -> Result<(), Errno> {
    let mut loops = lower.ptr_eq(upper);
    let below = height(lower, below_of, &mut |ifp| loops |= ifp.ptr_eq(upper));
    if loops {
        return Err(Errno::EINVAL);
    }
    td.preempt();
    let above = height(upper, above_of, &mut |_| {});
    if below + above + 1 > NEST_MAX { Err(Errno::EMLINK) } else { Ok(()) }
}

/// The interface number `at` directly above or below another.
type Neighbour<P> = fn(&Ifnet<P>, usize) -> Option<Ifp<P>>;

/// How many interfaces are on each other in this direction; shows each. There are no loops, so this ends, and it goes no
/// deeper than a stack may be high.
fn height<P: Platform>(ifp: &Ifp<P>, next: Neighbour<P>, each: &mut dyn FnMut(&Ifp<P>)) -> u32 {
    let mut highest = 0;
    let mut at = 0;
    while let Some(neighbour) = next(ifp, at) {
        each(&neighbour);
        highest = highest.max(1 + height(&neighbour, next, each));
        at += 1;
    }
    highest
}

fn below_of<P: Platform>(ifp: &Ifnet<P>, at: usize) -> Option<Ifp<P>> {
    match vlan::lower(ifp) {
        Some(parent) => (at == 0).then_some(parent),
        None => bridge::member(ifp, at).or_else(|| lagg::port(ifp, at)),
    }
}

fn above_of<P: Platform>(ifp: &Ifnet<P>, at: usize) -> Option<Ifp<P>> {
    let masters = [lagg::of_port(ifp), bridge::of_member(ifp)];
    let count = masters.iter().flatten().count();
    match masters.into_iter().flatten().nth(at) {
        Some(master) => Some(master),
        None => vlan::upper(ifp, at - count),
    }
}
