//! What the store knows of an image: its config, byte for byte, and beside it what the config does not say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use switchyard_core::{Digest, ImageId};

use super::{Sha256, Store, StoreError, files, hex};

/// An image of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// Its id, the digest of `config`.
    pub id: ImageId,
    /// Its config as Docker has it.
    pub config: Vec<u8>,
    /// Its layers, the lowest first.
    pub layers: Vec<StoredLayer>,
    /// The names that it had in its archives. They are words of whoever made these.
    pub names: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What processor it is for, in Go's words.
    pub architecture: String,
    /// The paths that it wants volumes at.
    pub volumes: BTreeSet<String>,
    /// Whether it says what to run. An exported file system does not.
    pub has_command: bool,
}

impl StoredImage {
    /// The bytes of all its layers unpacked.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    /// The bytes of all its layers in the store. Other images may share them.
    pub fn stored(&self) -> u64 {
        self.layers.iter().map(|layer| layer.stored).sum()
    }
}

/// A layer of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLayer {
    /// The digest of its tar.
    pub diff_id: Digest,
    /// The bytes of its tar.
    pub size: u64,
    /// The bytes of it in the store.
    pub stored: u64,
}

/// What the config of an image says, as far as anyone here asks.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ImageConfig {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    config: Option<RunConfig>,
    pub(crate) rootfs: RootFs,
}

#[derive(Debug, Default, Deserialize)]
struct RunConfig {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
    #[serde(rename = "Volumes")]
    volumes: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(rename = "Entrypoint")]
    entrypoint: Option<Vec<serde::de::IgnoredAny>>,
    #[serde(rename = "Cmd")]
    command: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct RootFs {
    #[serde(default)]
    pub(crate) diff_ids: Option<Vec<String>>,
}

/// The file beside a config.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) names: BTreeSet<String>,
    pub(crate) layers: Vec<MetaLayer>,
}

/// What the config does not say of a layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MetaLayer {
    pub(crate) diff_id: String,
    pub(crate) size: u64,
    /// The digests, or other 64 digits, by which archives named it.
    #[serde(default)]
    pub(crate) blobs: BTreeSet<String>,
}

impl Store {
    /// An image; none if its config is not there. One that is there in part is damaged.
    pub fn image(&self, id: &ImageId) -> Result<Option<StoredImage>, StoreError> {
        let path = self.config_path(id);
        let config = match fs::read(&path) {
            Ok(config) => config,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        };
        let found = Sha256::of(&config);
        if found != id.as_str() {
            return Err(StoreError::damaged(&path, format!("its digest is {found}")));
        }
        let parsed: ImageConfig = parse(&path, &config)?;
        let meta = self.meta(id)?;
        let layers = self.stored_layers(&path, &parsed, &meta)?;
        let run = parsed.config.unwrap_or_default();
        let says = |words: Option<Vec<_>>| words.is_some_and(|words| !words.is_empty());
        Ok(Some(StoredImage {
            id: id.clone(),
            layers,
            names: meta.names.into_iter().collect(),
            labels: run.labels.unwrap_or_default(),
            architecture: parsed.architecture,
            volumes: run.volumes.unwrap_or_default().into_keys().collect(),
            has_command: says(run.entrypoint) || says(run.command),
            config,
        }))
    }

    /// All images.
    pub fn images(&self) -> Result<Vec<StoredImage>, StoreError> {
        let ids = self.image_ids()?;
        ids.iter().filter_map(|id| self.image(id).transpose()).collect()
    }

    /// The ids of all images, whole or not.
    pub fn image_ids(&self) -> Result<Vec<ImageId>, StoreError> {
        let names = files::list(&self.images_directory())?;
        let id = |name: &str| ImageId::parse(&format!("sha256:{}", name.strip_suffix(".json")?)).ok();
        Ok(names.iter().filter_map(|(_, name)| id(name)).collect())
    }

    /// Puts an image in the store whose layers are there. What was known of it before stays known.
    pub(crate) fn add_image(&self, id: &ImageId, config: &[u8], mut meta: Meta) -> Result<(), StoreError> {
        if let Ok(before) = self.meta(id) {
            meta.names.extend(before.names);
            for (layer, before) in meta.layers.iter_mut().zip(before.layers) {
                layer.blobs.extend(before.blobs);
            }
        }
        let text = serde_json::to_vec(&meta).map_err(io::Error::other);
        let path = self.meta_path(id);
        self.write_file(&path, &text.map_err(StoreError::io("write", &path))?)?;
        self.write_file(&self.config_path(id), config)
    }

    pub(super) fn meta(&self, id: &ImageId) -> Result<Meta, StoreError> {
        let path = self.meta_path(id);
        let text = fs::read(&path).map_err(StoreError::io("read", &path))?;
        parse(&path, &text)
    }

    /// The digests of an image's layers, from its config alone.
    pub(super) fn diff_ids(&self, id: &ImageId) -> Result<Vec<Digest>, StoreError> {
        let path = self.config_path(id);
        let config = fs::read(&path).map_err(StoreError::io("read", &path))?;
        parse::<ImageConfig>(&path, &config)?.diff_ids().map_err(|bad| StoreError::damaged(&path, bad))
    }

    fn stored_layers(
        &self,
        path: &Path,
        config: &ImageConfig,
        meta: &Meta,
    ) -> Result<Vec<StoredLayer>, StoreError> {
        let diff_ids = config.diff_ids().map_err(|bad| StoreError::damaged(path, bad))?;
        let sizes = || meta.layers.iter().map(|layer| (layer.diff_id.as_str(), layer.size));
        diff_ids
            .into_iter()
            .map(|diff_id| {
                let file = self.layer_path(&diff_id);
                let stored = fs::metadata(&file).map_err(StoreError::io("read", &file))?.len();
                let size = sizes().find(|(of, _)| *of == diff_id.as_str()).map(|(_, size)| size);
                let missing = || {
                    StoreError::damaged(
                        path,
                        format!("the size of layer {} is not known", hex(diff_id.as_str())),
                    )
                };
                Ok(StoredLayer { size: size.ok_or_else(missing)?, stored, diff_id })
            })
            .collect()
    }
}

impl ImageConfig {
    /// The layers' digests, or the words that are none.
    pub(crate) fn diff_ids(&self) -> Result<Vec<Digest>, String> {
        let texts = self.rootfs.diff_ids.as_deref().unwrap_or_default();
        texts.iter().map(|text| Digest::parse(text).map_err(|error| error.to_string())).collect()
    }
}

fn parse<'a, T: Deserialize<'a>>(path: &Path, text: &'a [u8]) -> Result<T, StoreError> {
    serde_json::from_slice(text).map_err(|error| StoreError::damaged(path, error.to_string()))
}
