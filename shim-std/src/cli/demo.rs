//! The demonstration, which is what `cargo run --release` shows: the races of seed 1 and the stacked devices of seed
//! 2, with the historical hole open and closed, on the code that a kernel links.

use ifnet::hazard::{Hazard, HazardSet};

use super::{Exit, catalogue, explore, style, tell};
use crate::explore::Explorer;
use crate::explore::progress::for_stderr;
use crate::runner::{self, Boot, Options};
use crate::scenario::{Diagnostics, Source};
use crate::story::{self, Story};

/// One scenario with the hole that history had in it.
struct Act {
    title: &'static str,
    scenario: &'static str,
    hole: Hazard,
    /// Whether a trace is shown in the form of seed 2's message: thread, device, call path.
    traced: bool,
}

const ACTS: [Act; 5] = [
    Act {
        title: "A driver detaches em0 while a jail borrows it (FreeBSD D56374, PR 292993)",
        scenario: "seed1-driver-detach",
        hole: Hazard::DetachLockInternalOnly,
        traced: false,
    },
    Act {
        title: "The same, in a kernel that ignores the failed unlink: what was reported in the field",
        scenario: "seed1-driver-detach",
        hole: Hazard::UnlinkFailureIgnored,
        traced: false,
    },
    Act {
        title: "A jail ends while its epair is destroyed from outside (FreeBSD's epair_destroy_race)",
        scenario: "seed1-epair-jail",
        hole: Hazard::VnetReturnUnlocked,
        traced: false,
    },
    Act {
        title: "A veth is deleted under ipvlans in two other namespaces (seed 2, Linux netdev 2026-07-01)",
        scenario: "seed2-ipvlan",
        hole: Hazard::UpperFreedBeforeLowerRef,
        traced: true,
    },
    Act {
        title: "A veth pair and an ipvlan over three namespaces, which hangs Linux 7.3-rc7",
        scenario: "seed2-chain",
        hole: Hazard::WaitOnOwnExecutor,
        traced: false,
    },
];

/// Schedules to run with the hole closed, for each act.
const CLOSED: u64 = 30_000;
/// The same for seed 2, whose schedules are several times as long.
const CLOSED_STACKED: u64 = 4_000;
/// Schedules in which the open hole has to be found.
const OPEN: u64 = 30_000;

pub(super) fn demo() -> Exit {
    say!("ifnet {}: the interface life cycle of FreeBSD, explored\n", env!("CARGO_PKG_VERSION"));
    let mut as_expected = true;
    for (number, act) in ACTS.iter().enumerate() {
        match play(number + 1, act) {
            Ok(fine) => as_expected &= fine,
            Err(diagnostics) => return tell(&diagnostics),
        }
    }
    say!(
        "{}",
        if as_expected {
            "Every verdict is as expected: each hole is found when open, and nothing is found when it is closed."
        } else {
            "NOT as expected: see the verdicts above."
        }
    );
    say!("Next: `ifnet hazards --check`, `ifnet explore FILE`, `ifnet run FILE --trace`.");
    if as_expected { Exit::Fine } else { Exit::Unexpected }
}

fn play(number: usize, act: &Act) -> Result<bool, Diagnostics> {
    let source = catalogue::demo(act.scenario);
    say!("{number}. {}\n", act.title);
    print_scenario(&source);
    if act.traced {
        print_trace(&source);
    }
    let found = play_open(&source, act)?;
    let clean = play_closed(&source, if source.text.contains("netns") { CLOSED_STACKED } else { CLOSED })?;
    Ok(found && clean)
}

fn print_scenario(source: &Source) {
    for line in source.text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty()) {
        say!("    {line}");
    }
    say!();
}

/// One run on threads, as `bpftrace` shows the real one.
fn print_trace(source: &Source) {
    say!("   one run, as the probes of the message show it (veth_dellink, ipvlan_uninit, free_netdev):\n");
    let report = runner::run(source, &Options { trace: true, ..Options::default() });
    let mut inside = false;
    for line in report.lines.iter().take_while(|line| !line.starts_with("panic")) {
        // A call begins with its thread; events, and lines of the kernel's log, are not part of its path.
        inside = line.starts_with("PID: ") || (inside && line.starts_with("    ") && !line.starts_with("    . "));
        if inside {
            say!("    {line}");
        }
    }
    say!();
}

/// With the hole open: a failure is wanted, and its story told.
fn play_open(source: &Source, act: &Act) -> Result<bool, Diagnostics> {
    say!("   hole open: {}\n   {}\n", act.hole, act.hole.hole());
    let boot = Boot { hazards: act.hole.set(), ..Boot::default() };
    let explorer = Explorer { schedules: OPEN, ..Explorer::default() };
    let report = explore::search(source, &boot, &explorer, &*for_stderr())?;
    let Some(failure) = &report.failure else {
        say!("   VERDICT: not found in {} schedules\n", report.schedules);
        return Ok(false);
    };
    say!("   VERDICT: {} after {} schedules: {}\n", failure.kind, report.schedules, failure.message);
    say!("{}", story::text::render(&Story::of(failure), style()));
    say!("   again: ifnet replay {}\n", explore::token_of(source, &boot, failure));
    Ok(true)
}

/// With the hole closed: nothing may be found.
fn play_closed(source: &Source, schedules: u64) -> Result<bool, Diagnostics> {
    let boot = Boot { hazards: HazardSet::empty(), ..Boot::default() };
    let explorer = Explorer { schedules, ..Explorer::default() };
    let report = explore::search(source, &boot, &explorer, &*for_stderr())?;
    say!("   hole closed:");
    for line in explore::summary(&report).lines() {
        say!("     {line}");
    }
    let verdict = report.failure.is_none();
    say!("   VERDICT: {}\n", if verdict { "clean" } else { "FAILS" });
    Ok(verdict)
}
