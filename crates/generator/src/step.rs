//! The steps of an installation or a removal. Each may be done twice, and the process may die between any two.

use std::fs;
use std::path::Path;

use crate::error::GenerateError;
use crate::files::{failed, remove, remove_if_empty, under, write};
use crate::record::Record;
use crate::render::GeneratedFile;
use crate::services::SERVICES;

/// One change of the root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Directory(&'static str),
    Record(Record),
    Write(GeneratedFile),
    Remove(String),
    /// The whole new list of units; an empty one goes.
    Services(String),
    ForgetRecord(String),
    DirectoryIfEmpty(&'static str),
}

/// Does one step.
pub(crate) fn take(root: &Path, step: &Step) -> Result<(), GenerateError> {
    match step {
        Step::Directory(path) => {
            let path = under(root, path);
            fs::create_dir_all(&path).map_err(|source| failed("create", &path, source))
        }
        Step::Record(record) => write(&Record::path(root, &record.feature), &record.text(), 0o644),
        Step::Write(file) => write(&under(root, &file.path), &file.content, file.mode),
        Step::Remove(path) => remove(&under(root, path)),
        Step::Services(list) if list.is_empty() => remove(&under(root, SERVICES)),
        Step::Services(list) => write(&under(root, SERVICES), list, 0o644),
        Step::ForgetRecord(feature) => remove(&Record::path(root, feature)),
        Step::DirectoryIfEmpty(path) => remove_if_empty(&under(root, path)),
    }
}
