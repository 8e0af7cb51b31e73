//! Every format in every compression becomes the same images.

use std::io::Read;

use serde_json::json;
use switchyard_core::ImageId;
use switchyard_tpc::archive::ingest_path;

use crate::fixtures::*;

fn two() -> Vec<Image> {
    vec![Image::usual("web"), Image::usual("probe")]
}

/// The ids, the names, and that what is in the store is whole.
fn assert_taken(archive: &[u8], images: &[Image]) {
    let (_directory, store) = store();
    let taken = take(archive, &store).unwrap();
    let expected: Vec<(String, String)> =
        images.iter().map(|image| (image.id(), image.name.clone())).collect();
    let found: Vec<(String, String)> =
        taken.iter().map(|image| (image.id.to_string(), image.names[0].clone())).collect();
    assert_eq!(found, expected);
    for (image, taken) in images.iter().zip(&taken) {
        let stored = store.image(&taken.id).unwrap().unwrap();
        assert_eq!(stored.config, image.config);
        assert_eq!(stored.layers.len(), image.layers.len());
        assert_eq!(stored.size(), image.layers.iter().map(|layer| layer.len() as u64).sum::<u64>());
        assert!(stored.has_command && stored.volumes.contains("/data") && !taken.exported);
    }
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn docker_save_of_all_ages_and_oci_archives_in_all_compressions() {
    for packed in PACKED {
        assert_taken(&packed.pack(&docker_old(&two())), &two());
        assert_taken(&packed.pack(&docker_new(&two())), &two());
        for layers in PACKED {
            assert_taken(&packed.pack(&oci(&two(), layers)), &two());
        }
    }
}

#[test]
fn a_layout_directory() {
    for packed in PACKED {
        let (directory, store) = store();
        let layout = directory.path().join("stick");
        write_layout(&layout, &two(), packed);
        let mut read = 0;
        let taken = ingest_path(&layout, &store, &bounds(), &mut |count| read += count, None).unwrap();
        assert_eq!(taken.len(), 2);
        assert!(read > 6000, "{read}");
        assert_eq!(store.verify().unwrap(), []);
    }
}

#[test]
fn an_exported_file_system_becomes_one_layer_and_the_same_image_each_time() {
    let (_directory, first) = store();
    let plain = take(exported().as_slice(), &first).unwrap();
    for packed in PACKED {
        let (_directory, store) = store();
        let taken = take(packed.pack(&exported()).as_slice(), &store).unwrap();
        assert_eq!(taken, plain);
        assert!(taken[0].exported);
        let stored = store.image(&taken[0].id).unwrap().unwrap();
        assert_eq!(stored.layers[0].diff_id.as_str(), format!("sha256:{}", sha256(&exported())));
        assert!(!stored.has_command);
        assert_eq!(store.verify().unwrap(), []);
    }
    // As mmdebstrap writes it: "./" before each name, no .dockerenv.
    let mut tar = Tar::new();
    tar.entry("./", b'5', "", b"").entry("./srv/", b'5', "", b"").entry("./etc/", b'5', "", b"");
    tar.file("./etc/hostname", b"x").entry("./usr/", b'5', "", b"");
    assert!(take(tar.end().as_slice(), &first).unwrap()[0].exported);
}

#[test]
fn members_after_each_other_are_one_archive() {
    let whole = docker_new(&two());
    let (front, back) = whole.split_at(whole.len() / 3);
    for packed in [Packed::Gzip, Packed::Xz, Packed::Zstd] {
        assert_taken(&[packed.pack(front), packed.pack(back)].concat(), &two());
    }
}

#[test]
fn an_image_for_several_machines_is_taken_for_this_one() {
    let ours = Image::usual("web");
    let other = Image::new("other", vec![layer(&[("arm", b"")])]);
    let (mut blobs, index) = oci_parts(&[other, ours.clone()], Packed::Gzip);
    let mut manifests = index["manifests"].clone();
    manifests[0]["platform"] = json!({ "os": "linux", "architecture": "s390x" });
    let here = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    manifests[1]["platform"] = json!({ "os": "linux", "architecture": here });
    let inner = json!({ "schemaVersion": 2, "manifests": manifests }).to_string().into_bytes();
    let outer =
        json!({ "manifests": [{ "digest": format!("sha256:{}", sha256(&inner)), "size": inner.len() }] });
    blobs.push(inner);
    let mut tar = Tar::new();
    tar.file("index.json", outer.to_string().as_bytes());
    for blob in &blobs {
        tar.file(&format!("blobs/sha256/{}", sha256(blob)), blob);
    }
    let (_directory, store) = store();
    let taken = take(tar.end().as_slice(), &store).unwrap();
    assert_eq!(taken.iter().map(|image| image.id.to_string()).collect::<Vec<_>>(), [ours.id()]);
    assert_eq!(store.verify().unwrap(), [], "nothing of the other machine's image stays");
}

#[test]
fn names_that_need_long_headers_are_read_as_docker_does() {
    let long = format!("{}/file", "d".repeat(180));
    let mut tar = Tar::new();
    tar.entry(".dockerenv", b'0', "", b"");
    tar.entry("x", b'x', "", format!("{} path=etc/{long}\n", long.len() + 14).as_bytes());
    tar.file("short", b"a").file(&format!("usr/{long}"), b"b").file("var/x", b"c");
    let (_directory, store) = store();
    take(tar.end().as_slice(), &store).unwrap();
}

#[test]
fn what_the_store_has_is_read_but_not_written_again() {
    for packed in [Packed::Plain, Packed::Gzip] {
        let (_directory, store) = store();
        take(oci(&[Image::usual("web")], packed).as_slice(), &store).unwrap();
        take(docker_old(&[Image::usual("web")]).as_slice(), &store).unwrap();
        for archive in [docker_old(&two()), docker_new(&two()), oci(&two(), packed)] {
            // What is beside an image's config changes: it learns new names.
            let before = files(&store).into_iter().filter(|(name, _)| !name.contains(".meta"));
            let before: Vec<_> = before.collect();
            // Whatever is written goes to a file that is made first.
            let mut watched = Watching { inner: archive.as_slice(), store: &store, drafts: 0 };
            take(&mut watched, &store).unwrap();
            assert!(watched.drafts <= 1, "the base was written again");
            let after = files(&store);
            assert!(before.iter().all(|file| after.contains(file)), "a file of the store changed");
        }
    }
}

/// Counts the drafts that are seen while an archive is read.
struct Watching<'a> {
    inner: &'a [u8],
    store: &'a switchyard_tpc::store::Store,
    drafts: usize,
}

impl Read for Watching<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let drafts = std::fs::read_dir(self.store.path().join("tmp"))?.count();
        self.drafts = self.drafts.max(drafts);
        let count = buffer.len().min(512);
        self.inner.read(&mut buffer[..count])
    }
}

#[test]
fn the_progress_counts_what_is_read() {
    let archive = Packed::Gzip.pack(&docker_new(&two()));
    let (_directory, store) = store();
    let mut read = 0;
    switchyard_tpc::archive::ingest(archive.as_slice(), &store, &bounds(), &mut |count| read += count)
        .unwrap();
    assert_eq!(read, archive.len() as u64);
}

#[test]
fn an_image_of_no_layers_is_an_image() {
    let image = Image::new("empty", Vec::new());
    let (_directory, store) = store();
    let taken = take(docker_new(std::slice::from_ref(&image)).as_slice(), &store).unwrap();
    assert_eq!(taken[0].id, ImageId::parse(&image.id()).unwrap());
}
