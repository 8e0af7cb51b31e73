//! What each reader of a row makes of each word. What the server does with a change is tested against a real one.

use proptest::prelude::*;
use switchyard_core::{
    Admin, AsicId, CurrentOwner, FeatureConfig, FeatureName, FeatureState, Instance, KubeUpdate, RemoteState,
    SetOwner, SystemState,
};

use super::*;

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(field, word)| ((*field).to_owned(), (*word).to_owned())).collect()
}

fn snmp() -> FeatureName {
    FeatureName::parse("snmp").unwrap()
}

fn config(pairs: &[(&str, &str)]) -> Result<FeatureConfig, RowError> {
    parse_config(&snmp(), &fields(pairs))
}

fn state(pairs: &[(&str, &str)]) -> Result<FeatureState, RowError> {
    parse_state(&Instance::on_host(snmp()), &fields(pairs))
}

#[test]
fn booleans_are_read_by_meaning_in_any_case() {
    for yes in ["true", "True", "TRUE", "yes", "on", "1", "enabled", " true ", "Yes"] {
        assert_eq!(parse_bool(yes), Some(true), "{yes:?}");
    }
    for no in ["false", "False", "FALSE", "no", "off", "0", "", "disabled", "None", " "] {
        assert_eq!(parse_bool(no), Some(false), "{no:?}");
    }
    for garbage in ["maybe", "2", "tru", "t r u e", "\u{0}", "{{ x }}"] {
        assert_eq!(parse_bool(garbage), None, "{garbage:?}");
    }
}

/// SONIC.md 2.1, 3.1 (bug), FIELD.md defect 1: any text forbade the fallback, also the "false" that `config feature
/// fallback` writes.
#[test]
fn no_fallback_to_local_false_allows_the_fallback() {
    let fallback = |word| config(&[("no_fallback_to_local", word)]).unwrap().fallback;
    for (word, allowed) in [
        ("false", true),
        ("False", true),
        ("no", true),
        ("", true),
        ("true", false),
        ("True", false),
        ("1", false),
    ] {
        assert_eq!(fallback(word), allowed, "{word:?}");
    }
    assert!(config(&[]).unwrap().fallback);
}

/// SONIC.md 12.2: shipped readers lower-case values or compare raw text, each as it likes.
#[test]
fn words_are_compared_without_regard_to_case() {
    assert_eq!(config(&[("set_owner", "KUBE")]).unwrap().set_owner, SetOwner::Kube);
    assert_eq!(config(&[("state", "Enabled")]).unwrap().state, Admin::Enabled);
    assert_eq!(state(&[("current_owner", "Kube")]).unwrap().current_owner, CurrentOwner::Kube);
}

/// FIELD.md defect 6: versions were lower-cased as they were read, and no image with a capital in its tag was found again.
#[test]
fn a_version_keeps_its_capitals() {
    let read = state(&[("container_version", "20241110.KW.24")]).unwrap().container_version.unwrap();
    assert_eq!(read.as_str(), "20241110.KW.24");
    assert!(read.same_as(&Version::parse("20241110.kw.24").unwrap()), "as SONiC's own script compares");
}

#[test]
fn a_missing_or_empty_configuration_field_takes_the_shipped_default() {
    assert_eq!(config(&[]).unwrap(), FeatureConfig::default());
    let empty: Vec<_> = [
        "state",
        "set_owner",
        "no_fallback_to_local",
        "kube_update",
        "auto_restart",
        "delayed",
        "has_global_scope",
        "has_per_asic_scope",
    ]
    .map(|field| (field, ""))
    .to_vec();
    assert_eq!(config(&empty).unwrap(), FeatureConfig::default());
}

#[test]
fn each_configuration_field_is_read() {
    let read = config(&[
        ("state", "always_enabled"),
        ("set_owner", "kube"),
        ("no_fallback_to_local", "true"),
        ("kube_update", "hold"),
        ("auto_restart", "enabled"),
        ("delayed", "True"),
        ("has_global_scope", "False"),
        ("has_per_asic_scope", "True"),
        ("high_mem_alert", "whatever"),
    ]);
    assert_eq!(
        read.unwrap(),
        FeatureConfig {
            state: Admin::AlwaysEnabled,
            set_owner: SetOwner::Kube,
            fallback: false,
            kube_update: Some(KubeUpdate::Hold),
            auto_restart: true,
            delayed: true,
            has_global_scope: false,
            has_per_asic_scope: true,
        }
    );
}

#[test]
fn an_unrendered_template_is_a_state_of_its_own_and_no_boolean() {
    let template = "{% if ports %}enabled{% else %}disabled{% endif %}";
    assert_eq!(config(&[("state", template)]).unwrap().state, Admin::Template);
    let read =
        config(&[("delayed", template), ("has_global_scope", "{{ a }}"), ("has_per_asic_scope", "{{ a }}")]);
    let default = FeatureConfig::default();
    let read = read.unwrap();
    assert_eq!(
        (read.delayed, read.has_global_scope, read.has_per_asic_scope),
        (default.delayed, default.has_global_scope, default.has_per_asic_scope)
    );
    // The word by which we call it is not one that may stand in the row.
    assert!(config(&[("state", "template")]).is_err());
}

#[test]
fn auto_restart_means_what_featured_takes_it_for() {
    for (word, restarts) in [
        ("enabled", true),
        ("always_enabled", true),
        ("Always_Enabled", true),
        ("disabled", false),
        ("", false),
    ] {
        assert_eq!(config(&[("auto_restart", word)]).unwrap().auto_restart, restarts, "{word:?}");
    }
}

#[test]
fn the_owners_names_in_the_seeds_mean_local() {
    for older in ["systemd", "docker", "legacy", "local", "Systemd"] {
        assert_eq!(config(&[("set_owner", older)]).unwrap().set_owner, SetOwner::Local, "{older}");
        assert_eq!(state(&[("current_owner", older)]).unwrap().current_owner, CurrentOwner::Local, "{older}");
    }
}

#[test]
fn a_record_without_fields_says_that_nobody_ever_started_it() {
    assert_eq!(state(&[]).unwrap(), FeatureState::default());
    let empty =
        ["system_state", "current_owner", "container_id", "remote_state", "update_time"].map(|f| (f, ""));
    assert_eq!(state(&empty).unwrap(), FeatureState::default());
}

#[test]
fn each_field_of_a_record_is_read() {
    let read = state(&[
        ("state", "enabled"),
        ("system_state", "up"),
        ("current_owner", "kube"),
        ("container_id", "0123456789ab"),
        ("container_version", "20201231.84"),
        ("container_stable_version", "20201231.74"),
        ("container_last_version", "20201231.64"),
        ("remote_state", "running"),
        ("remote_container_id", "0123456789ab"),
        ("update_time", "2026-11-21 05:00:00"),
    ])
    .unwrap();
    assert_eq!(read.system_state, Some(SystemState::Up));
    assert_eq!(read.current_owner, CurrentOwner::Kube);
    assert_eq!(read.remote_state, RemoteState::Running);
    assert_eq!(read.container_id, read.remote_container_id);
    let version = |version: &Option<Version>| version.as_ref().unwrap().to_string();
    assert_eq!(version(&read.container_version), "20201231.84");
    assert_eq!(version(&read.stable_version), "20201231.74");
    assert_eq!(version(&read.last_version), "20201231.64");
    assert_eq!(read.update_time.as_deref(), Some("2026-11-21 05:00:00"));
    assert_eq!(read.owner_since, read.update_time, "SONiC's own programs keep no other time");
}

#[test]
fn the_owner_is_the_same_since_it_changed_not_since_the_row_did() {
    let read = state(&[
        ("current_owner", "local"),
        ("current_owner_update_ts", "2026-11-20 23:00:00"),
        ("update_time", "2026-11-21 05:00:00"),
    ])
    .unwrap();
    assert_eq!(read.owner_since.as_deref(), Some("2026-11-20 23:00:00"));
    assert_eq!(read.update_time.as_deref(), Some("2026-11-21 05:00:00"));
}

#[test]
fn the_older_names_count_only_where_the_shipped_ones_are_missing() {
    let id = |pairs: &[(&str, &str)]| state(pairs).unwrap().container_id.map(|id| id.to_string());
    assert_eq!(id(&[("docker_id", "snmp")]).as_deref(), Some("snmp"));
    assert_eq!(id(&[("docker_id", "old"), ("container_id", "new")]).as_deref(), Some("new"));
    // SONiC's own `container stop` empties only the field that it knows.
    assert_eq!(id(&[("docker_id", "old"), ("container_id", "")]), None);
}

#[test]
fn an_unknown_word_is_one_line_that_names_row_field_word_and_the_way_out() {
    let error = state(&[("current_owner", "fred\nand\u{1b}[31m more")]).unwrap_err().to_string();
    assert_eq!(
        error,
        "STATE_DB FEATURE|snmp: current_owner is \"fred\\nand\\u{1b}[31m more\", allowed is local, kube, none; \
         mend it with: sonic-db-cli STATE_DB HDEL 'FEATURE|snmp' current_owner"
    );
    let long = state(&[("remote_state", &"x".repeat(1_000_000))]).unwrap_err().to_string();
    assert!(long.len() < 300 && !long.contains('\n'), "{long}");
    let bgp1 = Instance { feature: FeatureName::parse("bgp").unwrap(), asic: Some(AsicId(1)) };
    let namespace = parse_state(&bgp1, &fields(&[("container_id", "../x")])).unwrap_err();
    assert_eq!(namespace.mend(), "sonic-db-cli -n asic1 STATE_DB HDEL 'FEATURE|bgp' container_id");
    let admin = config(&[("state", "on fire")]).unwrap_err();
    assert_eq!(admin.mend(), "config feature state snmp enabled|disabled");
    assert_eq!(admin.allowed, "enabled, disabled, always_enabled, always_disabled");
}

#[test]
fn garbage_in_any_field_that_is_read_is_refused() {
    for field in [
        "state",
        "set_owner",
        "no_fallback_to_local",
        "kube_update",
        "auto_restart",
        "delayed",
        "has_global_scope",
        "has_per_asic_scope",
    ] {
        assert_eq!(config(&[(field, "g@rbage !")]).unwrap_err().field, field);
    }
    for field in [
        "system_state",
        "current_owner",
        "container_id",
        "docker_id",
        "container_version",
        "container_stable_version",
        "container_last_version",
        "remote_state",
        "remote_container_id",
    ] {
        assert_eq!(state(&[(field, "g@rbage !")]).unwrap_err().field, field);
    }
}

/// Rows worth keeping, as `corpus/` has them: both readers get each, and the field that each refuses stands beside it.
#[test]
fn each_row_of_the_corpus_is_taken_or_refused_for_the_field_that_it_is_kept_for() {
    #[derive(serde::Deserialize)]
    struct Kept {
        why: String,
        config: Option<String>,
        state: Option<String>,
        fields: Fields,
    }
    let (mut read, mut wrong) = (0, Vec::new());
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus")).unwrap() {
        let path = file.unwrap().path();
        let kept: Kept = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let config = parse_config(&snmp(), &kept.fields).err();
        let state = parse_state(&Instance::on_host(snmp()), &kept.fields).err();
        for (error, wanted) in [(config, kept.config), (state, kept.state)] {
            let field = error.as_ref().map(|error| error.field.to_owned());
            let said = error.map(|error| error.to_string()).unwrap_or_default();
            let is_plain = !said.contains(char::is_control) && said.len() < 1000;
            if field != wanted || !is_plain {
                wrong.push(format!("{} ({}): {said:?}", path.display(), kept.why));
            }
        }
        read += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(read >= 25, "only {read} rows were found");
}

/// Names and words that the readers know, mixed with anything else.
fn any_fields() -> impl Strategy<Value = Fields> {
    let field = prop_oneof![
        4 => prop::sample::select(vec![
            "state", "set_owner", "no_fallback_to_local", "kube_update", "auto_restart", "delayed",
            "has_global_scope", "has_per_asic_scope", "system_state", "current_owner", "container_id",
            "docker_id", "container_version", "container_stable_version", "container_last_version",
            "remote_state", "remote_container_id", "update_time", "last_update_ts", "NULL",
        ])
        .prop_map(ToOwned::to_owned),
        1 => any::<String>(),
    ];
    let word = prop_oneof![
        3 => prop::sample::select(vec![
            "", "NULL", "true", "False", "local", "Kube", "none", "up", "down", "pending", "enabled",
            "{{ x }}", "{%", "always_enabled", "template", "0123456789ab", " up ", "ß", "İ", "\u{0}",
        ])
        .prop_map(ToOwned::to_owned),
        1 => any::<String>(),
        1 => "[ -~]{0,200}",
    ];
    prop::collection::btree_map(field, word, 0..20)
}

proptest! {
    #[test]
    fn no_row_whatsoever_makes_a_reader_panic(fields in any_fields()) {
        let errors = [parse_config(&snmp(), &fields).err(), parse_state(&Instance::on_host(snmp()), &fields).err()];
        for error in errors.into_iter().flatten() {
            let text = error.to_string();
            prop_assert!(text.lines().count() == 1 && text.contains(error.field) && text.len() < 1000, "{}", text);
        }
    }

    #[test]
    fn parse_bool_takes_any_text(text in any::<String>()) {
        let upper = parse_bool(&text.to_ascii_uppercase());
        prop_assert_eq!(parse_bool(&text), upper);
    }
}
