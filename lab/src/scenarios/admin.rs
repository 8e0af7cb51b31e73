//! enable, disable, mask and unmask: what an operator wants of a feature, now and after the next boot.

use anyhow::{Result, ensure};

use super::facts::{
    DEPENDENTS, SOON, UNTOUCHED, down, expect, facts, local, property, run, wait_another_run, wait_local,
};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::{Boot, Switch};

/// The scenarios of this module.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "system service disable and enable write CONFIG_DB and wait until the unit has followed",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: with_featured,
    },
    Scenario {
        name: "system service disable and enable do featured's steps where it does not run",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: without_featured,
    },
    Scenario {
        name: "what was enabled or disabled and saved is so after a reboot",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: over_a_reboot,
    },
    Scenario {
        name: "a masked feature is refused with the way out, and starts once it is unmasked",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: masked,
    },
    Scenario {
        name: "the state of a feature that is always enabled cannot be changed",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: always_enabled,
    },
];

/// Disables and enables one that runs, and checks that each is complete when the command returns.
fn off_and_on(switch: &Switch, feature: &str) -> Result<()> {
    let unit = format!("{feature}.service");
    for _ in 0..2 {
        switch.ok(&format!("system service disable {feature}"))?;
        expect(switch, feature, &down("inactive"))?;
        ensure!(switch.config(feature, "state")? == "disabled", "{feature} should be disabled in CONFIG_DB");
        is_masked(switch, feature)?;
    }
    let refused = switch.refused(&format!("systemctl start {feature}"))?;
    ensure!(refused.stderr.contains("masked"), "a disabled feature cannot be started: {}", refused.stderr);
    switch.ok(&format!("system service enable {feature}"))?;
    ensure!(
        property(switch, &unit, "ActiveState")? == "active",
        "{unit} should be active when enable returns"
    );
    ensure!(switch.config(feature, "state")? == "enabled", "{feature} should be enabled in CONFIG_DB");
    wait_local(switch, feature)?;
    let before = run(switch, feature)?;
    switch.ok(&format!("system service enable {feature}"))?;
    ensure!(run(switch, feature)? == before, "enabling {feature} twice must not restart it");
    Ok(())
}

/// Waits until featured has recorded that a feature is enabled: it does when its own start has ended.
fn is_recorded(switch: &Switch, feature: &str) -> Result<()> {
    switch.wait_text(&format!("sonic-db-cli STATE_DB HGET 'FEATURE|{feature}' state"), "enabled", SOON)
}

/// Waits until a unit cannot be started any more: featured's next step when it is down.
fn is_masked(switch: &Switch, feature: &str) -> Result<()> {
    let state = format!("systemctl show --value --property UnitFileState {feature}.service");
    switch.wait_text(&state, "masked", SOON)
}

fn with_featured(switch: &Switch) -> Result<()> {
    off_and_on(switch, "bgp")?;
    is_recorded(switch, "bgp")?;
    // A delayed one, and the one that featured leaves alone.
    off_and_on(switch, "snmp")?;
    off_and_on(switch, "telemetry")?;

    // One that was never enabled before.
    expect(switch, "sflow", UNTOUCHED)?;
    switch.ok("system service enable sflow")?;
    wait_local(switch, "sflow")?;
    is_recorded(switch, "sflow")?;

    // What goes down with a feature is said before it does.
    let disabled = switch.sh("system service disable swss")?;
    ensure!(disabled.success(), "disabling swss failed: {}", disabled.stderr);
    let told = disabled.stderr.lines().find(|line| line.starts_with("stopping with swss.service"));
    let told = told.unwrap_or_default();
    ensure!(
        DEPENDENTS.iter().all(|unit| told.contains(&format!("{unit}.service"))),
        "who stops with swss is missing in: {}",
        disabled.stderr
    );
    expect(switch, "swss", &down("inactive"))?;
    is_masked(switch, "swss")?;
    switch.ok("system service enable swss")?;
    wait_local(switch, "swss")?;
    for feature in DEPENDENTS {
        switch.ok(&format!("system service start {feature}"))?;
        wait_local(switch, feature)?;
    }

    // featured does nothing for a unit that is enabled and stopped: enable means that it runs.
    switch.ok("systemctl stop bgp && system service enable bgp")?;
    wait_local(switch, "bgp")
}

fn without_featured(switch: &Switch) -> Result<()> {
    switch.ok("systemctl stop featured")?;
    for feature in ["lldp", "telemetry"] {
        off_and_on(switch, feature)?;
    }
    // On a switch that never had featured nobody has said that sflow is to be restarted.
    switch.ok("rm -f /etc/systemd/system/sflow.service.d/auto_restart.conf && systemctl daemon-reload")?;
    switch.ok("system service enable sflow")?;
    wait_local(switch, "sflow")?;
    ensure!(switch.state("sflow", "state")? == "enabled", "it should be recorded that sflow is enabled");
    let before = run(switch, "sflow")?;
    switch.payload("sflow", "crash 1")?;
    wait_another_run(switch, "sflow", &before)?;
    switch.ok("system service disable sflow")?;
    expect(switch, "sflow", &down("inactive"))?;
    ensure!(switch.state("sflow", "state")? == "disabled", "it should be recorded that sflow is disabled");

    // A start that fails is recorded as such.
    switch.drop_in("sflow.service", "[Service]\nExecStartPre=/bin/false\nRestart=no\n")?;
    switch.refused("system service enable sflow")?;
    ensure!(switch.state("sflow", "state")? == "failed", "it should be recorded that sflow did not start");
    switch.ok("system service disable sflow").map(drop)
}

fn over_a_reboot(switch: &Switch) -> Result<()> {
    switch.ok(
        "system service disable lldp && system service disable telemetry && system service enable sflow",
    )?;
    switch.ok("config save -y")?;
    switch.reboot(Boot::Cold)?;
    for disabled in ["lldp", "telemetry"] {
        let now = facts(switch, disabled)?;
        ensure!(
            now.starts_with("- - - -; inactive; stopped"),
            "{disabled} was disabled and saved, and is {now}"
        );
        ensure!(
            switch.config(disabled, "state")? == "disabled",
            "{disabled} should be disabled after the boot"
        );
    }
    wait_local(switch, "sflow")?;

    // What was not saved is as before.
    switch.ok("system service enable lldp && system service disable sflow")?;
    switch.reboot(Boot::Cold)?;
    wait_local(switch, "sflow")?;
    let now = facts(switch, "lldp")?;
    ensure!(
        now.starts_with("- - - -; inactive; stopped"),
        "enabling lldp was not saved, and yet it is {now}"
    );
    switch.ok(
        "system service enable lldp && system service enable telemetry && system service disable sflow",
    )?;
    wait_local(switch, "telemetry")
}

fn masked(switch: &Switch) -> Result<()> {
    let before = run(switch, "lldp")?;
    switch.ok("system service mask lldp")?;
    ensure!(facts(switch, "lldp")? == local("lldp") && run(switch, "lldp")? == before, "what runs goes on");
    refused_as_masked(switch, "restart")?;
    ensure!(run(switch, "lldp")? == before, "a refused restart must not stop it");

    switch.ok("system service stop lldp")?;
    expect(switch, "lldp", &down("inactive"))?;
    refused_as_masked(switch, "start")?;
    expect(switch, "lldp", &down("inactive"))?;

    switch.ok("system service unmask lldp && system service start lldp")?;
    wait_local(switch, "lldp")
}

fn refused_as_masked(switch: &Switch, verb: &str) -> Result<()> {
    let refused = switch.refused(&format!("system service {verb} lldp"))?;
    ensure!(refused.status == 8, "{verb} of a masked unit ended with {}", refused.status);
    let said = refused.stderr.trim();
    ensure!(said.lines().count() == 1, "an error is one line: {said}");
    ensure!(
        said.contains("lldp.service")
            && said.contains("masked")
            && said.contains("system service unmask lldp"),
        "the unit, the cause or the way out is missing in: {said}"
    );
    Ok(())
}

fn always_enabled(switch: &Switch) -> Result<()> {
    let refused = switch.refused("system service disable database")?;
    ensure!(refused.status == 8, "disabling database ended with {}", refused.status);
    ensure!(refused.stderr.contains("always"), "the cause is missing in: {}", refused.stderr);
    ensure!(switch.config("database", "state")? == "always_enabled", "the row of database was changed");
    ensure!(property(switch, "database.service", "ActiveState")? == "active", "database was stopped");
    Ok(())
}
