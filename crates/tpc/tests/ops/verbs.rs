//! What each verb does when nobody kills it, and what it refuses.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use switchyard_core::FeatureName;
use switchyard_core::tpc::{Asked, TpcName};
use switchyard_tpc::fetch::{FetchError, Progress};
use switchyard_tpc::ops::{InstallRequest, NOT_AGAIN, OpsError, Options, Report, State, UpgradeRequest};

use crate::site::{Image, Nobody, ONE, Site, TWO, docker, running};

#[tokio::test]
async fn a_container_is_installed_shown_and_uninstalled_with_its_data_kept() {
    let site = Site::new("life");
    let report = site.install(&ONE).await.unwrap();
    assert!(report.done && report.steps.len() > 8, "{report:?}");
    assert_eq!(site.running().as_deref(), Some("1"));
    let details = site.open().show(&site.name).await.unwrap();
    assert_eq!((details.summary.state, details.summary.version.as_deref()), (State::Running, Some("1")));
    assert!(details.usage.volume > 0 && details.stored > 0, "{details:?}");
    assert!(site.volume("hook/pre.sh").exists(), "the image's hooks are in the volume");
    let host = "{{.HostConfig.NetworkMode}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.NanoCpus}}";
    let host = docker(&["inspect", "--format", host, site.name.as_str()]);
    assert!(host.starts_with("host ") && !host.ends_with(" 0"), "{host}");
    assert_eq!(site.open().list().await.unwrap().len(), 1);
    let again = site.install(&ONE).await.unwrap_err();
    assert!(matches!(again, OpsError::Installed(_)), "{again}");

    let report = site.open().uninstall(&site.name, false).await.unwrap();
    assert!(report.messages.iter().any(|message| message.contains("--purge")), "{report:?}");
    assert!(site.volume("data").exists() && site.open().list().await.unwrap().is_empty());
    site.install(&ONE).await.unwrap();
    site.open().uninstall(&site.name, true).await.unwrap();
    assert!(!site.volume("").exists());
}

/// How far it was told to be.
#[derive(Default)]
struct Told {
    total: u64,
    done: u64,
}

impl Progress for Told {
    fn total(&mut self, bytes: Option<u64>) {
        (self.total, self.done) = (bytes.unwrap_or_default(), 0);
    }

    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
    }

    fn message(&mut self, _: &str) {}
}

#[tokio::test]
async fn reading_an_archive_is_told_to_its_end_and_the_image_has_a_digest() {
    let site = Site::new("told");
    let (name, source) = (site.name.clone(), site.source(&ONE));
    let request = InstallRequest { name, source, options: Options::default() };
    let mut told = Told::default();
    site.open().install(request, &mut told).await.unwrap();
    let length = fs::metadata(site.archive(&ONE)).unwrap().len();
    assert_eq!((told.total, told.done), (length, length));
    let image = docker(&["inspect", "--format", "{{.Image}}", site.name.as_str()]);
    assert_eq!(site.open().show(&site.name).await.unwrap().digest, Some(image));
}

#[tokio::test]
async fn an_upgrade_takes_the_data_along_and_rollback_brings_version_and_data_back() {
    let site = Site::new("both");
    site.install(&ONE).await.unwrap();
    docker(&["exec", site.name.as_str(), "/bin/sh", "-c", "echo own > /written"]);
    let report = site.upgrade(&TWO).await.unwrap();
    assert!(report.down_milliseconds.is_some(), "{report:?}");
    assert!(report.messages.iter().any(|message| message.contains("saved")), "{report:?}");
    assert_eq!((site.running().as_deref(), site.data()), (Some("2"), vec!["1".to_owned(), "2".to_owned()]));
    assert_eq!(fs::read_to_string(site.volume("got")).unwrap().trim(), "data");
    let event = site.open().show(&site.name).await.unwrap().history.pop().unwrap();
    let said: Vec<_> = event.said.iter().map(|said| (said.hook.as_str(), said.output.as_str())).collect();
    assert_eq!(said, [("hook/pre.sh", "saved")], "the history has what the hooks said");
    let images = docker(&["images", "--format", "{{.Tag}}", &format!("tpc/{}", site.name)]);
    assert_eq!(images, "latest", "one name is left");

    let inode = |path: PathBuf| fs::metadata(path).unwrap().ino();
    let present = inode(site.volume("data"));
    site.open().rollback(&site.name, false).await.unwrap();
    let before = site.root.join("tpc/.store/tpcs").join(site.name.as_str()).join("before/data");
    assert_eq!(inode(before), present, "data is moved, not copied, while nobody serves");
    assert_eq!((site.running().as_deref(), site.data()), (Some("1"), vec!["1".to_owned()]));
    assert_eq!(
        docker(&["exec", site.name.as_str(), "/bin/cat", "/written"]),
        "own",
        "its writable layer too"
    );
    site.open().rollback(&site.name, true).await.unwrap();
    assert_eq!((site.running().as_deref(), site.data()), (Some("2"), vec!["1".to_owned(), "2".to_owned()]));
}

/// For versions that end by themselves and are to be seen doing so, however busy the machine is: nobody waits longer.
const STAYS_LONG: u32 = 30;

#[tokio::test]
async fn an_upgrade_that_fails_in_any_way_leaves_the_old_version_with_its_data() {
    let site = Site::new("fail");
    site.install(&ONE).await.unwrap();
    let before = site.everything();
    let spoils = "echo spoilt > /tpc/data; exit 3";
    let dies = Image { version: "dies", main: spoils, ..TWO };
    // Amid its hook, which is killed with it.
    let dies_later = Image { version: "later", main: "sleep 0.5; exit 5", post: "sleep 2", ..TWO };
    let hangs = Image { version: "hangs", post: "sleep 60", ..TWO };
    let refuses = Image { version: "refuses", post: "echo no; exit 4", ..TWO };
    for (image, hook_time, words) in [
        (dies, 30, "exit code 3"),
        (dies_later, 30, "exit code 5"),
        (hangs, 3, "did not end within 3 s"),
        (refuses, 30, "failed with exit code 4; it said: no"),
    ] {
        site.wait(STAYS_LONG, hook_time);
        let error = site.upgrade(&image).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!((site.running().as_deref(), site.data()), (Some("1"), vec!["1".to_owned()]), "{error}");
        let mut found = site.everything();
        found.retain(|name, _| !name.contains("/backup/"));
        assert_eq!(found, before, "{error}");
    }
    // Neither an archive nor a whole one.
    let broken = site.root.join("broken.tar");
    fs::write(&broken, "hello").unwrap();
    let error = {
        let (name, source) = (site.name.clone(), Site::file(&broken));
        let request = UpgradeRequest { name, source, options: Options::default(), skip_data: false };
        site.open().upgrade(request, &mut crate::site::Nobody).await.unwrap_err()
    };
    assert!(matches!(error, OpsError::Archive(_)), "{error}");
    assert_eq!(site.running().as_deref(), Some("1"));
    assert!(site.open().verify().await.unwrap().problems.is_empty());
}

#[tokio::test]
async fn a_broken_backup_is_found_before_the_old_version_stops() {
    let site = Site::new("data");
    let bad = Image { version: "bad", pre: "mkdir -p /tpc/backup; echo no > /tpc/backup/data.tar.gz", ..ONE };
    site.install(&bad).await.unwrap();
    let started = docker(&["inspect", "--format", "{{.State.StartedAt}}", site.name.as_str()]);
    let error = site.upgrade(&TWO).await.unwrap_err();
    assert!(matches!(error, OpsError::BrokenData { .. }), "{error}");
    let now = docker(&["inspect", "--format", "{{.State.StartedAt}}", site.name.as_str()]);
    assert_eq!(started, now, "the old version was not touched");
}

#[tokio::test]
async fn an_upgrade_whose_container_cannot_be_made_does_not_stop_the_old_version() {
    let site = Site::new("make");
    site.install(&ONE).await.unwrap();
    let before = site.everything();
    let started = || docker(&["inspect", "--format", "{{.State.StartedAt}}", site.name.as_str()]);
    let since = started();
    // The kernel's capabilities only the engine knows.
    upgrade_with(&site, "--cap-add NONSENSE").await.unwrap_err();
    assert_eq!(started(), since);
    let mut found = site.everything();
    found.retain(|name, _| !name.contains("/backup/"));
    assert_eq!(found, before, "something is left");
}

#[tokio::test]
async fn the_old_version_is_stopped_under_a_unit_that_gives_it_its_time() {
    let site = Site::new("time");
    let options = Options { args: Some("--stop-timeout 50".to_owned()), ..Options::default() };
    site.install_with(&ONE, options).await.unwrap();
    let stop_time = || {
        let unit = fs::read_to_string(site.root.join("units").join(site.name.unit())).unwrap();
        unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap().to_owned()
    };
    let of_old = stop_time();
    upgrade_with(&site, "--stop-timeout 5").await.unwrap();
    assert_eq!(stop_time(), of_old);
    upgrade_with(&site, "--stop-timeout 5").await.unwrap();
    assert_ne!(stop_time(), of_old, "both versions stop soon");
}

async fn upgrade_with(site: &Site, args: &str) -> Result<Report, OpsError> {
    let options = Options { args: Some(args.to_owned()), ..Options::default() };
    let (name, source) = (site.name.clone(), site.source(&TWO));
    let request = UpgradeRequest { name, source, options, skip_data: true };
    site.open().upgrade(request, &mut Nobody).await
}

#[tokio::test]
async fn what_does_not_run_is_not_installed_and_leaves_nothing() {
    let site = Site::new("dead");
    site.wait(STAYS_LONG, 30);
    let dead = Image { version: "dead", main: "echo I cannot; exit 7", ..ONE };
    let error = site.install(&dead).await.unwrap_err().to_string();
    assert!(error.contains("exit code 7") && error.contains("I cannot"), "{error}");
    let found = site.everything();
    let left = found.keys().find(|name| {
        !name.ends_with("/lock") && !name.ends_with("/version") && !name.ends_with("defaults.json")
    });
    assert_eq!(left, None);
}

#[tokio::test]
async fn names_of_others_are_refused() {
    let site = Site::new("name");
    fs::write(site.root.join("units").join(site.name.unit()), "").unwrap();
    let error = site.install(&ONE).await.unwrap_err();
    assert!(error.to_string().contains("another systemd unit"), "{error}");
    fs::remove_file(site.root.join("units").join(site.name.unit())).unwrap();

    site.archive(&ONE);
    docker(&["load", "--input", site.archive(&ONE).to_str().unwrap()]);
    docker(&["create", "--name", site.name.as_str(), &format!("{}:1", site.name)]);
    let error = site.install(&ONE).await.unwrap_err();
    assert!(error.to_string().contains("another container"), "{error}");
}

#[tokio::test]
async fn limits_are_admitted_given_to_the_engine_and_refused_with_the_sums() {
    let site = Site::new("limi");
    let options = Options {
        limits: Asked { memory: Some("64M".parse().unwrap()), ..Asked::default() },
        ..Options::default()
    };
    site.install_with(&ONE, options).await.unwrap();
    let memory = || docker(&["inspect", "--format", "{{.HostConfig.Memory}}", site.name.as_str()]);
    assert_eq!(memory(), (64 << 20).to_string());
    let asked = Asked { memory: Some("96M".parse().unwrap()), ..Asked::default() };
    site.open().resources(&site.name, asked).await.unwrap();
    assert_eq!(memory(), (96 << 20).to_string());
    let asked = Asked { cpu: Some("90%".parse().unwrap()), ..Asked::default() };
    let error = site.open().resources(&site.name, asked).await.unwrap_err();
    assert!(matches!(error, OpsError::NotAdmitted(_)), "{error}");
}

#[tokio::test]
async fn a_writable_layer_is_saved_replaces_the_one_before_and_travels_in_an_export() {
    let site = Site::new("trav");
    site.install(&ONE).await.unwrap();
    let layers = || fs::read_dir(site.root.join("tpc/.store/layers/sha256")).unwrap().count();
    for content in ["one", "two"] {
        docker(&["exec", site.name.as_str(), "/bin/sh", "-c", &format!("echo {content} > /written")]);
        let reports = site.open().save(&[]).await.unwrap();
        assert_eq!(reports.len(), 1);
        assert_eq!(layers(), 2, "the base, and one layer of its own");
    }
    let all = site.root.join("all.tar");
    site.open().export_all(&all).await.unwrap();
    site.open().uninstall(&site.name, true).await.unwrap();
    assert_eq!(layers(), 0);
    site.open().import(&all).await.unwrap();
    assert!(!site.queued(), "by hand a start is waited for");
    assert_eq!(site.running().as_deref(), Some("1"));
    assert_eq!(docker(&["exec", site.name.as_str(), "/bin/cat", "/written"]), "two");
    assert_eq!(site.data(), ["1"]);

    let one = site.root.join("one.tar");
    site.open().export(&site.name, &one).await.unwrap();
    assert!(docker(&["load", "--input", one.to_str().unwrap()]).contains("tpc/"));
}

#[tokio::test]
async fn an_import_takes_what_is_not_here_says_what_is_and_replaces_nothing() {
    let site = Site::new("impo");
    site.install(&ONE).await.unwrap();
    let shared = site.root.join("tpc/.shared");
    fs::write(shared.join("both"), "theirs").unwrap();
    fs::write(shared.join("theirs"), "theirs").unwrap();
    let all = site.root.join("all.tar");
    let reports = site.open_as(true, true).export_all(&all).await.unwrap();
    assert!(!reports[0].done && !all.exists(), "{reports:?}");
    site.open().export_all(&all).await.unwrap();

    let defaults = site.root.join("tpc/.store/defaults.json");
    fs::write(&defaults, fs::read_to_string(&defaults).unwrap().replace("5%", "6%")).unwrap();
    let error = site.open().import(&all).await.unwrap_err();
    assert!(matches!(error, OpsError::NothingImported(_)), "{error}");
    assert!(error.to_string().contains(site.name.as_str()), "{error}");

    site.open().uninstall(&site.name, false).await.unwrap();
    fs::write(site.volume("data"), "of an earlier one").unwrap();
    let error = site.open().import(&all).await.unwrap_err();
    assert!(matches!(error, OpsError::DataInTheWay(_)), "{error}");
    assert_eq!(fs::read_to_string(site.volume("data")).unwrap(), "of an earlier one");
    fs::remove_dir_all(site.volume("")).unwrap();

    fs::write(shared.join("both"), "ours").unwrap();
    fs::remove_file(shared.join("theirs")).unwrap();
    let before = site.everything();
    let planned = site.open_as(true, true).import(&all).await.unwrap();
    assert!(planned.len() == 1 && !planned[0].done && planned[0].steps.len() > 3, "{planned:?}");
    assert_eq!(site.everything(), before);
    let reports = site.open().import(&all).await.unwrap();
    let told = reports[0].messages.join("; ");
    assert!(told.contains("both") && told.contains("defaults.json"), "{told}");
    assert_eq!(site.running().as_deref(), Some("1"));
    let read = |name: &str| fs::read_to_string(shared.join(name)).unwrap();
    assert_eq!((read("both"), read("theirs")), ("ours".to_owned(), "theirs".to_owned()));
    assert!(fs::read_to_string(&defaults).unwrap().contains("6%"));
    assert!(site.open().verify().await.unwrap().problems.is_empty());

    // After a net-install there are no defaults.
    site.open().uninstall(&site.name, true).await.unwrap();
    fs::remove_file(&defaults).unwrap();
    site.open().import(&all).await.unwrap();
    assert!(fs::read_to_string(&defaults).unwrap().contains("5%"));
}

/// An archive of an image with so many layers.
fn deep(site: &Site, layers: usize) -> PathBuf {
    use sha2::{Digest as _, Sha256};
    let from = site.root.join("deep");
    fs::create_dir(&from).unwrap();
    tar::Archive::new(fs::File::open(site.archive(&ONE)).unwrap()).unpack(&from).unwrap();
    let json = |path: &str| -> Value { serde_json::from_slice(&fs::read(from.join(path)).unwrap()).unwrap() };
    let manifest = json("manifest.json");
    let mut config = json(manifest[0]["Config"].as_str().unwrap());
    let base = fs::read(from.join(manifest[0]["Layers"][0].as_str().unwrap())).unwrap();
    let path = site.root.join("deep.tar");
    let mut archive = tar::Builder::new(fs::File::create(&path).unwrap());
    let put = |archive: &mut tar::Builder<_>, name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, content).unwrap();
    };
    let sum = |content: &[u8]| {
        Sha256::digest(content).iter().fold(String::new(), |sum, byte| format!("{sum}{byte:02x}"))
    };
    let (mut names, mut sums) = (Vec::new(), Vec::new());
    for number in 0..layers {
        let layer = if number == 0 {
            base.clone()
        } else {
            let mut layer = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            layer.append_data(&mut header, format!("layer-{number}"), &[][..]).unwrap();
            layer.into_inner().unwrap()
        };
        let name = format!("{number}/layer.tar");
        put(&mut archive, &name, &layer);
        sums.push(format!("sha256:{}", sum(&layer)));
        names.push(name);
    }
    config["rootfs"]["diff_ids"] = sums.into();
    config.as_object_mut().unwrap().remove("history");
    let config = config.to_string();
    let name = format!("{}.json", sum(config.as_bytes()));
    put(&mut archive, &name, config.as_bytes());
    let manifest = serde_json::json!([{ "Config": name, "RepoTags": null, "Layers": names }]);
    put(&mut archive, "manifest.json", manifest.to_string().as_bytes());
    archive.into_inner().unwrap();
    path
}

#[tokio::test]
async fn one_that_can_have_no_more_layers_does_not_keep_the_others_from_being_saved() {
    let (site, other) = (Site::new("deep"), "zz-other");
    let install = |name: TpcName, source| {
        let request = InstallRequest { name, source, options: Options::default() };
        let mut tpcm = site.open();
        async move { tpcm.install(request, &mut crate::site::Nobody).await.map(drop) }
    };
    install(site.name.clone(), Site::file(&deep(&site, 125))).await.unwrap();
    let other = TpcName::parse(&format!("{}-{other}", site.name)).unwrap();
    install(other.clone(), site.source(&ONE)).await.unwrap();
    let error = site.open().save(&[]).await.unwrap_err();
    assert!(matches!(&error, OpsError::NoLayersLeft(name) if *name == site.name), "{error}");
    assert!(site.open().show(&other).await.unwrap().saved.is_some());
    assert_eq!(site.running().as_deref(), Some("1"));
    assert!(site.open().verify().await.unwrap().problems.is_empty());
    site.open().uninstall(&other, true).await.unwrap();
}

#[tokio::test]
async fn an_older_state_of_another_image_is_kept_until_prune() {
    let site = Site::new("olde");
    site.install(&ONE).await.unwrap();
    docker(&["exec", site.name.as_str(), "/bin/sh", "-c", "echo here > /written"]);
    site.open().save(&[]).await.unwrap();
    site.newest_is_elsewhere();
    docker(&["exec", site.name.as_str(), "/bin/sh", "-c", "echo unsaved > /written"]);
    assert_eq!(site.open().show(&site.name).await.unwrap().summary.state, State::NotRestored);
    site.open().restore().await.unwrap();
    assert_eq!(
        docker(&["exec", site.name.as_str(), "/bin/cat", "/written"]),
        "here",
        "the newest state wins"
    );
    let details = site.open().show(&site.name).await.unwrap();
    assert_eq!(details.older.len(), 1, "{details:?}");
    let pruned = site.open().prune().await.unwrap();
    assert!(pruned.bytes > 0 && pruned.let_go.len() == 1, "{pruned:?}");
    let verified = site.open().verify().await.unwrap();
    assert!(verified.problems.is_empty(), "{verified:?}");
    let store = site.root.join("tpc/.store");
    let files = ["layers/sha256", "images"].map(|part| fs::read_dir(store.join(part)).unwrap().count());
    assert_eq!(verified.blobs, files.iter().sum::<usize>() as u64);
}

#[tokio::test]
async fn a_download_that_was_cut_off_is_kept_until_prune() {
    let site = Site::new("prune");
    let downloads = site.root.join("tpc/.store/downloads");
    fs::create_dir_all(&downloads).unwrap();
    let note = r#"{"source":"http://host/i.tar?key=S","validator":"v","total":3000000,"safe":0}"#;
    fs::write(downloads.join("1.json"), note).unwrap();
    fs::write(downloads.join("1.part"), vec![7; 2 << 20]).unwrap();
    for (dry_run, left) in [(true, 2), (false, 0)] {
        let pruned = site.open_as(dry_run, true).prune().await.unwrap();
        assert_eq!((pruned.downloads, pruned.let_go.len()), (1, 1), "{pruned:?}");
        assert!(pruned.let_go[0].contains("http://host/i.tar, whose"), "{pruned:?}");
        assert_eq!(pruned.bytes >= 2 << 20, !dry_run, "{pruned:?}");
        assert_eq!(fs::read_dir(&downloads).unwrap().count(), left);
    }
}

/// The partition holds 16 MiB more than what is asked for, for SONiC itself.
#[tokio::test]
async fn room_is_counted_before_anything_is_written() {
    let site = Site::on_a_partition("room", 96);
    site.archive(&TWO);
    // Half of an image of 2 MB is no image.
    site.leave(17);
    let error = site.install(&ONE).await.unwrap_err();
    let layers = site.root.join("tpc/.store/layers/sha256");
    assert!(matches!(error, OpsError::Archive(_)), "{error}");
    assert_eq!(fs::read_dir(layers).unwrap().count(), 0, "nothing was kept of it");
    site.leave(60);
    site.install(&ONE).await.unwrap();
    docker(&["exec", site.name.as_str(), "/bin/dd", "if=/dev/urandom", "of=/written", "bs=1M", "count=8"]);
    site.leave(30);
    let before = site.everything();
    let error = site.open().save(&[]).await.unwrap_err();
    assert!(matches!(&error, OpsError::NoSpace { what, .. } if what.contains("writable layer")), "{error}");
    assert_eq!(site.everything(), before);
    site.leave(60);
    site.open().save(&[]).await.unwrap();

    // The version before has 8 MB on top, which are not kept if there is no room, and are no reason to fail.
    site.leave(28);
    let report = site.upgrade(&TWO).await.unwrap();
    assert!(report.messages.iter().any(|message| message.contains("is not kept")), "{report:?}");
    assert_eq!(site.running().as_deref(), Some("2"));
    // Data for which there is no room stays where it is.
    site.leave(60);
    let before = site.root.join("tpc/.store/tpcs").join(site.name.as_str()).join("before/large");
    fs::write(&before, vec![1; 8 << 20]).unwrap();
    site.leave(20);
    let error = site.open().rollback(&site.name, false).await.unwrap_err();
    assert!(matches!(error, OpsError::NoSpace { .. }), "{error}");
    assert_eq!(site.running().as_deref(), Some("2"));
    assert!(before.exists());
}

/// A web server that tells so much of an answer, and then sends these megabytes.
fn sends(head: String, megabytes: usize) -> String {
    use std::io::{Read as _, Write as _};
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/image.tar", server.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut connection, _) = server.accept().unwrap();
        let _ = connection.read(&mut [0; 4096]);
        // Whoever has no room for it hangs up.
        let _ = connection.write_all(&[head.as_bytes(), &vec![7; megabytes << 20]].concat());
    });
    url
}

#[tokio::test]
async fn a_download_leaves_the_room_that_sonic_and_its_own_image_need() {
    let site = Site::on_a_partition("roomd", 96);
    let length = |megabytes: usize| format!("Content-Length: {}\r\n", megabytes << 20);
    // 16 MB more than what is asked for are never touched; of an image of 10 MB, 30 are needed at least.
    for (free, length, needed) in [(40, length(10), true), (20, String::new(), false)] {
        site.leave(free);
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{length}\r\n");
        let options = switchyard_core::tpc::SshOptions::default();
        let source = switchyard_core::tpc::Source::parse(&sends(head, 10), &options).unwrap();
        let source = switchyard_tpc::ops::SourceRequest::new(source);
        let request = InstallRequest { name: site.name.clone(), source, options: Options::default() };
        let error = site.open().install(request, &mut Nobody).await.unwrap_err();
        let OpsError::Fetch(FetchError::NoSpace { needed: found, available }) = error else {
            panic!("{error}")
        };
        assert_eq!(found, needed.then_some(30 << 20));
        assert!(available < 24 << 20, "{available}");
        assert_eq!(fs::read_dir(site.root.join("tpc/.store/downloads")).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn room_is_counted_before_an_image_is_loaded_and_before_its_files_are_put_into_the_volume() {
    let site = Site::on_a_partition("roomr", 128);
    let files = site.root.join("files-1/large");
    fs::create_dir_all(&files).unwrap();
    fs::write(files.join("file"), vec![7; 8 << 20]).unwrap();
    let options = Options { args: Some("-v data:/large".to_owned()), ..Options::default() };
    site.install_with(&ONE, options).await.unwrap();
    site.on_another_image();
    // As if it had been left out of a backup.
    fs::remove_dir_all(site.volume("volumes/data")).unwrap();
    // The image takes 10 MB in the engine, and its files those twice: 16 MB more are never touched.
    for (free, words) in
        [(20, "loading the image into the engine"), (30, "the image's own files in the volume")]
    {
        site.leave(free);
        let before = site.everything();
        let error = site.open().restore().await.unwrap_err();
        assert!(matches!(&error, OpsError::NoSpace { what, .. } if what == words), "{error}");
        assert!(error.to_string().contains(&format!("has {}", free - 1)), "{error}");
        assert_eq!(site.everything(), before);
    }
    site.leave(60);
    site.open().restore().await.unwrap();
    assert_eq!(site.running().as_deref(), Some("1"));
    let large = fs::metadata(site.volume("volumes/data/file")).unwrap();
    assert_eq!(large.len(), 8 << 20, "what could not be filled before is filled now");
}

#[tokio::test]
async fn a_new_version_that_fills_the_disk_makes_way_for_the_old_one_with_its_data() {
    let site = Site::on_a_partition("fill", 96);
    site.install(&ONE).await.unwrap();
    // It stays up, but not before the disk is full.
    site.wait(5, 30);
    let before = site.everything();
    let main = "dd if=/dev/zero of=/tpc/full bs=1M; trap 'exit 0' TERM; while :; do sleep 0.05; done";
    let fills = Image { version: "fills", main, ..TWO };
    let error = site.upgrade(&fills).await.unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    assert_eq!((site.running().as_deref(), site.data()), (Some("1"), vec!["1".to_owned()]));
    let mut found = site.everything();
    found.retain(|name, _| !name.contains("/backup/"));
    assert_eq!(found, before);
}

#[tokio::test]
async fn a_dry_run_tells_the_plan_and_changes_nothing() {
    let site = Site::new("dry");
    site.install(&ONE).await.unwrap();
    let before = site.everything();
    let report = site.open_as(true, true).uninstall(&site.name, true).await.unwrap();
    assert!(!report.done && !report.steps.is_empty());
    assert_eq!(site.everything(), before);
    assert!(running(site.name.as_str()));
}

#[tokio::test]
async fn a_second_command_says_who_is_at_work() {
    let site = Site::new("lock");
    site.install(&ONE).await.unwrap();
    let mut first = site.open();
    first.recover().await.unwrap();
    let error = site.open_as(false, false).save(&[]).await.unwrap_err();
    assert!(error.to_string().contains("the test") && error.to_string().contains("process"), "{error}");
    let error = site.open_as(false, false).verify().await.unwrap_err();
    assert!(matches!(error, OpsError::Locked { .. }), "an operation under way is no damage: {error}");
    assert_eq!(site.open().list().await.unwrap().len(), 1, "looking on needs no lock");
}

#[tokio::test]
async fn a_link_in_the_place_of_a_mounted_directory_is_never_mounted() {
    let site = Site::new("plan");
    let options = Options { args: Some("-v data:/kept".to_owned()), ..Options::default() };
    site.install_with(&ONE, options).await.unwrap();
    let plant = "cd /tpc; busybox mv volumes/data away; busybox ln -s /etc volumes/data";
    docker(&[
        "exec",
        site.name.as_str(),
        "/bin/busybox",
        "sh",
        "-c",
        &plant.replace("busybox", "/bin/busybox"),
    ]);
    docker(&["stop", site.name.as_str()]);

    let mut tpcm = site.open();
    let ran = tokio::time::timeout(Duration::from_secs(30), tpcm.run(&site.name)).await;
    assert_eq!(ran.expect("it was started").unwrap(), NOT_AGAIN);
    assert!(!running(site.name.as_str()));
    let reason = site.open().show(&site.name).await.unwrap().summary.reason.unwrap();
    assert!(reason.contains("volumes/data"), "{reason}");
    let error = site.upgrade(&TWO).await.unwrap_err();
    assert!(matches!(error, OpsError::Planted(_)), "{error}");

    // A directory that the container has removed is made again, and it starts.
    fs::remove_file(site.volume("volumes/data")).unwrap();
    tokio::select! {
        ran = tpcm.run(&site.name) => panic!("{ran:?}"),
        () = up(&site) => {}
    }
    assert!(site.volume("volumes/data").is_dir());
}

/// Returns when its container runs.
async fn up(site: &Site) {
    for _ in 0..600 {
        if running(site.name.as_str()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it does not run");
}

#[tokio::test]
async fn an_operation_that_is_stuck_is_in_the_way_of_its_own_container_alone() {
    let site = Site::new("stuc");
    site.install(&ONE).await.unwrap();
    // A journal that nobody can read: neither forward nor back.
    let other = TpcName::parse("ops-stuck-other").unwrap();
    let journal = site.root.join("tpc/.store/journal").join(format!("{other}.json"));
    fs::write(&journal, "{").unwrap();

    let error = site.open().recover().await.unwrap_err();
    assert!(matches!(error, OpsError::Stuck(_)) && error.to_string().contains(other.as_str()), "{error}");
    site.upgrade(&TWO).await.unwrap();
    assert_eq!(site.running().as_deref(), Some("2"));
    site.open().save(&[]).await.unwrap();
    docker(&["rm", "--force", site.name.as_str()]);
    site.open().restore().await.unwrap();
    assert_eq!(site.running().as_deref(), Some("2"), "a new SONiC image has it");
    site.open().uninstall(&site.name, true).await.unwrap();
    let request = InstallRequest { name: other, source: site.source(&ONE), options: Options::default() };
    let error = site.open().install(request, &mut Nobody).await.unwrap_err();
    assert!(matches!(error, OpsError::Stuck(_)), "{error}");
    assert!(journal.exists(), "what a person is to look at stays");
}

/// A partition of its own, which goes before the directory that it is mounted on.
struct Partition<'a>(&'a Path);

impl<'a> Partition<'a> {
    fn new(at: &'a Path, size: &str) -> Self {
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", at.to_str().unwrap()]);
        Self(at)
    }
}

impl Drop for Partition<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

fn mount(arguments: &[&str]) {
    assert!(Command::new("mount").args(arguments).status().unwrap().success(), "mount {arguments:?}");
}

#[tokio::test]
async fn a_new_version_that_fills_the_disk_leaves_the_old_one_running() {
    let site = Site::new("full");
    let at = site.root.join("tpc");
    let defaults = fs::read(at.join(".store/defaults.json")).unwrap();
    let _partition = Partition::new(&at, "96M");
    fs::create_dir_all(at.join(".store")).unwrap();
    fs::write(at.join(".store/defaults.json"), defaults).unwrap();
    site.install(&ONE).await.unwrap();
    site.wait(STAYS_LONG, 30);
    let before = site.everything();
    let fills = "/bin/busybox dd if=/dev/zero of=/tpc/big bs=64k; exit 3";
    let fills = Image { version: "fills", main: fills, ..TWO };
    // Once with the same unit, and once with another one.
    for after in [None, Some(vec![FeatureName::parse("bgp").unwrap()])] {
        let request = UpgradeRequest {
            name: site.name.clone(),
            source: site.source(&fills),
            options: Options { after: after.clone(), ..Options::default() },
            skip_data: true,
        };
        let error = site.open().upgrade(request, &mut Nobody).await.unwrap_err();
        assert!(matches!(error, OpsError::NotUp { .. } | OpsError::File { .. }), "{after:?}: {error}");
        assert_eq!((site.running().as_deref(), site.data()), (Some("1"), vec!["1".to_owned()]), "{after:?}");
        assert_eq!(site.everything(), before, "{after:?}");
        let problems = site.open().verify().await.unwrap().problems;
        assert!(problems.is_empty(), "{problems:?}");
    }
    let unit = fs::read_to_string(site.root.join("units").join(site.name.unit())).unwrap();
    assert!(!unit.contains("bgp"), "{unit}");
}

#[tokio::test]
async fn labels_of_an_image_make_its_container_neither_a_pod_nor_ours() {
    let site = Site::new("labe");
    let pod = Image { version: "pod", label: "io.kubernetes.pod.uid=1", ..ONE };
    let error = site.install(&pod).await.unwrap_err();
    assert!(matches!(error, OpsError::PodLabel(_)), "{error}");

    // An exported container has been labelled as ours; what is run from it by hand is not.
    site.install(&ONE).await.unwrap();
    let file = site.root.join("one.tar");
    site.open().export(&site.name, &file).await.unwrap();
    site.open().uninstall(&site.name, true).await.unwrap();
    docker(&["load", "--input", file.to_str().unwrap()]);
    docker(&["create", "--name", site.name.as_str(), &format!("tpc/{}:latest", site.name), "/bin/sh"]);
    let error = site.install(&ONE).await.unwrap_err();
    assert!(error.to_string().contains("another container"), "{error}");
    docker(&["inspect", site.name.as_str()]);
}

#[tokio::test]
async fn what_was_uninstalled_under_another_sonic_image_goes_at_the_next_restore() {
    let site = Site::new("stra");
    site.install(&ONE).await.unwrap();
    // The record went while another SONiC image ran; engine and units of this one know nothing of it.
    fs::remove_dir_all(site.root.join("tpc/.store/tpcs").join(site.name.as_str())).unwrap();
    let foreign = site.root.join("units/ops-foreign.service");
    fs::write(&foreign, "[Unit]\n").unwrap();
    let hand = format!("{}-hand", site.name);
    let (label, image) = (format!("switchyard.tpc={}", site.name), format!("tpc/{}:latest", site.name));
    docker(&["tag", &image, "ops-stra-hand"]);
    docker(&["create", "--name", &hand, "--label", &label, "ops-stra-hand"]);
    site.open().restore().await.unwrap();
    let left = site.everything();
    let ours = left.keys().find(|name| {
        !name.contains("-hand")
            && ["container", "image", "units/ops-stra"].iter().any(|kind| name.starts_with(kind))
    });
    assert_eq!(ours, None, "{left:#?}");
    assert!(foreign.exists() && left.contains_key(&format!("container {hand}")), "others' are left alone");
    docker(&["rm", &hand]);
    docker(&["rmi", "ops-stra-hand"]);
    site.install(&ONE).await.unwrap();
    assert_eq!(site.running().as_deref(), Some("1"));
}

#[tokio::test]
async fn a_container_set_aside_by_an_operation_that_ended_elsewhere_does_not_stop_a_restore() {
    let site = Site::new("else");
    site.install(&ONE).await.unwrap();
    let label = format!("switchyard.tpc={}", site.name);
    let aside = format!("{}.BEFORE", site.name);
    docker(&["create", "--name", &aside, "--label", &label, &format!("tpc/{}:latest", site.name)]);
    site.newest_is_elsewhere();
    site.open_at_boot().restore().await.unwrap();
    assert!(site.queued(), "at boot the units wait for this");
    assert_eq!(site.running().as_deref(), Some("1"));
    let containers = site.everything().into_keys().filter(|name| name.starts_with("container ")).count();
    assert_eq!(containers, 1, "{:#?}", site.everything());
}
