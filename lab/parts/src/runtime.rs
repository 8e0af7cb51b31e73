//! The wrapper that stands in for `runc` on the machine and inside every switch.
//!
//! The lab's machine has no CAP_SYS_RESOURCE. Without it runc can neither lower an OOM score nor grant that
//! capability, and dies with "can't get final child's PID from pipe: EOF" for every pod sandbox and every privileged
//! container. So the wrapper takes both wishes out of the container's configuration and then becomes runc.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Error, Result};
use serde_json::Value;

/// Debian installs it in `/usr/sbin`, others in `/usr/bin`.
const RUNC_PATHS: [&str; 2] = ["/usr/sbin/runc", "/usr/bin/runc"];

/// Rewrites the files that the arguments name: `--bundle DIR` of create and run, `--process FILE` of exec.
pub fn mend(args: &[OsString]) -> Result<()> {
    if let Some(bundle) = value_of(args, &["--bundle", "-b"]) {
        mend_file(&bundle.join("config.json"), "/process")?;
    }
    if let Some(process) = value_of(args, &["--process", "-p"]) {
        mend_file(&process, "")?;
    }
    Ok(())
}

/// Becomes runc; returns only if that fails.
pub fn exec_runc(args: &[OsString]) -> Error {
    let runc = RUNC_PATHS.iter().find(|path| Path::new(path).exists()).unwrap_or(&RUNC_PATHS[0]);
    Error::new(Command::new(runc).args(args).exec()).context(format!("cannot run {runc}"))
}

fn value_of(args: &[OsString], names: &[&str]) -> Option<PathBuf> {
    let at = args.iter().position(|arg| names.iter().any(|name| arg == name))?;
    args.get(at + 1).map(PathBuf::from)
}

/// `pointer` says where in the file the process stands (JSON pointer; empty: the file is the process).
fn mend_file(path: &Path, pointer: &str) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut config: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    if config.pointer_mut(pointer).is_some_and(mend_process) {
        fs::write(path, config.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Clamps the OOM score and drops the capability; tells whether anything changed.
fn mend_process(process: &mut Value) -> bool {
    let mut changed = false;
    if process["oomScoreAdj"].as_i64().is_some_and(|score| score < 0) {
        process["oomScoreAdj"] = Value::from(0);
        changed = true;
    }
    if let Some(sets) = process.get_mut("capabilities").and_then(Value::as_object_mut) {
        for set in sets.values_mut().filter_map(Value::as_array_mut) {
            let before = set.len();
            set.retain(|capability| capability != "CAP_SYS_RESOURCE");
            changed |= set.len() != before;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn takes_out_only_what_the_machine_cannot_grant() {
        let mut process = json!({
            "oomScoreAdj": -998,
            "capabilities": { "bounding": ["CAP_KILL", "CAP_SYS_RESOURCE"], "effective": ["CAP_KILL"] },
        });
        assert!(mend_process(&mut process));
        let expected = json!({ "oomScoreAdj": 0, "capabilities": { "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"] } });
        assert_eq!(process, expected);
        assert!(!mend_process(&mut process), "a second pass finds nothing left to do");
    }

    #[test]
    fn finds_the_bundle_among_runc_arguments() {
        let args: Vec<OsString> =
            ["--root", "/r", "create", "--bundle", "/b", "id"].iter().map(OsString::from).collect();
        assert_eq!(value_of(&args, &["--bundle", "-b"]), Some(PathBuf::from("/b")));
        assert_eq!(value_of(&args, &["--process", "-p"]), None);
    }
}
