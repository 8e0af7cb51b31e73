//! Carrying TPCs over an ONIE net-install, which formats the partition: one as an archive that any Docker loads, or all
//! with their data as an archive that `import` takes.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use switchyard_core::tpc::TpcName;

use super::api::Report;
use super::append::Appender;
use super::interrupts::{Interrupts, or_interrupted};
use super::layout;
use super::record::Record;
use super::services::Services;
use super::steps::blocking;
use super::{OpsError, Tpcm};

/// What of the store is carried.
const CARRIED: [&str; 5] = ["version", "defaults.json", "images", "layers", "tpcs"];

impl<S: Services> Tpcm<S> {
    /// Writes one TPC, its writable layer included, as `docker save` would.
    pub async fn export(&mut self, name: &TpcName, file: &Path) -> Result<Report, OpsError> {
        let mut reports = self.save(std::slice::from_ref(name)).await?;
        let record = self.record(name)?;
        if !self.settings.dry_run {
            let image = record.current.newest().clone();
            let named = Some(format!("{}:latest", name.repository()));
            let store = self.store.clone();
            let write = move |out: &mut Out| Ok(store.write_docker_archive(&[(image, named)], out)?);
            whole(&mut self.interrupts, file, write).await?;
        }
        let mut report = match reports.pop() {
            Some(report) => report,
            // Its container is on another SONiC image: what was saved last is all there is.
            None => self.nothing_saved(&record).await?,
        };
        let written = if self.settings.dry_run { "it would be written" } else { "written" };
        report.messages.push(format!("{written} to {}", file.display()));
        Ok(report)
    }

    async fn nothing_saved(&mut self, record: &Record) -> Result<Report, OpsError> {
        use switchyard_core::tpc::{Facts, Operation};
        let entry = self.entry(&record.name, Operation::Save, Facts::default(), Some(record.clone())).await?;
        let mut quiet = super::execute::Quiet;
        let mut live = super::execute::Live::new(&mut quiet);
        let done = !self.settings.dry_run;
        Ok(super::execute::report(&entry, Vec::new(), &mut live, done))
    }

    /// Writes all of them with their data.
    pub async fn export_all(&mut self, file: &Path) -> Result<Vec<Report>, OpsError> {
        let reports = self.save(&[]).await?;
        if self.settings.dry_run {
            return Ok(reports);
        }
        let root = self.layout.root().to_owned();
        let names = self.names()?;
        whole(&mut self.interrupts, file, move |out| {
            let mut tar = Appender::new(out);
            let parts = CARRIED.map(|part| Path::new(".store").join(part)).into_iter();
            let volumes = names.iter().map(|name| PathBuf::from(name.as_str()));
            for path in parts.chain(volumes).chain([PathBuf::from(".shared")]) {
                tar.append(&root, &path).map_err(OpsError::file("export", &root.join(&path)))?;
            }
            tar.finish().map(drop).map_err(OpsError::file("export", &root))
        })
        .await?;
        Ok(reports)
    }
}

/// An archive that is being written, until a signal comes.
struct Out {
    file: File,
    given_up: Arc<AtomicBool>,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.given_up.load(Relaxed) {
            return Err(io::Error::other("given up"));
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file that is whole or not there: half an archive would be taken for one. For root alone, since it holds arguments and
/// data that others may not read.
async fn whole(
    interrupts: &mut Option<Interrupts>,
    file: &Path,
    write: impl FnOnce(&mut Out) -> Result<(), OpsError> + Send + 'static,
) -> Result<(), OpsError> {
    let given_up = Arc::new(AtomicBool::new(false));
    let mut writing = std::pin::pin!(write_whole(file, given_up.clone(), write));
    match or_interrupted(interrupts, writing.as_mut()).await {
        Err(signal @ OpsError::Interrupted(_)) => {
            given_up.store(true, Relaxed);
            writing.await.map_err(|_| signal)
        }
        written => written,
    }
}

async fn write_whole(
    file: &Path,
    given_up: Arc<AtomicBool>,
    write: impl FnOnce(&mut Out) -> Result<(), OpsError> + Send + 'static,
) -> Result<(), OpsError> {
    let mut fresh = file.as_os_str().to_owned();
    fresh.push(".part");
    let (file, fresh) = (file.to_owned(), PathBuf::from(fresh));
    blocking(move || {
        // One that was killed may have left it. A link is removed, not followed.
        layout::remove(&fresh)?;
        let created = File::options().write(true).create_new(true).mode(0o600).open(&fresh);
        let written = created.map_err(OpsError::file("create", &fresh)).and_then(|file| {
            let mut out = Out { file, given_up };
            write(&mut out)?;
            out.file.sync_all().map_err(OpsError::file("write", &fresh))
        });
        match written {
            Ok(()) => layout::rename(&fresh, &file),
            Err(error) => {
                let _ = std::fs::remove_file(&fresh);
                Err(error)
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[tokio::test]
    async fn an_export_is_for_root_alone_and_is_written_through_no_link() {
        let root = tempfile::tempdir().unwrap();
        let (file, other) = (root.path().join("out.tar"), root.path().join("other"));
        std::fs::write(&other, "not ours").unwrap();
        symlink(&other, root.path().join("out.tar.part")).unwrap();
        let write =
            |out: &mut Out| out.write_all(b"archive").map_err(OpsError::file("write", Path::new("out")));
        whole(&mut None, &file, write).await.unwrap();
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "not ours");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "archive");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 2, "nothing is left beside it");
    }

    #[tokio::test]
    async fn a_signal_ends_an_export_and_leaves_no_part_of_it() {
        use rustix::process::{Signal, getpid, kill_process};
        let root = tempfile::tempdir().unwrap();
        let mut interrupts = Some(Interrupts::listen().unwrap());
        let endless = |out: &mut Out| {
            kill_process(getpid(), Signal::TERM).unwrap();
            loop {
                out.write_all(b"archive").map_err(OpsError::file("write", Path::new("out")))?;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        };
        let error = whole(&mut interrupts, &root.path().join("out.tar"), endless).await.unwrap_err();
        assert!(matches!(error, OpsError::Interrupted(15)), "{error}");
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
