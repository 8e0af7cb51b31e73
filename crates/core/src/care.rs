//! What the host does about pods as time goes by (DESIGN.md section 4, *Keeping out*, *Fallback*, *Going native*): one
//! that runs and never gets ready has failed, one that ran well becomes the local image, one that SONiC's own start-up
//! script froze is started again when its turn has come.

use std::time::Duration;

use crate::{ContainerId, CurrentOwner, Knobs, RemoteState, SetOwner, View};

/// What has been seen of the pod in charge until now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodTime {
    /// How long it has been in charge.
    pub running: Duration,
    /// What the cluster says of it.
    pub health: Health,
    /// It was ready once, whatever the cluster says of it now.
    pub was_ready: bool,
    /// For how long without a break server and kubelet have been there to tell.
    pub told: Duration,
    /// Its image is the local one already.
    pub native: bool,
}

/// What the cluster says of a pod, and for how long while the pod was in charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It does not tell: it is away, or has not told yet. That is neither good nor bad.
    Unknown,
    /// It is ready, and has been for so long.
    Ready(Duration),
    /// It is not. Counted is the time in which server and kubelet were there to tell: with one of them away a pod may
    /// well be ready, and nobody hears of it.
    Unready(Duration),
}

/// What is to be done about the pod in charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// Nothing, until this has passed.
    Nothing(Option<Duration>),
    /// It has run well: its version is good, and its image becomes the local one.
    RanWell,
    /// It has failed: its version is written down as failed, and the unit restarted.
    GiveUp,
}

impl Care {
    /// One of each kind that is something to do.
    pub const DEEDS: [Self; 2] = [Self::RanWell, Self::GiveUp];

    /// Its name, for whoever wants to see the daemon die at it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Nothing(_) => "nothing",
            Self::RanWell => "ran_well",
            Self::GiveUp => "give_up",
        }
    }
}

/// The word on the pod in charge.
pub fn care(view: &View, pod: &PodTime, knobs: &Knobs) -> Care {
    match credible(pod) {
        // Nobody else could run it: what is half well is better than nothing.
        Health::Unready(unready) if unready >= knobs.pod_ready && view.can_fall_back() => Care::GiveUp,
        Health::Unready(unready) if view.can_fall_back() && view.server_answers => {
            Care::Nothing(Some(knobs.pod_ready.saturating_sub(unready)))
        }
        Health::Unknown | Health::Unready(_) => Care::Nothing(None),
        Health::Ready(_) if pod.native => Care::Nothing(None),
        Health::Ready(ready) if ready.min(pod.running) >= knobs.tag_latest => Care::RanWell,
        Health::Ready(ready) => Care::Nothing(Some(knobs.tag_latest.saturating_sub(ready.min(pod.running)))),
    }
}

/// A kubelet that starts says of every pod first that it is not ready, and may die before it says otherwise, again and
/// again. That a pod which was ready is not counts only if it was told without a break.
fn credible(pod: &PodTime) -> Health {
    match pod.health {
        Health::Unready(unready) if pod.was_ready => Health::Unready(unready.min(pod.told)),
        health => health,
    }
}

/// The pods that run without asking although it is their turn: nobody runs the feature, or the local image bridges with
/// the server there. Whoever asks does so within moments of its start, and takes a turn that was given within moments too;
/// these will do so when they are started again.
pub fn frozen(view: &View) -> Vec<ContainerId> {
    let is_free = match view.row.current_owner {
        CurrentOwner::None => true,
        CurrentOwner::Local => view.server_answers,
        CurrentOwner::Kube => false,
    };
    let is_their_turn = view.wanted() == SetOwner::Kube
        && view.is_up()
        && is_free
        && matches!(view.row.remote_state, RemoteState::None | RemoteState::Stopped | RemoteState::Ready);
    if is_their_turn { view.pods.iter().map(|pod| pod.id.clone()).collect() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FeatureConfig, FeatureName, FeatureState, Instance, Local, Pod, SystemState, Verdict};

    fn view() -> View {
        View {
            instance: Instance::on_host(FeatureName::parse("snmp").unwrap()),
            kubernetes: true,
            server_answers: true,
            config: FeatureConfig { set_owner: SetOwner::Kube, ..FeatureConfig::default() },
            row: FeatureState { system_state: Some(SystemState::Up), ..FeatureState::default() },
            local: Local::Stopped,
            pods: vec![Pod { id: ContainerId::parse("a").unwrap() }],
            asker_version: None,
            verdict: Verdict::Welcome,
        }
    }

    fn after(running: Duration, health: Health) -> PodTime {
        PodTime { running, health, was_ready: false, told: Duration::ZERO, native: false }
    }

    /// BI#15223: a pod that ran was taken for one that is well.
    #[test]
    fn a_pod_that_never_gets_ready_has_failed_if_somebody_can_step_in() {
        let knobs = Knobs::default();
        let unready = after(Duration::MAX, Health::Unready(knobs.pod_ready));
        assert_eq!(care(&view(), &unready, &knobs), Care::GiveUp);
        let alone = View { local: Local::Missing, ..view() };
        assert_eq!(care(&alone, &unready, &knobs), Care::Nothing(None));
        let soon = after(Duration::MAX, Health::Unready(Duration::ZERO));
        assert_eq!(care(&view(), &soon, &knobs), Care::Nothing(Some(knobs.pod_ready)));
        let away = View { server_answers: false, ..view() };
        assert_eq!(care(&away, &soon, &knobs), Care::Nothing(None), "its time does not go on");
    }

    #[test]
    fn a_pod_that_was_ready_is_not_given_up_for_a_word_after_which_its_kubelet_died() {
        let knobs = Knobs::default();
        let never = after(Duration::MAX, Health::Unready(knobs.pod_ready));
        let silence = PodTime { was_ready: true, ..never.clone() };
        assert_eq!(care(&view(), &silence, &knobs), Care::Nothing(Some(knobs.pod_ready)));
        let told = PodTime { told: knobs.pod_ready, ..silence };
        assert_eq!(care(&view(), &told, &knobs), Care::GiveUp, "it was told for long enough since");
        assert_eq!(
            care(&view(), &never, &knobs),
            Care::GiveUp,
            "of one that never was the breaks are left out, and the rest is counted"
        );
    }

    #[test]
    fn a_pod_that_ran_well_for_long_enough_goes_native_once() {
        let knobs = Knobs::default();
        let fresh = after(Duration::MAX, Health::Ready(Duration::ZERO));
        assert_eq!(care(&view(), &fresh, &knobs), Care::Nothing(Some(knobs.tag_latest)));
        let well = after(knobs.tag_latest, Health::Ready(knobs.tag_latest));
        assert_eq!(care(&view(), &well, &knobs), Care::RanWell);
        assert_eq!(care(&view(), &PodTime { native: true, ..well }, &knobs), Care::Nothing(None));
    }

    #[test]
    fn a_pod_of_which_the_cluster_does_not_tell_has_neither_failed_nor_run_well() {
        let unknown = after(Duration::MAX, Health::Unknown);
        assert_eq!(care(&view(), &unknown, &Knobs::default()), Care::Nothing(None));
    }

    /// FIELD.md defect 8: a pod that was refused slept for ever.
    #[test]
    fn only_a_pod_whose_turn_has_come_is_frozen() {
        assert_eq!(frozen(&view()).len(), 1);
        let bridged = FeatureState { current_owner: CurrentOwner::Local, ..view().row };
        assert_eq!(frozen(&View { row: bridged.clone(), ..view() }).len(), 1);
        assert_eq!(frozen(&View { row: bridged, server_answers: false, ..view() }), []);
        // The question of one that has ended was taken for its own.
        let not_taken = FeatureState { remote_state: RemoteState::Ready, ..view().row };
        assert_eq!(frozen(&View { row: not_taken, ..view() }).len(), 1);
        for row in [
            FeatureState { remote_state: RemoteState::Pending, ..view().row },
            FeatureState { current_owner: CurrentOwner::Kube, ..view().row },
            FeatureState { system_state: Some(SystemState::Down), ..view().row },
        ] {
            assert_eq!(frozen(&View { row, ..view() }), []);
        }
    }
}
