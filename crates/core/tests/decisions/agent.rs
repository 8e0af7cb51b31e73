//! The daemon (SONIC.md 5.5; DESIGN.md section 4).

use std::time::Duration;

use switchyard_core::{
    AgentView, CurrentOwner, FeatureName, FeatureState, Instance, Knobs, Phase, RemoteState, Unit, Verdict,
    View, reconcile, speaks_for_label, wants_label,
};

use crate::case::{RowCase, ViewCase, down, kube, local, up};
use crate::words;

fn now(view: &View, unit: Unit) -> AgentView<'_> {
    AgentView {
        view,
        unit,
        since: Duration::ZERO,
        phase: Phase::Steady,
        same_as_local: false,
        local_ran: true,
        copy_for: None,
        labelled: false,
        leaving: false,
    }
}

fn check(unit: Unit, view: &View, expected: &str) {
    let said = words::agent(&reconcile(&now(view, unit), &Knobs::default()));
    assert_eq!(said, expected, "\nfor {unit:?}, {view:#?}");
}

fn local_row() -> FeatureState {
    up().owner(CurrentOwner::Local, "snmp")
}

fn pod_row() -> FeatureState {
    up().owner(CurrentOwner::Kube, "a").remote(RemoteState::Running, "a")
}

/// BI#13342, BI#11037: an owner "none" was taken for a reason to restart, again and again.
#[test]
fn owner_local_takes_the_feature_from_a_pod_and_never_restarts_for_nobody() {
    check(Unit::Active, &local().row(pod_row()).pods(&["a"]), "label false, restart: OwnerChangedToLocal");
    check(Unit::Active, &local().row(local_row()).runs(), "label false");
    // buildimage #13342: this restarted for ever.
    check(Unit::Active, &local().row(up()), "label false");
    check(Unit::Active, &local(), "label false");
}

#[test]
fn a_pod_that_asks_takes_over_from_the_local_copy() {
    let knocks = local_row().remote(RemoteState::Pending, "a");
    check(Unit::Active, &kube().row(knocks.clone()).runs().pods(&["a"]), "label true, restart: PodKnocks");
    check(Unit::Active, &kube().row(knocks.clone()).runs().pods(&["a"]).no_server(), "label true");
    let view = kube().row(knocks).runs().pods(&["a"]);
    let same = AgentView { same_as_local: true, ..now(&view, Unit::Active) };
    assert_eq!(words::agent(&reconcile(&same, &Knobs::default())), "label true");
}

#[test]
fn what_a_start_left_behind_goes_and_what_was_started_by_hand_stays() {
    let view = local().row(local_row()).runs();
    let after = |copy_for, since| {
        let now = AgentView { copy_for: Some(copy_for), since, ..now(&view, Unit::Off) };
        words::agent(&reconcile(&now, &Knobs::default()))
    };
    let (second, minute) = (Duration::from_secs(1), Duration::from_mins(1));
    assert_eq!(after(minute, second), "label false, bring down: UnitStopped", "it outlived its unit");
    assert_eq!(after(second, second), "label false, bring down: UnitStopped", "its start was cut short");
    assert_eq!(after(second, minute), "label false", "somebody started it long after");
}

#[test]
fn a_switch_that_leaves_its_cluster_brings_every_pod_home_that_has_a_home() {
    let view = kube().row(pod_row()).pods(&["a"]).no_server();
    let leaves = |view: &View| {
        let now = AgentView { leaving: true, ..now(view, Unit::Active) };
        words::agent(&reconcile(&now, &Knobs::default()))
    };
    assert_eq!(leaves(&view), "label true, restart: Leaving");
    let mut homeless = view;
    homeless.config.fallback = false;
    assert_eq!(leaves(&homeless), "label true", "the operator said that there is no home");
}

#[test]
fn a_version_that_is_held_blocked_or_failed_lately_does_not_take_over() {
    let knocks = local_row().remote(RemoteState::Pending, "a");
    for verdict in [Verdict::Held, Verdict::Blocked, Verdict::TooSoon(Duration::from_secs(9))] {
        check(
            Unit::Active,
            &View { verdict, ..kube().row(knocks.clone()).runs().pods(&["a"]) },
            "label true",
        );
    }
}

/// BI#15642: a restart dropped the label, and the node took the newest template out of turn.
#[test]
fn an_instance_that_is_off_and_lost_its_row_does_not_speak_for_the_label_of_its_feature() {
    let lost = kube();
    assert!(!speaks_for_label(Unit::Off, &lost));
    assert!(speaks_for_label(Unit::Active, &lost), "its row will be repaired");
    assert!(speaks_for_label(Unit::Off, &kube().row(down())));
    assert!(wants_label([None, Some(false), Some(true)]), "one of several is enough");
    assert!(!wants_label([None, Some(false)]));
}

#[test]
fn the_label_follows_a_stop_after_a_while_and_disable_or_owner_local_at_once() {
    let knobs = Knobs::default();
    let off = |view: &View, since| {
        let now = AgentView { since, ..now(view, Unit::Off) };
        words::agent(&reconcile(&now, &knobs))
    };
    let mut stopped = kube().row(down());
    assert_eq!(off(&stopped, Duration::ZERO), "");
    assert_eq!(off(&stopped, knobs.label_drop), "label false");
    stopped.config.state = switchyard_core::Admin::Disabled;
    assert_eq!(off(&stopped, Duration::ZERO), "label false");
    assert_eq!(off(&local().row(down()), Duration::ZERO), "label false");
    assert_eq!(off(&kube(), knobs.label_drop), "", "a unit that was never started says nothing");
}

/// Redis lost the row, the agent asked for the label again, and was not there when the feature was deleted.
#[test]
fn a_label_that_is_there_goes_with_a_feature_that_is_gone_whether_it_has_a_row_or_not() {
    let off = |view: &View, labelled| {
        let now = AgentView { labelled, ..now(view, Unit::Off) };
        words::agent(&reconcile(&now, &Knobs::default()))
    };
    let mut deleted = kube();
    deleted.config = switchyard_core::FeatureConfig::default();
    assert_eq!(off(&deleted, true), "label false");
    assert_eq!(off(&deleted, false), "", "a feature that never ran has no label to take off");
    assert_eq!(off(&kube(), true), "", "its unit was never started since the boot, and may yet be");
}

/// BI#19528: a `config reload` restarted containers.
#[test]
fn nothing_moves_while_the_switch_loads_goes_down_or_reboots_warm() {
    let knocks = kube().row(local_row().remote(RemoteState::Pending, "a")).runs().pods(&["a"]);
    for phase in [Phase::Loading, Phase::TargetDown, Phase::Rebooting] {
        let now = AgentView { phase, ..now(&knocks, Unit::Active) };
        assert_eq!(reconcile(&now, &Knobs::default()), [], "{phase:?}");
    }
    let kube_only = kube().row(down().remote(RemoteState::Stopped, "a")).no_image();
    let now = AgentView { phase: Phase::Rebooting, ..now(&kube_only, Unit::WillRestart) };
    assert_eq!(
        words::agent(&reconcile(&now, &Knobs::default())),
        "restart: PodGone",
        "it has no other image"
    );
}

#[test]
fn a_start_bridges_rather_than_wait_for_a_version_that_is_kept_out() {
    let asks = kube().row(up().remote(RemoteState::Pending, "a")).pods(&["a"]);
    let blocked = View { verdict: Verdict::Blocked, ..asks };
    let plan = switchyard_core::start(&blocked).unwrap();
    assert_eq!(plan.reason, switchyard_core::Reason::Blocked);
    assert!(plan.steps.contains(&switchyard_core::Step::StartLocal), "{plan:?}");
    // Whoever waits already goes home at once, or, where there is no home, says why it waits.
    let wait = |view: &View| words::waiting(&switchyard_core::wait(view, Duration::ZERO, &Knobs::default()));
    assert!(
        wait(&blocked).starts_with("Blocked: ") && wait(&blocked).ends_with("over"),
        "{}",
        wait(&blocked)
    );
    assert_eq!(wait(&blocked.clone().no_image()), "Blocked: wait");
    let left = View { row: up().remote(RemoteState::Stopped, "a"), ..blocked.clone() };
    assert!(wait(&left).starts_with("Blocked: ") && wait(&left).ends_with("over"), "{}", wait(&left));
    assert_eq!(wait(&left.no_image()), "NoLocalImage: wait");
    let soon = View { verdict: Verdict::TooSoon(Duration::from_secs(9)), ..blocked.no_image() };
    assert_eq!(wait(&soon), "FailedLately: wait 9 s");
}

#[test]
fn a_pod_that_asks_puts_out_no_pod_that_runs() {
    let knocks = pod_row().remote(RemoteState::Pending, "b");
    check(Unit::Active, &kube().row(knocks).pods(&["a", "b"]), "label true");
    let nameless = up().owner_without_id().remote(RemoteState::Pending, "");
    check(Unit::Active, &kube().row(nameless).pods(&["a", "b"]), "label true");
}

#[test]
fn with_nobody_running_wait_lets_the_pod_in_by_itself() {
    check(Unit::Active, &kube().row(up().remote(RemoteState::Pending, "a")).pods(&["a"]), "label true");
    check(Unit::Active, &kube().row(pod_row()).pods(&["a"]), "label true");
}

#[test]
fn the_gap_of_a_rolling_update_is_shortened() {
    for state in [RemoteState::Stopped, RemoteState::Pending] {
        check(Unit::WillRestart, &kube().row(down().remote(state, "a")), "restart: PodGone");
    }
    check(Unit::WillRestart, &kube().row(down()), "");
    check(Unit::WillRestart, &local().row(down().remote(RemoteState::Stopped, "a")), "");
}

#[test]
fn the_way_home_from_a_pod_does_not_wait_for_the_delay_that_is_meant_for_a_local_copy_that_ends() {
    let said = |view: &View| {
        let now = AgentView { local_ran: false, ..now(view, Unit::WillRestart) };
        words::agent(&reconcile(&now, &Knobs::default()))
    };
    let gave_up = kube().row(down());
    assert_eq!(said(&gave_up), "restart: PodNeverCame");
    let crashed = kube().row(down().remote(RemoteState::Stopped, "a"));
    let crashed = View { verdict: Verdict::Blocked, ..crashed };
    assert_eq!(said(&crashed), "restart: PodGone");
    check(Unit::WillRestart, &gave_up, "");
    check(Unit::WillRestart, &crashed, "");
    // With the owner its label is gone: the pod may end before its unit is restarted.
    let called_home = local().row(down().remote(RemoteState::Stopped, "a"));
    assert_eq!(said(&called_home), "restart: OwnerChangedToLocal");
    check(Unit::WillRestart, &called_home, "");
}

#[test]
fn a_unit_that_was_stopped_stays_stopped() {
    for view in [local(), kube(), kube().row(down().remote(RemoteState::Pending, "a")).pods(&["a"])] {
        check(Unit::Off, &view, "");
    }
    // A unit that is just starting or stopping is not interfered with.
    check(Unit::Busy, &kube().row(local_row().remote(RemoteState::Pending, "a")).runs().pods(&["a"]), "");
    check(Unit::Busy, &local().row(pod_row()).pods(&["a"]), "");
}

#[test]
fn what_a_run_left_behind_is_brought_down_once_the_unit_is_off() {
    let brings_down = "bring down: UnitStopped";
    check(Unit::Off, &local().row(local_row()).runs(), "label false, bring down: UnitStopped");
    check(Unit::Off, &local().row(local_row()), "label false, bring down: UnitStopped");
    check(Unit::Off, &kube().row(pod_row()).pods(&["a"]), brings_down);
    check(Unit::Off, &kube().row(up()), brings_down);
    check(Unit::Off, &local().runs(), brings_down);
    check(Unit::Off, &kube().pods(&["a"]), brings_down);
}

#[test]
fn a_copy_that_runs_under_a_row_that_says_down_is_started_anew() {
    check(Unit::Active, &local().row(down()).runs(), "restart: RowRepaired");
    check(Unit::Active, &kube().row(down()).pods(&["a"]), "label true");
}

#[test]
fn database_and_switches_without_kubernetes_support_are_left_alone() {
    let mut database = local().row(pod_row()).pods(&["a"]);
    database.instance = Instance::on_host(FeatureName::parse("database").unwrap());
    check(Unit::Active, &database, "");
    check(Unit::Off, &database, "");
    check(Unit::Active, &local().no_kubernetes().row(pod_row()), "");
}
