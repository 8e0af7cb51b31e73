//! `system service list`: the features with their units and owners.

use std::process::ExitCode;

use serde::Serialize;
use switchyard_sonic::Units;

use crate::args::Output;
use crate::error::CliError;
use crate::output;
use crate::rows::{self, Row};
use switchyard_host::Host;

#[derive(Serialize)]
struct Line {
    name: String,
    unit: String,
    state: String,
    unit_file_state: String,
    active_state: String,
    sub_state: String,
    set_owner: String,
    current_owner: String,
}

pub(super) async fn main(format: Output) -> Result<ExitCode, CliError> {
    let mut host = Host::open(crate::KUBERNETES)?;
    let units = Units::connect().await?;
    let mut lines = Vec::new();
    let read = rows::read(&mut host)?;
    for Row { instance, config, state } in read.rows {
        let status = units.status(&instance.unit_name()).await?;
        lines.push(Line {
            name: instance.container_name(),
            unit: instance.unit_name(),
            state: config.state.to_string(),
            unit_file_state: status.unit_file_state,
            active_state: status.active_state,
            sub_state: status.sub_state,
            set_owner: config.set_owner.to_string(),
            current_owner: state.current_owner.to_string(),
        });
    }
    let narrow = |line: &Line| {
        vec![line.name.clone(), line.state.clone(), line.active_state.clone(), line.current_owner.clone()]
    };
    match format {
        Output::Json => output::json(&lines),
        Output::Table => {
            output::table(
                &["Name", "State", "Active", "Owner"],
                &lines.iter().map(narrow).collect::<Vec<_>>(),
            );
        }
        Output::Wide => {
            let header = ["Name", "State", "Active", "Owner", "Unit", "UnitFile", "Sub", "SetOwner"];
            let wide = |line: &Line| {
                let more = [&line.unit, &line.unit_file_state, &line.sub_state, &line.set_owner];
                narrow(line).into_iter().chain(more.into_iter().cloned()).collect()
            };
            output::table(&header, &lines.iter().map(wide).collect::<Vec<Vec<_>>>());
        }
    }
    Ok(read.code)
}
