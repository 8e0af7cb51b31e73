//! Takes a generated feature off a running switch before its files go: stopped, disabled, no container left, no row.
//!
//! Without this a removal would leave containers that no unit stops any more. Each step may be done twice.

use std::path::Path;
use std::time::Duration;

use switchyard_core::{FeatureName, Scope, instances_of};
use switchyard_sonic::{SonicError, Units};

use crate::error::CliError;
use crate::restart_rule::{self, DROP_INS};
use crate::service::settle;
use switchyard_host::Host;

/// Longer than any stop timeout a description may ask for would keep an operator waiting; systemd goes on by itself.
const STOP_MAX: Duration = Duration::from_mins(2);

/// Retires every instance of the feature; `per_asic` says whether it has a unit for each ASIC.
pub(crate) async fn retire(feature: &FeatureName, per_asic: bool) -> Result<(), CliError> {
    let mut host = Host::open(crate::KUBERNETES)?;
    let units = Units::connect().await?;
    if host.switch.has_feature(feature)? {
        // So that the stop also takes the node's label away: a pod must not come back.
        host.switch.set_feature_field(feature, "set_owner", "local")?;
    }
    let instances = instances_of(feature, Scope { global: true, per_asic }, host.switch.asics());
    for instance in &instances {
        let unit = instance.unit_name();
        match settle(&unit, "stop", STOP_MAX, units.stop(&unit)).await {
            // A removal that died half-way took the file, and the unit was stopped before that.
            Err(CliError::Sonic(SonicError::NoSuchUnit { .. })) => {}
            stopped => stopped?,
        }
        units.disable(&unit).await?;
        units.reset_failed(&unit).await?;
        host.engine.remove(&instance.container_name()).await?;
    }
    host.switch.delete_feature(feature)?;
    for instance in &instances {
        restart_rule::remove(Path::new(DROP_INS), &instance.unit_name())?;
    }
    Ok(())
}
