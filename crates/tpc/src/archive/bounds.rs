//! How much an archive may ask of the switch, and the count of what it has asked so far.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use super::ArchiveError;

/// What an archive may ask for at most. The defaults are far above what images of containers have; the caller sets
/// `unpacked` from the space that is free.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Bytes of the unpacked archive, packed layers inside it unpacked.
    pub unpacked: u64,
    /// How many times larger than what was read the unpacked bytes may be, once they are more than 64 MiB.
    pub ratio: u64,
    /// Entries of the archive itself.
    pub entries: u64,
    /// Entries of one layer, or of an exported root file system.
    pub layer_entries: u64,
    /// Bytes of one path.
    pub path: usize,
    /// Bytes of one manifest or config.
    pub manifest: u64,
    /// Layers of one image. Docker itself stops at 125.
    pub layers: usize,
    /// Images of one archive.
    pub images: usize,
    /// Bytes of memory that unpacking may take. `xz -9` asks for 65 MiB and is refused, `xz -8` is not.
    pub memory: u32,
    /// Whether symbolic links of a layer may lead above its root. No image needs such; a container makes what it likes, and
    /// the root is the top wherever its layer is unpacked.
    pub links_above: bool,
}

impl Bounds {
    /// The defaults with this many unpacked bytes.
    pub fn unpacked(unpacked: u64) -> Self {
        Self {
            unpacked,
            ratio: 250,
            entries: 20_000,
            layer_entries: 1_000_000,
            path: 4096,
            manifest: 4 << 20,
            layers: 125,
            images: 256,
            memory: 40 << 20,
            links_above: false,
        }
    }

    /// For what the engine itself writes of its containers.
    pub fn of_engine() -> Self {
        Self { links_above: true, ..Self::unpacked(u64::MAX) }
    }
}

/// Below this no ratio is looked at: a small image of mostly zeros is no bomb.
const RATIO_FLOOR: u64 = 64 << 20;

/// What has been read and unpacked so far, shared by all readers of one archive.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    ratio: u64,
    read: Cell<u64>,
    unpacked: Cell<u64>,
}

impl Budget {
    pub(super) fn new(bounds: &Bounds) -> Rc<Self> {
        Rc::new(Self {
            limit: bounds.unpacked,
            ratio: bounds.ratio,
            read: Cell::new(0),
            unpacked: Cell::new(0),
        })
    }

    fn count_read(&self, bytes: usize) {
        self.read.set(self.read.get() + bytes as u64);
    }

    fn count_unpacked(&self, bytes: usize) -> Result<(), ArchiveError> {
        let unpacked = self.unpacked.get() + bytes as u64;
        self.unpacked.set(unpacked);
        if unpacked > self.limit {
            return Err(ArchiveError::TooLarge { limit: self.limit });
        }
        if unpacked > RATIO_FLOOR && unpacked / self.ratio.max(1) > self.read.get() {
            return Err(ArchiveError::Bomb { ratio: self.ratio });
        }
        Ok(())
    }
}

/// A reader whose bytes count as unpacked.
pub(super) struct Counted<R> {
    inner: R,
    budget: Rc<Budget>,
}

impl<R> Counted<R> {
    pub(super) fn new(inner: R, budget: Rc<Budget>) -> Self {
        Self { inner, budget }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.budget.count_unpacked(count)?;
        Ok(count)
    }
}

/// Counts what was read of an archive, and tells the progress.
pub(super) struct Tally<'a> {
    budget: Rc<Budget>,
    progress: &'a mut dyn FnMut(u64),
}

impl<'a> Tally<'a> {
    pub(super) fn new(budget: Rc<Budget>, progress: &'a mut dyn FnMut(u64)) -> Self {
        Self { budget, progress }
    }

    pub(super) fn count(&mut self, bytes: usize) {
        self.budget.count_read(bytes);
        (self.progress)(bytes as u64);
    }
}

/// The archive as it comes in: marks its own failures, so that a broken disk is not taken for a broken archive.
pub(super) struct Input<R>(pub(super) R);

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Ok(result.map_err(ArchiveError::Input)?),
            }
        }
    }
}

/// The archive as it comes in, counted.
pub(super) struct Source<'a, R> {
    pub(super) input: Input<R>,
    pub(super) tally: Tally<'a>,
}

impl<'a, R> Source<'a, R> {
    pub(super) fn new(input: R, tally: Tally<'a>) -> Self {
        Self { input: Input(input), tally }
    }
}

impl<R: Read> Read for Source<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.tally.count(count);
        Ok(count)
    }
}
