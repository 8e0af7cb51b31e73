//! What each operation on a third-party container does, as a list of named steps, and what becomes of one that was cut
//! short: everything before the step [`Step::Record`] is undone, everything from there on is finished.
//!
//! The executor writes the journal before a step and marks it after. It may die at any instruction, so each step, and
//! the undoing of each, may be done twice and may have been done by half; the tests kill every plan everywhere.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is done to a TPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// It comes onto the switch.
    Install,
    /// Another version takes its place.
    Upgrade,
    /// It leaves the switch.
    Uninstall,
    /// The version before takes its place again.
    Rollback,
    /// Its writable layer goes into the store.
    Save,
    /// It comes from the store onto this SONiC image.
    Restore,
    /// Its limits change.
    Resources,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Install,
        Self::Upgrade,
        Self::Uninstall,
        Self::Rollback,
        Self::Save,
        Self::Restore,
        Self::Resources,
    ];
}

/// What the plan depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Hooks are run (not with `--skip_data`).
    pub hooks: bool,
    /// The private volume goes too.
    pub purge: bool,
    /// The private volume stays as it is in a rollback.
    pub keep_data: bool,
    /// This SONiC image has a container of an earlier state.
    pub older: bool,
}

/// One step. Each changes one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The image goes into the store and is checked there.
    Ingest,
    /// The engine gets the image from the store.
    Load,
    /// The old version's hook runs.
    PreHook,
    /// The private volume is copied while the old version still runs, so that the copy after the stop is short.
    CopyAside,
    /// The data to go back to is copied while the present version still runs.
    CopyBack,
    /// The old version stops.
    Stop,
    /// The private volume is set aside: what has changed since the first copy is copied again.
    SetAside,
    /// The private volume is set aside as it is, and the copy of the data to go back to takes its place.
    Exchange,
    /// The private volume is made ready for the new version.
    Volume,
    /// The new container is made, under a name of its own.
    Container,
    /// The old container gets another name, the new one gets its.
    Replace,
    /// The unit is written and enabled.
    Unit,
    /// The new version starts.
    Start,
    /// The new version's hook runs.
    PostHook,
    /// The new version stays up for a while.
    StaysUp,
    /// The record says so: from here on there is no way back.
    Record,
    /// The old container's writable layer goes into the store.
    KeepOld,
    /// The old container and its image leave the engine; what was set aside becomes the version before.
    LetGo,
    /// The container's writable layer becomes an image.
    Snapshot,
    /// The engine is told the limits.
    Limits,
    /// The unit is stopped for good and taken away.
    RemoveUnit,
    /// The container is removed.
    RemoveContainer,
    /// The image leaves the engine.
    RemoveImage,
    /// The private volume is removed.
    RemoveVolume,
    /// The record is removed.
    Forget,
    /// What nobody needs any more leaves the store.
    Sweep,
}

impl Step {
    /// The name in the journal, in `--dry-run` and of the fail points.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Load => "load",
            Self::PreHook => "pre_hook",
            Self::CopyAside => "copy_aside",
            Self::CopyBack => "copy_back",
            Self::Stop => "stop",
            Self::SetAside => "set_aside",
            Self::Exchange => "exchange",
            Self::Volume => "volume",
            Self::Container => "container",
            Self::Replace => "replace",
            Self::Unit => "unit",
            Self::Start => "start",
            Self::PostHook => "post_hook",
            Self::StaysUp => "stays_up",
            Self::Record => "record",
            Self::KeepOld => "keep_old",
            Self::LetGo => "let_go",
            Self::Snapshot => "snapshot",
            Self::Limits => "limits",
            Self::RemoveUnit => "remove_unit",
            Self::RemoveContainer => "remove_container",
            Self::RemoveImage => "remove_image",
            Self::RemoveVolume => "remove_volume",
            Self::Forget => "forget",
            Self::Sweep => "sweep",
        }
    }

    /// Whether an operation that has begun this step can only go forward.
    fn decides(self) -> bool {
        matches!(self, Self::Record | Self::RemoveUnit)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingest => "put the image into the store and check it",
            Self::Load => "load the image into the engine",
            Self::PreHook => "run hook/pre.sh in the old version",
            Self::CopyAside => "copy the private volume while the old version runs",
            Self::CopyBack => "copy the data to go back to while the present version runs",
            Self::Stop => "stop the old version",
            Self::SetAside => "set the private volume aside",
            Self::Exchange => "exchange the private volume for the data to go back to",
            Self::Volume => "make the private volume ready",
            Self::Container => "create the container",
            Self::Replace => "put the container in place",
            Self::Unit => "write and enable the unit",
            Self::Start => "start the unit",
            Self::PostHook => "run hook/post.sh in the new version",
            Self::StaysUp => "see that it stays up",
            Self::Record => "record it",
            Self::KeepOld => "keep the writable layer of the version before",
            Self::LetGo => "remove what is replaced from the engine",
            Self::Snapshot => "commit the container's writable layer",
            Self::Limits => "tell the engine the limits",
            Self::RemoveUnit => "stop and remove the unit",
            Self::RemoveContainer => "remove the container",
            Self::RemoveImage => "remove the image from the engine",
            Self::RemoveVolume => "remove the private volume",
            Self::Forget => "remove the record",
            Self::Sweep => "remove from the store what nobody needs",
        })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Install => "install",
            Self::Upgrade => "upgrade",
            Self::Uninstall => "uninstall",
            Self::Rollback => "rollback",
            Self::Save => "save",
            Self::Restore => "restore",
            Self::Resources => "resources",
        })
    }
}

/// The steps of an operation. What can be done before the old version stops is: as long as it is down, nobody serves.
pub fn plan(operation: Operation, facts: &Facts) -> Vec<Step> {
    let steps: Vec<(Step, bool)> = match operation {
        Operation::Install => always(&[
            Step::Ingest,
            Step::Load,
            Step::Container,
            Step::Volume,
            Step::Replace,
            Step::Unit,
            Step::Start,
            Step::StaysUp,
            Step::Record,
            Step::LetGo,
            Step::Sweep,
        ]),
        Operation::Upgrade => vec![
            (Step::Ingest, true),
            (Step::Load, true),
            (Step::PreHook, facts.hooks),
            (Step::Container, true),
            (Step::Unit, true),
            (Step::CopyAside, true),
            (Step::Stop, true),
            (Step::SetAside, true),
            (Step::Volume, true),
            (Step::Replace, true),
            (Step::Start, true),
            (Step::PostHook, facts.hooks),
            (Step::StaysUp, true),
            (Step::Record, true),
            (Step::KeepOld, true),
            (Step::LetGo, true),
            (Step::Sweep, true),
        ],
        Operation::Rollback => vec![
            (Step::Load, true),
            (Step::Container, true),
            (Step::Unit, true),
            // Data that stays may be written to by the version that is gone back to, and is set aside as for an upgrade.
            (Step::CopyAside, facts.keep_data),
            (Step::CopyBack, !facts.keep_data),
            (Step::Stop, true),
            (Step::SetAside, facts.keep_data),
            (Step::Exchange, !facts.keep_data),
            (Step::Volume, !facts.keep_data),
            (Step::Replace, true),
            (Step::Start, true),
            (Step::StaysUp, true),
            (Step::Record, true),
            (Step::KeepOld, true),
            (Step::LetGo, true),
            (Step::Sweep, true),
        ],
        Operation::Uninstall => vec![
            (Step::Stop, true),
            (Step::RemoveUnit, true),
            (Step::RemoveContainer, true),
            (Step::RemoveImage, true),
            (Step::RemoveVolume, facts.purge),
            (Step::Forget, true),
            (Step::Sweep, true),
        ],
        Operation::Save => always(&[Step::Snapshot, Step::Ingest, Step::Record, Step::LetGo, Step::Sweep]),
        Operation::Restore => vec![
            (Step::Load, true),
            (Step::Container, true),
            (Step::Stop, facts.older),
            (Step::Volume, true),
            (Step::Replace, true),
            (Step::Unit, true),
            (Step::Start, true),
            (Step::Record, true),
            (Step::KeepOld, facts.older),
            (Step::LetGo, true),
            (Step::Sweep, true),
        ],
        Operation::Resources => always(&[Step::Limits, Step::Record]),
    };
    steps.into_iter().filter_map(|(step, wanted)| wanted.then_some(step)).collect()
}

fn always(steps: &[Step]) -> Vec<(Step, bool)> {
    steps.iter().map(|step| (*step, true)).collect()
}

/// How far an operation has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Its steps.
    pub steps: Vec<Step>,
    /// So many of them are done.
    pub done: usize,
    /// The next one has begun: it may be done, or by half, or not at all.
    pub begun: bool,
}

impl Progress {
    /// Nothing has begun.
    pub fn new(steps: Vec<Step>) -> Self {
        Self { steps, done: 0, begun: false }
    }

    /// The next step.
    pub fn next(&self) -> Option<Step> {
        self.steps.get(self.done).copied()
    }

    /// Whether a step is done for sure.
    pub fn is_done(&self, step: Step) -> bool {
        self.steps.iter().take(self.done).any(|done| *done == step)
    }
}

/// What is to be done about an operation that was cut short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// These steps, to its end.
    Finish(Vec<Step>),
    /// The undoing of these steps, in this order.
    Undo(Vec<Step>),
}

/// What becomes of an operation that has come so far. The same holds for one that failed.
pub fn recover(progress: &Progress) -> Recovery {
    let begun = progress.done + usize::from(progress.begun);
    let begun = progress.steps.get(..begun).unwrap_or(&progress.steps);
    if begun.iter().any(|step| step.decides()) {
        return Recovery::Finish(progress.steps.get(progress.done..).unwrap_or_default().to_vec());
    }
    Recovery::Undo(begun.iter().rev().copied().collect())
}

#[cfg(test)]
mod tests;
