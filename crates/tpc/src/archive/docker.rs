//! What `docker save` makes: `manifest.json` and the parts that it names, in the layout before Docker 25 and since.

use serde::Deserialize;

use super::collect::Collector;
use super::image::{self, Checked};
use super::{ArchiveError, names};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ManifestImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// A name is kept if it is not longer than any that Docker takes.
const NAME_MAX: usize = 512;

pub(super) fn images(archive: &Collector<'_>) -> Result<Vec<Checked>, ArchiveError> {
    let text = archive.document_named("manifest.json")?;
    let manifest: Vec<ManifestImage> = serde_json::from_slice(text)
        .map_err(|error| ArchiveError::Damaged(format!("manifest.json: {error}")))?;
    if manifest.is_empty() {
        return Err(ArchiveError::NotAnImage("its manifest.json names no image".to_owned()));
    }
    if manifest.len() > archive.bounds.images {
        return Err(ArchiveError::TooMany { what: "images", limit: archive.bounds.images as u64 });
    }
    manifest.into_iter().map(|image| check(archive, image)).collect()
}

fn check(archive: &Collector<'_>, image: ManifestImage) -> Result<Checked, ArchiveError> {
    let config = names::outer(image.config.as_bytes())?;
    let layers = image.layers.unwrap_or_default();
    let layers: Result<Vec<String>, _> = layers.iter().map(|name| names::outer(name.as_bytes())).collect();
    let tags = image.repo_tags.unwrap_or_default();
    image::check(archive, &config, &layers?, readable(tags))
}

/// Names that may be shown to people.
pub(super) fn readable(names: Vec<String>) -> Vec<String> {
    names.into_iter().filter(|name| name.len() <= NAME_MAX && !name.chars().any(char::is_control)).collect()
}
