//! The model can fail: each guarding rule is taken away, and the checker must find what it was good for.

use stateright::{Checker, HasDiscoveries, Model};

use crate::lies::{Lie, Writer};
use crate::quiet::Graph;
use crate::scenario::{AS_WANTED, ONE_PAYLOAD, Scenario};
use crate::world::{GONE, Gate, Main, Pod, Script, Unit, World};

/// Without the rule, this property fails within so few failures.
fn fails_without(scenario: Scenario, property: &'static str) {
    let (lie, trouble) = (scenario.lie, scenario.trouble);
    let checker = scenario.checker().finish_when(HasDiscoveries::AnyOf([property].into())).spawn_bfs().join();
    let found: Vec<_> = checker.discoveries().into_keys().collect();
    assert!(found.contains(&property), "{lie:?} with {trouble} failures: found {found:?}, not {property:?}");
}

/// Without the rule, a switch left in peace can end so.
fn ends_badly_without(scenario: &Scenario, expected: &str) {
    let complaint = Graph::explore(scenario).complaint(scenario).unwrap_or_default();
    assert!(complaint.starts_with(expected), "{:?}: {complaint:?}", scenario.lie);
}

fn one_pod(lie: Lie, trouble: u8) -> Scenario {
    Scenario { lie, trouble, leaves: true, ..Scenario::new("one pod") }
}

fn two_pods(lie: Lie, trouble: u8) -> Scenario {
    Scenario { pods: 2, ..one_pod(lie, trouble) }
}

#[test]
fn a_pod_is_ready_only_after_the_engine_says_that_the_local_copy_ended() {
    fails_without(one_pod(Lie::LocalSeemsEnded, 1), ONE_PAYLOAD);
}

#[test]
fn a_pod_is_ready_only_when_no_other_may_run() {
    fails_without(two_pods(Lie::OtherPodsHidden, 1), ONE_PAYLOAD);
}

#[test]
fn a_turn_belongs_to_one_container() {
    fails_without(two_pods(Lie::AnyPodsTurn, 0), ONE_PAYLOAD);
}

#[test]
fn start_writes_the_row_only_as_it_was_seen() {
    fails_without(one_pod(Lie::Unconditional(Writer::Start), 3), ONE_PAYLOAD);
}

#[test]
fn stop_writes_the_row_only_as_it_was_seen() {
    fails_without(one_pod(Lie::Unconditional(Writer::Stop), 2), ONE_PAYLOAD);
}

#[test]
fn wait_writes_the_row_only_as_it_was_seen() {
    fails_without(one_pod(Lie::Unconditional(Writer::Wait), 2), ONE_PAYLOAD);
}

#[test]
fn a_pod_writes_the_row_only_as_it_was_seen() {
    fails_without(one_pod(Lie::Unconditional(Writer::Gate), 2), ONE_PAYLOAD);
}

#[test]
fn pods_that_may_run_are_stopped_before_the_local_copy_starts() {
    fails_without(one_pod(Lie::PodsNotStopped, 2), ONE_PAYLOAD);
}

#[test]
fn the_row_is_written_before_the_local_copy_starts() {
    fails_without(one_pod(Lie::StartWithoutRow, 3), ONE_PAYLOAD);
}

/// Begins with two pods of which one runs, under a row that was just lost: the way there alone takes minutes.
#[test]
fn a_stop_marks_a_lost_row_until_the_pods_are_stopped() {
    let scenario = Scenario { ids: false, agent: false, local_image: false, ..two_pods(Lie::NoMark, 2) };
    let kube = scenario.init_states().into_iter().next_back().expect("a feature that Kubernetes is to run");
    let from = World {
        row: GONE,
        lost: true,
        pods: vec![Pod::Up(2, Gate::Runs), Pod::Up(3, Gate::Waits { asked: true })],
        unit: Unit::Active,
        script: Script::None,
        main: Main::Looks,
        ..kube
    };
    fails_without(Scenario { from: Some(from), leaves: false, ..scenario }, ONE_PAYLOAD);
}

#[test]
fn a_gate_without_a_row_waits() {
    fails_without(one_pod(Lie::RunsAhead, 0), ONE_PAYLOAD);
}

#[test]
fn wait_gives_up_on_a_pod_that_never_comes() {
    ends_badly_without(&one_pod(Lie::NeverLate, 2), "nothing runs");
}

#[test]
fn a_pending_whose_pod_is_gone_is_taken_back() {
    ends_badly_without(&one_pod(Lie::StalePending, 1), "remote_state does not say what the pods do");
}

#[test]
fn a_container_that_the_row_names_runs() {
    ends_badly_without(&one_pod(Lie::OwnNameHidden, 1), "nothing runs");
}

/// BI#13342, BI#11037.
#[test]
fn owner_none_is_no_mismatch() {
    fails_without(one_pod(Lie::NoneIsMismatch, 1), AS_WANTED);
}

#[test]
fn a_pod_that_runs_is_not_put_out_for_another_that_asks() {
    fails_without(two_pods(Lie::PodSeemsLocal, 0), AS_WANTED);
}

#[test]
fn a_unit_that_was_stopped_is_not_started_by_the_agent() {
    ends_badly_without(&one_pod(Lie::PlainRestart, 1), "the unit is off and a copy runs");
}

#[test]
fn what_a_broken_off_start_left_behind_is_brought_down() {
    ends_badly_without(&one_pod(Lie::LeftAlone, 1), "the unit is off and");
}
