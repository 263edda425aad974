//! What the targets share.

use std::sync::OnceLock;

use ifnet_std::fuzz::{Found, Target, hazards};

/// Plays an input of `schedule` or `oom`, with the hazards of `IFNET_HAZARDS` open.
///
/// # Panics
/// If it fails; the message is the scenario and its replay token. If `IFNET_HAZARDS` names no hazard.
pub fn play(target: Target, bytes: &[u8]) {
    static OPEN: OnceLock<ifnet::hazard::HazardSet> = OnceLock::new();
    let open = *OPEN.get_or_init(|| {
        let names = std::env::var("IFNET_HAZARDS").unwrap_or_default();
        hazards(&names).unwrap_or_else(|what| panic!("IFNET_HAZARDS: {what}"))
    });
    let found = Found::of(target, bytes, open);
    if let Some(failure) = &found.failure {
        let token = found.token(failure);
        panic!("{}: {}\n\n{}\nifnet replay {token}", failure.kind, failure.message, found.source.text);
    }
}
