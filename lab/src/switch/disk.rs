//! A switch's own disk: an ext4 file system in a sparse file of this machine, of which a power cut takes away what was
//! not synced.
//!
//! All that a real switch keeps of third-party containers over a reboot is on its one partition, so all of it is here:
//! `/host`, Docker's and containerd's data, `/etc` with its units. A disk is made with its switch and goes with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::command::{self, ok};
use crate::machine::{Machine, docker};

/// Sparse: what the features' images and a few third-party containers take is a tenth of it.
const SIZE: u64 = 4 << 30;

/// The last process of a switch has ended, and the kernel lets go of its mounts.
const LET_GO_MAX: Duration = Duration::from_secs(30);

/// Where in a switch what is.
const PLACES: [(&str, &str); 4] = [
    ("/host", "host"),
    ("/var/lib/docker", "docker"),
    ("/var/lib/containerd", "containerd"),
    ("/etc", "etc"),
];

/// The disk of one switch, whether there is one or not.
pub(super) struct Disk {
    file: PathBuf,
    mount: PathBuf,
}

impl Disk {
    pub(super) fn of(switch: &str) -> Disk {
        let disks = directory();
        Disk { file: disks.join(format!("{switch}.ext4")), mount: disks.join(switch) }
    }

    /// Makes an empty one, with the `/etc` of a SONiC image on it.
    pub(super) fn make(&self, image: &str) -> Result<()> {
        self.remove()?;
        fs::create_dir_all(&self.mount).with_context(|| format!("cannot make {}", self.mount.display()))?;
        fs::File::create(&self.file)
            .and_then(|file| file.set_len(SIZE))
            .with_context(|| format!("cannot make {}", self.file.display()))?;
        ok("mke2fs", &["-q".as_ref(), "-t".as_ref(), "ext4".as_ref(), self.file.as_os_str()])?;
        self.mount()?;
        for (_, below) in PLACES {
            fs::create_dir(self.mount.join(below))?;
        }
        let etc = format!("--volume={}:/disk", self.mount.join("etc").display());
        docker(&["run", "--rm", "--network=none", &etc, image, "cp", "--archive", "/etc/.", "/disk"])?;
        Ok(())
    }

    /// What Docker is told so that a switch has it. A mount whose source is missing, after the machine was restarted,
    /// fails; `--volume` would make an empty directory.
    pub(super) fn mounts(&self) -> Vec<String> {
        let mount = |(inside, below): &(&str, &str)| {
            format!("--mount=type=bind,source={},target={inside}", self.mount.join(below).display())
        };
        PLACES.iter().map(mount).collect()
    }

    /// From this instant on nothing reaches the disk, and what was not synced never has. The kernel does it all at once,
    /// so no older block stands beside a newer one, as in a copy that is made while the switch goes on writing.
    pub(super) fn cut(&self) -> Result<()> {
        ok("xfs_io", &["-x".as_ref(), "-c".as_ref(), "shutdown".as_ref(), self.mount.as_os_str()])?;
        ensure!(
            fs::write(self.mount.join("power"), "on").is_err(),
            "{} can still be written after its power was cut",
            self.mount.display()
        );
        Ok(())
    }

    /// Mounts it anew, as a boot does: with what had been synced.
    pub(super) fn mount_anew(&self) -> Result<()> {
        self.unmount()?;
        self.mount()
    }

    /// Unmounts and removes it, whatever an earlier run has left of it.
    pub(super) fn remove(&self) -> Result<()> {
        self.unmount()?;
        if self.file.exists() {
            fs::remove_file(&self.file).with_context(|| format!("cannot remove {}", self.file.display()))?;
        }
        if self.mount.exists() {
            fs::remove_dir(&self.mount).with_context(|| format!("cannot remove {}", self.mount.display()))?;
        }
        Ok(())
    }

    fn mount(&self) -> Result<()> {
        ok("mount", &["-o".as_ref(), "loop".as_ref(), self.file.as_os_str(), self.mount.as_os_str()])
            .map(drop)
    }

    /// Waits for the loop device too: mounted while the old one is there, the file would be the old file system.
    fn unmount(&self) -> Result<()> {
        while self.is_mounted()? {
            ok("umount", &[&self.mount])?;
        }
        let end = Instant::now() + LET_GO_MAX;
        while !command::ok("losetup", &["--associated".as_ref(), self.file.as_os_str()])?.is_empty() {
            ensure!(Instant::now() < end, "{} stays in use", self.file.display());
            sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn is_mounted(&self) -> Result<bool> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the machine's mounts")?;
        let is_it = |line: &str| line.split(' ').nth(1).is_some_and(|at| Path::new(at) == self.mount);
        Ok(mounts.lines().any(is_it))
    }
}

/// The switches of whose disks anything is left, though they themselves may be gone.
pub(crate) fn owners() -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory()) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter_map(|name| name.strip_suffix(".ext4").map(str::to_owned)).collect()
}

fn directory() -> PathBuf {
    Machine::path("disks")
}
