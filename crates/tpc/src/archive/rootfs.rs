//! A root file system as `docker export` writes it: one layer, for which we make the config.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use serde_json::json;
use switchyard_core::{Digest, ImageId};

use super::bounds::Bounds;
use super::collect::{is_digest, stem};
use super::tar::{Entry, Kind};
use super::{ArchiveError, Ingested, names, oci};
use crate::store::{LayerWriter, Meta, MetaLayer, Sha256, Store};

/// What an entry says about the tar that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// An image archive.
    Archive,
    /// A root file system.
    RootFs,
    /// It may be in both.
    Either,
}

/// Directories that root file systems have at their top. Two of them make one; `docker export` always has them, of an
/// image that is empty too.
const USUAL: [&str; 12] =
    ["bin", "boot", "dev", "etc", "home", "lib", "opt", "proc", "sbin", "sys", "usr", "var"];

/// Where a root file system begins to look like one.
const ENOUGH: usize = 2;

pub(super) fn shape(entry: &Entry) -> Shape {
    let Ok(name) = names::outer(&entry.path) else {
        // Both refuse it, with the same words.
        return Shape::Either;
    };
    let first = name.split('/').next().unwrap_or_default();
    let known = matches!(name.as_str(), "manifest.json" | "repositories" | "index.json" | "oci-layout");
    let part =
        name.ends_with("/layer.tar") || [".json", ".tar", ".tar.gz"].iter().any(|end| first.ends_with(end));
    if known || part || first == "blobs" || is_digest(stem(first)) {
        Shape::Archive
    } else if USUAL.contains(&first) || entry.kind != Kind::Directory {
        Shape::RootFs
    } else {
        Shape::Either
    }
}

/// A root file system that is being read.
pub(super) struct RootFs<'a> {
    bounds: &'a Bounds,
    /// Digests of names, so that many long ones take little memory. Keyed anew each time: nobody can make two collide.
    seen: HashSet<u64>,
    hasher: RandomState,
    usual: HashSet<String>,
    exported: bool,
    entries: u64,
}

impl<'a> RootFs<'a> {
    pub(super) fn new(bounds: &'a Bounds) -> Self {
        Self {
            bounds,
            seen: HashSet::new(),
            hasher: RandomState::new(),
            usual: HashSet::new(),
            exported: false,
            entries: 0,
        }
    }

    pub(super) fn entry(&mut self, entry: &Entry) -> Result<(), ArchiveError> {
        names::rootfs(entry)?;
        self.entries += 1;
        if self.entries > self.bounds.layer_entries {
            let limit = self.bounds.layer_entries;
            return Err(ArchiveError::TooMany { what: "entries", limit });
        }
        let path = entry.path.strip_prefix(b"./").unwrap_or(&entry.path);
        let path = path.strip_suffix(b"/").unwrap_or(path);
        if entry.kind != Kind::Directory && !self.seen.insert(self.hasher.hash_one(path)) {
            return Err(ArchiveError::Duplicate(String::from_utf8_lossy(path).chars().take(200).collect()));
        }
        let first = path.split(|byte| *byte == b'/').next().unwrap_or_default();
        if let Some(usual) = USUAL.iter().find(|usual| usual.as_bytes() == first) {
            self.usual.insert((*usual).to_owned());
        }
        self.exported |= path == b".dockerenv";
        Ok(())
    }

    /// Puts it into the store. The same root file system becomes the same image each time.
    pub(super) fn finish(self, layer: LayerWriter, store: &Store) -> Result<Vec<Ingested>, ArchiveError> {
        if !self.exported && self.usual.len() < ENOUGH {
            return Err(ArchiveError::NotAnImage(
                "it is a tar of something else than an image or a root file system".to_owned(),
            ));
        }
        let layer = layer.finish()?;
        let damaged = |error: switchyard_core::NameError| ArchiveError::Damaged(error.to_string());
        let diff_id = Digest::parse(&layer.diff_id).map_err(damaged)?;
        let config = config(&layer.diff_id);
        let id = ImageId::parse(&Sha256::of(&config)).map_err(damaged)?;
        let part = MetaLayer { diff_id: layer.diff_id.clone(), size: layer.size, blobs: [].into() };
        if !store.has_layer(&diff_id) {
            store.add_layers(vec![(diff_id, layer)])?;
        }
        store.add_image(&id, &config, Meta { names: [].into(), layers: vec![part] })?;
        Ok(vec![Ingested { id, names: Vec::new(), exported: true }])
    }
}

fn config(diff_id: &str) -> Vec<u8> {
    let epoch = "1970-01-01T00:00:00Z";
    json!({
        "architecture": oci::architecture(),
        "config": {},
        "created": epoch,
        "history": [{ "created": epoch, "created_by": "tpcm, from an exported file system" }],
        "os": "linux",
        "rootfs": { "diff_ids": [diff_id], "type": "layers" },
    })
    .to_string()
    .into_bytes()
}
