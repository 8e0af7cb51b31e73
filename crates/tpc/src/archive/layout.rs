//! An OCI layout that is a directory, as skopeo and buildah write it to a USB stick.
//!
//! Its files are read as the entries of an archive would be. Only the names that the format knows are opened, and none
//! through a symbolic link: who wrote the stick may not read the switch's files by way of us.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::bounds::{Budget, Source, Tally};
use super::collect::{BLOBS, Collector, is_digest};
use super::{ArchiveError, Bounds, Ingested, names};
use crate::store::{Ahead, Store};

/// Reads a directory with an OCI layout into the store.
pub(super) fn ingest_layout(
    path: &Path,
    store: &Store,
    bounds: &Bounds,
    progress: &mut dyn FnMut(u64),
    ahead: Option<&mut Ahead<dyn Write>>,
) -> Result<Vec<Ingested>, ArchiveError> {
    let budget = Budget::new(bounds);
    let mut collector = Collector::new(store, bounds, budget.clone(), ahead)?;
    if !path.join("index.json").exists() {
        return Err(ArchiveError::NotAnImage("it is a directory without index.json".to_owned()));
    }
    let mut blobs: Vec<String> = Vec::new();
    for entry in fs::read_dir(path.join(BLOBS)).map_err(ArchiveError::Input)? {
        let name = entry.map_err(ArchiveError::Input)?.file_name();
        if blobs.len() as u64 >= bounds.entries {
            return Err(ArchiveError::TooMany { what: "entries", limit: bounds.entries });
        }
        blobs.extend(name.to_str().filter(|name| is_digest(name)).map(|name| format!("{BLOBS}{name}")));
    }
    blobs.sort();
    blobs.insert(0, "index.json".to_owned());
    for name in blobs {
        let file = open(path, &name)?;
        let size = file.metadata().map_err(ArchiveError::Input)?.len();
        // On a disk nothing is unpacked that was not read: only what layers unpack to counts.
        collector.file(&name, size, Source::new(file, Tally::new(budget.clone(), progress)))?;
    }
    collector.finish()
}

fn open(layout: &Path, name: &str) -> Result<File, ArchiveError> {
    // A fifo would block for ever.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(layout.join(name));
    let file = file.map_err(|error| match error.raw_os_error() {
        Some(code) if code == Errno::LOOP.raw_os_error() => names::bad(name.as_bytes(), "is a link"),
        _ => ArchiveError::Input(error),
    })?;
    if file.metadata().map_err(ArchiveError::Input)?.is_file() {
        Ok(file)
    } else {
        Err(names::bad(name.as_bytes(), "is no file"))
    }
}
