//! Takes a feature's files out of a root file system, so that nothing says they were ever there.
//!
//! A container that still exists and the FEATURE row are not files: they are the caller's.

use std::path::Path;

use switchyard_core::FeatureName;

use crate::Report;
use crate::error::GenerateError;
use crate::files::{read_or_empty, under};
use crate::install::{Edited, INIT_CFG, may_go};
use crate::record::{RECORDS, Record, State, Written, lock};
use crate::services::{SERVICES, edit, has};
use crate::step::{Step, take};

/// The directory that holds the other two.
const OURS: &str = "/var/lib/switchyard";

/// Removes exactly what was written for the feature. A crash on the way is mended by removing again.
pub fn remove(root: &Path, feature: &FeatureName, edited: Edited) -> Result<Report, GenerateError> {
    let _lock = lock(root)?;
    let planned = plan(root, feature, edited);
    if let Err(GenerateError::NotInstalled { .. }) = planned {
        // An earlier removal may have died just before its last steps.
        tidy().iter().try_for_each(|step| take(root, step))?;
    }
    let (steps, report) = planned?;
    steps.iter().try_for_each(|step| take(root, step))?;
    Ok(report)
}

/// Whether [`remove`] would go ahead, as far as can be told now.
pub fn check_remove(root: &Path, feature: &FeatureName, edited: Edited) -> Result<(), GenerateError> {
    plan(root, feature, edited).map(drop)
}

/// What is to be done, none of it done yet.
pub(crate) fn plan(
    root: &Path,
    feature: &FeatureName,
    edited: Edited,
) -> Result<(Vec<Step>, Report), GenerateError> {
    let record = Record::load(root, feature)?
        .ok_or_else(|| GenerateError::NotInstalled { feature: feature.clone() })?;
    let ours: Vec<Written> = record.ours().cloned().collect();
    let mut paths: Vec<&String> = ours.iter().map(|our| &our.path).collect();
    paths.sort();
    paths.dedup();
    let mut report = Report::default();
    let mut steps = vec![Step::Record(Record { state: State::Removing, ..record.clone() })];
    for path in paths {
        if may_go(root, path, &ours, edited)? {
            report.removed.push(path.clone());
        }
        // Also where the file is gone: a write that was cut short may have left its beginning there.
        steps.push(Step::Remove(path.clone()));
    }
    let list = read_or_empty(&under(root, SERVICES))?;
    let on_list: Vec<String> = record.services.iter().filter(|unit| has(&list, unit)).cloned().collect();
    if !on_list.is_empty() {
        steps.push(Step::Services(edit(&list, &on_list, &[])));
    }
    report.units_changed = true;
    steps.push(Step::ForgetRecord(feature.to_string()));
    steps.extend(tidy());
    Ok((steps, report))
}

fn tidy() -> [Step; 3] {
    [Step::DirectoryIfEmpty(INIT_CFG), Step::DirectoryIfEmpty(RECORDS), Step::DirectoryIfEmpty(OURS)]
}
