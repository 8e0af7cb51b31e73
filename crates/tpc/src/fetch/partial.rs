//! A download while it grows: a file, what is known of it, and its digest so far.
//!
//! What is written beside it says how much of it has reached the disk, so that neither a kill nor a power cut leaves
//! bytes that nobody sent. Written without threads: while bytes are written, nothing else is to be done.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};

use super::{FetchError, Fetched, Progress, Request, Sha256};

/// How much is written between two moments at which all of it is on the disk.
const CHECKPOINT: u64 = 32 << 20;

const DATA: &str = "part";
const NOTE: &str = "json";

/// What is kept beside the bytes.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    /// From where.
    source: String,
    /// By what the server tells one version of the file from another.
    validator: Option<String>,
    total: Option<u64>,
    /// How many bytes are on the disk for certain.
    safe: u64,
}

/// A download that was not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// From where, as it may be shown.
    pub source: String,
    /// How much of it is there.
    pub bytes: u64,
}

pub(super) struct Partial<'a> {
    path: PathBuf,
    file: File,
    note: Note,
    len: u64,
    /// What came in this command, over all attempts.
    received: u64,
    hash: Context,
    room: &'a (dyn Fn() -> io::Result<u64> + Send + Sync),
    /// How many times its size is needed besides.
    times: u64,
    /// How much may be written before the room is asked for again.
    budget: u64,
    since_checkpoint: u64,
}

impl<'a> Partial<'a> {
    /// Opens what is there of this source, or begins.
    pub(super) fn open(request: &Request<'a>) -> Result<Self, FetchError> {
        let (directory, times) = (request.downloads, request.times);
        fs::create_dir_all(directory).map_err(|error| FetchError::file(directory, "made", error))?;
        let source = request.source.to_string();
        let name = Sha256::of(&digest(&SHA256, source.as_bytes())).to_string();
        let path = directory.join(&name[..32]).with_extension(DATA);
        let note = read_note(&path).filter(|note| note.source == source);
        let note = note.unwrap_or_else(|| Note { source, ..Note::default() });
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| FetchError::file(&path, "opened", error))?;
        let (hash, len) =
            hashed(&mut file, note.safe).map_err(|error| FetchError::file(&path, "read", error))?;
        let (room, received, budget, since_checkpoint) = (request.room, 0, 0, 0);
        let part = Self { path, file, note, len, received, hash, room, times, budget, since_checkpoint };
        part.file.set_len(len).map_err(|error| FetchError::file(&part.path, "cut", error))?;
        Ok(part)
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    pub(super) fn total(&self) -> Option<u64> {
        self.note.total
    }

    /// By what the server told this version of the file, if there is something to go on with.
    pub(super) fn validator(&self) -> Option<&str> {
        self.note.validator.as_deref().filter(|_| self.len > 0)
    }

    /// Begins anew: nothing that is there is of this version of the file.
    pub(super) fn restart(
        &mut self,
        validator: Option<String>,
        total: Option<u64>,
        progress: &mut dyn Progress,
    ) -> Result<(), FetchError> {
        let failed = |path: &Path, error| FetchError::file(path, "emptied", error);
        self.file.set_len(0).map_err(|error| failed(&self.path, error))?;
        self.file.seek(SeekFrom::Start(0)).map_err(|error| failed(&self.path, error))?;
        (self.len, self.hash, self.since_checkpoint) = (0, Context::new(&SHA256), 0);
        let source = std::mem::take(&mut self.note.source);
        self.note = Note { source, validator, total, safe: 0 };
        self.write_note()?;
        self.go_on(progress)
    }

    /// Goes on where it is, after a look at whether all of it will fit, and what is made of it.
    pub(super) fn go_on(&mut self, progress: &mut dyn Progress) -> Result<(), FetchError> {
        progress.total(self.note.total);
        progress.position(self.len);
        let needed = self
            .note
            .total
            .map(|total| total.saturating_sub(self.len).saturating_add(total.saturating_mul(self.times)));
        self.budget = self.ask_for_room()?;
        match needed {
            Some(needed) if needed > self.budget => {
                Err(FetchError::NoSpace { needed: Some(needed), available: self.budget })
            }
            _ => Ok(()),
        }
    }

    fn ask_for_room(&self) -> Result<u64, FetchError> {
        (self.room)().map_err(|error| FetchError::file(&self.path, "given space", error))
    }

    /// Takes what came.
    pub(super) fn write(&mut self, bytes: &[u8], progress: &mut dyn Progress) -> Result<(), FetchError> {
        let count = bytes.len() as u64;
        // Asked anew before each checkpoint, since others write to the same disk.
        if self.budget < count || self.since_checkpoint >= CHECKPOINT {
            self.budget = self.ask_for_room()?;
            if self.budget < count {
                return Err(FetchError::NoSpace { needed: None, available: self.budget });
            }
        }
        self.file.write_all(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                FetchError::NoSpace { needed: None, available: 0 }
            }
            _ => FetchError::file(&self.path, "written", error),
        })?;
        self.hash.update(bytes);
        self.budget -= count;
        self.len += count;
        self.received += count;
        self.since_checkpoint += count;
        progress.advance(count);
        if self.since_checkpoint >= CHECKPOINT { self.checkpoint() } else { Ok(()) }
    }

    /// Makes all that came survive whatever happens.
    fn checkpoint(&mut self) -> Result<(), FetchError> {
        self.since_checkpoint = 0;
        if self.note.validator.is_none() {
            // Nobody could tell whether the rest belongs to it.
            return Ok(());
        }
        self.file.sync_data().map_err(|error| FetchError::file(&self.path, "synced", error))?;
        self.note.safe = self.len;
        self.write_note()
    }

    /// Leaves what came to the next command, if that can go on with it.
    pub(super) fn keep(mut self) -> Result<(), FetchError> {
        if self.validator().is_none() {
            return self.discard();
        }
        self.checkpoint()
    }

    fn write_note(&self) -> Result<(), FetchError> {
        let path = self.path.with_extension(NOTE);
        let draft = self.path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut file = File::create(&draft)?;
            file.write_all(&serde_json::to_vec(&self.note)?)?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        write().map_err(|error| FetchError::file(&path, "written", error))
    }

    /// All is there: checks it and hands it over.
    pub(super) fn finish(self, wanted: Option<Sha256>) -> Result<Fetched, FetchError> {
        let found = Sha256::of(&self.hash.clone().finish());
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            self.discard()?;
            return Err(FetchError::DigestMismatch { wanted: wanted.to_string(), found: found.to_string() });
        }
        Ok(Fetched { path: self.path, temporary: true, size: Some(self.len), sha256: Some(found) })
    }

    /// Gives up what came.
    pub(super) fn discard(self) -> Result<(), FetchError> {
        remove(&self.path)
    }
}

fn read_note(path: &Path) -> Option<Note> {
    // A note that cannot be read is as good as none: the download begins anew.
    serde_json::from_slice(&fs::read(path.with_extension(NOTE)).ok()?).ok()
}

/// The digest of at most the first `safe` bytes, and how many there are. The file is at their end afterwards.
fn hashed(file: &mut File, safe: u64) -> io::Result<(Context, u64)> {
    let mut hash = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 16];
    let mut len = 0;
    let mut limited = Read::take(&*file, safe);
    loop {
        match limited.read(&mut buffer)? {
            0 => break,
            count => {
                hash.update(&buffer[..count]);
                len += count as u64;
            }
        }
    }
    file.seek(SeekFrom::Start(len))?;
    Ok((hash, len))
}

/// Removes a download and what is known of it.
pub(super) fn remove(path: &Path) -> Result<(), FetchError> {
    for extension in [DATA, NOTE, "new"] {
        let path = path.with_extension(extension);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FetchError::file(&path, "removed", error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn downloads(directory: &Path) -> Result<Vec<PathBuf>, FetchError> {
    let failed = |error| FetchError::file(directory, "listed", error);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed));
    paths.collect()
}

/// The downloads that were not finished, in no order.
pub fn pending(directory: &Path) -> Result<Vec<Pending>, FetchError> {
    let notes =
        downloads(directory)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == NOTE));
    let pending = |path: PathBuf| {
        // What is asked of a server behind `?` may be a key to the file; the paths of other sources have none.
        let source = read_note(&path)?.source.split(['?', '#']).next()?.to_owned();
        let bytes = fs::metadata(path.with_extension(DATA)).map_or(0, |data| data.len());
        Some(Pending { source, bytes })
    };
    Ok(notes.filter_map(pending).collect())
}

/// Removes all downloads, finished or not.
pub fn clear(directory: &Path) -> Result<(), FetchError> {
    downloads(directory)?
        .iter()
        .try_for_each(|path| fs::remove_file(path).map_err(|error| FetchError::file(path, "removed", error)))
}
