//! On a switch with two ASICs each instance is its own, with its row in its own namespace.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::facts::{
    SOON, down, expect, last, local, property, run, unit, wait_another_run, wait_for, wait_local,
};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::{Switch, User};

/// The scenarios of this module.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "each ASIC's instance has its row in the Redis of its own namespace",
        switch: SwitchKind::TwoAsics,
        long: false,
        run: own_rows,
    },
    Scenario {
        name: "stopping the instance of one ASIC leaves the other's alone",
        switch: SwitchKind::TwoAsics,
        long: false,
        run: one_alone,
    },
    Scenario {
        name: "system service takes a feature's name for all its instances and an instance's for itself",
        switch: SwitchKind::TwoAsics,
        long: false,
        run: all_or_one,
    },
    Scenario {
        name: "stopping the swss of one ASIC stops what needs it there, and what the host shares",
        switch: SwitchKind::TwoAsics,
        long: false,
        run: dependents_of_one_asic,
    },
    Scenario {
        name: "an image per ASIC that asks at the door says in its own namespace what it is",
        switch: SwitchKind::TwoAsics,
        long: false,
        run: at_the_door_of_each_asic,
    },
    Scenario {
        name: "what one ASIC loses comes back there alone, and config reload brings back both",
        switch: SwitchKind::TwoAsics,
        long: false,
        run: lost_by_one_asic,
    },
];

/// As SONiC's images with the start-up call do, one that is made for each ASIC has only its namespace's databases.
const PER_ASIC: &str = r#"
name = "probe"
image = "docker-probe:1"
scope = ["asic"]
restart_delay_seconds = 2
state = "enabled"

[dependencies]
after = ["database@"]

[container]
volumes = ["/run/payload:/run/payload", "/run/switchyard:/run/switchyard"]
network = "host"
"#;

const INSTANCES: [&str; 4] = ["swss0", "swss1", "bgp0", "bgp1"];

fn own_rows(switch: &Switch) -> Result<()> {
    for instance in INSTANCES {
        wait_local(switch, instance)?;
        ensure!(
            switch.ok(&format!("container id {instance}"))? == instance,
            "the id of {instance} is its name"
        );
    }
    // The host's own Redis knows what the feature's wish is, and nothing of who runs an instance of an ASIC.
    for feature in ["swss", "bgp"] {
        let owner = switch.ok(&format!("sonic-db-cli STATE_DB HGET 'FEATURE|{feature}' current_owner"))?;
        ensure!(owner.is_empty(), "the host's row of {feature} names an owner: {owner}");
    }
    // No row is kept under an instance's name anywhere.
    let strange = switch.ok(
        "for n in '' '-n asic0' '-n asic1'; do sonic-db-cli $n STATE_DB KEYS 'FEATURE|*'; done | grep '[0-9]$' || true",
    )?;
    ensure!(strange.is_empty(), "rows under the names of instances: {strange}");
    wait_local(switch, "lldp")
}

fn one_alone(switch: &Switch) -> Result<()> {
    let other = run(switch, "bgp1")?;
    switch.ok("systemctl stop bgp@0")?;
    expect(switch, "bgp0", &down("inactive"))?;
    expect(switch, "bgp1", &local("bgp1"))?;
    ensure!(run(switch, "bgp1")? == other, "bgp1 was touched");
    switch.ok("systemctl start bgp@0")?;
    wait_local(switch, "bgp0")?;

    // `wait` is about the instance that was named, and so is the end of it.
    let (zero, one) = (run(switch, "bgp0")?, run(switch, "bgp1")?);
    switch.hold_starts("bgp@1.service")?;
    let returned = switch.ok_as(
        User::Admin,
        "container wait bgp1 & wait=$!; until ls -l /proc/$wait/fd | grep -q bgp1.lock; do sleep 0.05; done; \
         lab-payload send bgp0 log hello > /dev/null; kill -0 $wait && \
         lab-payload send bgp1 crash 3 > /dev/null; timeout 5 tail --pid=$wait --follow /dev/null; wait $wait; echo $?",
    )?;
    ensure!(returned == "255", "bgp1 ended with 3: wait returned {returned}");
    wait_for(switch, "bgp1", &down("activating"), SOON)?;
    ensure!(run(switch, "bgp0")? == zero, "bgp0 was touched");
    switch.let_start("bgp@1.service")?;
    wait_another_run(switch, "bgp1", &one)
}

fn all_or_one(switch: &Switch) -> Result<()> {
    let (zero, one) = (run(switch, "bgp0")?, run(switch, "bgp1")?);
    switch.ok("system service restart bgp")?;
    wait_another_run(switch, "bgp0", &zero)?;
    wait_another_run(switch, "bgp1", &one)?;

    let (zero, one) = (run(switch, "bgp0")?, run(switch, "bgp1")?);
    switch.ok("system service restart bgp1")?;
    wait_another_run(switch, "bgp1", &one)?;
    ensure!(run(switch, "bgp0")? == zero, "only bgp1 was named, and bgp0 was restarted");

    switch.ok("system service stop bgp")?;
    for instance in ["bgp0", "bgp1"] {
        expect(switch, instance, &down("inactive"))?;
    }
    switch.ok("system service start bgp@1")?;
    wait_local(switch, "bgp1")?;
    expect(switch, "bgp0", &down("inactive"))?;
    switch.ok("system service start bgp")?;
    wait_local(switch, "bgp0")?;

    switch.ok("system service disable bgp")?;
    for instance in ["bgp0", "bgp1"] {
        expect(switch, instance, &down("inactive"))?;
    }
    switch.ok("system service enable bgp")?;
    for instance in ["bgp0", "bgp1"] {
        wait_local(switch, instance)?;
    }
    Ok(())
}

fn dependents_of_one_asic(switch: &Switch) -> Result<()> {
    let other = run(switch, "bgp1")?;
    switch.ok("system service stop swss0")?;
    for instance in ["swss0", "bgp0", "lldp"] {
        expect(switch, instance, &down("inactive"))?;
    }
    expect(switch, "bgp1", &local("bgp1"))?;
    switch.ok("system service start swss0")?;
    for instance in ["swss0", "bgp0", "lldp"] {
        wait_local(switch, instance)?;
    }
    ensure!(
        last(switch, "bgp0", "acquired")? > last(switch, "swss0", "acquired")?,
        "bgp0 needs swss0 and should have come up after it"
    );
    ensure!(run(switch, "bgp1")? == other, "bgp1 was touched");
    Ok(())
}

fn at_the_door_of_each_asic(switch: &Switch) -> Result<()> {
    switch.ok(
        "id=$(docker create docker-bgp:latest) && docker commit --change 'ENV IMAGE_VERSION=1.2.3' --change \
           'ENTRYPOINT [\"switchyard\",\"gate\",\"probe\",\"--\",\"lab-payload\",\"run\",\"probe\"]' \"$id\" \
           docker-probe:1 > /dev/null; docker rm \"$id\" > /dev/null",
    )?;
    switch.write("/tmp/probe.toml", PER_ASIC)?;
    let told = switch.ok("switchyard generate install /tmp/probe.toml").and_then(|_| each_says(switch));
    // The label is no row of the feature's, so it stays.
    let removed = switch.ok("switchyard generate remove --force probe; docker rmi docker-probe:1 > /dev/null
         for n in asic0 asic1; do sonic-db-cli -n $n STATE_DB HDEL 'KUBE_LABELS|SET' probe_local; done");
    told.and(removed.map(drop))
}

fn each_says(switch: &Switch) -> Result<()> {
    for (instance, namespace) in [("probe0", "asic0"), ("probe1", "asic1")] {
        wait_local(switch, instance)?;
        let version = switch.state(instance, "container_version")?;
        ensure!(version == "1.2.3", "the row of {instance} says of its version: {version:?}");
        let label =
            switch.ok(&format!("sonic-db-cli -n {namespace} STATE_DB HGET 'KUBE_LABELS|SET' probe_local"))?;
        ensure!(label == "1.2.3", "the label of {instance}'s version is {label:?}");
    }
    let host = switch.ok("sonic-db-cli STATE_DB HGET 'KUBE_LABELS|SET' probe_local")?;
    ensure!(host.is_empty(), "the host's own label speaks of a local image: {host}");
    Ok(())
}

fn lost_by_one_asic(switch: &Switch) -> Result<()> {
    let life = |instance: &str| -> Result<String> {
        Ok(format!("{} {}", run(switch, instance)?, property(switch, &unit(instance), "MainPID")?))
    };
    let (zero, one) = (life("bgp0")?, life("bgp1")?);
    switch.ok("sonic-db-cli -n asic1 STATE_DB FLUSHDB")?;
    // Nobody announces a flush: the safety check finds it.
    for instance in ["swss1", "bgp1"] {
        wait_for(switch, instance, &local(instance), Duration::from_mins(1))?;
    }
    switch.wait_text("sonic-db-cli -n asic1 STATE_DB HGET 'FEATURE|bgp' container_version", "1.0.0", SOON)?;
    ensure!(life("bgp1")? == one, "a row that is lost is no reason to restart bgp1");
    ensure!(life("bgp0")? == zero, "bgp0 was touched by what asic1 lost");
    // It is not told of a flush either, and has to record its outcomes anew.
    switch.ok("systemctl restart featured")?;
    switch.wait_text("sonic-db-cli -n asic1 STATE_DB HGET 'FEATURE|bgp' state", "enabled", SOON)?;

    let before = run(switch, "bgp1")?;
    switch.ok("docker kill bgp1")?;
    wait_another_run(switch, "bgp1", &before)?;
    ensure!(life("bgp0")? == zero, "bgp0 was touched by the end of bgp1");

    let before = INSTANCES.iter().map(|instance| run(switch, instance)).collect::<Result<Vec<_>>>()?;
    switch.ok_as(User::Admin, "sudo config reload -y")?;
    switch.wait_features()?;
    for (instance, before) in INSTANCES.iter().zip(&before) {
        wait_another_run(switch, instance, before)?;
    }
    wait_local(switch, "lldp")?;
    let failed = switch.ok("systemctl --failed --plain --no-legend")?;
    ensure!(failed.is_empty(), "after the reload these had failed: {failed}");
    Ok(())
}
