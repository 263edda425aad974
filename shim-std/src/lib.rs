//! Hosted runtime of `ifnet`.

pub mod alloc;
pub mod host;
pub mod scenario;
