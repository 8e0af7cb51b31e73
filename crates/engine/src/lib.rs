//! The container engine of a switch, spoken to through the Docker Engine API.
//!
//! Only does what it is told and reports what is; who may run is `core`'s to say. A container that Kubernetes
//! started is found by the labels that the kubelet gives it, never by a part of its name.

mod archive;
mod commit;
mod containers;
mod create;
mod error;
mod events;
mod images;
mod pods;
mod pull;

pub use archive::{PipeReader, PipeWriter, Saved, pipe};
pub use commit::Executed;
pub use containers::{Container, Ended, Labelled, Made};
pub use create::NewContainer;
pub use error::EngineError;
pub use images::Removal;
pub use pull::{LoginError, PullError, Pulled, RegistryLogin, docker_config};

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::{ClientVersion, Docker};

/// Where every Docker engine listens.
pub const SOCKET: &str = "/var/run/docker.sock";

/// How long the engine may take for anything that does not wait on a payload. A container at its memory limit makes
/// the engine hang for good (buildimage #10008): a caller must get its answer all the same.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);

/// How long loading or saving images may take until the engine says its first word, which it does after it has read all
/// of the archive: a gigabyte over a slow network onto a slow disk.
const LOAD_TIMEOUT: Duration = Duration::from_hours(1);

/// The API version that every engine since Docker 20.10 understands; newer engines that dropped it are asked which
/// they want.
const API_VERSION: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };

/// A connection to the engine. Nothing is sent before the first question.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: Docker,
    socket: PathBuf,
}

impl Engine {
    /// The engine behind a Unix socket.
    pub fn connect(socket: &Path) -> Result<Self, EngineError> {
        let text = socket.to_string_lossy();
        let docker = Docker::connect_with_unix(&text, CALL_TIMEOUT.as_secs(), &API_VERSION)
            .map_err(|error| EngineError::from_bollard(socket, "", error))?;
        Ok(Self { docker, socket: socket.to_owned() })
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Result<(), EngineError> {
        self.docker.ping().await.map(drop).map_err(|error| self.error("", error))
    }

    /// How it keeps containers apart: `cgroupfs` or `systemd`.
    pub async fn cgroup_driver(&self) -> Result<String, EngineError> {
        let info = self.docker.info().await.map_err(|error| self.error("", error))?;
        Ok(info.cgroup_driver.map(|driver| driver.to_string()).unwrap_or_default())
    }

    /// The directory that it keeps images and containers in.
    pub async fn data_root(&self) -> Result<PathBuf, EngineError> {
        let info = self.docker.info().await.map_err(|error| self.error("", error))?;
        Ok(info.docker_root_dir.map(PathBuf::from).unwrap_or_default())
    }

    fn patient(&self, wait: Duration) -> Docker {
        self.docker.clone().with_timeout(CALL_TIMEOUT + wait)
    }

    fn error(&self, container: &str, error: bollard::errors::Error) -> EngineError {
        EngineError::from_bollard(&self.socket, container, error)
    }

    /// Asks an engine that refused our API version for its own. True if it is worth asking again.
    async fn agreed_on_version(&mut self, error: &EngineError) -> bool {
        if !matches!(error, EngineError::Version(_)) {
            return false;
        }
        match self.docker.clone().negotiate_version().await {
            Ok(docker) => {
                self.docker = docker;
                true
            }
            Err(_) => false,
        }
    }
}
