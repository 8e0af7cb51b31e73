//! What `switchyard config feature` writes, and who acts on it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{SOON, refused_with};
use crate::switch::{Switch, User};

pub(super) fn features(switch: &Switch) -> Result<()> {
    let does = |command: &str| -> Result<()> {
        let output = switch.sh(command)?;
        ensure!(
            output.success() && output.stdout.is_empty() && output.stderr.is_empty(),
            "{command} ended with {} and said {:?} {:?}",
            output.status,
            output.stdout,
            output.stderr
        );
        Ok(())
    };
    for (command, field, value) in [
        ("owner sflow kube", "set_owner", "kube"),
        ("owner sflow local", "set_owner", "local"),
        ("fallback sflow off", "no_fallback_to_local", "true"),
        ("fallback sflow on", "no_fallback_to_local", "false"),
        ("update sflow hold", "kube_update", "hold"),
        ("autorestart sflow disabled", "auto_restart", "disabled"),
        ("auto sflow enabled", "auto_restart", "enabled"),
    ] {
        does(&format!("switchyard config feature {command}"))?;
        let is = switch.config("sflow", field)?;
        ensure!(is == value, "after {command}, {field} is {is:?}");
    }
    let told = switch.sh("switchyard show feature config sflow")?.stdout;
    let wanted = "\
Feature    State     AutoRestart    Owner    fallback    KubeUpdate
---------  --------  -------------  -------  ----------  ------------
sflow      disabled  enabled        local    true        hold
";
    ensure!(told == wanted, "it prints\n{told}");

    // With --block it is done when the command ends.
    for (state, active) in [("enabled", "active"), ("disabled", "inactive")] {
        does(&format!("switchyard config feature state sflow {state} --block --timeout 60"))?;
        ensure!(switch.state("sflow", "state")? == state, "featured has not said {state}");
        switch.wait_text("systemctl is-active sflow || true", active, SOON)?;
    }
    // A start that fails is told at once, and a featured that says nothing is not waited for without end.
    switch.drop_in("sflow.service", "[Service]\nExecStartPre=/bin/false\n")?;
    let failed = "Feature failed to be enabled";
    let enable = |seconds: u32| {
        refused_with(
            switch,
            &format!("switchyard config feature state sflow enabled --block --timeout {seconds}"),
        )
    };
    let (begin, said) = (Instant::now(), enable(120)?);
    ensure!(
        said == failed && begin.elapsed() < Duration::from_mins(1),
        "{said:?} after {:?}",
        begin.elapsed()
    );
    does("switchyard config feature state sflow disabled --block --timeout 60")?;
    switch.ok("systemctl stop featured")?;
    let (begin, said) = (Instant::now(), enable(2)?);
    ensure!(
        said == failed && begin.elapsed() >= Duration::from_secs(2),
        "{said:?} after {:?}",
        begin.elapsed()
    );
    switch.ok("switchyard config feature state sflow disabled; systemctl start featured")?;
    let always = switch.sh("switchyard config feature autorestart database disabled")?;
    ensure!(
        (always.status, always.text())
            == (0, "Feature 'database' auto-restart is always enabled and can not be modified"),
        "unexpected: {always:?}"
    );
    shown(switch)
}

/// To everybody who may read Redis, and as SONiC's own `show` has it.
fn shown(switch: &Switch) -> Result<()> {
    let told = switch.sh_as(User::Admin, "switchyard show feat status snmp")?.stdout;
    let value = |field: &str| switch.state("snmp", field);
    let configured = |field: &str| switch.config("snmp", field);
    let columns = [
        ("Feature", "snmp".to_owned()),
        ("State", configured("state")?),
        ("AutoRestart", configured("auto_restart")?),
        ("SystemState", value("system_state")?),
        ("UpdateTime", value("update_time")?),
        ("ContainerId", value("container_id")?),
        ("Version", value("container_version")?),
        ("SetOwner", configured("set_owner")?),
        ("CurrentOwner", value("current_owner")?),
        ("RemoteState", value("remote_state")?),
    ];
    let width = |(name, value): &(&str, String)| value.len().max(name.len() + 2);
    let line = |cell: &dyn Fn(&(&str, String)) -> String| {
        let cells: Vec<String> =
            columns.iter().map(|column| format!("{:1$}", cell(column), width(column))).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    let wanted = line(&|(name, _)| (*name).to_owned())
        + &line(&|column| "-".repeat(width(column)))
        + &line(&|(_, value)| value.clone());
    ensure!(told == wanted, "it prints\n{told}and should print\n{wanted}");

    let all = switch.ok_as(User::Admin, "switchyard show feature autorestart")?;
    ensure!(all.starts_with("Feature       AutoRestart\n") || all.contains("AutoRestart\n"), "{all}");
    let text = switch.ok("switchyard show feature status -o json")?;
    let lines: Value = serde_json::from_str(&text).context("show feature status prints no JSON")?;
    let snmp = lines.as_array().into_iter().flatten().find(|line| line["name"] == "snmp");
    let keys: Vec<&str> = snmp
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|line| line.keys().map(String::as_str))
        .collect();
    ensure!(
        keys.join(" ")
            == "auto_restart container_id container_version current_owner name outcome pod_trouble remote_state set_owner state \
                system_state update_time",
        "the keys are {keys:?}"
    );
    Ok(())
}

pub(super) fn namespaces(switch: &Switch) -> Result<()> {
    let everywhere = |field: &str| {
        switch.ok(&format!(
            "for namespace in '' '-n asic0' '-n asic1'; do sonic-db-cli $namespace CONFIG_DB HGET 'FEATURE|bgp' {field}; \
             done | paste -sd ' '"
        ))
    };
    switch.ok("switchyard config feature autorestart bgp disabled")?;
    ensure!(
        everywhere("auto_restart")? == "disabled disabled disabled",
        "auto_restart is {}",
        everywhere("auto_restart")?
    );
    switch.ok("switchyard config feature autorestart bgp enabled")?;
    switch.ok("switchyard config feature update bgp hold")?;
    ensure!(everywhere("kube_update")? == "hold", "kube_update is {}", everywhere("kube_update")?);
    for owner in ["kube", "local"] {
        switch.ok(&format!("switchyard config feature owner bgp {owner}"))?;
        let owners = everywhere("set_owner")?;
        ensure!(owners == [owner; 3].join(" "), "who is to run bgp is {owners}");
    }
    switch.ok("sonic-db-cli -n asic1 CONFIG_DB HSET 'FEATURE|bgp' auto_restart disabled")?;
    let refused = refused_with(switch, "switchyard config feature autorestart bgp disabled");
    switch.ok("sonic-db-cli -n asic1 CONFIG_DB HSET 'FEATURE|bgp' auto_restart enabled")?;
    ensure!(refused? == "Feature 'bgp' auto-restart is not consistent across namespaces");
    Ok(())
}
