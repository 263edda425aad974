//! Taps: a listener loses its interface when that moves or goes, and sees nothing of another vnet.

use ifnet::{
    BpfListener, Errno, bpf_open, bpfattach, bpfdetach, ether_ifattach, ether_ifdetach, if_clone_create,
    if_clone_destroy, if_free, if_input, if_vmove_loan, if_vmove_reclaim, ifunit, vnet_alloc, vnet_destroy,
};

use super::bed::{Host, Ifp, Owner, Td, alloc, kernel, plug, settle, unplug, within};

fn ether(td: &Td<'_>, name: &str) -> Owner {
    let owner = alloc(td, name);
    ether_ifattach(td, &owner, [2, 0, 0, 0, 0, 1]).unwrap();
    owner
}

fn packet(td: &Td<'_>, ifp: &Ifp) {
    let section = td.net_epoch_enter();
    if_input(td, ifp, vec![0], &section);
}

fn gone(listener: &BpfListener<Host>) -> bool {
    listener.poll() == Err(Errno::ENXIO)
}

#[test]
fn what_open_refuses() {
    kernel(|td| {
        let jail = vnet_alloc(td).unwrap();
        let em0 = ether(td, "em0");
        let plain = plug(td, "tst0");
        assert_eq!(bpf_open(td, "nobody").err(), Some(Errno::ENXIO));
        assert_eq!(bpf_open(td, "").err(), Some(Errno::ENXIO));
        assert_eq!(bpf_open(td, "tst0").err(), Some(Errno::ENXIO), "no tap");
        assert_eq!(within(td, &jail, || bpf_open(td, "em0")).err(), Some(Errno::ENXIO), "in another vnet");
        assert_eq!(bpfattach(td, &em0), Err(Errno::EEXIST));
        bpfdetach(td, &plain);
        bpfattach(td, &plain).unwrap();
        assert_eq!(bpf_open(td, "tst0").unwrap().poll(), Ok(0));
        bpfdetach(td, &plain);
        assert_eq!(bpf_open(td, "tst0").err(), Some(Errno::ENXIO), "the dead tap");
        bpfdetach(td, &plain);
        unplug(td, plain);
        ether_ifdetach(td, &em0);
        if_free(td, em0);
        vnet_destroy(td, &jail).unwrap();
    });
}

#[test]
fn a_listener_sees_its_interface_until_it_is_detached() {
    kernel(|td| {
        let em0 = ether(td, "em0");
        let em1 = ether(td, "em1");
        let (one, two) = (bpf_open(td, "em0").unwrap(), bpf_open(td, "em0").unwrap());
        packet(td, &em0);
        packet(td, &em1);
        assert_eq!((one.poll(), two.poll()), (Ok(1), Ok(1)));
        drop(two);
        packet(td, &em0);
        assert_eq!(one.poll(), Ok(2));
        ether_ifdetach(td, &em0);
        assert!(gone(&one));
        one.wait_gone(td);
        packet(td, &em0);
        assert_eq!(one.received(), 2, "nothing more through the dead tap");
        if_free(td, em0);
        ether_ifdetach(td, &em1);
        if_free(td, em1);
    });
}

#[test]
fn listeners_do_not_follow_a_move() {
    kernel(|td| {
        let jail = vnet_alloc(td).unwrap();
        let em0 = ether(td, "em0");
        let before = bpf_open(td, "em0").unwrap();
        drop(if_vmove_loan(td, "em0", &jail).unwrap());
        assert!(gone(&before));
        let inside = within(td, &jail, || bpf_open(td, "em0")).unwrap();
        assert_eq!(bpf_open(td, "em0").err(), Some(Errno::ENXIO));
        packet(td, &em0);
        assert_eq!((before.received(), inside.poll()), (0, Ok(1)));
        drop(if_vmove_reclaim(td, "em0", &jail).unwrap());
        assert!(gone(&inside) && gone(&before), "the first does not come back");
        packet(td, &em0);
        assert_eq!((before.received(), inside.received()), (0, 1));
        let after = bpf_open(td, "em0").unwrap();
        packet(td, &em0);
        assert_eq!(after.poll(), Ok(1));
        // A listener may be closed after its interface is gone.
        ether_ifdetach(td, &em0);
        if_free(td, em0);
        settle(td);
        drop((before, inside, after));
        vnet_destroy(td, &jail).unwrap();
    });
}

#[test]
fn a_moved_pair_keeps_its_taps() {
    kernel(|td| {
        let jail = vnet_alloc(td).unwrap();
        if_clone_create(td, "epair").unwrap();
        let b = ifunit(td, "epair0b").unwrap();
        drop(if_vmove_loan(td, "epair0b", &jail).unwrap());
        let inside = within(td, &jail, || bpf_open(td, "epair0b")).unwrap();
        packet(td, &b);
        assert_eq!(inside.poll(), Ok(1));
        if_clone_destroy(td, "epair0a").unwrap();
        assert!(gone(&inside));
        drop(b);
        vnet_destroy(td, &jail).unwrap();
    });
}

#[test]
fn a_tap_goes_home_when_the_vnet_dies() {
    kernel(|td| {
        let jail = vnet_alloc(td).unwrap();
        let em0 = ether(td, "em0");
        drop(if_vmove_loan(td, "em0", &jail).unwrap());
        let inside = within(td, &jail, || bpf_open(td, "em0")).unwrap();
        vnet_destroy(td, &jail).unwrap();
        assert!(gone(&inside));
        assert_eq!(bpf_open(td, "em0").unwrap().poll(), Ok(0));
        ether_ifdetach(td, &em0);
        if_free(td, em0);
    });
}
