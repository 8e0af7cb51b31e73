//! A container's life on a switch: cases 1, 7 to 11, 15 and 16 of seed 004.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{clean, code, make_file, refused, runs, show, story, tell, tpcm};
use crate::scenario::Scenario;
use crate::switch::{Boot, Switch, User};

pub(super) const SCENARIOS: &[Scenario] = &[
    story("tpcm: case 1, its service comes with the package and ends well without containers", service),
    story("tpcm: case 7, installs with different parameter combinations", parameters),
    story("tpcm: cases 8 and 10, uninstalls a running container with its service file", uninstall),
    story("tpcm: case 9, upgrades an installed container with its data, and rolls back", upgrade),
    story("tpcm: hooks carry data that is in no volume over an upgrade, unless --skip_data", hooks),
    story("tpcm: case 11, containers start by themselves after cold, warm and fast reboots", reboots),
    story("tpcm: case 15, lists all containers", list),
    story("tpcm: case 16, systemctl starts, stops and restarts a container", systemctl),
    story("tpcm: a second one waits for the lock, or says who holds it", lock),
    story("tpcm: a row of CONFIG_DB disables and enables what is installed, and no more", rows),
    story(
        "tpcm: the rows of a container that comes just after the last one went are followed",
        followed_anew,
    ),
    story("tpcm: config save and reload, and a replay of the configuration, know what is installed", reload),
    story("tpcm: the management VRF's rule is there while the VRF and a container are", management_vrf),
];

/// What a container may take to come up or go down.
const SOON: Duration = Duration::from_secs(30);

fn service(switch: &Switch) -> Result<()> {
    clean(switch)?;
    for unit in ["tpcm.service", "tpcm-next-boot.path"] {
        switch.wait_text(&format!("systemctl is-active {unit}"), "active", SOON)?;
    }
    // Nobody follows the rows of containers that there are not.
    switch.ok("systemctl start tpcm-apply.service")?;
    switch.wait_text("systemctl is-active tpcm-apply.service || true", "inactive", SOON)?;
    let since = switch.now()?;
    switch.ok("systemctl restart tpcm.service")?;
    let errors = switch.journal_of(&since, "--identifier=tpcm --priority=warning")?;
    ensure!(errors.is_empty(), "without containers tpcm.service says {errors}");
    let after = switch.ok("systemctl show --value --property=After,Requires tpcm.service")?;
    ensure!(after.matches("docker.service").count() == 2, "tpcm.service comes after {after}");
    let list = tpcm(switch, "list -o json")?;
    ensure!(list == "[]", "there is nothing, and the list says {list}");
    // Nothing was made on the partition either.
    switch.ok("[ ! -e /host/tpc ] || [ -z \"$(ls /host/tpc)\" ]").map(drop)
}

fn parameters(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let file = make_file(switch, "", "1")?;
        // Not asked first whether it is meant, and told the way out, where it would only look as well.
        for command in [format!("install story {file}"), "list".to_owned(), "show story".to_owned()] {
            let as_admin = switch.sh_as(User::Admin, &format!("tpcm {command}"))?;
            let says = &as_admin.stderr;
            ensure!(as_admin.status == code::DENIED, "{command} without root: {} {says}", as_admin.status);
            ensure!(says.contains("sudo"), "{command} without root says {says}");
        }
        refused(switch, &format!("install story {file}"), code::NOT_CONFIRMED, "-y")?;

        let planned = tpcm(switch, &format!("install story {file} --dry-run"))?;
        ensure!(planned.contains("create the container"), "the plan is {planned}");
        ensure!(!switch.sh("docker inspect story")?.success(), "a dry run made a container");

        // On a terminal it asks, and takes no for an answer.
        let no = switch.sh(&format!("echo n | script -qec 'tpcm install story {file}' /dev/null"))?;
        ensure!(no.status == code::NOT_CONFIRMED, "after a no: {} {}", no.status, no.stdout);
        let yes = switch.sh(&format!("echo y | script -qec 'tpcm install story {file}' /dev/null"))?;
        ensure!(yes.success(), "after a yes: {} {}", yes.status, yes.stdout);
        runs(switch, "story", "1")?;
        tpcm(switch, "uninstall story --purge -y")?;

        tpcm(
            switch,
            &format!(
                "install story {file} -y --after snmp --cpu 30% --memory 64M --disk 100M \
                 --args '-e \"GREETING=hello world\" --hostname tpc --label a=b -v /etc/sonic:/config:ro --tmpfs /scratch'"
            ),
        )?;
        runs(switch, "story", "1")?;
        let inside = switch.ok(
            "docker exec story sh -c 'echo \"$GREETING\"; cat /etc/hostname; ls /config/sonic_version.yml; \
             [ -d /tpc ] && [ -d /tpc_shared ] && echo both'",
        )?;
        ensure!(
            inside == "hello world\ntpc\n/config/sonic_version.yml\nboth",
            "the container was made with other arguments: {inside}"
        );
        let facts = switch
            .ok("docker inspect --format '{{.HostConfig.NetworkMode}} {{.HostConfig.Memory}}' story")?;
        ensure!(facts == "host 67108864", "network and memory are {facts}");
        let after = switch.ok("systemctl show --value --property=After story.service")?;
        ensure!(
            after.contains("snmp.service") && after.contains("docker.service"),
            "it starts after {after}"
        );
        tpcm(switch, "uninstall story --purge -y")?;

        tpcm(switch, &format!("install story {file} --no-shared -y -o json"))?;
        let mounts = switch.ok("docker inspect --format '{{json .HostConfig}}' story")?;
        ensure!(!mounts.contains("tpc_shared"), "the shared volume is mounted: {mounts}");

        for (arguments, words) in [
            ("--name other", "--name"),
            ("--restart always", "--restart"),
            ("-d", "-d"),
            ("--rm", "--rm"),
            ("--memory 1G", "--memory"),
            ("-e \"A=b", "quote"),
            ("-v /var/run/docker.sock:/var/run/docker.sock --frobnicate", "--frobnicate"),
        ] {
            let line = format!("install story2 {file} -y --args '{arguments}'");
            refused(switch, &line, code::ARGUMENTS, words)?;
        }
        refused(switch, &format!("install story2 {file} -y --cpu 120%"), code::USAGE, "120%")?;
        refused(switch, &format!("install story {file} -y"), code::REFUSED, "tpcm upgrade story").map(drop)
    })
}

fn uninstall(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let file = make_file(switch, "", "1")?;
        tpcm(switch, &format!("install story {file} -y"))?;
        switch.ok("docker exec story sh -c 'echo precious > /tpc/data'")?;
        refused(switch, "uninstall story", code::NOT_CONFIRMED, "-y")?;
        tpcm(switch, "uninstall story --dry-run")?;
        runs(switch, "story", "1")?;
        tpcm(switch, "uninstall story -y")?;
        let left = switch.ok("docker ps --all --quiet --filter name=^story$
             docker images --quiet tpc/story
             ls /etc/systemd/system | grep story
             systemctl list-units --all --plain --no-legend 'story*'; true")?;
        ensure!(left.is_empty(), "left after the uninstallation: {left}");
        let data = switch.ok("cat /host/tpc/story/data")?;
        ensure!(data == "precious", "without --purge the data stays, and is {data}");
        refused(switch, "uninstall story -y", code::NO_SUCH, "story")?;

        // What was kept is there again.
        tpcm(switch, &format!("install story {file} -y"))?;
        let data = switch.ok("docker exec story cat /tpc/data")?;
        ensure!(data == "precious", "installed again, it finds {data}");
        tpcm(switch, "uninstall story --purge -y")?;
        switch.ok("[ ! -e /host/tpc/story ]").map(drop)
    })
}

fn upgrade(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let (one, two) = (make_file(switch, "", "1")?, make_file(switch, "", "2")?);
        tpcm(switch, &format!("install story {one} -y --args '-e COLOUR=blue' --memory 64M"))?;
        switch.ok("docker exec story sh -c 'echo one > /tpc/data'")?;
        refused(switch, &format!("upgrade absent {two} -y"), code::NO_SUCH, "absent")?;
        let planned = tpcm(switch, &format!("upgrade story {two} --dry-run"))?;
        ensure!(planned.contains("set the private volume aside"), "the plan is {planned}");

        tpcm(switch, &format!("upgrade story {two} -y"))?;
        runs(switch, "story", "2")?;
        let kept = switch.ok("docker exec story sh -c 'cat /tpc/data; echo $COLOUR'")?;
        ensure!(kept == "one\nblue", "after the upgrade: {kept}");
        let shown = show(switch, "story")?;
        ensure!(shown["version"] == "2" && shown["before"]["version"] == "1", "tpcm show: {shown}");
        ensure!(shown["history"].as_array().is_some_and(|events| events.len() >= 2), "no history: {shown}");

        switch.ok("docker exec story sh -c 'echo two > /tpc/data'")?;
        tpcm(switch, "rollback story -y")?;
        runs(switch, "story", "1")?;
        let back = switch.ok("docker exec story cat /tpc/data")?;
        ensure!(back == "one", "the version before has the data {back}");
        // And forward again: the version before the rollback is what a rollback goes to.
        tpcm(switch, "rollback story -y")?;
        runs(switch, "story", "2")
    })
}

fn hooks(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let (one, two) = (make_file(switch, "-H", "1")?, make_file(switch, "-H", "2")?);
        let three = make_file(switch, "-H", "3")?;
        tpcm(switch, &format!("install story {one} -y"))?;
        switch.ok("test -x /host/tpc/story/hook/pre.sh")?;
        switch.ok("docker exec story sh -c 'echo layer > /data/file'")?;
        tpcm(switch, &format!("upgrade story {two} -y"))?;
        runs(switch, "story", "2")?;
        let carried = switch.ok("docker exec story cat /data/file")?;
        ensure!(carried == "layer", "the hooks carried {carried}");
        tpcm(switch, &format!("upgrade story {three} --skip_data -y"))?;
        runs(switch, "story", "3")?;
        ensure!(!switch.sh("docker exec story cat /data/file")?.success(), "--skip_data carried data over");
        Ok(())
    })
}

fn reboots(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let file = make_file(switch, "", "1")?;
        tpcm(switch, &format!("install story {file} -y --after snmp"))?;
        switch.ok("docker exec story sh -c 'echo layer > /data/file; echo volume > /tpc/data; sync'")?;
        for kind in [Boot::Cold, Boot::Warm, Boot::Fast] {
            switch.reboot(kind)?;
            switch.wait_text("systemctl is-active story.service", "active", SOON)?;
            runs(switch, "story", "1")?;
            let data = switch.ok("docker exec story sh -c 'cat /data/file /tpc/data'")?;
            ensure!(data == "layer\nvolume", "after a {kind:?} reboot: {data}");
        }
        switch.wait_finalized()?;
        tpcm(switch, "uninstall story --purge -y")?;
        // What was taken off does not come back.
        switch.reboot(Boot::Cold)?;
        switch.ok("systemctl is-active tpcm.service && ! docker inspect story > /dev/null 2>&1").map(drop)
    })
}

fn list(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let file = make_file(switch, "", "1")?;
        for name in ["story", "story-b", "story.c"] {
            tpcm(switch, &format!("install {name} {file} -y"))?;
        }
        switch.ok("systemctl stop story-b.service")?;
        let names = switch.ok("tpcm list -o json | jq -c '[.[] | [.name, .state]]'")?;
        ensure!(
            names == r#"[["story","running"],["story-b","stopped"],["story.c","running"]]"#,
            "the list is {names}"
        );
        let table = tpcm(switch, "list")?;
        ensure!(table.lines().count() == 5 && table.starts_with("Name"), "the table is\n{table}");
        // Everybody may ask, the plug-in of show as well.
        switch.ok_as(User::Admin, "sudo tpcm show story").map(drop)
    })
}

fn systemctl(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let file = make_file(switch, "", "1")?;
        tpcm(switch, &format!("install story {file} -y"))?;
        let started = "docker inspect --format '{{.State.StartedAt}}' story";
        let before = switch.ok(started)?;
        switch.ok("systemctl restart story.service")?;
        runs(switch, "story", "1")?;
        ensure!(switch.ok(started)? != before, "restart did not start it anew");
        switch.ok("systemctl stop story.service")?;
        let running = "docker inspect --format '{{.State.Running}}' story";
        ensure!(switch.ok(running)? == "false", "it runs after systemctl stop");
        switch.ok("systemctl start story.service")?;
        runs(switch, "story", "1")?;
        // One that dies is started again.
        let before = switch.ok(started)?;
        switch.ok("docker kill story")?;
        switch.wait_until("systemd starts it again", SOON, || {
            Ok(switch.ok(running)? == "true" && switch.ok(started)? != before)
        })
    })
}

fn lock(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let (one, two) = (make_file(switch, "", "1")?, make_file(switch, "", "2")?);
        tpcm(switch, &format!("install story {one} -y"))?;
        // Somebody holds it, as another tpcm would.
        let held = switch
            .sh(&format!("exec 9<> /host/tpc/.store/lock; flock 9; tpcm --no-wait upgrade story {two} -y"))?;
        ensure!(held.status == code::LOCKED, "the lock is held: {} {}", held.status, held.stderr);
        let both = switch.ok(&format!(
            "tpcm upgrade story {two} -y > /dev/null & first=$!
             tpcm install story-b {one} -y; second=$?; wait $first; echo $? $second"
        ))?;
        ensure!(both.ends_with("0 0"), "one after the other they end with {both}");
        runs(switch, "story", "2")?;
        runs(switch, "story-b", "1")
    })
}

fn rows(switch: &Switch) -> Result<()> {
    let row = |fields: &str| {
        switch.ok(&format!("sonic-db-cli CONFIG_DB HSET 'TPC|story' {fields} > /dev/null")).map(drop)
    };
    let told = tell(switch, || {
        let file = make_file(switch, "", "1")?;
        tpcm(switch, &format!("install story {file} -y"))?;
        let state = switch.ok("sonic-db-cli CONFIG_DB HGET 'TPC|story' state")?;
        ensure!(state == "enabled", "the row says {state}");
        let state = switch.ok("sonic-db-cli STATE_DB HGET 'TPC|story' state")?;
        ensure!(state == "running", "STATE_DB says {state}");
        // Whoever wrote the row has to run nothing.
        switch.wait_text("systemctl is-active tpcm-apply.service", "active", SOON)?;
        row("state disabled")?;
        switch.wait_text("docker inspect --format '{{.State.Running}}' story", "false", SOON)?;
        row("state enabled cpu 40% memory 96M")?;
        switch.wait_text("docker inspect --format '{{.HostConfig.Memory}}' story", "100663296", SOON)?;
        switch.wait_text("systemctl is-active story.service", "active", SOON)?;
        // What an operator has stopped stays so, whatever another row says.
        switch.ok("systemctl stop story.service")?;
        // It enables and limits; it does not make.
        let since = switch.now()?;
        switch.ok("sonic-db-cli CONFIG_DB HSET 'TPC|story-b' state enabled image story:1 > /dev/null")?;
        switch.wait_until("the row of nothing is told of", SOON, || {
            Ok(switch
                .journal_of(&since, "--unit=tpcm-apply")?
                .contains("TPC|story-b: there is no third-party container"))
        })?;
        ensure!(!switch.sh("docker inspect story-b")?.success(), "a row installed a container");
        let active = switch.sh("systemctl is-active story.service")?;
        ensure!(active.text() == "inactive", "a row of another started story: {}", active.text());
        switch.ok("systemctl start story.service")?;
        row("memory 900G")?;
        let more = switch.sh("tpcm apply")?;
        ensure!(more.status == code::LIMITS, "a row that asks for too much: {} {}", more.status, more.stderr);
        runs(switch, "story", "1")
    });
    switch.ok("sonic-db-cli CONFIG_DB DEL 'TPC|story' 'TPC|story-b'")?;
    told
}

fn reload(switch: &Switch) -> Result<()> {
    let told = tell(switch, || {
        let file = make_file(switch, "", "1")?;
        for name in ["story", "story-b"] {
            tpcm(switch, &format!("install {name} {file} -y --cpu 10% --memory 64M"))?;
        }
        let facts = "for name in story story-b; do
             docker inspect --format '{{.Name}} {{.State.StartedAt}} {{.HostConfig.Memory}}' $name
             sonic-db-cli CONFIG_DB HGETALL \"TPC|$name\" | xargs -n2 | sort
           done";
        let before = switch.ok(facts)?;
        ensure!(before.contains("64M") && before.contains("enabled"), "the rows are {before}");
        switch.ok("config save -y && config reload -y")?;
        // The rows are there again, and whoever follows them has looked at them.
        switch.wait_text("sonic-db-cli CONFIG_DB GET CONFIG_DB_INITIALIZED", "1", SOON)?;
        tpcm(switch, "apply")?;
        let after = switch.ok(facts)?;
        ensure!(after == before, "before the reload it was {before}, after it {after}");

        // Another configuration: one row stops its container, the other one asks for more than there is.
        let since = switch.now()?;
        switch.ok(
            "cd /etc/sonic && jq '.TPC.story.state = \"disabled\" | .TPC[\"story-b\"].memory = \"900G\"' \
                 config_db.json > other.json && mv other.json config_db.json && config reload -y",
        )?;
        switch.wait_text("docker inspect --format '{{.State.Running}}' story", "false", SOON)?;
        switch.wait_until("the row that asks for too much is told of", SOON, || {
            Ok(switch.journal_of(&since, "--unit=tpcm-apply")?.contains("900G of memory"))
        })?;
        let unharmed = switch.ok(facts)?;
        let of_b =
            |facts: &str| facts.lines().find(|line| line.starts_with("/story-b ")).map(ToOwned::to_owned);
        ensure!(of_b(&unharmed) == of_b(&before), "it was {before}, and is {unharmed}");
        runs(switch, "story-b", "1")?;
        let state = show(switch, "story")?["state"].clone();
        ensure!(state == "stopped", "disabled by its row it is {state}");
        // And back.
        switch.ok("sonic-db-cli CONFIG_DB HSET 'TPC|story' state enabled > /dev/null")?;
        switch.wait_text("systemctl is-active story.service || true", "active", SOON)?;
        runs(switch, "story", "1")?;
        // By now the rows have been looked at once more, with other sums as story has its memory back.
        let told = switch.journal_of(&since, "--unit=tpcm-apply")?;
        let complaints: Vec<_> = told.lines().filter_map(|line| line.split_once("CONFIG_DB TPC|")).collect();
        let different: BTreeSet<_> = complaints.iter().map(|(_, complaint)| complaint).collect();
        ensure!(different.len() == complaints.len(), "the same is told more than once: {told}");
        Ok(())
    });
    switch.ok("sonic-db-cli CONFIG_DB DEL 'TPC|story' 'TPC|story-b'")?;
    told
}

/// Whoever follows the rows ends with the last container, after a while: not under one that comes meanwhile.
fn followed_anew(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let file = make_file(switch, "", "1")?;
        tpcm(switch, &format!("install story {file} -y"))?;
        switch.wait_text("systemctl is-active tpcm-apply.service", "active", SOON)?;
        switch.ok(&format!("tpcm uninstall story --purge -y && tpcm install story {file} -y"))?;
        switch.ok("sonic-db-cli CONFIG_DB HSET 'TPC|story' state disabled > /dev/null")?;
        switch.wait_text("docker inspect --format '{{.State.Running}}' story", "false", SOON)?;
        tpcm(switch, "uninstall story --purge -y")?;
        switch.wait_text("systemctl is-active tpcm-apply.service || true", "inactive", SOON)
    })
}

fn management_vrf(switch: &Switch) -> Result<()> {
    // ifupdown2 names the table so where SONiC has made the VRF.
    const TABLE: &str = "/etc/iproute2/rt_tables.d/story.conf";
    const RULE: &str = "ip rule show pref 32768; ip -6 rule show pref 32768";
    let configured = |fields: &str| switch.ok(&format!("sonic-db-cli CONFIG_DB {fields} > /dev/null"));
    switch.ok(&format!("mkdir -p $(dirname {TABLE}) && echo 5000 mgmt > {TABLE}"))?;
    let there = "32768:\tfrom all lookup mgmt\n32768:\tfrom all lookup mgmt";
    let told = tell(switch, || {
        let file = make_file(switch, "", "1")?;
        tpcm(switch, &format!("install story {file} -y"))?;
        switch.wait_text("systemctl is-active tpcm-apply.service", "active", SOON)?;
        switch.wait_text(RULE, "", SOON)?;
        configured("HSET 'MGMT_VRF_CONFIG|vrf_global' mgmtVrfEnabled true")?;
        switch.wait_text(RULE, there, SOON)?;
        configured("HSET 'MGMT_VRF_CONFIG|vrf_global' mgmtVrfEnabled false")?;
        switch.wait_text(RULE, "", SOON)?;
        configured("HSET 'MGMT_VRF_CONFIG|vrf_global' mgmtVrfEnabled true")?;
        switch.wait_text(RULE, there, SOON)?;
        // The kernel forgets it at every boot, where the container's start puts it right.
        switch.ok("ip rule del pref 32768; ip -6 rule del pref 32768; systemctl restart story.service")?;
        switch.wait_text(RULE, there, SOON)?;
        tpcm(switch, "uninstall story --purge -y")?;
        switch.wait_text(RULE, "", SOON)
    });
    configured("DEL 'MGMT_VRF_CONFIG|vrf_global'")?;
    switch.ok(&format!("rm {TABLE}"))?;
    told
}
