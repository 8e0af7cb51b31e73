//! Images on the part of the disk that outlives SONiC images: each layer once, compressed once.
//!
//! ```text
//! .store/version                     the version of all that follows
//! .store/layers/sha256/<diff id>.zst a layer's tar
//! .store/images/<image id>.json      an image's config, byte for byte: its digest is the image's id
//! .store/images/<image id>.meta      what the config does not say: names, sizes
//! .store/tmp/                        what is being written
//! ```
//!
//! A file is written below `tmp`, synced, and renamed to its place; it never changes afterwards. A config comes last, so
//! an image whose config is there is there. Nothing is locked here: one operation at a time is its callers' rule.

mod ahead;
mod digest;
mod error;
mod files;
mod image;
mod layer;
mod load;
mod prune;
mod verify;

pub use ahead::Ahead;
pub use error::StoreError;
pub use image::{StoredImage, StoredLayer};
pub use prune::Pruned;
pub use verify::Fault;

pub(crate) use digest::Sha256;
pub(crate) use image::{ImageConfig, Meta, MetaLayer};
pub(crate) use layer::{LayerWriter, NewLayer};

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use switchyard_core::{Digest, ImageId};

/// The version of the layout. A store with a higher one is left alone.
const VERSION: u32 = 1;

/// The store below a root, which is `/host/tpc` on a switch.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// Opens the store, making it first if there is none.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let store = Self { path: root.join(".store") };
        let version = store.path.join("version");
        match fs::read_to_string(&version) {
            Ok(text) => store.check_version(&text, &version)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io("read", &version)(error)),
        }
        for directory in ["layers/sha256", "images", "tmp"] {
            files::make_directory(&store.path.join(directory))?;
        }
        if !version.exists() {
            store.write_file(&version, format!("{VERSION}\n").as_bytes())?;
        }
        Ok(store)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has a layer.
    pub fn has_layer(&self, diff_id: &Digest) -> bool {
        self.layer_path(diff_id).exists()
    }

    /// The bytes that it takes on the disk.
    pub fn size(&self) -> Result<u64, StoreError> {
        let mut size = 0;
        for path in self.files()? {
            size += path.symlink_metadata().map_err(StoreError::io("look at", &path))?.len();
        }
        Ok(size)
    }

    /// All that it consists of: layers, two files for each image, and what is half written.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut all = Vec::new();
        for directory in [self.layers(), self.images_directory(), self.tmp()] {
            all.extend(files::list(&directory)?.into_iter().map(|(path, _)| path));
        }
        Ok(all)
    }

    /// What is known of layers by the digests under which archives bring them, so that one that is here already need
    /// not be written again only to learn that.
    pub(crate) fn known_blobs(&self) -> Result<HashMap<String, Digest>, StoreError> {
        let mut known = HashMap::new();
        for id in self.image_ids()? {
            let Ok(meta) = self.meta(&id) else { continue };
            for layer in meta.layers {
                if let Ok(diff_id) = Digest::parse(&layer.diff_id)
                    && self.has_layer(&diff_id)
                {
                    known.extend(layer.blobs.into_iter().map(|blob| (blob, diff_id.clone())));
                    known.insert(hex(&layer.diff_id).to_owned(), diff_id);
                }
            }
        }
        Ok(known)
    }

    fn check_version(&self, text: &str, path: &Path) -> Result<(), StoreError> {
        let found: u32 = text.trim().parse().map_err(|_| StoreError::NoVersion(path.to_owned()))?;
        if found > VERSION {
            return Err(StoreError::Newer { path: self.path.clone(), found, known: VERSION });
        }
        Ok(())
    }

    fn layers(&self) -> PathBuf {
        self.path.join("layers/sha256")
    }

    fn images_directory(&self) -> PathBuf {
        self.path.join("images")
    }

    fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(format!("{}.zst", hex(diff_id.as_str())))
    }

    fn config_path(&self, id: &ImageId) -> PathBuf {
        self.images_directory().join(format!("{}.json", hex(id.as_str())))
    }

    fn meta_path(&self, id: &ImageId) -> PathBuf {
        self.images_directory().join(format!("{}.meta", hex(id.as_str())))
    }
}

/// The digits of a digest or id.
pub(crate) fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}
