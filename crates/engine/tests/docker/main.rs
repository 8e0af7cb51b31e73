//! The engine adapter against a real Docker daemon, on the machine's own socket (`cargo xtask test` starts one).

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod images;
mod pods;
mod registry;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use switchyard_core::{FeatureName, Instance};
use switchyard_engine::{Engine, EngineError, SOCKET};

/// An image of one static program, so that nothing is fetched. Made once a test, which costs milliseconds.
const IMAGE: &str = "switchyard-engine-test:latest";

/// A container of the test's own, removed at its end.
struct Guest {
    name: String,
}

impl Guest {
    fn create(name: &str, options: &[&str], script: &str) -> Self {
        make_image(IMAGE, "1.2.3");
        Self::made_from(IMAGE, name, options, script)
    }

    fn made_from(image: &str, name: &str, options: &[&str], script: &str) -> Self {
        let name = format!("engine-test-{name}-{}", std::process::id());
        let mut arguments = vec!["create", "--name", &name];
        arguments.extend(options);
        arguments.extend([image, "/bin/busybox", "sh", "-c", script]);
        docker(&arguments);
        Self { name }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        docker(&["rm", "--force", &self.name]);
    }
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("the docker client is not installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "docker {arguments:?}: {said}; is a Docker daemon running? cargo xtask test"
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A first process that has set no trap yet hears no signal. This one says when it has.
fn can_be_asked(name: &str) {
    let mut logs = Command::new("docker")
        .args(["logs", "--follow", name])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the docker client is not installed");
    let mut line = String::new();
    BufReader::new(logs.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "{name} ended by itself");
    logs.kill().unwrap();
    logs.wait().unwrap();
}

fn make_image(name: &str, version: &str) {
    let mut tar = Command::new("tar")
        .args(["--create", "--directory", "/", "bin/busybox", "--dereference"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("tar is not installed");
    let layer = tar.stdout.take().expect("tar has an output");
    let imported = Command::new("docker")
        .args(["import", "--change", &format!("ENV IMAGE_VERSION={version}"), "-", name])
        .stdin(layer)
        .stdout(Stdio::null())
        .status()
        .expect("the docker client is not installed");
    assert!(
        imported.success(),
        "no Docker daemon answers, or busybox-static is missing; see: cargo xtask test"
    );
    assert!(
        tar.wait().expect("tar ran").success(),
        "/bin/busybox is missing: apt-get install busybox-static"
    );
}

const SLEEPER: &str = "trap 'exit 0' TERM; while :; do /bin/busybox sleep 0.05; done";

fn engine() -> Engine {
    Engine::connect(Path::new(SOCKET)).expect("no Docker daemon listens; see: cargo xtask test")
}

#[tokio::test]
async fn a_container_is_started_described_stopped_and_told_apart_from_none() {
    let guest = Guest::create("life", &[], SLEEPER);
    let mut engine = engine();
    let before = engine.container(&guest.name).await.unwrap().unwrap();
    assert!(!before.running && before.started_at.is_none(), "{before:?}");

    engine.start(&guest.name).await.unwrap();
    engine.start(&guest.name).await.expect("one that runs already is as asked");
    let running = engine.container(&guest.name).await.unwrap().unwrap();
    assert!(running.running && running.pid.is_some() && running.started_at.is_some(), "{running:?}");
    assert_eq!(running.version.unwrap().as_str(), "1.2.3");

    engine.stop(&guest.name, Some(Duration::from_secs(5))).await.unwrap();
    engine.stop(&guest.name, None).await.expect("one that does not run is as asked");
    engine.kill(&guest.name).await.expect("one that does not run is as asked");
    assert!(!engine.container(&guest.name).await.unwrap().unwrap().running);

    assert!(engine.container("engine-test-nobody").await.unwrap().is_none());
    engine.stop("engine-test-nobody", None).await.expect("one that is gone is as asked");
    let error = engine.start("engine-test-nobody").await.unwrap_err();
    assert!(matches!(error, EngineError::NoSuchContainer(_)), "{error:?}");
}

#[tokio::test]
async fn one_that_is_being_removed_already_is_gone_afterwards_and_its_name_is_free() {
    for _ in 0..10 {
        let guest = Guest::create("gone", &[], SLEEPER);
        let mut engine = engine();
        let (one, other, third) =
            tokio::join!(engine.remove(&guest.name), engine.remove(&guest.name), engine.remove(&guest.name));
        one.and(other).and(third).expect("one that is being removed is as asked");
        assert!(engine.container(&guest.name).await.unwrap().is_none());
        std::mem::forget(guest);
    }
}

#[tokio::test]
async fn the_end_of_a_container_is_told_with_its_code() {
    let guest = Guest::create("end", &[], "exit 7");
    let engine = engine();
    engine.start(&guest.name).await.unwrap();
    let ended = engine.wait_end(&guest.name).await.unwrap();
    assert_eq!(ended.code, 7);
    assert!(!ended.in_order());

    let guest = Guest::create("killed", &[], SLEEPER);
    engine.start(&guest.name).await.unwrap();
    let (ended, killed) = tokio::join!(engine.wait_end(&guest.name), engine.kill(&guest.name));
    killed.unwrap();
    let ended = ended.unwrap();
    assert_eq!(ended.code, 137);
    assert!(ended.in_order(), "killed by us is in order");
}

#[tokio::test]
async fn one_that_ignores_its_stop_is_killed_after_the_grace_and_not_told_of_before() {
    const GRACE: Duration = Duration::from_secs(2);
    let script = "trap '' TERM; echo ready; while :; do /bin/busybox sleep 0.05; done";
    let guest = Guest::create("stubborn", &[], script);
    let mut engine = engine();
    engine.start(&guest.name).await.unwrap();
    can_be_asked(&guest.name);
    let mut events = std::pin::pin!(engine.events());
    let begin = Instant::now();
    let told = async {
        while events.next().await.unwrap().unwrap() != guest.name {}
        begin.elapsed()
    };
    let ended = async { (engine.wait_end(&guest.name).await.unwrap(), begin.elapsed()) };
    let (stopped, (ended, seen), told) = tokio::join!(engine.stop(&guest.name, Some(GRACE)), ended, told);
    stopped.unwrap();
    assert!(ended.code == 137 && ended.in_order(), "{ended:?}");
    assert!(seen >= GRACE && told >= GRACE, "its end was seen after {seen:?} and told after {told:?}");
    let after = engine.container(&guest.name).await.unwrap().unwrap();
    assert_eq!((after.running, after.exit_code, after.out_of_memory), (false, Some(137), false));
}

/// SONIC.md 12.2: the filter of `docker ps` finds parts of names.
#[tokio::test]
async fn a_pod_is_found_by_the_kubelets_labels_and_never_by_a_part_of_its_name() {
    let feature = format!("f{}", std::process::id());
    let instance = Instance::on_host(FeatureName::parse(&feature).unwrap());
    let container = format!("io.kubernetes.container.name={feature}");
    let sidecar = format!("io.kubernetes.container.name={feature}-sidecar");
    let kind = |kind| format!("io.kubernetes.docker.type={kind}");
    let pod = Guest::create("k8s", &["--label", &container, "--label", &kind("container")], SLEEPER);
    let pause = Guest::create("pause", &["--label", &container, "--label", &kind("podsandbox")], SLEEPER);
    let other = Guest::create("sidecar", &["--label", &sidecar, "--label", &kind("container")], SLEEPER);
    // A third-party container inherits whatever labels its image has.
    let (inherited, own) = (kind("container"), format!("{}=web", switchyard_core::tpc::LABEL));
    let labels = ["--label", &container, "--label", &inherited, "--label", &own];
    let guest = Guest::create("tpc", &labels, SLEEPER);
    let engine = engine();
    assert!(engine.pods(&instance, true).await.unwrap().is_empty(), "nothing runs yet");
    for guest in [&pod, &pause, &other, &guest] {
        engine.start(&guest.name).await.unwrap();
    }
    let found = engine.pods(&instance, true).await.unwrap();
    let id = docker(&["inspect", "--format", "{{.Id}}", &pod.name]);
    assert_eq!(found.iter().map(|pod| pod.id.to_string()).collect::<Vec<_>>(), [id]);
}

#[tokio::test]
async fn what_begins_and_ends_to_run_is_told_by_its_name() {
    let guest = Guest::create("told", &[], SLEEPER);
    let engine = engine();
    let mut events = std::pin::pin!(engine.events());
    let mut told = async || {
        let next = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                match events.next().await {
                    Some(Ok(name)) if name == guest.name => return,
                    Some(Ok(_)) => {}
                    other => panic!("{other:?}"),
                }
            }
        });
        next.await.expect("nothing was told");
    };
    engine.start(&guest.name).await.unwrap();
    told().await;
    engine.kill(&guest.name).await.unwrap();
    told().await;
}

/// BI#24730: an error of the engine was taken for the end of a container.
#[tokio::test]
async fn an_engine_that_is_away_is_not_taken_for_a_container_that_ended() {
    let error = Engine::connect(Path::new("/nonexistent/docker.sock")).unwrap_err();
    assert!(error.is_passing(), "{error:?}");
    assert!(error.to_string().contains("/nonexistent/docker.sock"), "{error}");

    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let engine = Engine::connect(&socket).unwrap();
    // The daemon dies while it is being waited on.
    std::thread::spawn(move || drop(listener.accept()));
    let error = engine.wait_end("snmp").await.unwrap_err();
    assert!(error.is_passing(), "{error:?}");
}
