//! A layer on its way into the store and out of it.
//!
//! Compressing and writing run in a thread of their own, so that they use the processor's second core while the first
//! unpacks and makes digests. Level 1 of zstd is as fast as disks here are; what cannot be compressed it passes through.

use std::fs::File;
use std::io::{self, Read, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rustix::fs::{Advice, fadvise};
use switchyard_core::Digest;

use super::files::{self, Draft};
use super::{Sha256, Store, StoreError};

const LEVEL: i32 = 1;

/// Bytes are handed to the thread in pieces of this size, at most [`AHEAD`] of them waiting.
const PIECE: usize = 256 << 10;

const AHEAD: usize = 8;

/// After so many bytes the disk is told to begin with them.
const WRITE_OUT: usize = 16 << 20;

/// Makes a layer's digest, and with a store behind it keeps the layer.
pub(crate) struct LayerWriter {
    digest: Sha256,
    size: u64,
    keep: Option<Keeper>,
}

/// A layer that was read to its end.
pub(crate) struct NewLayer {
    pub(crate) diff_id: String,
    pub(crate) size: u64,
    kept: Option<Keeper>,
}

/// The file of a layer and the thread that writes it.
struct Keeper {
    draft: Draft,
    full: Option<SyncSender<Message>>,
    empty: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

enum Message {
    Piece(Vec<u8>),
    /// Without it the layer is given up.
    End,
}

impl LayerWriter {
    /// One that only makes the digest.
    pub(crate) fn digest_only() -> Self {
        Self { digest: Sha256::new(), size: 0, keep: None }
    }

    /// One that keeps the layer.
    pub(crate) fn new(store: &Store) -> Result<Self, StoreError> {
        let (draft, file) = store.draft()?;
        let (full, pieces) = sync_channel(AHEAD);
        // Pieces go back to be filled again. This never blocks the thread: more than these do not exist.
        let (back, empty) = sync_channel(AHEAD + 2);
        let thread = thread::Builder::new()
            .name("layer".to_owned())
            .spawn(move || compress(file, &pieces, &back))
            .map_err(StoreError::io("start a thread for", draft.path()))?;
        let piece = Vec::with_capacity(PIECE);
        let keep = Keeper { draft, full: Some(full), empty, piece, thread: Some(thread) };
        Ok(Self { digest: Sha256::new(), size: 0, keep: Some(keep) })
    }

    /// The next bytes of the layer.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        self.digest.update(bytes);
        self.size += bytes.len() as u64;
        let Some(keep) = &mut self.keep else { return Ok(()) };
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - keep.piece.len()));
            keep.piece.extend_from_slice(now);
            bytes = later;
            if keep.piece.len() == PIECE {
                keep.pass_on()?;
            }
        }
        Ok(())
    }

    /// The layer is whole. Its file may still be on its way to the disk.
    pub(crate) fn finish(mut self) -> Result<NewLayer, StoreError> {
        if let Some(keep) = &mut self.keep {
            keep.pass_on()?;
            keep.send(Message::End)?;
        }
        Ok(NewLayer { diff_id: self.digest.finish(), size: self.size, kept: self.keep })
    }
}

impl NewLayer {
    /// Waits until the layer is on the disk.
    pub(crate) fn settle(&mut self) -> Result<(), StoreError> {
        self.kept.as_mut().map_or(Ok(()), Keeper::join)
    }
}

impl Store {
    /// Puts layers in their places, and makes that last. Those that were only looked at must be there already.
    pub(crate) fn add_layers(&self, layers: Vec<(Digest, NewLayer)>) -> Result<(), StoreError> {
        let mut placed = false;
        for (diff_id, mut layer) in layers {
            layer.settle()?;
            if let Some(kept) = layer.kept.take() {
                kept.into_draft().place(&self.layer_path(&diff_id))?;
                placed = true;
            }
        }
        if placed { files::sync_directory(&self.layers()) } else { Ok(()) }
    }

    /// A layer's tar, checked at its end.
    pub(super) fn read_layer(&self, diff_id: &Digest) -> Result<LayerReader, StoreError> {
        let path = self.layer_path(diff_id);
        let file = File::open(&path).map_err(StoreError::io("read", &path))?;
        let decoder = zstd::Decoder::new(file).map_err(StoreError::io("read", &path))?;
        Ok(LayerReader { path, decoder, digest: Some(Sha256::new()), expected: diff_id.as_str().to_owned() })
    }
}

impl Keeper {
    fn pass_on(&mut self) -> Result<(), StoreError> {
        let next = self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE));
        let piece = mem::replace(&mut self.piece, next);
        self.send(Message::Piece(piece))
    }

    fn send(&mut self, message: Message) -> Result<(), StoreError> {
        if self.full.as_ref().is_some_and(|full| full.send(message).is_ok()) {
            return Ok(());
        }
        // The thread ends early only when it could not write.
        self.join()?;
        Err(StoreError::io("write", self.draft.path())(io::ErrorKind::BrokenPipe.into()))
    }

    fn join(&mut self) -> Result<(), StoreError> {
        self.full = None;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let result = thread.join().unwrap_or_else(|_| Err(io::Error::other("its thread ended")));
        result.map_err(StoreError::io("write", self.draft.path()))
    }

    fn into_draft(self) -> Draft {
        self.draft
    }
}

fn compress(file: File, pieces: &Receiver<Message>, back: &SyncSender<Vec<u8>>) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(file, LEVEL)?;
    let mut waiting = 0;
    while let Ok(message) = pieces.recv() {
        match message {
            Message::Piece(mut piece) => {
                encoder.write_all(&piece)?;
                waiting += piece.len();
                if waiting >= WRITE_OUT {
                    // What nobody reads again soon is on its way to the disk before the end waits for it. It is only advice.
                    let _ = fadvise(encoder.get_ref(), 0, None, Advice::DontNeed);
                    waiting = 0;
                }
                piece.clear();
                // Nobody takes pieces back after the last one.
                let _ = back.try_send(piece);
            }
            Message::End => return encoder.finish()?.sync_all(),
        }
    }
    Ok(())
}

/// Reads a layer's tar out of the store; the end is an error if the digest is not the layer's.
pub(super) struct LayerReader {
    path: PathBuf,
    decoder: zstd::Decoder<'static, io::BufReader<File>>,
    digest: Option<Sha256>,
    expected: String,
}

impl LayerReader {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next bytes, none at a good end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError> {
        let read = self.decoder.read(buffer).map_err(|error| match error.raw_os_error() {
            Some(_) => StoreError::io("read", &self.path)(error),
            None => StoreError::damaged(&self.path, error.to_string()),
        })?;
        if read > 0 {
            if let Some(digest) = &mut self.digest {
                digest.update(&buffer[..read]);
            }
        } else if let Some(digest) = self.digest.take() {
            let found = digest.finish();
            if found != self.expected {
                return Err(StoreError::damaged(&self.path, format!("its digest is {found}")));
            }
        }
        Ok(read)
    }
}
