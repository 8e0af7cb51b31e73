//! The payload's service and its bad habits.
//!
//! One thread, one connection after another in small tasks; every command is a line, every answer is a line.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use super::record::{Record, boottime_ns, container_id};

const MIB: usize = 1 << 20;

/// What the commands have made of this payload.
#[derive(Default)]
struct Manner {
    hang: bool,
    leaked: Vec<Vec<u8>>,
    crash: Option<u8>,
}

struct Payload {
    instance: String,
    started_ns: i128,
    manner: RefCell<Manner>,
    changed: Notify,
}

/// Serves until SIGTERM or a crash command; gives the exit code.
pub(super) fn serve(record: &Record) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve_until_end(record))
}

/// Returns when SIGTERM or SIGINT comes.
pub(super) fn wait_terminate() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

async fn serve_until_end(record: &Record) -> Result<u8> {
    // Before the log says "acquired", so that a stop in that very moment is not lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot open a port")?;
    let payload = Rc::new(Payload {
        instance: record.instance().to_owned(),
        started_ns: boottime_ns(),
        manner: RefCell::default(),
        changed: Notify::new(),
    });
    let port = listener.local_addr()?.port();
    record.log("acquired")?;
    record.write_port(port)?;
    println!("{}: serving on port {port}", payload.instance);

    loop {
        tokio::select! {
            _ = terminate.recv() => {
                if !payload.manner.borrow().hang {
                    record.log("released")?;
                    println!("{}: stopped", payload.instance);
                    return Ok(0);
                }
                println!("{}: ignores SIGTERM", payload.instance);
            }
            () = payload.changed.notified() => {
                if let Some(code) = payload.manner.borrow().crash {
                    record.log("released")?;
                    println!("{}: crashes with {code}", payload.instance);
                    return Ok(code);
                }
            }
            connection = listener.accept() => {
                let (stream, _) = connection.context("cannot take connections any more")?;
                tokio::task::spawn_local(converse(stream, Rc::clone(&payload)));
            }
        }
    }
}

async fn converse(stream: TcpStream, payload: Rc<Payload>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while matches!(stream.read_line(&mut line).await, Ok(count) if count > 0) {
        let answer = payload.obey(line.trim());
        let crashing = payload.manner.borrow().crash.is_some();
        if stream.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
            break;
        }
        if crashing {
            // The answer is on its way before the process goes.
            let _ = stream.shutdown().await;
            break;
        }
        line.clear();
    }
    payload.changed.notify_one();
}

impl Payload {
    fn obey(&self, command: &str) -> String {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let mut manner = self.manner.borrow_mut();
        match (verb, rest.parse::<u64>()) {
            ("status", _) => self.status(&manner),
            ("log", _) => {
                println!("{}: {rest}", self.instance);
                "ok".to_owned()
            }
            ("hang", _) => {
                manner.hang = true;
                "ok: will ignore SIGTERM".to_owned()
            }
            ("crash", Ok(code)) if u8::try_from(code).is_ok() => {
                manner.crash = u8::try_from(code).ok();
                format!("ok: ends with {code}")
            }
            // Written to, not just reserved: only touched pages count as memory.
            ("leak", Ok(mib)) if mib <= 4096 => {
                manner.leaked.extend((0..mib).map(|_| vec![1; MIB]));
                format!("ok: holds {} MiB", manner.leaked.len())
            }
            _ => "error: commands are status, log <text>, hang, crash <code>, leak <MiB>".to_owned(),
        }
    }

    fn status(&self, manner: &Manner) -> String {
        let uptime =
            u64::try_from(boottime_ns() - self.started_ns).map_or(Duration::ZERO, Duration::from_nanos);
        let variable = |name| std::env::var(name).unwrap_or_else(|_| "-".to_owned());
        format!(
            "{} version={} owner={} container={} uptime_ms={} leaked_mib={} hang={}",
            self.instance,
            variable("IMAGE_VERSION"),
            variable("RUNTIME_OWNER"),
            container_id(),
            uptime.as_millis(),
            manner.leaked.len(),
            manner.hang,
        )
    }
}
