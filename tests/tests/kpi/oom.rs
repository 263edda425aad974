//! Every allocation of every operation fails once.
//!
//! Each case is an operation with a state to begin from and a way to take it back. For n = 1, 2, 3, … it runs with the
//! n-th allocation failing, until a run needs fewer than n: once with only that one failing, and once with all later
//! ones failing too, so that the way back may not allocate. Each failure must give `ENOMEM` and leave everything as it
//! was; the same call must succeed after that; and no memory may be left at the end.
//!
//! All this is done in crowds of different sizes, so that the growth of every table is among the failures.

use ifnet::clone::{CloneFlags, CloneType};
use ifnet::event::{EventTag, PRI_ANY, eventhandler_deregister, eventhandler_register};
use ifnet::mem::Shared;
use ifnet::{
    BpfListener, Errno, IfType, SockAddr, bpf_open, bpfdetach, ether_ifattach, if_addaddr, if_addgroup, if_addmulti,
    if_alloc, if_attach, if_clone_create, if_clone_destroy, if_deladdr, if_delgroup, if_delmulti, if_detach, if_free,
    if_rename, if_setlladdr, if_vmove_loan, if_vmove_reclaim, ifunit, vnet_alloc, vnet_destroy,
};
use ifnet_std::alloc::CountingAlloc;

use super::bed::{Host, Owner, Td, Vnet, alloc, boot, kernel_with_memory, plug, settle, snapshot, unplug, within};

/// What a case works with.
#[derive(Default)]
struct State {
    vnets: Vec<Vnet>,
    owners: Vec<Owner>,
    crowd: Vec<Owner>,
    listeners: Vec<BpfListener<Host>>,
    tags: Vec<EventTag<Host>>,
}

struct Case {
    name: &'static str,
    setup: fn(&Td<'_>, &mut State),
    call: fn(&Td<'_>, &mut State) -> Result<(), Errno>,
    undo: fn(&Td<'_>, &mut State),
    /// At least so many allocations must have failed once, in the smallest crowd: so that the test tests something.
    points: u64,
}

const CASES: &[Case] = &[
    Case {
        name: "vnet_alloc",
        setup: |_, _| {},
        call: |td, state| {
            state.vnets.push(vnet_alloc(td)?);
            Ok(())
        },
        undo: |td, state| vnet_destroy(td, &state.vnets.pop().unwrap()).unwrap(),
        points: 10,
    },
    Case {
        name: "if_alloc",
        setup: |_, _| {},
        call: |td, state| {
            state.owners.push(if_alloc(td, IfType::Ether)?);
            Ok(())
        },
        undo: |td, state| if_free(td, state.owners.pop().unwrap()),
        points: 2,
    },
    Case {
        name: "if_attach",
        setup: |td, state| state.owners.push(alloc(td, "em0")),
        call: |td, state| if_attach(td, &state.owners[0]),
        undo: |td, state| detach_and_replace(td, state),
        points: 2,
    },
    Case {
        name: "if_attach in a jail",
        setup: |td, state| {
            with_vnets(td, state, 1);
            let em0 = within(td, &state.vnets[0], || alloc(td, "em0"));
            state.owners.push(em0);
        },
        call: |td, state| within(td, &state.vnets[0], || if_attach(td, &state.owners[0])),
        undo: |td, state| {
            let em0 = state.owners.remove(0);
            unplug(td, em0);
            let em0 = within(td, &state.vnets[0], || alloc(td, "em0"));
            state.owners.push(em0);
        },
        points: 2,
    },
    Case {
        name: "ether_ifattach",
        setup: |td, state| {
            state.owners.push(alloc(td, "em0"));
            state.owners[0].set_mtu(9000);
        },
        call: |td, state| ether_ifattach(td, &state.owners[0], [2, 0, 0, 0, 0, 1]),
        undo: |td, state| {
            bpfdetach(td, &state.owners[0]);
            detach_and_replace(td, state);
        },
        points: 3,
    },
    Case {
        name: "create of disc5",
        setup: |_, _| {},
        call: |td, _| if_clone_create(td, "disc5").map(drop),
        undo: |td, _| if_clone_destroy(td, "disc5").unwrap(),
        points: 6,
    },
    Case {
        name: "create of disc",
        setup: |td, _| drop(if_clone_create(td, "disc0").unwrap()),
        call: |td, _| if_clone_create(td, "disc").map(|name| assert_eq!(&*name, "disc1")),
        undo: |td, _| if_clone_destroy(td, "disc1").unwrap(),
        points: 5,
    },
    Case {
        name: "create of disc beside a taken name",
        setup: |td, state| state.owners.push(plug(td, "disc0")),
        call: |td, _| if_clone_create(td, "disc").map(|name| assert_eq!(&*name, "disc1")),
        undo: |td, _| if_clone_destroy(td, "disc1").unwrap(),
        points: 5,
    },
    Case {
        name: "create of epair",
        setup: |_, _| {},
        call: |td, _| if_clone_create(td, "epair").map(|name| assert_eq!(&*name, "epair0a")),
        undo: |td, _| if_clone_destroy(td, "epair0b").unwrap(),
        points: 14,
    },
    Case {
        name: "create of epair in a jail",
        setup: |td, state| with_vnets(td, state, 1),
        call: |td, state| within(td, &state.vnets[0], || if_clone_create(td, "epair7")).map(drop),
        undo: |td, state| within(td, &state.vnets[0], || if_clone_destroy(td, "epair7a")).unwrap(),
        points: 14,
    },
    Case {
        name: "rename",
        setup: |td, state| state.owners.push(plug(td, "em0")),
        call: |td, state| if_rename(td, &state.owners[0], "wan"),
        undo: |td, state| if_rename(td, &state.owners[0], "em0").unwrap(),
        // In the smallest crowd the table has room.
        points: 0,
    },
    Case {
        name: "joining a group",
        setup: |td, state| state.owners.push(plug(td, "em0")),
        call: |td, state| if_addgroup(td, &state.owners[0], "foo"),
        undo: |td, state| if_delgroup(td, &state.owners[0], "foo").unwrap(),
        points: 2,
    },
    Case {
        name: "joining a group that exists",
        setup: |td, state| {
            state.owners.push(plug(td, "em0"));
            state.owners.push(plug(td, "em1"));
            if_addgroup(td, &state.owners[1], "foo").unwrap();
        },
        call: |td, state| if_addgroup(td, &state.owners[0], "foo"),
        undo: |td, state| if_delgroup(td, &state.owners[0], "foo").unwrap(),
        points: 1,
    },
    Case {
        name: "an address",
        setup: |td, state| state.owners.push(plug(td, "em0")),
        call: |td, state| if_addaddr(td, &state.owners[0], SockAddr::Inet([10, 0, 0, 1]), 24),
        undo: |_, state| if_deladdr(&state.owners[0], SockAddr::Inet([10, 0, 0, 1])).unwrap(),
        points: 2,
    },
    Case {
        name: "a link-level address",
        setup: |td, state| state.owners.push(plug(td, "em0")),
        call: |td, state| if_setlladdr(td, &state.owners[0], [2, 0, 0, 0, 0, 9]),
        undo: |td, state| if_setlladdr(td, &state.owners[0], [0; 6]).unwrap(),
        points: 1,
    },
    Case {
        name: "a multicast address",
        setup: |td, state| state.owners.push(plug(td, "em0")),
        call: |td, state| if_addmulti(td, &state.owners[0], SockAddr::Link([1, 0, 0x5e, 0, 0, 1])),
        undo: |td, state| if_delmulti(td, &state.owners[0], SockAddr::Link([1, 0, 0x5e, 0, 0, 1])).unwrap(),
        points: 1,
    },
    Case {
        name: "a bpf listener",
        setup: |td, _| drop(if_clone_create(td, "epair").unwrap()),
        call: |td, state| {
            state.listeners.push(bpf_open(td, "epair0a")?);
            Ok(())
        },
        undo: |_, state| drop(state.listeners.pop()),
        points: 2,
    },
    Case {
        name: "loan",
        setup: |td, state| {
            with_vnets(td, state, 1);
            state.owners.push(plug(td, "em0"));
        },
        call: |td, state| if_vmove_loan(td, "em0", &state.vnets[0]).map(drop),
        undo: |td, state| drop(if_vmove_reclaim(td, "em0", &state.vnets[0]).unwrap()),
        points: 0,
    },
    Case {
        name: "loan from one jail to another",
        setup: |td, state| {
            with_vnets(td, state, 2);
            state.owners.push(plug(td, "em0"));
            drop(if_vmove_loan(td, "em0", &state.vnets[0]).unwrap());
        },
        call: |td, state| within(td, &state.vnets[0], || if_vmove_loan(td, "em0", &state.vnets[1])).map(drop),
        undo: |td, state| {
            within(td, &state.vnets[0], || drop(if_vmove_reclaim(td, "em0", &state.vnets[1]).unwrap()));
        },
        points: 0,
    },
    Case {
        name: "reclaim of a jail's own interface",
        setup: |td, state| {
            with_vnets(td, state, 1);
            within(td, &state.vnets[0], || drop(if_clone_create(td, "disc").unwrap()));
        },
        call: |td, state| if_vmove_reclaim(td, "disc0", &state.vnets[0]).map(drop),
        undo: |td, state| drop(if_vmove_loan(td, "disc0", &state.vnets[0]).unwrap()),
        points: 0,
    },
    Case {
        name: "eventhandler_register",
        setup: |_, _| {},
        call: |td, state| {
            state.tags.push(eventhandler_register(td, |_, _, _| {}, 0, PRI_ANY)?);
            Ok(())
        },
        undo: |td, state| eventhandler_deregister(td, state.tags.pop().unwrap()),
        points: 1,
    },
    Case {
        name: "register_cloner with three vnets",
        setup: |td, state| with_vnets(td, state, 2),
        call: |td, _| td.kernel().register_cloner(td, &TOY),
        undo: |td, _| td.kernel().deregister_cloner(td, "toy").unwrap(),
        points: 24,
    },
];

/// A kind of interface of which every vnet has one from the start.
static TOY: CloneType<Host> = CloneType {
    name: "toy",
    flags: CloneFlags::AUTOUNIT,
    maxunit: 9,
    minifs: 1,
    matches: None,
    create: |td, request| {
        let owner = if_alloc(td, IfType::Other)?;
        let made = ifnet::if_initname(&owner, request.cloner.name(), request.unit)
            .and_then(|()| Ok(Shared::try_new(owner.domain(), std::sync::Mutex::new(None::<Owner>))?))
            .and_then(|softc| if_attach(td, &owner).map(|()| softc));
        match made {
            Ok(softc) => {
                let ifp = owner.clone();
                *softc.lock().unwrap() = Some(owner);
                ifp.set_softc(Some(softc.erase()));
                Ok(ifp)
            }
            Err(errno) => {
                if_free(td, owner);
                Err(errno)
            }
        }
    },
    destroy: |td, _, ifp, _| {
        let softc = ifp.softc().and_then(|softc| softc.to_shared::<std::sync::Mutex<Option<Owner>>>()).unwrap();
        let owner = softc.lock().unwrap().take().unwrap();
        if_detach(td, &owner);
        ifp.set_softc(None);
        if_free(td, owner);
        Ok(())
    },
};

/// Vnets, with a crowd in each.
fn with_vnets(td: &Td<'_>, state: &mut State, count: usize) {
    for _ in 0..count {
        let vnet = vnet_alloc(td).unwrap();
        for n in 0..state.crowd.len() {
            within(td, &vnet, || if_clone_create(td, &format!("disc10{n}"))).unwrap();
        }
        state.vnets.push(vnet);
    }
}

/// A detached interface stays marked as dying; the next round begins with a fresh one.
fn detach_and_replace(td: &Td<'_>, state: &mut State) {
    let em0 = state.owners.remove(0);
    unplug(td, em0);
    state.owners.push(alloc(td, "em0"));
}

/// How the memory fails.
#[derive(Clone, Copy, Debug)]
enum Lack {
    /// Once.
    Nth,
    /// From then on.
    From,
}

impl Lack {
    fn begin(self, memory: &CountingAlloc, n: u64) {
        match self {
            Self::Nth => memory.fail_nth(n),
            Self::From => memory.fail_from(n),
        }
    }
}

impl Case {
    fn begin(&self, td: &Td<'_>, crowd: usize) -> State {
        let mut state = State::default();
        state.crowd.extend((0..crowd).map(|n| plug(td, &format!("crowd{n}"))));
        (self.setup)(td, &mut state);
        settle(td);
        state
    }

    fn end(&self, td: &Td<'_>, mut state: State) {
        drop(state.listeners);
        state.tags.drain(..).for_each(|tag| eventhandler_deregister(td, tag));
        state.owners.drain(..).for_each(|owner| {
            if attached(td, &owner) {
                if_detach(td, &owner);
            }
            if_free(td, owner);
        });
        for owner in state.crowd {
            unplug(td, owner);
        }
        for vnet in state.vnets.iter().rev() {
            vnet_destroy(td, vnet).unwrap();
        }
        for clone in ["disc0", "disc1", "disc5", "epair0a"] {
            let _ = if_clone_destroy(td, clone);
        }
    }

    /// What is seen after a first call in a fresh kernel when nothing fails.
    fn control(&self, crowd: usize) -> String {
        let mut seen = String::new();
        kernel_with_memory(|td, _| {
            let mut state = self.begin(td, crowd);
            (self.call)(td, &mut state).unwrap();
            seen = snapshot(td, &state.vnets);
            (self.undo)(td, &mut state);
            self.end(td, state);
        });
        seen
    }

    /// Fails the `n`-th allocation of a first call in a fresh kernel; whether there was one. The call that succeeds in
    /// the end must give what it gives without a failure before, the same index and unit for example: `control`.
    fn fails_cold(&self, crowd: usize, lack: Lack, n: u64, control: &str) -> bool {
        let mut failed = false;
        kernel_with_memory(|td, memory| {
            let what = format!("{}, allocation {n}, {lack:?}, crowd of {crowd}", self.name);
            let mut state = self.begin(td, crowd);
            let before = snapshot(td, &state.vnets);
            lack.begin(memory, n);
            let result = (self.call)(td, &mut state);
            memory.fail_never();
            failed = memory.failures() > 0;
            if failed {
                assert_eq!(result, Err(Errno::ENOMEM), "{what}");
                settle(td);
                assert_eq!(snapshot(td, &state.vnets), before, "{what}");
                ifnet::invariants::check(td).unwrap_or_else(|broken| panic!("{what}: {broken:?}"));
                assert_eq!((self.call)(td, &mut state), Ok(()), "the same call again, {what}");
            } else {
                assert_eq!(result, Ok(()), "{what}");
            }
            let after = snapshot(td, &state.vnets);
            assert_eq!(without_generations(&after), without_generations(control), "{what}");
            assert_ne!(after == before, self.changes_what_is_seen(), "{what}");
            (self.undo)(td, &mut state);
            settle(td);
            self.end(td, state);
        });
        failed
    }

    /// Some things cannot be seen from outside.
    fn changes_what_is_seen(&self) -> bool {
        !["an address", "a multicast address", "a bpf listener", "eventhandler_register"].contains(&self.name)
    }

    /// Fails each allocation again and again in a kernel that has done the same before, so that all tables have the
    /// room: then a failure may not change even the number of live bytes.
    fn leaks_nothing_when_warm(&self) {
        kernel_with_memory(|td, memory| {
            let mut state = self.begin(td, 3);
            for _ in 0..3 {
                (self.call)(td, &mut state).unwrap();
                (self.undo)(td, &mut state);
            }
            settle(td);
            let before = (memory.live_bytes(), memory.live_blocks());
            for n in 1.. {
                let failures = memory.failures();
                for round in 0..30 {
                    memory.fail_nth(n);
                    let result = (self.call)(td, &mut state);
                    memory.fail_never();
                    if memory.failures() == failures {
                        assert_eq!((round, result), (0, Ok(())), "{}", self.name);
                        (self.undo)(td, &mut state);
                        break;
                    }
                    assert_eq!(result, Err(Errno::ENOMEM), "{}", self.name);
                }
                settle(td);
                let after = (memory.live_bytes(), memory.live_blocks());
                assert_eq!(after, before, "{}, allocation {n}", self.name);
                if memory.failures() == failures {
                    break;
                }
            }
            self.end(td, state);
        });
    }
}

/// A snapshot without the generations of the indices: a failure may have used one up.
fn without_generations(snapshot: &str) -> String {
    let line = |line: &str| match line.split_once('.') {
        Some((index, rest)) if index.starts_with('#') => {
            format!("{index} {}\n", rest.trim_start_matches(char::is_numeric))
        }
        _ => format!("{line}\n"),
    };
    snapshot.lines().map(line).collect()
}

fn attached(td: &Td<'_>, owner: &Owner) -> bool {
    within(td, &owner.if_vnet(td), || ifunit(td, &owner.name()).is_some_and(|ifp| ifp.ptr_eq(owner)))
}

#[test]
fn every_allocation_of_every_operation_may_fail() {
    for case in CASES {
        let mut total = 0;
        for crowd in 0..=9 {
            let control = case.control(crowd);
            let mut points = u64::MAX;
            for lack in [Lack::Nth, Lack::From] {
                let failed = (1..).take_while(|n| case.fails_cold(crowd, lack, *n, &control)).count() as u64;
                points = points.min(failed);
            }
            if crowd == 0 {
                assert!(points >= case.points, "{} has only {points} allocations", case.name);
            }
            total += points;
        }
        assert!(total > 0, "{} never allocates, whatever the crowd", case.name);
    }
}

#[test]
fn failures_leave_no_byte_behind() {
    for case in CASES {
        case.leaks_nothing_when_warm();
    }
}

#[test]
fn every_allocation_of_boot_may_fail() {
    for lack in [Lack::Nth, Lack::From] {
        let mut points = 0;
        for n in 1.. {
            let memory = CountingAlloc::new();
            lack.begin(&memory, n);
            let booted = boot(&memory);
            memory.fail_never();
            if memory.failures() == 0 {
                booted.expect("memory").shutdown();
                break;
            }
            points = n;
            assert_eq!(booted.err(), Some(Errno::ENOMEM), "allocation {n}, {lack:?}");
            assert_eq!((memory.live_blocks(), memory.live_bytes()), (0, 0), "allocation {n}, {lack:?}");
            boot(&memory).expect("the same call again").shutdown();
            assert_eq!(memory.live_blocks(), 0);
        }
        assert!(points > 20, "boot has only {points} allocations");
    }
}

#[test]
fn a_kernel_for_no_thread_does_not_boot() {
    let memory = CountingAlloc::new();
    let host = Host::new().with_memory(memory.clone());
    assert_eq!(ifnet::Kernel::boot(host, ifnet::Config::default().threads(0)).err(), Some(Errno::EAGAIN));
    assert_eq!(memory.live_blocks(), 0);
}
