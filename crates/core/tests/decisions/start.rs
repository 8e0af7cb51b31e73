//! `container start` (SONIC.md 3.3 and 3.8; DESIGN.md section 4 *Start*).

use std::time::Duration;

use switchyard_core::{Copy, CurrentOwner, FeatureState, RemoteState, Verdict, View, may_hold_track, start};

use crate::case::{RowCase, ViewCase, down, engine_id, kube, local, up};
use crate::words;

fn check(view: &View, expected: &str) {
    let said = start(view).map_or_else(|refusal| refusal.to_string(), |plan| words::plan(&plan));
    assert_eq!(said, expected, "\nfor {view:#?}");
}

#[test]
fn owner_local_drops_the_label_first_and_starts_docker() {
    check(&local(), "OwnerLocal: label false, row(up local=snmp remote=none), start local");
    check(
        &local().row(down().remote(RemoteState::Stopped, "a")),
        "OwnerLocal: label false, row(up local=snmp remote=none), start local",
    );
}

#[test]
fn owner_local_stops_a_pod_that_may_run_before_the_row_lets_anyone_believe_in_the_local_copy() {
    let plan = "OwnerLocal: label false, stop a, row(up local=snmp remote=none), start local";
    check(
        &local().row(up().owner(CurrentOwner::Kube, "a").remote(RemoteState::Running, "a")).pods(&["a"]),
        plan,
    );
    // Lost row: nobody knows what the pod does.
    check(&local().pods(&["a"]), plan);
    // The row knows one pod to wait; of the other it knows nothing.
    check(&local().row(down().remote(RemoteState::Pending, "b")).pods(&["a", "b"]), plan);
}

/// The kubelet starts a container anew in the moment in which it crashed.
#[test]
fn a_pod_that_came_while_nobody_ran_may_ask_for_its_turn_before_it_is_stopped() {
    let kept_out = |view: View| View { verdict: Verdict::TooSoon(Duration::from_secs(9)), ..view };
    let crashed =
        |row: FeatureState| kept_out(kube().row(row.remote(RemoteState::Stopped, "a"))).pods(&["b"]);
    let rest = "stop b, row(up local=snmp remote=none), start local, label true";
    check(&crashed(down()), &format!("FailedLately: row(up), await row 100 ms, {rest}"));
    // It had its time, and has not asked.
    check(&crashed(up()), &format!("FailedLately: {rest}"));
    // Who has asked waits.
    let asked = kept_out(kube().row(up().remote(RemoteState::Pending, "b"))).pods(&["b"]);
    check(&asked, "FailedLately: row(up local=snmp remote=none), start local, label true");
    // Of a pod that came before the row was lost nobody knows, and the owner's wish for the local copy is not put off.
    check(&kept_out(kube()).pods(&["b"]), &format!("FailedLately: {rest}"));
    let unwanted = local().row(down().remote(RemoteState::Stopped, "a")).pods(&["b"]);
    check(&unwanted, "OwnerLocal: label false, stop b, row(up local=snmp remote=none), start local");
}

/// A row that calls it waiting while it runs would have every start wait for the lock in vain, for ever.
#[test]
fn a_pod_that_the_row_takes_for_waiting_may_hold_the_track_all_the_same() {
    let view = local().row(down().remote(RemoteState::Pending, "b")).pods(&["a", "b"]);
    check(&view, "OwnerLocal: label false, stop a, row(up local=snmp remote=none), start local");
    assert_eq!(may_hold_track(&view), ["a", "b"].map(|id| Copy::Pod(engine_id(id))));
}

#[test]
fn owner_local_without_a_container_says_who_creates_it() {
    check(
        &local().no_image(),
        "there is no container named snmp to start; its control script creates it: systemctl restart snmp",
    );
}

#[test]
fn a_switch_without_kubernetes_support_starts_docker_whatever_is_configured() {
    for view in [local(), kube(), kube().no_fallback()] {
        check(&view.no_kubernetes(), "OwnerLocal: row(up local=snmp), start local");
    }
}

#[test]
fn owner_kube_bridges_until_a_pod_asks_and_sets_the_label_last() {
    check(&kube(), "NoPodYet: row(up local=snmp remote=none), start local, label true");
    check(&kube().no_server(), "ServerAway: row(up local=snmp remote=none), start local, label true");
}

#[test]
fn owner_kube_bridges_when_the_pod_that_asks_cannot_be_trusted_to_come() {
    let asked = down().remote(RemoteState::Pending, "a");
    check(
        &kube().row(asked).pods(&["a"]).no_server(),
        "ServerAway: row(up local=snmp remote=none), start local, label true",
    );
}

#[test]
fn owner_kube_leaves_the_place_to_a_pod_that_asks_has_asked_or_just_stopped() {
    for (state, row) in [
        (RemoteState::Pending, "row(up none)"),
        (RemoteState::Ready, "row(up none remote=pending)"),
        (RemoteState::Stopped, "row(up none)"),
    ] {
        check(
            &kube().row(down().remote(state, "a")).pods(&["a"]),
            &format!("PodIsComing: {row}, label true"),
        );
    }
}

/// SONIC.md 12.2: a stale ready let the next pod in without a hand-over.
#[test]
fn a_turn_left_over_from_an_earlier_run_is_nobodys() {
    check(
        &kube().row(down().remote(RemoteState::Ready, "a")),
        "PodIsComing: row(up none remote=stopped), label true",
    );
    check(
        &kube().row(up().owner(CurrentOwner::Kube, "a").remote(RemoteState::Running, "a")),
        "PodIsComing: row(up none remote=stopped), label true",
    );
}

#[test]
fn a_pod_that_runs_stays_also_when_the_server_is_away() {
    let runs = kube().row(up().owner(CurrentOwner::Kube, "a").remote(RemoteState::Running, "a")).pods(&["a"]);
    check(&runs, "PodRuns: row(up), label true");
    check(&runs.no_server(), "PodRuns: row(up), label true");
    // Half a row is enough to know it by.
    let half = FeatureState { system_state: None, ..up().owner(CurrentOwner::Kube, "a") };
    check(&kube().row(half).pods(&["a"]), "PodRuns: row(up), label true");
}

#[test]
fn a_question_beside_the_pod_that_runs_goes_with_who_asked_and_the_pod_is_said_to_run() {
    let asked = up().owner(CurrentOwner::Kube, "a").remote(RemoteState::Pending, "b");
    check(&kube().row(asked.clone()).pods(&["a"]), "PodRuns: row(up remote=running), label true");
    check(&kube().row(asked).pods(&["a", "b"]), "PodRuns: row(up), label true");
}

#[test]
fn a_local_copy_that_still_runs_makes_room_for_the_pod() {
    check(
        &kube()
            .row(up().owner(CurrentOwner::Local, "snmp").remote(RemoteState::Pending, "a"))
            .pods(&["a"])
            .runs(),
        "PodIsComing: stop local, row(up none), label true",
    );
}

/// SONIC.md 12.2: a feature without a local image failed at `docker create`.
#[test]
fn kube_only_never_starts_docker() {
    check(&kube().no_image(), "NoLocalImage: row(up none), label true");
    check(&kube().no_image().no_server(), "NoLocalImage: row(up none), label true");
    check(&kube().no_fallback(), "FallbackForbidden: row(up none), label true");
    check(&kube().no_fallback().no_server(), "FallbackForbidden: row(up none), label true");
}

#[test]
fn pods_that_cannot_be_told_apart_are_stopped_before_the_row_says_that_nobody_runs() {
    check(
        &kube().no_fallback().pods(&["a", "b"]),
        "FallbackForbidden: stop a, stop b, row(up none), label true",
    );
    check(
        &kube().row(up().owner_without_id().remote(RemoteState::Running, "")).pods(&["a"]),
        "PodIsComing: stop a, row(up none remote=stopped), label true",
    );
}
