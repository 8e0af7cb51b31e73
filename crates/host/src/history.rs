//! The last transitions of each instance, kept on /host: STATE_DB is lost at every boot, and `explain` is asked
//! after one.
//!
//! One JSON object a line. Advisory: a switch whose /host is full or read-only still starts and stops features, so
//! a line that cannot be written is logged and forgotten, and a line that a power cut tore is skipped.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use switchyard_core::{CurrentOwner, FeatureState, Instance, Reason};
use tracing::warn;

/// How many transitions are told: enough for a bad night.
const KEPT: usize = 100;
/// The file is cut back to [`KEPT`] lines when it grows past this; a line has some 200 bytes.
const SIZE_MAX: u64 = 64 * 1024;

/// One transition.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// Local time, as SONiC writes it.
    pub time: String,
    /// Which command did it.
    pub verb: String,
    /// Who ran the feature before.
    pub from: String,
    /// Who ran it after.
    pub to: String,
    /// The recorded container after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// The rule's name.
    pub reason: String,
    /// The rule in words.
    pub message: String,
}

impl Entry {
    /// What a decision changed.
    pub fn new(verb: &str, reason: Reason, from: CurrentOwner, after: &FeatureState) -> Self {
        Self {
            time: switchyard_sonic::local_time(),
            verb: verb.to_owned(),
            from: from.to_string(),
            to: after.current_owner.to_string(),
            container_id: after.container_id.as_ref().map(ToString::to_string),
            reason: reason.word(),
            message: reason.to_string(),
        }
    }
}

fn path(host: &Path, instance: &Instance) -> PathBuf {
    host.join("switchyard/history").join(format!("{instance}.jsonl"))
}

/// Adds a transition.
pub(crate) fn append(host: &Path, instance: &Instance, entry: &Entry) {
    let path = path(host, instance);
    if let Err(error) = try_append(&path, entry) {
        warn!(path = %path.display(), %error, "history not written");
    }
}

fn try_append(path: &Path, entry: &Entry) -> io::Result<()> {
    let mut line = serde_json::to_string(entry)?;
    line.push('\n');
    let is_new = !path.exists();
    let mut file = File::options().append(true).create(true).open(path)?;
    if is_new {
        share(&file)?;
    }
    file.write_all(line.as_bytes())?;
    if file.metadata()?.len() > SIZE_MAX { shorten(path, &file) } else { Ok(()) }
}

/// Root and, through group docker, the user that control scripts run as both write here.
fn share(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o664))
}

/// Keeps the newest lines. The lock keeps out others that shorten; a line appended in between may be lost with the
/// old file, which a history can bear.
fn shorten(path: &Path, file: &File) -> io::Result<()> {
    if flock(file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    let text = fs::read_to_string(path)?;
    let lines: Vec<_> = text.lines().collect();
    let kept = lines[lines.len().saturating_sub(KEPT)..].join("\n") + "\n";
    let new = path.with_extension("new");
    let mut shortened = File::create(&new)?;
    share(&shortened)?;
    shortened.write_all(kept.as_bytes())?;
    fs::rename(new, path)
}

/// The last transitions, oldest first.
pub fn last(host: &Path, instance: &Instance) -> Vec<Entry> {
    let text = fs::read_to_string(path(host, instance)).unwrap_or_default();
    let entries: Vec<Entry> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    entries[entries.len().saturating_sub(KEPT)..].to_vec()
}

#[cfg(test)]
mod tests {
    use switchyard_core::FeatureName;

    use super::*;

    fn entry(number: usize) -> Entry {
        let message =
            format!("number {number}, told in a sentence that is about as long as those of the rules are");
        Entry {
            message,
            ..Entry::new("start", Reason::OwnerLocal, CurrentOwner::None, &FeatureState::default())
        }
    }

    #[test]
    fn a_bad_month_leaves_a_short_file_with_the_newest_hundred() {
        const MANY: usize = 1000;
        let host = tempfile::tempdir().unwrap();
        let snmp = Instance::on_host(FeatureName::parse("snmp").unwrap());
        let path = path(host.path(), &snmp);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for number in 0..MANY {
            append(host.path(), &snmp, &entry(number));
            // A power cut while a line was written; the next one goes into the same line and is lost with it.
            if number == MANY - 50 {
                File::options().append(true).open(&path).unwrap().write_all(b"{\"time\": \"20").unwrap();
            }
            assert!(fs::metadata(&path).unwrap().len() <= SIZE_MAX, "after {number}");
        }
        let told = last(host.path(), &snmp);
        assert_eq!(told.len(), KEPT);
        let numbers: Vec<_> =
            (MANY - KEPT - 1..MANY).filter(|number| *number != MANY - 49).map(entry).collect();
        let messages = |entries: &[Entry]| entries.iter().map(|e| e.message.clone()).collect::<Vec<_>>();
        assert_eq!(messages(&told), messages(&numbers));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o664, "control scripts run as a user of group docker, and write here too");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "a draft was left");
    }
}
