//! Restarting a unit, and what that would take along.

use switchyard_core::{Instance, Reason};
use switchyard_sonic::{JobOutcome, Units};
use tracing::{info, warn};

use crate::world::Restarted;

/// A planned restart never runs into the start limit, of the unit or of those that restart with it.
pub(super) async fn restart(units: &Units, instance: &Instance) -> Restarted {
    let unit = instance.unit_name();
    let restarted = async {
        for planned in units.would_stop_with(&unit).await?.iter().chain([&unit]) {
            units.reset_failed(planned).await?;
        }
        units.try_restart(&unit).await
    };
    match restarted.await {
        Ok(JobOutcome::Done) => Restarted::Done,
        // Another job took its place, the operator's or systemd's own: what comes of it is looked at.
        Ok(JobOutcome::Failed(word)) if word == "canceled" => Restarted::Done,
        Ok(JobOutcome::Failed(result)) => {
            warn!(feature = %instance, %result, "its unit did not restart");
            Restarted::Failed
        }
        Ok(JobOutcome::Refused(why)) => {
            info!(feature = %instance, %why, "systemd restarts nothing now; later again");
            Restarted::Later
        }
        Err(error) => {
            warn!(feature = %instance, %error, "its unit could not be restarted");
            Restarted::Failed
        }
    }
}

/// Tells that a pod waits for the operator's word, and what its turn would cost.
pub(super) async fn tell_held(units: Units, instance: Instance) {
    let others = units.would_stop_with(&instance.unit_name()).await.unwrap_or_default().join(", ");
    let others = if others.is_empty() { others } else { format!("; with it would restart {others}") };
    info!(feature = %instance, "the pod waits: {}{others}", Reason::Held);
}
