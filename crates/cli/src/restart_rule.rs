//! featured's drop-in, the only place where a feature's `Restart=` stands (SONIC.md 2.8): written where no featured ever
//! did, taken away with the feature.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// Where featured puts what it derives from the row.
pub(crate) const DROP_INS: &str = "/etc/systemd/system";

/// Writes the rule of a unit unless there is one: without any, a crash would be final. systemd must be reloaded then.
pub(crate) fn write_if_absent(drop_ins: &Path, unit: &str, auto_restart: bool) -> Result<(), CliError> {
    let directory = directory(drop_ins, unit);
    let file = file(&directory);
    let failed = |action, path: &Path, source| CliError::File { action, path: path.to_owned(), source };
    if file.exists() {
        return Ok(());
    }
    let rule = if auto_restart { "always" } else { "no" };
    fs::create_dir_all(&directory).map_err(|error| failed("make", &directory, error))?;
    // By way of a draft, which systemd does not read: a torn rule would be taken for one that is there.
    let draft = directory.join("auto_restart.new");
    fs::write(&draft, format!("[Service]\nRestart={rule}\n"))
        .and_then(|()| fs::rename(&draft, &file))
        .map_err(|error| failed("write", &file, error))
}

/// Removes the rule of a unit; what anybody else put beside it stays.
pub(crate) fn remove(drop_ins: &Path, unit: &str) -> Result<(), CliError> {
    let directory = directory(drop_ins, unit);
    let file = file(&directory);
    for (path, removed) in [(&file, fs::remove_file(&file)), (&directory, fs::remove_dir(&directory))] {
        match removed {
            Err(source) if !matches!(source.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
                return Err(CliError::File { action: "remove", path: path.clone(), source });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn directory(drop_ins: &Path, unit: &str) -> PathBuf {
    drop_ins.join(format!("{unit}.d"))
}

fn file(directory: &Path) -> PathBuf {
    directory.join("auto_restart.conf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_written_as_featured_does_and_not_over_another() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("bgp@0.service.d/auto_restart.conf");
        write_if_absent(root.path(), "bgp@0.service", true).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "[Service]\nRestart=always\n");
        write_if_absent(root.path(), "bgp@0.service", false).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "[Service]\nRestart=always\n");
        write_if_absent(root.path(), "sflow.service", false).unwrap();
        let other = root.path().join("sflow.service.d");
        assert_eq!(fs::read_to_string(other.join("auto_restart.conf")).unwrap(), "[Service]\nRestart=no\n");
        assert_eq!(fs::read_dir(other).unwrap().count(), 1, "nothing is left beside the rule");
    }

    #[test]
    fn a_rule_goes_with_its_directory_unless_somebody_else_uses_that() {
        let root = tempfile::tempdir().unwrap();
        for unit in ["a.service", "b.service"] {
            write_if_absent(root.path(), unit, true).unwrap();
        }
        fs::write(root.path().join("b.service.d/mine.conf"), "").unwrap();
        for unit in ["a.service", "b.service", "never.service"] {
            remove(root.path(), unit).unwrap();
        }
        assert!(!root.path().join("a.service.d").exists());
        let left: Vec<_> =
            fs::read_dir(root.path().join("b.service.d")).unwrap().map(Result::unwrap).collect();
        assert_eq!(left.len(), 1);
    }
}
