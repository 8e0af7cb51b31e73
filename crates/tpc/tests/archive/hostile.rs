//! What is refused, with which words, and that the store is as it was.

use serde_json::json;
use switchyard_tpc::archive::{ArchiveError, Bounds, ingest};

use crate::fixtures::*;

/// Refused with words that have these in them, in all compressions, with nothing left in the store.
#[track_caller]
fn assert_refused(archive: &[u8], words: &str) {
    for packed in PACKED {
        let (_directory, store) = store();
        let error = take(packed.pack(archive).as_slice(), &store).unwrap_err().to_string();
        assert!(error.contains(words), "{packed:?}: {error}");
        assert!(!error.contains('\n'), "{error}");
        assert_empty(&store);
    }
}

/// A good archive with one more entry.
fn with(entry: impl Fn(&mut Tar) -> &mut Tar) -> Vec<u8> {
    let mut tar = Tar(docker_new(&[Image::usual("web")]));
    tar.0.truncate(tar.0.len() - 1024);
    entry(&mut tar);
    tar.end()
}

/// A root file system with one more entry.
fn exported_with(entry: impl Fn(&mut Tar) -> &mut Tar) -> Vec<u8> {
    let mut tar = Tar(exported());
    tar.0.truncate(tar.0.len() - 1024);
    entry(&mut tar);
    tar.end()
}

/// An image with a layer of one entry.
fn layer_with(entry: impl Fn(&mut Tar) -> &mut Tar) -> Vec<u8> {
    let mut tar = Tar::new();
    tar.file("etc/before", b"");
    entry(&mut tar);
    docker_new(&[Image::new("web", vec![tar.end()])])
}

#[test]
fn names_that_lead_elsewhere() {
    for name in ["../x", "a/../../x", "a/..", ".."] {
        assert_refused(&with(|tar| tar.file(name, b"")), "leads out of the archive");
        assert_refused(&exported_with(|tar| tar.file(name, b"")), "leads out of its layer");
        assert_refused(&layer_with(|tar| tar.file(name, b"")), "leads out of its layer");
    }
    for name in ["/x", "/manifest.json", "//x"] {
        assert_refused(&with(|tar| tar.file(name, b"")), "is an absolute path");
        assert_refused(&exported_with(|tar| tar.file(name, b"")), "is an absolute path");
    }
    let long = format!("x/{}/../..", "y".repeat(200));
    assert_refused(&with(|tar| tar.file(&long, b"")), "leads out of the archive");
    assert_refused(&with(|tar| tar.file("a\x1b[31m", b"")), "has control characters");
    assert_refused(&with(|tar| tar.header(b"\xff\xfe", b'0', b"", 0)), "is not UTF-8");
}

#[test]
fn links_that_leave() {
    for target in ["/etc/shadow", "../x", "a/../../x", ".."] {
        assert_refused(&with(|tar| tar.entry("l", b'2', target, b"")), "is a link out of the archive");
        assert_refused(&with(|tar| tar.entry("l", b'1', target, b"")), "is a link out of the archive");
    }
    for target in ["../../x", "../x/../../y"] {
        assert_refused(
            &exported_with(|tar| tar.entry("a/l", b'2', target, b"")),
            "is a link out of its layer",
        );
        assert_refused(&layer_with(|tar| tar.entry("a/l", b'2', target, b"")), "is a link out of its layer");
        assert_refused(&layer_with(|tar| tar.entry("a/l", b'1', target, b"")), "is a link out of its layer");
    }
    // What a layer is found by may be a link, and a link may lead to itself.
    let mut tar = Tar::new();
    let manifest = json!([{ "Config": "c.json", "Layers": ["a/layer.tar"] }]).to_string();
    tar.file("c.json", &Image::usual("web").config).file("manifest.json", manifest.as_bytes());
    tar.entry("a/layer.tar", b'2', "layer.tar", b"");
    assert!(take(tar.end().as_slice(), &store().1).is_err());
}

#[test]
fn devices_and_other_things() {
    for (kind, words) in
        [(b'3', "is a device"), (b'4', "is a device"), (b'6', "is no file"), (b'S', "is no file")]
    {
        assert_refused(&with(|tar| tar.entry("x", kind, "", b"")), words);
    }
    assert_refused(&layer_with(|tar| tar.entry("x", b'S', "", b"")), "is a sparse file");
}

#[test]
fn the_same_name_twice() {
    for name in ["manifest.json", "oci-layout", "./manifest.json", "blobs/../manifest.json"] {
        let words = if name.contains("..") { "leads out" } else { "has two entries" };
        assert_refused(&with(|tar| tar.file(name, b"[]")), words);
    }
    assert_refused(&exported_with(|tar| tar.file("./bin/run", b"")), "has two entries");
    assert_refused(&exported_with(|tar| tar.entry("bin/run", b'2', "x", b"")), "has two entries");
}

#[test]
fn wrong_digests() {
    let image = Image::usual("web");
    // One byte of a layer, where OCI's name is checked, and where only the config knows.
    for (archive, words) in [
        (docker_new(std::slice::from_ref(&image)), "blobs/sha256/"),
        (docker_old(std::slice::from_ref(&image)), "layer "),
    ] {
        let mut archive = archive;
        let at = archive.windows(5).position(|window| window == b"base\n").unwrap();
        archive[at] ^= 1;
        assert_refused(&archive, words);
        assert_refused(&archive, "should have the digest sha256:");
    }
    // A config of another image under this one's name.
    let mut swapped = docker_old(std::slice::from_ref(&image));
    let at = swapped.windows(4).position(|window| window == b"/bin").unwrap();
    swapped[at + 1] = b'B';
    assert_refused(&swapped, ".json should have the digest");
    // A packed layer whose own digest is right, and the unpacked one is not what the config says.
    let mut lying = image.clone();
    lying.layers[1] = layer(&[("bin/run", b"evil")]);
    for packed in PACKED {
        assert_refused(&oci(std::slice::from_ref(&lying), packed), "should have the digest");
    }
}

#[test]
fn a_layer_that_pretends_to_be_known_is_found_out() {
    let (_directory, store) = store();
    let image = Image::usual("web");
    take(docker_old(std::slice::from_ref(&image)).as_slice(), &store).unwrap();
    let before = files(&store);
    let mut archive = docker_old(&[image]);
    let at = archive.windows(5).position(|window| window == b"base\n").unwrap();
    archive[at] ^= 1;
    let error = take(archive.as_slice(), &store).unwrap_err();
    assert!(matches!(error, ArchiveError::WrongDigest { .. }), "{error}");
    assert_eq!(files(&store), before);
}

#[test]
fn cut_off_at_every_block() {
    for archive in [docker_old(&[Image::usual("web")]), oci(&[Image::usual("web")], Packed::Gzip), exported()]
    {
        let (_directory, store) = store();
        for cut in (0..archive.len()).step_by(512).chain([1, 511, 513, archive.len() - 1]) {
            let error = take(&archive[..cut], &store).unwrap_err();
            let plausible = matches!(error, ArchiveError::Truncated | ArchiveError::NotAnImage(_));
            assert!(plausible && (cut <= 512 || matches!(error, ArchiveError::Truncated)), "{cut}: {error}");
            assert_empty(&store);
        }
        for packed in [Packed::Gzip, Packed::Xz, Packed::Zstd] {
            let archive = packed.pack(&archive);
            for cut in (8..archive.len()).step_by(512).chain([archive.len() - 1]) {
                let error = take(&archive[..cut], &store).unwrap_err();
                assert!(matches!(error, ArchiveError::Truncated), "{packed:?} {cut}: {error}");
                assert_empty(&store);
            }
        }
    }
}

#[test]
fn damaged_in_the_middle() {
    for packed in [Packed::Gzip, Packed::Xz, Packed::Zstd] {
        let mut archive = packed.pack(&docker_old(&[Image::usual("web")]));
        let middle = archive.len() / 2;
        archive[middle..middle + 8].fill(0xa5);
        let (_directory, store) = store();
        assert!(take(archive.as_slice(), &store).is_err(), "{packed:?}");
        assert_empty(&store);
    }
}

#[test]
fn bombs() {
    // Terabytes of zeros, in an archive, in a layer, as an exported file system; a few bytes when packed.
    let zeros = vec![0; 1 << 20];
    let bomb = |head: &[u8]| {
        let mut packed = zstd::Encoder::new(Vec::new(), 3).unwrap();
        std::io::Write::write_all(&mut packed, head).unwrap();
        for _ in 0..200 {
            std::io::Write::write_all(&mut packed, &zeros).unwrap();
        }
        packed.finish().unwrap()
    };
    let huge = 1 << 42;
    for name in ["manifest.json", "blobs/sha256/x", "0/layer.tar", "etc/x", "x"] {
        let archive = bomb(&Tar::new().header(name.as_bytes(), b'0', b"", huge).0);
        let (_directory, store) = store();
        let error = take(archive.as_slice(), &store).unwrap_err();
        assert!(matches!(error, ArchiveError::Bomb { .. }), "{name}: {error}");
        let small = Bounds::unpacked(10 << 20);
        let error = ingest(archive.as_slice(), &store, &small, &mut |_| {}).unwrap_err();
        assert!(matches!(error, ArchiveError::TooLarge { limit } if limit == 10 << 20), "{name}: {error}");
        assert_empty(&store);
    }
    // A bomb within: the archive is small, the layer is not.
    let inner = bomb(&Tar::new().header(b"x", b'0', b"", huge).0);
    let mut tar = Tar::new();
    tar.file(&format!("blobs/sha256/{}", sha256(&inner)), &inner);
    let (_directory, store) = store();
    let error = take(tar.end().as_slice(), &store).unwrap_err();
    assert!(matches!(error, ArchiveError::Bomb { .. }), "{error}");
    assert_empty(&store);
}

#[test]
fn sizes_that_lie() {
    for size in [u64::MAX, u64::MAX - 511, 1 << 63, 1 << 40] {
        let mut tar = Tar::new();
        tar.header(b"manifest.json", b'0', b"", 0);
        let field = &mut tar.0[124..136];
        field.fill(0);
        field[0] = 0x80;
        field[4..].copy_from_slice(&size.to_be_bytes());
        let mut header = tar::Header::from_byte_slice(&tar.0[..512]).clone();
        header.set_cksum();
        tar.0[..512].copy_from_slice(header.as_bytes());
        let (_directory, store) = store();
        let error = take(tar.end().as_slice(), &store).unwrap_err();
        assert!(matches!(error, ArchiveError::Truncated | ArchiveError::Damaged(_)), "{size}: {error}");
    }
    // A long name and an extended header that are as large as the archive says cost no memory.
    for kind in [b'L', b'K', b'x', b'g'] {
        let mut tar = Tar::new();
        tar.header(b"n", kind, b"", 1 << 40);
        assert_refused(&tar.end(), "too large bytes in a long name");
    }
    for record in ["99999999999 path=x\n", "3 x", "a path=x\n", "11 path=x\n", "9 path=x\n", "11 size=-10\n"]
    {
        let mut tar = Tar::new();
        tar.entry("x", b'x', "", record.as_bytes()).file("manifest.json", b"[]");
        assert_refused(&tar.end(), "");
    }
}

#[test]
fn too_much_of_anything() {
    let archive = docker_old(&[Image::usual("web"), Image::usual("other")]);
    let refused = |change: &dyn Fn(&mut Bounds)| {
        let (_directory, store) = store();
        let mut bounds = bounds();
        change(&mut bounds);
        let error = ingest(archive.as_slice(), &store, &bounds, &mut |_| {}).unwrap_err();
        assert!(matches!(error, ArchiveError::TooMany { .. } | ArchiveError::NotAnImage(_)), "{error}");
        assert_empty(&store);
    };
    refused(&|bounds| bounds.entries = 5);
    refused(&|bounds| bounds.layer_entries = 1);
    refused(&|bounds| bounds.layers = 1);
    refused(&|bounds| bounds.images = 1);
    refused(&|bounds| bounds.manifest = 100);
    refused(&|bounds| bounds.path = 20);
}

#[test]
fn unpacking_takes_no_more_memory_than_allowed() {
    let zstd = {
        let mut packed = zstd::Encoder::new(Vec::new(), 1).unwrap();
        packed.window_log(27).unwrap();
        std::io::Write::write_all(&mut packed, &exported()).unwrap();
        packed.finish().unwrap()
    };
    let xz = {
        let mut options = liblzma::stream::LzmaOptions::new_preset(1).unwrap();
        options.dict_size(64 << 20);
        let mut filters = liblzma::stream::Filters::new();
        filters.lzma2(&options);
        let encoder =
            liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc64).unwrap();
        let mut packed = liblzma::write::XzEncoder::new_stream(Vec::new(), encoder);
        std::io::Write::write_all(&mut packed, &exported()).unwrap();
        packed.finish().unwrap()
    };
    for archive in [zstd, xz] {
        let (_directory, store) = store();
        let error = take(archive.as_slice(), &store).unwrap_err();
        assert!(matches!(error, ArchiveError::Memory { .. }), "{error}");
        assert_empty(&store);
    }
}

#[test]
fn what_is_no_image() {
    let (_directory, store) = store();
    for (what, content) in [
        ("empty", Vec::new()),
        ("text", b"#!/bin/sh\necho hello\n".repeat(100)),
        ("HTML", b"<!DOCTYPE html><html>404</html>".to_vec()),
        ("noise", noise(1, 5000)),
        ("zeros", vec![0; 4096]),
        ("bzip2", b"BZh91AY&SY".repeat(100)),
        ("packed noise", Packed::Gzip.pack(&noise(1, 5000))),
        ("packed nothing", Packed::Zstd.pack(b"")),
        ("a tar of sources", layer(&[("project/README.md", b"x"), ("project/src/main.rs", b"x")])),
        ("a tar of JSON", layer(&[("package.json", b"{}")])),
        ("a tar of directories", Tar::new().entry("a/", b'5', "", b"").end()),
        ("an old archive", layer(&[("repositories", b"{}")])),
        ("an image that is no array", layer(&[("manifest.json", b"")])),
    ] {
        let error = take(content.as_slice(), &store).unwrap_err();
        assert!(matches!(error, ArchiveError::NotAnImage(_)), "{what}: {error}");
    }
    for (what, manifest) in [("nested deep", "[".repeat(100_000)), ("no names", "[{}]".to_owned())] {
        let error = take(layer(&[("manifest.json", manifest.as_bytes())]).as_slice(), &store).unwrap_err();
        assert!(matches!(error, ArchiveError::Damaged(_)), "{what}: {error}");
    }
    assert_empty(&store);
}

#[test]
fn parts_that_are_not_there() {
    let image = Image::usual("web");
    let config = format!("{}.json", sha256(&image.config));
    let archive = |layers: serde_json::Value| {
        let manifest = json!([{ "Config": config, "Layers": layers }]).to_string();
        layer(&[
            (&config, &image.config),
            ("a/layer.tar", &image.layers[0]),
            ("text.tar", b"no tar"),
            ("manifest.json", manifest.as_bytes()),
        ])
    };
    assert_refused(&archive(json!(["a/layer.tar", "b/layer.tar"])), "lacks b/layer.tar");
    assert_refused(&archive(json!(["a/layer.tar"])), "has 2 layers and its manifest 1");
    assert_refused(&archive(json!(["a/layer.tar", "text.tar"])), "text.tar is not a tar");
    assert_refused(&archive(json!(["a/layer.tar", "../b"])), "leads out of the archive");
    assert_refused(&archive(json!(["a/layer.tar", "a/layer.tar"])), "should have the digest");
}

#[test]
fn a_disk_that_cannot_be_read_is_not_a_damaged_archive() {
    struct Broken<'a>(&'a [u8]);
    impl std::io::Read for Broken<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() { Err(std::io::Error::from_raw_os_error(5)) } else { self.0.read(buffer) }
        }
    }
    for packed in PACKED {
        let archive = packed.pack(&docker_old(&[Image::usual("web")]));
        let (_directory, store) = store();
        let error = take(Broken(&archive[..archive.len() / 2]), &store).unwrap_err();
        assert!(matches!(error, ArchiveError::Input(_)), "{packed:?}: {error}");
        assert_empty(&store);
    }
}

#[test]
fn a_layout_with_links_or_strange_files() {
    let (directory, store) = store();
    let layout = directory.path().join("stick");
    write_layout(&layout, &[Image::usual("web")], Packed::Plain);
    let secret = directory.path().join("secret");
    std::fs::write(&secret, b"{}").unwrap();
    std::fs::remove_file(layout.join("index.json")).unwrap();
    std::os::unix::fs::symlink(&secret, layout.join("index.json")).unwrap();
    let take = || switchyard_tpc::archive::ingest_path(&layout, &store, &bounds(), &mut |_| {}, None);
    assert!(take().unwrap_err().to_string().contains("is a link"));
    std::fs::remove_file(layout.join("index.json")).unwrap();
    assert!(matches!(take().unwrap_err(), ArchiveError::NotAnImage(_)));
    std::fs::create_dir(layout.join("index.json")).unwrap();
    assert!(take().unwrap_err().to_string().contains("is no file"));
    assert_empty(&store);
}
