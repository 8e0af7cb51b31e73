//! Refusal: pods that must not run yet, each told why, and each let in as soon as the reason is gone. Nothing freezes.

use anyhow::{Result, ensure};

use super::pod::{LOCAL, NEWER, Pod, SOON, Stage, TIERS, in_both_tiers, in_tiers, server};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Switch;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a pod of a feature that is owned locally is kept out until the owner changes",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| in_both_tiers(switch, owner_is_local),
    },
    Scenario {
        name: "a pod whose unit is down is kept out until the unit starts",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| in_both_tiers(switch, unit_is_down),
    },
    Scenario {
        name: "a pod of the local image's version waits and takes over at the next ordinary restart",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| in_both_tiers(switch, same_as_local),
    },
    Scenario {
        name: "while the server is away a pod that runs stays, and a restart brings the local image",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| TIERS.iter().try_for_each(|feature| in_tiers(switch, &[feature], server_is_away)),
    },
    Scenario {
        name: "a pod with our gate does not run beside the local copy even if the rows say so",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| in_tiers(switch, &["telemetry"], rows_lie),
    },
    Scenario {
        name: "a local copy does not start while somebody holds its track",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: track_is_held,
    },
];

fn owner_is_local(stage: &Stage<'_>) -> Result<()> {
    let feature = stage.feature;
    stage.owner("local")?;
    stage.restart()?;
    stage.row_becomes(&format!("local {feature} none up false"))?;
    let pod = stage.pod(NEWER)?;
    pod.says("waiting: the owner is local: the pod is kept out")?;
    stage.row_is(&format!("local {feature} none up false"))?;
    stage.runs_locally()?;

    stage.owner("kube")?;
    stage.row_becomes(&format!("local {feature} pending up false"))?;
    comes_in(stage, &pod)
}

fn unit_is_down(stage: &Stage<'_>) -> Result<()> {
    let (switch, feature) = (stage.switch, stage.feature);
    stage.bridge()?;
    switch.ok(&format!("systemctl stop {feature}"))?;
    stage.row_is("none - none down true")?;
    let pod = stage.pod(NEWER)?;
    pod.says("waiting: the unit is down: the pod is kept out")?;
    stage.row_is("none - none down true")?;
    ensure!(!switch.serves(feature)?, "nobody should run while the unit is down");

    // The start says up first. A pod that asks in time has waited, and has its turn at once; of one that does not, as it may
    // be on a machine with much to do, nobody knows: it goes, and the kubelet brings it again.
    switch.ok(&format!("systemctl start {feature}"))?;
    if pod.is_up()? {
        stage.is_in_charge(&pod)?;
        let history = stage.history()?;
        ensure!(
            history.ends_with("NoPodYet UnitStopped PodIsComing PodsTurn"),
            "it waited, and then {history}"
        );
        return Ok(());
    }
    stage.row_becomes(&format!("local {feature} none up true"))?;
    ensure!(!pod.has_served()?, "the pod ran while the unit was down");
    let again = stage.pod(NEWER)?;
    stage.row_becomes(&format!("local {feature} pending up true"))?;
    comes_in(stage, &again)
}

fn same_as_local(stage: &Stage<'_>) -> Result<()> {
    stage.bridge()?;
    let pod = stage.pod(LOCAL)?;
    pod.says("waiting: the local image has the same version: the pod waits for the next restart")?;
    stage.row_is(&format!("local {} pending up true", stage.feature))?;
    comes_in(stage, &pod)
}

/// The pod has not run and the local image has not stopped; the next restart changes that.
fn comes_in(stage: &Stage<'_>, pod: &Pod<'_>) -> Result<()> {
    stage.runs_locally()?;
    ensure!(!pod.has_served()?, "the pod ran before its turn");
    stage.restart()?;
    stage.is_in_charge(pod)
}

fn server_is_away(stage: &Stage<'_>) -> Result<()> {
    let (switch, feature) = (stage.switch, stage.feature);
    let pod = stage.pod_in_charge()?;
    let before = runs(stage)?;
    server(switch, false)?;
    // The wait of the unit hears of it at once; its answer to a change that concerns it is a row or an end.
    pod.is_still_in_charge(stage, &before)?;

    stage.restart()?;
    stage.row_becomes(&format!("local {feature} none up true"))?;
    stage.runs_locally()?;
    ensure!(!pod.is_up()?, "the pod should have been stopped");
    let history = stage.history()?;
    ensure!(history.ends_with("PodsTurn UnitStopped ServerAway"), "unexpected history: {history}");

    let next = stage.pod(NEWER)?;
    stage.row_becomes(&format!("local {feature} pending up true"))?;
    stage.restart()?;
    stage.row_becomes(&format!("local {feature} pending up true"))?;
    stage.runs_locally()?;
    server(switch, true)?;
    comes_in(stage, &next)
}

/// The unit's main process and the payload's run: as long as both are the same, nothing was restarted.
fn runs(stage: &Stage<'_>) -> Result<String> {
    let feature = stage.feature;
    stage.switch.ok(&format!(
        "systemctl show --value --property MainPID {feature}; grep -c acquired /run/payload/{feature}.log"
    ))
}

impl Pod<'_> {
    /// Insists, for as long as a wait that returned would need to show, that nothing happens.
    fn is_still_in_charge(&self, stage: &Stage<'_>, before: &str) -> Result<()> {
        for _ in 0..10 {
            stage.row_is(&format!("kube {} running up true", self.id))?;
            let now = runs(stage)?;
            ensure!(now == before, "something was restarted: {before:?} before, {now:?} now");
        }
        Ok(())
    }
}

fn rows_lie(stage: &Stage<'_>) -> Result<()> {
    let (switch, feature) = (stage.switch, stage.feature);
    stage.bridge()?;
    let pod = stage.pod(NEWER)?;
    let pending = format!("local {feature} pending up true");
    stage.row_becomes(&pending)?;
    let lies = [
        format!("remote_state ready remote_container_id {}", pod.id),
        format!("current_owner kube container_id {} remote_state running", pod.id),
        "current_owner none container_id '' remote_state ready".to_owned(),
    ];
    // More than once: the host and the pod each mend the row, and whoever comes second must not miss the first.
    for lie in lies.iter().cycle().take(5 * lies.len()) {
        switch.ok(&format!("sonic-db-cli STATE_DB HSET 'FEATURE|{feature}' {lie}"))?;
        stage.row_becomes(&pending)?;
        stage.runs_locally()?;
        ensure!(!pod.has_served()?, "{lie:?} let the pod run beside the local copy");
    }
    comes_in(stage, &pod)
}

fn track_is_held(switch: &Switch) -> Result<()> {
    const ROW: &str =
        "sonic-db-cli STATE_DB HMGET 'FEATURE|telemetry' current_owner container_id system_state";
    let lock = "/run/switchyard/telemetry.lock";
    switch.ok("systemctl stop telemetry")?;
    switch.ok(&format!("systemd-run --quiet --unit=holder flock --exclusive {lock} sleep infinity"))?;
    switch.wait_ok("the lock is held", SOON, &format!("! flock --nonblock --shared {lock} true"))?;
    let before = switch.ok(ROW)?;
    let refused = switch.sh("container start telemetry");
    let after = switch.ok(ROW);
    let serves = switch.serves("telemetry");
    switch.ok("systemctl stop holder; systemctl reset-failed telemetry; systemctl start telemetry")?;
    let (refused, after) = (refused?, after?);
    ensure!(refused.status == 9, "container start should end with 9, and ended with {}", refused.status);
    let line = refused.stderr.trim();
    ensure!(line.lines().count() == 1 && line.contains(lock), "it should name the lock in one line: {line}");
    ensure!(before == after, "the row was {before:?} and is {after:?}");
    ensure!(!serves?, "a second copy ran");
    switch.wait_serves("telemetry")
}
