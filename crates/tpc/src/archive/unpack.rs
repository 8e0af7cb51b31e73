//! Which compression a stream has, told by its first bytes, and the stream without it.
//!
//! Several members after each other are one stream, as `cat a.gz b.gz` makes them.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Error as XzError, Stream};

use super::ArchiveError;

/// As much as a tar header has, which is the most that any format is told by.
pub(super) const HEAD: usize = 512;

/// The compressions of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Xz,
    Zstd,
}

impl Packing {
    pub(super) fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// The first bytes of a stream, fewer if it ends before.
pub(super) fn head(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    input.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// A stream without its compression.
pub(super) enum Unpacked<R: Read> {
    Plain(R),
    Gzip(Box<MultiGzDecoder<BufReader<R>>>),
    Xz(Box<XzDecoder<BufReader<R>>>, u32),
    Zstd(Box<zstd::Decoder<'static, BufReader<R>>>, u32),
}

/// Compressed bytes are asked for in pieces of this size.
const PIECE: usize = 64 << 10;

impl<R: Read> Unpacked<R> {
    /// Takes at most about this much memory.
    pub(super) fn new(packing: Packing, input: R, memory: u32) -> Result<Self, ArchiveError> {
        Ok(match packing {
            Packing::Plain => Self::Plain(input),
            Packing::Gzip => {
                Self::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(PIECE, input))))
            }
            Packing::Xz => {
                let input = BufReader::with_capacity(PIECE, input);
                let decoder =
                    Stream::new_stream_decoder(u64::from(memory), CONCATENATED).map_err(io::Error::from)?;
                Self::Xz(Box::new(XzDecoder::new_stream(input, decoder)), memory)
            }
            Packing::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(BufReader::with_capacity(PIECE, input))?;
                decoder.window_log_max(memory.max(1).ilog2())?;
                Self::Zstd(Box::new(decoder), memory)
            }
        })
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (result, limit) = match self {
            Self::Plain(input) => return input.read(buffer),
            Self::Gzip(decoder) => return decoder.read(buffer),
            Self::Xz(decoder, limit) => (decoder.read(buffer), *limit),
            Self::Zstd(decoder, limit) => (decoder.read(buffer), *limit),
        };
        result.map_err(
            |error| {
                if wants_memory(&error) { ArchiveError::Memory { limit }.into() } else { error }
            },
        )
    }
}

/// libzstd has no error of its own for a window that is too large, only words.
fn wants_memory(error: &io::Error) -> bool {
    let Some(inner) = error.get_ref() else { return false };
    match inner.downcast_ref::<XzError>() {
        Some(error) => *error == XzError::MemLimit,
        None => !inner.is::<ArchiveError>() && inner.to_string().contains("too much memory"),
    }
}
