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

/// A directory that is held open.
pub(super) struct Directory(File);

impl Directory {
    /// Opens one. A link in its place is an error; links above it are the caller's business.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        open(path, OFlags::DIRECTORY).map(Self)
    }

    /// A path to an entry that holds whatever becomes of the directory's own. Only its last part can be a link.
    pub(super) fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        Path::new("/proc/self/fd").join(self.0.as_raw_fd().to_string()).join(name)
    }

    pub(super) fn names(&self) -> io::Result<BTreeSet<OsString>> {
        fs::read_dir(self.at("."))?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    }

    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    /// Writes what the whole file system has not written yet.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
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

/// The bytes that a copy of a tree would take. Holes take none, a file with several names counts once.
pub(super) fn size(path: &Path) -> u64 {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            Directory::open(path).map_or(0, |directory| size_in(&directory, &mut HashSet::new()))
        }
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    }
}

fn size_in(directory: &Directory, counted: &mut HashSet<(u64, u64)>) -> u64 {
    let mut total = directory.metadata().map_or(0, |metadata| metadata.blocks() * 512);
    for name in directory.names().unwrap_or_default() {
        let path = directory.at(name);
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let bytes = if metadata.is_dir() {
            Directory::open(&path).map_or(0, |inner| size_in(&inner, counted))
        } else if metadata.nlink() > 1 && !counted.insert((metadata.dev(), metadata.ino())) {
            0
        } else {
            metadata.blocks() * 512
        };
        total = total.saturating_add(bytes);
    }
    total
}
