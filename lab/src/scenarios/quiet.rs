//! What is planned is no error: the journal stays clean of them.

use anyhow::{Result, ensure};

use super::facts::{run, wait_another_run, wait_local};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Switch;

/// The scenarios of this module.
pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "a planned stop, start and restart log nothing at ERR",
    switch: SwitchKind::SingleAsic,
    long: false,
    run: planned_is_no_error,
}];

fn planned_is_no_error(switch: &Switch) -> Result<()> {
    // What is an error is seen where we look for it.
    let since = switch.now()?;
    switch.refused("container start no-such-feature")?;
    let errors = switch.journal_of(&since, "--priority=err")?;
    ensure!(
        errors.contains("no-such-feature"),
        "an error should be logged as one, and the journal has: {errors:?}"
    );

    let since = switch.now()?;
    for feature in ["swss", "bgp", "lldp", "snmp", "telemetry"] {
        let before = run(switch, feature)?;
        switch.ok(&format!("system service restart {feature}"))?;
        wait_another_run(switch, feature, &before)?;
        switch.ok(&format!("system service stop {feature} && system service stop {feature}"))?;
        switch.ok(&format!(
            "systemctl start {feature}; systemctl stop {feature}; system service start {feature}"
        ))?;
        wait_local(switch, feature)?;
    }
    for dependent in ["bgp", "lldp", "snmp"] {
        wait_local(switch, dependent)?;
    }
    let told = switch.journal_of(&since, "--identifier=container --identifier=system")?;
    ensure!(
        told.contains("the unit was stopped"),
        "what was done should be told, and the journal has: {told}"
    );
    let errors = switch.journal_of(&since, "--priority=err")?;
    ensure!(errors.is_empty(), "planned, and yet logged as errors: {errors}");
    Ok(())
}
