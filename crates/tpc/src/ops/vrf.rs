//! The management VRF: a container in the default VRF reaches `eth0` only by a rule (seed 004). It is there as long as
//! the VRF is configured and a TPC is installed; the kernel forgets it at every boot, so every boot puts it right.

use std::process::{Command, Stdio};

use switchyard_sonic::Switch;

use super::services::Services;
use super::{OpsError, Tpcm};

/// The rule as `ip rule` takes it.
const RULE: [&str; 6] = ["pref", "32768", "from", "all", "lookup", "mgmt"];

impl<S: Services> Tpcm<S> {
    /// Adds the rule, or takes it away. Tells whether it is there.
    pub fn vrf(&mut self) -> Result<bool, OpsError> {
        let Some(paths) = self.settings.sonic.clone() else { return Ok(false) };
        let configured = Switch::open(paths)?.management_vrf()?;
        let wanted = configured && !self.names()?.is_empty();
        for family in ["-4", "-6"] {
            let there = is_there(&ip(family, &["rule", "show", "pref", "32768"])?);
            if there == wanted || self.settings.dry_run {
                continue;
            }
            let verb = if wanted { "add" } else { "del" };
            ip(family, &[&["rule", verb], &RULE[..]].concat())?;
        }
        Ok(wanted)
    }

    /// As part of something else, which does not fail because of it.
    pub(super) fn put_vrf_right(&mut self) {
        if let Err(error) = self.vrf() {
            tracing::warn!("the ip rule of the management VRF is not put right: {error}");
        }
    }
}

fn is_there(shown: &str) -> bool {
    shown.lines().any(|line| line.contains("lookup mgmt"))
}

fn ip(family: &str, arguments: &[&str]) -> Result<String, OpsError> {
    let failed = |source| OpsError::File { action: "run", path: "ip".into(), source };
    let output =
        Command::new("ip").arg(family).args(arguments).stdin(Stdio::null()).output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(std::io::Error::other(format!("ip {family} {}: {}", arguments.join(" "), said.trim()))))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_rule_is_told_from_others_of_its_priority() {
        assert!(super::is_there("32768:\tfrom all lookup mgmt\n"));
        assert!(!super::is_there("32768:\tfrom all lookup 100\n"));
        assert!(!super::is_there(""));
    }
}
