//! `switchyard doctor`: what joining a cluster needs, piece by piece, with the way out of what is missing.

use std::process::ExitCode;

use serde::Serialize;
use switchyard_agent::{host_name, invitation, node_files};
use switchyard_cluster::doctor::{Check, Examined, Verdict, checks};
use switchyard_sonic::{Paths, Switch, load_knobs};

use crate::args::Output;
use crate::error::CliError;
use crate::output;
use crate::runtime::block_on;

/// What something that is missing bears.
const MISSING: u8 = 1;

#[derive(Serialize)]
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
    let mut lines = Vec::new();
    let files = node_files(load_knobs(&paths.etc_sonic)?.node_program);
    let invited = invitation(&paths, &mut switch, files.program()).unwrap_or_else(|trouble| {
        lines.push(Line {
            check: "configuration".to_owned(),
            result: "missing",
            found: trouble.to_string(),
            remedy: None,
        });
        None
    });
    let host_name = host_name(&mut switch)
        .map_err(|trouble| CliError::Failed("reading the host name".to_owned(), trouble.to_string()))?;
    let examined = Examined { invitation: invited.as_ref(), host_name: &host_name, files: &files };
    lines.extend(checks(&examined).await.into_iter().map(line));
    Ok(lines)
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
