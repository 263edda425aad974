//! The runner: executes a scenario against the emulated kernel.
//!
//! The runner is generic over its [`Host`], so that one and the same code runs a scenario on threads of the operating
//! system ([`run`]) and, under the explorer, on threads whose schedule is chosen ([`program`]). It is written against the
//! public interface of the core alone, as a driver or a shell would be.
//!
//! A thread of the scenario is an interpreter with its variables and its vnet. What the threads share, the jails by name
//! and the handles of drivers, is the world. Its tables sit behind the host's own lock, because a lock that the
//! explorer does not know would stop it, and they are never locked over a call into the core: the owner of an interface
//! is *taken out* of its table, used, and put back. A second thread that comes for it meanwhile gets `ENXIO`, as from a
//! device that somebody else is detaching.
//!
//! After each command that no other command overlaps, and at the end, the invariants of the core are checked. At the end
//! everything that the scenario left is taken down, and then nothing may be left of it: no interface but `lo0`, no memory.
//!
//! ```
//! use ifnet_std::runner::{Options, Verdict, run};
//! use ifnet_std::scenario::Source;
//!
//! let report = run(&Source::new("t", "e=$(ifconfig epair create)\necho made $e\nifconfig ${e%a}b destroy"), &Options::default());
//! assert_eq!(report.lines, ["made epair0a"]);
//! assert_eq!(report.verdict, Verdict::Passed);
//! ```

pub(crate) mod device;
pub(crate) mod explored;
pub(crate) mod finish;
mod host;
mod ifconfig;
pub(crate) mod interp;
pub(crate) mod jail;
mod kpi;
mod linux;
pub(crate) mod observe;
mod packets;
mod perform;
mod show;
#[cfg(test)]
mod tests;
pub mod threads;
pub(crate) mod world;

use std::sync::Arc;

use ifnet::hazard::HazardSet;
use ifnet::{Config, Errno, Kernel, TaskMode};

pub use explored::program;
pub use host::Host;
pub use observe::Observer;
pub use threads::{Options, Report, Verdict, run};

use crate::scenario::{Diagnostics, Script, Source};
use interp::{Interp, Stop};
use world::World;

/// How the emulated kernel of a scenario is booted.
#[derive(Clone, Debug, Default)]
pub struct Boot {
    /// When queued tasks run; by default at once, if the scenario has one thread and no `ip`, and by a worker otherwise.
    pub tasks: Option<TaskMode>,
    /// The historical bugs to open.
    pub hazards: HazardSet,
}

/// Why a scenario did not end well. Panics of the emulated kernel and dead-locks are not here: they unwind, or never
/// come back, and the host has seen them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// A line that cannot be run: an unset variable, a command that cannot be decoded.
    Syntax(Diagnostics),
    /// Expectations that were not met, one for each thread whose script ended at one.
    Expectation(Vec<Diagnostics>),
    /// The emulated kernel could not be booted.
    Boot(Errno),
    /// An invariant of the core does not hold.
    Invariant(String),
    /// Something was left after everything was taken down.
    Leak(String),
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Syntax(diagnostics) => diagnostics.fmt(f),
            Self::Expectation(all) => {
                for (n, diagnostics) in all.iter().enumerate() {
                    write!(f, "{}{diagnostics}", if n == 0 { "" } else { "\n" })?;
                }
                Ok(())
            }
            Self::Boot(errno) => write!(f, "the emulated kernel cannot be booted: {errno}"),
            Self::Invariant(what) => write!(f, "invariant broken: {what}"),
            Self::Leak(what) => write!(f, "left behind: {what}"),
        }
    }
}

impl core::error::Error for Failure {}

/// Boots a kernel on `host`, runs a scenario that was parsed from `source`, takes everything down and checks the end.
///
/// Runs on the calling thread; what the scenario does concurrently, and the worker for deferred tasks, run on threads of
/// the host, all of which have ended when this returns.
///
/// # Errors
/// The gravest [`Failure`].
///
/// # Panics
/// When the emulated kernel does, in the way of the host.
pub fn execute<H: Host>(host: H, source: &Source, script: &Script, boot: &Boot) -> Result<(), Failure> {
    let concurrent = script.is_concurrent() || script.is_linux();
    let tasks = boot.tasks.unwrap_or(if concurrent { TaskMode::Deferred } else { TaskMode::Immediate });
    let config = Config::default().threads(MAX_THREADS).tasks(tasks).hazards(boot.hazards);
    execute_with(host, source, config, |main| main.script(&script.stmts))
}

/// [`execute`], with a main thread that does what `body` says. What is spawned must be waited for.
pub(crate) fn execute_with<H: Host>(
    host: H,
    source: &Source,
    config: Config,
    body: impl FnOnce(&mut Interp<'_, '_, H>) -> Result<(), Stop>,
) -> Result<(), Failure> {
    let memory = host.allocator();
    let tasks = config.tasks;
    let kernel = Kernel::boot(host, config).map_err(Failure::Boot)?;
    let world = Arc::new(World::new(kernel));
    let worker = (tasks == TaskMode::Deferred).then(|| world::spawn_worker(&world));
    {
        let td = world.kernel.thread().map_err(Failure::Boot)?;
        world.kernel.platform().enter(td.id(), || {
            let mut main = Interp::new(&world, &td, "main", Arc::new(source.clone()));
            let done = body(&mut main);
            drop(main);
            world.stopped(done);
            finish::take_down(&world, &td);
            if let Some(worker) = worker {
                world.kernel.platform().close_work();
                world.kernel.platform().join(&[worker]);
            }
            finish::check(&world, &td);
        });
    }
    finish::shut_down(world, &memory)
}

/// As many threads as a scenario may have at a time.
pub(crate) const MAX_THREADS: usize = 128;

/// What came of a command: nothing, or why it failed.
pub(crate) type Status = Result<(), Fail>;

/// A command that failed.
#[derive(Clone, Debug)]
pub(crate) struct Fail {
    /// The error, if it has a number.
    pub(crate) errno: Option<Errno>,
    /// Where it went wrong, if that is inside the command: the line of a `sh -c`.
    pub(crate) cause: Option<Diagnostics>,
    /// What to say if the command itself is to blame and there is no number.
    pub(crate) what: Option<String>,
}

impl From<Errno> for Fail {
    fn from(errno: Errno) -> Self {
        Self { errno: Some(errno), cause: None, what: None }
    }
}

impl Fail {
    /// A failure without a number.
    fn because(what: impl Into<String>) -> Self {
        Self { errno: None, cause: None, what: Some(what.into()) }
    }
}

/// What a command gives: its status, or the end of the thread's script.
pub(crate) type Done = Result<Status, Stop>;
