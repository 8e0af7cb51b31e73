//! Knock and hand-over: a pod comes to the door and takes the feature over by the unit's ordinary stop and start.

use anyhow::{Result, ensure};

use super::pod::{NEWER, Stage, in_both_tiers};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Switch;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "while no pod has come, a feature of Kubernetes runs its local image",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| in_both_tiers(switch, local_bridges),
    },
    Scenario {
        // BI#27292: the local container stayed after the take-over.
        name: "a pod that knocks waits, takes over at the unit's restart, and answers to the feature's name",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| in_both_tiers(switch, pod_takes_over),
    },
    Scenario {
        name: "a pod that knocks later supersedes the one before it",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| in_both_tiers(switch, second_pod_supersedes_the_first),
    },
    Scenario {
        name: "a left-over ready lets nobody in",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| in_both_tiers(switch, left_over_ready),
    },
    Scenario {
        name: "a pod waits until a local copy that hangs has been killed",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| in_both_tiers(switch, local_copy_hangs),
    },
];

fn local_bridges(stage: &Stage<'_>) -> Result<()> {
    stage.bridge()?;
    let history = stage.history()?;
    ensure!(history == "UnitStopped NoPodYet", "unexpected history: {history}");
    let report =
        format!("system service explain {} -o json | jq -r '.[0] | .owner, .next_start'", stage.feature);
    let report = stage.switch.ok(&report)?;
    ensure!(
        report == "local\nowner is kube, but no pod has asked yet: the local image bridges",
        "explain says {report:?}"
    );
    Ok(())
}

fn pod_takes_over(stage: &Stage<'_>) -> Result<()> {
    let (switch, feature) = (stage.switch, stage.feature);
    stage.bridge()?;
    let pod = stage.pod(NEWER)?;
    stage.row_becomes(&format!("local {feature} pending up true"))?;
    pod.says("waiting: the pod has asked and waits for the host")?;
    ensure!(!pod.has_served()?, "the pod began before its turn");
    stage.runs_locally()?;

    stage.restart()?;
    stage.is_in_charge(&pod)?;
    let gap = stage.gap_ms()?;
    println!("     {feature}: {gap} ms without any copy at the hand-over");
    let history = stage.history()?;
    ensure!(
        history == "UnitStopped NoPodYet UnitStopped PodIsComing PodsTurn",
        "unexpected history: {history}"
    );
    ensure!(
        switch.ok(&format!("docker inspect --format '{{{{.State.Running}}}}' {feature}"))? == "false",
        "the local copy should have stopped"
    );
    ensure!(switch.state(feature, "container_version")? == NEWER, "the row should have the pod's version");
    the_name_means_the_pod(switch, feature, &pod.id)
}

/// The verbs that look at a container speak to the pod's.
fn the_name_means_the_pod(switch: &Switch, feature: &str, id: &str) -> Result<()> {
    let said = switch.ok(&format!("container id {feature}"))?;
    ensure!(said == id, "container id should print {id}, and prints {said}");
    let said = switch.ok(&format!("container exec {feature} -- env | grep ^IMAGE_VERSION="))?;
    ensure!(said == format!("IMAGE_VERSION={NEWER}"), "container exec ran elsewhere: {said}");
    let said = switch.ok(&format!("container inspect {feature} | jq -r '.[0].Id[:12]'"))?;
    ensure!(said == id, "container inspect should describe {id}, and describes {said}");
    // Told to the payload that answers now, so it must turn up in the pod's log.
    switch.payload(feature, "log marked")?;
    let said = switch.ok(&format!("container logs --tail 1 {feature}"))?;
    ensure!(said == format!("{feature}: marked"), "container logs printed another log: {said}");
    let said = switch
        .ok(&format!("system container exec {feature} -- cat /proc/1/cgroup | grep -c /{id} || true"))?;
    ensure!(said != "0", "system container exec ran elsewhere");
    Ok(())
}

fn second_pod_supersedes_the_first(stage: &Stage<'_>) -> Result<()> {
    stage.bridge()?;
    let first = stage.pod(NEWER)?;
    first.says("waiting: the pod has asked")?;
    let second = stage.pod("3.0.0")?;
    second.says("waiting: the pod has asked")?;
    first.says("waiting: a later container of the feature has asked")?;
    stage.row_is(&format!("local {} pending up true", stage.feature))?;

    stage.restart()?;
    stage.is_in_charge(&second)?;
    ensure!(!first.has_served()?, "the pod that was superseded ran");
    // Its end is nobody's concern any more.
    first.dies().or_else(|error| if first.is_up()? { Err(error) } else { Ok(()) })?;
    stage.row_is(&format!("kube {} running up true", second.id))
}

fn left_over_ready(stage: &Stage<'_>) -> Result<()> {
    let (switch, feature) = (stage.switch, stage.feature);
    stage.bridge()?;
    // As an image of SONiC's own leaves it, and as ours does: without and with the container that it was for.
    for left_over in ["remote_state ready", "remote_state ready remote_container_id 0123456789ab"] {
        switch.ok(&format!("sonic-db-cli STATE_DB HSET 'FEATURE|{feature}' {left_over}"))?;
        let pod = stage.pod(NEWER)?;
        stage.row_becomes(&format!("local {feature} pending up true"))?;
        pod.says("waiting: the pod has asked")?;
        ensure!(!pod.has_served()?, "{left_over:?} let the pod in");
        pod.dies()?;
    }
    // Whoever had asked is gone: the start makes nobody ready, and in the end the local image is back.
    stage.restart()?;
    stage.row_becomes(&format!("local {feature} none up true"))?;
    let late = stage.pod(NEWER)?;
    stage.row_becomes(&format!("local {feature} pending up true"))?;
    stage.restart()?;
    stage.is_in_charge(&late)
}

fn local_copy_hangs(stage: &Stage<'_>) -> Result<()> {
    let (switch, feature) = (stage.switch, stage.feature);
    stage.bridge()?;
    let pod = stage.pod(NEWER)?;
    stage.row_becomes(&format!("local {feature} pending up true"))?;
    switch.payload(feature, "hang")?;
    stage.restart()?;
    stage.is_in_charge(&pod)?;
    let code = switch.ok(&format!("docker inspect --format '{{{{.State.ExitCode}}}}' {feature}"))?;
    ensure!(code == "137", "the local copy should have been killed, and ended with {code}");
    Ok(())
}
