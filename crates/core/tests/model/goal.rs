//! What must be true of a switch that was left in peace.

use switchyard_core::{CurrentOwner, RemoteState, SetOwner, SystemState};

use crate::scenario::Scenario;
use crate::world::{Agent, Gate, Id, LOCAL_ID, Local, NO_ID, Pod, Row, Unit, Who, World};

/// What can be seen from outside; what programs are just thinking is left out.
#[derive(PartialEq, Eq)]
pub(crate) struct Visible {
    row: Row,
    label: bool,
    orders: bool,
    local: bool,
    pods: Vec<Option<(Id, bool)>>,
    unit: Unit,
}

pub(crate) fn visible(world: &World) -> Visible {
    let pods = world.pods.iter().map(|pod| pod.id().map(|id| (id, pod.runs_payload()))).collect();
    // Without an image the unit fails again and again until systemd gives it up.
    let unit = if no_image(world) { Unit::AutoRestart } else { world.unit };
    let (label, orders, local) = (world.label, world.orders, world.local.runs());
    Visible { row: world.row, label, orders, local, pods, unit }
}

fn no_image(world: &World) -> bool {
    world.wanted == SetOwner::Local && world.local == Local::Missing
}

/// The copy that runs.
pub(crate) fn running(world: &World) -> Option<Who> {
    let pod = world.pods.iter().find(|pod| pod.runs_payload()).and_then(Pod::id);
    if world.local.runs() { Some(Who::Local) } else { pod.map(Who::Pod) }
}

/// What this world, in which nothing happens any more, owes us.
pub(crate) fn missed(scenario: &Scenario, world: &World) -> Option<&'static str> {
    let agent = world.agent != Agent::Absent;
    if !world.unit_wanted {
        // Without the daemon a unit whose start was broken off leaves behind what it had begun.
        return agent.then(|| missed_when_off(world)).flatten();
    }
    if no_image(world) {
        // Every start is refused, and a pod that was there may stay: nothing else could run.
        return None;
    }
    if scenario.agent && !agent && world.row.system == Some(SystemState::Down) {
        // The daemon died while it tidied up after an earlier run. It mends that when it is back.
        return None;
    }
    if !scenario.ids && !agent && world.wanted == SetOwner::Local && world.row.owner == CurrentOwner::Kube {
        // A pod that only waited was recorded for a lost row, cannot see that it is meant, and is not asked any more
        // since the owner was changed. The agent restarts the unit when it is back; so does the next start.
        return None;
    }
    let local_may = world.local != Local::Missing && (world.wanted == SetOwner::Local || scenario.fallback);
    let pod_may = world.wanted == SetOwner::Kube && world.orders && world.welcome;
    let Some(who) = running(world) else {
        return (local_may || pod_may).then_some("nothing runs");
    };
    if agent && world.wanted == SetOwner::Local && who != Who::Local {
        return Some("the pod runs, the local copy is wanted");
    }
    let pod_can = pod_may && world.server && !scenario.same_as_local;
    if agent && pod_can && who == Who::Local {
        return Some("the local copy bridges, though a pod could run");
    }
    if agent && world.label != (world.wanted == SetOwner::Kube) {
        return Some("the label does not say who is wanted");
    }
    if world.unit != Unit::Active {
        return Some("a copy runs while the unit is not active");
    }
    row_lies(world, who)
}

fn missed_when_off(world: &World) -> Option<&'static str> {
    let row = &world.row;
    match running(world) {
        Some(_) => Some("the unit is off and a copy runs"),
        None if world.unit != Unit::Off => Some("the unit was stopped and is not off"),
        None if row.system == Some(SystemState::Up) => Some("the unit is off and the row says up"),
        None if row.owner != CurrentOwner::None || row.id != NO_ID => {
            Some("nothing runs and the row says who")
        }
        None => None,
    }
}

fn row_lies(world: &World, who: Who) -> Option<&'static str> {
    let row = &world.row;
    if row.system != Some(SystemState::Up) {
        return Some("a copy runs and the row does not say up");
    }
    let (owner, id) = match who {
        Who::Local => (CurrentOwner::Local, LOCAL_ID),
        Who::Pod(id) => (CurrentOwner::Kube, id),
    };
    if row.owner != owner || row.id != id {
        return Some("the row does not name the copy that runs");
    }
    let asks = |pod: &Pod| matches!(pod, Pod::Up(id, Gate::Waits { asked: true }) if [NO_ID, *id].contains(&row.asker));
    match (who, row.remote) {
        (Who::Pod(_), RemoteState::Running) | (Who::Local, RemoteState::None) => None,
        (_, RemoteState::Pending) if world.pods.iter().any(asks) => None,
        _ => Some("remote_state does not say what the pods do"),
    }
}
