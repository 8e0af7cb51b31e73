//! `system service status`: what systemd knows, and what the container says.

use std::process::ExitCode;

use serde::Serialize;
use switchyard_core::Instance;
use switchyard_sonic::UnitStatus;

use crate::args::Output;
use crate::error::CliError;
use crate::output;
use crate::service::Known;

/// systemctl's own codes for status.
const NOT_ACTIVE: u8 = 3;
const NO_SUCH_UNIT: u8 = 4;

#[derive(Serialize)]
pub(super) struct Report {
    name: String,
    unit: String,
    description: String,
    load_state: String,
    unit_file_state: String,
    active_state: String,
    sub_state: String,
    main_pid: u32,
    state: String,
    set_owner: String,
    current_owner: String,
    container_id: Option<String>,
    container_running: bool,
    container_pid: Option<i64>,
    container_started_at: Option<String>,
    container_exit_code: Option<i64>,
    out_of_memory: bool,
    version: Option<String>,
    stable_version: Option<String>,
    remote_state: String,
    since: Option<String>,
    update_time: Option<String>,
    last_reason: Option<String>,
}

pub(super) async fn main(mut known: Known, format: Output) -> Result<ExitCode, CliError> {
    let mut reports = Vec::new();
    let mut code = 0;
    for instance in known.instances.clone() {
        let status = known.units.status(&instance.unit_name()).await?;
        code = code.max(match (status.load_state.as_str(), status.active_state.as_str()) {
            ("not-found", _) => NO_SUCH_UNIT,
            (_, "active" | "reloading") => 0,
            _ => NOT_ACTIVE,
        });
        reports.push(report(&mut known, &instance, status).await?);
    }
    match format {
        Output::Json => output::json(&reports),
        Output::Table | Output::Wide => {
            for report in &reports {
                print(report, format == Output::Wide);
            }
        }
    }
    Ok(ExitCode::from(code))
}

async fn report(known: &mut Known, instance: &Instance, unit: UnitStatus) -> Result<Report, CliError> {
    let row = known.host.switch.feature_state(instance)?.unwrap_or_default();
    let name = instance.container_name();
    let id = row.engine_name(&name).map_or_else(|| name.clone(), |id| id.to_string());
    let container = known.host.engine.container(&id).await?;
    let last = switchyard_host::last(&known.host.paths.host, instance).pop();
    Ok(Report {
        unit: instance.unit_name(),
        description: unit.description,
        load_state: unit.load_state,
        unit_file_state: unit.unit_file_state,
        active_state: unit.active_state,
        sub_state: unit.sub_state,
        main_pid: unit.main_pid,
        state: known.config.state.to_string(),
        set_owner: known.config.set_owner.to_string(),
        current_owner: row.current_owner.to_string(),
        container_id: row.container_id.map(|id| id.to_string()),
        container_running: container.as_ref().is_some_and(|container| container.running),
        container_pid: container.as_ref().and_then(|container| container.pid),
        container_started_at: container.as_ref().and_then(|container| container.started_at.clone()),
        container_exit_code: container
            .as_ref()
            .filter(|c| !c.running)
            .and_then(|container| container.exit_code),
        out_of_memory: container.as_ref().is_some_and(|container| container.out_of_memory),
        version: container
            .and_then(|container| container.version)
            .or(row.container_version)
            .map(|v| v.to_string()),
        stable_version: row.stable_version.map(|version| version.to_string()),
        remote_state: row.remote_state.to_string(),
        since: row.owner_since,
        update_time: row.update_time,
        last_reason: last.map(|entry| format!("{}: {}", entry.verb, entry.message)),
        name,
    })
}

fn print(report: &Report, wide: bool) {
    let none = || "-".to_owned();
    let text = |value: &Option<String>| value.clone().unwrap_or_else(none);
    output::line(&format!("{} - {}", report.unit, report.description));
    output::line(&format!("     Loaded: {} ({})", report.load_state, report.unit_file_state));
    output::line(&format!("     Active: {} ({})", report.active_state, report.sub_state));
    output::line(&format!("    Feature: {} in CONFIG_DB, owner {}", report.state, report.set_owner));
    let since = text(&report.since);
    output::line(&format!("      Owner: {} since {since}", report.current_owner));
    output::line(&format!("  Container: {}, {}", text(&report.container_id), running(report)));
    output::line(&format!("    Version: {}", text(&report.version)));
    output::line(&format!("        Why: {}", text(&report.last_reason)));
    if wide {
        output::line(&format!("     Stable: {}", text(&report.stable_version)));
        output::line(&format!("     Remote: {}", report.remote_state));
        output::line(&format!("   Main PID: {}", report.main_pid));
    }
}

fn running(report: &Report) -> String {
    let memory = if report.out_of_memory { ", killed for its memory" } else { "" };
    match (report.container_running, report.container_exit_code) {
        (true, _) => {
            let at = report.container_started_at.as_deref().unwrap_or("-");
            let pid = report.container_pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            format!("running since {at}, pid {pid}")
        }
        (false, Some(code)) => format!("not running, last exit code {code}{memory}"),
        (false, None) => "not running".to_owned(),
    }
}
