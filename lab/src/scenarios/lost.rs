//! Containers, daemons and data are lost behind our back: the rows are true again, and payloads that live are let live.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::facts::{
    DEPENDENTS, ENABLED, SOON, down, local, property, run, runs, starts, wait_another_run, wait_for,
    wait_local,
};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Switch;

/// The scenarios of this module.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        // SONIC.md 12.2: kill left the row saying running.
        name: "docker kill and docker stop behind our back leave the rows true within a second",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: killed_behind_our_back,
    },
    Scenario {
        name: "a container killed for its memory is told so and comes back",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: out_of_memory,
    },
    Scenario {
        name: "a restart or a crash of Docker that payloads survive leaves them and their rows alone",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: docker_restarts,
    },
    Scenario {
        name: "a restart of Docker that takes payloads along has systemd bring them back",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: docker_takes_all_along,
    },
    Scenario {
        name: "a restart of Redis loses all rows, and they are right again without touching a payload",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: redis_restarts,
    },
    Scenario {
        name: "a file of numbers that was cut short, or has a wrong one, takes no feature down",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: broken_numbers,
    },
    Scenario {
        name: "a Docker that hangs takes neither the agent nor a feature down",
        switch: SwitchKind::SingleAsic,
        long: true,
        run: docker_hangs,
    },
    Scenario {
        name: "flushed data is seen by a safety check within a minute, without touching a payload",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: redis_is_flushed,
    },
];

/// How long the rows may say what is not true any more.
const TRUE_WITHIN_MS: u64 = 1000;

/// The same on a machine that is too busy for the clock to mean much.
const TRUE_AT_LAST_MS: u64 = 5000;

fn killed_behind_our_back(switch: &Switch) -> Result<()> {
    let mut times = Vec::new();
    for feature in ["bgp", "snmp", "telemetry"] {
        // Keeps systemd's answer out of the picture for as long as we look.
        switch.drop_in(&format!("{feature}.service"), "[Service]\nRestartSec=30\n")?;
        for end in [
            format!("docker kill {feature}"),
            format!("docker stop {feature}"),
            // What the kernel does to a container that is out of memory.
            format!("kill -KILL $(docker inspect --format '{{{{.State.Pid}}}}' {feature})"),
        ] {
            switch.ok(&format!("systemctl reset-failed {feature}"))?;
            let before = run(switch, feature)?;
            let took = row_true_after_ms(switch, feature, &end)?;
            println!("     rows true {took} ms after `{}`", end.split('$').next().unwrap_or_default().trim());
            times.push(took);
            ensure!(took < TRUE_AT_LAST_MS, "the row of {feature} was wrong for {took} ms after `{end}`");
            wait_for(switch, feature, &down("activating"), SOON)?;
            // A start would wait for systemd's own restart.
            switch.ok(&format!("systemctl restart {feature}"))?;
            wait_another_run(switch, feature, &before)?;
        }
    }
    times.sort_unstable();
    let usual = times[times.len() / 2];
    ensure!(usual < TRUE_WITHIN_MS, "the rows were true after {times:?} ms");
    Ok(())
}

/// Measured on the switch, from the container's end as the engine dates it.
fn row_true_after_ms(switch: &Switch, feature: &str, end: &str) -> Result<u64> {
    let took = switch.ok(&format!(
        "{end} > /dev/null
         limit=$(($(date +%s) + 10))
         until [ \"$(sonic-db-cli STATE_DB HMGET 'FEATURE|{feature}' current_owner system_state | paste -sd' ')\" = 'none down' ]; do
             [ $(date +%s) -lt $limit ] || exit 1
         done
         now=$(date +%s%N)
         ended=$(date --date=\"$(docker inspect --format '{{{{.State.FinishedAt}}}}' {feature})\" +%s%N)
         echo $(((now - ended) / 1000000))"
    ))?;
    took.parse().with_context(|| format!("no number of milliseconds: {took}"))
}

fn out_of_memory(switch: &Switch) -> Result<()> {
    switch.drop_in("lldp.service", "[Service]\nRestartSec=30\n")?;
    switch.ok("docker update --memory 48m --memory-swap 48m lldp")?;
    let before = run(switch, "lldp")?;
    // The answer dies with the payload.
    switch.sh("lab-payload send lldp leak 200")?;
    wait_for(switch, "lldp", &down("activating"), SOON)?;
    let mut status = serde_json::Value::Null;
    // Docker is told of the end and of its reason apart.
    let told = switch.wait_until("status tells that memory ran out", SOON, || {
        status = serde_json::from_str(switch.sh("system service status -o json lldp")?.text())?;
        Ok(status[0]["out_of_memory"] == true && status[0]["container_exit_code"] == 137)
    });
    told.with_context(|| format!("it was last {status}"))?;
    // Else the next one would have no more.
    switch.ok("docker rm --force lldp && systemctl restart lldp")?;
    wait_another_run(switch, "lldp", &before)
}

fn docker_restarts(switch: &Switch) -> Result<()> {
    live_restore(switch, true)?;
    let story = docker_comes_and_goes(switch);
    live_restore(switch, false)?;
    story
}

fn docker_comes_and_goes(switch: &Switch) -> Result<()> {
    let lives = Lives::begin(switch)?;
    for end in ["systemctl restart docker", "kill -KILL $(pidof dockerd)"] {
        another_docker(switch, end)?;
        for feature in ENABLED {
            wait_local(switch, feature)?;
        }
        lives.unchanged(switch)?;
        // They are watched, not just recorded.
        let before = run(switch, "snmp")?;
        switch.ok("docker kill snmp")?;
        wait_another_run(switch, "snmp", &before)?;
    }
    Ok(())
}

/// Ends Docker, and waits for the next one. systemd begins it when those of its dependents have stopped that it restarts
/// along: one of these that asked a Docker which is not there took a minute.
pub(super) fn another_docker(switch: &Switch, end: &str) -> Result<()> {
    let pid = switch.ok("pidof dockerd")?;
    switch.ok(end)?;
    switch.wait_ok(
        "another Docker answers",
        Duration::from_secs(25),
        &format!("! pidof dockerd | grep -qx {pid} && docker version"),
    )
}

/// As a real switch may have it; reloaded without a restart.
pub(super) fn live_restore(switch: &Switch, on: bool) -> Result<()> {
    switch.ok(&format!(
        "new=$(jq '.\"live-restore\" = {on}' /etc/docker/daemon.json) && echo \"$new\" > /etc/docker/daemon.json && \
         systemctl reload docker"
    ))?;
    switch.wait_text("docker info --format '{{.LiveRestoreEnabled}}'", &on.to_string(), SOON)
}

fn docker_takes_all_along(switch: &Switch) -> Result<()> {
    require_swss_later(switch)?;
    let before = runs(switch, &ENABLED)?;
    switch.ok("systemctl reset-failed; systemctl restart docker")?;
    for (feature, before) in ENABLED.iter().zip(&before) {
        wait_another_run(switch, feature, before)?;
    }
    Ok(())
}

/// swss is stopped for as long as Docker is away. Each start that systemd is asked for meanwhile, by a unit that requires
/// swss, counts against swss's limit although none comes about. On a real switch they wait thirty seconds.
pub(super) fn require_swss_later(switch: &Switch) -> Result<()> {
    for dependent in ["bgp", "lldp"] {
        switch.drop_in(&format!("{dependent}.service"), "[Service]\nRestartSec=15\n")?;
    }
    Ok(())
}

fn docker_hangs(switch: &Switch) -> Result<()> {
    /// More than systemd lets pass without a word from the agent, and than its start may take.
    const HANGS: Duration = Duration::from_secs(150);
    let agent = |switch: &Switch| property(switch, "ctrmgrd.service", "MainPID");
    let lives = Lives::begin(switch)?;
    switch.ok("kill -STOP $(pidof dockerd); systemctl restart --no-block ctrmgrd")?;
    let told =
        switch.wait_ok("another agent looks", SOON, "systemctl is-active ctrmgrd | grep -q activating");
    let pid = agent(switch)?;
    // Only time can show that nothing comes of it.
    std::thread::sleep(HANGS);
    let after = agent(switch)?;
    switch.ok("kill -CONT $(pidof dockerd)")?;
    told?;
    ensure!(after == pid, "the agent was {pid} and is {after}");
    switch.wait_text("systemctl is-active ctrmgrd || true", "active", Duration::from_mins(10))?;
    switch.wait_features()?;
    lives.unchanged(switch)
}

fn broken_numbers(switch: &Switch) -> Result<()> {
    const FILE: &str = "/etc/sonic/remote_ctr.config.json";
    let told = broken_numbers_are_told(switch, FILE);
    switch.ok(&format!("rm {FILE}; systemctl restart ctrmgrd snmp"))?;
    told
}

fn broken_numbers_are_told(switch: &Switch, file: &str) -> Result<()> {
    // As after a power cut amid its write, and as after a typing error.
    for (content, why) in
        [("", "it is empty"), (r#"{ "retry_tag_latest_seconds": 0 }"#, "retry_tag_latest_seconds is 0")]
    {
        switch.write(file, content)?;
        let since = switch.now()?;
        let before = run(switch, "snmp")?;
        switch.ok("systemctl restart ctrmgrd && system service restart snmp")?;
        wait_another_run(switch, "snmp", &before)?;
        wait_local(switch, "snmp")?;
        switch.wait_until("the file is told of", SOON, || {
            let log = switch.journal_of(&since, "--priority=warning")?;
            Ok(log.contains(file) && log.contains(why))
        })?;
        let states = switch.ok("systemctl is-active ctrmgrd snmp | uniq")?;
        ensure!(states == "active", "agent and feature are {states}");
    }
    Ok(())
}

fn redis_restarts(switch: &Switch) -> Result<()> {
    let lives = Lives::begin(switch)?;
    switch.ok("systemctl restart redis && /usr/lib/lab/database refill")?;
    rows_come_back(switch, &lives)
}

fn redis_is_flushed(switch: &Switch) -> Result<()> {
    let lives = Lives::begin(switch)?;
    // Redis announces no flush, but what is loaded after it.
    switch.ok("redis-cli -s /run/redis/redis.sock FLUSHALL && /usr/lib/lab/database refill")?;
    rows_come_back(switch, &lives)?;
    // Here nothing is announced at all.
    let lives = Lives::begin(switch)?;
    switch.ok("sonic-db-cli STATE_DB FLUSHDB")?;
    rows_come_back(switch, &lives)
}

fn rows_come_back(switch: &Switch, lives: &Lives) -> Result<()> {
    let lost = Instant::now();
    for feature in ENABLED {
        wait_for(switch, feature, &local(feature), Duration::from_mins(1))?;
        let version = format!("sonic-db-cli STATE_DB HGET 'FEATURE|{feature}' container_version");
        switch.wait_text(&version, "1.0.0", SOON)?;
    }
    ensure!(lost.elapsed() < Duration::from_mins(1), "the rows were wrong for {:?}", lost.elapsed());
    println!("     rows true {:.1} s after they were lost", lost.elapsed().as_secs_f64());
    lives.unchanged(switch)?;
    // featured is not told of a flush either, and what it records is what swss.sh goes by; the ports are up still.
    switch.ok("sonic-db-cli APPL_DB HSET PORT_TABLE:PortInitDone lanes 0 && systemctl restart featured")?;
    for feature in DEPENDENTS {
        switch.wait_text(
            &format!("sonic-db-cli STATE_DB HGET 'FEATURE|{feature}' state"),
            "enabled",
            SOON,
        )?;
    }
    // They are watched, not just recorded.
    let before = run(switch, "snmp")?;
    switch.ok("docker kill snmp")?;
    wait_another_run(switch, "snmp", &before)
}

/// All payloads that nobody may touch.
struct Lives {
    runs: Vec<String>,
    starts: Vec<usize>,
    waits: Vec<String>,
}

impl Lives {
    /// snmp is left out: the stories kill it.
    const WATCHED: [&'static str; 4] = ["swss", "bgp", "lldp", "telemetry"];

    fn begin(switch: &Switch) -> Result<Lives> {
        let starts = Self::WATCHED.iter().map(|name| starts(switch, name)).collect::<Result<_>>()?;
        Ok(Lives { runs: runs(switch, &Self::WATCHED)?, starts, waits: Self::waits(switch)? })
    }

    fn unchanged(&self, switch: &Switch) -> Result<()> {
        let now = Lives::begin(switch)?;
        ensure!(now.runs == self.runs, "containers were restarted: {:?}, were {:?}", now.runs, self.runs);
        ensure!(
            now.starts == self.starts,
            "payloads were restarted: {:?}, were {:?}",
            now.starts,
            self.starts
        );
        ensure!(now.waits == self.waits, "units were restarted: {:?}, were {:?}", now.waits, self.waits);
        Ok(())
    }

    fn waits(switch: &Switch) -> Result<Vec<String>> {
        Self::WATCHED.iter().map(|name| property(switch, &format!("{name}.service"), "MainPID")).collect()
    }
}
