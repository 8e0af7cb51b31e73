//! The knobs of the rules, from the file where SONiC keeps its own (SONIC.md 5.2).

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use switchyard_core::{Knobs, NodeProgram};

use crate::{SonicError, dbconfig::read_json, rows::parse_bool};

const FILE: &str = "remote_ctr.config.json";
const HINT: &str = "mend or delete it: without it the defaults count";

/// A year. More is a typing error, and a duration must not overflow a clock.
const SECONDS_MAX: u64 = 31_536_000;

/// Reads the knobs. A missing file or key leaves the default.
pub fn load_knobs(etc_sonic: &Path) -> Result<Knobs, SonicError> {
    let (knobs, broken) = read_knobs(etc_sonic);
    broken.into_iter().next().map_or(Ok(knobs), Err)
}

/// The same where a typing error, or a power cut amid a write of the file, must take no feature down: what cannot be read
/// leaves the default as well, and is told beside.
pub fn read_knobs(etc_sonic: &Path) -> (Knobs, Vec<SonicError>) {
    let file = etc_sonic.join(FILE);
    match read_json(&file, HINT) {
        Ok(Value::Object(values)) => Keys { file, values, broken: Vec::new() }.knobs(),
        Ok(_) => (Knobs::default(), vec![broken(&file, "it is no JSON object".into())]),
        Err(SonicError::FileMissing { .. }) => (Knobs::default(), Vec::new()),
        Err(error) => (Knobs::default(), vec![error]),
    }
}

fn broken(file: &Path, why: String) -> SonicError {
    SonicError::FileBroken { file: file.into(), why, hint: HINT }
}

/// The file's content, and what of it cannot be read.
struct Keys {
    file: PathBuf,
    values: Map<String, Value>,
    broken: Vec<SonicError>,
}

impl Keys {
    fn knobs(mut self) -> (Knobs, Vec<SonicError>) {
        let default = Knobs::default();
        let knobs = Knobs {
            revert_to_local: self.seconds("revert_to_local_on_wait_seconds", 0, default.revert_to_local),
            // Zero would be a loop that never rests.
            safety_check: self.seconds("wait_safety_check_seconds", 1, default.safety_check),
            failed_version_delay: self.seconds(
                "failed_version_delay_seconds",
                0,
                default.failed_version_delay,
            ),
            failures_until_blocked: self.count("failures_until_blocked", default.failures_until_blocked),
            label_drop: self.seconds("label_drop_seconds", 0, default.label_drop),
            pod_ready: self.seconds("pod_ready_seconds", 1, default.pod_ready),
            frozen_pod: self.seconds("frozen_pod_seconds", 1, default.frozen_pod),
            tag_latest: self.seconds("tag_latest_image_on_wait_seconds", 0, default.tag_latest),
            retry_tag_latest: self.seconds("retry_tag_latest_seconds", 1, default.retry_tag_latest),
            join_latency: self.seconds("join_latency_on_boot_seconds", 0, default.join_latency),
            retry_join: self.seconds("retry_join_interval_seconds", 1, default.retry_join),
            retry_labels: self.seconds("retry_labels_update_seconds", 1, default.retry_labels),
            proxy_by_server: self.switch("use_k8s_as_http_proxy", default.proxy_by_server),
            node_program: self.program("node_program", default.node_program),
        };
        (knobs, self.broken)
    }

    /// The value of a key as it is to be understood, or the default: of a key that is not there, and of one that `read`
    /// makes nothing of.
    fn get<T>(&mut self, key: &str, allowed: &str, default: T, read: impl FnOnce(&Value) -> Option<T>) -> T {
        let Some(value) = self.values.get(key) else { return default };
        read(value).unwrap_or_else(|| {
            self.broken.push(broken(&self.file, format!("{key} is {value}, allowed is {allowed}")));
            default
        })
    }

    fn seconds(&mut self, key: &str, min: u64, default: Duration) -> Duration {
        self.get(key, &format!("{min} to {SECONDS_MAX} seconds"), default, |value| {
            let seconds = number(value).filter(|seconds| (min..=SECONDS_MAX).contains(seconds));
            seconds.map(Duration::from_secs)
        })
    }

    fn count(&mut self, key: &str, default: u32) -> u32 {
        self.get(key, "a number above 0", default, |value| {
            number(value).and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0)
        })
    }

    /// SONiC's own words for it are "y" and "n".
    fn switch(&mut self, key: &str, default: bool) -> bool {
        self.get(key, "\"y\" or \"n\"", default, |value| match value {
            Value::Bool(value) => Some(*value),
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "y" => Some(true),
                "n" => Some(false),
                text => parse_bool(text),
            },
            _ => None,
        })
    }

    fn program(&mut self, key: &str, default: NodeProgram) -> NodeProgram {
        self.get(key, "\"kubelet\" or \"k3s\"", default, |value| match value.as_str()? {
            "kubelet" => Some(NodeProgram::Kubelet),
            "k3s" => Some(NodeProgram::K3s),
            _ => None,
        })
    }
}

/// Shipped code validates nothing, so a text that is a number has always worked.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(content: &str) -> Result<Knobs, String> {
        let etc = tempfile::tempdir().unwrap();
        std::fs::write(etc.path().join(FILE), content).unwrap();
        load_knobs(etc.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_knob_is_read_and_nonsense_is_named() {
        let knobs = with(r#"{"failures_until_blocked": 5, "label_drop_seconds": "7"}"#).unwrap();
        assert_eq!(knobs.failures_until_blocked, 5);
        assert_eq!(knobs.label_drop, Duration::from_secs(7));
        for (word, proxy) in [("\"y\"", true), ("\"n\"", false), ("\"\"", false), ("true", true)] {
            let knobs = with(&format!("{{\"use_k8s_as_http_proxy\": {word}}}")).unwrap();
            assert_eq!(knobs.proxy_by_server, proxy, "{word}");
        }
        assert!(with(r#"{"use_k8s_as_http_proxy": "maybe"}"#).is_err());
        assert_eq!(with(r#"{"node_program": "k3s"}"#).unwrap().node_program, NodeProgram::K3s);
        let error = with(r#"{"node_program": "k8s"}"#).unwrap_err();
        assert!(error.contains("allowed is \"kubelet\" or \"k3s\""), "{error}");
        let error = with(r#"{"failures_until_blocked": 0}"#).unwrap_err();
        assert!(error.contains("failures_until_blocked is 0"), "{error}");
    }

    #[test]
    fn what_cannot_be_read_leaves_its_own_default_and_no_other() {
        let etc = tempfile::tempdir().unwrap();
        let read = |content: &str| {
            std::fs::write(etc.path().join(FILE), content).unwrap();
            let (knobs, broken) = read_knobs(etc.path());
            (knobs, broken.len())
        };
        for content in ["", "{", "[]"] {
            assert_eq!(read(content), (Knobs::default(), 1), "{content:?}");
        }
        let label_drop = Duration::from_secs(7);
        let content = r#"{"label_drop_seconds": 7, "retry_tag_latest_seconds": 0, "node_program": 3}"#;
        assert_eq!(read(content), (Knobs { label_drop, ..Knobs::default() }, 2));
    }

    #[test]
    fn without_a_file_or_a_key_the_defaults_count() {
        let etc = tempfile::tempdir().unwrap();
        assert_eq!(load_knobs(etc.path()).unwrap(), Knobs::default());
        assert_eq!(with("{}").unwrap(), Knobs::default());
    }

    #[test]
    fn the_shipped_file_sets_what_it_names() {
        let knobs = with(r#"{"join_latency_on_boot_seconds": 300, "revert_to_local_on_wait_seconds": 360}"#);
        let (join_latency, revert_to_local) = (Duration::from_mins(5), Duration::from_mins(6));
        assert_eq!(knobs.unwrap(), Knobs { join_latency, revert_to_local, ..Knobs::default() });
        let knobs =
            with(r#"{"revert_to_local_on_wait_seconds": "0", "wait_safety_check_seconds": 5}"#).unwrap();
        assert_eq!((knobs.revert_to_local.as_secs(), knobs.safety_check.as_secs()), (0, 5));
    }

    #[test]
    fn a_broken_file_is_told_by_its_name_and_what_is_wrong() {
        for (content, why) in [
            ("", "it is empty"),
            (" \n", "it is empty"),
            ("{", "not JSON"),
            ("[]", "no JSON object"),
            (r#"{"revert_to_local_on_wait_seconds": -1}"#, "revert_to_local_on_wait_seconds is -1"),
            (r#"{"revert_to_local_on_wait_seconds": 1e30}"#, "revert_to_local_on_wait_seconds"),
            (r#"{"revert_to_local_on_wait_seconds": "soon"}"#, "\"soon\""),
            (r#"{"wait_safety_check_seconds": 0}"#, "allowed is 1 to"),
            (r#"{"wait_safety_check_seconds": null}"#, "null"),
        ] {
            let error = with(content).unwrap_err();
            assert!(
                error.contains(FILE) && error.contains(why) && !error.contains('\n'),
                "{content:?}: {error}"
            );
        }
    }
}
