use std::os::unix::fs::{MetadataExt, symlink};
use std::time::{Duration, SystemTime};

use super::copy::copy_at;
use super::*;

fn tree() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let (from, to) = (root.path().join("volume"), root.path().join("aside"));
    fs::create_dir_all(from.join("a/b")).unwrap();
    fs::write(from.join("a/b/data"), "one").unwrap();
    fs::write(from.join("run"), "#!/bin/sh").unwrap();
    fs::set_permissions(from.join("run"), fs::Permissions::from_mode(0o751)).unwrap();
    symlink("/etc/passwd", from.join("link")).unwrap();
    (root, from, to)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_copy_is_the_same_and_follows_no_link() {
    let (_root, from, to) = tree();
    copy(&from, &to, &mut Copied::default()).unwrap();
    assert_eq!(read(&to.join("a/b/data")), "one");
    assert_eq!(fs::metadata(to.join("run")).unwrap().mode() & 0o7777, 0o751);
    assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
    let times = |root: &Path| fs::metadata(root.join("run")).unwrap().mtime_nsec();
    assert_eq!(times(&from), times(&to));
}

#[test]
fn a_second_copy_brings_what_has_changed_and_takes_away_what_is_gone() {
    let (_root, from, to) = tree();
    let mut copied = Copied::default();
    copy_at(&from, &to, &mut copied, later()).unwrap();
    let untouched = fs::metadata(to.join("run")).unwrap().ino();
    fs::write(from.join("a/b/data"), "two").unwrap();
    fs::write(from.join("new"), "new").unwrap();
    fs::remove_file(from.join("link")).unwrap();
    fs::create_dir(from.join("link")).unwrap();
    copy(&from, &to, &mut copied).unwrap();
    assert_eq!((read(&to.join("a/b/data")), read(&to.join("new"))), ("two".into(), "new".into()));
    assert!(to.join("link").is_dir());
    assert_eq!(
        fs::metadata(to.join("run")).unwrap().ino(),
        untouched,
        "what did not change is not copied again"
    );
    fs::remove_dir_all(from.join("a")).unwrap();
    copy(&from, &to, &mut copied).unwrap();
    assert!(!to.join("a").exists());
}

#[test]
fn a_file_that_was_changed_and_given_its_old_time_back_is_copied_again() {
    let (_root, from, to) = tree();
    let mut copied = Copied::default();
    copy_at(&from, &to, &mut copied, later()).unwrap();
    let file = File::options().write(true).open(from.join("a/b/data")).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    (&file).write_all(b"two").unwrap();
    file.set_modified(modified).unwrap();
    copy(&from, &to, &mut copied).unwrap();
    assert_eq!(read(&to.join("a/b/data")), "two");
}

/// When everything that there is now has long settled.
fn later() -> SystemTime {
    SystemTime::now() + Duration::from_mins(1)
}

#[test]
fn a_file_that_changed_just_before_is_copied_again_though_nothing_of_it_seems_changed() {
    // As a store into a page that is dirty already, or a write in the same tick of the clock, leaves it.
    let unseen_change = |when: SystemTime| {
        let (_root, from, to) = tree();
        let mut copied = Copied::default();
        copy_at(&from, &to, &mut copied, when).unwrap();
        fs::write(to.join("a/b/data"), "old").unwrap();
        copy_at(&from, &to, &mut copied, when).unwrap();
        read(&to.join("a/b/data"))
    };
    assert_eq!(unseen_change(SystemTime::now()), "one");
    assert_eq!(unseen_change(later()), "old", "what has settled is not copied twice");
}

#[test]
fn attributes_and_several_names_of_one_file_are_kept() {
    use rustix::fs::{XattrFlags, lgetxattr, lremovexattr, lsetxattr};
    let (_root, from, to) = tree();
    // Version 2, one permitted capability.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let set = |path: &str, name: &str, value: &[u8]| {
        lsetxattr(from.join(path), name, value, XattrFlags::empty()).unwrap();
    };
    set("run", "security.capability", &capability);
    set("a", "user.note", b"of a directory");
    set("link", "trusted.note", b"of a link");
    fs::hard_link(from.join("a/b/data"), from.join("second")).unwrap();
    let get = |path: &str, name: &str| {
        let mut value = [0; 64];
        lgetxattr(to.join(path), name, &mut value[..]).map(|length| value[..length].to_vec())
    };
    let mut copied = Copied::default();
    for _ in 0..2 {
        copy_at(&from, &to, &mut copied, later()).unwrap();
        assert_eq!(get("run", "security.capability").unwrap(), capability);
        assert_eq!(get("a", "user.note").unwrap(), b"of a directory");
        assert_eq!(get("link", "trusted.note").unwrap(), b"of a link");
        let number = |path: &str| fs::metadata(to.join(path)).unwrap().ino();
        assert_eq!(number("a/b/data"), number("second"));
    }
    lremovexattr(from.join("a"), "user.note").unwrap();
    fs::remove_file(from.join("second")).unwrap();
    fs::write(from.join("second"), "own").unwrap();
    copy_at(&from, &to, &mut copied, later()).unwrap();
    assert!(get("a", "user.note").is_err());
    assert_eq!((read(&to.join("a/b/data")), read(&to.join("second"))), ("one".into(), "own".into()));
}

#[test]
fn holes_stay_holes() {
    let (_root, from, to) = tree();
    let file = File::create(from.join("sparse")).unwrap();
    file.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", (64 << 20) - 3).unwrap();
    copy(&from, &to, &mut Copied::default()).unwrap();
    let copied = fs::metadata(to.join("sparse")).unwrap();
    assert!(copied.len() == 64 << 20 && copied.blocks() < 1024, "{} blocks", copied.blocks());
    assert!(fs::read(to.join("sparse")).unwrap().ends_with(b"end"));
    let size = |path: &Path| size(path).unwrap();
    assert!(size(&from) < 1 << 20 && size(&to) <= size(&from) + 8192);
}

/// What is copied while a container runs comes back as its `/tpc`: nothing of the switch's own may be in it.
#[test]
fn what_comes_and_goes_during_a_copy_neither_stops_it_nor_leads_it_out() {
    let (root, from, to) = tree();
    let outside = root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "of the switch").unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    let order = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(order) {
                fs::create_dir(from.join("swapped")).unwrap();
                fs::write(from.join("swapped/own"), "own").unwrap();
                fs::remove_dir_all(from.join("swapped")).unwrap();
                symlink(&outside, from.join("swapped")).unwrap();
                fs::remove_file(from.join("swapped")).unwrap();
            }
        });
        for _ in 0..300 {
            let result = copy(&from, &to, &mut Copied::default());
            let led_out = to.join("swapped").is_dir()
                && !to.join("swapped").is_symlink()
                && to.join("swapped/secret").exists();
            over.store(result.is_err() || led_out, order);
            assert!(!led_out, "the copy has a file from outside");
            result.unwrap();
        }
        over.store(true, order);
    });
}

#[test]
fn what_was_set_aside_is_put_back_wherever_that_was_cut_short() {
    for died in 0..4 {
        let (root, volume, aside) = tree();
        let trash = root.path().join("trash");
        copy(&volume, &aside, &mut Copied::default()).unwrap();
        fs::write(volume.join("a/b/data"), "spoilt").unwrap();
        // The moves of putting back, done so far when the power went.
        if died > 0 {
            fs::rename(&volume, &trash).unwrap();
        }
        if died > 1 {
            fs::rename(&aside, &volume).unwrap();
        }
        if died > 2 {
            fs::remove_dir_all(&trash).unwrap();
        }
        for _ in 0..2 {
            put_back(&aside, &volume, &trash).unwrap();
            assert_eq!(read(&volume.join("a/b/data")), "one", "died after {died} moves");
            assert!(!aside.exists() && !trash.exists(), "died after {died} moves");
        }
    }
}

/// Directories nested so deep, as only whoever goes down into each can make them.
fn nest(top: &Path, depth: usize) {
    let mut inner = open(top).unwrap();
    for _ in 0..depth {
        rustix::fs::mkdirat(&inner, "d", Mode::RWXU).unwrap();
        inner = open_at(&inner, "d", OFlags::RDONLY | OFlags::DIRECTORY).unwrap();
    }
    File::from(rustix::fs::openat(&inner, "f", OFlags::WRONLY | OFlags::CREATE, Mode::RUSR).unwrap())
        .write_all(&[7; 9000])
        .unwrap();
}

#[test]
fn what_is_nested_too_deep_is_refused_and_goes_away() {
    let (root, volume, aside) = tree();
    let trash = root.path().join("trash");
    copy(&volume, &aside, &mut Copied::default()).unwrap();
    nest(&volume, 5000);
    let told = |refused: Result<(), OpsError>| {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("nested more than"), "{error}");
    };
    told(size(&volume).map(drop));
    told(copy(&volume, &root.path().join("copy"), &mut Copied::default()));
    put_back(&aside, &volume, &trash).unwrap();
    assert_eq!(read(&volume.join("a/b/data")), "one");
    assert!(!trash.exists());
}

/// As what a container that may do so has made immutable.
#[test]
fn what_cannot_be_removed_does_not_keep_the_old_volume_away() {
    let (root, volume, aside) = tree();
    let trash = root.path().join("trash");
    copy(&volume, &aside, &mut Copied::default()).unwrap();
    fs::create_dir(volume.join("busy")).unwrap();
    let at = volume.join("busy");
    let run = |command: &mut std::process::Command| assert!(command.status().unwrap().success());
    run(std::process::Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&at));
    put_back(&aside, &volume, &trash).unwrap();
    assert_eq!(read(&volume.join("a/b/data")), "one");
    run(std::process::Command::new("umount").arg(trash.join("busy")));
    put_back(&aside, &volume, &trash).unwrap();
    assert!(!trash.exists());
}

fn archive(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        // Such as the library itself would not write.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        if *kind == tar::EntryType::Symlink {
            header.set_size(0);
            header.set_link_name("/etc").unwrap();
        }
        header.set_cksum();
        tar.append(&header, if *kind == tar::EntryType::Symlink { &[][..] } else { content }).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn what_an_image_has_goes_into_the_volume_and_nowhere_else() {
    use tar::EntryType::{Directory, Regular, Symlink};
    let root = tempfile::tempdir().unwrap();
    let volume = root.path().join("volume");
    fs::create_dir(&volume).unwrap();
    let archive = archive(&[
        ("tpc/", Directory, b""),
        ("tpc/hook/", Directory, b""),
        ("tpc/hook/pre.sh", Regular, b"exit 0"),
        ("tpc/../../outside", Regular, b"x"),
        ("/tpc/absolute", Regular, b"x"),
        ("tpc/link", Symlink, b""),
    ]);
    fill(&archive[..], &volume, 1 << 20).unwrap();
    assert_eq!(read(&volume.join("hook/pre.sh")), "exit 0");
    assert!(!root.path().join("outside").exists() && !volume.join("link").exists());
    assert!(fill(&archive[..], &volume, 3).is_err(), "there is a bound");
}

#[test]
fn links_that_a_container_planted_are_not_followed() {
    use tar::EntryType::Regular;
    let root = tempfile::tempdir().unwrap();
    let (volume, outside) = (root.path().join("volume"), root.path().join("outside"));
    fs::create_dir(&volume).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("pre.sh"), "theirs").unwrap();
    symlink(&outside, volume.join("hook")).unwrap();
    let error = fill(&archive(&[("tpc/hook/pre.sh", Regular, b"ours")])[..], &volume, 100).unwrap_err();
    assert!(matches!(error, OpsError::Planted(_)), "{error}");
    assert_eq!(read(&outside.join("pre.sh")), "theirs");
    assert!(matches!(open_below(&volume, "hook/pre.sh"), Err(OpsError::Planted(_))));
    // A link in the place of the file itself is replaced, not written through.
    fs::remove_file(volume.join("hook")).unwrap();
    fs::create_dir(volume.join("hook")).unwrap();
    symlink(outside.join("pre.sh"), volume.join("hook/pre.sh")).unwrap();
    assert!(matches!(open_below(&volume, "hook/pre.sh"), Err(OpsError::Planted(_))));
    fill(&archive(&[("tpc/hook/pre.sh", Regular, b"ours")])[..], &volume, 100).unwrap();
    assert_eq!(
        (read(&volume.join("hook/pre.sh")), read(&outside.join("pre.sh"))),
        ("ours".into(), "theirs".into())
    );
    assert!(open_below(&volume, "backup/none").unwrap().is_none());
}

#[test]
fn pipes_and_devices_that_a_container_planted_are_refused_and_not_opened() {
    use rustix::fs::{CWD, FileType, inotify, makedev, mknodat};
    let root = tempfile::tempdir().unwrap();
    let volume = root.path();
    // Of the devices the one that does nothing.
    for (name, kind, device) in
        [("pipe", FileType::Fifo, 0), ("null", FileType::CharacterDevice, makedev(1, 3))]
    {
        let path = volume.join(name);
        mknodat(CWD, &path, kind, Mode::RUSR, device).unwrap();
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let watch = inotify::init(flags).unwrap();
        inotify::add_watch(&watch, &path, inotify::WatchFlags::OPEN).unwrap();
        assert!(matches!(open_below(volume, name), Err(OpsError::Planted(_))), "{name}");
        assert!(super::super::tree::open_file(&path).unwrap().is_none(), "{name}");
        let mut heard = [0; 256];
        assert_eq!(rustix::io::read(&watch, &mut heard), Err(rustix::io::Errno::AGAIN), "{name} was opened");
    }
}
