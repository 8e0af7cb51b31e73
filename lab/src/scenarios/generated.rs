//! Features that come from a short description: they live like SONiC's own, and go without trace.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::facts::{SOON, down, local, run, wait_another_run, wait_for, wait_local};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Switch;

/// The scenarios of this module.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a generated feature lives like any other, and its removal leaves the switch as it was",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: lives,
    },
    Scenario {
        // BI#24875, BI#29702.
        name: "a stop that comes while a feature starts leaves no container behind",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: stopped_while_starting,
    },
    Scenario {
        name: "a generated feature per ASIC has an instance in each namespace",
        switch: SwitchKind::TwoAsics,
        long: false,
        run: per_asic,
    },
];

/// The feature's own image is one of the lab's under another payload name.
fn description(scope: &str) -> String {
    format!(
        r#"
name = "probe"
image = "docker-snmp"
scope = [{scope}]
stop_timeout_seconds = 5
restart_delay_seconds = 2
state = "enabled"

[dependencies]
after = ["database@"]

[container]
arguments = ["--entrypoint", "/usr/bin/lab-payload"]
command = ["run", "probe"]
volumes = ["/run/payload:/run/payload"]
network = "host"
"#
    )
}

/// Everything on the switch that a feature's files, rows and containers could be found in.
const TRACES: &str = "find /etc /usr /var/lib/switchyard -xdev 2> /dev/null | sort
    cat /etc/sonic/generated_services.conf
    sonic-db-cli CONFIG_DB KEYS '*' | sort
    docker ps --all --format '{{.Names}}' | sort";

/// Installs the feature, lets the story happen, and takes it away whatever the story came to.
fn with_probe(switch: &Switch, scope: &str, story: impl FnOnce() -> Result<()>) -> Result<()> {
    switch.write("/tmp/probe.toml", &description(scope))?;
    switch.ok("switchyard generate install /tmp/probe.toml")?;
    let told = story();
    let removed = switch.ok("switchyard generate remove --force probe").map(drop);
    told.and(removed)
}

fn lives(switch: &Switch) -> Result<()> {
    let before = switch.ok(TRACES)?;
    with_probe(switch, "\"host\"", || {
        // featured sees the row and starts the unit.
        wait_local(switch, "probe")?;
        let first = run(switch, "probe")?;
        switch.ok("docker kill probe")?;
        wait_another_run(switch, "probe", &first)?;

        switch.ok("systemctl stop probe")?;
        wait_for(switch, "probe", &down("inactive"), SOON)?;
        let container = switch.ok("docker inspect --format '{{.Id}}' probe")?;
        switch.ok("systemctl start probe")?;
        wait_local(switch, "probe")?;
        let again = switch.ok("docker inspect --format '{{.Id}}' probe")?;
        ensure!(again == container, "nothing has changed, and yet the container was made anew");

        let changed = description("\"host\"")
            .replace("[container]", "[container]\nenvironment = { NEW = \"it's $5\" }");
        switch.write("/tmp/probe.toml", &changed)?;
        switch.ok("switchyard generate install /tmp/probe.toml && system service restart probe")?;
        wait_local(switch, "probe")?;
        let environment = switch.ok("docker inspect --format '{{.Config.Env}}' probe")?;
        ensure!(
            environment.contains("NEW=it's $5"),
            "the container has not the new environment: {environment}"
        );

        let refused =
            switch.refused("echo '# mine' >> /usr/bin/probe.sh && switchyard generate remove probe")?;
        ensure!(refused.stderr.contains("/usr/bin/probe.sh was changed"), "refused with {}", refused.stderr);
        wait_local(switch, "probe")
    })?;
    let after = switch.ok(TRACES)?;
    ensure!(after == before, "the removal left or took something: {}", differences(&before, &after));
    Ok(())
}

/// The moments are spread over the whole of a start, which takes some 200 ms here; each must end the same.
fn stopped_while_starting(switch: &Switch) -> Result<()> {
    with_probe(switch, "\"host\"", || {
        wait_local(switch, "probe")?;
        switch.ok("systemctl stop probe")?;
        for milliseconds in (0..40).step_by(4).chain((40..400).step_by(40)) {
            // Half of them make the container as well.
            let made = if milliseconds % 8 == 0 { "docker rm probe > /dev/null;" } else { "" };
            let wait = Duration::from_millis(milliseconds).as_secs_f64();
            switch.ok(&format!(
                "{made} systemctl reset-failed probe; systemctl start --no-block probe; sleep {wait}; systemctl stop probe"
            ))?;
            wait_for(switch, "probe", &down("inactive"), SOON)?;
        }
        Ok(())
    })
}

fn per_asic(switch: &Switch) -> Result<()> {
    with_probe(switch, "\"asic\"", || {
        for (asic, instance) in ["probe0", "probe1"].into_iter().enumerate() {
            wait_for(switch, instance, &local(instance), SOON)?;
            let seen = switch.ok(&format!(
                "docker inspect --format '{{{{.Config.Env}}}} {{{{.HostConfig.Binds}}}}' {instance}"
            ))?;
            for wanted in [format!("NAMESPACE_ID={asic}"), format!("/var/run/redis{asic}:/var/run/redis:rw")]
            {
                ensure!(seen.contains(&wanted), "{instance} has no {wanted}: {seen}");
            }
        }
        let host = switch.ok("systemctl is-active probe || true")?;
        ensure!(host != "active", "a feature without host scope has no instance on the host");
        Ok(())
    })
}

fn differences(before: &str, after: &str) -> String {
    let lines = |of: &str, than: &str| {
        of.lines().filter(|line| !than.lines().any(|other| other == *line)).collect::<Vec<_>>().join(", ")
    };
    format!("gone: [{}], left: [{}]", lines(before, after), lines(after, before))
}
