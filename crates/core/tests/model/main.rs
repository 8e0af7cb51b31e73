//! Every order of events around one instance of a feature, explored.

mod agent;
mod goal;
mod ids;
mod lies;
mod pods;
mod quiet;
mod scenario;
mod story;
mod translate;
mod trouble;
mod unit;
mod watcher;
mod world;

use std::time::Instant;

use stateright::{Checker, Model};

use crate::scenario::Scenario;

#[test]
fn probe() {
    let n: u8 = std::env::var("T").ok().and_then(|t| t.parse().ok()).unwrap_or(2);
    let pods: usize = std::env::var("P").ok().and_then(|t| t.parse().ok()).unwrap_or(1);
    let scenario = Scenario {
        trouble: n,
        pods,
        leaves: std::env::var("L").is_ok(),
        torn: std::env::var("TORN").is_ok(),
        ids: std::env::var("NOID").is_err(),
        local_asks: std::env::var("NOID").is_ok(),
        local_image: std::env::var("NOIMG").is_err(),
        fallback: std::env::var("NOFB").is_err(),
        agent: std::env::var("NOAGENT").is_err(),
        same_as_local: std::env::var("SAME").is_ok(),
        ..Scenario::new("probe")
    };
    let t = Instant::now();
    let graph = quiet::Graph::explore(&scenario);
    println!("{} worlds {:?}", graph.worlds.len(), t.elapsed());
    println!("ends: {}", graph.ends().len());
    if let Some(c) = graph.complaint(&scenario) {
        println!("VIOLATION {c}");
    }
    println!("{:?}", t.elapsed());
    if std::env::var("Q").is_ok() {
        return;
    }
    let t = Instant::now();
    let checker = scenario.checker().threads(2).spawn_bfs().join();
    println!("{} states {:?} depth {}", checker.unique_state_count(), t.elapsed(), checker.max_depth());
    for (name, path) in checker.discoveries() {
        println!("VIOLATION {name}\n{}", story::tell(&path.into_vec()));
    }
}
