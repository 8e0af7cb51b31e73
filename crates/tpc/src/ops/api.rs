//! What is asked for and what is answered: plain values that the command line prints as they are.

use std::path::PathBuf;

use serde::Serialize;
use switchyard_core::tpc::{Asked, Limits, Operation, Source, Step, TpcName};
use switchyard_core::{FeatureName, ImageId};

use super::record::Happened;
use crate::fetch::{Login, Sha256, known_hosts};

/// Where an image comes from, and how it is got.
#[derive(Debug, Clone)]
pub struct SourceRequest {
    /// From where.
    pub source: Source,
    /// What the file, or the registry's manifest, must be.
    pub sha256: Option<Sha256>,
    /// The interface that connections are bound to.
    pub interface: Option<String>,
    /// The authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// Whether any certificate will do.
    pub insecure: bool,
    /// As whom to log in at a registry.
    pub username: Option<String>,
    /// What to log in with.
    pub login: Login,
    /// Where SSH servers' keys are kept.
    pub known_hosts: Vec<PathBuf>,
}

impl SourceRequest {
    /// Nothing is said but where it is.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            sha256: None,
            interface: None,
            ca: None,
            insecure: false,
            username: None,
            login: Login::default(),
            known_hosts: known_hosts(),
        }
    }
}

/// What an installation or upgrade may say besides name and source. What an upgrade does not say stays.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The text of `--args`, checked here.
    pub args: Option<String>,
    /// Limits.
    pub limits: Asked,
    /// Features that are to be started before it.
    pub after: Option<Vec<FeatureName>>,
    /// Whether `/tpc_shared` is mounted.
    pub shared: Option<bool>,
}

/// A TPC that is to come onto the switch.
#[derive(Debug)]
pub struct InstallRequest {
    /// What it is to be called.
    pub name: TpcName,
    /// Where its image comes from.
    pub source: SourceRequest,
    /// The rest.
    pub options: Options,
}

/// Another version for a TPC.
#[derive(Debug)]
pub struct UpgradeRequest {
    /// Which TPC.
    pub name: TpcName,
    /// Where the new image comes from.
    pub source: SourceRequest,
    /// What else changes.
    pub options: Options,
    /// Neither hooks nor `backup/data.tar.gz`.
    pub skip_data: bool,
}

/// What was done, or with a dry run what would be.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Which TPC.
    pub name: TpcName,
    /// What was asked for.
    pub operation: Operation,
    /// False for a dry run.
    pub done: bool,
    /// The steps.
    pub steps: Vec<Step>,
    /// What an operator should know: that data was kept, that a partition is small, that a hook said something.
    pub messages: Vec<String>,
    /// How long the TPC was down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_milliseconds: Option<u64>,
}

/// How it is with a TPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It runs.
    Running,
    /// It does not run, and is not to.
    Stopped,
    /// It is to run, and does not.
    Failed,
    /// Its container is not on this SONiC image yet.
    NotRestored,
    /// An operation was interrupted; the next command, or `tpcm recover`, finishes or undoes it.
    Interrupted,
    /// Neither the new version nor the old one could be put in order: a person is needed.
    Inconsistent,
}

/// One line of `tpcm list`.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Its name.
    pub name: TpcName,
    /// How it is.
    pub state: State,
    /// Since when, as systemd or the engine says, RFC 3339.
    pub since: Option<String>,
    /// Why it is not simply running.
    pub reason: Option<String>,
    /// Where its image came from, without secrets.
    pub source: String,
    /// Its image.
    pub image: String,
    /// `IMAGE_VERSION`, or the version label, of its image.
    pub version: Option<String>,
    /// What it may have.
    pub limits: Limits,
}

/// `tpcm show`.
#[derive(Debug, Clone, Serialize)]
pub struct Details {
    /// The line of the list.
    #[serde(flatten)]
    pub summary: Summary,
    /// What its registry, or the sum of its file, calls the image; else the image's id.
    pub digest: Option<String>,
    /// The text of `--args`.
    pub args: String,
    /// The features that start before it.
    pub after: Vec<FeatureName>,
    /// Whether `/tpc_shared` is mounted.
    pub shared: bool,
    /// The container.
    pub container: Option<String>,
    /// When its writable layer was last saved.
    pub saved: Option<String>,
    /// The version before, to which `tpcm rollback` goes.
    pub before: Option<Before>,
    /// Containers' states of other SONiC images that are kept in the store until `tpcm prune`.
    pub older: Vec<Older>,
    /// What of the limits is used, and what they did to it.
    pub usage: Usage,
    /// Its life, oldest first.
    pub history: Vec<Happened>,
    /// Its private volume.
    pub volume: String,
    /// Bytes of the store that its images need, those shared with other TPCs included.
    pub stored: u64,
}

/// A version that can be gone back to.
#[derive(Debug, Clone, Serialize)]
pub struct Before {
    /// Where its image came from.
    pub source: String,
    /// Its image.
    pub image: String,
    /// Its version.
    pub version: Option<String>,
}

/// An older state that is kept.
#[derive(Debug, Clone, Serialize)]
pub struct Older {
    /// Since when it is kept.
    pub at: String,
    /// Its image, writable layer included.
    pub image: String,
}

/// How much is used, from the cgroup's own files and the file system.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Usage {
    /// Bytes of memory now.
    pub memory: Option<u64>,
    /// Bytes of memory at most since its start.
    pub memory_peak: Option<u64>,
    /// How often it was killed for its memory since its start.
    pub oom_kills: Option<u64>,
    /// Periods of time in which it wanted to run.
    pub periods: Option<u64>,
    /// How many of them it was held back in.
    pub throttled: Option<u64>,
    /// Processor time since its start, in microseconds.
    pub cpu_microseconds: Option<u64>,
    /// Bytes of its private volume.
    pub volume: u64,
    /// Bytes of its writable layer.
    pub layer: Option<u64>,
    /// How its disk limit is kept.
    pub disk_enforced: &'static str,
    /// What its limits do to it, one line each.
    pub remarks: Vec<String>,
}

/// What `tpcm verify` found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verified {
    /// How many files of the store were read and compared: layers, and two for each image.
    pub blobs: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// What is wrong, one line each. None: all is well.
    pub problems: Vec<String>,
}

/// What `tpcm prune` removed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Pruned {
    /// Older states and versions, and downloads that were cut off: one line each.
    pub let_go: Vec<String>,
    /// Downloads among them.
    pub downloads: u64,
    /// Blobs removed from the store.
    pub blobs: u64,
    /// Bytes that became free.
    pub bytes: u64,
}

/// What `tpcm recover` did, or would do, about an operation that was cut short.
#[derive(Debug, Clone, Serialize)]
pub struct Recovered {
    /// Which TPC.
    pub name: TpcName,
    /// What had been going on.
    pub operation: Operation,
    /// True: it was finished. False: it was undone.
    pub finished: bool,
    /// False: this is the plan, nothing was done.
    pub done: bool,
}

/// An image's first digits, as people see it.
pub(crate) fn short(image: &ImageId) -> String {
    image.short().to_owned()
}
