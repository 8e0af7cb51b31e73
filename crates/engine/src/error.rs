//! What can go wrong with the engine, told apart by what the caller should do about it.

use std::io;
use std::path::{Path, PathBuf};

use bollard::errors::Error as Bollard;

/// An engine call that failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody answers: passing, worth another try.
    #[error("the Docker engine does not answer on {socket}: {cause}; see: systemctl status docker")]
    Unreachable {
        /// Where it should listen.
        socket: PathBuf,
        /// What the connection said.
        cause: String,
    },
    /// The caller may not talk to it.
    #[error("no permission for {0}: run as root or as a member of group docker")]
    Denied(PathBuf),
    /// It answered late. About which container, if it was asked about one.
    #[error("the Docker engine did not answer in time{}; see: systemctl status docker", about(.0))]
    TimedOut(String),
    /// There is no such container.
    #[error("there is no container {0:?} on the Docker engine")]
    NoSuchContainer(String),
    /// Another container has that name, or is just being made under it.
    #[error("the Docker engine has another container {0:?}")]
    NameTaken(String),
    /// There is no such image.
    #[error("there is no image {0} on the Docker engine")]
    NoSuchImage(String),
    /// It speaks another version of the protocol.
    #[error("the Docker engine refused our API version: {0}")]
    Version(String),
    /// It refused.
    #[error("the Docker engine refused{}: {message}", about(container))]
    Refused {
        /// About which container, if it was asked about one.
        container: String,
        /// Its words.
        message: String,
    },
}

impl EngineError {
    /// Whether the engine is merely away: what runs may still run.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut(_))
    }

    pub(crate) fn from_bollard(socket: &Path, container: &str, error: Bollard) -> Self {
        match error {
            // A container that lives in the network of another one cannot start without that one: the engine answers
            // with the same code and the other's name.
            Bollard::DockerResponseServerError { status_code: 404, message }
                if !message.contains("No such container: ") || message.contains(container) =>
            {
                Self::NoSuchContainer(container.to_owned())
            }
            Bollard::DockerResponseServerError { status_code: 400, message }
                if message.contains("client version") =>
            {
                Self::Version(message)
            }
            Bollard::DockerResponseServerError { message, .. } => {
                Self::Refused { container: container.to_owned(), message: one_line(&message) }
            }
            Bollard::RequestTimeoutError => Self::TimedOut(container.to_owned()),
            other if denied(&other) => Self::Denied(socket.to_owned()),
            other => Self::Unreachable { socket: socket.to_owned(), cause: one_line(&innermost(&other)) },
        }
    }
}

fn about(container: &str) -> String {
    if container.is_empty() { String::new() } else { format!(" about container {container:?}") }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn sources<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

fn innermost(error: &Bollard) -> String {
    sources(error).last().map(ToString::to_string).unwrap_or_default()
}

fn denied(error: &Bollard) -> bool {
    sources(error).any(|error| {
        error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_a_container_only_if_it_is_about_one() {
        let late = |about: &str| EngineError::TimedOut(about.to_owned()).to_string();
        assert_eq!(late(""), "the Docker engine did not answer in time; see: systemctl status docker");
        assert!(late("snmp").contains("about container \"snmp\""));
    }
}
