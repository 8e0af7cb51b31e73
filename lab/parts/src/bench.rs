//! Measures `container` beside what a person would use instead, inside a switch.
//!
//! Everything is interleaved in one run, so that a machine that is slow for a while is slow for all. What the engine
//! itself takes is seen by asking it for the same thing without anybody between: our share is the rest.

mod clock;
mod engine;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

/// Enough for a median and a worst that mean something; a round takes about two seconds.
const ROUNDS: usize = 30;

/// A feature of the bench's own, so that no unit interferes.
const FEATURE: &str = "bench";

/// Runs the rounds and gives the figures as JSON.
pub fn run() -> Result<serde_json::Value> {
    prepare()?;
    let mut figures = Figures::default();
    for _ in 0..ROUNDS {
        round(&mut figures)?;
    }
    memory(&mut figures)?;
    let wait = wait_memory()?;
    tidy()?;
    Ok(figures.report(wait))
}

fn prepare() -> Result<()> {
    // A feature without a unit is left behind to the agent, which would end it.
    sh("systemctl stop ctrmgrd")?;
    sh("redis-cli -s /var/run/redis/redis.sock -n 4 HSET 'FEATURE|bench' state enabled set_owner local")?;
    sh(
        "docker rm -f bench >/dev/null 2>&1; docker create --name bench --entrypoint /bin/busybox docker-lldp:latest \
        sh -c 'trap \"exit 0\" TERM; while :; do sleep 1 & wait $!; done'",
    )
}

fn tidy() -> Result<()> {
    sh("docker rm -f bench; redis-cli -s /var/run/redis/redis.sock -n 4 DEL 'FEATURE|bench'; \
        redis-cli -s /var/run/redis/redis.sock -n 6 DEL 'FEATURE|bench'; systemctl start ctrmgrd")
}

/// The same work by hand, as a script would do it.
const BY_HAND: [(&str, &str); 3] = [
    (
        "start",
        "redis-cli -s /var/run/redis/redis.sock -n 6 HSET 'FEATURE|bench' system_state up current_owner local \
               container_id bench update_time \"$(date '+%F %T')\" >/dev/null && docker start bench >/dev/null",
    ),
    (
        "stop",
        "docker stop bench >/dev/null && redis-cli -s /var/run/redis/redis.sock -n 6 HSET 'FEATURE|bench' \
              system_state down current_owner none container_id '' update_time \"$(date '+%F %T')\" >/dev/null",
    ),
    ("kill", "docker kill bench >/dev/null"),
];

fn round(figures: &mut Figures) -> Result<()> {
    let hget = ["-s", "/var/run/redis/redis.sock", "-n", "6", "HGET", "FEATURE|bench", "container_id"];
    figures.add("redis-cli HGET", time("redis-cli", &hget)?);
    figures.add("container id", time("container", &["id", FEATURE])?);
    // Each verb is measured by hand, on the engine alone and by us, from the same state; kill last, for it needs one that runs.
    for verbs in [["start", "stop"], ["start", "kill"]] {
        for (verb, script) in verbs.iter().filter_map(|verb| BY_HAND.iter().find(|(name, _)| name == verb)) {
            figures.add(&format!("script {verb}"), time("sh", &["-c", script])?);
            settle(verb)?;
        }
        let mut engine = Vec::new();
        for verb in verbs {
            engine.push(engine::ask(FEATURE, verb)?);
            settle(verb)?;
        }
        for (verb, engine) in verbs.iter().zip(engine) {
            let took = time("container", &[verb, FEATURE])?;
            figures.add(&format!("container {verb}"), took);
            figures.add(&format!("engine {verb}"), engine);
            figures.add(&format!("outside {verb}"), took.saturating_sub(engine));
            settle(verb)?;
        }
    }
    Ok(())
}

/// A kill is answered before the container has ended, and a start of one that is ending starts nothing.
fn settle(verb: &str) -> Result<()> {
    if verb == "start" { Ok(()) } else { sh("docker wait bench > /dev/null") }
}

/// Runs a program and gives how long it took.
fn time(program: &str, arguments: &[&str]) -> Result<Duration> {
    let start = Instant::now();
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status();
    let took = start.elapsed();
    let status = status.with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "{program} {} ended with {status}", arguments.join(" "));
    Ok(took)
}

/// The largest memory of each verb, in runs of their own: whoever looks at a process's memory without a pause takes a
/// processor, and the lock that the process needs for its next page.
fn memory(figures: &mut Figures) -> Result<()> {
    for verb in ["id", "start", "stop", "start", "kill"] {
        let mut child = Command::new("container")
            .args([verb, FEATURE])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let watcher = clock::Watcher::of(child.id());
        let status = child.wait()?;
        ensure!(status.success(), "container {verb} ended with {status}");
        figures.memory(verb, watcher.largest());
    }
    Ok(())
}

/// `container wait` while its container runs.
fn wait_memory() -> Result<u64> {
    sh("container start bench")?;
    let mut wait = Command::new("container").args(["wait", FEATURE]).spawn()?;
    let watcher = clock::Watcher::of(wait.id());
    watcher.rest();
    sh("container stop bench")?;
    wait.wait()?;
    Ok(watcher.largest())
}

fn sh(script: &str) -> Result<()> {
    let output = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{script}` ended with {}: {said}", output.status);
    Ok(())
}

#[derive(Default)]
struct Figures {
    times: BTreeMap<String, Vec<Duration>>,
    memory: BTreeMap<String, u64>,
}

impl Figures {
    fn add(&mut self, name: &str, took: Duration) {
        self.times.entry(name.to_owned()).or_default().push(took);
    }

    fn memory(&mut self, name: &str, kib: u64) {
        let largest = self.memory.entry(name.to_owned()).or_default();
        *largest = (*largest).max(kib);
    }

    fn median(&self, name: &str) -> f64 {
        let mut times = self.times.get(name).cloned().unwrap_or_default();
        times.sort_unstable();
        times.get(times.len() / 2).map_or(f64::NAN, Duration::as_secs_f64)
    }

    fn worst(&self, name: &str) -> f64 {
        self.times.get(name).and_then(|times| times.iter().max()).map_or(f64::NAN, Duration::as_secs_f64)
    }

    fn report(&self, wait: u64) -> serde_json::Value {
        let against = |name: &str, other: &str| {
            json!({
                "what": format!("{name} / {other}"),
                "median": self.median(name) / self.median(other),
                "worst": self.worst(name) / self.worst(other),
            })
        };
        let mut ratios = vec![against("container id", "redis-cli HGET")];
        for verb in ["start", "stop", "kill"] {
            ratios.push(against(&format!("outside {verb}"), &format!("engine {verb}")));
            ratios.push(against(&format!("container {verb}"), &format!("script {verb}")));
        }
        let mut memory = self.memory.clone();
        memory.insert("wait".to_owned(), wait);
        json!({ "rounds": ROUNDS, "ratios": ratios, "largest_pss_kib": memory })
    }
}
