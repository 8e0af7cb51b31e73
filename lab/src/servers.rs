//! The servers from which third-party containers come: nginx with and without TLS, sshd, docker-registry with and
//! without login, all in one container of the machine's Docker that switches reach over its bridge.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::{self, ok, step};
use crate::fleet::prefix;
use crate::image::hash::ContentHash;
use crate::machine::{Machine, docker, workspace};
use crate::switch::Switch;

const PACKAGES: &str = "nginx-light,openssh-server,docker-registry,apache2-utils,openssl";
const SUITE: &str = "bookworm";
const READY_MAX: Duration = Duration::from_mins(1);

/// What everybody who logs in anywhere is called.
pub const USER: &str = "carrier";
/// And the password.
pub const PASSWORD: &str = "right password";

/// The servers of this prefix, running.
#[derive(Debug, Clone)]
pub struct Servers {
    container: String,
    /// Where switches reach them.
    pub address: String,
}

impl Servers {
    /// Starts them if they do not run, and waits until all answer.
    pub fn up() -> Result<Servers> {
        let _lock = Machine::lock()?;
        let image = image()?;
        let container = format!("{}-servers", prefix());
        let format = "{{.State.Running}} {{.Config.Image}}";
        if command::run("docker", &["inspect", "--format", format, &container])?.text()
            != format!("true {image}")
        {
            command::run("docker", &["rm", "--force", "--volumes", &container])?;
            let label = "--label=switchyard.lab=servers";
            docker(&[
                "run",
                "--detach",
                "--init",
                label,
                "--name",
                &container,
                &image,
                "/usr/lib/lab/start",
            ])?;
        }
        let address = docker(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", &container])?;
        let servers = Servers { container, address };
        servers.wait_ready()?;
        Ok(servers)
    }

    /// Removes those of this prefix, if there are any.
    pub fn down() -> Result<()> {
        let container = format!("{}-servers", prefix());
        command::run("docker", &["rm", "--force", "--volumes", &container]).map(drop)
    }

    /// Where they, and switches, reach this machine.
    pub fn gateway(&self) -> Result<String> {
        docker(&["inspect", "--format", "{{.NetworkSettings.Gateway}}", &self.container])
    }

    /// Runs a shell command among the servers.
    pub fn ok(&self, script: &str) -> Result<String> {
        docker(&["exec", &self.container, "bash", "-c", script])
    }

    /// Makes a file of the switch one that can be fetched; its directory on the SSH server is `/srv/files`.
    pub fn publish(&self, switch: &Switch, path: &str, name: &str) -> Result<()> {
        let draft = Machine::path(&format!("build/{}-{name}", self.container));
        fs::create_dir_all(Machine::path("build"))?;
        switch.copy_out(path, &draft.to_string_lossy())?;
        let copied =
            docker(&["cp", &draft.to_string_lossy(), &format!("{}:/srv/files/{name}", self.container)]);
        fs::remove_file(&draft)?;
        copied?;
        // `docker save` leaves files to their owner alone.
        self.ok(&format!("chmod 644 '/srv/files/{name}'")).map(drop)
    }

    /// Writes a file that a switch needs to trust or to log in: `ca.crt`, `known_hosts`, `user_key`.
    pub fn give(&self, switch: &Switch, name: &str) -> Result<String> {
        let path = format!("/root/lab-{name}");
        switch.write(&path, &(self.ok(&format!("cat /srv/keys/{name}"))? + "\n"))?;
        switch.ok(&format!("chmod 600 {path}"))?;
        Ok(path)
    }

    fn wait_ready(&self) -> Result<()> {
        let end = Instant::now() + READY_MAX;
        let all = "for port in 22 80 443 5000 5001; do : < /dev/tcp/127.0.0.1/$port || exit; done";
        while !command::run("docker", &["exec", &self.container, "bash", "-c", all])?.success() {
            if Instant::now() > end {
                bail!("the servers do not answer: {}", docker(&["logs", &self.container])?);
            }
            sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

fn image() -> Result<String> {
    let start = workspace().join("lab/servers/start");
    let mut hash = ContentHash::new();
    hash.text(SUITE).text(PACKAGES).file(&start)?;
    let name = format!("switchyard-lab-servers:{}", hash.finish());
    if docker(&["image", "inspect", "--format", "{{.Id}}", &name]).is_err() {
        step("making the image of servers", || build(&start, &name))?;
    }
    Ok(name)
}

fn build(start: &Path, name: &str) -> Result<()> {
    let tar = Machine::path("cache").join("servers.tar");
    let into = format!("--customize-hook=copy-in {} /usr/lib/lab", start.display());
    let make = "--customize-hook=mkdir -p \"$1/usr/lib/lab\"";
    let include = format!("--include={PACKAGES}");
    ok(
        "mmdebstrap",
        &["--quiet", "--variant=minbase", &include, make, &into, SUITE, &tar.to_string_lossy()],
    )?;
    docker(&["import", &tar.to_string_lossy(), name])?;
    fs::remove_file(&tar).with_context(|| format!("cannot remove {}", tar.display()))
}
