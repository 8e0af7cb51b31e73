//! Reads a tar from hostile hands, entry by entry, in little memory.
//!
//! Written for this because every reader at hand keeps long names and extended headers in memory as large as the archive
//! says they are. Only what tells entries apart is understood: names, links, kinds and sizes (ustar, GNU long names, pax).
//! Types and sizes are read as Go's archive/tar does, since that is what Docker reads the same layers with.

use std::io::{self, Read};

use super::ArchiveError;

/// The size of all that a tar consists of.
pub(super) const BLOCK: usize = 512;

/// Extended attributes travel in extended headers, each at most 64 KiB in Linux.
const EXTENDED_MAX: u64 = 1 << 20;

/// Skipped data is read in pieces of this size, which is also what those who look on (digest, store) get at once.
const PIECE: usize = 128 << 10;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    HardLink,
    Symlink,
    Device,
    Fifo,
    /// Parts of other formats: sparse files, volumes.
    Strange,
}

/// One entry, without its data.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) link: Vec<u8>,
}

/// What a tar that ends without its end is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Cut off.
    Required,
    /// Whole, as Docker takes layers; their digests say whether they are.
    Optional,
}

/// A tar that is read once, forwards. Reads as the data of the current entry.
pub(super) struct Tar<R> {
    input: R,
    end: End,
    path_max: usize,
    left: u64,
    padding: u64,
    piece: Vec<u8>,
}

/// What goes before an entry and changes it.
#[derive(Default)]
struct Overrides {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<R: Read> Tar<R> {
    pub(super) fn new(input: R, end: End, path_max: usize) -> Self {
        Self { input, end, path_max, left: 0, padding: 0, piece: Vec::new() }
    }

    pub(super) fn input(&mut self) -> &mut R {
        &mut self.input
    }

    pub(super) fn into_input(self) -> R {
        self.input
    }

    /// The next entry; none at the end. Data of the entry before that was not read is skipped.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut overrides = Overrides::default();
        loop {
            self.skip()?;
            let Some(block) = self.block()? else { return Ok(None) };
            if block.iter().all(|byte| *byte == 0) {
                return self.last_block(&overrides);
            }
            if !checksum_holds(&block) {
                return Err(damaged("a header's checksum does not hold"));
            }
            let size = number(&block[124..136]).ok_or_else(|| damaged("a header's size is no number"))?;
            match block[156] {
                b'x' => overrides.extend(&self.small(size, EXTENDED_MAX)?)?,
                // What holds for all entries holds nothing of interest here: comments, times.
                b'g' => drop(self.small(size, EXTENDED_MAX)?),
                b'L' => {
                    overrides.path = Some(until_nul(&self.small(size, self.path_max as u64 + 1)?).to_vec());
                }
                b'K' => {
                    overrides.link = Some(until_nul(&self.small(size, self.path_max as u64 + 1)?).to_vec());
                }
                kind => return self.entry(&block, kind, size, overrides).map(Some),
            }
        }
    }

    /// Reads all that is left, so that whoever looks on has seen it and trailers of the compression are checked.
    pub(super) fn drain(&mut self) -> Result<(), ArchiveError> {
        self.piece.resize(PIECE, 0);
        while self.input.read(&mut self.piece)? > 0 {}
        Ok(())
    }

    fn entry(
        &mut self,
        block: &[u8; BLOCK],
        kind: u8,
        size: u64,
        overrides: Overrides,
    ) -> Result<Entry, ArchiveError> {
        let path = overrides.path.unwrap_or_else(|| name_in(block));
        let link = overrides.link.unwrap_or_else(|| until_nul(&block[157..257]).to_vec());
        if path.len().max(link.len()) > self.path_max {
            return Err(ArchiveError::TooMany { what: "bytes in one path", limit: self.path_max as u64 });
        }
        let kind = match kind {
            0 if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' | b'4' => Kind::Device,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => Kind::Strange,
        };
        if block[156] == b'S' {
            self.sparse_map(block)?;
        }
        let has_data = matches!(kind, Kind::File | Kind::Strange);
        let size = if has_data { overrides.size.unwrap_or(size) } else { 0 };
        self.left = size;
        self.padding = padding(size);
        Ok(Entry { path, kind, size, link })
    }

    /// Where the holes of a GNU sparse file are goes on in blocks between its header and its data if there are many.
    fn sparse_map(&mut self, header: &[u8; BLOCK]) -> Result<(), ArchiveError> {
        let mut more = header[482] != 0;
        while more {
            more = self.block()?.ok_or(ArchiveError::Truncated)?[504] != 0;
        }
        Ok(())
    }

    /// One of the two blocks of zeros that end a tar has been read.
    fn last_block(&mut self, overrides: &Overrides) -> Result<Option<Entry>, ArchiveError> {
        if overrides.path.is_some() || overrides.link.is_some() || overrides.size.is_some() {
            return Err(damaged("it ends between a long name and the entry"));
        }
        match self.block()? {
            Some(block) if block.iter().any(|byte| *byte != 0) => {
                Err(damaged("there is something after its end"))
            }
            _ => Ok(None),
        }
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..])? {
                0 if filled == 0 && self.end == End::Optional => return Ok(None),
                0 => return Err(ArchiveError::Truncated),
                count => filled += count,
            }
        }
        Ok(Some(block))
    }

    fn small(&mut self, size: u64, max: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > max {
            return Err(ArchiveError::TooMany {
                what: "bytes in a long name or extended header",
                limit: max,
            });
        }
        let mut data = Vec::new();
        let found = (&mut self.input).take(size).read_to_end(&mut data)?;
        if found as u64 != size {
            return Err(ArchiveError::Truncated);
        }
        self.padding = padding(size);
        Ok(data)
    }

    fn skip(&mut self) -> Result<(), ArchiveError> {
        let mut rest =
            self.left.checked_add(self.padding).ok_or_else(|| damaged("an entry is larger than any disk"))?;
        if rest > 0 {
            self.piece.resize(PIECE, 0);
        }
        while rest > 0 {
            let wanted = usize::try_from(rest).unwrap_or(PIECE).min(PIECE);
            match self.input.read(&mut self.piece[..wanted])? {
                0 => return Err(ArchiveError::Truncated),
                count => rest -= count as u64,
            }
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }
}

impl<R: Read> Read for Tar<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.input.read(&mut buffer[..wanted])?;
        if count == 0 && wanted > 0 {
            return Err(ArchiveError::Truncated.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

impl Overrides {
    /// Records of the form `<length> <key>=<value>\n`.
    fn extend(&mut self, mut records: &[u8]) -> Result<(), ArchiveError> {
        let broken = || damaged("an extended header is not made as one");
        while !records.is_empty() {
            let space = records.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
            let length: usize =
                text(&records[..space]).and_then(|text| text.parse().ok()).ok_or_else(broken)?;
            let record = records.get(space + 1..length).ok_or_else(broken)?;
            records = &records[length..];
            let record = record.strip_suffix(b"\n").ok_or_else(broken)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    self.size = Some(text(value).and_then(|text| text.parse().ok()).ok_or_else(broken)?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What fills up the last block of so many bytes.
fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// Whether a block is a header: its checksum says so.
pub(super) fn is_header(block: &[u8]) -> bool {
    <&[u8; BLOCK]>::try_from(block).is_ok_and(|block| block[0] != 0 && checksum_holds(block))
}

fn checksum_holds(block: &[u8; BLOCK]) -> bool {
    let counted = |at: usize, byte: u8| if (148..156).contains(&at) { b' ' } else { byte };
    let bytes = || block.iter().enumerate().map(|(at, byte)| counted(at, *byte));
    let unsigned: u64 = bytes().map(u64::from).sum();
    // Some old programs took bytes for signed.
    let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
    number(&block[148..156])
        .is_some_and(|sum| sum == unsigned || i64::try_from(sum).is_ok_and(|sum| sum == signed))
}

/// Octal digits, or with the first bit set a big-endian number.
fn number(field: &[u8]) -> Option<u64> {
    if let Some((first, rest)) = field.split_first().filter(|(first, _)| **first & 0x80 != 0) {
        // The second bit is the sign.
        return rest.iter().try_fold(u64::from(first & 0x7f), |value, byte| {
            value.checked_mul(256).map(|value| value | u64::from(*byte))
        });
    }
    let digits = text(until_nul(field))?.trim_matches(' ');
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}

fn name_in(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&block[..100]);
    let prefix = until_nul(&block[345..500]);
    // GNU puts times where ustar has a prefix, and says so in its magic.
    if &block[257..263] != b"ustar\0" || prefix.is_empty() {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn damaged(what: &str) -> ArchiveError {
    ArchiveError::Damaged(what.to_owned())
}
