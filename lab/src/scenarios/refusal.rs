//! What every refusal of bad input has in common: one line that names the thing, its own exit code, nothing changed.

use anyhow::{Context, Result, ensure};

use crate::switch::Switch;

/// A command that must fail.
pub(super) struct Refusal {
    /// As typed in a shell.
    pub(super) command: String,
    /// The exit code that `--help` promises.
    pub(super) code: i32,
    /// What the one line must contain: the thing, or the way out.
    pub(super) says: &'static str,
}

/// Short for a table.
pub(super) fn refusal(command: impl Into<String>, code: i32, says: &'static str) -> Refusal {
    Refusal { command: command.into(), code, says }
}

/// Runs all of them and insists on each; rows, containers and units must be what they were before.
pub(super) fn all_refused(switch: &Switch, refusals: &[Refusal]) -> Result<()> {
    let before = snapshot(switch)?;
    for refusal in refusals {
        refused(switch, refusal)?;
    }
    let after = snapshot(switch)?;
    ensure!(before == after, "something changed: {}", difference(&before, &after));
    Ok(())
}

fn refused(switch: &Switch, refusal: &Refusal) -> Result<()> {
    let Refusal { command, code, says } = refusal;
    // Bounded, so that a command that takes bad input for good and waits is told from one that refuses.
    let output = switch.sh(&format!("timeout 20 bash -c '{}'", command.replace('\'', "'\\''")))?;
    let said = output.stderr.trim();
    let context = || format!("`{}` said {said:?}", shortened(command));
    ensure!(output.status == *code, "{}: it ended with {}, not {code}", context(), output.status);
    ensure!(output.stdout.is_empty(), "{}: and printed {:?}", context(), output.stdout);
    ensure!(said.lines().count() == 1, "{}: not one line", context());
    ensure!(said.contains(says), "{}: {says:?} is not in it", context());
    Ok(())
}

fn shortened(command: &str) -> String {
    command.chars().take(100).collect()
}

/// Everything that a command could have changed: rows without their time stamps, containers, units.
pub(super) fn snapshot(switch: &Switch) -> Result<String> {
    switch
        .ok("for database in CONFIG_DB STATE_DB; do
               sonic-db-cli $database KEYS '*' | sort | while read -r key; do
                 echo \"$database $key $(sonic-db-cli --raw $database HGETALL \"$key\" 2> /dev/null |
                   paste - - | grep -Ev '^(update_time|current_owner_update_ts)' | sort | paste -sd' ')\"
               done
             done
             docker ps --all --no-trunc --format '{{.ID}} {{.Names}} {{.State}}' | sort
             docker ps --quiet | sort | xargs docker inspect --format '{{.Name}} {{.State.StartedAt}}'
             systemctl show --property Id,ActiveState,MainPID,UnitFileState \
               swss bgp lldp snmp telemetry sflow database")
        .context("the switch cannot be looked at")
}

/// The lines that are only in one of the two.
pub(super) fn difference(before: &str, after: &str) -> String {
    let gone = before.lines().filter(|line| !after.lines().any(|other| other == *line));
    let new = after.lines().filter(|line| !before.lines().any(|other| other == *line));
    let lines: Vec<String> =
        gone.map(|line| format!("- {line}")).chain(new.map(|line| format!("+ {line}"))).collect();
    lines.join("; ")
}
