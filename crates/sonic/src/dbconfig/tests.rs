//! What each form of `database_config.json` leads to.

use proptest::prelude::*;

use super::*;

fn with(content: impl AsRef<[u8]>) -> Result<DbConfig, SonicError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("database_config.json");
    std::fs::write(&file, content).unwrap();
    DbConfig::load(&file)
}

fn error(content: &str, database: &str) -> String {
    let error = with(content).and_then(|config| config.address(database).cloned()).unwrap_err().to_string();
    assert!(error.contains("database_config.json") && !error.contains('\n'), "{error}");
    error
}

const SHIPPED_FORM: &str = r#"{
    "INSTANCES": {
        "redis": {"hostname": "127.0.0.1", "port": 6379, "unix_socket_path": "/var/run/redis/redis.sock",
                  "persistence_for_warm_boot": "yes"},
        "redis4": {"hostname": "127.0.0.1", "port": 6375, "unix_socket_path": ""}
    },
    "DATABASES": {
        "APPL_DB": {"id": 0, "separator": ":", "instance": "redis"},
        "CONFIG_DB": {"id": 4, "separator": "|", "instance": "redis"},
        "STATE_DB": {"id": 66, "separator": "!", "instance": "redis4"},
        "BMP_STATE_DB": {"id": 20, "separator": "|", "instance": "redis_bmp"}
    },
    "VERSION": "1.0"
}"#;

#[test]
fn ids_separators_and_instances_are_taken_from_the_file() {
    let config = with(SHIPPED_FORM).unwrap();
    let address = config.address("CONFIG_DB").unwrap();
    assert_eq!(address.socket.as_deref(), Some(Path::new("/var/run/redis/redis.sock")));
    assert_eq!((address.host.as_str(), address.port, address.id), ("127.0.0.1", Some(6379), 4));
    assert_eq!(address.to_string(), "/var/run/redis/redis.sock or 127.0.0.1:6379");
    // With multidb they are spread over several servers, and a socket may be left out.
    let address = config.address("STATE_DB").unwrap();
    assert_eq!((&address.socket, address.port, address.id), (&None, Some(6375), 66));
    assert_eq!(address.key("FEATURE", "snmp"), "FEATURE!snmp");
    assert_eq!(address.to_string(), "127.0.0.1:6375");
}

#[test]
fn a_broken_entry_spoils_only_its_own_database() {
    let config = with(SHIPPED_FORM).unwrap();
    let error = config.address("BMP_STATE_DB").unwrap_err().to_string();
    assert!(error.contains("instance \"redis_bmp\""), "{error}");
    assert!(config.address("APPL_DB").is_ok());
}

#[test]
fn what_the_file_leaves_out_is_as_sonic_ships_it() {
    for content in [
        r#"{"INSTANCES": {"redis": {"unix_socket_path": "/s"}}}"#,
        r#"{"INSTANCES": {"redis": {"unix_socket_path": "/s"}}, "DATABASES": {"STATE_DB": {}}}"#,
        r#"{"INSTANCES": {"redis": {"unix_socket_path": "/s"}},
            "DATABASES": {"STATE_DB": {"instance": "redis", "separator": ""}}}"#,
    ] {
        let config = with(content).unwrap();
        let address = config.address("STATE_DB").unwrap();
        assert_eq!((address.id, address.separator.as_str(), address.port), (6, "|", None));
        assert_eq!(config.address("CONFIG_DB").unwrap().id, 4);
        assert_eq!(
            config.address("APPL_DB").unwrap().key("PORT_TABLE", "PortInitDone"),
            "PORT_TABLE:PortInitDone"
        );
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_the_way_out() {
    const ONE: &str = r#"{"INSTANCES": {"redis": {"port": 6379}}, "DATABASES": "#;
    for (content, why) in [
        (String::new(), "it is empty"),
        ("\n \t".into(), "it is empty"),
        ("{\"INSTANCES\": {\"redis\"".into(), "not JSON"),
        ("null".into(), "INSTANCES is missing"),
        ("{}".into(), "INSTANCES is missing"),
        (r#"{"INSTANCES": {}}"#.into(), "INSTANCES is missing or empty"),
        (r#"{"INSTANCES": {"redis": {}}}"#.into(), "neither unix_socket_path nor port"),
        (r#"{"INSTANCES": {"redis": {"port": 99999}}}"#.into(), "port 99999"),
        (r#"{"INSTANCES": {"redis": null}}"#.into(), "neither"),
        (format!("{ONE}[]}}"), "DATABASES is no object"),
        (format!(r#"{ONE}{{"STATE_DB": {{"id": -6}}}}}}"#), "id -6"),
        (format!(r#"{ONE}{{"STATE_DB": {{"id": "six"}}}}}}"#), "id \"six\""),
        (format!(r#"{ONE}{{"STATE_DB": {{"instance": "other"}}}}}}"#), "instance \"other\""),
    ] {
        let error = error(&content, "STATE_DB");
        assert!(error.contains(why) && error.contains("systemctl restart database"), "{content:?}: {error}");
    }
}

#[test]
fn a_missing_file_and_an_unknown_database_are_told_apart() {
    let nowhere = tempfile::tempdir().unwrap();
    let error = DbConfig::load(&nowhere.path().join("database_config.json")).unwrap_err();
    assert!(matches!(error, SonicError::FileMissing { .. }), "{error}");
    let error = DbConfig::load(nowhere.path()).unwrap_err();
    assert!(matches!(error, SonicError::FileUnreadable { .. }), "{error}");
    let error = with(SHIPPED_FORM).unwrap().address("NO_DB").cloned().unwrap_err();
    assert!(matches!(error, SonicError::UnknownDatabase { .. }), "{error}");
}

#[test]
fn in_the_container_of_an_asic_the_socket_is_found_where_its_directory_is_mounted() {
    let directory = tempfile::tempdir().unwrap();
    let mounted = directory.path().join("redis");
    std::fs::create_dir_all(mounted.join("sonic-db")).unwrap();
    let file = mounted.join("sonic-db/database_config.json");
    let on_host = directory.path().join("redis7/redis.sock");
    let content = format!(
        r#"{{"INSTANCES": {{"redis": {{"unix_socket_path": "{}"}}}}, "DATABASES": {{}}}}"#,
        on_host.display()
    );
    std::fs::write(&file, content).unwrap();
    let socket = || DbConfig::load(&file).unwrap().address("STATE_DB").unwrap().socket.clone();
    assert_eq!(socket(), Some(on_host.clone()), "nothing is mounted here");
    std::fs::write(mounted.join("redis.sock"), "").unwrap();
    assert_eq!(socket(), Some(mounted.join("redis.sock")));
    std::fs::create_dir_all(on_host.parent().unwrap()).unwrap();
    std::fs::write(&on_host, "").unwrap();
    assert_eq!(socket(), Some(on_host), "on the host the file means what it says");
}

/// JSON of about the right shape, with anything in it.
fn any_config() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        "[a-z_/]{0,9}".prop_map(|text| format!("{text:?}")),
    ];
    let value = leaf.prop_recursive(3, 24, 4, |inner| {
        let key = prop::sample::select(vec![
            "redis",
            "STATE_DB",
            "CONFIG_DB",
            "id",
            "separator",
            "instance",
            "port",
            "hostname",
            "unix_socket_path",
        ]);
        prop::collection::vec((key, inner), 0..4).prop_map(|pairs| {
            let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| format!("{key:?}: {value}")).collect();
            format!("{{{}}}", pairs.join(", "))
        })
    });
    (value.clone(), value).prop_map(|(i, d)| format!(r#"{{"INSTANCES": {i}, "DATABASES": {d}}}"#))
}

proptest! {
    #[test]
    fn no_file_whatsoever_makes_the_reader_panic(bytes in any::<Vec<u8>>(), json in any_config()) {
        for content in [bytes, json.into_bytes()] {
            if let Ok(config) = with(content) {
                let _ = config.address("STATE_DB");
            }
        }
    }
}
