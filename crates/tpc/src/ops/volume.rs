//! The private volume: made, filled from the image, copied aside and put back.
//!
//! A container writes into it as root, so nothing in it is trusted: no link is followed below it. Copies are made entry
//! by entry (`copy`), links copied as links; what comes from an image is written beneath the volume's own directory and
//! nowhere else (openat2 with RESOLVE_BENEATH).

mod copy;

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};

use super::beneath::open_at;
use super::tree::{self, open_found};
use super::{OpsError, layout};

pub(super) use copy::{Copied, copy};

/// Puts what was set aside back in place of the volume. May be done again after a crash anywhere in it.
pub(super) fn put_back(aside: &Path, volume: &Path, trash: &Path) -> Result<(), OpsError> {
    if aside.is_dir() {
        if volume.exists() {
            layout::remove_tree(trash)?;
            layout::rename(volume, trash)?;
        }
        layout::rename(aside, volume)?;
    }
    // The old version is to start whatever the new one has made of its volume.
    if let Err(error) = layout::remove_tree(trash) {
        tracing::warn!("{error}; it is tried again by: tpcm recover");
    }
    Ok(())
}

/// The bytes that a copy would take; none of what is not there.
pub(super) fn size(path: &Path) -> Result<u64, OpsError> {
    tree::size(path).map_err(OpsError::file("measure", path))
}

/// Opens a directory of ours and makes it if it is not there.
fn open(directory: &Path) -> Result<OwnedFd, OpsError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::empty())
        .map_err(|error| OpsError::file("open", directory)(error.into()))
}

/// Opens a path below a volume for reading. A link anywhere in it is refused.
pub(super) fn open_below(volume: &Path, path: &str) -> Result<Option<File>, OpsError> {
    let root = open(volume)?;
    let found = match open_at(&root, path, OFlags::PATH) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::XDEV) => {
            return Err(OpsError::Planted(volume.join(path)));
        }
        Err(error) => return Err(OpsError::file("open", &volume.join(path))(error.into())),
    };
    match open_found(&found).map_err(OpsError::file("open", &volume.join(path)))? {
        Some((file, _)) => Ok(Some(file)),
        None => Err(OpsError::Planted(volume.join(path))),
    }
}

/// Writes what a tar archive of the engine has into a directory, without its first path component. Plain files and
/// directories only, what else an image has in its volume is left out; at most `most` bytes.
pub(super) fn fill(archive: impl Read, directory: &Path, most: u64) -> Result<(), OpsError> {
    let root = open(directory)?;
    let broken = |source| OpsError::file("unpack the image's files into", directory)(source);
    let mut total = 0_u64;
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        let Some(path) = inside(&path) else { continue };
        let header = entry.header().clone();
        let mode = header.mode().unwrap_or(0o755) & 0o7777;
        let kind = header.entry_type();
        total = total.saturating_add(entry.size());
        if total > most {
            return Err(broken(io::Error::other("the image has more in it than there is room")));
        }
        let owner = (header.uid().unwrap_or_default(), header.gid().unwrap_or_default());
        if kind.is_dir() {
            put_directory(&root, directory, &path, mode, owner)?;
        } else if kind.is_file() {
            put_file(&root, directory, &path, mode, owner, &mut entry)?;
        }
    }
    Ok(())
}

/// The path without the first component, if it leads nowhere else.
fn inside(path: &Path) -> Option<PathBuf> {
    let parts = path.components().filter(|part| !matches!(part, Component::CurDir));
    let parts: Vec<_> = parts.collect();
    let plain = parts.iter().all(|part| matches!(part, Component::Normal(_)));
    (plain && parts.len() > 1).then(|| parts.get(1..).unwrap_or_default().iter().collect())
}

fn owner_of(file: impl AsFd, (user, group): (u64, u64)) -> io::Result<()> {
    let id = |id: u64| u32::try_from(id).unwrap_or_default();
    Ok(rustix::fs::fchown(file, Some(Uid::from_raw(id(user))), Some(Gid::from_raw(id(group))))?)
}

fn put_directory(
    root: &OwnedFd,
    volume: &Path,
    path: &Path,
    mode: u32,
    owner: (u64, u64),
) -> Result<(), OpsError> {
    let failed = |error: io::Error| OpsError::file("create", &volume.join(path))(error);
    let (parent, name) = parent_of(root, volume, path)?;
    match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(failed(error.into())),
    }
    let opened = open_at(root, path, OFlags::RDONLY | OFlags::DIRECTORY)
        .map_err(|_| OpsError::Planted(volume.join(path)))?;
    owner_of(&opened, owner).map_err(failed)
}

fn put_file(
    root: &OwnedFd,
    volume: &Path,
    path: &Path,
    mode: u32,
    owner: (u64, u64),
    content: &mut impl Read,
) -> Result<(), OpsError> {
    let failed = |error: io::Error| OpsError::file("write", &volume.join(path))(error);
    let (parent, name) = parent_of(root, volume, path)?;
    // What is in the way goes, as itself: a link is removed, not followed.
    match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(_) => return Err(OpsError::Planted(volume.join(path))),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o600))
        .map_err(|error| failed(error.into()))?;
    let mut file = File::from(file);
    io::copy(content, &mut file).map_err(failed)?;
    file.flush().map_err(failed)?;
    owner_of(&file, owner).map_err(failed)?;
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(failed)
}

/// The directory that an entry is in, opened without following a link.
fn parent_of<'a>(root: &OwnedFd, volume: &Path, path: &'a Path) -> Result<(OwnedFd, &'a Path), OpsError> {
    let name = path.file_name().map_or(path, Path::new);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let opened = open_at(root, parent, OFlags::RDONLY | OFlags::DIRECTORY);
    Ok((opened.map_err(|_| OpsError::Planted(volume.join(parent)))?, name))
}

#[cfg(test)]
mod tests;
