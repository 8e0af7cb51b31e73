//! What `container stop` and `container kill` do, and how the row is made true when a copy ends (SONIC.md 3.4, 3.5).

use crate::{
    Copy, CurrentOwner, FeatureConfig, FeatureState, Local, OnlyIf, Plan, Reason, RemoteState, RowChange,
    SetOwner, Step, SystemState, View,
};

/// Stops whatever may be running the payload, recorded or not, and leaves the row down.
///
/// The container that a broken-off start left behind is stopped too (buildimage #29702). A pod that waits for its
/// turn keeps waiting: pending survives. That the unit goes down is written first: systemd runs the stop beside
/// `container wait`, which would give a turn away meanwhile, and the kubelet brings the next pod at once. If the row
/// changes on the way, the caller looks and plans again: somebody ran who was not seen.
pub fn stop(view: &View) -> Plan {
    let mut steps = Vec::new();
    let mut end = down(view);
    if view.row.system_state != Some(SystemState::Down) {
        let first = goes_down(view);
        end.only_if = first.apply(&view.row).as_ref().and_then(OnlyIf::unchanged);
        steps.push(Step::Row(first));
    }
    if view.kubernetes && view.wanted() == SetOwner::Local {
        steps.push(Step::Label(false));
    }
    steps.extend(copies_that_may_run(view).map(Step::Stop));
    steps.push(Step::Row(end));
    Plan { steps, reason: Reason::UnitStopped }
}

/// Kills whatever may be running the payload. Writes nothing: on the way into a warm or fast reboot there is no time,
/// and whoever watches the container's end makes the row true. The node label is intent, and a kill changes no intent:
/// dropped here and put back by the daemon, it would have the pod deleted and scheduled anew instead of its container
/// started again.
pub fn kill(view: &View) -> Plan {
    if view.wanted() == SetOwner::Local && !view.config.state.is_enabled() {
        return Plan { steps: Vec::new(), reason: Reason::NotEnabled };
    }
    Plan { steps: copies_that_may_run(view).map(Step::Kill).collect(), reason: Reason::KillAsked }
}

/// The row after nothing runs any more, unless somebody has moved on already: a pod that got its turn since we
/// looked has been neither stopped nor seen, and must not be written off.
pub fn ended(view: &View) -> RowChange {
    if view.strangers() { untouched(view) } else { down(view) }
}

/// The row is left to the unit's stop, which ends the pods first of which the row knows nothing.
pub(crate) fn untouched(view: &View) -> RowChange {
    RowChange { only_if: OnlyIf::unchanged(&view.row), ..RowChange::default() }
}

/// A row that was lost knew of a pod that runs, maybe. Until that is stopped the new one says so too, without an id.
fn goes_down(view: &View) -> RowChange {
    let row_is_lost = view.row.system_state.is_none();
    RowChange {
        system_state: Some(SystemState::Down),
        current_owner: (row_is_lost && view.strangers()).then_some(CurrentOwner::Kube),
        ..untouched(view)
    }
}

/// What is written for a feature of which nothing is said yet and that Kubernetes may run, before the kubelet starts: a
/// pod that finds no row runs at once, beside whatever comes up locally (SONIC.md 4.2).
pub fn unspoken(config: &FeatureConfig, row: &FeatureState) -> Option<RowChange> {
    (config.set_owner == SetOwner::Kube && row.system_state.is_none()).then(|| RowChange {
        system_state: Some(SystemState::Down),
        only_if: OnlyIf::unchanged(row),
        ..RowChange::default()
    })
}

/// Whether a unit that is down has left a local copy or an untrue row behind: its start was cut short, or it was masked
/// while it ran, and systemd has no `ExecStop=` to call for either (buildimage #29702). A stop puts it right.
///
/// Of pods this says nothing: the kubelet may bring the next one at any time, and it asks before it runs.
pub fn left_behind(view: &View) -> bool {
    view.local == Local::Running || view.is_up()
}

fn copies_that_may_run(view: &View) -> impl Iterator<Item = Copy> + '_ {
    let local = (view.local == Local::Running).then_some(Copy::Local);
    local.into_iter().chain(view.pods_that_may_run().map(|pod| Copy::Pod(pod.id.clone())))
}

fn down(view: &View) -> RowChange {
    let remote_state = match view.row.remote_state {
        _ if !view.kubernetes => None,
        RemoteState::Running => Some(RemoteState::Stopped),
        RemoteState::None | RemoteState::Pending | RemoteState::Ready | RemoteState::Stopped => {
            view.turn_taken_back()
        }
    };
    RowChange {
        system_state: Some(SystemState::Down),
        current_owner: Some(CurrentOwner::None),
        container_id: Some(None),
        remote_state,
        only_if: OnlyIf::unchanged(&view.row),
        ..RowChange::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FeatureName, Instance};

    /// SONIC.md 12.2: without a `system_state`, as after each boot, anything ran.
    #[test]
    fn before_pods_may_come_a_feature_without_a_row_is_said_to_be_down() {
        let kube = FeatureConfig { set_owner: SetOwner::Kube, ..FeatureConfig::default() };
        let row = FeatureState::default();
        let change = unspoken(&kube, &row).expect("a pod would run ahead");
        let after = change.apply(&row).expect("nothing has changed");
        assert_eq!(after.system_state, Some(SystemState::Down));
        assert_eq!(unspoken(&kube, &after), None, "what is said stays");
        assert_eq!(unspoken(&FeatureConfig::default(), &row), None, "no pod may come");
    }

    #[test]
    fn what_a_unit_left_behind_is_a_running_copy_or_a_row_that_says_up() {
        let clean = View {
            instance: Instance::on_host(FeatureName::parse("snmp").unwrap()),
            kubernetes: false,
            server_answers: false,
            config: FeatureConfig::default(),
            row: FeatureState { system_state: Some(SystemState::Down), ..FeatureState::default() },
            local: Local::Stopped,
            pods: Vec::new(),
            asker_version: None,
            verdict: crate::Verdict::Welcome,
        };
        assert!(!left_behind(&clean));
        let mut start_cut_short = clean.clone();
        start_cut_short.local = Local::Running;
        assert!(left_behind(&start_cut_short));
        assert!(stop(&start_cut_short).steps.contains(&Step::Stop(Copy::Local)), "a stop must put it right");
        let mut untrue = clean;
        untrue.row.system_state = Some(SystemState::Up);
        assert!(left_behind(&untrue));
    }
}
