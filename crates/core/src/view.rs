//! Everything a decision on the host may look at.
//!
//! The adapters read the rows first and the engine after them: then a row change that is written only while the row
//! says what was seen covers all that happened since, the time between the two readings included.

use crate::{
    ContainerId, CurrentOwner, FeatureConfig, FeatureState, Instance, RemoteState, SetOwner, SystemState,
    Verdict, Version,
};

/// What the engine says of the local copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Local {
    /// No container of that name: there is no local image, or nobody created it yet.
    Missing,
    /// It exists and does not run.
    Stopped,
    /// It runs.
    Running,
}

/// A container that Kubernetes started for this feature and that the engine says is running.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pod {
    /// Its id on the engine.
    pub id: ContainerId,
}

/// What is, at one moment, for one instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct View {
    /// Which instance this is about.
    pub instance: Instance,
    /// Is Kubernetes support installed? Without it an owner `kube` is read as `local`.
    pub kubernetes: bool,
    /// Can pods come now: does the API server answer, or does the kubelet run static pods?
    pub server_answers: bool,
    /// What is configured.
    pub config: FeatureConfig,
    /// What is recorded.
    pub row: FeatureState,
    /// The local copy, as the engine sees it.
    pub local: Local,
    /// The running containers of the feature's pods, as the engine sees them. They may run the payload or wait.
    pub pods: Vec<Pod>,
    /// The version of the pod that asks, as the engine knows it: an unmodified local image writes its own over what the
    /// row says, whoever asks. Nothing if none asks or the owner is local, or if the engine does not know it.
    pub asker_version: Option<Version>,
    /// What this switch thinks of the version that asks, or that ran last.
    pub verdict: Verdict,
}

impl View {
    /// Who is meant to run the feature on a switch such as this.
    pub fn wanted(&self) -> SetOwner {
        if self.kubernetes { self.config.set_owner } else { SetOwner::Local }
    }

    /// Whether the pod with this id still runs.
    pub fn pod_runs(&self, id: &ContainerId) -> bool {
        self.pods.iter().any(|pod| pod.id.same_as(id))
    }

    /// The pod that the row says is running the payload, if the engine agrees that it runs.
    pub fn pod_in_charge(&self) -> Option<&Pod> {
        if self.row.current_owner != CurrentOwner::Kube {
            return None;
        }
        let id = self.row.container_id.as_ref()?;
        self.pods.iter().find(|pod| pod.id.same_as(id))
    }

    /// Pods that may be running the payload: all but the one that the row knows to be waiting for its turn.
    ///
    /// The row can have been lost under a running pod, so what it does not say cannot be taken for "waits".
    /// A pod stopped in error is started again by the kubelet and asks anew.
    pub fn pods_that_may_run(&self) -> impl Iterator<Item = &Pod> {
        let waiting = self.asker().map(|pod| &pod.id);
        self.pods.iter().filter(move |pod| Some(&pod.id) != waiting)
    }

    /// The pod that has asked for its turn, or has been given it, and does not run the payload yet. It may begin
    /// the moment after: whoever relies on this writes the row on condition that nothing has changed.
    pub fn asker(&self) -> Option<&Pod> {
        if !matches!(self.row.remote_state, RemoteState::Pending | RemoteState::Ready) {
            return None;
        }
        let in_charge = self.pod_in_charge();
        match (&self.row.remote_container_id, self.pods.as_slice()) {
            (Some(id), pods) => pods.iter().find(|pod| pod.id.same_as(id) && in_charge != Some(*pod)),
            // A container that does not know its id has asked. It can only be told from others if there are none,
            // and from the one that runs if that one is recorded.
            (None, [only]) if !self.strangers() && in_charge.is_none() => Some(only),
            (None, _) => None,
        }
    }

    /// The version that is to be judged: the one that asks, or that ran last.
    pub fn judged_version(&self) -> Option<&Version> {
        self.asker_version.as_ref().or(self.row.container_version.as_ref())
    }

    /// The version of the pod that asks, where the row has lost it. A pod of an unmodified image that does not find its
    /// own there when its turn has come freezes.
    pub(crate) fn lost_version(&self) -> Option<Version> {
        let said = self.row.container_version.as_ref();
        self.asker_version.as_ref().filter(|asks| said != Some(*asks)).cloned()
    }

    /// A container that does not know its id asks, and the only one here is the one that is recorded to run: it was
    /// recorded in error when the row was lost, and waits.
    pub(crate) fn only_pod_asks(&self) -> bool {
        self.row.remote_state == RemoteState::Pending
            && self.row.remote_container_id.is_none()
            && self.pods.len() == 1
            && self.pod_in_charge().is_some()
    }

    /// Whether the container that asked last has certainly ended.
    pub(crate) fn asker_is_gone(&self) -> bool {
        self.row.remote_container_id.as_ref().map_or(self.pods.is_empty(), |id| !self.pod_runs(id))
    }

    /// Whether pods are here of which the rows cannot tell whether, or which, they run the payload: the row was
    /// lost, or the container that runs did not know its id. Until they are stopped, or the one of them recorded,
    /// the row must not say that nobody runs.
    pub fn strangers(&self) -> bool {
        let row_is_gone = self.row.system_state.is_none() && self.pod_in_charge().is_none();
        let runner_has_no_id =
            self.row.current_owner == CurrentOwner::Kube && self.row.container_id.is_none();
        !self.pods.is_empty() && (row_is_gone || runner_has_no_id)
    }

    /// Whether a pod has asked for its turn, has it, or had it a moment ago, and its version is let in.
    pub fn pod_is_coming(&self) -> bool {
        self.row.remote_state != RemoteState::None && self.verdict == Verdict::Welcome
    }

    /// What becomes of the hand-shake when the run it was for is over.
    pub(crate) fn turn_taken_back(&self) -> Option<RemoteState> {
        match self.row.remote_state {
            // Whoever asked is not there any more. The next one asks anew, and its `pending` is its own.
            RemoteState::Pending | RemoteState::Ready if self.asker().is_none() => Some(RemoteState::Stopped),
            // The pod that had the turn is still there and asks on.
            RemoteState::Ready => Some(RemoteState::Pending),
            RemoteState::Running if self.pod_in_charge().is_none() => Some(RemoteState::Stopped),
            RemoteState::None | RemoteState::Pending | RemoteState::Running | RemoteState::Stopped => None,
        }
    }

    /// Whether the local image may and can step in.
    pub fn can_fall_back(&self) -> bool {
        self.config.fallback && self.local != Local::Missing
    }

    /// Whether the unit has said that it wants a copy.
    pub fn is_up(&self) -> bool {
        self.row.system_state == Some(SystemState::Up)
    }
}
