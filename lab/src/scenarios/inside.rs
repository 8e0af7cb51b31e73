//! Inside an image: the gate, the watch, and the separate calls for up and down, with payloads made of a few words of shell.

use anyhow::{Context, Result, ensure};

use super::pod::{NEWER, SOON, Stage, in_tiers};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Switch;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "the gate records up, gives its payload's exit code as its own and records down",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| beside(switch, exit_codes),
    },
    Scenario {
        name: "the gate passes signals on to its payload and reaps orphans",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| beside(switch, signals_and_orphans),
    },
    Scenario {
        name: "a container that waits at the gate ends at once when it is told to",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| beside(switch, stopped_while_waiting),
    },
    Scenario {
        name: "container state and switchyard watch record up and down for their own container only",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| beside(switch, separate_calls),
    },
    Scenario {
        name: "a pod that asks by container state takes its turn and records its end by the watch",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: |switch| in_tiers(switch, &["snmp"], seeds_calls),
    },
];

/// A feature that is known by its row only, so that nothing of the switch's own is in the way.
const ROW: &str = "FEATURE|probe";

fn beside(switch: &Switch, story: fn(&Switch) -> Result<()>) -> Result<()> {
    // Such a row says what no container of that name bears out: the agent would mend it, whenever it looks.
    switch.ok(&format!(
        "systemctl stop ctrmgrd && sonic-db-cli STATE_DB HSET '{ROW}' system_state up current_owner none container_id ''"
    ))?;
    let told = story(switch).with_context(|| {
        switch
            .ok("docker ps --all --quiet --filter name=inside | xargs -r docker logs 2>&1")
            .unwrap_or_default()
    });
    let tidied = switch.ok(&format!(
        "docker ps --all --quiet --filter name=inside | xargs -r docker rm --force
         sonic-db-cli STATE_DB DEL '{ROW}'; sonic-db-cli STATE_DB HDEL 'KUBE_LABELS|SET' probe_local
         systemctl start ctrmgrd"
    ));
    told.and(tidied.map(drop))
}

/// Runs a container of the local side with this command.
fn run(switch: &Switch, options: &str, command: &str) -> Result<crate::command::Output> {
    switch.sh(&format!(
        "docker run {options} --name inside$RANDOM --net=host --env RUNTIME_OWNER=local --env IMAGE_VERSION=1.2.3 \
           --volume /var/run/redis:/var/run/redis --entrypoint switchyard docker-telemetry:latest {command}"
    ))
}

fn started(switch: &Switch, command: &str) -> Result<String> {
    let output = run(switch, "--detach", command)?;
    ensure!(output.success(), "docker run failed: {}", output.stderr);
    Ok(output.text().to_owned())
}

const UP: &str = "local probe 1.2.3";
const DOWN: &str = "none - 1.2.3";

fn row_becomes(switch: &Switch, wanted: &str) -> Result<()> {
    let script = format!(
        "sonic-db-cli STATE_DB HMGET '{ROW}' current_owner container_id container_version | sed 's/^$/-/' | paste -sd' '"
    );
    switch.wait_text(&script, wanted, SOON)
}

fn logs(switch: &Switch, id: &str, words: &str) -> Result<()> {
    switch.wait_ok(
        &format!("it logs {words:?}"),
        SOON,
        &format!("docker logs {id} 2>&1 | grep -qF '{words}'"),
    )
}

/// Stops a container; gives its exit code.
fn stop(switch: &Switch, id: &str) -> Result<String> {
    switch.ok(&format!("docker stop {id}"))?;
    switch.ok(&format!("docker inspect --format '{{{{.State.ExitCode}}}}' {id}"))
}

/// What a container bears that did not end in its grace.
const KILLED: &str = "137";

fn exit_codes(switch: &Switch) -> Result<()> {
    for (payload, code) in [
        ("sh -c 'exit 0'", 0),
        ("sh -c 'exit 7'", 7),
        ("sh -c 'kill -KILL $$'", 137),
        ("/no/such/program", 126),
    ] {
        let output = run(switch, "", &format!("gate probe -- {payload}"))?;
        ensure!(output.status == code, "{payload}: {code} became {}: {}", output.status, output.stderr);
        row_becomes(switch, DOWN)?;
    }
    let id = started(switch, "gate probe -- sh -c 'sleep 600'")?;
    row_becomes(switch, UP)?;
    let label = switch.ok("sonic-db-cli STATE_DB HGET 'KUBE_LABELS|SET' probe_local")?;
    ensure!(
        label == "1.2.3",
        "the version of the local image should be told to the cluster, and it is {label:?}"
    );
    let since = switch.ok(&format!("sonic-db-cli STATE_DB HGET '{ROW}' current_owner_update_ts"))?;
    ensure!(since.len() == "2026-01-01 00:00:00".len(), "since when should be recorded, and is {since:?}");
    let older = switch.ok(&format!("sonic-db-cli STATE_DB HGET '{ROW}' docker_id"))?;
    ensure!(older == "probe", "the seeds' name of the field should be kept up, and is {older:?}");
    stop(switch, &id)?;
    row_becomes(switch, DOWN)
}

fn signals_and_orphans(switch: &Switch) -> Result<()> {
    // The payload never waits for what it leaves behind: that is for the container's first process to do.
    let payload =
        "trap \"echo got USR1\" USR1; trap \"echo got HUP\" HUP; trap \"echo got TERM; exit 3\" TERM
        (sleep 0.1 &); (sleep 0.1 &); (sleep 0.1 &); echo set; while :; do sleep 600 & wait $!; done";
    let id = started(switch, &format!("gate probe -- sh -c '{payload}'"))?;
    logs(switch, &id, "set")?;
    // The gate, the shell and what the shell waits for: neither orphan nor zombie.
    switch.wait_text(&format!("docker top {id} -o pid,comm | tail -n +2 | grep -c ."), "3", SOON)?;
    for signal in ["USR1", "HUP"] {
        switch.ok(&format!("docker kill --signal {signal} {id}"))?;
        logs(switch, &id, &format!("got {signal}"))?;
    }
    row_becomes(switch, UP)?;
    let code = stop(switch, &id)?;
    ensure!(code == "3", "the payload's last word was 3, the container's is {code}");
    logs(switch, &id, "got TERM")?;
    row_becomes(switch, DOWN)
}

fn stopped_while_waiting(switch: &Switch) -> Result<()> {
    let row = "sonic-db-cli STATE_DB HGETALL 'FEATURE|sflow'";
    let before = switch.ok(row)?;
    // A pod's, by what it is not given; the owner of sflow is local.
    let id = switch.ok("docker run --detach --name inside$RANDOM --net=host --env IMAGE_VERSION=2 \
           --volume /var/run/redis:/var/run/redis docker-sflow:latest")?;
    logs(switch, &id, "waiting: the owner is local: the pod is kept out")?;
    let code = stop(switch, &id)?;
    ensure!(code == "0", "it ended with {code}");
    let after = switch.ok(row)?;
    ensure!(before == after, "the row was {before:?} and is {after:?}");
    Ok(())
}

fn separate_calls(switch: &Switch) -> Result<()> {
    let call = |words: &str| {
        let output = run(switch, "--rm", words)?;
        ensure!(output.success(), "{words}: it ended with {}: {}", output.status, output.stderr);
        Ok(())
    };
    for owner in ["local", "systemd", "docker", "legacy"] {
        call(&format!("container state probe up {owner}"))?;
        row_becomes(switch, UP)?;
        call("system container state probe down")?;
        row_becomes(switch, DOWN)?;
    }
    call("container state probe up local 1.2.4")?;
    row_becomes(switch, "local probe 1.2.4")?;
    call("container state probe up local 1.2.3")?;
    let id = started(switch, "watch probe")?;
    // The kernel keeps a signal from the first process of a container that does not listen for it.
    let listens = format!(
        "pid=$(docker inspect --format '{{{{.State.Pid}}}}' {id})
         [ $((0x$(awk '/^SigCgt/ {{ print $2 }}' /proc/$pid/status) & 0x4000)) != 0 ]"
    );
    switch.wait_ok("the watch listens for SIGTERM", SOON, &listens)?;
    let code = stop(switch, &id)?;
    ensure!(code == "0", "the watch ended with {code}");
    row_becomes(switch, DOWN)?;

    // Somebody else's entry is left alone.
    switch.ok(&format!("sonic-db-cli STATE_DB HSET '{ROW}' current_owner kube container_id 0123456789ab"))?;
    call("container state probe down")?;
    row_becomes(switch, "kube 0123456789ab 1.2.3")
}

fn seeds_calls(stage: &Stage<'_>) -> Result<()> {
    stage.bridge()?;
    // As supervisord would: the start program first, then the payload and the watch, all told to end together.
    let pod = stage.pod_that(
        NEWER,
        "switchyard system container state snmp up kube || exit 1
         switchyard watch snmp & watch=$!
         lab-payload run snmp & payload=$!
         trap \"kill -TERM $payload $watch\" TERM
         wait $payload; wait $payload; wait $watch",
    )?;
    stage.row_becomes("local snmp pending up true")?;
    ensure!(!pod.has_served()?, "the pod began before its turn");
    stage.restart()?;
    stage.is_in_charge(&pod)?;
    // systemd's restart would say up again.
    stage.switch.hold_starts("snmp.service")?;
    let code = stop(stage.switch, &pod.id)?;
    ensure!(code != KILLED, "it had to be killed");
    pod.says("down feature=snmp")?;
    stage.row_becomes("none - stopped down true")?;
    stage.switch.let_start("snmp.service")
}
