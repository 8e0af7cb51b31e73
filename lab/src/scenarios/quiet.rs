//! What is planned is no error: the journal stays clean of them.

use anyhow::{Result, ensure};

use super::facts::{ENABLED, run, wait_all_local, wait_another_run};
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
    for feature in ENABLED {
        let before = run(switch, feature)?;
        switch.ok(&format!("system service restart {feature}"))?;
        wait_another_run(switch, feature, &before)?;
        switch.ok(&format!("system service stop {feature} && systemctl stop {feature}"))?;
        switch.ok(&format!("systemctl start {feature} && system service start {feature}"))?;
        // Those that need it come up behind its back, and would bring it back up if the next took them down now.
        wait_all_local(switch)?;
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
