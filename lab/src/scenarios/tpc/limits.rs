//! Processor, memory and disk: case 14 of seed 004.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{DEFAULTS, code, long_story, make_file, refused, runs, show, story, tell, tpcm};
use crate::scenario::Scenario;
use crate::switch::Switch;

pub(super) const SCENARIOS: &[Scenario] = &[
    story("tpcm: case 14, limits processors, memory and disk, and tells what they do", limits),
    story("tpcm: reservations are admitted, or refused with the sums", admission),
    story("tpcm: one that no longer fits under a cap that was lowered is not started", lowered_cap),
    story("tpcm: a new version starts by its own limits, and the old one again by what it had", new_limits),
    long_story(
        "tpcm: one that writes beyond its disk limit is warned about, and stopped with the reason",
        disk,
    ),
];

const SOON: Duration = Duration::from_secs(30);

/// When `story` was started last.
const STARTED: &str = "docker inspect --format '{{.State.StartedAt}}' story";

/// Burns, then eats, as it is told through its volume.
const GREEDY: &str = "trap \"exit 0\" TERM
[ ! -e /tpc/burn ] || while :; do :; done &
while [ ! -e /tpc/eat ]; do sleep 0.2; done
rm /tpc/eat
exec dd if=/dev/zero of=/dev/null bs=200M";

fn limits(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let file = make_file(switch, &format!("-p '{GREEDY}'"), "1")?;
        tpcm(switch, &format!("install story {file} -y --memory 32M --disk 20M"))?;
        let processors: u64 = switch.ok("nproc")?.parse()?;
        let cpu: u64 = switch.ok("docker inspect --format '{{.HostConfig.NanoCpus}}' story")?.parse()?;
        ensure!(cpu == processors * 200_000_000, "a fifth of {processors} processors became {cpu}");
        let limits = show(switch, "story")?["limits"].clone();
        ensure!(limits["cpu"] == "20%", "tpcm show says {limits}");

        let before = switch.ok(STARTED)?;
        // Less than its fair share on any machine, however much else there is to do.
        tpcm(switch, "resources story --cpu 4% --memory 48M -y")?;
        let now = switch.ok("docker inspect --format '{{.State.StartedAt}} {{.HostConfig.Memory}}' story")?;
        ensure!(now == format!("{before} 50331648"), "new limits, and it was {before}, is {now}");

        // Slow because of its limit, and it says so.
        switch.ok("touch /host/tpc/story/burn && systemctl restart story.service")?;
        switch.wait_until("it is said to be throttled", SOON, || {
            let usage = show(switch, "story")?["usage"].clone();
            Ok(usage["throttled"].as_u64().is_some_and(|times| times > 0)
                && usage["remarks"].to_string().contains("--cpu"))
        })?;
        // Dead because of its limit, and it says so.
        let before = switch.ok(STARTED)?;
        switch.ok("rm /host/tpc/story/burn; touch /host/tpc/story/eat")?;
        switch.wait_until("it is said to have been killed for its memory", SOON, || {
            Ok(show(switch, "story")?.to_string().contains("limit --memory"))
        })?;
        // That is known before systemd knows of the end: until then the unit is active as it was.
        switch.wait_until("it is started anew", SOON, || Ok(switch.ok(STARTED)? != before))?;
        switch.wait_text("systemctl is-active story.service", "active", SOON)?;

        let enforced = show(switch, "story")?["usage"]["disk_enforced"].clone();
        ensure!(
            enforced.as_str().is_some_and(|how| !how.is_empty()),
            "it is not said how disk is kept: {enforced}"
        );
        runs(switch, "story", "1")?;

        // Beyond its disk limit it is not started, and it says so.
        fill(switch, 24)?;
        let over = switch.sh("systemctl restart story.service")?;
        ensure!(!over.success(), "it was started beyond its disk limit");
        tells_the_disk(switch)?;
        switch.ok("rm /host/tpc/story/large; systemctl start story.service")?;
        runs(switch, "story", "1")
    })
}

/// The container's own data, in megabytes.
fn fill(switch: &Switch, megabytes: u32) -> Result<()> {
    switch.ok(&format!("head -c {megabytes}M /dev/urandom > /host/tpc/story/large")).map(drop)
}

fn tells_the_disk(switch: &Switch) -> Result<()> {
    let shown = show(switch, "story")?;
    let reason = shown["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains("its limit --disk 20M"), "tpcm show gives the reason {reason:?}: {shown}");
    let state = switch.ok("docker inspect --format '{{.State.Running}}' story")?;
    ensure!(state == "false", "beyond its limit it runs");
    Ok(())
}

/// The disk is looked at every minute.
const MEASURED: Duration = Duration::from_secs(90);

fn disk(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let file = make_file(switch, "", "1")?;
        tpcm(switch, &format!("install story {file} -y --disk 20M"))?;
        let since = switch.now()?;
        let logged = |words: &str| {
            switch.wait_until(&format!("the log says {words:?}"), MEASURED, || {
                Ok(switch.journal_of(&since, "--identifier=tpcm")?.contains(words))
            })
        };
        fill(switch, 19)?;
        logged("of its limit --disk 20M; above it, it is stopped")?;
        runs(switch, "story", "1")?;
        fill(switch, 24)?;
        logged("together more than its limit --disk 20M")?;
        switch.wait_text("systemctl is-active story.service || true", "failed", SOON)?;
        tells_the_disk(switch)?;
        let state = switch.ok("sonic-db-cli STATE_DB HGET 'TPC|story' reason")?;
        ensure!(state.contains("--disk 20M"), "STATE_DB gives the reason {state:?}");
        // As it says: with more it runs again.
        tpcm(switch, "resources story --disk 40M -y")?;
        switch.ok("systemctl start story.service")?;
        runs(switch, "story", "1")
    })
}

fn lowered_cap(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let file = make_file(switch, "", "1")?;
        for name in ["story", "story-b"] {
            tpcm(switch, &format!("install {name} {file} -y --cpu 35%"))?;
        }
        let before = switch.ok(STARTED)?;
        switch.write(DEFAULTS, r#"{ "cap": { "cpu": "50%" } }"#)?;
        let since = switch.now()?;
        let refused = switch.sh("systemctl restart story-b.service")?;
        ensure!(!refused.success(), "70% of the processors were started under a cap of 50%");
        let sums = "story-b asks for 35% of the processors, but 35% of at most 50% are reserved (story 35%)";
        let shown = show(switch, "story-b")?;
        ensure!(
            shown["state"] == "failed" && shown["reason"].to_string().contains(sums),
            "tpcm show does not tell the sums: {shown}"
        );
        let log = switch.journal_of(&since, "--identifier=tpcm")?;
        ensure!(log.contains(sums), "the log does not tell the sums: {log}");
        ensure!(switch.ok(STARTED)? == before, "it took the other one along");
        tpcm(switch, "resources story-b --cpu 15% -y")?;
        switch.ok("systemctl start story-b.service")?;
        runs(switch, "story-b", "1")
    })
}

fn new_limits(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let (one, two) = (make_file(switch, "", "1")?, make_file(switch, "", "2")?);
        let dies = make_file(switch, "-p 'exit 3'", "3")?;
        for name in ["story", "story-b"] {
            tpcm(switch, &format!("install {name} {one} -y --cpu 35%"))?;
        }
        switch.write(DEFAULTS, r#"{ "cap": { "cpu": "50%" }, "stays_up": 30 }"#)?;
        refused(switch, &format!("upgrade story-b {dies} --cpu 15% -y"), code::DOES_NOT_RUN, "story-b")?;
        runs(switch, "story-b", "1")?;
        switch.write(DEFAULTS, r#"{ "cap": { "cpu": "50%" }, "stays_up": 2 }"#)?;
        tpcm(switch, &format!("upgrade story-b {two} --cpu 15% -y"))?;
        runs(switch, "story-b", "2")
    })
}

fn admission(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let file = make_file(switch, "", "1")?;
        tpcm(switch, &format!("install story {file} -y --cpu 50%"))?;
        // All together may have 80%.
        refused(switch, &format!("install story-b {file} -y --cpu 40%"), code::LIMITS, "80%")?;
        refused(switch, &format!("install story-b {file} -y --memory 900G"), code::LIMITS, "memory")?;
        refused(switch, "resources story --cpu 90% -y", code::LIMITS, "80%")?;
        tpcm(switch, &format!("install story-b {file} -y --cpu 30%"))?;
        runs(switch, "story-b", "1")?;
        tpcm(switch, "uninstall story-b --purge -y")?;

        // A machine's own defaults.
        switch
            .write("/host/tpc/.store/defaults.json", r#"{ "limits": { "cpu": "5%", "memory": "24M" } }"#)?;
        tpcm(switch, &format!("install story-b {file} -y"))?;
        let limits = show(switch, "story-b")?["limits"].clone();
        ensure!(limits["cpu"] == "5%" && limits["memory"] == "24M", "the defaults became {limits}");
        switch.ok("rm /host/tpc/.store/defaults.json").map(drop)
    })
}
