//! What images are called: ids, repositories, tags and digests, each validated once as all names are.
//!
//! An image is told from others by its id or by a whole name, never by a part of one: `docker-snmp` is no part of
//! `docker-snmp-sidecar` here (SONIC.md 5.8).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{NameError, Version, name::check};

/// The id of an image on the engine: `sha256:` and 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageId(String);

impl ImageId {
    /// Takes the whole id only, since a part may mean several images.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_sha256("image id", text)?;
        Ok(Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its first twelve digits, as people see it.
    pub fn short(&self) -> &str {
        self.0.get(SHA256.len()..SHA256.len() + 12).unwrap_or_default()
    }
}

const SHA256: &str = "sha256:";

fn check_sha256(what: &'static str, text: &str) -> Result<(), NameError> {
    const RULE: &str = "'sha256:' and 64 hexadecimal digits in lower case";
    check(what, text, SHA256.len() + 64, RULE, |_, c| c.is_ascii_alphanumeric() || c == ':')?;
    let digits = text.strip_prefix(SHA256).unwrap_or_default();
    if digits.len() == 64 && digits.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) {
        return Ok(());
    }
    Err(NameError::BadCharacter { what, text: text.to_owned(), rule: RULE })
}

/// Where images of one kind come from, with its host if it has one: `docker-snmp`, `registry:5000/sonic/docker-snmp`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository(String);

impl Repository {
    /// Takes path segments of letters, digits, `.`, `_` and `-`, the first of several with a port.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        const WHAT: &str = "image repository";
        const RULE: &str = "segments of letters, digits, '.', '_' and '-' between '/', each beginning with a letter or digit; a port only \
             after the host";
        check(WHAT, text, 255, RULE, |_, c| {
            c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':')
        })?;
        let (host, path) = text.split_once('/').map_or((None, text), |(host, path)| (Some(host), path));
        let host_is_valid = host.is_none_or(|host| match host.split_once(':') {
            Some((name, port)) => is_segment(name) && port.parse::<u16>().is_ok(),
            None => is_segment(host),
        });
        if host_is_valid && path.split('/').all(is_segment) {
            return Ok(Self(text.to_owned()));
        }
        Err(NameError::BadCharacter { what: WHAT, text: text.to_owned(), rule: RULE })
    }

    /// The repository as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names a place to fetch from. SONiC's own images have none.
    pub fn is_remote(&self) -> bool {
        self.0.contains('/')
    }

    /// Its last segment, which is what SONiC calls the same image when it is its own.
    pub fn last_segment(&self) -> Self {
        Self(self.0.rsplit('/').next().unwrap_or(&self.0).to_owned())
    }
}

fn is_segment(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && !text.contains(':')
}

/// One of a repository's names for an image that may be moved to another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    /// Takes letters, digits, `_`, `.` and `-`, beginning with none of the last two.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check(
            "image tag",
            text,
            128,
            "letters, digits, '_', '.' and '-' only, beginning with a letter, digit or '_'",
            |at, c| c.is_ascii_alphanumeric() || c == '_' || (at > 0 && matches!(c, '.' | '-')),
        )?;
        Ok(Self(text.to_owned()))
    }

    /// What a control script starts.
    pub fn latest() -> Self {
        Self("latest".to_owned())
    }

    /// What the image before it is kept as.
    pub fn last() -> Self {
        Self("last".to_owned())
    }

    /// A tag that is one image's alone: the first digits of its id.
    pub fn of(image: &ImageId) -> Self {
        Self(image.short().to_owned())
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a registry calls one content: `sha256:` and 64 hex digits, and not the id that the engine gives it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    /// Takes a sha256 digest.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_sha256("image digest", text)?;
        Ok(Self(text.to_owned()))
    }

    /// The digest as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One of the names of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageName {
    /// `repository:tag`
    Tagged(Repository, Tag),
    /// `repository@sha256:…`
    Pinned(Repository, Digest),
}

impl ImageName {
    /// Takes a name with its tag or digest, as the engine lists it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if let Some((repository, digest)) = text.split_once('@') {
            return Ok(Self::Pinned(Repository::parse(repository)?, Digest::parse(digest)?));
        }
        let (repository, tag) = text.rsplit_once(':').unwrap_or((text, ""));
        Ok(Self::Tagged(Repository::parse(repository)?, Tag::parse(tag)?))
    }

    /// Where the image comes from by this name.
    pub fn repository(&self) -> &Repository {
        match self {
            Self::Tagged(repository, _) | Self::Pinned(repository, _) => repository,
        }
    }
}

/// An image that is on the switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// All its names.
    pub names: Vec<ImageName>,
    /// `IMAGE_VERSION` of its environment.
    pub version: Option<Version>,
}

/// A container, running or not, and the image it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its id.
    pub id: crate::ContainerId,
    /// Its name.
    pub name: String,
    /// Does it run, or is it about to run again?
    pub running: bool,
    /// The image.
    pub image: ImageId,
}

impl TryFrom<String> for ImageId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<ImageId> for String {
    fn from(id: ImageId) -> Self {
        id.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tagged(repository, tag) => write!(f, "{repository}:{tag}"),
            Self::Pinned(repository, digest) => write!(f, "{repository}@{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_id_is_whole_or_none() {
        let id = ImageId::parse(&format!("sha256:{}", "0123456789abcdef".repeat(4))).unwrap();
        assert_eq!(id.short(), "0123456789ab");
        for bad in ["", "sha256:", "0123456789ab", "latest", "sha256:0123456789ab", "../x"] {
            assert!(ImageId::parse(bad).is_err(), "{bad:?} was taken");
        }
        assert!(ImageId::parse(&format!("sha256:{}", "A".repeat(64))).is_err());
        assert!(ImageId::parse(&format!("sha512:{}", "a".repeat(64))).is_err());
        assert!(ImageId::parse(&format!("sha256:{}:", "a".repeat(63))).is_err());
    }

    /// BI#14367: tagging broke on a registry with a domain and a port.
    #[test]
    fn a_name_is_taken_apart_and_put_together_again() {
        let digest = format!("r/docker-snmp@sha256:{}", "a".repeat(64));
        for (text, repository) in [
            ("docker-snmp:latest", "docker-snmp"),
            ("registry:5000/sonic/docker-snmp:1.0", "registry:5000/sonic/docker-snmp"),
            ("sonic.registry.example:443/docker-snmp:1.0", "sonic.registry.example:443/docker-snmp"),
            (digest.as_str(), "r/docker-snmp"),
        ] {
            let name = ImageName::parse(text).unwrap();
            assert_eq!((name.to_string().as_str(), name.repository().as_str()), (text, repository));
        }
    }

    #[test]
    fn a_name_that_could_lead_elsewhere_is_refused() {
        for bad in [
            "<none>:<none>",
            "<none>@<none>",
            "docker-snmp",
            "docker-snmp:",
            ":latest",
            "a/../b:1",
            "a//b:1",
            "/a:1",
            "a/b:80/c:1",
            "a:b/c:1",
            "a?x=y:1",
            "a:1?x",
            "a:-1",
            "a@sha256:1",
            "a b:1",
            "ä:1",
        ] {
            assert!(ImageName::parse(bad).is_err(), "{bad:?} was taken");
        }
    }
}
