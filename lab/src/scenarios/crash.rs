//! Containers that end by themselves, and containers that will not end.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::facts::{
    SOON, down, expect, local, property, run, starts, wait_another_run, wait_for, wait_local,
};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Switch;

/// The scenarios of this module.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "wait returns when the container dies, and systemd restarts it",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: died,
    },
    Scenario {
        name: "a payload that ignores the request to stop is killed after its stop time",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: hangs,
    },
    Scenario {
        name: "a crash loop ends where systemd's limits say",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: crash_loop,
    },
    Scenario {
        // BI#15432, BI#25931.
        name: "planned restarts never run into systemd's limits",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: planned_restarts,
    },
    Scenario {
        // BI#24875, BI#29702.
        name: "a stop in the middle of a start leaves no container without an owner",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: stopped_while_starting,
    },
];

fn died(switch: &Switch) -> Result<()> {
    // What `wait` returned for each way to end; systemd restarts all of them, because featured says `always`.
    for (feature, code, returned) in [
        ("bgp", 3, "code=exited, status=255"),
        ("snmp", 0, "Deactivated successfully"),
        ("telemetry", 1, "code=exited, status=255"),
    ] {
        let since = switch.now()?;
        let before = run(switch, feature)?;
        let unit = format!("{feature}.service");
        let restarts: u32 = property(switch, &unit, "NRestarts")?.parse()?;
        switch.hold_starts(&unit)?;
        switch.payload(feature, &format!("crash {code}"))?;
        wait_for(switch, feature, &down("activating"), SOON)?;
        let said = switch.journal_of(&since, &format!("--unit={unit}"))?;
        ensure!(
            said.contains(returned),
            "{feature} ended with {code}: its unit should say {returned}: {said}"
        );
        switch.let_start(&unit)?;
        wait_another_run(switch, feature, &before)?;
        let now: u32 = property(switch, &unit, "NRestarts")?.parse()?;
        ensure!(now == restarts + 1, "{feature} was restarted {} times instead of once", now - restarts);
    }
    Ok(())
}

fn hangs(switch: &Switch) -> Result<()> {
    // As SONiC's own script of teamd, which gives it a minute.
    switch.drop_in(
        "lldp.service",
        "[Service]\nExecStop=\nExecStop=/usr/local/bin/container stop -t 3 lldp\n",
    )?;
    switch.payload("lldp", "hang")?;
    let start = Instant::now();
    switch.ok("system service stop lldp")?;
    let took = start.elapsed();
    expect(switch, "lldp", &down("inactive"))?;
    ensure!(took >= Duration::from_secs(3), "it had 3 s to stop, and was killed after {took:?}");
    ensure!(took < Duration::from_secs(9), "it had 3 s to stop, and it took {took:?}");
    let code = switch.ok("docker inspect --format '{{.State.ExitCode}}' lldp")?;
    ensure!(code == "137", "it should have been killed, and ended with {code}");
    switch.ok("system service start lldp")?;
    wait_local(switch, "lldp")
}

fn crash_loop(switch: &Switch) -> Result<()> {
    // Three starts in 20 minutes, as SONiC's units have it; only the wait in between is shortened.
    switch.drop_in("snmp.service", "[Service]\nRestartSec=200ms\n")?;
    switch.ok("systemctl reset-failed snmp")?;
    let before = starts(switch, "snmp")?;
    for crashes in 1..=4 {
        wait_local(switch, "snmp")?;
        switch.payload("snmp", "crash 1")?;
        let wanted = before + crashes;
        if crashes < 4 {
            switch.wait_until(&format!("start {crashes} of 3"), SOON, || {
                Ok(starts(switch, "snmp")? == wanted)
            })?;
        }
    }
    wait_for(switch, "snmp", &down("failed"), SOON)?;
    ensure!(starts(switch, "snmp")? == before + 3, "systemd allows three starts");
    let result = property(switch, "snmp.service", "Result")?;
    ensure!(result == "start-limit-hit" || result == "exit-code", "snmp failed for {result}");
    switch.refused("systemctl start snmp")?;
    expect(switch, "snmp", &down("failed"))?;

    // A person who asks for a start means it.
    switch.ok("system service start snmp")?;
    wait_local(switch, "snmp")
}

fn planned_restarts(switch: &Switch) -> Result<()> {
    for _ in 0..6 {
        let before = run(switch, "snmp")?;
        switch.ok("system service restart snmp")?;
        wait_another_run(switch, "snmp", &before)?;
    }
    for _ in 0..4 {
        switch.ok("system service stop snmp && system service start snmp")?;
        wait_local(switch, "snmp")?;
    }
    // Those that restart with it neither.
    for _ in 0..4 {
        let before = run(switch, "bgp")?;
        switch.ok("system service restart swss")?;
        wait_another_run(switch, "bgp", &before)?;
    }
    for instance in ["swss", "lldp", "snmp"] {
        wait_local(switch, instance)?;
    }
    Ok(())
}

fn stopped_while_starting(switch: &Switch) -> Result<()> {
    // The container runs already, and the start is not over: what SONiC's postStart does takes its time. systemd calls
    // no ExecStop then. Our command looks after that for any unit, a unit of our generator does so by itself, and the agent
    // for whatever is left. To systemd a start that was broken off has failed, unless the unit says that it has not.
    switch.ok("system service enable sflow")?;
    for (feature, stop, end) in [
        ("lldp", "system service stop", "failed"),
        ("sflow", "systemctl stop", "inactive"),
        ("snmp", "systemctl stop", "failed"),
    ] {
        wait_local(switch, feature)?;
        switch.ok(&format!("system service stop {feature}"))?;
        switch.drop_in(&format!("{feature}.service"), "[Service]\nExecStartPre=/bin/sleep 60\n")?;
        switch.ok(&format!("systemctl start --no-block {feature}"))?;
        let starting = local(feature).replace("; active;", "; activating;");
        wait_for(switch, feature, &starting, SOON)?;
        switch.ok(&format!("{stop} {feature}"))?;
        wait_for(switch, feature, &down(end), SOON)?;
    }
    Ok(())
}
