//! Why an archive was refused, in one line.

use std::io;

use crate::store::StoreError;

/// An archive that was not taken. The store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Something else altogether.
    #[error(
        "this is not an image: {0}; an archive made by docker save, docker export, or in OCI format is wanted, \
         plain or packed with gzip, xz or zstd"
    )]
    NotAnImage(String),
    /// It ends before its end.
    #[error("the archive is cut off: fetch it again")]
    Truncated,
    /// What is there cannot be read.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// Unpacked it is larger than the caller has room for.
    #[error("the archive unpacks to more than the {limit} bytes that there is room for")]
    TooLarge {
        /// The room.
        limit: u64,
    },
    /// It unpacks to far more than images do.
    #[error("the archive unpacks to more than {ratio} times its size, as no image does")]
    Bomb {
        /// How many times is allowed.
        ratio: u64,
    },
    /// More of something than is allowed.
    #[error("the archive has too many or too large {what}: at most {limit} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// It was packed with a setting that needs too much memory.
    #[error(
        "unpacking this archive needs more than {limit} bytes of memory: pack it with a lower level (xz -8, zstd -19)"
    )]
    Memory {
        /// How much is allowed.
        limit: u32,
    },
    /// An entry that leads elsewhere, or is no file, directory or link.
    #[error("the archive has an entry {name:?} that {why}")]
    BadEntry {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two entries of one name.
    #[error("the archive has two entries {0:?}")]
    Duplicate(String),
    /// Something is not what its digest says.
    #[error("{what} should have the digest {expected} and has {found}: the archive was changed or damaged")]
    WrongDigest {
        /// What.
        what: String,
        /// The digest that it should have.
        expected: String,
        /// The one that it has.
        found: String,
    },
    /// A part that the image names is not in the archive.
    #[error("the archive lacks {0}, which its manifest names")]
    Missing(String),
    /// No image in it is for this machine.
    #[error("the archive has no image for {0}")]
    Platform(String),
    /// The archive could not be read from where it lies.
    #[error("cannot read the archive: {0}")]
    Input(#[source] io::Error),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<io::Error> for ArchiveError {
    /// What a chain of readers says. Our own errors travel in it; the rest are words of the decompressors.
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::Truncated,
            Err(error) => Self::Damaged(error.to_string()),
        }
    }
}

impl From<ArchiveError> for io::Error {
    fn from(error: ArchiveError) -> Self {
        Self::other(error)
    }
}
