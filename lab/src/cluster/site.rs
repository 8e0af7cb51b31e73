//! Where a control plane lives: its directory, its address, its ports.
//!
//! Each prefix of switch names (`SWITCHYARD_LAB_PREFIX`) has a control plane of its own, so that two people who stop API
//! servers in their scenarios do not meet. The first one made on a machine gets Kubernetes' usual port 6443.

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::ok;
use crate::machine::{Machine, docker};

/// The ports of slot 0; each further one has its own ten.
const FIRST_PORT: u16 = 6440;
const PORTS_EACH: u16 = 10;
const SLOTS: u16 = 50;

/// What listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Etcd = 0,
    EtcdPeers = 1,
    ApiServer = 3,
    ControllerManager = 4,
    Scheduler = 5,
    Registry = 6,
    RegistryUploads = 7,
}

/// The place of one control plane.
#[derive(Debug, Clone)]
pub(super) struct Site {
    directory: PathBuf,
    slot: u16,
    address: Ipv4Addr,
}

impl Site {
    /// The site of this name, made if there is none.
    pub(super) fn make(name: &str) -> Result<Site> {
        let directory = Site::place(name);
        for part in ["pki", "log", "run", "etcd", "registry"] {
            let path = directory.join(part);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let _lock = Machine::lock()?;
        if read_slot(&directory).is_none() {
            fs::write(directory.join("slot"), free_slot()?.to_string())?;
        }
        Site::find(name)?.context("the site just made is not there")
    }

    /// The site of this name, if one was made.
    pub(super) fn find(name: &str) -> Result<Option<Site>> {
        let directory = Site::place(name);
        let Some(slot) = read_slot(&directory) else { return Ok(None) };
        Ok(Some(Site { directory, slot, address: bridge_address()? }))
    }

    /// A file or directory of the site.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// As [`Site::path`], as an argument of a program.
    pub(super) fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// Writes a file that only root reads, over whatever was there.
    pub(super) fn write_secret(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path(name);
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    pub(super) fn port(&self, port: Port) -> u16 {
        FIRST_PORT + self.slot * PORTS_EACH + port as u16
    }

    /// The machine's address on Docker's bridge: switches reach it, the rest of the world does not.
    pub(super) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Removes everything that was kept.
    pub(super) fn wipe(&self) -> Result<()> {
        fs::remove_dir_all(&self.directory)
            .with_context(|| format!("cannot remove {}", self.directory.display()))
    }

    fn place(name: &str) -> PathBuf {
        Machine::path("cluster").join(name)
    }
}

fn read_slot(directory: &Path) -> Option<u16> {
    fs::read_to_string(directory.join("slot")).ok()?.trim().parse().ok()
}

/// The lowest number that no other site of this machine has.
fn free_slot() -> Result<u16> {
    let mut taken = Vec::new();
    for entry in fs::read_dir(Machine::path("cluster"))? {
        taken.extend(read_slot(&entry?.path()));
    }
    match (0..SLOTS).find(|slot| !taken.contains(slot)) {
        Some(slot) => Ok(slot),
        None => bail!("{SLOTS} control planes were made here; `cargo xtask lab down --all` removes one"),
    }
}

/// Asked of the kernel: Docker tells the gateway of its default network only if somebody configured it.
fn bridge_address() -> Result<Ipv4Addr> {
    let bridge = "{{index .Options \"com.docker.network.bridge.name\"}}";
    let bridge = docker(&["network", "inspect", "--format", bridge, "bridge"])?;
    let answer = ok("ip", &["-4", "-oneline", "address", "show", "dev", &bridge])?;
    parse_address(&answer)
        .with_context(|| format!("Docker's bridge {bridge} has no IPv4 address: {answer:?}"))
}

/// `4: docker0    inet 172.17.0.1/16 brd …`
fn parse_address(line: &str) -> Option<Ipv4Addr> {
    let mut words = line.split_whitespace().skip_while(|word| *word != "inet").skip(1);
    words.next()?.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bridge_address_is_read_from_what_ip_says() {
        let line =
            "4: docker0    inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0\\  valid_lft forever";
        assert_eq!(parse_address(line), Some(Ipv4Addr::new(172, 17, 0, 1)));
        assert_eq!(parse_address(""), None);
    }
}
