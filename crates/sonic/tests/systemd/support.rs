//! A real systemd for a test: a user manager of nobody's, on a bus and in control groups of its own.
//!
//! It takes jobs, sends signals and refuses as the system's does; only its units run without root's rights.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use switchyard_sonic::Units;
use tempfile::TempDir;

const NOBODY: u32 = 65534;
const START_TIME_MAX: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// Joins the groups, so that nothing is moved about in anybody else's, and pretends that the machine was booted with
/// systemd, which a container may not have been.
const LAUNCH: &str = r#"
set -e
for group in $GROUPS_OF_ITS_OWN; do echo $$ >"$group/cgroup.procs"; done
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
exec setpriv --reuid=65534 --regid=65534 --clear-groups /lib/systemd/systemd --user --unit=dbus.socket
"#;

/// Its bus is as any session's, but lets root in. systemd joins it only if these units are called so.
const BUS: [(&str, &str); 2] = [
    ("dbus.socket", "[Socket]\nListenStream=%t/bus\n"),
    (
        "dbus.service",
        "[Unit]\nRequires=dbus.socket\n[Service]\nType=notify\n\
         ExecStart=/usr/bin/dbus-daemon --config-file=%h/bus.conf --nofork --nopidfile\n",
    ),
];

const BUS_CONFIG: &str =
    "<busconfig><type>session</type><listen>systemd:</listen><auth>EXTERNAL</auth><policy context='default'>
    <allow user='*'/><allow send_destination='*' eavesdrop='true'/><allow eavesdrop='true'/><allow own='*'/>
    </policy></busconfig>";

/// A running systemd, ended with all its units when dropped.
pub(crate) struct Systemd {
    home: TempDir,
    groups: Vec<PathBuf>,
    process: Child,
}

impl Systemd {
    /// Starts it with these unit files, each a name and its text.
    pub(crate) async fn with(units: &[(&str, &str)]) -> (Self, Units) {
        let home = tempfile::tempdir().unwrap();
        let unit_dir = home.path().join(".local/share/systemd/user");
        fs::create_dir_all(&unit_dir).unwrap();
        fs::create_dir(home.path().join("run")).unwrap();
        for (name, text) in units.iter().chain(&BUS) {
            fs::write(unit_dir.join(name), text).unwrap();
        }
        fs::write(home.path().join("bus.conf"), BUS_CONFIG).unwrap();
        give_to_nobody(home.path());
        let groups = make_groups();
        let names: Vec<_> = groups.iter().map(|group| group.display().to_string()).collect();
        let process = Command::new("unshare")
            .args(["--mount", "sh", "-c", LAUNCH])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", home.path())
            .env("XDG_RUNTIME_DIR", home.path().join("run"))
            .env("GROUPS_OF_ITS_OWN", names.join(" "))
            .stdout(Stdio::null())
            .spawn()
            .expect("these tests run as root and need: apt-get install util-linux systemd dbus-daemon");
        let mut systemd = Self { home, groups, process };
        let units = systemd.connect().await;
        (systemd, units)
    }

    /// Runs its systemctl, for what [`Units`] does not do.
    pub(crate) fn systemctl(&self, arguments: &[&str]) {
        let done = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "systemctl", "--user"])
            .args(arguments)
            .env("XDG_RUNTIME_DIR", self.home.path().join("run"))
            .status();
        assert!(done.unwrap().success());
    }

    /// Makes a file in its home directory, which units call `%h`.
    pub(crate) fn touch(&self, name: &str) {
        fs::write(self.home.path().join(name), "").unwrap();
    }

    async fn connect(&mut self) -> Units {
        let begin = Instant::now();
        loop {
            if let Ok(units) = Units::connect_to(&address(&self.home)).await
                && units.status("dbus.service").await.is_ok_and(|status| status.is_up())
            {
                return units;
            }
            if let Some(end) = self.process.try_wait().unwrap() {
                panic!(
                    "systemd ended at once ({end}); its words are above. Needs root, systemd and dbus-daemon"
                );
            }
            assert!(
                begin.elapsed() < START_TIME_MAX,
                "systemd does not come up: {:?}",
                Units::connect_to(&address(&self.home)).await.err()
            );
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        let begin = Instant::now();
        // A unit may be just forking: again until nobody is left.
        while !self.groups.iter().all(|group| is_gone(group)) && begin.elapsed() < START_TIME_MAX {
            std::thread::sleep(PAUSE);
        }
        let _ = self.process.wait();
    }
}

fn address(home: &TempDir) -> String {
    format!("unix:path={}/run/bus", home.path().display())
}

fn give_to_nobody(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_to_nobody(&entry.unwrap().path());
        }
    }
}

/// A group in each hierarchy that systemd itself uses: one with cgroup v2, two or one with v1.
fn make_groups() -> Vec<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let groups: Vec<_> = ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"]
        .iter()
        .map(Path::new)
        .filter(|hierarchy| hierarchy.join("cgroup.procs").exists())
        .map(|hierarchy| hierarchy.join(format!("switchyard-test-{}-{count}", std::process::id())))
        .collect();
    for group in &groups {
        fs::create_dir(group).expect("these tests make control groups: they run as root, with them writable");
        give_to_nobody(group);
    }
    groups
}

/// Kills who is in a group and below it, and removes it. Whether that has succeeded already.
fn is_gone(group: &Path) -> bool {
    let Ok(entries) = fs::read_dir(group) else { return true };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        is_gone(&entry.path());
    }
    for pid in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
        let _ = Command::new("kill").args(["-s", "KILL", pid]).stderr(Stdio::null()).status();
    }
    fs::remove_dir(group).is_ok()
}
