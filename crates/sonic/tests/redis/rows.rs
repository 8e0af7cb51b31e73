//! Rows read and written, on one ASIC and on several.

use std::collections::BTreeMap;

use switchyard_core::{AsicId, CurrentOwner, FeatureConfig, Instance, RowChange, SetOwner};
use switchyard_sonic::{SonicError, Switch};

use crate::support::{Fixture, bgp, name, snmp};

#[test]
fn a_row_is_read_as_it_was_written() {
    let fixture = Fixture::new();
    let mut db = fixture.db("STATE_DB");
    assert_eq!(db.row("T", "k").unwrap(), None);
    db.set("T", "k", &[("a", "1"), ("b", "ä\n \"quoted\"")]).unwrap();
    db.set("T", "k", &[("a", "2")]).unwrap();
    let expected = BTreeMap::from([("a".to_owned(), "2".to_owned()), ("b".into(), "ä\n \"quoted\"".into())]);
    assert_eq!(db.row("T", "k").unwrap(), Some(expected));
    assert_eq!(db.field("T", "k", "a").unwrap().as_deref(), Some("2"));
    db.delete_fields("T", "k", &["a", "never was"]).unwrap();
    assert_eq!(db.field("T", "k", "a").unwrap(), None);
    db.delete_fields("T", "k", &["b"]).unwrap();
    assert!(!db.exists("T", "k").unwrap(), "a row without fields is no more");
    db.set("T", "k", &[("a", "1")]).unwrap();
    db.delete_row("T", "k").unwrap();
    assert_eq!(db.row("T", "k").unwrap(), None);
    db.set("T", "k", &[]).unwrap();
    db.delete_fields("T", "k", &[]).unwrap();
}

#[test]
fn all_keys_of_a_table_are_found_and_no_others() {
    let fixture = Fixture::new();
    let mut db = fixture.db("CONFIG_DB");
    for number in 0..2500 {
        db.set("MANY", &format!("{number:04}|x"), &[("a", "1")]).unwrap();
    }
    db.set("MA*", "glob", &[("a", "1")]).unwrap();
    db.set("MAN", "Y", &[("a", "1")]).unwrap();
    let keys = db.keys("MANY").unwrap();
    assert_eq!(keys.len(), 2500);
    assert_eq!((keys[0].as_str(), keys[2499].as_str()), ("0000|x", "2499|x"));
    assert_eq!(db.keys("MA*").unwrap(), ["glob"]);
    assert!(db.keys("M?NY").unwrap().is_empty());
}

#[test]
fn features_come_in_natural_order_and_strange_keys_apart() {
    let fixture = Fixture::new();
    let mut config = fixture.db("CONFIG_DB");
    for key in ["swss", "p10", "p4", "bgp", "../etc", "-v", "a b", "NULL|x"] {
        config.set("FEATURE", key, &[("state", "enabled")]).unwrap();
    }
    let mut switch = fixture.open();
    let keys = switch.feature_keys().unwrap();
    let names: Vec<_> = keys.names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["bgp", "p4", "p10", "swss"]);
    assert_eq!(keys.strange, ["-v", "../etc", "NULL|x", "a b"]);
    assert_eq!(switch.feature_names().unwrap(), keys.names);
    assert!(switch.has_feature(&name("bgp")).unwrap());
    assert!(!switch.has_feature(&name("bg")).unwrap());
}

/// SONIC.md 1.6: a row without fields is stored with a placeholder.
#[test]
fn a_placeholder_row_is_a_row_without_fields() {
    let fixture = Fixture::new();
    fixture.db("CONFIG_DB").set("FEATURE", "snmp", &[("NULL", "NULL")]).unwrap();
    let mut switch = fixture.open();
    assert_eq!(switch.raw_config(&name("snmp")).unwrap(), Some(BTreeMap::new()));
    assert_eq!(switch.feature_config(&name("snmp")).unwrap(), Some(FeatureConfig::default()));
    assert_eq!(switch.feature_config(&name("bgp")).unwrap(), None);
}

/// SONIC.md 1.4 (bug): the shipped client takes any text for "loaded", so "0" passes.
#[test]
fn the_configuration_counts_only_while_initialized_is_1() {
    let fixture = Fixture::new();
    let mut switch = fixture.open();
    let mut raw = fixture.host.raw();
    redis::cmd("SELECT").arg(4).exec(&mut raw).unwrap();
    assert!(!switch.config_initialized().unwrap());
    for (value, loaded) in [("0", false), ("1", true), ("", false), ("true", false)] {
        redis::cmd("SET").arg("CONFIG_DB_INITIALIZED").arg(value).exec(&mut raw).unwrap();
        assert_eq!(switch.config_initialized().unwrap(), loaded, "{value:?}");
    }
}

#[test]
fn server_labels_outcome_and_reboot_flags_are_read_where_sonic_keeps_them() {
    let fixture = Fixture::new();
    let mut state = fixture.db("STATE_DB");
    let mut switch = fixture.open();
    assert!(!switch.pods_can_come().unwrap(), "unknown is not connected");
    state.set("KUBERNETES_MASTER", "SERVER", &[("connected", "True")]).unwrap();
    assert!(switch.pods_can_come().unwrap());

    assert_eq!(switch.label("snmp_enabled").unwrap(), None);
    switch.set_label("snmp_enabled", "true").unwrap();
    assert_eq!(switch.label("snmp_enabled").unwrap().as_deref(), Some("true"));
    assert_eq!(state.field("KUBE_LABELS", "SET", "snmp_enabled").unwrap().as_deref(), Some("true"));

    assert_eq!(switch.admin_outcome(&snmp()).unwrap(), None);
    state.set("FEATURE", "snmp", &[("state", "failed")]).unwrap();
    assert_eq!(switch.admin_outcome(&snmp()).unwrap().as_deref(), Some("failed"));

    assert!(!switch.warm_or_fast_reboot().unwrap());
    for table in ["WARM_RESTART_ENABLE_TABLE", "FAST_RESTART_ENABLE_TABLE"] {
        state.set(table, "system", &[("enable", "true")]).unwrap();
        assert!(switch.warm_or_fast_reboot().unwrap(), "{table}");
        state.set(table, "system", &[("enable", "false")]).unwrap();
        assert!(!switch.warm_or_fast_reboot().unwrap(), "{table}");
    }
    state.set("FAST_RESTART_ENABLE_TABLE", "system", &[("enable", "perhaps")]).unwrap();
    let error = switch.warm_or_fast_reboot().unwrap_err();
    assert!(matches!(&error, SonicError::Row(row) if row.word == "perhaps"), "{error}");
}

/// SONIC.md 1.3 (bug): shipped code only ever opens the host's databases, under the name of the instance.
#[test]
fn each_asics_record_is_in_its_own_namespace_under_the_features_name() {
    let fixture = Fixture::with_asics(2);
    let mut switch = fixture.open();
    assert_eq!(switch.asics(), 2);
    let owned = |owner| RowChange { current_owner: Some(owner), ..RowChange::default() };
    assert!(switch.write_state(&bgp(0), &owned(CurrentOwner::Local)).unwrap());
    assert!(switch.write_state(&bgp(1), &owned(CurrentOwner::Kube)).unwrap());
    let recorded = |switch: &mut Switch, instance: &Instance| {
        switch.feature_state(instance).unwrap().map(|state| state.current_owner)
    };
    assert_eq!(recorded(&mut switch, &bgp(0)), Some(CurrentOwner::Local));
    assert_eq!(recorded(&mut switch, &bgp(1)), Some(CurrentOwner::Kube));
    assert_eq!(recorded(&mut switch, &Instance::on_host(name("bgp"))), None);
    assert_eq!(fixture.db("STATE_DB").keys("FEATURE").unwrap(), [""; 0]);

    switch.write_state(&snmp(), &owned(CurrentOwner::Local)).unwrap();
    assert_eq!(switch.recorded_instances().unwrap(), [snmp(), bgp(0), bgp(1)], "configured or not");

    let error = switch.feature_state(&bgp(2)).unwrap_err();
    assert!(matches!(error, SonicError::NoSuchNamespace { asic: AsicId(2), .. }), "{error}");
}

/// A container of an ASIC has no other databases than its namespace's, and says there which version it is.
#[test]
fn the_version_of_an_asics_local_image_is_read_where_its_own_container_wrote_it() {
    let fixture = Fixture::with_asics(2);
    let mut switch = fixture.open();
    let said = |server: &crate::support::Server, text: &str| {
        let mut state = switchyard_sonic::Db::open(&server.address(6)).unwrap();
        state.set("KUBE_LABELS", "SET", &[("bgp_local", text)]).unwrap();
    };
    assert_eq!(switch.local_version(&bgp(0)).unwrap(), None);
    said(&fixture.host, "3.0.0");
    said(&fixture.asics[0], "1.0.0");
    said(&fixture.asics[1], "no version");
    let mut local = |instance: &Instance| switch.local_version(instance).unwrap().map(|v| v.to_string());
    assert_eq!(local(&bgp(0)).as_deref(), Some("1.0.0"));
    assert_eq!(local(&bgp(1)), None);
    assert_eq!(local(&Instance::on_host(name("bgp"))).as_deref(), Some("3.0.0"));
    // Gone native: each instance for itself.
    switch.forget_local_version(&bgp(0)).unwrap();
    assert_eq!(switch.local_version(&bgp(0)).unwrap(), None);
    assert!(switch.local_version(&Instance::on_host(name("bgp"))).unwrap().is_some());
}

#[test]
fn a_configured_field_is_written_on_the_host_and_in_every_namespace() {
    let fixture = Fixture::with_asics(2);
    fixture.open().set_feature_field(&name("bgp"), "set_owner", "kube").unwrap();
    for server in [&fixture.host, &fixture.asics[0], &fixture.asics[1]] {
        let mut db = switchyard_sonic::Db::open(&server.address(4)).unwrap();
        assert_eq!(db.field("FEATURE", "bgp", "set_owner").unwrap().as_deref(), Some("kube"));
    }
    let config = fixture.open().feature_config(&name("bgp")).unwrap().unwrap();
    assert_eq!(config.set_owner, SetOwner::Kube);
}

#[test]
fn what_came_of_an_enabling_is_recorded_on_the_host_and_in_every_namespace() {
    let fixture = Fixture::with_asics(2);
    let mut switch = fixture.open();
    switch.record_admin_outcome(&name("bgp"), "failed").unwrap();
    for instance in [Instance::on_host(name("bgp")), bgp(0), bgp(1)] {
        assert_eq!(switch.admin_outcome(&instance).unwrap().as_deref(), Some("failed"), "{instance}");
    }
}

#[test]
fn an_instance_that_has_only_tcp_is_reached() {
    let fixture = Fixture::over_tcp();
    let mut switch = fixture.open();
    let change = RowChange { current_owner: Some(CurrentOwner::Local), ..RowChange::default() };
    assert!(switch.write_state(&snmp(), &change).unwrap());
    assert_eq!(switch.feature_state(&snmp()).unwrap().unwrap().current_owner, CurrentOwner::Local);
}
