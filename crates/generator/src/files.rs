//! The few things done to files, each whole or not at all.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::GenerateError;

/// What stands at a path.
pub(crate) enum Found {
    Nothing,
    File {
        sha256: String,
        mode: u32,
    },
    /// A link, a directory, a device: never ours.
    SomethingElse,
}

/// The digest in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Where `path`, absolute inside the switch, is under `root`.
pub(crate) fn under(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

pub(crate) fn look(path: &Path) -> Result<Found, GenerateError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(source) => return Err(failed("read", path, source)),
    };
    if !metadata.is_file() {
        return Ok(Found::SomethingElse);
    }
    let content = fs::read(path).map_err(|source| failed("read", path, source))?;
    Ok(Found::File { sha256: sha256(&content), mode: metadata.permissions().mode() & 0o7777 })
}

/// The file's text, empty if there is no such file.
pub(crate) fn read_or_empty(path: &Path) -> Result<String, GenerateError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|source| failed("read", path, source)),
    }
}

/// Replaces the file: a reader sees the old content or the new one, also after a power cut.
pub(crate) fn write(path: &Path, content: &str, mode: u32) -> Result<(), GenerateError> {
    let fresh = temporary(path);
    let written = (|| {
        remove_if_there(&fresh)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(content.as_bytes())?;
        // Set after opening, so that the umask has no part in it.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        sync_directory_of(path)
    })();
    written.map_err(|source| failed("write", path, source))
}

/// Removes the file, and what a write that was cut short may have left beside it.
pub(crate) fn remove(path: &Path) -> Result<(), GenerateError> {
    remove_if_there(&temporary(path))
        .and_then(|()| remove_if_there(path))
        .and_then(|()| sync_directory_of(path))
        .map_err(|source| failed("remove", path, source))
}

/// Removes the directory if nothing is in it.
pub(crate) fn remove_if_empty(path: &Path) -> Result<(), GenerateError> {
    match fs::remove_dir(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => Ok(()),
        removed => removed.map_err(|source| failed("remove", path, source)),
    }
}

pub(crate) fn failed(operation: &'static str, path: &Path, source: io::Error) -> GenerateError {
    GenerateError::Io { operation, path: path.to_owned(), source }
}

/// Always the same name beside the file, so that whoever comes after a crash finds it and litter cannot gather.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.switchyard-new"))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}
