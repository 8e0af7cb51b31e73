//! The whole way against a real Docker engine: out of it, into the store, out of the store, into it again; an image is
//! the same image afterwards.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use switchyard_core::ImageId;
use switchyard_engine::{Engine, SOCKET, pipe};
use switchyard_tpc::archive::{ArchiveError, Bounds, Ingested, ingest, ingest_path};
use switchyard_tpc::store::{Ahead, Store};
use tempfile::TempDir;

fn docker(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("docker").args(arguments).output().expect("the docker client is not installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "docker {arguments:?}: {said}; is a Docker daemon running? cargo xtask test"
    );
    output.stdout
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).trim().to_owned()
}

fn engine() -> Engine {
    Engine::connect(Path::new(SOCKET)).expect("no Docker daemon listens; see: cargo xtask test")
}

/// What a test makes in the engine, removed at its end: images by id and name, containers by name.
#[derive(Default)]
struct Guests {
    images: Vec<String>,
    containers: Vec<String>,
}

impl Drop for Guests {
    fn drop(&mut self) {
        // Some are gone already, as the test wants.
        let quiet = |arguments: &[&str], names: &[String]| {
            let mut command = Command::new("docker");
            command.args(arguments).args(names).stdout(Stdio::null()).stderr(Stdio::null());
            let _ = command.status();
        };
        quiet(&["rm", "--force"], &self.containers);
        quiet(&["rmi", "--force"], &self.images);
    }
}

impl Guests {
    fn name(what: &str) -> String {
        format!("tpc-test-{what}-{}", std::process::id())
    }

    /// An image of one static program and one file that tells it from others, so that no other test has its id.
    fn base(&mut self, what: &str) -> String {
        let name = format!("{}:1", Self::name(what));
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("who"), &name).unwrap();
        let mut tar = Command::new("tar")
            .args(["--create", "--directory", "/", "bin/busybox", "--dereference", "--directory"])
            .arg(directory.path())
            .arg("who")
            .stdout(Stdio::piped())
            .spawn()
            .expect("tar is not installed");
        let layer = tar.stdout.take().unwrap();
        let mut import = Command::new("docker");
        import.args(["import", "--change", "CMD [\"/bin/busybox\", \"cat\", \"/who\"]", "-", &name]);
        assert!(
            import.stdin(layer).stdout(Stdio::null()).status().unwrap().success(),
            "docker import failed"
        );
        assert!(tar.wait().unwrap().success(), "/bin/busybox is missing: apt-get install busybox-static");
        self.images.push(name.clone());
        name
    }

    /// An image on top of another.
    fn on_top(&mut self, base: &str, what: &str) -> ImageId {
        let container = Self::name(&format!("making-{what}"));
        self.containers.push(container.clone());
        let script = format!("echo {what} > /who");
        docker(&[
            "run",
            "--name",
            &container,
            "--network",
            "none",
            base,
            "/bin/busybox",
            "sh",
            "-c",
            &script,
        ]);
        let id =
            text(&docker(&["commit", "--change", "CMD [\"/bin/busybox\", \"cat\", \"/who\"]", &container]));
        docker(&["rm", &container]);
        self.images.push(id.clone());
        ImageId::parse(&id).unwrap()
    }

    fn run(image: &str, command: &[&str]) -> String {
        text(&docker(&[&["run", "--rm", "--network", "none", image], command].concat()))
    }
}

fn store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

fn take(archive: impl std::io::Read + Send, store: &Store) -> Vec<Ingested> {
    ingest(archive, store, &Bounds::unpacked(1 << 30), &mut |_| {}).unwrap()
}

async fn load(engine: &Engine, store: &Store, images: &[(ImageId, Option<String>)]) -> Vec<ImageId> {
    let (mut writer, reader) = pipe();
    let (store, images) = (store.clone(), images.to_vec());
    let writing = tokio::task::spawn_blocking(move || {
        store.write_docker_archive(&images, &mut writer).unwrap();
        writer.finish().unwrap();
    });
    let loaded = engine.load(reader).await.unwrap();
    writing.await.unwrap();
    loaded
}

#[tokio::test]
async fn images_that_go_through_the_store_are_the_same_images() {
    let mut guests = Guests::default();
    let base = guests.base("round");
    let ids = vec![guests.on_top(&base, "one"), guests.on_top(&base, "two")];
    let engine = engine();
    let (_directory, store) = store();
    let saved = engine.save(&ids);
    let taking = store.clone();
    let taken = tokio::task::spawn_blocking(move || take(saved, &taking)).await.unwrap();
    let mut found: Vec<ImageId> = taken.into_iter().map(|image| image.id).collect();
    found.sort();
    let mut sorted = ids.clone();
    sorted.sort();
    assert_eq!(found, sorted);
    assert_eq!(
        std::fs::read_dir(store.path().join("layers/sha256")).unwrap().count(),
        3,
        "the base is kept once"
    );
    assert_eq!(store.verify().unwrap(), []);

    let by_id: Vec<&str> = ids.iter().map(ImageId::as_str).collect();
    docker(&[&["rmi", "--force", base.as_str()], by_id.as_slice()].concat());
    for id in &ids {
        assert!(engine.image(id).await.unwrap().is_none(), "it was meant to be gone");
    }
    let name = format!("tpc/{}:1", Guests::name("two"));
    guests.images.push(name.clone());
    let loaded = load(&engine, &store, &[(ids[0].clone(), None), (ids[1].clone(), Some(name.clone()))]).await;
    assert_eq!(loaded, ids[1..], "the engine tells no ids of images without a name if others have one");
    assert_eq!(Guests::run(ids[0].as_str(), &[]), "one");
    assert_eq!(Guests::run(&name, &[]), "two");
    // An engine that has the base takes an image without it.
    docker(&["rmi", "--force", &name]);
    assert!(engine.image(&ids[1]).await.unwrap().is_none());
    let mut archive = Vec::new();
    let there = engine.layers().await.unwrap();
    let left_out = store.write_what_is_new(&[(ids[1].clone(), None)], &there, &mut archive).unwrap();
    assert_eq!(left_out, 1);
    let (mut writer, reader) = pipe();
    let writing = tokio::task::spawn_blocking(move || {
        writer.write_all(&archive).unwrap();
        writer.finish().unwrap();
    });
    assert_eq!(engine.load(reader).await.unwrap(), ids[1..]);
    writing.await.unwrap();
    assert_eq!(Guests::run(ids[1].as_str(), &[]), "two");
    // What the store has already is no reason to save again, and nothing of it is written anew.
    let size = store.size().unwrap();
    let (saved, taking) = (engine.save(&ids), store.clone());
    tokio::task::spawn_blocking(move || take(saved, &taking)).await.unwrap();
    assert_eq!(store.size().unwrap(), size);
}

#[tokio::test]
async fn an_exported_container_runs_again() {
    let mut guests = Guests::default();
    let base = guests.base("export");
    let container = Guests::name("exported");
    guests.containers.push(container.clone());
    docker(&["create", "--name", &container, &base]);
    let archive = docker(&["export", &container]);
    let (_directory, store) = store();
    let taken = take(archive.as_slice(), &store);
    assert!(taken[0].exported);
    let name = format!("tpc/{}:1", Guests::name("export"));
    guests.images.push(name.clone());
    let loaded = load(&engine(), &store, &[(taken[0].id.clone(), Some(name.clone()))]).await;
    assert_eq!(loaded, [taken[0].id.clone()]);
    assert_eq!(Guests::run(&name, &["/bin/busybox", "cat", "/who"]), base);
}

#[tokio::test]
async fn a_tag_of_the_archive_does_not_reach_the_engine() {
    let mut guests = Guests::default();
    let base = guests.base("foreign");
    let id = text(&docker(&["image", "inspect", "--format", "{{.Id}}", &base]));
    let archive = docker(&["save", &base]);
    let (_directory, store) = store();
    let taken = take(archive.as_slice(), &store);
    assert_eq!((taken[0].id.as_str(), taken[0].names.as_slice()), (id.as_str(), [base.clone()].as_slice()));
    docker(&["rmi", &base]);
    guests.images.push(id);
    load(&engine(), &store, &[(taken[0].id.clone(), None)]).await;
    let image = engine().image(&taken[0].id).await.unwrap().unwrap();
    assert_eq!(image.names, [], "only the caller gives names");
}

#[tokio::test]
async fn an_archive_that_breaks_off_loads_nothing() {
    let mut guests = Guests::default();
    let base = guests.base("broken");
    let id = ImageId::parse(&text(&docker(&["image", "inspect", "--format", "{{.Id}}", &base]))).unwrap();
    let (_directory, store) = store();
    take(docker(&["save", &base]).as_slice(), &store);
    docker(&["rmi", &base]);
    guests.images.push(id.to_string());
    let mut archive = Vec::new();
    store.write_docker_archive(&[(id.clone(), Some(base))], &mut archive).unwrap();
    let engine = engine();
    for cut in [0, 512, archive.len() / 2, archive.len() - 4096] {
        let (mut writer, reader) = pipe();
        let part = archive[..cut].to_vec();
        let writing = tokio::task::spawn_blocking(move || {
            // The engine may have had enough before all is written.
            let _ = writer.write_all(&part);
            drop(writer);
        });
        engine.load(reader).await.unwrap_err();
        writing.await.unwrap();
        assert!(engine.image(&id).await.unwrap().is_none(), "cut at {cut} it was loaded");
    }
}

/// The engine has every layer of it by the time it turns out to be wrong.
#[tokio::test]
async fn an_image_that_is_on_its_way_into_the_engine_is_one_only_when_all_of_it_was_checked() {
    let mut guests = Guests::default();
    let base = guests.base("ahead");
    let id = ImageId::parse(&text(&docker(&["image", "inspect", "--format", "{{.Id}}", &base]))).unwrap();
    let whole = docker(&["save", &base]);
    docker(&["rmi", &base]);
    guests.images.push(id.to_string());
    let engine = engine();
    let (directory, store) = store();
    let file = directory.path().join("archive");
    for (cut, good) in [(whole.len() - 2048, false), (whole.len(), true)] {
        std::fs::write(&file, &whole[..cut]).unwrap();
        let (writer, reader) = pipe();
        let (file, store, image) = (file.clone(), store.clone(), (id.clone(), None));
        let reading = tokio::task::spawn_blocking(move || {
            let mut ahead = Ahead::new(writer);
            let taken = ingest_path(&file, &store, &Bounds::unpacked(1 << 30), &mut |_| {}, Some(&mut ahead));
            assert!(ahead.bytes() > 1 << 20, "the engine has been given nothing");
            taken?;
            let (_, writer) = store.complete(ahead, &[image], &[]).unwrap();
            writer.finish().unwrap();
            Ok::<_, ArchiveError>(())
        });
        let loaded = engine.load(reader).await;
        assert_eq!((reading.await.unwrap().is_ok(), loaded.is_ok()), (good, good), "{loaded:?}");
        assert_eq!(engine.image(&id).await.unwrap().is_some(), good);
    }
    assert_eq!(Guests::run(id.as_str(), &[]), base);
}

#[tokio::test]
async fn saving_what_is_not_there_says_so() {
    let nobody = ImageId::parse(&format!("sha256:{}", "1".repeat(64))).unwrap();
    let mut saved = engine().save(&[nobody]);
    let read = tokio::task::spawn_blocking(move || std::io::copy(&mut saved, &mut std::io::sink()));
    let error = read.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("sha256:1111"), "{error}");
}
