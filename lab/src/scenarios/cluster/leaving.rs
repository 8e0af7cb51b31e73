//! A switch leaves its cluster: features come home first, then what made it a node goes, and nothing else does.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::member::{LOCAL, Member, NEWER, SOON, as_member};
use crate::cluster::Invitation;
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Switch;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "leaving brings features home and takes away all that made the switch a node; leaving twice is harmless",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_leaving(switch, leaves),
    },
    Scenario {
        name: "a switch that leaves and joins again at once gets new pods at once",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_leaving(switch, joins_again),
    },
    Scenario {
        name: "leaving is refused while a feature has no home here, which it names, unless it is forced",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_leaving(switch, refused_unless_forced),
    },
    Scenario {
        // DESIGN.md section 4: what leaving takes away only a new token brings back.
        name: "a server's row that is gone for a moment, or disabled for one, leaves the membership alone",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, gone_for_a_moment),
    },
    Scenario {
        name: "a server that is disabled is left as well",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| as_leaving(switch, disabled),
    },
    Scenario {
        name: "a switch whose server is away leaves all the same, and says how to delete its Node",
        switch: SwitchKind::AloneInCluster,
        long: false,
        run: |switch| as_leaving(switch, server_away),
    },
    Scenario {
        name: "a switch that may not delete its Node leaves, takes its labels off, and says how to delete it",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_leaving(switch, forbidden),
    },
];

/// Tells a story on a member that leaves.
fn as_leaving(switch: &Switch, story: impl FnOnce(&Member<'_>) -> Result<()>) -> Result<()> {
    as_member(switch, |member| {
        let told = story(member);
        told.and(member.is_forgotten())
    })
}

fn leaves(member: &Member<'_>) -> Result<()> {
    member.put_foreign_files()?;
    member.move_to_kube("snmp", NEWER)?;
    let output = member.reset("")?;
    ensure!(output.success(), "it did not leave: {}", output.stderr);
    member.is_run_locally("snmp", LOCAL)?;
    member.tell_gap("snmp", "on the way home from a cluster that is left")?;
    member.has_left()?;
    ensure!(member.node(".metadata.name")?.is_empty(), "its Node is still there");
    member.shows("the server is disabled")?;

    let since = member.switch.now()?;
    let output = member.reset("")?;
    ensure!(output.success(), "leaving twice: {}", output.stderr);
    let said = member.times_logged(&since, "leaving the cluster")?;
    ensure!(said == 0, "it left twice");
    member.has_left()
}

fn joins_again(member: &Member<'_>) -> Result<()> {
    member.move_to_kube("snmp", NEWER)?;
    let output = member.reset("")?;
    ensure!(output.success(), "it did not leave: {}", output.stderr);
    let pod = member.pod("snmp")?;
    ensure!(pod.is_null(), "its pod is still in the cluster: {}", pod["metadata"]);
    member.invite()?;
    member.join()?;
    member.is_run_by_pod("snmp", NEWER)?;
    member.tell_gap("snmp", "on the way home and back to the same cluster")
}

fn refused_unless_forced(member: &Member<'_>) -> Result<()> {
    let switch = member.switch;
    // One that only Kubernetes has an image of, and one whose image here must not run.
    switch.ok("sonic-db-cli CONFIG_DB HSET 'FEATURE|kubeonly' state enabled set_owner kube > /dev/null
        switchyard config feature fallback snmp off")?;
    member.move_to_kube("snmp", NEWER)?;
    for output in [member.reset("")?, switch.sh("switchyard config kubernetes server disable on")?] {
        ensure!(!output.success(), "it left although features stop");
        for words in ["kubeonly", "snmp", "--force"] {
            ensure!(output.stderr.contains(words), "the refusal should name {words}: {}", output.stderr);
        }
    }
    ensure!(member.connected()?, "it left although it refused to");
    member.is_run_by_pod("snmp", NEWER)?;

    switch.ok("sonic-db-cli CONFIG_DB DEL 'FEATURE|kubeonly' > /dev/null")?;
    let output = member.reset("--force")?;
    ensure!(output.success() && output.stderr.contains("snmp"), "forced, it said: {}", output.stderr);
    member.has_left()?;
    ensure!(!switch.serves("snmp")?, "an image runs that must not");
    switch.ok("switchyard config feature fallback snmp on")?;
    member.is_run_locally("snmp", LOCAL)
}

fn gone_for_a_moment(member: &Member<'_>) -> Result<()> {
    let switch = member.switch;
    member.move_to_kube("snmp", NEWER)?;
    let Invitation { address, port, .. } = member.cluster.invitation()?;
    let (kubelet, node, since) = (member.pid("kubelet")?, member.node(".metadata.uid")?, switch.now()?);
    let secrets = "find /host/switchyard/kubernetes -type f | sort";
    let kept = switch.ok(secrets)?;
    switch.ok(&format!(
        "set -e
         sonic-db-cli CONFIG_DB DEL 'KUBERNETES_MASTER|SERVER' > /dev/null
         sleep 0.5
         sonic-db-cli CONFIG_DB HSET 'KUBERNETES_MASTER|SERVER' \
             ip '{address}' port {port} insecure False disable False > /dev/null
         switchyard config kubernetes server disable on
         sleep 0.5
         switchyard config kubernetes server disable off"
    ))?;
    // Longer than a wish has to stand: whoever was to leave would have begun.
    sleep(Duration::from_secs(4));
    member.wait_connected(true)?;
    ensure!(member.times_logged(&since, "leaving")? == 0, "it left");
    ensure!(member.pid("kubelet")? == kubelet, "the kubelet was restarted");
    ensure!(member.node(".metadata.uid")? == node, "it is another Node");
    ensure!(switch.ok(secrets)? == kept, "what it joins by is forgotten");
    member.is_run_by_pod("snmp", NEWER)
}

fn disabled(member: &Member<'_>) -> Result<()> {
    member.server("disable", "on")?;
    let script = "sonic-db-cli STATE_DB HGET 'KUBERNETES_MASTER|SERVER' ip";
    member.switch.wait_text(script, "", SOON)?;
    member.has_left()?;
    ensure!(member.node(".metadata.name")?.is_empty(), "its Node is still there");
    member.shows("the server is disabled")
}

fn server_away(member: &Member<'_>) -> Result<()> {
    let command = format!("kubectl delete node {}", member.switch.name());
    member.cluster.take_server_away()?;
    let left = member.reset("");
    member.cluster.bring_server_back()?;
    let output = left?;
    ensure!(output.success(), "it did not leave: {}", output.stderr);
    ensure!(output.stderr.contains(&command), "it should say {command:?}: {}", output.stderr);
    member.has_left()
}

fn forbidden(member: &Member<'_>) -> Result<()> {
    let (switch, cluster) = (member.switch, &member.cluster);
    let taint = |taint| cluster.kubectl_ok(&["taint", "--overwrite", "node", switch.name(), taint]);
    cluster.kubectl_ok(&["label", "--overwrite", "node", switch.name(), "theirs=1"])?;
    taint("dedicated=others:PreferNoSchedule")?;
    let since = switch.now()?;
    let output = member.reset("")?;
    ensure!(output.success(), "it did not leave: {}", output.stderr);
    let command = format!("kubectl delete node {}", switch.name());
    ensure!(output.stderr.contains(&command), "it should say {command:?}: {}", output.stderr);
    member.is_logged_once(&since, &command)?;
    member.has_left()?;
    let labels = member.node(".metadata.labels")?;
    ensure!(labels.contains("theirs") && !labels.contains("hwsku"), "its Node has the labels {labels}");
    Ok(())
}
