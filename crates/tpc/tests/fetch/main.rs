//! Fetching from servers that do what servers do: cut, stall, lie, redirect, refuse. The web servers are scripted, and
//! speak over real sockets; the SSH server is OpenSSH's.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod http;
mod media;
mod server;
mod ssh;
mod sshd;
mod tls;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use switchyard_core::tpc::{Source, SshOptions};
use switchyard_tpc::fetch::{FetchError, Fetched, Login, Patience, Progress, Request, Sha256, fetch};
use tempfile::TempDir;

/// Short enough for tests; nothing is waited for that comes in time.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(5),
    stall: Duration::from_millis(700),
    backoff: Duration::from_millis(1),
    attempts: 3,
};

/// What a test fetches, and where it keeps it.
struct Case {
    directory: TempDir,
    source: Source,
    room: Box<dyn Fn() -> io::Result<u64> + Send + Sync>,
    times: u64,
    sha256: Option<Sha256>,
    interface: Option<&'static str>,
    ca: Option<PathBuf>,
    insecure: bool,
    login: Login,
    known_hosts: Vec<PathBuf>,
    patience: Patience,
}

impl Case {
    fn new(source: &str) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            source: Source::parse(source, &SshOptions::default()).unwrap(),
            room: Box::new(|| Ok(u64::MAX)),
            times: 0,
            sha256: None,
            interface: None,
            ca: None,
            insecure: false,
            login: Login::default(),
            known_hosts: Vec::new(),
            patience: PATIENCE,
        }
    }

    fn downloads(&self) -> PathBuf {
        self.directory.path().join("downloads")
    }

    async fn fetch(&self) -> Result<Fetched, FetchError> {
        self.fetch_with(&mut Told::default()).await
    }

    async fn fetch_with(&self, progress: &mut dyn Progress) -> Result<Fetched, FetchError> {
        let downloads = self.downloads();
        let request = Request {
            source: &self.source,
            downloads: &downloads,
            room: &*self.room,
            times: self.times,
            sha256: self.sha256,
            interface: self.interface,
            ca: self.ca.as_deref(),
            insecure: self.insecure,
            login: self.login.clone(),
            known_hosts: self.known_hosts.clone(),
            patience: self.patience,
        };
        let outcome = fetch(&request, progress).await;
        if let Err(error) = &outcome {
            let line = error.to_string();
            assert!(!line.chars().any(char::is_control) && line.len() < 600, "not one line: {line:?}");
        }
        outcome
    }

    /// What is left in the directory of downloads.
    fn left(&self) -> usize {
        std::fs::read_dir(self.downloads()).map_or(0, Iterator::count)
    }
}

/// Takes down what is told.
#[derive(Default)]
struct Told {
    total: Option<u64>,
    done: u64,
    messages: Vec<String>,
}

impl Progress for Told {
    fn total(&mut self, bytes: Option<u64>) {
        self.total = bytes;
    }

    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
    }

    fn position(&mut self, bytes: u64) {
        self.done = bytes;
    }

    fn message(&mut self, text: &str) {
        self.messages.push(text.to_owned());
    }
}

/// Bytes that are nowhere the same.
fn content(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}
