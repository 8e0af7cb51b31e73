//! `cargo xtask bench`: the figures of the product, measured on a virtual switch beside what a person would use instead.
//!
//! Ratios of one interleaved run, medians and worst; printed, never asserted: machines are shared.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use switchyard_lab::cluster::{Cluster, kubelet};
use switchyard_lab::fleet;
use switchyard_lab::image::Product;
use switchyard_lab::machine::Machine;
use switchyard_lab::scenarios::cluster_figures;

use crate::{bench_tpc, deb};

/// What each figure is meant to be at most; printed beside it.
const GOALS: [(&str, f64); 4] = [
    ("container id / redis-cli HGET", 1.5),
    ("outside start / engine start", 0.05),
    ("outside stop / engine stop", 0.05),
    ("outside kill / engine kill", 0.05),
];

/// The Pss of the agent, in KiB.
const AGENT_GOAL_KIB: u64 = 15 * 1024;

/// The largest Pss of any verb, in KiB.
const MEMORY_GOAL_KIB: u64 = 5 * 1024;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this part of it
    #[arg(long, value_enum)]
    only: Option<Part>,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Sizes, the verbs of a standalone switch, and how long an upgrade takes a container down
    Switch,
    /// A switch in a cluster: gaps, the agent's delay, wake-ups and memory
    Cluster,
    /// What is done with images of third-party containers, against doing it by hand
    Tpc,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let wanted = |part| arguments.only.is_none_or(|only| only == part);
    if wanted(Part::Switch) {
        on_a_switch()?;
    }
    if wanted(Part::Cluster) {
        in_cluster()?;
    }
    if wanted(Part::Tpc) {
        bench_tpc::run()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// On a switch that no cluster knows.
fn on_a_switch() -> Result<()> {
    for kubernetes in [true, false] {
        let package = deb::build(kubernetes)?;
        let name = if kubernetes { "switchyard" } else { "switchyard-standalone" };
        let binary = deb::workspace().join("target/deb").join(name).join("usr/bin/switchyard");
        println!("{name}: package {} KiB, binary {} KiB", kib(&package)?, kib(&binary)?);
    }
    let product = Product { deb: Some(deb::build(true)?), kubernetes: true, kubelet: None };
    let switches = fleet::up(&product, 1, 1)?;
    let switch = switches.first().context("no switch came up")?;
    let program = Machine::prepare()?.parts.join("lab-bench");
    switch.copy_in(&program.to_string_lossy(), "/usr/local/bin/lab-bench")?;
    let figures = switch.ok("lab-bench")?;
    print(&serde_json::from_str(&figures).context("lab-bench printed no JSON")?)?;
    bench_tpc::down_time(switch)
}

/// On a switch that has joined the lab's control plane.
fn in_cluster() -> Result<()> {
    Machine::prepare()?;
    Cluster::up()?;
    let product = Product { deb: Some(deb::build(true)?), kubernetes: true, kubelet: Some(kubelet()?) };
    let switches = fleet::up(&product, 1, 1)?;
    let figures = cluster_figures(switches.first().context("no switch came up")?)?;
    let gap = |name: &str| {
        format!(
            "{:>8.3} {:>7.3}    <= 1.5 (worst)",
            number(&figures[name], "median"),
            number(&figures[name], "worst")
        )
    };
    println!("\n{} rounds, interleaved                      median   worst    goal", figures["rounds"]);
    println!("{:<42} {}", "gap of a switchover / of stop and start", gap("switchover_gap"));
    println!("{:<42} {}", "gap of a fallback / of stop and start", gap("fallback_gap"));
    println!("{:<42} {}", "gap of the way home / of stop and start", gap("way_home_gap"));
    let delay = &figures["row_to_action_ms"];
    println!(
        "row change to the agent's action, {} changes: median {:.1} ms, p99 {:.1} ms (goal: p99 < 50 ms)",
        delay["changes"],
        number(delay, "median"),
        number(delay, "p99")
    );
    let idle = &figures["idle"];
    println!(
        "wake-ups of the idle agent: {:.1} a minute over {} s (goal: <= 6)",
        number(idle, "wake_ups_a_minute"),
        idle["seconds"]
    );
    for (reason, _) in idle["reasons"].as_object().context("no reasons")? {
        println!("  {:>5.1} {reason}", number(&idle["reasons"], reason));
    }
    println!("Pss of the agent: {} KiB (goal: < {AGENT_GOAL_KIB})", figures["agent_pss_kib"]);
    Ok(())
}

fn number(figures: &serde_json::Value, name: &str) -> f64 {
    figures[name].as_f64().unwrap_or(f64::NAN)
}

fn print(figures: &serde_json::Value) -> Result<()> {
    println!("\n{} rounds, interleaved                      median   worst    goal", figures["rounds"]);
    for ratio in figures["ratios"].as_array().context("no ratios")? {
        let what = ratio["what"].as_str().unwrap_or_default();
        let goal = GOALS.iter().find(|(name, _)| *name == what);
        let goal = goal.map_or_else(String::new, |(_, goal)| format!("<= {goal}"));
        println!("{what:<42} {:>8.3} {:>7.3}    {goal}", number(ratio, "median"), number(ratio, "worst"));
    }
    println!("\nlargest Pss (goal: under {MEMORY_GOAL_KIB} KiB)");
    for (verb, kib) in figures["largest_pss_kib"].as_object().context("no memory")? {
        println!("container {verb:<33} {kib:>7} KiB");
    }
    Ok(())
}

fn kib(path: &Path) -> Result<u64> {
    Ok(path.metadata().with_context(|| format!("cannot read {}", path.display()))?.len() / 1024)
}
