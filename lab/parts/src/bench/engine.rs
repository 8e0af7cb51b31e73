//! Stands between the Docker engine and its clients and takes the time of each call.
//!
//! The engine's socket is moved aside and its place taken; a listening socket does not mind its file being renamed.
//! What the detour costs counts against the client.

use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

const SOCKET: &str = "/var/run/docker.sock";
const ASIDE: &str = "/var/run/docker.sock.aside";

/// Each call's request line and how long the engine took to answer.
type Calls = Arc<Mutex<Vec<(String, Duration)>>>;

/// In the engine's place until dropped.
pub struct Between {
    calls: Calls,
}

impl Between {
    /// Takes the place.
    pub fn stand() -> Result<Self> {
        fs::rename(SOCKET, ASIDE).context("the engine's socket cannot be moved aside")?;
        let listener = UnixListener::bind(SOCKET)?;
        fs::set_permissions(SOCKET, fs::Permissions::from_mode(0o666))?;
        let calls = Calls::default();
        let heard = Arc::clone(&calls);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let calls = Arc::clone(&heard);
                thread::spawn(move || pass(client, &calls));
            }
        });
        Ok(Self { calls })
    }

    /// Forgets the calls so far.
    pub fn forget(&self) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How long the engine took for the last call of this kind.
    pub fn took(&self, verb: &str) -> Option<Duration> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = |line: &str| line.starts_with("POST ") && line.contains(&format!("/bench/{verb}"));
        calls.iter().rev().find(|(line, _)| asked(line)).map(|(_, took)| *took)
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        // The engine gets its name back whatever else failed.
        let _ = fs::rename(ASIDE, SOCKET);
    }
}

/// Passes one connection on. Our clients and docker's use a connection for one call at a time.
fn pass(client: UnixStream, calls: &Calls) -> Option<()> {
    let engine = UnixStream::connect(ASIDE).ok()?;
    let asked = Arc::new(Mutex::new(None::<(String, Instant)>));
    let (mut from_client, mut to_engine) = (client.try_clone().ok()?, engine.try_clone().ok()?);
    let asking = Arc::clone(&asked);
    thread::spawn(move || {
        let _ = copy(&mut from_client, &mut to_engine, |bytes| {
            let line = String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned();
            if line.contains(" HTTP/1.1") {
                *asking.lock().unwrap_or_else(PoisonError::into_inner) = Some((line, Instant::now()));
            }
        });
        let _ = to_engine.shutdown(Shutdown::Write);
    });
    let (mut from_engine, mut to_client) = (engine, client);
    let _ = copy(&mut from_engine, &mut to_client, |_| {
        if let Some((line, since)) = asked.lock().unwrap_or_else(PoisonError::into_inner).take() {
            calls.lock().unwrap_or_else(PoisonError::into_inner).push((line, since.elapsed()));
        }
    });
    let _ = to_client.shutdown(Shutdown::Both);
    Some(())
}

fn copy(from: &mut impl Read, to: &mut impl Write, mut seen: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        seen(&buffer[..length]);
        to.write_all(&buffer[..length])?;
    }
}
