//! The knobs of the rules, from the file where SONiC keeps its own (SONIC.md 5.2).

use std::{path::Path, time::Duration};

use serde_json::Value;
use switchyard_core::Knobs;

use crate::{SonicError, dbconfig::read_json};

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
    Ok(Knobs {
        revert_to_local: seconds("revert_to_local_on_wait_seconds", 0, default.revert_to_local)?,
        // Zero would be a loop that never rests.
        safety_check: seconds("wait_safety_check_seconds", 1, default.safety_check)?,
    })
}

/// Shipped code validates nothing, so a text that is a number has always worked.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}
