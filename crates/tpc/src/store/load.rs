//! Images of the store as one stream that `docker load` takes, each layer once.
//!
//! The same images make the same bytes. The manifest comes last: a stream that breaks before, because a layer is damaged
//! or the power goes, loads nothing.

use std::collections::HashSet;
use std::io::Write;

use serde::Serialize;
use switchyard_core::{Digest, ImageId};

use super::ahead::Ahead;
use super::layer::LayerReader;
use super::{Store, StoreError, StoredImage, StoredLayer, hex};

/// One image of `manifest.json`, in Docker's words.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ManifestImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

const BLOCK: usize = 512;

const PIECE: usize = 128 << 10;

impl Store {
    /// Writes images with their names as `docker save` does. Configs go in byte for byte, so that Docker gives the images
    /// the ids that they have here.
    pub fn write_docker_archive(
        &self,
        images: &[(ImageId, Option<String>)],
        out: impl Write,
    ) -> Result<(), StoreError> {
        self.write_what_is_new(images, &[], out).map(drop)
    }

    /// As [`Store::write_docker_archive`], without the layers that an engine has already; says how many those were.
    ///
    /// `there` are the layers of each of its images. Docker looks for a layer in the archive only if no image has it on
    /// the same layers below. An engine that does not, or has just lost that image, refuses: then it takes the whole.
    pub fn write_what_is_new(
        &self,
        images: &[(ImageId, Option<String>)],
        there: &[Vec<Digest>],
        out: impl Write,
    ) -> Result<usize, StoreError> {
        self.complete(Ahead::new(out), images, there).map(|(left_out, _)| left_out)
    }

    /// As [`Store::write_what_is_new`], into an archive that has some of the layers already; gives back where it went.
    pub fn complete<W: Write>(
        &self,
        ahead: Ahead<W>,
        images: &[(ImageId, Option<String>)],
        there: &[Vec<Digest>],
    ) -> Result<(usize, W), StoreError> {
        let mut ahead = ahead.whole()?;
        let mut left_out = 0;
        let mut manifest = Vec::new();
        let mut configs = HashSet::new();
        for (id, name) in images {
            let image = self.image(id)?.ok_or_else(|| StoreError::NoSuchImage(id.clone()))?;
            let known = there.iter().map(|layers| in_common(&image, layers)).max().unwrap_or_default();
            left_out += known;
            self.write_layers(&image.layers[known..], &mut ahead)?;
            let name_of = |layer: &StoredLayer| {
                let digest = layer.diff_id.as_str();
                ahead.layers.get(digest).cloned().unwrap_or_else(|| blob(digest))
            };
            manifest.push(ManifestImage {
                config: blob(id.as_str()),
                repo_tags: name.clone().map(|name| vec![name]),
                layers: image.layers.iter().map(name_of).collect(),
            });
            if configs.insert(id) {
                ahead.out.file(&blob(id.as_str()), &image.config)?;
            }
        }
        let manifest = serde_json::to_vec(&manifest).map_err(|error| StoreError::Output(error.into()))?;
        ahead.out.file("manifest.json", &manifest)?;
        ahead.out.end()?;
        Ok((left_out, ahead.out.0))
    }

    fn write_layers(&self, layers: &[StoredLayer], ahead: &mut Ahead<impl Write>) -> Result<(), StoreError> {
        for layer in layers {
            let digest = layer.diff_id.as_str();
            if !ahead.layers.contains_key(digest) {
                ahead.out.header(&blob(digest), layer.size)?;
                ahead.out.layer(self.read_layer(&layer.diff_id)?, layer.size)?;
                ahead.layers.insert(digest.to_owned(), blob(digest));
            }
        }
        Ok(())
    }
}

/// How many of the image's lowest layers are these.
fn in_common(image: &StoredImage, layers: &[Digest]) -> usize {
    image.layers.iter().zip(layers).take_while(|(own, other)| own.diff_id == **other).count()
}

fn blob(digest: &str) -> String {
    format!("blobs/sha256/{}", hex(digest))
}

/// A tar that is being written. All that could differ between two of the same images is zero.
pub(super) struct Output<W: ?Sized>(pub(super) W);

impl<W: Write + ?Sized> Output<W> {
    fn file(&mut self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        self.header(name, content.len() as u64)?;
        self.write(content)?;
        self.pad(content.len() as u64)
    }

    fn layer(&mut self, mut layer: LayerReader, size: u64) -> Result<(), StoreError> {
        let mut piece = vec![0; PIECE];
        let mut left = size;
        loop {
            let count = layer.read(&mut piece)?;
            let rest = left.checked_sub(count as u64);
            left = rest.ok_or_else(|| StoreError::damaged(layer.path(), "it is longer than it was"))?;
            if count == 0 {
                break;
            }
            self.write(&piece[..count])?;
        }
        if left > 0 {
            return Err(StoreError::damaged(layer.path(), "it is shorter than it was"));
        }
        self.pad(size)
    }

    pub(super) fn header(&mut self, name: &str, size: u64) -> Result<(), StoreError> {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
        put(0, name.as_bytes());
        put(100, b"0000644\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(136, b"00000000000\0");
        put(156, b"0");
        put(257, b"ustar\x0000");
        // Eleven octal digits end at 8 GiB; beyond, all readers take a binary number.
        if size < 1 << 33 {
            put(124, format!("{size:011o}\0").as_bytes());
        } else {
            put(124, &[0x80, 0, 0, 0]);
            put(128, &size.to_be_bytes());
        }
        put(148, b"        ");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.write(&block)
    }

    pub(super) fn pad(&mut self, size: u64) -> Result<(), StoreError> {
        let rest = usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or_default();
        self.write(&[0; BLOCK][..rest])
    }

    fn end(&mut self) -> Result<(), StoreError> {
        self.write(&[0; 2 * BLOCK])?;
        self.0.flush().map_err(StoreError::Output)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.write_all(bytes).map_err(StoreError::Output)
    }
}
