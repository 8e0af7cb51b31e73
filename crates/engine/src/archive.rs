//! Images into the engine and out of it, as streams in the format of `docker save`.
//!
//! Bytes are only passed on, in pieces: what is in them is others' to make and to check. Whoever makes or reads them may
//! block; [`pipe`] and [`Saved`] stand between, and never hold more than a few pieces.

use std::io::{self, Read, Write};

use bollard::errors::Error as Bollard;
use bollard::query_parameters::{ImportImageOptions, ListImagesOptions};
use futures_util::{Stream, StreamExt, stream};
use switchyard_core::{Digest, ImageId, ImageName};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::{Engine, EngineError, LOAD_TIMEOUT};

/// Pieces that wait between a side that blocks and one that does not.
const AHEAD: usize = 32;

/// A piece, large enough that handing it over costs nothing beside its copy.
const PIECE: usize = 256 << 10;

type Piece = Result<Vec<u8>, io::Error>;

/// Where an archive for [`Engine::load`] is written, from a thread that may block. Dropped without [`PipeWriter::finish`]
/// it breaks the stream, and the engine loads nothing.
#[derive(Debug)]
pub struct PipeWriter {
    pieces: Sender<Piece>,
    piece: Vec<u8>,
    finished: bool,
}

/// The other end.
#[derive(Debug)]
pub struct PipeReader(Receiver<Piece>);

/// A way from a thread that may block into the engine.
pub fn pipe() -> (PipeWriter, PipeReader) {
    let (pieces, reader) = mpsc::channel(AHEAD);
    (PipeWriter { pieces, piece: Vec::new(), finished: false }, PipeReader(reader))
}

impl PipeWriter {
    /// All was written.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.finished = true;
        Ok(())
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.reserve(PIECE - self.piece.len());
        let count = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece);
        // The engine has refused and told why where the stream was given to it.
        self.pieces.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        if !self.finished {
            // If there is no room for it, the reader is gone or learns it from the missing end of the archive.
            let _ = self.pieces.try_send(Err(io::ErrorKind::ConnectionAborted.into()));
        }
    }
}

/// An archive that the engine writes, to be read from a thread that may block.
#[derive(Debug)]
pub struct Saved {
    pieces: Receiver<Result<Vec<u8>, EngineError>>,
    piece: io::Cursor<Vec<u8>>,
}

impl Read for Saved {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.piece.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = io::Cursor::new(piece.map_err(io::Error::other)?),
                None => return Ok(0),
            }
        }
    }
}

impl Engine {
    /// Loads an archive, and says which images the engine names in its answer: those with a name, or all if none has one.
    /// A stream that ends with an error loads nothing.
    pub async fn load(&self, archive: PipeReader) -> Result<Vec<ImageId>, EngineError> {
        let body = stream::unfold(archive, |mut archive| async move {
            archive.0.recv().await.map(|piece| (piece.map(Into::into), archive))
        });
        let options = ImportImageOptions { quiet: true, ..ImportImageOptions::default() };
        let docker = self.patient(LOAD_TIMEOUT);
        let mut answer = docker.import_image_stream(options, body, None);
        let mut loaded = Vec::new();
        while let Some(line) = answer.next().await {
            let line = line.map_err(|error| self.error("", error))?;
            for name in line.stream.iter().flat_map(|text| text.lines()).filter_map(loaded_image) {
                loaded.push(self.id_of(name).await?);
            }
        }
        loaded.dedup();
        if loaded.is_empty() {
            return Err(EngineError::Refused {
                container: String::new(),
                message: "it loaded no image and did not say why".to_owned(),
            });
        }
        Ok(loaded)
    }

    /// The layers of each image that is here, the lowest first, by the digests of their tars. An archive for
    /// [`Engine::load`] may leave out layers that an image here has in the same order at its bottom.
    pub async fn layers(&self) -> Result<Vec<Vec<Digest>>, EngineError> {
        let options = ListImagesOptions::default();
        let listed = self.docker.list_images(Some(options)).await.map_err(|error| self.error("", error))?;
        let mut all = Vec::with_capacity(listed.len());
        for summary in listed {
            // One that is removed meanwhile is none.
            let Ok(image) = self.docker.inspect_image(&summary.id).await else { continue };
            let layers = image.root_fs.and_then(|root| root.layers).unwrap_or_default();
            all.push(layers.iter().map_while(|layer| Digest::parse(layer).ok()).collect());
        }
        Ok(all)
    }

    /// Images as one archive, in which each layer is once. To be called within a tokio runtime, which carries the bytes;
    /// they are read from a thread of its own.
    pub fn save(&self, images: &[ImageId]) -> Saved {
        let (sender, pieces) = mpsc::channel(AHEAD);
        let engine = Self { docker: self.patient(LOAD_TIMEOUT), socket: self.socket.clone() };
        let images: Vec<String> = images.iter().map(ToString::to_string).collect();
        tokio::spawn(async move {
            let names: Vec<&str> = images.iter().map(String::as_str).collect();
            let pieces = engine.docker.export_images(&names);
            pass_on(pieces.map(|piece| piece.map_err(|error| engine.image_error(names[0], error))), &sender)
                .await;
        });
        Saved { pieces, piece: io::Cursor::default() }
    }

    /// The id of what the engine says it loaded: an id, or a name.
    async fn id_of(&self, name: &str) -> Result<ImageId, EngineError> {
        if let Ok(id) = ImageId::parse(name) {
            return Ok(id);
        }
        let inspected = match ImageName::parse(name) {
            Ok(_) => self.docker.inspect_image(name).await,
            Err(_) => return Err(EngineError::NoSuchImage(name.to_owned())),
        };
        let raw = inspected.map_err(|error: Bollard| self.image_error(name, error))?;
        let id = ImageId::parse(raw.id.as_deref().unwrap_or_default());
        id.map_err(|_| EngineError::NoSuchImage(name.to_owned()))
    }
}

/// Small pieces are put together: each that is handed over wakes a thread.
async fn pass_on(
    pieces: impl Stream<Item = Result<impl AsRef<[u8]>, EngineError>>,
    to: &Sender<Result<Vec<u8>, EngineError>>,
) {
    let mut pieces = std::pin::pin!(pieces);
    let mut gathered = Vec::with_capacity(PIECE);
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => gathered.extend_from_slice(piece.as_ref()),
            Err(error) => {
                // Whoever reads has stopped, or gets the error.
                let _ = to.send(Err(error)).await;
                return;
            }
        }
        if gathered.len() >= PIECE {
            let full = std::mem::replace(&mut gathered, Vec::with_capacity(PIECE));
            if to.send(Ok(full)).await.is_err() {
                return;
            }
        }
    }
    let _ = to.send(Ok(gathered)).await;
}

/// The image in a line of the engine's answer: `Loaded image: name:tag` or `Loaded image ID: sha256:…`.
fn loaded_image(line: &str) -> Option<&str> {
    let line = line.trim();
    line.strip_prefix("Loaded image ID: ").or_else(|| line.strip_prefix("Loaded image: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_loaded_is_read_in_all_words_of_the_engine() {
        assert_eq!(loaded_image("Loaded image: tpc/web:latest\n"), Some("tpc/web:latest"));
        assert_eq!(loaded_image("Loaded image ID: sha256:12"), Some("sha256:12"));
        assert_eq!(loaded_image("Loading layer"), None);
    }

    #[test]
    fn a_pipe_that_is_not_finished_breaks_the_stream() {
        let (mut writer, mut reader) = pipe();
        writer.write_all(&vec![7; PIECE + 1]).unwrap();
        drop(writer);
        assert_eq!(reader.0.blocking_recv().unwrap().unwrap().len(), PIECE);
        assert!(reader.0.blocking_recv().unwrap().is_err());

        let (mut writer, mut reader) = pipe();
        writer.write_all(b"all").unwrap();
        writer.finish().unwrap();
        assert_eq!(reader.0.blocking_recv().unwrap().unwrap(), b"all");
        assert!(reader.0.blocking_recv().is_none());
    }
}
