//! Features are started, stopped, restarted and killed, by every way there is to ask for it.

use anyhow::{Result, ensure};

use super::facts::{SOON, down, expect, facts, local, property, run, wait_another_run, wait_for, wait_local};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::{Switch, User};

/// One of each kind of image: a plain one, one with SONiC's start-up call, one behind our gate.
const KINDS: [&str; 3] = ["bgp", "snmp", "telemetry"];

/// The scenarios of this module.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "systemctl starts, stops, restarts and kills a feature as it always did",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: by_systemctl,
    },
    Scenario {
        name: "system service starts, stops, restarts and kills a feature and says what it is",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: by_system_service,
    },
    Scenario {
        name: "container start, stop, kill, wait and id serve a control script that runs as user admin",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: by_control_script,
    },
    Scenario {
        name: "a container's whole grace is told of at a terminal, and in no log",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: told_while_it_lasts,
    },
    Scenario {
        name: "system service reload is systemd's, and restarts nothing",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: reloaded,
    },
    Scenario {
        name: "what is told of features comes wide, and their journal as JSON, to who asks for it",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: forms,
    },
    Scenario {
        name: "a feature is refused to who may not manage it, and nothing changes",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: refused_without_rights,
    },
    Scenario {
        name: "a unit that is no feature is managed as with systemctl",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: no_feature,
    },
];

fn by_systemctl(switch: &Switch) -> Result<()> {
    for feature in KINDS {
        switch.ok(&format!("systemctl stop {feature}"))?;
        expect(switch, feature, &down("inactive"))?;
        switch.ok(&format!("systemctl start {feature}"))?;
        wait_local(switch, feature)?;
        ensure!(label(switch, feature)? == "false", "{feature} is local: no pod is wanted");

        let before = run(switch, feature)?;
        switch.ok(&format!("systemctl restart {feature}"))?;
        wait_another_run(switch, feature, &before)?;
    }
    killed_by_systemctl(switch, "telemetry")
}

fn killed_by_systemctl(switch: &Switch, feature: &str) -> Result<()> {
    // systemd stops what it was told to end, and starts it again. The fourth start in so short a time would be one
    // too many for systemctl.
    let before = run(switch, feature)?;
    switch.ok(&format!("systemctl reset-failed {feature}; systemctl kill {feature}"))?;
    wait_another_run(switch, feature, &before)?;

    // It calls no ExecStop after a main process that failed: the container lives on and is watched anew.
    let (unit, before) = (format!("{feature}.service"), run(switch, feature)?);
    let watcher = property(switch, &unit, "MainPID")?;
    switch.ok(&format!("systemctl reset-failed {feature}; systemctl kill --signal=KILL {feature}"))?;
    switch.wait_until(&format!("{feature} is watched again"), SOON, || {
        let now = property(switch, &unit, "MainPID")?;
        Ok(now != watcher && now != "0")
    })?;
    wait_local(switch, feature)?;
    ensure!(run(switch, feature)? == before, "the container of {feature} should have been left alone");
    switch.payload(feature, "crash 1")?;
    wait_another_run(switch, feature, &before)
}

fn by_system_service(switch: &Switch) -> Result<()> {
    for feature in KINDS {
        for _ in 0..2 {
            switch.ok(&format!("system service stop {feature}"))?;
            expect(switch, feature, &down("inactive"))?;
        }
        ensure!(status(switch, feature)?.0 == 3, "status of a stopped unit ends with 3, as systemctl's does");

        switch.ok(&format!("system service start {feature}"))?;
        wait_local(switch, feature)?;
        let (code, text) = status(switch, feature)?;
        ensure!(code == 0, "status of an active unit ends with 0: {text}");
        let container: serde_json::Value = serde_json::from_str(&text)?;
        let container = &container[0];
        ensure!(
            container["active_state"] == "active"
                && container["current_owner"] == "local"
                && container["container_running"] == true
                && container["version"] == "1.0.0",
            "status of {feature} is wrong: {container}"
        );

        let before = run(switch, feature)?;
        switch.ok(&format!("system service start {feature}"))?;
        ensure!(run(switch, feature)? == before, "starting {feature} twice must not restart it");
        switch.ok(&format!("system service restart {feature}"))?;
        wait_another_run(switch, feature, &before)?;

        // The seeds' way to say it; systemd starts it again.
        let before = run(switch, feature)?;
        switch.ok(&format!("systemctl reset-failed {feature}; system container kill {feature}"))?;
        wait_another_run(switch, feature, &before)?;
    }
    Ok(())
}

/// The exit code and the JSON of `system service status`.
fn status(switch: &Switch, feature: &str) -> Result<(i32, String)> {
    let output = switch.sh(&format!("system service status -o json {feature}"))?;
    Ok((output.status, output.text().to_owned()))
}

fn label(switch: &Switch, feature: &str) -> Result<String> {
    switch.ok(&format!("sonic-db-cli STATE_DB HGET 'KUBE_LABELS|SET' {feature}_enabled"))
}

fn told_while_it_lasts(switch: &Switch) -> Result<()> {
    const TOLD: &str = "waiting for lldp to stop";
    // `script` plays the person's terminal; without it, the caller is a control script.
    for (stop, is_told) in
        [("script -qec 'container stop -t 3 lldp' /dev/null", true), ("container stop -t 3 lldp", false)]
    {
        let before = run(switch, "lldp")?;
        switch.ok("systemctl reset-failed lldp")?;
        switch.payload("lldp", "hang")?;
        let said = switch.ok(&format!("{stop} 2>&1"))?;
        ensure!(said.contains(TOLD) == is_told, "`{stop}` said {said:?}");
        wait_another_run(switch, "lldp", &before)?;
    }
    Ok(())
}

fn reloaded(switch: &Switch) -> Result<()> {
    let before = run(switch, "lldp")?;
    // None of SONiC's features can: what systemctl says of it is said.
    let systemctl = switch.refused("systemctl reload lldp")?;
    let refused = switch.refused("system service reload lldp")?;
    let said = refused.stderr.trim();
    let first = systemctl.stderr.lines().next().unwrap_or_default();
    let (_, sentence) = first.split_once(": ").unwrap_or_default();
    ensure!(sentence.contains("not applicable"), "systemctl says {:?}", systemctl.stderr);
    ensure!(
        refused.status == 1 && said.lines().count() == 1 && said.contains(sentence),
        "reload ended with {} and said {said:?}, and systemctl {sentence:?}",
        refused.status
    );

    // As root, whoever the unit runs as.
    switch.drop_in("lldp.service", "[Service]\nExecReload=+/usr/bin/touch /run/lldp-reloaded\n")?;
    switch.ok("rm -f /run/lldp-reloaded; system service reload lldp && rm /run/lldp-reloaded")?;
    ensure!(run(switch, "lldp")? == before, "a reload must not restart lldp");
    expect(switch, "lldp", &local("lldp"))
}

fn forms(switch: &Switch) -> Result<()> {
    const STATUS: &str = "Feature State AutoRestart SystemState UpdateTime ContainerId Version SetOwner CurrentOwner \
                          RemoteState Outcome PodTrouble";
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let file = property(switch, "snmp.service", "UnitFileState")?;
    for (command, header, row) in [
        (
            "container list",
            "Name State Running Owner ContainerId Version SetOwner SystemState RemoteState UpdateTime",
            "snmp enabled yes local snmp 1.0.0 local up none 2".to_owned(),
        ),
        (
            "system service list",
            "Name State Active Owner Unit UnitFile Sub SetOwner",
            format!("snmp enabled active local snmp.service {file} running local"),
        ),
        ("switchyard show feature status", STATUS, "snmp enabled enabled up 2".to_owned()),
    ] {
        let told = switch.ok(&format!("{command} -o wide"))?;
        ensure!(
            words(told.lines().next().unwrap_or_default()) == header,
            "unexpected columns of {command}: {told}"
        );
        ensure!(
            told.lines().any(|line| words(line).starts_with(&row)),
            "no line {row:?} of {command}: {told}"
        );
    }
    let told = switch.ok("system service status -o wide snmp")?;
    let main_pid = format!("Main PID: {}", property(switch, "snmp.service", "MainPID")?);
    for line in ["Stable: ", "Remote: none", &main_pid] {
        ensure!(told.contains(line), "{line:?} is not in: {told}");
    }
    switch.ok("system service restart snmp")?;
    let entries = switch
        .ok("system service logs -n 3 -o json snmp | jq --slurp 'map(select(has(\"MESSAGE\"))) | length'")?;
    ensure!(entries == "3", "three entries were asked for as JSON: {entries}");
    wait_local(switch, "snmp")
}

/// The agent would take what runs a moment after its unit's end for left behind, and end it.
fn by_control_script(switch: &Switch) -> Result<()> {
    switch.ok("systemctl stop ctrmgrd")?;
    let told = control_script(switch);
    told.and(switch.ok("systemctl start ctrmgrd").map(drop))
}

fn control_script(switch: &Switch) -> Result<()> {
    let admin = |script: &str| switch.ok_as(User::Admin, script);
    let unit_off = |line: String| line.replace("; active;", "; inactive;");
    switch.ok("systemctl stop lldp")?;
    ensure!(admin("container id lldp")?.is_empty(), "nobody runs lldp: its id is an empty line");

    admin("/usr/bin/lldp.sh start")?;
    wait_for(switch, "lldp", &unit_off(local("lldp")), SOON)?;
    ensure!(admin("container id lldp")? == "lldp", "the local copy is called like its feature");

    // Killed from outside, ended in order, crashed: what `wait` returns is what docker-rs returned (SONIC.md 3.7).
    for (end, code) in [("container kill lldp", 0), ("container stop lldp", 0), (CRASH, 255)] {
        admin("container start lldp")?;
        wait_for(switch, "lldp", &unit_off(local("lldp")), SOON)?;
        let before = run(switch, "lldp")?;
        let returned = admin(&format!(
            "container wait lldp & wait=$!; until ls -l /proc/$wait/fd | grep -q lldp.lock; do sleep 0.05; done; \
             {end} > /dev/null; \
             timeout 5 tail --pid=$wait --follow /dev/null; wait $wait; echo $?"
        ))?;
        ensure!(returned == code.to_string(), "after `{end}` wait returned {returned} instead of {code}");
        expect(switch, "lldp", &down("inactive"))?;
        ensure!(run(switch, "lldp")? != before, "lldp should not run any more");
    }

    // One that records its own end is faster than the stop that asked for it, and nobody waits who would tell of it.
    switch.ok("systemctl stop telemetry")?;
    admin("container start telemetry")?;
    wait_for(switch, "telemetry", &unit_off(local("telemetry")), SOON)?;
    admin("container stop telemetry")?;
    expect(switch, "telemetry", &down("inactive"))?;
    let told = switch.ok("system service explain -o json telemetry | jq --compact-output '.[0].history[-1] | [.verb, .from, .to]'")?;
    ensure!(told == r#"["stop","local","none"]"#, "telemetry was stopped, and its history ends with {told}");
    Ok(())
}

const CRASH: &str = "lab-payload send lldp crash 3";

fn refused_without_rights(switch: &Switch) -> Result<()> {
    let before = run(switch, "snmp")?;
    for verb in ["stop", "restart", "mask"] {
        let output = switch.sh_as(User::Admin, &format!("system service {verb} snmp"))?;
        ensure!(output.status == 5, "{verb} without rights ended with {}", output.status);
        let said = output.stderr.trim().to_owned();
        ensure!(said.contains("sudo") && said.contains("snmp"), "the way out is missing in: {said}");
    }
    ensure!(run(switch, "snmp")? == before, "snmp was touched");
    ensure!(property(switch, "snmp.service", "UnitFileState")? != "masked", "snmp was masked");
    ensure!(facts(switch, "snmp")? == local("snmp"), "snmp should run as before");
    // What changes nothing is everybody's.
    switch
        .ok_as(User::Admin, "system service status snmp && system service explain snmp && container list")?;
    Ok(())
}

fn no_feature(switch: &Switch) -> Result<()> {
    let unit = "ssh.service";
    ensure!(property(switch, unit, "ActiveState")? == "inactive", "the lab leaves {unit} off");
    for name in ["ssh", unit] {
        switch.ok(&format!("system service start {name}"))?;
        ensure!(property(switch, unit, "ActiveState")? == "active", "{unit} should run");
        let pid = property(switch, unit, "MainPID")?;
        switch.ok(&format!("system service restart {name}"))?;
        ensure!(property(switch, unit, "MainPID")? != pid, "{unit} should have been restarted");
        ensure!(
            switch.ok(&format!("system service status {name}"))?.contains("OpenBSD Secure Shell"),
            "no status"
        );
        switch.ok(&format!("system service stop {name}"))?;
        ensure!(property(switch, unit, "ActiveState")? == "inactive", "{unit} should be down");
        let stopped = switch.sh(&format!("system service status {name}"))?;
        ensure!(stopped.status == 3, "systemctl's own code should come through: {}", stopped.status);
    }
    let unknown = switch.refused("system service start no-such-unit")?;
    ensure!(unknown.status == 3, "there is no such unit, and that ended with {}", unknown.status);
    ensure!(unknown.stderr.contains("no-such-unit"), "the unit should be named: {}", unknown.stderr);
    Ok(())
}
