//! Hosted runtime of `ifnet`.

pub mod explore;
pub mod host;
pub mod story;
pub mod token;
