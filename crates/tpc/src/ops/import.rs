//! Bringing back what `export --all` wrote.
//!
//! The archive is unpacked beside the store, checked, and then moved into its places one TPC after the other; nothing is
//! copied, so it needs room once. As long as the directory that it is unpacked into is there, the import is not over:
//! recovery takes away what has no record yet, and a second import takes the rest.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rustix::fs::{XattrFlags, lsetxattr};
use rustix::io::Errno;
use switchyard_core::tpc::{Defaults, TpcName};
use tar::{Archive, Entry, EntryType};

use super::api::Report;
use super::append::ATTRIBUTE;
use super::execute::fail_point;
use super::layout::{self, Layout};
use super::record::Record;
use super::services::Services;
use super::steps::blocking;
use super::tree::Directory;
use super::{OpsError, Tpcm};
use crate::store::Store;

/// Where an import is unpacked before anything of it counts.
const STAGING: &str = "import";

/// A record with its whole history is far smaller.
const RECORD_MAX: u64 = 4 << 20;

/// What of an archive is imported.
struct Chosen {
    taken: Vec<Record>,
    /// What the operator should know of the rest.
    messages: Vec<String>,
}

impl<S: Services> Tpcm<S> {
    /// Takes in what [`Tpcm::export_all`] wrote, and starts it. Those that are installed already are left alone.
    pub async fn import(&mut self, file: &Path) -> Result<Vec<Report>, OpsError> {
        self.begin().await?;
        let chosen = if self.settings.dry_run {
            let archive = file.to_owned();
            let records = blocking(move || look_into(&archive)).await?;
            self.choose(records).await?
        } else {
            let size = fs::metadata(file).map_err(OpsError::file("read", file))?.len();
            self.has_room("unpacking the archive", size)?;
            let imported = self.import_from(file).await;
            self.end_import().await?;
            imported?
        };
        let (mut reports, failure) = self.restore_all(chosen.taken).await;
        if let Some(first) = reports.first_mut() {
            first.messages.extend(chosen.messages);
        }
        failure.map_or(Ok(reports), Err)
    }

    async fn import_from(&mut self, file: &Path) -> Result<Chosen, OpsError> {
        let staging = self.layout.store().join(STAGING);
        layout::create(&staging, 0o700)?;
        let from = Layout::new(&staging);
        let (archive, unpacked) = (file.to_owned(), from.clone());
        let (store, records) = blocking(move || {
            unpack(&archive, unpacked.root())?;
            checked(&archive, &unpacked)
        })
        .await?;
        fail_point("import_unpack", "after")?;
        let hint = "it came with the archive: export it again";
        let theirs: Option<Defaults> = layout::read_json(&from.defaults(), hint)?;
        let ours = self.layout.defaults().exists();
        // They have a say in what is admitted; kept they are only if something is.
        if let Some(theirs) = theirs.filter(|_| !ours) {
            self.defaults = theirs;
        }
        let mut chosen = self.choose(records).await?;
        if ours && from.defaults().exists() {
            chosen.messages.push("defaults.json stays as it is here".to_owned());
        } else if from.defaults().exists() {
            layout::rename(&from.defaults(), &self.layout.defaults())?;
        }
        merge(store.path(), self.store.path())?;
        chosen.messages.extend(self.take_shared(&from)?);
        for record in &chosen.taken {
            self.take_in(&from, record)?;
        }
        Ok(chosen)
    }

    /// Those that can come, or why none can.
    async fn choose(&mut self, records: Vec<Record>) -> Result<Chosen, OpsError> {
        let (mut taken, mut installed) = (Vec::new(), Vec::new());
        for mut record in records {
            let name = record.name.clone();
            if Record::load(&self.layout, &name)?.is_some() {
                installed.push(name.to_string());
                continue;
            }
            self.name_is_free(&name).await?;
            let volume = self.layout.volume(&name);
            if fs::symlink_metadata(&volume).is_ok() {
                return Err(OpsError::DataInTheWay(volume));
            }
            // Containers do not travel; the restore makes it from the newest image.
            record.container = None;
            self.admitted(&name, &record.current)?;
            taken.push(record);
        }
        let installed = installed.join(", ");
        match (taken.is_empty(), installed.is_empty()) {
            (true, false) => Err(OpsError::NothingImported(installed)),
            (_, true) => Ok(Chosen { taken, messages: Vec::new() }),
            (false, false) => {
                let messages = vec![format!("{installed}: installed already, not imported")];
                Ok(Chosen { taken, messages })
            }
        }
    }

    /// Data and record of one TPC come into being. Between the two a mark says that the data is not anybody's yet.
    fn take_in(&self, from: &Layout, record: &Record) -> Result<(), OpsError> {
        let (name, mark) = (&record.name, self.layout.importing(&record.name));
        layout::remove_tree(&self.layout.of(name))?;
        layout::create(&self.layout.of(name), 0o700)?;
        layout::write(&mark, b"", 0o600)?;
        let volume = (from.volume(name), self.layout.volume(name));
        let before = (from.before(name), self.layout.before(name));
        for (source, target) in [volume, before] {
            if source.is_dir() {
                layout::rename(&source, &target)?;
            }
        }
        fail_point("import_volume", "after")?;
        record.store(&self.layout)?;
        fail_point("import_record", "after")?;
        layout::remove(&mark)
    }

    /// What all have together: what is here already stays as it is.
    fn take_shared(&self, from: &Layout) -> Result<Option<String>, OpsError> {
        let (source, target) = (from.shared(), self.layout.shared());
        if !source.is_dir() {
            return Ok(None);
        }
        if fs::symlink_metadata(&target).is_err() {
            return layout::rename(&source, &target).map(|()| None);
        }
        let here = Directory::open(&target).map_err(OpsError::file("open", &target))?;
        let theirs = Directory::open(&source).and_then(|directory| directory.names());
        let mut kept = Vec::new();
        for name in theirs.map_err(OpsError::file("read", &source))? {
            if fs::symlink_metadata(here.at(&name)).is_ok() {
                kept.push(name.to_string_lossy().into_owned());
            } else {
                fs::rename(source.join(&name), here.at(&name)).map_err(OpsError::file("move", &source))?;
            }
        }
        here.sync().map_err(OpsError::file("write", &target))?;
        let kept = kept.join(", ");
        Ok((!kept.is_empty()).then(|| format!("in /tpc_shared, these stay as they are here: {kept}")))
    }

    /// What an import leaves beside its TPCs goes, and what of it has no record. Done after each, also after one that was
    /// killed.
    pub(super) async fn end_import(&mut self) -> Result<(), OpsError> {
        let staging = self.layout.store().join(STAGING);
        if !staging.exists() {
            return Ok(());
        }
        let names = layout::entries(&self.layout.records())?;
        for name in names.iter().filter_map(|name| TpcName::parse(name).ok()) {
            if !self.layout.importing(&name).exists() {
                continue;
            }
            if Record::load(&self.layout, &name)?.is_none() {
                layout::remove_tree(&self.layout.volume(&name))?;
                layout::remove_tree(&self.layout.of(&name))?;
            } else {
                layout::remove(&self.layout.importing(&name))?;
            }
        }
        let (roots, store) = (self.roots(None)?, self.store.clone());
        blocking(move || Ok(store.prune(&roots).map(drop)?)).await?;
        layout::remove_tree(&staging)
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

fn damaged(file: &Path, why: String) -> OpsError {
    OpsError::Damaged { path: file.to_owned(), why, hint: "export it again" }
}

/// The records of an archive that is not unpacked.
fn look_into(file: &Path) -> Result<Vec<Record>, OpsError> {
    let failed = |source| OpsError::file("read", file)(source);
    let mut archive = Archive::new(File::open(file).map_err(failed)?);
    let mut records = Vec::new();
    for entry in archive.entries().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = allowed(&entry).map_err(|why| damaged(file, why))?;
        if path.starts_with(".store/tpcs") && path.file_name().is_some_and(|name| name == "record.json") {
            let record = serde_json::from_reader(entry.take(RECORD_MAX));
            records.push(record.map_err(|error| damaged(file, error.to_string()))?);
        }
    }
    Ok(records)
}

/// Unpacks an archive that may be anybody's: what it has stays inside, and inside the volume that it is in.
fn unpack(file: &Path, to: &Path) -> Result<(), OpsError> {
    let failed = |source| OpsError::file("unpack", file)(source);
    let mut archive = Archive::new(File::open(file).map_err(failed)?);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(true);
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let path = allowed(&entry).map_err(|why| damaged(file, why))?;
        let link = entry.link_name().map_err(failed)?.filter(|_| entry.header().entry_type().is_hard_link());
        // Through a link an entry would get into another volume, or into the store.
        if !is_plain(to, path.parent()) || !is_plain(to, link.as_deref().and_then(Path::parent)) {
            return Err(damaged(file, format!("{} is below a link", shown(&path))));
        }
        let attributes = attributes(&mut entry).map_err(failed)?;
        entry.unpack_in(to).map_err(failed)?;
        for (name, value) in attributes {
            match lsetxattr(to.join(&path), name.as_str(), &value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(Errno::OPNOTSUPP) => {
                    tracing::warn!("{}: the partition has no attributes like {name}", shown(&path));
                }
                Err(error) => return Err(failed(error.into())),
            }
        }
    }
    Directory::open(to).and_then(|directory| directory.sync()).map_err(OpsError::file("write", to))
}

fn attributes(entry: &mut Entry<'_, File>) -> io::Result<HashMap<String, Vec<u8>>> {
    let mut attributes = HashMap::new();
    let is_link = entry.header().entry_type().is_hard_link() || entry.header().entry_type().is_symlink();
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        let name = extension.key().ok().and_then(|key| key.strip_prefix(ATTRIBUTE));
        if let Some(name) = name.filter(|_| !is_link) {
            let value = STANDARD_NO_PAD.decode(extension.value_bytes()).map_err(io::Error::other)?;
            attributes.insert(name.to_owned(), value);
        }
    }
    Ok(attributes)
}

/// Whether these directories, as far as they are there, are directories.
fn is_plain(root: &Path, below: Option<&Path>) -> bool {
    let mut above = below.into_iter().flat_map(Path::ancestors);
    above.all(|path| fs::symlink_metadata(root.join(path)).ok().is_none_or(|found| found.is_dir()))
}

/// The path of an entry, if an export may have it; otherwise why not. An export has links nowhere but below volumes, no
/// sparse files (their sizes are not those of the archive, and would fill the disk), and no devices.
fn allowed(entry: &Entry<'_, File>) -> Result<PathBuf, String> {
    let path = entry.path().map_err(|error| error.to_string())?;
    let bad = |why: &str| format!("{} {why}", shown(&path));
    let parts: Option<PathBuf> = plain(&path);
    let parts = parts.ok_or_else(|| bad("leads out of it"))?;
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Directory => {}
        EntryType::Symlink if volume_of(&parts).is_some() => {}
        EntryType::Link => {
            let target = entry.link_name().ok().flatten().and_then(|target| plain(&target));
            let same = target.is_some_and(|target| volume_of(&target) == volume_of(&parts));
            if volume_of(&parts).is_none() || !same {
                return Err(bad("is a link out of its volume"));
            }
        }
        EntryType::Symlink => return Err(bad("is a link")),
        _ => return Err(bad("is no file, directory or link")),
    }
    Ok(parts)
}

/// The path without dots, if it leads nowhere else.
fn plain(path: &Path) -> Option<PathBuf> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    parts.map(|part| matches!(part, Component::Normal(_)).then_some(part)).collect()
}

/// The volume that a path is below.
fn volume_of(path: &Path) -> Option<PathBuf> {
    let depth = if path.starts_with(".store") { 4 } else { 1 };
    let volume: PathBuf = path.components().take(depth).collect();
    let is_volume = depth == 1 || (path.starts_with(".store/tpcs") && volume.ends_with("before"));
    (is_volume && volume != path && volume.components().count() == depth).then_some(volume)
}

fn shown(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

/// The store and the records of an archive, if all that they name is there.
fn checked(file: &Path, from: &Layout) -> Result<(Store, Vec<Record>), OpsError> {
    if !from.store().join("version").is_file() {
        return Err(OpsError::Damaged {
            path: file.to_owned(),
            why: "it has no .store in it".to_owned(),
            hint: "import takes what tpcm export --all wrote; an image is installed with: tpcm install",
        });
    }
    let store = Store::open(from.root())?;
    if let Some(fault) = store.verify()?.first() {
        return Err(damaged(file, fault.to_string()));
    }
    let records = Record::load_all(from)?;
    for record in &records {
        for image in record.images() {
            if store.image(&image)?.is_none() {
                return Err(damaged(file, format!("image {image} of {} is not in it", record.name)));
            }
        }
    }
    Ok((store, records))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn archive(entries: &[(&str, EntryType, &str)]) -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("archive.tar");
        let mut tar = tar::Builder::new(File::create(&file).unwrap());
        for (path, kind, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            header.set_uid(0);
            header.set_gid(0);
            // Such as the library itself would not write.
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            let is_link = kind.is_symlink() || kind.is_hard_link();
            if is_link {
                header.set_link_name(text).unwrap();
            }
            header.as_gnu_mut().unwrap().realsize = *b"00000000000\0";
            let content = if is_link { "" } else { text };
            header.set_size(content.len() as u64);
            header.set_cksum();
            tar.append(&header, content.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap();
        (root, file)
    }

    #[test]
    fn what_no_export_has_is_refused_before_it_is_unpacked() {
        use EntryType::{Block, Directory, GNUSparse, Link, Regular, Symlink};
        let hostile: &[&[(&str, EntryType, &str)]] = &[
            &[(".shared", Symlink, "/etc")],
            &[("story", Symlink, "/etc")],
            &[(".store", Symlink, "/etc")],
            &[(".store/tpcs", Symlink, "/etc")],
            &[(".store/tpcs/story/before", Symlink, "/etc")],
            &[(".store/layers/sha256/x", Symlink, "/etc/shadow")],
            &[("story/blob", Link, ".store/layers/sha256/x")],
            &[("story/up", Symlink, "../.store"), ("story/up/version", Regular, "9")],
            &[("story/up", Symlink, "../.store"), ("story/blob", Link, "story/up/version")],
            &[("story/../../out", Regular, "x")],
            &[("story/sparse", GNUSparse, "")],
            &[("story/disk", Block, "")],
        ];
        for entries in hostile {
            let (root, file) = archive(entries);
            let to = root.path().join("to");
            fs::create_dir(&to).unwrap();
            let error = unpack(&file, &to).unwrap_err();
            assert!(matches!(error, OpsError::Damaged { .. }), "{entries:?}: {error}");
        }
        let (root, file) = archive(&[
            ("story/", Directory, ""),
            ("story/a", Regular, "content"),
            ("story/b", Link, "story/a"),
            ("story/c", Symlink, "/etc/passwd"),
            (".store/tpcs/story/before/c", Symlink, "/etc/passwd"),
        ]);
        let to = root.path().join("to");
        fs::create_dir(&to).unwrap();
        unpack(&file, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("story/b")).unwrap(), "content");
        assert!(to.join("story/c").is_symlink() && to.join(".store/tpcs/story/before/c").is_symlink());
    }

    #[test]
    fn attributes_travel() {
        use rustix::fs::lgetxattr;
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        fs::create_dir_all(from.join("story/dir")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("story/dir/run"), "x").unwrap();
        symlink("run", from.join("story/dir/link")).unwrap();
        let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let run = "story/dir/run";
        lsetxattr(from.join(run), "security.capability", &capability, XattrFlags::empty()).unwrap();
        lsetxattr(from.join("story/dir"), "user.note", b"a\nb", XattrFlags::empty()).unwrap();
        let file = root.path().join("archive.tar");
        let mut tar = super::super::append::Appender::new(File::create(&file).unwrap());
        tar.append(&from, Path::new("story")).unwrap();
        tar.finish().unwrap();
        unpack(&file, &to).unwrap();
        let mut value = [0; 64];
        let length = lgetxattr(to.join(run), "security.capability", &mut value[..]).unwrap();
        assert_eq!(value[..length], capability);
        let length = lgetxattr(to.join("story/dir"), "user.note", &mut value[..]).unwrap();
        assert_eq!(&value[..length], b"a\nb");
    }
}
