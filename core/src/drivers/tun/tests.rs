use super::*;
use crate::testing::{Host, kernel};
use crate::{
    IfCounter, IfnetRef, Kernel, SockAddr, TaskMode, if_addaddr, if_clone_create, if_clone_destroy, if_rename,
    if_setflags, if_transmit, ifunit, vnet_alloc, vnet_destroy,
};
use std::sync::Arc;

fn with_kernel(body: impl FnOnce(&Kernel<Host>, &Thread<'_, Host>)) {
    let (_, kernel) = kernel(TaskMode::Deferred);
    let td = kernel.thread().expect("room");
    body(&kernel, &td);
    while kernel.run_deferred(&td) {}
}

fn made(td: &Thread<'_, Host>, name: &str) -> IfnetRef<Host> {
    if_clone_create(td, name).expect("a cloner");
    ifunit_ref(td, name).expect("just made")
}

fn send(td: &Thread<'_, Host>, ifp: &Ifp<Host>) -> Result<(), Errno> {
    let section = td.net_epoch_enter();
    if_transmit(td, ifp, (), &section)
}

#[test]
fn only_one_holds_a_device() {
    with_kernel(|_, td| {
        drop(made(td, "tun0"));
        assert_eq!(tun_open(td, "tun1").err(), Some(Errno::ENXIO), "no such interface");
        assert_eq!(tun_open(td, "lo0").err(), Some(Errno::ENXIO), "of another kind");
        let handle = tun_open(td, "tun0").expect("closed");
        assert_eq!(tun_open(td, "tun0").err(), Some(Errno::EBUSY));
        handle.close(td);
        drop(tun_open(td, "tun0").expect("closed again"));
        drop(tun_open(td, "tun0").expect("dropped"));
        if_clone_destroy(td, "tun0").expect("there");
        assert_eq!(tun_open(td, "tun0").err(), Some(Errno::ENXIO));
    });
}

#[test]
fn packets_pass_both_ways_while_it_is_open_and_up() {
    with_kernel(|_, td| {
        let (tun, tap) = (made(td, "tun0"), made(td, "tap0"));
        assert_eq!(send(td, &tun), Err(Errno::EHOSTDOWN), "closed");
        assert_eq!(send(td, &tap), Ok(()), "thrown away");
        let [a, b] = ["tun0", "tap0"].map(|name| tun_open(td, name).expect("closed"));
        assert_eq!(a.try_read().err(), Some(Errno::EAGAIN));
        assert_eq!(send(td, &tun), Err(Errno::EHOSTDOWN), "down");
        a.write(td, ()).expect("thrown away");
        assert_eq!(tun.counter(IfCounter::Ipackets), 0);
        for ifp in [&tun, &tap] {
            if_setflags(td, ifp, IfFlags::UP).expect("alive");
        }
        for _ in 0..QUEUE_LEN {
            send(td, &tun).expect("room");
        }
        assert_eq!(send(td, &tun), Err(Errno::ENOBUFS));
        a.read(td).expect("queued");
        send(td, &tun).expect("room again");
        send(td, &tap).expect("room");
        b.read(td).expect("queued");
        assert_eq!(b.try_read().err(), Some(Errno::EAGAIN));
        a.write(td, ()).expect("there");
        assert_eq!(tun.counter(IfCounter::Ipackets), 1);
        // A flush throws away what waits.
        if_setflags(td, &tun, IfFlags::empty()).expect("alive");
        assert_eq!(a.try_read().err(), Some(Errno::EAGAIN));
        a.close(td);
        b.close(td);
        drop((tun, tap));
        if_clone_destroy(td, "tun0").expect("there");
        if_clone_destroy(td, "tap0").expect("there");
    });
}

#[test]
fn a_close_takes_the_interface_down_but_not_a_vmnet() {
    with_kernel(|kernel, td| {
        for (name, stays) in [("tun0", false), ("tap0", false), ("vmnet0", true)] {
            let ifp = made(td, name);
            let handle = tun_open(td, name).expect("closed");
            assert_eq!(ifp.link_state(), LinkState::Up);
            if_setflags(td, &ifp, IfFlags::UP).expect("alive");
            if_addaddr(td, &ifp, SockAddr::Inet([192, 0, 2, 2]), 24).expect("memory");
            send(td, &ifp).expect("room");
            handle.close(td);
            assert_eq!(ifp.link_state(), LinkState::Down);
            assert_eq!(ifp.flags().contains(IfFlags::UP), stays, "{name}");
            assert_eq!(ifp.flags().contains(IfFlags::RUNNING), stays, "{name}");
            let mut addresses = 0;
            ifp.addresses(|_, _| addresses += 1);
            assert_eq!(addresses, usize::from(stays), "{name}");
            let again = tun_open(td, name).expect("closed");
            assert_eq!(again.try_read().err(), Some(Errno::EAGAIN), "nothing of the last holder's");
            drop((again, ifp));
            if_clone_destroy(td, name).expect("there");
            kernel.run_deferred(td);
        }
    });
}

#[test]
fn a_destroy_does_not_wait_for_a_close() {
    with_kernel(|_, td| {
        for name in ["tun0", "tap0", "vmnet0"] {
            let ifp = made(td, name);
            let handle = tun_open(td, name).expect("closed");
            if_setflags(td, &ifp, IfFlags::UP).expect("alive");
            send(td, &ifp).expect("room");
            if_clone_destroy(td, name).expect("open is no obstacle");
            assert!(ifunit(td, name).is_none());
            assert_eq!(handle.try_read().err(), Some(Errno::ENXIO), "what was queued went with the interface");
            assert_eq!(handle.read(td).err(), Some(Errno::ENXIO));
            assert_eq!(handle.write(td, ()), Err(Errno::ENXIO));
            assert_eq!(handle.set_transient(true), Err(Errno::ENXIO));
            assert_eq!(send(td, &ifp), Err(Errno::ENXIO));
            // The next of that name is another device.
            drop(made(td, name));
            let second = tun_open(td, name).expect("closed");
            handle.close(td);
            assert_eq!(tun_open(td, name).err(), Some(Errno::EBUSY), "the old close is not the new one's");
            second.close(td);
            if_clone_destroy(td, name).expect("there");
        }
    });
}

#[test]
fn a_sleeping_reader_learns_of_the_destroy() {
    let (_, kernel) = kernel(TaskMode::Deferred);
    let td = kernel.thread().expect("room");
    drop(made(&td, "tap0"));
    let handle = tun_open(&td, "tap0").expect("closed");
    let kernel = &kernel;
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let td = kernel.thread().expect("room");
            let got = handle.read(&td).err();
            handle.close(&td);
            got
        });
        if_clone_destroy(&td, "tap0").expect("there");
        assert_eq!(reader.join().expect("no panic"), Some(Errno::ENXIO));
    });
}

#[test]
fn the_close_of_a_transient_one_destroys_it_wherever_it_is() {
    with_kernel(|_, td| {
        let jail = vnet_alloc(td).expect("memory");
        for name in ["tun0", "tap0", "vmnet0"] {
            drop(made(td, name));
            let handle = tun_open(td, name).expect("closed");
            handle.set_transient(true).expect("there");
            drop(crate::if_vmove_loan(td, name, &jail).expect("there"));
            handle.close(td);
            assert_eq!(td.kernel().interfaces(), 2, "{name} is gone; lo0 and lo0 are left");
            // The next open begins without.
            drop(made(td, name));
            tun_open(td, name).expect("closed").close(td);
            let handle = tun_open(td, name).expect("still there");
            handle.set_transient(true).expect("there");
            handle.set_transient(false).expect("there");
            handle.close(td);
            if_clone_destroy(td, name).expect("still there");
        }
        vnet_destroy(td, &jail).expect("alive");
    });
}

#[test]
fn a_renamed_one_in_a_jail_is_destroyed_by_its_new_name() {
    with_kernel(|_, td| {
        let jail = vnet_alloc(td).expect("memory");
        {
            let _cur = td.curvnet_set(Some(jail.clone()));
            let tun = made(td, "tun0");
            if_rename(td, &tun, "foo").expect("free");
            drop(tun);
            let handle = tun_open(td, "foo").expect("by its new name");
            assert_eq!(tun_open(td, "tun0").err(), Some(Errno::ENXIO));
            if_clone_destroy(td, "foo").expect("PR 235704");
            handle.close(td);
            // The unit is free again.
            drop(made(td, "tun0"));
        }
        vnet_destroy(td, &jail).expect("alive");
    });
}

#[test]
fn a_vnet_dies_with_an_open_device_inside() {
    with_kernel(|_, td| {
        let jail = vnet_alloc(td).expect("memory");
        let handle = {
            let _cur = td.curvnet_set(Some(jail.clone()));
            drop(made(td, "tap0"));
            tun_open(td, "tap0").expect("closed")
        };
        handle.set_transient(true).expect("there");
        vnet_destroy(td, &jail).expect("alive");
        assert_eq!(handle.read(td).err(), Some(Errno::ENXIO));
        handle.close(td);
    });
}

/// The host of the other tests, with packets that are counted.
#[derive(Default)]
struct Counting(Host);

impl Platform for Counting {
    type Mutex<T: Send> = <Host as Platform>::Mutex<T>;
    type Allocator = <Host as Platform>::Allocator;
    type Buffer = Arc<()>;

    const ANNOUNCES_SECTIONS: bool = Host::ANNOUNCES_SECTIONS;

    fn allocator(&self) -> Self::Allocator {
        self.0.allocator()
    }

    fn sleep(&self, channel: Channel, ready: &mut dyn FnMut() -> bool) {
        self.0.sleep(channel, ready);
    }

    fn wakeup(&self, channel: Channel) {
        self.0.wakeup(channel);
    }
}

#[test]
fn no_packet_is_left_whichever_way_it_ends() {
    let kernel = Kernel::boot(Counting::default(), crate::Config::default().threads(2)).expect("memory");
    let packet = Arc::new(());
    let left = || Arc::strong_count(&packet) - 1;
    {
        let td = kernel.thread().expect("room");
        let end = |how: fn(&Thread<'_, Counting>, &IfnetRef<Counting>, TunHandle<Counting>)| {
            let name = if_clone_create(&td, "tap").expect("memory");
            let tap = ifunit_ref(&td, &name).expect("just made");
            let send = || {
                let section = td.net_epoch_enter();
                if_transmit(&td, &tap, packet.clone(), &section)
            };
            send().expect("thrown away");
            let handle = tun_open(&td, &name).expect("closed");
            send().expect("thrown away");
            handle.write(&td, packet.clone()).expect("thrown away");
            assert_eq!(left(), 0, "down");
            if_setflags(&td, &tap, IfFlags::UP).expect("alive");
            handle.write(&td, packet.clone()).expect("input");
            assert_eq!(left(), 0, "nobody above");
            for _ in 0..QUEUE_LEN {
                send().expect("room");
            }
            send().expect_err("full");
            assert_eq!(left(), QUEUE_LEN);
            drop(handle.read(&td).expect("queued"));
            assert_eq!(left(), QUEUE_LEN - 1);
            how(&td, &tap, handle);
            assert_eq!(left(), 0);
            let _ = send();
            assert_eq!(left(), 0, "after the end");
            drop(tap);
            let _ = if_clone_destroy(&td, &name);
        };
        end(|td, _, handle| handle.close(td));
        end(|_, _, handle| drop(handle));
        end(|td, tap, handle| {
            if_clone_destroy(td, &tap.name()).expect("there");
            assert_eq!(handle.write(td, Arc::new(())), Err(Errno::ENXIO));
        });
        end(|td, _, handle| {
            handle.set_transient(true).expect("there");
            handle.close(td);
        });
        end(|td, tap, handle| {
            // A flush keeps the device open.
            if_setflags(td, tap, IfFlags::empty()).expect("alive");
            assert_eq!(handle.try_read().err(), Some(Errno::EAGAIN));
        });
        while kernel.run_deferred(&td) {}
    }
    kernel.shutdown();
}
