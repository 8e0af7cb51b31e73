//! The generated units as systemd itself reads them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use switchyard_generator::{Description, render};

/// Units that ours refer to, or that every unit depends on.
const AROUND: [&str; 11] = [
    "sysinit.target",
    "basic.target",
    "shutdown.target",
    "sonic.target",
    "database.service",
    "config-setup.service",
    "swss.service",
    "swss@.service",
    "syncd.service",
    "syncd@.service",
    "-.mount",
];

#[test]
fn systemd_finds_nothing_to_complain_about() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        // The units are started by a real systemd on the virtual switches in any case.
        eprintln!("no systemd-analyze on this machine");
        return;
    }
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/examples/features.d");
    for example in fs::read_dir(examples).unwrap() {
        let description = Description::parse(&fs::read_to_string(example.unwrap().path()).unwrap()).unwrap();
        let root = tempfile::tempdir().unwrap();
        let units = root.path().join("usr/lib/systemd/system");
        fs::create_dir_all(&units).unwrap();
        for file in render(&description) {
            let path = root.path().join(file.path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, file.content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(file.mode)).unwrap();
        }
        for name in AROUND {
            let text = if name.ends_with(".service") {
                "[Service]\nType=oneshot\nExecStart=/bin/sh\n"
            } else {
                "[Unit]\nDescription=x\n"
            };
            fs::write(units.join(name), text).unwrap();
        }
        fs::create_dir_all(root.path().join("bin")).unwrap();
        fs::copy("/bin/sh", root.path().join("bin/sh")).unwrap();
        let names = description.units().into_iter().map(|unit| unit.replace("@.", "@0."));
        let output = Command::new("systemd-analyze")
            .arg("verify")
            .arg(format!("--root={}", root.path().display()))
            .args(names)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.is_empty(), "{}: {said}", description.name());
    }
}
