//! `container list`: every instance of every feature, with who runs it.

use std::process::ExitCode;

use serde::Serialize;
use switchyard_core::{Scope, instances_of};

use crate::args::Output;
use crate::error::CliError;
use crate::host::Host;
use crate::output;

#[derive(Serialize)]
struct Line {
    name: String,
    feature: String,
    asic: Option<u8>,
    state: String,
    set_owner: String,
    current_owner: String,
    container_id: Option<String>,
    version: Option<String>,
    system_state: Option<String>,
    remote_state: String,
    running: bool,
    update_time: Option<String>,
}

pub(super) async fn main(format: Output) -> Result<ExitCode, CliError> {
    let mut host = Host::open()?;
    let running = host.engine.running_names().await?;
    let mut lines = Vec::new();
    for feature in host.switch.feature_names()? {
        let Some(config) = host.switch.feature_config(&feature)? else { continue };
        let scope = Scope { global: config.has_global_scope, per_asic: config.has_per_asic_scope };
        for instance in instances_of(&feature, scope, host.switch.asics()) {
            let row = host.switch.feature_state(&instance)?.unwrap_or_default();
            let name = instance.container_name();
            lines.push(Line {
                running: running.contains(&name) || row.current_owner == switchyard_core::CurrentOwner::Kube,
                name,
                feature: feature.to_string(),
                asic: instance.asic.map(|asic| asic.0),
                state: config.state.to_string(),
                set_owner: config.set_owner.to_string(),
                current_owner: row.current_owner.to_string(),
                container_id: row.container_id.map(|id| id.to_string()),
                version: row.container_version.map(|version| version.to_string()),
                system_state: row.system_state.map(|state| state.to_string()),
                remote_state: row.remote_state.to_string(),
                update_time: row.update_time,
            });
        }
    }
    print(&lines, format);
    Ok(ExitCode::SUCCESS)
}

fn print(lines: &[Line], format: Output) {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let narrow = |line: &Line| {
        let running = if line.running { "yes" } else { "no" };
        vec![
            line.name.clone(),
            line.state.clone(),
            running.to_owned(),
            line.current_owner.clone(),
            text(&line.container_id),
            text(&line.version),
        ]
    };
    match format {
        Output::Json => output::json(&lines),
        Output::Table => output::table(
            &["Name", "State", "Running", "Owner", "ContainerId", "Version"],
            &lines.iter().map(narrow).collect::<Vec<_>>(),
        ),
        Output::Wide => {
            let wide = |line: &Line| {
                let more = [
                    line.set_owner.clone(),
                    text(&line.system_state),
                    line.remote_state.clone(),
                    text(&line.update_time),
                ];
                narrow(line).into_iter().chain(more).collect()
            };
            let header = [
                "Name",
                "State",
                "Running",
                "Owner",
                "ContainerId",
                "Version",
                "SetOwner",
                "SystemState",
                "RemoteState",
                "UpdateTime",
            ];
            output::table(&header, &lines.iter().map(wide).collect::<Vec<Vec<_>>>());
        }
    }
}
