//! Carrying TPCs over an ONIE net-install, which formats the partition: one as an archive that any Docker loads, or all
//! with their data as an archive that `import` takes.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use switchyard_core::tpc::TpcName;

use super::api::Report;
use super::append::Appender;
use super::layout::{self, Layout};
use super::record::Record;
use super::services::Services;
use super::steps::blocking;
use super::{OpsError, Tpcm, volume};
use crate::store::Store;

/// Where an import is unpacked before anything of it counts.
pub(super) const STAGING: &str = "import";

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
            whole(file, move |out| Ok(store.write_docker_archive(&[(image, named)], out)?)).await?;
        }
        let mut report = match reports.pop() {
            Some(report) => report,
            // Its container is on another SONiC image: what was saved last is all there is.
            None => self.nothing_saved(&record).await?,
        };
        report.messages.push(format!("written to {}", file.display()));
        Ok(report)
    }

    async fn nothing_saved(&mut self, record: &Record) -> Result<Report, OpsError> {
        use switchyard_core::tpc::{Facts, Operation};
        let entry = self.entry(&record.name, Operation::Save, Facts::default(), Some(record.clone())).await?;
        let mut quiet = super::execute::Quiet;
        let mut live = super::execute::Live::new(&mut quiet);
        Ok(super::execute::report(&entry, Vec::new(), &mut live, true))
    }

    /// Writes all of them with their data.
    pub async fn export_all(&mut self, file: &Path) -> Result<Vec<Report>, OpsError> {
        let reports = self.save(&[]).await?;
        if self.settings.dry_run {
            return Ok(reports);
        }
        let root = self.layout.root().to_owned();
        let names = self.names()?;
        whole(file, move |out| {
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

    /// Takes in what [`Tpcm::export_all`] wrote, and starts it. Those that are installed already are left alone.
    pub async fn import(&mut self, file: &Path) -> Result<Vec<Report>, OpsError> {
        self.begin().await?;
        let size = std::fs::metadata(file).map_err(OpsError::file("read", file))?.len();
        self.has_room("unpacking the archive", size)?;
        if self.settings.dry_run {
            return Ok(Vec::new());
        }
        let staging = self.layout.store().join(STAGING);
        layout::remove_tree(&staging)?;
        layout::create(&staging, 0o700)?;
        let imported = self.import_from(file.to_owned(), staging.clone()).await;
        layout::remove_tree(&staging)?;
        let mut reports = Vec::new();
        for record in imported? {
            reports.extend(self.restore_one(record).await?);
        }
        self.put_vrf_right();
        Ok(reports)
    }

    async fn import_from(&mut self, file: PathBuf, staging: PathBuf) -> Result<Vec<Record>, OpsError> {
        let unpacked = staging.clone();
        let store = blocking(move || {
            let failed = |source| OpsError::file("unpack", &file)(source);
            let mut archive = tar::Archive::new(File::open(&file).map_err(failed)?);
            archive.set_preserve_permissions(true);
            archive.set_preserve_ownerships(true);
            // What would leave the directory is refused by the library.
            archive.unpack(&unpacked).map_err(failed)?;
            let no_export = || OpsError::Damaged {
                path: file.clone(),
                why: "it has no .store in it".to_owned(),
                hint: "import takes what tpcm export --all wrote; an image is installed with: tpcm install",
            };
            if !unpacked.join(".store/version").is_file() {
                return Err(no_export());
            }
            let store = Store::open(&unpacked)?;
            match store.verify()?.first() {
                Some(fault) => {
                    Err(OpsError::Damaged { path: file, why: fault.to_string(), hint: "export it again" })
                }
                None => Ok(store),
            }
        })
        .await?;
        let from = Layout::new(&staging);
        let mut taken = Vec::new();
        for mut record in Record::load_all(&from)? {
            let name = record.name.clone();
            if Record::load(&self.layout, &name)?.is_some() {
                tracing::warn!("{name} is installed already: it is not imported");
                continue;
            }
            self.name_is_free(&name).await?;
            // Containers do not travel; the restore makes it from the newest image.
            record.container = None;
            self.admitted(&name, &record.current)?;
            taken.push(record);
        }
        merge(store.path(), self.store.path())?;
        for record in &taken {
            let (source, target) = (from.volume(&record.name), self.layout.volume(&record.name));
            if source.is_dir() {
                blocking(move || volume::copy(&source, &target, &mut volume::Copied::default())).await?;
            }
            let (source, target) = (from.before(&record.name), self.layout.before(&record.name));
            layout::create(&self.layout.of(&record.name), 0o700)?;
            if source.is_dir() {
                blocking(move || volume::copy(&source, &target, &mut volume::Copied::default())).await?;
            }
            record.store(&self.layout)?;
        }
        if from.shared().is_dir() && !self.layout.shared().exists() {
            layout::rename(&from.shared(), &self.layout.shared())?;
        }
        Ok(taken)
    }
}

/// Blobs that are not here yet. They are named by their content, so none is ever replaced; configs come last.
fn merge(from: &Path, to: &Path) -> Result<(), OpsError> {
    for directory in ["layers/sha256", "images"] {
        let mut names = layout::entries(&from.join(directory))?;
        names.sort_by_key(|name| Path::new(name).extension().is_some_and(|kind| kind == "json"));
        for name in names {
            let target = to.join(directory).join(&name);
            if !target.exists() {
                layout::rename(&from.join(directory).join(&name), &target)?;
            }
        }
    }
    Ok(())
}

/// A file that is whole or not there: half an archive would be taken for one. For root alone, since it holds arguments and
/// data that others may not read.
async fn whole(
    file: &Path,
    write: impl FnOnce(&mut File) -> Result<(), OpsError> + Send + 'static,
) -> Result<(), OpsError> {
    let mut fresh = file.as_os_str().to_owned();
    fresh.push(".part");
    let (file, fresh) = (file.to_owned(), PathBuf::from(fresh));
    blocking(move || {
        // One that was killed may have left it. A link is removed, not followed.
        layout::remove(&fresh)?;
        let created = File::options().write(true).create_new(true).mode(0o600).open(&fresh);
        let written = created.map_err(OpsError::file("create", &fresh)).and_then(|mut out| {
            write(&mut out)?;
            out.sync_all().map_err(OpsError::file("write", &fresh))
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
    use std::io::Write as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[tokio::test]
    async fn an_export_is_for_root_alone_and_is_written_through_no_link() {
        let root = tempfile::tempdir().unwrap();
        let (file, other) = (root.path().join("out.tar"), root.path().join("other"));
        std::fs::write(&other, "not ours").unwrap();
        symlink(&other, root.path().join("out.tar.part")).unwrap();
        let write =
            |out: &mut File| out.write_all(b"archive").map_err(OpsError::file("write", Path::new("out")));
        whole(&file, write).await.unwrap();
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "not ours");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "archive");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 2, "nothing is left beside it");
    }
}
