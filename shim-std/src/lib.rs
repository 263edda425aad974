//! Hosted runtime of `ifnet`.

pub mod scenario;
