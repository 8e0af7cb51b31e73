//! Every way in which a command can fail, with the exit code it bears. One line each: the thing, and the way out.

use std::io;
use std::path::PathBuf;

use switchyard_core::{NameError, Refusal, ResolveError};
use switchyard_engine::EngineError;
use switchyard_generator as generator;
use switchyard_host::HostError;
use switchyard_sonic::{RowError, SonicError};
use switchyard_tpc::ops::OpsError;

use crate::tpcm;

/// A command that could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Sonic(#[from] SonicError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Refusal(#[from] Refusal),
    #[error(transparent)]
    Row(#[from] RowError),
    #[error("there is no feature {0:?} on this switch and no container of that name; see: container list")]
    NoSuchFeature(String),
    #[error("no copy of {0} is recorded as running; see: system service status {0}")]
    NotRunning(String),
    #[error(transparent)]
    Restless(HostError),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    TooLate(String),
    #[error("{0} failed: {1}")]
    Failed(String, String),
    #[error("cannot {action} {path}: {source}")]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{program}: cannot be run: {source}")]
    Exec { program: String, source: io::Error },
    #[error(transparent)]
    Generate(#[from] generator::GenerateError),
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Tpc(#[from] OpsError),
    #[error("{0}")]
    NotConfirmed(String),
    #[error("{0} is for root alone, and nothing was done; put sudo before it")]
    NotRoot(&'static str),
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
}

impl From<HostError> for CliError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Sonic(error) => Self::Sonic(error),
            HostError::Engine(error) => Self::Engine(error),
            HostError::Resolve(error) => Self::Resolve(error),
            HostError::Refusal(error) => Self::Refusal(error),
            error @ HostError::LivesOn { .. } => Self::TooLate(error.to_string()),
            HostError::TrackHeld(text) => Self::TooLate(text),
            HostError::File { action, path, source } => Self::File { action, path, source },
            HostError::Restless(..) => Self::Restless(error),
        }
    }
}

impl CliError {
    /// The exit code that `--help` promises for it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(..) | Self::Restless(_) | Self::Signals(_) | Self::Generate(_) => 1,
            Self::Name(_) | Self::Usage(_) | Self::Resolve(_) => 2,
            Self::NoSuchFeature(_) | Self::NotRunning(_) | Self::Engine(EngineError::NoSuchContainer(_)) => 3,
            Self::Tpc(error) => tpcm::exit_code(error),
            Self::Refusal(Refusal::NoContainer(_)) | Self::NotConfirmed(_) => 4,
            Self::NotRoot(_) | Self::Engine(EngineError::Denied(_)) => 5,
            Self::File { source, .. } | Self::Exec { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => 5,
                _ => 1,
            },
            Self::Sonic(error) => sonic_code(error),
            Self::Engine(_) => 7,
            Self::Refused(_) => 8,
            Self::TooLate(_) => 9,
            Self::Row(_) => 10,
        }
    }
}

/// Rights are told apart from faults: the way out is another.
pub(crate) fn sonic_code(error: &SonicError) -> u8 {
    match error {
        SonicError::RedisDenied { .. } | SonicError::BusDenied { .. } => 5,
        SonicError::FileUnreadable { source, .. } | SonicError::FileUnwritable { source, .. }
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            5
        }
        SonicError::NoSuchUnit { .. } => 3,
        SonicError::UnitMasked { .. } => 8,
        SonicError::TimedOut { .. } => 9,
        SonicError::Row(_) => 10,
        SonicError::BusUnreachable { .. } | SonicError::BusRefused { .. } => 1,
        SonicError::FileMissing { .. }
        | SonicError::FileUnreadable { .. }
        | SonicError::FileUnwritable { .. }
        | SonicError::FileBroken { .. }
        | SonicError::UnknownDatabase { .. }
        | SonicError::NoSuchNamespace { .. }
        | SonicError::RedisUnreachable { .. }
        | SonicError::RedisRefused { .. }
        | SonicError::ConnectionEnded { .. } => 6,
    }
}
