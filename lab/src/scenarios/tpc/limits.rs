//! Processor, memory and disk: case 14 of seed 004.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{code, make_file, refused, runs, show, story, tell, tpcm};
use crate::scenario::Scenario;
use crate::switch::Switch;

pub(super) const SCENARIOS: &[Scenario] = &[
    story("tpcm: case 14, limits processors, memory and disk, and tells what they do", limits),
    story("tpcm: reservations are admitted, or refused with the sums", admission),
];

const SOON: Duration = Duration::from_secs(30);

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

        let before = switch.ok("docker inspect --format '{{.State.StartedAt}}' story")?;
        tpcm(switch, "resources story --cpu 10% --memory 48M -y")?;
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
        switch.ok("rm /host/tpc/story/burn; touch /host/tpc/story/eat")?;
        switch.wait_until("it is said to have been killed for its memory", SOON, || {
            Ok(show(switch, "story")?.to_string().contains("limit --memory"))
        })?;
        switch.wait_text("systemctl is-active story.service", "active", SOON)?;

        let enforced = show(switch, "story")?["usage"]["disk_enforced"].clone();
        ensure!(
            enforced.as_str().is_some_and(|how| !how.is_empty()),
            "it is not said how disk is kept: {enforced}"
        );
        runs(switch, "story", "1")
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
