//! Seed 2's system under the explorer: a lower interface departs while its uppers live in other vnets.

use std::fmt;
use std::sync::{Arc, Mutex as StdMutex};

use ifnet::hazard::{Hazard, HazardSet};
use ifnet::platform::{Channel, LockEvent, ThreadId};
use ifnet::trace::Record;
use ifnet::{
    CloneParams, Config, Errno, IfName, Kernel, Peer, Platform, Thread, VnetRef, if_clone_create_kind, if_unregister,
    if_vmove_to, ifunit_ref, vnet_alloc, vnet_destroy,
};
use ifnet_std::explore::progress::Silent;
use ifnet_std::explore::{Execution, Explorer, FailureKind, OracleViolation, Program, Report};
use ifnet_std::host::shuttle::{Arena, HostMutex, ShuttleHost};

/// The shuttle host, which also keeps the lines of the trace.
#[derive(Clone)]
struct Recorder {
    host: ShuttleHost,
    lines: Arc<StdMutex<Vec<String>>>,
}

impl Platform for Recorder {
    type Mutex<T: Send> = HostMutex<T>;
    type Allocator = Arena;
    type Buffer = Vec<u8>;

    const ANNOUNCES_SECTIONS: bool = true;

    fn allocator(&self) -> Arena {
        self.host.allocator()
    }
    fn preempt(&self) {
        self.host.preempt();
    }
    fn relax(&self) {
        self.host.relax();
    }
    fn sleep(&self, channel: Channel, ready: &mut dyn FnMut() -> bool) {
        self.host.sleep(channel, ready);
    }
    fn wakeup(&self, channel: Channel) {
        self.host.wakeup(channel);
    }
    fn work_queued(&self) {
        self.host.work_queued();
    }
    fn panic(&self, message: fmt::Arguments<'_>) -> ! {
        self.host.panic(message)
    }
    fn trace(&self, thread: ThreadId, record: &Record<'_>) {
        self.host.trace(thread, record);
        if let Record::Call { .. } = record {
            self.lines.lock().unwrap().push(record.to_string());
        }
    }
    fn lock_event(&self, thread: ThreadId, lock: &'static str, what: LockEvent) {
        self.host.lock_event(thread, lock, what);
    }
    fn lock_order_reversal(&self, thread: ThreadId, report: fmt::Arguments<'_>) {
        self.host.lock_order_reversal(thread, report);
    }
}

type Host = Recorder;

/// What one thread does to the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// `ip -n NS link del NAME`.
    Del(usize, &'static str),
    /// `ip -n NS link set NAME netns NS`.
    Move(usize, &'static str, usize),
    /// `ip netns del NS`.
    Destroy(usize),
}

/// A stack, and who does what to it at the same time.
#[derive(Clone)]
struct Scene {
    setup: fn(&Thread<'_, Host>, &[VnetRef<Host>; 3]),
    acts: &'static [Act],
    worker: bool,
    hazards: HazardSet,
    /// Looks at the trace at the end.
    judge: fn(&[String]) -> Result<(), String>,
}

fn veth(td: &Thread<'_, Host>, at: &VnetRef<Host>, name: &str, peer: &str, peer_at: &VnetRef<Host>) {
    let _cur = td.curvnet_set(Some(at.clone()));
    let peer = Peer { name: IfName::new(peer).ok(), vnet: Some(peer_at.clone()) };
    let params = CloneParams { peer: Some(peer), ..CloneParams::NONE };
    if_clone_create_kind(td, "veth", Some(name), &params).expect("memory");
}

fn upper(td: &Thread<'_, Host>, at: &VnetRef<Host>, kind: &str, name: &str, lower_at: &VnetRef<Host>, lower: &str) {
    let lower = {
        let _cur = td.curvnet_set(Some(lower_at.clone()));
        ifunit_ref(td, lower)
    };
    let _cur = td.curvnet_set(Some(at.clone()));
    let params = CloneParams { lower, ..CloneParams::NONE };
    if_clone_create_kind(td, kind, Some(name), &params).expect("memory");
}

/// The four lines of the seed.
fn seed_2(td: &Thread<'_, Host>, ns: &[VnetRef<Host>; 3]) {
    veth(td, &ns[0], "veth0", "veth1", &ns[0]);
    upper(td, &ns[1], "ipvlan", "ipvl2", &ns[0], "veth0");
    upper(td, &ns[2], "ipvlan", "ipvl3", &ns[0], "veth0");
}

fn seed_2_tap(td: &Thread<'_, Host>, ns: &[VnetRef<Host>; 3]) {
    veth(td, &ns[0], "veth0", "veth1", &ns[0]);
    upper(td, &ns[1], "ipvtap", "ipvl2", &ns[0], "veth0");
    upper(td, &ns[2], "ipvtap", "ipvl3", &ns[0], "veth0");
}

/// What hangs Linux 7.3-rc7.
fn chain(td: &Thread<'_, Host>, ns: &[VnetRef<Host>; 3]) {
    veth(td, &ns[0], "A", "B", &ns[1]);
    upper(td, &ns[2], "ipvlan", "U", &ns[1], "B");
}

fn perform(td: &Thread<'_, Host>, ns: &[VnetRef<Host>; 3], act: Act) -> Result<(), Errno> {
    match act {
        Act::Del(at, name) => {
            let _cur = td.curvnet_set(Some(ns[at].clone()));
            if_unregister(td, name)
        }
        Act::Move(at, name, to) => {
            let found = {
                let _cur = td.curvnet_set(Some(ns[at].clone()));
                ifunit_ref(td, name).ok_or(Errno::ENXIO)?
            };
            if_vmove_to(td, &found, &ns[to])
        }
        Act::Destroy(at) => vnet_destroy(td, &ns[at]),
    }
}

fn program(scene: &Scene) -> Program {
    let scene = scene.clone();
    Arc::new(move |execution| run(&scene, execution))
}

fn run(scene: &Scene, execution: &Execution) -> Result<(), OracleViolation> {
    let wrong = |kind: &str, message: String| OracleViolation { kind: kind.into(), message };
    let host = Recorder { host: ShuttleHost::new(execution), lines: Arc::default() };
    let config = Config::default().threads(6).hazards(scene.hazards);
    let kernel = Arc::new(Kernel::boot(host.clone(), config).expect("memory"));
    let td = kernel.thread().expect("room");
    let ns: [_; 3] = core::array::from_fn(|_| vnet_alloc(&td).expect("memory"));
    (scene.setup)(&td, &ns);
    let mut actors = Vec::new();
    for &act in scene.acts {
        let (kernel, ns) = (Arc::clone(&kernel), ns.clone());
        actors.push(execution.spawn(format!("{act:?}"), move |_| {
            let td = kernel.thread().expect("room");
            // Whoever loses a race is told that there is no such interface, or that it is busy.
            let _ = perform(&td, &ns, act);
        }));
    }
    let worker = scene.worker.then(|| {
        let (kernel, host) = (Arc::clone(&kernel), host.host.clone());
        execution.spawn("worker", move |_| {
            let td = kernel.thread().expect("room");
            while host.wait_for_work() {
                kernel.run_deferred(&td);
            }
        })
    });
    execution.join(&actors);
    host.host.close_work();
    execution.join(worker.as_slice());
    while kernel.run_deferred(&td) {}
    ifnet::invariants::check(&td).map_err(|violation| wrong(violation.invariant, violation.to_string()))?;
    let lines = host.lines.lock().unwrap().clone();
    (scene.judge)(&lines).map_err(|message| wrong("order", format!("{message}: {lines:#?}")))?;
    let left = kernel.interfaces() - 1 - ns.iter().filter(|vnet| !vnet.is_destroyed()).count();
    if left != 0 {
        return Err(wrong("leak", format!("{left} interfaces are left")));
    }
    Ok(())
}

fn explore(scene: &Scene, schedules: u64) -> Report {
    Explorer { schedules, ..Explorer::default() }.run(&program(scene), &Silent)
}

fn clean(scene: &Scene) {
    let report = explore(scene, 500);
    assert!(report.failure.is_none(), "{:?}: {:?}", scene.acts, report.failure.map(|failure| failure.message));
}

fn count(lines: &[String], call: &str) -> usize {
    lines.iter().filter(|line| line.starts_with(&format!("CALL {call} in="))).count()
}

fn position(lines: &[String], call: &str) -> Option<usize> {
    lines.iter().position(|line| line.starts_with(&format!("CALL {call} in=")))
}

/// Each upper is uninitialised once, each interface freed once, and the lower after its uppers are gone.
fn once(lines: &[String]) -> Result<(), String> {
    for upper in ["ipvl2", "ipvl3"] {
        if count(lines, &format!("ipvlan_uninit {upper}")) != 1 {
            return Err(format!("{upper} is not uninitialised once"));
        }
    }
    for ifp in ["veth0", "veth1", "ipvl2", "ipvl3"] {
        if count(lines, &format!("free_netdev {ifp}")) != 1 {
            return Err(format!("{ifp} is not freed once"));
        }
    }
    let freed = position(lines, "free_netdev veth0");
    let ended = ["ipvl2", "ipvl3"].map(|upper| position(lines, &format!("ipvlan_uninit {upper}")));
    if ended.iter().any(|ended| ended >= &freed) {
        return Err("veth0 is freed before its uppers are gone".into());
    }
    Ok(())
}

/// The order of the seed's trace, as far as its data structures force it; and each upper goes in its own vnet.
fn seed_order(lines: &[String]) -> Result<(), String> {
    once(lines)?;
    let dellink = position(lines, "veth_dellink veth0");
    for (upper, vnet) in [("ipvl2", 2), ("ipvl3", 3)] {
        let uninit = lines.iter().position(|line| *line == format!("CALL ipvlan_uninit {upper} in=v{vnet}"));
        if uninit.is_none() || dellink >= uninit || uninit >= position(lines, &format!("free_netdev {upper}")) {
            return Err(format!("{upper} goes out of order, or elsewhere"));
        }
    }
    Ok(())
}

const SEED: Scene = Scene {
    setup: seed_2,
    acts: &[Act::Del(0, "veth0")],
    worker: true,
    hazards: HazardSet::empty(),
    judge: seed_order,
};

#[test]
fn the_seed_keeps_its_order_in_every_schedule_with_and_without_a_worker() {
    clean(&SEED);
    clean(&Scene { worker: false, ..SEED });
    clean(&Scene { setup: seed_2_tap, ..SEED });
}

#[test]
fn an_upper_that_is_deleted_by_its_owner_meanwhile_goes_once() {
    clean(&Scene { acts: &[Act::Del(0, "veth0"), Act::Del(1, "ipvl2")], judge: once, ..SEED });
    clean(&Scene { acts: &[Act::Del(0, "veth0"), Act::Del(0, "veth1")], judge: once, ..SEED });
}

#[test]
fn an_upper_or_the_lower_that_moves_meanwhile_goes_once() {
    clean(&Scene { acts: &[Act::Del(0, "veth0"), Act::Move(1, "ipvl2", 2)], judge: once, ..SEED });
    clean(&Scene { acts: &[Act::Del(0, "veth1"), Act::Move(0, "veth0", 2)], judge: once, ..SEED });
}

#[test]
fn a_vnet_that_dies_meanwhile_takes_its_uppers_with_it() {
    clean(&Scene { acts: &[Act::Del(0, "veth0"), Act::Destroy(1)], judge: once, ..SEED });
    clean(&Scene { acts: &[Act::Destroy(0), Act::Destroy(1)], judge: |_| Ok(()), ..SEED });
    let acts = &[Act::Del(1, "ipvl2"), Act::Move(1, "ipvl2", 2), Act::Destroy(1), Act::Del(0, "veth0")];
    clean(&Scene { acts, judge: once, ..SEED });
}

#[test]
fn the_chain_over_three_vnets_ends_in_every_schedule() {
    let scene = Scene { setup: chain, acts: &[Act::Del(0, "A")], judge: |_| Ok(()), ..SEED };
    clean(&scene);
    clean(&Scene { worker: false, ..scene });
}

fn found(scene: &Scene) -> (FailureKind, String) {
    let failure = explore(scene, 2_000).failure.expect("found");
    (failure.kind, failure.message)
}

/// `vnet-read-then-lock` takes some thousand schedules: its scenario is explored with the other hazards.
#[test]
fn every_historical_hole_is_found() {
    let open = |hazard: Hazard, acts| Scene { hazards: hazard.set(), acts, judge: |_| Ok(()), ..SEED };
    let (_, message) = found(&open(Hazard::UpperDeletedTwice, &[Act::Del(0, "veth0"), Act::Del(1, "ipvl2")]));
    assert_eq!(message, "unregister_queue: ipvl2 is queued already");
    let (_, message) = found(&open(Hazard::UpperFreedBeforeLowerRef, &[Act::Del(0, "veth0")]));
    assert!(message.starts_with("use after free: interface with index"), "{message}");
    let (kind, message) = found(&open(Hazard::QueuedThenMoved, &[Act::Del(0, "veth0"), Act::Move(1, "ipvl2", 2)]));
    assert!(matches!(kind, FailureKind::Panic | FailureKind::Violation(_)), "{kind:?} {message}");
}

/// Uppers in the vnet of the lower go nested in its departure: that is where the port's lock is held.
fn local(td: &Thread<'_, Host>, ns: &[VnetRef<Host>; 3]) {
    veth(td, &ns[0], "veth0", "veth1", &ns[0]);
    upper(td, &ns[0], "ipvlan", "ipvl2", &ns[0], "veth0");
}

#[test]
fn holding_the_ports_lock_over_the_unregistration_locks_up() {
    let scene = Scene { setup: local, judge: |_| Ok(()), ..SEED };
    clean(&scene);
    let (_, message) = found(&Scene { hazards: Hazard::UnregisterUnderPortLock.set(), ..scene });
    assert!(message.contains("recursed on non-recursive sx pnodes_lock"), "{message}");
}

#[test]
fn waiting_in_the_work_hangs_the_chain() {
    let scene = Scene { setup: chain, acts: &[Act::Del(0, "A")], judge: |_| Ok(()), ..SEED };
    let (kind, message) = found(&Scene { hazards: Hazard::WaitOnOwnExecutor.set(), ..scene });
    assert!(matches!(kind, FailureKind::Deadlock), "{kind:?} {message}");
}
