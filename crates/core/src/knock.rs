//! May this container run its payload? Asked inside the image, of the rows alone (SONIC.md 4.2).
//!
//! An image cannot see the engine; what it may not know from the rows it does not take for granted. The answer is
//! asked for again after every change of the rows: nothing here freezes for ever.

use crate::{
    ContainerId, CurrentOwner, FeatureConfig, FeatureState, Instance, OnlyIf, Reason, RemoteState, RowChange,
    SetOwner, SystemState, Version,
};

/// Who started the container that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The control script.
    Local,
    /// Kubernetes.
    Kube,
}

/// What the container knows of itself, and what the rows say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asking<'a> {
    /// Of which instance it is, as the host counts: inside an ASIC's container the rows bear the feature's plain name.
    pub instance: &'a Instance,
    /// Who started it.
    pub side: Side,
    /// Its version.
    pub version: &'a Version,
    /// Its own id, where it could find it out.
    pub id: Option<&'a ContainerId>,
    /// Whether this container has asked before.
    pub has_asked: bool,
    /// `CONFIG_DB_INITIALIZED` is 1: an absent row is meant so.
    pub configured: bool,
    /// The feature's configuration, if it has a row.
    pub config: Option<&'a FeatureConfig>,
    /// What is recorded.
    pub row: &'a FeatureState,
    /// The version of the local image as last recorded (`<f>_local`).
    pub local_version: Option<&'a Version>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Run the payload; nobody keeps rows for it.
    Run(Reason),
    /// Write this; if it was written, run the payload, else ask again.
    RecordAndRun(RowChange, Reason),
    /// Write this, then ask again at the next change.
    Ask(RowChange, Reason),
    /// Ask again at the next change.
    Wait(Reason),
}

/// The answer for one container at one moment.
pub fn ask(asking: &Asking<'_>) -> Answer {
    match asking.side {
        Side::Local => ask_local(asking),
        Side::Kube => ask_kube(asking),
    }
}

fn ask_local(asking: &Asking<'_>) -> Answer {
    if asking.row.system_state.is_none() {
        // A switch that keeps no rows, or has lost them: the local copy is the one that may always run.
        return Answer::Run(Reason::Unmanaged);
    }
    // A pod may have asked while this copy came up. The version that stands there is the pod's then: it is judged by it,
    // and would be taken for the local image's for ever.
    let pod_asks = matches!(asking.row.remote_state, RemoteState::Pending | RemoteState::Ready);
    let change = RowChange {
        current_owner: Some(CurrentOwner::Local),
        container_id: Some(ContainerId::parse(&asking.instance.container_name()).ok()),
        container_version: (!pod_asks).then(|| asking.version.clone()),
        only_if: OnlyIf::unchanged(asking.row),
        ..RowChange::default()
    };
    Answer::RecordAndRun(change, Reason::OwnerLocal)
}

fn ask_kube(asking: &Asking<'_>) -> Answer {
    let Some(config) = asking.config else {
        return match (asking.configured, asking.row.system_state) {
            (false, _) => Answer::Wait(Reason::NotConfiguredYet),
            (true, None) => Answer::Run(Reason::Unmanaged),
            // The feature was deleted, and the host still knows it: a local copy may not be gone yet.
            (true, Some(_)) => Answer::Wait(Reason::OwnerIsLocal),
        };
    };
    if is_recorded(asking) && asking.row.system_state == Some(SystemState::Up) {
        // The host found it running when the row was lost; it had only waited. Should the owner have changed since,
        // it is stopped as one that runs.
        return Answer::RecordAndRun(take_turn(asking), Reason::HasTurn);
    }
    if config.set_owner == SetOwner::Local {
        return Answer::Wait(Reason::OwnerIsLocal);
    }
    match asking.row.system_state {
        // SONiC's own script runs ahead here, beside a local copy whose row was lost.
        None => return Answer::Wait(Reason::HostHasNotSpoken),
        Some(SystemState::Down) => return Answer::Wait(Reason::UnitIsDown),
        Some(SystemState::Up) => {}
    }
    match asking.row.remote_state {
        RemoteState::Ready if is_mine(asking) => Answer::RecordAndRun(take_turn(asking), Reason::HasTurn),
        RemoteState::Pending if is_mine(asking) => Answer::Wait(why_pending(asking)),
        RemoteState::Ready | RemoteState::Pending if asking.has_asked => Answer::Wait(Reason::Superseded),
        RemoteState::None
        | RemoteState::Pending
        | RemoteState::Ready
        | RemoteState::Running
        | RemoteState::Stopped => Answer::Ask(knock(asking), why_pending(asking)),
    }
}

/// The row names this container as the one that runs.
fn is_recorded(asking: &Asking<'_>) -> bool {
    asking.row.current_owner == CurrentOwner::Kube
        && asking.row.container_id.as_ref().zip(asking.id).is_some_and(|(theirs, mine)| theirs.same_as(mine))
}

/// The last one that asked is this container: the same id, or, where ids are not known, the same version.
fn is_mine(asking: &Asking<'_>) -> bool {
    match (&asking.row.remote_container_id, asking.id) {
        (Some(theirs), Some(mine)) => theirs.same_as(mine),
        (None, None) => {
            asking.has_asked
                && asking.row.container_version.as_ref().is_some_and(|v| v.same_as(asking.version))
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn why_pending(asking: &Asking<'_>) -> Reason {
    match asking.local_version {
        Some(local) if local.same_as(asking.version) => Reason::SameAsLocal,
        _ => Reason::AsksForTurn,
    }
}

fn knock(asking: &Asking<'_>) -> RowChange {
    RowChange {
        container_version: Some(asking.version.clone()),
        remote_state: Some(RemoteState::Pending),
        remote_container_id: asking.id.map(ContainerId::short),
        only_if: OnlyIf::unchanged(asking.row),
        ..RowChange::default()
    }
}

fn take_turn(asking: &Asking<'_>) -> RowChange {
    RowChange {
        current_owner: Some(CurrentOwner::Kube),
        container_id: Some(asking.id.map(ContainerId::short)),
        container_version: Some(asking.version.clone()),
        remote_state: Some(RemoteState::Running),
        only_if: OnlyIf::unchanged(asking.row),
        ..RowChange::default()
    }
}
