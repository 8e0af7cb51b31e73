//! Image archives from hostile hands: told apart by content, checked whole, and only then put into the store.
//!
//! An archive is read once, forwards, and no layer is ever in memory. Which entry is a layer is not known before the
//! manifest, which mostly comes last: so everything that is a tar is compressed into a file of the store's own that goes
//! away with the first thing that is wrong. What the store has already is read for its digest only.
//!
//! Holds always: nothing is in the store whose digest was not checked, and no name in an archive becomes a path here.

mod aside;
mod bounds;
mod collect;
mod docker;
mod error;
mod image;
mod layer;
mod layout;
mod names;
mod oci;
mod rootfs;
mod tar;
mod unpack;

pub use bounds::Bounds;
pub use error::ArchiveError;

use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::rc::Rc;
use std::thread::{Scope, scope};

use switchyard_core::ImageId;

use crate::store::{Ahead, LayerWriter, Store, StoreError};
use aside::Aside;
use bounds::{Budget, Counted, Source, Tally};
use collect::Collector;
use rootfs::{RootFs, Shape};
use tar::{End, Entry, Kind, Tar};
use unpack::Packing;

/// An image that is now in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingested {
    /// Its id, which Docker will give it too.
    pub id: ImageId,
    /// The names that the archive gives it. They are words of whoever made the archive.
    pub names: Vec<String>,
    /// Whether it was made here of an exported file system, which does not say what to run.
    pub exported: bool,
}

/// What the archive's bytes go through before they are read as a tar.
const BUFFER: usize = 128 << 10;

/// Reads an archive of any format and compression into the store. `progress` is told how many more bytes were read.
pub fn ingest(
    input: impl Read + Send,
    store: &Store,
    bounds: &Bounds,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<Ingested>, ArchiveError> {
    read(input, store, bounds, progress, None)
}

fn read(
    input: impl Read + Send,
    store: &Store,
    bounds: &Bounds,
    progress: &mut dyn FnMut(u64),
    ahead: Option<&mut Ahead<dyn Write>>,
) -> Result<Vec<Ingested>, ArchiveError> {
    let budget = Budget::new(bounds);
    let source = Source::new(input, Tally::new(budget.clone(), progress));
    scope(|scope| read_tar(unpacked(scope, source, bounds)?, store, bounds, budget, ahead))
}

/// The archive without its compression, and which that is.
fn unpacked<'scope, 'read>(
    scope: &'scope Scope<'scope, '_>,
    mut source: Source<'read, impl Read + Send + 'read>,
    bounds: &Bounds,
) -> Result<(Packing, Box<dyn Read + 'read>), ArchiveError>
where
    'read: 'scope,
{
    let head = unpack::head(&mut source)?;
    if head.starts_with(b"BZh") {
        return Err(ArchiveError::NotAnImage("it is packed with bzip2".to_owned()));
    }
    let packing = Packing::of(&head);
    let head = io::Cursor::new(head);
    if packing == Packing::Plain {
        return Ok((packing, Box::new(head.chain(source))));
    }
    let Source { input, tally } = source;
    let unpacked = Aside::new(scope, packing, head, input, bounds.memory, tally)?;
    Ok((packing, Box::new(unpacked)))
}

fn read_tar(
    (packing, unpacked): (Packing, Box<dyn Read + '_>),
    store: &Store,
    bounds: &Bounds,
    budget: Rc<Budget>,
    ahead: Option<&mut Ahead<dyn Write>>,
) -> Result<Vec<Ingested>, ArchiveError> {
    let mut unpacked = Counted::new(unpacked, budget.clone());
    let head = unpack::head(&mut unpacked)?;
    if !tar::is_header(&head) {
        return Err(not_a_tar(&head, packing));
    }
    let watched =
        Watched { inner: io::Cursor::new(head).chain(unpacked), watch: Watch::Undecided(Vec::new()) };
    let mut tar = Tar::new(BufReader::with_capacity(BUFFER, watched), End::Required, bounds.path);
    let mut collector = Collector::new(store, bounds, budget, ahead)?;
    let mut rootfs = RootFs::new(bounds);
    while let Some(entry) = tar.next()? {
        decide(&entry, tar.input().get_mut(), store)?;
        match &tar.input().get_mut().watch {
            Watch::Layer(_) => rootfs.entry(&entry)?,
            Watch::Nothing => take(&mut collector, &entry, &mut tar)?,
            // A directory of a name that both formats may have must do for both.
            Watch::Undecided(_) => {
                rootfs.entry(&entry)?;
                take(&mut collector, &entry, &mut tar)?;
            }
        }
    }
    tar.drain()?;
    match std::mem::replace(&mut tar.input().get_mut().watch, Watch::Nothing) {
        Watch::Layer(layer) => rootfs.finish(*layer, store),
        Watch::Nothing => collector.finish(),
        Watch::Undecided(_) => Err(ArchiveError::NotAnImage("it is a tar without files".to_owned())),
    }
}

/// As [`ingest`], from a file or from a directory with an OCI layout; passes on the layers of an image archive that the
/// store does not have.
pub fn ingest_path(
    path: &Path,
    store: &Store,
    bounds: &Bounds,
    progress: &mut dyn FnMut(u64),
    ahead: Option<&mut Ahead<dyn Write>>,
) -> Result<Vec<Ingested>, ArchiveError> {
    if path.is_dir() {
        return layout::ingest_layout(path, store, bounds, progress, ahead);
    }
    read(std::fs::File::open(path).map_err(ArchiveError::Input)?, store, bounds, progress, ahead)
}

/// Reads a tar to its end and what is behind it. Nothing of it is kept, and no hole of a sparse file is filled.
pub(crate) fn read_through(input: impl Read) -> Result<(), ArchiveError> {
    let mut tar = Tar::new(input, End::Optional, Bounds::unpacked(0).path);
    while tar.next()?.is_some() {}
    tar.drain()
}

/// Learns from one more entry whether this is an image archive or a root file system.
fn decide<R>(entry: &Entry, watched: &mut Watched<R>, store: &Store) -> Result<(), ArchiveError> {
    let Watch::Undecided(seen) = &watched.watch else { return Ok(()) };
    watched.watch = match rootfs::shape(entry) {
        Shape::Either => return Ok(()),
        Shape::Archive => Watch::Nothing,
        Shape::RootFs => {
            let mut layer = LayerWriter::new(store)?;
            layer.take(seen)?;
            Watch::Layer(Box::new(layer))
        }
    };
    Ok(())
}

/// Gives the collector one entry of an image archive.
fn take<R: Read>(collector: &mut Collector<'_>, entry: &Entry, tar: &mut Tar<R>) -> Result<(), ArchiveError> {
    let name = names::outer(&entry.path)?;
    match entry.kind {
        Kind::File => collector.file(&name, entry.size, tar),
        Kind::Directory => collector.directory(),
        Kind::HardLink | Kind::Symlink => collector.link(&name, &names::outer_target(&name, entry)?),
        Kind::Device => Err(names::bad(&entry.path, "is a device")),
        Kind::Fifo | Kind::Strange => Err(names::bad(&entry.path, "is no file, directory or link")),
    }
}

fn not_a_tar(head: &[u8], packing: Packing) -> ArchiveError {
    if head.is_empty() && packing == Packing::Plain {
        return ArchiveError::NotAnImage("it is empty".to_owned());
    }
    if head.len() < tar::BLOCK && packing != Packing::Plain {
        return ArchiveError::NotAnImage("it is too short".to_owned());
    }
    ArchiveError::NotAnImage(match packing {
        Packing::Plain => "neither a tar nor packed".to_owned(),
        Packing::Gzip | Packing::Xz | Packing::Zstd => "what is packed in it is no tar".to_owned(),
    })
}

/// What becomes of the archive's own bytes.
enum Watch {
    /// They are kept until it is known what they are.
    Undecided(Vec<u8>),
    /// They are a layer.
    Layer(Box<LayerWriter>),
    /// They are not needed.
    Nothing,
}

/// A tar that names this many bytes' worth of directories and no file is no image.
const UNDECIDED_MAX: usize = 4 << 20;

struct Watched<R> {
    inner: R,
    watch: Watch,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match &mut self.watch {
            Watch::Undecided(seen) if seen.len() > UNDECIDED_MAX => {
                return Err(ArchiveError::NotAnImage("it is a tar without files".to_owned()).into());
            }
            Watch::Undecided(seen) => seen.extend_from_slice(&buffer[..count]),
            Watch::Layer(layer) => {
                layer.take(&buffer[..count]).map_err(|error: StoreError| ArchiveError::from(error))?;
            }
            Watch::Nothing => {}
        }
        Ok(count)
    }
}
