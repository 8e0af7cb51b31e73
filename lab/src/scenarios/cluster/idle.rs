//! How often the idle agent of a member wakes up, and what for.
//!
//! The kernel says how often each of its threads went to sleep. To wake up once can take several of these: an answer of
//! Redis is waited for, a handshake has many steps. So a wake-up is counted where a process that slept for [`ASLEEP`] runs
//! again; what for it says itself, in its log, at the level `debug`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::member::Member;
use crate::command;

/// How long nothing happens while wake-ups are counted.
const IDLE: Duration = Duration::from_mins(5);
/// From here on a process that does not run is asleep, and does not merely wait for an answer.
const ASLEEP: Duration = Duration::from_millis(200);
/// How often the kernel is asked.
const LOOK: Duration = Duration::from_millis(10);
/// How far apart a wake-up and its line in the log may be, on a machine with other work.
const BESIDE: f64 = 0.3;
/// What a line says before the reason.
const WOKE: &str = "woke: ";
const DROP_IN: &str = "/run/systemd/system/ctrmgrd.service.d/bench.conf";

/// Counts, with the agent's log made to say the reasons.
pub(super) fn figures(member: &Member<'_>) -> Result<Value> {
    let switch = member.switch;
    switch.ok(&format!(
        "mkdir -p $(dirname {DROP_IN}) && printf '[Service]\\nEnvironment=SWITCHYARD_LOG=debug\\n' > {DROP_IN} &&
         systemctl daemon-reload && systemctl restart ctrmgrd"
    ))?;
    let counted = member.wait_connected(true).and_then(|()| count(member));
    switch.ok(&format!("rm {DROP_IN} && systemctl daemon-reload && systemctl restart ctrmgrd"))?;
    member.wait_connected(true)?;
    counted
}

fn count(member: &Member<'_>) -> Result<Value> {
    let process = process(member)?;
    let (begin, mark) = (Instant::now(), member.switch.now()?);
    let woken = watch(&process)?;
    let seconds = begin.elapsed().as_secs_f64();
    let log = member.switch.journal_of(&mark, "--identifier=switchyard --output=short-unix")?;
    let said: Vec<_> = log.lines().filter_map(reason).collect();
    let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
    for at in &woken {
        let near = said.iter().filter(|(when, _)| (when - at).abs() < BESIDE);
        let nearest = near.min_by(|(a, _), (b, _)| (a - at).abs().total_cmp(&(b - at).abs()));
        *reasons.entry(nearest.map_or("not said", |(_, why)| why)).or_default() += 1;
    }
    let a_minute = |times: f64| times * 60.0 / seconds;
    let reasons: BTreeMap<_, _> =
        reasons.into_iter().map(|(why, times)| (why, a_minute(f64::from(times)))).collect();
    Ok(json!({
        "seconds": seconds.round(),
        "wake_ups_a_minute": a_minute(f64::from(u32::try_from(woken.len())?)),
        "reasons": reasons,
    }))
}

/// The agent's process as the machine sees it.
fn process(member: &Member<'_>) -> Result<PathBuf> {
    let inside = member.switch.ok("systemctl show --value --property MainPID ctrmgrd")?;
    let init = command::run("docker", &["inspect", "--format", "{{.State.Pid}}", member.switch.name()])?;
    let space = |process: &Path| fs::read_link(process.join("ns/pid"));
    let ours = space(&Path::new("/proc").join(init.text()))?;
    let is_it = |process: &PathBuf| {
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        let pid = status
            .lines()
            .find(|line| line.starts_with("NSpid:"))
            .and_then(|line| line.split_whitespace().last());
        pid == Some(inside.as_str()) && space(process).is_ok_and(|space| space == ours)
    };
    let mut processes = fs::read_dir("/proc")?.filter_map(|entry| Some(entry.ok()?.path()));
    processes.find(is_it).context("the agent's process is not to be found on the machine")
}

/// When it woke up, in seconds since the epoch.
fn watch(process: &Path) -> Result<Vec<f64>> {
    let end = Instant::now() + IDLE;
    let (mut before, mut moved) = (slept(process)?, Instant::now());
    let mut woken = Vec::new();
    while Instant::now() < end {
        thread::sleep(LOOK);
        let now = slept(process)?;
        if now != before {
            if moved.elapsed() >= ASLEEP {
                woken.push(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64());
            }
            (before, moved) = (now, Instant::now());
        }
    }
    Ok(woken)
}

/// How often its threads have gone to sleep so far.
fn slept(process: &Path) -> Result<u64> {
    let mut times = 0;
    for thread in fs::read_dir(process.join("task"))? {
        let status = fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        times += line.and_then(|line| line.trim().parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(times)
}

/// When a line was logged and the reason in it.
fn reason(line: &str) -> Option<(f64, &str)> {
    let (stamp, rest) = line.split_once(' ')?;
    Some((stamp.parse().ok()?, rest.split_once(WOKE)?.1))
}
