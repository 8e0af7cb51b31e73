//! Makes a fresh Debian machine able to run switches: packages, the runc wrapper, a Docker daemon.
//!
//! Safe to call at any time. A Docker daemon that already answers is left alone, whoever started it; ours keeps running
//! after this process has ended. Everything the lab keeps is below [`Machine::ROOT`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};

use crate::command::{self, ok, run, step};

/// A program the lab or the adapters' tests call, and the Debian package that has it.
const TOOLS: [(&str, &str); 21] = [
    ("dockerd", "docker.io"),
    ("docker", "docker.io"),
    ("mmdebstrap", "mmdebstrap"),
    ("redis-server", "redis-server"),
    ("redis-cli", "redis-tools"),
    ("iptables", "iptables"),
    ("dpkg-deb", "dpkg"),
    ("setsid", "util-linux"),
    ("git", "git"),
    ("sshd", "openssh-server"),
    ("docker-registry", "docker-registry"),
    ("busybox", "busybox-static"),
    ("dbus-daemon", "dbus-daemon"),
    ("rsyslogd", "rsyslog"),
    ("systemd-analyze", "systemd"),
    ("yanglint", "libyang-tools"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
    ("mke2fs", "e2fsprogs"),
    ("xfs_io", "xfsprogs"),
    // A library; /usr/bin/.. is /usr.
    ("../lib/python3/dist-packages/click", "python3-click"),
];

/// A cold Docker daemon answers within a few seconds; a busy two-core machine may take longer.
const DOCKERD_START_MAX: Duration = Duration::from_mins(1);

/// How many watches of files all programs of root may have at once. Linux allows 128, of which each switch's systemd
/// takes more than ten: the units of a ninth would fail at its boot.
const WATCHES: u32 = 1024;
const WATCHES_FILE: &str = "/proc/sys/fs/inotify/max_user_instances";

const PID_FILE: &str = "/run/switchyard-lab/docker.pid";

/// The programs of `lab/parts`, as they are called.
pub const PARTS: [&str; 3] = ["lab-payload", "lab-featured", "lab-runc"];

/// The machine, made ready.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Where the programs of `lab/parts` were built, statically.
    pub parts: PathBuf,
}

impl Machine {
    /// Where the lab keeps its Docker data, caches and logs.
    pub const ROOT: &str = "/var/lib/switchyard-lab";

    /// Installs, builds and starts what is missing.
    pub fn prepare() -> Result<Machine> {
        ensure!(rustix::process::geteuid().is_root(), "the lab needs root: it starts a Docker daemon");
        for directory in ["bin", "cache", "docker"] {
            let path = Machine::path(directory);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let _lock = Machine::lock()?;
        install_packages(&TOOLS)?;
        let machine = Machine { parts: build_parts()? };
        allow_many_watches();
        machine.start_docker()?;
        Ok(machine)
    }

    /// A path below the lab's own directory.
    pub fn path(name: &str) -> PathBuf {
        Path::new(Machine::ROOT).join(name)
    }

    /// Keeps other lab commands of this machine out while it is held: two must not build in the same place.
    pub(crate) fn lock() -> Result<fs::File> {
        Machine::lock_file("lock")
    }

    /// As [`Machine::lock`], for work that need not keep out everything else.
    pub(crate) fn lock_file(name: &str) -> Result<fs::File> {
        let path = Machine::path(name);
        let file = fs::File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
        flock(&file, FlockOperation::LockExclusive).context("cannot lock the lab")?;
        Ok(file)
    }

    fn start_docker(&self) -> Result<()> {
        if docker_answers() {
            return Ok(());
        }
        let wrapper = Machine::path("bin/lab-runc");
        install(&self.parts.join("lab-runc"), &wrapper)?;
        step("starting a Docker daemon", || {
            remove_stale_pid_file()?;
            let log = fs::OpenOptions::new().create(true).append(true).open(Machine::path("dockerd.log"))?;
            // Through setsid, so that it outlives this process and no Ctrl-C of its terminal reaches it.
            let mut dockerd = Command::new("setsid");
            dockerd
                .args(["--fork", "dockerd", "--host", "unix:///var/run/docker.sock"])
                .args(["--data-root".as_ref(), Machine::path("docker").as_os_str()])
                .args([
                    "--exec-root",
                    "/run/switchyard-lab/docker",
                    "--pidfile",
                    "/run/switchyard-lab/docker.pid",
                ])
                .arg(format!("--add-runtime=lab={}", wrapper.display()))
                .arg("--default-runtime=lab")
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log);
            fs::create_dir_all("/run/switchyard-lab")?;
            let output = command::finish("dockerd", &mut dockerd)?;
            ensure!(output.success(), "dockerd did not start: {}", command::last_words(&output));
            wait_for_docker()
        })
    }
}

fn docker_answers() -> bool {
    run("docker", &["version", "--format", "{{.Server.Version}}"]).is_ok_and(|output| output.success())
}

/// dockerd takes any living process with the number in its file for itself, and would refuse to start.
fn remove_stale_pid_file() -> Result<()> {
    let Ok(pid) = fs::read_to_string(PID_FILE) else { return Ok(()) };
    let name = fs::read_to_string(format!("/proc/{}/comm", pid.trim())).unwrap_or_default();
    ensure!(name.trim() != "dockerd", "the lab's dockerd (process {}) runs but does not answer", pid.trim());
    fs::remove_file(PID_FILE).with_context(|| format!("cannot remove {PID_FILE}"))
}

fn wait_for_docker() -> Result<()> {
    let deadline = Instant::now() + DOCKERD_START_MAX;
    while !docker_answers() {
        if Instant::now() > deadline {
            bail!("dockerd does not answer; see {}", Machine::path("dockerd.log").display());
        }
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A machine that does not let us has enough for fewer switches.
fn allow_many_watches() {
    let allowed = fs::read_to_string(WATCHES_FILE).ok().and_then(|text| text.trim().parse::<u32>().ok());
    if allowed.is_some_and(|allowed| allowed < WATCHES) {
        let _ = fs::write(WATCHES_FILE, WATCHES.to_string());
    }
}

/// Installs the packages of those programs that are missing.
pub(crate) fn install_packages(tools: &[(&str, &'static str)]) -> Result<()> {
    let missing = |tool: &str| {
        !["/usr/local/bin", "/usr/bin", "/usr/sbin", "/sbin", "/bin"]
            .iter()
            .any(|directory| Path::new(directory).join(tool).exists())
    };
    let mut packages: Vec<&str> =
        tools.iter().filter(|(tool, _)| missing(tool)).map(|(_, package)| *package).collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    step(&format!("installing {}", packages.join(", ")), || {
        let _quiet = KeepServicesDown::new()?;
        let apt = |args: &[&str]| {
            let mut command = Command::new("apt-get");
            command.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet").args(args).stdin(Stdio::null());
            let output = command::finish("apt-get", &mut command)?;
            ensure!(output.success(), "apt-get {} failed: {}", args[0], command::last_words(&output));
            Ok(())
        };
        apt(&["update"])?;
        apt(&[["install", "--yes", "--no-install-recommends"].as_slice(), packages.as_slice()].concat())
    })
}

/// Keeps package scripts from starting the services they install (Redis on the default port, a second Docker), by the
/// means Debian has for it. An administrator's own policy is left in place.
struct KeepServicesDown {
    ours: bool,
}

impl KeepServicesDown {
    const POLICY: &str = "/usr/sbin/policy-rc.d";

    fn new() -> Result<KeepServicesDown> {
        use std::os::unix::fs::PermissionsExt;

        let ours = !Path::new(Self::POLICY).exists();
        if ours {
            fs::write(Self::POLICY, "#!/bin/sh\nexit 101\n").context("cannot write policy-rc.d")?;
            fs::set_permissions(Self::POLICY, fs::Permissions::from_mode(0o755))?;
        }
        Ok(KeepServicesDown { ours })
    }
}

impl Drop for KeepServicesDown {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(Self::POLICY)
        {
            eprintln!("cannot remove {}: {error}; services that apt installs will not start", Self::POLICY);
        }
    }
}

/// Builds `lab/parts` statically, in a target directory of its own: they run in images that have no C library, and other
/// flags in the usual directory would rebuild the world at every change of command.
fn build_parts() -> Result<PathBuf> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";

    let workspace = workspace();
    let target_dir = workspace.join("target/lab");
    step("building the lab's programs", || {
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(&workspace)
            .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
            .args(["build", "--quiet", "--release", "--package", "switchyard-lab-parts", "--target", TARGET])
            .args(["--config", "profile.release.strip=true", "--target-dir"])
            .arg(&target_dir);
        let output = command::finish("cargo", &mut cargo)?;
        ensure!(output.success(), "the lab's programs do not build:\n{}", output.stderr);
        Ok(target_dir.join(TARGET).join("release"))
    })
}

/// The root of the source tree that this program was built from.
pub(crate) fn workspace() -> PathBuf {
    let lab = Path::new(env!("CARGO_MANIFEST_DIR"));
    lab.parent().unwrap_or(lab).to_owned()
}

/// Replaces a program that may be running, which only a rename can.
fn install(from: &Path, to: &Path) -> Result<()> {
    let draft = to.with_extension("new");
    fs::copy(from, &draft).with_context(|| format!("cannot copy {}", from.display()))?;
    fs::rename(&draft, to).with_context(|| format!("cannot install {}", to.display()))
}

/// Asks the machine's Docker for something and insists on an answer.
pub(crate) fn docker(args: &[&str]) -> Result<String> {
    ok("docker", args)
}
