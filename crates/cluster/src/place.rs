//! Files that are whole or not there: written beside, synced, renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::ClusterError;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    All,
    Root,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Self::All => 0o644,
            Self::Root => 0o600,
        }
    }
}

/// Makes the file hold this. True if it did not before, in content or in mode.
pub(crate) fn write(path: &Path, content: &[u8], readers: Readers) -> Result<bool, ClusterError> {
    let is_so = fs::read(path).is_ok_and(|old| old == content)
        && fs::symlink_metadata(path)
            .is_ok_and(|now| now.is_file() && now.permissions().mode() & 0o777 == readers.mode());
    if is_so {
        return Ok(false);
    }
    replace(path, content, readers).map_err(|error| ClusterError::file(path, "written", error))?;
    Ok(true)
}

fn replace(path: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    let (directory, name) =
        path.parent().zip(path.file_name()).ok_or_else(|| io::Error::other("it is no file's name"))?;
    make_directory(directory, readers)?;
    let draft = directory.join(format!(".{}.switchyard-new", name.to_string_lossy()));
    // What a crash left is removed rather than opened: it might be anything.
    absent_is_fine(fs::remove_file(&draft))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(readers.mode()).open(&draft)?;
    // The mode given above is cut by whatever umask there is.
    file.set_permissions(fs::Permissions::from_mode(readers.mode()))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync(directory)
}

/// A directory for secrets is for root alone, if it is made here.
fn make_directory(directory: &Path, readers: Readers) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let mode = if readers == Readers::Root { 0o700 } else { 0o755 };
    fs::DirBuilder::new().recursive(true).mode(mode).create(directory)?;
    // A file that outlives a power cut in a directory that does not is lost as well.
    directory.parent().map_or(Ok(()), sync)
}

/// Makes the symbolic link point there.
pub(crate) fn link(path: &Path, target: &Path) -> Result<(), ClusterError> {
    let make = || -> io::Result<()> {
        let directory = path.parent().ok_or_else(|| io::Error::other("it is no file's name"))?;
        let draft = directory.join(".link.switchyard-new");
        absent_is_fine(fs::remove_file(&draft))?;
        std::os::unix::fs::symlink(target, &draft)?;
        fs::rename(&draft, path)?;
        sync(directory)
    };
    make().map_err(|error| ClusterError::file(path, "made", error))
}

/// Removes the file. True if it was there.
pub(crate) fn remove(path: &Path) -> Result<bool, ClusterError> {
    match fs::remove_file(path) {
        Ok(()) => {
            let synced = path.parent().map_or(Ok(()), sync);
            synced.map(|()| true).map_err(|error| ClusterError::file(path, "removed", error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(ClusterError::file(path, "removed", error)),
    }
}

/// What the file holds; none if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>, ClusterError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ClusterError::file(path, "read", error)),
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_secret_is_roots_alone_and_written_once() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("secrets/token");
        assert!(write(&path, b"x", Readers::Root).unwrap());
        assert!(!write(&path, b"x", Readers::Root).unwrap());
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(write(&path, b"x", Readers::Root).unwrap(), "a mode that lets others read is mended");
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_write_that_was_cut_off_leaves_the_old_file_and_bars_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("ca.crt");
        write(&path, b"old", Readers::All).unwrap();
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
        let before = inode(&path);
        // As a crash before the rename leaves it, and worse: a link to somewhere else.
        std::os::unix::fs::symlink("/dev/null", root.path().join(".ca.crt.switchyard-new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert!(write(&path, b"new", Readers::All).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_ne!(inode(&path), before, "it was replaced and not written over");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let error = write(&root.path().join("file/x"), b"", Readers::All).unwrap_err();
        assert_eq!(error.reason(), "FileUnusable");
        assert!(error.to_string().contains("file/x"), "{error}");
    }
}
