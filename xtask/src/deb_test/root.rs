//! An empty Debian to install into, with the few things of a switch that the package meets.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use switchyard_lab::command::{Output, ok, step};

use crate::deb;

const SUITE: &str = "bookworm";
/// The command that SONiC ships; recognisable, and it runs.
pub(super) const SONICS: &str = "#!/bin/sh\n# SONiC's own\necho sonic\n";
/// When SONiC's image was built.
const BUILT: Duration = Duration::from_secs(1_700_000_000);
/// The programs whose place the package takes; the second one only with Kubernetes support.
const PROGRAMS: [&str; 2] = [CONTAINER, "/usr/local/bin/ctrmgr_tools.py"];
const CONTAINER: &str = "/usr/local/bin/container";
/// Where dpkg itself and the test keep notes; everything else must be as it was.
const NOT_COMPARED: [&str; 5] = ["proc", "packages", "var/lib/dpkg", "var/log", "var/cache"];

/// The root directory of that Debian.
pub(super) struct Root {
    path: PathBuf,
    /// One test at a time.
    _lock: File,
}

/// What a tree is compared by: kind and permissions, owner, content or target.
pub(super) type Tree = BTreeMap<String, String>;

impl Root {
    /// Unpacks the root anew, from an archive that is made once.
    pub(super) fn prepare() -> Result<Self> {
        let directory = deb::workspace().join("target/deb-test");
        fs::create_dir_all(&directory)?;
        let lock = File::open(&directory)?;
        lock.lock().context("cannot lock target/deb-test")?;
        let archive = directory.join(format!("{SUITE}.tar"));
        if !archive.exists() {
            step("making an empty Debian", || {
                let draft = directory.join("draft.tar");
                ok(
                    "mmdebstrap",
                    &["--quiet", "--variant=essential", "--include=systemd", SUITE, &draft.to_string_lossy()],
                )?;
                Ok(fs::rename(draft, &archive)?)
            })?;
        }
        let path = directory.join("root");
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
        ok("tar", &["-xf", &archive.to_string_lossy(), "-C", &path.to_string_lossy(), "--exclude=./dev/*"])?;
        let root = Self { path, _lock: lock };
        root.must(
            "echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/quick && mknod -m 666 /dev/null c 1 3 && mkdir -p /host /etc/sonic /run/systemd/system /usr/local/yang-models \
             && echo docker:x:59999: >>/etc/group && echo 'module sonic-feature {}' >/usr/local/yang-models/sonic-feature.yang",
        )?;
        Ok(root)
    }

    /// Where a path of that Debian is on this machine.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.path.join(path.trim_start_matches('/'))
    }

    /// Puts SONiC's programs there, or takes them away.
    pub(super) fn set_original(&self, there: bool) -> Result<()> {
        for path in PROGRAMS.map(|program| self.path(program)) {
            if there {
                fs::write(&path, SONICS)?;
                // Its time is compared too: a copy that was given back must be the same in everything.
                File::options().append(true).open(&path)?.set_modified(SystemTime::UNIX_EPOCH + BUILT)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            } else if path.exists() {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Runs a line of shell in that Debian.
    pub(super) fn shell(&self, script: &str) -> Result<Output> {
        let proc = format!("--mount-proc={}", self.path("/proc").display());
        let output = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", &proc, "chroot"])
            .arg(&self.path)
            .args(["/bin/bash", "-c", script])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .output()
            .context("cannot run unshare")?;
        Ok(Output {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a line of shell that has to succeed, and gives what it prints.
    pub(super) fn must(&self, script: &str) -> Result<String> {
        let output = self.shell(script)?;
        ensure!(
            output.success(),
            "`{script}` ended with {}: {}{}",
            output.status,
            output.stdout,
            output.stderr
        );
        Ok(output.text().to_owned())
    }

    /// Runs a line of shell that has to fail.
    pub(super) fn must_fail(&self, script: &str) -> Result<()> {
        let output = self.shell(script)?;
        ensure!(!output.success(), "`{script}` succeeded: {}{}", output.stdout, output.stderr);
        Ok(())
    }

    /// Does `work` while somebody looks all the time whether there is a `container`; if it was ever missing, that is an
    /// error.
    pub(super) fn never_without_container(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let path = self.path(CONTAINER);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut missing = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    missing += u64::from(fs::symlink_metadata(&path).is_err());
                }
                missing
            });
            let result = work();
            done.store(true, Ordering::Relaxed);
            match watcher.join() {
                Ok(0) => result,
                Ok(times) => bail!("{CONTAINER} was missing in {times} of the looks"),
                Err(_) => bail!("the thread that watched {CONTAINER} died"),
            }
        })
    }

    /// Every file with what can be seen of it.
    pub(super) fn tree(&self) -> Result<Tree> {
        let mut tree = Tree::new();
        self.add(&self.path, &mut tree)?;
        Ok(tree)
    }

    /// Compares with a tree of before, and names the differences.
    pub(super) fn check_same(&self, before: &Tree) -> Result<()> {
        let after = self.tree()?;
        let gone = before
            .iter()
            .filter(|(path, _)| !after.contains_key(*path))
            .map(|(path, _)| format!("gone: {path}"));
        let new = after
            .iter()
            .filter(|(path, _)| !before.contains_key(*path))
            .map(|(path, _)| format!("left: {path}"));
        let other = after.iter().filter_map(|(path, now)| {
            let was = before.get(path).filter(|was| *was != now)?;
            Some(format!("{path}: was {was}, is {now}"))
        });
        let differences: Vec<String> = gone.chain(new).chain(other).collect();
        ensure!(differences.is_empty(), "the tree is not as it was: {}", differences.join("; "));
        let diverted = self.must("dpkg-divert --list '*switchyard*' '*container*'")?;
        ensure!(diverted.is_empty(), "a diversion stays: {diverted}");
        Ok(())
    }

    fn add(&self, directory: &Path, tree: &mut Tree) -> Result<()> {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.strip_prefix(&self.path)?.to_string_lossy().into_owned();
            if NOT_COMPARED.contains(&name.as_str()) {
                continue;
            }
            let metadata = fs::symlink_metadata(&path)?;
            let content = if metadata.is_symlink() {
                format!("-> {}", fs::read_link(&path)?.display())
            } else if metadata.is_file() {
                // Whoever changes a large file changes its time or size; reading them all would take most of the test.
                let small = metadata.len() < 65_536;
                let sum = if small { checksum(&fs::read(&path)?) } else { 0 };
                format!("{} bytes, sum {sum:x}, of {}", metadata.len(), metadata.mtime())
            } else {
                String::new()
            };
            let seen = format!("{:o} {}:{} {content}", metadata.mode(), metadata.uid(), metadata.gid());
            tree.insert(name, seen);
            if metadata.is_dir() {
                self.add(&path, tree)?;
            }
        }
        Ok(())
    }
}

/// Enough to tell two versions of a file apart (FNV-1a); nobody tries to deceive this test.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
