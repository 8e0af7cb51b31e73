//! Where everything is, from one root; and files that are replaced whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use switchyard_core::tpc::TpcName;

use super::{OpsError, tree};

/// The directories of third-party containers. No TPC's name begins with a dot.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// `/host/tpc`
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Mounted at `/tpc`.
    pub(super) fn volume(&self, name: &TpcName) -> PathBuf {
        self.root.join(name.as_str())
    }

    /// Mounted at `/tpc_shared`.
    pub(super) fn shared(&self) -> PathBuf {
        self.root.join(".shared")
    }

    pub(super) fn store(&self) -> PathBuf {
        self.root.join(".store")
    }

    /// Where downloads grow, and stay until they are gone on with if they were cut off.
    pub(super) fn downloads(&self) -> PathBuf {
        self.store().join("downloads")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.store().join("lock")
    }

    pub(super) fn defaults(&self) -> PathBuf {
        self.store().join("defaults.json")
    }

    pub(super) fn journals(&self) -> PathBuf {
        self.store().join("journal")
    }

    pub(super) fn journal(&self, name: &TpcName) -> PathBuf {
        self.journals().join(format!("{name}.json"))
    }

    pub(super) fn records(&self) -> PathBuf {
        self.store().join("tpcs")
    }

    /// What is kept of one TPC besides its volume and images.
    pub(super) fn of(&self, name: &TpcName) -> PathBuf {
        self.records().join(name.as_str())
    }

    pub(super) fn record(&self, name: &TpcName) -> PathBuf {
        self.of(name).join("record.json")
    }

    /// How its runs ended; written by the unit's own process alone.
    pub(super) fn ends(&self, name: &TpcName) -> PathBuf {
        self.of(name).join("ends.json")
    }

    /// The unit as it is to be on every SONiC image.
    pub(super) fn unit(&self, name: &TpcName) -> PathBuf {
        self.of(name).join(name.unit())
    }

    /// The private volume as it was before an operation that is under way.
    pub(super) fn aside(&self, name: &TpcName) -> PathBuf {
        self.of(name).join("aside")
    }

    /// The private volume of the version before.
    pub(super) fn before(&self, name: &TpcName) -> PathBuf {
        self.of(name).join("before")
    }

    /// The copy of that which a rollback brings back.
    pub(super) fn back(&self, name: &TpcName) -> PathBuf {
        self.of(name).join("back")
    }

    /// Says that volume and directory are those of an import, and nobody's as long as there is no record.
    pub(super) fn importing(&self, name: &TpcName) -> PathBuf {
        self.of(name).join("importing")
    }

    /// What is about to be deleted.
    pub(super) fn trash(&self, name: &TpcName) -> PathBuf {
        self.of(name).join("trash")
    }
}

/// Replaces a file: a reader sees the old content or the new one, also after a power cut. One that is so already is left
/// (undoing what filled the disk must not need room), and the answer is false.
pub(super) fn write(path: &Path, content: &[u8], mode: u32) -> Result<bool, OpsError> {
    if is_so(path, content, mode) {
        return Ok(false);
    }
    let fresh = beside(path);
    let written = (|| {
        remove_file(&fresh)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(content)?;
        // Set after opening, so that the umask has no part in it.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        sync_directory_of(path)
    })();
    if written.is_err() {
        // What cannot be removed now is found by the next recovery.
        let _ = remove_file(&fresh);
    }
    written.map(|()| true).map_err(OpsError::file("write", path))
}

fn is_so(path: &Path, content: &[u8], mode: u32) -> bool {
    let plain = fs::symlink_metadata(path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o7777 == mode);
    plain && fs::read(path).is_ok_and(|found| found == content)
}

/// Writes a value that [`read_json`] reads.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), OpsError> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|error| OpsError::file("write", path)(std::io::Error::other(error)))?;
    write(path, &text, 0o600).map(drop)
}

/// Reads a file of ours; nothing if there is none.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path, hint: &'static str) -> Result<Option<T>, OpsError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpsError::file("read", path)(error)),
    };
    let damaged = |why: String| OpsError::Damaged { path: path.to_owned(), why, hint };
    serde_json::from_slice(&text).map(Some).map_err(|error| damaged(error.to_string()))
}

/// Removes a file, and what a write that was cut short may have left beside it.
pub(super) fn remove(path: &Path) -> Result<(), OpsError> {
    remove_file(&beside(path))
        .and_then(|()| remove_file(path))
        .and_then(|()| sync_directory_of(path))
        .map_err(OpsError::file("remove", path))
}

/// Removes what a write of this file that was cut short may have left.
pub(super) fn remove_half(path: &Path) -> Result<(), OpsError> {
    remove_file(&beside(path)).map_err(OpsError::file("remove", path))
}

/// Removes a directory with all that is in it. Follows no links.
pub(super) fn remove_tree(path: &Path) -> Result<(), OpsError> {
    match tree::remove(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| sync_directory_of(path)).map_err(OpsError::file("remove", path)),
    }
}

/// Moves a directory within the partition.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), OpsError> {
    fs::rename(from, to)
        .and_then(|()| sync_directory_of(to))
        .and_then(|()| sync_directory_of(from))
        .map_err(OpsError::file("move", from))
}

/// Makes a directory and those above it.
pub(super) fn create(path: &Path, mode: u32) -> Result<(), OpsError> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(OpsError::file("create", path))
}

/// All that was written to the file system of a directory is on the disk.
pub(super) fn sync(directory: &Path) -> Result<(), OpsError> {
    File::open(directory)
        .and_then(|opened| Ok(rustix::fs::syncfs(&opened)?))
        .map_err(OpsError::file("write", directory))
}

/// The names of the entries of a directory, sorted; none if it is not there.
pub(super) fn entries(path: &Path) -> Result<Vec<String>, OpsError> {
    let read = match fs::read_dir(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        read => read.map_err(OpsError::file("read", path))?,
    };
    let mut names = Vec::new();
    for entry in read {
        let entry = entry.map_err(OpsError::file("read", path))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Always the same name beside the file, so that whoever comes after a crash finds it and litter cannot gather.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

fn remove_file(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn sync_directory_of(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}
