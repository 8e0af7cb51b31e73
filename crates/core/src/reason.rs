//! Why something was decided: the one list that the log, the history, the rows and `explain` all draw from.

use std::fmt;

use serde::Serialize;

/// The rule behind a decision. The name is the machine's word for it, [`fmt::Display`] the operator's sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Reason {
    /// The operator wants the local image.
    OwnerLocal,
    /// A pod has asked and the server answers.
    PodIsComing,
    /// Kubernetes is wanted, but no pod has asked yet.
    NoPodYet,
    /// Kubernetes is wanted, but its server does not answer.
    ServerAway,
    /// Kubernetes is wanted, there is no local image, so the pod is waited for.
    NoLocalImage,
    /// Kubernetes is wanted and the operator forbade the local image.
    FallbackForbidden,
    /// The unit was stopped.
    UnitStopped,
    /// The unit's container was killed on request.
    KillAsked,
    /// A kill was asked for a local feature that is not enabled: nothing is done, as SONiC does.
    NotEnabled,
    /// The recorded container has ended by itself.
    ContainerEnded,
    /// The local copy runs and is watched.
    LocalRuns,
    /// The pod runs and is watched.
    PodRuns,
    /// The local copy has ended, so the pod that asked may run.
    PodsTurn,
    /// A pod was told to go on and is about to run.
    PodStarts,
    /// The pod that asked, or was told to go on, has ended before it ran.
    QuestionLeftOver,
    /// Nobody runs; a pod is waited for.
    WaitingForPod,
    /// No pod ran within the configured time.
    PodNeverCame,
    /// A pod runs of which the rows know nothing, beside the one that asked or that is recorded.
    StrangePod,
    /// The row did not say what the engine shows.
    RowRepaired,
    /// Nobody on this switch manages the feature.
    Unmanaged,
    /// The switch has not loaded its configuration yet.
    NotConfiguredYet,
    /// The host has not said yet whether it wants the feature.
    HostHasNotSpoken,
    /// The owner is local: a pod must not run.
    OwnerIsLocal,
    /// The unit is down: a pod must not run.
    UnitIsDown,
    /// The local image has the same version: the pod waits for the next ordinary restart.
    SameAsLocal,
    /// Another container of the feature asked later.
    Superseded,
    /// The pod has asked and waits for the host.
    AsksForTurn,
    /// The host gave this pod its turn.
    HasTurn,
    /// The operator wants the local image while a pod runs.
    OwnerChangedToLocal,
    /// A pod asks while another copy runs.
    PodKnocks,
    /// The pod has ended and the cluster is bringing the next one.
    PodGone,
    /// The pod brings another version than the one that ran, and the operator wants to be asked.
    Held,
    /// The pod's version failed here a short while ago.
    FailedLately,
    /// The pod's version failed here too often.
    Blocked,
    /// The pod runs, and the cluster calls it not ready for too long.
    PodNotReady,
    /// A pod runs without asking, frozen by SONiC's own start-up script: the kubelet is to start it again.
    PodFrozen,
    /// The switch leaves its cluster.
    Leaving,
    /// Nothing is to be done.
    AsAsked,
}

impl Reason {
    /// The CamelCase word for conditions, rows and JSON.
    pub fn word(self) -> String {
        format!("{self:?}")
    }

    /// Whether a pod that waits for this is as good as one that runs, for whoever counts those that are ready: what it
    /// brings runs here already (DESIGN.md section 1, promise 4).
    pub fn counts_as_ready(self) -> bool {
        matches!(self, Self::SameAsLocal | Self::HasTurn)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnerLocal => "owner is local: systemd runs the image that came with the switch",
            Self::PodIsComing => "owner is kube, a pod has asked for its turn and the server answers",
            Self::NoPodYet => "owner is kube, but no pod has asked yet: the local image bridges",
            Self::ServerAway => "owner is kube, but the server does not answer: the local image bridges",
            Self::NoLocalImage => "owner is kube and there is no local image: a pod is waited for",
            Self::FallbackForbidden => {
                "owner is kube and fallback to the local image is off: a pod is waited for"
            }
            Self::UnitStopped => "the unit was stopped",
            Self::KillAsked => "the container was killed on request",
            Self::NotEnabled => "owner is local and the feature is not enabled: nothing to kill",
            Self::ContainerEnded => "the container ended by itself",
            Self::LocalRuns => "the local image runs",
            Self::PodRuns => "the pod runs",
            Self::PodsTurn => "the local copy has ended: the pod that asked may run",
            Self::PodStarts => "the pod has its turn and is about to run",
            Self::QuestionLeftOver => "the pod that asked ended before it ran",
            Self::WaitingForPod => "nobody runs: a pod is waited for",
            Self::PodNeverCame => "no pod ran within the configured time: the local image comes back",
            Self::StrangePod => "a pod runs that the rows do not name: it is stopped before another may run",
            Self::RowRepaired => "the row did not say what the engine shows",
            Self::Unmanaged => "the switch does not manage this feature",
            Self::NotConfiguredYet => "the switch has not loaded its configuration yet",
            Self::HostHasNotSpoken => "the host has not said yet whether it wants the feature",
            Self::OwnerIsLocal => "the owner is local: the pod is kept out",
            Self::UnitIsDown => "the unit is down: the pod is kept out",
            Self::SameAsLocal => "the local image has the same version: the pod waits for the next restart",
            Self::Superseded => "a later container of the feature has asked",
            Self::AsksForTurn => "the pod has asked and waits for the host",
            Self::HasTurn => "the host gave this pod its turn",
            Self::OwnerChangedToLocal => "the owner was changed to local while a pod runs",
            Self::PodKnocks => "a pod asks for its turn",
            Self::PodGone => "the pod has ended",
            Self::Held => "another version asks and updates are on hold: it waits for system service accept",
            Self::FailedLately => {
                "the version that asks failed here a short while ago: it is kept out for now"
            }
            Self::Blocked => {
                "the version that asks failed here too often: it waits for system service accept"
            }
            Self::PodNotReady => {
                "the pod runs and has not been ready for too long: the local image comes back"
            }
            Self::PodFrozen => "the pod does not ask although its turn has come: it is started again",
            Self::Leaving => "the switch leaves its cluster: the local image comes back",
            Self::AsAsked => "all is as asked",
        })
    }
}
