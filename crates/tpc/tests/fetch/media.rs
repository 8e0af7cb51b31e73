//! Files on local media.

use std::path::Path;

use switchyard_tpc::fetch::{FetchError, Sha256};

use super::{Case, read};

fn case(path: &Path) -> Case {
    Case::new(path.to_str().unwrap())
}

#[tokio::test]
async fn a_file_is_read_where_it_is_and_stays_there() {
    let medium = tempfile::tempdir().unwrap();
    let path = medium.path().join("i.tar");
    std::fs::write(&path, "hello").unwrap();
    let mut case = case(&path);
    let fetched = case.fetch().await.unwrap();
    assert_eq!((fetched.path.as_path(), fetched.temporary, fetched.sha256), (path.as_path(), false, None));
    let right = Sha256::parse("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824").unwrap();
    case.sha256 = Some(right);
    assert_eq!(case.fetch().await.unwrap().sha256, Some(right));
    case.sha256 = Some(Sha256::parse(&"0".repeat(64)).unwrap());
    assert!(matches!(case.fetch().await.unwrap_err(), FetchError::DigestMismatch { .. }));
    fetched.discard().unwrap();
    assert_eq!((read(&path), case.left()), (b"hello".to_vec(), 0));
}

#[tokio::test]
async fn what_is_no_file_is_told_apart_and_nothing_waits_for_it() {
    let medium = tempfile::tempdir().unwrap();
    let error = case(&medium.path().join("none")).fetch().await.unwrap_err();
    assert!(error.to_string().contains("no such file"), "{error}");
    // An OCI layout, if whoever reads it finds it to be one; there is no sum of it.
    let mut directory = case(medium.path());
    assert_eq!(directory.fetch().await.unwrap().path, medium.path());
    directory.sha256 = Some(Sha256::parse(&"0".repeat(64)).unwrap());
    let error = directory.fetch().await.unwrap_err();
    assert!(error.to_string().contains("directory"), "{error}");
    let pipe = medium.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let error = case(&pipe).fetch().await.unwrap_err();
    assert!(error.to_string().contains("neither a file"), "{error}");
    let error = case(Path::new("/dev/zero")).fetch().await.unwrap_err();
    assert!(error.to_string().contains("neither a file"), "{error}");
}
