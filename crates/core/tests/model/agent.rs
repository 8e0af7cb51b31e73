//! The daemon: it looks at rows, engine and unit at any moment and runs its errands one by one.

use std::time::Duration;

use switchyard_core::{
    AgentStep, AgentView, CurrentOwner, Knobs, Phase, SetOwner, SystemState, reconcile, stop,
};

use crate::lies::Lie;
use crate::scenario::{Moves, Scenario};
use crate::translate::{small_steps, view};
use crate::unit::{Outcome, carry, restart};
use crate::world::{Agent, Errand, Pod, Unit, World};

pub(crate) fn moves(scenario: &Scenario, world: &World, moves: &mut Moves<'_>) {
    match &world.agent {
        Agent::Absent => {}
        Agent::Watches => moves.add("the agent looks", |to| look(scenario, to)),
        Agent::Carries(steps) => carry(scenario, world, steps, moves, |to, outcome| {
            to.agent = match outcome {
                Outcome::Rest(rest) if !rest.is_empty() => Agent::Carries(rest),
                Outcome::Rest(_) | Outcome::RowMoved => Agent::Watches,
            };
        }),
        Agent::Does(errands) => {
            let Some((errand, rest)) = errands.split_first() else { return };
            let rest = if rest.is_empty() { Agent::Watches } else { Agent::Does(rest.to_vec()) };
            match errand {
                Errand::Label(wanted) => moves.add("the agent writes the label", |to| {
                    to.label = *wanted;
                    to.agent = rest;
                }),
                // The plan is made at once; nothing else is on the list then.
                Errand::BringDown => moves.add("the agent decides to bring it down", |to| {
                    let view = view(to, Scenario::rows(to), scenario.fallback);
                    to.agent = Agent::Carries(small_steps(&stop(&view).steps));
                }),
                Errand::Restart => moves.add("the agent restarts the unit", |to| {
                    restart(to, scenario.lie != Lie::PlainRestart);
                    to.agent = rest;
                }),
            }
        }
    }
}

fn look(scenario: &Scenario, world: &mut World) {
    let mut view = view(world, Scenario::rows(world), scenario.fallback);
    view.row.current_owner = match (scenario.lie, view.row.current_owner) {
        (Lie::NoneIsMismatch, CurrentOwner::None) => CurrentOwner::Kube,
        (Lie::PodSeemsLocal, CurrentOwner::Kube) => CurrentOwner::Local,
        (_, owner) => owner,
    };
    let unit = match world.unit {
        Unit::Off => switchyard_core::Unit::Off,
        Unit::Pre | Unit::Stopping(_) => switchyard_core::Unit::Busy,
        Unit::Active => switchyard_core::Unit::Active,
        Unit::AutoRestart => switchyard_core::Unit::WillRestart,
    };
    let now = AgentView {
        view: &view,
        unit,
        // Time is not modelled: what is done after a while may be done at once.
        since: Duration::MAX,
        phase: Phase::Steady,
        same_as_local: scenario.same_as_local,
        // So it may restart the unit in every state in which it ever might.
        local_ran: false,
        copy_for: None,
        labelled: world.label,
        leaving: false,
    };
    let steps = reconcile(&now, &Knobs::default());
    let errands: Vec<_> = steps.iter().filter_map(|step| errand(world, step)).collect();
    let errands = if scenario.lie == Lie::LeftAlone { without_bring_down(errands) } else { errands };
    if errands.contains(&Errand::Restart) && as_wanted(world) {
        world.wronged = true;
    }
    if !errands.is_empty() {
        world.agent = Agent::Does(errands);
    }
}

fn without_bring_down(errands: Vec<Errand>) -> Vec<Errand> {
    errands.into_iter().filter(|errand| *errand != Errand::BringDown).collect()
}

/// An errand that would change nothing is not run.
fn errand(world: &World, step: &AgentStep) -> Option<Errand> {
    match step {
        AgentStep::Label(wanted) => (*wanted != world.label).then_some(Errand::Label(*wanted)),
        AgentStep::RestartUnit(_) => Some(Errand::Restart),
        AgentStep::BringDown(_) => Some(Errand::BringDown),
    }
}

/// The unit is up and the copy runs that is wanted; a pod that reads the row finds that it may.
fn as_wanted(world: &World) -> bool {
    world.unit == Unit::Active
        && world.row.system != Some(SystemState::Down)
        && match world.wanted {
            SetOwner::Local => world.local.runs(),
            SetOwner::Kube => world.pods.iter().any(Pod::runs_payload),
        }
}
