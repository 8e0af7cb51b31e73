//! What is enabled comes back after every kind of boot, what is disabled does not, and the switch remembers why.

use anyhow::{Context, Result, ensure};

use super::facts::{ENABLED, wait_all_local};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::{Boot, Switch};

/// The scenarios of this module.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a cold reboot stops features in order and brings enabled ones back",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: cold,
    },
    Scenario {
        name: "a warm reboot kills features by service_mgmt.sh's path and brings enabled ones back",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: warm,
    },
    Scenario {
        name: "a fast reboot kills features by service_mgmt.sh's path and brings enabled ones back",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: fast,
    },
    Scenario {
        name: "a power failure loses no enabled feature",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: power_failure,
    },
];

/// What is noted before the switch goes down.
struct Before {
    /// How many lines each payload's log had.
    lines: Vec<(&'static str, usize)>,
    /// The last transition of each feature that was told.
    told: Vec<Transition>,
}

fn before(switch: &Switch) -> Result<Before> {
    let mut before = Before { lines: Vec::new(), told: Vec::new() };
    for feature in ENABLED {
        before.lines.push((feature, log(switch, feature)?.len()));
        before
            .told
            .push(history(switch, feature)?.pop().with_context(|| format!("{feature} has no history"))?);
    }
    Ok(before)
}

fn cold(switch: &Switch) -> Result<()> {
    let before = before(switch)?;
    switch.reboot(Boot::Cold)?;
    back(switch, &before, &["released", "acquired"], "UnitStopped")?;
    ensure!(!boot_type(switch)?.contains("SONIC_BOOT_TYPE"), "a cold boot has no type");
    Ok(())
}

fn warm(switch: &Switch) -> Result<()> {
    killed(switch, Boot::Warm, "warm")
}

fn fast(switch: &Switch) -> Result<()> {
    killed(switch, Boot::Fast, "fast")
}

fn killed(switch: &Switch, boot: Boot, name: &str) -> Result<()> {
    let before = before(switch)?;
    // As on a real switch: the reboot script kills lldp, and stops its unit only then.
    switch.drop_in("lldp.service", "[Service]\nRestartSec=30\n")?;
    switch.reboot(boot)?;
    ensure!(boot_type(switch)?.ends_with(&format!("SONIC_BOOT_TYPE={name}")), "this was no {name} boot");
    // Killed, so the payload had no time to note that it ended.
    back(switch, &before, &["acquired"], "KillAsked")?;
    switch.wait_finalized()
}

fn power_failure(switch: &Switch) -> Result<()> {
    let before = before(switch)?;
    switch.crash()?;
    back(switch, &before, &["acquired"], "OwnerLocal")
}

/// Insists that all is as before, that each payload noted these events meanwhile, and that each feature's history has
/// what was told before and this reason after it.
fn back(switch: &Switch, before: &Before, events: &[&str], reason: &str) -> Result<()> {
    wait_all_local(switch)?;
    for ((feature, lines), told) in before.lines.iter().zip(&before.told) {
        let log = log(switch, feature)?;
        let since: Vec<&str> = log[*lines..].iter().map(String::as_str).collect();
        ensure!(since == events, "the payload of {feature} noted {since:?} instead of {events:?}");
        let history = history(switch, feature)?;
        let last = history.iter().rposition(|transition| transition == told);
        let last = last.with_context(|| format!("{feature} does not tell any more of {told:?}"))?;
        let since: Vec<&str> = history[last + 1..].iter().map(|(_, reason)| reason.as_str()).collect();
        ensure!(
            since.contains(&reason) && since.last() == Some(&"OwnerLocal"),
            "{feature} should tell of {reason} and of its start, and tells {since:?}"
        );
    }
    Ok(())
}

/// The events that a payload noted, oldest first.
fn log(switch: &Switch, instance: &str) -> Result<Vec<String>> {
    let log = switch.ok(&format!("cut --delimiter=' ' --fields=2 /run/payload/{instance}.log"))?;
    Ok(log.lines().map(str::to_owned).collect())
}

/// When something happened to a feature, and the name of the rule behind it.
type Transition = (String, String);

/// What `explain` tells of a feature's past, oldest first.
fn history(switch: &Switch, feature: &str) -> Result<Vec<Transition>> {
    let lines = switch.ok(&format!(
        "system service explain -o json {feature} | jq --raw-output '.[].history[] | .time + \"\\t\" + .reason'"
    ))?;
    let transitions = lines.lines().filter_map(|line| line.split_once('\t'));
    Ok(transitions.map(|(time, reason)| (time.to_owned(), reason.to_owned())).collect())
}

fn boot_type(switch: &Switch) -> Result<String> {
    switch.ok("cat /proc/cmdline")
}
