//! SONiC's own start-up call as it ships (SONIC.md 4.2), its mistakes included: what an image says at the door that knows
//! nothing of our program. Its steps are taken here because the lab's images have no Python.

use std::collections::HashMap;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use redis::{Client, Commands, Connection};

const CONFIG_DB: u8 = 4;
const STATE_DB: u8 = 6;
const LABELS: &str = "KUBE_LABELS|SET";

/// Row 7 looks so often.
const POLL: Duration = Duration::from_secs(2);
/// One that is frozen says so, so often.
const FROZEN: Duration = Duration::from_mins(1);

/// Returns when the payload may run; never, if it may not.
pub fn ask(feature: &str, owner: &str, version: &str) -> Result<()> {
    let (mut config, mut state) = (connect(CONFIG_DB)?, connect(STATE_DB)?);
    let key = format!("FEATURE|{feature}");
    let row: HashMap<String, String> = state.hgetall(&key)?;
    let field = |name: &str| row.get(name).map(String::as_str).unwrap_or_default();
    if field("system_state").is_empty() {
        return Ok(());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().to_string();
    let local = format!("{feature}_local");
    if owner == "local" {
        let () = state.hset(LABELS, local, version)?;
        let up = [
            ("current_owner", "local"),
            ("container_id", feature),
            ("update_time", now.as_str()),
            ("container_version", version),
        ];
        return Ok(state.hset_multiple(&key, &up)?);
    }
    let set_owner: Option<String> = config.hget(&key, "set_owner")?;
    if set_owner.is_none_or(|owner| owner == "local") {
        freeze("the owner is local");
    }
    if field("system_state") != "up" {
        freeze("the system state is not up");
    }
    let here: Option<String> = state.hget(LABELS, local)?;
    if here.is_some_and(|here| here.eq_ignore_ascii_case(version)) {
        freeze("this version is the local one");
    }
    let () = state.hset(&key, "container_version", version)?;
    if matches!(field("remote_state"), "" | "none" | "running" | "stopped") {
        let () = state.hset(&key, "remote_state", "pending")?;
    }
    if field("remote_state") != "ready" {
        wait_ready(&mut state, &key, version)?;
    }
    let id = own_id()?;
    let up = [
        ("current_owner", "kube"),
        ("container_id", id.as_str()),
        ("update_time", now.as_str()),
        ("container_version", version),
        ("remote_state", "running"),
    ];
    Ok(state.hset_multiple(&key, &up)?)
}

fn wait_ready(state: &mut Connection, key: &str, version: &str) -> Result<()> {
    loop {
        sleep(POLL);
        let remote: Option<String> = state.hget(key, "remote_state")?;
        if remote.as_deref() == Some("ready") {
            break;
        }
    }
    let asked: Option<String> = state.hget(key, "container_version")?;
    if asked.as_deref() != Some(version) {
        freeze("a later pod has asked");
    }
    Ok(())
}

/// It never looks again and never ends.
fn freeze(why: &str) -> ! {
    loop {
        eprintln!("startup: frozen: {why}");
        sleep(FROZEN);
    }
}

/// The last part of the memory group's path, where there is such a line.
fn own_id() -> Result<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").context("cannot read /proc/self/cgroup")?;
    let line = groups.lines().find(|line| line.contains(":memory:")).unwrap_or_default();
    Ok(line.rsplit('/').next().unwrap_or_default().chars().take(12).collect())
}

fn connect(db: u8) -> Result<Connection> {
    Client::open(format!("unix:///var/run/redis/redis.sock?db={db}"))?
        .get_connection()
        .context("no answer from Redis")
}
