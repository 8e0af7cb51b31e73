//! enable and disable: the operator's intent goes into CONFIG_DB, and the units follow.
//!
//! Where `featured` runs it does the units; where it does not, or leaves a feature alone, its steps are done here
//! (SONIC.md 2.8). Either way the command ends when the units are as asked.

use std::process::ExitCode;
use std::time::Duration;

use switchyard_core::Admin;
use switchyard_sonic::SonicError;

use crate::error::CliError;
use crate::output::tell;
use crate::service::Known;
use crate::service::control::{settle, stop_one, units};
use crate::service::progress::told;

/// Features whose units `featured` never starts or stops (SONIC.md 2.8, 6).
pub(crate) const LEFT_ALONE: [&str; 2] = ["telemetry", "frr_bmp"];

/// The daemon that follows FEATURE rows on a switch.
const FEATURED: &str = "featured.service";

pub(super) async fn enable(mut known: Known, deadline: Duration) -> Result<ExitCode, CliError> {
    write(&mut known, Admin::Enabled)?;
    for unit in units(&known) {
        let status = known.units.status(&unit).await?;
        // featured does nothing at all for a unit file that is enabled already, even if the unit is stopped.
        let waits_for_ports = known.config.delayed && featured_does_it(&known).await?;
        if !featured_does_it(&known).await? || status.unit_file_state == "enabled" {
            known.units.unmask(&unit).await?;
            known.units.enable(&unit).await?;
            known.units.reset_failed(&unit).await?;
            settle(&unit, "start", deadline, known.units.start(&unit)).await?;
        } else if waits_for_ports {
            tell(&format!("{unit} is delayed: featured starts it when the ports are up"));
        }
        wait(&known, &unit, true, deadline).await?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn disable(mut known: Known, deadline: Duration) -> Result<ExitCode, CliError> {
    write(&mut known, Admin::Disabled)?;
    for instance in known.instances.clone() {
        let unit = instance.unit_name();
        let status = known.units.status(&unit).await?;
        let featured_is_done = ["disabled", "masked"].contains(&status.unit_file_state.as_str());
        if !featured_does_it(&known).await? || featured_is_done {
            stop_one(&mut known, &instance, deadline).await?;
            known.units.disable(&unit).await?;
            known.units.mask(&unit).await?;
        }
        wait(&known, &unit, false, deadline).await?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write(known: &mut Known, state: Admin) -> Result<(), CliError> {
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
    if known.config.state.is_enabled() != state.is_enabled() || known.config.state == Admin::Template {
        known.host.switch.set_feature_field(feature, "state", state.as_str())?;
        tell(&format!("{feature} is {state} in CONFIG_DB; to keep that over a reboot: config save"));
    }
    Ok(())
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
