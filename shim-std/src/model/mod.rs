//! A sequential reference model of the life cycle, and an oracle made of it.
//!
//! The core is fast and concurrent, and so it is not obvious. The [`Model`] is neither: interfaces sit in plain vectors,
//! every lookup is a linear search, and each rule of the specification stands in one place. Whatever sequence of
//! operations is run, both must give the same outcomes and show the same state: the lists in their order, names with
//! duplicates (the earliest wins), indices (the lowest free one) with their generations, groups in the order of joining,
//! flags, homes, listeners; who stands on whom, and what goes with what. What the model says nothing of is concurrency.
//!
//! # How much is compared
//!
//! After every operation: its outcome, and all that the model has written ([`compare_touched`]), with the invariants of
//! those interfaces. So what the kernel should have changed is seen at once, and what it should not have changed is seen
//! by the complete comparison ([`compare()`]), which comes every so often and at the end. If that finds something, the
//! program is run again with a complete comparison after every operation, which names the first that differs.
//!
//! A sequence is made of [`Pick`]s: four bytes, whose operands count live objects ("the third interface of the second
//! vnet"). So every byte string is a sequence that makes sense, and it still does when a shrinker takes parts out. It
//! prints as a scenario.
//!
//! ```
//! use ifnet_std::model::{Program, Table, check};
//!
//! let program = Program::from_bytes(Table::Lifecycle, &[3, 0, 0, 0, 0, 0, 0, 0, 16, 0, 1, 1]);
//! assert_eq!(program.to_string(), "ifconfig disc create\njail -c name=j1 vnet persist\nifconfig disc0 vnet j1\n");
//! check(&program)?;
//! # Ok::<(), ifnet_std::model::Divergence>(())
//! ```

use core::fmt;

use ifnet::platform::spin::SpinHost;
use ifnet::{Config, Errno, Kernel};

use crate::alloc::CountingAlloc;

mod choose;
mod cloners;
mod compare;
mod drive;
mod kind;
mod name;
mod op;
mod stacked;
mod state;
mod touched;
mod verbs;

pub use choose::{Pick, Table};
pub use compare::{compare, compare_touched};
pub use drive::{Subject, drive};
pub use kind::Cloner;
pub use name::Name;
pub use op::{Jail, Op, Who};
pub use state::{Made, Model, Outcome};

/// A complete comparison comes after as many operations.
const COMPLETE: usize = 1024;

/// A sequence of choices. Prints as the scenario that the model makes of it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// What is chosen from.
    pub table: Table,
    /// The choices.
    pub picks: Vec<Pick>,
}

impl Program {
    /// Of [`Table::Lifecycle`].
    #[must_use]
    pub const fn new(picks: Vec<Pick>) -> Self {
        Self { table: Table::Lifecycle, picks }
    }

    /// Four bytes an operation; what is left over at the end is not used.
    #[must_use]
    pub fn from_bytes(table: Table, bytes: &[u8]) -> Self {
        Self { table, picks: bytes.as_chunks().0.to_vec() }
    }

    /// The operations, each with what the model says that it gives.
    fn steps(&self) -> impl Iterator<Item = (Op, Outcome)> {
        let mut model = Model::new();
        self.picks.iter().map(move |pick| {
            let op = Op::choose(&model, self.table, *pick);
            let outcome = model.apply(&op);
            (op, outcome)
        })
    }

    fn upto(&self, end: usize) -> Self {
        Self { table: self.table, picks: self.picks[..end].to_vec() }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps().try_for_each(|(op, outcome)| match outcome {
            Ok(_) => writeln!(f, "{op}"),
            Err(errno) => writeln!(f, "!{} {op}", errno.name()),
        })
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

/// Model and kernel do not agree.
pub struct Divergence {
    /// The operations up to the one after which they differ.
    pub program: Program,
    /// What differs.
    pub what: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after\n{}model and kernel differ: {}", self.program, self.what)
    }
}

impl fmt::Debug for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Divergence {}

/// Runs a program on a fresh kernel, comparing outcome, state and invariants after every operation; at the end everything
/// is given back, and no memory may be left.
///
/// # Errors
/// The first difference.
///
/// # Panics
/// When the kernel panics, which no program of these operations may bring about.
pub fn check(program: &Program) -> Result<(), Divergence> {
    check_with(&Config::default(), program)
}

/// [`check`] on a kernel that is booted as `config` says: with tasks run at once, or with historical bugs.
///
/// # Errors
/// The first difference.
///
/// # Panics
/// When the kernel panics.
pub fn check_with(config: &Config, program: &Program) -> Result<(), Divergence> {
    let late = run(config, program, COMPLETE);
    match late {
        Ok(()) => Ok(()),
        Err(late) => run(config, program, 1).and(Err(late)),
    }
}

/// Runs a program with a complete comparison after every `complete` operations.
fn run(config: &Config, program: &Program, complete: usize) -> Result<(), Divergence> {
    let memory = CountingAlloc::new();
    let host: SpinHost<CountingAlloc> = SpinHost::new(memory.clone());
    let diverged = |end: usize, what: String| Divergence { program: program.upto(end), what };
    let kernel = Kernel::boot(host, config.clone().threads(2)).map_err(|errno| diverged(0, no_boot(errno)))?;
    let td = kernel.thread().map_err(|errno| diverged(0, no_boot(errno)))?;
    let (mut model, mut subject) = (Model::new(), Subject::new(&td));
    for (at, pick) in program.picks.iter().enumerate() {
        let op = Op::choose(&model, program.table, *pick);
        let (expected, outcome) = (model.apply(&op), drive(&td, &mut subject, &op));
        if expected != outcome {
            return Err(diverged(at + 1, format!("{op}\n  model:  {expected:?}\n  kernel: {outcome:?}")));
        }
        compare_touched(&model, &td, &subject).map_err(|what| diverged(at + 1, what))?;
        if (at + 1) % complete == 0 {
            compare(&model, &td, &subject).map_err(|what| diverged(at + 1, what))?;
        }
    }
    let end = program.picks.len();
    compare(&model, &td, &subject).map_err(|what| diverged(end, what))?;
    subject.finish(&td);
    drop(td);
    kernel.shutdown();
    match (memory.live_blocks(), memory.live_bytes()) {
        (0, 0) => Ok(()),
        (blocks, bytes) => Err(diverged(end, format!("{bytes} bytes in {blocks} blocks are left at the end"))),
    }
}

fn no_boot(errno: Errno) -> String {
    format!("the kernel does not boot: {errno}")
}
