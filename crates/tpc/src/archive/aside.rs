//! A stream that is unpacked in a thread of its own, so that who reads it makes digests on the other core meanwhile.

use std::cell::Cell;
use std::io::{self, Cursor, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope};

use super::ArchiveError;
use super::bounds::Tally;
use super::unpack::{Packing, Unpacked};

/// Unpacked bytes are handed over in pieces of this size, at most [`AHEAD`] of them waiting.
const PIECE: usize = 64 << 10;

const AHEAD: usize = 16;

/// Some unpacked bytes.
struct Piece {
    bytes: Vec<u8>,
    /// How many packed ones were read for them.
    packed: usize,
    /// What comes after them, if these are the last.
    end: Option<io::Result<()>>,
}

/// The unpacked stream.
pub(super) struct Aside<'a> {
    pieces: Receiver<Piece>,
    bytes: Cursor<Vec<u8>>,
    end: Option<io::Result<()>>,
    tally: Tally<'a>,
}

impl<'a> Aside<'a> {
    /// Begins to unpack `head`, which was counted, and then `input`, which is when its bytes get here.
    pub(super) fn new<'scope>(
        scope: &'scope Scope<'scope, '_>,
        packing: Packing,
        head: Cursor<Vec<u8>>,
        input: impl Read + Send + 'scope,
        memory: u32,
        tally: Tally<'a>,
    ) -> Result<Self, ArchiveError> {
        let (full, pieces) = sync_channel(AHEAD);
        Builder::new()
            .name("unpack".to_owned())
            .spawn_scoped(scope, move || unpack(packing, head, input, memory, &full))
            .map_err(ArchiveError::Input)?;
        Ok(Self { pieces, bytes: Cursor::default(), end: None, tally })
    }
}

impl Read for Aside<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.bytes.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            if let Some(end) = self.end.replace(Ok(())) {
                return end.map(|()| 0);
            }
            let gone = |_| io::Error::other("the thread that unpacks it has ended");
            let Piece { bytes, packed, end } = self.pieces.recv().map_err(gone)?;
            self.tally.count(packed);
            (self.bytes, self.end) = (Cursor::new(bytes), end);
        }
    }
}

/// Until the end, or until nobody takes pieces any more.
fn unpack(packing: Packing, head: Cursor<Vec<u8>>, input: impl Read, memory: u32, full: &SyncSender<Piece>) {
    let packed = Cell::new(0);
    let send = |bytes, end| full.send(Piece { bytes, packed: packed.take(), end }).is_ok();
    let packed_input = head.chain(Metered { inner: input, read: &packed });
    let mut unpacked = match Unpacked::new(packing, packed_input, memory) {
        Ok(unpacked) => unpacked,
        Err(error) => {
            send(Vec::new(), Some(Err(error.into())));
            return;
        }
    };
    loop {
        let mut bytes = Vec::with_capacity(PIECE);
        let end = match unpacked.by_ref().take(PIECE as u64).read_to_end(&mut bytes) {
            Ok(PIECE) => None,
            Ok(_) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        };
        let is_over = end.is_some();
        if !send(bytes, end) || is_over {
            return;
        }
    }
}

/// Counts what is read.
struct Metered<'a, R> {
    inner: R,
    read: &'a Cell<usize>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.set(self.read.get() + count);
        Ok(count)
    }
}
