//! `container wait` (SONIC.md 3.6; DESIGN.md section 4 *Knock* and *Fallback*).

use std::time::Duration;

use switchyard_core::{
    CurrentOwner, FeatureState, Idle, Knobs, Reason, RemoteState, Version, View, is_planned_end, wait,
};

use crate::case::{RowCase, ViewCase, down, kube, local, up};
use crate::words;

/// What is done when nobody has been running for so many seconds; five minutes are configured.
fn check_after(seconds: u64, view: &View, expected: &str) {
    let said = words::waiting(&wait(view, Duration::from_secs(seconds), &Knobs::default()));
    assert_eq!(said, expected, "\nfor {view:#?}");
}

fn check(view: &View, expected: &str) {
    check_after(0, view, expected);
}

#[test]
fn a_copy_that_runs_is_watched() {
    check(&local().row(up().owner(CurrentOwner::Local, "snmp")).runs(), "watch local");
    let pod = up().owner(CurrentOwner::Kube, "a").remote(RemoteState::Running, "a");
    check(&kube().row(pod.clone()).pods(&["a"]), "watch a");
    check(&kube().row(pod.clone()).pods(&["a"]).no_server(), "watch a");
    // The owner was changed: that is the agent's to act on, or the next restart's.
    check(&local().row(pod).pods(&["a"]), "watch a");
}

#[test]
fn a_row_that_was_lost_is_made_true_without_touching_the_payload() {
    check(&local().runs(), "watch local, row(up local=snmp remote=none)");
    check(&kube().runs(), "watch local, row(up local=snmp remote=none)");
    check(&kube().no_kubernetes().runs(), "watch local, row(up local=snmp)");
    check(&kube().pods(&["a"]), "watch a, row(up kube=a remote=running)");
    check(&kube(), "RowRepaired: row(up)");
}

/// FIELD.md defect 2: with an empty id in the row `wait` spun until the fallback.
#[test]
fn a_pod_that_did_not_know_its_id_is_recorded_by_the_engines_word() {
    check(
        &kube().row(up().owner_without_id().remote(RemoteState::Running, "")).pods(&["a"]),
        "watch a, row(up kube=a remote=running)",
    );
}

#[test]
fn pods_that_cannot_be_told_apart_are_left_to_the_units_stop() {
    check(&kube().pods(&["a", "b"]), "StrangePod: row(), over");
    check(&kube().row(up().owner_without_id()).pods(&["a", "b"]), "StrangePod: row(), over");
    check(&local().pods(&["a"]), "ContainerEnded: row(), over");
}

#[test]
fn a_unit_that_goes_down_is_not_repaired() {
    check(&local().row(down().owner(CurrentOwner::Local, "snmp")).runs(), "watch local");
    check(&kube().row(down()).runs(), "watch local");
    check(&kube().row(down()), "UnitStopped: row(), over");
    check(&kube().row(down().owner_without_id()).pods(&["a"]), "UnitStopped: row(), over");
    check(&kube().row(down().remote(RemoteState::Pending, "a")).pods(&["a"]), "UnitStopped: row(), over");
}

#[test]
fn beside_the_local_copy_a_pod_can_ask_and_no_more() {
    let bridged = |state| kube().row(up().owner(CurrentOwner::Local, "snmp").remote(state, "a")).runs();
    check(&bridged(RemoteState::Pending).pods(&["a"]), "watch local");
    check(&bridged(RemoteState::Ready).pods(&["a"]), "watch local, row(up local=snmp remote=pending)");
    check(&bridged(RemoteState::Pending), "watch local, row(up local=snmp remote=none)");
    check(&bridged(RemoteState::Running).pods(&["a"]), "watch local, row(up local=snmp remote=none)");
    // With owner local it cannot even ask.
    let row = up().owner(CurrentOwner::Local, "snmp").remote(RemoteState::Pending, "a");
    check(&local().row(row).runs().pods(&["a"]), "watch local, row(up local=snmp remote=none)");
}

#[test]
fn beside_a_pod_that_runs_another_can_ask_as_long_as_it_is_there() {
    let row = up().owner(CurrentOwner::Kube, "a").remote(RemoteState::Pending, "b");
    check(&kube().row(row.clone()).pods(&["a", "b"]), "watch a");
    check(&kube().row(row).pods(&["a"]), "watch a, row(up remote=running)");
}

#[test]
fn the_run_is_over_when_the_recorded_copy_has_ended() {
    check(&local().row(up().owner(CurrentOwner::Local, "snmp")), "ContainerEnded: row(down none), over");
    check(
        &kube().row(up().owner(CurrentOwner::Kube, "a").remote(RemoteState::Running, "a")),
        "ContainerEnded: row(down none remote=stopped), over",
    );
    // The kubelet was quicker than we: the next container asks already.
    check(
        &kube().row(up().owner(CurrentOwner::Kube, "a").remote(RemoteState::Pending, "b")).pods(&["b"]),
        "ContainerEnded: row(down none), over",
    );
}

#[test]
fn the_pod_that_asked_is_let_in_once_the_local_copy_has_ended() {
    let asked = up().remote(RemoteState::Pending, "a");
    check(&kube().row(asked.clone()).pods(&["a"]), "PodsTurn: row(remote=ready)");
    check(&kube().row(asked.clone()).pods(&["a"]).no_server(), "PodsTurn: row(remote=ready)");
    check(&kube().row(up().remote(RemoteState::Pending, "")).pods(&["a"]), "PodsTurn: row(remote=ready)");
    check(&kube().row(asked).pods(&["a", "b"]), "StrangePod: row(), over");
}

#[test]
fn the_time_to_the_local_image_counts_anew_from_when_a_pod_was_let_in_and_from_nothing_else() {
    let at = Duration::from_secs;
    let mut idle = Idle::as_of(at(100));
    assert!(!idle.wrote(Reason::QuestionLeftOver, at(110)));
    assert_eq!(idle.at(at(115)), at(15));
    assert!(idle.wrote(Reason::PodsTurn, at(117)));
    assert_eq!(idle.at(at(120)), at(3));
    assert_eq!(idle.at(at(116)), at(0), "a clock that went back");
}

/// An unmodified local image records its version whatever a pod asks meanwhile: the pod was taken for one of that version.
#[test]
fn the_version_of_a_pod_that_asks_is_put_back_where_a_local_copy_wrote_its_own_over_it() {
    let overwritten = |row: FeatureState| {
        let row = FeatureState { container_version: Version::parse("1").ok(), ..row };
        kube().row(row.remote(RemoteState::Pending, "a")).pods(&["a"])
    };
    let bridged = overwritten(up().owner(CurrentOwner::Local, "snmp")).runs();
    check(&bridged.clone().asks("2"), "watch local, row(up local=snmp remote=pending version=2)");
    check(&bridged.clone().asks("1"), "watch local");
    check(&bridged, "watch local");
    check(&overwritten(up()).asks("2"), "PodsTurn: row(remote=ready version=2)");
    check(&overwritten(up()).asks("1"), "PodsTurn: row(remote=ready)");
    let judged = |view: View| view.judged_version().map(ToString::to_string).unwrap();
    assert_eq!([judged(overwritten(up()).asks("2")), judged(overwritten(up()))], ["2", "1"]);
}

#[test]
fn a_turn_whose_pod_has_ended_is_taken_back() {
    let ready = up().remote(RemoteState::Ready, "a");
    check(&kube().row(ready.clone()).pods(&["a"]), "PodStarts: wait 300 s");
    check(&kube().row(ready.clone()), "QuestionLeftOver: row(remote=none)");
    check(&kube().row(ready).pods(&["b"]), "QuestionLeftOver: row(remote=none)");
    // Left there it would hide the question of the next one, whose own call finds that somebody asks already.
    let pending = up().remote(RemoteState::Pending, "a");
    check(&kube().row(pending).pods(&["b"]), "QuestionLeftOver: row(remote=none)");
    check(&kube().row(up().remote(RemoteState::Pending, "")), "QuestionLeftOver: row(remote=none)");
    let one_of_two = up().remote(RemoteState::Pending, "");
    check(&kube().row(one_of_two).pods(&["a", "b"]), "WaitingForPod: wait 300 s");
}

#[test]
fn the_local_image_comes_back_after_the_configured_time() {
    let over = "PodNeverCame: row(down none remote=none), over";
    check_after(299, &kube().row(up()), "WaitingForPod: wait 1 s");
    check_after(300, &kube().row(up()), over);
    check_after(1000, &kube().row(up().remote(RemoteState::Ready, "a")).pods(&["a"]), over);
    check_after(300, &kube().row(up().remote(RemoteState::Stopped, "a")), over);
}

#[test]
fn time_alone_brings_nothing_back_where_the_local_image_must_not_or_cannot_run() {
    check_after(9999, &kube().row(up()).no_fallback(), "FallbackForbidden: wait");
    check_after(9999, &kube().row(up()).no_image(), "NoLocalImage: wait");
}

#[test]
fn a_container_without_an_id_that_was_recorded_while_it_waited_begins_anew() {
    let row = up().owner(CurrentOwner::Kube, "a").remote(RemoteState::Pending, "");
    check(&kube().row(row).pods(&["a"]), "StrangePod: row(), over");
}

/// Else a unit whose pods come and go is given up by systemd, and its local image with it.
/// BI#15432, BI#25931: planned restarts ran into the start limit, and the feature stayed dead.
#[test]
fn only_a_local_copy_that_does_not_stay_up_counts_against_the_start_limit() {
    let crashed = up().owner(CurrentOwner::Local, "snmp");
    assert!(!is_planned_end(&kube().row(crashed.clone())) && !is_planned_end(&local().row(crashed)));
    let pod = up().owner(CurrentOwner::Kube, "a").remote(RemoteState::Running, "a");
    assert!(is_planned_end(&kube().row(pod)) && is_planned_end(&kube().row(up())));
    assert!(is_planned_end(&local().row(up())), "the owner was changed while a pod was waited for");
    assert!(!is_planned_end(&local().row(up()).no_kubernetes()));
}
