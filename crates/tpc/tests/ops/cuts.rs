//! Operations cut in the midst of their steps: at a moment that a seed chooses, all processes of an operation are killed.
//! Image and volume are so large that reading, loading and copying take a good part of it. What may be left is what may be
//! left of one that is killed between two steps.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::kills::{Installed, back_or_not, next_boot, process};
use crate::site::{Image, ONE, Site, TWO, docker};

/// Moments that are tried of each operation.
fn seeds() -> u64 {
    if std::env::var_os("SWITCHYARD_LONG").is_some() { 60 } else { 8 }
}

/// Bytes that cannot be compressed.
fn noise(path: &Path, megabytes: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut random = File::open("/dev/urandom").unwrap().take(megabytes << 20);
    std::io::copy(&mut random, &mut File::create(path).unwrap()).unwrap();
}

/// A site with large images in archives.
fn site(what: &str) -> Site {
    let site = Site::new(what);
    let defaults = site.root.join("tpc/.store/defaults.json");
    // Nothing is to be seen while it stays up.
    let text = fs::read_to_string(&defaults).unwrap().replace(r#""stays_up": 1"#, r#""stays_up": 0"#);
    fs::write(&defaults, text).unwrap();
    for image in [&ONE, &TWO] {
        large(&site, image);
    }
    site
}

fn large(site: &Site, image: &Image) {
    noise(&site.root.join(format!("files-{}", image.version)).join("noise"), 24);
    site.archive(image);
}

async fn installed(what: &str) -> Site {
    let site = site(what);
    site.install(&ONE).await.unwrap();
    noise(&site.volume("large"), 24);
    site
}

/// How long an operation takes that nobody cuts short.
fn whole(site: &Site, verb: &str) -> Duration {
    let begun = Instant::now();
    let output = process(site, verb).output().unwrap();
    assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
    begun.elapsed()
}

/// Moments within that time, each with its name. The operation varies in its speed, so the same seed need not cut it in
/// the same place.
fn moments(whole: Duration) -> impl Iterator<Item = (Duration, String)> {
    (0..seeds()).map(move |seed| {
        // One half of a well known generator: neighbours have nothing in common.
        let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let moment = whole.mul_f64(f64::from((mixed >> 32) as u32) / f64::from(u32::MAX));
        (moment, format!("seed {seed}, after {} ms", moment.as_millis()))
    })
}

/// Kills an operation and all that it has started at this moment, if it has not ended by then.
async fn cut(site: &Site, verb: &str, moment: Duration) {
    let mut command = process(site, verb);
    command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = tokio::process::Command::from(command).spawn().unwrap();
    let group = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    if tokio::time::timeout(moment, child.wait()).await.is_err() {
        kill_process_group(group, Signal::KILL).unwrap();
        child.wait().await.unwrap();
    }
}

#[tokio::test]
async fn an_installation_cut_at_any_moment_is_whole_or_was_never_there() {
    let installed = Installed::learn(&site("cutw")).await;
    let time = whole(&site("cuti"), "install");
    for (moment, at) in moments(time) {
        let site = site("cuti");
        cut(&site, "install", moment).await;
        installed.whole_or_nothing(&site, &at).await;
    }
}

#[tokio::test]
async fn a_rollback_cut_at_any_moment_leaves_one_of_both_versions_with_its_data() {
    let site = installed("cutr").await;
    site.upgrade(&TWO).await.unwrap();
    let time = whole(&site, "rollback");
    drop(site);
    for (moment, at) in moments(time) {
        let site = installed("cutr").await;
        site.upgrade(&TWO).await.unwrap();
        cut(&site, "rollback", moment).await;
        back_or_not(&site, &at).await;
        assert_eq!(fs::metadata(site.volume("large")).unwrap().len(), 24 << 20, "{at}");
    }
}

#[tokio::test]
async fn a_restore_cut_at_any_moment_is_done_by_the_next_boot() {
    let site = installed("cute").await;
    docker(&["exec", site.name.as_str(), "/bin/sh", "-c", "echo kept > /written"]);
    site.open().save(&[]).await.unwrap();
    site.on_another_image();
    for (moment, at) in moments(whole(&site, "restore")) {
        site.on_another_image();
        cut(&site, "restore", moment).await;
        next_boot(&site, &at).await;
    }
}
