//! `system service accept`: the operator lets a version in that is held, failed here, or is blocked.

use std::process::ExitCode;

use switchyard_core::{OnlyIf, RemoteState, RowChange, Version};
use switchyard_sonic::record;

use crate::error::CliError;
use crate::output::tell;
use crate::service::Known;

pub(super) async fn main(mut known: Known, version: Option<&str>) -> Result<ExitCode, CliError> {
    let named = version.map(Version::parse).transpose()?;
    let mut accepted = 0;
    for instance in known.instances.clone() {
        let view = known.host.view(&instance).await?;
        let asks = view.row.remote_state == RemoteState::Pending;
        let asking = view.judged_version().filter(|_| asks).cloned();
        let Some(version) = named.clone().or(asking) else { continue };
        record::change(&known.host.paths, &instance, |record| record.accept(&version))?;
        tell(&format!("{instance}: version {version} is let in"));
        accepted += 1;
        // Whoever waits for this word listens to the row; what it says stays. If it says something else by now, that was
        // heard as well.
        let same = RowChange {
            remote_state: Some(view.row.remote_state),
            only_if: OnlyIf::unchanged(&view.row),
            ..RowChange::default()
        };
        known.host.switch.write_state(&instance, &same)?;
    }
    if accepted == 0 {
        return Err(CliError::Refused(format!(
            "no version of {0} waits; name one that is to be let in when it comes: system service accept {0} <version>",
            known.feature
        )));
    }
    Ok(ExitCode::SUCCESS)
}
