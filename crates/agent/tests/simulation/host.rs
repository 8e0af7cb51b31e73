//! What the commands on the host do, as `switchyard-host` and the command line do it: look, ask the core, carry out.

use std::time::Duration;

use switchyard_agent::Trouble;
use switchyard_core::{
    Copy, Idle, Local, OnlyIf, Plan, Pod, Refusal, RowChange, SetOwner, Side, Step, Verdict, Version, View,
    Waiting, cause_of_end, ended, is_planned_end, kill, may_hold_track, start, stop, versions, wait,
    why_ended,
};

use crate::engine;
use crate::lies::Lie;
use crate::sim::{Channel, Sim};
use crate::state::{Container, Gate};

/// How often a plan is made anew because the row changed under it.
const DECISIONS_MAX: usize = 8;
/// How long a container may run before an engine that is not asked for it lists it.
const LISTED: Duration = Duration::from_secs(2);
const ENGINE_RETRY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Start,
    Stop,
    Kill,
}

/// Rows first, the engine after them.
pub(crate) async fn view(sim: &Sim, at: usize) -> Result<View, Trouble> {
    let (config, row, server_answers) = sim.with(|state| {
        let config = state.config(at).cloned().unwrap_or_default();
        (config, state.all[at].row.clone(), state.connected)
    });
    sim.moment().await;
    sim.with(|state| {
        if !state.engine_up {
            return Err(engine::away());
        }
        let one = &state.all[at];
        let local = match (&one.local_made, state.local_run(at)) {
            (_, Some(_)) => Local::Running,
            (Some(_), None) => Local::Stopped,
            (None, None) => Local::Missing,
        };
        let pods = state.of(at, Side::Kube).map(|number| &state.containers[&number]);
        let pods = pods.filter(|pod| state.lie != Lie::ListedLate || pod.since + LISTED < state.now);
        let pods = pods.map(|pod| Pod { id: pod.id.clone() }).collect();
        let (asker_version, verdict) = (None, Verdict::Welcome);
        let (instance, kubernetes) = (one.name.clone(), true);
        let mut view =
            View { instance, kubernetes, server_answers, config, row, local, pods, asker_version, verdict };
        if view.wanted() == SetOwner::Kube {
            let asks = view.asker().filter(|_| state.lie != Lie::JudgedByRow);
            view.asker_version = asks.and_then(|pod| state.version_of(&pod.id));
            view.verdict = state.verdict(at, &view);
        }
        Ok(view)
    })
}

fn number(sim: &Sim, at: usize, copy: &Copy) -> Option<u64> {
    sim.with(|state| match copy {
        Copy::Local => state.local_run(at),
        Copy::Pod(id) => state.of(at, Side::Kube).find(|number| state.containers[number].id.same_as(id)),
    })
}

fn decide(verb: Verb, view: &View) -> Result<Plan, Refusal> {
    match verb {
        Verb::Start => start(view),
        Verb::Stop => Ok(stop(view)),
        Verb::Kill => Ok(kill(view)),
    }
}

/// Decides on what is and carries it out, until nothing came in between.
pub(crate) async fn carry_out(sim: &Sim, at: usize, verb: Verb, who: &str) -> Result<(), Trouble> {
    for _ in 0..DECISIONS_MAX {
        let view = view(sim, at).await?;
        let plan = decide(verb, &view).map_err(|refusal| Trouble(refusal.to_string()))?;
        if perform(sim, at, &view, &plan, who).await? {
            return Ok(());
        }
    }
    Err(Trouble("the row does not come to rest".to_owned()))
}

async fn perform(sim: &Sim, at: usize, view: &View, plan: &Plan, who: &str) -> Result<bool, Trouble> {
    let mut row = view.row.clone();
    for step in &plan.steps {
        sim.moment().await;
        match step {
            Step::Label(wanted) => sim.with(|state| {
                let feature = state.all[at].feature;
                if state.features[feature].label_row != Some(*wanted) {
                    state.features[feature].label_row = Some(*wanted);
                    state.touched.push(Channel::Cluster);
                }
            }),
            Step::Row(change) => match change.apply(&row) {
                Some(after) if write(sim, at, change, who) => row = after,
                Some(_) | None => return Ok(false),
            },
            Step::AwaitRow(at_most) => {
                let latest = sim.now() + *at_most;
                loop {
                    let seen = sim.seen(Channel::Instance(at));
                    let now = sim.with(|state| OnlyIf::unchanged(&state.all[at].row));
                    if now != OnlyIf::unchanged(&row) {
                        return Ok(false);
                    }
                    if sim.now() >= latest {
                        break;
                    }
                    sim.change(Channel::Instance(at), seen, latest).await;
                }
            }
            Step::StartLocal => {
                let started = match take_track(sim, at).await {
                    Ok(()) => engine::start_local(sim, at).await,
                    Err(trouble) => Err(trouble),
                };
                if let Err(trouble) = started {
                    let row = sim.with(|state| state.all[at].row.clone());
                    let seen = View { row, ..view.clone() };
                    write(sim, at, &ended(&seen), who);
                    return Err(trouble);
                }
            }
            Step::Stop(copy) | Step::Kill(copy) => {
                if let Some(number) = number(sim, at, copy) {
                    let at_once = matches!(step, Step::Kill(_));
                    engine::stop(sim, at, number, at_once).await?;
                }
            }
        }
    }
    Ok(true)
}

/// The track for the local copy. Whoever holds on to it is stopped.
async fn take_track(sim: &Sim, at: usize) -> Result<(), Trouble> {
    let held = |sim: &Sim| {
        sim.with(|state| {
            let holds = |container: &Container| container.payload && container.image.gate == Gate::Ours;
            state.track && state.of(at, Side::Kube).any(|number| holds(&state.containers[&number]))
        })
    };
    if held(sim) {
        for copy in may_hold_track(&view(sim, at).await?) {
            if let Some(number) = number(sim, at, &copy) {
                engine::stop(sim, at, number, false).await?;
            }
        }
    }
    if held(sim) { Err(Trouble("a pod holds the track".to_owned())) } else { Ok(()) }
}

fn write(sim: &Sim, at: usize, change: &RowChange, who: &str) -> bool {
    sim.with(|state| state.write(at, change, who))
}

/// `container wait`; returns when it is over, however.
pub(crate) async fn wait_main(sim: &Sim, at: usize) {
    let knobs = sim.with(|state| state.knobs.clone());
    let (mut idle, mut let_in) = (Idle::as_of(sim.now()), None);
    loop {
        let seen = sim.seen(Channel::Instance(at));
        let Ok(view) = view(sim, at).await else { return };
        let next = wait(&view, idle.at(sim.now()), &knobs);
        if let Waiting::Watch(copy, repair) = next {
            return watch(sim, at, copy, repair).await;
        }
        if let Some((number, version)) = let_in.take_if(|(number, _)| ended_already(sim, *number)) {
            remember_end(sim, at, &view, number, &version, Duration::ZERO);
            continue;
        }
        match next {
            Waiting::Watch(..) => {}
            Waiting::Write(change, reason) => {
                let asker = view.asker().and_then(|pod| running(sim, at, &Copy::Pod(pod.id.clone())));
                sim.moment().await;
                if write(sim, at, &change, "wait") && idle.wrote(reason, sim.now()) {
                    let_in = asker;
                }
            }
            Waiting::Await(left, _) => {
                let left = left.unwrap_or(knobs.safety_check).min(knobs.safety_check);
                let latest = sim.now() + left;
                sim.change(Channel::Instance(at), seen, latest).await;
                while !sim.with(|state| state.config_loaded) {
                    sim.sleep(Duration::from_secs(1)).await;
                }
            }
            Waiting::Over(change, _) => {
                sim.moment().await;
                if write(sim, at, &change, "wait") {
                    if is_planned_end(&view) {
                        sim.with(|state| state.forgive_starts(at));
                    }
                    return;
                }
            }
        }
    }
}

/// One that ran and died before it was ever seen to run counts as well.
fn ended_already(sim: &Sim, number: u64) -> bool {
    sim.with(|state| !state.containers.contains_key(&number))
}

fn running(sim: &Sim, at: usize, copy: &Copy) -> Option<(u64, Version)> {
    let number = number(sim, at, copy)?;
    sim.with(|state| Some((number, state.containers.get(&number)?.image.version.clone())))
}

fn remember_end(sim: &Sim, at: usize, view: &View, number: u64, version: &Version, ran: Duration) {
    if view.wanted() == switchyard_core::SetOwner::Local {
        return;
    }
    sim.with(|state| {
        let in_order = state.ends.get(&number).copied().unwrap_or(true);
        let cause = cause_of_end(view, in_order, ran, &state.knobs);
        let now = state.now_moment();
        state.all[at].record.left(version, cause, now);
    });
}

async fn watch(sim: &Sim, at: usize, copy: Copy, repair: Option<RowChange>) {
    let knobs = sim.with(|state| state.knobs.clone());
    let Some(watched) = number(sim, at, &copy) else {
        record_end(sim, at, &copy, 0, None, Duration::ZERO).await;
        return;
    };
    let version = sim.with(|state| state.containers.get(&watched).map(|c| c.image.version.clone()));
    if let Some(change) = repair {
        sim.moment().await;
        write(sim, at, &change, "wait");
    }
    if !record_version(sim, at, &copy, watched).await {
        return;
    }
    if matches!(copy, Copy::Pod(_)) {
        sim.with(|state| state.forgive_starts(at));
    }
    let begun = sim.now();
    loop {
        let seen = sim.seen(Channel::Instance(at));
        let (runs, up) = sim.with(|state| (state.containers.contains_key(&watched), state.engine_up));
        if !up {
            sim.sleep(ENGINE_RETRY).await;
            continue;
        }
        if !runs {
            break;
        }
        if check(sim, at, &copy, watched).await {
            return;
        }
        sim.change(Channel::Instance(at), seen, sim.now() + knobs.safety_check).await;
    }
    let ran = sim.now().saturating_sub(begun);
    record_end(sim, at, &copy, watched, version, ran).await;
}

/// True if the run is over although the copy runs on.
async fn check(sim: &Sim, at: usize, copy: &Copy, watched: u64) -> bool {
    let knobs = sim.with(|state| state.knobs.clone());
    if !sim.with(|state| state.config_loaded) {
        return false;
    }
    let Ok(view) = view(sim, at).await else { return false };
    match wait(&view, Duration::ZERO, &knobs) {
        Waiting::Watch(other, Some(change)) if other == *copy => {
            sim.moment().await;
            if write(sim, at, &change, "wait") {
                record_version(sim, at, copy, watched).await;
            }
            false
        }
        Waiting::Over(change, _) if sim.with(|state| state.containers.contains_key(&watched)) => {
            sim.moment().await;
            write(sim, at, &change, "wait")
        }
        _ => false,
    }
}

/// False if it could not be found out.
async fn record_version(sim: &Sim, at: usize, copy: &Copy, watched: u64) -> bool {
    loop {
        let Ok(view) = view(sim, at).await else { return false };
        let Some(version) = sim.with(|state| state.containers.get(&watched).map(|c| c.image.version.clone()))
        else {
            return true;
        };
        sim.moment().await;
        if write(sim, at, &versions(&view, copy, &version), "wait") {
            if view.wanted() == switchyard_core::SetOwner::Kube {
                sim.with(|state| state.all[at].record.ran(&version));
            }
            return true;
        }
    }
}

async fn record_end(
    sim: &Sim,
    at: usize,
    copy: &Copy,
    watched: u64,
    version: Option<Version>,
    ran: Duration,
) {
    let Ok(view) = view(sim, at).await else { return };
    if let (Copy::Pod(_), Some(version)) = (copy, version) {
        remember_end(sim, at, &view, watched, &version, ran);
    }
    let why = why_ended(&view);
    sim.with(|state| state.tell_story(|| format!("instance {at}: its copy is over: {why:?}")));
    sim.moment().await;
    write(sim, at, &ended(&view), "wait");
}
