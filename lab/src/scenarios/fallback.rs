//! The way home: what happens when a pod that ran is gone, must go, or is forgotten by the rows.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::pod::{NEWER, PATIENCE, SOON, Stage, TIERS, in_both_tiers, with_patience};
use crate::scenario::{Scenario, SwitchKind};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "when a pod dies and none comes, the local image is back after the configured time",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| in_both_tiers(switch, pod_dies),
    },
    Scenario {
        name: "a pod that the kubelet starts again in time goes on without the local image in between",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| with_patience(switch, &TIERS, LONG_PATIENCE, pod_comes_again),
    },
    Scenario {
        name: "no_fallback_to_local keeps the local image out if it is true, and lets it in if it is false",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| in_both_tiers(switch, fallback_is_forbidden),
    },
    Scenario {
        name: "with the owner set back to local, a restart stops the pod and starts the local image",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| in_both_tiers(switch, owner_is_set_back),
    },
    Scenario {
        name: "a pod that hangs when it has to go is killed before the local image starts",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| in_both_tiers(switch, pod_hangs),
    },
    Scenario {
        name: "a row that is lost while a pod runs is written anew without touching the pod",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| in_both_tiers(switch, row_is_lost),
    },
];

/// So long that no busy machine reaches it.
const LONG_PATIENCE: Duration = Duration::from_mins(2);

fn pod_dies(stage: &Stage<'_>) -> Result<()> {
    let (switch, feature) = (stage.switch, stage.feature);
    let unit = format!("{feature}.service");
    let pod = stage.pod_in_charge()?;
    switch.hold_starts(&unit)?;
    pod.dies()?;
    // The truth at once, by the wait that watched it; then systemd restarts the unit, and it waits for the next pod.
    stage.row_becomes("none - stopped down true")?;
    ensure!(!switch.serves(feature)?, "nobody should run yet");
    switch.let_start(&unit)?;
    stage.row_becomes(&format!("local {feature} none up true"))?;
    stage.runs_locally()?;
    let gap = stage.gap_ms()?;
    println!("     {feature}: {gap} ms without any copy, {} s of them patience", PATIENCE.as_secs());
    ensure!(gap >= 3000, "the local image came before the configured time, after {gap} ms");
    let history = stage.history()?;
    ensure!(
        history.contains("PodsTurn ContainerEnded") && history.ends_with("NoPodYet"),
        "unexpected history: {history}"
    );
    ensure!(history.contains("PodNeverCame"), "the history does not say why: {history}");
    Ok(())
}

fn pod_comes_again(stage: &Stage<'_>) -> Result<()> {
    let (switch, feature) = (stage.switch, stage.feature);
    let started = format!("docker inspect --format '{{{{.State.StartedAt}}}}' {feature}");
    let pod = stage.pod_in_charge()?;
    let local_start = switch.ok(&started)?;
    pod.dies()?;
    let next = stage.pod(NEWER)?;
    stage.is_in_charge(&next)?;
    let gap = stage.gap_ms()?;
    println!("     {feature}: {gap} ms without any copy while the kubelet brought the pod again");
    ensure!(switch.ok(&started)? == local_start, "the local image ran in between");
    let history = stage.history()?;
    ensure!(history.ends_with("PodIsComing PodsTurn"), "unexpected history: {history}");
    Ok(())
}

fn fallback_is_forbidden(stage: &Stage<'_>) -> Result<()> {
    let (switch, feature) = (stage.switch, stage.feature);
    let unit = format!("systemctl show --value --property MainPID {feature}");
    switch.set_config(feature, "no_fallback_to_local", "true")?;
    // There is no bridge to begin with: only a pod may run.
    stage.restart()?;
    stage.row_becomes("none - none up true")?;
    let pod = stage.pod(NEWER)?;
    stage.is_in_charge(&pod)?;
    pod.dies()?;
    stage.row_becomes("none - stopped up true")?;
    // The row is written before the unit's main process is there.
    switch.wait_text(&format!("systemctl is-active {feature} || true"), "active", SOON)?;
    let waiting = switch.ok(&unit)?;
    // Only time can show that time changes nothing.
    sleep(PATIENCE * 2);
    stage.row_is("none - stopped up true")?;
    ensure!(switch.ok(&unit)? == waiting, "container wait returned although fallback is forbidden");
    let now = switch.ok(&format!("system service explain {feature} -o json | jq -r '.[0].now'"))?;
    ensure!(
        now == "owner is kube and fallback to the local image is off: a pod is waited for",
        "explain says {now:?}"
    );

    // What `config feature fallback <f> on` writes; shipped readers took it for true.
    switch.set_config(feature, "no_fallback_to_local", "false")?;
    stage.row_becomes(&format!("local {feature} none up true"))?;
    stage.runs_locally()
}

fn owner_is_set_back(stage: &Stage<'_>) -> Result<()> {
    let feature = stage.feature;
    let pod = stage.pod_in_charge()?;
    stage.owner("local")?;
    stage.is_in_charge(&pod)?;
    stage.restart()?;
    stage.row_becomes(&format!("local {feature} none up false"))?;
    stage.runs_locally()?;
    ensure!(!pod.is_up()?, "the pod should have been stopped");
    println!("     {feature}: {} ms without any copy on the way home", stage.gap_ms()?);
    let history = stage.history()?;
    ensure!(history.ends_with("PodsTurn UnitStopped OwnerLocal"), "unexpected history: {history}");
    Ok(())
}

fn pod_hangs(stage: &Stage<'_>) -> Result<()> {
    let (switch, feature) = (stage.switch, stage.feature);
    let pod = stage.pod_in_charge()?;
    if feature == "telemetry" {
        let held = switch.sh("flock --nonblock --shared /run/switchyard/telemetry.lock true")?;
        ensure!(!held.success(), "a pod with our gate should hold the track lock");
        let safety = switch.ok("system service explain telemetry -o json | jq -r '.[0].safety'")?;
        ensure!(safety.contains("which a pod with our gate holds now"), "explain says {safety:?}");
    }
    switch.payload(feature, "hang")?;
    stage.owner("local")?;
    stage.restart()?;
    stage.row_becomes(&format!("local {feature} none up false"))?;
    stage.runs_locally()?;
    let code = switch.ok(&format!("docker inspect --format '{{{{.State.ExitCode}}}}' {}", pod.id))?;
    ensure!(code == "137", "the pod should have been killed, and ended with {code}");
    Ok(())
}

fn row_is_lost(stage: &Stage<'_>) -> Result<()> {
    let (switch, feature) = (stage.switch, stage.feature);
    let unit = format!("systemctl show --value --property MainPID {feature}");
    let pod = stage.pod_in_charge()?;
    let waiting = switch.ok(&unit)?;
    switch.ok(&format!("sonic-db-cli STATE_DB DEL 'FEATURE|{feature}'"))?;
    stage.is_in_charge(&pod)?;
    switch.wait_text(
        &format!("sonic-db-cli STATE_DB HGET 'FEATURE|{feature}' container_version"),
        NEWER,
        SOON,
    )?;
    ensure!(switch.ok(&unit)? == waiting, "the unit was restarted");
    let runs = switch.ok(&format!("grep -c acquired /run/payload/{feature}.log"))?;
    // The local image's when the stage was set, and the pod's.
    ensure!(runs == "2", "the payload began {runs} times");
    let history = stage.history()?;
    ensure!(history.ends_with("PodsTurn RowRepaired"), "unexpected history: {history}");
    Ok(())
}
