//! Hosted runtime of `ifnet`.
