//! The figures of third-party containers' images: saved, restored and installed beside what one would do by hand.
//!
//! Measured by an example of `crates/tpc` on the machine's own Docker engine, which `docker` on the command line uses too.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use switchyard_lab::machine::Machine;

use crate::deb;

/// How often each is measured, in turn. A round takes minutes: gzip is slow, which is the point.
const ROUNDS: &str = "10";

const MEMORY_GOAL_KIB: u64 = 64 * 1024;

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
