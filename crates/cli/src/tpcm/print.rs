//! What `tpcm` prints of what was done and of what is there.

use switchyard_core::FeatureName;
use switchyard_core::tpc::{Limits, human};
use switchyard_tpc::ops::{Details, Pruned, Recovered, Report, Said, State, Summary, Usage, Verified};

use crate::args::Output;
use crate::output::{json, line, table};

/// How much of the history a person is shown; JSON has all that is kept.
const SHOWN: usize = 10;

/// What was done, or would be.
pub(super) fn report(report: &Report, format: Output) {
    if format == Output::Json {
        return json(report);
    }
    let Report { name, operation, done, steps, messages, down_milliseconds } = report;
    for message in messages {
        line(message);
    }
    if !done {
        line(&format!("{operation} of {name} would"));
        for (number, step) in steps.iter().enumerate() {
            line(&format!("{:>4}. {step}", number + 1));
        }
        return;
    }
    let down = down_milliseconds.map(|millis| format!("; it was down for {:.1} s", seconds(millis)));
    line(&format!("{operation} of {name}: done{}", down.unwrap_or_default()));
}

/// Several of them; nothing is said where there are none.
pub(super) fn reports(reports: &[Report], format: Output) {
    if format == Output::Json {
        return json(&reports);
    }
    for one in reports {
        report(one, format);
    }
}

/// What was cut short and is settled now.
pub(super) fn recovered(all: &[Recovered], format: Output) {
    if format == Output::Json {
        return json(&all);
    }
    for Recovered { name, operation, finished, done } in all {
        let what = if *finished { "finished" } else { "undone" };
        let when = if *done { "was" } else { "would be" };
        line(&format!("the interrupted {operation} of {name} {when} {what}"));
    }
}

/// `tpcm list`.
pub(super) fn list(all: &[Summary], format: Output) {
    let state = |one: &Summary| word(one.state).to_owned();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    match format {
        Output::Json => json(&all),
        Output::Table => table(
            &["Name", "State", "Version", "Source"],
            &all.iter()
                .map(|one| vec![one.name.to_string(), state(one), text(&one.version), one.source.clone()])
                .collect::<Vec<_>>(),
        ),
        Output::Wide => table(
            &["Name", "State", "Since", "Version", "Image", "CPU", "Memory", "Disk", "Source", "Reason"],
            &all.iter()
                .map(|one| {
                    let Limits { cpu, memory, disk } = one.limits;
                    vec![
                        one.name.to_string(),
                        state(one),
                        since(one).unwrap_or_default(),
                        text(&one.version),
                        one.image.clone(),
                        cpu.to_string(),
                        memory.map_or_else(String::new, |memory| memory.to_string()),
                        disk.map_or_else(String::new, |disk| disk.to_string()),
                        one.source.clone(),
                        text(&one.reason),
                    ]
                })
                .collect::<Vec<_>>(),
        ),
    }
}

/// As the history has its times; the engine tells nanoseconds.
fn since(one: &Summary) -> Option<String> {
    let since = one.since.as_ref()?;
    Some(since.split('.').next().unwrap_or(since).trim_end_matches('Z').replace('T', " "))
}

/// `tpcm show`.
pub(super) fn details(details: &Details, format: Output) {
    if format == Output::Json {
        return json(details);
    }
    let one = &details.summary;
    line(one.name.as_str());
    let since = since(one).map(|since| format!(" since {since}")).unwrap_or_default();
    let reason = one.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    field("state", &format!("{}{since}{reason}", word(one.state)));
    field("version", one.version.as_deref().unwrap_or("its image says none"));
    field("source", &one.source);
    field("image", &one.image);
    optional("digest", details.digest.as_deref());
    optional("container", details.container.as_deref());
    field("arguments", if details.args.is_empty() { "none" } else { &details.args });
    let after = if details.after.is_empty() { "docker alone".to_owned() } else { names(&details.after) };
    field("starts after", &after);
    let shared = if details.shared { ", and /tpc_shared" } else { "" };
    field("volume", &format!("{} as /tpc{shared}", details.volume));
    limits(one.limits, &details.usage);
    field("in the store", &human(details.stored));
    field("saved", details.saved.as_deref().unwrap_or("never"));
    let before = details.before.as_ref().map(|before| {
        let version = before.version.as_deref().unwrap_or(&before.image);
        format!("{version} from {}: tpcm rollback {}", before.source, one.name)
    });
    optional("before", before.as_deref());
    for older in &details.older {
        field("older state", &format!("of {}, image {}: kept until tpcm prune", older.at, older.image));
    }
    for remark in &details.usage.remarks {
        field("limits say", remark);
    }
    line("  lately:");
    let from = details.history.len().saturating_sub(SHOWN);
    for event in details.history.iter().skip(from) {
        line(format!("    {}  {:<9}  {}", event.at, event.operation.to_string(), event.note).trim_end());
        for Said { hook, output } in &event.said {
            line(&format!("      {hook} said:"));
            output.lines().for_each(|said| line(&format!("        {said}")));
        }
    }
}

fn names(features: &[FeatureName]) -> String {
    features.iter().map(FeatureName::as_str).collect::<Vec<_>>().join(", ")
}

fn limits(limits: Limits, usage: &Usage) {
    let held = usage.throttled.zip(usage.periods).filter(|(_, periods)| *periods > 0);
    let held = held.map_or_else(String::new, |(times, of)| format!("; held back in {times} of {of} periods"));
    field("processors", &format!("at most {} of the machine{held}", limits.cpu));
    let most =
        limits.memory.map_or_else(|| "no limit of its own".to_owned(), |most| format!("at most {most}"));
    let now = usage.memory.map_or_else(String::new, |now| format!("; {} now", human(now)));
    let peak = usage.memory_peak.map_or_else(String::new, |peak| format!(", {} at its peak", human(peak)));
    let kills = match usage.oom_kills {
        Some(kills) if kills > 0 => format!("; killed for it {kills} times"),
        Some(_) | None => String::new(),
    };
    field("memory", &format!("{most}{now}{peak}{kills}"));
    let most = limits.disk.map_or_else(|| "no limit of its own".to_owned(), |most| format!("at most {most}"));
    let layer =
        usage.layer.map_or_else(String::new, |layer| format!(", {} in its writable layer", human(layer)));
    let how = match limits.disk {
        Some(_) if !usage.disk_enforced.is_empty() => format!("; {}", usage.disk_enforced),
        Some(_) | None => String::new(),
    };
    field("disk", &format!("{most}; {} in its volume{layer}{how}", human(usage.volume)));
}

/// `tpcm verify`.
pub(super) fn verified(verified: &Verified, format: Output) {
    if format == Output::Json {
        return json(verified);
    }
    for problem in &verified.problems {
        line(problem);
    }
    let found = match verified.problems.len() {
        0 => "all is well".to_owned(),
        problems => format!("{problems} wrong"),
    };
    line(&format!("{} files with {} checked: {found}", verified.blobs, human(verified.bytes)));
}

/// `tpcm prune`.
pub(super) fn pruned(pruned: &Pruned, format: Output) {
    if format == Output::Json {
        return json(pruned);
    }
    for gone in &pruned.let_go {
        line(&format!("let go: {gone}"));
    }
    let files = pruned.blobs.saturating_add(pruned.downloads);
    line(&format!("{files} files with {} removed", human(pruned.bytes)));
}

fn word(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Stopped => "stopped",
        State::Failed => "failed",
        State::NotRestored => "not restored",
        State::Interrupted => "interrupted",
        State::Inconsistent => "inconsistent",
    }
}

fn field(name: &str, value: &str) {
    line(&format!("  {:<14} {value}", format!("{name}:")));
}

fn optional(name: &str, value: Option<&str>) {
    if let Some(value) = value {
        field(name, value);
    }
}

fn seconds(millis: u64) -> f64 {
    std::time::Duration::from_millis(millis).as_secs_f64()
}
