//! What an operation costs, and whether it grows with the number of interfaces: `cargo bench -p ifnet --bench cost`.
//!
//! The interface operated on is the last of n in its vnet. Beside each figure stands FreeBSD's own, measured on its code
//! compiled natively and run on one thread (stable/15.1, clang 19, no INVARIANTS), without the clock tick that a
//! detach in a running kernel waits for. That machine is not this one: compare how the figures grow, not the figures.
//!
//! For each n there is one kernel, and all of them are measured in turns, so that a disturbance of the machine hits all
//! sizes alike. A figure is the median over the turns. Nothing is asserted: a loaded machine may print anything.

use core::hint::black_box;
use core::time::Duration;
use std::time::Instant;

use allocator_api2::alloc::Global;
use ifnet::platform::spin::SpinHost;
use ifnet::{
    Config, IfType, IfnetOwner, Kernel, Thread, if_addgroup, if_alloc, if_attach, if_clone_create, if_clone_destroy,
    if_delgroup, if_detach, if_free, if_initname, if_rename, if_vmove_loan, if_vmove_reclaim, ifnet_byindex, ifunit,
    ifunit_ref, vnet_alloc, vnet_destroy,
};

type Host = SpinHost<Global>;
type Td<'k> = Thread<'k, Host>;
type Vnet = ifnet::VnetRef<Host>;

/// The numbers of interfaces.
const CROWDS: [usize; 3] = [10, 1_000, 100_000];
/// FreeBSD's were these.
const FREEBSD_CROWDS: [usize; 3] = [10, 1_000, 10_000];

/// Turns of each operation in each kernel.
const TURNS: usize = 41;
/// A turn repeats the operation until this time has gone by.
const TURN: Duration = Duration::from_micros(400);

/// What an operation works on.
struct Stage<'k> {
    td: &'k Td<'k>,
    jail: &'k Vnet,
    last: &'k IfnetOwner<Host>,
    /// Not attached.
    spare: &'k IfnetOwner<Host>,
    name: &'k str,
}

struct Operation {
    name: &'static str,
    /// Median ns in FreeBSD.
    freebsd: Option<[f64; 3]>,
    run: fn(&Stage<'_>),
}

const OPERATIONS: &[Operation] = &[
    Operation {
        name: "epoch enter + exit",
        freebsd: Some([9.0, 9.0, 9.0]),
        run: |stage| drop(black_box(stage.td.net_epoch_enter())),
    },
    Operation {
        name: "ifnet_byindex",
        freebsd: Some([1.7, 1.8, 2.1]),
        run: |stage| {
            // The section is not part of FreeBSD's figure: a hundred lookups share it, and the figure is divided.
            let section = stage.td.net_epoch_enter();
            for _ in 0..INNER {
                black_box(ifnet_byindex(stage.td, black_box(stage.last.index()), &section)).expect("it is there");
            }
        },
    },
    Operation {
        name: "ifunit",
        freebsd: Some([32.0, 3_478.0, 63_361.0]),
        run: |stage| drop(black_box(ifunit(stage.td, stage.name)).expect("it is there")),
    },
    Operation {
        name: "ifunit, a miss",
        freebsd: Some([32.0, 3_478.0, 63_361.0]),
        run: |stage| assert!(black_box(ifunit(stage.td, "nobody")).is_none()),
    },
    Operation {
        name: "ifunit_ref + if_rele",
        freebsd: Some([43.0, 3_492.0, 65_262.0]),
        run: |stage| drop(black_box(ifunit_ref(stage.td, stage.name)).expect("it is there")),
    },
    Operation {
        name: "if_alloc + if_free",
        freebsd: None,
        run: |stage| if_free(stage.td, if_alloc(stage.td, IfType::Other).expect("memory")),
    },
    Operation {
        name: "attach + detach",
        freebsd: Some([1_440.0, 10_370.0, 117_670.0]),
        run: |stage| {
            if_attach(stage.td, stage.spare).expect("memory");
            if_detach(stage.td, stage.spare);
        },
    },
    Operation {
        name: "move out and back",
        freebsd: Some([2_830.0, 12_140.0, 167_560.0]),
        run: |stage| {
            drop(if_vmove_loan(stage.td, stage.name, stage.jail).expect("it moves"));
            drop(if_vmove_reclaim(stage.td, stage.name, stage.jail).expect("it comes back"));
        },
    },
    Operation {
        name: "if_rename, to and fro",
        freebsd: Some([1_320.0, 8_500.0, 125_360.0]),
        run: |stage| {
            if_rename(stage.td, stage.last, "renamed").expect("a free name");
            if_rename(stage.td, stage.last, stage.name).expect("a free name");
        },
    },
    Operation {
        name: "if_addgroup + if_delgroup",
        freebsd: Some([380.0, 430.0, 2_120.0]),
        run: |stage| {
            if_addgroup(stage.td, stage.last, "bench").expect("memory");
            if_delgroup(stage.td, stage.last, "bench").expect("a member");
        },
    },
    Operation {
        name: "clone create + destroy",
        freebsd: Some([2_480.0, 26_170.0, 379_870.0]),
        run: |stage| {
            let name = if_clone_create(stage.td, "disc").expect("memory");
            if_clone_destroy(stage.td, &name).expect("it is there");
        },
    },
    Operation {
        name: "epair create + destroy",
        freebsd: Some([6_620.0, 43_080.0, 564_950.0]),
        run: |stage| {
            let name = if_clone_create(stage.td, "epair").expect("memory");
            if_clone_destroy(stage.td, &name).expect("it is there");
        },
    },
    Operation {
        name: "vnet_alloc + vnet_destroy",
        freebsd: Some([4_030.0, 6_450.0, 21_750.0]),
        run: |stage| {
            let vnet = vnet_alloc(stage.td).expect("memory");
            vnet_destroy(stage.td, &vnet).expect("the first time");
        },
    },
];

/// How many lookups by index share one epoch section.
const INNER: u32 = 100;

impl Operation {
    /// One turn: mean ns of an operation.
    fn turn(&self, stage: &Stage<'_>) -> f64 {
        let started = Instant::now();
        let mut runs = 0_u32;
        let taken = loop {
            (self.run)(stage);
            runs += 1;
            // The clock is read rarely enough not to show, also beside the fastest.
            if runs.is_power_of_two() || runs.is_multiple_of(256) {
                let taken = started.elapsed();
                if taken >= TURN {
                    break taken;
                }
            }
        };
        // Callbacks are part of the cost, as a worker would run them.
        stage.td.kernel().run_deferred(stage.td);
        let runs = if self.name == "ifnet_byindex" { runs * INNER } else { runs };
        taken.as_secs_f64() * 1e9 / f64::from(runs)
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Calls `body` with a stage in a kernel for each crowd, all alive at once.
fn with_stages(stages: &mut Vec<Stage<'_>>, crowds: &[usize], body: &mut dyn FnMut(&[Stage<'_>])) {
    let Some((&crowd, rest)) = crowds.split_first() else { return body(stages) };
    let kernel = Kernel::<Host>::boot(Host::new(Global), Config::default().threads(2)).expect("memory");
    {
        let td = kernel.thread().expect("a thread");
        let jail = vnet_alloc(&td).expect("memory");
        let owners: Vec<_> = (0..crowd)
            .map(|n| {
                let owner = if_alloc(&td, IfType::Other).expect("memory");
                if_initname(&owner, "em", Some(n as u32)).expect("a good name");
                if_attach(&td, &owner).expect("memory");
                owner
            })
            .collect();
        let spare = if_alloc(&td, IfType::Other).expect("memory");
        if_initname(&spare, "spare", Some(0)).expect("a good name");
        let last = owners.last().expect("a crowd");
        let name = last.name();
        let mut deeper: Vec<Stage<'_>> = core::mem::take(stages)
            .into_iter()
            .chain([Stage { td: &td, jail: &jail, last, spare: &spare, name: &name }])
            .collect();
        with_stages(&mut deeper, rest, body);
        drop(deeper);
        for owner in owners {
            if_detach(&td, &owner);
            if_free(&td, owner);
        }
        if_free(&td, spare);
        vnet_destroy(&td, &jail).expect("the first time");
    }
    kernel.shutdown();
}

fn measure(stages: &[Stage<'_>]) {
    println!("median ns an operation; n interfaces in the vnet, the one operated on is the last");
    println!("FreeBSD 15.1: its own code on another machine, for n = {FREEBSD_CROWDS:?}");
    println!();
    print!("{:<26}", "operation");
    for crowd in CROWDS {
        print!("{crowd:>10}");
    }
    print!("{:>8} |", "growth");
    for crowd in FREEBSD_CROWDS {
        print!("{crowd:>9}");
    }
    println!("{:>8}", "growth");
    for operation in OPERATIONS {
        let mut figures = vec![Vec::new(); stages.len()];
        for turn in 0..TURNS {
            for (stage, figures) in stages.iter().zip(&mut figures) {
                let figure = operation.turn(stage);
                // The first turn warms caches and grows tables.
                if turn > 0 {
                    figures.push(figure);
                }
            }
        }
        let medians: Vec<f64> = figures.into_iter().map(median).collect();
        print!("{:<26}", operation.name);
        row(&medians, 10);
        print!(" |");
        if let Some(freebsd) = operation.freebsd {
            row(&freebsd, 9);
        }
        println!();
    }
}

/// Prints figures, and how many times the last is the first.
fn row(figures: &[f64], width: usize) {
    for figure in figures {
        print!("{figure:>width$.precision$}", precision = usize::from(*figure < 100.0));
    }
    if let [first, .., last] = figures {
        print!("{:>8}", format!("x{:.1}", last / first));
    }
}

fn main() {
    // `cargo test` runs a benchmark once, to see that it works: then a small crowd is enough.
    let crowds = if std::env::args().any(|arg| arg == "--bench") { &CROWDS[..] } else { &CROWDS[..1] };
    with_stages(&mut Vec::new(), crowds, &mut measure);
}
