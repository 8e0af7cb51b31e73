//! The container engine, and what happens inside containers: the gate, SONiC's own script, the local start-up call.

use std::time::Duration;

use switchyard_agent::Trouble;
use switchyard_core::{
    Answer, Asking, ContainerId, CurrentOwner, FeatureState, RemoteState, SetOwner, Side, SystemState,
    Version, ask, leave,
};

use crate::lies::Lie;
use crate::sim::{Channel, Place, Sim};
use crate::state::{Gate, Health, State};

/// Docker's own grace.
const GRACE: u64 = 10_000;

pub(crate) fn away() -> Trouble {
    Trouble("the engine does not answer".to_owned())
}

/// Starts the local container of the instance, if there is one.
pub(crate) async fn start_local(sim: &Sim, at: usize) -> Result<(), Trouble> {
    sim.moment().await;
    let started = sim.with(|state| {
        if !state.engine_up {
            return Err(away());
        }
        if state.local_run(at).is_some() {
            return Ok(None);
        }
        let image = state.all[at].local_made.clone().ok_or(Trouble("no such container".to_owned()))?;
        let number = state.new_container(at, Side::Local, image, 0);
        // Whatever the script inside waits for, it is the local copy.
        state.begin_payload(number);
        state.touch(at);
        Ok(Some(number))
    })?;
    if let Some(number) = started {
        let program = sim.spawn(Place::Switch, local_main(sim.clone(), at, number));
        sim.with(|state| {
            if let Some(container) = state.containers.get_mut(&number) {
                container.program = Some(program);
            }
        });
    }
    Ok(())
}

async fn local_main(sim: Sim, at: usize, number: u64) {
    let Some(image) = sim.with(|state| state.containers.get(&number).map(|c| c.image.clone())) else {
        return;
    };
    let (early, asks) = sim.with(|state| (state.chance.ms(100, 2000), state.all[at].local_asks));
    sim.sleep(early).await;
    match image.gate {
        _ if !asks => {}
        Gate::Ours => records(&sim, at, number, &image.version).await,
        Gate::Sonic => sonic_records(&sim, at, &image.version).await,
    }
    if matches!(image.health, Health::Crashes | Health::Leaves) {
        let soon = sim.with(|state| state.chance.ms(200, 3000));
        sim.sleep(soon).await;
        sim.with(|state| state.end_container(number, image.health == Health::Leaves));
    }
}

async fn records(sim: &Sim, at: usize, number: u64, version: &Version) {
    while let Some(Answer::RecordAndRun(change, _)) = asking(sim, number, false, ask) {
        sim.moment().await;
        if sim.with(|state| state.write(at, &change, "start-up call")) {
            sim.with(|state| state.all[at].local_label = Some(version.clone()));
            return;
        }
    }
    sim.moment().await;
}

/// SONIC.md 4.2 rows 1 and 2: its label first, then the row, whatever that says by now.
async fn sonic_records(sim: &Sim, at: usize, version: &Version) {
    if sim.with(|state| state.all[at].row.system_state.is_none()) {
        return;
    }
    sim.moment().await;
    sim.with(|state| state.all[at].local_label = Some(version.clone()));
    sim.moment().await;
    sim.with(|state| {
        let id = ContainerId::parse(&state.all[at].name.container_name()).ok();
        sonic_writes(state, at, |row| {
            row.current_owner = CurrentOwner::Local;
            row.container_id = id;
            row.container_version = Some(version.clone());
        });
    });
}

/// The main program of a pod's container.
pub(crate) async fn pod_main(sim: Sim, at: usize, number: u64) {
    let Some(image) = sim.with(|state| state.containers.get(&number).map(|c| c.image.clone())) else {
        return;
    };
    let early = sim.with(|state| state.chance.ms(50, 3000));
    sim.sleep(early).await;
    if image.health == Health::CrashesEarly {
        sim.with(|state| state.end_container(number, false));
        return;
    }
    if sim.with(|state| state.lie) != Lie::RunsAhead {
        match image.gate {
            Gate::Ours => turn(&sim, at, number).await,
            Gate::Sonic => sonic_turn(&sim, at, number).await,
        }
    }
    sim.moment().await;
    sim.with(|state| state.begin_payload(number));
    let soon = sim.with(|state| state.chance.ms(200, 8000));
    sim.sleep(soon).await;
    match image.health {
        Health::Crashes | Health::Leaves => {
            if sim.with(|state| state.all[at].leaves) {
                record_leave(&sim, at, number).await;
            }
            sim.with(|state| state.end_container(number, image.health == Health::Leaves));
        }
        Health::Good => sim.with(|state| {
            if let Some(container) = state.containers.get_mut(&number) {
                container.ready = true;
            }
            state.report(at);
        }),
        Health::NeverReady | Health::CrashesEarly | Health::NoImage => {}
    }
}

/// The gate: returns when the payload may run.
async fn turn(sim: &Sim, at: usize, number: u64) {
    let mut asked = false;
    loop {
        let seen = sim.seen(Channel::Instance(at));
        let answer = asking(sim, number, asked, ask);
        sim.moment().await;
        match answer {
            None => return std::future::pending().await,
            Some(Answer::Run(_)) => return,
            Some(Answer::RecordAndRun(change, _)) => {
                if sim.with(|state| state.write(at, &change, "gate")) {
                    return;
                }
                continue;
            }
            Some(Answer::Ask(change, _)) => {
                if !sim.with(|state| state.write(at, &change, "gate")) {
                    continue;
                }
                asked = true;
            }
            Some(Answer::Wait(_)) => {}
        }
        // The gate looks now and then by itself, since Redis tells nobody that its data was flushed.
        let latest = sim.now() + Duration::from_secs(45);
        sim.change(Channel::Instance(at), seen, latest).await;
    }
}

/// SONIC.md 4.2, step by step. Only its last look and what follows from it are one: what could come in between there is
/// the image's own risk.
async fn sonic_turn(sim: &Sim, at: usize, number: u64) {
    let seen = sim.with(|state| state.all[at].row.clone());
    if seen.system_state.is_none()
        || (seen.remote_state == RemoteState::Ready && sonic_takes(sim, at, number))
    {
        return;
    }
    sim.moment().await;
    let Some(version) = sim.with(|state| sonic_version(state, at, number, &seen)) else {
        return std::future::pending().await;
    };
    sim.with(|state| sonic_writes(state, at, |row| row.container_version = Some(version.clone())));
    sim.moment().await;
    if !matches!(seen.remote_state, RemoteState::Pending | RemoteState::Ready) {
        sim.with(|state| sonic_writes(state, at, |row| row.remote_state = RemoteState::Pending));
    }
    polls(sim, number, true);
    while sim.with(|state| state.all[at].row.remote_state) != RemoteState::Ready {
        sim.sleep(Duration::from_secs(2)).await;
    }
    polls(sim, number, false);
    let is_mine = sim.with(|state| state.all[at].row.container_version.as_ref() == Some(&version));
    if !is_mine || !sonic_takes(sim, at, number) {
        std::future::pending::<()>().await;
    }
}

/// Its version, if it goes on to ask.
fn sonic_version(state: &State, at: usize, number: u64, seen: &FeatureState) -> Option<Version> {
    let version = &state.containers.get(&number)?.image.version;
    let is_local = state.all[at].local_label.as_ref().is_some_and(|local| local.same_as(version));
    let is_kube = state.config(at).is_some_and(|config| config.set_owner == SetOwner::Kube);
    let may_ask = is_kube && seen.system_state == Some(SystemState::Up) && !is_local;
    may_ask.then(|| version.clone())
}

fn sonic_takes(sim: &Sim, at: usize, number: u64) -> bool {
    sim.with(|state| {
        let Some(container) = state.containers.get(&number) else { return false };
        let (version, id) = (container.image.version.clone(), container.id.short());
        sonic_writes(state, at, |row| {
            row.current_owner = CurrentOwner::Kube;
            row.container_id = Some(id);
            row.container_version = Some(version);
            row.remote_state = RemoteState::Running;
        });
        true
    })
}

/// Without a condition, and without the container that asks.
fn sonic_writes(state: &mut State, at: usize, change: impl FnOnce(&mut FeatureState)) {
    change(&mut state.all[at].row);
    state.tell_row(at, "SONiC's script");
    state.touch(at);
}

fn polls(sim: &Sim, number: u64, polls: bool) {
    sim.with(|state| {
        if let Some(container) = state.containers.get_mut(&number) {
            container.polls = polls;
        }
    });
}

fn asking<T>(sim: &Sim, number: u64, asked: bool, question: impl FnOnce(&Asking<'_>) -> T) -> Option<T> {
    sim.with(|state| {
        let container = state.containers.get(&number)?;
        let at = container.instance;
        let one = &state.all[at];
        let local_version = one.local_label.as_ref();
        Some(question(&Asking {
            instance: &one.name,
            side: container.side,
            version: &container.image.version,
            id: (container.side == Side::Kube).then_some(&container.id),
            has_asked: asked,
            configured: state.config_loaded,
            config: state.config(at),
            row: &one.row,
            local_version,
        }))
    })
}

async fn record_leave(sim: &Sim, at: usize, number: u64) {
    while let Some(Some(change)) = asking(sim, number, true, leave) {
        sim.moment().await;
        if sim.with(|state| state.write(at, &change, "leave")) {
            break;
        }
    }
    sim.moment().await;
}

/// A container is asked to end, by whomever; it ends by itself or is killed after the grace.
pub(crate) fn begin_stop(sim: &Sim, number: u64) {
    let asked = sim.with(|state| match state.containers.get_mut(&number) {
        Some(container) if !container.dying => {
            container.dying = true;
            true
        }
        _ => false,
    });
    if asked {
        sim.spawn(Place::Switch, dying(sim.clone(), number));
    }
}

async fn dying(sim: Sim, number: u64) {
    let Some((at, payload, hangs)) =
        sim.with(|state| state.containers.get(&number).map(|c| (c.instance, c.payload, c.image.hangs)))
    else {
        return;
    };
    let time = match (hangs, payload) {
        (true, _) => Duration::from_millis(GRACE),
        (false, true) => sim.with(|state| state.chance.ms(100, GRACE)),
        (false, false) => sim.with(|state| state.chance.ms(1, 300)),
    };
    sim.sleep(time).await;
    if payload && !hangs && sim.with(|state| state.all[at].leaves) {
        record_leave(&sim, at, number).await;
    }
    let hangs_until = sim.with(|state| state.engine_hangs_until);
    if hangs && hangs_until > sim.now() {
        sim.sleep(hangs_until.saturating_sub(sim.now())).await;
    }
    kill(&sim, number);
}

pub(crate) fn kill(sim: &Sim, number: u64) {
    if let Some(program) = sim.with(|state| state.end_container(number, true)) {
        sim.kill(program);
    }
}

/// Returns when the container does not run.
pub(crate) async fn stop(sim: &Sim, at: usize, number: u64, at_once: bool) -> Result<(), Trouble> {
    sim.moment().await;
    if !sim.with(|state| state.engine_up) {
        return Err(away());
    }
    if at_once {
        kill(sim, number);
    } else {
        begin_stop(sim, number);
    }
    sim.until(Channel::Instance(at), None, |state| {
        !state.containers.contains_key(&number) || !state.engine_up
    })
    .await;
    if sim.with(|state| state.containers.contains_key(&number)) { Err(away()) } else { Ok(()) }
}
