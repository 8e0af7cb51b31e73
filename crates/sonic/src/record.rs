//! What the switch remembers of an instance's versions, kept on /host: STATE_DB is lost at every boot, and a version
//! that failed before it must be known to have failed after it (DESIGN.md section 4, *Fallback*).
//!
//! One JSON file an instance. What it means is `core::Record`'s; here it is only kept. A record that is missing, torn
//! or garbage is an empty one: no feature is held up by a file. Who changes it holds a lock, so that the command line
//! and the agent do not lose each other's change, and the file is replaced as a whole.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use switchyard_core::{
    CurrentOwner, Failure, FeatureName, Instance, Moment, NameError, Record, ShortRuns, Version, Words,
    resolve,
};
use tracing::warn;

use crate::{Paths, SonicError};

/// Raised when a field changes its meaning; new fields leave it, since older readers ignore what they do not know.
const FORMAT: u32 = 1;

/// A full record has some 8 KiB. What is longer is not ours, and must not fill the memory of a switch.
const SIZE_MAX: u64 = 256 * 1024;

/// How long another program may hold the lock: it writes one small file.
const LOCK_TIME_MAX: Duration = Duration::from_secs(5);

const HINT: &str = "make it with: systemd-tmpfiles --create switchyard.conf";

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What is remembered of an instance's versions. Nothing readable is nothing remembered; a file that is there and
/// says nothing is logged.
pub fn load(paths: &Paths, instance: &Instance) -> Record {
    let file = file(paths, instance);
    read(&file).unwrap_or_else(|why| {
        warn!(file = %file.display(), %why, "what was remembered of versions is lost");
        Record::default()
    })
}

/// Replaces what is remembered, whatever it was. For one change of it see [`change`].
pub fn store(paths: &Paths, instance: &Instance, record: &Record) -> Result<(), SonicError> {
    let _locked = lock(paths, LOCK_TIME_MAX)?;
    write(paths, instance, record)
}

/// Reads, changes and writes as one. Nothing is written if nothing changed.
pub fn change<R>(
    paths: &Paths,
    instance: &Instance,
    change: impl FnOnce(&mut Record) -> R,
) -> Result<R, SonicError> {
    let _locked = lock(paths, LOCK_TIME_MAX)?;
    let before = load(paths, instance);
    let mut record = before.clone();
    let result = change(&mut record);
    if record != before {
        write(paths, instance, &record)?;
    }
    Ok(result)
}

/// All instances of which something is remembered. Of a directory that cannot be read, none: as of a record.
pub fn instances(paths: &Paths, asics: u8) -> Vec<Instance> {
    let files = fs::read_dir(directory(paths)).into_iter().flatten().flatten();
    let names = files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".json")?.to_owned()));
    // Only where there are several ASICs do the digits at a name's end stand for one.
    let is_feature = |name: &FeatureName| asics > 1 && !name.as_str().ends_with(|c: char| c.is_ascii_digit());
    let mut instances: Vec<_> = names.filter_map(|name| resolve(&name, asics, is_feature).ok()).collect();
    instances.sort();
    instances
}

/// Now, by a clock that nobody can set and that goes on while the switch is suspended.
pub fn moment() -> Result<Moment, SonicError> {
    let boot = fs::read_to_string(BOOT_ID)
        .map_err(|source| SonicError::FileUnreadable { file: BOOT_ID.into(), source })?;
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(now.tv_nsec).unwrap_or_default();
    Ok(Moment { boot: boot.trim().to_owned(), since_boot: Duration::new(seconds, nanoseconds) })
}

fn directory(paths: &Paths) -> PathBuf {
    paths.host.join("switchyard/versions")
}

fn file(paths: &Paths, instance: &Instance) -> PathBuf {
    directory(paths).join(format!("{instance}.json"))
}

/// One file for all instances, never unlinked nor replaced, which others than group docker may not even open: whoever
/// may read a file can hold a lock on it.
fn lock(paths: &Paths, at_most: Duration) -> Result<File, SonicError> {
    let path = directory(paths).join("lock");
    let opened = open(&path, OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC, Mode::from_raw_mode(0o640));
    let file = File::from(opened.map_err(|error| match error {
        rustix::io::Errno::NOENT => SonicError::FileMissing { file: directory(paths), hint: HINT },
        error => unwritable(&path, error.into()),
    })?);
    let failed = |error: rustix::io::Errno| unwritable(&path, error.into());
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => return Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {}
        Err(error) => return Err(failed(error)),
    }
    // A thread, because the kernel knows no lock with a time limit: the holder may have been stopped.
    let (done, waiting) = mpsc::channel();
    let wait = move || {
        let locked = flock(&file, FlockOperation::LockExclusive).map(|()| file);
        // If nobody waits any more the lock is let go with the file.
        drop(done.send(locked));
    };
    std::thread::Builder::new().spawn(wait).map_err(|error| unwritable(&path, error))?;
    waiting
        .recv_timeout(at_most)
        .map_err(|_| SonicError::TimedOut {
            what: format!("the lock on {} (see: fuser -v {0})", path.display()),
            after: at_most,
        })?
        .map_err(failed)
}

fn unwritable(file: &Path, source: io::Error) -> SonicError {
    SonicError::FileUnwritable { file: file.to_owned(), source }
}

fn write(paths: &Paths, instance: &Instance, record: &Record) -> Result<(), SonicError> {
    let file = file(paths, instance);
    replace(&directory(paths), &file, record).map_err(|source| unwritable(&file, source))
}

/// After a power cut the file holds either what it held or all of the new.
fn replace(directory: &Path, file: &Path, record: &Record) -> io::Result<()> {
    let text = serde_json::to_vec(&Stored::from(record))?;
    let new = file.with_extension("new");
    // What a broken-off write left may belong to another user, who alone could change its mode.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut written = File::options().write(true).create_new(true).open(&new)?;
    // Root and, through group docker, the user that control scripts run as both write here.
    written.set_permissions(Permissions::from_mode(0o664))?;
    written.write_all(&text)?;
    written.sync_all()?;
    fs::rename(&new, file)?;
    File::open(directory)?.sync_all()
}

fn read(file: &Path) -> Result<Record, String> {
    let opened = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Record::default()),
        opened => opened.map_err(|error| error.to_string())?,
    };
    let mut bytes = Vec::new();
    opened.take(SIZE_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > SIZE_MAX {
        return Err(format!("it is longer than {SIZE_MAX} bytes"));
    }
    let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if stored.format != FORMAT {
        return Err(format!("it has format {}, this Switchyard reads {FORMAT}", stored.format));
    }
    stored.record().map_err(|error| error.to_string())
}

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    format: u32,
    #[serde(default)]
    last_ran: Option<String>,
    #[serde(default)]
    accepted: Option<String>,
    #[serde(default)]
    failures: Vec<StoredFailure>,
    #[serde(default)]
    short_runs: Option<StoredRuns>,
    #[serde(default)]
    told_owner: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredRuns {
    version: String,
    times: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredFailure {
    version: String,
    times: u32,
    boot: String,
    since_boot: Duration,
}

impl From<&Record> for Stored {
    fn from(record: &Record) -> Self {
        let Record { last_ran, accepted, failures, short_runs, told_owner } = record;
        let text = |version: &Option<Version>| version.as_ref().map(Version::to_string);
        Self {
            format: FORMAT,
            last_ran: text(last_ran),
            accepted: text(accepted),
            failures: failures.iter().map(StoredFailure::from).collect(),
            short_runs: short_runs
                .as_ref()
                .map(|runs| StoredRuns { version: runs.version.to_string(), times: runs.times }),
            told_owner: told_owner.as_ref().map(CurrentOwner::to_string),
        }
    }
}

impl From<&Failure> for StoredFailure {
    fn from(failure: &Failure) -> Self {
        let Failure { version, times, last: Moment { boot, since_boot } } = failure;
        Self { version: version.to_string(), times: *times, boot: boot.clone(), since_boot: *since_boot }
    }
}

impl Stored {
    fn record(self) -> Result<Record, NameError> {
        let version = |text: Option<String>| text.map(|text| Version::parse(&text)).transpose();
        Ok(Record {
            last_ran: version(self.last_ran)?,
            accepted: version(self.accepted)?,
            failures: self.failures.into_iter().map(StoredFailure::failure).collect::<Result<_, _>>()?,
            short_runs: self.short_runs.map(StoredRuns::runs).transpose()?,
            // A word that means nobody costs one line of news, and not all that is known of versions.
            told_owner: self.told_owner.and_then(|word| CurrentOwner::from_word(&word)),
        })
    }
}

impl StoredRuns {
    fn runs(self) -> Result<ShortRuns, NameError> {
        Ok(ShortRuns { version: Version::parse(&self.version)?, times: self.times })
    }
}

impl StoredFailure {
    fn failure(self) -> Result<Failure, NameError> {
        Ok(Failure {
            version: Version::parse(&self.version)?,
            times: self.times,
            last: Moment { boot: self.boot, since_boot: self.since_boot },
        })
    }
}

#[cfg(test)]
mod tests;
