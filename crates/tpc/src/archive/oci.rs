//! The OCI image layout: `index.json`, and everything else by its digest.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use serde::Deserialize;
use switchyard_core::Digest;

use super::ArchiveError;
use super::collect::{BLOBS, Collector};
use super::docker::readable;
use super::image::{self, Checked};
use crate::store::hex;

/// An index may name indexes; builders go one or two levels down.
const DEPTH: usize = 3;

/// `index.json`, an index within it, or a manifest.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

pub(super) fn images(archive: &Collector<'_>) -> Result<Vec<Checked>, ArchiveError> {
    let index = parse("index.json", archive.document_named("index.json")?)?;
    let mut images = Vec::new();
    let manifests = index.manifests.unwrap_or_default();
    if manifests.is_empty() {
        return Err(ArchiveError::NotAnImage("its index.json names no image".to_owned()));
    }
    if manifests.len() > archive.bounds.images {
        return Err(ArchiveError::TooMany { what: "images", limit: archive.bounds.images as u64 });
    }
    for descriptor in for_this_machine(manifests)? {
        images.push(image(archive, &descriptor, DEPTH)?);
    }
    Ok(images)
}

fn image(archive: &Collector<'_>, descriptor: &Descriptor, depth: usize) -> Result<Checked, ArchiveError> {
    let name = blob(&descriptor.digest)?;
    let document = parse(&name, archive.document_named(&name)?)?;
    if let Some(manifests) = document.manifests {
        // The same image for several machines.
        let below = depth.checked_sub(1).ok_or_else(|| damaged(&name, "indexes within indexes"))?;
        let mut ours = for_this_machine(manifests)?;
        ours.truncate(1);
        let mut found = ours.pop().ok_or_else(|| damaged(&name, "an index without manifests"))?;
        found.annotations = found.annotations.or_else(|| descriptor.annotations.clone());
        return image(archive, &found, below);
    }
    let config = document.config.ok_or_else(|| damaged(&name, "a manifest without a config"))?;
    let layers: Result<Vec<String>, _> =
        document.layers.unwrap_or_default().iter().map(|layer| blob(&layer.digest)).collect();
    image::check(archive, &blob(&config.digest)?, &layers?, names(descriptor))
}

/// Of images for several machines those for this one. One that does not say what it is for may be.
fn for_this_machine(manifests: Vec<Descriptor>) -> Result<Vec<Descriptor>, ArchiveError> {
    let fits = |descriptor: &Descriptor| {
        descriptor
            .platform
            .as_ref()
            .is_none_or(|platform| platform.os == "linux" && platform.architecture == architecture())
    };
    let ours: Vec<Descriptor> = manifests.into_iter().filter(fits).collect();
    if ours.is_empty() {
        return Err(ArchiveError::Platform(format!("linux/{}", architecture())));
    }
    Ok(ours)
}

/// This machine's processor in Go's words, which are the ones that images use.
pub(super) fn architecture() -> &'static str {
    match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

fn names(descriptor: &Descriptor) -> Vec<String> {
    let annotations = descriptor.annotations.as_ref();
    let name = |key| annotations.and_then(|annotations| annotations.get(key)).cloned();
    let name = name("io.containerd.image.name").or_else(|| name("org.opencontainers.image.ref.name"));
    readable(name.into_iter().collect())
}

fn blob(digest: &str) -> Result<String, ArchiveError> {
    let digest = Digest::parse(digest).map_err(|error| ArchiveError::Damaged(error.to_string()))?;
    Ok(format!("{BLOBS}{}", hex(digest.as_str())))
}

fn parse(name: &str, text: &[u8]) -> Result<Document, ArchiveError> {
    serde_json::from_slice(text).map_err(|error| damaged(name, &error.to_string()))
}

fn damaged(name: &str, what: &str) -> ArchiveError {
    ArchiveError::Damaged(format!("{name}: {what}"))
}
