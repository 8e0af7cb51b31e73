//! enable and disable: the operator's intent goes into CONFIG_DB, and the units follow.
//!
//! Where `featured` runs it does the units; where it does not, or leaves a feature alone, its steps are done here
//! (SONIC.md 2.8). Either way the command ends when the units are as asked.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use switchyard_core::Admin;
use switchyard_sonic::SonicError;

use crate::error::CliError;
use crate::output::tell;
use crate::progress::told;
use crate::restart_rule::{self, DROP_INS};
use crate::service::Known;
use crate::service::control::{settle, stop_one, tell_others, units};

/// Features whose units `featured` never starts or stops (SONIC.md 2.8, 6).
pub(crate) const LEFT_ALONE: [&str; 2] = ["telemetry", "frr_bmp"];

/// The daemon that follows FEATURE rows on a switch.
const FEATURED: &str = "featured.service";

pub(super) async fn enable(mut known: Known, deadline: Duration) -> Result<ExitCode, CliError> {
    refuse(&known, Admin::Enabled)?;
    write(&mut known, Admin::Enabled)?;
    let enabled = enable_units(&known, deadline).await;
    let recorded = record(&mut known, Admin::Enabled, &enabled).await;
    enabled.and(recorded).map(|()| ExitCode::SUCCESS)
}

async fn enable_units(known: &Known, deadline: Duration) -> Result<(), CliError> {
    for unit in units(known) {
        let status = known.units.status(&unit).await?;
        // featured does nothing at all for a unit file that is enabled already, even if the unit is stopped.
        let waits_for_ports = known.config.delayed && featured_does_it(known).await?;
        if !featured_does_it(known).await? || status.unit_file_state == "enabled" {
            // Before the two that have systemd read all files anew.
            restart_rule::write_if_absent(Path::new(DROP_INS), &unit, known.config.auto_restart)?;
            known.units.unmask(&unit).await?;
            known.units.enable(&unit).await?;
            known.units.reset_failed(&unit).await?;
            settle(&unit, "start", deadline, known.units.start(&unit)).await?;
        } else if waits_for_ports {
            tell(&format!("{unit} is delayed: featured starts it when the ports are up"));
        }
        wait(known, &unit, true, deadline).await?;
    }
    Ok(())
}

pub(super) async fn disable(mut known: Known, deadline: Duration) -> Result<ExitCode, CliError> {
    refuse(&known, Admin::Disabled)?;
    // Before the row: featured stops the units as soon as it sees that.
    for unit in units(&known) {
        tell_others(&known.units, "stopping", &unit).await?;
    }
    write(&mut known, Admin::Disabled)?;
    let disabled = disable_units(&mut known, deadline).await;
    let recorded = record(&mut known, Admin::Disabled, &disabled).await;
    disabled.and(recorded).map(|()| ExitCode::SUCCESS)
}

async fn disable_units(known: &mut Known, deadline: Duration) -> Result<(), CliError> {
    for instance in known.instances.clone() {
        let unit = instance.unit_name();
        let status = known.units.status(&unit).await?;
        let featured_is_done = ["disabled", "masked"].contains(&status.unit_file_state.as_str());
        if !featured_does_it(known).await? || featured_is_done {
            stop_one(known, &instance, deadline).await?;
            known.units.disable(&unit).await?;
            known.units.mask(&unit).await?;
        }
        wait(known, &unit, false, deadline).await?;
    }
    Ok(())
}

fn refuse(known: &Known, state: Admin) -> Result<(), CliError> {
    let feature = &known.feature;
    // Whoever may not tell systemd must not get half of it done; SONiC's `config` asks for root too.
    if !rustix::process::geteuid().is_root() {
        return Err(SonicError::BusDenied { doing: format!("change the state of {feature}") }.into());
    }
    if known.config.state.immutable() && known.config.state.is_enabled() != state.is_enabled() {
        return Err(CliError::Refused(format!(
            "the state of {feature} is {} and cannot be modified",
            known.config.state
        )));
    }
    Ok(())
}

fn write(known: &mut Known, state: Admin) -> Result<(), CliError> {
    let feature = &known.feature;
    if known.config.state.is_enabled() != state.is_enabled() || known.config.state == Admin::Template {
        known.host.switch.set_feature_field(feature, "state", state.as_str())?;
        tell(&format!("{feature} is {state} in CONFIG_DB; to keep that over a reboot: config save"));
    }
    Ok(())
}

/// The outcome, which `show feature status` tells and `config feature state --block` waits for. featured, where it runs,
/// records its own.
async fn record(known: &mut Known, state: Admin, done: &Result<(), CliError>) -> Result<(), CliError> {
    // Nobody would keep true what was said once of a feature that featured leaves alone.
    if LEFT_ALONE.contains(&known.feature.as_str()) || featured_does_it(known).await? {
        return Ok(());
    }
    let outcome = match done {
        Ok(()) => state.as_str(),
        // systemd goes on with it, and nobody knows yet what comes of it.
        Err(CliError::TooLate(_)) => return Ok(()),
        Err(_) => "failed",
    };
    Ok(known.host.switch.record_admin_outcome(&known.feature, outcome)?)
}

async fn featured_does_it(known: &Known) -> Result<bool, CliError> {
    if LEFT_ALONE.contains(&known.feature.as_str()) {
        return Ok(false);
    }
    Ok(known.units.status(FEATURED).await?.is_up())
}

async fn wait(known: &Known, unit: &str, active: bool, deadline: Duration) -> Result<(), CliError> {
    let wish = if active { "active" } else { "inactive" };
    let waiting = format!("waiting for {unit} to be {wish}");
    if told(&waiting, known.units.wait_active(unit, active, deadline)).await? {
        return Ok(());
    }
    Err(CliError::TooLate(format!(
        "{unit} is not {wish} after {} s; see: systemctl status {unit} {FEATURED}",
        deadline.as_secs()
    )))
}
