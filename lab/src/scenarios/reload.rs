//! `config reload`: everything goes down, the configuration is loaded anew, everything comes up.

use anyhow::{Result, ensure};

use super::facts::{ENABLED, runs, wait_all_local};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::{Switch, User};

/// The scenarios of this module.
pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    // BI#19528, BI#25931.
    name: "config reload brings all enabled features back, three times in a row, and fails no unit",
    switch: SwitchKind::SingleAsic,
    long: false,
    run: three_times,
}];

fn three_times(switch: &Switch) -> Result<()> {
    for time in 1..=3 {
        let before = runs(switch, &ENABLED)?;
        switch.ok_as(User::Admin, "sudo config reload -y")?;
        switch.wait_features()?;
        wait_all_local(switch)?;
        for ((feature, before), now) in ENABLED.iter().zip(&before).zip(runs(switch, &ENABLED)?) {
            ensure!(*before != now, "reload {time} should have restarted {feature}");
        }
        let failed = switch.ok("systemctl --failed --plain --no-legend")?;
        ensure!(failed.is_empty(), "after reload {time} these had failed: {failed}");
    }
    Ok(())
}
