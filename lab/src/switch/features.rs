//! A switch's features as the lab sees them: from outside, by asking their payloads.

use anyhow::{Context, Result, bail};

use super::{FEATURES_MAX, Switch};

/// Names the units whose starts are held; `normal restore` empties it.
const HELD: &str = "/run/lab-held";

/// One instance of a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The feature's name and the ASIC's number, as in the container's name: `bgp0`.
    pub name: String,
    /// Its unit: `bgp@0.service`.
    pub unit: String,
    /// What CONFIG_DB asks for.
    pub enabled: bool,
    /// systemd's word for the unit: `active`, `failed`, …
    pub active: String,
    /// Whether its payload answers.
    pub serving: bool,
}

impl Instance {
    /// Whether wish and truth agree.
    pub fn is_normal(&self) -> bool {
        let active = self.active == "active";
        (self.enabled && self.serving && active) || (!self.enabled && !self.serving && !active)
    }
}

impl Switch {
    /// All instances of all features.
    pub fn features(&self) -> Result<Vec<Instance>> {
        self.ok("/usr/lib/lab/feature-table")?.lines().map(read_instance).collect()
    }

    /// Waits until every enabled feature's payload serves and every disabled one's is down; names those that do not.
    pub fn wait_features(&self) -> Result<()> {
        let mut odd = String::new();
        self.wait_until("all features are as CONFIG_DB wants them", FEATURES_MAX, || {
            let features = self.features()?;
            odd = features
                .iter()
                .filter(|instance| !instance.is_normal())
                .map(describe)
                .collect::<Vec<_>>()
                .join(", ");
            Ok(odd.is_empty() && !features.is_empty())
        })
        .with_context(|| format!("{}: not as they should be: {odd}", self.name()))
    }

    /// Sends a command to the payload of `instance`: `status`, `crash 3`, `hang`, `leak 64`, `log text`.
    pub fn payload(&self, instance: &str, command: &str) -> Result<String> {
        self.ok(&format!("lab-payload send {instance} {command}"))
    }

    /// Whether the payload of `instance` answers.
    pub fn serves(&self, instance: &str) -> Result<bool> {
        Ok(self.sh(&format!("lab-payload send {instance} status"))?.success())
    }

    /// Waits until the payload of `instance` answers.
    pub fn wait_serves(&self, instance: &str) -> Result<()> {
        self.wait_until(&format!("{instance} serves"), FEATURES_MAX, || self.serves(instance))
    }

    /// Waits until the payload of `instance` is gone.
    pub fn wait_gone(&self, instance: &str) -> Result<()> {
        self.wait_until(&format!("{instance} is down"), FEATURES_MAX, || Ok(!self.serves(instance)?))
    }

    /// The longest time, in milliseconds, for which `instance` had no payload between two that ran.
    pub fn longest_gap_ms(&self, instance: &str) -> Result<u64> {
        longest_gap_ms(&self.ok(&format!("cat /run/payload/{instance}.log"))?)
    }

    /// The names of the instances that were ever met by a second copy of themselves.
    pub fn contended(&self) -> Result<Vec<String>> {
        let list = self.ok("cd /run/payload && ls | sed -n 's/^CONTENDED\\.//p'")?;
        Ok(list.lines().map(str::to_owned).collect())
    }

    /// A field of the FEATURE row in CONFIG_DB; empty if there is none.
    pub fn config(&self, feature: &str, field: &str) -> Result<String> {
        self.ok(&format!("sonic-db-cli CONFIG_DB HGET 'FEATURE|{feature}' {field}"))
    }

    /// Writes a field of the FEATURE row in CONFIG_DB.
    pub fn set_config(&self, feature: &str, field: &str, value: &str) -> Result<()> {
        self.ok(&format!("sonic-db-cli CONFIG_DB HSET 'FEATURE|{feature}' {field} '{value}'")).map(drop)
    }

    /// A field of the FEATURE row in STATE_DB, for a per-ASIC instance that of its namespace; empty if there is none.
    pub fn state(&self, instance: &str, field: &str) -> Result<String> {
        let feature = instance.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let asic = &instance[feature.len()..];
        let namespace = if asic.is_empty() { String::new() } else { format!("-n asic{asic} ") };
        self.ok(&format!("sonic-db-cli {namespace}STATE_DB HGET 'FEATURE|{feature}' {field}"))
    }

    /// Sets lines of a unit until the scenario is over: `switch.drop_in("bgp.service", "[Service]\nRestartSec=30\n")`.
    pub fn drop_in(&self, unit: &str, text: &str) -> Result<()> {
        // Below /etc and with a late name, so that it wins over the lab's own.
        let directory = format!("/etc/systemd/system/{unit}.d");
        self.ok(&format!("mkdir -p '{directory}'"))?;
        self.write(&format!("{directory}/zz-scenario.conf"), text)?;
        self.ok("systemctl daemon-reload").map(drop)
    }

    /// Keeps every start of a unit from getting past its first step until [`Switch::let_start`], so that what is true
    /// between an end and systemd's restart can be looked at on a machine of any speed.
    pub fn hold_starts(&self, unit: &str) -> Result<()> {
        self.ok(&format!("mkdir -p {HELD} && touch {HELD}/{unit}"))?;
        let wait = format!("while test -e {HELD}/{unit}; do sleep 0.1; done");
        self.drop_in(unit, &format!("[Service]\nExecCondition=/bin/bash -c '{wait}'\n"))
    }

    /// Lets the starts of a unit go on that [`Switch::hold_starts`] held.
    pub fn let_start(&self, unit: &str) -> Result<()> {
        self.ok(&format!("rm {HELD}/{unit}")).map(drop)
    }

    /// Makes `docker-<feature>:<version>` in the switch from the feature's image, to play a newer delivery.
    pub fn make_image(&self, feature: &str, version: &str) -> Result<String> {
        let image = format!("docker-{feature}:{version}");
        self.ok(&format!(
            "id=$(docker create docker-{feature}:latest) && \
             docker commit --change 'ENV IMAGE_VERSION={version}' \"$id\" {image} > /dev/null; docker rm \"$id\""
        ))?;
        Ok(image)
    }

    /// Remembers the present configuration as the one that [`Switch::back_to_normal`] brings back.
    pub(crate) fn remember_normal(&self) -> Result<()> {
        self.ok("rm -f /run/payload/CONTENDED.*; /usr/lib/lab/normal save").map(drop)
    }

    /// Undoes what a scenario left behind and waits until every feature is as it should be.
    pub(crate) fn back_to_normal(&self) -> Result<()> {
        self.ok("/usr/lib/lab/normal restore")?;
        self.wait_features()
    }
}

fn describe(instance: &Instance) -> String {
    let wish = if instance.enabled { "enabled" } else { "disabled" };
    let serving = if instance.serving { "serving" } else { "silent" };
    format!("{} ({wish}, unit {}, {serving})", instance.name, instance.active)
}

fn read_instance(line: &str) -> Result<Instance> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, unit, wish, active, serving] = words.as_slice() else {
        bail!("unexpected line of feature-table: {line:?}");
    };
    Ok(Instance {
        name: (*name).to_owned(),
        unit: (*unit).to_owned(),
        enabled: *wish == "enabled",
        active: (*active).to_owned(),
        serving: *serving == "up",
    })
}

/// Reads the payload's own log: nanoseconds, event, container. A payload that was killed left no `released`; its end is
/// then not known, and the time since it began counts, so the gap is never told too small.
fn longest_gap_ms(log: &str) -> Result<u64> {
    let mut last: Option<u64> = None;
    let mut longest = 0;
    for line in log.lines() {
        let (stamp, rest) = line.split_once(' ').with_context(|| format!("unexpected line: {line:?}"))?;
        let now: u64 = stamp.parse().with_context(|| format!("unexpected line: {line:?}"))?;
        if rest.starts_with("acquired")
            && let Some(last) = last
        {
            longest = longest.max(now.saturating_sub(last) / 1_000_000);
        }
        last = Some(now);
    }
    Ok(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_feature_table_becomes_an_instance() {
        let bgp = read_instance("bgp0 bgp@0.service enabled active up").unwrap();
        assert!(bgp.is_normal());
        let broken = read_instance("sflow sflow.service disabled active up").unwrap();
        assert!(!broken.is_normal());
        assert_eq!(describe(&broken), "sflow (disabled, unit active, serving)");
        assert!(read_instance("bgp0 bgp@0.service").is_err());
    }

    #[test]
    fn the_gap_is_from_release_to_the_next_acquisition() {
        let log = "1000000000 acquired container=a\n5000000000 released container=a\n\
                   5250000000 acquired container=b\n9000000000 released container=b\n";
        assert_eq!(longest_gap_ms(log).unwrap(), 250);
        assert_eq!(longest_gap_ms("1000000000 acquired container=a\n").unwrap(), 0);
        assert!(longest_gap_ms("rubbish").is_err());
    }
}
