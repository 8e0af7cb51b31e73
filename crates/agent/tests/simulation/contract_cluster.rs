//! What the simulation's cluster tells the agent of pods is held to a real API server, seen through the agent's own client:
//! the same random lives of pods go to both, and after each act both must tell of the same containers. The test is the
//! scheduler and the kubelet of the real one, which is a store and an API server of the lab.
//!
//! Run by `cargo xtask test`, among what needs a control plane.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};
use switchyard_agent::PodReport;
use switchyard_cluster::{
    CaCertificate, CgroupDriver, Client, Credential, KubeletFiles, LabelKey, LabelValue, NodeFiles, NodeName,
    OwnEvent, PodCondition, PodName, PodSeen, ServerAddress, Settings, Token, label_value,
};
use switchyard_core::{ContainerId, Side};
use switchyard_lab::cluster::{Cluster, Part};

use crate::birth::{self, Kind};
use crate::chance::Chance;
use crate::lies::Lie;
use crate::sim::{Channel, Place, Sim};
use crate::state::{Gate, Health, Image};
use crate::{engine, kubelet};

const NAME: &str = "contract";
const NODE: &str = "switch1";
const NAMESPACE: &str = "sonic";
const ACTS: usize = 60;
/// More than this are never there at once.
const PODS_MAX: usize = 3;
/// Longer than anything here takes, shorter than patience.
const SOON: Duration = Duration::from_mins(1);

/// A pod is known by its number, and each container that it has had by its own.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// A pod of this number comes and its container starts.
    Comes(usize),
    Ready(usize, bool),
    /// Its container ended and the kubelet started another.
    Restarts(usize),
    /// It is to go, and has its grace.
    IsToGo(usize),
    Goes(usize),
}

/// Which containers are told of, and whether as ready.
type Told = BTreeMap<String, bool>;

/// What there is to act on.
#[derive(Default)]
struct Pods {
    made: usize,
    /// Each with the id of the container that it has now, and whether it is to go.
    there: BTreeMap<usize, (ContainerId, bool)>,
}

impl Pods {
    /// Of the pod that this is about, if it is still there.
    fn container(&self, act: Act) -> Option<&ContainerId> {
        let (Act::Comes(pod) | Act::Ready(pod, _) | Act::Restarts(pod) | Act::IsToGo(pod) | Act::Goes(pod)) =
            act;
        self.there.get(&pod).map(|(id, _)| id)
    }
}

struct Fake {
    sim: Sim,
    containers: BTreeMap<usize, u64>,
}

impl Fake {
    fn new() -> Self {
        let sim = Sim::new(birth::state(1, Kind { lie: Lie::None, telling: false }));
        sim.with(|state| {
            (state.server, state.joined, state.kubelet, state.connected) = (true, true, true, true);
            // Somebody listens; it is the test.
            state.agent = Some(0);
        });
        sim.spawn(Place::Outside, kubelet::connection(sim.clone()));
        Self { sim, containers: BTreeMap::new() }
    }

    fn starts(&mut self, pod: usize) -> ContainerId {
        let image =
            Image { version: birth::version(1), health: Health::Good, gate: Gate::Ours, hangs: false };
        let number = self.sim.with(|state| {
            let number = state.new_container(0, Side::Kube, image, 0);
            state.report(0);
            number
        });
        self.containers.insert(pod, number);
        self.sim.with(|state| state.containers[&number].id.clone())
    }

    /// The id of the container that this began, if it began one.
    fn act(&mut self, act: Act) -> Option<ContainerId> {
        match act {
            Act::Comes(pod) => Some(self.starts(pod)),
            Act::Ready(pod, ready) => {
                let number = self.containers[&pod];
                self.sim.with(|state| {
                    state.containers.get_mut(&number).unwrap().ready = ready;
                    state.report(0);
                });
                None
            }
            Act::Restarts(pod) => {
                let number = self.containers[&pod];
                self.sim.with(|state| state.end_container(number, false));
                Some(self.starts(pod))
            }
            Act::IsToGo(pod) => {
                let number = self.containers[&pod];
                self.sim.with(|state| {
                    state.containers.get_mut(&number).unwrap().dying = true;
                    state.report(0);
                });
                None
            }
            Act::Goes(pod) => {
                engine::kill(&self.sim, self.containers.remove(&pod).unwrap());
                None
            }
        }
    }

    /// The server is away, or there again; what it tells the agent follows.
    fn server(&self, up: bool) {
        self.sim.with(|state| {
            state.server = up;
            state.touched.push(Channel::Cluster);
        });
        while self.sim.with(|state| state.connected) != up {
            assert!(self.sim.turn(self.sim.now() + SOON), "nobody says that the server is {up}");
        }
    }

    /// What was told last.
    fn told(&self) -> Told {
        let told = |report: &PodReport| (report.id.as_str().to_owned(), report.ready);
        self.sim.with(|state| state.all[0].reports.iter().map(told).collect())
    }
}

struct Real {
    cluster: Cluster,
    client: Client,
    events: Pin<Box<dyn Stream<Item = OwnEvent> + Send>>,
    container: String,
    seen: BTreeMap<String, PodSeen>,
    node: bool,
    /// Acts of the kubelet that the server could not be told of.
    late: Vec<(Act, Option<ContainerId>)>,
    away: bool,
    _root: tempfile::TempDir,
}

impl Real {
    fn new(container: &str) -> Self {
        // Of a run that was killed.
        Cluster::remove_bare(NAME).unwrap();
        let cluster = Cluster::bare(NAME).unwrap();
        let root = tempfile::tempdir().unwrap();
        let client = client(&cluster, root.path());
        let meta = |name: &str| json!({ "name": name, "namespace": NAMESPACE });
        for object in [
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } }),
            json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("default") }),
            json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE } }),
        ] {
            cluster.apply(&object.to_string()).unwrap();
        }
        let events = client.watch_own().boxed();
        Self {
            cluster,
            client,
            events,
            container: container.to_owned(),
            seen: BTreeMap::new(),
            node: false,
            late: Vec::new(),
            away: false,
            _root: root,
        }
    }

    /// With the container that the pod has now.
    fn act(&mut self, act: Act, container: Option<&ContainerId>) {
        if self.away {
            self.late.push((act, container.cloned()));
            return;
        }
        match (act, container) {
            (Act::Comes(pod), Some(id)) => {
                self.cluster.apply(&self.manifest(pod).to_string()).unwrap();
                self.status(pod, id, false);
            }
            (Act::Ready(pod, ready), Some(id)) => self.status(pod, id, ready),
            (Act::Restarts(pod), Some(id)) => self.status(pod, id, false),
            (Act::IsToGo(pod), _) => self.delete(pod, 300),
            (Act::Goes(pod), _) => self.delete(pod, 0),
            (_, None) => panic!("{act:?} of a pod that is not there"),
        }
    }

    fn manifest(&self, pod: usize) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name(pod), "namespace": NAMESPACE },
            "spec": {
                "nodeName": NODE,
                "automountServiceAccountToken": false,
                "containers": [{ "name": self.container, "image": "none" }],
            },
        })
    }

    /// As a kubelet writes it.
    fn status(&self, pod: usize, id: &ContainerId, ready: bool) {
        let status = json!({ "status": { "phase": "Running", "containerStatuses": [{
            "name": self.container, "image": "none", "imageID": "", "ready": ready, "restartCount": 0,
            "containerID": format!("docker://{id}"),
            "state": { "running": { "startedAt": "2026-01-01T12:00:00Z" } },
        }] } });
        let (pod, patch) = (name(pod), format!("--patch={status}"));
        let namespace = format!("--namespace={NAMESPACE}");
        let words = ["patch", "pod", &pod, &namespace, "--subresource=status", "--type=merge", &patch];
        self.cluster.kubectl_ok(&words).unwrap();
    }

    fn delete(&self, pod: usize, grace: u32) {
        let (pod, grace, namespace) =
            (name(pod), format!("--grace-period={grace}"), format!("--namespace={NAMESPACE}"));
        let force = if grace.ends_with("=0") { "--force" } else { "--force=false" };
        let words = ["delete", "pod", &pod, &namespace, &grace, force, "--wait=false"];
        self.cluster.kubectl_ok(&words).unwrap();
    }

    async fn server(&mut self, up: bool) {
        if up {
            self.cluster.start(Part::ApiServer).unwrap();
        } else {
            self.cluster.stop(Part::ApiServer).unwrap();
        }
        self.until(if up { "Back" } else { "Lost" }, |event, _| match event {
            OwnEvent::Back => up,
            OwnEvent::Lost(_) => !up,
            _ => false,
        })
        .await;
        self.away = !up;
        if up {
            for (act, container) in std::mem::take(&mut self.late) {
                self.act(act, container.as_ref());
            }
        }
    }

    /// Listens until this is so.
    async fn until(&mut self, what: &str, is_so: impl Fn(&OwnEvent, &Self) -> bool) {
        let listened = async {
            loop {
                let event = self.events.next().await.unwrap();
                match &event {
                    OwnEvent::NodeSeen(_) => self.node = true,
                    OwnEvent::NodeGone => self.node = false,
                    OwnEvent::PodSeen(pod) => drop(self.seen.insert(pod.uid.clone(), (**pod).clone())),
                    OwnEvent::PodGone { uid, .. } => drop(self.seen.remove(uid)),
                    OwnEvent::Lost(_) | OwnEvent::Back => {}
                }
                if is_so(&event, self) {
                    return;
                }
            }
        };
        let over = tokio::time::timeout(SOON, listened).await;
        assert!(over.is_ok(), "never told: {what}; but {:?} and {:?}", self.node, self.seen);
    }

    fn told(&self) -> Told {
        let all = self.seen.values().flat_map(|pod| &pod.containers);
        let ours = all.filter(|container| container.name == self.container);
        ours.filter_map(|one| Some((one.id.clone()?, one.ready))).collect()
    }

    async fn comes_to_tell(&mut self, expected: &Told, of: &str) {
        if self.told() != *expected {
            self.until(&format!("{of}: {expected:?}"), |_, real| real.told() == *expected).await;
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        // A test that fails tells of its own trouble, not of this one.
        let _ = Cluster::remove_bare(NAME);
    }
}

fn name(pod: usize) -> String {
    format!("pod{pod}")
}

/// The agent's own, with a certificate of its node.
fn client(cluster: &Cluster, root: &std::path::Path) -> Client {
    let (files, node) = (KubeletFiles::below(root), NodeName::from_host_name(NODE).unwrap());
    let invitation = cluster.invitation().unwrap();
    let server = ServerAddress::new(&invitation.address, invitation.port).unwrap();
    let ca = CaCertificate::from_pem(cluster.ca().unwrap().as_bytes()).unwrap();
    let settings = Settings { node: &node, address: None, cgroup_driver: CgroupDriver::Cgroupfs };
    let token = Credential::Token(Token::parse(&invitation.token).unwrap());
    files.write_for_join(&server, &ca, Some(&token), &settings).unwrap();
    let pki = root.join("var/lib/kubelet/pki");
    fs::create_dir_all(&pki).unwrap();
    let (certificate, key) = cluster.node_certificate(NODE).unwrap();
    fs::write(pki.join("kubelet-client-current.pem"), certificate + &key).unwrap();
    Client::new(server, node, NodeFiles::Kubelet(files))
}

/// Any that can be done to what there is.
fn any_act(chance: &mut Chance, pods: &Pods) -> Act {
    let mut all = Vec::new();
    if pods.there.len() < PODS_MAX {
        all.extend([Act::Comes(pods.made); 2]);
    }
    for (pod, (_, is_to_go)) in &pods.there {
        all.extend([Act::Ready(*pod, true), Act::Ready(*pod, false), Act::Restarts(*pod)]);
        // What has no grace left goes at once.
        all.push(if *is_to_go { Act::Goes(*pod) } else { Act::IsToGo(*pod) });
    }
    chance.pick(&all)
}

fn note(pods: &mut Pods, act: Act, began: Option<&ContainerId>) {
    match (act, began) {
        (Act::Comes(pod), Some(id)) => {
            pods.made += 1;
            pods.there.insert(pod, (id.clone(), false));
        }
        (Act::Restarts(pod), Some(id)) => pods.there.get_mut(&pod).unwrap().0 = id.clone(),
        (Act::IsToGo(pod), _) => pods.there.get_mut(&pod).unwrap().1 = true,
        (Act::Goes(pod), _) => drop(pods.there.remove(&pod)),
        _ => {}
    }
}

#[tokio::test]
#[ignore = "needs the lab's control plane, which takes minutes to build the first time: cargo xtask test"]
async fn pods_are_told_of_as_a_real_api_server_does_it() {
    let mut fake = Fake::new();
    let container = fake.sim.with(|state| state.all[0].name.container_name());
    let mut real = Real::new(&container);
    real.until("Back", |event, _| *event == OwnEvent::Back).await;
    assert!(real.node);
    let (mut chance, mut pods) = (Chance::new(1), Pods::default());
    let mut ids = BTreeSet::new();
    for number in 0..ACTS {
        match number {
            20 | 40 => {
                fake.server(false);
                real.server(false).await;
            }
            25 | 50 => {
                fake.server(true);
                real.server(true).await;
            }
            _ => {}
        }
        let act = any_act(&mut chance, &pods);
        let began = fake.act(act);
        note(&mut pods, act, began.as_ref());
        real.act(act, pods.container(act));
        ids.extend(began);
        if !real.away {
            real.comes_to_tell(&fake.told(), &format!("act {number}: {act:?}")).await;
            let there: BTreeSet<_> = pods.there.values().map(|(id, _)| id.to_string()).collect();
            assert_eq!(real.told().into_keys().collect::<BTreeSet<_>>(), there, "act {number}: {act:?}");
        }
    }
    assert!(ids.len() > ACTS / 6, "{} containers", ids.len());
    says_what_it_says_as_its_own_node(&mut real, &pods).await;
    comes_and_goes(&mut real).await;
}

/// What the agent writes is taken, is there once, and changes nothing of what is told of containers.
async fn says_what_it_says_as_its_own_node(real: &mut Real, pods: &Pods) {
    let before = real.told();
    let key = LabelKey::parse("snmp_enabled").unwrap();
    for value in [Some(label_value("true")), None] {
        let labels = BTreeMap::from([(key.clone(), value.clone())]);
        assert!(real.client.set_labels(&labels).await.unwrap());
        assert!(!real.client.set_labels(&labels).await.unwrap(), "it is as asked");
        let now = real.client.node().await.unwrap().unwrap().labels;
        assert_eq!(now.get("snmp_enabled").map(String::as_str), value.as_ref().map(LabelValue::as_str));
    }
    let Some(pod) = pods.there.keys().next().map(|pod| name(*pod)) else { return };
    let place = PodName { namespace: NAMESPACE, name: &pod };
    let turn = PodCondition { kind: "switchyard.sonic/Turn", status: false, reason: "Held", message: "why" };
    assert!(real.client.set_pod_condition(place, &turn).await.unwrap());
    assert!(!real.client.set_pod_condition(place, &turn).await.unwrap(), "it says so already");
    let nobody = PodName { name: "nobody", ..place };
    // Of a pod that is gone the node authorizer knows no node any more.
    let gone = real.client.set_pod_condition(nobody, &turn).await;
    assert!(matches!(gone, Ok(false)), "{gone:?}");
    assert_eq!(real.told(), before);
}

/// A Node that is deleted and made again is told of; so is, to whoever asks for it, a history that the server has forgotten.
async fn comes_and_goes(real: &mut Real) {
    real.cluster.kubectl_ok(&["delete", "node", NODE, "--wait=false"]).unwrap();
    real.until("no Node", |_, real| !real.node).await;
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE } });
    real.cluster.apply(&node.to_string()).unwrap();
    real.until("the Node", |_, real| real.node).await;
    let path = "/api/v1/pods?watch=1&resourceVersion=1&timeoutSeconds=1";
    let answer = real.cluster.kubectl_run(&["get", "--raw", path]).unwrap();
    let said = format!("{}{}", answer.text(), answer.stderr);
    assert!(said.contains("410") || said.contains("too old resource version"), "{said}");
}
