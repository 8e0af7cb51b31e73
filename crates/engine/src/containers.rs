//! One container: what it is, and starting, stopping, killing and waiting for it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use bollard::errors::Error as Bollard;
use bollard::models::{ContainerInspectResponse, ContainerSummary, MountPoint};
use bollard::query_parameters::{
    InspectContainerOptions, KillContainerOptions, ListContainersOptions, RemoveContainerOptions,
    StartContainerOptions, StopContainerOptions, WaitContainerOptions,
};
use futures_util::StreamExt;
use switchyard_core::{ContainerId, ImageId, Version};

use crate::images::version_in;
use crate::{Engine, EngineError};

/// Docker's own grace between SIGTERM and SIGKILL when none is given.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// A container as the engine describes it.
#[derive(Debug, Clone)]
pub struct Container {
    /// Its full id.
    pub id: ContainerId,
    /// Does it run now?
    pub running: bool,
    /// Is it held still, by whoever asked for that or while it is committed?
    pub paused: bool,
    /// The process id of its first process, as the host sees it.
    pub pid: Option<i64>,
    /// When it last began to run, RFC 3339.
    pub started_at: Option<String>,
    /// When it last ended, RFC 3339.
    pub finished_at: Option<String>,
    /// The code it last ended with.
    pub exit_code: Option<i64>,
    /// It was killed for its memory.
    pub out_of_memory: bool,
    /// The name of the image it was made from.
    pub image: Option<String>,
    /// The id of that image, which its name may have left since.
    pub image_id: Option<ImageId>,
    /// `IMAGE_VERSION` of its environment.
    pub version: Option<Version>,
    /// Its labels.
    pub labels: HashMap<String, String>,
}

/// A container that bears a label.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The id of the image it was made from.
    pub image: Option<ImageId>,
    /// Its labels.
    pub labels: HashMap<String, String>,
}

/// What of the host a container was made for. The engine resolves it anew at every start.
#[derive(Debug, Clone)]
pub struct Made {
    /// The host's paths that are mounted into it, each with the path inside.
    pub binds: Vec<(PathBuf, PathBuf)>,
    /// The group that its own is in.
    pub cgroup_parent: String,
}

/// How a container's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The code of its first process; 128 plus the signal if one ended it.
    pub code: i64,
}

impl Ended {
    const KILLED: i64 = 128 + 9;
    const TERMINATED: i64 = 128 + 15;

    /// Whether it ended as one that was asked to: by itself without a complaint, or by our signal.
    pub fn in_order(self) -> bool {
        matches!(self.code, 0 | Self::KILLED | Self::TERMINATED)
    }
}

impl Engine {
    /// The container with this id or exact name; nothing if there is none.
    pub async fn container(&mut self, id: &str) -> Result<Option<Container>, EngineError> {
        let answer = match self.inspect(id).await {
            Err(error) if self.agreed_on_version(&error).await => self.inspect(id).await,
            answer => answer,
        };
        match answer {
            Ok(raw) => Ok(describe(raw)),
            Err(EngineError::NoSuchContainer(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The engine's whole description, for people and scripts.
    pub async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse, EngineError> {
        self.docker
            .inspect_container(id, None::<InspectContainerOptions>)
            .await
            .map_err(|error| self.error(id, error))
    }

    /// What of the host a container was made for.
    pub async fn made(&self, id: &str) -> Result<Made, EngineError> {
        let found = self.inspect(id).await?;
        let cgroup_parent = found.host_config.and_then(|host| host.cgroup_parent).unwrap_or_default();
        Ok(Made { binds: binds_of(found.mounts), cgroup_parent })
    }

    /// All containers, running or not, that bear a label of this name.
    pub async fn labelled(&self, label: &str) -> Result<Vec<Labelled>, EngineError> {
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), vec![label.to_owned()])])),
            ..ListContainersOptions::default()
        };
        let listed =
            self.docker.list_containers(Some(options)).await.map_err(|error| self.error("", error))?;
        let describe = |summary: ContainerSummary| Labelled {
            name: name_of(&summary).to_owned(),
            image: summary.image_id.and_then(|id| ImageId::parse(&id).ok()),
            id: summary.id.unwrap_or_default(),
            labels: summary.labels.unwrap_or_default(),
        };
        Ok(listed.into_iter().map(describe).collect())
    }

    /// Starts a container that exists. One that runs already is as asked.
    pub async fn start(&self, id: &str) -> Result<(), EngineError> {
        self.docker
            .start_container(id, None::<StartContainerOptions>)
            .await
            .map_err(|error| self.error(id, error))
    }

    /// Asks a container to end and kills it after the grace. One that is gone, or was not running, is as asked.
    pub async fn stop(&self, id: &str, grace: Option<Duration>) -> Result<(), EngineError> {
        let seconds = grace.map(|grace| i32::try_from(grace.as_secs()).unwrap_or(i32::MAX));
        let options = StopContainerOptions { t: seconds, signal: None };
        let docker = self.patient(grace.unwrap_or(DEFAULT_GRACE));
        gone_is_fine(docker.stop_container(id, Some(options)).await.map_err(|error| self.error(id, error)))
    }

    /// Kills a container at once. One that is gone, or was not running, is as asked.
    pub async fn kill(&self, id: &str) -> Result<(), EngineError> {
        let killed =
            self.docker.kill_container(id, Some(KillContainerOptions { signal: "SIGKILL".to_owned() })).await;
        match killed {
            // "Not running" is a conflict to the engine.
            Err(Bollard::DockerResponseServerError { status_code: 409, .. }) => Ok(()),
            killed => gone_is_fine(killed.map_err(|error| self.error(id, error))),
        }
    }

    /// Removes a container that does not run. One that is gone, or is being removed by somebody else, is as asked.
    pub async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let removed = self.docker.remove_container(id, None::<RemoveContainerOptions>).await;
        match removed {
            Err(Bollard::DockerResponseServerError { status_code: 409, message })
                if message.contains("already in progress") =>
            {
                let options = WaitContainerOptions { condition: "removed".to_owned() };
                // However that ends, who asks next finds out.
                let _ = self.docker.wait_container(id, Some(options)).next().await;
                Ok(())
            }
            removed => gone_is_fine(removed.map_err(|error| self.error(id, error))),
        }
    }

    /// Returns when the container does not run. An error says that this cannot be told, not that it ended.
    pub async fn wait_end(&self, id: &str) -> Result<Ended, EngineError> {
        // The engine sends its header at once and the answer at the end, so the call's own limit does not cut it.
        let options = WaitContainerOptions { condition: "not-running".to_owned() };
        match self.docker.wait_container(id, Some(options)).next().await {
            Some(Ok(answer)) => Ok(Ended { code: answer.status_code }),
            Some(Err(Bollard::DockerContainerWaitError { code, .. })) => Ok(Ended { code }),
            Some(Err(error)) => Err(self.error(id, error)),
            None => Err(EngineError::Unreachable {
                socket: self.socket.clone(),
                cause: "the connection ended before the container did".to_owned(),
            }),
        }
    }
}

fn binds_of(mounts: Option<Vec<MountPoint>>) -> Vec<(PathBuf, PathBuf)> {
    let mounts = mounts.unwrap_or_default().into_iter();
    let binds = mounts.filter(|mount| mount.typ.as_deref() == Some("bind"));
    binds.filter_map(|mount| Some((mount.source?.into(), mount.destination?.into()))).collect()
}

/// A container that another one is linked to has a second name, with the other's in it.
pub(crate) fn name_of(summary: &ContainerSummary) -> &str {
    let mut names = summary.names.iter().flatten().filter_map(|name| name.strip_prefix('/'));
    names.find(|name| !name.contains('/')).unwrap_or_default()
}

fn gone_is_fine(result: Result<(), EngineError>) -> Result<(), EngineError> {
    match result {
        Err(EngineError::NoSuchContainer(_)) => Ok(()),
        result => result,
    }
}

fn describe(raw: ContainerInspectResponse) -> Option<Container> {
    let state = raw.state.unwrap_or_default();
    let config = raw.config.unwrap_or_default();
    let version = version_in(&config.env.unwrap_or_default());
    Some(Container {
        id: ContainerId::parse(raw.id.as_deref()?).ok()?,
        running: state.running.unwrap_or_default(),
        paused: state.paused.unwrap_or_default(),
        pid: state.pid.filter(|pid| *pid > 0),
        started_at: state.started_at.filter(|at| happened(at)),
        finished_at: state.finished_at.filter(|at| happened(at)),
        exit_code: state.exit_code,
        out_of_memory: state.oom_killed.unwrap_or_default(),
        image: config.image,
        image_id: raw.image.and_then(|id| ImageId::parse(&id).ok()),
        version,
        labels: config.labels.unwrap_or_default(),
    })
}

/// The engine writes the year 1 for what has not happened yet.
fn happened(at: &str) -> bool {
    !at.starts_with("0001-")
}
