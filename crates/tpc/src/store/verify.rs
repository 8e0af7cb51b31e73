//! Looks at every byte of the store, and names what is not as it should be.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use switchyard_core::{Digest, ImageId};

use super::{Store, StoreError, files, hex};

/// Something that is wrong in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

impl Store {
    /// Checks the digest of every layer and config, that no image lacks a layer, and that there is no file that belongs
    /// to nothing. To be called while no operation runs.
    pub fn verify(&self) -> Result<Vec<Fault>, StoreError> {
        let mut faults = Vec::new();
        let mut used = HashSet::new();
        for (path, name) in files::list(&self.images_directory())? {
            self.verify_image_file(&path, &name, &mut used, &mut faults);
        }
        for (path, name) in files::list(&self.layers())? {
            match layer_of(&name) {
                Some(diff_id) if used.contains(hex(diff_id.as_str())) => {
                    faults.extend(self.verify_layer(&diff_id).err().map(|error| fault(&path, error)));
                }
                Some(_) => faults.push(left(&path, "a layer of no image; tpcm prune removes it")),
                None => faults.push(left(&path, "no file of the store")),
            }
        }
        for (path, _) in files::list(&self.tmp())? {
            faults.push(left(&path, "left over; tpcm recover removes it"));
        }
        Ok(faults)
    }

    fn verify_image_file(
        &self,
        path: &Path,
        name: &str,
        used: &mut HashSet<String>,
        faults: &mut Vec<Fault>,
    ) {
        let id = |digits: &str| ImageId::parse(&format!("sha256:{digits}")).ok();
        if let Some(id) = name.strip_suffix(".json").and_then(id) {
            // A damaged image names its layers all the same, as far as it can.
            let layers = self.diff_ids(&id).unwrap_or_default();
            used.extend(layers.iter().map(|layer| hex(layer.as_str()).to_owned()));
            faults.extend(self.image(&id).err().map(|error| fault(path, error)));
        } else if let Some(id) = name.strip_suffix(".meta").and_then(id) {
            if !self.config_path(&id).exists() {
                faults.push(left(path, "of no image; tpcm prune removes it"));
            }
        } else {
            faults.push(left(path, "no file of the store"));
        }
    }

    fn verify_layer(&self, diff_id: &Digest) -> Result<(), StoreError> {
        let mut layer = self.read_layer(diff_id)?;
        let mut piece = vec![0; 128 << 10];
        while layer.read(&mut piece)? > 0 {}
        Ok(())
    }
}

fn layer_of(name: &str) -> Option<Digest> {
    Digest::parse(&format!("sha256:{}", name.strip_suffix(".zst")?)).ok()
}

fn left(path: &Path, what: &str) -> Fault {
    Fault { path: path.to_owned(), what: what.to_owned() }
}

/// An error that names a file is told of that file, once.
fn fault(path: &Path, error: StoreError) -> Fault {
    match error {
        StoreError::Damaged { path, what } => Fault { path, what },
        StoreError::Io { path, cause, .. } => Fault { path, what: cause.to_string() },
        other => Fault { path: path.to_owned(), what: other.to_string() },
    }
}
