//! Getting an image archive: from a web server, an SSH server or local media, into a file that can be read.
//!
//! What is downloaded grows in a file of the store's `downloads/`, never beyond the space that the caller grants, and
//! is gone on with after a cut, in the same command or the next. A file on local media is read where it is. Nothing
//! here looks into the archive; a digest that the operator gave is checked before anybody else sees the file.

mod connect;
mod error;
mod http;
mod media;
mod partial;
mod ssh;
mod terminal;
mod tls;
mod watch;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use switchyard_core::tpc::{Secret, Source};

pub use error::FetchError;
pub use partial::{Pending, clear, pending};
pub use ssh::default_keys;
pub use terminal::Terminal;

use partial::Partial;

/// What the fetch tells while it goes on.
pub trait Progress: Send {
    /// How much there will be, if that is known.
    fn total(&mut self, bytes: Option<u64>);
    /// So much more is there.
    fn advance(&mut self, bytes: u64);
    /// So much is there, whatever was told before: a download goes on where it was cut, or begins anew.
    fn position(&mut self, _bytes: u64) {}
    /// Something that a person should read.
    fn message(&mut self, text: &str);
}

/// A SHA-256 as `--sha256` gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sha256([u8; 32]);

/// Not a SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no SHA-256: wanted are 64 hexadecimal digits")]
pub struct NoSha256(String);

impl Sha256 {
    /// Takes 64 hexadecimal digits, with or without `sha256:` before them.
    pub fn parse(text: &str) -> Result<Self, NoSha256> {
        let bad = || NoSha256(text.chars().take(100).collect());
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if digits.len() != 64 || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }

    pub(self) fn of(digest: &ring::digest::Digest) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How long the other side may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the connection and the first answer.
    pub connect: Duration,
    /// For the next kilobyte.
    pub stall: Duration,
    /// Before the first new attempt; twice as long before each further one.
    pub backoff: Duration,
    /// How many attempts that bring nothing are made in a row.
    pub attempts: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            stall: Duration::from_mins(1),
            backoff: Duration::from_secs(1),
            attempts: 5,
        }
    }
}

/// Attempts of one command, however much each brings: a server that cuts after each byte is left to another day.
const ATTEMPTS_MAX: u32 = 40;

/// What to log in with.
#[derive(Debug, Clone, Default)]
pub struct Login {
    /// The password, for SSH and for a web server that wants one.
    pub password: Option<Secret>,
    /// Private keys for SSH, tried in this order before the password.
    pub keys: Vec<PathBuf>,
    /// What the keys are encrypted with.
    pub passphrase: Option<Secret>,
}

/// What is to be fetched and how.
pub struct Request<'a> {
    /// From where.
    pub source: &'a Source,
    /// Where downloads grow: `downloads/` of the store.
    pub downloads: &'a Path,
    /// How many bytes may still come, asked again and again while they come.
    pub room: &'a (dyn Fn() -> io::Result<u64> + Send + Sync),
    /// What is made of the file takes at least so many times its size on the same disk: looked at before it comes.
    pub times: u64,
    /// What the file must be.
    pub sha256: Option<Sha256>,
    /// The interface that connections are bound to.
    pub interface: Option<&'a str>,
    /// The authorities to trust instead of the system's.
    pub ca: Option<&'a Path>,
    /// Whether any certificate will do.
    pub insecure: bool,
    /// What to log in with.
    pub login: Login,
    /// Where SSH servers' keys are kept; [`known_hosts`] says the usual places.
    pub known_hosts: Vec<PathBuf>,
    /// How long the other side may take.
    pub patience: Patience,
}

/// The usual places of SSH servers' keys.
pub fn known_hosts() -> Vec<PathBuf> {
    let own = std::env::home_dir().map(|home| home.join(".ssh/known_hosts"));
    own.into_iter().chain([PathBuf::from("/etc/ssh/ssh_known_hosts")]).collect()
}

/// A file that is there to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where.
    pub path: PathBuf,
    /// Whether it was downloaded and is to be removed with [`Fetched::discard`] when it was read.
    pub temporary: bool,
    /// How many bytes it has; not told of a directory.
    pub size: Option<u64>,
    /// Its SHA-256; of a file on local media only if it was to be checked, since that means reading all of it.
    pub sha256: Option<Sha256>,
}

impl Fetched {
    /// Removes it if it was downloaded.
    pub fn discard(&self) -> Result<(), FetchError> {
        if self.temporary { partial::remove(&self.path) } else { Ok(()) }
    }
}

/// Gets the file. What was downloaded is kept when it is worth going on with.
pub async fn fetch(request: &Request<'_>, progress: &mut dyn Progress) -> Result<Fetched, FetchError> {
    match request.source {
        Source::Media(path) => media::check(Path::new(path.as_str()), request.sha256, progress),
        Source::Registry(reference) => Err(FetchError::Registry(reference.to_string())),
        Source::Http(_) | Source::Ssh(_) => download(request, progress).await,
    }
}

async fn download(request: &Request<'_>, progress: &mut dyn Progress) -> Result<Fetched, FetchError> {
    let mut part = Partial::open(request)?;
    let (mut all, mut in_vain, mut delay) = (0, 0, request.patience.backoff);
    loop {
        let before = part.received();
        let outcome = match request.source {
            Source::Http(url) => http::attempt(url, request, &mut part, progress).await,
            Source::Ssh(file) => ssh::attempt(file, request, &mut part, progress).await,
            Source::Media(_) | Source::Registry(_) => Ok(()),
        };
        let Err(error) = outcome else { return part.finish(request.sha256) };
        all += 1;
        if part.received() > before {
            (in_vain, delay) = (0, request.patience.backoff);
        }
        in_vain += 1;
        let may_pass = error.is_passing() || (error.is_of_the_network() && part.received() > 0);
        if !may_pass || in_vain >= request.patience.attempts || all >= ATTEMPTS_MAX {
            if error.keeps_what_came() {
                part.keep()?;
            } else {
                part.discard()?;
            }
            return Err(error);
        }
        progress.message(&format!("{error}; trying again"));
        tokio::time::sleep(delay).await;
        delay *= 2;
    }
}
