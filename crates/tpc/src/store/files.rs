//! How files come into the store and go: whole or not at all, and still so after a power cut.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Store, StoreError};

/// Tells the temporary files of one process apart.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A file below `tmp` that goes away with this value unless it is put in place.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    placed: bool,
}

impl Draft {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the file, which must be synced, in its place. The directory is synced by whoever knows that it was the last.
    pub(super) fn place(mut self, to: &Path) -> Result<(), StoreError> {
        fs::rename(&self.path, to).map_err(StoreError::io("write", to))?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.placed {
            // What cannot be removed now is found by the next sweep.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Store {
    /// A new temporary file.
    pub(super) fn draft(&self) -> Result<(Draft, File), StoreError> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = self.tmp().join(format!("{}-{number}", std::process::id()));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = file.map_err(StoreError::io("write", &path))?;
        Ok((Draft { path, placed: false }, file))
    }

    /// Writes a small file and its place in the directory, synced.
    pub(super) fn write_file(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        let (draft, mut file) = self.draft()?;
        let written = file.write_all(content).and_then(|()| file.sync_all());
        written.map_err(StoreError::io("write", draft.path()))?;
        draft.place(path)?;
        sync_directory(path.parent().unwrap_or(path))
    }
}

/// Makes a directory with those above it, for root alone.
pub(super) fn make_directory(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(StoreError::io("make", path)(error));
        }
        _ => {}
    }
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes renames and removals in a directory last.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(StoreError::io("sync", path))
}

/// What is in a directory, in order: paths and names. A name that is no UTF-8 is shown as well as it can be.
pub(super) fn list(directory: &Path) -> Result<Vec<(PathBuf, String)>, StoreError> {
    let failed = |error| StoreError::io("list", directory)(error);
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        entries.push((entry.path(), entry.file_name().to_string_lossy().into_owned()));
    }
    entries.sort();
    Ok(entries)
}

/// Removes a file that may be gone.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    let removed =
        if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
