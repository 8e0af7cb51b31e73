//! Death between any two steps, and in the middle of writing a file: doing the same again must end as if nothing had
//! happened.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::description::Description;
use crate::files::under;
use crate::install::{self, Edited, INIT_CFG};
use crate::record::{RECORDS, list};
use crate::remove;
use crate::services::SERVICES;
use crate::step::{Step, take};

const OLD: &str = "name = \"probe\"\nimage = \"docker-probe\"\nscope = [\"host\", \"asic\"]\n";
const NEW: &str = "name = \"probe\"\nimage = \"docker-probe:2\"\nuser = \"root\"\n";

fn switch() -> TempDir {
    let root = TempDir::new().unwrap();
    for directory in ["/usr/bin", "/usr/local/bin", "/usr/lib/systemd/system", "/etc/sonic", "/var/lib"] {
        fs::create_dir_all(under(root.path(), directory)).unwrap();
    }
    fs::write(under(root.path(), SERVICES), "swss.service\n").unwrap();
    root
}

/// Every file below the root with its content. Empty directories are no files.
fn tree(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn installed(root: &TempDir, text: &str) {
    install::install(root.path(), &Description::parse(text).unwrap(), Edited::Refuse).unwrap();
}

/// Does the first steps, and leaves of the next write what a crash in its middle would leave.
fn die_after(root: &Path, steps: &[Step], done: usize) {
    for step in &steps[..done] {
        take(root, step).unwrap();
    }
    if let Some(Step::Write(file)) = steps.get(done) {
        let path = under(root, &file.path);
        let name = path.file_name().unwrap().to_str().unwrap();
        fs::write(path.with_file_name(format!(".{name}.switchyard-new")), "half a fi").unwrap();
    }
}

#[test]
fn an_upgrade_that_died_anywhere_is_finished_by_the_next_one() {
    let description = Description::parse(NEW).unwrap();
    let whole = switch();
    installed(&whole, NEW);
    for from in [None, Some(OLD)] {
        for done in 0.. {
            let root = switch();
            if let Some(old) = from {
                installed(&root, old);
            }
            for directory in [RECORDS, INIT_CFG] {
                take(root.path(), &Step::Directory(directory)).unwrap();
            }
            let (steps, _) = install::plan(root.path(), &description, Edited::Refuse).unwrap();
            if done > steps.len() {
                assert!(done > 6, "the plan has too few steps to show anything: {steps:?}");
                break;
            }
            die_after(root.path(), &steps, done);
            if done > 0 {
                let complete = list(root.path()).unwrap()[0].complete;
                assert_eq!(complete, done == steps.len(), "after step {done} of {}", steps.len());
            }
            installed(&root, NEW);
            assert_eq!(
                tree(root.path()),
                tree(whole.path()),
                "from {from:?}, died after step {done}: {steps:?}"
            );
        }
    }
}

#[test]
fn an_installation_that_died_anywhere_can_be_taken_back() {
    let description = Description::parse(NEW).unwrap();
    for done in 1.. {
        let root = switch();
        let before = tree(root.path());
        installed(&root, OLD);
        let (steps, _) = install::plan(root.path(), &description, Edited::Refuse).unwrap();
        if done > steps.len() {
            break;
        }
        die_after(root.path(), &steps, done);
        remove::remove(root.path(), &description.name, Edited::Refuse).unwrap();
        assert_eq!(tree(root.path()), before, "died after step {done}: {steps:?}");
    }
}

#[test]
fn a_removal_that_died_anywhere_is_finished_by_the_next_one() {
    let name = Description::parse(OLD).unwrap().name;
    for done in 0.. {
        let root = switch();
        let before = tree(root.path());
        installed(&root, OLD);
        let (steps, _) = remove::plan(root.path(), &name, Edited::Refuse).unwrap();
        if done > steps.len() {
            break;
        }
        die_after(root.path(), &steps, done);
        // Once the record is gone there is nothing more to remove, and that is said.
        let _ = remove::remove(root.path(), &name, Edited::Refuse);
        assert_eq!(tree(root.path()), before, "died after step {done}: {steps:?}");
        assert!(!under(root.path(), "/var/lib/switchyard").exists(), "died after step {done}");
    }
}
