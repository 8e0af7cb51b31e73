//! A tree copied while a container may still write into it, and brought up to date once it has stopped.
//!
//! The second copy takes time in which nobody serves, so it leaves out what has surely not changed since the first.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, SeekFrom, Timespec, Timestamps, Uid, XattrFlags, lremovexattr,
    lsetxattr,
};
use rustix::io::Errno;

use super::super::OpsError;
use super::super::tree::{self, Directory, open_file, there};

/// What was seen of a file when it was copied: as long as these stay, so does its content. The kernel sets the time of
/// the last change; no program can.
type Seen = (u64, i64, i64, u64);

/// A change this much before a copy may share its time with one after it: clocks of file systems tick in up to a second.
const SETTLED: i64 = 2;

/// What a first copy has already brought over.
#[derive(Debug, Default)]
pub(in super::super) struct Copied {
    seen: HashMap<PathBuf, Seen>,
    /// There was a first copy.
    begun: bool,
}

/// Makes `to` the same as `from`, copying only what has changed since `copied` was filled by a first copy; the second one
/// is the last. Synced at the end.
pub(in super::super) fn copy(from: &Path, to: &Path, copied: &mut Copied) -> Result<(), OpsError> {
    copy_at(from, to, copied, SystemTime::now())
}

/// The same, begun at this time.
pub(super) fn copy_at(from: &Path, to: &Path, copied: &mut Copied, now: SystemTime) -> Result<(), OpsError> {
    let source = Directory::open(from).map_err(OpsError::file("read", from))?;
    make_directory(to).map_err(OpsError::file("create", to))?;
    let target = Directory::open(to).map_err(OpsError::file("open", to))?;
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    // Only the first store into a clean page of a mapped file sets the file's time. Once all pages are clean, whatever
    // is stored after this shows; to the second copy, since there is no third.
    if !std::mem::replace(&mut copied.begun, true) {
        source.sync().map_err(OpsError::file("write", from))?;
    }
    let settled = i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(SETTLED);
    let mut walk = Walk { from, top: &target, settled, copied, links: HashMap::new() };
    walk.directory(&source, &target, Path::new(""))?;
    target.sync().map_err(OpsError::file("write", to))
}

struct Walk<'a> {
    /// For messages.
    from: &'a Path,
    /// The copy's own root.
    top: &'a Directory,
    /// What changed later than this may change again without being seen to.
    settled: i64,
    copied: &'a mut Copied,
    /// Where the copy of a file with several names is, below the root.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Walk<'_> {
    fn directory(&mut self, source: &Directory, target: &Directory, below: &Path) -> Result<(), OpsError> {
        let failed = |error| OpsError::file("copy", &self.from.join(below))(error);
        let names = source.names().map_err(failed)?;
        for extra in target.names().map_err(failed)?.difference(&names) {
            forget(&target.at(extra)).map_err(failed)?;
        }
        for name in &names {
            let below = below.join(name);
            let inner = self.entry(source, target, name, &below);
            if let Some((source, target)) = inner.map_err(OpsError::file("copy", &self.from.join(&below)))? {
                self.directory(&source, &target, &below)?;
            }
        }
        let metadata = source.metadata();
        metadata
            .and_then(|metadata| like(&metadata, &source.at("."), &target.at(".")))
            .map_err(OpsError::file("copy", &self.from.join(below)))
    }

    /// Copies one entry. Both directories, if it is one. What has gone meanwhile is not in the copy either: whoever
    /// removes while we copy does not want it, and after the stop nobody does.
    fn entry(
        &mut self,
        source: &Directory,
        target: &Directory,
        name: &OsStr,
        below: &Path,
    ) -> io::Result<Option<(Directory, Directory)>> {
        let (from, to) = (&source.at(name), &target.at(name));
        let Some(metadata) = there(fs::symlink_metadata(from))? else { return forget(to).map(|()| None) };
        if metadata.is_dir() {
            let Some(source) = there(source.enter(name))? else { return forget(to).map(|()| None) };
            make_directory(to)?;
            return Ok(Some((source, target.enter(name)?)));
        }
        let file = (metadata.dev(), metadata.ino());
        if let Some(first) = self.links.get(&file) {
            forget(to)?;
            return fs::hard_link(self.top.at(first), to).map(|()| None);
        }
        let seen = (metadata.ino(), metadata.ctime(), metadata.ctime_nsec(), metadata.len());
        let same = self.copied.seen.get(below) == Some(&seen) && fs::symlink_metadata(to).is_ok();
        if !same {
            self.copied.seen.remove(below);
            forget(to)?;
            if !fresh(&metadata, from, to)? {
                return forget(to).map(|()| None);
            }
            like(&metadata, from, to)?;
            if metadata.ctime() < self.settled {
                self.copied.seen.insert(below.to_owned(), seen);
            }
        }
        if metadata.nlink() > 1 {
            self.links.insert(file, below.to_owned());
        }
        Ok(None)
    }
}

/// Copies what is no directory. False if it is not there any more.
fn fresh(metadata: &Metadata, from: &Path, to: &Path) -> io::Result<bool> {
    let kind = metadata.file_type();
    if kind.is_file() {
        let Some((source, metadata)) = open_file(from)? else { return Ok(false) };
        copy_file(&source, &File::create_new(to)?, metadata.len())?;
    } else if kind.is_symlink() {
        let Some(leads) = tree::leads(from)? else { return Ok(false) };
        std::os::unix::fs::symlink(leads, to)?;
    } else {
        let kind = FileType::from_raw_mode(metadata.mode());
        let mode = Mode::from_raw_mode(metadata.mode());
        rustix::fs::mknodat(CWD, to, kind, mode, metadata.rdev())?;
    }
    Ok(true)
}

/// A reflink where the file system can, else a copy of its bytes; holes stay holes, or a sparse file would take more room
/// than was counted. Never a hard link: the new version writes into it.
fn copy_file(mut from: &File, mut to: &File, length: u64) -> io::Result<()> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    // No further than it was when it was opened: it may be growing faster than it is copied.
    let mut at = 0;
    while at < length {
        let begin = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(begin) if begin < length => begin,
            Ok(_) | Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(begin))?.min(length);
        from.seek(io::SeekFrom::Start(begin))?;
        to.seek(io::SeekFrom::Start(begin))?;
        io::copy(&mut from.take(end - begin), &mut to)?;
        at = end.max(begin + 1);
    }
    to.set_len(length)
}

/// Gives the copy the original's owner, rights, attributes and times, in this order: a change of owner takes
/// capabilities away, and one of rights changes an access list.
fn like(metadata: &Metadata, from: &Path, to: &Path) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
    rustix::fs::chownat(CWD, to, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    if !metadata.is_symlink() {
        fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    }
    attributes(from, to)?;
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(metadata.atime(), metadata.atime_nsec()),
        last_modification: time(metadata.mtime(), metadata.mtime_nsec()),
    };
    Ok(rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// A copy may have inherited some from above it.
fn attributes(from: &Path, to: &Path) -> io::Result<()> {
    let wanted = there(tree::attributes(from))?.unwrap_or_default();
    for (extra, _) in tree::attributes(to)? {
        if wanted.iter().all(|(name, _)| *name != extra) {
            lremovexattr(to, extra.as_slice())?;
        }
    }
    for (name, value) in &wanted {
        lsetxattr(to, name.as_slice(), value, XattrFlags::empty())?;
    }
    Ok(())
}

fn make_directory(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    forget(path)?;
    fs::create_dir(path)
}

fn forget(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    there(removed).map(drop)
}
