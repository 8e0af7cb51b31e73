//! The unit files of a feature, in the words of SONiC's own (SONIC.md 6.1).
//!
//! There is no `Restart=` in them: featured's drop-in supplies it from FEATURE.auto_restart.

use crate::description::{Dependency, Description};
use crate::quote;

/// What the engine gets after the container's own time to stop: a kill, the row, a busy disk.
const STOP_MARGIN: u32 = 30;
/// systemd's own default; less would be a surprise.
const LEAST_STOP_TIMEOUT: u32 = 90;

/// The text of `<f>.service`, or with `per_asic` of `<f>@.service`.
pub(crate) fn unit(description: &Description, header: &str, per_asic: bool) -> String {
    let name = &description.name;
    let (of_asic, instance) = if per_asic { (" (ASIC %i)", " %i") } else { ("", "") };
    let summary = quote::unit(&description.summary);
    let stop_timeout = (description.stop_timeout + STOP_MARGIN).max(LEAST_STOP_TIMEOUT);
    let requires = directive("Requires", &description.requires, per_asic);
    let requisite = directive("Requisite", &description.requisite, per_asic);
    let after = directive("After", &description.after, per_asic);
    let before = directive("Before", &description.before, per_asic);
    let install = match directive("WantedBy", &description.wanted_by, per_asic) {
        empty if empty.is_empty() => empty,
        wanted_by => format!("\n[Install]\n{wanted_by}"),
    };
    let (user, restart_delay) = (&description.user, description.restart_delay);
    format!(
        "{header}

[Unit]
Description={summary}{of_asic}
{requires}{requisite}{after}{before}BindsTo=sonic.target
After=sonic.target
StartLimitIntervalSec=1200
StartLimitBurst=3

[Service]
User={user}
ExecStartPre=/usr/local/bin/{name}.sh start{instance}
ExecStart=/usr/local/bin/{name}.sh wait{instance}
ExecStop=/usr/local/bin/{name}.sh stop{instance}
# Also after a start that was cut short or failed, which ExecStop does not see: no container outlives its unit.
ExecStopPost=/usr/bin/{name}.sh stop{instance}
TimeoutStopSec={stop_timeout}
# A stop can come before the script that starts has said what it does with a signal: that is no failure either.
SuccessExitStatus=SIGTERM
RestartSec={restart_delay}
{install}"
    )
}

fn directive(name: &str, units: &[Dependency], per_asic: bool) -> String {
    if units.is_empty() {
        return String::new();
    }
    let names: Vec<String> = units
        .iter()
        .map(|unit| {
            format!("{}{}{}", unit.base, if unit.per_asic && per_asic { "@%i" } else { "" }, unit.kind)
        })
        .collect();
    format!("{name}={}\n", names.join(" "))
}
