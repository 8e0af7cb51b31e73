//! The figures of third-party containers' images: saved, restored and installed beside what one would do by hand.
//!
//! Measured by an example of `crates/tpc` on the machine's own Docker engine, which `docker` on the command line uses too.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use switchyard_lab::Switch;
use switchyard_lab::machine::Machine;

use crate::deb;

/// How often each is measured, in turn. A round takes minutes: gzip is slow, which is the point.
const ROUNDS: &str = "10";

const MEMORY_GOAL_KIB: u64 = 64 * 1024;

/// A good upgrade without hooks, and beside it the same container stopped and started by hand.
const DOWN: &str = r#"set -e
for version in 1 2; do
  /usr/lib/lab/make-tpc bench $version
  docker save --output /root/bench-$version.tar bench:$version
done
docker run --detach --name by-hand --net=host bench:1 > /dev/null
docker rmi bench:2 > /dev/null
tpcm install bench /root/bench-1.tar -y > /dev/null
for round in $(seq 10); do
  before=$(date +%s%N)
  docker stop by-hand > /dev/null && docker start by-hand > /dev/null
  hand=$((($(date +%s%N) - before) / 1000))
  ours=$(tpcm upgrade bench /root/bench-$((round % 2 + 1)).tar --skip_data -y -o json | jq .down_milliseconds)
  echo "$hand $ours"
done
tpcm uninstall bench --purge -y > /dev/null
docker rm --force by-hand > /dev/null; docker rmi bench:1 > /dev/null; rm /root/bench-*.tar"#;

/// How long a container is down in an upgrade, as a ratio to docker stop and start.
pub(crate) fn down_time(switch: &Switch) -> Result<()> {
    let mut ratios = Vec::new();
    for line in switch.ok(DOWN)?.lines() {
        let (hand, ours) = line.split_once(' ').context("two numbers were expected")?;
        ratios.push(ours.parse::<f64>()? * 1000.0 / hand.parse::<f64>()?);
    }
    ratios.sort_by(f64::total_cmp);
    let at = |index: usize| ratios.get(index).copied().unwrap_or(f64::NAN);
    println!(
        "\n{} upgrades of a third-party container: down / docker stop and start: median {:.3}, worst {:.3} (goal: <= 1.2)",
        ratios.len(),
        at(ratios.len() / 2),
        at(ratios.len().saturating_sub(1))
    );
    Ok(())
}

pub(crate) fn run() -> Result<()> {
    Machine::prepare()?;
    let example =
        ["run", "--quiet", "--release", "--package", "switchyard-tpc", "--example", "figures", "--"];
    let output = Command::new(env!("CARGO"))
        .current_dir(deb::workspace())
        .args(example)
        .arg(ROUNDS)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "the measurement ended with {}", output.status);
    let figures: Value = serde_json::from_slice(&output.stdout).context("it printed no JSON")?;
    println!("\n{} rounds, interleaved                      median   worst    goal", figures["rounds"]);
    let line = |what: &str, ratio: &Value, goal: &str| {
        let number = |name: &str| ratio[name].as_f64().unwrap_or(f64::NAN);
        println!("{what:<42} {:>8.3} {:>7.3}    {goal}", number("median"), number("worst"));
    };
    line("save and restore by hand / by us", &figures["by_hand_to_ours"], ">= 5");
    for packing in ["plain", "gzip", "xz"] {
        let what = format!("install / docker load, {packing}");
        line(&what, &figures["install_to_docker_load"][packing], "<= 1.3");
    }
    println!(
        "bytes kept by us / by hand: {:.3} (goal: <= 0.25)",
        figures["ours_to_by_hand_bytes"].as_f64().unwrap_or(f64::NAN)
    );
    println!("peak memory: {} KiB (goal: < {MEMORY_GOAL_KIB})", figures["peak_memory_kib"]);
    Ok(())
}
