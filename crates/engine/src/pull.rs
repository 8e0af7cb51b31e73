//! An image from a registry: its name resolved to a digest, and pulled by that digest, so that no name from outside
//! ever appears on the engine beside SONiC's own.

mod login;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::errors::Error as Bollard;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;
use switchyard_core::tpc::Reference;
use switchyard_core::{Digest, ImageId, ImageName};

pub use login::{LoginError, RegistryLogin, docker_config};

use crate::{Engine, EngineError};

/// A registry that answers nothing for so long is given up. Unpacking a large layer is told on the way.
const STALL_MAX: Duration = Duration::from_mins(5);

/// Why an image could not be had from a registry.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The engine itself.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The registry does not have it.
    #[error("there is no image {0} in its registry")]
    NotFound(String),
    /// The registry does not give it to us.
    #[error("the registry {registry} does not give {image} without another login{hint}")]
    Login {
        /// The registry.
        registry: String,
        /// The image.
        image: String,
        /// What to do.
        hint: &'static str,
    },
    /// Nobody there.
    #[error("the registry {registry} cannot be reached: {cause}")]
    Unreachable {
        /// The registry.
        registry: String,
        /// The engine's words.
        cause: String,
    },
    /// It is not who it should be.
    #[error(
        "the TLS certificate of the registry {registry} is not accepted: {cause}; its authority belongs into /etc/docker/certs.d/{registry}/ca.crt"
    )]
    Certificate {
        /// The registry.
        registry: String,
        /// The engine's words.
        cause: String,
    },
    /// Nothing came any more.
    #[error("the registry {registry} stalls: nothing came within {} s", STALL_MAX.as_secs())]
    Stalled {
        /// The registry.
        registry: String,
    },
    /// The disk is full.
    #[error("there is no space for {image}: {cause}")]
    NoSpace {
        /// The image.
        image: String,
        /// The engine's words.
        cause: String,
    },
    /// The caller did not want it any more.
    #[error("{0} is pulled no further")]
    GivenUp(String),
    /// Something else.
    #[error("{image} cannot be pulled: {cause}")]
    Failed {
        /// The image.
        image: String,
        /// The engine's words.
        cause: String,
    },
}

/// An image that was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// What the engine calls it.
    pub id: ImageId,
    /// What the registry calls it, by which it can be pulled again and let go.
    pub name: ImageName,
}

impl Engine {
    /// What an image in a registry is at this moment.
    pub async fn resolve(
        &self,
        image: &Reference,
        login: Option<&RegistryLogin>,
    ) -> Result<Digest, PullError> {
        if let Some(digest) = image.digest() {
            return Ok(digest.clone());
        }
        let tag = image.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
        let name = format!("{}{tag}", image.repository());
        let credentials = login.map(|login| login.credentials(image));
        let answer = self.docker.inspect_registry_image(&name, credentials).await;
        let answer = answer.map_err(|error| self.pull_error(image, login, error))?;
        let digest = answer.descriptor.digest.unwrap_or_default();
        Digest::parse(&digest)
            .map_err(|error| PullError::Failed { image: image.to_string(), cause: error.to_string() })
    }

    /// Pulls what [`Engine::resolve`] told. `progress` gets the bytes that came and, as far as it is known, that will; it
    /// may have it given up. The engine tells of no size before it has begun to fetch a layer, a few of them at once.
    pub async fn pull(
        &self,
        image: &Reference,
        digest: &Digest,
        login: Option<&RegistryLogin>,
        progress: &mut (dyn FnMut(u64, u64) -> ControlFlow<()> + Send),
    ) -> Result<Pulled, PullError> {
        let name = ImageName::Pinned(image.repository().clone(), digest.clone());
        let options =
            CreateImageOptions { from_image: Some(name.to_string()), ..CreateImageOptions::default() };
        let credentials: Option<DockerCredentials> = login.map(|login| login.credentials(image));
        let docker: Docker = self.patient(STALL_MAX);
        let mut told = Box::pin(docker.create_image(Some(options), None, credentials));
        let mut layers = HashMap::new();
        loop {
            let next = tokio::time::timeout(STALL_MAX, told.next())
                .await
                .map_err(|_| PullError::Stalled { registry: image.registry().to_owned() })?;
            let Some(info) = next else { break };
            let info = info.map_err(|error| self.pull_error(image, login, error))?;
            if count(&mut layers, info) {
                let sum = layers
                    .values()
                    .fold((0, 0), |sum: (u64, u64), layer: &(u64, u64)| (sum.0 + layer.0, sum.1 + layer.1));
                if progress(sum.0, sum.1).is_break() {
                    return Err(PullError::GivenUp(image.to_string()));
                }
            }
        }
        let inspected = self.docker.inspect_image(&name.to_string()).await;
        let inspected = inspected.map_err(|error| self.pull_error(image, login, error))?;
        let id = ImageId::parse(&inspected.id.unwrap_or_default());
        let id =
            id.map_err(|error| PullError::Failed { image: image.to_string(), cause: error.to_string() })?;
        Ok(Pulled { id, name })
    }

    fn pull_error(&self, image: &Reference, login: Option<&RegistryLogin>, error: Bollard) -> PullError {
        let (status, message) = match error {
            Bollard::DockerResponseServerError { status_code, message } => (status_code, message),
            Bollard::DockerStreamError { error } => (0, error),
            other => return PullError::Engine(self.error("", other)),
        };
        told(image, login.is_some(), status, &message)
    }
}

/// Notes what the engine tells of a layer that comes. Unpacking counts in the same bytes once more and is left out.
fn count(layers: &mut HashMap<String, (u64, u64)>, info: CreateImageInfo) -> bool {
    let (Some(id), Some(detail)) = (info.id, info.progress_detail) else { return false };
    if info.status.as_deref() != Some("Downloading") {
        return false;
    }
    let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).unwrap_or_default();
    layers.insert(id, (number(detail.current), number(detail.total)));
    true
}

/// Tells apart by the engine's words what it gives one code.
fn told(image: &Reference, has_login: bool, status: u16, message: &str) -> PullError {
    let cause: String = message.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
    let registry = image.registry().to_owned();
    let has = |words: &[&str]| words.iter().any(|word| cause.contains(word));
    if has(&["no space left", "disk quota exceeded"]) {
        return PullError::NoSpace { image: image.to_string(), cause };
    }
    if has(&["x509:", "certificate", "server gave HTTP response to HTTPS client"]) {
        return PullError::Certificate { registry, cause };
    }
    // Docker's own registry answers so for an image that is not there, so that nobody learns which there are.
    if matches!(status, 401 | 403)
        || has(&["unauthorized", "denied", "authentication required", "no basic auth"])
    {
        let hint = if has_login {
            ": the one that was given is refused"
        } else {
            "; give one with --username and --password-stdin"
        };
        return PullError::Login { registry, image: image.to_string(), hint };
    }
    if status == 404 || has(&["manifest unknown", "name unknown", "not found: ", "repository does not exist"])
    {
        return PullError::NotFound(image.to_string());
    }
    if has(&[
        "no such host",
        "connection refused",
        "i/o timeout",
        "no route to host",
        "network is unreachable",
    ]) || has(&["request canceled", "Client.Timeout", "server misbehaving", "connection reset", "EOF"])
    {
        return PullError::Unreachable { registry, cause };
    }
    PullError::Failed { image: image.to_string(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_refuses_is_told_apart() {
        let image = Reference::parse("r.example.com/nginx:1").unwrap();
        let told = |status, message| told(&image, false, status, message);
        assert!(matches!(told(404, "manifest unknown: manifest unknown"), PullError::NotFound(_)));
        assert!(matches!(
            told(500, "Get \"https://r/v2/\": no basic auth credentials"),
            PullError::Login { .. }
        ));
        assert!(matches!(told(401, "unauthorized: x"), PullError::Login { .. }));
        assert!(matches!(told(500, "dial tcp: lookup r: no such host"), PullError::Unreachable { .. }));
        assert!(matches!(told(500, "tls: x509: certificate signed by"), PullError::Certificate { .. }));
        assert!(matches!(told(0, "write /x: no space left on device"), PullError::NoSpace { .. }));
        let other = told(500, "what\never").to_string();
        assert!(other.contains("what ever") && !other.contains('\n'), "{other}");
    }

    #[test]
    fn only_what_comes_is_counted() {
        let info = |id: &str, status: &str, current| CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: Some(bollard::models::ProgressDetail {
                current: Some(current),
                total: Some(100),
            }),
            ..CreateImageInfo::default()
        };
        let mut layers = HashMap::new();
        assert!(count(&mut layers, info("a", "Downloading", 10)));
        assert!(count(&mut layers, info("a", "Downloading", 60)));
        assert!(count(&mut layers, info("b", "Downloading", -1)));
        assert!(!count(&mut layers, info("a", "Extracting", 5)));
        assert_eq!((layers["a"], layers["b"]), ((60, 100), (0, 100)));
    }
}
