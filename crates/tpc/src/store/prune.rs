//! Takes out of the store what nobody needs any more.

use std::collections::HashSet;

use switchyard_core::ImageId;

use super::{Store, StoreError, files, hex};

/// What was taken out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Images.
    pub images: Vec<ImageId>,
    /// Layers that no other image has.
    pub layers: usize,
    /// Bytes of the disk.
    pub bytes: u64,
}

impl Store {
    /// Takes out all images but these, the layers that then no image has, and what was left half written. Killed on the
    /// way it has taken out whole images, and the next call takes out the rest.
    pub fn prune(&self, roots: &[ImageId]) -> Result<Pruned, StoreError> {
        let before = self.size()?;
        let mut pruned = Pruned::default();
        let mut keep = HashSet::new();
        // All that is kept is read before anything goes: a config that cannot be read would cost its layers.
        for id in self.image_ids()? {
            if roots.contains(&id) {
                keep.extend(
                    self.diff_ids(&id)?.into_iter().map(|layer| format!("{}.zst", hex(layer.as_str()))),
                );
            } else {
                pruned.images.push(id);
            }
        }
        for id in &pruned.images {
            files::remove(&self.config_path(id))?;
        }
        files::sync_directory(&self.images_directory())?;
        for (path, name) in files::list(&self.images_directory())? {
            let digits = name.strip_suffix(".meta").unwrap_or_default();
            if ImageId::parse(&format!("sha256:{digits}")).is_ok_and(|id| !self.config_path(&id).exists()) {
                files::remove(&path)?;
            }
        }
        for (path, name) in files::list(&self.layers())? {
            if !keep.contains(&name) {
                files::remove(&path)?;
                pruned.layers += 1;
            }
        }
        self.sweep()?;
        for directory in [self.images_directory(), self.layers()] {
            files::sync_directory(&directory)?;
        }
        pruned.bytes = before.saturating_sub(self.size()?);
        Ok(pruned)
    }

    /// Removes what was left half written by a process that was killed, and says how many files that was. To be called
    /// while no operation runs.
    pub fn sweep(&self) -> Result<usize, StoreError> {
        let left = files::list(&self.tmp())?;
        for (path, _) in &left {
            files::remove(path)?;
        }
        Ok(left.len())
    }
}
