//! What a feature container of the lab runs: it serves something, logs, and can be told to misbehave.
//!
//! - While it runs it holds an exclusive lock of its own, `/run/payload/<instance>.lock`. This is *not* the product's
//!   track lock: it is the referee that tells whether two copies of a feature ever ran at once. A second copy leaves
//!   `/run/payload/CONTENDED.<instance>` behind and ends with [`EXIT_CONTENDED`].
//! - It serves a line protocol on a TCP port of 127.0.0.1, whose number stands in `/run/payload/<instance>.port`.
//! - `/run/payload/<instance>.log` has a line for each time it took and gave back the lock, stamped with the
//!   nanoseconds of CLOCK_BOOTTIME, so that scenarios can measure how long a feature was gone.
//! - On SIGTERM it ends with 0 at once, unless it was told to hang.

mod record;
mod serve;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use record::Record;

/// The exit code of a copy that met another one (sysexits' "internal error").
pub const EXIT_CONTENDED: u8 = 70;

/// How long `send` waits for an answer: a payload answers in microseconds, a busy machine in seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs as the payload of `feature` until it is told to stop; SONiC's `DEV` says for which ASIC.
pub fn run(feature: &str) -> Result<ExitCode> {
    let instance = format!("{feature}{}", std::env::var("DEV").unwrap_or_default());
    let record = Record::open(&instance)?;
    let Some(lock) = record.lock()? else {
        record.contended()?;
        eprintln!("{instance}: another copy is running");
        return Ok(ExitCode::from(EXIT_CONTENDED));
    };
    let code = serve::serve(&record)?;
    drop(lock);
    Ok(ExitCode::from(code))
}

/// Does nothing until it is told to stop.
pub fn pause() -> Result<ExitCode> {
    serve::wait_terminate()?;
    Ok(ExitCode::SUCCESS)
}

/// Sends one command to the payload of `instance` on this switch and prints its answer.
pub fn send(instance: &str, command: &str) -> Result<ExitCode> {
    let port = record::read_port(instance)?;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .with_context(|| format!("payload {instance} does not serve on port {port}"))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    writeln!(stream, "{command}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).with_context(|| format!("no answer from {instance}"))?;
    if answer.is_empty() {
        bail!("payload {instance} ended before it answered");
    }
    print!("{answer}");
    Ok(if answer.starts_with("error") { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
