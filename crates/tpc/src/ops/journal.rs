//! The journal: one file for each operation that is under way, written and synced before each step. The same write
//! marks the step before it, so a step counts as begun until the next one has begun.

use serde::{Deserialize, Serialize};
use switchyard_core::ImageId;
use switchyard_core::tpc::{Facts, Operation, Progress, TpcName, plan};

use super::OpsError;
use super::layout::{self, Layout};
use super::record::Record;

const HINT: &str = "remove it once `tpcm show` and `docker ps --all` agree on what runs";

/// An operation under way: all that is needed to finish or undo it, whoever comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) name: TpcName,
    pub(super) operation: Operation,
    pub(super) facts: Facts,
    pub(super) progress: Progress,
    /// The record before it; none if there was no such TPC.
    pub(super) before: Option<Record>,
    /// The record after it, as far as it is known yet.
    pub(super) after: Option<Record>,
    /// The private volume was there before.
    pub(super) had_volume: bool,
    /// The container that had the name when it began.
    pub(super) old_container: Option<String>,
    /// The TPC was running.
    pub(super) was_up: bool,
    /// The image that a snapshot made.
    pub(super) snapshot: Option<ImageId>,
    /// The registry's name for an image that the engine has for this operation alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pulled: Option<String>,
    /// When it began, and by which command.
    pub(super) began: String,
    pub(super) command: String,
    /// Why a person is needed, if there is no record to say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) inconsistent: Option<String>,
}

impl Entry {
    pub(super) fn new(
        name: &TpcName,
        operation: Operation,
        facts: Facts,
        before: Option<Record>,
        (began, command): (String, String),
    ) -> Self {
        Self {
            name: name.clone(),
            operation,
            facts,
            progress: Progress::new(plan(operation, &facts)),
            after: None,
            before,
            had_volume: true,
            old_container: None,
            was_up: true,
            snapshot: None,
            pulled: None,
            began,
            command,
            inconsistent: None,
        }
    }

    pub(super) fn write(&self, layout: &Layout) -> Result<(), OpsError> {
        layout::write_json(&layout.journal(&self.name), self)
    }

    pub(super) fn remove(&self, layout: &Layout) -> Result<(), OpsError> {
        layout::remove(&layout.journal(&self.name))
    }

    pub(super) fn load(layout: &Layout, name: &TpcName) -> Result<Option<Self>, OpsError> {
        layout::read_json(&layout.journal(name), HINT)
    }

    /// The TPCs that an operation was cut short on, or is under way.
    pub(super) fn names(layout: &Layout) -> Result<Vec<TpcName>, OpsError> {
        let files = layout::entries(&layout.journals())?;
        let names = files.iter().filter_map(|file| TpcName::parse(file.strip_suffix(".json")?).ok());
        Ok(names.collect())
    }

    /// Every operation that was cut short, or is under way.
    pub(super) fn load_all(layout: &Layout) -> Result<Vec<Self>, OpsError> {
        let names = Self::names(layout)?;
        names.iter().filter_map(|name| Self::load(layout, name).transpose()).collect()
    }
}
