//! Indices, their generations, and handles that outlive what they stand for.

use ifnet::{
    Errno, IfFlags, IfType, SockAddr, if_addaddr, if_addmulti, if_alloc, if_attach, if_detach, if_free, if_lladdr,
    if_ref, if_setflags, if_setlladdr, if_setmtu, if_transmit, if_try_ref, if_vmove_loan, if_vmove_reclaim,
    ifnet_byindex, ifnet_byindex_ref, ifnet_byindexgen, ifunit, ifunit_ref, ip6_input, vnet_alloc, vnet_destroy,
};

use super::bed::{Td, alloc, kernel, panic_of, plug, settle, unplug, within};

fn found(td: &Td<'_>, index: u32) -> bool {
    let section = td.net_epoch_enter();
    ifnet_byindex(td, index, &section).is_some()
}

fn found_of(td: &Td<'_>, index: u32, gencnt: u16) -> bool {
    let section = td.net_epoch_enter();
    ifnet_byindexgen(td, index, gencnt, &section).is_some()
}

#[test]
fn no_interface_has_an_unknown_index() {
    kernel(|td| {
        for index in [0, 2, 7, 8, 9, 1000, u32::MAX] {
            assert!(!found(td, index) && !found_of(td, index, 0), "{index}");
            assert!(ifnet_byindex_ref(td, index).is_none());
            assert_eq!(ip6_input(td, index), Err(Errno::ENXIO));
        }
        assert!(found(td, 1), "lo0");
    });
}

#[test]
fn the_lowest_free_index_is_used_again() {
    kernel(|td| {
        let mut owners: Vec<_> = (0..20).map(|n| plug(td, &format!("em{n}"))).collect();
        let indices: Vec<u32> = owners.iter().map(|owner| owner.index()).collect();
        assert_eq!(indices, (2..22).collect::<Vec<_>>());
        for at in [15, 3, 9] {
            unplug(td, owners.remove(at));
        }
        let again: Vec<_> = (0..4).map(|n| alloc(td, &format!("ix{n}"))).collect();
        assert_eq!(again.iter().map(|owner| owner.index()).collect::<Vec<_>>(), [5, 12, 17, 22]);
        assert_eq!(again.iter().map(|owner| owner.idxgen()).collect::<Vec<_>>(), [1, 1, 1, 0]);
        again.into_iter().for_each(|owner| if_free(td, owner));
        owners.into_iter().for_each(|owner| unplug(td, owner));
        assert_eq!(td.kernel().interfaces(), 1);
    });
}

#[test]
fn an_index_gives_a_reference() {
    kernel(|td| {
        let em0 = plug(td, "em0");
        let before = em0.refcount();
        let found = ifnet_byindex_ref(td, em0.index()).expect("attached");
        assert!(found.ptr_eq(&em0));
        assert_eq!(em0.refcount(), before + 1);
        drop(found);
        unplug(td, em0);
    });
}

#[test]
fn a_stale_index_and_generation_find_nothing() {
    kernel(|td| {
        let em0 = plug(td, "em0");
        let (index, gencnt) = (em0.index(), em0.idxgen());
        assert!(found_of(td, index, gencnt) && !found_of(td, index, gencnt.wrapping_add(1)));
        unplug(td, em0);
        assert!(!found_of(td, index, gencnt));
        let em1 = plug(td, "em1");
        assert_eq!(em1.index(), index);
        assert!(!found_of(td, index, gencnt) && found_of(td, index, em1.idxgen()));
        unplug(td, em1);
    });
}

#[test]
fn an_index_is_constant_over_a_move() {
    kernel(|td| {
        let jail = vnet_alloc(td).unwrap();
        let em0 = plug(td, "em0");
        let (index, gencnt) = (em0.index(), em0.idxgen());
        drop(if_vmove_loan(td, "em0", &jail).unwrap());
        assert_eq!((em0.index(), em0.idxgen()), (index, gencnt));
        assert!(!found(td, index), "not in this vnet");
        assert!(found_of(td, index, gencnt), "in whatever vnet");
        within(td, &jail, || assert!(found(td, index)));
        {
            let _nowhere = td.curvnet_set(None);
            assert!(found(td, index), "without a current vnet all are seen");
        }
        drop(if_vmove_reclaim(td, "em0", &jail).unwrap());
        assert!(found(td, index));
        within(td, &jail, || assert!(!found(td, index)));
        unplug(td, em0);
        vnet_destroy(td, &jail).unwrap();
    });
}

#[test]
fn a_detached_interface_is_not_found() {
    kernel(|td| {
        let em0 = alloc(td, "em0");
        assert!(found(td, em0.index()), "by index from if_alloc on");
        assert!(ifunit(td, "em0").is_none());
        assert_eq!(ip6_input(td, em0.index()), Err(Errno::ENXIO), "no family is attached");
        if_attach(td, &em0).unwrap();
        assert_eq!(ip6_input(td, em0.index()), Ok(1));
        if_detach(td, &em0);
        assert!(!found(td, em0.index()) && ifnet_byindex_ref(td, em0.index()).is_none());
        assert!(ifunit(td, "em0").is_none() && ifunit_ref(td, "em0").is_none());
        assert_eq!(ip6_input(td, em0.index()), Err(Errno::ENXIO));
        if_free(td, em0);
    });
}

#[test]
fn attach_once_detach_once() {
    kernel(|td| {
        let em0 = plug(td, "em0");
        assert_eq!(if_attach(td, &em0), Err(Errno::EEXIST));
        let jail = vnet_alloc(td).unwrap();
        assert_eq!(within(td, &jail, || if_attach(td, &em0)), Err(Errno::EEXIST), "also in another vnet");
        if_detach(td, &em0);
        if_attach(td, &em0).unwrap();
        assert!(em0.is_dying(), "the mark stays");
        assert!(ifunit(td, "em0").is_some() && ifunit_ref(td, "em0").is_none());
        assert!(em0.if_home_vnet(td).unwrap().ptr_eq(&td.curvnet()));
        if_detach(td, &em0);
        if_free(td, em0);
        vnet_destroy(td, &jail).unwrap();
    });
}

#[test]
fn detaching_twice_is_a_panic_of_the_kernel() {
    let memory = ifnet_std::alloc::CountingAlloc::new();
    let kernel = super::bed::boot(&memory).unwrap();
    let td = kernel.thread().unwrap();
    let em0 = plug(&td, "em0");
    let em1 = alloc(&td, "em1");
    if_detach(&td, &em0);
    assert_eq!(panic_of(|| if_detach(&td, &em0)), "em0: interface is not on the active list");
    assert_eq!(panic_of(|| if_detach(&td, &em1)), "em1: interface is not on the active list", "never attached");
}

#[test]
fn handles_outlive_their_interface_and_say_so() {
    kernel(|td| {
        let em0 = plug(td, "em0");
        let bare = ifunit(td, "em0").unwrap();
        let counted = ifunit_ref(td, "em0").unwrap();
        let second = if_ref(&counted);
        if_detach(td, &em0);
        assert_eq!(if_transmit(td, &bare, Vec::new(), &td.net_epoch_enter()), Err(Errno::ENXIO));
        assert_eq!(if_setflags(td, &counted, IfFlags::UP), Err(Errno::ENXIO));
        assert_eq!(if_setmtu(td, &counted, 1500), Err(Errno::ENXIO));
        assert_eq!(if_addaddr(td, &counted, SockAddr::Inet([10, 0, 0, 1]), 8), Err(Errno::ENXIO));
        assert_eq!(if_addmulti(td, &counted, SockAddr::Link([1; 6])), Err(Errno::ENXIO));
        assert_eq!(if_setlladdr(td, &counted, [2; 6]), Err(Errno::ENXIO));
        assert_eq!(if_lladdr(td, &counted), None);
        assert!(!counted.flags().contains(IfFlags::UP));
        if_free(td, em0);
        settle(td);
        assert_eq!(counted.refcount(), 2, "the references keep it");
        assert_eq!(&*counted.name(), "em0");
        drop(counted);
        assert!(if_try_ref(&bare).is_some());
        drop(second);
        assert!(if_try_ref(&bare).is_none(), "the last reference is gone");
        settle(td);
        assert!(if_try_ref(&bare).is_none());
    });
}

#[test]
fn a_reference_to_a_freed_interface_is_a_panic_of_the_kernel() {
    let memory = ifnet_std::alloc::CountingAlloc::new();
    let kernel = super::bed::boot(&memory).unwrap();
    let td = kernel.thread().unwrap();
    let em0 = if_alloc(&td, IfType::Other).unwrap();
    let bare = super::bed::Ifp::clone(&em0);
    if_free(&td, em0);
    settle(&td);
    assert_eq!(panic_of(|| drop(if_ref(&bare))), "if_ref: ifp 2 has 0 refs");
}
