//! The reader against archives that are almost right. Whatever comes in: no panic, a bounded time, one line of words, and
//! a store that is whole.

use proptest::collection::vec;
use proptest::prelude::*;
use switchyard_tpc::archive::{Bounds, ingest};

use crate::fixtures::*;

/// What is done to a good archive.
#[derive(Debug, Clone)]
enum Harm {
    Set(usize, u8),
    Cut(usize),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    /// A block goes to another place.
    Copy(usize, usize),
    /// A header gets another field, and a checksum that holds.
    Field(usize, usize, Vec<u8>),
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = 0..200_000_usize;
    prop_oneof![
        (at.clone(), any::<u8>()).prop_map(|(at, byte)| Harm::Set(at, byte)),
        at.clone().prop_map(Harm::Cut),
        (at.clone(), vec(any::<u8>(), 1..600)).prop_map(|(at, bytes)| Harm::Insert(at, bytes)),
        (at.clone(), 1..2000_usize).prop_map(|(at, count)| Harm::Remove(at, count)),
        (at.clone(), at.clone()).prop_map(|(from, to)| Harm::Copy(from, to)),
        (at, 0..500_usize, vec(any::<u8>(), 1..12))
            .prop_map(|(at, field, bytes)| Harm::Field(at, field, bytes)),
    ]
}

fn harm_with(archive: &mut Vec<u8>, harms: &[Harm]) {
    for harm in harms {
        apply(archive, harm);
    }
}

fn apply(archive: &mut Vec<u8>, harm: &Harm) {
    let size = archive.len().max(1);
    match harm {
        Harm::Set(at, byte) => {
            if let Some(place) = archive.get_mut(at % size) {
                *place = *byte;
            }
        }
        Harm::Cut(at) => archive.truncate(at % size),
        Harm::Insert(at, bytes) => {
            let at = (at % size).min(archive.len());
            archive.splice(at..at, bytes.iter().copied());
        }
        Harm::Remove(at, count) => {
            let at = (at % size).min(archive.len());
            let end = (at + count).min(archive.len());
            archive.drain(at..end);
        }
        Harm::Copy(from, to) => {
            let (from, to) = (from % size / 512 * 512, to % size / 512 * 512);
            if from.max(to) + 512 <= archive.len() {
                archive.copy_within(from..from + 512, to);
            }
        }
        Harm::Field(at, field, bytes) => {
            let at = header_near(archive, at % size);
            if let Some(block) = archive.get_mut(at..at + 512) {
                let end = (field + bytes.len()).min(512);
                block[*field..end].copy_from_slice(&bytes[..end - field]);
                let mut header = tar::Header::from_byte_slice(block).clone();
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
            }
        }
    }
}

/// Changing data as if it were a header says little: the nearest one before is looked for.
fn header_near(archive: &[u8], at: usize) -> usize {
    let mut block = at / 512 * 512;
    while block > 0 && archive.get(block + 257..block + 262) != Some(b"ustar") {
        block -= 512;
    }
    block
}

fn check(archive: &[u8]) -> Result<(), TestCaseError> {
    let (_directory, store) = store();
    let bounds = Bounds::unpacked(16 << 20);
    match ingest(archive, &store, &bounds, &mut |_| {}) {
        Ok(images) => {
            for image in images {
                let mut out = Vec::new();
                store.write_docker_archive(&[(image.id, None)], &mut out).unwrap();
            }
        }
        Err(error) => {
            let words = error.to_string();
            prop_assert!(!words.contains('\n') && words.len() < 1000, "{words}");
            assert_empty(&store);
        }
    }
    prop_assert_eq!(store.verify().unwrap(), []);
    Ok(())
}

fn good(kind: u8) -> Vec<u8> {
    let images = [Image::usual("web"), Image::usual("probe")];
    match kind % 6 {
        0 => docker_old(&images),
        1 => docker_new(&images),
        2 => oci(&images, Packed::Gzip),
        3 => oci(&images, Packed::Xz),
        4 => oci(&images, Packed::Zstd),
        _ => exported(),
    }
}

fn cases() -> ProptestConfig {
    let long = std::env::var_os("SWITCHYARD_LONG").is_some();
    ProptestConfig { cases: if long { 20_000 } else { 150 }, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn an_archive_with_something_wrong(kind: u8, harms in vec(harm(), 1..4)) {
        let mut archive = good(kind);
        harm_with(&mut archive, &harms);
        check(&archive)?;
    }

    #[test]
    fn a_packed_archive_with_something_wrong(kind: u8, packed in 1..4_usize, harms in vec(harm(), 1..3)) {
        let mut archive = PACKED[packed].pack(&good(kind));
        harm_with(&mut archive, &harms);
        check(&archive)?;
    }

    #[test]
    fn a_good_archive_around_something_wrong(kind: u8, packed in 0..4_usize, harms in vec(harm(), 1..3)) {
        let mut archive = good(kind);
        harm_with(&mut archive, &harms);
        check(&PACKED[packed].pack(&archive))?;
    }

    #[test]
    fn anything(packed in 0..4_usize, magic in 0..4_usize, bytes in vec(any::<u8>(), 0..3000)) {
        check(&PACKED[packed].pack(&bytes))?;
        let magic: &[u8] = [&[0x1f, 0x8b, 8][..], b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b""][magic];
        check(&[magic, &bytes].concat())?;
    }
}

/// What was found once, and what fuzzers of tars look for first.
#[test]
fn the_corpus() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/archive/corpus");
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        check(&std::fs::read(&path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
