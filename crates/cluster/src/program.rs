//! A program that makes a switch a node: what it is called, where it lies, how it is started.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What is known of it before it runs.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// Where it may lie.
    pub(crate) programs: &'static [&'static str],
    /// How it comes onto a switch that lacks it.
    pub(crate) remedy: &'static str,
}

impl Program {
    /// Where it lies on the switch below this root.
    pub(crate) fn found(&self, root: &Path) -> Option<&'static str> {
        let is_program = |path: &&&str| {
            std::fs::metadata(below(root, path))
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        };
        self.programs.iter().find(is_program).copied()
    }

    /// Where its unit lies.
    pub(crate) fn unit_found(&self, root: &Path) -> Option<String> {
        ["/etc", "/usr/lib", "/lib"]
            .map(|place| format!("{place}/systemd/system/{}", self.unit))
            .into_iter()
            .find(|path| below(root, path).is_file())
    }
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
