//! The simulation's engine is held to the real one: the same random makings, starts, stops, kills and ends of a local
//! copy and of pods go to both, and after each the answers, what runs, and how what ended did must be the same. On the
//! machine's own Docker daemon (`cargo xtask test` starts one).

use std::cell::RefCell;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use switchyard_core::{FeatureName, Instance, Local, Side};
use switchyard_engine::{Engine, EngineError, SOCKET};

use crate::birth::{self, Kind};
use crate::chance::Chance;
use crate::lies::Lie;
use crate::sim::{Channel, Place, Sim};
use crate::state::{Gate, Health, Image};
use crate::{engine, host};

const ACTS: usize = 60;
/// More than this never run at once.
const PODS_MAX: usize = 2;
/// Longer than anything here takes, shorter than patience.
const SOON: Duration = Duration::from_secs(30);
const IMAGE: &str = "switchyard-agent-test:latest";
/// Says that it can be asked to end, and ends as it is asked: in order, badly, or by itself.
const SLEEPER: &str = "trap 'exit 0' TERM USR2; trap 'exit 3' USR1; echo ready
    while :; do /bin/busybox sleep 0.05; done";

/// Does not end when asked to.
const STUBBORN: &str = "trap '' TERM; echo ready; while :; do /bin/busybox sleep 0.05; done";
/// Docker's own.
const GRACE: Duration = Duration::from_secs(10);

/// One container: the local one, or that of the pod with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Local,
    Pod(usize),
}

#[derive(Clone, Copy, Debug)]
enum Act {
    /// One that ends when asked to, or not.
    MakeLocal(bool),
    RemoveLocal,
    StartLocal,
    PodStarts,
    Stop(Which),
    Kill(Which),
    /// By itself, in order or not.
    Ends(Which, bool),
}

/// What the agent rests on.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    done: bool,
    local: Local,
    pods: Vec<usize>,
    /// Whether the run that this act has ended, if it has ended one, was over in order.
    ended: Option<bool>,
}

struct Fake {
    sim: Sim,
    pods: Vec<u64>,
}

impl Fake {
    fn new(instance: &Instance) -> Self {
        let sim = Sim::new(birth::state(1, Kind { lie: Lie::None, telling: false }));
        sim.with(|state| {
            let one = &mut state.all[0];
            one.name = instance.clone();
            (one.local_asks, one.leaves) = (false, false);
        });
        Self { sim, pods: Vec::new() }
    }

    fn image(hangs: bool) -> Image {
        Image { version: birth::version(1), health: Health::Good, gate: Gate::Ours, hangs }
    }

    /// Lets the world go on until this is over.
    fn run<T: 'static>(&self, work: impl Future<Output = T> + 'static) -> T {
        let answer = Rc::new(RefCell::new(None));
        let slot = answer.clone();
        self.sim.spawn(Place::Outside, async move { *slot.borrow_mut() = Some(work.await) });
        assert!(self.sim.run_until(self.sim.now() + SOON), "the simulation broke a promise");
        answer.take().expect("it never ended")
    }

    fn number(&self, which: Which) -> Option<u64> {
        self.sim.with(|state| match which {
            Which::Local => state.local_run(0),
            Which::Pod(pod) => Some(self.pods[pod]).filter(|number| state.containers.contains_key(number)),
        })
    }

    fn stop(&self, number: Option<u64>, at_once: bool) -> bool {
        let sim = self.sim.clone();
        number.is_none_or(|number| {
            self.run(async move { engine::stop(&sim, 0, number, at_once).await.is_ok() })
        })
    }

    fn act(&mut self, act: Act) -> Seen {
        let number = which(act).and_then(|which| self.number(which));
        let sim = self.sim.clone();
        let done = match act {
            Act::MakeLocal(ends) => self.make(Some(Self::image(!ends))),
            Act::RemoveLocal => self.make(None),
            Act::StartLocal => self.run(async move { engine::start_local(&sim, 0).await.is_ok() }),
            Act::PodStarts => {
                let number = sim.with(|state| {
                    let number = state.new_container(0, Side::Kube, Self::image(false), 0);
                    state.touch(0);
                    number
                });
                self.pods.push(number);
                true
            }
            Act::Stop(_) => self.stop(number, false),
            Act::Kill(_) => self.stop(number, true),
            Act::Ends(_, in_order) => {
                let program = sim.with(|state| state.end_container(number.unwrap(), in_order));
                if let Some(program) = program {
                    sim.kill(program);
                }
                true
            }
        };
        let sim = self.sim.clone();
        let view = self.run(async move { host::view(&sim, 0).await.unwrap() });
        let number_of = |pod: &u64| self.sim.with(|state| Some(state.containers.get(pod)?.id.clone()));
        let listed = |(number, id): (usize, Option<_>)| view.pod_runs(&id?).then_some(number);
        let pods = self.pods.iter().map(number_of).enumerate().filter_map(listed).collect();
        let ended = number.and_then(|number| self.sim.with(|state| state.ends.get(&number).copied()));
        Seen { done, local: view.local, pods, ended }
    }

    fn make(&self, image: Option<Image>) -> bool {
        self.sim.with(|state| state.all[0].local_made = image);
        true
    }

    fn told(&self) -> u64 {
        self.sim.seen(Channel::Instance(0))
    }
}

type Names = Pin<Box<dyn Stream<Item = Result<String, EngineError>>>>;

struct Real {
    engine: Engine,
    instance: Instance,
    events: Names,
    pods: Vec<String>,
    local_starts: usize,
}

impl Real {
    async fn new(instance: &Instance) -> Self {
        make_image();
        let engine =
            Engine::connect(Path::new(SOCKET)).expect("no Docker daemon listens; see: cargo xtask test");
        let events = engine.events().boxed_local();
        engine.ping().await.unwrap();
        Self { engine, instance: instance.clone(), events, pods: Vec::new(), local_starts: 0 }
    }

    fn name(&self, which: Which) -> String {
        match which {
            Which::Local => self.instance.container_name(),
            Which::Pod(pod) => self.pods[pod].clone(),
        }
    }

    fn create(name: &str, options: &[&str], script: &str) {
        docker(
            &[&["create", "--name", name], options, &[IMAGE, "/bin/busybox", "sh", "-c", script]].concat(),
        );
    }

    async fn runs(&mut self, name: &str) -> bool {
        self.engine.container(name).await.unwrap().is_some_and(|container| container.running)
    }

    async fn act(&mut self, act: Act) -> Seen {
        let target = which(act).map(|which| self.name(which));
        let ran = match &target {
            Some(name) => self.runs(name).await,
            None => false,
        };
        if let Some(name) = target.as_ref().filter(|_| ran) {
            self.must_not_have_ended(name).await;
        }
        let done = match act {
            Act::MakeLocal(ends) => {
                let script = if ends { SLEEPER } else { STUBBORN };
                Self::create(&self.instance.container_name(), &[], script);
                self.local_starts = 0;
                true
            }
            Act::RemoveLocal => self.engine.remove(&self.instance.container_name()).await.is_ok(),
            Act::StartLocal => self.start_local().await,
            Act::PodStarts => self.pod_starts().await,
            Act::Stop(which) => self.engine.stop(&self.name(which), None).await.is_ok(),
            Act::Kill(which) => self.engine.kill(&self.name(which)).await.is_ok(),
            Act::Ends(which, in_order) => {
                let signal = if in_order { "USR2" } else { "USR1" };
                docker(&["kill", "--signal", signal, &self.name(which)]);
                true
            }
        };
        let mut ended = None;
        if let Some(name) = target.as_ref().filter(|_| ran) {
            let end = tokio::time::timeout(SOON, self.engine.wait_end(name)).await;
            ended = Some(end.expect("its end was not told").unwrap().in_order());
        }
        let local = match self.engine.container(&self.instance.container_name()).await.unwrap() {
            None => Local::Missing,
            Some(container) if container.running => Local::Running,
            Some(_) => Local::Stopped,
        };
        let listed = self.engine.pods(&self.instance, true).await.unwrap();
        let mut pods = Vec::new();
        for (number, name) in self.pods.iter().enumerate() {
            let id = self.engine.clone().container(name).await.unwrap().unwrap().id;
            pods.extend(listed.iter().any(|pod| pod.id == id).then_some(number));
        }
        Seen { done, local, pods, ended }
    }

    async fn start_local(&mut self) -> bool {
        let name = self.instance.container_name();
        let ran = self.runs(&name).await;
        let done = self.engine.start(&name).await.is_ok();
        if done && !ran {
            self.local_starts += 1;
            can_be_asked(&name, self.local_starts);
        }
        done
    }

    async fn pod_starts(&mut self) -> bool {
        let name = format!("{}-pod{}", self.instance.container_name(), self.pods.len());
        let label = format!("io.kubernetes.container.name={}", self.instance.container_name());
        let kind = "io.kubernetes.docker.type=container";
        Self::create(&name, &["--label", &label, "--label", kind], SLEEPER);
        self.engine.start(&name).await.unwrap();
        can_be_asked(&name, 1);
        self.pods.push(name);
        true
    }

    /// The engine answers something else meanwhile.
    async fn must_not_have_ended(&self, name: &str) {
        tokio::select! {
            biased;
            ended = self.engine.wait_end(name) => panic!("it runs and is told to have ended: {ended:?}"),
            answer = self.engine.ping() => answer.unwrap(),
        }
    }

    async fn must_tell(&mut self) {
        let name = self.instance.container_name();
        let told = async {
            // Other tests have containers of their own.
            while self.events.next().await.unwrap().unwrap() != name {}
        };
        tokio::time::timeout(SOON, told).await.expect("nothing was told");
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let own = [self.instance.container_name()];
        for name in own.iter().chain(&self.pods) {
            let _ = Command::new("docker").args(["rm", "--force", name]).stderr(Stdio::null()).output();
        }
    }
}

fn docker(arguments: &[&str]) {
    let output = Command::new("docker").args(arguments).output().expect("the docker client is not installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {arguments:?}: {said}; is a daemon running? cargo xtask test");
}

/// A first process that has set no trap yet hears no signal.
fn can_be_asked(name: &str, starts: usize) {
    let mut logs = Command::new("docker")
        .args(["logs", "--follow", name])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the docker client is not installed");
    let lines = BufReader::new(logs.stdout.take().unwrap()).lines();
    assert_eq!(lines.take(starts).map_while(Result::ok).count(), starts, "{name} ended by itself");
    logs.kill().unwrap();
    logs.wait().unwrap();
}

/// One static program, so that nothing is fetched.
fn make_image() {
    let mut tar = Command::new("tar")
        .args(["--create", "--directory", "/", "bin/busybox", "--dereference"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("tar is not installed");
    let imported = Command::new("docker")
        .args(["import", "-", IMAGE])
        .stdin(tar.stdout.take().unwrap())
        .stdout(Stdio::null())
        .status();
    assert!(tar.wait().unwrap().success(), "/bin/busybox is missing: apt-get install busybox-static");
    assert!(imported.unwrap().success(), "no Docker daemon answers; see: cargo xtask test");
}

/// Whom this may end.
fn which(act: Act) -> Option<Which> {
    match act {
        Act::Stop(which) | Act::Kill(which) | Act::Ends(which, _) => Some(which),
        Act::MakeLocal(_) | Act::RemoveLocal | Act::StartLocal | Act::PodStarts => None,
    }
}

/// Any that can be done to what there is, also where it is as asked already.
fn any_act(chance: &mut Chance, seen: &Seen, pods_made: usize) -> Act {
    let mut all = vec![Act::StartLocal, Act::Stop(Which::Local), Act::Kill(Which::Local)];
    match seen.local {
        Local::Missing => all.push(Act::MakeLocal(true)),
        Local::Stopped => all.push(Act::RemoveLocal),
        Local::Running => all.extend([true, false].map(|in_order| Act::Ends(Which::Local, in_order))),
    }
    if seen.pods.len() < PODS_MAX {
        all.extend([Act::PodStarts; 2]);
    }
    for pod in (0..pods_made).rev().take(PODS_MAX + 1) {
        all.extend([Act::Stop(Which::Pod(pod)), Act::Kill(Which::Pod(pod))]);
    }
    for pod in &seen.pods {
        all.extend([true, false].map(|in_order| Act::Ends(Which::Pod(*pod), in_order)));
    }
    chance.pick(&all)
}

async fn both(name: &str) -> (Fake, Real) {
    let feature = format!("{name}{}", std::process::id());
    let instance = Instance::on_host(FeatureName::parse(&feature).unwrap());
    (Fake::new(&instance), Real::new(&instance).await)
}

#[tokio::test]
async fn containers_start_end_and_are_told_of_as_docker_does_it() {
    let (mut fake, mut real) = both("contract").await;
    let mut chance = Chance::new(1);
    let mut before = Seen { done: true, local: Local::Missing, pods: Vec::new(), ended: None };
    let (mut ends, mut refused) = (0, 0);
    for number in 0..ACTS {
        let act = any_act(&mut chance, &before, fake.pods.len());
        let told = fake.told();
        let (ours, theirs) = (fake.act(act), real.act(act).await);
        assert_eq!(ours, theirs, "act {number}: {act:?}\nafter {before:?}");
        let runs = |seen: &Seen| (seen.local == Local::Running, seen.pods.clone());
        if runs(&ours) != runs(&before) {
            assert!(fake.told() > told, "act {number}: {act:?} was not told of by the simulation");
            real.must_tell().await;
        }
        ends += usize::from(ours.ended.is_some());
        refused += usize::from(!ours.done);
        before = ours;
    }
    assert!(ends > ACTS / 10 && refused > 0, "{ends} ends, {refused} refusals");
}

#[tokio::test]
async fn a_container_that_ignores_its_stop_is_killed_after_the_grace_as_docker_does_it() {
    let (mut fake, mut real) = both("stubborn").await;
    for act in [Act::MakeLocal(false), Act::StartLocal, Act::Kill(Which::Local), Act::StartLocal] {
        assert_eq!(fake.act(act), real.act(act).await, "{act:?}");
    }
    let (sim, number) = (fake.sim.clone(), fake.number(Which::Local).unwrap());
    let ours = fake.run(async move {
        let begin = sim.now();
        engine::stop(&sim, 0, number, false).await.unwrap();
        sim.now().saturating_sub(begin)
    });
    let ended = fake.sim.with(|state| state.ends.get(&number).copied());
    let begin = Instant::now();
    let theirs = real.act(Act::Stop(Which::Local)).await;
    assert_eq!((theirs.local, theirs.ended, theirs.done), (Local::Stopped, ended, true));
    assert!(ours >= GRACE && begin.elapsed() >= GRACE, "{ours:?} and {:?}", begin.elapsed());
}
