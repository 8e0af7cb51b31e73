//! The start-up call inside an image (SONIC.md 4.2; DESIGN.md section 4 *Knock* and *Keeping out*).

use std::time::Duration;

use switchyard_core::{
    Answer, AsicId, Asking, CurrentOwner, FeatureConfig, FeatureState, Instance, Knobs, RemoteState,
    SetOwner, Side, SystemState, Version, ask, leave, wait,
};

use crate::case::{RowCase, ViewCase, down, engine_id, feature, kube, up};
use crate::words;

/// A container of version 2 asks, beside a local image of version 1.
struct Gate {
    side: Side,
    id: &'static str,
    has_asked: bool,
    configured: bool,
    wanted: Option<SetOwner>,
    row: FeatureState,
    version: &'static str,
}

fn pod(row: FeatureState) -> Gate {
    let wanted = Some(SetOwner::Kube);
    Gate { side: Side::Kube, id: "a", has_asked: false, configured: true, wanted, row, version: "2" }
}

fn local(row: FeatureState) -> Gate {
    Gate { side: Side::Local, ..pod(row) }
}

impl Gate {
    fn asking<R>(&self, then: impl FnOnce(&Asking<'_>) -> R) -> R {
        let config = self.wanted.map(|set_owner| FeatureConfig { set_owner, ..FeatureConfig::default() });
        let id = (!self.id.is_empty()).then(|| engine_id(self.id));
        then(&Asking {
            instance: &Instance::on_host(feature()),
            side: self.side,
            version: &Version::parse(self.version).unwrap(),
            id: id.as_ref(),
            has_asked: self.has_asked,
            configured: self.configured,
            config: config.as_ref(),
            row: &self.row,
            local_version: Some(&Version::parse("1").unwrap()),
        })
    }

    fn check(&self, expected: &str) {
        let said = self.asking(|asking| words::answer(&ask(asking)));
        assert_eq!(said, expected, "\nfor {:?}", self.row);
    }
}

#[test]
fn the_local_copy_may_always_run_and_records_itself_where_rows_are_kept() {
    local(FeatureState::default()).check("Unmanaged: run");
    local(up()).check("OwnerLocal: row(local=snmp version=2), run");
}

/// The host looks for the container by this name, and the row in the namespace bears the feature's.
#[test]
fn the_local_copy_of_an_asic_records_its_own_containers_name() {
    let first = Instance { feature: feature(), asic: Some(AsicId(0)) };
    let said = local(up()).asking(|asking| ask(&Asking { instance: &first, ..asking.clone() }));
    assert_eq!(words::answer(&said), "OwnerLocal: row(local=snmp0 version=2), run");
}

/// Met in the lab: the agent died amid a switchover, the local image bridged, and its start-up call made the pod that
/// asked look like one of the local version. It waited for ever.
#[test]
fn the_local_copy_leaves_the_version_of_a_pod_that_asks() {
    local(up().remote(RemoteState::Pending, "b")).check("OwnerLocal: row(local=snmp), run");
    local(up().remote(RemoteState::Running, "b")).check("OwnerLocal: row(local=snmp version=2), run");
}

/// SONIC.md 12.2: without a `system_state`, as after each boot, anything ran.
#[test]
fn a_pod_does_not_run_ahead_of_the_host() {
    pod(FeatureState::default()).check("HostHasNotSpoken: wait");
    pod(down()).check("UnitIsDown: wait");
    pod(down().remote(RemoteState::Ready, "a")).check("UnitIsDown: wait");
    Gate { wanted: Some(SetOwner::Local), ..pod(up()) }.check("OwnerIsLocal: wait");
}

#[test]
fn a_feature_that_nobody_configured_is_not_ours_once_the_configuration_is_loaded() {
    Gate { wanted: None, ..pod(FeatureState::default()) }.check("Unmanaged: run");
    Gate { wanted: None, configured: false, ..pod(FeatureState::default()) }.check("NotConfiguredYet: wait");
}

#[test]
fn a_pod_asks_and_waits() {
    let asks = "AsksForTurn: row(remote=pending asks=a version=2), wait";
    for state in [RemoteState::None, RemoteState::Stopped, RemoteState::Running] {
        pod(up().remote(state, "b")).check(asks);
        Gate { has_asked: true, ..pod(up().remote(state, "b")) }.check(asks);
    }
    // A newer container takes the place of one that asked before it.
    pod(up().remote(RemoteState::Pending, "b")).check(asks);
    pod(up().remote(RemoteState::Ready, "b")).check(asks);
    pod(up().owner(CurrentOwner::Local, "snmp")).check(asks);
}

/// HLD#1421: a pod of the local image's version ran dry, and was fetched besides.
#[test]
fn the_same_version_as_the_local_image_asks_and_says_why_it_waits() {
    let same = |row| Gate { version: "1", ..pod(row) };
    same(up()).check("SameAsLocal: row(remote=pending asks=a version=1), wait");
    Gate { has_asked: true, ..same(up().remote(RemoteState::Pending, "a")) }.check("SameAsLocal: wait");
    // At the next restart it is let in like any other.
    Gate { has_asked: true, ..same(up().remote(RemoteState::Ready, "a")) }
        .check("HasTurn: row(kube=a remote=running version=1), run");
}

/// SONIC.md 12.2: a stale ready let the next pod in without a hand-over.
#[test]
fn a_turn_is_taken_by_the_one_container_that_it_was_given_to() {
    let runs = "HasTurn: row(kube=a remote=running version=2), run";
    pod(up().remote(RemoteState::Ready, "a")).check(runs);
    Gate { has_asked: true, ..pod(up().remote(RemoteState::Ready, "b")) }.check("Superseded: wait");
    Gate { has_asked: true, ..pod(up().remote(RemoteState::Pending, "b")) }.check("Superseded: wait");
    Gate { has_asked: true, ..pod(up().remote(RemoteState::Pending, "a")) }.check("AsksForTurn: wait");
}

#[test]
fn a_container_that_the_row_names_runs() {
    let named = |row: FeatureState| pod(row.owner(CurrentOwner::Kube, "a"));
    let runs = "HasTurn: row(kube=a remote=running version=2), run";
    named(up().remote(RemoteState::Running, "")).check(runs);
    named(up().remote(RemoteState::Pending, "b")).check(runs);
    Gate { wanted: Some(SetOwner::Local), ..named(up().remote(RemoteState::Running, "")) }.check(runs);
    named(down().remote(RemoteState::Running, "")).check("UnitIsDown: wait");
}

#[test]
fn containers_without_an_id_are_told_apart_by_version_and_by_having_asked() {
    let version = |text| Some(Version::parse(text).unwrap());
    let ready = |by| FeatureState { container_version: version(by), ..up().remote(RemoteState::Ready, "") };
    let nameless = |row, has_asked| Gate { id: "", has_asked, ..pod(row) };
    nameless(ready("2"), true).check("HasTurn: row(kube remote=running version=2), run");
    nameless(ready("2"), false).check("AsksForTurn: row(remote=pending version=2), wait");
    nameless(ready("3"), true).check("Superseded: wait");
    // The turn is for somebody with an id, or for somebody without.
    nameless(up().remote(RemoteState::Ready, "b"), true).check("Superseded: wait");
    Gate { has_asked: true, ..pod(ready("2")) }.check("Superseded: wait");
}

#[test]
fn a_container_that_ends_takes_back_only_its_own_entry() {
    let left = |gate: &Gate| {
        gate.asking(|asking| leave(asking).map(|change| change.apply(&gate.row).unwrap()))
            .map(|row| (row.system_state, row.current_owner, row.remote_state))
    };
    let up_still = Some(SystemState::Up);
    let mine = up().owner(CurrentOwner::Kube, "a").remote(RemoteState::Running, "a");
    assert_eq!(left(&pod(mine)), Some((up_still, CurrentOwner::None, RemoteState::Stopped)));
    assert_eq!(left(&pod(up().owner(CurrentOwner::Kube, "b"))), None);
    assert_eq!(left(&pod(up().owner(CurrentOwner::Local, "snmp"))), None);
    let knocked = up().owner(CurrentOwner::Local, "snmp").remote(RemoteState::Pending, "b");
    assert_eq!(left(&local(knocked)), Some((up_still, CurrentOwner::None, RemoteState::Pending)));
    assert_eq!(left(&local(up())), None);
}

/// SONiC's own call asks with two fields, and leaves alone the one that it does not know.
#[test]
fn a_pod_that_ran_leaves_nothing_behind_that_hides_the_question_of_an_unmodified_image() {
    let asked = up().remote(RemoteState::Ready, "a");
    let Answer::RecordAndRun(change, _) = pod(asked.clone()).asking(ask) else {
        panic!("it has its turn");
    };
    let mut row = change.apply(&asked).expect("nothing has changed");
    row.remote_state = RemoteState::Pending;
    row.container_version = Version::parse("3").ok();
    let knobs = Knobs::default();
    let beside_local = FeatureState { current_owner: CurrentOwner::Local, ..row.clone() };
    let waits = kube().row(beside_local).runs().pods(&["b"]);
    assert_eq!(words::waiting(&wait(&waits, Duration::ZERO, &knobs)), "watch local");
    let alone = FeatureState { current_owner: CurrentOwner::None, ..row };
    let waits = kube().row(alone).pods(&["b"]);
    assert_eq!(words::waiting(&wait(&waits, Duration::ZERO, &knobs)), "PodsTurn: row(remote=ready)");
}
