//! Which names an archive may use for its entries, and where its links may lead.

use super::ArchiveError;
use super::tar::{Entry, Kind};

/// The name of an entry of the archive itself, without `.` and double slashes; empty for its root.
pub(super) fn outer(name: &[u8]) -> Result<String, ArchiveError> {
    let Ok(text) = std::str::from_utf8(name) else { return Err(bad(name, "is not UTF-8")) };
    if text.chars().any(char::is_control) {
        return Err(bad(name, "has control characters"));
    }
    if text.starts_with('/') {
        return Err(bad(name, "is an absolute path"));
    }
    if has_parent(name) {
        return Err(bad(name, "leads out of the archive"));
    }
    Ok(parts(text).collect::<Vec<_>>().join("/"))
}

/// What a link of the archive itself leads to.
pub(super) fn outer_target(name: &str, entry: &Entry) -> Result<String, ArchiveError> {
    if entry.kind == Kind::HardLink {
        return outer(&entry.link).map_err(|_| bad(name.as_bytes(), "is a link out of the archive"));
    }
    let leaves = || bad(name.as_bytes(), "is a link out of the archive");
    let target = std::str::from_utf8(&entry.link).map_err(|_| leaves())?;
    if target.starts_with('/') {
        return Err(leaves());
    }
    let mut place: Vec<&str> = parts(name).collect();
    place.pop();
    for part in parts(target) {
        if part == ".." {
            place.pop().ok_or_else(leaves)?;
        } else {
            place.push(part);
        }
    }
    Ok(place.join("/"))
}

/// Whether an entry of a layer is one that Docker would unpack. Devices and absolute symbolic links are: they mean
/// something inside the container only. A leading slash is what some builders write and Docker reads as none.
pub(super) fn layer(entry: &Entry, links_above: bool) -> Result<(), ArchiveError> {
    if has_parent(&entry.path) {
        return Err(bad(&entry.path, "leads out of its layer"));
    }
    match entry.kind {
        Kind::HardLink if has_parent(&entry.link) => Err(bad(&entry.path, "is a link out of its layer")),
        Kind::Symlink if !links_above && leaves(&entry.path, &entry.link) => {
            Err(bad(&entry.path, "is a link out of its layer"))
        }
        Kind::Strange => Err(bad(&entry.path, "is a sparse file or a part of something else")),
        Kind::File | Kind::Directory | Kind::HardLink | Kind::Symlink | Kind::Device | Kind::Fifo => Ok(()),
    }
}

/// As [`layer`], for a root file system that no digest speaks for.
pub(super) fn rootfs(entry: &Entry) -> Result<(), ArchiveError> {
    if entry.path.starts_with(b"/") {
        return Err(bad(&entry.path, "is an absolute path"));
    }
    layer(entry, false)
}

pub(super) fn bad(name: &[u8], why: &'static str) -> ArchiveError {
    ArchiveError::BadEntry { name: String::from_utf8_lossy(name).chars().take(200).collect(), why }
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split('/').filter(|part| !matches!(*part, "" | "."))
}

fn has_parent(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|part| part == b"..")
}

/// Whether a symbolic link, joined to its directory, is above the root. Docker has this rule too, though not where it unpacks
/// layers, whose root is the top there.
fn leaves(path: &[u8], target: &[u8]) -> bool {
    let steps =
        |path: &[u8]| path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).count();
    let mut depth = if target.starts_with(b"/") { 0 } else { steps(path).saturating_sub(1) };
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            // Above the root of an absolute path is the root.
            b".." if depth == 0 => return !target.starts_with(b"/"),
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}
