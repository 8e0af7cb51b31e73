//! The rows of the Kubernetes server and of the node's labels.

use switchyard_sonic::{Fields, Label, SERVER_PORT, ServerHost, ServerStatus, SonicError};

use crate::support::{Fixture, name};

const TABLE: &str = "KUBERNETES_MASTER";

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect()
}

/// BI#28051, FIELD.md defect 9: any word about the server made it insecure.
#[test]
fn the_first_word_about_the_server_is_secure() {
    let fixture = Fixture::new();
    let mut switch = fixture.open();
    assert_eq!(switch.server_config().unwrap().wanted(), None);
    assert!(switch.set_server_field("ip", "10.0.0.5").unwrap());
    let row = [("ip", "10.0.0.5"), ("port", "6443"), ("insecure", "False"), ("disable", "False")];
    assert_eq!(fixture.db("CONFIG_DB").row(TABLE, "SERVER").unwrap(), Some(fields(&row)));
    let config = switch.server_config().unwrap();
    assert_eq!((config.port, config.insecure, config.disable), (SERVER_PORT, false, false));
    assert_eq!(config.wanted(), ServerHost::parse("10.0.0.5").ok().as_ref());
}

#[test]
fn what_others_wrote_about_the_server_stays() {
    let fixture = Fixture::new();
    // As minigraph leaves it, with a field that nobody here knows.
    fixture
        .db("CONFIG_DB")
        .set(TABLE, "SERVER", &[("ip", "fd00::5"), ("disable", "false"), ("x", "y")])
        .unwrap();
    let mut switch = fixture.open();
    assert!(switch.set_server_field("port", "7443").unwrap());
    let row = [("ip", "fd00::5"), ("port", "7443"), ("insecure", "False"), ("disable", "false"), ("x", "y")];
    assert_eq!(switch.raw_server_config().unwrap(), fields(&row));
}

#[test]
fn what_is_there_already_is_not_written_again() {
    let fixture = Fixture::new();
    let mut switch = fixture.open();
    let label = Label::parse("rack", "r12").unwrap();
    let status = ServerStatus { ip: Some("10.0.0.5".into()), port: Some(6443), ..ServerStatus::default() };
    assert!(switch.set_server_field("ip", "10.0.0.5").unwrap());
    assert!(switch.add_label(&label).unwrap());
    assert!(switch.set_server_status(&status).unwrap());
    let writes = || -> u64 {
        let counts: String = redis::cmd("INFO").arg("commandstats").query(&mut fixture.host.raw()).unwrap();
        let calls = |line: &str| line.split(['=', ',']).nth(1).and_then(|calls| calls.parse::<u64>().ok());
        counts
            .lines()
            .filter(|line| line.starts_with("cmdstat_h") && !line.contains("get"))
            .filter_map(calls)
            .sum()
    };
    let before = writes();
    assert!(before >= 3, "writes are not counted");
    assert!(!switch.set_server_field("ip", "10.0.0.5").unwrap());
    assert!(!switch.set_server_field("insecure", "False").unwrap());
    assert!(!switch.add_label(&label).unwrap());
    assert!(!switch.drop_label("never").unwrap());
    assert!(!switch.set_server_status(&status).unwrap());
    assert_eq!(writes(), before);
}

#[test]
fn a_status_says_why_and_since_when() {
    let fixture = Fixture::new();
    let mut switch = fixture.open();
    assert_eq!(switch.server_status().unwrap(), None);
    let refused = ServerStatus {
        ip: Some("10.0.0.5".into()),
        port: Some(6443),
        connected: false,
        update_time: None,
        reason: Some("the token is refused".into()),
        static_pods: false,
    };
    assert!(switch.set_server_status(&refused).unwrap());
    let read = switch.server_status().unwrap().unwrap();
    let since = read.update_time.clone().unwrap();
    assert_eq!(since.len(), "2026-08-01 10:00:00".len());
    assert_eq!(ServerStatus { update_time: None, ..read }, refused);
    assert!(!switch.pods_can_come().unwrap());

    let connected = ServerStatus { connected: true, reason: None, ..refused };
    assert!(switch.set_server_status(&connected).unwrap());
    assert!(switch.pods_can_come().unwrap());
    assert_eq!(switch.server_status().unwrap().unwrap().reason, None);
    let raw = switch.raw_server_status().unwrap().unwrap();
    assert!(!raw.contains_key("static_pods"), "a switch without any never has the field: {raw:?}");

    let alone = ServerStatus { static_pods: true, ..ServerStatus::default() };
    assert!(switch.set_server_status(&alone).unwrap());
    assert!(!switch.set_server_status(&alone).unwrap(), "said once");
    assert!(switch.pods_can_come().unwrap(), "though no server is there to be connected");
    assert!(!switch.server_status().unwrap().unwrap().connected);
    assert!(switch.set_server_status(&ServerStatus::default()).unwrap());
    assert!(!switch.pods_can_come().unwrap());
}

#[test]
fn garbage_in_the_servers_row_is_named() {
    let fixture = Fixture::new();
    fixture.db("CONFIG_DB").set(TABLE, "SERVER", &[("ip", "https://x")]).unwrap();
    let error = fixture.open().server_config().unwrap_err();
    assert!(
        matches!(&error, SonicError::Row(row) if row.field == "ip" && row.word == "https://x"),
        "{error}"
    );
}

/// SONIC.md 12.2: a label that was dropped became "false".
#[test]
fn labels_come_in_the_order_of_redis_and_go_when_they_are_dropped() {
    let fixture = Fixture::new();
    let mut switch = fixture.open();
    assert!(switch.labels().unwrap().is_empty());
    for (name, value) in [("zone", "b"), ("rack", "r12")] {
        assert!(switch.add_label(&Label::parse(name, value).unwrap()).unwrap());
    }
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(switch.labels().unwrap(), [pair("zone", "b"), pair("rack", "r12")]);
    assert!(switch.drop_label("zone").unwrap());
    assert_eq!(switch.labels().unwrap(), [pair("rack", "r12")]);
    assert!(switch.drop_label("rack").unwrap());
    assert!(!fixture.db("STATE_DB").exists("KUBE_LABELS", "SET").unwrap());
}

#[test]
fn the_troubles_of_pods_are_those_that_were_said_last() {
    let fixture = Fixture::new();
    let mut switch = fixture.open();
    let troubles = |pairs: &[(&str, &str)]| fields(pairs);
    switch.set_pod_troubles(&troubles(&[])).unwrap();
    assert_eq!(switch.pod_trouble("snmp").unwrap(), None);
    switch.set_pod_troubles(&troubles(&[("snmp", "ErrImagePull: no"), ("bgp0", "x")])).unwrap();
    switch.set_pod_troubles(&troubles(&[("snmp", "InvalidImageName")])).unwrap();
    assert_eq!(switch.pod_trouble("snmp").unwrap().as_deref(), Some("InvalidImageName"));
    assert_eq!(switch.pod_trouble("bgp0").unwrap(), None);
    switch.set_pod_troubles(&troubles(&[])).unwrap();
    assert!(!fixture.db("STATE_DB").exists("KUBE_PODS", "TROUBLE").unwrap());
}

#[test]
fn the_node_is_called_as_the_host_in_lower_case() {
    let fixture = Fixture::new();
    let mut switch = fixture.open();
    assert_eq!(switch.node_name().unwrap(), None);
    fixture.db("CONFIG_DB").set("DEVICE_METADATA", "localhost", &[("hostname", "Leaf-1")]).unwrap();
    assert_eq!(switch.node_name().unwrap().as_deref(), Some("leaf-1"));
}

#[test]
fn a_feature_is_configured_on_the_host_or_everywhere() {
    let fixture = Fixture::with_asics(2);
    let mut switch = fixture.open();
    let bgp = name("bgp");
    assert_eq!(switch.raw_configs(&bgp).unwrap(), [None, None, None]);
    switch.set_feature_field(&bgp, "state", "enabled").unwrap();
    switch.set_host_feature_field(&bgp, "set_owner", "kube").unwrap();
    let everywhere = fields(&[("state", "enabled")]);
    let host = fields(&[("state", "enabled"), ("set_owner", "kube")]);
    assert_eq!(switch.raw_configs(&bgp).unwrap(), [Some(everywhere.clone()), Some(everywhere), Some(host)]);
}
