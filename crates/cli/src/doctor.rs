//! `switchyard doctor`: what joining a cluster needs, piece by piece, with the way out of what is missing.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use switchyard_agent::{host_name, invitation, node_files};
use switchyard_cluster::doctor::{Check, Examined, Verdict, checks};
use switchyard_core::Unit;
use switchyard_engine::{Engine, EngineError, SOCKET};
use switchyard_sonic::{Paths, SonicError, Switch, UnitStatus, Units, load_knobs};
use tokio::time::timeout;

use crate::agent;
use crate::args::Output;
use crate::error::CliError;
use crate::output;
use crate::runtime::block_on;

/// What something that is missing bears.
const MISSING: u8 = 1;

/// How long Docker may take to say that it is there. A dockerd that hangs never does.
const ANSWER_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize)]
struct Line {
    check: String,
    result: &'static str,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

pub(crate) fn main(format: Output) -> Result<ExitCode, CliError> {
    let lines = block_on(examine())?;
    match format {
        Output::Json => output::json(&lines),
        Output::Table | Output::Wide => lines.iter().for_each(print),
    }
    let missing = lines.iter().any(|line| line.result == "missing");
    Ok(if missing { ExitCode::from(MISSING) } else { ExitCode::SUCCESS })
}

async fn examine() -> Result<Vec<Line>, CliError> {
    let paths = Paths::from_env();
    let mut switch = Switch::open(paths.clone())?;
    let mut lines = vec![agent_line(&agent_status().await), docker(Path::new(SOCKET)).await];
    let files = node_files(load_knobs(&paths.etc_sonic)?.node_program);
    let invited = invitation(&paths, &mut switch, files.program()).unwrap_or_else(|trouble| {
        lines.push(missing("configuration", trouble.to_string(), None));
        None
    });
    let host_name = host_name(&mut switch)
        .map_err(|trouble| CliError::Failed("reading the host name".to_owned(), trouble.to_string()))?;
    let examined = Examined { invitation: invited.as_ref(), host_name: &host_name, files: &files };
    lines.extend(checks(&examined).await.into_iter().map(line));
    Ok(lines)
}

async fn agent_status() -> Result<UnitStatus, SonicError> {
    Units::connect().await?.status(agent::UNIT).await
}

/// The daemon that joins: without it nobody ever tries.
fn agent_line(status: &Result<UnitStatus, SonicError>) -> Line {
    const NAME: &str = "agent";
    let unit = agent::UNIT;
    let status = match status {
        Ok(status) if status.exists() => status,
        Ok(_) => return missing(NAME, format!("there is no {unit}"), Some("install the package switchyard")),
        Err(error) => return missing(NAME, error.to_string(), None),
    };
    if status.is_masked() {
        let remedy = format!("systemctl unmask {unit}; systemctl start {unit}");
        return missing(NAME, format!("{unit} is masked"), Some(&remedy));
    }
    match status.unit() {
        Unit::Active => good(NAME, format!("{unit} runs")),
        Unit::WillRestart => missing(
            NAME,
            format!("{unit} ends again and again ({})", status.result),
            Some(&format!("see: journalctl --unit {unit}")),
        ),
        Unit::Busy => Line {
            check: NAME.to_owned(),
            result: "warning",
            found: format!("{unit} is {}", status.active_state),
            remedy: Some(format!("see: systemctl status {unit}")),
        },
        Unit::Off => missing(
            NAME,
            format!("{unit} is {}", status.active_state),
            Some(&format!("systemctl start {unit}; if it ends: journalctl --unit {unit}")),
        ),
    }
}

/// The engine that runs pods' containers, and of which the agent asks how before it writes the kubelet's files.
async fn docker(socket: &Path) -> Line {
    let ping = async { Engine::connect(socket)?.ping().await };
    docker_line(timeout(ANSWER_MAX, ping).await.ok())
}

/// None if it has not answered in time.
fn docker_line(answer: Option<Result<(), EngineError>>) -> Line {
    const NAME: &str = "docker";
    const REMEDY: &str = "see: systemctl status docker";
    match answer {
        Some(Ok(())) => good(NAME, "answers".to_owned()),
        Some(Err(error)) => missing(NAME, error.to_string(), Some(REMEDY)),
        None => missing(NAME, format!("does not answer within {} s", ANSWER_MAX.as_secs()), Some(REMEDY)),
    }
}

fn good(check: &str, found: String) -> Line {
    Line { check: check.to_owned(), result: "ok", found, remedy: None }
}

fn missing(check: &str, found: String, remedy: Option<&str>) -> Line {
    Line { check: check.to_owned(), result: "missing", found, remedy: remedy.map(ToOwned::to_owned) }
}

fn line(check: Check) -> Line {
    let result = match check.verdict {
        Verdict::Good => "ok",
        Verdict::Warning => "warning",
        Verdict::Bad => "missing",
    };
    Line { check: check.name.to_owned(), result, found: check.found, remedy: check.remedy }
}

fn print(line: &Line) {
    output::line(&format!("{:<8} {:<16} {}", line.result, line.check, line.found));
    if let Some(remedy) = &line.remedy {
        output::line(&format!("{:<26}{remedy}", ""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent_is(load: &str, active: &str, sub: &str) -> Line {
        agent_line(&Ok(UnitStatus {
            load_state: load.to_owned(),
            active_state: active.to_owned(),
            sub_state: sub.to_owned(),
            result: "exit-code".to_owned(),
            ..UnitStatus::default()
        }))
    }

    #[test]
    fn an_agent_that_does_not_run_is_missing_and_its_way_out_told() {
        assert_eq!(agent_is("loaded", "active", "running").result, "ok");
        assert_eq!(agent_is("loaded", "activating", "start").result, "warning");
        for (load, active, sub, found) in [
            ("loaded", "inactive", "dead", "is inactive"),
            ("loaded", "failed", "failed", "is failed"),
            ("loaded", "activating", "auto-restart", "ends again and again (exit-code)"),
            ("masked", "inactive", "dead", "is masked"),
            ("not-found", "inactive", "dead", "there is no ctrmgrd.service"),
        ] {
            let line = agent_is(load, active, sub);
            assert_eq!(line.result, "missing", "{line:?}");
            assert!(line.found.contains(found) && line.remedy.is_some(), "{line:?}");
        }
    }

    #[test]
    fn a_docker_that_is_away_or_hangs_is_missing() {
        assert_eq!(docker_line(Some(Ok(()))).result, "ok");
        let hangs = docker_line(None);
        assert_eq!((hangs.result, hangs.found.as_str()), ("missing", "does not answer within 10 s"));
    }

    #[tokio::test]
    async fn nobody_behind_dockers_socket_is_told() {
        let nowhere = tempfile::tempdir().unwrap();
        let line = docker(&nowhere.path().join("docker.sock")).await;
        assert_eq!(line.result, "missing");
        assert!(line.found.contains("docker.sock"), "{line:?}");
    }
}
