//! Every operation, killed before and after each of its steps: afterwards the old or the new version runs with its data,
//! and nothing is left that an operation which was never killed does not leave. The steps come from the plans.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use switchyard_core::tpc::{Asked, Facts, Operation, Step, plan};
use switchyard_tpc::ops::State;

use crate::site::{Everything, Image, ONE, Site, TWO, docker};

const VERB: &str = "SWITCHYARD_TPC_TEST_VERB";
const ROOT: &str = "SWITCHYARD_TPC_TEST_ROOT";
const URL: &str = "SWITCHYARD_TPC_TEST_URL";
const NAME: &str = "SWITCHYARD_TPC_TEST_NAME";

/// What is killed: this test again, in a process of its own, told by its environment what to do.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Ok(verb) = std::env::var(VERB) else { return };
    let site = Site::at(Path::new(&std::env::var(ROOT).unwrap()), &std::env::var(NAME).unwrap());
    let done = match verb.as_str() {
        "install" => site.install(&ONE).await.map(drop),
        "install-reference" => crate::registry::install(&site).await,
        "upgrade" => site.upgrade(&TWO).await.map(drop),
        "upgrade-skip-data" => site.upgrade_with(&TWO, true).await.map(drop),
        "rollback" => site.open().rollback(&site.name, false).await.map(drop),
        "rollback-keep-data" => site.open().rollback(&site.name, true).await.map(drop),
        "uninstall" => site.open().uninstall(&site.name, true).await.map(drop),
        "save" => site.open().save(&[]).await.map(drop),
        "restore" => site.open().restore().await.map(drop),
        "resources" => {
            let asked = Asked { memory: Some("64M".parse().unwrap()), ..Asked::default() };
            site.open().resources(&site.name, asked).await.map(drop)
        }
        "download" => site.install_from(&std::env::var(URL).unwrap()).await.map(drop),
        "import" => site.open().import(&site.root.join("all.tar")).await.map(drop),
        "recover" => site.open().recover().await.map(drop),
        other => panic!("{other}"),
    };
    done.unwrap();
}

/// An operation in a process of its own.
pub(crate) fn process(site: &Site, verb: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "kills::the_process_that_is_killed", "--nocapture"])
        .env(VERB, verb)
        .env(ROOT, &site.root)
        .env(NAME, site.name.as_str())
        .stdin(Stdio::null());
    command
}

/// Runs an operation that dies at the fail point. False if it did not get there.
pub(crate) fn killed(site: &Site, verb: &str, fail: &str) -> bool {
    let output = process(site, verb).env("SWITCHYARD_TPC_FAIL", fail).output().unwrap();
    match output.status.signal() {
        Some(9) => true,
        _ if output.status.success() => false,
        _ => panic!("{verb} at {fail}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// The facts of an operation without options on a switch where nothing is in its way.
const USUAL: Facts = Facts { hooks: true, purge: true, keep_data: false, older: false };

/// The end of each step, which is begun for the journal and done for the world; with `--long` its beginning too.
fn points(operation: Operation) -> Vec<String> {
    points_with(operation, USUAL)
}

fn points_with(operation: Operation, facts: Facts) -> Vec<String> {
    let steps = plan(operation, &facts);
    steps
        .iter()
        .flat_map(|step: &Step| ["before", "after"].map(|place| (step.word(), place)))
        .filter(|(_, place)| *place == "after" || std::env::var_os("SWITCHYARD_LONG").is_some())
        .map(|(step, place)| format!("{step}:{place}"))
        .collect()
}

async fn recovered(site: &Site) {
    site.open().recover().await.unwrap();
    assert!(site.open().recover().await.unwrap().is_empty(), "nothing is left to be done");
    let problems = site.open().verify().await.unwrap().problems;
    assert!(problems.is_empty(), "{problems:?}");
}

/// What an installation may leave: so many things, or what was there before anything was.
pub(crate) struct Installed {
    nothing: Everything,
    number: usize,
}

impl Installed {
    /// Learned from one that nobody cuts short.
    pub(crate) async fn learn(whole: &Site) -> Self {
        drop(whole.open());
        std::fs::write(whole.root.join("tpc/.store/lock"), "").unwrap();
        std::fs::create_dir_all(whole.root.join("tpc/.store/journal")).unwrap();
        let nothing = whole.everything();
        whole.install(&ONE).await.unwrap();
        Self { nothing, number: whole.everything().len() }
    }

    pub(crate) async fn whole_or_nothing(&self, site: &Site, at: &str) {
        site.open().recover().await.unwrap();
        let found = site.everything();
        if site.running().is_some() {
            recovered(site).await;
            assert_eq!(found.len(), self.number, "{at}: {found:#?}");
        } else {
            assert_eq!(found, self.nothing, "{at}");
        }
    }
}

#[tokio::test]
async fn an_installation_killed_anywhere_is_whole_or_was_never_there() {
    let installed = Installed::learn(&Site::new("whole")).await;
    for point in points(Operation::Install) {
        let site = Site::new("inst");
        site.archive(&ONE);
        assert!(killed(&site, "install", &point), "{point} was not reached");
        installed.whole_or_nothing(&site, &point).await;
    }
}

/// After an upgrade that was cut short: which version runs.
pub(crate) async fn old_or_new(site: &Site, before: &Everything, at: &str) -> String {
    recovered(site).await;
    let version = site.running().unwrap_or_else(|| panic!("{at}: neither version runs"));
    if version == "1" {
        assert_eq!(site.data(), ["1"], "{at}: the data is not the old version's");
        let mut found = site.everything();
        found.retain(|name, _| !name.contains("/backup/"));
        assert_eq!(found, *before, "{at}: something is left");
    } else {
        assert_eq!(site.data(), ["1", "2"], "{at}: data is lost");
        assert!(site.volume("got").exists(), "{at}: the hook did not run");
        let tpcm = site.open().show(&site.name).await.unwrap();
        assert!(tpcm.before.is_some(), "{at}: there is no way back");
        nothing_beside(site, at);
    }
    version
}

/// No copy of a volume, and no container or name of an image, that only an operation under way has.
fn nothing_beside(site: &Site, at: &str) {
    let found = site.everything();
    let passing = ["/aside/", "/back/", "/trash/", "/tmp/", ":next", ":saved", ".NEXT", ".BEFORE"];
    let left = found.keys().find(|name| passing.iter().any(|part| name.contains(part)));
    assert_eq!(left, None, "{at}: {found:#?}");
}

#[tokio::test]
async fn an_upgrade_killed_anywhere_leaves_the_old_or_the_new_version_with_its_data() {
    let mut outcomes = std::collections::BTreeSet::new();
    for point in points(Operation::Upgrade) {
        let site = Site::new("upgr");
        site.archive(&TWO);
        site.install(&ONE).await.unwrap();
        let before = site.everything();
        assert!(killed(&site, "upgrade", &point), "{point} was not reached");
        let version = old_or_new(&site, &before, &point).await;
        outcomes.insert(version);
    }
    assert_eq!(outcomes.len(), 2, "each of both must come out at some point");
}

#[tokio::test]
async fn a_rollback_killed_anywhere_leaves_one_of_both_versions_with_its_data() {
    for point in points(Operation::Rollback) {
        let site = Site::new("roll");
        site.install(&ONE).await.unwrap();
        site.upgrade(&TWO).await.unwrap();
        assert!(killed(&site, "rollback", &point), "{point} was not reached");
        back_or_not(&site, &point).await;
    }
}

/// After a rollback that was cut short.
pub(crate) async fn back_or_not(site: &Site, at: &str) {
    recovered(site).await;
    match site.running().as_deref() {
        Some("2") => assert_eq!(site.data(), ["1", "2"], "{at}"),
        Some("1") => assert_eq!(site.data(), ["1"], "{at}"),
        other => panic!("{at}: {other:?} runs"),
    }
    nothing_beside(site, at);
}

#[tokio::test]
async fn an_upgrade_that_skips_the_data_is_killed_anywhere_and_leaves_one_version_and_no_hook_has_run() {
    for point in points_with(Operation::Upgrade, Facts { hooks: false, ..USUAL }) {
        let site = Site::new("skip");
        site.archive(&TWO);
        site.install(&ONE).await.unwrap();
        let before = site.everything();
        assert!(killed(&site, "upgrade-skip-data", &point), "{point} was not reached");
        recovered(&site).await;
        if site.running().as_deref() == Some("1") {
            assert_eq!(site.data(), ["1"], "{point}: the data is not the old version's");
            assert_eq!(site.everything(), before, "{point}: something is left");
        } else {
            assert_eq!((site.running().as_deref(), site.data().len()), (Some("2"), 2), "{point}");
        }
        assert!(!site.volume("got").exists() && !site.volume("backup/data.tar.gz").exists(), "{point}");
    }
}

#[tokio::test]
async fn a_rollback_that_keeps_the_data_is_killed_anywhere_and_keeps_it() {
    for point in points_with(Operation::Rollback, Facts { keep_data: true, ..USUAL }) {
        let site = Site::new("keep");
        site.install(&ONE).await.unwrap();
        site.upgrade(&TWO).await.unwrap();
        assert!(killed(&site, "rollback-keep-data", &point), "{point} was not reached");
        recovered(&site).await;
        match site.running().as_deref() {
            Some("2") => assert_eq!(site.data(), ["1", "2"], "{point}"),
            Some("1") => assert_eq!(site.data(), ["1", "2", "1"], "{point}"),
            other => panic!("{point}: {other:?} runs"),
        }
    }
}

#[tokio::test]
async fn an_uninstallation_killed_anywhere_is_finished_or_was_not_begun() {
    for point in points(Operation::Uninstall) {
        let site = Site::new("unin");
        site.install(&ONE).await.unwrap();
        assert!(killed(&site, "uninstall", &point), "{point} was not reached");
        recovered(&site).await;
        let found = site.everything();
        if site.running().is_some() {
            assert!(point.starts_with("stop"), "{point}");
            continue;
        }
        let ours = |name: &&String| {
            let places = ["/layers/", "/images/", "/tpcs/"];
            let kinds = ["container", "image", "units"];
            places.iter().any(|place| name.contains(place)) || kinds.iter().any(|kind| name.starts_with(kind))
        };
        assert_eq!(found.keys().find(ours), None, "{point}");
    }
}

#[tokio::test]
async fn a_save_killed_anywhere_leaves_what_was_saved_before_or_now() {
    let site = Site::new("save");
    site.install(&ONE).await.unwrap();
    for point in points(Operation::Save) {
        docker(&["exec", site.name.as_str(), "/bin/sh", "-c", &format!("echo {point} > /written")]);
        assert!(killed(&site, "save", &point), "{point} was not reached");
        nothing_is_lost(&site, &point).await;
    }
}

/// After a save that was cut short.
pub(crate) async fn nothing_is_lost(site: &Site, at: &str) {
    recovered(site).await;
    assert_eq!(site.running().as_deref(), Some("1"), "{at}");
    let images = site.everything().into_keys().filter(|name| name.starts_with("image ")).count();
    assert_eq!(images, 1, "{at}: {:#?}", site.everything());
}

/// Names of images that are like this.
fn images(pattern: &str) -> Vec<String> {
    let listed = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", pattern]);
    listed.lines().map(ToOwned::to_owned).collect()
}

/// What the engine was asked for comes when all else of it was undone already.
#[tokio::test]
async fn what_the_engine_has_made_for_a_dead_process_goes_with_the_next_command() {
    let site = Site::new("late");
    site.archive(&TWO);
    drop(site.open());
    std::fs::write(site.root.join("tpc/.store/lock"), "").unwrap();
    std::fs::create_dir_all(site.root.join("tpc/.store/journal")).unwrap();
    let nothing = site.everything();
    let (next, kept) = (format!("{}.NEXT", site.name), format!("{}-kept", site.name));
    site.archive(&ONE);
    assert!(killed(&site, "install", "container:after"));
    docker(&["rename", &next, &kept]);
    recovered(&site).await;
    docker(&["rename", &kept, &next]);
    site.open().recover().await.unwrap();
    assert_eq!(site.everything(), nothing);

    site.install(&ONE).await.unwrap();
    let before = site.everything();
    assert!(killed(&site, "upgrade", "container:after"));
    docker(&["rename", &next, &kept]);
    recovered(&site).await;
    docker(&["rename", &kept, &next]);
    site.open().recover().await.unwrap();
    let mut found = site.everything();
    found.retain(|name, _| !name.contains("/backup/"));
    assert_eq!(found, before);

    for uninstalls in [false, true] {
        assert!(killed(&site, "save", "snapshot:after"));
        let saved = images(&format!("tpc/{}:saved-*", site.name));
        assert_eq!(saved.len(), 1, "{saved:?}");
        docker(&["tag", &saved[0], &kept]);
        recovered(&site).await;
        if uninstalls {
            site.open().uninstall(&site.name, true).await.unwrap();
        }
        docker(&["tag", &kept, &saved[0]]);
        docker(&["rmi", &kept]);
        site.open().recover().await.unwrap();
        assert_eq!(images(&format!("tpc/{}:saved-*", site.name)), Vec::<String>::new());
    }
    assert_eq!(site.everything(), nothing);
}

#[tokio::test]
async fn a_restore_killed_anywhere_is_done_by_the_next_boot() {
    let site = Site::new("rest");
    site.install(&ONE).await.unwrap();
    docker(&["exec", site.name.as_str(), "/bin/sh", "-c", "echo kept > /written"]);
    site.open().save(&[]).await.unwrap();
    for point in points(Operation::Restore) {
        site.on_another_image();
        assert!(killed(&site, "restore", &point), "{point} was not reached");
        next_boot(&site, &point).await;
    }
}

/// After a restore that was cut short: what the unit of the boot does.
pub(crate) async fn next_boot(site: &Site, at: &str) {
    site.open().recover().await.unwrap();
    site.open().restore().await.unwrap();
    recovered(site).await;
    assert_eq!(site.running().as_deref(), Some("1"), "{at}");
    assert_eq!(docker(&["exec", site.name.as_str(), "/bin/cat", "/written"]), "kept", "{at}");
    nothing_beside(site, at);
}

/// The SONiC image that was booted back into has a container of an earlier state.
#[tokio::test]
async fn a_restore_over_an_older_container_killed_anywhere_is_done_by_the_next_boot_and_keeps_the_older_state()
 {
    for point in points_with(Operation::Restore, Facts { older: true, ..USUAL }) {
        let site = Site::new("oldr");
        site.install(&ONE).await.unwrap();
        let write = |text: &str| format!("echo {text} > /written");
        docker(&["exec", site.name.as_str(), "/bin/sh", "-c", &write("newest")]);
        site.open().save(&[]).await.unwrap();
        docker(&["exec", site.name.as_str(), "/bin/sh", "-c", &write("older")]);
        site.newest_is_elsewhere();
        assert!(killed(&site, "restore", &point), "{point} was not reached");
        site.open().recover().await.unwrap();
        site.open().restore().await.unwrap();
        recovered(&site).await;
        assert_eq!(site.running().as_deref(), Some("1"), "{point}");
        assert_eq!(docker(&["exec", site.name.as_str(), "/bin/cat", "/written"]), "newest", "{point}");
        let older = site.open().show(&site.name).await.unwrap().older.len();
        assert_eq!(older, 1, "{point}: so many older states are kept");
        let containers = site.everything().into_keys().filter(|name| name.starts_with("container ")).count();
        assert_eq!(containers, 1, "{point}");
    }
}

#[tokio::test]
async fn an_import_killed_anywhere_leaves_what_is_listed_and_a_second_one_does_the_rest() {
    let site = Site::new("kimp");
    site.install(&ONE).await.unwrap();
    let all = site.root.join("all.tar");
    site.open().export_all(&all).await.unwrap();
    site.open().uninstall(&site.name, true).await.unwrap();
    let nothing = site.everything();
    let own = ["import_unpack", "import_volume", "import_record"].map(|step| format!("{step}:after"));
    for point in own.into_iter().chain(points(Operation::Restore)) {
        assert!(killed(&site, "import", &point), "{point} was not reached");
        site.open().recover().await.unwrap();
        if site.open().list().await.unwrap().is_empty() {
            assert_eq!(site.everything(), nothing, "{point}");
            site.open().import(&all).await.unwrap();
        } else {
            // What the unit of the boot does.
            site.open().restore().await.unwrap();
        }
        recovered(&site).await;
        assert_eq!((site.running().as_deref(), site.data()), (Some("1"), vec!["1".to_owned()]), "{point}");
        site.open().uninstall(&site.name, true).await.unwrap();
    }
}

#[tokio::test]
async fn limits_that_were_being_changed_are_the_old_or_the_new_ones_for_record_and_engine() {
    for point in points(Operation::Resources) {
        let site = Site::new("reso");
        site.install(&ONE).await.unwrap();
        assert!(killed(&site, "resources", &point), "{point} was not reached");
        recovered(&site).await;
        let memory = docker(&["inspect", "--format", "{{.HostConfig.Memory}}", site.name.as_str()]);
        let limits = site.open().show(&site.name).await.unwrap().summary.limits;
        match limits.memory {
            Some(limit) => assert_eq!(memory, limit.bytes().to_string(), "{point}"),
            // The engine takes no limit away again; far more than was asked for is none.
            None => assert!(memory == "0" || memory.parse::<u64>().unwrap() > 1 << 30, "{point}: {memory}"),
        }
    }
}

#[tokio::test]
async fn a_recovery_that_is_killed_itself_is_recovered() {
    let all = plan(Operation::Upgrade, &Facts { hooks: true, ..Facts::default() });
    let undone = all.iter().take_while(|step| **step != Step::Record);
    for step in undone {
        let site = Site::new("twice");
        site.archive(&TWO);
        site.install(&ONE).await.unwrap();
        assert!(killed(&site, "upgrade", "stays_up:after"));
        let point = format!("undo_{}:after", step.word());
        assert!(killed(&site, "recover", &point), "{point} was not reached");
        recovered(&site).await;
        assert_eq!((site.running().as_deref(), site.data()), (Some("1"), vec!["1".to_owned()]), "{point}");
    }
}

#[tokio::test]
async fn a_first_installation_that_can_be_neither_finished_nor_undone_is_told() {
    let site = Site::new("firs");
    site.archive(&ONE);
    let output = process(&site, "install")
        .env("SWITCHYARD_TPC_FAIL", "stays_up:error,undo_replace:error")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let rows = site.open().list().await.unwrap();
    let row = rows.first().expect("there is no row");
    let reason = row.reason.clone().unwrap_or_default();
    assert_eq!((&row.name, row.state, rows.len()), (&site.name, State::Inconsistent, 1), "{reason}");
    assert!(reason.contains("tpcm recover"), "{reason}");
    assert_eq!(site.open().show(&site.name).await.unwrap().summary.reason, row.reason);
    // What was in the way is gone: as it says.
    site.open().recover().await.unwrap();
    assert!(site.open().list().await.unwrap().is_empty() && site.running().is_none());
}

/// Sends a signal, and waits for the end, which is an error with the signal in it rather than a death of it.
fn interrupted(child: std::process::Child, signal: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.signal().is_none() && !output.status.success(), "{:?}: {said}", output.status);
    assert!(said.contains("Interrupted("), "{said}");
}

#[tokio::test]
async fn a_signal_in_the_midst_of_an_upgrade_puts_the_old_version_back_at_once() {
    let site = Site::new("sign");
    // It is the new version's first act, after the old one has stopped.
    let slow = Image {
        main: "echo 2 >> /tpc/data; : > /tpc/begun; trap 'exit 0' TERM; while :; do sleep 0.05; done",
        ..TWO
    };
    site.archive(&slow);
    site.install(&ONE).await.unwrap();
    let before = site.everything();
    let child = process(&site, "upgrade").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    for _ in 0..1200 {
        if site.volume("begun").exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // SIGHUP may be ignored from above, as by nohup.
    interrupted(child, "TERM");
    assert_eq!((site.running().as_deref(), site.data()), (Some("1"), vec!["1".to_owned()]));
    let mut found = site.everything();
    found.retain(|name, _| !name.contains("/backup/"));
    assert_eq!(found, before, "something is left");
    assert!(site.open().recover().await.unwrap().is_empty(), "nothing is left to be done");
}

#[tokio::test]
async fn a_signal_in_the_midst_of_a_save_leaves_what_was_saved_before() {
    let site = Site::new("sigs");
    site.install(&ONE).await.unwrap();
    // So that it takes a while.
    let fill = "dd if=/dev/urandom of=/big bs=1M count=100";
    docker(&["exec", site.name.as_str(), "/bin/sh", "-c", fill]);
    let before = site.everything();
    let child = process(&site, "save").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let journal = site.root.join("tpc/.store/journal").join(format!("{}.json", site.name));
    for _ in 0..1200 {
        if journal.exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    interrupted(child, "TERM");
    assert_eq!(site.everything(), before, "something is left");
    assert!(site.open().recover().await.unwrap().is_empty(), "nothing is left to be done");
}

#[tokio::test]
async fn a_signal_ends_a_download_at_once() {
    let site = Site::new("down");
    // A server that says nothing.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/image.tar", server.local_addr().unwrap());
    let mut command = process(&site, "download");
    let child = command.env(URL, url).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let _connection = server.accept().unwrap();
    let began = std::time::Instant::now();
    interrupted(child, "TERM");
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "it took {:?}", began.elapsed());
    assert!(site.open().list().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_upgrade_that_could_not_be_undone_is_whole_again_once_it_is() {
    let site = Site::new("mend");
    site.archive(&TWO);
    site.install(&ONE).await.unwrap();
    let fail = "stays_up:error,undo_replace:error";
    assert!(!process(&site, "upgrade").env("SWITCHYARD_TPC_FAIL", fail).output().unwrap().status.success());
    assert_eq!(site.open().show(&site.name).await.unwrap().summary.state, State::Inconsistent);
    recovered(&site).await;
    let summary = site.open().show(&site.name).await.unwrap().summary;
    assert_eq!(
        (summary.state, summary.version.as_deref()),
        (State::Running, Some("1")),
        "{:?}",
        summary.reason
    );
    assert_eq!(site.data(), ["1"]);
}

/// The engine's data is on another file system than the volumes, of which the last version's sync knows nothing.
#[tokio::test]
async fn the_volume_of_a_version_that_counts_is_on_the_disk() {
    let site = Site::on_a_disk("disk");
    site.archive(&TWO);
    site.install(&ONE).await.unwrap();
    assert!(killed(&site, "upgrade", "record:after"));
    let planned = site.open_as(true, true).recover().await.unwrap();
    assert!(planned.len() == 1 && planned[0].finished && !planned[0].done, "{planned:?}");
    let after = site.after_a_power_cut();
    let record =
        std::fs::read_to_string(after.join(format!(".store/tpcs/{}/record.json", site.name))).unwrap();
    assert!(record.contains(r#""version": "2""#), "{record}");
    let hook = std::fs::read_to_string(after.join(site.name.as_str()).join("hook/post.sh")).unwrap();
    assert_eq!(hook, TWO.post);
}
