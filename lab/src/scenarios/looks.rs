//! What people and programs see: JSON with known keys, and answers that are true whoever runs the feature.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::facts::wait_local;
use super::pod::{LOCAL, NEWER, Stage, with_patience};
use super::refusal::{difference, snapshot};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Switch;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "everything that prints gives valid JSON with known keys, and asking changes nothing",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: json,
    },
    Scenario {
        name: "status, list and explain say what is true of a local copy, up and down",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: local_truth,
    },
    Scenario {
        name: "status, list and explain say what is true of a pod, running and gone",
        switch: SwitchKind::SingleAsic,
        long: false,
        // What is said while a pod is waited for is looked at several times.
        run: |switch| with_patience(switch, &["telemetry"], Duration::from_mins(10), pod_truth),
    },
];

/// Each question with the keys of its answer, or of each line of its answer.
const QUESTIONS: [(&str, &str); 14] = [
    (
        "container list",
        "asic container_id current_owner feature name remote_state running set_owner state system_state update_time \
         version",
    ),
    ("container id snmp", "container_id name"),
    ("system service list", "active_state current_owner name set_owner state sub_state unit unit_file_state"),
    (
        "system service status snmp",
        "active_state container_exit_code container_id container_pid container_running container_started_at \
         current_owner description last_reason load_state main_pid name out_of_memory remote_state set_owner since \
         stable_version state sub_state unit unit_file_state update_time version",
    ),
    (
        "system service explain snmp",
        "history name next_start now owner pod_trouble pod_waits safety since stops_with_it updates \
         would_change_it",
    ),
    ("switchyard generate list", "complete feature files source version"),
    (
        "switchyard generate render /usr/share/doc/switchyard/examples/features.d/probe.toml",
        "content mode path",
    ),
    (
        "switchyard show feature status",
        "auto_restart container_id container_version current_owner name outcome pod_trouble remote_state \
         set_owner state system_state update_time",
    ),
    ("switchyard show feature config", "auto_restart fallback kube_update name set_owner state"),
    ("switchyard show feature autorestart", "auto_restart name"),
    ("switchyard show kubernetes server config", "configured disable insecure ip port"),
    ("switchyard show kubernetes server status", "connected ip known port reason update_time"),
    ("switchyard show kubernetes labels", "name value"),
    (
        "switchyard show kubernetes status",
        "ca_pin client_certificate connected features label_troubles node reason server since token",
    ),
];

fn ask(switch: &Switch, question: &str) -> Result<Value> {
    let text = switch.sh(&format!("{question} -o json"))?.stdout;
    serde_json::from_str(&text).with_context(|| format!("{question} prints no JSON: {text}"))
}

/// The one line of an answer that is about this instance.
fn ask_about(switch: &Switch, question: &str, instance: &str) -> Result<Value> {
    let answer = ask(switch, question)?;
    let line = answer.as_array().into_iter().flatten().find(|line| line["name"] == instance);
    line.cloned().with_context(|| format!("{question} says nothing of {instance}: {answer}"))
}

fn json(switch: &Switch) -> Result<()> {
    let before = snapshot(switch)?;
    for (question, keys) in QUESTIONS {
        let answer = ask(switch, question)?;
        let lines = answer.as_array().cloned().unwrap_or_else(|| vec![answer.clone()]);
        ensure!(!lines.is_empty(), "{question} prints an empty list");
        for line in lines {
            let found: Vec<&str> =
                line.as_object().into_iter().flat_map(|line| line.keys().map(String::as_str)).collect();
            ensure!(found.join(" ") == keys, "{question} should have the keys {keys:?}, and has {found:?}");
        }
    }
    let inspected = switch.ok("container inspect snmp")?;
    let inspected: Value = serde_json::from_str(&inspected).context("container inspect prints no JSON")?;
    let docker: Value = serde_json::from_str(&switch.ok("docker inspect snmp")?)?;
    for pointer in ["/0/Id", "/0/Name", "/0/State/Pid", "/0/Config/Image", "/0/HostConfig/NetworkMode"] {
        ensure!(
            inspected.pointer(pointer).is_some() && inspected.pointer(pointer) == docker.pointer(pointer),
            "container inspect and docker inspect disagree about {pointer}"
        );
    }
    let after = snapshot(switch)?;
    ensure!(before == after, "asking changed something: {}", difference(&before, &after));
    Ok(())
}

/// Insists on values of an answer.
fn says(answer: &Value, wanted: &[(&str, Value)]) -> Result<()> {
    for (key, value) in wanted {
        ensure!(&answer[key] == value, "{key} should be {value}, and is {}: {answer}", answer[key]);
    }
    Ok(())
}

/// What Docker knows of a container: its pid and when it began.
fn docker(switch: &Switch, container: &str) -> Result<(Value, Value)> {
    let text = switch.ok(&format!("docker inspect {container}"))?;
    let inspected: Value = serde_json::from_str(&text)?;
    Ok((inspected[0]["State"]["Pid"].clone(), inspected[0]["State"]["StartedAt"].clone()))
}

fn local_truth(switch: &Switch) -> Result<()> {
    switch.ok("system service restart snmp")?;
    wait_local(switch, "snmp")?;
    let since = switch.state("snmp", "current_owner_update_ts")?;
    // A row that moves on for another reason is no change of owner.
    switch.ok("sonic-db-cli STATE_DB HSET 'FEATURE|snmp' update_time '2099-01-01 00:00:00'")?;
    let (pid, began) = docker(switch, "snmp")?;
    let main_pid: u64 = switch.ok("systemctl show --value --property MainPID snmp")?.parse()?;
    let status = ask_about(switch, "system service status snmp", "snmp")?;
    says(
        &status,
        &[
            ("active_state", "active".into()),
            ("current_owner", "local".into()),
            ("container_id", "snmp".into()),
            ("container_running", true.into()),
            ("container_pid", pid),
            ("container_started_at", began),
            ("main_pid", main_pid.into()),
            ("version", LOCAL.into()),
            ("stable_version", LOCAL.into()),
            ("since", since.clone().into()),
            ("last_reason", "start: owner is local: systemd runs the image that came with the switch".into()),
        ],
    )?;
    let explained = ask_about(switch, "system service explain snmp", "snmp")?;
    says(
        &explained,
        &[
            ("owner", "local".into()),
            ("since", since.clone().into()),
            ("now", "the local image runs and is watched".into()),
            ("next_start", "owner is local: systemd runs the image that came with the switch".into()),
            ("stops_with_it", Value::Array(Vec::new())),
        ],
    )?;
    let text = switch.ok("system service status snmp; system service explain snmp")?;
    for words in [
        "Active: active (running)",
        &format!("Owner: local since {since}"),
        "Container: snmp, running since ",
        &format!("Version: {LOCAL}"),
        &format!("owner:       local since {since}"),
        "system service disable snmp: stops it, also after a boot",
    ] {
        ensure!(text.contains(words), "{words:?} is not in {text}");
    }
    let swss = ask_about(switch, "system service explain swss", "swss")?;
    let stops: Vec<&str> =
        swss["stops_with_it"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    ensure!(stops.contains(&"bgp.service") && stops.contains(&"lldp.service"), "with swss stop {stops:?}");

    switch.ok("system service stop snmp")?;
    let status = switch.sh("system service status snmp -o json")?;
    ensure!(
        status.status == 3,
        "status of a unit that is down should end with 3, and ended with {}",
        status.status
    );
    says(
        &ask_about(switch, "system service status snmp", "snmp")?,
        &[
            ("active_state", "inactive".into()),
            ("current_owner", "none".into()),
            ("container_id", Value::Null),
            ("container_running", false.into()),
            ("container_exit_code", 0.into()),
        ],
    )?;
    // Told by the stop or by the wait that ended with the container, whichever was first.
    let why = ask_about(switch, "system service status snmp", "snmp")?["last_reason"].to_string();
    ensure!(why.ends_with(": the unit was stopped\""), "the reason should be the stop, and is {why}");
    says(
        &ask_about(switch, "container list", "snmp")?,
        &[("running", false.into()), ("current_owner", "none".into()), ("system_state", "down".into())],
    )?;
    switch.ok("system service start snmp")?;
    switch.wait_serves("snmp")
}

fn pod_truth(stage: &Stage<'_>) -> Result<()> {
    let switch = stage.switch;
    let pod = stage.pod_in_charge()?;
    let (pid, began) = docker(switch, &pod.id)?;
    let status = ask_about(switch, "system service status telemetry", "telemetry")?;
    says(
        &status,
        &[
            ("set_owner", "kube".into()),
            ("current_owner", "kube".into()),
            ("container_id", pod.id.clone().into()),
            ("container_running", true.into()),
            ("container_pid", pid),
            ("container_started_at", began),
            ("version", NEWER.into()),
            ("stable_version", LOCAL.into()),
            ("remote_state", "running".into()),
            ("last_reason", "wait: the local copy has ended: the pod that asked may run".into()),
        ],
    )?;
    let listed = [
        ("running", true.into()),
        ("current_owner", "kube".into()),
        ("container_id", pod.id.clone().into()),
        ("version", NEWER.into()),
    ];
    says(&ask_about(switch, "container list", "telemetry")?, &listed)?;
    let explained = ask_about(switch, "system service explain telemetry", "telemetry")?;
    let now = explained["now"].as_str().unwrap_or_default();
    ensure!(now.contains(&pod.id) && now.ends_with("runs and is watched"), "explain says {now:?}");

    pod.dies()?;
    stage.row_becomes("none - stopped up true")?;
    says(
        &ask_about(switch, "container list", "telemetry")?,
        &[("running", false.into()), ("current_owner", "none".into()), ("container_id", Value::Null)],
    )?;
    says(
        &ask_about(switch, "system service explain telemetry", "telemetry")?,
        &[("owner", "none".into()), ("now", "nobody runs: a pod is waited for".into())],
    )
}
