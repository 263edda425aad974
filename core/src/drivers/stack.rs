//! Interfaces that stand on others: what VLANs, bridges and aggregates have in common.
//!
//! Each membership is an adjacency, which says who stands on whom and keeps both sides; a hook on the lower one, for its
//! packets and for what happens to it; and what the driver of the upper one needs besides (tags, link-level addresses).
//! They begin and end together, under the detach lock.

use crate::Errno;
use crate::event::{Event, Lists, PRI_ANY, register_for_ever};
use crate::ifnet::{IfFlags, Ifp};
use crate::platform::Platform;
use crate::thread::Thread;

use super::lagg;

/// Module init: one handler tells whatever is stacked on an interface what happens to it.
pub(super) fn init<P: Platform>(td: &Thread<'_, P>) -> Result<(), Errno> {
    register_for_ever(td, tell, PRI_ANY, Lists::DEPARTURE | Lists::LINK | Lists::LLADDR)
}

fn tell<P: Platform>(td: &Thread<'_, P>, event: &Event<'_, P>, _cookie: usize) {
    match *event {
        // Half of a rename, and nobody leaves.
        Event::Departure(ifp) if ifp.raw_flags().contains(IfFlags::RENAMING) => {}
        Event::Departure(ifp) | Event::Link(ifp, _) => tell_hooks(td, ifp, event),
        Event::Lladdr(ifp) => {
            tell_hooks(td, ifp, event);
            lagg::lladdr_changed(td, ifp);
        }
        _ => {}
    }
}

fn tell_hooks<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>, event: &Event<'_, P>) {
    if let Some(stack) = ifp.stack() {
        stack.hooks.tell(td, ifp, event);
    }
}

/// Whether an interface is attached, to the current vnet. Stable under the detach lock.
pub(super) fn attached_here<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) -> bool {
    !ifp.is_dying() && td.look_at_curvnet(|vnet| vnet.ifnets.contains(ifp))
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests {
    use super::*;
    use crate::clone::{CloneParams, if_clone_create, if_clone_create_kind};
    use crate::drivers::{bridge_addm, lagg_addport};
    use crate::ifnet::hook::HookKind;
    use crate::invariants::check;
    use crate::lifecycle::adjacency::prepare;
    use crate::testing::{Host, kernel};
    use crate::{IfnetRef, RxHandler, TaskMode, if_clone_destroy, if_upper_unlink, ifunit_ref};

    fn make(td: &Thread<'_, Host>, name: &str) -> IfnetRef<Host> {
        let name = if_clone_create(td, name).expect(name);
        ifunit_ref(td, &name).expect("made")
    }

    /// What I16 says while one of the sides is missing.
    fn found(td: &Thread<'_, Host>) -> &'static str {
        check(td)
            .inspect_err(|violation| assert_eq!(violation.invariant, "I16"))
            .map_or_else(|broken| broken.what, |()| "")
    }

    #[test]
    fn a_membership_without_one_of_its_sides_is_found() {
        let (_, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        let [a, other, bridge, lagg] = ["epair", "epair", "bridge", "lagg"].map(|name| make(&td, name));
        bridge_addm(&td, &bridge, &a).expect("free");
        lagg_addport(&td, &lagg, &other).expect("free");
        let vlan = make(&td, "lagg0.10");
        let params = CloneParams { lower: ifunit_ref(&td, "lagg0.10"), ..CloneParams::NONE };
        if_clone_create_kind(&td, "ipvlan", Some("i"), &params).expect("free");
        drop(params);
        let upper = ifunit_ref(&td, "i").expect("made");
        assert_eq!(found(&td), "");

        for (kind, member, what) in [
            (HookKind::Bridge, &a, "a bridge has a member that does not know it"),
            (HookKind::Lagg, &other, "an aggregate has a port that does not know it"),
        ] {
            let hook = member.hook(kind);
            member.set_hook(kind, None);
            assert_eq!(found(&td), what);
            member.set_hook(kind, hook);
        }
        for (lower, upper, master, what) in [
            (&a, &bridge, true, "a member has another master than its bridge"),
            (&other, &lagg, true, "the ports of an aggregate are not what stands below it"),
            (&lagg, &vlan, false, "the parent of a VLAN is not what stands below it"),
            (&vlan, &upper, false, "a port has an upper that does not stand on it"),
        ] {
            assert!(if_upper_unlink(&td, lower, upper));
            assert_eq!(found(&td), what);
            prepare(&td, lower, upper, master).expect("free again").commit(&td);
            assert_eq!(found(&td), "");
        }
        let data = a.softc().expect("an epair has data");
        a.rx_handler_force(RxHandler { kind: "second", data, input: |_, _, _, _| {} });
        assert_eq!(found(&td), "an interface has two receivers");
        a.rx_handler_unregister();

        drop((a, other, bridge, lagg, vlan, upper));
        for name in ["epair0a", "epair1a", "bridge0", "lagg0", "lagg0.10"] {
            if_clone_destroy(&td, name).expect(name);
        }
        assert_eq!(kernel.interfaces(), 1);
    }
}
