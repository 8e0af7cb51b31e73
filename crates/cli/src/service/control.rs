//! start, stop, restart, reload, mask and unmask of a feature's units.
//!
//! Planned starts never run into systemd's start limit: it is reset before, for the unit and for those that start
//! with it (buildimage #15432).

use std::process::ExitCode;
use std::time::Duration;

use switchyard_core::{Instance, View, left_behind};
use switchyard_sonic::{JobOutcome, SonicError, Units};
use tokio::time::timeout;

use crate::error::CliError;
use crate::output::tell;
use crate::progress::told;
use crate::service::Known;
use switchyard_host::How;

pub(super) async fn start(known: Known, deadline: Duration) -> Result<ExitCode, CliError> {
    if !known.config.state.is_enabled() {
        tell(&format!(
            "{0} is {1} in CONFIG_DB: it starts now, but not after a boot; to change that: system service enable {0}",
            known.feature, known.config.state
        ));
    }
    for unit in units(&known) {
        refuse_masked(&known.units, &unit, "start").await?;
        known.units.reset_failed(&unit).await?;
        settle(&unit, "start", deadline, known.units.start(&unit)).await?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn stop(mut known: Known, deadline: Duration) -> Result<ExitCode, CliError> {
    for instance in known.instances.clone() {
        tell_others(&known.units, "stopping", &instance.unit_name()).await?;
        stop_one(&mut known, &instance, deadline).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Says which other units a stop takes along, and gives their names.
pub(super) async fn tell_others(units: &Units, doing: &str, unit: &str) -> Result<Vec<String>, CliError> {
    let others = units.would_stop_with(unit).await?;
    if !others.is_empty() {
        tell(&format!("{doing} with {unit}, because they need it: {}", others.join(", ")));
    }
    Ok(others)
}

/// Stops a unit, and what it leaves running if systemd had no way to stop that.
pub(super) async fn stop_one(
    known: &mut Known,
    instance: &Instance,
    deadline: Duration,
) -> Result<(), CliError> {
    let unit = instance.unit_name();
    settle(&unit, "stop", deadline, known.units.stop(&unit)).await?;
    // Somebody may have started it again by now.
    if !known.units.status(&unit).await?.is_up() && left_behind(&known.host.view(instance).await?) {
        let decide = |view: &View| Ok(switchyard_core::stop(view));
        let waiting = format!("waiting for what {unit} left running to stop");
        told(&waiting, known.host.carry_out("stop", instance, How::default(), decide)).await?;
    }
    Ok(())
}

pub(super) async fn restart(known: Known, deadline: Duration) -> Result<ExitCode, CliError> {
    for unit in units(&known) {
        refuse_masked(&known.units, &unit, "restart").await?;
        let others = tell_others(&known.units, "restarting", &unit).await?;
        for planned in others.iter().chain([&unit]) {
            known.units.reset_failed(planned).await?;
        }
        settle(&unit, "restart", deadline, known.units.restart(&unit)).await?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn reload(known: Known, deadline: Duration) -> Result<ExitCode, CliError> {
    for unit in units(&known) {
        settle(&unit, "reload", deadline, known.units.reload(&unit)).await?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn mask(known: Known) -> Result<ExitCode, CliError> {
    for unit in units(&known) {
        known.units.mask(&unit).await?;
        tell(&format!("{unit} is masked; what runs goes on until it is stopped"));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn unmask(known: Known) -> Result<ExitCode, CliError> {
    for unit in units(&known) {
        known.units.unmask(&unit).await?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn units(known: &Known) -> Vec<String> {
    known.instances.iter().map(Instance::unit_name).collect()
}

async fn refuse_masked(units: &Units, unit: &str, verb: &str) -> Result<(), CliError> {
    if units.status(unit).await?.is_masked() {
        let feature = unit.trim_end_matches(".service");
        return Err(CliError::Refused(format!(
            "cannot {verb} {unit}: it is masked; first: system service unmask {feature}, or enable {feature}"
        )));
    }
    Ok(())
}

/// Waits for a job of systemd and says what became of it.
pub(crate) async fn settle(
    unit: &str,
    verb: &str,
    deadline: Duration,
    job: impl Future<Output = Result<JobOutcome, SonicError>>,
) -> Result<(), CliError> {
    let waiting = format!("waiting for {unit} to {verb}");
    let Ok(outcome) = told(&waiting, timeout(deadline, job)).await else {
        return Err(CliError::TooLate(format!(
            "{unit} did not {verb} within {} s; systemd goes on with it; see: systemctl status {unit}",
            deadline.as_secs()
        )));
    };
    match outcome? {
        JobOutcome::Done => Ok(()),
        JobOutcome::Failed(result) => Err(CliError::Failed(
            format!("{verb} of {unit}"),
            format!("{result}; see: journalctl -u {unit} -n 20"),
        )),
        JobOutcome::Refused(_) => Err(CliError::Refused(format!(
            "systemd refuses to {verb} {unit} now: a job that cannot be taken back is under way (reboot or config \
             reload); try again when it is over"
        ))),
    }
}
