//! The switches of this machine: up, down, and which there are.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use crate::command::step;
use crate::image::{Product, switch_image};
use crate::machine::{Machine, docker};
use crate::switch::{Host, Spec, Switch, disk};

/// What the names of switches begin with: `switch`, or what `SWITCHYARD_LAB_PREFIX` says, so that two people can tell
/// scenarios on one machine without meeting.
pub(crate) fn prefix() -> String {
    std::env::var("SWITCHYARD_LAB_PREFIX").unwrap_or_else(|_| "switch".to_owned())
}

/// The switch with this number.
pub(crate) fn switch_number(number: u32) -> Switch {
    Switch::new(format!("{}{number}", prefix()))
}

/// Brings up `switch1` to `switch<count>` and waits until their features serve.
pub fn up(product: &Product, count: u32, asics: u32) -> Result<Vec<Switch>> {
    ensure!((1..=16).contains(&count), "between 1 and 16 switches fit on a machine");
    ensure!((1..=8).contains(&asics), "between 1 and 8 ASICs make a switch");
    let machine = Machine::prepare()?;
    let image = switch_image(&machine, product)?;
    let spec = Spec { image, asics, disk: false };
    let switches: Vec<Switch> = (1..=count).map(switch_number).collect();
    // All are started before any is waited for: booting is mostly waiting.
    for switch in &switches {
        switch.ensure(&spec)?;
    }
    for switch in &switches {
        boot(switch)?;
    }
    Ok(switches)
}

/// Waits for one switch, and says so.
pub fn boot(switch: &Switch) -> Result<()> {
    step(&format!("{} boots", switch.name()), || switch.wait_booted())?;
    step(&format!("{}'s features start", switch.name()), || switch.wait_features())
}

/// Every switch of this machine, running or not.
pub fn list() -> Result<Vec<Switch>> {
    let names =
        docker(&["ps", "--all", "--filter", "label=switchyard.lab=switch", "--format", "{{.Names}}"])?;
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    Ok(names.into_iter().map(Switch::new).collect())
}

/// The switch called `name`, which must exist.
pub fn find(name: &str) -> Result<Switch> {
    let switches = list()?;
    let known: Vec<&str> = switches.iter().map(Switch::name).collect();
    let hint =
        if known.is_empty() { "there is none".to_owned() } else { format!("there are {}", known.join(", ")) };
    let position = known.iter().position(|known| *known == name);
    position
        .map(|at| switches[at].clone())
        .with_context(|| format!("no switch {name}: {hint}; `cargo xtask lab up`"))
}

/// Removes every switch, but not those that another prefix set apart as another person's; their `/host` stays for the
/// next ones unless `all` is asked for.
pub fn down(all: bool) -> Result<()> {
    let prefix = prefix();
    let ours = |switch: &Switch| {
        switch.name().strip_prefix(&prefix).is_some_and(|number| number.parse::<u32>().is_ok())
    };
    // A run that was killed may have left a disk whose switch is gone.
    let disks = disk::owners().into_iter().map(Switch::new);
    let switches: BTreeSet<Switch> = list()?.into_iter().chain(disks).collect();
    for switch in switches.into_iter().filter(ours) {
        step(&format!("removing {}", switch.name()), || {
            switch.remove(if all { Host::Remove } else { Host::Keep })
        })?;
    }
    Ok(())
}
