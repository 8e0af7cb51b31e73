//! Servers of this machine that are no API servers: one that says nothing, one that answers anything.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::command::ok;
use crate::machine::Machine;

/// A listener of this machine that switches can reach; it takes connections, counts them and says nothing.
pub(super) struct Mute {
    port: u16,
    came: Arc<Mutex<Vec<Instant>>>,
    ends: Arc<AtomicBool>,
    address: String,
}

impl Mute {
    /// One that hangs up at once.
    pub(super) fn hangs_up(address: &str) -> Result<Self> {
        Self::listen(address, false)
    }

    /// One that keeps whoever came waiting.
    pub(super) fn hangs(address: &str) -> Result<Self> {
        Self::listen(address, true)
    }

    fn listen(address: &str, keeps: bool) -> Result<Self> {
        let listener = TcpListener::bind((address, 0)).context("cannot listen")?;
        let port = listener.local_addr()?.port();
        let (came, ends) = (Arc::<Mutex<Vec<Instant>>>::default(), Arc::<AtomicBool>::default());
        let (taken, ended) = (came.clone(), ends.clone());
        thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                kept.extend(stream.ok().filter(|_| keeps));
                taken.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
            }
        });
        Ok(Self { port, came, ends, address: address.to_owned() })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// When connections came.
    pub(super) fn came(&self) -> Vec<Instant> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // Wakes the thread, which then ends.
        drop(TcpStream::connect((self.address.as_str(), self.port)));
    }
}

/// A server of this machine that speaks TLS and answers every question for cluster-info with the same bytes.
pub(super) struct Answers {
    server: Child,
    directory: PathBuf,
    port: u16,
}

impl Answers {
    /// Answers with this head, and after it with as many zeros.
    pub(super) fn with(address: &str, head: &str, zeros: u64) -> Result<Self> {
        let port = TcpListener::bind((address, 0))?.local_addr()?.port();
        let directory = Machine::path("cache").join(format!("answers-{port}"));
        let answers = directory.join("api/v1/namespaces/kube-public/configmaps");
        fs::create_dir_all(&answers).context("cannot make the answers' directory")?;
        let answer = answers.join("cluster-info");
        fs::write(&answer, head)?;
        // Sparse: it takes no room on the disk.
        fs::OpenOptions::new().write(true).open(&answer)?.set_len(u64::try_from(head.len())? + zeros)?;
        let (key, certificate) = (directory.join("key"), directory.join("crt"));
        let files = [key.to_string_lossy(), certificate.to_string_lossy()];
        let name = format!("subjectAltName=IP:{address}");
        ok(
            "openssl",
            &[
                "req",
                "-x509",
                "-nodes",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-days",
                "2",
                "-subj",
                "/CN=stranger",
                "-addext",
                &name,
                "-keyout",
                &files[0],
                "-out",
                &files[1],
            ],
        )?;
        let server = Command::new("openssl")
            .args(["s_server", "-quiet", "-HTTP", "-accept", &format!("{address}:{port}")])
            .args(["-key", &files[0], "-cert", &files[1]])
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run openssl")?;
        let answers = Self { server, directory, port };
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect((address, port)).is_err() {
            ensure!(Instant::now() < end, "openssl does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(answers)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        // A server that has ended by itself needs no end.
        drop(self.server.kill());
        drop(self.server.wait());
        drop(fs::remove_dir_all(&self.directory));
    }
}
