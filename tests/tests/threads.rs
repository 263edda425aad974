//! Threads of the operating system on one kernel: whatever they do at the same time, nothing breaks and nothing is left.
//!
//! The interleavings are the machine's; the explorer chooses them on purpose. What this adds is real memory, real locks
//! and four threads that are really at it at once. Also in a release build, without debug assertions:
//! `cargo test --release -p ifnet-tests --test threads`.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Mutex;
use std::thread;

use ifnet::{
    Config, Errno, IfFlags, IfPtr, IfType, IfnetOwner, Ifp, Kernel, Thread, VnetRef, bpf_open, ether_ifattach,
    ether_ifdetach, if_addgroup, if_alloc, if_attach, if_clone_create, if_clone_destroy, if_delgroup, if_detach,
    if_foreach, if_free, if_initname, if_lladdr, if_rename, if_setflags, if_transmit, if_vmove_loan, if_vmove_reclaim,
    if_vmove_to, ifnet_byindex, ifnet_byindex_ref, ifunit_ref, invariants, vnet_alloc, vnet_destroy,
};
use ifnet_std::host::threads::{Halted, KernelPanic, ThreadHost};

/// Operations of each of the four threads.
const OPERATIONS: usize = 1500;
/// A lock-up is one when all threads sleep for so long.
const STUCK: Duration = Duration::from_secs(5);

type Host = ThreadHost<Vec<u8>>;

/// Repeatable pseudo-random numbers (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }
}

/// What the threads share besides the kernel: the vnets that they have made.
struct World {
    vnets: Mutex<Vec<VnetRef<Host>>>,
    moves: AtomicUsize,
    seen: AtomicUsize,
}

impl World {
    fn any_vnet(&self, random: &mut Random) -> VnetRef<Host> {
        let vnets = self.vnets.lock().unwrap();
        vnets[random.below(vnets.len())].clone()
    }
}

/// The name of some interface of the current vnet.
fn any_name(td: &Thread<'_, Host>, random: &mut Random) -> String {
    let mut names = Vec::new();
    let all = if_foreach(td, |ifp| {
        names.push(ifp.name().to_string());
        Ok(())
    });
    assert_eq!(all, Ok(()));
    if names.is_empty() { "lo0".to_owned() } else { names.swap_remove(random.below(names.len())) }
}

/// A reader: everything found inside a section stays usable until its end, whoever takes it away meanwhile.
fn read(td: &Thread<'_, Host>, world: &World, random: &mut Random) {
    let section = td.net_epoch_enter();
    let touch = |ifp: &IfPtr<'_, Host>| {
        let ifp: &Ifp<Host> = &ifp.try_share().expect("memory of what a section has found");
        // One that is only allocated yet has an index but no name.
        assert!(ifp.index() > 0);
        let _ = ifp.name();
        // Not attached any more is an answer; touching freed memory is a panic of the shadow check.
        let _ = (ifp.flags(), ifp.if_home_vnet(td), if_lladdr(td, ifp));
        let _ = if_transmit(td, ifp, vec![0; 64], &section);
        world.seen.fetch_add(1, Ordering::Relaxed);
    };
    let all = if_foreach(td, |ifp| {
        assert!(!ifp.name().is_empty());
        touch(ifp);
        Ok(())
    });
    assert_eq!(all, Ok(()));
    for index in 0..16 {
        if let Some(ifp) = ifnet_byindex(td, index, &section) {
            assert_eq!(ifp.index(), index);
            touch(&ifp);
        }
    }
    drop(section);
    if let Some(ifp) = ifnet_byindex_ref(td, 1 + random.below(16) as u32) {
        assert!(ifp.refcount() > 0);
    }
}

/// The errors with which a call may lose a race, or that the state of the moment calls for. `ENOMEM` is none of them.
fn may_fail<T>(what: &str, result: Result<T, Errno>) -> Option<T> {
    use Errno::{EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, ENXIO};
    result
        .map_err(|errno| assert!([EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, ENXIO].contains(&errno), "{what}: {errno}"))
        .ok()
}

/// One random operation.
fn step(td: &Thread<'_, Host>, world: &World, driver: &mut Driver, random: &mut Random) {
    let vnet = world.any_vnet(random);
    let other = world.any_vnet(random);
    let _cur = td.curvnet_set(Some(vnet.clone()));
    match random.below(16) {
        0 | 1 => _ = may_fail("create", if_clone_create(td, ["disc", "epair", "lo"][random.below(3)])),
        2 | 3 => _ = may_fail("destroy", if_clone_destroy(td, &any_name(td, random))),
        4 => driver.come(td, random),
        5 => driver.go(td, random),
        6 | 7 => {
            let moved = may_fail("loan", if_vmove_loan(td, &any_name(td, random), &other));
            world.moves.fetch_add(usize::from(moved.is_some()), Ordering::Relaxed);
        }
        8 => {
            let name = {
                let _cur = td.curvnet_set(Some(other.clone()));
                any_name(td, random)
            };
            _ = may_fail("reclaim", if_vmove_reclaim(td, &name, &other));
        }
        9 => {
            if let Some(ifp) = ifunit_ref(td, &any_name(td, random)) {
                _ = may_fail("vmove", if_vmove_to(td, &ifp, &other));
            }
        }
        10 => {
            if let Some(ifp) = ifunit_ref(td, &any_name(td, random)) {
                _ = may_fail("rename", if_rename(td, &ifp, ["x", "y", "disc3", "epair1a"][random.below(4)]));
            }
        }
        11 => {
            if let Some(ifp) = ifunit_ref(td, &any_name(td, random)) {
                let group = ["g", "h", "all", "disc"][random.below(4)];
                let done =
                    if random.below(2) == 0 { if_addgroup(td, &ifp, group) } else { if_delgroup(td, &ifp, group) };
                _ = may_fail("group", done);
            }
        }
        12 => {
            if let Some(ifp) = ifunit_ref(td, &any_name(td, random)) {
                _ = may_fail("up", if_setflags(td, &ifp, ifp.flags() ^ IfFlags::UP));
            }
        }
        13 => _ = may_fail("bpf", bpf_open(td, &any_name(td, random))),
        14 if random.below(4) == 0 => churn(td, world, random),
        _ => read(td, world, random),
    }
}

/// A jail comes, or one goes with everything in it.
fn churn(td: &Thread<'_, Host>, world: &World, random: &mut Random) {
    let crowded = world.vnets.lock().unwrap().len() > 3;
    if crowded {
        let gone = {
            let mut vnets = world.vnets.lock().unwrap();
            let at = 1 + random.below(vnets.len() - 1);
            vnets.swap_remove(at)
        };
        // Others may still work in it, with handles that they took before.
        vnet_destroy(td, &gone).expect("nobody else has taken it off the list");
    } else {
        let made = vnet_alloc(td).expect("memory");
        world.vnets.lock().unwrap().push(made);
    }
}

/// A driver of hardware: only it attaches, detaches and frees its interfaces.
#[derive(Default)]
struct Driver {
    held: Vec<IfnetOwner<Host>>,
}

impl Driver {
    fn come(&mut self, td: &Thread<'_, Host>, random: &mut Random) {
        if self.held.len() >= 4 {
            return self.go(td, random);
        }
        let owner = if_alloc(td, IfType::Ether).expect("memory");
        if_initname(&owner, "em", Some(random.below(8) as u32)).expect("a short name");
        match may_fail("attach", ether_ifattach(td, &owner, [2, 0, 0, 0, 0, 1])) {
            Some(()) => self.held.push(owner),
            None => if_free(td, owner),
        }
    }

    /// Detaches from wherever the interface is by now.
    fn go(&mut self, td: &Thread<'_, Host>, random: &mut Random) {
        if !self.held.is_empty() {
            let owner = self.held.swap_remove(random.below(self.held.len()));
            ether_ifdetach(td, &owner);
            if_free(td, owner);
        }
    }
}

/// A thread of the kernel: registered with the host, so that panics and lock-ups name it.
fn in_thread<R>(kernel: &Kernel<Host>, work: impl FnOnce(&Thread<'_, Host>) -> R) -> R {
    let td = kernel.thread().expect("the kernel was booted for so many");
    let _registered = kernel.platform().register(td.id());
    work(&td)
}

#[test]
fn four_threads_at_once_break_nothing_and_leave_nothing() {
    for seed in 1..=3 {
        stress(seed);
    }
}

fn stress(seed: u64) {
    let host = Host::new();
    let memory = host.memory().clone();
    let kernel = Kernel::boot(host, Config::default().threads(8)).expect("memory");
    let world =
        World { vnets: Mutex::new(vec![kernel.vnet0()]), moves: AtomicUsize::new(0), seen: AtomicUsize::new(0) };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let threads: Vec<_> = (1..=4)
            .map(|number| {
                let (kernel, world) = (&kernel, &world);
                scope.spawn(move || {
                    in_thread(kernel, |td| {
                        let (mut driver, mut random) = (Driver::default(), Random(seed * 0x9e37_79b9 + number));
                        for _ in 0..OPERATIONS {
                            step(td, world, &mut driver, &mut random);
                        }
                        while !driver.held.is_empty() {
                            driver.go(td, &mut random);
                        }
                    });
                })
            })
            .collect();
        let worker = scope.spawn(|| {
            in_thread(&kernel, |td| {
                while !done.load(Ordering::Acquire) && !kernel.platform().is_halted() {
                    kernel.platform().wait_for_work(Duration::from_millis(1));
                    kernel.run_deferred(td);
                }
            });
        });
        while threads.iter().any(|thread| !thread.is_finished()) {
            thread::sleep(Duration::from_millis(5));
            if kernel.platform().stuck(STUCK) {
                eprintln!("seed {seed}: all threads sleep: {:?}", kernel.platform().sleepers());
                kernel.platform().halt();
            }
        }
        done.store(true, Ordering::Release);
        let ended = threads.into_iter().map(thread::ScopedJoinHandle::join).all(|end| end.is_ok());
        let ended = worker.join().is_ok() && ended;
        assert!(ended, "seed {seed}: {:?}", kernel.platform().panicked());
    });
    let td = kernel.thread().expect("all others have ended");
    invariants::check(&td).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
    let World { vnets, moves, seen } = world;
    for vnet in vnets.into_inner().unwrap().iter().skip(1) {
        vnet_destroy(&td, vnet).expect("it is on the list");
    }
    invariants::check(&td).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
    drop(td);
    kernel.shutdown();
    assert_eq!((memory.live_blocks(), memory.live_bytes()), (0, 0), "seed {seed}");
    // A stress that stresses nothing would pass too.
    assert!(moves.into_inner() > 20 && seen.into_inner() > 1000);
}

/// Why a thread ended: nothing, a panic of the kernel, or because of the panic of another thread.
#[derive(Debug, PartialEq)]
enum End {
    Returned,
    Panicked(String),
    Halted,
}

impl End {
    fn of(joined: thread::Result<()>) -> Self {
        let Err(payload) = joined else { return Self::Returned };
        match payload.downcast::<KernelPanic>() {
            Ok(panic) => Self::Panicked(panic.message),
            Err(other) if other.is::<Halted>() => Self::Halted,
            Err(other) => std::panic::resume_unwind(other),
        }
    }
}

const PANIC: &str = "em0: interface is not on the active list";

fn attached_em0(td: &Thread<'_, Host>) -> IfnetOwner<Host> {
    let owner = if_alloc(td, IfType::Other).expect("memory");
    if_initname(&owner, "em", Some(0)).expect("a short name");
    if_attach(td, &owner).expect("memory");
    owner
}

#[test]
fn the_second_detach_panics() {
    let kernel = Kernel::boot(Host::new(), Config::default()).expect("memory");
    let end = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            in_thread(&kernel, |td| {
                let owner = attached_em0(td);
                if_detach(td, &owner);
                if_detach(td, &owner);
            });
        });
        End::of(thread.join())
    });
    assert_eq!(end, End::Panicked(PANIC.to_owned()));
}

#[test]
fn of_two_detaches_at_once_one_panics() {
    for _ in 0..50 {
        let kernel = Kernel::boot(Host::new(), Config::default()).expect("memory");
        let owner = attached_em0(&kernel.thread().expect("the first"));
        let ends = thread::scope(|scope| {
            let threads = [(); 2].map(|()| scope.spawn(|| in_thread(&kernel, |td| if_detach(td, &owner))));
            threads.map(|thread| End::of(thread.join()))
        });
        let panics = ends.iter().filter(|end| matches!(end, End::Panicked(text) if text == PANIC)).count();
        assert!(panics == 1 && !ends.iter().all(|end| matches!(end, End::Panicked(_))), "{ends:?}");
    }
}
