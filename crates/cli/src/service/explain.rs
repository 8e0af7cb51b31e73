//! `system service explain`: which rule applies now, what would change it, what goes with it, and what happened
//! lately (DESIGN.md promise 6). Every answer is the core's, asked with what is.

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use switchyard_core::{
    Copy, Instance, KubeUpdate, Reason, Refusal, RemoteState, SetOwner, View, Waiting, start, wait,
};

use crate::args::Output;
use crate::error::CliError;
use crate::output;
use crate::service::Known;
use switchyard_host::{Entry, last};

/// How much of the history a person is shown; JSON has all that is kept.
const SHOWN: usize = 10;

#[derive(Serialize)]
struct Report {
    name: String,
    owner: String,
    since: Option<String>,
    now: String,
    /// Why the pod that asks has to wait, if one does.
    pod_waits: Option<String>,
    /// Why its pod cannot start, if the cluster says so.
    pod_trouble: Option<String>,
    /// Whether another version that Kubernetes brings takes over by itself; nothing where it is not to run the feature.
    updates: Option<String>,
    next_start: String,
    safety: &'static str,
    stops_with_it: Vec<String>,
    would_change_it: Vec<String>,
    history: Vec<Entry>,
}

pub(super) async fn main(mut known: Known, format: Output) -> Result<ExitCode, CliError> {
    let knobs = known.host.knobs();
    let mut reports = Vec::new();
    for instance in known.instances.clone() {
        let view = known.host.view(&instance).await?;
        reports.push(Report {
            name: instance.container_name(),
            owner: view.row.current_owner.to_string(),
            since: view.row.owner_since.clone(),
            now: now(&wait(&view, Duration::ZERO, &knobs)),
            pod_waits: pod_waits(&mut known, &view)?,
            pod_trouble: pod_trouble(&mut known, &view)?,
            updates: updates(&known, &view).await?,
            next_start: next_start(&view),
            safety: safety(&instance),
            stops_with_it: known.units.would_stop_with(&instance.unit_name()).await?,
            would_change_it: would_change(&view),
            history: last(&known.host.paths.host, &instance),
        });
    }
    match format {
        Output::Json => output::json(&reports),
        Output::Table | Output::Wide => reports.iter().for_each(print),
    }
    Ok(ExitCode::SUCCESS)
}

fn now(waiting: &Waiting) -> String {
    match waiting {
        Waiting::Watch(Copy::Local, _) => "the local image runs and is watched".to_owned(),
        Waiting::Watch(Copy::Pod(id), _) => format!("the pod's container {id} runs and is watched"),
        Waiting::Await(_, reason) | Waiting::Write(_, reason) => reason.to_string(),
        Waiting::Over(..) => "nobody runs it".to_owned(),
    }
}

fn pod_waits(known: &mut Known, view: &View) -> Result<Option<String>, CliError> {
    if view.row.remote_state != RemoteState::Pending {
        return Ok(None);
    }
    let local = known.host.switch.local_version(&view.instance)?;
    let same = local.zip(view.judged_version()).is_some_and(|(local, asks)| local.same_as(asks));
    let why = view.verdict.reason().unwrap_or(if same { Reason::SameAsLocal } else { Reason::AsksForTurn });
    Ok(Some(why.to_string()))
}

fn pod_trouble(known: &mut Known, view: &View) -> Result<Option<String>, CliError> {
    if view.wanted() == SetOwner::Local {
        return Ok(None);
    }
    Ok(known.host.switch.pod_trouble(&view.instance.container_name())?)
}

async fn updates(known: &Known, view: &View) -> Result<Option<String>, CliError> {
    if view.wanted() == SetOwner::Local {
        return Ok(None);
    }
    let others = known.units.would_ever_stop_with(&view.instance.unit_name()).await?;
    let policy = view.config.update_policy(!others.is_empty());
    let why = match (view.config.kube_update, policy) {
        (Some(_), _) => "as configured".to_owned(),
        (None, KubeUpdate::Auto) => "nothing else restarts with it".to_owned(),
        (None, KubeUpdate::Hold) => format!("it would restart {} too", others.join(", ")),
    };
    let other = match policy {
        KubeUpdate::Auto => KubeUpdate::Hold,
        KubeUpdate::Hold => KubeUpdate::Auto,
    };
    let feature = &view.instance.feature;
    Ok(Some(format!("{policy}, {why}; to change it: config feature update {feature} {other}")))
}

fn next_start(view: &View) -> String {
    match start(view) {
        Ok(plan) => plan.reason.to_string(),
        Err(Refusal::NoContainer(name)) => {
            format!("owner is local: the control script creates container {name} first, then it starts")
        }
    }
}

/// How two copies are kept apart for this instance.
fn safety(instance: &Instance) -> &'static str {
    if switchyard_host::TrackLock::is_held_exclusively(instance) {
        "rows, engine and the track lock, which a pod with our gate holds now"
    } else {
        "rows and engine; the track lock too for images that start through switchyard gate"
    }
}

fn would_change(view: &View) -> Vec<String> {
    let feature = &view.instance.feature;
    let mut ways = Vec::new();
    if view.config.state.immutable() {
        ways.push(format!("its state is {} and cannot be changed", view.config.state));
    } else if view.config.state.is_enabled() {
        ways.push(format!("system service disable {feature}: stops it, also after a boot"));
    } else {
        ways.push(format!("system service enable {feature}: starts it, also after a boot"));
    }
    if view.kubernetes {
        ways.push(match view.wanted() {
            SetOwner::Local => {
                format!("config feature owner {feature} kube: a pod takes over as soon as it is there")
            }
            SetOwner::Kube => {
                format!("config feature owner {feature} local: the local image is back at once")
            }
        });
    }
    ways
}

fn print(report: &Report) {
    let none = "-".to_owned();
    output::line(&report.name);
    output::line(&format!(
        "  owner:       {} since {}",
        report.owner,
        report.since.as_ref().unwrap_or(&none)
    ));
    output::line(&format!("  now:         {}", report.now));
    if let Some(why) = &report.pod_waits {
        output::line(&format!("  a pod waits: {why}"));
    }
    if let Some(why) = &report.pod_trouble {
        output::line(&format!("  its pod:     cannot start: {why}"));
    }
    if let Some(updates) = &report.updates {
        output::line(&format!("  updates:     {updates}"));
    }
    output::line(&format!("  next start:  {}", report.next_start));
    output::line(&format!("  kept single: {}", report.safety));
    let with =
        if report.stops_with_it.is_empty() { "nothing".to_owned() } else { report.stops_with_it.join(", ") };
    output::line(&format!("  restarts with it: {with}"));
    output::line("  to change it:");
    report.would_change_it.iter().for_each(|way| output::line(&format!("    {way}")));
    output::line("  lately:");
    let from = report.history.len().saturating_sub(SHOWN);
    for entry in &report.history[from..] {
        output::line(&format!(
            "    {}  {:<5}  {} -> {}: {}",
            entry.time, entry.verb, entry.from, entry.to, entry.message
        ));
    }
}
