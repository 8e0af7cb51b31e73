//! Walking a tree that a container may be changing: by directories that are held open, following no link.
//!
//! What is in a directory is named by the directory's descriptor and one more word, so nothing that is put in the place
//! of a directory between two looks leads out of the tree.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, lgetxattr, llistxattr, llistxattr_query};
use rustix::io::Errno;

/// Deeper than any program nests directories. Those of one path are held open together, a copy holds them twice, and a
/// process has 1024 descriptors; nor has a thread the stack for more than a container can make.
const DEPTH_MAX: usize = 400;

/// A directory that is held open.
pub(super) struct Directory {
    file: File,
    depth: usize,
}

impl Directory {
    /// Opens one. A link in its place is an error; links above it are the caller's business.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: open(path, OFlags::DIRECTORY)?, depth: 0 })
    }

    /// Opens one in it. A link in its place is an error.
    pub(super) fn enter(&self, name: impl AsRef<Path>) -> io::Result<Self> {
        let file = open(&self.at(name), OFlags::DIRECTORY)?;
        let depth = self.depth + 1;
        if depth > DEPTH_MAX {
            return Err(io::Error::other(format!(
                "directories are nested more than {DEPTH_MAX} deep: a container has made them; remove some"
            )));
        }
        Ok(Self { file, depth })
    }

    /// A path to an entry that holds whatever becomes of the directory's own. Only its last part can be a link.
    pub(super) fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        Path::new("/proc/self/fd").join(self.file.as_raw_fd().to_string()).join(name)
    }

    pub(super) fn names(&self) -> io::Result<BTreeSet<OsString>> {
        fs::read_dir(self.at("."))?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    }

    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Writes what the whole file system has not written yet.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.file)?)
    }
}

/// Opens a plain file for reading; none if there is, by now, something else.
pub(super) fn open_file(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    let Some(found) = there(open(path, OFlags::PATH))? else { return Ok(None) };
    open_found(&found)
}

/// Opens what was found (by `O_PATH`, which looks and does not open) for reading, if it is a plain file. To open a device
/// is to use it, be it to look what it is: a container can make a node of the watchdog, which resets the switch.
pub(super) fn open_found(found: &File) -> io::Result<Option<(File, Metadata)>> {
    if !found.metadata()?.is_file() {
        return Ok(None);
    }
    let file = File::open(Path::new("/proc/self/fd").join(found.as_raw_fd().to_string()))?;
    let metadata = file.metadata()?;
    Ok(Some((file, metadata)))
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | flags).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// None for what has gone meanwhile, or is not any more what it was.
pub(super) fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Where a link leads; none if there is, by now, something else.
pub(super) fn leads(path: &Path) -> io::Result<Option<PathBuf>> {
    match fs::read_link(path) {
        // The kernel's word for what is no link.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(None),
        read => there(read),
    }
}

/// Access lists, capabilities and whatever else is kept beside a file: names and values.
pub(super) fn attributes(path: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    /// No attribute, and no list of them, is longer in Linux.
    const MAX: usize = 64 << 10;
    match llistxattr_query(path) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        queried => queried?,
    };
    let mut buffer = vec![0; MAX];
    let length = llistxattr(path, buffer.as_mut_slice())?;
    let list = buffer.get(..length).unwrap_or_default().to_vec();
    let mut attributes = Vec::new();
    for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match lgetxattr(path, name, buffer.as_mut_slice()) {
            Ok(length) => {
                attributes.push((name.to_vec(), buffer.get(..length).unwrap_or_default().to_vec()));
            }
            // Taken away since it was listed.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(attributes)
}

/// Removes a directory with all that is in it, however deep it is nested: what is two levels below goes up by one until
/// nothing is.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_symlink() {
        return fs::remove_file(path);
    }
    let top = Directory::open(path)?;
    let mut free = 0..u64::MAX;
    loop {
        let names = top.names()?;
        if names.is_empty() {
            return fs::remove_dir(path);
        }
        for name in &names {
            if !is_directory(&top.at(name))? {
                there(fs::remove_file(top.at(name)))?;
                continue;
            }
            let Some(inner) = there(top.enter(name))? else { continue };
            for below in inner.names()? {
                let below = inner.at(below);
                if is_directory(&below)? {
                    let unused = free.find(|free| fs::symlink_metadata(top.at(free.to_string())).is_err());
                    there(fs::rename(below, top.at(unused.unwrap_or_default().to_string())))?;
                } else {
                    there(fs::remove_file(below))?;
                }
            }
            there(fs::remove_dir(top.at(name)))?;
        }
    }
}

fn is_directory(path: &Path) -> io::Result<bool> {
    Ok(there(fs::symlink_metadata(path))?.is_some_and(|metadata| metadata.is_dir()))
}

/// The bytes that a copy of a tree would take. Holes take none, a file with several names counts once.
pub(super) fn size(path: &Path) -> io::Result<u64> {
    match there(fs::symlink_metadata(path))? {
        Some(metadata) if metadata.is_dir() => match there(Directory::open(path))? {
            Some(directory) => size_in(&directory, &mut HashSet::new()),
            None => Ok(0),
        },
        Some(metadata) => Ok(metadata.blocks() * 512),
        None => Ok(0),
    }
}

fn size_in(directory: &Directory, counted: &mut HashSet<(u64, u64)>) -> io::Result<u64> {
    let mut total = directory.metadata()?.blocks() * 512;
    for name in there(directory.names())?.unwrap_or_default() {
        let Some(metadata) = there(fs::symlink_metadata(directory.at(&name)))? else { continue };
        let bytes = if metadata.is_dir() {
            match there(directory.enter(&name))? {
                Some(inner) => size_in(&inner, counted)?,
                None => 0,
            }
        } else if metadata.nlink() > 1 && !counted.insert((metadata.dev(), metadata.ino())) {
            0
        } else {
            metadata.blocks() * 512
        };
        total = total.saturating_add(bytes);
    }
    Ok(total)
}
