//! Checks an image against the parts that the archive has for it, and keeps it.

use std::collections::{BTreeSet, HashMap};

use switchyard_core::{Digest, ImageId};

use super::collect::{Collector, is_digest, stem, wrong_digest};
use super::layer::Layer;
use super::{ArchiveError, Ingested};
use crate::store::{ImageConfig, Meta, MetaLayer, Sha256, Store};

/// An image of which everything was found and checked.
pub(super) struct Checked {
    id: ImageId,
    config: Vec<u8>,
    names: Vec<String>,
    /// Digest and name of each layer.
    layers: Vec<(Digest, String)>,
}

/// Checks an image whose manifest names these parts.
pub(super) fn check(
    archive: &Collector<'_>,
    config_name: &str,
    layer_names: &[String],
    names: Vec<String>,
) -> Result<Checked, ArchiveError> {
    let config = archive.document_named(config_name)?;
    let digest = Sha256::of(config);
    let last = config_name.rsplit('/').next().unwrap_or(config_name);
    if is_digest(stem(last)) && !digest.ends_with(stem(last)) {
        return Err(wrong_digest(config_name, &format!("sha256:{}", stem(last)), &digest));
    }
    let damaged = |error: String| ArchiveError::Damaged(format!("the image's config: {error}"));
    let parsed: ImageConfig = serde_json::from_slice(config).map_err(|error| damaged(error.to_string()))?;
    if !matches!(parsed.os.as_str(), "" | "linux") {
        return Err(ArchiveError::Platform(format!("linux, only for {:?}", parsed.os)));
    }
    let diff_ids = parsed.diff_ids().map_err(damaged)?;
    if diff_ids.len() > archive.bounds.layers {
        return Err(ArchiveError::TooMany { what: "layers", limit: archive.bounds.layers as u64 });
    }
    if diff_ids.len() != layer_names.len() {
        let (said, listed) = (diff_ids.len(), layer_names.len());
        return Err(ArchiveError::Damaged(format!("its config has {said} layers and its manifest {listed}")));
    }
    let mut layers = Vec::with_capacity(diff_ids.len());
    for (diff_id, name) in diff_ids.into_iter().zip(layer_names) {
        let (kept, layer) = archive.layer_named(name)?;
        if layer.new.diff_id != diff_id.as_str() {
            return Err(wrong_digest(&format!("layer {name}"), diff_id.as_str(), &layer.new.diff_id));
        }
        layers.push((diff_id, kept.to_owned()));
    }
    let id = ImageId::parse(&digest).map_err(|error| damaged(error.to_string()))?;
    Ok(Checked { id, config: config.to_vec(), names, layers })
}

/// Puts images and the layers that they have into the store; all else goes.
pub(super) fn keep(
    store: &Store,
    images: Vec<Checked>,
    layers: &mut HashMap<String, Layer>,
) -> Result<Vec<Ingested>, ArchiveError> {
    let metas: Vec<Meta> = images.iter().map(|image| meta(image, layers)).collect();
    let mut new = Vec::new();
    for (diff_id, name) in images.iter().flat_map(|image| &image.layers) {
        if let Some(layer) = layers.remove(name)
            && !store.has_layer(diff_id)
        {
            new.push((diff_id.clone(), layer.new));
        }
    }
    store.add_layers(new)?;
    let mut ingested = Vec::with_capacity(images.len());
    for (image, meta) in images.into_iter().zip(metas) {
        store.add_image(&image.id, &image.config, meta)?;
        ingested.push(Ingested { id: image.id, names: image.names, exported: false });
    }
    Ok(ingested)
}

fn meta(image: &Checked, layers: &HashMap<String, Layer>) -> Meta {
    let layer = |(diff_id, name): &(Digest, String)| {
        let layer = layers.get(name);
        let blobs: BTreeSet<String> = layer.and_then(|layer| layer.digits.clone()).into_iter().collect();
        let size = layer.map_or(0, |layer| layer.new.size);
        MetaLayer { diff_id: diff_id.as_str().to_owned(), size, blobs }
    };
    Meta { names: image.names.iter().cloned().collect(), layers: image.layers.iter().map(layer).collect() }
}
