//! Interfaces that stand on others: what VLANs, bridges and aggregates have in common.
//!
//! Each membership is an adjacency, which says who stands on whom and keeps both sides; a hook on the lower one, for its
//! packets and for what happens to it; and what the driver of the upper one needs besides (tags, link-level addresses).
//! They begin and end together, under the detach lock.

use crate::Errno;
use crate::event::{Event, PRI_ANY, eventhandler_register};
use crate::ifnet::{IfFlags, Ifp};
use crate::platform::Platform;
use crate::thread::Thread;

use super::lagg;

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
