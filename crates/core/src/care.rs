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
    /// How long the cluster has called it not ready; nothing if it is ready, or the cluster does not tell.
    pub unready: Option<Duration>,
    /// Its image is the local one already.
    pub native: bool,
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

/// The word on the pod in charge.
pub fn care(view: &View, pod: &PodTime, knobs: &Knobs) -> Care {
    match pod.unready {
        // Nobody else could run it: what is half well is better than nothing.
        Some(unready) if unready >= knobs.pod_ready && view.can_fall_back() => Care::GiveUp,
        Some(_) if !view.can_fall_back() => Care::Nothing(None),
        Some(unready) => Care::Nothing(Some(knobs.pod_ready.saturating_sub(unready))),
        None if pod.native => Care::Nothing(None),
        None if pod.running >= knobs.tag_latest => Care::RanWell,
        None => Care::Nothing(Some(knobs.tag_latest.saturating_sub(pod.running))),
    }
}

/// The pods that run without asking although nobody runs the feature and it is their turn. Whoever asks does so within
/// moments of its start; these will do so when they are started again.
pub fn frozen(view: &View) -> Vec<ContainerId> {
    let is_their_turn = view.wanted() == SetOwner::Kube
        && view.is_up()
        && view.row.current_owner == CurrentOwner::None
        && matches!(view.row.remote_state, RemoteState::None | RemoteState::Stopped);
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
            verdict: Verdict::Welcome,
        }
    }

    fn after(running: Duration, unready: Option<Duration>) -> PodTime {
        PodTime { running, unready, native: false }
    }

    #[test]
    fn a_pod_that_never_gets_ready_has_failed_if_somebody_can_step_in() {
        let knobs = Knobs::default();
        let unready = after(Duration::MAX, Some(knobs.pod_ready));
        assert_eq!(care(&view(), &unready, &knobs), Care::GiveUp);
        let alone = View { local: Local::Missing, ..view() };
        assert_eq!(care(&alone, &unready, &knobs), Care::Nothing(None));
        let soon = after(Duration::MAX, Some(Duration::ZERO));
        assert_eq!(care(&view(), &soon, &knobs), Care::Nothing(Some(knobs.pod_ready)));
    }

    #[test]
    fn a_pod_that_ran_well_for_long_enough_goes_native_once() {
        let knobs = Knobs::default();
        assert_eq!(
            care(&view(), &after(Duration::ZERO, None), &knobs),
            Care::Nothing(Some(knobs.tag_latest))
        );
        let well = after(knobs.tag_latest, None);
        assert_eq!(care(&view(), &well, &knobs), Care::RanWell);
        assert_eq!(care(&view(), &PodTime { native: true, ..well }, &knobs), Care::Nothing(None));
    }

    #[test]
    fn only_a_pod_whose_turn_has_come_is_frozen() {
        assert_eq!(frozen(&view()).len(), 1);
        for row in [
            FeatureState { remote_state: RemoteState::Pending, ..view().row },
            FeatureState { current_owner: CurrentOwner::Local, ..view().row },
            FeatureState { system_state: Some(SystemState::Down), ..view().row },
        ] {
            assert_eq!(frozen(&View { row, ..view() }), []);
        }
    }
}
