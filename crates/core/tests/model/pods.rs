//! The cluster, the kubelet, and what happens inside containers: the gate of a pod and the local start-up call.

use switchyard_core::{Answer, Asking, Side, ask, leave};

use crate::ids::fresh_id;
use crate::lies::{Lie, Writer};
use crate::scenario::{Moves, Scenario};
use crate::translate::{self, INSTANCE, config, long_id, small_change};
use crate::unit::forget_condition;
use crate::world::{Gate, Id, Local, Pod, Version, Who, World};

pub(crate) fn moves(scenario: &Scenario, world: &World, moves: &mut Moves<'_>) {
    if world.server {
        moves.add("the kubelet hears what the cluster wants", |to| to.orders = to.label && to.manifest);
    }
    local_moves(scenario, world, moves);
    for at in 0..world.pods.len() {
        pod_moves(scenario, world, at, moves);
    }
}

fn local_moves(scenario: &Scenario, world: &World, moves: &mut Moves<'_>) {
    match world.local {
        Local::Fresh => moves.add("the local copy asks", |to| {
            to.local = match answer(scenario, to, Side::Local, None, false) {
                Answer::RecordAndRun(change, _) => Local::Recording(small_change(&change)),
                Answer::Run(_) => Local::Running,
                other => panic!("a local copy must never wait: {other:?}"),
            };
        }),
        Local::Recording(change) => moves.add("the local copy records itself", |to| {
            to.local = if scenario.write(to, &change) { Local::Running } else { Local::Fresh };
        }),
        Local::Leaving => moves.add("the local copy ends", |to| to.local = Local::Stopped),
        Local::Missing | Local::Stopped | Local::Running => {}
    }
}

fn pod_moves(scenario: &Scenario, world: &World, at: usize, moves: &mut Moves<'_>) {
    let Pod::Up(id, gate) = world.pods[at] else {
        if world.orders {
            moves.add("the kubelet starts a pod", |to| {
                to.pods[at] = Pod::Up(fresh_id(to), Gate::Waits { asked: false });
            });
        }
        return;
    };
    if !world.orders {
        moves.add("the kubelet removes a pod", |to| to.pods[at] = Pod::Dead);
    }
    match gate {
        Gate::Waits { asked } => moves.add("a pod asks", |to| {
            let change = match answer(scenario, to, Side::Kube, Some(id), asked) {
                Answer::Wait(_) => return,
                Answer::Run(_) => {
                    to.pods[at] = Pod::Up(id, Gate::Begins);
                    return;
                }
                Answer::Ask(change, _) => (change, false),
                Answer::RecordAndRun(change, _) => (change, true),
            };
            let (change, run) = (&change.0, change.1);
            let mut change = small_change(change);
            forget_condition(scenario, Writer::Gate, &mut change);
            to.pods[at] = Pod::Up(id, Gate::Writes { change, run, asked });
        }),
        Gate::Writes { change, run, asked } => moves.add("a pod writes the row", |to| {
            let written = scenario.write(to, &change);
            let gate = if written && run { Gate::Begins } else { Gate::Waits { asked: asked || written } };
            to.pods[at] = Pod::Up(id, gate);
        }),
        Gate::Begins => moves.add("a pod starts its payload", |to| to.pods[at] = Pod::Up(id, Gate::Runs)),
        Gate::Runs => {}
        Gate::Leaves => moves.add("a pod ends", |to| to.pods[at] = Pod::Dead),
    }
}

fn answer(scenario: &Scenario, world: &World, side: Side, id: Option<Id>, asked: bool) -> Answer {
    let mut row = translate::row(world.row);
    let config = config(world.wanted, scenario.fallback);
    let own = id.filter(|_| scenario.ids).map(long_id);
    if scenario.lie == Lie::OwnNameHidden {
        row.container_id = row.container_id.filter(|named| own.is_none_or(|own| !named.same_as(own)));
    }
    let id = match scenario.lie {
        Lie::AnyPodsTurn => row.remote_container_id.as_ref().or(own),
        _ => own,
    };
    let runs_ahead = scenario.lie == Lie::RunsAhead && side == Side::Kube && row.system_state.is_none();
    ask(&Asking {
        instance: &INSTANCE,
        side,
        version: own_version(scenario, side),
        id,
        has_asked: asked,
        configured: true,
        config: (!runs_ahead).then_some(&config),
        row: &row,
        local_version: translate::version(Version::Local),
    })
}

fn own_version(scenario: &Scenario, side: Side) -> &'static switchyard_core::Version {
    let local = side == Side::Local || scenario.same_as_local;
    translate::version(if local { Version::Local } else { Version::Pod }).expect("both are known")
}

/// Whether a copy has recorded its leave, so that it ends by itself.
pub(crate) fn leaves_by_itself(world: &World, who: Who) -> bool {
    match who {
        Who::Local => world.local == Local::Leaving,
        Who::Pod(id) => world.pods.contains(&Pod::Up(id, Gate::Leaves)),
    }
}

/// A copy that runs the payload records its leave; the payload ends after that.
pub(crate) fn leave_by(scenario: &Scenario, world: &mut World, who: Who) {
    let (side, id) = match who {
        Who::Local if world.local == Local::Running => (Side::Local, None),
        Who::Pod(id) if world.pods.contains(&Pod::Up(id, Gate::Runs)) => (Side::Kube, Some(id)),
        Who::Local | Who::Pod(_) => return,
    };
    let row = translate::row(world.row);
    let config = config(world.wanted, scenario.fallback);
    let change = leave(&Asking {
        instance: &INSTANCE,
        side,
        version: own_version(scenario, side),
        id: id.filter(|_| scenario.ids).map(long_id),
        has_asked: true,
        configured: true,
        config: Some(&config),
        row: &row,
        local_version: translate::version(Version::Local),
    });
    if let Some(change) = change {
        scenario.write(world, &small_change(&change));
    }
    match who {
        Who::Local => world.local = Local::Leaving,
        Who::Pod(id) => {
            for pod in &mut world.pods {
                if pod.id() == Some(id) {
                    *pod = Pod::Up(id, Gate::Leaves);
                }
            }
        }
    }
}
