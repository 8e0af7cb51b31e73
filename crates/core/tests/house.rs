//! The house rule of this crate: it decides, and reaches for nothing. No clock, file, environment, socket, thread,
//! runtime, client library or logger.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// What may be linked in: the derive macros and what they are made of, and how a shell takes words apart.
const ALLOWED: [&str; 10] = [
    "switchyard-core",
    "serde",
    "serde_core",
    "serde_derive",
    "thiserror",
    "thiserror-impl",
    "proc-macro2",
    "quote",
    "syn",
    "shlex",
];

#[test]
fn nothing_that_acts_slips_into_the_dependencies() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", "switchyard-core", "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p}"])
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"switchyard-core"), "the tree was not read: {text}");
    for name in names.into_iter().filter(|name| *name != "unicode-ident") {
        assert!(ALLOWED.contains(&name), "{name} has slipped into the core's dependencies");
    }
}

#[test]
fn nothing_of_the_standard_library_that_acts_is_used() {
    const ACTS: [&str; 9] = [
        "std::fs",
        "std::env",
        "std::net",
        "std::process",
        "std::thread",
        "std::io",
        "Instant",
        "SystemTime",
        "async ",
    ];
    let mut files = 0;
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for (line, word) in code.flat_map(|line| ACTS.iter().map(move |word| (line, word))) {
            assert!(!line.contains(word), "{}: {word} in: {line}", path.display());
        }
        files += 1;
    }
    assert!(files > 10, "the source was not read");
}

/// All files below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}
