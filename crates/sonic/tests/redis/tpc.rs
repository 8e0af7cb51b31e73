//! The rows of third-party containers.

use crate::support::Fixture;

#[test]
fn what_is_configured_of_a_container_is_what_was_said_last_and_nothing_else() {
    let fixture = Fixture::new();
    let mut switch = fixture.open();
    assert_eq!(switch.tpc_configs().unwrap(), []);
    let field = |name: &'static str, value: &str| (name, value.to_owned());
    switch.set_tpc_config("web", &[field("state", "enabled"), field("memory", "64M")]).unwrap();
    switch.set_tpc_config("web", &[field("state", "disabled"), field("cpu", "5%")]).unwrap();
    let rows = switch.tpc_configs().unwrap();
    let (name, fields) = &rows[0];
    let fields: Vec<_> = fields.iter().map(|(field, value)| (field.as_str(), value.as_str())).collect();
    assert_eq!((name.as_str(), fields), ("web", vec![("cpu", "5%"), ("state", "disabled")]));
    switch.delete_tpc_config("web").unwrap();
    assert_eq!(switch.tpc_configs().unwrap(), []);
}

#[test]
fn the_management_vrf_is_configured_only_if_the_row_means_it() {
    let fixture = Fixture::new();
    let mut switch = fixture.open();
    assert!(!switch.management_vrf().unwrap());
    for (word, meant) in [("true", true), ("False", false), ("True", true), ("", false), ("odd", false)] {
        fixture.db("CONFIG_DB").set("MGMT_VRF_CONFIG", "vrf_global", &[("mgmtVrfEnabled", word)]).unwrap();
        assert_eq!(switch.management_vrf().unwrap(), meant, "{word:?}");
    }
}
