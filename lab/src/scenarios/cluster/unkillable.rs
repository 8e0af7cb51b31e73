//! Copies that not even SIGKILL ends: nobody runs beside them, and all comes right once they have ended.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::member::{Delivery, LOCAL, Member, NEWER, as_member};
use crate::scenario::{Scenario, SwitchKind};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "in trouble: a local copy that cannot be killed stays the owner, and the pod stays pending until it has ended",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| as_member(switch, |member| local_lives_on(member, "snmp")),
    },
    Scenario {
        name: "in trouble: while a pod that cannot be killed holds the lock, a local start fails and names it",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| as_member(switch, |member| pod_lives_on(member, "telemetry")),
    },
];

/// A stop with its grace, Docker's own patience with a kill, and the same again in the start.
const STOPS_MAX: Duration = Duration::from_mins(4);

/// Tells a story while no process of a container can end.
///
/// SIGKILL counts only once a frozen process is thawed. The group below the container's own is frozen, since runc thaws
/// that one before it kills.
fn frozen(member: &Member<'_>, container: &str, story: impl FnOnce() -> Result<()>) -> Result<()> {
    let group = member.switch.ok(&format!(
        "set -e; pid=$(docker inspect --format '{{{{.State.Pid}}}}' {container})
         group=/sys/fs/cgroup/freezer$(sed -n 's/^[0-9]*:freezer://p' /proc/$pid/cgroup)
         mkdir $group/stuck
         for process in $(cat $group/cgroup.procs); do echo $process > $group/stuck/cgroup.procs; done
         echo FROZEN > $group/stuck/freezer.state
         echo $group/stuck"
    ))?;
    let told = story();
    let thawed = member.switch.ok(&format!("[ ! -e {group} ] || echo THAWED > {group}/freezer.state"));
    told.and(thawed.map(drop))
}

fn local_lives_on(member: &Member<'_>, feature: &str) -> Result<()> {
    let since = member.switch.now()?;
    frozen(member, feature, || {
        member.deliver(&Delivery::of(feature, NEWER))?;
        member.owner(feature, "kube")?;
        lives_on(member, &since, feature)?;
        let state = format!(
            "sonic-db-cli STATE_DB HMGET 'FEATURE|{feature}' current_owner remote_state | paste -sd' '"
        );
        member.switch.wait_text(&state, "local pending", STOPS_MAX)?;
        let waits = member.explain(feature, ".pod_waits")?;
        ensure!(waits != "null", "explain does not say why the pod waits");
        let runs = member.runs(feature)?;
        ensure!(runs == "0", "the payload began {runs} times beside a copy that lives on");
        Ok(())
    })?;
    member.is_run_by_pod(feature, NEWER)
}

fn pod_lives_on(member: &Member<'_>, feature: &str) -> Result<()> {
    member.move_to_kube(feature, NEWER)?;
    let id = member.switch.ok(&format!("container id {feature}"))?;
    let runs = member.runs(feature)?;
    let since = member.switch.now()?;
    frozen(member, &id, || {
        member.owner(feature, "local")?;
        lives_on(member, &since, &id)?;
        // The stop has said so; the start says it again.
        lives_on(member, &member.switch.now()?, &id)?;
        let now = member.runs(feature)?;
        ensure!(now == runs, "the payload began {now} times instead of {runs}");
        Ok(())
    })?;
    member.is_run_locally(feature, LOCAL)
}

/// Waits until it is said which container does not end, with its process and that one's state.
fn lives_on(member: &Member<'_>, since: &crate::switch::Moment, container: &str) -> Result<()> {
    member.switch.wait_until("it is said what lives on", STOPS_MAX, || {
        let log = member.switch.journal_of(since, "")?;
        let of_it = |line: &str| {
            line.contains(&format!("container {container} does not end"))
                && line.contains("pid ")
                && line.contains("state ")
        };
        Ok(log.lines().any(of_it))
    })
}
