//! The agent's whole loop in a simulated switch: thousands of histories of operator, kubelet, network, clock and
//! crashes, drawn from seeds, and the promises of DESIGN.md section 2 checked after every event.
//!
//! Everybody else who acts does so by the product's own rules: control scripts, `container wait`, the gate and the
//! row's conditions are the core's. The model (`crates/core/tests/model`) visits all orders of a small world without
//! time; here are time, several features at once and long histories.
//!
//! A seed that fails is printed with its story and kept in `seeds.txt`, which is always tried first.
//! SWITCHYARD_LONG=1 lives fifty times as many histories, which is minutes; SWITCHYARD_SEED=n tells one.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod birth;
mod chance;
mod contract;
mod contract_cluster;
mod contract_engine;
mod engine;
mod guards;
mod history;
mod host;
mod kubelet;
mod lies;
mod promises;
mod sim;
mod state;
mod stories;
mod systemd;
mod trouble;
mod world;

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Instant;

use crate::history::{Failure, Tally, live};
use crate::lies::Lie;

/// So many histories in the test command.
const HISTORIES: u64 = 2000;
const LONG: u64 = 50;
const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/simulation/seeds.txt");
/// So much of a story is told, if not its seed alone was asked for.
const TOLD: usize = 120;

fn kept() -> Vec<u64> {
    include_str!("seeds.txt")
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| !word.starts_with('#'))
        .map(|word| word.parse().expect("a line of seeds.txt begins with a number"))
        .collect()
}

/// Says what went wrong, and keeps the seed.
fn fail(failure: &Failure) -> ! {
    let Failure { seed, complaint, story } = failure;
    let trial = std::env::var_os("SWITCHYARD_SEED").is_some();
    if !trial && !kept().contains(seed) {
        let kept = OpenOptions::new().append(true).open(SEEDS);
        // A tree that cannot be written, as in CI, is no reason to be silent about the rest.
        let _ = kept.and_then(|mut file| writeln!(file, "{seed} {complaint}"));
    }
    let from = if trial { 0 } else { story.len().saturating_sub(TOLD) };
    panic!("seed {seed}: {complaint}\n{}\nseed {seed}: {complaint}", story[from..].join("\n"));
}

fn live_all(seeds: impl Iterator<Item = u64>) -> Tally {
    let mut sum = Tally::default();
    for seed in seeds {
        match live(seed, Lie::None) {
            Ok(tally) => {
                sum.troubles += tally.troubles;
                sum.restarts += tally.restarts;
                sum.moves += tally.moves;
                sum.gave_up += tally.gave_up;
            }
            Err(failure) => fail(&failure),
        }
    }
    sum
}

#[test]
fn every_history_keeps_the_promises() {
    if let Some(seed) = std::env::var("SWITCHYARD_SEED").ok().and_then(|seed| seed.parse().ok()) {
        println!("{:?}", live_all([seed].into_iter()));
        return;
    }
    live_all(kept().into_iter());
    let long = std::env::var("SWITCHYARD_LONG").is_ok_and(|long| long == "1");
    let histories = if long { HISTORIES * LONG } else { HISTORIES };
    let begin = Instant::now();
    let halves = [0, 1].map(|half| std::thread::spawn(move || live_all((half..histories).step_by(2))));
    for half in halves {
        match half.join() {
            Ok(tally) => println!("{tally:?}, {:.1?}", begin.elapsed()),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}
