//! Operations cut in the midst of their steps: at a moment that a seed chooses, all processes of an operation are killed.
//! Image and volume are so large that reading, loading and copying take a good part of it. What may be left is what may be
//! left of one that is killed between two steps.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::kills::{Installed, back_or_not, next_boot, nothing_is_lost, old_or_new, process};
use crate::site::{Image, ONE, Site, TWO, docker};

/// Moments that are tried of each operation.
fn seeds() -> u64 {
    if std::env::var_os("SWITCHYARD_LONG").is_some() { 60 } else { 4 }
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

pub(crate) fn large(site: &Site, image: &Image) {
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
async fn an_upgrade_cut_at_any_moment_leaves_the_old_or_the_new_version_with_its_data() {
    let site = installed("cutu").await;
    let time = whole(&site, "upgrade");
    drop(site);
    for (moment, at) in moments(time) {
        let site = installed("cutu").await;
        let before = site.everything();
        cut(&site, "upgrade", moment).await;
        late_commit(&site).await;
        old_or_new(&site, &before, &at).await;
        assert_eq!(fs::metadata(site.volume("large")).unwrap().len(), 24 << 20, "{at}");
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

/// With a writable layer that takes a while to save.
async fn written_to(what: &str) -> Site {
    let site = installed(what).await;
    let large = site.volume("large");
    docker(&["cp", large.to_str().unwrap(), &format!("{}:/large", site.name)]);
    site
}

#[tokio::test]
async fn a_save_cut_at_any_moment_leaves_what_was_saved_before_or_now() {
    let time = whole(&written_to("cuts").await, "save");
    for (moment, at) in moments(time) {
        let site = written_to("cuts").await;
        cut(&site, "save", moment).await;
        late_commit(&site).await;
        nothing_is_lost(&site, &at).await;
    }
}

/// If the engine had a commit before it but had not begun, its image comes when that was undone. The next command finds it.
async fn late_commit(site: &Site) {
    site.open().recover().await.unwrap();
    if site.everything().keys().any(|name| name.contains(":saved-")) {
        site.open().recover().await.unwrap();
    }
}

/// Seconds of Unix time.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// Waits for the first event of this kind of a site's container.
fn happened(site: &Site, event: &str, since: u64) -> bool {
    let (container, event) = (format!("container={}", site.name), format!("event={event}"));
    let (since, until) = (since.to_string(), (since + 60).to_string());
    let mut events = Command::new("docker")
        .args(["events", "--since", &since, "--until", &until, "--filter", &container, "--filter", &event])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(events.stdout.take().unwrap()).read_line(&mut line).unwrap();
    events.kill().unwrap();
    events.wait().unwrap();
    !line.is_empty()
}

#[tokio::test]
async fn a_commit_that_the_engine_is_still_busy_with_is_waited_for() {
    let site = written_to("busy").await;
    let since = now();
    let mut command = process(&site, "save");
    let mut child = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(happened(&site, "pause", since), "it was not committed");
    kill_process_group(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    site.open().recover().await.unwrap();
    let paused = docker(&["inspect", "--format", "{{.State.Paused}}", site.name.as_str()]);
    assert_eq!(paused, "false", "the engine is still busy with it");
    nothing_is_lost(&site, "while it is committed").await;
}

/// Whether the engine has all of a site's archive and is busy with it.
fn is_loading(site: &Site, root: &Path) -> bool {
    let name = format!("tpc/{}:next", site.name);
    fs::read_dir(root.join("tmp")).unwrap().flatten().any(|entry| {
        let manifest = fs::read_to_string(entry.path().join("manifest.json")).unwrap_or_default();
        manifest.contains(&name)
    })
}

/// The engine unpacks what it has got of a process that has died since.
#[tokio::test]
async fn a_load_that_the_engine_is_still_busy_with_is_waited_for() {
    let installed = Installed::learn(&site("loaw")).await;
    let root = PathBuf::from(docker(&["info", "--format", "{{.DockerRootDir}}"]));
    // It may be quicker than the kill, or not have got the last bytes.
    for _ in 0..20 {
        let site = site("load");
        let begun = (Instant::now(), now());
        let mut command = process(&site, "install");
        let mut child = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !is_loading(&site, &root) {
            assert!(begun.0.elapsed() < Duration::from_mins(2), "it was never loaded");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        kill_process_group(Pid::from_child(&child), Signal::KILL).unwrap();
        child.wait().unwrap();
        let is_loading = is_loading(&site, &root);
        installed.whole_or_nothing(&site, "while it is loaded").await;
        assert!(site.running().is_none(), "it was decided before it was killed");
        let (since, until) = (begun.1.to_string(), (now() + 1).to_string());
        let events = docker(&["events", "--since", &since, "--until", &until, "--filter", "event=load"]);
        if is_loading && events.contains(site.name.as_str()) {
            return;
        }
    }
    panic!("the engine was never busy with it");
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
