//! The store's figures, beside what one would do by hand on the same engine; `cargo xtask bench` prints them.
//!
//! Five images share a base that cannot be compressed. They are saved and restored by us and by `docker save | gzip` and
//! `gunzip | docker load`, and one is installed from a file by us and by `docker load`, in turn, as often as told. The
//! peak memory is this process's own: docker and gzip are others.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a measurement stops at the first surprise")]

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;
use switchyard_core::ImageId;
use switchyard_engine::{Engine, SOCKET, pipe};
use switchyard_tpc::archive::{Bounds, ingest, ingest_path};
use switchyard_tpc::store::{Ahead, Store};

const BASE: u64 = 200 << 20;
const OWN: u64 = 5 << 20;
const IMAGES: usize = 5;

fn main() {
    let rounds: usize =
        std::env::args().nth(1).map_or(10, |count| count.parse().expect("a number of rounds"));
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bench = Bench {
        place: place.path(),
        engine: Engine::connect(Path::new(SOCKET)).unwrap(),
        runtime,
        images: images(),
    };
    let ids: Vec<&str> = bench.images.iter().map(ImageId::as_str).collect();
    sh(&format!("docker save --output {} {}", bench.all().display(), ids.join(" ")));
    let mut ratios: [Vec<f64>; 4] = Default::default();
    let mut space = (0, 0);
    for round in 0..rounds {
        let (ours, stored) = bench.save_and_restore();
        let (theirs, packed) = bench.by_hand();
        space = (stored, packed);
        ratios[0].push(theirs / ours);
        for (at, pack) in [(1, "cat"), (2, "gzip"), (3, "xz -1")] {
            let file = bench.archive(pack);
            let load = bench.docker_load(&file);
            let install = bench.install(&file);
            eprintln!("round {round}, {pack}: install {install:.2} s, docker load {load:.2} s");
            ratios[at].push(install / load);
        }
        eprintln!("round {round}: ours {ours:.2} s, by hand {theirs:.2} s");
    }
    bench.remove();
    sh(&format!("docker rmi --force {} >/dev/null 2>&1; true", base()));
    let spread = |values: &[f64], better: fn(f64, f64) -> f64| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        json!({ "median": sorted[sorted.len() / 2], "worst": sorted.iter().copied().reduce(better) })
    };
    let figures = json!({
        "rounds": rounds,
        "by_hand_to_ours": spread(&ratios[0], f64::min),
        "ours_to_by_hand_bytes": kib(space.0) / kib(space.1),
        "install_to_docker_load": {
            "plain": spread(&ratios[1], f64::max),
            "gzip": spread(&ratios[2], f64::max),
            "xz": spread(&ratios[3], f64::max),
        },
        "peak_memory_kib": peak_memory(),
    });
    println!("{figures}");
}

struct Bench<'a> {
    place: &'a Path,
    engine: Engine,
    runtime: tokio::runtime::Runtime,
    images: Vec<ImageId>,
}

impl Bench<'_> {
    /// Seconds for both ways, and the bytes kept in between.
    fn save_and_restore(&self) -> (f64, u64) {
        let root = self.place.join("store");
        let start = Instant::now();
        let store = Store::open(&root).unwrap();
        self.runtime.block_on(async {
            let saved = self.engine.save(&self.images);
            let store = store.clone();
            tokio::task::spawn_blocking(move || take(saved, &store)).await.unwrap();
        });
        let mut seconds = start.elapsed().as_secs_f64();
        self.remove();
        let start = Instant::now();
        self.load(&store, &self.images);
        seconds += start.elapsed().as_secs_f64();
        let size = store.size().unwrap();
        fs::remove_dir_all(root).unwrap();
        (seconds, size)
    }

    fn by_hand(&self) -> (f64, u64) {
        let file = |at: usize| self.place.join(format!("{at}.tar.gz"));
        let start = Instant::now();
        for (at, id) in self.images.iter().enumerate() {
            sh(&format!("docker save {id} | gzip > {}", file(at).display()));
        }
        let mut seconds = start.elapsed().as_secs_f64();
        self.remove();
        let start = Instant::now();
        for at in 0..self.images.len() {
            sh(&format!("gunzip < {} | docker load --quiet", file(at).display()));
        }
        seconds += start.elapsed().as_secs_f64();
        let size = (0..self.images.len()).map(|at| file(at).metadata().unwrap().len()).sum();
        (seconds, size)
    }

    /// One image in a file, packed by a program.
    fn archive(&self, pack: &str) -> std::path::PathBuf {
        let file = self.place.join(format!("one.{}", pack.replace(' ', "")));
        if !file.exists() {
            sh(&format!("docker save {} | {pack} > {}", self.images[0], file.display()));
        }
        // Both read it from memory.
        sh(&format!("cat {} > /dev/null", file.display()));
        file
    }

    fn docker_load(&self, file: &Path) -> f64 {
        self.remove();
        let start = Instant::now();
        sh(&format!("docker load --quiet --input {}", file.display()));
        let seconds = start.elapsed().as_secs_f64();
        self.restore_others();
        seconds
    }

    fn install(&self, file: &Path) -> f64 {
        self.remove();
        let root = self.place.join("installed");
        let start = Instant::now();
        let store = Store::open(&root).unwrap();
        self.take_and_load(file, &store);
        let seconds = start.elapsed().as_secs_f64();
        fs::remove_dir_all(root).unwrap();
        self.restore_others();
        seconds
    }

    fn load(&self, store: &Store, images: &[ImageId]) {
        let images: Vec<_> = images.iter().map(|id| (id.clone(), None)).collect();
        let store = store.clone();
        self.runtime.block_on(async {
            let (mut writer, reader) = pipe();
            let writing = tokio::task::spawn_blocking(move || {
                store.write_docker_archive(&images, &mut writer).unwrap();
                writer.finish().unwrap();
            });
            self.engine.load(reader).await.unwrap();
            writing.await.unwrap();
        });
    }

    /// As tpcm does: the engine gets what is read while it goes into the store, and is told what it is when that is done.
    fn take_and_load(&self, file: &Path, store: &Store) {
        let (file, store, image) = (file.to_owned(), store.clone(), (self.images[0].clone(), None));
        self.runtime.block_on(async {
            let (writer, reader) = pipe();
            let reading = tokio::task::spawn_blocking(move || {
                let mut ahead = Ahead::new(writer);
                let bounds = Bounds::unpacked(8 << 30);
                ingest_path(&file, &store, &bounds, &mut |_| {}, Some(&mut ahead)).unwrap();
                let (_, writer) = store.complete(ahead, &[image], &[]).unwrap();
                writer.finish().unwrap();
            });
            self.engine.load(reader).await.unwrap();
            reading.await.unwrap();
        });
    }

    fn remove(&self) {
        let ids: Vec<&str> = self.images.iter().map(ImageId::as_str).collect();
        sh(&format!("docker rmi --force {} >/dev/null 2>&1; true", ids.join(" ")));
    }

    /// All images are there again, untimed.
    fn restore_others(&self) {
        sh(&format!("docker load --quiet --input {} >/dev/null", self.all().display()));
    }

    fn all(&self) -> std::path::PathBuf {
        self.place.join("all.tar")
    }
}

fn base() -> String {
    format!("tpc-figures-{}", std::process::id())
}

fn images() -> Vec<ImageId> {
    let base = base();
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let noise = |bytes: u64, path: &Path| {
        let mut random = File::open("/dev/urandom").unwrap().take(bytes);
        std::io::copy(&mut random, &mut File::create(path).unwrap()).unwrap();
    };
    noise(BASE, &directory.path().join("base"));
    sh(&format!("tar --create --directory {} base | docker import - {base}", directory.path().display()));
    (0..IMAGES)
        .map(|at| {
            let own = directory.path().join("own");
            noise(OWN, &own);
            let container = format!("{base}-{at}");
            sh(&format!("docker create --name {container} {base} /none"));
            sh(&format!("docker cp {} {container}:/own", own.display()));
            let id = sh(&format!("docker commit {container}"));
            sh(&format!("docker rm {container}"));
            ImageId::parse(id.trim()).unwrap()
        })
        .collect()
}

fn take(archive: impl Read + Send, store: &Store) {
    ingest(archive, store, &Bounds::unpacked(8 << 30), &mut |_| {}).unwrap();
}

/// What a person would type.
fn sh(line: &str) -> String {
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", line])
        .stderr(Stdio::inherit())
        .output()
        .expect("bash is not installed");
    assert!(output.status.success(), "{line}: {}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn kib(bytes: u64) -> f64 {
    u32::try_from(bytes >> 10).map_or(f64::INFINITY, f64::from)
}

/// The most memory that this process ever had.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
