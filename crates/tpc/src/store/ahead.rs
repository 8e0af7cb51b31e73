//! An archive for an engine, begun while nobody knows yet what is in it.
//!
//! Layers go into it as they are read, under names of ours and as opaque files, which the engine only puts by. What has it
//! look into them and makes an image of them is the manifest, which [`Store::complete`] writes once everything was checked
//! and is in the store. Without it the engine throws away what it has.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use super::StoreError;
use super::load::Output;

#[cfg(doc)]
use super::Store;

/// An archive that is being written.
pub struct Ahead<W: ?Sized> {
    /// The layers that are in it, by the digests of their tars, and their names there.
    pub(super) layers: HashMap<String, String>,
    count: usize,
    bytes: u64,
    /// What is missing of the layer that is being passed on.
    missing: u64,
    broken: bool,
    pub(super) out: Output<W>,
}

impl<W: Write> Ahead<W> {
    /// An empty one.
    pub fn new(out: W) -> Self {
        Self { layers: HashMap::new(), count: 0, bytes: 0, missing: 0, broken: false, out: Output(out) }
    }

    /// To go on with; an error if something could not be written.
    pub(super) fn whole(self) -> Result<Self, StoreError> {
        if self.broken { Err(StoreError::Output(io::ErrorKind::BrokenPipe.into())) } else { Ok(self) }
    }
}

impl<W: Write + ?Sized> Ahead<W> {
    /// The bytes that were passed on.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Passes on a layer of so many bytes, packed as it is, while it is read.
    pub(crate) fn pass<R>(&mut self, size: u64, layer: R) -> Passing<'_, W, R> {
        self.count += 1;
        self.missing = size;
        let name = self.name();
        self.attempt(|out| out.header(&name, size));
        Passing { ahead: self, layer }
    }

    /// The layer that was passed on last was read to its end, and its tar has this digest.
    pub(crate) fn passed(&mut self, size: u64, diff_id: &str) {
        self.broken |= self.missing > 0;
        self.attempt(|out| out.pad(size));
        self.layers.insert(diff_id.to_owned(), self.name());
    }

    fn name(&self) -> String {
        format!("blobs/{}", self.count)
    }

    /// That the engine takes no more is no reason not to read on: it says why when it is asked again.
    fn attempt(&mut self, write: impl FnOnce(&mut Output<W>) -> Result<(), StoreError>) {
        self.broken = self.broken || write(&mut self.out).is_err();
    }
}

/// Reads a layer, and passes on what was read.
pub(crate) struct Passing<'a, W: ?Sized, R> {
    ahead: &'a mut Ahead<W>,
    layer: R,
}

impl<W: Write + ?Sized, R: Read> Read for Passing<'_, W, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.layer.read(buffer)?;
        let ahead = &mut *self.ahead;
        ahead.bytes += count as u64;
        match ahead.missing.checked_sub(count as u64) {
            Some(missing) => ahead.missing = missing,
            // A file that has grown since it was looked at.
            None => ahead.broken = true,
        }
        ahead.attempt(|out| out.write(&buffer[..count]));
        Ok(count)
    }
}
