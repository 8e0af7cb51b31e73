//! Features that need each other go down and come up together, in order.

use anyhow::{Result, ensure};

use super::facts::{DEPENDENTS, SOON, down, expect, last, run, runs, wait_another_run, wait_for, wait_local};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Switch;

/// The scenarios of this module.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "stopping the feature that all need stops the others, and starting it brings them back in order",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: stop_and_start,
    },
    Scenario {
        name: "system service says what stops and restarts with a feature, and brings all of it back",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: told_and_restarted,
    },
    Scenario {
        name: "a crash of the feature that all need takes the others down and all come back",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: crash,
    },
];

fn stop_and_start(switch: &Switch) -> Result<()> {
    let aside = run(switch, "telemetry")?;
    switch.ok("systemctl stop swss")?;
    for instance in DEPENDENTS.iter().chain(&["swss"]) {
        expect(switch, instance, &down("inactive"))?;
    }
    for dependent in DEPENDENTS {
        ensure!(
            last(switch, dependent, "released")? < last(switch, "swss", "released")?,
            "{dependent} needs swss and should have gone down before it"
        );
    }

    switch.ok("systemctl start swss")?;
    all_after_swss(switch)?;
    ensure!(
        run(switch, "telemetry")? == aside,
        "telemetry does not need swss and should have been left alone"
    );
    Ok(())
}

/// Waits until swss and what needs it runs, and insists on who came first.
fn all_after_swss(switch: &Switch) -> Result<()> {
    wait_local(switch, "swss")?;
    for dependent in DEPENDENTS {
        wait_local(switch, dependent)?;
        ensure!(
            last(switch, dependent, "acquired")? > last(switch, "swss", "acquired")?,
            "{dependent} needs swss and should have come up after it"
        );
    }
    Ok(())
}

fn told_and_restarted(switch: &Switch) -> Result<()> {
    let aside = run(switch, "telemetry")?;
    let before = runs(switch, &DEPENDENTS)?;
    let said = switch.sh("system service restart swss 2>&1")?;
    ensure!(said.success(), "restart failed: {}", said.text());
    // systemd knows of these; that swss.sh stops snmp too is between that script and its list.
    for unit in ["bgp.service", "lldp.service"] {
        ensure!(said.text().contains(unit), "{unit} restarts with swss, but was told only: {}", said.text());
    }
    for (dependent, before) in DEPENDENTS.iter().zip(&before) {
        wait_another_run(switch, dependent, before)?;
    }
    all_after_swss(switch)?;

    let said = switch.sh("system service stop swss 2>&1")?;
    ensure!(said.success() && said.text().contains("bgp.service"), "stop said: {}", said.text());
    for instance in DEPENDENTS.iter().chain(&["swss"]) {
        expect(switch, instance, &down("inactive"))?;
    }
    // One that needs swss brings it up, as its unit says.
    switch.ok("system service start bgp")?;
    wait_local(switch, "bgp")?;
    all_after_swss(switch)?;
    ensure!(
        run(switch, "telemetry")? == aside,
        "telemetry does not need swss and should have been left alone"
    );
    Ok(())
}

fn crash(switch: &Switch) -> Result<()> {
    let aside = run(switch, "telemetry")?;
    let before = runs(switch, &DEPENDENTS)?;
    switch.payload("swss", "crash 1")?;
    for (dependent, before) in DEPENDENTS.iter().zip(&before) {
        wait_another_run(switch, dependent, before)?;
    }
    all_after_swss(switch)?;
    ensure!(
        run(switch, "telemetry")? == aside,
        "telemetry does not need swss and should have been left alone"
    );

    // One that the others do not need goes and comes alone.
    let before = runs(switch, &["swss", "bgp", "snmp"])?;
    let lldp = run(switch, "lldp")?;
    switch.hold_starts("lldp.service")?;
    switch.payload("lldp", "crash 1")?;
    wait_for(switch, "lldp", &down("activating"), SOON)?;
    switch.let_start("lldp.service")?;
    wait_another_run(switch, "lldp", &lldp)?;
    ensure!(
        runs(switch, &["swss", "bgp", "snmp"])? == before,
        "nobody needs lldp, but others were restarted"
    );
    Ok(())
}
