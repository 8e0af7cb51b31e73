//! What can go wrong on the host side, one line each: the thing, and the way out.

use std::io;
use std::path::PathBuf;

use switchyard_core::{Refusal, ResolveError};
use switchyard_engine::EngineError;
use switchyard_sonic::SonicError;

/// Something that could not be found out or carried out.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A database, a file of SONiC's or systemd.
    #[error(transparent)]
    Sonic(#[from] SonicError),
    /// The container engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A name that stands for nothing.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The core says no.
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// Others kept getting ahead.
    #[error("the row of {0} changed {1} times while it was being decided on; try again")]
    Restless(String, usize),
    /// A copy that was stopped and killed still runs.
    #[error("container {container} does not end: {process}; nobody else runs the feature until it has ended")]
    LivesOn {
        /// Which one, as the engine calls it.
        container: String,
        /// Its process and that one's state.
        process: String,
    },
    /// A pod does not let go of the track.
    #[error("{0}")]
    TrackHeld(String),
    /// A file of ours.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was to be done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}
