//! Hosted runtime of `ifnet`.

pub mod alloc;
pub mod host;
pub mod model;
pub mod scenario;
