use proptest::prelude::*;
use switchyard_core::{Cause, FeatureName};
use tempfile::TempDir;

use super::*;

fn snmp() -> Instance {
    Instance::on_host(FeatureName::parse("snmp").unwrap())
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

/// The disk of a switch.
struct Host {
    paths: Paths,
    _root: TempDir,
}

/// A switch that has never heard of Switchyard.
fn foreign() -> Host {
    let root = tempfile::tempdir().unwrap();
    Host { paths: Paths::below(root.path()), _root: root }
}

/// A switch with this content in snmp's file.
fn with(content: &[u8]) -> Host {
    let host = foreign();
    fs::create_dir_all(directory(&host.paths)).unwrap();
    fs::write(file(&host.paths, &snmp()), content).unwrap();
    host
}

fn empty() -> Host {
    let host = with(b"");
    fs::remove_file(file(&host.paths, &snmp())).unwrap();
    host
}

#[test]
fn what_is_changed_is_there_for_the_next_one_and_for_a_control_script_to_change() {
    let host = empty();
    assert_eq!(load(&host.paths, &snmp()), Record::default());
    let now = moment().unwrap();
    change(&host.paths, &snmp(), |record| record.left(&version("2"), Cause::Failed, now.clone())).unwrap();
    let read = load(&host.paths, &snmp());
    assert_eq!(read.failures, [Failure { version: version("2"), times: 1, last: now }]);
    let mode = |file| fs::metadata(file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(file(&host.paths, &snmp())), 0o664);
    assert_eq!(mode(directory(&host.paths).join("lock")) & 0o007, 0, "anybody could hold the lock");
}

#[test]
fn each_instance_has_a_record_of_its_own() {
    let host = empty();
    let bgp = |asic| Instance {
        feature: FeatureName::parse("bgp").unwrap(),
        asic: Some(switchyard_core::AsicId(asic)),
    };
    change(&host.paths, &bgp(0), |record| record.accept(&version("2"))).unwrap();
    assert_eq!(load(&host.paths, &bgp(1)), Record::default());
    assert!(directory(&host.paths).join("bgp0.json").exists());
}

#[test]
fn whatever_is_remembered_is_found_again_without_its_configuration() {
    let host = empty();
    assert_eq!(instances(&host.paths, 1), []);
    assert_eq!(instances(&foreign().paths, 1), [], "no directory");
    let feature = |name| FeatureName::parse(name).unwrap();
    let bgp1 = Instance { feature: feature("bgp"), asic: Some(switchyard_core::AsicId(1)) };
    for instance in [&snmp(), &bgp1] {
        change(&host.paths, instance, |record| record.accept(&version("2"))).unwrap();
    }
    fs::write(directory(&host.paths).join("snmp.new"), b"").unwrap();
    assert_eq!(instances(&host.paths, 2), [bgp1, snmp()]);
    assert_eq!(instances(&host.paths, 1), [Instance::on_host(feature("bgp1")), snmp()]);
}

#[test]
fn what_is_no_record_is_an_empty_one_and_the_next_change_mends_it() {
    for (content, why) in [
        ("", "EOF"),
        ("{\"format\":1,\"last_ran\":\"1", "EOF"),
        ("[]", "invalid"),
        ("{}", "format"),
        (r#"{"format":2,"last_ran":"1"}"#, "it has format 2"),
        (r#"{"format":1,"last_ran":"a b"}"#, "printable"),
        (r#"{"format":1,"failures":[{"version":"1"}]}"#, "times"),
        (
            r#"{"format":1,"failures":[{"version":"1","times":1,"boot":"a","since_boot":{"secs":18446744073709551615,"nanos":4294967295}}]}"#,
            "overflow",
        ),
        (&" ".repeat(300_000), "longer than"),
    ] {
        let host = with(content.as_bytes());
        let error = read(&file(&host.paths, &snmp())).unwrap_err();
        assert!(error.contains(why) && !error.contains('\n'), "{content}: {error}");
        assert_eq!(load(&host.paths, &snmp()), Record::default(), "{content}");
        change(&host.paths, &snmp(), |record| record.accept(&version("2"))).unwrap();
        assert_eq!(load(&host.paths, &snmp()).accepted, Some(version("2")), "{content}");
    }
}

#[test]
fn fields_of_a_later_switchyard_are_ignored() {
    let host = with(br#"{"format":1,"accepted":"2","colour":"blue","failures":[]}"#);
    assert_eq!(load(&host.paths, &snmp()).accepted, Some(version("2")));
}

#[test]
fn a_write_that_was_broken_off_is_not_in_the_way() {
    let host = empty();
    let left = directory(&host.paths).join("snmp.new");
    fs::write(&left, b"{\"for").unwrap();
    fs::set_permissions(&left, Permissions::from_mode(0o400)).unwrap();
    change(&host.paths, &snmp(), |record| record.accept(&version("2"))).unwrap();
    assert_eq!(load(&host.paths, &snmp()).accepted, Some(version("2")));
    assert!(!left.exists());
}

#[test]
fn who_was_told_to_run_it_is_known_if_the_word_means_somebody() {
    for (word, expected) in [("kube", Some(CurrentOwner::Kube)), ("nonesuch", None)] {
        let host = with(format!(r#"{{"format":1,"last_ran":"1","told_owner":"{word}"}}"#).as_bytes());
        let read = load(&host.paths, &snmp());
        assert_eq!((read.told_owner, read.last_ran), (expected, Some(version("1"))));
    }
}

#[test]
fn a_change_that_changes_nothing_writes_nothing() {
    let host = empty();
    change(&host.paths, &snmp(), |_| ()).unwrap();
    assert!(!file(&host.paths, &snmp()).exists());
}

#[test]
fn of_many_changes_at_once_none_is_lost() {
    let host = empty();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let now = Moment { boot: "a".to_owned(), since_boot: Duration::ZERO };
                    change(&host.paths, &snmp(), |record| record.left(&version("2"), Cause::Failed, now))
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(load(&host.paths, &snmp()).failures[0].times, 80);
}

#[test]
fn who_holds_the_lock_for_ever_is_not_waited_for_for_ever() {
    let host = empty();
    let held = lock(&host.paths, LOCK_TIME_MAX).unwrap();
    let error = lock(&host.paths, Duration::from_millis(1)).unwrap_err();
    assert!(matches!(error, SonicError::TimedOut { .. }) && error.to_string().contains("fuser"), "{error}");
    drop(held);
    lock(&host.paths, LOCK_TIME_MAX).unwrap();
}

#[test]
fn a_switch_without_the_directory_is_told_how_to_make_it() {
    let host = foreign();
    assert_eq!(load(&host.paths, &snmp()), Record::default());
    let error = change(&host.paths, &snmp(), |record| record.accept(&version("2"))).unwrap_err().to_string();
    assert!(error.contains("switchyard/versions") && error.contains("systemd-tmpfiles --create"), "{error}");
}

#[test]
fn time_goes_on_within_one_boot() {
    let (before, after) = (moment().unwrap(), moment().unwrap());
    assert_eq!(before.boot, after.boot);
    assert!(!before.boot.is_empty() && before.since_boot <= after.since_boot);
}

prop_compose! {
    fn any_failure()(
        version in any_version(),
        times in any::<u32>(),
        boot in any::<String>(),
        since_boot in any::<Duration>(),
    ) -> Failure {
        Failure { version, times, last: Moment { boot, since_boot } }
    }
}

prop_compose! {
    fn any_record()(
        last_ran in prop::option::of(any_version()),
        accepted in prop::option::of(any_version()),
        failures in prop::collection::vec(any_failure(), 0..16),
        ended in prop::option::of((any_version(), any::<u32>())),
        told_owner in prop::option::of(prop::sample::select(vec![CurrentOwner::Local, CurrentOwner::Kube])),
    ) -> Record {
        let short_runs = ended.map(|(version, times)| ShortRuns { version, times });
        Record { last_ran, accepted, failures, short_runs, told_owner }
    }
}

fn any_version() -> impl Strategy<Value = Version> {
    "[!-~]{1,128}".prop_map(|text| version(&text))
}

proptest! {
    // Each case waits for the disk.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_record_is_read_as_it_was_stored(record in any_record()) {
        let host = empty();
        store(&host.paths, &snmp(), &record).unwrap();
        prop_assert_eq!(load(&host.paths, &snmp()), record);
    }

    #[test]
    fn a_torn_record_is_all_or_nothing(record in any_record(), at in any::<prop::sample::Index>()) {
        let text = serde_json::to_vec(&Stored::from(&record)).unwrap();
        let host = with(&text[..at.index(text.len())]);
        prop_assert_eq!(load(&host.paths, &snmp()), Record::default());
    }

    #[test]
    fn no_bytes_whatsoever_make_the_reader_panic(
        content in prop_oneof![any::<Vec<u8>>(), r#"\{"format":1(,"(last_ran|accepted|failures)":("[!-~]*"|\[\]|null|1))*\}"#
            .prop_map(String::into_bytes)],
    ) {
        load(&with(&content).paths, &snmp());
    }
}
