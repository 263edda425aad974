//! Hosted runtime of `ifnet`.

pub mod alloc;
pub mod explore;
pub mod host;
pub mod model;
pub mod runner;
pub mod scenario;
pub mod story;
pub mod testbed;
pub mod token;
