//! The subscriber that stands for the routing socket and for `devctl`: it turns events into the messages that a host
//! would send to user space, and hands them to the trace.

use core::fmt;

use crate::Errno;
use crate::ifnet::Ifp;
use crate::platform::Platform;
use crate::thread::Thread;
use crate::trace::Record;

use super::{Event, Lists, PRI_FIRST, register_for_ever};

/// Longest line of the message buffer that [`log`] makes, in bytes.
const LINE: usize = 256;

/// Registers the routing socket, first of all handlers; for a host that listens.
pub(crate) fn rtsock_init<P: Platform>(td: &Thread<'_, P>) -> Result<(), Errno> {
    let lists = Lists::ARRIVAL | Lists::DEPARTURE;
    if P::TRACES { register_for_ever(td, announce, PRI_FIRST, lists) } else { Ok(()) }
}

/// `rt_ifannouncemsg`.
fn announce<P: Platform>(td: &Thread<'_, P>, event: &Event<'_, P>, _cookie: usize) {
    let (what, ifp) = match *event {
        Event::Arrival(ifp) => ("ARRIVAL", ifp),
        Event::Departure(ifp) => ("DEPARTURE", ifp),
        _ => return,
    };
    let name = ifp.name();
    td.trace(&Record::Announce { what, index: ifp.index(), name: &name, cur: td.cur() });
}

/// `rt_ifmsg`: the flags of an interface have changed.
pub(crate) fn rt_ifmsg<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    td.trace(&Record::IfInfo { index: ifp.index(), flags: ifp.flags().bits(), cur: td.cur() });
}

/// `devctl_notify`: a message for devd, which only hears of the default vnet.
pub(crate) fn devctl<P: Platform>(td: &Thread<'_, P>, system: &str, subsystem: &str, kind: &str, data: &str) {
    if td.look_at_curvnet(|vnet| vnet.ptr_eq(&td.kernel().vnet0)) {
        td.trace(&Record::Devctl { system, subsystem, kind, data });
    }
}

/// `log(9)`: a line of the kernel's message buffer, cut at 256 bytes.
pub(crate) fn log<P: Platform>(td: &Thread<'_, P>, message: fmt::Arguments<'_>) {
    if !P::TRACES {
        return;
    }
    let mut line: heapless::String<LINE> = heapless::String::new();
    // Cut, not lost: what fits has been written.
    let _ = fmt::Write::write_fmt(&mut line, message);
    td.trace(&Record::Log { message: &line });
}
