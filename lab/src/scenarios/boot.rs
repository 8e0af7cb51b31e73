//! A switch boots, and its features run as CONFIG_DB says.

use anyhow::{Result, ensure};

use crate::scenario::{Scenario, SwitchKind};
use crate::switch::{Instance, Switch};

/// The scenarios of this module.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a switch boots with every enabled feature up and the disabled one down",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: enabled_features_are_up,
    },
    Scenario {
        name: "a switch with two ASICs runs an instance of each per-ASIC feature for each",
        switch: SwitchKind::TwoAsics,
        long: false,
        run: each_asic_has_its_instances,
    },
];

fn enabled_features_are_up(switch: &Switch) -> Result<()> {
    switch.wait_booted()?;
    let features = switch.features()?;
    for name in ["swss", "bgp", "lldp", "snmp", "telemetry"] {
        ensure!(serving(&features, name) == Some(true), "{name} should be up: {features:?}");
    }
    ensure!(serving(&features, "sflow") == Some(false), "sflow is disabled and should be down: {features:?}");
    ensure!(switch.state("bgp", "state")? == "enabled", "featured should have recorded that bgp is enabled");
    // The wish was a template; featured renders it and writes the result back.
    ensure!(
        switch.config("bgp", "state")? == "enabled",
        "the template in bgp's state should have been rendered"
    );
    Ok(())
}

fn each_asic_has_its_instances(switch: &Switch) -> Result<()> {
    let features = switch.features()?;
    for name in ["swss0", "swss1", "bgp0", "bgp1", "lldp"] {
        ensure!(serving(&features, name) == Some(true), "{name} should be up: {features:?}");
    }
    ensure!(serving(&features, "bgp").is_none(), "bgp has no instance of the host's: {features:?}");
    ensure!(
        switch.ok("systemctl is-active bgp.service || true")? == "inactive",
        "the host's bgp unit should not run on a switch with two ASICs"
    );
    let namespaces = switch
        .ok("jq -r '.INCLUDES[] | .namespace // \"host\"' /var/run/redis/sonic-db/database_global.json")?;
    ensure!(namespaces == "host\nasic0\nasic1", "unexpected namespaces: {namespaces}");
    Ok(())
}

fn serving(features: &[Instance], name: &str) -> Option<bool> {
    features.iter().find(|instance| instance.name == name).map(|instance| instance.serving)
}
