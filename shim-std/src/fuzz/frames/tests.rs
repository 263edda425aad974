use super::*;
use crate::fuzz::{Target, minimize};

/// Bytes that look random, the same every time.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn programs_that_look_random_pass() {
    let mut seen = std::collections::BTreeSet::new();
    let many = std::env::var("FRAMES_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    for seed in 0..many {
        let bytes = noise(seed, RECORD * 100);
        if let Err(what) = check(&bytes, HazardSet::empty()) {
            let class: String =
                what.lines().next().unwrap_or("").chars().filter(|c| !c.is_ascii_digit()).take(25).collect();
            if seen.insert(class) {
                let small = minimize(Target::Frames, &bytes, HazardSet::empty(), 3000);
                eprintln!("======== seed {seed}: {}", check(&small, HazardSet::empty()).unwrap_err());
                if let Ok(dir) = std::env::var("FRAMES_SAVE") {
                    std::fs::write(format!("{dir}/{seed}"), &small).unwrap();
                }
            }
        }
    }
    assert!(seen.is_empty(), "{seen:?}");
}
