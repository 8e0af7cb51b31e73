//! `config feature …`: rows of CONFIG_DB's FEATURE table. `featured` and the agent do the rest.

use std::time::Duration;

use switchyard_core::{FeatureName, Instance};
use switchyard_sonic::{Fields, Paths, Switch};
use tokio::time::timeout;

use super::args::FeatureVerb;
use crate::click::Stop;
use crate::error::CliError;
use crate::output;
use crate::runtime::block_on;
use crate::service::LEFT_ALONE;

/// Carries out one verb.
pub(super) fn run(verb: &FeatureVerb) -> Result<(), Stop> {
    match verb {
        #[cfg(feature = "kubernetes")]
        FeatureVerb::Owner { name, owner } => kubernetes_field(name, "set_owner", owner),
        #[cfg(feature = "kubernetes")]
        FeatureVerb::Fallback { name, fallback } => {
            let forbidden = if fallback == "on" { "false" } else { "true" };
            kubernetes_field(name, "no_fallback_to_local", forbidden)
        }
        #[cfg(feature = "kubernetes")]
        FeatureVerb::Update { name, update } => kubernetes_field(name, "kube_update", update),
        FeatureVerb::State { name, state, block, timeout } => {
            let patience = block.then(|| Duration::from_secs((*timeout).into()));
            set_state(name, state, patience)
        }
        FeatureVerb::Autorestart { name, auto_restart } => set_auto_restart(name, auto_restart),
    }
}

/// What is about Kubernetes stands on the host alone, but for the owner: that a container of one ASIC asks for where it
/// lives (SONIC.md 4.2), and its pod would wait for ever.
#[cfg(feature = "kubernetes")]
fn kubernetes_field(name: &str, field: &str, value: &str) -> Result<(), Stop> {
    let unknown = || Stop::refused(&format!("Unable to retrieve {name} from FEATURE table"));
    let feature = FeatureName::parse(name).map_err(|_| unknown())?;
    let mut switch = Switch::open(Paths::from_env())?;
    let row = switch.raw_config(&feature)?.ok_or_else(unknown)?;
    if feature.is_database() && value == "kube" {
        return Err(Stop::refused(
            &"database carries the rows of all features: it is always local, and never Kubernetes'",
        ));
    }
    if field == "set_owner" {
        let says_so = |row: &Option<Fields>| {
            row.as_ref().is_some_and(|row| row.get(field).is_some_and(|is| is == value))
        };
        if !switch.raw_configs(&feature)?.iter().all(says_so) {
            switch.set_feature_field(&feature, field, value)?;
        }
    } else if row.get(field).is_none_or(|is| is != value) {
        switch.set_host_feature_field(&feature, field, value)?;
    }
    Ok(())
}

/// A feature with its rows of every namespace, which must agree on a field.
fn agreed(switch: &mut Switch, name: &str, field: &str, called: &str) -> Result<(FeatureName, String), Stop> {
    let missing = || Stop::refused(&format!("Feature '{name}' doesn't exist"));
    let feature = FeatureName::parse(name).map_err(|_| missing())?;
    let rows: Option<Vec<Fields>> = switch.raw_configs(&feature)?.into_iter().collect();
    let values: Vec<String> =
        rows.ok_or_else(missing)?.iter().map(|row| row.get(field).cloned().unwrap_or_default()).collect();
    match values.first() {
        Some(first) if values.iter().all(|value| value == first) => Ok((feature, first.clone())),
        _ => Err(Stop::refused(&format!("Feature '{name}' {called} is not consistent across namespaces"))),
    }
}

fn set_state(name: &str, wanted: &str, patience: Option<Duration>) -> Result<(), Stop> {
    let mut switch = Switch::open(Paths::from_env())?;
    let (feature, is) = agreed(&mut switch, name, "state", "state")?;
    if let Some(always) = is.strip_prefix("always_") {
        return Err(Stop::refused(&format!(
            "Feature '{name}' state is always {always} and can not be modified"
        )));
    }
    if patience.is_some() && LEFT_ALONE.contains(&feature.as_str()) {
        return Err(Stop::refused(&format!(
            "featured never says whether {feature} is {wanted}: nothing can be waited for; see: system service --help"
        )));
    }
    let outcome = switch.admin_outcome(&Instance::on_host(feature.clone()))?;
    if is != wanted {
        switch.set_feature_field(&feature, "state", wanted)?;
    }
    match patience {
        Some(patience) if !block_on(comes_true(&mut switch, feature, wanted, outcome, patience))? => {
            Err(Stop::refused(&format!("Feature failed to be {wanted}")))
        }
        _ => Ok(()),
    }
}

/// Whether `featured` says so before time is up. Its word from before the change is none about it.
async fn comes_true(
    switch: &mut Switch,
    feature: FeatureName,
    wanted: &str,
    before: Option<String>,
    patience: Duration,
) -> Result<bool, CliError> {
    let instance = Instance::on_host(feature);
    let told = async {
        loop {
            let mut changes = switch.changes(&instance).await?;
            loop {
                let outcome = switch.admin_outcome(&instance)?;
                match outcome.as_deref() {
                    Some(word) if word == wanted => return Ok(true),
                    Some("failed") if outcome != before => return Ok(false),
                    _ => {}
                }
                // Redis was restarted: what changed meanwhile is seen after subscribing anew.
                if changes.next().await.is_err() {
                    break;
                }
            }
        }
    };
    timeout(patience, told).await.unwrap_or(Ok(false))
}

fn set_auto_restart(name: &str, wanted: &str) -> Result<(), Stop> {
    let mut switch = Switch::open(Paths::from_env())?;
    let (feature, is) = agreed(&mut switch, name, "auto_restart", "auto-restart")?;
    if is == "always_enabled" {
        // SONiC takes this for done.
        output::line(&format!("Feature '{name}' auto-restart is always enabled and can not be modified"));
    } else if is != wanted {
        switch.set_feature_field(&feature, "auto_restart", wanted)?;
    }
    Ok(())
}
