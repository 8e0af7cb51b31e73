//! What must be true of a switch that was left in peace for long enough.

use switchyard_core::{CurrentOwner, RemoteState, SetOwner, Side, SystemState, Verdict};

use std::time::Duration;

use crate::state::{Gate, Health, State, Template, UnitState};

/// A pod that is not ready is given up after this, with all that it takes to find that out.
const GETTING_READY: Duration = Duration::from_mins(30);

/// What the switch owes us, instance by instance; nothing if it keeps all promises.
pub(crate) fn missed(state: &State) -> Option<String> {
    (0..state.all.len()).find_map(|at| {
        let why = instance(state, at).or_else(|| label(state, at))?;
        Some(format!("{}: {why}", state.all[at].name))
    })
}

fn instance(state: &State, at: usize) -> Option<String> {
    let one = &state.all[at];
    let feature = &state.features[one.feature];
    let running = state.payloads(at).first().copied();
    if !one.unit_wanted {
        return off(state, at);
    }
    if one.unit.given_up {
        // A local image that cannot be started fails again and again until systemd gives up.
        let no_image = one.local_image.as_ref().is_none_or(|image| image.health == Health::NoImage);
        let hopeless = feature.config.set_owner == SetOwner::Local && no_image;
        // A start limit is for copies that do not stay up, whoever ends them. The last run that did not is not counted.
        let planned = one.unit.starts.iter().filter(|(_, planned)| *planned).count();
        return (!hopeless && planned > 1).then(|| "systemd gave the unit up".to_owned());
    }
    let local_good = one.local_image.as_ref().is_some_and(|image| image.health == Health::Good);
    match feature.config.set_owner {
        SetOwner::Local if local_good && running != Some(Side::Local) => {
            Some(format!("the local copy is wanted and {running:?} runs"))
        }
        SetOwner::Local => None,
        SetOwner::Kube => kube(state, at, running, local_good),
    }
    .or_else(|| running.and_then(|side| row(state, at, side)))
}

fn kube(state: &State, at: usize, running: Option<Side>, local_good: bool) -> Option<String> {
    let one = &state.all[at];
    let feature = &state.features[one.feature];
    let reachable = state.server && state.joined && state.kubelet;
    let version = |verdict| verdict == Verdict::Welcome;
    let pod = feature.manifest.as_ref().filter(|_| reachable).filter(|template| {
        let record = &one.record;
        let (policy, now) = (feature.config.update_policy(feature.takes_others), state.now_moment());
        template.image.health == Health::Good
            && version(record.verdict(&template.image.version, policy, &now, &state.knobs))
    });
    let same = pod.is_some_and(|template| {
        one.local_image.as_ref().is_some_and(|local| local.version.same_as(&template.image.version))
    });
    let local_may = local_good && feature.config.fallback;
    let never_ready = state.containers.values().any(|container| {
        container.instance == at && container.payload && container.image.health == Health::NeverReady
    });
    // What the agent is not told of it cannot hold against a pod.
    let told = reachable && state.server_since + GETTING_READY < state.now;
    if never_ready && local_may && told && running == Some(Side::Kube) {
        return Some("a pod that never gets ready runs although the local copy could".to_owned());
    }
    let whose = |template: &Template| match template.image.gate {
        Gate::Ours => "a pod",
        Gate::Sonic => "a pod of an unmodified image",
    };
    match (running, pod) {
        (None, _) if local_may => Some("nothing runs although the local copy could".to_owned()),
        // SONiC's script takes a version that is on the switch already for one that need not run.
        (None, Some(template)) if template.image.gate == Gate::Ours || !same => {
            Some(format!("nothing runs although {} could", whose(template)))
        }
        (Some(Side::Local), Some(template)) if !same => {
            Some(format!("the local copy runs although {} could", whose(template)))
        }
        _ => None,
    }
}

fn off(state: &State, at: usize) -> Option<String> {
    let one = &state.all[at];
    if one.unit.state != UnitState::Off {
        return Some(format!("the unit was stopped and is {:?}", one.unit.state));
    }
    // A pod of a feature that the switch does not know is nobody's business but the cluster's.
    let unmanaged = |side: &Side| *side == Side::Kube && !state.features[one.feature].exists;
    if let Some(side) = state.payloads(at).first().filter(|side| !unmanaged(side)) {
        let whose = if state.features[one.feature].exists { "" } else { " of a feature that was deleted" };
        return Some(format!("the unit{whose} is off and {side:?} runs"));
    }
    if one.row.system_state == Some(SystemState::Up) || one.row.current_owner != CurrentOwner::None {
        let whose = if state.features[one.feature].exists { "" } else { " of a feature that was deleted" };
        return Some(format!("the unit{whose} is off and the row does not say so"));
    }
    None
}

fn row(state: &State, at: usize, side: Side) -> Option<String> {
    let one = &state.all[at];
    let owner = match side {
        Side::Local => CurrentOwner::Local,
        Side::Kube => CurrentOwner::Kube,
    };
    if one.row.system_state != Some(SystemState::Up) || one.row.current_owner != owner {
        return Some(format!("{side:?} runs and the row does not say so"));
    }
    if one.unit.state != UnitState::Active {
        return Some(format!("{side:?} runs and the unit is {:?}", one.unit.state));
    }
    if let Some(told) = one.told.filter(|told| *told != owner) {
        return Some(format!("{side:?} runs and that it does was never told, but {told}"));
    }
    let pods = state.of(at, Side::Kube).count();
    let asks = matches!(one.row.remote_state, RemoteState::Pending | RemoteState::Ready);
    (asks && pods == 0).then(|| "no pod is there and the row says that one asks".to_owned())
}

/// The label is as meant: by an instance whose unit runs, and dropped where nobody wants it.
fn label(state: &State, at: usize) -> Option<String> {
    let feature = &state.features[state.all[at].feature];
    let ours = || feature.instances.iter().map(|at| &state.all[*at]);
    if ours().any(|one| one.unit_wanted && one.unit.state != UnitState::Active) {
        return None;
    }
    let wanted = feature.config.set_owner == SetOwner::Kube && ours().any(|one| one.unit_wanted);
    // A row that is gone wants nothing, but a unit that never ran says nothing either.
    let never_ran = ours().all(|one| one.row.system_state.is_none());
    let is = if state.server { feature.label_node } else { feature.label_row == Some(true) };
    let deleted = if feature.exists { "" } else { " of a feature that was deleted" };
    (is != wanted && (wanted || !never_ran))
        .then(|| format!("the label{deleted} is {is} and {wanted} is meant"))
}
