//! Switches and the lab's control plane with nothing of ours between them: what every story about joining builds on.

mod alone;
mod asics;
mod bad_servers;
mod bench;
mod by_hand;
mod crashes;
mod failures;
mod identity;
mod idle;
mod joining;
mod k3s;
mod k3s_server;
mod leaving;
mod member;
mod moves;
mod outside;
mod strangers;
mod trouble;
mod unkillable;
mod unmodified;
mod updates;

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::cluster::Part;
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::{Boot, Switch};
use by_hand::{Node, POD_MAX, as_node};

/// The stories of switches that join by hand.
const BY_HAND: &[Scenario] = &[
    Scenario {
        name: "SONiC's kubelet joins with a token alone and runs a pod from the registry",
        switch: SwitchKind::AloneInCluster,
        long: false,
        run: |switch| as_node(switch, runs_a_pod),
    },
    Scenario {
        name: "control plane and switch survive each other's restart",
        switch: SwitchKind::AloneInCluster,
        long: false,
        run: |switch| as_node(switch, survive_each_other),
    },
    Scenario {
        // SONIC.md 12.2: the REST server's certificate could drain and delete nodes.
        name: "a node's own identity may label itself and leave, and no more",
        switch: SwitchKind::AloneInCluster,
        long: false,
        run: |switch| as_node(switch, identity::node),
    },
    Scenario {
        name: "the agent's identity may taint its own node and delete its pods, and no more",
        switch: SwitchKind::AloneInCluster,
        long: false,
        run: |switch| as_node(switch, identity::agent),
    },
];

/// Every scenario with a cluster, in the order in which they are told.
pub(super) fn all() -> Vec<Scenario> {
    [
        BY_HAND,
        joining::SCENARIOS,
        alone::SCENARIOS,
        k3s::SCENARIOS,
        leaving::SCENARIOS,
        bad_servers::SCENARIOS,
        moves::SCENARIOS,
        failures::SCENARIOS,
        unmodified::SCENARIOS,
        updates::SCENARIOS,
        trouble::SCENARIOS,
        unkillable::SCENARIOS,
        asics::SCENARIOS,
        crashes::SCENARIOS,
    ]
    .concat()
}

/// The figures of Kubernetes mode, on a switch that has a kubelet.
pub(super) fn figures(switch: &Switch) -> Result<Value> {
    bench::figures(switch)
}

fn runs_a_pod(node: &Node<'_>) -> Result<()> {
    node.deploy()?;
    node.wait_serves()?;
    // As SONiC's tools look for it.
    let container = "docker ps --quiet --no-trunc --filter label=io.kubernetes.container.name=probe \
                     --filter label=io.kubernetes.pod.namespace=sonic \
                     --filter label=io.kubernetes.docker.type=container";
    let format = "{{json .Config.Labels}}";
    let labels = node.switch.ok(&format!("docker inspect --format '{format}' \"$({container})\""))?;
    let labels: Value = serde_json::from_str(&labels)?;
    let pod = node.pod()?;
    for (label, wanted) in [
        ("io.kubernetes.container.name", "probe"),
        ("io.kubernetes.docker.type", "container"),
        ("io.kubernetes.pod.name", pod["metadata"]["name"].as_str().unwrap_or_default()),
        ("io.kubernetes.pod.namespace", "sonic"),
        ("io.kubernetes.pod.uid", pod["metadata"]["uid"].as_str().unwrap_or_default()),
    ] {
        ensure!(labels[label] == wanted, "the label {label} is {}, not {wanted:?}", labels[label]);
    }
    // What only works if the API server reaches the kubelet and is known to it.
    let log = node.cluster.kubectl_ok(&["--namespace=sonic", "logs", "--selector=app=probe"])?;
    ensure!(log.contains("serving on port"), "the pod's log should say that it serves, but says {log:?}");
    Ok(())
}

fn survive_each_other(node: &Node<'_>) -> Result<()> {
    node.deploy()?;
    node.wait_serves()?;
    let before = node.container()?;

    Part::ALL.into_iter().rev().try_for_each(|part| node.cluster.stop(part))?;
    ensure!(node.switch.serves("probe")?, "the pod went with the control plane");
    Part::ALL.into_iter().try_for_each(|part| node.cluster.start(part))?;
    node.wait_ready()?;
    ensure!(node.container()? == before, "the control plane's restart restarted the pod's container");
    ensure!(node.switch.serves("probe")?, "the pod does not serve any more");

    node.switch.reboot(Boot::Cold)?;
    node.wait_serves()?;
    // Until the kubelet has told of the new one, the API server tells of the one of before the reboot.
    node.switch
        .wait_until("the pod's new container is told of", POD_MAX, || Ok(node.container()? != before))?;
    let after = node.container()?;

    Part::ALL.into_iter().rev().try_for_each(|part| node.cluster.stop(part))?;
    node.switch.reboot(Boot::Cold)?;
    ensure!(!node.switch.serves("probe")?, "a kubelet without a server started a pod");
    Part::ALL.into_iter().try_for_each(|part| node.cluster.start(part))?;
    node.wait_serves()?;
    node.switch.wait_until("the pod's new container is told of", POD_MAX, || Ok(node.container()? != after))
}

/// The kubelet tells its state every ten seconds at most.
const NODE_MAX: Duration = Duration::from_mins(2);
