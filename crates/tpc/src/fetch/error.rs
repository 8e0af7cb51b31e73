//! Every way in which getting an image fails, each under its own name and in one line.

use std::io;
use std::path::{Path, PathBuf};

/// A download or a file that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody knows the name.
    #[error(
        "no address is known for the name {host} ({cause}); check the name, or DNS with: getent hosts {host}"
    )]
    NameNotFound {
        /// The name.
        host: String,
        /// What the resolver said.
        cause: String,
    },
    /// A machine is there and nobody listens.
    #[error("{0} refuses the connection: nobody listens on that port there")]
    Refused(String),
    /// No machine is there, as far as the network can tell.
    #[error("{server} cannot be reached: {cause}")]
    Unreachable {
        /// Host and port.
        server: String,
        /// What the connection said.
        cause: String,
    },
    /// Somebody took the connection, or nobody did, and then said nothing.
    #[error("{server} does not answer: nothing came within {seconds} s")]
    NoAnswer {
        /// Host and port.
        server: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The interface to be used.
    #[error("the interface {name} cannot be used: {cause}; see: ip link")]
    Interface {
        /// As given with `--interface`.
        name: String,
        /// What the kernel said.
        cause: String,
    },
    /// It cannot show that it is who it should be.
    #[error("the TLS certificate of {server} is not accepted: {why}; give its authority with --ca FILE")]
    Certificate {
        /// Host and port.
        server: String,
        /// What is wrong with it.
        why: String,
    },
    /// It speaks something else.
    #[error("{server} does not speak TLS as wanted: {why}")]
    Tls {
        /// Host and port.
        server: String,
        /// What the handshake said.
        why: String,
    },
    /// Whom to trust cannot be read.
    #[error("the authorities in {path} cannot be used: {why}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It answers, and does not give the file.
    #[error("{url}: the server answers {status}{hint}")]
    Status {
        /// What was asked for.
        url: String,
        /// The code of HTTP.
        status: u16,
        /// What the code means for who asked.
        hint: &'static str,
    },
    /// It wants a login, or another one.
    #[error(
        "{url}: the server wants a login, or another one than was given (status {status}); see --username and --password-stdin"
    )]
    Login {
        /// What was asked for.
        url: String,
        /// The code of HTTP.
        status: u16,
    },
    /// A password would be sent where everybody can read it.
    #[error(
        "the password for {0} would cross the network in the clear; use https, or say --insecure if that does not matter"
    )]
    ClearPassword(String),
    /// It sends us in circles, or to what is not taken.
    #[error("{url} redirects to {to}, which is not followed: {why}")]
    Redirect {
        /// What was asked for.
        url: String,
        /// Where it points.
        to: String,
        /// Why not.
        why: &'static str,
    },
    /// It does not keep to the protocol.
    #[error("{server} does not keep to the protocol: {why}")]
    Protocol {
        /// Host and port.
        server: String,
        /// In what.
        why: String,
    },
    /// The connection broke.
    #[error("{server} closed the connection after {got} bytes of {}: {cause}; the same command goes on from there", total.map_or("an unknown number".to_owned(), |total| total.to_string()))]
    Cut {
        /// Host and port.
        server: String,
        /// How much is there.
        got: u64,
        /// How much it should be.
        total: Option<u64>,
        /// What the connection said.
        cause: String,
    },
    /// The connection is there and nothing comes, or next to nothing.
    #[error(
        "{server} stalls: next to nothing came within {seconds} s, {got} bytes are there; the same command goes on from there"
    )]
    Stalled {
        /// Host and port.
        server: String,
        /// How long it was waited for.
        seconds: u64,
        /// How much is there.
        got: u64,
    },
    /// Another file than wanted.
    #[error(
        "the file is not the one that was asked for: its SHA-256 is {found}, wanted is {wanted}; nothing was installed"
    )]
    DigestMismatch {
        /// Given with `--sha256`.
        wanted: String,
        /// Of what came.
        found: String,
    },
    /// The file would fill the disk.
    #[error("there is no space for the download and what is made of it: {} needed, {available} bytes are free for it; make room, or see: tpcm prune", needed.map_or("more is".to_owned(), |needed| format!("{needed} bytes are")))]
    NoSpace {
        /// How much more it would take, if that is known.
        needed: Option<u64>,
        /// How much may come.
        available: u64,
    },
    /// A server that was never met.
    #[error(
        "the host key of {server} is not known: {algorithm} {fingerprint}; compare it with the server's, then: {keyscan} >> ~/.ssh/known_hosts"
    )]
    UnknownHostKey {
        /// Host and port.
        server: String,
        /// The kind of key.
        algorithm: String,
        /// As `ssh-keygen -l` shows it.
        fingerprint: String,
        /// The command that prints the line.
        keyscan: String,
    },
    /// Somebody else than before.
    #[error(
        "the host key of {server} has CHANGED to {fingerprint}: somebody may listen in between, or the server was set up anew; the old key is in {file} line {line}"
    )]
    ChangedHostKey {
        /// Host and port.
        server: String,
        /// Of what it shows now.
        fingerprint: String,
        /// Where the old one is.
        file: PathBuf,
        /// On which line.
        line: usize,
    },
    /// A key that must not be used any more.
    #[error("the host key of {server} was revoked in {file} line {line}")]
    RevokedHostKey {
        /// Host and port.
        server: String,
        /// Where that is said.
        file: PathBuf,
        /// On which line.
        line: usize,
    },
    /// The server knows the user by another password.
    #[error("{server} does not accept the password of {user}")]
    WrongPassword {
        /// Host and port.
        server: String,
        /// As whom.
        user: String,
    },
    /// The server knows the user by other keys.
    #[error("{server} does not accept the key {key} for {user}")]
    KeyRefused {
        /// Host and port.
        server: String,
        /// As whom.
        user: String,
        /// The last key that was offered.
        key: PathBuf,
    },
    /// Nothing to log in with.
    #[error(
        "{server} wants a login of {user} by {methods}: give a password with --password-stdin, or a key with --key"
    )]
    NoLogin {
        /// Host and port.
        server: String,
        /// As whom.
        user: String,
        /// What it would take.
        methods: String,
    },
    /// A private key that cannot be read.
    #[error("the key {path} cannot be used: {why}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The server has no such file, or does not give it.
    #[error("{path} on {server}: {why}")]
    Remote {
        /// Host and port.
        server: String,
        /// The path there.
        path: String,
        /// What the server said.
        why: String,
    },
    /// The server cannot send files so.
    #[error("{server} does not offer {asked}; try --protocol {other}")]
    NotOffered {
        /// Host and port.
        server: String,
        /// What was asked for.
        asked: &'static str,
        /// What else there is.
        other: &'static str,
    },
    /// A file on local media.
    #[error("{path}: {why}")]
    Media {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file of ours.
    #[error("{path} cannot be {doing}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What was to be done.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// What the engine fetches itself.
    #[error("{0} is the name of an image in a registry, which the Docker engine pulls itself")]
    Registry(String),
}

impl FetchError {
    /// Whether the same may do later without anybody's help.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::NoAnswer { .. } | Self::Cut { .. } | Self::Stalled { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502..=504),
            _ => false,
        }
    }

    /// Whether it is the network's, which may be away for a moment only after it was there.
    pub(super) fn is_of_the_network(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Unreachable { .. } | Self::NameNotFound { .. })
    }

    /// Whether what came so far is worth keeping: what is missing may come another time.
    pub(super) fn keeps_what_came(&self) -> bool {
        let is_login =
            matches!(self, Self::Login { .. } | Self::WrongPassword { .. } | Self::Certificate { .. });
        self.is_passing() || self.is_of_the_network() || is_login || matches!(self, Self::Interface { .. })
    }

    pub(super) fn file(path: &Path, doing: &'static str, source: io::Error) -> Self {
        Self::File { path: path.to_owned(), doing, source }
    }
}

/// Another's words in one line, bounded, with nothing in them that a terminal would act on.
pub(super) fn one_line(text: &str) -> String {
    let text: String = text.chars().take(800).collect();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(200).collect()
}
