//! What the operator does and what goes wrong. Each costs one of the scenario's units of trouble.

use switchyard_core::SetOwner;

use crate::pods;
use crate::scenario::{Moves, Scenario};
use crate::unit::{after_stop, begin, end, restart};
use crate::watcher::exit;
use crate::world::{Agent, GONE, Gate, Local, Main, Pod, Script, Then, Unit, Verb, Who, World};

pub(crate) fn moves(scenario: &Scenario, world: &World, moves: &mut Moves<'_>) {
    operator(world, moves);
    cluster(world, moves);
    copies(scenario, world, moves);
    programs(scenario, world, moves);
}

fn operator(world: &World, moves: &mut Moves<'_>) {
    moves.add("the operator changes the owner", |to| {
        to.wanted = match to.wanted {
            SetOwner::Local => SetOwner::Kube,
            SetOwner::Kube => SetOwner::Local,
        };
    });
    moves.add("the operator starts the unit", |to| {
        to.unit_wanted = true;
        match to.unit {
            Unit::Off => begin(to),
            Unit::Stopping(Then::Off) => to.unit = Unit::Stopping(Then::Start),
            Unit::Pre | Unit::Active | Unit::Stopping(_) | Unit::AutoRestart => {}
        }
    });
    let what =
        if world.welcome { "the version fails once too often" } else { "the operator accepts the version" };
    moves.add(what, |to| to.welcome = !to.welcome);
    moves.add("the operator restarts the unit", |to| {
        to.unit_wanted = true;
        restart(to, false);
    });
    moves.add("the operator stops the unit", |to| stop(to, Verb::Stop));
    if world.unit == Unit::Active {
        // service_mgmt.sh on the way into a warm or fast reboot (SONIC.md 6.1).
        moves.add("the operator stops the unit by kill", |to| stop(to, Verb::Kill));
    }
}

/// `systemctl stop`: during ExecStartPre the script dies and no ExecStop runs.
fn stop(world: &mut World, verb: Verb) {
    world.unit_wanted = false;
    match world.unit {
        Unit::Off => {}
        Unit::Pre | Unit::AutoRestart => {
            world.unit = Unit::Off;
            world.script = Script::None;
        }
        Unit::Active => end(world, verb, Then::Off),
        Unit::Stopping(_) => world.unit = Unit::Stopping(Then::Off),
    }
}

fn cluster(world: &World, moves: &mut Moves<'_>) {
    let what = if world.server { "the server goes away" } else { "the server comes back" };
    moves.add(what, |to| to.server = !to.server);
    let what = if world.manifest { "the manifest is deleted" } else { "the manifest is applied" };
    moves.add(what, |to| to.manifest = !to.manifest);
}

fn copies(scenario: &Scenario, world: &World, moves: &mut Moves<'_>) {
    moves.add("the local copy is killed behind our back", |to| to.kill(Who::Local));
    if scenario.leaves && world.local == Local::Running {
        moves.add("the local copy decides to end", |to| pods::leave_by(scenario, to, Who::Local));
    }
    for pod in &world.pods {
        let Pod::Up(id, gate) = *pod else { continue };
        moves.add("a pod is killed behind our back", |to| to.kill(Who::Pod(id)));
        if scenario.leaves && gate == Gate::Runs {
            moves.add("a pod decides to end", |to| pods::leave_by(scenario, to, Who::Pod(id)));
        }
    }
    if !world.lost {
        moves.add("Redis loses the row", |to| {
            to.row = GONE;
            to.lost = true;
        });
    }
}

fn programs(scenario: &Scenario, world: &World, moves: &mut Moves<'_>) {
    if world.script != Script::None {
        moves.add("the control script dies", |to| match to.unit {
            Unit::Stopping(then) => after_stop(to, then),
            Unit::Off | Unit::Pre | Unit::Active | Unit::AutoRestart => {
                to.script = Script::None;
                to.unit = Unit::AutoRestart;
            }
        });
    }
    if world.main != Main::None {
        moves.add("container wait dies", exit);
    }
    if scenario.agent {
        let what = if world.agent == Agent::Absent { "the agent comes back" } else { "the agent dies" };
        moves.add(what, |to| {
            to.agent = if to.agent == Agent::Absent { Agent::Watches } else { Agent::Absent };
        });
    }
}
