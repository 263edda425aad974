//! What the fuzz targets do, apart from being fuzz targets: so that it is tested, and so that the command can show again
//! what they found.
//!
//! | target | an input is |
//! |---|---|
//! | `schedule` | a program for up to four threads and every scheduling decision ([`input`]) |
//! | `oom` | a program for one thread, and which allocations fail in which operation |
//! | `scenario` | the text of a scenario, which may be anything |
//! | `lifecycle` | a program for one thread, checked against the [`model`](crate::model) |
//! | `unregister` | the same, of stacks over vnets |
//! | `frames` | a program for one thread that sends frames into the graph that it changes |
//!
//! Each finding of the first two is a scenario and a schedule, and so has a replay token and a story.

mod found;
mod frames;
pub mod input;
mod mutate;
mod ops;
mod plain;
mod play;
#[cfg(test)]
mod tests;

use core::fmt;

use ifnet::hazard::{Hazard, HazardSet};

pub use found::{Found, minimize};
pub use mutate::mutate;
pub use plain::{check, text};

/// A fuzz target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Program and schedule.
    Schedule,
    /// Program and failing allocations.
    Oom,
    /// Hostile text.
    Scenario,
    /// Against the model.
    Lifecycle,
    /// Against the model, stacks over vnets.
    Unregister,
    /// Frames through a graph that changes.
    Frames,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Schedule, Self::Oom, Self::Scenario, Self::Lifecycle, Self::Unregister, Self::Frames];

    /// Its name, which is that of the binary and of its folders.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Oom => "oom",
            Self::Scenario => "scenario",
            Self::Lifecycle => "lifecycle",
            Self::Unregister => "unregister",
            Self::Frames => "frames",
        }
    }

    /// The target of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name() == name)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads a list of hazards, separated by commas: the environment variable `IFNET_HAZARDS`.
///
/// # Errors
/// A name that no hazard has.
pub fn hazards(names: &str) -> Result<HazardSet, String> {
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| Hazard::by_name(name).map(Hazard::set).ok_or_else(|| format!("no hazard {name}"))).collect()
}
