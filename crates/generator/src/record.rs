//! What was written for each feature: the memory that tells our files from everybody else's.
//!
//! One JSON file a feature in `/var/lib/switchyard/generated`. It is written before the first file of an installation
//! and marked after the last one, so that a file of ours is never taken for a stranger's after a crash.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use switchyard_core::FeatureName;

use crate::error::GenerateError;
use crate::files::{failed, under};

/// Where the records are.
pub(crate) const RECORDS: &str = "/var/lib/switchyard/generated";

/// Which files are ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) feature: String,
    /// The version of Switchyard that generated them.
    pub(crate) version: String,
    /// The digest of the description they come from.
    pub(crate) source: String,
    pub(crate) state: State,
    pub(crate) files: Vec<Written>,
    /// Files of the version before, ours until the installation is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) earlier: Vec<Written>,
    /// The lines of generated_services.conf that we added; a line that was there before is not ours to remove.
    pub(crate) services: Vec<String>,
}

/// How far the files have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Installing,
    Installed,
    Removing,
}

/// A file as we wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) path: String,
    pub(crate) mode: u32,
    pub(crate) sha256: String,
}

/// A feature whose files were generated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// Its name.
    pub feature: String,
    /// The version of Switchyard that generated the files.
    pub version: String,
    /// The SHA-256 of the description.
    pub source: String,
    /// Whether the installation (or removal) ran to its end; if not, run it again.
    pub complete: bool,
    /// The files.
    pub files: Vec<String>,
}

/// The features whose files were generated, by name.
pub fn list(root: &Path) -> Result<Vec<Installed>, GenerateError> {
    let directory = under(root, RECORDS);
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed("read", &directory, source)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| failed("read", &directory, source))?;
        let file = entry.file_name();
        let name = file.to_str().and_then(|file| file.strip_suffix(".json")).map(FeatureName::parse);
        let Some(Ok(name)) = name else { continue };
        if let Some(record) = Record::load(root, &name)? {
            found.push(Installed {
                complete: record.state == State::Installed,
                files: record.files.into_iter().map(|file| file.path).collect(),
                feature: record.feature,
                version: record.version,
                source: record.source,
            });
        }
    }
    found.sort_by(|a, b| a.feature.cmp(&b.feature));
    Ok(found)
}

impl Record {
    pub(crate) fn path(root: &Path, feature: &str) -> PathBuf {
        under(root, RECORDS).join(format!("{feature}.json"))
    }

    pub(crate) fn load(root: &Path, feature: &FeatureName) -> Result<Option<Self>, GenerateError> {
        let path = Self::path(root, feature.as_str());
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("read", &path, source)),
        };
        let damaged = |problem: String| GenerateError::Record { path: path.clone(), problem };
        let record: Self = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if record.feature != feature.as_str() {
            return Err(damaged(format!("it is that of feature {:?}", record.feature)));
        }
        // A record names files to delete: one that leads elsewhere is not believed.
        let leads_away =
            |file: &&Written| !file.path.starts_with('/') || file.path.split('/').any(|part| part == "..");
        if let Some(file) = record.ours().find(leads_away) {
            return Err(damaged(format!("{:?} is not an absolute path", file.path)));
        }
        Ok(Some(record))
    }

    /// Every file that is ours, or was until a moment ago.
    pub(crate) fn ours(&self) -> impl Iterator<Item = &Written> {
        self.files.iter().chain(&self.earlier)
    }

    pub(crate) fn text(&self) -> String {
        // A struct of strings and numbers has no way to fail here; an empty text would be refused when read.
        serde_json::to_string_pretty(self).map(|text| text + "\n").unwrap_or_default()
    }
}

/// Keeps a second `generate` on the same root waiting. The directory itself is locked: no lock file is left behind.
pub(crate) fn lock(root: &Path) -> Result<Option<File>, GenerateError> {
    let directory = under(root, RECORDS);
    let file = match File::open(&directory) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("read", &directory, source)),
    };
    file.lock().map_err(|source| failed("lock", &directory, source))?;
    Ok(Some(file))
}
