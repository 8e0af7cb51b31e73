//! What `featured` does to units, through systemctl as the shipped one does.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// How often and how long a disable waits for a unit that is still starting (SONiC: every second for a minute).
const ACTIVATING_POLL: Duration = Duration::from_secs(1);
const ACTIVATING_POLLS_MAX: u32 = 60;

/// Runs systemctl and insists on success.
pub(super) fn systemctl(args: &[&str]) -> Result<()> {
    ensure!(try_systemctl(args)?, "systemctl {} failed", args.join(" "));
    Ok(())
}

/// Unmask, enable, start. Does nothing at all when the unit is enabled already, not even start, as shipped.
/// Gives `false` when the start failed.
pub(super) fn enable(instance: &str) -> Result<bool> {
    if property(instance, "UnitFileState")? == "enabled" {
        return Ok(true);
    }
    try_systemctl(&["unmask", instance])?;
    try_systemctl(&["enable", instance])?;
    try_systemctl(&["start", instance])
}

/// Stop, disable, mask; skipped when that was done before. Gives `false` when a step failed.
pub(super) fn disable(instance: &str) -> Result<bool> {
    if ["disabled", "masked"].contains(&property(instance, "UnitFileState")?.as_str())
        && property(instance, "ActiveState")? == "inactive"
    {
        return Ok(true);
    }
    for _ in 0..ACTIVATING_POLLS_MAX {
        if property(instance, "ActiveState")? != "activating" {
            break;
        }
        sleep(ACTIVATING_POLL);
    }
    let mut good = try_systemctl(&["stop", instance])?;
    good &= try_systemctl(&["disable", instance])?;
    good &= try_systemctl(&["mask", instance])?;
    Ok(good)
}

/// Writes the drop-in that is the only place where a feature's `Restart=` is set.
pub(super) fn write_restart_rule(instance: &str, always: bool) -> Result<()> {
    let directory = format!("/etc/systemd/system/{instance}.service.d");
    let file = format!("{directory}/auto_restart.conf");
    let rule = if always { "always" } else { "no" };
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {directory}"))?;
    fs::write(&file, format!("[Service]\nRestart={rule}\n")).with_context(|| format!("cannot write {file}"))
}

fn try_systemctl(args: &[&str]) -> Result<bool> {
    let status =
        Command::new("systemctl").arg("--quiet").args(args).status().context("cannot run systemctl")?;
    if !status.success() {
        println!("systemctl {}: {status}", args.join(" "));
    }
    Ok(status.success())
}

fn property(instance: &str, name: &str) -> Result<String> {
    let output = Command::new("systemctl")
        .args(["show", "--value", "--property", name])
        .arg(format!("{instance}.service"))
        .output()
        .context("cannot run systemctl")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
