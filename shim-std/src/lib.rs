//! Hosted runtime of `ifnet`.

pub mod alloc;
pub mod cli;
pub mod explore;
pub mod fuzz;
pub mod host;
pub mod model;
pub mod runner;
pub mod scenario;
pub mod story;
pub mod testbed;
pub mod token;

/// The examples of the README are run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
