//! Vnets: moves between them, and what they refuse while they are dying and after.

use core::cell::RefCell;

use ifnet::event::{Event, PRI_ANY, eventhandler_deregister, eventhandler_register};
use ifnet::{
    Errno, IfType, ether_ifattach, ether_ifdetach, if_alloc, if_attach, if_clone_create, if_clone_destroy, if_free,
    if_initname, if_rename, if_vmove_loan, if_vmove_loan_as, if_vmove_reclaim, if_vmove_to, ifunit, vnet_alloc,
    vnet_destroy,
};

use super::bed::{Td, Vnet, alloc, kernel, listed, plug, snapshot, unplug, within};

#[test]
fn what_a_loan_refuses() {
    kernel(|td| {
        let jail = vnet_alloc(td).unwrap();
        let em0 = plug(td, "em0");
        let theirs = within(td, &jail, || plug(td, "em1"));
        let ours = plug(td, "em1");
        let before = snapshot(td, core::slice::from_ref(&jail));
        let here = td.curvnet();
        assert_eq!(if_vmove_loan(td, "em9", &jail).err(), Some(Errno::ENXIO), "unknown");
        assert_eq!(if_vmove_loan(td, "", &jail).err(), Some(Errno::ENXIO));
        assert_eq!(if_vmove_loan(td, "em0", &here).err(), Some(Errno::EEXIST), "the same vnet");
        assert_eq!(if_vmove_loan(td, "em9", &here).err(), Some(Errno::ENXIO), "unknown comes first");
        assert_eq!(if_vmove_loan(td, "em1", &jail).err(), Some(Errno::EEXIST), "the name is taken there");
        assert_eq!(if_vmove_loan(td, "lo0", &jail).err(), Some(Errno::EEXIST), "every vnet has lo0");
        assert_eq!(if_vmove_loan_as(td, "em0", &jail, "").err(), Some(Errno::EINVAL));
        assert_eq!(if_vmove_loan_as(td, "em0", &jail, "abcdefghijklmnop").err(), Some(Errno::ENAMETOOLONG));
        assert_eq!(if_vmove_to(td, &em0, &here), Err(Errno::EEXIST), "the same vnet");
        assert_eq!(snapshot(td, core::slice::from_ref(&jail)), before);
        for owner in [em0, ours, theirs] {
            unplug(td, owner);
        }
        vnet_destroy(td, &jail).unwrap();
    });
}

#[test]
fn what_a_reclaim_refuses() {
    kernel(|td| {
        let jail = vnet_alloc(td).unwrap();
        let em0 = plug(td, "em0");
        let before = snapshot(td, core::slice::from_ref(&jail));
        let here = td.curvnet();
        assert_eq!(if_vmove_reclaim(td, "em0", &jail).err(), Some(Errno::ENXIO), "it is not there");
        assert_eq!(if_vmove_reclaim(td, "em0", &here).err(), Some(Errno::EEXIST), "the same vnet");
        assert_eq!(if_vmove_reclaim(td, "em9", &here).err(), Some(Errno::ENXIO));
        assert_eq!(snapshot(td, core::slice::from_ref(&jail)), before);
        unplug(td, em0);
        vnet_destroy(td, &jail).unwrap();
    });
}

#[test]
fn an_interface_that_is_not_attached_does_not_move() {
    kernel(|td| {
        let jail = vnet_alloc(td).unwrap();
        let em0 = alloc(td, "em0");
        assert_eq!(if_vmove_loan(td, "em0", &jail).err(), Some(Errno::ENXIO));
        assert_eq!(if_vmove_to(td, &em0, &jail), Err(Errno::ENODEV));
        if_attach(td, &em0).unwrap();
        ifnet::if_detach(td, &em0);
        assert_eq!(if_vmove_to(td, &em0, &jail), Err(Errno::ENODEV));
        if_free(td, em0);
        vnet_destroy(td, &jail).unwrap();
    });
}

#[test]
fn a_name_is_free_again_after_a_move_that_failed() {
    kernel(|td| {
        let (jail, dead) = (vnet_alloc(td).unwrap(), vnet_alloc(td).unwrap());
        vnet_destroy(td, &dead).unwrap();
        let em0 = plug(td, "em0");
        assert_eq!(if_vmove_loan(td, "em0", &dead).err(), Some(Errno::EBUSY));
        // Taken by another one in between, the name is refused; then free; then taken by the move itself.
        let theirs = within(td, &jail, || plug(td, "em0"));
        assert_eq!(if_vmove_loan(td, "em0", &jail).err(), Some(Errno::EEXIST));
        within(td, &jail, || if_rename(td, &theirs, "em5")).unwrap();
        drop(if_vmove_loan(td, "em0", &jail).unwrap());
        assert_eq!(within(td, &jail, || if_rename(td, &theirs, "em0")), Err(Errno::EEXIST));
        drop(if_vmove_reclaim(td, "em0", &jail).unwrap());
        assert_eq!(within(td, &jail, || if_rename(td, &theirs, "em0")), Ok(()), "the move has left no reservation");
        unplug(td, em0);
        unplug(td, theirs);
        vnet_destroy(td, &jail).unwrap();
    });
}

#[test]
fn reclaim_does_not_look_at_names() {
    kernel(|td| {
        let jail = vnet_alloc(td).unwrap();
        let ours = plug(td, "em0");
        let theirs = within(td, &jail, || plug(td, "em0"));
        let moved = if_vmove_reclaim(td, "em0", &jail).unwrap();
        assert!(moved.ptr_eq(&theirs));
        drop(moved);
        assert_eq!(listed(td, &td.curvnet()), ["lo0", "em0", "em0"]);
        assert!(ifunit(td, "em0").unwrap().ptr_eq(&ours), "the earliest");
        unplug(td, ours);
        assert!(ifunit(td, "em0").unwrap().ptr_eq(&theirs));
        unplug(td, theirs);
        vnet_destroy(td, &jail).unwrap();
    });
}

#[test]
fn a_destroyed_vnet_refuses_everything() {
    kernel(|td| {
        let jail = vnet_alloc(td).unwrap();
        assert_eq!(vnet_destroy(td, &td.kernel().vnet0()), Err(Errno::EINVAL), "the default vnet");
        vnet_destroy(td, &jail).unwrap();
        assert!(jail.is_shutdown() && jail.is_destroyed());
        let em0 = plug(td, "em0");
        let fresh = alloc(td, "em1");
        let before = snapshot(td, core::slice::from_ref(&jail));
        refuses(td, &jail);
        within(td, &jail, || {
            assert_eq!(if_attach(td, &fresh), Err(Errno::EBUSY));
            assert_eq!(ether_ifattach(td, &fresh, [2; 6]), Err(Errno::EBUSY));
        });
        assert_eq!(snapshot(td, &[jail]), before);
        unplug(td, em0);
        if_attach(td, &fresh).unwrap();
        unplug(td, fresh);
    });
}

/// What a vnet that is being destroyed, or was, does not take.
fn refuses(td: &Td<'_>, vnet: &Vnet) {
    assert_eq!(vnet_destroy(td, vnet), Err(Errno::EBUSY), "twice");
    assert_eq!(if_vmove_loan(td, "em0", vnet).err(), Some(Errno::EBUSY));
    let em0 = ifunit(td, "em0").unwrap();
    assert_eq!(if_vmove_to(td, &em0, vnet), Err(Errno::EBUSY));
    within(td, vnet, || {
        for kind in ["disc", "epair", "disc7"] {
            assert_eq!(if_clone_create(td, kind), Err(Errno::EBUSY));
        }
        assert_eq!(if_vmove_reclaim(td, "em0", &td.kernel().vnet0()).err(), Some(Errno::EBUSY));
    });
}

thread_local! {
    /// The vnet that a handler works on, and how often it has.
    static VICTIM: RefCell<(Option<Vnet>, u32)> = const { RefCell::new((None, 0)) };
}

fn set_victim(vnet: Option<Vnet>) -> u32 {
    VICTIM.with_borrow_mut(|victim| core::mem::replace(victim, (vnet, 0))).1
}

/// The vnet, for a handler that acts once.
fn take_victim() -> Option<Vnet> {
    VICTIM.with_borrow_mut(|(vnet, count)| {
        *count += u32::from(vnet.is_some());
        vnet.take()
    })
}

#[test]
fn a_vnet_that_is_dying_refuses_everything() {
    kernel(|td| {
        let jail = vnet_alloc(td).unwrap();
        let em0 = plug(td, "em0");
        let em1 = plug(td, "em1");
        drop(if_vmove_loan(td, "em1", &jail).unwrap());
        set_victim(Some(jail.clone()));
        // em1 is on its way home when this runs.
        let tag = eventhandler_register(
            td,
            |td, event, _| {
                if let Event::Departure(_) = event
                    && let Some(jail) = take_victim()
                {
                    assert!(jail.is_shutdown() && !jail.is_destroyed());
                    let _cur = td.curvnet_set(Some(td.kernel().vnet0()));
                    refuses(td, &jail);
                    let fresh = alloc(td, "em9");
                    within(td, &jail, || assert_eq!(if_attach(td, &fresh), Err(Errno::EBUSY)));
                    if_free(td, fresh);
                }
            },
            0,
            PRI_ANY,
        );
        vnet_destroy(td, &jail).unwrap();
        assert_eq!(set_victim(None), 1, "the handler has run");
        eventhandler_deregister(td, tag.unwrap());
        assert_eq!(listed(td, &td.curvnet()), ["lo0", "em0", "em1"]);
        unplug(td, em0);
        unplug(td, em1);
    });
}

#[test]
fn a_vnet_that_dies_under_an_attach_leaves_the_interface_as_it_was() {
    kernel(|td| {
        let jail = vnet_alloc(td).unwrap();
        let em0 = alloc(td, "em0");
        em0.set_mtu(9000);
        let of_em0 = || snapshot(td, &[]).lines().find(|line| line.contains("em0")).map(str::to_owned);
        let before = of_em0().expect("a line of it");
        // The attach has joined the group and not yet linked when this runs.
        let tag = eventhandler_register(
            td,
            |td, event, _| {
                if let Event::GroupChange("all") = event
                    && let Some(jail) = take_victim()
                {
                    vnet_destroy(td, &jail).unwrap();
                }
            },
            0,
            PRI_ANY,
        );
        set_victim(Some(jail.clone()));
        within(td, &jail, || assert_eq!(ether_ifattach(td, &em0, [2; 6]), Err(Errno::EBUSY)));
        assert_eq!(set_victim(None), 1, "the handler has run");
        eventhandler_deregister(td, tag.unwrap());
        super::bed::settle(td);
        assert_eq!(of_em0(), Some(before));
        assert_eq!(jail.ifcnt(), 0);
        ether_ifattach(td, &em0, [2; 6]).unwrap();
        assert!(em0.if_home_vnet(td).unwrap().ptr_eq(&td.curvnet()), "home is where it lives first");
        ether_ifdetach(td, &em0);
        if_free(td, em0);
    });
}

#[test]
fn a_borrowed_interface_returns_home_when_its_vnet_dies() {
    kernel(|td| {
        let (home, jail) = (vnet_alloc(td).unwrap(), vnet_alloc(td).unwrap());
        let em0 = within(td, &home, || plug(td, "em0"));
        within(td, &home, || drop(if_vmove_loan(td, "em0", &jail).unwrap()));
        vnet_destroy(td, &jail).unwrap();
        assert_eq!(listed(td, &home), ["lo0", "em0"]);
        unplug(td, em0);
        vnet_destroy(td, &home).unwrap();
    });
}

#[test]
fn without_its_home_it_returns_to_the_default_vnet() {
    kernel(|td| {
        let (home, jail) = (vnet_alloc(td).unwrap(), vnet_alloc(td).unwrap());
        let em0 = within(td, &home, || plug(td, "em0"));
        let stays = within(td, &home, || plug(td, "em1"));
        within(td, &home, || drop(if_vmove_loan(td, "em0", &jail).unwrap()));
        vnet_destroy(td, &home).unwrap();
        assert_eq!(listed(td, &jail), ["lo0", "em0"], "borrowed, it survives its home");
        assert_eq!(listed(td, &td.curvnet()), ["lo0", "em1"], "nobody took it away");
        vnet_destroy(td, &jail).unwrap();
        assert_eq!(listed(td, &td.curvnet()), ["lo0", "em1", "em0"]);
        for owner in [em0, stays] {
            assert!(owner.if_home_vnet(td).unwrap().ptr_eq(&td.curvnet()));
            unplug(td, owner);
        }
    });
}

#[test]
fn clones_die_with_the_vnet_that_made_them_wherever_they_are() {
    kernel(|td| {
        let (home, jail) = (vnet_alloc(td).unwrap(), vnet_alloc(td).unwrap());
        within(td, &home, || {
            if_clone_create(td, "disc").unwrap();
            if_clone_create(td, "epair").unwrap();
            drop(if_vmove_loan(td, "disc0", &jail).unwrap());
            drop(if_vmove_loan(td, "epair0b", &jail).unwrap());
        });
        drop(if_vmove_reclaim(td, "epair0a", &home).unwrap());
        vnet_destroy(td, &home).unwrap();
        assert_eq!(listed(td, &jail), ["lo0"]);
        assert_eq!(listed(td, &td.curvnet()), ["lo0"]);
        vnet_destroy(td, &jail).unwrap();
    });
}

#[test]
fn an_end_of_a_pair_is_destroyed_from_where_it_is() {
    kernel(|td| {
        let jail = vnet_alloc(td).unwrap();
        if_clone_create(td, "epair").unwrap();
        drop(if_vmove_loan(td, "epair0b", &jail).unwrap());
        assert_eq!(if_clone_destroy(td, "epair0b"), Err(Errno::ENXIO), "it is not here");
        within(td, &jail, || if_clone_destroy(td, "epair0b")).unwrap();
        assert_eq!(listed(td, &td.curvnet()), ["lo0"]);
        assert_eq!(listed(td, &jail), ["lo0"]);
        // The unit is free again.
        assert_eq!(if_clone_create(td, "epair").as_deref(), Ok("epair0a"));
        if_clone_destroy(td, "epair0a").unwrap();
        vnet_destroy(td, &jail).unwrap();
    });
}

#[test]
fn the_lowest_free_number_is_a_new_vnets() {
    kernel(|td| {
        let vnets: Vec<_> = (0..3).map(|_| vnet_alloc(td).unwrap()).collect();
        assert_eq!(vnets.iter().map(|vnet| vnet.id()).collect::<Vec<_>>(), [1, 2, 3]);
        vnet_destroy(td, &vnets[1]).unwrap();
        let again = vnet_alloc(td).unwrap();
        assert_eq!(again.id(), 2);
        let mut all = Vec::new();
        td.kernel().vnet_foreach(|vnet| all.push(vnet.id()));
        assert_eq!(all, [0, 1, 3, 2], "in the order of creation");
        for vnet in [&vnets[0], &again, &vnets[2]] {
            vnet_destroy(td, vnet).unwrap();
        }
    });
}

#[test]
fn there_are_as_many_threads_as_the_kernel_was_booted_for() {
    kernel(|td| {
        let more: Vec<_> = (0..3).map(|_| td.kernel().thread().unwrap()).collect();
        assert_eq!(td.kernel().thread().err(), Some(Errno::EAGAIN));
        drop(more);
        assert!(td.kernel().thread().is_ok());
        let owner = if_alloc(td, IfType::Other).unwrap();
        if_initname(&owner, "em", Some(3)).unwrap();
        if_free(td, owner);
    });
}
