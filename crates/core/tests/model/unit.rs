//! systemd and the control script: ExecStartPre runs `container start`, ExecStop runs `container stop` (or `kill`)
//! if `docker ps` lists anything (SONIC.md 6.3), ExecStart is `container wait` in `watcher`.
//!
//! A stop during ExecStartPre kills the script and runs no ExecStop; a stop while active runs ExecStop beside the
//! main process; a unit that ended by itself is started again.

use switchyard_core::{kill, start, stop};

use crate::lies::{Lie, Writer};
use crate::pods;
use crate::scenario::{Moves, Scenario};
use crate::translate::{small_steps, view, write};
use crate::world::{
    Change, Local, Main, Pod, Row, Rows, Script, Step, Then, Unit, Verb, Version, Who, World,
};

pub(crate) fn moves(scenario: &Scenario, world: &World, moves: &mut Moves<'_>) {
    match &world.script {
        Script::None if world.unit == Unit::AutoRestart => {
            moves.add("systemd starts the unit again", begin);
        }
        Script::None => {}
        Script::Checks(verb) => moves.add("the script asks docker ps", |to| {
            let any = to.local.runs() || to.pods.iter().any(|pod| *pod != Pod::Dead);
            to.script = Script::Looks(*verb);
            if !any {
                finish(to);
            }
        }),
        Script::Looks(verb) if scenario.torn => moves.add("the verb reads the rows", |to| {
            to.script = Script::Reads(*verb, Scenario::rows(to));
        }),
        Script::Looks(verb) => moves.add("the verb looks and decides", |to| {
            decide(scenario, to, *verb, Scenario::rows(world));
        }),
        Script::Reads(verb, rows) => moves.add("the verb reads the engine and decides", |to| {
            decide(scenario, to, *verb, *rows);
        }),
        Script::Does(verb, steps) => carry(scenario, world, steps, moves, |to, outcome| match outcome {
            Outcome::Rest(rest) if rest.is_empty() => finish(to),
            Outcome::Rest(rest) => to.script = Script::Does(*verb, rest),
            Outcome::RowMoved => to.script = Script::Looks(*verb),
        }),
    }
}

fn decide(scenario: &Scenario, world: &mut World, verb: Verb, rows: Rows) {
    let view = view(world, rows, scenario.fallback);
    let plan = match verb {
        Verb::Start => start(&view),
        Verb::Stop => Ok(stop(&view)),
        Verb::Kill => Ok(kill(&view)),
    };
    let Ok(plan) = plan else {
        // The script fails, and Restart=always tries again.
        world.script = Script::None;
        world.unit = Unit::AutoRestart;
        return;
    };
    let mut steps = small_steps(&plan.steps);
    if verb == Verb::Start {
        let starts_local = steps.contains(&Step::StartLocal);
        steps.retain(|step| match step {
            Step::Stop(Who::Pod(_)) => !(scenario.lie == Lie::PodsNotStopped && starts_local),
            Step::Row(_) => !(scenario.lie == Lie::StartWithoutRow && starts_local),
            _ => true,
        });
    }
    if scenario.lie == Lie::NoMark
        && let [Step::Row(first), .., Step::Row(last)] = steps.as_mut_slice()
    {
        first.owner = None;
        last.only_if = last.only_if.map(|seen| Row { owner: rows.row.owner, ..seen });
    }
    let writer = if verb == Verb::Start { Writer::Start } else { Writer::Stop };
    for step in &mut steps {
        if let Step::Row(change) = step {
            forget_condition(scenario, writer, change);
        }
    }
    world.script = Script::Does(verb, steps);
    if matches!(&world.script, Script::Does(_, steps) if steps.is_empty()) {
        finish(world);
    }
}

pub(crate) fn forget_condition(scenario: &Scenario, writer: Writer, change: &mut Change) {
    if scenario.lie == Lie::Unconditional(writer) {
        change.only_if = None;
    }
}

/// How a step of a plan came out.
pub(crate) enum Outcome {
    /// These are left to do.
    Rest(Vec<Step>),
    /// The row was changed by somebody else: look again.
    RowMoved,
}

/// The first of the steps, as its own move. A container that is stopped may end at once, or record its leave first.
pub(crate) fn carry(
    scenario: &Scenario,
    world: &World,
    steps: &[Step],
    moves: &mut Moves<'_>,
    then: impl Fn(&mut World, Outcome),
) {
    let Some((step, rest)) = steps.split_first() else { return };
    let done = || Outcome::Rest(rest.to_vec());
    match step {
        Step::Label(wanted) => moves.add("a verb writes the label", |to| {
            to.label = *wanted;
            then(to, done());
        }),
        Step::Row(change) => moves.add("a verb writes the row", |to| {
            let outcome = if scenario.write(to, change) { done() } else { Outcome::RowMoved };
            then(to, outcome);
        }),
        Step::AwaitRow => {
            moves.add("a verb hears of no change of the row", |to| then(to, done()));
            moves.add("a verb hears of a change of the row", |to| then(to, Outcome::RowMoved));
        }
        Step::StartLocal => moves.add("the engine starts the local copy", |to| {
            if to.local == Local::Stopped {
                to.local = if scenario.local_asks { Local::Fresh } else { Local::Running };
            }
            then(to, done());
        }),
        Step::Kill(who) => moves.add("the engine kills a copy", |to| {
            to.kill(*who);
            then(to, done());
        }),
        Step::Stop(who) => {
            if !pods::leaves_by_itself(world, *who) {
                moves.add("the engine stops a copy", |to| {
                    to.kill(*who);
                    then(to, done());
                });
            }
            if scenario.leaves {
                moves.add("a copy that is being stopped records its leave", |to| {
                    pods::leave_by(scenario, to, *who);
                });
            }
        }
    }
}

/// The unit's start begins.
pub(crate) fn begin(world: &mut World) {
    world.unit = Unit::Pre;
    world.script = Script::Looks(Verb::Start);
    world.main = Main::None;
}

/// The unit's stop begins; the main process, if it runs, runs on beside it.
pub(crate) fn end(world: &mut World, verb: Verb, then: Then) {
    world.unit = Unit::Stopping(then);
    world.script = Script::Checks(verb);
}

/// The script is through.
fn finish(world: &mut World) {
    world.script = Script::None;
    match world.unit {
        Unit::Pre => {
            world.unit = Unit::Active;
            world.main = Main::Looks;
        }
        Unit::Stopping(then) => after_stop(world, then),
        Unit::Off | Unit::Active | Unit::AutoRestart => unreachable!("no script runs then"),
    }
}

/// The script is through, or dead: systemd kills what is left of the unit.
pub(crate) fn after_stop(world: &mut World, then: Then) {
    world.script = Script::None;
    world.main = Main::None;
    match then {
        Then::Off => world.unit = Unit::Off,
        Then::Start => begin(world),
        Then::AutoRestart => world.unit = Unit::AutoRestart,
    }
}

/// `systemctl restart`, or `try-restart`, which leaves a unit alone that is off or going off.
pub(crate) fn restart(world: &mut World, only_if_up: bool) {
    match world.unit {
        Unit::Off | Unit::Stopping(_) if only_if_up => {}
        Unit::Off | Unit::Pre | Unit::AutoRestart => begin(world),
        Unit::Active => end(world, Verb::Stop, Then::Start),
        Unit::Stopping(_) => world.unit = Unit::Stopping(Then::Start),
    }
}

impl Scenario {
    /// Writes a row change. Where ids are known nobody looks at versions, so they are not told apart.
    pub(crate) fn write(&self, world: &mut World, change: &Change) -> bool {
        let written = write(world, change);
        if self.ids {
            world.row.version = Version::Unknown;
        }
        written
    }
}
