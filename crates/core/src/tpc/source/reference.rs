//! An image in a registry, as `docker pull` takes it.

use std::fmt;

use super::{SourceError, shown};
use crate::{Digest, Repository, Tag};

/// The registry of names that begin with none.
const DOCKER_HUB: &str = "docker.io";

/// `[registry[:port]/]path[:tag][@digest]`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl Reference {
    /// Takes a name as `docker pull` takes it.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let bad = |why: &dyn fmt::Display| SourceError::Image { text: shown(text), why: why.to_string() };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(Digest::parse(digest).map_err(|error| bad(&error))?)),
            None => (text, None),
        };
        // A colon before the last slash is a port's.
        let last = name.rfind('/').map_or(0, |at| at + 1);
        let (repository, tag) = match name[last..].split_once(':') {
            Some((end, tag)) => {
                (&name[..last + end.len()], Some(Tag::parse(tag).map_err(|error| bad(&error))?))
            }
            None => (name, None),
        };
        let repository = Repository::parse(repository).map_err(|error| bad(&error))?;
        let reference = Self { repository, tag, digest };
        if reference.path().contains(|c: char| c.is_ascii_uppercase()) {
            return Err(bad(&"a registry's names are in lower case"));
        }
        Ok(reference)
    }

    fn host_and_path(&self) -> (Option<&str>, &str) {
        let name = self.repository.as_str();
        match name.split_once('/') {
            // As Docker tells a host from the first part of a path.
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (Some(host), path),
            _ => (None, name),
        }
    }

    /// The registry's host, with its port.
    pub fn registry(&self) -> &str {
        self.host_and_path().0.unwrap_or(DOCKER_HUB)
    }

    /// The image's name there.
    pub fn path(&self) -> &str {
        self.host_and_path().1
    }

    /// Registry and name, as the operator wrote them.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag; `latest` if the operator named neither tag nor digest.
    pub fn tag(&self) -> Option<Tag> {
        match (&self.tag, &self.digest) {
            (None, None) => Some(Tag::latest()),
            (tag, _) => tag.clone(),
        }
    }

    /// The digest, if the operator named one: it is what counts then.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}
