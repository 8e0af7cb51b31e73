//! Changes of a record: compared and written as one, and meaning on the server exactly what they mean in core.

use std::{
    cell::RefCell,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use proptest::{
    prelude::*,
    test_runner::{Config, FileFailurePersistence},
};
use switchyard_core::{
    ContainerId, CurrentOwner, FeatureState, OnlyIf, RemoteState, RowChange, SystemState, Version, Words,
};

use crate::support::{Fixture, snmp};

#[test]
fn of_eight_writers_that_saw_the_same_row_exactly_one_writes() {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 200;
    let fixture = Fixture::new();
    let together = Barrier::new(WRITERS);
    let written: Vec<AtomicUsize> = (0..ROUNDS).map(|_| AtomicUsize::new(0)).collect();
    let last_writer = AtomicUsize::new(usize::MAX);
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (fixture, together, written, last_writer) = (&fixture, &together, &written, &last_writer);
            scope.spawn(move || {
                let mut switch = fixture.open();
                for count in written {
                    together.wait();
                    let seen = switch.feature_state(&snmp()).unwrap().unwrap_or_default();
                    together.wait();
                    // Every round's row differs from what all have seen, or else two might rightly write it.
                    let remote_state = match seen.remote_state {
                        RemoteState::Pending => RemoteState::Ready,
                        _ => RemoteState::Pending,
                    };
                    let change = RowChange {
                        remote_state: Some(remote_state),
                        container_version: Version::parse(&writer.to_string()).ok(),
                        only_if: OnlyIf::unchanged(&seen),
                        ..RowChange::default()
                    };
                    if switch.write_state(&snmp(), &change).unwrap() {
                        count.fetch_add(1, Ordering::SeqCst);
                        last_writer.store(writer, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let counts: Vec<_> = written.iter().map(|count| count.load(Ordering::SeqCst)).collect();
    assert_eq!(counts, [1; ROUNDS]);
    let row = fixture.open().feature_state(&snmp()).unwrap().unwrap();
    let winner = last_writer.load(Ordering::SeqCst).to_string();
    assert_eq!(row.container_version.unwrap().as_str(), winner);
}

#[test]
fn a_change_whose_condition_fails_leaves_every_byte_as_it_was() {
    let fixture = Fixture::new();
    let mut db = fixture.db("STATE_DB");
    db.set("FEATURE", "snmp", &[("current_owner", "kube"), ("other", "kept")]).unwrap();
    let before = db.row("FEATURE", "snmp").unwrap();
    let change = RowChange {
        current_owner: Some(CurrentOwner::None),
        only_if: OnlyIf::unchanged(&FeatureState::default()),
        ..RowChange::default()
    };
    assert!(!fixture.open().write_state(&snmp(), &change).unwrap());
    assert_eq!(db.row("FEATURE", "snmp").unwrap(), before);
}

#[test]
fn a_change_of_nothing_writes_nothing() {
    let fixture = Fixture::new();
    let only_if = OnlyIf::unchanged(&FeatureState::default());
    assert!(fixture.open().write_state(&snmp(), &RowChange { only_if, ..RowChange::default() }).unwrap());
    assert_eq!(fixture.db("STATE_DB").row("FEATURE", "snmp").unwrap(), None);
}

/// DESIGN.md section 4: the seeds' names are kept up beside the shipped ones.
#[test]
fn the_older_names_are_written_beside_the_shipped_ones() {
    let fixture = Fixture::new();
    let mut db = fixture.db("STATE_DB");
    let mut switch = fixture.open();
    db.set("FEATURE", "snmp", &[("current_owner_update_ts", "long ago"), ("update_time", "long ago")])
        .unwrap();
    let field = |db: &mut switchyard_sonic::Db, name| db.field("FEATURE", "snmp", name).unwrap().unwrap();
    let local = RowChange {
        current_owner: Some(CurrentOwner::Local),
        container_id: Some(ContainerId::parse("snmp").ok()),
        ..RowChange::default()
    };
    assert!(switch.write_state(&snmp(), &local).unwrap());
    let since = field(&mut db, "current_owner_update_ts");
    assert_ne!(since, "long ago");
    assert_eq!(field(&mut db, "update_time"), since);
    for id in ["container_id", "docker_id"] {
        assert_eq!(field(&mut db, id), "snmp");
    }
    // The owner stays, so the time of its last change stays too, also where it goes by another name.
    for owner in ["local", "Systemd "] {
        db.set("FEATURE", "snmp", &[("current_owner", owner), ("current_owner_update_ts", "long ago")])
            .unwrap();
        assert!(switch.write_state(&snmp(), &local).unwrap());
        assert_eq!(field(&mut db, "current_owner_update_ts"), "long ago", "{owner}");
    }
    let gone = RowChange {
        current_owner: Some(CurrentOwner::None),
        container_id: Some(None),
        ..RowChange::default()
    };
    assert!(switch.write_state(&snmp(), &gone).unwrap());
    assert_ne!(field(&mut db, "current_owner_update_ts"), "long ago");
    for id in ["container_id", "docker_id"] {
        assert_eq!(field(&mut db, id), "");
    }
}

fn word<T: Words + std::fmt::Debug>() -> impl Strategy<Value = T> {
    prop::sample::select(T::ALL.iter().map(|(value, _)| *value).collect::<Vec<_>>())
}

fn id() -> impl Strategy<Value = ContainerId> {
    prop_oneof![Just("snmp"), Just("0123456789ab"), Just("ba9876543210")]
        .prop_map(|text| ContainerId::parse(text).unwrap())
}

fn version() -> impl Strategy<Value = Version> {
    "[!-~]{1,40}".prop_map(|text| Version::parse(&text).unwrap())
}

prop_compose! {
    fn any_only_if()(
        system_state in prop::option::of(word()),
        current_owner in word(),
        container_id in prop::option::of(id()),
        remote_state in word(),
        remote_container_id in prop::option::of(id()),
    ) -> OnlyIf {
        OnlyIf { system_state, current_owner, container_id, remote_state, remote_container_id }
    }
}

prop_compose! {
    fn any_change()(
        system_state in prop::option::of(word::<SystemState>()),
        current_owner in prop::option::of(word()),
        container_id in prop::option::of(prop::option::of(id())),
        container_version in prop::option::of(version()),
        stable_version in prop::option::of(version()),
        last_version in prop::option::of(version()),
        remote_state in prop::option::of(word()),
        remote_container_id in prop::option::of(id()),
        only_if in prop::option::of(any_only_if()),
    ) -> RowChange {
        RowChange {
            system_state, current_owner, container_id, container_version, stable_version, last_version,
            remote_state, remote_container_id, only_if,
        }
    }
}

/// The words that others may have left in a row, of which each means something to our reader.
fn any_row() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let field = |name, words: &'static [&'static str]| {
        prop::option::of(prop::sample::select(words)).prop_map(move |word| word.map(|word| (name, word)))
    };
    (
        field("current_owner", &["", "local", "Kube", " none", "legacy", "docker", "SYSTEMD", "\tkube\n"]),
        field("remote_state", &["", "none", "Pending", "ready", "running", "stopped "]),
        field("remote_container_id", &["", "snmp", "0123456789ab", " ba9876543210"]),
        field("container_id", &["", "snmp", "0123456789ab"]),
        field("system_state", &["", "up", "Down"]),
        field("container_version", &["", "1.0"]),
        field("docker_id", &["", "snmp", "0123456789ab"]),
    )
        .prop_map(|(a, b, c, d, e, f, g)| [a, b, c, d, e, f, g].into_iter().flatten().collect())
}

/// Whether written or not, and what is read afterwards, is what core says: for one row and many changes in a row.
#[test]
fn the_server_does_to_the_row_what_core_says_the_change_does() {
    let fixture = Fixture::new();
    let world = RefCell::new((fixture.db("STATE_DB"), fixture.open()));
    let persistence = FileFailurePersistence::WithSource("proptest-regressions");
    let config = Config { failure_persistence: Some(Box::new(persistence)), ..Config::default() };
    proptest!(config, |(row in any_row(), changes in prop::collection::vec(any_change(), 1..8))| {
        let (db, switch) = &mut *world.borrow_mut();
        db.delete_row("FEATURE", "snmp").unwrap();
        db.set("FEATURE", "snmp", &row).unwrap();
        let mut expected = switch.feature_state(&snmp()).unwrap().unwrap_or_default();
        for change in changes {
            let after = change.apply(&expected);
            prop_assert_eq!(switch.write_state(&snmp(), &change).unwrap(), after.is_some());
            expected = after.unwrap_or(expected);
            let mut read = switch.feature_state(&snmp()).unwrap().unwrap_or_default();
            // The times are the adapter's to write.
            read.update_time.clone_from(&expected.update_time);
            read.owner_since.clone_from(&expected.owner_since);
            prop_assert_eq!(&read, &expected);
        }
    });
}
