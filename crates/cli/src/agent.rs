//! `switchyard agent`: the daemon, until it is told to end.

use std::process::ExitCode;

use crate::error::CliError;
use crate::runtime::block_on;

/// Its unit.
pub(crate) const UNIT: &str = "ctrmgrd.service";

pub(crate) fn main() -> Result<ExitCode, CliError> {
    block_on(async {
        let ran = switchyard_agent::run().await;
        ran.map_err(|trouble| CliError::Failed("the agent".to_owned(), trouble.to_string()))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Where a test can have it die.
pub(crate) fn list_fail_points() {
    for point in switchyard_agent::fail_points() {
        crate::output::line(&point);
    }
}
