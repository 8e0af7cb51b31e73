//! One attempt at a file on an SSH server: its key checked against known_hosts, a login, then scp or sftp.
//!
//! The messages of sftp and scp are spoken here: reading one file takes a handful of them, and the crate for the whole
//! of sftp brings a second clock library along.

mod known_hosts;
mod login;
mod scp;
mod sftp;

use std::path::PathBuf;
use std::sync::Arc;

use russh::client::{self, Handle, Handler};
use russh::keys::PublicKeyOrCertificate;
use switchyard_core::tpc::{Protocol, SshFile};
use tokio::time::timeout;

use super::connect::{Server, connect};
use super::error::one_line;
use super::partial::Partial;
use super::{FetchError, Progress, Request};
use known_hosts::KnownHosts;

/// SSH's own port.
const PORT: u16 = 22;

/// The keys that a user has if nobody named another, those of them that are there.
pub fn default_keys() -> Vec<PathBuf> {
    let Some(home) = std::env::home_dir() else { return Vec::new() };
    let names = ["id_ed25519", "id_ecdsa", "id_rsa"];
    names.iter().map(|name| home.join(".ssh").join(name)).filter(|path| path.exists()).collect()
}

/// What the parts of an attempt share.
struct Session<'a> {
    server: String,
    handle: Handle<Gate>,
    request: &'a Request<'a>,
}

/// Gets the file, or what is missing of it.
pub(super) async fn attempt(
    file: &SshFile,
    request: &Request<'_>,
    part: &mut Partial<'_>,
    progress: &mut dyn Progress,
) -> Result<(), FetchError> {
    let server = Server { host: file.server.bare(), port: file.port.unwrap_or(PORT) };
    let mut session = open(&server, request, part).await?;
    let max = request.patience.stall;
    timeout(max, login::log_in(&mut session, &file.username))
        .await
        .unwrap_or_else(|_| Err(FetchError::NoAnswer { server: server.shown(), seconds: max.as_secs() }))?;
    match file.protocol {
        Protocol::Sftp => sftp::receive(&session, &file.path, part, progress).await,
        Protocol::Scp => scp::receive(&session, &file.path, part, progress).await,
    }
}

async fn open<'a>(
    server: &Server,
    request: &'a Request<'a>,
    part: &Partial<'_>,
) -> Result<Session<'a>, FetchError> {
    let known = KnownHosts::read(&request.known_hosts)?.of(server);
    let tcp = connect(server, request.interface, &request.patience).await?;
    let mut config = client::Config { nodelay: true, ..client::Config::default() };
    // A server with several keys is asked for the one that is known, else a stranger it would seem.
    config.preferred.key = known.ordered(&config.preferred.key).into();
    config.preferred.host_key_certificates = Vec::new().into();
    let gate = Gate { known, server: server.shown() };
    let shown = server.shown();
    let handle = timeout(request.patience.connect, client::connect_stream(Arc::new(config), tcp, gate))
        .await
        .map_err(|_| FetchError::NoAnswer {
            server: shown.clone(),
            seconds: request.patience.connect.as_secs(),
        })?
        .map_err(|end| match end {
            End::Refused(error) => *error,
            End::Ssh(error) => broken(&shown, part, &error),
        })?;
    Ok(Session { server: shown, handle, request })
}

/// Lets only servers in that are known.
struct Gate {
    known: known_hosts::Known,
    server: String,
}

/// Why a session ended.
#[derive(Debug)]
enum End {
    Ssh(russh::Error),
    Refused(Box<FetchError>),
}

impl From<russh::Error> for End {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl Handler for Gate {
    type Error = End;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, End> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                self.known.check(key).map_err(|error| End::Refused(Box::new(error)))?;
                Ok(true)
            }
            // Never asked for.
            PublicKeyOrCertificate::Certificate(_) => {
                let why = "it shows a certificate that nobody asked for".to_owned();
                Err(End::Refused(Box::new(FetchError::Protocol { server: self.server.clone(), why })))
            }
        }
    }
}

/// What a broken session tells: what the network does passes, all else does not.
fn broken(server: &str, part: &Partial<'_>, error: &russh::Error) -> FetchError {
    let cause = one_line(&error.to_string());
    match error {
        russh::Error::IO(_)
        | russh::Error::HUP
        | russh::Error::Disconnect
        | russh::Error::SendError
        | russh::Error::RecvError
        | russh::Error::ConnectionTimeout
        | russh::Error::KeepaliveTimeout
        | russh::Error::InactivityTimeout => cut(server, part, &cause),
        _ => FetchError::Protocol { server: server.to_owned(), why: cause },
    }
}

fn cut(server: &str, part: &Partial<'_>, cause: &str) -> FetchError {
    FetchError::Cut {
        server: server.to_owned(),
        got: part.len(),
        total: part.total(),
        cause: one_line(cause),
    }
}
