//! Brings a feature's files into a root file system, or brings those of an earlier version up to date.
//!
//! Everything that could refuse is looked at before the first change. The changes are a list of steps: the record of
//! what will be ours, the files, the list of units, and last the mark that it is done. A crash between any two steps
//! is mended by installing again.

use std::path::Path;

use crate::Report;
use crate::description::Description;
use crate::error::GenerateError;
use crate::files::{Found, look, read_or_empty, sha256, under};
use crate::record::{RECORDS, Record, State, Written, lock};
use crate::render::{GeneratedFile, render};
use crate::services::{SERVICES, edit, has};
use crate::step::{Step, take};

/// Where the FEATURE rows of generated features are, in the form of init_cfg.json.
pub(crate) const INIT_CFG: &str = "/var/lib/switchyard/init_cfg";
/// What every SONiC switch has. Making these would mean writing into something that is not a switch.
const SWITCH: [&str; 4] = ["/usr/bin", "/usr/local/bin", "/usr/lib/systemd/system", "/etc/sonic"];

/// What to do with a file of ours that somebody edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edited {
    /// Change nothing and say which file it is.
    Refuse,
    /// Lose the edit.
    Discard,
}

/// Installs the feature's files below `root`. Files of an earlier version that are no longer part of it go. Installing
/// the same description twice changes nothing.
pub fn install(root: &Path, description: &Description, edited: Edited) -> Result<Report, GenerateError> {
    check_root(root)?;
    for directory in [RECORDS, INIT_CFG] {
        take(root, &Step::Directory(directory))?;
    }
    let _lock = lock(root)?;
    let (steps, report) = plan(root, description, edited)?;
    steps.iter().try_for_each(|step| take(root, step))?;
    Ok(report)
}

fn check_root(root: &Path) -> Result<(), GenerateError> {
    match SWITCH.iter().map(|directory| under(root, directory)).find(|directory| !directory.is_dir()) {
        Some(missing) => Err(GenerateError::NotASwitch { root: root.to_owned(), missing }),
        None => Ok(()),
    }
}

/// What is to be done, none of it done yet.
pub(crate) fn plan(
    root: &Path,
    description: &Description,
    edited: Edited,
) -> Result<(Vec<Step>, Report), GenerateError> {
    let before = Record::load(root, &description.name)?;
    let ours: Vec<Written> = before.iter().flat_map(Record::ours).cloned().collect();
    let files = render(description);
    let mut report = Report::default();
    let mut changes = Vec::new();
    for file in &files {
        if is_wanted(root, file, &ours, edited)? {
            report.unchanged.push(file.path.clone());
        } else {
            report.written.push(file.path.clone());
            changes.push(Step::Write(file.clone()));
        }
    }
    for path in leftovers(root, &ours, &files, edited)? {
        report.removed.push(path.clone());
        changes.push(Step::Remove(path));
    }

    let list = read_or_empty(&under(root, SERVICES))?;
    let units = description.units();
    let (kept, gone): (Vec<String>, Vec<String>) =
        before.iter().flat_map(|record| record.services.clone()).partition(|unit| units.contains(unit));
    let added = units.iter().filter(|unit| !has(&list, unit) && !kept.contains(unit)).cloned();
    let services: Vec<String> = kept.iter().cloned().chain(added).collect();
    let new_list = edit(&list, &gone, &units);
    let list_changed = new_list != list;
    if list_changed {
        changes.push(Step::Services(new_list));
    }

    let done = Record {
        feature: description.name.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        source: description.source.clone(),
        state: State::Installed,
        files: files.iter().map(written).collect(),
        earlier: Vec::new(),
        services,
    };
    report.units_changed = list_changed
        || report
            .written
            .iter()
            .chain(&report.removed)
            .any(|path| path.starts_with("/usr/lib/systemd/system/"));
    if changes.is_empty() && before.as_ref() == Some(&done) {
        return Ok((Vec::new(), report));
    }
    let begun = Record {
        state: State::Installing,
        earlier: ours,
        services: done.services.iter().chain(&gone).cloned().collect(),
        ..done.clone()
    };
    let steps = [Step::Record(begun)].into_iter().chain(changes).chain([Step::Record(done)]).collect();
    Ok((steps, report))
}

/// Whether the file is there as it should be. If something else is there that is not ours to replace, that is an error.
fn is_wanted(
    root: &Path,
    file: &GeneratedFile,
    ours: &[Written],
    edited: Edited,
) -> Result<bool, GenerateError> {
    let path = under(root, &file.path);
    let wanted = written(file);
    match look(&path)? {
        Found::Nothing => Ok(false),
        Found::File { sha256, mode } if sha256 == wanted.sha256 => Ok(mode == wanted.mode),
        Found::File { sha256, .. } if is_ours(ours, &file.path, &sha256) => Ok(false),
        Found::File { .. } if ours.iter().any(|our| our.path == file.path) => match edited {
            Edited::Refuse => Err(GenerateError::Modified { path }),
            Edited::Discard => Ok(false),
        },
        Found::File { .. } | Found::SomethingElse => Err(GenerateError::Foreign { path }),
    }
}

/// Files of ours that the new version does not have.
fn leftovers(
    root: &Path,
    ours: &[Written],
    files: &[GeneratedFile],
    edited: Edited,
) -> Result<Vec<String>, GenerateError> {
    let mut paths: Vec<&String> = ours
        .iter()
        .map(|our| &our.path)
        .filter(|path| files.iter().all(|file| file.path != **path))
        .collect();
    paths.sort();
    paths.dedup();
    let mut leftovers = Vec::new();
    for path in paths {
        if may_go(root, path, ours, edited)? {
            leftovers.push(path.clone());
        }
    }
    Ok(leftovers)
}

/// Whether there is a file at `path` that may be removed. What has become a link or a directory is not ours any more.
pub(crate) fn may_go(
    root: &Path,
    path: &str,
    ours: &[Written],
    edited: Edited,
) -> Result<bool, GenerateError> {
    let absolute = under(root, path);
    match (look(&absolute)?, edited) {
        (Found::Nothing, _) => Ok(false),
        (Found::File { sha256, .. }, _) if is_ours(ours, path, &sha256) => Ok(true),
        (Found::File { .. }, Edited::Discard) => Ok(true),
        (Found::File { .. } | Found::SomethingElse, _) => Err(GenerateError::Modified { path: absolute }),
    }
}

fn is_ours(ours: &[Written], path: &str, sha256: &str) -> bool {
    ours.iter().any(|our| our.path == path && our.sha256 == sha256)
}

fn written(file: &GeneratedFile) -> Written {
    Written { path: file.path.clone(), mode: file.mode, sha256: sha256(file.content.as_bytes()) }
}
