//! A feature that came from a description while the switch ran is one that a reboot brings back.

use anyhow::{Context, Result, ensure};

use super::facts::{UNTOUCHED, expect, run, wait_another_run, wait_local};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::{Boot, Switch};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "a generated feature is enabled, restarted, crashes, and is back after a reboot",
    switch: SwitchKind::SingleAsic,
    long: true,
    run: enabled_and_rebooted,
}];

const IMAGE: &str = "docker-beacon:1";
const DESCRIPTION: &str = r#"
name = "beacon"
image = "docker-beacon:1"
restart_delay_seconds = 2

[dependencies]
requires = ["database"]
after = ["database", "swss"]

[container]
volumes = ["/run/payload:/run/payload", "/run/switchyard:/run/switchyard"]
"#;

fn enabled_and_rebooted(switch: &Switch) -> Result<()> {
    // An image of its own, with the lab's payload behind our gate.
    switch.ok(&format!(
        "id=$(docker create docker-telemetry:latest) && \
         docker commit --change 'ENTRYPOINT [\"switchyard\",\"gate\",\"beacon\",\"--\",\"lab-payload\",\"run\",\"beacon\"]' \
           \"$id\" {IMAGE} > /dev/null && docker rm \"$id\""
    ))?;
    switch.write("/root/beacon.toml", DESCRIPTION)?;
    let told = switch.ok("switchyard generate install /root/beacon.toml").and_then(|_| story(switch));
    let removed = switch.ok(&format!(
        "switchyard generate remove --force beacon && docker rmi {IMAGE} && rm /root/beacon.toml && \
         echo '{{}}' > /etc/sonic/config_db.json"
    ));
    told.and(removed.map(drop))
}

fn story(switch: &Switch) -> Result<()> {
    // Nobody has asked for it yet.
    expect(switch, "beacon", UNTOUCHED)?;
    switch.ok("system service enable beacon")?;
    wait_local(switch, "beacon")?;
    for what in ["system service restart beacon", "lab-payload send beacon crash 3", "docker kill beacon"] {
        let before = run(switch, "beacon")?;
        switch.ok(what)?;
        wait_another_run(switch, "beacon", &before).with_context(|| format!("after {what}"))?;
    }
    let answer = switch
        .ok("switchyard generate list -o json | jq -r '.[] | select(.feature == \"beacon\").complete'")?;
    ensure!(answer == "true", "generate list says of the installation: {answer:?}");
    switch.ok("config save -y")?;
    switch.reboot(Boot::Cold)?;
    wait_local(switch, "beacon")
}
