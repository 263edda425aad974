//! Toys with known answers: what each strategy must find, what a short schedule is, and how many schedules there are.

use core::sync::atomic::{AtomicU32, Ordering};

use ifnet::platform::{Channel, LockEvent, Mutex as _, Platform as _};

use super::progress::Silent;
use super::*;
use crate::host::shuttle::ShuttleHost;

fn explorer(strategy: StrategyName) -> Explorer {
    Explorer { strategies: vec![strategy], schedules: 20_000, ..Explorer::default() }
}

type Body = Box<dyn FnOnce(&Execution) + Send>;

/// Starts the bodies as threads `a`, `b`, … and joins them.
fn together(execution: &Execution, bodies: Vec<Body>) {
    let threads: Vec<_> =
        ('a'..).zip(bodies).map(|(name, body)| execution.spawn(name.to_string(), move |e| body(e))).collect();
    execution.join(&threads);
}

fn violation(kind: &str, message: &str) -> Verdict {
    Err(OracleViolation { kind: kind.into(), message: message.into() })
}

/// Two threads increment a counter by load and store; `noise` threads do something else.
fn lost_update(noise: usize) -> Program {
    Arc::new(move |execution| {
        let counter = Arc::new(AtomicU32::new(0));
        let host = ShuttleHost::new(execution);
        let mut bodies: Vec<Body> = Vec::new();
        for _ in 0..2 {
            let (counter, host) = (Arc::clone(&counter), host.clone());
            bodies.push(Box::new(move |_| {
                host.preempt();
                let seen = counter.load(Ordering::Relaxed);
                host.preempt();
                counter.store(seen + 1, Ordering::Relaxed);
            }));
        }
        for _ in 0..noise {
            let host = host.clone();
            bodies.push(Box::new(move |_| (0..10).for_each(|_| host.preempt())));
        }
        together(execution, bodies);
        match counter.load(Ordering::Relaxed) {
            2 => Ok(()),
            n => violation("lost update", &format!("counter is {n}, not 2")),
        }
    })
}

/// Two locks taken in both orders.
pub(crate) fn abba() -> Program {
    Arc::new(|execution| {
        let host = ShuttleHost::new(execution);
        let locks = Arc::new([("ifnet_detach_sxlock", make(&host)), ("in_multi_sx", make(&host))]);
        let take = |order: [usize; 2]| -> Body {
            let locks = Arc::clone(&locks);
            Box::new(move |execution| {
                execution.log(|| What::Command(format!("take {} then {}", locks[order[0]].0, locks[order[1]].0)));
                let guards = order.map(|i| {
                    let (name, lock) = &locks[i];
                    execution.lock_event(name, LockEvent::Waiting);
                    let guard = lock.lock();
                    execution.lock_event(name, LockEvent::Acquired { exclusive: true });
                    guard
                });
                drop(guards);
                order.iter().for_each(|&i| execution.lock_event(locks[i].0, LockEvent::Released));
                execution.log(|| What::CommandEnd("ok".into()));
            })
        };
        together(execution, vec![take([0, 1]), take([1, 0])]);
        Ok(())
    })
}

fn make(_host: &ShuttleHost) -> <ShuttleHost as ifnet::Platform>::Mutex<()> {
    ifnet::platform::Mutex::new(())
}

/// Fails only if `b` runs between the first and the second step of `a`, and `a` runs between two steps of `b`.
fn two_preemptions() -> Program {
    Arc::new(|execution| {
        let (x, y) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let host = ShuttleHost::new(execution);
        let a: Body = {
            let (x, y, host) = (Arc::clone(&x), Arc::clone(&y), host.clone());
            Box::new(move |execution| {
                (0..5).for_each(|_| host.preempt());
                x.store(1, Ordering::Relaxed);
                host.preempt();
                x.store(0, Ordering::Relaxed);
                host.preempt();
                if y.load(Ordering::Relaxed) == 1 {
                    execution.kernel_panic("em0: interface is not on the active list");
                }
            })
        };
        let b: Body = Box::new(move |_| {
            host.preempt();
            if x.load(Ordering::Relaxed) == 1 {
                y.store(1, Ordering::Relaxed);
                host.preempt();
                y.store(0, Ordering::Relaxed);
            }
            (0..5).for_each(|_| host.preempt());
        });
        together(execution, vec![a, b]);
        Ok(())
    })
}

#[test]
fn every_strategy_finds_the_lost_update() {
    for name in StrategyName::ALL {
        let report = explorer(name).run(&lost_update(1), &Silent);
        let failure = report.failure.unwrap_or_else(|| panic!("{name} found nothing"));
        assert_eq!(failure.kind, FailureKind::Violation("lost update".into()));
        assert_eq!(failure.message, "counter is 1, not 2");
        assert_eq!(failure.preemptions, 1, "{name}: shortened to the minimum: {:?}", failure.schedule);
        assert!(report.strategies[0].found_after.is_some_and(|n| n <= 5_000));
    }
}

#[test]
fn every_strategy_finds_the_deadlock_and_its_words_name_both_locks() {
    for name in StrategyName::ALL {
        let failure = explorer(name).run(&abba(), &Silent).failure.unwrap_or_else(|| panic!("{name} found nothing"));
        assert_eq!(failure.kind, FailureKind::Deadlock);
        assert_eq!(
            failure.message,
            "deadlock: main waits for the end of a, b; a holds ifnet_detach_sxlock and waits for in_multi_sx; \
             b holds in_multi_sx and waits for ifnet_detach_sxlock"
        );
        assert_eq!(failure.preemptions, 1);
    }
}

#[test]
fn two_preemptions_are_found_and_are_the_minimum() {
    for name in [StrategyName::Dfs, StrategyName::Pct] {
        let report = explorer(name).run(&two_preemptions(), &Silent);
        let failure = report.failure.unwrap_or_else(|| panic!("{name} found nothing"));
        assert_eq!((failure.kind, failure.preemptions), (FailureKind::Panic, 2), "{name}");
        if name == StrategyName::Dfs {
            assert_eq!(report.strategies[0].exhausted_bound, Some(1), "every schedule with fewer was run before");
        }
    }
}

#[test]
fn one_deviation_is_too_few_for_that_bug() {
    let options = Explorer { max_deviations: 1, ..explorer(StrategyName::Dfs) };
    let report = options.run(&two_preemptions(), &Silent);
    assert_eq!(report.failure, None);
    assert_eq!((report.strategies[0].exhausted_bound, report.strategies[0].complete), (Some(1), false));
}

#[test]
fn a_clean_program_has_exactly_its_schedules() {
    // Two threads of three pieces each (start, and after each of two points): 6! / (3! 3!) orders.
    let program: Program = Arc::new(|execution| {
        let body = || -> Body {
            Box::new(|execution| {
                execution.point();
                execution.point();
            })
        };
        together(execution, vec![body(), body()]);
        Ok(())
    });
    let options = Explorer { max_deviations: 9, ..explorer(StrategyName::Dfs) };
    let report = options.run(&program, &Silent);
    assert_eq!(report.failure, None);
    let dfs = &report.strategies[0];
    assert_eq!((report.schedules, dfs.complete), (20, true));
    // Without a deviation there is the plain schedule.
    let bounded = Explorer { max_deviations: 0, ..options }.run(&program, &Silent);
    assert_eq!((bounded.schedules, bounded.strategies[0].exhausted_bound), (1, Some(0)));
}

#[test]
fn a_rust_panic_is_a_bug_with_its_place_and_drops_its_guards() {
    let program: Program = Arc::new(|execution| {
        let lock: Arc<<ShuttleHost as ifnet::Platform>::Mutex<u32>> = Arc::new(ifnet::platform::Mutex::new(0));
        let other = Arc::clone(&lock);
        let body = execution.spawn("a", move |_| {
            let _guard = other.lock();
            let list: &[u8] = &[];
            assert!(!list.is_empty(), "a list is empty");
        });
        execution.join(&[body]);
        Ok(())
    });
    let failure = explorer(StrategyName::Pct).run(&program, &Silent).failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Bug);
    assert!(failure.message.starts_with("a list is empty (") && failure.message.contains("tests.rs"));
}

#[test]
fn a_destructor_may_wait_for_a_lock_while_a_panic_unwinds() {
    struct LockOnDrop(Arc<<ShuttleHost as ifnet::Platform>::Mutex<u32>>);
    impl Drop for LockOnDrop {
        fn drop(&mut self) {
            *self.0.lock() += 1;
        }
    }
    let program: Program = Arc::new(|execution| {
        let host = ShuttleHost::new(execution);
        let lock = Arc::new(ifnet::platform::Mutex::new(0));
        let on_drop = LockOnDrop(Arc::clone(&lock));
        let failing: Body = Box::new(move |execution| {
            let _on_drop = on_drop;
            execution.point();
            assert_eq!(1 + 1, 3, "arithmetic");
        });
        let holding: Body = Box::new(move |_| {
            let _guard = lock.lock();
            (0..3).for_each(|_| host.preempt());
        });
        together(execution, vec![holding, failing]);
        Ok(())
    });
    let options = Explorer { shrink_budget: 0, ..Explorer::default() };
    for seed in 0..50 {
        let options = Explorer { seed, strategies: vec![StrategyName::Random], ..options.clone() };
        let failure = options.run(&program, &Silent).failure.unwrap();
        assert_eq!(failure.kind, FailureKind::Bug);
        assert!(failure.message.contains("arithmetic"), "{}", failure.message);
    }
}

#[test]
fn progress_is_told_up_to_the_end() {
    #[derive(Default)]
    struct Count(AtomicU32, AtomicU32);
    impl Progress for Count {
        fn update(&self, _what: &str, done: u64, total: u64) {
            assert!(done <= total);
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn finish(&self) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }
    let count = Count::default();
    let program: Program = Arc::new(|_| Ok(()));
    let report = explorer(StrategyName::Dfs).run(&program, &count);
    assert_eq!((report.schedules, count.1.load(Ordering::Relaxed)), (1, 1));
    assert!(count.0.load(Ordering::Relaxed) >= 1);
}

#[test]
fn typed_payloads_are_told_apart() {
    let panics: Program = Arc::new(|execution| {
        let thread = execution.thread();
        std::panic::panic_any(crate::host::threads::KernelPanic { message: "boom".into(), thread: Some(thread) })
    });
    let failure = explorer(StrategyName::Dfs).run(&panics, &Silent).failure.unwrap();
    assert_eq!((failure.kind, &*failure.message), (FailureKind::Panic, "boom"));
    let violates: Program =
        Arc::new(|_| std::panic::panic_any(OracleViolation { kind: "I3".into(), message: "two homes".into() }));
    let failure = explorer(StrategyName::Dfs).run(&violates, &Silent).failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Violation("I3".into()));
}

#[test]
fn an_expected_panic_is_a_good_end() {
    let program: Program = Arc::new(|execution| {
        execution.expect_panic("em0: interface is not on the active list");
        two_preemptions()(execution)
    });
    let report = Explorer { max_deviations: 99, ..explorer(StrategyName::Dfs) }.run(&program, &Silent);
    assert_eq!(report.failure, None);
    assert!(report.strategies[0].complete);
}

#[test]
fn endless_waiting_is_no_progress() {
    let program: Program = Arc::new(|execution| {
        let body = execution.spawn("a", |execution| {
            loop {
                execution.yield_now();
            }
        });
        execution.join(&[body]);
        Ok(())
    });
    let options = Explorer { max_steps: 500, ..explorer(StrategyName::Dfs) };
    let failure = options.run(&program, &Silent).failure.unwrap();
    assert_eq!((failure.kind, &*failure.message), (FailureKind::NoProgress, "no end after 500 steps"));
}

#[test]
fn a_sleeper_misses_no_wakeup() {
    let program: Program = Arc::new(|execution| {
        let host = ShuttleHost::new(execution);
        let flag: Arc<<ShuttleHost as ifnet::Platform>::Mutex<bool>> = Arc::new(ifnet::platform::Mutex::new(false));
        let sleeper = {
            let (host, flag) = (host.clone(), Arc::clone(&flag));
            execution.spawn("sleeper", move |_| host.sleep(Channel(7), &mut || *flag.lock()))
        };
        let waker = execution.spawn("waker", move |_| {
            *flag.lock() = true;
            host.wakeup(Channel(8));
            host.wakeup(Channel(7));
        });
        execution.join(&[sleeper, waker]);
        Ok(())
    });
    let report = Explorer { max_deviations: 99, ..explorer(StrategyName::Dfs) }.run(&program, &Silent);
    assert_eq!(report.failure, None);
    assert!(report.strategies[0].complete && report.schedules > 2);
}

#[test]
fn a_worker_gets_all_work_and_is_told_the_end() {
    let program: Program = Arc::new(|execution| {
        let host = ShuttleHost::new(execution);
        let (worker, done) = (host.clone(), Arc::new(AtomicU32::new(0)));
        let count = Arc::clone(&done);
        let worker = execution.spawn("worker", move |_| {
            while worker.wait_for_work() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        host.work_queued();
        host.preempt();
        host.work_queued();
        host.close_work();
        execution.join(&[worker]);
        match done.load(Ordering::Relaxed) {
            1 | 2 => Ok(()),
            n => violation("work", &format!("woken {n} times")),
        }
    });
    let report = Explorer { max_deviations: 99, ..explorer(StrategyName::Dfs) }.run(&program, &Silent);
    assert_eq!(report.failure, None);
    assert!(report.strategies[0].complete && report.schedules > 1);
}

#[test]
fn a_wakeup_of_another_channel_does_not_help() {
    let program: Program = Arc::new(|execution| {
        let host = ShuttleHost::new(execution);
        let other = host.clone();
        let waker = execution.spawn("waker", move |_| other.wakeup(Channel(8)));
        host.sleep(Channel(7), &mut || false);
        execution.join(&[waker]);
        Ok(())
    });
    let failure = explorer(StrategyName::Dfs).run(&program, &Silent).failure.unwrap();
    assert_eq!((failure.kind, &*failure.message), (FailureKind::Deadlock, "deadlock: main waits for a wakeup"));
}

#[test]
fn the_report_does_not_depend_on_the_number_of_os_threads() {
    let run = |os_threads| {
        let options = Explorer { os_threads, schedules: 6_000, ..Explorer::default() };
        (options.run(&two_preemptions(), &Silent), options.run(&lost_update(3), &Silent))
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn a_replay_is_equal_in_everything() {
    let options = explorer(StrategyName::Pct);
    let failure = options.run(&abba(), &Silent).failure.unwrap();
    assert!(failure.log.iter().any(|entry| matches!(&entry.what, What::Lock { event: LockEvent::Waiting, .. })));
    assert_eq!(options.replay(&abba(), &failure.schedule), Some(failure));
}
