//! What can be wrong with the store.

use std::io;
use std::path::{Path, PathBuf};

use switchyard_core::ImageId;

/// A failure of the store, which is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or directory of it.
    #[error("cannot {what} {}: {cause}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// A newer program has written it.
    #[error(
        "{} was written by a newer version of this program (store version {found}, this one knows {known}): \
         boot the newer SONiC image, or install the newer package", .path.display()
    )]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Its version is no number.
    #[error("{} does not say a version: this is no store of tpcm, or a damaged one", .0.display())]
    NoVersion(PathBuf),
    /// An image that it does not have.
    #[error("image {0} is not in the store: see tpcm list")]
    NoSuchImage(ImageId),
    /// A file whose content is not what its name says.
    #[error("{} is damaged: {what}; install that TPC again", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Whoever takes the archive does not take it any more.
    #[error("cannot pass on the image: {0}")]
    Output(#[source] io::Error),
}

impl StoreError {
    /// For `map_err`: what was tried with which file.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { what, path: path.to_owned(), cause }
    }

    /// Whether there was no space for it.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }
}
