//! Project quotas of ext4 and XFS: how much all files of a directory tree may take together, kept by the kernel.
//!
//! A tree belongs to a project by a number that every file and directory in it has; what is made in it inherits the
//! number. The tree's own directory is given its number last, so one that has it has it throughout. On ext4, a process
//! with CAP_SYS_RESOURCE may write beyond a limit; a container has that only if it is given it.

mod sys;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, openat};
use rustix::io::Errno;

/// What a limit is made of.
const BLOCK: u64 = 1024;

/// How it is with a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// The bytes that its files take.
    pub used: u64,
    /// The most that they may take; none if that is not limited.
    pub limit: Option<u64>,
}

/// What of some trees a project's limit holds for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// For none of them.
    Nothing,
    /// For the first one alone.
    First,
    /// For all of them together.
    All,
}

/// Makes a project of these trees, as far as they are on the file system of the first and that enforces quotas, and
/// limits what they may take together. The first one's inode makes the project's number: nobody need remember it. Two
/// have the same only if their inodes are the same in the last 31 bits.
pub fn keep(first: &Path, others: &[PathBuf], bytes: Option<u64>) -> io::Result<()> {
    if !is_enforced(first) {
        return Ok(());
    }
    let project = number(first)?;
    assign(first, project)?;
    for other in others.iter().filter(|other| same_device(first, other)) {
        assign(other, project)?;
    }
    // Last: XFS gives nothing to a project that has too much already.
    limit(first, project, bytes)
}

/// Changes the limit of what [`keep`] made a project; of nothing else.
pub fn change(first: &Path, bytes: Option<u64>) -> io::Result<()> {
    match is_enforced(first).then(|| project_of(first)).transpose()? {
        Some(project) if project == number(first)? => limit(first, project, bytes),
        _ => Ok(()),
    }
}

/// For which of these trees, which [`keep`] was told, this limit holds.
pub fn kept(first: &Path, others: &[PathBuf], bytes: u64) -> Kept {
    let holds = || -> io::Result<Option<u32>> {
        let project = project_of(first)?;
        let limited = project == number(first)? && usage(first, project)?.limit == Some(rounded(bytes));
        Ok(limited.then_some(project))
    };
    let Some(project) = is_enforced(first).then(holds).and_then(Result::ok).flatten() else {
        return Kept::Nothing;
    };
    let is_in =
        |other: &PathBuf| same_device(first, other) && project_of(other).is_ok_and(|found| found == project);
    if others.iter().all(is_in) { Kept::All } else { Kept::First }
}

/// 0 would be none, and some programs begin to count at 1.
fn number(tree: &Path) -> io::Result<u32> {
    const OURS: u32 = 1 << 31;
    let inode = fs::metadata(tree)?.ino();
    Ok(u32::try_from(inode & u64::from(OURS - 1)).unwrap_or_default() | OURS)
}

fn same_device(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
    matches!((device(one), device(other)), (Ok(one), Ok(other)) if one == other)
}

/// Whether the file system that a path is on enforces project quotas. False also where nobody can tell: older kernels
/// (before Linux 5.14), file systems without quotas.
pub fn is_enforced(path: &Path) -> bool {
    File::open(path).and_then(|file| sys::enforces_projects(&file)).unwrap_or(false)
}

/// The project that a file or directory belongs to; 0 is none.
pub fn project_of(path: &Path) -> io::Result<u32> {
    sys::project(&File::open(path)?)
}

/// Gives a directory with all that is in it to a project. Nobody else may change it meanwhile. Links and devices, which
/// take no room, stay outside.
pub fn assign(tree: &Path, project: u32) -> io::Result<()> {
    let directory = File::open(tree)?;
    if sys::project(&directory)? == project {
        return Ok(());
    }
    assign_directory(directory.as_fd(), project)
}

/// How much a project of the file system of this path takes and may take.
pub fn usage(path: &Path, project: u32) -> io::Result<Usage> {
    let (used, blocks) = match sys::quota(&File::open(path)?, project) {
        // XFS knows nothing of a project that was never used.
        Err(error) if error.kind() == io::ErrorKind::NotFound => (0, 0),
        found => found?,
    };
    Ok(Usage { used, limit: (blocks > 0).then(|| blocks.saturating_mul(BLOCK)) })
}

/// Limits what a project may take, or no longer does.
pub fn limit(path: &Path, project: u32, bytes: Option<u64>) -> io::Result<()> {
    sys::set_quota(&File::open(path)?, project, bytes.map_or(0, |bytes| rounded(bytes) / BLOCK))
}

/// To whole blocks; at least one, since a limit of none is no limit.
fn rounded(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK).max(1).saturating_mul(BLOCK)
}

fn assign_directory(directory: impl AsFd, project: u32) -> io::Result<()> {
    let directory = directory.as_fd();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match entry.file_type() {
            FileType::Directory => {
                if let Some(below) = open(directory, name, OFlags::DIRECTORY)? {
                    assign_directory(&below, project)?;
                }
            }
            FileType::RegularFile => {
                if let Some(file) = open(directory, name, OFlags::NONBLOCK)? {
                    sys::set_project(&file, project, false)?;
                }
            }
            _ => {}
        }
    }
    sys::set_project(directory, project, true)
}

/// Nothing for what has gone, or is a link by now.
fn open(directory: impl AsFd, name: &std::ffi::CStr, flags: OFlags) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | flags;
    match openat(directory, name, flags, Mode::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_is_enforced_that_is_said_and_nothing_is_pretended() {
        // In memory on every kernel that this is built with; none has quotas for projects there.
        let shm = Path::new("/dev/shm");
        if shm.is_dir() {
            assert!(!is_enforced(shm));
            assert!(limit(shm, 7, Some(1)).is_err());
            assert_eq!(kept(shm, &[], 1), Kept::Nothing);
            keep(shm, &[], Some(1)).unwrap();
        }
        assert!(!is_enforced(Path::new("/none")));
    }
}
