//! `container stop` and `container kill` (SONIC.md 3.4 and 3.5; DESIGN.md section 4 *Stop, kill*).

use switchyard_core::{Admin, CurrentOwner, RemoteState, Step, View, kill, stop};

use crate::case::{RowCase, ViewCase, down, kube, local, up};
use crate::words;

fn check(view: &View, expected: &str) {
    assert_eq!(words::plan(&stop(view)), expected, "\nfor {view:#?}");
}

fn check_kill(view: &View, expected: &str) {
    assert_eq!(words::plan(&kill(view)), expected, "\nfor {view:#?}");
}

fn local_runs(view: View) -> View {
    view.row(up().owner(CurrentOwner::Local, "snmp")).runs()
}

fn pod_runs(view: View) -> View {
    view.row(up().owner(CurrentOwner::Kube, "a").remote(RemoteState::Running, "a")).pods(&["a"])
}

#[test]
fn down_is_written_first_then_the_copy_stops_then_nobody_owns_it() {
    check(&local_runs(local()), "UnitStopped: row(down), label false, stop local, row(down none)");
    check(&local_runs(kube()), "UnitStopped: row(down), stop local, row(down none)");
}

/// BI#15642.
#[test]
fn the_label_of_a_kube_feature_survives_a_stop() {
    check(&pod_runs(kube()), "UnitStopped: row(down), stop a, row(down none remote=stopped)");
    check(&pod_runs(local()), "UnitStopped: row(down), label false, stop a, row(down none remote=stopped)");
}

/// The pod that was seen has left, and the next one has had its turn since: only its id tells.
#[test]
fn a_stop_that_saw_one_pod_does_not_write_off_the_next() {
    let plan = stop(&pod_runs(kube()));
    let next = up().owner(CurrentOwner::Kube, "b").remote(RemoteState::Running, "b");
    let [Step::Row(first), ..] = plan.steps.as_slice() else { panic!("no row first: {plan:?}") };
    assert_eq!(first.apply(&next), None);
    assert!(first.apply(&pod_runs(kube()).row).is_some());
}

#[test]
fn a_copy_that_no_row_names_is_stopped_too() {
    // A start that was broken off (buildimage #29702), a row that was lost.
    check(&kube().runs(), "UnitStopped: row(down), stop local, row(down none)");
    check(&kube().pods(&["a"]), "UnitStopped: row(down kube), stop a, row(down none)");
    check(&kube().row(down()).pods(&["a", "b"]), "UnitStopped: stop a, stop b, row(down none)");
    check(
        &kube().row(up().owner_without_id().remote(RemoteState::Running, "")).pods(&["a"]),
        "UnitStopped: row(down), stop a, row(down none remote=stopped)",
    );
}

#[test]
fn a_pod_that_waits_for_its_turn_goes_on_waiting() {
    let bridged = up().owner(CurrentOwner::Local, "snmp").remote(RemoteState::Pending, "a");
    check(&kube().row(bridged).runs().pods(&["a"]), "UnitStopped: row(down), stop local, row(down none)");
    check(
        &kube().row(up().remote(RemoteState::Ready, "a")).pods(&["a"]),
        "UnitStopped: row(down), row(down none remote=pending)",
    );
    // It did not say which pod it is; there is only one.
    check(
        &kube().row(up().remote(RemoteState::Pending, "")).pods(&["a"]),
        "UnitStopped: row(down), row(down none)",
    );
}

#[test]
fn a_pending_of_a_pod_that_is_gone_is_not_kept() {
    check(
        &kube().row(up().remote(RemoteState::Pending, "a")),
        "UnitStopped: row(down), row(down none remote=stopped)",
    );
    check(
        &kube().row(up().remote(RemoteState::Pending, "a")).pods(&["b"]),
        "UnitStopped: row(down), stop b, row(down none remote=stopped)",
    );
}

#[test]
fn one_of_two_pods_waits_and_the_other_runs() {
    let row = up().owner(CurrentOwner::Kube, "a").remote(RemoteState::Pending, "b");
    check(&kube().row(row).pods(&["a", "b"]), "UnitStopped: row(down), stop a, row(down none)");
    // Neither knows its id: which is which cannot be told.
    let row = up().owner_without_id().remote(RemoteState::Pending, "");
    check(
        &kube().row(row).pods(&["a", "b"]),
        "UnitStopped: row(down), stop a, stop b, row(down none remote=stopped)",
    );
}

#[test]
fn a_switch_without_kubernetes_support_writes_no_label_and_no_hand_shake() {
    check(&local_runs(local().no_kubernetes()), "UnitStopped: row(down), stop local, row(down none)");
    check(
        &kube().no_kubernetes().row(up().remote(RemoteState::Running, "a")),
        "UnitStopped: row(down), row(down none)",
    );
}

#[test]
fn kill_writes_neither_row_nor_label() {
    check_kill(&local_runs(local()), "KillAsked: kill local");
    check_kill(&pod_runs(kube()), "KillAsked: kill a");
    check_kill(&local_runs(kube()), "KillAsked: kill local");
    check_kill(&pod_runs(local()), "KillAsked: kill a");
    check_kill(&local_runs(kube().no_kubernetes()), "KillAsked: kill local");
}

#[test]
fn kill_leaves_a_local_feature_alone_that_is_not_enabled_in_so_many_words() {
    for state in [Admin::Disabled, Admin::AlwaysDisabled, Admin::Template] {
        check_kill(&local_runs(local().state(state)), "NotEnabled: ");
        check_kill(&pod_runs(kube().state(state)), "KillAsked: kill a");
    }
    check_kill(&local_runs(local().state(Admin::AlwaysEnabled)), "KillAsked: kill local");
}

#[test]
fn kill_spares_a_pod_that_waits() {
    let row = up().owner(CurrentOwner::Local, "snmp").remote(RemoteState::Pending, "a");
    check_kill(&kube().row(row).runs().pods(&["a"]), "KillAsked: kill local");
}
