//! What is true of an instance at one moment, as one line that scenarios compare: row, unit, container, payload.
//!
//! The line reads `local snmp none up; active; running; serving`: owner, container id, hand-shake and the unit's wish
//! as SONIC.md 3.8 lists them (`-` for what is empty), systemd's word, the engine's, and the payload's own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::switch::Switch;

/// What a feature may take to come up or go down once it has been told to, on a machine that compiles meanwhile.
pub(super) const SOON: Duration = Duration::from_mins(1);

/// The features of the lab whose wish is to run, as containers are called on a switch with one ASIC.
pub(super) const ENABLED: [&str; 5] = ["swss", "bgp", "lldp", "snmp", "telemetry"];

/// The features whose control scripts bring them down with swss and up after it.
pub(super) const DEPENDENTS: [&str; 3] = ["bgp", "lldp", "snmp"];

/// An instance that runs the local image.
pub(super) fn local(instance: &str) -> String {
    format!("local {instance} none up; active; running; serving")
}

/// An instance that was stopped, with systemd's word for its unit.
pub(super) fn down(unit: &str) -> String {
    format!("none - none down; {unit}; stopped; silent")
}

/// An instance that was never started in this boot.
pub(super) const UNTOUCHED: &str = "- - - -; inactive; stopped; silent";

/// The line for an instance, now.
pub(super) fn facts(switch: &Switch, instance: &str) -> Result<String> {
    let (feature, namespace) = split(instance);
    let unit = unit(instance);
    switch.ok(&format!(
        "row=$(sonic-db-cli {namespace} STATE_DB HMGET 'FEATURE|{feature}' \
         current_owner container_id remote_state system_state | sed 's/^$/-/' | paste -sd' ')
         active=$(systemctl show --value --property ActiveState {unit})
         running=stopped; serving=silent
         [ \"$(docker inspect --format '{{{{.State.Running}}}}' {instance} 2> /dev/null)\" != true ] || running=running
         ! lab-payload send {instance} status > /dev/null 2>&1 || serving=serving
         echo \"$row; $active; $running; $serving\""
    ))
}

/// Insists that the line reads so, at once.
pub(super) fn expect(switch: &Switch, instance: &str, wanted: &str) -> Result<()> {
    let now = facts(switch, instance)?;
    ensure!(now == wanted, "{instance} should be {wanted:?}, and is {now:?}");
    Ok(())
}

/// Waits until the line reads so.
pub(super) fn wait_for(switch: &Switch, instance: &str, wanted: &str, deadline: Duration) -> Result<()> {
    let mut last = String::new();
    switch
        .wait_until(&format!("{instance} is {wanted:?}"), deadline, || {
            facts(switch, instance)?.clone_into(&mut last);
            Ok(last == wanted)
        })
        .with_context(|| format!("{instance} is {last:?}"))
}

/// Waits until the instance runs the local image.
pub(super) fn wait_local(switch: &Switch, instance: &str) -> Result<()> {
    wait_for(switch, instance, &local(instance), SOON)
}

/// Waits until all of them run the local image, and insists that the disabled one does not.
pub(super) fn wait_all_local(switch: &Switch) -> Result<()> {
    for instance in ENABLED {
        wait_local(switch, instance)?;
    }
    let disabled = facts(switch, "sflow")?;
    ensure!(
        disabled == UNTOUCHED || disabled == down("inactive"),
        "sflow is disabled and should be down, and is {disabled:?}"
    );
    Ok(())
}

/// What tells one run of a container from another: when it began, and its process.
pub(super) fn run(switch: &Switch, instance: &str) -> Result<String> {
    switch.ok(&format!("docker inspect --format '{{{{.State.StartedAt}}}} {{{{.State.Pid}}}}' {instance}"))
}

/// The runs of several instances, in order.
pub(super) fn runs(switch: &Switch, instances: &[&str]) -> Result<Vec<String>> {
    instances.iter().map(|instance| run(switch, instance)).collect()
}

/// Waits until the instance runs the local image again, in another run than `before`.
pub(super) fn wait_another_run(switch: &Switch, instance: &str, before: &str) -> Result<()> {
    switch.wait_until(&format!("{instance} runs anew"), SOON, || Ok(run(switch, instance)? != before))?;
    wait_local(switch, instance)
}

/// How often the payload of `instance` has begun to run, ever.
pub(super) fn starts(switch: &Switch, instance: &str) -> Result<usize> {
    Ok(switch.ok(&format!("grep -c ' acquired ' /run/payload/{instance}.log"))?.parse()?)
}

/// When the payload of `instance` last noted `event` (`acquired` or `released`), in nanoseconds of the boot's clock.
pub(super) fn last(switch: &Switch, instance: &str, event: &str) -> Result<u64> {
    let line = switch.ok(&format!("grep ' {event} ' /run/payload/{instance}.log | tail --lines=1"))?;
    let stamp = line.split(' ').next().unwrap_or_default();
    stamp.parse().with_context(|| format!("{instance} has never {event}"))
}

/// A property that `systemctl show` knows.
pub(super) fn property(switch: &Switch, unit: &str, name: &str) -> Result<String> {
    switch.ok(&format!("systemctl show --value --property {name} {unit}"))
}

/// The unit of an instance: `bgp@0.service` for `bgp0`.
pub(super) fn unit(instance: &str) -> String {
    let feature = instance.trim_end_matches(|letter: char| letter.is_ascii_digit());
    match &instance[feature.len()..] {
        "" => format!("{feature}.service"),
        asic => format!("{feature}@{asic}.service"),
    }
}

fn split(instance: &str) -> (&str, String) {
    let feature = instance.trim_end_matches(|letter: char| letter.is_ascii_digit());
    match &instance[feature.len()..] {
        "" => (feature, String::new()),
        asic => (feature, format!("-n asic{asic}")),
    }
}
