//! Every order of events around one instance of a feature: systemd, the local container, pods, the agent and the
//! operator act in any order, each program can die between any two of its steps, the server can go away, Redis can
//! lose the row. The rules are the real ones; only the world is small (`world`).
//!
//! Each scenario is proved twice: `stateright` looks for a state in which two payloads run, and `quiet` looks at
//! what becomes of every reachable world once nothing goes wrong any more. `guards` shows that both can fail.
//!
//! What bounds the space is how much trouble one path may see. SWITCHYARD_LONG=1 allows one more each, two pods
//! included: minutes instead of seconds.
//!
//! Left to others: that the database compares and writes a row in one go is the `sonic` crate's test against Redis;
//! the track lock, which holds even when rows lie, is the command line's.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod agent;
mod goal;
mod guards;
mod ids;
mod lies;
mod pods;
mod quiet;
mod scenario;
mod steady;
mod story;
mod translate;
mod trouble;
mod unit;
mod watcher;
mod world;

use std::time::Instant;

use stateright::{Checker, Model};

use crate::quiet::Graph;
use crate::scenario::Scenario;

/// One copy at most at any time; and once it is quiet, a copy runs where one can, the row is true and all is still.
fn prove(scenario: Scenario) -> Graph {
    let scenario = scenario.with_more_trouble();
    prove_one_payload(&scenario);
    let begin = Instant::now();
    let graph = Graph::explore(&scenario);
    if let Some(complaint) = graph.complaint(&scenario) {
        panic!("{}: {complaint}", scenario.name);
    }
    let (worlds, ends) = (graph.worlds.len(), graph.rests().len());
    println!("{}: {worlds} worlds end in {ends} ways, {:.1?}", scenario.name, begin.elapsed());
    graph
}

fn prove_one_payload(scenario: &Scenario) {
    let begin = Instant::now();
    let checker = scenario.clone().checker().spawn_bfs().join();
    if let Some((property, path)) = checker.discoveries().into_iter().next() {
        panic!("{}: {property} fails:\n{}", scenario.name, story::tell(&path.into_vec()));
    }
    println!("{}: {} states, {:.1?}", scenario.name, checker.unique_state_count(), begin.elapsed());
}

impl Scenario {
    fn with_more_trouble(mut self) -> Self {
        self.trouble += u8::from(std::env::var("SWITCHYARD_LONG").is_ok_and(|long| long == "1"));
        self
    }
}

#[test]
fn a_switch_with_a_local_image_and_a_pod() {
    let scenario = Scenario::new("local image, pod, agent");
    let graph = prove(scenario.clone());
    steady::nothing_stops(&scenario, &graph, steady::lose_row);
    steady::nothing_stops(&scenario, &graph, steady::lose_server);
    steady::nothing_stops(&scenario, &graph, steady::lose_agent);
}

#[test]
fn a_switch_without_the_agent() {
    let scenario = Scenario { agent: false, trouble: 3, ..Scenario::new("no agent") };
    let graph = prove(scenario.clone());
    steady::nothing_stops(&scenario, &graph, steady::lose_row);
    steady::nothing_stops(&scenario, &graph, steady::lose_server);
}

#[test]
fn a_feature_without_a_local_image() {
    let scenario = Scenario { local_image: false, ..Scenario::new("kube only") };
    let graph = prove(scenario.clone());
    steady::nothing_stops(&scenario, &graph, steady::lose_row);
}

#[test]
fn a_feature_that_must_not_fall_back() {
    prove(Scenario { fallback: false, ..Scenario::new("no fallback") });
}

#[test]
fn a_pod_with_the_version_of_the_local_image() {
    prove(Scenario { same_as_local: true, ..Scenario::new("same as local") });
}

#[test]
fn containers_that_record_their_leave() {
    prove(Scenario { leaves: true, ..Scenario::new("leaves are recorded") });
}

#[test]
fn pods_that_do_not_know_their_ids() {
    prove(Scenario { ids: false, local_asks: true, ..Scenario::new("ids unknown") });
}

#[test]
fn rows_and_engine_read_one_after_the_other() {
    // Twice the steps: one failure less, so that the long run fits into memory.
    prove(Scenario { torn: true, trouble: 1, ..Scenario::new("torn views") });
}

#[test]
fn two_pods_at_once() {
    prove(Scenario { pods: 2, trouble: 0, ..Scenario::new("two pods") });
}

#[test]
fn two_pods_at_once_without_the_agent() {
    prove(Scenario { pods: 2, agent: false, ..Scenario::new("two pods, no agent") });
}

/// Which of two containers that do not know their ids runs cannot be told once the row is lost, so nothing is
/// promised but that there is one payload.
#[test]
fn two_pods_at_once_that_do_not_know_their_ids() {
    let scenario = Scenario { pods: 2, ids: false, agent: false, ..Scenario::new("two pods, ids unknown") };
    prove_one_payload(&scenario.with_more_trouble());
}
