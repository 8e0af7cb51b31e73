//! What `container start` does: which copy the unit's start brings up (SONIC.md 3.3, DESIGN.md section 4 *Start*).
//!
//! Only decides who begins. That the pod really comes is waited for by [`crate::wait`].

use std::time::Duration;

use crate::{
    ContainerId, Copy, CurrentOwner, Local, OnlyIf, Plan, Reason, Refusal, RemoteState, RowChange, SetOwner,
    Step, SystemState, View,
};

/// How long a pod that has just come, while nobody ran, has to ask for its turn before it is stopped for one that may run.
/// The kubelet starts a container that crashed at once; it asks when the row says up, and a stop would take about as long.
const TIME_TO_ASK: Duration = Duration::from_millis(100);

/// The steps of a start. The row is written before the engine acts, on condition that it still says what was seen:
/// a pod that got its turn in between makes the caller look again.
pub fn start(view: &View) -> Result<Plan, Refusal> {
    match view.wanted() {
        SetOwner::Local => start_local(view),
        SetOwner::Kube => Ok(start_kube(view)),
    }
}

fn start_local(view: &View) -> Result<Plan, Refusal> {
    let name = view.instance.container_name();
    if view.local == Local::Missing {
        return Err(Refusal::NoContainer(name));
    }
    let mut steps = Vec::new();
    if view.kubernetes {
        // First, so that the kubelet stops bringing pods while the local copy comes up.
        steps.push(Step::Label(false));
    }
    steps.extend(bring_up_local(view));
    Ok(Plan { steps, reason: Reason::OwnerLocal })
}

fn start_kube(view: &View) -> Plan {
    // A pod that runs well stays when only the server is away.
    let pod_can_come = view.pod_in_charge().is_some() || (view.pod_is_coming() && view.server_answers);
    let (mut steps, reason) = if pod_can_come || !view.can_fall_back() {
        (make_room_for_pod(view), why_kube(view, pod_can_come))
    } else {
        (bring_up_local(view), why_bridge(view))
    };
    // Last, so that no pod comes before the row can answer it.
    steps.push(Step::Label(true));
    Plan { steps, reason }
}

fn why_bridge(view: &View) -> Reason {
    match (view.server_answers, view.verdict.reason()) {
        (false, _) => Reason::ServerAway,
        (true, Some(kept_out)) => kept_out,
        (true, None) => Reason::NoPodYet,
    }
}

fn why_kube(view: &View, pod_can_come: bool) -> Reason {
    match (pod_can_come, view.config.fallback) {
        (true, _) if view.pod_in_charge().is_some() => Reason::PodRuns,
        (true, _) => Reason::PodIsComing,
        (false, true) => Reason::NoLocalImage,
        (false, false) => Reason::FallbackForbidden,
    }
}

/// Pods that may be running go first, then the row, then the container: two copies never overlap, and a pod that
/// reads the row from here on is kept out.
fn bring_up_local(view: &View) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut seen = view.row.clone();
    if may_be_about_to_ask(view) {
        // No pod asks while the unit is down.
        let up = RowChange {
            system_state: Some(SystemState::Up),
            only_if: OnlyIf::unchanged(&seen),
            ..RowChange::default()
        };
        seen.system_state = up.system_state;
        steps.extend([Step::Row(up), Step::AwaitRow(TIME_TO_ASK)]);
    }
    steps.extend(view.pods_that_may_run().map(|pod| Step::Stop(Copy::Pod(pod.id.clone()))));
    steps.push(Step::Row(RowChange {
        system_state: Some(SystemState::Up),
        current_owner: Some(CurrentOwner::Local),
        // The name of a container is always a valid id: names are the narrower kind.
        container_id: Some(ContainerId::parse(&view.instance.container_name()).ok()),
        remote_state: view.kubernetes.then_some(RemoteState::None),
        only_if: OnlyIf::unchanged(&seen),
        ..RowChange::default()
    }));
    steps.push(Step::StartLocal);
    steps
}

/// Whether all that keeps a pod from being one that waits is that it has had no time to say so: the unit is down, nobody
/// is recorded, and nobody has asked.
fn may_be_about_to_ask(view: &View) -> bool {
    view.wanted() == SetOwner::Kube && !view.pods.is_empty() && view.row.holds_pods_back()
}

/// Who may keep the track lock from a local start that has stopped all pods that may run: those that are left too. The
/// kernel knows better than a row that one of them waits.
pub fn may_hold_track(view: &View) -> Vec<Copy> {
    view.pods.iter().map(|pod| Copy::Pod(pod.id.clone())).collect()
}

/// A local copy that still runs is stopped; a `ready` from before this start is nobody's any more.
fn make_room_for_pod(view: &View) -> Vec<Step> {
    let mut steps = Vec::new();
    if view.local == Local::Running {
        steps.push(Step::Stop(Copy::Local));
    }
    if view.strangers() {
        steps.extend(view.pods_that_may_run().map(|pod| Step::Stop(Copy::Pod(pod.id.clone()))));
    }
    let remote_state = match view.turn_taken_back() {
        // Who asked beside the pod that runs is gone.
        Some(RemoteState::Stopped) if view.pod_in_charge().is_some() => Some(RemoteState::Running),
        taken_back => taken_back,
    };
    let mut row = RowChange {
        system_state: Some(SystemState::Up),
        remote_state,
        only_if: OnlyIf::unchanged(&view.row),
        ..RowChange::default()
    };
    if view.pod_in_charge().is_none() {
        row.current_owner = Some(CurrentOwner::None);
        row.container_id = Some(None);
    }
    steps.push(Step::Row(row));
    steps
}
