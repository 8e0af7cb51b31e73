//! Where an operator says an image comes from: a web server, an SSH server, local media or a registry.
//!
//! Decides by the text alone and looks at nothing. A source is written into records and shown, so it never carries a
//! password; what is written parses back into the same source.

mod authority;
mod reference;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use authority::Host;
use authority::{Authority, check_user, decode, encode};
pub use reference::Reference;

/// A text that says no place where an image could come from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Nothing was given.
    #[error("no source is given: wanted is a URL, a path or the name of an image in a registry")]
    Empty,
    /// More than any URL or path has.
    #[error("the source has {0} characters, at most {MAX} are allowed")]
    TooLong(usize),
    /// A blank or a character that a terminal would act on.
    #[error("the source {0:?} has a blank or a control character in it; in a URL a blank is written %20")]
    BadCharacter(String),
    /// A URL of another kind.
    #[error("{0:?} is no protocol that tpcm knows: it takes http, https, scp and sftp")]
    Protocol(String),
    /// A password where everybody on the switch could read it.
    #[error(
        "the URL has a password in it, where every process list shows it: leave it out and give it with --password-stdin"
    )]
    Password,
    /// The part of a URL that names the server is wrong.
    #[error("{text:?} is no server: {rule}")]
    Server {
        /// What was given.
        text: String,
        /// What is wanted.
        rule: &'static str,
    },
    /// Not a name of a user.
    #[error(
        "{0:?} is no name of a user: at most 128 characters without blanks, '/' and ':', not beginning with '-'"
    )]
    User(String),
    /// SSH needs to know as whom.
    #[error("{0} needs the name of a user: give it with --username or as {0}://user@server/path")]
    NoUser(Protocol),
    /// SSH needs to know where.
    #[error("--protocol {0} needs the name of the server: give it with --server")]
    NoServer(Protocol),
    /// No file is named.
    #[error("no file is named on {0}: wanted is the path of an image archive")]
    NoPath(String),
    /// A path that ends where a file cannot be.
    #[error("{0:?} is a directory: wanted is the path of an image archive")]
    Directory(String),
    /// An escape that is none.
    #[error("{0:?} is no URL: each '%' is followed by two hexadecimal digits")]
    Escape(String),
    /// Options that say two things at once.
    #[error("{option} is said twice, by the option and in {text:?}: leave one out")]
    Twice {
        /// Which option.
        option: &'static str,
        /// The source.
        text: String,
    },
    /// An option of another protocol.
    #[error("{0} is only for --protocol scp and sftp, and they are not asked for here")]
    NotSsh(&'static str),
    /// Not the name of an image.
    #[error(
        "{text:?} is neither a URL nor a path nor the name of an image: {why}; a file in this directory is written ./{text}"
    )]
    Image {
        /// What was given.
        text: String,
        /// Why it is no image.
        why: String,
    },
}

/// Longer than a path may be, with escapes.
const MAX: usize = 4096;

/// The two ways in which SSH carries files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The old one, which asks the server for a program `scp`.
    Scp,
    /// The subsystem, which can go on where a download was cut.
    Sftp,
}

impl FromStr for Protocol {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        match text {
            "scp" => Ok(Self::Scp),
            "sftp" => Ok(Self::Sftp),
            other => Err(SourceError::Protocol(other.to_owned())),
        }
    }
}

/// What the command line says beside the source itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshOptions {
    /// `--protocol`
    pub protocol: Option<Protocol>,
    /// `--server`
    pub server: Option<String>,
    /// `--port`
    pub port: Option<u16>,
    /// `--username`; also the one of a web server or a registry, which needs its password.
    pub username: Option<String>,
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// A web server.
    Http(HttpUrl),
    /// A file on an SSH server.
    Ssh(SshFile),
    /// A file on this machine.
    Media(MediaPath),
    /// An image in a registry.
    Registry(Reference),
}

/// `http://` or `https://` with whatever follows, and as whom to ask.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpUrl {
    secure: bool,
    authority: Authority,
    rest: String,
}

/// A file on an SSH server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SshFile {
    /// How it is asked for.
    pub protocol: Protocol,
    /// The server.
    pub server: Host,
    /// Its port, if it is not 22.
    pub port: Option<u16>,
    /// As whom.
    pub username: String,
    /// The path there; one that does not begin with `/` is below the user's home.
    pub path: String,
}

/// The path of a file on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MediaPath(String);

/// Ends of names that no image in a registry has by accident.
const ARCHIVE_ENDS: [&str; 8] = [".tar", ".tgz", ".txz", ".tzst", ".gz", ".xz", ".zst", ".oci"];

impl Source {
    /// Takes what the command line says.
    pub fn parse(text: &str, options: &SshOptions) -> Result<Self, SourceError> {
        if text.is_empty() {
            return Err(SourceError::Empty);
        }
        if text.len() > MAX {
            return Err(SourceError::TooLong(text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err(SourceError::BadCharacter(shown(text)));
        }
        if let Some(protocol) = options.protocol {
            return remote(protocol, text, options).map(Self::Ssh);
        }
        if options.server.is_some() {
            return Err(SourceError::NotSsh("--server"));
        }
        if options.port.is_some() {
            return Err(SourceError::NotSsh("--port"));
        }
        match text.split_once("://") {
            Some(("file", path)) if path.starts_with('/') => media(&decode(path)?),
            Some((scheme, rest)) if !scheme.contains('/') => by_scheme(scheme, rest, text, options),
            _ if is_path(text) => media(text),
            _ => Reference::parse(text).map(Self::Registry),
        }
    }

    /// Makes a path on local media one that means the same from everywhere; the rest does already.
    pub fn absolute(self, directory: &str) -> Self {
        match self {
            Self::Media(MediaPath(path)) if !path.starts_with('/') => {
                let below = path.strip_prefix("./").unwrap_or(&path);
                Self::Media(MediaPath(format!("{}/{below}", directory.trim_end_matches('/'))))
            }
            other => other,
        }
    }
}

fn by_scheme(scheme: &str, rest: &str, text: &str, options: &SshOptions) -> Result<Source, SourceError> {
    let (before, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let scheme = scheme.to_ascii_lowercase();
    let secure = scheme == "https";
    if !matches!(scheme.as_str(), "http" | "https" | "scp" | "sftp") {
        return Err(SourceError::Protocol(scheme));
    }
    let mut authority = Authority::parse(before)?;
    if text.contains(|c: char| c == ' ' || !c.is_ascii()) {
        return Err(SourceError::BadCharacter(shown(text)));
    }
    match (&authority.user, &options.username) {
        (Some(_), Some(_)) => return Err(SourceError::Twice { option: "--username", text: shown(text) }),
        (None, Some(user)) => authority.user = Some(check_user(user)?),
        (_, None) => {}
    }
    if let Ok(protocol) = scheme.parse::<Protocol>() {
        let path = decode(after)?;
        let username = authority.user.ok_or(SourceError::NoUser(protocol))?;
        let path = remote_path(&path, &authority.host)?;
        let Authority { host: server, port, .. } = authority;
        return Ok(Source::Ssh(SshFile {
            protocol,
            server,
            port: port.filter(|port| *port != 22),
            username,
            path,
        }));
    }
    let rest = after.split_once('#').map_or(after, |(rest, _)| rest);
    let path = rest.split_once('?').map_or(rest, |(path, _)| path);
    if path.trim_matches('/').is_empty() && rest.len() == path.len() {
        return Err(SourceError::NoPath(authority.host.to_string()));
    }
    decode(rest)?;
    let slash = if rest.starts_with('/') { "" } else { "/" };
    Ok(Source::Http(HttpUrl { secure, authority, rest: format!("{slash}{rest}") }))
}

fn remote(protocol: Protocol, path: &str, options: &SshOptions) -> Result<SshFile, SourceError> {
    if path.contains("://") {
        return Err(SourceError::Twice { option: "--protocol", text: shown(path) });
    }
    let server = options.server.as_deref().ok_or(SourceError::NoServer(protocol))?;
    let server = Host::parse(server)?;
    let user = options.username.as_deref().ok_or(SourceError::NoUser(protocol))?;
    let path = remote_path(path.strip_prefix("~/").unwrap_or(path), &server)?;
    let port = options.port.filter(|port| *port != 22);
    Ok(SshFile { protocol, server, port, username: check_user(user)?, path })
}

/// A path as the server shall read it. `/~/` is how URLs say the user's home, which is where such a server begins.
fn remote_path(mut path: &str, server: &Host) -> Result<String, SourceError> {
    while let Some(below) = path.strip_prefix("/~/") {
        path = below;
    }
    if path.chars().any(char::is_control) {
        return Err(SourceError::BadCharacter(shown(path)));
    }
    match path {
        "" | "/" => Err(SourceError::NoPath(server.to_string())),
        path if path.ends_with('/') => Err(SourceError::Directory(shown(path))),
        path => Ok(path.to_owned()),
    }
}

fn media(path: &str) -> Result<Source, SourceError> {
    if path.chars().any(char::is_control) {
        return Err(SourceError::BadCharacter(shown(path)));
    }
    Ok(Source::Media(MediaPath(path.to_owned())))
}

fn is_path(text: &str) -> bool {
    let begins = ["/", "./", "../"].iter().any(|begin| text.starts_with(begin));
    let ends = ARCHIVE_ENDS.iter().any(|end| text.len() > end.len() && text.ends_with(end));
    begins || matches!(text, "." | "..") || (ends && !text.contains(['@', ':']))
}

/// What was given, short enough for one line of an error.
fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

impl HttpUrl {
    /// As whom to ask, if the operator said so.
    pub fn username(&self) -> Option<&str> {
        self.authority.user.as_deref()
    }

    /// Whether it is asked for over TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The URL without the user.
    pub fn address(&self) -> String {
        let Authority { host, port, .. } = &self.authority;
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{host}{port}{}", if self.secure { "https" } else { "http" }, self.rest)
    }
}

impl HttpUrl {
    /// The URL as it may be shown: what is asked of the server behind `?` may be a key to the file.
    pub fn shown(&self) -> String {
        let whole = self.to_string();
        whole.split(['?', '#']).next().unwrap_or_default().to_owned()
    }
}

impl Source {
    /// The source as it may be shown and recorded for everybody to read.
    pub fn shown(&self) -> String {
        match self {
            Self::Http(url) => url.shown(),
            Self::Ssh(_) | Self::Media(_) | Self::Registry(_) => self.to_string(),
        }
    }
}

impl MediaPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scp => "scp",
            Self::Sftp => "sftp",
        })
    }
}

impl fmt::Display for SshFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}@{}", self.protocol, encode(&self.username), self.server)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        let home = if self.path.starts_with('/') { "" } else { "/~/" };
        write!(f, "{home}{}", encode(&self.path))
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address();
        match (self.username(), address.split_once("://")) {
            (Some(user), Some((scheme, rest))) => write!(f, "{scheme}://{}@{rest}", encode(user)),
            _ => f.write_str(&address),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => url.fmt(f),
            Self::Ssh(file) => file.fmt(f),
            // Nothing but its beginning would tell it from the name of an image.
            Self::Media(MediaPath(path)) if !is_path(path) => write!(f, "./{path}"),
            Self::Media(MediaPath(path)) => f.write_str(path),
            Self::Registry(reference) => reference.fmt(f),
        }
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl TryFrom<String> for Source {
    type Error = SourceError;

    fn try_from(text: String) -> Result<Self, SourceError> {
        Self::parse(&text, &SshOptions::default())
    }
}
