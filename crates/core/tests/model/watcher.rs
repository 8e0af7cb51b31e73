//! `container wait`, as the command line runs it: it looks, does what the core says, and stays with the copy that it
//! was told to watch until the engine says that this one has ended.

use std::time::Duration;

use switchyard_core::{CurrentOwner, Knobs, Waiting, ended, wait};

use crate::lies::{Lie, Writer};
use crate::scenario::{Moves, Scenario};
use crate::translate::{small_change, view, who};
use crate::unit::{end, forget_condition};
use crate::world::{Change, Main, Rows, Then, Unit, Verb, Who, World};

pub(crate) fn moves(scenario: &Scenario, world: &World, moves: &mut Moves<'_>) {
    match world.main {
        Main::None => {}
        Main::Looks => {
            for late in [false, true] {
                let what = if late { "wait looks, late" } else { "wait looks" };
                moves.add(what, |to| {
                    let rows = Scenario::rows(to);
                    if scenario.torn {
                        to.main = Main::Reads { rows, late };
                    } else {
                        to.main = decide(scenario, to, rows, late);
                    }
                });
            }
        }
        Main::Reads { rows, late } => moves.add("wait reads the engine and decides", |to| {
            to.main = decide(scenario, to, rows, late);
        }),
        Main::Writes { change, over } => moves.add("wait writes the row", |to| {
            to.main = Main::Looks;
            if scenario.write(to, &change) && over {
                exit(to);
            }
        }),
        Main::Watches(copy) if world.runs(copy) => moves.add("wait checks the row", |to| {
            to.main = check(scenario, to, copy);
        }),
        Main::Watches(_) => moves.add("wait sees its copy end", |to| to.main = Main::Ends),
        Main::Repairs(copy, change) => moves.add("wait repairs the row", |to| {
            scenario.write(to, &change);
            to.main = Main::Watches(copy);
        }),
        Main::Ends => moves.add("wait looks a last time", |to| {
            let view = view(to, Scenario::rows(to), scenario.fallback);
            to.main = Main::Records(conditional(scenario, &ended(&view)));
        }),
        Main::Records(change) => moves.add("wait records the end", |to| {
            scenario.write(to, &change);
            exit(to);
        }),
    }
}

fn conditional(scenario: &Scenario, change: &switchyard_core::RowChange) -> Change {
    let mut change = small_change(change);
    if scenario.lie == Lie::StalePending && change.owner == Some(CurrentOwner::Local) {
        change.remote = None;
    }
    forget_condition(scenario, Writer::Wait, &mut change);
    change
}

fn waiting(scenario: &Scenario, world: &World, rows: Rows, late: bool) -> Waiting {
    let mut view = view(world, rows, scenario.fallback);
    if scenario.lie == Lie::LocalSeemsEnded && view.local == switchyard_core::Local::Running {
        view.local = switchyard_core::Local::Stopped;
    }
    if scenario.lie == Lie::OtherPodsHidden {
        let asker = view.row.remote_container_id.clone();
        view.pods.retain(|pod| asker.as_ref().is_some_and(|id| id.same_as(&pod.id)));
    }
    let knobs = Knobs::default();
    let late = late && scenario.lie != Lie::NeverLate;
    wait(&view, if late { knobs.revert_to_local } else { Duration::ZERO }, &knobs)
}

fn decide(scenario: &Scenario, world: &World, rows: Rows, late: bool) -> Main {
    match waiting(scenario, world, rows, late) {
        Waiting::Watch(copy, None) => Main::Watches(who(&copy)),
        Waiting::Watch(copy, Some(repair)) => Main::Repairs(who(&copy), conditional(scenario, &repair)),
        Waiting::Write(change, _) => Main::Writes { change: conditional(scenario, &change), over: false },
        Waiting::Over(change, _) => Main::Writes { change: conditional(scenario, &change), over: true },
        Waiting::Await(..) => Main::Looks,
    }
}

fn check(scenario: &Scenario, world: &World, watched: Who) -> Main {
    match waiting(scenario, world, Scenario::rows(world), false) {
        Waiting::Watch(copy, Some(repair)) if who(&copy) == watched => {
            Main::Repairs(watched, conditional(scenario, &repair))
        }
        Waiting::Over(change, _) => Main::Writes { change: conditional(scenario, &change), over: true },
        _ => Main::Watches(watched),
    }
}

/// The main process is gone: systemd stops the unit, unless it is doing so already, and will start it again.
pub(crate) fn exit(world: &mut World) {
    world.main = Main::None;
    if world.unit == Unit::Active {
        end(world, Verb::Stop, Then::AutoRestart);
    }
}
