//! `container list`: every instance of every feature, with who runs it.

use std::process::ExitCode;

use crate::args::Output;
use crate::error::CliError;
use crate::output;
use crate::rows::{self, Row};
use serde::Serialize;
use switchyard_core::CurrentOwner;
use switchyard_host::Host;

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
    let mut host = Host::open(crate::KUBERNETES)?;
    let running = host.engine.running_names().await?;
    let read = rows::read(&mut host)?;
    let lines: Vec<Line> = read.rows.into_iter().map(|row| line(row, &running)).collect();
    print(&lines, format);
    Ok(read.code)
}

fn line(Row { instance, config, state }: Row, running: &[String]) -> Line {
    let name = instance.container_name();
    let pod = state.container_id.as_ref().filter(|_| state.current_owner == CurrentOwner::Kube);
    let engine_name = pod.map_or_else(|| name.clone(), |id| id.short().to_string());
    Line {
        running: running.contains(&engine_name),
        name,
        feature: instance.feature.to_string(),
        asic: instance.asic.map(|asic| asic.0),
        state: config.state.to_string(),
        set_owner: config.set_owner.to_string(),
        current_owner: state.current_owner.to_string(),
        container_id: state.container_id.map(|id| id.to_string()),
        version: state.container_version.map(|version| version.to_string()),
        system_state: state.system_state.map(|state| state.to_string()),
        remote_state: state.remote_state.to_string(),
        update_time: state.update_time,
    }
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
