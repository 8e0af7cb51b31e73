//! What a payload leaves in `/run/payload` on the switch: lock, port, and the log of when it ran.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

const DIRECTORY: &str = "/run/payload";

/// The files of one payload instance.
#[derive(Debug)]
pub(super) struct Record {
    instance: String,
    directory: PathBuf,
}

impl Record {
    /// The record of `instance` in the switch's directory, which every feature container has mounted.
    pub(super) fn open(instance: &str) -> Result<Record> {
        Record::open_in(Path::new(DIRECTORY), instance)
    }

    fn open_in(directory: &Path, instance: &str) -> Result<Record> {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(Record { instance: instance.to_owned(), directory: directory.to_owned() })
    }

    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    /// Takes the referee's lock, which the returned file holds until it is closed; `None` if another copy has it.
    pub(super) fn lock(&self) -> Result<Option<File>> {
        let path = self.directory.join(format!("{}.lock", self.instance));
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    /// Leaves the proof that two copies met; the scenarios look for it after each step.
    pub(super) fn contended(&self) -> Result<()> {
        self.append(&format!("CONTENDED.{}", self.instance), "contended")
    }

    /// Notes that the payload now runs or stopped running.
    pub(super) fn log(&self, event: &str) -> Result<()> {
        self.append(&format!("{}.log", self.instance), event)
    }

    /// Publishes where this copy serves; renamed into place so that nobody reads half a number.
    pub(super) fn write_port(&self, port: u16) -> Result<()> {
        let path = self.directory.join(format!("{}.port", self.instance));
        let draft = path.with_extension("port.new");
        fs::write(&draft, format!("{port}\n"))?;
        fs::rename(&draft, &path).with_context(|| format!("cannot write {}", path.display()))
    }

    fn append(&self, file: &str, event: &str) -> Result<()> {
        let path = self.directory.join(file);
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        // One write, so that two copies cannot mix their lines.
        file.write_all(format!("{} {event} container={}\n", boottime_ns(), container_id()).as_bytes())?;
        Ok(())
    }
}

/// The port on which `instance` last served.
pub(super) fn read_port(instance: &str) -> Result<u16> {
    let path = Path::new(DIRECTORY).join(format!("{instance}.port"));
    let text = fs::read_to_string(&path).with_context(|| format!("no payload {instance} has run here"))?;
    text.trim().parse().with_context(|| format!("{} holds no port", path.display()))
}

/// Nanoseconds since boot, suspended time included: comparable between containers, untouched by clock changes.
pub(super) fn boottime_ns() -> i128 {
    let now = clock_gettime(ClockId::Boottime);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

/// The first 12 digits of this container's id, from its cgroup; the host name is no help, since SONiC's containers
/// share the switch's.
pub(super) fn container_id() -> String {
    fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.contains(":memory:")).or_else(|| text.lines().next())?;
            let id = line.rsplit('/').next()?.to_owned();
            (id.len() >= 12).then(|| id.chars().take(12).collect())
        })
        .unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_copy_is_refused_and_leaves_its_mark() {
        let directory = std::env::temp_dir().join(format!("switchyard-payload-{}", std::process::id()));
        let first = Record::open_in(&directory, "bgp").unwrap();
        let second = Record::open_in(&directory, "bgp").unwrap();
        let other = Record::open_in(&directory, "bgp0").unwrap();

        let held = first.lock().unwrap();
        assert!(held.is_some());
        assert!(second.lock().unwrap().is_none(), "two copies of bgp must never both hold the lock");
        assert!(other.lock().unwrap().is_some(), "bgp0 is another instance");
        second.contended().unwrap();
        assert!(fs::read_to_string(directory.join("CONTENDED.bgp")).unwrap().contains(" contended "));

        drop(held);
        assert!(second.lock().unwrap().is_some(), "a payload that ended frees its place");
        fs::remove_dir_all(&directory).unwrap();
    }
}
