//! What a container records about itself before it ends (seed 000: "on pre-stop").
//!
//! Only its own entry: a row that names somebody else by now is left alone. The unit's wish is the host's to change.

use crate::{Asking, CurrentOwner, FeatureState, OnlyIf, RemoteState, RowChange, Side};

/// The change, or nothing if the row does not name this container.
pub fn leave(asking: &Asking<'_>) -> Option<RowChange> {
    let row = asking.row;
    match asking.side {
        Side::Local => (row.current_owner == CurrentOwner::Local).then(|| gone(row, None)),
        Side::Kube => is_recorded(asking).then(|| gone(row, Some(RemoteState::Stopped))),
    }
}

fn is_recorded(asking: &Asking<'_>) -> bool {
    asking.row.current_owner == CurrentOwner::Kube
        && match (&asking.row.container_id, asking.id) {
            (Some(recorded), Some(mine)) => recorded.same_as(mine),
            (None, None) => asking.row.container_version.as_ref().is_some_and(|v| v.same_as(asking.version)),
            (Some(_), None) | (None, Some(_)) => false,
        }
}

fn gone(row: &FeatureState, remote_state: Option<RemoteState>) -> RowChange {
    RowChange {
        current_owner: Some(CurrentOwner::None),
        container_id: Some(None),
        remote_state,
        only_if: OnlyIf::unchanged(row),
        ..RowChange::default()
    }
}
