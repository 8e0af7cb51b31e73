//! The knobs of the rules, from the file where SONiC keeps its own (SONIC.md 5.2).

use std::{path::Path, time::Duration};

use serde_json::Value;
use switchyard_core::{Knobs, NodeProgram};

use crate::{SonicError, dbconfig::read_json, rows::parse_bool};

const FILE: &str = "remote_ctr.config.json";
const HINT: &str = "mend or delete it: without it the defaults count";

/// A year. More is a typing error, and a duration must not overflow a clock.
const SECONDS_MAX: u64 = 31_536_000;

/// Reads the knobs. A missing file or key leaves the default.
pub fn load_knobs(etc_sonic: &Path) -> Result<Knobs, SonicError> {
    let file = etc_sonic.join(FILE);
    let json = match read_json(&file, HINT) {
        Err(SonicError::FileMissing { .. }) => return Ok(Knobs::default()),
        read => read?,
    };
    let broken = |why: String| SonicError::FileBroken { file: file.clone(), why, hint: HINT };
    let keys = json.as_object().ok_or_else(|| broken("it is no JSON object".into()))?;
    let default = Knobs::default();
    let seconds = |key: &str, min: u64, default: Duration| match keys.get(key) {
        None => Ok(default),
        Some(value) => number(value)
            .filter(|seconds| (min..=SECONDS_MAX).contains(seconds))
            .map(Duration::from_secs)
            .ok_or_else(|| broken(format!("{key} is {value}, allowed is {min} to {SECONDS_MAX} seconds"))),
    };
    let count = |key: &str, default: u32| match keys.get(key) {
        None => Ok(default),
        Some(value) => number(value)
            .and_then(|count| u32::try_from(count).ok())
            .filter(|count| *count > 0)
            .ok_or_else(|| broken(format!("{key} is {value}, allowed is a number above 0"))),
    };
    let switch = |key: &str, default: bool| match keys.get(key) {
        None => Ok(default),
        Some(Value::Bool(value)) => Ok(*value),
        // SONiC's own words for it are "y" and "n".
        Some(value) => match value.as_str().map(|text| text.trim().to_ascii_lowercase()).as_deref() {
            Some("y") => Ok(true),
            Some("n") => Ok(false),
            Some(text) if parse_bool(text).is_some() => Ok(parse_bool(text) == Some(true)),
            _ => Err(broken(format!("{key} is {value}, allowed is \"y\" or \"n\""))),
        },
    };
    let node_program = match keys.get("node_program").map(|value| (value, value.as_str())) {
        None => default.node_program,
        Some((_, Some("kubelet"))) => NodeProgram::Kubelet,
        Some((_, Some("k3s"))) => NodeProgram::K3s,
        Some((value, _)) => {
            return Err(broken(format!("node_program is {value}, allowed is \"kubelet\" or \"k3s\"")));
        }
    };
    Ok(Knobs {
        revert_to_local: seconds("revert_to_local_on_wait_seconds", 0, default.revert_to_local)?,
        // Zero would be a loop that never rests.
        safety_check: seconds("wait_safety_check_seconds", 1, default.safety_check)?,
        failed_version_delay: seconds("failed_version_delay_seconds", 0, default.failed_version_delay)?,
        failures_until_blocked: count("failures_until_blocked", default.failures_until_blocked)?,
        label_drop: seconds("label_drop_seconds", 0, default.label_drop)?,
        pod_ready: seconds("pod_ready_seconds", 1, default.pod_ready)?,
        frozen_pod: seconds("frozen_pod_seconds", 1, default.frozen_pod)?,
        tag_latest: seconds("tag_latest_image_on_wait_seconds", 0, default.tag_latest)?,
        retry_tag_latest: seconds("retry_tag_latest_seconds", 1, default.retry_tag_latest)?,
        join_latency: seconds("join_latency_on_boot_seconds", 0, default.join_latency)?,
        retry_join: seconds("retry_join_interval_seconds", 1, default.retry_join)?,
        retry_labels: seconds("retry_labels_update_seconds", 1, default.retry_labels)?,
        proxy_by_server: switch("use_k8s_as_http_proxy", default.proxy_by_server)?,
        node_program,
    })
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
