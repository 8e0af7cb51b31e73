//! `show feature …`: the rows of features side by side.

use std::process::ExitCode;

use serde_json::{Map, Value, json};
use switchyard_core::{FeatureName, Instance, Scope, instances_of};
use switchyard_sonic::{Fields, Paths, Switch, Units, parse_bool, parse_config};

use super::args::{FeatureVerb, Which};
use super::cell;
use crate::args::Output;
use crate::click::Stop;
use crate::runtime::block_on;
use crate::{KUBERNETES, output};

/// A column, the field that it shows, and what stands there in a row that lacks it.
struct Column(&'static str, &'static str, &'static str);

/// The last two are what came of the configured state, and why its pod cannot start; they are not in SONiC's table.
const STATUS: [Column; 11] = [
    Column("State", "state", ""),
    Column("AutoRestart", "auto_restart", ""),
    Column("SystemState", "system_state", ""),
    Column("UpdateTime", "update_time", ""),
    Column("ContainerId", "container_id", ""),
    Column("Version", "container_version", ""),
    Column("SetOwner", "set_owner", ""),
    Column("CurrentOwner", "current_owner", ""),
    Column("RemoteState", "remote_state", ""),
    Column(OUTCOME, "outcome", ""),
    Column(POD_TROUBLE, "pod_trouble", ""),
];
const POD_TROUBLE: &str = "PodTrouble";
const OUTCOME: &str = "Outcome";
const UPDATE: &str = "kube_update";

/// The last is ours, and there only where somebody uses it, like all.
const CONFIG: [Column; 5] = [
    Column("State", "state", ""),
    Column("AutoRestart", "auto_restart", ""),
    Column("Owner", "set_owner", "local"),
    Column("fallback", "fallback", "true"),
    Column("KubeUpdate", UPDATE, ""),
];

const AUTORESTART: [Column; 1] = [Column("AutoRestart", "auto_restart", "unknown")];

/// A feature with what is to be shown of it.
struct Line {
    name: FeatureName,
    fields: Fields,
}

/// Answers one question.
pub(super) fn main(verb: &FeatureVerb, format: Output) -> Result<ExitCode, Stop> {
    let mut switch = Switch::open(Paths::from_env())?;
    let (columns, lines): (&[Column], _) = match verb {
        FeatureVerb::Status(which) => {
            let mut lines = configured(&mut switch, which)?;
            for line in &mut lines {
                let recorded = switch.raw_state(&Instance::on_host(line.name.clone()))?;
                line.add_recorded(recorded.unwrap_or_default());
                if KUBERNETES && let Some(why) = switch.pod_trouble(line.name.as_str())? {
                    line.fields.insert("pod_trouble".to_owned(), why);
                }
            }
            (&STATUS, lines)
        }
        FeatureVerb::Config(which) => {
            let mut lines = configured(&mut switch, which)?;
            let is_shown = |line: &Line| line.fields.contains_key(UPDATE);
            if KUBERNETES && (format != Output::Table || lines.iter().any(is_shown)) {
                add_update_policies(&switch, &mut lines);
            }
            (&CONFIG, lines)
        }
        FeatureVerb::Autorestart(which) => (&AUTORESTART, configured(&mut switch, which)?),
    };
    match format {
        Output::Table if !matches!(verb, FeatureVerb::Autorestart(_)) => {
            print(&present(columns, &lines), &lines);
        }
        Output::Table | Output::Wide => print(&columns.iter().collect::<Vec<_>>(), &lines),
        Output::Json => print_json(columns, &lines),
    }
    Ok(ExitCode::SUCCESS)
}

/// The features that are configured, or the one that was named.
fn configured(switch: &mut Switch, which: &Which) -> Result<Vec<Line>, Stop> {
    let names = match &which.name {
        None => switch.feature_names()?,
        Some(name) => FeatureName::parse(name).into_iter().collect(),
    };
    let mut lines = Vec::new();
    for name in names {
        if let Some(fields) = switch.raw_config(&name)? {
            lines.push(Line::new(name, fields));
        }
    }
    match &which.name {
        Some(name) if lines.is_empty() => Err(Stop::refused(&format!("Can not find feature {name}"))),
        _ => Ok(lines),
    }
}

/// Says what counts where nobody has said when another version takes over. That hangs on what else would restart, which
/// systemd knows; without its answer nothing is said.
fn add_update_policies(switch: &Switch, lines: &mut [Line]) {
    let added = block_on(async {
        let units = Units::connect().await?;
        for line in lines.iter_mut().filter(|line| !line.fields.contains_key(UPDATE)) {
            // A row that cannot be read is shown as it stands there.
            let Ok(config) = parse_config(&line.name, &line.fields) else { continue };
            let scope = Scope { global: config.has_global_scope, per_asic: config.has_per_asic_scope };
            let mut takes_others = false;
            for instance in instances_of(&line.name, scope, switch.asics()) {
                takes_others |= !units.would_ever_stop_with(&instance.unit_name()).await?.is_empty();
            }
            line.fields.insert(UPDATE.to_owned(), config.update_policy(takes_others).to_string());
        }
        Ok(())
    });
    if let Err(error) = added {
        output::tell(&format!("when versions take over where nobody has said: {error}"));
    }
}

impl Line {
    /// What is configured. A text that is no boolean is shown as it is.
    fn new(name: FeatureName, mut fields: Fields) -> Self {
        if let Some(word) = fields.get("no_fallback_to_local") {
            let fallback =
                parse_bool(word).map_or_else(|| word.clone(), |forbidden| (!forbidden).to_string());
            fields.insert("fallback".to_owned(), fallback);
        }
        Self { name, fields }
    }

    /// What is recorded beside it. Where both have a field, as `state`, it is the configured one that is shown.
    fn add_recorded(&mut self, mut recorded: Fields) {
        if let Some(outcome) = recorded.get("state").cloned() {
            self.fields.insert("outcome".to_owned(), outcome);
        }
        recorded.append(&mut self.fields);
        self.fields = recorded;
    }
}

/// SONiC's rule: a column is there if a row that is shown has its field.
fn present<'a>(columns: &'a [Column], lines: &[Line]) -> Vec<&'a Column> {
    let is_there = |column: &&Column| {
        ![OUTCOME, POD_TROUBLE].contains(&column.0)
            && lines.iter().any(|line| line.fields.contains_key(column.1))
    };
    columns.iter().filter(is_there).collect()
}

fn print(columns: &[&Column], lines: &[Line]) {
    let (header, rows) = table(columns, lines);
    output::table(&header, &rows);
}

fn table(columns: &[&Column], lines: &[Line]) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let header = ["Feature"].into_iter().chain(columns.iter().map(|column| column.0)).collect();
    let value = |line: &Line, column: &Column| {
        line.fields.get(column.1).map_or_else(|| column.2.to_owned(), |value| cell(value))
    };
    let row = |line: &Line| {
        [line.name.to_string()].into_iter().chain(columns.iter().map(|column| value(line, column))).collect()
    };
    (header, lines.iter().map(row).collect())
}

/// Every key is always there; what is unknown is null.
fn print_json(columns: &[Column], lines: &[Line]) {
    let value = |line: &Line, column: &Column| match line.fields.get(column.1).map(String::as_str) {
        Some(word @ ("true" | "false")) if column.1 == "fallback" => json!(word == "true"),
        Some(word) => json!(word),
        None if column.1 == "fallback" => json!(true),
        None if column.2.is_empty() => Value::Null,
        None => json!(column.2),
    };
    let object = |line: &Line| {
        let name = ("name".to_owned(), json!(line.name.as_str()));
        let rest = columns.iter().map(|column| (column.1.to_owned(), value(line, column)));
        [name].into_iter().chain(rest).collect::<Map<String, Value>>()
    };
    output::json(&lines.iter().map(object).collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, fields: &[(&str, &str)]) -> Line {
        let fields = fields.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect();
        Line::new(FeatureName::parse(name).unwrap(), fields)
    }

    fn rendered(columns: &[Column], lines: &[Line]) -> String {
        let (header, rows) = table(&present(columns, lines), lines);
        output::render(&header, &rows)
    }

    #[test]
    fn status_looks_as_sonics_own() {
        let lines = [
            line(
                "database",
                &[
                    ("state", "always_enabled"),
                    ("auto_restart", "always_enabled"),
                    ("set_owner", "local"),
                    ("has_global_scope", "True"),
                ],
            ),
            line(
                "snmp",
                &[
                    ("state", "enabled"),
                    ("auto_restart", "enabled"),
                    ("system_state", "up"),
                    ("update_time", "2026-08-01 10:02:11"),
                    ("container_id", "41d3a4bcdcc1"),
                    ("container_version", "20250510.07"),
                    ("set_owner", "kube"),
                    ("current_owner", "kube"),
                    ("remote_state", "running"),
                ],
            ),
        ];
        // SONIC.md 9.5.
        let wanted = "\
Feature    State           AutoRestart     SystemState    UpdateTime           ContainerId    Version      SetOwner    CurrentOwner    RemoteState
---------  --------------  --------------  -------------  -------------------  -------------  -----------  ----------  --------------  -------------
database   always_enabled  always_enabled                                                                  local
snmp       enabled         enabled         up             2026-08-01 10:02:11  41d3a4bcdcc1   20250510.07  kube        kube            running
";
        assert_eq!(rendered(&STATUS, &lines), wanted);
    }

    #[test]
    fn a_column_is_there_if_a_row_has_its_field() {
        let lines =
            [line("a", &[("state", "enabled"), ("set_owner", "kube")]), line("b", &[("state", "x\ny")])];
        assert_eq!(
            rendered(&CONFIG, &lines),
            "Feature    State    Owner\n---------  -------  -------\na          enabled  kube\nb          x?y      local\n"
        );
        assert_eq!(rendered(&CONFIG, &[line("a", &[])]), "Feature\n---------\na\n");
    }
}
