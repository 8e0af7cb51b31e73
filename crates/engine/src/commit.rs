//! Changes to a container that exists: its limits, its name, its writable layer made an image, a command run in it, a
//! part of its file system read.

use std::path::PathBuf;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error as Bollard;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{ContainerConfig, ContainerUpdateBody};
use bollard::query_parameters::{
    CommitContainerOptions, DownloadFromContainerOptions, InspectContainerOptions, RenameContainerOptions,
};
use futures_util::{Stream, StreamExt};
use switchyard_core::tpc::LABEL;
use switchyard_core::{ImageId, Repository, Tag};

use crate::{Engine, EngineError};

/// So much of what a command says is kept: the end of it, where the reason usually stands.
const OUTPUT_MAX: usize = 16 << 10;

/// Writing a large layer out takes the engine minutes on a slow disk.
const COMMIT_TIME_MAX: Duration = Duration::from_mins(30);

/// How a command in a container went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its exit code; none if it did not end in time.
    pub code: Option<i64>,
    /// The end of what it said.
    pub output: String,
}

impl Engine {
    /// Makes an image, with a name of its own, of a container as it is. The container is paused meanwhile. What is later
    /// run from that image is no third-party container by itself.
    pub async fn commit(
        &self,
        container: &str,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<ImageId, EngineError> {
        let options = CommitContainerOptions {
            container: Some(container.to_owned()),
            repo: Some(repository.to_string()),
            tag: Some(tag.to_string()),
            changes: Some(format!("LABEL {LABEL}=")),
            ..CommitContainerOptions::default()
        };
        let answer =
            self.patient(COMMIT_TIME_MAX).commit_container(options, ContainerConfig::default()).await;
        let id = answer.map_err(|error| self.error(container, error))?.id;
        ImageId::parse(&id).map_err(|error| EngineError::Refused {
            container: container.to_owned(),
            message: format!("it answered with no image id: {error}"),
        })
    }

    /// Gives a container another name.
    pub async fn rename(&self, container: &str, name: &str) -> Result<(), EngineError> {
        let options = RenameContainerOptions { name: name.to_owned() };
        self.docker.rename_container(container, options).await.map_err(|error| self.error(container, error))
    }

    /// Changes the limits of a container, whether it runs or not. No memory means that this limit stays as it is.
    pub async fn limit(
        &self,
        container: &str,
        nano_cpus: i64,
        memory: Option<u64>,
    ) -> Result<(), EngineError> {
        let memory = memory.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        let body = ContainerUpdateBody {
            nano_cpus: Some(nano_cpus),
            memory,
            // As much again of swap would make the limit mean nothing.
            memory_swap: memory,
            ..ContainerUpdateBody::default()
        };
        self.docker.update_container(container, body).await.map_err(|error| self.error(container, error))
    }

    /// Bytes of a container's writable layer. The engine walks through it for this.
    pub async fn layer_size(&self, container: &str) -> Result<Option<u64>, EngineError> {
        let options = InspectContainerOptions { size: true };
        let raw = self.docker.inspect_container(container, Some(options)).await;
        let size = raw.map_err(|error| self.error(container, error))?.size_rw;
        Ok(size.and_then(|bytes| u64::try_from(bytes).ok()))
    }

    /// The directories of its data root that a container's writable layer is in. None with a storage driver that mounts
    /// no overlay.
    pub async fn layer_directories(&self, container: &str) -> Result<Vec<PathBuf>, EngineError> {
        let raw = self.docker.inspect_container(container, None::<InspectContainerOptions>).await;
        let driver = raw.map_err(|error| self.error(container, error))?.graph_driver;
        let data = driver.map(|driver| driver.data).unwrap_or_default();
        Ok(["UpperDir", "WorkDir"].iter().filter_map(|key| data.get(*key)).map(PathBuf::from).collect())
    }

    /// Runs a command in a container that runs, for so long at most. A command that does not end in time goes on: the
    /// engine cannot end it alone, so the caller must stop the container.
    pub async fn execute(
        &self,
        container: &str,
        command: &[&str],
        time: Duration,
    ) -> Result<Executed, EngineError> {
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.to_vec()),
            ..CreateExecOptions::default()
        };
        let error = |error| self.error(container, error);
        let docker = self.patient(time);
        let id = docker.create_exec(container, options).await.map_err(error)?.id;
        let started = docker.start_exec(&id, None::<StartExecOptions>).await.map_err(error)?;
        let StartExecResults::Attached { output, .. } = started else {
            return Ok(Executed { code: None, output: String::new() });
        };
        let mut said = Vec::new();
        let read = tokio::time::timeout(time, collect(output, &mut said)).await;
        let output = String::from_utf8_lossy(&said).trim_end().to_owned();
        match read {
            Err(_) => Ok(Executed { code: None, output }),
            Ok(Err(source)) => Err(error(source)),
            // The output ends when the command does, or has closed it; only the engine knows which.
            Ok(Ok(())) => {
                let ended = docker.inspect_exec(&id).await.map_err(error)?;
                Ok(Executed { code: ended.exit_code, output })
            }
        }
    }

    /// A file or directory of a container as a tar archive, in pieces; nothing if there is none at this path. Of a
    /// container without mounts this is what its image has there.
    pub async fn read_out(
        &self,
        container: &str,
        path: &str,
    ) -> Result<Option<impl Stream<Item = Result<Vec<u8>, EngineError>> + use<>>, EngineError> {
        let options = DownloadFromContainerOptions { path: path.to_owned() };
        let mut pieces = Box::pin(self.docker.download_from_container(container, Some(options)));
        let first = match pieces.next().await {
            None | Some(Err(Bollard::DockerResponseServerError { status_code: 404, .. })) => return Ok(None),
            Some(first) => first,
        };
        let (engine, about) = (self.clone(), container.to_owned());
        let pieces = futures_util::stream::iter([first]).chain(pieces);
        Ok(Some(pieces.map(move |piece| {
            piece.map(|bytes| bytes.to_vec()).map_err(|error| engine.error(&about, error))
        })))
    }
}

async fn collect(
    mut output: impl Stream<Item = Result<LogOutput, Bollard>> + Unpin,
    said: &mut Vec<u8>,
) -> Result<(), Bollard> {
    while let Some(piece) = output.next().await {
        said.extend_from_slice(&piece?.into_bytes());
        if said.len() > 2 * OUTPUT_MAX {
            said.drain(..said.len() - OUTPUT_MAX);
        }
    }
    Ok(())
}
