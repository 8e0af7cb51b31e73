//! Nodes and pods as a switch needs them, read out of Kubernetes' own words.
//!
//! Everything in Kubernetes' answers may be missing; what is missing has its empty value. An id is a container's id
//! without the `docker://` before it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// This switch's Node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Whether the kubelet says that it can run pods. What the server does not know is no yes.
    pub ready: bool,
    /// Why it is or is not, in Kubernetes' word: `KubeletReady`, `NodeStatusUnknown`, ….
    pub ready_reason: String,
    /// When the kubelet last said so, by the switch's own clock, in whole seconds. The Node keeps what it said before it
    /// was restarted.
    pub heartbeat: Option<Timestamp>,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// All annotations.
    pub annotations: BTreeMap<String, String>,
    /// What keeps pods away.
    pub taints: Vec<Taint>,
    /// Whether an administrator drains or keeps empty the node.
    pub unschedulable: bool,
    /// The mark of this very object: another one after a delete and a new join.
    pub uid: String,
}

/// A taint of a Node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value.
    #[serde(default)]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// A pod on this node, as the server tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodSeen {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The mark of this very pod.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// Why the whole pod is where it is: `Evicted`, ….
    pub reason: String,
    /// Whether the cluster counts it as ready: its containers are, and its readiness gates say yes.
    pub ready: bool,
    /// Whether its deletion was asked for.
    pub deleting: bool,
    /// Its containers, those that have not been made yet too.
    pub containers: Vec<ContainerSeen>,
}

/// A container of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerSeen {
    /// Its name in the pod.
    pub name: String,
    /// Its id on the engine, once it has one.
    pub id: Option<String>,
    /// The image that was asked for, or that it runs.
    pub image: String,
    /// The image's digest as the engine tells it; empty before it runs.
    pub image_id: String,
    /// Whether its readiness probe says yes.
    pub ready: bool,
    /// Whether it runs.
    pub running: bool,
    /// Why it waits, if it does.
    pub waiting: Option<WaitingSeen>,
    /// How its last run ended.
    pub last_exit: Option<Exit>,
    /// How often it was started anew.
    pub restarts: u32,
}

/// Why a container waits to be made or to be started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitingSeen {
    /// `ContainerCreating`, `ErrImagePull`, `ImagePullBackOff`, `CrashLoopBackOff`, ….
    pub reason: String,
    /// One line for people, of bounded length; may be empty.
    pub message: String,
}

impl WaitingSeen {
    /// Whether it cannot be started. One on its way up can, and so could one that ended again and again.
    pub fn cannot_start(&self) -> bool {
        !matches!(self.reason.as_str(), "" | "ContainerCreating" | "PodInitializing" | "CrashLoopBackOff")
    }

    /// Whether it only says that what went wrong is tried again later.
    pub fn is_back_off(&self) -> bool {
        self.reason.ends_with("BackOff")
    }
}

/// The end of a container's run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code.
    pub code: i32,
    /// `Completed`, `Error`, `OOMKilled`, ….
    pub reason: String,
    /// The id of the container that ended.
    pub id: Option<String>,
}

/// A kind of object that is listed and watched.
pub(crate) trait Object: Clone + PartialEq {
    type Raw: DeserializeOwned;
    /// The mark of this very object, and the object.
    fn read(raw: Self::Raw) -> (String, Self);
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    pub(crate) resource_version: String,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    deletion_timestamp: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: String,
    last_heartbeat_time: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct RawNode {
    metadata: Metadata,
    spec: RawNodeSpec,
    status: RawNodeStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawNodeSpec {
    taints: Option<Vec<Taint>>,
    unschedulable: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawNodeStatus {
    conditions: Option<Vec<Condition>>,
}

impl Object for Node {
    type Raw = RawNode;

    fn read(raw: RawNode) -> (String, Self) {
        let conditions = raw.status.conditions.unwrap_or_default();
        let ready = conditions.into_iter().find(|condition| condition.kind == "Ready").unwrap_or_default();
        let node = Self {
            ready: ready.status == "True",
            ready_reason: ready.reason,
            heartbeat: ready.last_heartbeat_time.and_then(|time| time.parse().ok()),
            labels: raw.metadata.labels.unwrap_or_default(),
            annotations: raw.metadata.annotations.unwrap_or_default(),
            taints: raw.spec.taints.unwrap_or_default(),
            unschedulable: raw.spec.unschedulable,
            uid: raw.metadata.uid,
        };
        (node.uid.clone(), node)
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct RawPod {
    metadata: Metadata,
    spec: RawPodSpec,
    pub(crate) status: RawPodStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawPodSpec {
    containers: Option<Vec<RawContainer>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawContainer {
    name: String,
    image: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RawPodStatus {
    phase: String,
    reason: String,
    pub(crate) conditions: Option<Vec<Condition>>,
    container_statuses: Option<Vec<RawStatus>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RawStatus {
    name: String,
    image: String,
    #[serde(rename = "imageID")]
    image_id: String,
    #[serde(rename = "containerID")]
    container_id: String,
    ready: bool,
    restart_count: u32,
    state: RawState,
    last_state: RawState,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawState {
    running: Option<serde::de::IgnoredAny>,
    waiting: Option<RawReason>,
    terminated: Option<RawExit>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawReason {
    reason: String,
    message: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RawExit {
    exit_code: i32,
    reason: String,
    #[serde(rename = "containerID")]
    container_id: String,
}

impl Object for PodSeen {
    type Raw = RawPod;

    fn read(raw: RawPod) -> (String, Self) {
        let mut statuses: BTreeMap<String, RawStatus> = raw
            .status
            .container_statuses
            .unwrap_or_default()
            .into_iter()
            .map(|status| (status.name.clone(), status))
            .collect();
        let containers = raw.spec.containers.unwrap_or_default().into_iter();
        let containers = containers.map(|wanted| match statuses.remove(&wanted.name) {
            Some(status) => container(status),
            None => ContainerSeen { name: wanted.name, image: wanted.image, ..ContainerSeen::default() },
        });
        let conditions = raw.status.conditions.unwrap_or_default();
        let ready =
            conditions.iter().any(|condition| condition.kind == "Ready" && condition.status == "True");
        let pod = Self {
            namespace: raw.metadata.namespace,
            name: raw.metadata.name,
            uid: raw.metadata.uid,
            labels: raw.metadata.labels.unwrap_or_default(),
            phase: raw.status.phase,
            reason: raw.status.reason,
            ready,
            deleting: raw.metadata.deletion_timestamp.is_some(),
            containers: containers.collect(),
        };
        (pod.uid.clone(), pod)
    }
}

fn container(status: RawStatus) -> ContainerSeen {
    let exit = status.state.terminated.or(status.last_state.terminated);
    ContainerSeen {
        name: status.name,
        id: bare_id(&status.container_id),
        image: status.image,
        image_id: status.image_id,
        ready: status.ready,
        running: status.state.running.is_some(),
        waiting: status.state.waiting.map(|waiting| WaitingSeen {
            reason: waiting.reason,
            message: crate::error::one_line(&waiting.message),
        }),
        last_exit: exit.map(|exit| Exit {
            code: exit.exit_code,
            reason: exit.reason,
            id: bare_id(&exit.container_id),
        }),
        restarts: status.restart_count,
    }
}

/// `docker://0123…` or `containerd://0123…`.
fn bare_id(text: &str) -> Option<String> {
    let id = text.split_once("://").map_or(text, |(_, id)| id);
    (!id.is_empty()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(value: serde_json::Value) -> PodSeen {
        PodSeen::read(serde_json::from_value(value).unwrap()).1
    }

    #[test]
    fn a_pod_that_crashes_tells_how() {
        let seen = pod(json!({
            "metadata": { "name": "snmp-x", "namespace": "sonic", "uid": "u1", "labels": { "raw_container_name": "snmp" } },
            "spec": { "containers": [{ "name": "snmp", "image": "r/docker-snmp:2" }, { "name": "later", "image": "i" }] },
            "status": { "phase": "Running", "containerStatuses": [{
                "name": "snmp", "image": "r/docker-snmp:2", "imageID": "docker-pullable://r/docker-snmp@sha256:00",
                "containerID": "docker://aa11", "ready": false, "restartCount": 3,
                "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off" } },
                "lastState": { "terminated": { "exitCode": 137, "reason": "OOMKilled", "containerID": "docker://aa11" } },
            }] },
        }));
        assert_eq!((seen.uid.as_str(), seen.phase.as_str(), seen.deleting), ("u1", "Running", false));
        let snmp = &seen.containers[0];
        assert_eq!((snmp.id.as_deref(), snmp.restarts, snmp.running), (Some("aa11"), 3, false));
        let waiting = snmp.waiting.clone().unwrap();
        assert_eq!((waiting.reason.as_str(), waiting.message.as_str()), ("CrashLoopBackOff", "back-off"));
        assert!(waiting.is_back_off() && !waiting.cannot_start(), "it did start, and crashed");
        let pull = WaitingSeen { reason: "ImagePullBackOff".to_owned(), ..waiting };
        assert!(pull.is_back_off() && pull.cannot_start());
        let exit = snmp.last_exit.clone().unwrap();
        assert_eq!((exit.code, exit.reason.as_str(), exit.id.as_deref()), (137, "OOMKilled", Some("aa11")));
        let later =
            ContainerSeen { name: "later".to_owned(), image: "i".to_owned(), ..ContainerSeen::default() };
        assert_eq!(seen.containers[1], later);
    }

    #[test]
    fn what_is_missing_is_empty() {
        assert_eq!(pod(json!({})), PodSeen::default());
        let nulls = json!({ "metadata": { "labels": null }, "spec": { "containers": null }, "status": { "conditions": null } });
        assert_eq!(pod(nulls), PodSeen::default());
        assert_eq!(Node::read(serde_json::from_value(json!({})).unwrap()).1, Node::default());
    }

    /// BI#26341: "connected" was said of a node that was not Ready.
    #[test]
    fn a_node_of_which_the_server_hears_nothing_is_not_ready() {
        let node = |status: &str| {
            let ready = json!({
                "type": "Ready", "status": status, "reason": "Why", "lastHeartbeatTime": "2026-01-01T12:00:00Z",
            });
            let raw = json!({
                "metadata": { "uid": "n", "labels": { "a": "b" } },
                "spec": { "taints": [{ "key": "snmp", "value": "disabled", "effect": "NoSchedule" }, { "key": "k", "effect": "NoExecute" }] },
                "status": { "conditions": [{ "type": "DiskPressure", "status": "True" }, ready] },
            });
            Node::read(serde_json::from_value(raw).unwrap()).1
        };
        assert!(node("True").ready && !node("False").ready && !node("Unknown").ready);
        assert_eq!((node("Unknown").ready_reason.as_str(), node("True").taints.len()), ("Why", 2));
        assert_eq!(node("Unknown").heartbeat, "2026-01-01T12:00:00Z".parse().ok());
    }
}
