//! The switch as its own node: what it reads and writes of its Node and of the pods on it.
//!
//! It speaks with the kubelet's certificate, and takes the new one when the kubelet has renewed it. A write says only
//! what differs, and nothing if nothing does.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_rustls::rustls::ClientConfig;

use crate::address::ServerAddress;
use crate::certificate::ClientCertificate;
use crate::error::ClusterError;
use crate::forms::{LabelKey, LabelValue, NodeName};
use crate::https::{self, ANSWER_MAX, Answer, Ask};
use crate::node_files::NodeFiles;
use crate::objects::{Node, Object, PodSeen, RawPod};
use crate::tls;

/// How much a list of this node's pods may be. A pod takes some ten kilobytes, a kubelet runs at most 110.
pub(crate) const LIST_MAX: usize = 16 << 20;

/// This switch's identity in its cluster.
#[derive(Debug, Clone)]
pub struct Client {
    server: ServerAddress,
    node: NodeName,
    files: NodeFiles,
    config: Arc<Mutex<Option<Kept>>>,
}

/// Settings, for which files they were made, and until when they are good.
#[derive(Debug)]
struct Kept {
    stamps: [Option<Stamp>; 2],
    certificate: ClientCertificate,
    config: Arc<ClientConfig>,
}

/// A patch of JSON (RFC 7396), and Kubernetes' own, which knows that a condition is told by its type.
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
/// What the node authorizer says of an object that nothing ties to the node.
const NO_LONGER_OURS: &str = "no relationship found between node";

impl Client {
    /// Speaks to this server as this node. Nothing is read or sent before the first question.
    pub fn new(server: ServerAddress, node: NodeName, files: impl Into<NodeFiles>) -> Self {
        Self { server, node, files: files.into(), config: Arc::default() }
    }

    /// Whom it speaks to.
    pub fn server(&self) -> &ServerAddress {
        &self.server
    }

    /// As whom.
    pub fn node_name(&self) -> &NodeName {
        &self.node
    }

    /// Whether the API server answers now, and takes us for who we are.
    pub async fn answers(&self) -> Result<(), ClusterError> {
        // Its own view of itself says nothing of us: a server that is ready may have forgotten who we are.
        self.node().await.map(drop)
    }

    /// Our own Node. None if the cluster has none of our name.
    pub async fn node(&self) -> Result<Option<Node>, ClusterError> {
        let answer = self.call(Ask::get(self.node_path()), ANSWER_MAX).await?;
        Ok(self.found::<<Node as Object>::Raw>(&answer, "read its own Node")?.map(|raw| Node::read(raw).1))
    }

    /// Makes these labels so; a key without a value is to have none. True if anything had to change.
    ///
    /// It is one patch, and one key of Kubernetes' own domains ([`LabelKey::is_kubernetes_own`]) has all of it refused: whoever
    /// takes keys from people leaves those out and says so.
    pub async fn set_labels(
        &self,
        wanted: &BTreeMap<LabelKey, Option<LabelValue>>,
    ) -> Result<bool, ClusterError> {
        let wanted = wanted.iter().map(|(key, value)| (key, value.as_ref().map(LabelValue::as_str)));
        self.set_metadata("labels", "set its labels", wanted, |node| &node.labels).await
    }

    /// As [`Client::set_labels`], of annotations, whose values may be any text.
    pub async fn set_annotations(
        &self,
        wanted: &BTreeMap<LabelKey, Option<String>>,
    ) -> Result<bool, ClusterError> {
        let wanted = wanted.iter().map(|(key, value)| (key, value.as_deref()));
        self.set_metadata("annotations", "set its annotations", wanted, |node| &node.annotations).await
    }

    /// The pods that are on this node, or are meant to be.
    pub async fn pods(&self) -> Result<Vec<PodSeen>, ClusterError> {
        #[derive(Deserialize)]
        struct Pods {
            #[serde(default)]
            items: Option<Vec<RawPod>>,
        }
        let answer = self.call(Ask::get(self.pods_path()), LIST_MAX).await?;
        let pods: Pods = answer.object(&self.server, "list its pods", &self.shown())?;
        Ok(pods.items.unwrap_or_default().into_iter().map(|raw| PodSeen::read(raw).1).collect())
    }

    /// Makes a pod's condition say this. True if it said otherwise; false too if there is no such pod any more.
    pub async fn set_pod_condition(
        &self,
        pod: PodName<'_>,
        condition: &PodCondition<'_>,
    ) -> Result<bool, ClusterError> {
        let place = format!("/api/v1/namespaces/{}/pods/{}", segment(pod.namespace), segment(pod.name));
        let answer = self.call(Ask::get(place.as_str()), ANSWER_MAX).await?;
        let raw = match self.found::<RawPod>(&answer, "read a pod of its own") {
            // Kubernetes' node authorizer lets a node see what is bound to it, and of what is gone that cannot be said.
            Err(ClusterError::Forbidden { message, .. }) if message.contains(NO_LONGER_OURS) => None,
            other => other?,
        };
        let Some(raw) = raw else { return Ok(false) };
        let now = raw.status.conditions.unwrap_or_default();
        if now.iter().any(|now| {
            now.kind == condition.kind
                && now.status == condition.status_word()
                && now.reason == condition.reason
                && now.message == condition.message
        }) {
            return Ok(false);
        }
        let patch = json!({ "status": { "conditions": [{
            "type": condition.kind,
            "status": condition.status_word(),
            "reason": condition.reason,
            "message": condition.message,
            "lastTransitionTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }] } });
        let answer = self.patch(format!("{place}/status"), STRATEGIC, &patch).await?;
        Ok(self.found::<serde::de::IgnoredAny>(&answer, "set a condition of a pod of its own")?.is_some())
    }

    /// Deletes this very pod at once, without waiting for a kubelet to end it: for one whose kubelet will not come back to
    /// do so. None being there is as good, and so is another of its name.
    pub async fn delete_pod(&self, pod: PodName<'_>, uid: &str) -> Result<(), ClusterError> {
        let place = format!("/api/v1/namespaces/{}/pods/{}", segment(pod.namespace), segment(pod.name));
        let options = json!({
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "gracePeriodSeconds": 0,
            "preconditions": { "uid": uid },
        });
        let ask = Ask::send(Method::DELETE, place, "application/json", options.to_string().into_bytes());
        let answer = self.call(ask, ANSWER_MAX).await?;
        match self.found::<serde::de::IgnoredAny>(&answer, "delete a pod of its own") {
            Err(ClusterError::Refused { status: 409, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Deletes our own Node; none being there is as good. What is forbidden names the command to run instead.
    pub async fn delete_node(&self) -> Result<(), ClusterError> {
        let ask = Ask { method: Method::DELETE, ..Ask::get(self.node_path()) };
        let answer = self.call(ask, ANSWER_MAX).await?;
        match self.found::<serde::de::IgnoredAny>(&answer, "delete its own Node") {
            Err(ClusterError::Forbidden { server, doing, message, .. }) => Err(ClusterError::Forbidden {
                server,
                doing,
                message,
                remedy: format!("kubectl delete node {}", self.node),
            }),
            other => other.map(drop),
        }
    }

    async fn set_metadata<'a>(
        &self,
        field: &str,
        doing: &str,
        wanted: impl Iterator<Item = (&'a LabelKey, Option<&'a str>)>,
        now: impl Fn(&Node) -> &BTreeMap<String, String>,
    ) -> Result<bool, ClusterError> {
        let node = self.node().await?.ok_or_else(|| self.no_node(doing))?;
        let different = difference(wanted, now(&node));
        if different.is_empty() {
            return Ok(false);
        }
        let patch = json!({ "metadata": { field: different } });
        let answer = self.patch(self.node_path(), MERGE, &patch).await?;
        answer.check(&self.server, doing, &self.shown())?;
        Ok(true)
    }

    fn no_node(&self, doing: &str) -> ClusterError {
        ClusterError::Refused {
            server: self.server.clone(),
            doing: doing.to_owned(),
            status: 404,
            message: format!(
                "there is no node {}; its kubelet makes it: systemctl restart {}",
                self.node,
                self.files.unit()
            ),
        }
    }

    async fn patch(&self, path: String, kind: &'static str, wanted: &Value) -> Result<Answer, ClusterError> {
        self.call(Ask::send(Method::PATCH, path, kind, wanted.to_string().into_bytes()), ANSWER_MAX).await
    }

    async fn call(&self, ask: Ask, max: usize) -> Result<Answer, ClusterError> {
        https::call(&self.server, self.config()?, ask, max).await
    }

    /// The object; none if there is none of that name.
    fn found<T: serde::de::DeserializeOwned>(
        &self,
        answer: &Answer,
        doing: &str,
    ) -> Result<Option<T>, ClusterError> {
        match answer.object(&self.server, doing, &self.shown()) {
            Ok(object) => Ok(Some(object)),
            Err(ClusterError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn shown(&self) -> String {
        format!("the certificate of node {}", self.node)
    }

    fn node_path(&self) -> String {
        format!("/api/v1/nodes/{}", self.node)
    }

    /// Clusters that hold nodes to their own objects let them list only with such a selector.
    pub(crate) fn pods_path(&self) -> String {
        format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", self.node)
    }

    pub(crate) fn nodes_path(&self) -> String {
        format!("/api/v1/nodes?fieldSelector=metadata.name%3D{}", self.node)
    }

    /// The settings for the certificate and the CA that are there now.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, ClusterError> {
        let stamps = [stamp(&self.files.client_path()), stamp(&self.files.ca_path())];
        let mut kept = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_ref().filter(|kept| kept.stamps == stamps) {
            // A file gets old without being touched.
            kept.certificate.check(SystemTime::now())?;
            return Ok(kept.config.clone());
        }
        let none = || ClusterError::NoCredentials { node: self.node.clone() };
        let ca = self.files.ca()?.ok_or_else(none)?;
        let (certificate, identity) = self.files.identity(&self.node)?;
        let config = tls::trusting(&self.server, &ca, Some(identity))?;
        *kept = Some(Kept { stamps, certificate, config: config.clone() });
        Ok(config)
    }
}

/// What tells one version of a file from the next; links are followed.
type Stamp = (u64, i64, i64, u64);

fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    Some((file.ino(), file.mtime(), file.mtime_nsec(), file.size()))
}

/// Which pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodName<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// What a pod's condition is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodCondition<'a> {
    /// Its type, as the pod's readiness gates name it.
    pub kind: &'a str,
    /// Whether it holds.
    pub status: bool,
    /// Why, in one CamelCase word.
    pub reason: &'a str,
    /// Why, for people.
    pub message: &'a str,
}

impl PodCondition<'_> {
    fn status_word(&self) -> &'static str {
        if self.status { "True" } else { "False" }
    }
}

/// A name as a part of a path: whatever could leave its place there is encoded.
fn segment(name: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        b'.' if name != "." && name != ".." => ".".to_owned(),
        other => format!("%{other:02X}"),
    };
    name.bytes().map(encode).collect()
}

/// What has to be said so that it becomes as wanted: null removes.
fn difference<'a>(
    wanted: impl Iterator<Item = (&'a LabelKey, Option<&'a str>)>,
    now: &BTreeMap<String, String>,
) -> Map<String, Value> {
    wanted
        .filter(|(key, value)| now.get(key.as_str()).map(String::as_str) != *value)
        .map(|(key, value)| (key.as_str().to_owned(), value.map_or(Value::Null, Value::from)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_said() {
        let key = |text: &str| LabelKey::parse(text).unwrap();
        let (same, other, gone, absent) = (key("same"), key("other"), key("gone"), key("absent"));
        let wanted = [(&same, Some("1")), (&other, Some("2")), (&gone, None), (&absent, None)];
        let now = [("same", "1"), ("other", "1"), ("gone", "1"), ("foreign", "1")];
        let now = now.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let patch = Value::Object(difference(wanted.into_iter(), &now));
        assert_eq!(patch, json!({ "other": "2", "gone": null }));
    }

    #[test]
    fn a_name_stays_one_part_of_a_path() {
        assert_eq!(segment("snmp-x7.k_8"), "snmp-x7.k_8");
        assert_eq!(segment("../a b?c"), "..%2Fa%20b%3Fc");
        assert_eq!(segment(".."), "%2E%2E");
    }
}
