//! Reads one layer: unpacks it, checks that it is a tar that Docker would unpack, and passes it on.

use std::io::{self, BufReader, Read};
use std::rc::Rc;

use super::bounds::{Bounds, Budget, Counted};
use super::tar::{End, Tar};
use super::unpack::{Packing, Unpacked};
use super::{ArchiveError, names};
use crate::store::{LayerWriter, NewLayer, Sha256};

/// A layer of an archive.
pub(super) struct Layer {
    pub(super) new: NewLayer,
    /// The 64 digits by which the archive names it.
    pub(super) digits: Option<String>,
}

const BUFFER: usize = 128 << 10;

/// Reads a layer to its end, and says what the digest of its packed bytes is.
pub(super) fn read(
    data: impl Read,
    packing: Packing,
    sink: LayerWriter,
    bounds: &Bounds,
    budget: &Rc<Budget>,
) -> Result<(Layer, String), ArchiveError> {
    if packing == Packing::Plain {
        let new = walk(data, sink, bounds)?;
        let found = new.diff_id.clone();
        return Ok((Layer { new, digits: None }, found));
    }
    let mut packed = Digested { inner: data, digest: Sha256::new() };
    let unpacked = Unpacked::new(packing, &mut packed, bounds.memory)?;
    let new = walk(Counted::new(unpacked, budget.clone()), sink, bounds)?;
    // What a decompressor leaves is part of the blob all the same.
    io::copy(&mut packed, &mut io::sink())?;
    Ok((Layer { new, digits: None }, packed.digest.finish()))
}

/// The digest of something that is no layer.
pub(super) fn digest(data: impl Read) -> Result<String, ArchiveError> {
    let mut data = Digested { inner: BufReader::with_capacity(BUFFER, data), digest: Sha256::new() };
    io::copy(&mut data, &mut io::sink())?;
    Ok(data.digest.finish())
}

fn walk(data: impl Read, sink: LayerWriter, bounds: &Bounds) -> Result<NewLayer, ArchiveError> {
    let tee = Tee { inner: data, sink };
    let mut tar = Tar::new(BufReader::with_capacity(BUFFER, tee), End::Optional, bounds.path);
    let mut entries = 0;
    while let Some(entry) = tar.next()? {
        names::layer(&entry, bounds.links_above)?;
        entries += 1;
        if entries > bounds.layer_entries {
            return Err(ArchiveError::TooMany { what: "entries in one layer", limit: bounds.layer_entries });
        }
    }
    tar.drain()?;
    Ok(tar.into_input().into_inner().sink.finish()?)
}

/// Passes on what is read.
struct Tee<R> {
    inner: R,
    sink: LayerWriter,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.sink.take(&buffer[..count]).map_err(ArchiveError::from)?;
        Ok(count)
    }
}

/// Makes a digest of what is read.
struct Digested<R> {
    inner: R,
    digest: Sha256,
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digest.update(&buffer[..count]);
        Ok(count)
    }
}
