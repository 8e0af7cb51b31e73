//! One operation at a time, over all third-party containers of the switch: a kernel file lock with the holder's
//! process and command in it. The file is never unlinked, since one that is could be locked twice.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::OpsError;

/// The lock, let go when dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock. Whoever waits is told for whom, by `tell`.
    pub(super) async fn take(
        path: &Path,
        command: &str,
        wait: bool,
        tell: impl FnOnce(&str),
    ) -> Result<Self, OpsError> {
        let failed = |error: Errno| OpsError::file("lock", path)(error.into());
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(OpsError::file("open", path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let holder = holder(&mut file);
                if !wait {
                    return Err(OpsError::Locked { holder });
                }
                tell(&format!("waiting for another tpcm: {holder}"));
                // The kernel wakes us; nothing else goes on in this process meanwhile.
                file = tokio::task::spawn_blocking(move || {
                    flock(&file, FlockOperation::LockExclusive).map(|()| file)
                })
                .await
                .map_err(|error| OpsError::file("lock", path)(std::io::Error::other(error)))?
                .map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        let mut lock = Self { file };
        lock.note(&format!("process {} ({command})\n", std::process::id()))
            .map_err(OpsError::file("write", path))?;
        Ok(lock)
    }

    fn note(&mut self, text: &str) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Whoever reads it later must not be told of us. The lock itself is the kernel's to take back.
        let _ = self.note("");
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.take(4096).read_to_string(&mut text);
    match text.trim() {
        "" => "it has just begun".to_owned(),
        holder => holder.to_owned(),
    }
}
