//! The link state of an interface and the task that tells about it.

use crate::event::{Event, devctl, rt_ifmsg};
use crate::hazard::Hazard;
use crate::ifnet::{Ifp, LinkState};
use crate::platform::Platform;
use crate::taskq::Tasks;
use crate::thread::Thread;

/// `if_link_state_change`: the driver reports the state of the link. Telling the rest of the system is left to a task,
/// as the driver may be in an interrupt.
///
/// A report about an interface that is dying is dropped: detach has drained the interface's tasks and nothing may queue
/// another behind it (review D39614).
pub fn if_link_state_change<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, state: LinkState) {
    if ifp.swap_link_state(state) == state {
        return;
    }
    link_state_changed(td, ifp);
}

/// The link state was changed by somebody who had to do it under a lock of its own; queues the task.
pub(crate) fn link_state_changed<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    td.kernel().taskq.enqueue(td, ifp, Tasks::LINK);
}

/// `do_link_state_change`: the task.
pub(crate) fn do_link_state_change<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    ifp.touch();
    let _cur = td.curvnet_set(Some(ifp.if_vnet(td)));
    rt_ifmsg(td, ifp);
    let state = ifp.link_state();
    match state {
        LinkState::Up => devctl(td, "IFNET", &ifp.name(), "LINK_UP", "-"),
        LinkState::Down => devctl(td, "IFNET", &ifp.name(), "LINK_DOWN", "-"),
        LinkState::Unknown => {}
    }
    td.kernel().events.invoke(td, &Event::Link(ifp, state));
}

/// Whether a task for `ifp` may still be queued.
pub(crate) fn accepts_tasks<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) -> bool {
    td.hazard(Hazard::LinkstateAfterDetach) || !ifp.is_dying()
}
