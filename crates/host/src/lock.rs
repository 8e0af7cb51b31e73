//! The track lock: a kernel file lock that makes two copies impossible even when the rows lie (DESIGN.md section 4).
//!
//! The local side holds it shared while it starts a container and for as long as it watches one; a pod with our gate
//! holds it exclusive while it runs the payload. The files stay when nobody holds them: a file that is unlinked
//! could be locked twice.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, open};
use switchyard_core::Instance;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::{HostError, process};

/// Where the lock files live, on the host and mounted into images that bring our gate.
const DIRECTORY: &str = "/run/switchyard";

/// How long a pod that was stopped may take to let go: the kernel does it when its last process is gone.
const RELEASE_MAX: Duration = Duration::from_secs(5);

/// A hold on an instance's track, let go when dropped.
#[derive(Debug)]
pub struct TrackLock {
    _file: OwnedFd,
}

impl TrackLock {
    /// Whether the host's lock directory is mounted here. Images without it are as safe as the rows.
    pub fn is_shared_with_us() -> bool {
        Path::new(DIRECTORY).is_dir()
    }

    /// Whether a pod with our gate runs the payload now, as far as we may look.
    pub fn is_held_exclusively(instance: &Instance) -> bool {
        open_file(instance).is_ok_and(|(file, _)| {
            flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
        })
    }

    /// The local side's hold. Waits a bounded time for a pod that is going.
    pub async fn shared(instance: &Instance) -> Result<Self, HostError> {
        let (file, path) = open_file(instance)?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => return Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(HostError::File { action: "lock", path, source: error.into() }),
        }
        let inode = fstat(&file).map(|status| status.st_ino).ok();
        let waiting = spawn_blocking(move || flock(&file, FlockOperation::LockShared).map(|()| file));
        match timeout(RELEASE_MAX, waiting).await {
            Ok(Ok(Ok(file))) => Ok(Self { _file: file }),
            Ok(Ok(Err(error))) => Err(HostError::File { action: "lock", path, source: error.into() }),
            Ok(Err(_)) | Err(_) => {
                let holder =
                    inode.and_then(process::holder).map(|holder| format!(": {holder}")).unwrap_or_default();
                Err(HostError::TrackHeld(format!(
                    "a pod of {instance} still holds {} {} s after it was stopped{holder}; see: fuser -v {0}",
                    path.display(),
                    RELEASE_MAX.as_secs(),
                )))
            }
        }
    }

    /// The local side's hold if it is to be had now.
    pub fn shared_now(instance: &Instance) -> Option<Self> {
        let (file, _) = open_file(instance).ok()?;
        flock(&file, FlockOperation::NonBlockingLockShared).ok()?;
        Some(Self { _file: file })
    }

    /// A pod's hold, or nothing if the local side has the track.
    pub fn exclusive(instance: &Instance) -> Result<Option<Self>, HostError> {
        let (file, path) = open_file(instance)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(HostError::File { action: "lock", path, source: error.into() }),
        }
    }
}

fn open_file(instance: &Instance) -> Result<(OwnedFd, PathBuf), HostError> {
    let path = PathBuf::from(DIRECTORY).join(format!("{instance}.lock"));
    // Reading is enough to lock, so whoever made the file, group docker can: control scripts run as user admin.
    match open(&path, OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC, Mode::from_raw_mode(0o640)) {
        Ok(file) => Ok((file, path)),
        Err(error) => {
            Err(HostError::File { action: "open the track lock", path, source: explain(error.into()) })
        }
    }
}

fn explain(error: io::Error) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "its directory is missing; run: systemd-tmpfiles --create switchyard.conf",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "/run is full; see: df -i /run; du -x /run"
        }
        io::ErrorKind::PermissionDenied => "run as root or as a member of group docker",
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}: {hint}"))
}
