//! `show kubernetes …`: the server, as it is configured and as it goes, and the wanted labels.

use std::process::ExitCode;

use serde_json::json;
use switchyard_sonic::{Fields, Paths, SERVER_PORT, Switch, parse_server_config, parse_server_status};

use super::args::{KubernetesVerb, ServerVerb};
use super::{cell, why};
use crate::args::Output;
use crate::error::CliError;
use crate::output;
use crate::runtime::block_on;

/// Answers one question.
pub(super) fn main(verb: &KubernetesVerb, format: Output) -> Result<ExitCode, CliError> {
    if let KubernetesVerb::Status = verb {
        return block_on(why::main(format));
    }
    let mut switch = Switch::open(Paths::from_env())?;
    match verb {
        KubernetesVerb::Server { verb: ServerVerb::Config } => config(&mut switch, format)?,
        KubernetesVerb::Server { verb: ServerVerb::Status } => status(&mut switch, format)?,
        KubernetesVerb::Labels => labels(&mut switch, format)?,
        KubernetesVerb::Status => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn config(switch: &mut Switch, format: Output) -> Result<(), CliError> {
    let fields = switch.raw_server_config()?;
    if format == Output::Json {
        let config = parse_server_config(&fields)?;
        output::json(&json!({
            "configured": !fields.is_empty(),
            "ip": config.ip,
            "port": config.port,
            "insecure": config.insecure,
            "disable": config.disable,
        }));
    } else if fields.is_empty() {
        output::line("Kubernetes server is not configured");
    } else {
        output::table(&["ip", "port", "insecure", "disable"], &[config_row(&fields)]);
    }
    Ok(())
}

/// What stands there, and for what does not the word that SONiC prints; but `insecure` is what it means when it is
/// missing, where SONiC says "True".
fn config_row(fields: &Fields) -> Vec<String> {
    let port = SERVER_PORT.to_string();
    [("ip", "False"), ("port", port.as_str()), ("insecure", "False"), ("disable", "False")]
        .map(|(field, missing)| cell(fields.get(field).map_or(missing, String::as_str)))
        .to_vec()
}

fn status(switch: &mut Switch, format: Output) -> Result<(), CliError> {
    let fields = switch.raw_server_status()?.unwrap_or_default();
    if format == Output::Json {
        let status = parse_server_status(&fields)?;
        output::json(&json!({
            "known": !fields.is_empty(),
            "ip": status.ip,
            "port": status.port,
            "connected": status.connected,
            "update_time": status.update_time,
            "reason": status.reason,
        }));
    } else if fields.is_empty() {
        output::line("Kubernetes server has no status info");
    } else {
        let (mut header, mut row) = (vec!["ip", "port", "connected", "update-time"], status_row(&fields));
        if format == Output::Wide {
            header.push("reason");
            row.push(cell(fields.get("reason").map_or("", String::as_str)));
        }
        output::table(&header, &[row]);
    }
    Ok(())
}

fn status_row(fields: &Fields) -> Vec<String> {
    let port = SERVER_PORT.to_string();
    [("ip", "False"), ("port", port.as_str()), ("connected", ""), ("update_time", "")]
        .map(|(field, missing)| cell(fields.get(field).map_or(missing, String::as_str)))
        .to_vec()
}

fn labels(switch: &mut Switch, format: Output) -> Result<(), CliError> {
    let labels = switch.labels()?;
    if format == Output::Json {
        let object = |(name, value): &(String, String)| json!({ "name": name, "value": value });
        output::json(&labels.iter().map(object).collect::<Vec<_>>());
    } else {
        let rows: Vec<_> = labels.iter().map(|(name, value)| vec![cell(name), cell(value)]).collect();
        output::table(&["name", "value"], &rows);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect()
    }

    /// The tables of SONIC.md 9.4.
    #[test]
    fn the_server_looks_as_in_sonics_own_tables() {
        let config =
            fields(&[("ip", "10.0.0.5"), ("port", "6443"), ("insecure", "True"), ("disable", "False")]);
        assert_eq!(
            output::render(&["ip", "port", "insecure", "disable"], &[config_row(&config)]),
            "\
ip        port    insecure    disable
--------  ------  ----------  ---------
10.0.0.5  6443    True        False
"
        );
        let status = fields(&[
            ("ip", "10.0.0.5"),
            ("port", "6443"),
            ("connected", "true"),
            ("update_time", "2026-08-01 10:00:00"),
            ("reason", ""),
        ]);
        assert_eq!(
            output::render(&["ip", "port", "connected", "update-time"], &[status_row(&status)]),
            "\
ip        port    connected    update-time
--------  ------  -----------  -------------------
10.0.0.5  6443    true         2026-08-01 10:00:00
"
        );
    }

    #[test]
    fn what_is_missing_is_told_as_sonic_does_and_what_is_empty_is_empty() {
        assert_eq!(config_row(&fields(&[("ip", "")])), ["", "6443", "False", "False"]);
        assert_eq!(config_row(&fields(&[("disable", "true")])), ["False", "6443", "False", "true"]);
        assert_eq!(status_row(&fields(&[("connected", "false")])), ["False", "6443", "false", ""]);
    }
}
