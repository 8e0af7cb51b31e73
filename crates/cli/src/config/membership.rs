//! `config kubernetes join` and `reset`: the wish goes into the server's row, the agent does the work, and what it says of
//! it in STATE_DB is waited for and told.

use std::time::Duration;

use switchyard_agent::node_files;
use switchyard_cluster::NodeFiles;
use switchyard_core::{Instance, Scope, instances_of};
use switchyard_engine::{Engine, SOCKET};
use switchyard_sonic::{FeatureKeys, Paths, ServerStatus, Switch, image_names, load_knobs};
use tokio::time::{Instant, timeout_at};

use super::kubernetes::set;
use crate::agent;
use crate::click::Stop;
use crate::error::CliError;
use crate::output::tell;
use crate::runtime::block_on;

pub(super) fn join(timeout: u32) -> Result<(), Stop> {
    let mut switch = Switch::open(Paths::from_env())?;
    let config = switch.server_config()?;
    let Some(host) = &config.ip else {
        return Err(Stop::refused(&"No server is configured; first: config kubernetes server ip <address>"));
    };
    set("disable", "False")?;
    switch.announce_server()?;
    let wanted = host.to_string();
    let is_so = move |status: &ServerStatus| status.connected && status.ip.as_deref() == Some(&wanted);
    wait_for(&mut switch, timeout, "the switch has not joined", is_so)
}

pub(super) fn reset(force: bool, timeout: u32) -> Result<(), Stop> {
    let mut switch = Switch::open(Paths::from_env())?;
    check_leave(&mut switch, force)?;
    set("disable", "True")?;
    switch.announce_server()?;
    // The row is empty after a boot, until the agent has looked at the files.
    let files = files_of(&switch)?;
    let has_left = move |status: &ServerStatus| {
        // A kubelet that runs static pods is set up by us, and belongs to nobody.
        let none = files.joined_to().is_none() && (!files.are_ours() || files.has_static_pods());
        status.ip.is_none() && none
    };
    wait_for(&mut switch, timeout, "the switch has not left", has_left)
}

/// A member that is to stay away from its server leaves it, as by `reset`; another switch only writes that down.
pub(super) fn check_disable(force: bool) -> Result<(), Stop> {
    let mut switch = Switch::open(Paths::from_env())?;
    if files_of(&switch)?.joined_to().is_some() { check_leave(&mut switch, force) } else { Ok(()) }
}

fn files_of(switch: &Switch) -> Result<NodeFiles, CliError> {
    Ok(node_files(load_knobs(&switch.paths().etc_sonic)?.node_program))
}

/// Refuses to leave while features would stop for it; forced, it only names them.
fn check_leave(switch: &mut Switch, force: bool) -> Result<(), Stop> {
    let homeless = block_on(homeless(switch))?;
    if homeless.is_empty() {
        return Ok(());
    }
    let names = homeless.join(", ");
    if !force {
        return Err(Stop::refused(&format!(
            "Only Kubernetes can run {names}, which would stop; disable them first, or leave with --force"
        )));
    }
    tell(&format!("with no image here that may run, these stop: {names}"));
    Ok(())
}

/// The features that would stop with the membership.
async fn homeless(switch: &mut Switch) -> Result<Vec<String>, CliError> {
    let engine = Engine::connect(std::path::Path::new(SOCKET))?;
    let images = image_names(switch.paths())?;
    let latest: Vec<String> =
        engine.images().await?.iter().flat_map(|image| &image.names).map(ToString::to_string).collect();
    let FeatureKeys { names, .. } = switch.feature_keys()?;
    let mut homeless = Vec::new();
    for feature in names {
        let Some(config) = switch.feature_config(&feature)? else { continue };
        let scope = Scope { global: config.has_global_scope, per_asic: config.has_per_asic_scope };
        let has_image = match images.get(&feature) {
            Some(image) => latest.contains(&format!("{image}:latest")),
            None => has_container(&engine, &instances_of(&feature, scope, switch.asics())).await?,
        };
        if config.stops_without_cluster(has_image) {
            homeless.push(feature.to_string());
        }
    }
    Ok(homeless)
}

async fn has_container(engine: &Engine, instances: &[Instance]) -> Result<bool, CliError> {
    let mut engine = engine.clone();
    for instance in instances {
        if engine.container(&instance.container_name()).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn wait_for(
    switch: &mut Switch,
    timeout: u32,
    what: &str,
    is_so: impl Fn(&ServerStatus) -> bool,
) -> Result<(), Stop> {
    let timeout = Duration::from_secs(timeout.into());
    Ok(block_on(async {
        let deadline = Instant::now() + timeout;
        let mut changes = switch.server_changes().await?;
        let mut told = None;
        loop {
            let status = switch.server_status()?.unwrap_or_default();
            if status.reason.is_some() && told != status.reason {
                told.clone_from(&status.reason);
                tell(status.reason.as_deref().unwrap_or_default());
            }
            if is_so(&status) {
                return Ok(());
            }
            match timeout_at(deadline, changes.next()).await {
                Ok(told_of) => told_of?,
                Err(_) => {
                    return Err(CliError::TooLate(format!(
                        "{what} after {} s; it goes on trying; see: show kubernetes status; systemctl status {}",
                        timeout.as_secs(),
                        agent::UNIT
                    )));
                }
            }
        }
    })?)
}
