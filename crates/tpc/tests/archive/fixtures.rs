//! Images made here, byte by byte, in all formats that tools write them in.

use std::io::{Read, Write};
use std::path::Path;

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use switchyard_tpc::archive::{ArchiveError, Bounds, Ingested, ingest};
use switchyard_tpc::store::Store;
use tempfile::TempDir;

pub(crate) fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
}

fn digit(value: u8) -> char {
    char::from(b"0123456789abcdef"[usize::from(value)])
}

/// An image before it is packed into an archive.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) config: Vec<u8>,
    pub(crate) name: String,
}

impl Image {
    pub(crate) fn new(name: &str, layers: Vec<Vec<u8>>) -> Self {
        let diff_ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", sha256(layer))).collect();
        // Spaces and an unknown key: kept byte for byte or the id changes.
        let config = format!(
            "{{ \"architecture\":\"amd64\", \"os\":\"linux\",\n \"x\": 1.0, \"config\":{{\"Cmd\":[\"/bin/{name}\"],\"Labels\":{{\"who\":\"{name}\"}},\
             \"Volumes\":{{\"/data\":{{}}}}}}, \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":{}}} }}",
            json!(diff_ids)
        );
        Self { layers, config: config.into_bytes(), name: format!("{name}:1") }
    }

    pub(crate) fn id(&self) -> String {
        format!("sha256:{}", sha256(&self.config))
    }

    /// Two layers of files, the first the same for all.
    pub(crate) fn usual(name: &str) -> Self {
        Self::new(name, vec![base_layer(), layer(&[("bin/run", &noise(name.len() as u64, 3000))])])
    }
}

/// Bytes that cannot be compressed, the same each time.
pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

pub(crate) fn base_layer() -> Vec<u8> {
    layer(&[("etc/hostname", b"base\n"), ("usr/lib/thing", &noise(7, 20_000))])
}

/// A tar of files.
pub(crate) fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Tar::new();
    for (name, content) in files {
        tar.file(name, content);
    }
    tar.end()
}

/// A tar that is written without any care for what is sane.
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn file(&mut self, name: &str, content: &[u8]) -> &mut Self {
        self.entry(name, b'0', "", content)
    }

    pub(crate) fn entry(&mut self, name: &str, kind: u8, link: &str, content: &[u8]) -> &mut Self {
        self.header(name.as_bytes(), kind, link.as_bytes(), content.len() as u64);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn header(&mut self, name: &[u8], kind: u8, link: &[u8], size: u64) -> &mut Self {
        if name.len() > 100 {
            self.entry("././@LongLink", b'L', "", &[name, b"\0"].concat());
        }
        let mut header = tar::Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
        old.linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self
    }

    pub(crate) fn end(&mut self) -> Vec<u8> {
        let mut all = self.0.clone();
        all.extend([0; 1024]);
        all
    }
}

/// As Docker before 25 saves: a directory for each layer, a layer that an image before has too as a link.
pub(crate) fn docker_old(images: &[Image]) -> Vec<u8> {
    let mut tar = Tar::new();
    let mut manifest = Vec::new();
    let mut places: Vec<(Vec<u8>, String)> = Vec::new();
    for image in images {
        let mut names = Vec::new();
        for (at, content) in image.layers.iter().enumerate() {
            // A digest, and not of what is in it.
            let place = sha256(format!("{} {at}", if at == 0 { "" } else { &image.name }).as_bytes());
            let name = format!("{place}/layer.tar");
            names.push(name.clone());
            match places.iter().find(|(known, _)| known == content) {
                Some((_, known)) if *known == place => {}
                known => {
                    tar.entry(&format!("{place}/"), b'5', "", b"").file(&format!("{place}/VERSION"), b"1.0");
                    tar.file(&format!("{place}/json"), b"{\"id\":\"x\"}");
                    match known {
                        Some((_, known)) => tar.entry(&name, b'2', &format!("../{known}/layer.tar"), b""),
                        None => tar.file(&name, content),
                    };
                }
            }
            places.push((content.clone(), place));
        }
        let config = format!("{}.json", sha256(&image.config));
        tar.file(&config, &image.config);
        manifest.push(json!({ "Config": config, "RepoTags": [image.name], "Layers": names }));
    }
    tar.file("manifest.json", json!(manifest).to_string().as_bytes());
    tar.file("repositories", b"{}\n");
    tar.end()
}

/// As Docker since 25 saves: OCI, with a manifest.json beside it.
pub(crate) fn docker_new(images: &[Image]) -> Vec<u8> {
    let (blobs, index) = oci_parts(images, Packed::Plain);
    let mut tar = Tar::new();
    tar.entry("blobs/", b'5', "", b"").entry("blobs/sha256/", b'5', "", b"");
    for blob in &blobs {
        tar.file(&format!("blobs/sha256/{}", sha256(blob)), blob);
    }
    let manifest: Vec<Value> = images
        .iter()
        .map(|image| {
            let blob = |bytes: &Vec<u8>| format!("blobs/sha256/{}", sha256(bytes));
            let layers: Vec<String> = image.layers.iter().map(blob).collect();
            json!({ "Config": blob(&image.config), "RepoTags": [image.name], "Layers": layers })
        })
        .collect();
    tar.file("index.json", index.to_string().as_bytes());
    tar.file("manifest.json", json!(manifest).to_string().as_bytes());
    tar.file("oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}");
    tar.end()
}

/// An OCI archive as skopeo and buildah write it, its layers packed.
pub(crate) fn oci(images: &[Image], packed: Packed) -> Vec<u8> {
    let (blobs, index) = oci_parts(images, packed);
    let mut tar = Tar::new();
    tar.file("oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}");
    tar.file("index.json", index.to_string().as_bytes());
    for blob in &blobs {
        tar.file(&format!("blobs/sha256/{}", sha256(blob)), blob);
    }
    tar.end()
}

/// The blobs of images and their index.
pub(crate) fn oci_parts(images: &[Image], packed: Packed) -> (Vec<Vec<u8>>, Value) {
    let mut blobs: Vec<Vec<u8>> = Vec::new();
    let mut manifests = Vec::new();
    let mut add = |blob: Vec<u8>| {
        let descriptor = json!({ "digest": format!("sha256:{}", sha256(&blob)), "size": blob.len() });
        if !blobs.contains(&blob) {
            blobs.push(blob);
        }
        descriptor
    };
    for image in images {
        let layers: Vec<Value> = image.layers.iter().map(|layer| add(packed.pack(layer))).collect();
        let config = add(image.config.clone());
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        let mut descriptor = add(manifest.to_string().into_bytes());
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": image.name });
        manifests.push(descriptor);
    }
    (blobs, json!({ "schemaVersion": 2, "manifests": manifests }))
}

/// As `docker export` writes it.
pub(crate) fn exported() -> Vec<u8> {
    let mut tar = Tar::new();
    tar.file(".dockerenv", b"").entry("bin/", b'5', "", b"").file("bin/run", &noise(3, 5000));
    tar.entry("bin/sh", b'2', "run", b"").entry("dev/", b'5', "", b"").entry("etc/", b'5', "", b"");
    tar.entry("etc/mtab", b'2', "/proc/mounts", b"").entry("bin/again", b'1', "bin/run", b"");
    tar.entry("dev/null", b'3', "", b"").end()
}

/// The compressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packed {
    Plain,
    Gzip,
    Xz,
    Zstd,
}

pub(crate) const PACKED: [Packed; 4] = [Packed::Plain, Packed::Gzip, Packed::Xz, Packed::Zstd];

impl Packed {
    pub(crate) fn pack(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => bytes.to_vec(),
            Self::Gzip => {
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(bytes).unwrap();
                gzip.finish().unwrap()
            }
            Self::Xz => {
                let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
                xz.write_all(bytes).unwrap();
                xz.finish().unwrap()
            }
            Self::Zstd => zstd::encode_all(bytes, 1).unwrap(),
        }
    }
}

/// A store of its own, in memory where there is such a place: thousands are made, and each file of each is synced.
pub(crate) fn store() -> (TempDir, Store) {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

pub(crate) fn bounds() -> Bounds {
    Bounds::unpacked(1 << 30)
}

pub(crate) fn take(archive: impl Read + Send, store: &Store) -> Result<Vec<Ingested>, ArchiveError> {
    ingest(archive, store, &bounds(), &mut |_| {})
}

/// All files of the store below images, layers and tmp, with their contents' digests.
pub(crate) fn files(store: &Store) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for part in ["images", "layers/sha256", "tmp"] {
        for entry in std::fs::read_dir(store.path().join(part)).unwrap() {
            let path = entry.unwrap().path();
            files.push((path.display().to_string(), sha256(&std::fs::read(&path).unwrap())));
        }
    }
    files.sort();
    files
}

/// Nothing is in the store and nothing is left over.
pub(crate) fn assert_empty(store: &Store) {
    assert_eq!(files(store), []);
}

pub(crate) fn write_layout(directory: &Path, images: &[Image], packed: Packed) {
    let (blobs, index) = oci_parts(images, packed);
    std::fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
    std::fs::write(directory.join("oci-layout"), b"{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
    std::fs::write(directory.join("index.json"), index.to_string()).unwrap();
    for blob in blobs {
        std::fs::write(directory.join("blobs/sha256").join(sha256(&blob)), &blob).unwrap();
    }
}
