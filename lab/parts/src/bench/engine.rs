//! The Docker engine, asked by nobody but us: one call on one connection.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

const SOCKET: &str = "/var/run/docker.sock";

/// Starts, stops or kills a container; gives how long the engine took to answer.
pub(super) fn ask(container: &str, verb: &str) -> Result<Duration> {
    let mut engine = UnixStream::connect(SOCKET).context("Docker does not answer")?;
    let call = format!(
        "POST /v1.41/containers/{container}/{verb} HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n"
    );
    let begin = Instant::now();
    engine.write_all(call.as_bytes())?;
    let mut answer = [0; 4096];
    let length = engine.read(&mut answer)?;
    let took = begin.elapsed();
    let line = String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_owned();
    ensure!(line.contains(" 204 "), "{verb} of {container} was answered with {line:?}");
    Ok(took)
}
