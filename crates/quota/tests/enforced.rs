//! On a file system that enforces project quotas, mounted at what `QUOTA_ROOT` says.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use switchyard_quota::{Kept, assign, change, is_enforced, keep, kept, limit, project_of, usage};

const MEGABYTE: u64 = 1 << 20;

fn root() -> PathBuf {
    PathBuf::from(std::env::var_os("QUOTA_ROOT").unwrap())
}

/// A new directory into which anybody may write.
fn tree(name: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let tree = root().join(name);
    fs::create_dir_all(&tree).unwrap();
    fs::set_permissions(&tree, fs::Permissions::from_mode(0o777)).unwrap();
    tree
}

/// Writes megabytes as a user without privileges; root may write beyond a limit. Whether all could be written.
fn writes(file: &Path, megabytes: u64) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_writer"])
        .env("WRITE", format!("{} {megabytes}", file.display()))
        .uid(65534)
        .gid(65534)
        // Its harness would count as one more test.
        .stdout(Stdio::null())
        .status();
    status.unwrap().success()
}

/// What [`writes`] runs: this test again, in a process of its own.
#[test]
fn the_writer() {
    let Ok(text) = std::env::var("WRITE") else { return };
    let (file, megabytes) = text.split_once(' ').unwrap();
    let content = vec![1; usize::try_from(megabytes.parse::<u64>().unwrap() * MEGABYTE).unwrap()];
    let written = fs::File::create(file).and_then(|mut file| {
        io::Write::write_all(&mut file, &content)?;
        file.sync_all()
    });
    let refused = |error: &io::Error| {
        assert!(matches!(error.kind(), io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull), "{error}");
    };
    written.inspect_err(refused).unwrap();
}

#[test]
fn a_tree_takes_no_more_than_its_limit() {
    assert!(is_enforced(&root()));
    let tree = tree("limited");
    fs::create_dir(tree.join("old")).unwrap();
    fs::write(tree.join("old/file"), "x").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", tree.join("link")).unwrap();
    assign(&tree, 4711).unwrap();
    limit(&tree, 4711, Some(4 * MEGABYTE)).unwrap();
    for inside in ["", "old", "old/file"] {
        assert_eq!(project_of(&tree.join(inside)).unwrap(), 4711, "{inside}");
    }
    assert!(writes(&tree.join("fits"), 3));
    assert_eq!(project_of(&tree.join("fits")).unwrap(), 4711, "what is new belongs to it");
    assert!(!writes(&tree.join("too-much"), 2));
    let found = usage(&tree, 4711).unwrap();
    assert_eq!(found.limit, Some(4 * MEGABYTE));
    assert!(found.used > 3 * MEGABYTE && found.used <= 4 * MEGABYTE, "{found:?}");

    fs::remove_file(tree.join("too-much")).unwrap();
    limit(&tree, 4711, Some(6 * MEGABYTE)).unwrap();
    assert!(writes(&tree.join("now"), 2), "it has more");
    limit(&tree, 4711, None).unwrap();
    assert!(writes(&tree.join("much"), 8), "it has no limit any more");
    assert_eq!(usage(&tree, 4711).unwrap().limit, None);
}

#[test]
fn trees_of_one_project_share_its_limit_and_others_have_their_own() {
    let [one, two, other] = ["one", "two", "other"].map(tree);
    for (tree, project) in [(&one, 10), (&two, 10), (&other, 11)] {
        assign(tree, project).unwrap();
        limit(tree, project, Some(4 * MEGABYTE)).unwrap();
    }
    assert!(writes(&one.join("file"), 3));
    assert!(!writes(&two.join("file"), 3));
    assert!(writes(&other.join("file"), 3));
    // A tree may be moved, and what is copied out of it is charged to nobody.
    fs::rename(&one, root().join("moved")).unwrap();
    fs::copy(root().join("moved/file"), root().join("copy")).unwrap();
    assert_eq!(project_of(&root().join("copy")).unwrap(), 0);
}

#[test]
fn the_writable_layer_of_an_overlay_can_be_in_a_project() {
    let [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map(tree);
    fs::write(lower.join("below"), vec![1; 1 << 20]).unwrap();
    let volume = tree("volume");
    let layer = [upper.clone(), work.clone()];
    assert_eq!(kept(&volume, &layer, 4 * MEGABYTE), Kept::Nothing);
    keep(&volume, &layer, Some(4 * MEGABYTE)).unwrap();
    assert_eq!(kept(&volume, &layer, 4 * MEGABYTE), Kept::All);
    assert_eq!(kept(&volume, &[PathBuf::from("/proc")], 4 * MEGABYTE), Kept::First);
    assert_eq!(kept(&volume, &layer, 5 * MEGABYTE), Kept::Nothing);
    let at = |path: &Path| path.display().to_string();
    let options = format!("lowerdir={},upperdir={},workdir={}", at(&lower), at(&upper), at(&work));
    let mounted = Command::new("/bin/busybox")
        .args(["mount", "-t", "overlay", "-o", &options, "overlay", &at(&merged)])
        .status();
    assert!(mounted.unwrap().success());
    // Copied up, renamed and removed as ever; only the room is limited.
    fs::write(merged.join("below"), "changed").unwrap();
    fs::rename(merged.join("below"), merged.join("renamed")).unwrap();
    fs::create_dir(merged.join("directory")).unwrap();
    assert!(writes(&merged.join("fits"), 3));
    assert!(!writes(&merged.join("too-much"), 2));
    assert!(!writes(&volume.join("too-much"), 2), "the volume shares the limit");
    fs::remove_file(merged.join("too-much")).unwrap();
    fs::remove_file(volume.join("too-much")).unwrap();
    change(&volume, Some(6 * MEGABYTE)).unwrap();
    assert!(writes(&volume.join("now"), 2), "it has more");
    assert_eq!(kept(&volume, &layer, 6 * MEGABYTE), Kept::All);
    change(&volume, None).unwrap();
    assert!(writes(&merged.join("much"), 8), "it has no limit any more");
    // What was never made a project is not limited.
    change(&lower, Some(1)).unwrap();
    assert!(writes(&lower.join("file"), 2));
}
