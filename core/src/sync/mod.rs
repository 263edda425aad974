//! Synchronisation: atomics that a model checker can take over.

pub mod atomic;
