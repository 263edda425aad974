//! tun, tap, vmnet and gif: every allocation of a create and of an open may fail, nothing on the way down needs memory,
//! and what a handle gives when its interface has gone another way.

use ifnet::{
    Errno, IfCounter, IfFlags, IfType, LinkState, TunHandle, if_clone_create, if_clone_destroy, if_setflags,
    if_transmit, if_vmove_loan, ifunit, ifunit_ref, tun_open, vnet_alloc, vnet_destroy, vnet_destroy_deferred,
};
use ifnet_std::alloc::CountingAlloc;

use super::bed::{Host, Td, groups, kernel, kernel_with_memory, listed, name, settle, snapshot, within};

const KINDS: [&str; 4] = ["gif0", "tap0", "tun0", "vmnet0"];
const DEVICES: [&str; 3] = ["tap0", "tun0", "vmnet0"];

fn up(td: &Td<'_>, name: &str) {
    if_setflags(td, &ifunit(td, name).unwrap(), IfFlags::UP).unwrap();
}

fn send(td: &Td<'_>, name: &str, byte: u8) -> Result<(), Errno> {
    let section = td.net_epoch_enter();
    if_transmit(td, &ifunit(td, name).unwrap(), vec![byte], &section)
}

/// Fails each allocation of `call` once; a failure leaves everything as it was. How many there are.
fn every_allocation<R>(
    td: &Td<'_>,
    memory: &CountingAlloc,
    call: impl Fn() -> Result<R, Errno>,
    undo: impl Fn(R),
) -> u64 {
    // Once without a failure: tables keep their room.
    undo(call().unwrap());
    settle(td);
    let live = || (memory.live_bytes(), memory.live_blocks());
    let before = live();
    for n in 1.. {
        let failures = memory.failures();
        memory.fail_nth(n);
        let result = call();
        memory.fail_never();
        let made = match result {
            Ok(made) => made,
            Err(errno) => {
                assert_eq!((errno, memory.failures()), (Errno::ENOMEM, failures + 1), "allocation {n}");
                settle(td);
                assert_eq!(live(), before, "allocation {n}");
                call().unwrap()
            }
        };
        undo(made);
        settle(td);
        assert_eq!(live(), before, "allocation {n}");
        if memory.failures() == failures {
            return n - 1;
        }
    }
    unreachable!("some call succeeds")
}

#[test]
fn every_allocation_of_a_create_may_fail() {
    for kind in KINDS {
        kernel_with_memory(|td, memory| {
            let create = || {
                let seen = listed(td, &td.curvnet());
                if_clone_create(td, kind).inspect_err(|_| assert_eq!(listed(td, &td.curvnet()), seen))
            };
            let points = every_allocation(td, memory, create, |made| if_clone_destroy(td, &made).unwrap());
            assert!(points >= 5, "{kind} has only {points} allocations");
        });
    }
}

#[test]
fn the_one_allocation_of_an_open_may_fail() {
    for device in DEVICES {
        kernel_with_memory(|td, memory| {
            if_clone_create(td, device).unwrap();
            let open = || {
                let before = snapshot(td, &[]);
                tun_open(td, device).inspect_err(|_| assert_eq!(snapshot(td, &[]), before))
            };
            assert_eq!(every_allocation(td, memory, open, |handle| handle.close(td)), 1);
            if_clone_destroy(td, device).unwrap();
        });
    }
}

/// Runs `body` with no memory left, deferred work included; it may not ask for any.
fn starving(td: &Td<'_>, memory: &CountingAlloc, body: impl FnOnce()) {
    settle(td);
    let attempts = memory.attempts();
    memory.fail_from(1);
    body();
    settle(td);
    memory.fail_never();
    assert_eq!(memory.attempts(), attempts, "it asked for memory");
}

#[test]
fn traffic_close_and_destroy_need_no_memory() {
    for device in DEVICES {
        kernel_with_memory(|td, memory| {
            if_clone_create(td, device).unwrap();
            let handle = tun_open(td, device).unwrap();
            up(td, device);
            starving(td, memory, || {
                send(td, device, 1).unwrap();
                send(td, device, 2).unwrap();
                handle.read(td).unwrap();
                handle.write(td, vec![3]).unwrap();
                handle.close(td);
            });
            let handle = tun_open(td, device).unwrap();
            up(td, device);
            send(td, device, 1).unwrap();
            starving(td, memory, || {
                if_clone_destroy(td, device).unwrap();
                handle.close(td);
            });
            if_clone_create(td, device).unwrap();
            let handle = tun_open(td, device).unwrap();
            handle.set_transient(true).unwrap();
            starving(td, memory, || handle.close(td));
            assert_eq!(listed(td, &td.curvnet()), ["lo0"]);
        });
    }
}

#[test]
fn a_removal_of_a_vnet_at_a_later_time_needs_no_memory() {
    kernel_with_memory(|td, memory| {
        let jail = vnet_alloc(td).unwrap();
        if_clone_create(td, "tun0").unwrap();
        drop(if_vmove_loan(td, "tun0", &jail).unwrap());
        let inside: Vec<TunHandle<Host>> = within(td, &jail, || {
            for kind in ["gif0", "tap0", "vmnet0", "epair0"] {
                if_clone_create(td, kind).unwrap();
            }
            ["tap0", "vmnet0", "tun0"].map(|device| tun_open(td, device).unwrap()).into()
        });
        starving(td, memory, || vnet_destroy_deferred(td, &jail).unwrap());
        assert!(jail.is_destroyed());
        assert_eq!(listed(td, &td.curvnet()), ["lo0", "tun0"], "the borrowed one is home");
        let gone: Vec<_> = inside.iter().map(|handle| handle.write(td, vec![1])).collect();
        assert_eq!(gone, [Err(Errno::ENXIO), Err(Errno::ENXIO), Ok(())]);
        starving(td, memory, || inside.into_iter().for_each(|handle| handle.close(td)));
        if_clone_destroy(td, "tun0").unwrap();
    });
}

#[test]
fn what_a_removal_at_a_later_time_refuses() {
    kernel(|td| {
        assert_eq!(vnet_destroy_deferred(td, &td.kernel().vnet0()), Err(Errno::EINVAL));
        let jail = vnet_alloc(td).unwrap();
        vnet_destroy_deferred(td, &jail).unwrap();
        assert_eq!(vnet_destroy_deferred(td, &jail), Err(Errno::EBUSY));
        // Until it is gone, it is a vnet like any other.
        within(td, &jail, || if_clone_create(td, "tun0")).unwrap();
        assert_eq!(listed(td, &jail), ["lo0", "tun0"]);
        settle(td);
        assert!(jail.is_destroyed());
        assert_eq!(vnet_destroy_deferred(td, &jail), Err(Errno::EBUSY));
        assert_eq!(vnet_destroy(td, &jail), Err(Errno::EBUSY));
    });
}

#[test]
fn what_an_open_refuses() {
    kernel(|td| {
        let jail = vnet_alloc(td).unwrap();
        if_clone_create(td, "gif0").unwrap();
        if_clone_create(td, "tun0").unwrap();
        for (wrong, why) in [("tun1", "unknown"), ("gif0", "no device"), ("lo0", "no device"), ("", "no name")] {
            let before = snapshot(td, core::slice::from_ref(&jail));
            assert_eq!(tun_open(td, wrong).err(), Some(Errno::ENXIO), "{why}");
            assert_eq!(snapshot(td, core::slice::from_ref(&jail)), before);
        }
        assert_eq!(within(td, &jail, || tun_open(td, "tun0")).err(), Some(Errno::ENXIO), "in another vnet");
        let handle = tun_open(td, "tun0").unwrap();
        let before = snapshot(td, core::slice::from_ref(&jail));
        assert_eq!(tun_open(td, "tun0").err(), Some(Errno::EBUSY));
        assert_eq!(snapshot(td, core::slice::from_ref(&jail)), before);
        // The holder is known wherever the interface goes.
        drop(if_vmove_loan(td, "tun0", &jail).unwrap());
        assert_eq!(tun_open(td, "tun0").err(), Some(Errno::ENXIO), "moved away");
        assert_eq!(within(td, &jail, || tun_open(td, "tun0")).err(), Some(Errno::EBUSY));
        handle.close(td);
        within(td, &jail, || tun_open(td, "tun0")).unwrap().close(td);
        vnet_destroy(td, &jail).unwrap();
        if_clone_destroy(td, "tun0").unwrap();
        if_clone_destroy(td, "gif0").unwrap();
    });
}

#[test]
fn packets_come_in_order_and_stay_within_their_device() {
    kernel(|td| {
        for device in DEVICES {
            if_clone_create(td, device).unwrap();
        }
        let handles = DEVICES.map(|device| tun_open(td, device).unwrap());
        for device in DEVICES {
            up(td, device);
        }
        for (n, device) in DEVICES.iter().enumerate() {
            for k in 0..3 {
                send(td, device, (10 * n + k) as u8).unwrap();
            }
        }
        for (n, handle) in handles.iter().enumerate() {
            for k in 0..3 {
                assert_eq!(handle.read(td).unwrap(), [(10 * n + k) as u8]);
            }
            assert_eq!(handle.try_read().err(), Some(Errno::EAGAIN));
        }
        let tap = ifunit_ref(td, "tap0").unwrap();
        handles[0].write(td, vec![1]).unwrap();
        assert_eq!((tap.counter(IfCounter::Ipackets), tap.counter(IfCounter::Opackets)), (1, 3));
        drop(tap);
        handles.into_iter().for_each(|handle| handle.close(td));
        for device in DEVICES {
            if_clone_destroy(td, device).unwrap();
        }
    });
}

#[test]
fn each_kind_is_what_freebsd_makes_of_it() {
    kernel(|td| {
        let ethernet = IfFlags::BROADCAST | IfFlags::SIMPLEX | IfFlags::MULTICAST;
        let tunnel = IfFlags::POINTOPOINT | IfFlags::MULTICAST;
        for (kind, flags, mtu, if_type) in [
            ("gif", tunnel, 1280, IfType::Gif),
            ("tun", tunnel, 1500, IfType::Ppp),
            ("tap", ethernet, 1500, IfType::Ether),
            ("vmnet", ethernet, 1500, IfType::Ether),
        ] {
            let made = if_clone_create(td, kind).unwrap();
            assert_eq!(made, name(&format!("{kind}0")));
            let ifp = ifunit_ref(td, &made).unwrap();
            assert_eq!((ifp.flags(), ifp.mtu(), ifp.if_type()), (flags, mtu, if_type), "{kind}");
            assert_eq!(groups(td, &ifp), ["all", kind]);
            assert_eq!(ifp.link_state(), LinkState::Unknown);
            assert_eq!(if_clone_create(td, &format!("{kind}0")), Err(Errno::EEXIST));
            assert_eq!(if_clone_create(td, &format!("{kind}00")), Err(Errno::EINVAL));
            assert_eq!(if_clone_create(td, &format!("{kind}32768")), Err(Errno::ENOSPC));
            if_clone_destroy(td, &made).unwrap();
            assert_eq!(if_clone_destroy(td, &made), Err(Errno::ENXIO));
        }
        if_clone_create(td, "gif7").unwrap();
        up(td, "gif7");
        assert_eq!(send(td, "gif7", 1), Err(Errno::ENETDOWN), "a tunnel from nowhere to nowhere");
        if_clone_destroy(td, "gif7").unwrap();
    });
}

#[test]
fn an_unloaded_module_takes_open_devices_along() {
    kernel(|td| {
        if_clone_create(td, "tap0").unwrap();
        let handle = tun_open(td, "tap0").unwrap();
        handle.set_transient(true).unwrap();
        td.kernel().deregister_cloner(td, "tap").unwrap();
        assert_eq!(handle.read(td).err(), Some(Errno::ENXIO));
        handle.close(td);
        assert_eq!(if_clone_create(td, "tap0"), Err(Errno::EINVAL));
        assert_eq!(listed(td, &td.curvnet()), ["lo0"]);
    });
}
