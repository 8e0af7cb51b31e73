//! All instances of all features with their rows, for the verbs that list. A row that cannot be read is told of and left
//! out: garbage in one must not hide the others.

use std::process::ExitCode;

use switchyard_core::{FeatureConfig, FeatureName, FeatureState, Instance, Scope, instances_of};
use switchyard_sonic::SonicError;

use crate::error::CliError;
use crate::output::tell;
use switchyard_host::Host;

/// One instance.
pub(crate) struct Row {
    pub(crate) instance: Instance,
    pub(crate) config: FeatureConfig,
    pub(crate) state: FeatureState,
}

/// What could be read, and the exit code that says whether it was all.
pub(crate) struct Rows {
    pub(crate) rows: Vec<Row>,
    pub(crate) code: ExitCode,
}

/// Reads everything.
pub(crate) fn read(host: &mut Host) -> Result<Rows, CliError> {
    let mut read = Rows { rows: Vec::new(), code: ExitCode::SUCCESS };
    for feature in host.switch.feature_names()? {
        match rows_of(host, &feature) {
            Ok(rows) => read.rows.extend(rows),
            Err(error @ SonicError::Row(_)) => {
                let error = CliError::from(error);
                tell(&error.to_string());
                read.code = ExitCode::from(error.exit_code());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(read)
}

fn rows_of(host: &mut Host, feature: &FeatureName) -> Result<Vec<Row>, SonicError> {
    // It may have been deleted since its name was read.
    let Some(config) = host.switch.feature_config(feature)? else { return Ok(Vec::new()) };
    let scope = Scope { global: config.has_global_scope, per_asic: config.has_per_asic_scope };
    instances_of(feature, scope, host.switch.asics())
        .into_iter()
        .map(|instance| {
            let state = host.switch.feature_state(&instance)?.unwrap_or_default();
            Ok(Row { instance, config: config.clone(), state })
        })
        .collect()
}
