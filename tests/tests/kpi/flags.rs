//! Flags, counts of those who want every packet, MTU, addresses, multicast, link state.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ifnet::drivers::bridge_addm;
use ifnet::{
    Errno, IfFlags, IfOps, IfType, Ioctl, LinkState, SockAddr, ether_ifattach, ether_ifdetach, if_addaddr, if_addmulti,
    if_allmulti, if_alloc, if_attach, if_clone_create, if_clone_destroy, if_deladdr, if_delmulti, if_detach, if_free,
    if_initname, if_link_state_change, if_lladdr, if_setflags, if_setlladdr, if_setmtu, if_transmit, if_up,
    if_vmove_loan, if_vmove_reclaim, ifpromisc, ifunit, vnet_alloc, vnet_destroy,
};

use super::bed::{Host, alloc, kernel, plug, settle, unplug};

const MULTI: SockAddr = SockAddr::Link([1, 0, 0x5e, 0, 0, 1]);

static REFUSES: AtomicBool = AtomicBool::new(false);
static TOLD: AtomicU32 = AtomicU32::new(0);

/// A driver that refuses when it is told to. Used by one test only.
static MOODY: IfOps<Host> = IfOps {
    ioctl: Some(|_, _, _| {
        TOLD.fetch_add(1, Ordering::Relaxed);
        if REFUSES.load(Ordering::Relaxed) { Err(Errno::ENETDOWN) } else { Ok(()) }
    }),
    ..*IfOps::DEFAULT
};

#[test]
fn the_first_and_the_last_who_want_every_packet_tell_the_driver() {
    kernel(|td| {
        let em0 = plug(td, "em0");
        assert_eq!(ifpromisc(td, &em0, true), Err(Errno::EOPNOTSUPP), "a driver without ioctl");
        assert_eq!((em0.pcount(), em0.flags().contains(IfFlags::PROMISC)), (0, false));
        em0.set_ops(&MOODY);
        for which in [ifpromisc, if_allmulti] {
            TOLD.store(0, Ordering::Relaxed);
            assert_eq!(which(td, &em0, false), Err(Errno::EINVAL), "fewer than none");
            REFUSES.store(true, Ordering::Relaxed);
            assert_eq!(which(td, &em0, true), Err(Errno::ENETDOWN));
            assert_eq!((em0.pcount(), em0.amcount()), (0, 0));
            assert!(!em0.flags().intersects(IfFlags::PROMISC | IfFlags::ALLMULTI));
            REFUSES.store(false, Ordering::Relaxed);
            which(td, &em0, true).unwrap();
            which(td, &em0, true).unwrap();
            assert_eq!(TOLD.load(Ordering::Relaxed), 2, "the second does not matter to the driver");
            assert_eq!(em0.pcount() + em0.amcount(), 2);
            which(td, &em0, false).unwrap();
            REFUSES.store(true, Ordering::Relaxed);
            assert_eq!(which(td, &em0, false), Err(Errno::ENETDOWN));
            assert_eq!(em0.pcount() + em0.amcount(), 1);
            assert!(em0.flags().intersects(IfFlags::PROMISC | IfFlags::ALLMULTI), "the flag is back");
            REFUSES.store(false, Ordering::Relaxed);
            which(td, &em0, false).unwrap();
            assert!(!em0.flags().intersects(IfFlags::PROMISC | IfFlags::ALLMULTI));
        }
        unplug(td, em0);
    });
}

#[test]
fn an_mtu_has_limits() {
    kernel(|td| {
        if_clone_create(td, "disc").unwrap();
        let disc0 = ifunit(td, "disc0").unwrap();
        for bad in [0, 71, 65536, u32::MAX] {
            assert_eq!(if_setmtu(td, &disc0, bad), Err(Errno::EINVAL), "{bad}");
        }
        assert_eq!(disc0.mtu(), 1500);
        for good in [72, 1500, 65535] {
            assert_eq!(if_setmtu(td, &disc0, good), Ok(()));
            assert_eq!(disc0.mtu(), good);
        }
        let em0 = plug(td, "em0");
        assert_eq!(if_setmtu(td, &em0, 71), Err(Errno::EINVAL));
        assert_eq!(if_setmtu(td, &em0, 1000), Err(Errno::EOPNOTSUPP), "a driver without ioctl");
        em0.set_ops(&TIMID);
        assert_eq!(if_setmtu(td, &em0, 1000), Err(Errno::EINVAL), "the driver's own limit");
        assert_eq!(em0.mtu(), 1500);
        unplug(td, em0);
        drop(disc0);
        if_clone_destroy(td, "disc0").unwrap();
    });
}

/// A driver that takes no MTU and leaves the rest alone.
static TIMID: IfOps<Host> = IfOps {
    ioctl: Some(|_, _, request| if let Ioctl::SetMtu(_) = request { Err(Errno::EINVAL) } else { Ok(()) }),
    ..*IfOps::DEFAULT
};

#[test]
fn a_driver_hears_which_flags_have_changed() {
    kernel(|td| {
        let em0 = plug(td, "em0");
        em0.set_ops(&HEARS);
        let heard = || IfFlags::from_bits_retain(HEARD.swap(0, Ordering::Relaxed));
        let kept = em0.flags();
        if_setflags(td, &em0, kept | IfFlags::UP | IfFlags::NOARP).unwrap();
        assert_eq!(heard(), IfFlags::UP | IfFlags::NOARP);
        if_setflags(td, &em0, em0.flags()).unwrap();
        assert_eq!(heard(), IfFlags::empty(), "all is so already");
        ifpromisc(td, &em0, true).unwrap();
        assert_eq!(heard(), IfFlags::PROMISC);
        if_allmulti(td, &em0, true).unwrap();
        if_allmulti(td, &em0, true).unwrap();
        assert_eq!(heard(), IfFlags::ALLMULTI);
        // What is counted is not a user's to change.
        if_setflags(td, &em0, kept).unwrap();
        assert_eq!(heard(), IfFlags::UP | IfFlags::NOARP);
        unplug(td, em0);
    });
}

/// The flags that the driver [`HEARS`] of, since the last look.
static HEARD: AtomicU32 = AtomicU32::new(0);

static HEARS: IfOps<Host> = IfOps {
    ioctl: Some(|_, _, request| {
        if let Ioctl::SetFlags(changed) = request {
            HEARD.fetch_xor(changed.bits(), Ordering::Relaxed);
        }
        Ok(())
    }),
    ..*IfOps::DEFAULT
};

#[test]
fn a_user_sets_only_what_a_user_may() {
    kernel(|td| {
        let em0 = plug(td, "em0");
        if_setflags(td, &em0, IfFlags::all()).unwrap();
        let flags = em0.flags();
        assert!(flags.contains(IfFlags::UP | IfFlags::PPROMISC) && flags.contains(IfFlags::MULTICAST));
        let kept = IfFlags::DYING | IfFlags::RENAMING | IfFlags::RUNNING;
        assert!(!flags.intersects(kept), "{flags:?}");
        if_setflags(td, &em0, IfFlags::empty()).unwrap();
        assert_eq!(em0.flags(), IfFlags::MULTICAST, "what a user may not change is left");
        unplug(td, em0);
    });
}

#[test]
fn what_a_user_wants_for_good_and_what_is_counted_share_a_flag() {
    kernel(|td| {
        let em0 = plug(td, "em0");
        em0.set_ops(&HEARS_OF_PROMISC);
        let heard = || WANTED.swap(0, Ordering::Relaxed);
        let set = |flags: IfFlags| if_setflags(td, &em0, flags).unwrap();
        let is_on = || em0.flags().contains(IfFlags::PROMISC);
        set(IfFlags::PPROMISC);
        assert!(is_on() && heard() == IfFlags::PROMISC.bits(), "the driver is told of both");
        ifpromisc(td, &em0, true).unwrap();
        ifpromisc(td, &em0, false).unwrap();
        assert!(is_on() && heard() == 0, "the user still wants it");
        ifpromisc(td, &em0, true).unwrap();
        set(IfFlags::empty());
        assert!(is_on(), "somebody still wants it");
        ifpromisc(td, &em0, false).unwrap();
        assert!(!is_on());
        set(IfFlags::PPROMISC | IfFlags::PALLMULTI);
        assert!(em0.flags().contains(IfFlags::PROMISC | IfFlags::ALLMULTI));
        set(IfFlags::empty());
        assert!(!em0.flags().intersects(IfFlags::PROMISC | IfFlags::ALLMULTI));
        unplug(td, em0);
    });
}

/// Whether the driver [`HEARS_OF_PROMISC`] has heard of a change, since the last look.
static WANTED: AtomicU32 = AtomicU32::new(0);

static HEARS_OF_PROMISC: IfOps<Host> = IfOps {
    ioctl: Some(|_, _, request| {
        if let Ioctl::SetFlags(changed) = request {
            WANTED.fetch_or((changed & IfFlags::PROMISC).bits(), Ordering::Relaxed);
        }
        Ok(())
    }),
    ..*IfOps::DEFAULT
};

#[test]
fn addresses() {
    kernel(|td| {
        let em0 = plug(td, "em0");
        let (inet, inet6) = (SockAddr::Inet([10, 0, 0, 1]), SockAddr::Inet6([0xfe; 16]));
        assert_eq!(if_addaddr(td, &em0, SockAddr::Link([2; 6]), 0), Err(Errno::EINVAL));
        assert_eq!(if_addaddr(td, &em0, inet, 33), Err(Errno::EINVAL));
        assert_eq!(if_addaddr(td, &em0, inet6, 129), Err(Errno::EINVAL));
        assert_eq!(if_deladdr(&em0, inet), Err(Errno::EADDRNOTAVAIL));
        if_addaddr(td, &em0, inet, 32).unwrap();
        if_addaddr(td, &em0, inet6, 128).unwrap();
        assert_eq!(if_addaddr(td, &em0, inet, 24), Err(Errno::EEXIST));
        if_deladdr(&em0, inet).unwrap();
        assert_eq!(if_deladdr(&em0, inet), Err(Errno::EADDRNOTAVAIL));
        // A move takes the other one.
        let jail = vnet_alloc(td).unwrap();
        drop(if_vmove_loan(td, "em0", &jail).unwrap());
        assert_eq!(if_deladdr(&em0, inet6), Err(Errno::EADDRNOTAVAIL));
        drop(if_vmove_reclaim(td, "em0", &jail).unwrap());
        unplug(td, em0);
        vnet_destroy(td, &jail).unwrap();
    });
}

#[test]
fn multicast_memberships_are_counted() {
    kernel(|td| {
        let em0 = alloc(td, "em0");
        if_attach(td, &em0).unwrap();
        assert_eq!(if_delmulti(td, &em0, MULTI), Err(Errno::ENOENT));
        if_addmulti(td, &em0, MULTI).unwrap();
        if_addmulti(td, &em0, MULTI).unwrap();
        if_delmulti(td, &em0, MULTI).unwrap();
        if_delmulti(td, &em0, MULTI).unwrap();
        assert_eq!(if_delmulti(td, &em0, MULTI), Err(Errno::ENOENT));
        if_addmulti(td, &em0, MULTI).unwrap();
        if_detach(td, &em0);
        assert_eq!(if_delmulti(td, &em0, MULTI), Err(Errno::ENOENT), "detach has purged it");
        if_free(td, em0);
        let deaf = ifnet::if_alloc(td, ifnet::IfType::Other).unwrap();
        assert_eq!(if_addmulti(td, &deaf, MULTI), Err(Errno::EOPNOTSUPP));
        if_free(td, deaf);
    });
}

static LINK_EVENTS: AtomicU32 = AtomicU32::new(0);

#[test]
fn no_link_state_task_runs_after_detach() {
    kernel(|td| {
        let tag = ifnet::event::eventhandler_register(
            td,
            |_, event, _| {
                if let ifnet::event::Event::Link(..) = event {
                    LINK_EVENTS.fetch_add(1, Ordering::Relaxed);
                }
            },
            0,
            ifnet::event::PRI_ANY,
        )
        .unwrap();
        let em0 = plug(td, "em0");
        if_link_state_change(td, &em0, LinkState::Up);
        if_link_state_change(td, &em0, LinkState::Up);
        assert_eq!(LINK_EVENTS.load(Ordering::Relaxed), 0, "left to a task");
        settle(td);
        assert_eq!(LINK_EVENTS.load(Ordering::Relaxed), 1, "the same state again is nothing new");
        if_link_state_change(td, &em0, LinkState::Down);
        if_detach(td, &em0);
        assert_eq!(LINK_EVENTS.load(Ordering::Relaxed), 2, "detach drains");
        if_link_state_change(td, &em0, LinkState::Up);
        assert!(!td.kernel().run_deferred(td) || LINK_EVENTS.load(Ordering::Relaxed) == 2);
        settle(td);
        if_free(td, em0);
        settle(td);
        assert_eq!(LINK_EVENTS.load(Ordering::Relaxed), 2);
        ifnet::event::eventhandler_deregister(td, tag);
    });
}

#[test]
fn a_pair_sends_while_both_ends_are_up() {
    kernel(|td| {
        if_clone_create(td, "epair").unwrap();
        let (a, b) = (ifunit(td, "epair0a").unwrap(), ifunit(td, "epair0b").unwrap());
        let send = || {
            let section = td.net_epoch_enter();
            if_transmit(td, &a, vec![1, 2, 3], &section)
        };
        assert_eq!(send(), Err(Errno::ENETDOWN));
        if_up(td, &a);
        assert_eq!(send(), Err(Errno::ENETDOWN));
        if_up(td, &b);
        assert_eq!(send(), Ok(()));
        assert_eq!(b.counter(ifnet::IfCounter::Ipackets), 1);
        assert_eq!(a.counter(ifnet::IfCounter::Oerrors), 2);
        if_clone_destroy(td, "epair0b").unwrap();
        assert_eq!(send(), Err(Errno::ENXIO));
    });
}

#[test]
fn a_member_that_departs_is_one_fewer_and_its_driver_is_not_told() {
    kernel(|td| {
        if_clone_create(td, "bridge").unwrap();
        let bridge0 = ifunit(td, "bridge0").unwrap();
        // Nobody else wants every packet; somebody does; the user does, for good.
        for (others, for_good) in [(0, false), (1, false), (0, true)] {
            let em0 = if_alloc(td, IfType::Ether).unwrap();
            if_initname(&em0, "em", Some(0)).unwrap();
            em0.set_ops(&SILENT);
            ether_ifattach(td, &em0, [2, 0, 0, 0, 0, 1]).unwrap();
            if for_good {
                if_setflags(td, &em0, IfFlags::PPROMISC).unwrap();
            }
            bridge_addm(td, &bridge0, &em0).unwrap();
            (0..others).for_each(|_| ifpromisc(td, &em0, true).unwrap());
            assert_eq!(em0.pcount(), 1 + others);
            let told = SPOKEN.load(Ordering::Relaxed);
            ether_ifdetach(td, &em0);
            assert_eq!(SPOKEN.load(Ordering::Relaxed), told);
            assert_eq!(em0.pcount(), others, "the bridge wants none any more");
            assert_eq!(em0.flags().contains(IfFlags::PROMISC), others > 0 || for_good);
            if_free(td, em0);
        }
        drop(bridge0);
        if_clone_destroy(td, "bridge0").unwrap();
    });
}

/// How often the driver [`SILENT`] was told of flags.
static SPOKEN: AtomicU32 = AtomicU32::new(0);

static SILENT: IfOps<Host> = IfOps {
    ioctl: Some(|_, _, request| {
        if let Ioctl::SetFlags(_) = request {
            SPOKEN.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }),
    ..*IfOps::DEFAULT
};

#[test]
fn memberships_are_counted_each_by_itself_and_the_driver_hears_of_the_first_and_the_last() {
    kernel(|td| {
        let em0 = plug(td, "em0");
        em0.set_ops(&FILTERS);
        let heard = || {
            settle(td);
            (ADDED.swap(0, Ordering::Relaxed), REMOVED.swap(0, Ordering::Relaxed))
        };
        let other = SockAddr::Link([1, 0, 0x5e, 0, 0, 2]);
        if_addmulti(td, &em0, MULTI).unwrap();
        assert_eq!(heard(), (1, 0));
        if_addmulti(td, &em0, MULTI).unwrap();
        assert_eq!(heard(), (0, 0), "it is a member already");
        if_addmulti(td, &em0, other).unwrap();
        assert_eq!(heard(), (1, 0));
        if_delmulti(td, &em0, MULTI).unwrap();
        assert_eq!(heard(), (0, 0), "one join is left");
        if_delmulti(td, &em0, MULTI).unwrap();
        assert_eq!(heard(), (0, 1));
        assert_eq!(if_delmulti(td, &em0, MULTI), Err(Errno::ENOENT));
        if_delmulti(td, &em0, other).unwrap();
        assert_eq!(heard(), (0, 1));
        unplug(td, em0);
    });
}

/// How often the driver [`FILTERS`] was told that its filter has grown, and that it has shrunk.
static ADDED: AtomicU32 = AtomicU32::new(0);
static REMOVED: AtomicU32 = AtomicU32::new(0);

static FILTERS: IfOps<Host> = IfOps {
    ioctl: Some(|_, _, request| {
        match request {
            Ioctl::AddMulti => ADDED.fetch_add(1, Ordering::Relaxed),
            Ioctl::DelMulti => REMOVED.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        Ok(())
    }),
    ..*IfOps::DEFAULT
};

#[test]
fn an_interface_that_was_never_attached_has_no_link_level_address_to_change() {
    kernel(|td| {
        let em0 = alloc(td, "em0");
        assert_eq!(if_setlladdr(td, &em0, [2; 6]), Err(Errno::ENXIO));
        assert_eq!(if_lladdr(td, &em0), None);
        if_attach(td, &em0).unwrap();
        if_setlladdr(td, &em0, [2; 6]).unwrap();
        assert_eq!(if_lladdr(td, &em0), Some(SockAddr::Link([2; 6])));
        unplug(td, em0);
    });
}
