//! What tests of either program's files ask of a switch.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A switch below a root of its own.
pub(crate) trait SwitchFiles {
    fn root(&self) -> &Path;

    /// Another SONiC image: only /host is kept.
    fn change_image(&self) {
        for directory in ["etc", "var"] {
            fs::remove_dir_all(self.root().join(directory)).unwrap();
        }
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap()
    }

    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.root().join(path)).unwrap().permissions().mode() & 0o777
    }

    /// All files, so that nothing is left over unseen.
    fn all(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(self.root(), &mut found);
        let names = found.iter().map(|path| path.strip_prefix(self.root()).unwrap().display().to_string());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}
