//! What `container wait` does next: watch the copy that runs, let a pod in, or give up on it (SONIC.md 3.6).
//!
//! Called again after every event; holds no state of its own but how long it has been waiting for a copy that runs.

use std::time::Duration;

use crate::{
    Cause, ContainerId, Copy, CurrentOwner, Knobs, Local, OnlyIf, Reason, RemoteState, RowChange, SetOwner,
    SystemState, Version, View, ended, stop::untouched,
};

/// What the unit's main process does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// Watch this container until it ends. The row is made true first if it does not say so.
    Watch(Copy, Option<RowChange>),
    /// Write this, then look again.
    Write(RowChange, Reason),
    /// Nobody runs: wait for a change of the rows or of the engine, for so long at most.
    Await(Option<Duration>, Reason),
    /// The unit's run is over: write this and return.
    Over(RowChange, Reason),
}

/// How long a unit's run has been waiting for a copy that runs, by any clock.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    since: Duration,
}

impl Idle {
    /// Nobody runs as of now.
    pub fn as_of(now: Duration) -> Self {
        Self { since: now }
    }

    /// What [`wait`] is asked with.
    pub fn at(self, now: Duration) -> Duration {
        now.saturating_sub(self.since)
    }

    /// The row was written for this reason. True if a pod was let in by it: it could not run before, so that the time
    /// counts anew, and it is not given up in the moment that it is told to go on.
    pub fn wrote(&mut self, reason: Reason, now: Duration) -> bool {
        let let_in = reason == Reason::PodsTurn;
        if let_in {
            self.since = now;
        }
        let_in
    }
}

/// The next move; `idle` is how long nobody has been running ([`Idle`]).
pub fn wait(view: &View, idle: Duration, knobs: &Knobs) -> Waiting {
    if view.local == Local::Running {
        return Waiting::Watch(Copy::Local, local_row_repair(view));
    }
    if let Some(pod) = view.pod_in_charge() {
        if view.only_pod_asks() {
            return Waiting::Over(untouched(view), Reason::StrangePod);
        }
        return Waiting::Watch(Copy::Pod(pod.id.clone()), stale_question(view));
    }
    if view.wanted() == SetOwner::Kube
        && let Some(answer) = unrecorded_pod(view)
    {
        return answer;
    }
    if view.row.current_owner != CurrentOwner::None || view.wanted() == SetOwner::Local {
        return Waiting::Over(ended(view), why_ended(view));
    }
    if goes_down(view) {
        // Written beside this process, by a stop of the unit or by whoever tidied up after an earlier run of it:
        // no pod would come. If the unit is wanted, its next start says up again.
        return Waiting::Over(untouched(view), Reason::UnitStopped);
    }
    await_pod(view, idle, knobs)
}

/// The versions that a copy that runs puts into the row; a local copy that got this far is also the one to come home to.
/// The version of a pod that asks beside it stays: it is the one that will be judged.
pub fn versions(view: &View, copy: &Copy, version: &Version) -> RowChange {
    let is_local = *copy == Copy::Local;
    RowChange {
        stable_version: is_local.then(|| version.clone()),
        container_version: (!is_local || view.asker().is_none()).then(|| version.clone()),
        only_if: OnlyIf::unchanged(&view.row),
        ..RowChange::default()
    }
}

/// Why the copy that was watched runs no more: it ended by itself, or by a stop of the unit, which says down before it
/// acts and ends this very wait.
pub fn why_ended(view: &View) -> Reason {
    if goes_down(view) { Reason::UnitStopped } else { Reason::ContainerEnded }
}

/// What the end of a pod's run says of its version, after a run of so long. A pod that ended with its unit was told to,
/// whatever its exit code says: payloads know many ways to end on SIGTERM.
pub fn cause_of_end(view: &View, in_order: bool, ran: Duration, knobs: &Knobs) -> Cause {
    match why_ended(view) {
        Reason::UnitStopped => Cause::Absent,
        _ if !in_order => Cause::Failed,
        _ if ran < knobs.tag_latest => Cause::EndedSoon,
        _ => Cause::Absent,
    }
}

/// Nobody runs and Kubernetes is wanted: the hand-shake, or the way home.
fn await_pod(view: &View, idle: Duration, knobs: &Knobs) -> Waiting {
    let only_if = OnlyIf::unchanged(&view.row);
    let unless_changed = |remote_state| RowChange {
        remote_state: Some(remote_state),
        only_if: only_if.clone(),
        ..RowChange::default()
    };
    // Only now that the engine shows no local copy may a pod be told to go on.
    if view.row.remote_state == RemoteState::Pending && view.is_up() && view.asker().is_some() {
        if view.pods_that_may_run().next().is_some() {
            // The unit's stop ends those of which the row knows nothing; the one that asked keeps waiting.
            return Waiting::Over(untouched(view), Reason::StrangePod);
        }
        return match view.verdict.reason() {
            None => {
                let turn = unless_changed(RemoteState::Ready);
                let turn = RowChange { container_version: view.lost_version(), ..turn };
                Waiting::Write(turn, Reason::PodsTurn)
            }
            // The next start bridges: a version that is kept out is nothing to wait for.
            Some(kept_out) if view.can_fall_back() => Waiting::Over(untouched(view), kept_out),
            Some(kept_out) => Waiting::Await(view.verdict.left(), kept_out),
        };
    }
    if view.row.remote_state == RemoteState::Stopped
        && view.can_fall_back()
        && let Some(kept_out) = view.verdict.reason()
    {
        // The next start bridges: the version that ran is not let back, so it is nothing to wait for.
        return Waiting::Over(untouched(view), kept_out);
    }
    let is_left_over = match view.row.remote_state {
        // It would hide the question of an unmodified image, which finds that somebody asks and adds no more.
        RemoteState::Pending => view.asker_is_gone(),
        RemoteState::Ready => view.asker().is_none(),
        RemoteState::None | RemoteState::Running | RemoteState::Stopped => false,
    };
    if is_left_over {
        return Waiting::Write(unless_changed(RemoteState::None), Reason::QuestionLeftOver);
    }
    if !view.can_fall_back() {
        let reason = if view.config.fallback { Reason::NoLocalImage } else { Reason::FallbackForbidden };
        return Waiting::Await(None, reason);
    }
    match knobs.revert_to_local.checked_sub(idle) {
        Some(left) if !left.is_zero() => {
            let reason = match view.row.remote_state {
                RemoteState::Ready => Reason::PodStarts,
                _ => Reason::WaitingForPod,
            };
            Waiting::Await(Some(left), reason)
        }
        _ => Waiting::Over(
            RowChange { remote_state: Some(RemoteState::None), ..ended(view) },
            Reason::PodNeverCame,
        ),
    }
}

/// Whether a run that is over now is none of those for which systemd counts starts: it ended by a rule, or with a pod, and
/// not because a local copy does not stay up. `container wait` says so to systemd, agent or not.
pub fn is_planned_end(view: &View) -> bool {
    view.kubernetes && view.row.current_owner != CurrentOwner::Local
}

/// What is to be done about a pod that may run the payload and that the row does not name: the row is gone (Redis
/// lost its data), or the container could not find out its own id.
fn unrecorded_pod(view: &View) -> Option<Waiting> {
    match view.pods.as_slice() {
        [] if view.row.system_state.is_none() => Some(Waiting::Write(up(view), Reason::RowRepaired)),
        _ if !view.strangers() => None,
        _ if goes_down(view) => Some(Waiting::Over(untouched(view), Reason::UnitStopped)),
        // If it was waiting when the row was lost, the repaired row is its turn.
        [pod] => Some(Waiting::Watch(Copy::Pod(pod.id.clone()), Some(pod_row_repair(view, &pod.id)))),
        // Which of them runs cannot be told.
        _ => Some(Waiting::Over(untouched(view), Reason::StrangePod)),
    }
}

fn up(view: &View) -> RowChange {
    RowChange {
        system_state: Some(SystemState::Up),
        only_if: OnlyIf::unchanged(&view.row),
        ..RowChange::default()
    }
}

fn local_row_repair(view: &View) -> Option<RowChange> {
    let says_so = view.row.current_owner == CurrentOwner::Local && view.is_up();
    let remote_state = view.kubernetes.then(|| remote_state_beside_local(view)).flatten();
    let container_version = view.lost_version();
    let is_true = says_so && remote_state.is_none() && container_version.is_none();
    (!is_true && !goes_down(view)).then(|| RowChange {
        container_version,
        current_owner: Some(CurrentOwner::Local),
        container_id: Some(ContainerId::parse(&view.instance.container_name()).ok()),
        // Written even if it is what a missing field means: the whole row may be gone, and others read its text.
        remote_state: view.kubernetes.then(|| remote_state.unwrap_or(view.row.remote_state)),
        ..up(view)
    })
}

/// While the local copy runs a pod can ask and no more. A `pending` of a pod that is gone would make the next start
/// wait for it in vain.
fn remote_state_beside_local(view: &View) -> Option<RemoteState> {
    match view.row.remote_state {
        RemoteState::None => None,
        // With owner local no pod is let in, and none asks.
        _ if view.wanted() == SetOwner::Local => Some(RemoteState::None),
        RemoteState::Pending if !view.asker_is_gone() => None,
        RemoteState::Ready if !view.asker_is_gone() => Some(RemoteState::Pending),
        RemoteState::Pending | RemoteState::Ready | RemoteState::Running | RemoteState::Stopped => {
            Some(RemoteState::None)
        }
    }
}

/// Beside a pod that runs another one can ask; if that one is gone, nobody asks any more.
fn stale_question(view: &View) -> Option<RowChange> {
    let asked = matches!(view.row.remote_state, RemoteState::Pending | RemoteState::Ready);
    (asked && view.asker_is_gone() && !goes_down(view))
        .then(|| RowChange { remote_state: Some(RemoteState::Running), ..up(view) })
}

fn pod_row_repair(view: &View, pod: &ContainerId) -> RowChange {
    RowChange {
        current_owner: Some(CurrentOwner::Kube),
        container_id: Some(Some(pod.short())),
        remote_state: Some(RemoteState::Running),
        ..up(view)
    }
}

/// A unit that goes down says so before it stops its copy: that is no error to be repaired.
fn goes_down(view: &View) -> bool {
    view.row.system_state == Some(SystemState::Down)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FeatureConfig, FeatureName, FeatureState, Instance};

    #[test]
    fn a_row_that_was_lost_under_a_local_copy_is_written_whole() {
        let view = View {
            instance: Instance::on_host(FeatureName::parse("snmp").unwrap()),
            kubernetes: true,
            server_answers: false,
            config: FeatureConfig::default(),
            row: FeatureState::default(),
            local: Local::Running,
            pods: Vec::new(),
            asker_version: None,
            verdict: crate::Verdict::Welcome,
        };
        let Waiting::Watch(Copy::Local, Some(repair)) = wait(&view, Duration::ZERO, &Knobs::default()) else {
            panic!("the copy runs and its row is gone");
        };
        assert_eq!(repair.system_state, Some(SystemState::Up));
        assert_eq!(repair.current_owner, Some(CurrentOwner::Local));
        assert_eq!(repair.container_id, Some(ContainerId::parse("snmp").ok()));
        assert_eq!(
            repair.remote_state,
            Some(RemoteState::None),
            "who reads the field's text finds none missing"
        );
    }

    #[test]
    fn a_local_copy_leaves_the_version_of_a_pod_that_asks_where_it_will_be_judged() {
        let pod = ContainerId::parse("a").unwrap();
        let row = FeatureState {
            system_state: Some(SystemState::Up),
            current_owner: CurrentOwner::Local,
            remote_state: RemoteState::Pending,
            remote_container_id: Some(pod.clone()),
            ..FeatureState::default()
        };
        let mut view = View {
            instance: Instance::on_host(FeatureName::parse("snmp").unwrap()),
            kubernetes: true,
            server_answers: true,
            config: FeatureConfig { set_owner: SetOwner::Kube, ..FeatureConfig::default() },
            row,
            local: Local::Running,
            pods: vec![crate::Pod { id: pod }],
            asker_version: None,
            verdict: crate::Verdict::Welcome,
        };
        let one = Version::parse("1").unwrap();
        assert_eq!(versions(&view, &Copy::Local, &one).container_version, None);
        assert_eq!(versions(&view, &Copy::Local, &one).stable_version, Some(one.clone()));
        view.pods.clear();
        assert_eq!(versions(&view, &Copy::Local, &one).container_version, Some(one));
    }

    #[test]
    fn a_copy_that_ends_while_its_unit_is_stopped_did_not_end_by_itself() {
        let row = FeatureState {
            system_state: Some(SystemState::Up),
            current_owner: CurrentOwner::Local,
            ..FeatureState::default()
        };
        let crashed = View {
            instance: Instance::on_host(FeatureName::parse("snmp").unwrap()),
            kubernetes: true,
            server_answers: true,
            config: FeatureConfig::default(),
            row,
            local: Local::Stopped,
            pods: Vec::new(),
            asker_version: None,
            verdict: crate::Verdict::Welcome,
        };
        let mut stopped = crashed.clone();
        stopped.row.system_state = Some(SystemState::Down);
        assert_eq!(why_ended(&crashed), Reason::ContainerEnded);
        assert_eq!(why_ended(&stopped), Reason::UnitStopped);
        let well = Knobs::default().tag_latest;
        let cause = |view, in_order, ran| cause_of_end(view, in_order, ran, &Knobs::default());
        assert_eq!(cause(&stopped, false, Duration::ZERO), Cause::Absent, "it was told to end");
        assert_eq!(cause(&crashed, false, well), Cause::Failed);
        assert_eq!(cause(&crashed, true, Duration::ZERO), Cause::EndedSoon);
        assert_eq!(cause(&crashed, true, well), Cause::Absent);
        let knobs = Knobs::default();
        assert!(matches!(wait(&stopped, Duration::ZERO, &knobs), Waiting::Over(_, Reason::UnitStopped)));
    }
}
