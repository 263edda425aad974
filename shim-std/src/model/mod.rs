//! A sequential reference model of the life cycle, and an oracle made of it.
//!
//! The core is fast and concurrent, and so it is not obvious. The [`Model`] is neither: interfaces sit in plain maps,
//! every lookup is a linear search, and each rule of the specification stands in one place. Whatever sequence of
//! operations is run, both must give the same outcomes and show the same state: the lists in their order, names with
//! duplicates (the earliest wins), indices (the lowest free one) with their generations, groups in the order of joining,
//! flags, homes, listeners. What the model says nothing of is concurrency.
//!
//! A sequence is made of [`Pick`]s: four bytes, whose operands count live objects ("the third interface of the second
//! vnet"). So every byte string is a sequence that makes sense, and it still does when a shrinker takes parts out. It
//! prints as a scenario.
//!
//! ```
//! use ifnet_std::model::{Program, check};
//!
//! let program = Program::from_bytes(&[3, 0, 0, 0, 0, 0, 0, 0, 16, 0, 1, 1]);
//! assert_eq!(program.to_string(), "ifconfig disc create\njail -c name=j1 vnet persist\nifconfig disc0 vnet j1\n");
//! check(&program)?;
//! # Ok::<(), ifnet_std::model::Divergence>(())
//! ```

use core::fmt;

use ifnet::platform::spin::SpinHost;
use ifnet::{Config, Errno, Kernel, invariants};

use crate::alloc::CountingAlloc;

mod cloners;
mod compare;
mod drive;
mod op;
mod state;

pub use compare::compare;
pub use drive::{Subject, drive};
pub use op::{Jail, Op, Pick, Who};
pub use state::{Model, Outcome};

/// A sequence of choices. Prints as the scenario that the model makes of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Program(pub Vec<Pick>);

impl Program {
    /// Four bytes an operation; what is left over at the end is not used.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.as_chunks().0.to_vec())
    }

    /// The operations, each with what the model says that it gives.
    fn steps(&self) -> impl Iterator<Item = (Op, Outcome)> {
        let mut model = Model::new();
        self.0.iter().map(move |pick| {
            let op = Op::choose(&model, *pick);
            let outcome = model.apply(&op);
            (op, outcome)
        })
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
    check_with(Config::default(), program)
}

/// [`check`] on a kernel that is booted as `config` says: with tasks run at once, or with historical bugs.
///
/// # Errors
/// The first difference.
///
/// # Panics
/// When the kernel panics.
pub fn check_with(config: Config, program: &Program) -> Result<(), Divergence> {
    let memory = CountingAlloc::new();
    let host: SpinHost<CountingAlloc> = SpinHost::new(memory.clone());
    let diverged = |upto: usize, what: String| Divergence { program: Program(program.0[..upto].to_vec()), what };
    let kernel = Kernel::boot(host, config.threads(2)).map_err(|errno| diverged(0, no_boot(errno)))?;
    let td = kernel.thread().map_err(|errno| diverged(0, no_boot(errno)))?;
    let (mut model, mut subject) = (Model::new(), Subject::new(&td));
    for (at, pick) in program.0.iter().enumerate() {
        let op = Op::choose(&model, *pick);
        let (expected, outcome) = (model.apply(&op), drive(&td, &mut subject, &op));
        if expected != outcome {
            return Err(diverged(at + 1, format!("{op}\n  model:  {expected:?}\n  kernel: {outcome:?}")));
        }
        compare(&model, &td, &subject).map_err(|what| diverged(at + 1, what))?;
        invariants::check(&td).map_err(|violation| diverged(at + 1, violation.to_string()))?;
    }
    subject.finish(&td);
    drop(td);
    kernel.shutdown();
    match (memory.live_blocks(), memory.live_bytes()) {
        (0, 0) => Ok(()),
        (blocks, bytes) => {
            Err(diverged(program.0.len(), format!("{bytes} bytes in {blocks} blocks are left at the end")))
        }
    }
}

fn no_boot(errno: Errno) -> String {
    format!("the kernel does not boot: {errno}")
}
