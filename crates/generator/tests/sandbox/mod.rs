//! A directory that generated scripts take for the switch, and programs in it that write down how they were called.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use switchyard_generator::{Description, render};
use tempfile::TempDir;

/// Writes down its own name and every word it was called with, then does what the file `<name>.sh` says.
const RECORDER: &str = r#"#!/bin/bash
{ printf '%s' "${0##*/}"; printf ' [%s]' "$@"; echo; } >>"$SANDBOX/calls"
[ ! -r "$SANDBOX/answers/${0##*/}" ] || . "$SANDBOX/answers/${0##*/}"
"#;

/// A directory that the scripts take for the switch.
pub(crate) struct Sandbox {
    directory: TempDir,
}

impl Sandbox {
    pub(crate) fn with(description: &str) -> Self {
        let sandbox = Self { directory: TempDir::new().unwrap() };
        for directory in ["bin", "answers", "etc", "device/x86/sku/1", "usr-bin", "usr-local-bin"] {
            fs::create_dir_all(sandbox.path().join(directory)).unwrap();
        }
        for program in ["docker", "container", "sonic-db-cli", "sonic-cfggen"] {
            sandbox.executable(&format!("bin/{program}"), RECORDER);
        }
        sandbox.file("cmdline", "root=/dev/sda1 SONIC_BOOT_TYPE=fast quiet\n");
        sandbox.file("etc/sonic-environment", "PLATFORM=x86\nHWSKU=sku\n");
        // No container yet.
        sandbox.answer("docker", "[[ $1$2 != containerinspect && $1$2 != imageinspect ]]");
        for file in render(&Description::parse(description).unwrap()) {
            let path = match file.path.rsplit_once('/').unwrap() {
                ("/usr/bin", name) => format!("usr-bin/{name}"),
                ("/usr/local/bin", name) => format!("usr-local-bin/{name}"),
                _ => continue,
            };
            let root = sandbox.path().to_str().unwrap();
            let content = file
                .content
                .replace("exec /usr/bin/", &format!("exec {root}/usr-bin/"))
                .replace("/usr/share/sonic/device", &format!("{root}/device"))
                .replace("/etc/sonic/sonic-environment", &format!("{root}/etc/sonic-environment"))
                .replace("/proc/cmdline", &format!("{root}/cmdline"));
            sandbox.executable(&path, &content);
        }
        sandbox
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn file(&self, path: &str, content: &str) {
        fs::write(self.path().join(path), content).unwrap();
    }

    pub(crate) fn executable(&self, path: &str, content: &str) {
        self.file(path, content);
        fs::set_permissions(self.path().join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What a recorder does besides recording: lines of bash.
    pub(crate) fn answer(&self, program: &str, script: &str) {
        self.file(&format!("answers/{program}"), script);
    }

    pub(crate) fn command(&self, script: &str, words: &[&str]) -> Command {
        let mut command = Command::new(self.path().join(script));
        command.args(words).env("SANDBOX", self.path());
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path().join("bin").display()));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command("usr-bin/probe.sh", words).output().unwrap()
    }

    pub(crate) fn code(&self, words: &[&str]) -> i32 {
        self.run(words).status.code().unwrap()
    }

    /// The calls made since the last look, without those that only ask.
    pub(crate) fn calls(&self) -> Vec<String> {
        let path = self.path().join("calls");
        let calls = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        let asks = |call: &&str| !call.starts_with("sonic-db-cli") && !call.contains("[inspect]");
        calls.lines().filter(asks).map(|call| call.replace(self.path().to_str().unwrap(), "")).collect()
    }
}
