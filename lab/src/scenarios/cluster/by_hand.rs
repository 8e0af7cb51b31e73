//! Makes a switch a node of the lab's cluster by what Kubernetes itself has: a token, a kubelet, its files.
//!
//! Written as a careful person would, and not by our agent, so that the lab can be trusted when the agent fails.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::NODE_MAX;
use crate::cluster::Cluster;
use crate::switch::Switch;

/// A pod's image is pulled, its container starts, its probe answers.
pub(super) const POD_MAX: Duration = Duration::from_mins(2);

/// What the kubelet is told; the rest is on its command line.
const CONFIGURATION: &str = "\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
enforceNodeAllocatable: []
failSwapOn: false
rotateCertificates: true
readOnlyPort: 0
authentication:
  anonymous: { enabled: false }
  webhook: { enabled: true }
  x509: { clientCAFile: /etc/kubernetes/ca.crt }
authorization: { mode: Webhook }
imageGCHighThresholdPercent: 100
evictionHard:
  memory.available: 0%
  nodefs.available: 0%
  nodefs.inodesFree: 0%
  imagefs.available: 0%
";

const DROP_IN: &str = "\
[Service]
ExecStart=
ExecStart=/usr/bin/kubelet --config=/var/lib/kubelet/config.yaml --kubeconfig=/etc/kubernetes/kubelet.conf \
--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --container-runtime=docker --network-plugin= \
$KUBELET_EXTRA_ARGS
";

/// A switch that has joined.
pub(super) struct Node<'a> {
    pub(super) cluster: Cluster,
    pub(super) switch: &'a Switch,
}

/// Joins, tells the story, and leaves, however the story ended.
pub(super) fn as_node(switch: &Switch, story: impl FnOnce(&Node<'_>) -> Result<()>) -> Result<()> {
    let node = Node { cluster: Cluster::up()?, switch };
    let told = node.leave().and_then(|()| node.join()).and_then(|()| story(&node));
    let left = node.leave().context("and the switch did not leave the cluster");
    told.and(left)
}

impl Node<'_> {
    pub(super) fn name(&self) -> &str {
        self.switch.name()
    }

    /// A DaemonSet of one pod that runs the lab's payload as `probe`, pulled from the registry, here.
    pub(super) fn deploy(&self) -> Result<()> {
        let image = self.cluster.publish_from(self.switch, "docker-bgp:latest", "docker-probe:1")?;
        self.cluster.kubectl_ok(&["label", "--overwrite", "node", self.name(), "probe_enabled=true"])?;
        self.cluster.apply(&daemon_set(&image).to_string())
    }

    /// Waits until the node is Ready, the pod is too, and its payload answers.
    pub(super) fn wait_serves(&self) -> Result<()> {
        self.wait_ready()?;
        self.switch.wait_until("the pod is ready and its payload serves", POD_MAX, || {
            let status = &self.pod()?["status"]["containerStatuses"][0];
            Ok(status["ready"] == true && self.switch.serves("probe")?)
        })
    }

    pub(super) fn wait_ready(&self) -> Result<()> {
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        self.switch.wait_until("the node is Ready", NODE_MAX, || {
            Ok(self.cluster.kubectl_ok(&["get", "node", self.name(), "--output", path])? == "True")
        })
    }

    /// The one pod of this node, as the API server tells it.
    pub(super) fn pod(&self) -> Result<Value> {
        let here = format!("--field-selector=spec.nodeName={}", self.name());
        let list = ["--namespace=sonic", "get", "pods", "--selector=app=probe", &here, "--output=json"];
        let mut list: Value = serde_json::from_str(&self.cluster.kubectl_ok(&list)?)?;
        Ok(list["items"][0].take())
    }

    /// The id of its container, as the API server tells it.
    pub(super) fn container(&self) -> Result<String> {
        let pod = self.pod()?;
        let id = pod["status"]["containerStatuses"][0]["containerID"].as_str();
        id.map(str::to_owned).context("the pod has no container yet")
    }

    fn join(&self) -> Result<()> {
        let (switch, invitation) = (self.switch, self.cluster.invitation()?);
        switch.ok("umask 077; mkdir -p /etc/kubernetes /etc/systemd/system/kubelet.service.d")?;
        let bootstrap = self.cluster.kubeconfig(&invitation.token)?;
        switch.write("/etc/kubernetes/bootstrap-kubelet.conf", &bootstrap)?;
        switch.write("/etc/kubernetes/ca.crt", &self.cluster.ca()?)?;
        switch.write("/var/lib/kubelet/config.yaml", CONFIGURATION)?;
        switch.write("/etc/systemd/system/kubelet.service.d/10-join.conf", DROP_IN)?;
        switch.ok("systemctl daemon-reload; systemctl enable --now --quiet kubelet")?;
        self.wait_ready()
    }

    fn leave(&self) -> Result<()> {
        let away = "--ignore-not-found";
        // An earlier story may have left the switch a member by its own commands.
        self.switch.ok("[ ! -e /etc/systemd/system/kubelet.service.d/10-switchyard.conf ] ||
              switchyard config kubernetes reset --force --timeout 60
            sonic-db-cli CONFIG_DB DEL 'KUBERNETES_MASTER|SERVER' > /dev/null")?;
        self.cluster.kubectl_ok(&["--namespace=sonic", "delete", "daemonset", "probe", away])?;
        self.switch.ok("systemctl disable --now --quiet kubelet
             docker ps --all --quiet --filter label=io.kubernetes.pod.uid | xargs -r docker rm --force > /dev/null
             rm -rf /etc/kubernetes /var/lib/kubelet/pki /etc/systemd/system/kubelet.service.d /run/payload/probe.*
             systemctl daemon-reload")?;
        self.cluster.kubectl_ok(&["delete", "node", self.name(), away])?;
        // Of a node that is gone nobody confirms the end of its pods; the garbage collector does, in minutes.
        let pods = ["delete", "pods", "--selector=app=probe", "--force", "--grace-period=0", away];
        self.cluster.kubectl_ok(&[["--namespace=sonic"].as_slice(), &pods].concat()).map(drop)
    }
}

fn daemon_set(image: &str) -> Value {
    let probe = json!({
        "name": "probe",
        "image": image,
        "command": ["/usr/bin/lab-payload", "run", "probe"],
        "resources": { "limits": { "cpu": "200m", "memory": "64Mi" } },
        "readinessProbe": {
            "exec": { "command": ["/usr/bin/lab-payload", "send", "probe", "status"] },
            "periodSeconds": 2,
        },
        "volumeMounts": [{ "name": "traces", "mountPath": "/run/payload" }],
    });
    let labels = json!({ "app": "probe", "raw_container_name": "probe" });
    let pod = json!({
        "nodeSelector": { "probe_enabled": "true" },
        "hostNetwork": true,
        "dnsPolicy": "ClusterFirstWithHostNet",
        "containers": [probe],
        "volumes": [{ "name": "traces", "hostPath": { "path": "/run/payload" } }],
    });
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": { "name": "probe", "namespace": "sonic" },
        "spec": {
            "selector": { "matchLabels": { "app": "probe" } },
            "template": { "metadata": { "labels": labels }, "spec": pod },
        },
    })
}
