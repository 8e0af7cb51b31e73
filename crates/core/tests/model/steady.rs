//! What must not disturb a copy that runs well: a server that goes away, a daemon that dies, a row that is lost.

use ahash::AHashSet;
use switchyard_core::SetOwner;

use crate::goal::running;
use crate::quiet::Graph;
use crate::scenario::Scenario;
use crate::story::describe;
use crate::world::{Agent, GONE, Unit, Who, World};

/// Changes every world in which the switch can come to rest with a copy running, and follows all that can happen
/// from there: the same copy must run all the while.
pub(crate) fn nothing_stops(scenario: &Scenario, graph: &Graph, disturb: impl Fn(&mut World)) {
    let mut tried = 0;
    for rest in graph.rests().filter(|world| world.unit == Unit::Active) {
        let Some(copy) = running(rest) else { continue };
        if rest.wanted == SetOwner::Local && copy != Who::Local {
            // The owner was changed while no daemon was there to act on it: any occasion will do.
            continue;
        }
        let mut disturbed = rest.clone();
        disturb(&mut disturbed);
        let mut seen = AHashSet::from([disturbed.clone()]);
        let mut next = vec![disturbed];
        tried += 1;
        while let Some(world) = next.pop() {
            assert!(
                running(&world) == Some(copy),
                "{copy:?} did not stay\nfrom {}\nto   {}",
                describe(rest),
                describe(&world)
            );
            for found in scenario.quiet_moves(&world) {
                if seen.insert(found.to.clone()) {
                    next.push(found.to);
                }
            }
        }
    }
    assert!(tried > 2, "only {tried} switches at rest with a copy that runs");
}

pub(crate) fn lose_row(world: &mut World) {
    world.row = GONE;
}

pub(crate) fn lose_server(world: &mut World) {
    world.server = false;
}

pub(crate) fn lose_agent(world: &mut World) {
    world.agent = Agent::Absent;
}
