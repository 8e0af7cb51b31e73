//! What the store promises: it keeps, finds what is wrong, gives back, and lets go.

use std::fs;
use std::io::{self, Write};

use switchyard_core::ImageId;
use switchyard_tpc::archive::{ArchiveError, Ingested, ingest_path};
use switchyard_tpc::store::{Ahead, Store, StoreError};

use crate::fixtures::*;

fn filled(names: &[&str]) -> (tempfile::TempDir, Store, Vec<ImageId>) {
    let (directory, store) = store();
    let images: Vec<Image> = names.iter().map(|name| Image::usual(name)).collect();
    let taken = take(docker_old(&images).as_slice(), &store).unwrap();
    (directory, store, taken.into_iter().map(|image| image.id).collect())
}

fn written(store: &Store, images: &[(ImageId, Option<String>)]) -> Vec<u8> {
    let mut archive = Vec::new();
    store.write_docker_archive(images, &mut archive).unwrap();
    archive
}

#[test]
fn what_is_given_back_is_what_was_taken_and_always_the_same() {
    let (_directory, store, ids) = filled(&["web", "probe"]);
    let images = [(ids[0].clone(), Some("tpc/web:1".to_owned())), (ids[1].clone(), None)];
    let archive = written(&store, &images);
    assert_eq!(archive, written(&store, &images));
    // The base is in it once.
    let base = base_layer();
    assert_eq!(archive.windows(512).step_by(512).filter(|block| *block == &base[512..1024]).count(), 1);
    let (_other, second) = self::store();
    let taken = take(archive.as_slice(), &second).unwrap();
    assert_eq!(taken.iter().map(|image| image.id.clone()).collect::<Vec<_>>(), ids);
    assert_eq!(taken[0].names, ["tpc/web:1"]);
    assert!(taken[1].names.is_empty());
    assert_eq!(written(&second, &images), archive);
    // Another reader of tars agrees.
    let mut reader = tar::Archive::new(archive.as_slice());
    assert_eq!(reader.entries().unwrap().map(Result::unwrap).count(), 3 + 2 + 1);
}

#[test]
fn layers_that_an_engine_has_at_the_bottom_are_left_out() {
    let (_directory, store, ids) = filled(&["web", "probe"]);
    let layers = |id| -> Vec<_> {
        store.image(id).unwrap().unwrap().layers.into_iter().map(|layer| layer.diff_id).collect()
    };
    let written = |there: &[Vec<switchyard_core::Digest>]| {
        let mut archive = Vec::new();
        let images = [(ids[0].clone(), None)];
        let left_out = store.write_what_is_new(&images, there, &mut archive).unwrap();
        let mut reader = tar::Archive::new(archive.as_slice());
        (left_out, reader.entries().unwrap().map(Result::unwrap).count() - 2)
    };
    let own = layers(&ids[0]);
    assert_eq!(written(&[]), (0, 2));
    assert_eq!(written(&[layers(&ids[1])]), (1, 1), "they share a base");
    assert_eq!(written(&[layers(&ids[1]), own.clone()]), (2, 0));
    let turned: Vec<_> = own.iter().rev().cloned().collect();
    assert_eq!(
        written(&[turned, own[1..].to_vec(), Vec::new()]),
        (0, 2),
        "the same layer elsewhere is another"
    );
}

/// Takes an archive whose layers are passed on.
fn take_ahead<W: Write + 'static>(
    archive: &[u8],
    store: &Store,
    ahead: &mut Ahead<W>,
) -> Result<Vec<Ingested>, ArchiveError> {
    let file = store.path().join("archive");
    fs::write(&file, archive).unwrap();
    let taken = ingest_path(&file, store, &bounds(), &mut |_| {}, Some(ahead));
    fs::remove_file(file).unwrap();
    taken
}

#[test]
fn what_is_passed_on_while_it_is_read_becomes_the_same_image_once_it_is_told_what_it_is() {
    let images = [Image::usual("web")];
    for (archive, passed) in [
        (docker_old(&images), true),
        (docker_new(&images), true),
        (oci(&images, Packed::Plain), true),
        (oci(&images, Packed::Gzip), true),
        // Not every engine unpacks these.
        (oci(&images, Packed::Zstd), false),
        (exported(), false),
    ] {
        let (_directory, store) = store();
        let mut ahead = Ahead::new(Vec::new());
        let taken = take_ahead(&archive, &store, &mut ahead).unwrap();
        let (bytes, id) = (ahead.bytes(), taken[0].id.clone());
        let (_, loaded) = store.complete(ahead, &[(id.clone(), Some("tpc/web:1".to_owned()))], &[]).unwrap();
        let (_other, second) = self::store();
        let again = take(loaded.as_slice(), &second).unwrap();
        assert_eq!((&again[0].id, again[0].names.as_slice()), (&id, ["tpc/web:1".to_owned()].as_slice()));
        assert_eq!(bytes > 0, passed);
        // What the store has is not passed on again, but given from there.
        let mut ahead = Ahead::new(Vec::new());
        take_ahead(&archive, &store, &mut ahead).unwrap();
        assert_eq!(ahead.bytes(), 0);
        let (_, loaded) = store.complete(ahead, &[(id.clone(), None)], &[]).unwrap();
        assert_eq!(take(loaded.as_slice(), &second).unwrap()[0].id, id);
    }
}

/// Takes so many bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_engine_that_takes_no_more_is_no_reason_not_to_keep_an_image_and_is_not_told_of_it() {
    let (_directory, store) = store();
    let mut ahead = Ahead::new(Full(1000));
    let taken = take_ahead(&docker_new(&[Image::usual("web")]), &store, &mut ahead).unwrap();
    assert_eq!(store.verify().unwrap(), []);
    let error =
        store.complete(ahead, &[(taken[0].id.clone(), None)], &[]).map(|(count, _)| count).unwrap_err();
    assert!(matches!(error, StoreError::Output(_)), "{error}");
}

#[test]
fn layers_that_are_shared_are_there_once() {
    let (_directory, store, ids) = filled(&["web", "probe", "another"]);
    assert_eq!(fs::read_dir(store.path().join("layers/sha256")).unwrap().count(), 4);
    let stored: u64 = ids.iter().map(|id| store.image(id).unwrap().unwrap().stored()).sum();
    assert!(store.size().unwrap() < stored);
    assert_eq!(store.images().unwrap().len(), 3);
}

type Harm<'a> = &'a dyn Fn(&Store);

#[test]
fn verify_names_each_kind_of_harm() {
    let damage: [(&str, Harm); 6] = [
        ("its digest is", &|store| change_first(store, "layers/sha256", "zst")),
        ("its digest is", &|store| change_first(store, "images", "json")),
        ("No such file", &|store| fs::remove_file(first(store, "layers/sha256", "zst")).unwrap()),
        ("No such file", &|store| fs::remove_file(first(store, "images", "meta")).unwrap()),
        ("no file of the store", &|store| fs::write(store.path().join("layers/sha256/x"), "x").unwrap()),
        ("left over", &|store| fs::write(store.path().join("tmp/1-1"), "x").unwrap()),
    ];
    for (words, harm) in damage {
        let (_directory, store, _) = filled(&["web"]);
        assert_eq!(store.verify().unwrap(), []);
        harm(&store);
        let faults = store.verify().unwrap();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].to_string().contains(words), "{words}: {}", faults[0]);
    }
}

fn first(store: &Store, part: &str, end: &str) -> std::path::PathBuf {
    let mut paths: Vec<_> =
        fs::read_dir(store.path().join(part)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == end));
    paths.sort();
    paths.remove(0)
}

/// Something else that can be read as before.
fn change_first(store: &Store, part: &str, end: &str) {
    let path = first(store, part, end);
    let content = fs::read(&path).unwrap();
    let changed = if end == "zst" {
        let mut tar = zstd::decode_all(content.as_slice()).unwrap();
        *tar.last_mut().unwrap() = 1;
        zstd::encode_all(tar.as_slice(), 1).unwrap()
    } else {
        String::from_utf8(content).unwrap().replace("linux", "Linux").into_bytes()
    };
    fs::write(&path, changed).unwrap();
}

#[test]
fn a_damaged_layer_is_not_given_back() {
    let (_directory, store, ids) = filled(&["web"]);
    change_first(&store, "layers/sha256", "zst");
    let mut archive = Vec::new();
    let error = store.write_docker_archive(&[(ids[0].clone(), None)], &mut archive).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    let manifest = archive.windows(13).any(|window| window == b"manifest.json");
    assert!(!manifest, "without its manifest an archive loads nothing");
}

#[test]
fn prune_lets_go_of_what_has_no_root_and_of_nothing_else() {
    let (_directory, store, ids) = filled(&["web", "probe"]);
    fs::write(store.path().join("tmp/left"), b"x").unwrap();
    let pruned = store.prune(&ids).unwrap();
    assert_eq!((pruned.images.len(), pruned.layers), (0, 0));
    assert_eq!(store.verify().unwrap(), []);

    let pruned = store.prune(&ids[..1]).unwrap();
    assert_eq!((pruned.images.as_slice(), pruned.layers), (&ids[1..], 1));
    assert!(pruned.bytes > 3000);
    assert!(store.image(&ids[0]).unwrap().is_some() && store.image(&ids[1]).unwrap().is_none());
    assert_eq!(store.verify().unwrap(), []);

    assert_eq!(store.prune(&[]).unwrap().layers, 2);
    assert_empty(&store);
    let error = store.write_docker_archive(&[(ids[0].clone(), None)], Vec::new()).unwrap_err();
    assert!(matches!(error, StoreError::NoSuchImage(_)), "{error}");
}

#[test]
fn a_prune_that_was_killed_is_finished_by_the_next() {
    let (_directory, store, ids) = filled(&["web", "probe"]);
    // As it is after the config went and nothing else.
    let config = ids[1].as_str().replace("sha256:", "");
    fs::remove_file(store.path().join(format!("images/{config}.json"))).unwrap();
    assert_eq!(store.prune(&ids[..1]).unwrap().layers, 1);
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn a_kept_image_that_cannot_be_read_stops_the_prune() {
    let (_directory, store, ids) = filled(&["web", "probe"]);
    let before = files(&store).len();
    let config = ids[0].as_str().replace("sha256:", "");
    fs::write(store.path().join(format!("images/{config}.json")), b"{").unwrap();
    assert!(matches!(store.prune(&ids[..1]).unwrap_err(), StoreError::Damaged { .. }));
    assert_eq!(files(&store).len(), before, "its layers could have gone");
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let (directory, store) = store();
    let version = store.path().join("version");
    for (text, words) in
        [("2\n", "newer version"), ("99", "newer version"), ("x", "no store of tpcm"), ("", "no store")]
    {
        fs::write(&version, text).unwrap();
        let error = Store::open(directory.path()).unwrap_err().to_string();
        assert!(error.contains(words), "{text:?}: {error}");
        assert_eq!(fs::read_to_string(&version).unwrap(), text);
    }
    fs::write(&version, "1").unwrap();
    Store::open(directory.path()).unwrap();
}

#[test]
fn the_store_is_for_root_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (_directory, store) = store();
    for part in ["", "layers", "layers/sha256", "images", "tmp"] {
        let mode = store.path().join(part).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{part}");
    }
}

#[test]
fn an_image_that_comes_again_under_another_name_has_both() {
    let (_directory, store, ids) = filled(&["web"]);
    let mut again = Image::usual("web");
    again.name = "other:2".to_owned();
    take(oci(&[again], Packed::Gzip).as_slice(), &store).unwrap();
    assert_eq!(store.image(&ids[0]).unwrap().unwrap().names, ["other:2", "web:1"]);
    assert_eq!(store.verify().unwrap(), []);
}
