//! Installing and removing below a real directory: what is written, what is left alone, and that nothing is left.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use switchyard_core::FeatureName;
use switchyard_generator::{Description, Edited, GenerateError, Report, install, list, remove};
use tempfile::TempDir;

const BOTH: &str = "name = \"probe\"\nimage = \"docker-probe\"\nscope = [\"host\", \"asic\"]\n";
const HOST: &str = "name = \"probe\"\nimage = \"docker-probe\"\n";
const OTHER: &str = "name = \"other\"\nimage = \"docker-other\"\n";
const SERVICES: &str = "etc/sonic/generated_services.conf";

/// A root with SONiC's directories and somebody's unit on the list.
fn switch() -> TempDir {
    let root = TempDir::new().unwrap();
    for directory in ["usr/bin", "usr/local/bin", "usr/lib/systemd/system", "etc/sonic", "var/lib"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    fs::write(root.path().join(SERVICES), "swss.service\nswss@.service\n").unwrap();
    root
}

fn put(root: &TempDir, text: &str) -> Result<Report, GenerateError> {
    install(root.path(), &Description::parse(text).unwrap(), Edited::Refuse)
}

fn take_away(root: &TempDir, name: &str) -> Result<Report, GenerateError> {
    remove(root.path(), &FeatureName::parse(name).unwrap(), Edited::Refuse)
}

/// Every path below the root with its permissions and content.
fn tree(root: &Path) -> BTreeMap<String, (u32, String)> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = if metadata.is_file() { fs::read_to_string(&path).unwrap() } else { String::new() };
            let name = path.strip_prefix(root).unwrap().display().to_string();
            found.insert(name, (metadata.permissions().mode(), content));
            if metadata.is_dir() {
                directories.push(path);
            }
        }
    }
    found
}

#[test]
fn a_feature_comes_goes_and_leaves_no_trace() {
    let root = switch();
    let before = tree(root.path());
    let report = put(&root, BOTH).unwrap();
    assert_eq!(
        report.written,
        [
            "/usr/bin/probe.sh",
            "/usr/local/bin/probe.sh",
            "/usr/lib/systemd/system/probe.service",
            "/usr/lib/systemd/system/probe@.service",
            "/var/lib/switchyard/init_cfg/probe.json",
        ]
    );
    assert!(report.units_changed);
    let after = tree(root.path());
    assert_eq!(after["usr/bin/probe.sh"].0 & 0o7777, 0o755);
    assert_eq!(after["usr/lib/systemd/system/probe.service"].0 & 0o7777, 0o644);
    assert_eq!(after[SERVICES].1, "swss.service\nswss@.service\nprobe.service\nprobe@.service\n");
    let listed = list(root.path()).unwrap();
    assert_eq!((listed.len(), listed[0].feature.as_str(), listed[0].complete), (1, "probe", true));
    assert_eq!(listed[0].files, report.written);

    let gone = take_away(&root, "probe").unwrap();
    assert_eq!(gone.removed.len(), 5);
    assert_eq!(tree(root.path()), before);
    assert!(list(root.path()).unwrap().is_empty());
    let again = take_away(&root, "probe").unwrap_err();
    assert!(matches!(again, GenerateError::NotInstalled { .. }), "{again}");
}

#[test]
fn installing_twice_changes_nothing() {
    let root = switch();
    put(&root, BOTH).unwrap();
    let before = tree(root.path());
    let report = put(&root, BOTH).unwrap();
    assert!(report.written.is_empty() && report.removed.is_empty() && !report.units_changed, "{report:?}");
    assert_eq!(tree(root.path()), before);
}

#[test]
fn a_new_description_replaces_the_old_one_and_what_it_no_longer_has_goes() {
    let root = switch();
    put(&root, HOST).unwrap();
    let direct = tree(root.path());
    let root = switch();
    put(&root, BOTH).unwrap();
    let report = put(&root, HOST).unwrap();
    assert_eq!(report.removed, ["/usr/lib/systemd/system/probe@.service"]);
    assert_eq!(tree(root.path()), direct);
}

#[test]
fn features_do_not_touch_each_other() {
    let root = switch();
    put(&root, OTHER).unwrap();
    let before = tree(root.path());
    put(&root, BOTH).unwrap();
    take_away(&root, "probe").unwrap();
    assert_eq!(tree(root.path()), before);
}

#[test]
fn a_line_that_was_there_before_stays() {
    let root = switch();
    fs::write(root.path().join(SERVICES), "probe.service\nswss.service").unwrap();
    let before = tree(root.path());
    put(&root, BOTH).unwrap();
    put(&root, HOST).unwrap();
    take_away(&root, "probe").unwrap();
    assert_eq!(tree(root.path()), before);
}

#[test]
fn somebody_elses_file_is_never_replaced() {
    type Obstacle = fn(&Path);
    let obstacles: [Obstacle; 3] = [
        |path| fs::write(path, "#!/bin/sh\n").unwrap(),
        |path| symlink("service_mgmt.sh", path).unwrap(),
        |path| fs::create_dir(path).unwrap(),
    ];
    for obstacle in obstacles {
        let root = switch();
        obstacle(&root.path().join("usr/local/bin/probe.sh"));
        for edited in [Edited::Refuse, Edited::Discard] {
            let refused = install(root.path(), &Description::parse(BOTH).unwrap(), edited).unwrap_err();
            assert!(matches!(refused, GenerateError::Foreign { .. }), "{refused}");
            assert!(refused.to_string().contains("usr/local/bin/probe.sh"), "{refused}");
        }
        assert!(!root.path().join("usr/bin/probe.sh").exists(), "refused only after it had begun");
        assert!(list(root.path()).unwrap().is_empty());
    }
}

#[test]
fn an_edited_file_is_kept_unless_the_operator_gives_it_up() {
    let root = switch();
    let before = tree(root.path());
    put(&root, HOST).unwrap();
    let unit = root.path().join("usr/lib/systemd/system/probe.service");
    fs::write(&unit, "[Service]\n").unwrap();
    for refused in [put(&root, BOTH).unwrap_err(), take_away(&root, "probe").unwrap_err()] {
        assert!(matches!(refused, GenerateError::Modified { .. }), "{refused}");
    }
    assert_eq!(fs::read_to_string(&unit).unwrap(), "[Service]\n");
    assert!(root.path().join("usr/bin/probe.sh").exists(), "refused only after it had begun");

    let description = Description::parse(BOTH).unwrap();
    let report = install(root.path(), &description, Edited::Discard).unwrap();
    assert!(report.written.contains(&"/usr/lib/systemd/system/probe.service".to_owned()));
    fs::write(&unit, "[Service]\n").unwrap();
    remove(root.path(), &FeatureName::parse("probe").unwrap(), Edited::Discard).unwrap();
    assert_eq!(tree(root.path()), before);
}

#[test]
fn a_directory_that_is_no_switch_is_left_alone() {
    let root = TempDir::new().unwrap();
    let refused = put(&root, HOST).unwrap_err();
    assert!(matches!(refused, GenerateError::NotASwitch { .. }), "{refused}");
    assert!(tree(root.path()).is_empty());
}

#[test]
fn a_record_that_cannot_be_believed_stops_everything() {
    let root = switch();
    put(&root, HOST).unwrap();
    let record = root.path().join("var/lib/switchyard/generated/probe.json");
    let good = fs::read_to_string(&record).unwrap();
    let stolen = good.replace("/usr/bin/probe.sh", "/usr/bin/../../etc/passwd");
    for bad in ["", "{", "null", &good.replace("probe", "bgp"), &stolen] {
        fs::write(&record, bad).unwrap();
        for refused in [put(&root, HOST).unwrap_err(), take_away(&root, "probe").unwrap_err()] {
            assert!(matches!(refused, GenerateError::Record { .. }), "{bad:?}: {refused}");
            assert!(refused.to_string().contains("generated/probe.json"), "{refused}");
        }
    }
    fs::write(&record, good).unwrap();
    take_away(&root, "probe").unwrap();
}
