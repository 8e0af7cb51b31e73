//! Gathers what an archive has, entry by entry, until its manifest can be looked at.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::rc::Rc;

use switchyard_core::Digest;

use super::bounds::{Bounds, Budget};
use super::layer::{self, Layer};
use super::unpack::{self, Packing};
use super::{ArchiveError, Ingested, docker, oci, tar};
use crate::store::{Ahead, Sha256, Store};

/// Where OCI keeps everything, by digest. `docker save` does since Docker 25.
pub(super) const BLOBS: &str = "blobs/sha256/";

/// Documents are kept in memory until the end; not more of them than this many times the largest that may be.
const DOCUMENTS: u64 = 4;

/// Layers whose files are still on their way to the disk, each with a thread.
const UNSETTLED_MAX: usize = 2;

/// A chain of links is followed this far. `docker save` makes chains of one.
const LINKS: usize = 8;

/// What is in an archive.
pub(super) struct Collector<'a> {
    pub(super) store: &'a Store,
    pub(super) bounds: &'a Bounds,
    budget: Rc<Budget>,
    documents: HashMap<String, Vec<u8>>,
    documents_size: u64,
    layers: HashMap<String, Layer>,
    unsettled: Vec<String>,
    links: HashMap<String, String>,
    names: HashSet<String>,
    entries: u64,
    /// Layers of the store by the digests that archives name them by.
    known: HashMap<String, Digest>,
    /// Where layers that the store does not have are passed on to.
    ahead: Option<&'a mut Ahead<dyn Write>>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(
        store: &'a Store,
        bounds: &'a Bounds,
        budget: Rc<Budget>,
        ahead: Option<&'a mut Ahead<dyn Write>>,
    ) -> Result<Self, ArchiveError> {
        Ok(Self {
            store,
            bounds,
            budget,
            documents: HashMap::new(),
            documents_size: 0,
            layers: HashMap::new(),
            unsettled: Vec::new(),
            links: HashMap::new(),
            names: HashSet::new(),
            entries: 0,
            known: store.known_blobs()?,
            ahead,
        })
    }

    /// A file. Whether it is what its name says is checked here for blobs, and for the rest once the manifest is known.
    pub(super) fn file(&mut self, name: &str, size: u64, mut data: impl Read) -> Result<(), ArchiveError> {
        self.claim(name)?;
        let head = unpack::head(&mut data)?;
        let data = std::io::Cursor::new(&head).chain(data);
        let expected = name.strip_prefix(BLOBS).map(|digits| format!("sha256:{digits}"));
        let packing = Packing::of(&head);
        let is_tar =
            tar::is_header(&head) || (head.len() == tar::BLOCK && head.iter().all(|byte| *byte == 0));
        let found = if packing != Packing::Plain || is_tar {
            self.layer(name, size, packing, data)?
        } else if size <= self.bounds.manifest && looks_like_json(&head) {
            self.document(name, size, data)?
        } else {
            layer::digest(data)?
        };
        match expected {
            Some(expected) if expected != found => Err(wrong_digest(name, &expected, &found)),
            _ => Ok(()),
        }
    }

    /// A link from one name to another, both below the root.
    pub(super) fn link(&mut self, name: &str, target: &str) -> Result<(), ArchiveError> {
        self.claim(name)?;
        self.links.insert(name.to_owned(), target.to_owned());
        Ok(())
    }

    /// A directory. That it is there says nothing.
    pub(super) fn directory(&mut self) -> Result<(), ArchiveError> {
        self.entries += 1;
        if self.entries > self.bounds.entries {
            return Err(ArchiveError::TooMany { what: "entries", limit: self.bounds.entries });
        }
        Ok(())
    }

    /// All entries were read: puts the images into the store.
    pub(super) fn finish(mut self) -> Result<Vec<Ingested>, ArchiveError> {
        let images = if self.documents.contains_key("manifest.json") {
            docker::images(&self)?
        } else if self.documents.contains_key("index.json") {
            oci::images(&self)?
        } else if self.names.contains("manifest.json") || self.names.contains("index.json") {
            return Err(ArchiveError::NotAnImage("its manifest is no JSON, or too large".to_owned()));
        } else if self.documents.contains_key("repositories") {
            return Err(ArchiveError::NotAnImage("it was made by a Docker older than 1.10".to_owned()));
        } else {
            return Err(ArchiveError::NotAnImage("it has neither manifest.json nor index.json".to_owned()));
        };
        super::image::keep(self.store, images, &mut self.layers)
    }

    /// A document by its name, links followed.
    pub(super) fn document_named(&self, name: &str) -> Result<&[u8], ArchiveError> {
        let name = self.follow(name)?;
        self.documents.get(name).map(Vec::as_slice).ok_or_else(|| self.missing(name, "a document"))
    }

    /// A layer by its name, links followed, and the name that it is kept under.
    pub(super) fn layer_named(&self, name: &str) -> Result<(&str, &Layer), ArchiveError> {
        let name = self.follow(name)?;
        let (name, layer) = self.layers.get_key_value(name).ok_or_else(|| self.missing(name, "a tar"))?;
        Ok((name, layer))
    }

    fn follow<'n>(&'n self, name: &'n str) -> Result<&'n str, ArchiveError> {
        let mut place = name;
        for _ in 0..LINKS {
            match self.links.get(place) {
                Some(target) => place = target,
                None => return Ok(place),
            }
        }
        Err(super::names::bad(name.as_bytes(), "is a link that leads nowhere"))
    }

    fn missing(&self, name: &str, wanted: &str) -> ArchiveError {
        let name: String = name.chars().take(200).collect();
        if self.names.contains(&name) {
            return ArchiveError::Damaged(format!("{name} is not {wanted}"));
        }
        ArchiveError::Missing(name)
    }

    fn claim(&mut self, name: &str) -> Result<(), ArchiveError> {
        self.directory()?;
        if name.is_empty() {
            return Err(super::names::bad(b".", "is not a directory"));
        }
        if self.names.insert(name.to_owned()) {
            Ok(())
        } else {
            Err(ArchiveError::Duplicate(name.to_owned()))
        }
    }

    fn document(&mut self, name: &str, size: u64, mut data: impl Read) -> Result<String, ArchiveError> {
        self.documents_size += size;
        let limit = self.bounds.manifest.saturating_mul(DOCUMENTS);
        if self.documents_size > limit {
            return Err(ArchiveError::TooMany { what: "bytes of manifests and configs", limit });
        }
        let mut text = Vec::new();
        data.read_to_end(&mut text)?;
        let found = Sha256::of(&text);
        self.documents.insert(name.to_owned(), text);
        Ok(found)
    }

    fn layer(
        &mut self,
        name: &str,
        size: u64,
        packing: Packing,
        data: impl Read,
    ) -> Result<String, ArchiveError> {
        let digits = name.split('/').rev().map(stem).find(|part| is_digest(part));
        let known =
            digits.and_then(|digits| self.known.get(digits)).filter(|known| self.store.has_layer(known));
        let sink = match known {
            Some(_) => crate::store::LayerWriter::digest_only(),
            None => crate::store::LayerWriter::new(self.store)?,
        };
        let (mut layer, found) = match &mut self.ahead {
            // Of other packings not every engine knows how to unpack them.
            Some(ahead) if known.is_none() && matches!(packing, Packing::Plain | Packing::Gzip) => {
                let passing = ahead.pass(size, data);
                let read = layer::read(passing, packing, sink, self.bounds, &self.budget)?;
                ahead.passed(size, &read.0.new.diff_id);
                read
            }
            _ => layer::read(data, packing, sink, self.bounds, &self.budget)?,
        };
        if let Some(known) = known.filter(|known| known.as_str() != layer.new.diff_id) {
            return Err(wrong_digest(name, known.as_str(), &layer.new.diff_id));
        }
        layer.digits = digits.map(ToOwned::to_owned);
        self.settle_but(UNSETTLED_MAX - 1)?;
        self.unsettled.push(name.to_owned());
        self.layers.insert(name.to_owned(), layer);
        Ok(found)
    }

    /// Waits for layers until only so many are still being written.
    fn settle_but(&mut self, count: usize) -> Result<(), ArchiveError> {
        while self.unsettled.len() > count {
            if let Some(layer) = self.layers.get_mut(&self.unsettled.remove(0)) {
                layer.new.settle()?;
            }
        }
        Ok(())
    }
}

pub(super) fn wrong_digest(what: &str, expected: &str, found: &str) -> ArchiveError {
    ArchiveError::WrongDigest {
        what: what.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

/// A name without what tools put behind and before digests.
pub(super) fn stem(part: &str) -> &str {
    let part = part.strip_prefix("sha256:").unwrap_or(part);
    part.split('.').next().unwrap_or(part)
}

pub(super) fn is_digest(digits: &str) -> bool {
    digits.len() == 64 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

fn looks_like_json(head: &[u8]) -> bool {
    let first = head.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'['))
}
