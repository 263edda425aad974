//! The `ifnet` command.
fn main() {}
