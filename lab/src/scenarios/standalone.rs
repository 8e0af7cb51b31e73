//! A switch whose image was built without Kubernetes support: features live as ever, and of Kubernetes there is no word.

use anyhow::{Result, ensure};

use super::facts::run;
use super::pod::SOON;
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::{Boot, Moment, Switch};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "without Kubernetes support the whole life of a feature leaves no word about Kubernetes",
        switch: SwitchKind::NoKubernetes,
        long: false,
        run: whole_life,
    },
    Scenario {
        name: "without Kubernetes support an owner of Kubernetes is read as local",
        switch: SwitchKind::NoKubernetes,
        long: false,
        run: owner_is_kube,
    },
    Scenario {
        name: "without Kubernetes support features are back after a reboot, without a word about Kubernetes",
        switch: SwitchKind::NoKubernetes,
        long: false,
        run: reboot,
    },
];

/// SONiC's own start-up call, and our gate.
const FEATURES: [&str; 2] = ["snmp", "telemetry"];

/// All that we write into a row, and featured's outcome.
const FIELDS: &str = "container_id container_stable_version container_version current_owner current_owner_update_ts \
                      docker_id state system_state update_time";

fn whole_life(switch: &Switch) -> Result<()> {
    let version = switch.ok("switchyard --version")?;
    ensure!(version.ends_with(" standalone"), "this is not the variant without Kubernetes: {version}");
    let since = switch.now()?;
    for feature in FEATURES {
        for verb in ["restart", "stop", "start", "disable", "enable"] {
            switch.ok(&format!("system service {verb} {feature}"))?;
            match verb {
                "stop" | "disable" => row_becomes(switch, feature, "none - down")?,
                _ => runs_locally(switch, feature)?,
            }
        }
        for end in [format!("lab-payload send {feature} crash 1"), format!("docker kill {feature}")] {
            let before = run(switch, feature)?;
            switch.ok(&end)?;
            switch
                .wait_until(&format!("{feature} runs anew"), SOON, || Ok(run(switch, feature)? != before))?;
            switch.wait_text(&format!("systemctl is-active {feature} || true"), "active", SOON)?;
            runs_locally(switch, feature)?;
        }
        for question in ["status", "explain", "logs"] {
            let told = switch.ok(&format!("system service {question} {feature}"))?;
            ensure!(!speaks_of_kubernetes(&told), "{question} speaks of Kubernetes: {told}");
        }
    }
    not_a_word(switch, Some(&since))
}

fn owner_is_kube(switch: &Switch) -> Result<()> {
    let since = switch.now()?;
    for feature in FEATURES {
        // As a configuration that was written for another image has it.
        switch.ok(&format!(
            "sonic-db-cli CONFIG_DB HSET 'FEATURE|{feature}' set_owner kube no_fallback_to_local true"
        ))?;
        switch.ok(&format!("system service restart {feature}"))?;
        runs_locally(switch, feature)?;
        switch.ok(&format!("container stop {feature}"))?;
        runs_locally(switch, feature)?;
    }
    let told = not_a_word(switch, Some(&since));
    for feature in FEATURES {
        switch
            .ok(&format!("sonic-db-cli CONFIG_DB HDEL 'FEATURE|{feature}' set_owner no_fallback_to_local"))?;
    }
    told
}

fn reboot(switch: &Switch) -> Result<()> {
    switch.reboot(Boot::Cold)?;
    for feature in FEATURES {
        runs_locally(switch, feature)?;
    }
    not_a_word(switch, None)
}

fn runs_locally(switch: &Switch, feature: &str) -> Result<()> {
    row_becomes(switch, feature, &format!("local {feature} up"))?;
    switch.wait_serves(feature)
}

fn row_becomes(switch: &Switch, feature: &str, wanted: &str) -> Result<()> {
    let script = format!(
        "sonic-db-cli STATE_DB HMGET 'FEATURE|{feature}' current_owner container_id system_state | sed 's/^$/-/' | paste -sd' '"
    );
    switch.wait_text(&script, wanted, SOON)
}

fn speaks_of_kubernetes(text: &str) -> bool {
    text.to_lowercase().contains("kube")
}

/// Neither in the journal, nor in any row of STATE_DB, nor in the history.
fn not_a_word(switch: &Switch, since: Option<&Moment>) -> Result<()> {
    let journal = match since {
        Some(since) => switch.journal(since)?,
        None => switch.ok("journalctl --quiet --boot")?,
    };
    ensure!(journal.contains("systemd runs the image"), "what was done should be told: {journal}");
    let lines: Vec<&str> = journal.lines().filter(|line| speaks_of_kubernetes(line)).collect();
    ensure!(lines.is_empty(), "the journal speaks of Kubernetes: {}", lines.join("; "));
    let rows = switch.ok("sonic-db-cli STATE_DB KEYS '*' | sort | while read -r key; do
                            echo \"$key $(sonic-db-cli STATE_DB HGETALL \"$key\" | paste -sd' ')\"; done")?;
    ensure!(rows.contains("FEATURE|snmp"), "STATE_DB has no row of snmp: {rows}");
    let words = ["kube", "remote_"];
    let lines: Vec<&str> =
        rows.lines().filter(|line| words.iter().any(|word| line.to_lowercase().contains(word))).collect();
    ensure!(lines.is_empty(), "STATE_DB speaks of Kubernetes: {}", lines.join("; "));
    let fields = switch.ok("sonic-db-cli STATE_DB HKEYS 'FEATURE|snmp' | sort | paste -sd' '")?;
    ensure!(fields == FIELDS, "the row should have the fields {FIELDS:?}, and has {fields:?}");
    let history = switch.ok("cat /host/switchyard/history/*.jsonl")?;
    ensure!(!speaks_of_kubernetes(&history), "the history speaks of Kubernetes: {history}");
    Ok(())
}
