//! What a decision asks for: steps in order, each safe to repeat, with the reason for all of them.

use std::time::Duration;

use crate::{ContainerId, CurrentOwner, FeatureState, Reason, RemoteState, SystemState, Version};

/// One of the two containers that can carry a feature's payload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Copy {
    /// The one that the control script created, named like the instance.
    Local,
    /// One that Kubernetes started.
    Pod(ContainerId),
}

/// One thing to do. Each can run twice; after a crash the next observation says what is left.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Tell the cluster whether this node wants the feature's pod (`<f>_enabled`).
    Label(bool),
    /// Change the instance's row.
    Row(RowChange),
    /// Give the row so long at most to change. If it does, this plan is over, and another is made of what is then.
    AwaitRow(Duration),
    /// Start the local container.
    StartLocal,
    /// Stop a container in order.
    Stop(Copy),
    /// Kill a container at once.
    Kill(Copy),
}

/// Steps with the rule that asked for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// Which rule says so.
    pub reason: Reason,
}

/// Why a verb cannot be carried out. Data, not a failure: nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Local is wanted and the control script has created no container.
    #[error("there is no container named {0} to start; its control script creates it: systemctl restart {0}")]
    NoContainer(String),
}

/// New values for some fields of a row; the others stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RowChange {
    /// The unit's wish.
    pub system_state: Option<SystemState>,
    /// Who runs it.
    pub current_owner: Option<CurrentOwner>,
    /// The recorded container; `Some(None)` clears it.
    pub container_id: Option<Option<ContainerId>>,
    /// The version of the running or asking copy.
    pub container_version: Option<Version>,
    /// The version last known good.
    pub stable_version: Option<Version>,
    /// The stable version before that.
    pub last_version: Option<Version>,
    /// The hand-shake.
    pub remote_state: Option<RemoteState>,
    /// Who asked.
    pub remote_container_id: Option<ContainerId>,
    /// Written only while the row still says this; otherwise the world has moved on and must be looked at again.
    pub only_if: Option<OnlyIf>,
}

/// The fields on which a decision rested, compared and written as one by the database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OnlyIf {
    /// What the unit wished when we looked: a run that has begun since then is not ours to write off.
    pub system_state: Option<SystemState>,
    /// Who ran it when we looked.
    pub current_owner: CurrentOwner,
    /// Which container that was: another pod may have come and got its turn since.
    pub container_id: Option<ContainerId>,
    /// The hand-shake when we looked.
    pub remote_state: RemoteState,
    /// Who had asked when we looked.
    pub remote_container_id: Option<ContainerId>,
}

impl OnlyIf {
    /// The row must still say what it said.
    pub fn unchanged(row: &FeatureState) -> Option<Self> {
        Some(Self {
            system_state: row.system_state,
            current_owner: row.current_owner,
            container_id: row.container_id.clone(),
            remote_state: row.remote_state,
            remote_container_id: row.remote_container_id.clone(),
        })
    }

    /// Whether a row meets the condition.
    pub fn holds(&self, row: &FeatureState) -> bool {
        Self::unchanged(row).as_ref() == Some(self)
    }
}

impl RowChange {
    /// The row after the change, or nothing if its condition no longer holds.
    pub fn apply(&self, row: &FeatureState) -> Option<FeatureState> {
        if self.only_if.as_ref().is_some_and(|condition| !condition.holds(row)) {
            return None;
        }
        let mut row = row.clone();
        if let Some(wish) = self.system_state {
            row.system_state = Some(wish);
        }
        if let Some(owner) = self.current_owner {
            row.current_owner = owner;
        }
        if let Some(id) = &self.container_id {
            row.container_id.clone_from(id);
        }
        if let Some(version) = &self.container_version {
            row.container_version = Some(version.clone());
        }
        if let Some(version) = &self.stable_version {
            row.stable_version = Some(version.clone());
        }
        if let Some(version) = &self.last_version {
            row.last_version = Some(version.clone());
        }
        if let Some(state) = self.remote_state {
            row.remote_state = state;
        }
        if let Some(id) = self.asker() {
            row.remote_container_id = id.cloned();
        }
        Some(row)
    }

    /// Who asks after the change; nothing if that stays as it is. The id of who asked lasts as long as its question: left
    /// behind it would hide the next one, of a container that does not write its own.
    pub fn asker(&self) -> Option<Option<&ContainerId>> {
        match (&self.remote_container_id, self.remote_state) {
            (Some(id), _) => Some(Some(id)),
            (None, Some(RemoteState::None | RemoteState::Running | RemoteState::Stopped)) => Some(None),
            (None, Some(RemoteState::Pending | RemoteState::Ready) | None) => None,
        }
    }
}
