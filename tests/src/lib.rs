//! Helpers shared by the cross-crate tests.

use std::fs;
use std::path::{Path, PathBuf};

use ifnet_std::scenario::Source;

/// A directory of this package.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn dir(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    assert!(path.is_dir(), "{} is not a directory", path.display());
    path
}

/// A file of this package.
///
/// # Panics
/// If it cannot be read.
#[must_use]
pub fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The scenarios of a directory below `scenarios/`, in the order of their names.
///
/// # Panics
/// If there are none, or one cannot be read.
#[must_use]
pub fn scenarios(name: &str) -> Vec<Source> {
    let dir = dir("scenarios").join(name);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let paths = entries.map(|entry| entry.expect("a directory entry").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ext| ext == "ifn")).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scenarios in {}", dir.display());
    let source = |path: &PathBuf| {
        let stem = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Source::new(format!("{name}/{stem}"), text)
    };
    paths.iter().map(source).collect()
}
