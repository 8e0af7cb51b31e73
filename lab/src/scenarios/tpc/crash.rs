//! Every operation is killed at every boundary of its steps, as the plan itself lists them; afterwards the old or the new
//! version runs, its data is whole, and nothing is left over.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{long_story, make_file, runs, show, story, tell, tpcm};
use crate::scenario::Scenario;
use crate::switch::Switch;

pub(super) const SCENARIOS: &[Scenario] = &[
    story("tpcm: an upgrade killed before and after its decision is undone, or finished", upgrade_once),
    long_story("tpcm: an install killed at every step leaves all or nothing", install),
    long_story(
        "tpcm: an upgrade killed at every step leaves the old or the new version with its data",
        upgrade,
    ),
    long_story(
        "tpcm: an upgrade that skips the data, killed at every step, leaves one version",
        upgrade_without_data,
    ),
    long_story("tpcm: a rollback killed at every step leaves one version with its data", rollback),
    long_story("tpcm: a rollback that keeps the data, killed at every step, keeps it", rollback_with_data),
    long_story(
        "tpcm: a restore over an older container, killed at every step, is done by the next one",
        restore,
    ),
    long_story("tpcm: an uninstallation killed at every step leaves all or nothing", uninstall),
    long_story("tpcm: a save killed at every step loses nothing", save),
];

/// The steps of a plan, as `--dry-run` tells them.
pub(super) fn steps(switch: &Switch, line: &str) -> Result<Vec<String>> {
    let plan: Value = serde_json::from_str(&tpcm(switch, &format!("{line} --dry-run -o json"))?)?;
    words(if plan.is_array() { &plan[0] } else { &plan })
}

/// The steps that a plan, or the progress in a journal, has.
pub(super) fn words(plan: &Value) -> Result<Vec<String>> {
    let steps = plan["steps"].as_array().with_context(|| format!("a plan without steps: {plan}"))?;
    let words: Vec<String> = steps.iter().filter_map(|step| step.as_str().map(str::to_owned)).collect();
    ensure!(words.len() > 2, "a plan has the steps {words:?}");
    Ok(words)
}

/// Runs `tpcm` so that it is killed there, and insists that it was.
pub(super) fn killed(switch: &Switch, line: &str, step: &str, place: &str) -> Result<()> {
    let output = switch.sh(&format!("SWITCHYARD_TPC_FAIL={step}:{place} tpcm {line}"))?;
    ensure!(
        output.status == 137,
        "at {step}:{place}, `{line}` ended with {}: {}",
        output.status,
        output.stderr
    );
    Ok(())
}

/// As [`killed`], with all else of ours that runs just then.
fn all_killed(switch: &Switch, line: &str, step: &str, place: &str) -> Result<()> {
    killed(switch, line, step, place)?;
    // What does not run at this step cannot be killed.
    switch.sh("systemctl kill --kill-who=main --signal=KILL story.service tpcm-apply.service").map(drop)
}

/// Recovers, and waits until systemd has brought back what was killed: it does that by itself, in its own time.
fn recovered(switch: &Switch, again: &str) -> Result<()> {
    const SOON: Duration = Duration::from_secs(30);
    tpcm(switch, again)?;
    switch.wait_until("story.service is up or down", SOON, || {
        let state = switch.ok("systemctl show --value --property=ActiveState story.service")?;
        Ok(!matches!(state.as_str(), "activating" | "deactivating"))
    })
}

/// What no operation may leave: anything of the engine's or systemd's that `tpcm show` does not tell of.
pub(super) fn nothing_left(switch: &Switch, at: &str) -> Result<()> {
    let names: Vec<String> =
        serde_json::from_str(&switch.ok("tpcm list -o json | jq -c '[.[].name]'")?).context("tpcm list")?;
    let told: &[&str] = if names.is_empty() { &[] } else { &["story"] };
    let containers =
        switch.ok("docker ps --all --format '{{.Names}}' | grep -E '^story|BEFORE' | sort; true")?;
    let units = switch.ok("ls /etc/systemd/system | grep '^story' | sed 's/.service$//'; true")?;
    ensure!(containers == told.join("\n"), "{at}: containers {containers:?}, told of {told:?}");
    ensure!(units == told.join("\n"), "{at}: units {units:?}, told of {told:?}");
    let litter =
        switch.ok("cd /host/tpc/.store && ls journal tmp 2> /dev/null | grep -v ':$' | grep .; true")?;
    ensure!(litter.is_empty(), "{at}: left in the store: {litter}");
    let verified = switch.sh("tpcm verify")?;
    ensure!(verified.success(), "{at}: tpcm verify: {}", verified.stdout);
    Ok(())
}

/// Kills an operation at every boundary; `begin` puts the switch into the state before it, `after` looks what came of it.
fn everywhere(
    switch: &Switch,
    line: &str,
    begin: &dyn Fn() -> Result<()>,
    after: &dyn Fn() -> Result<()>,
) -> Result<()> {
    // A restore that was undone is done by the next boot, which recovers first.
    let again = if line == "restore" { line } else { "recover" };
    begin()?;
    for step in steps(switch, line)? {
        for place in ["before", "after"] {
            let at = format!("{line}: {step}:{place}");
            begin().with_context(|| at.clone())?;
            all_killed(switch, line, &step, place)?;
            recovered(switch, again).with_context(|| at.clone())?;
            nothing_left(switch, &at)?;
            after().context(at)?;
        }
    }
    Ok(())
}

pub(super) struct Files {
    pub(super) one: String,
    pub(super) two: String,
}

pub(super) fn files(switch: &Switch) -> Result<Files> {
    Ok(Files { one: make_file(switch, "-H", "1")?, two: make_file(switch, "-H", "2")? })
}

/// Version 1 with its data, from whatever there was.
pub(super) fn fresh(switch: &Switch, files: &Files) -> Result<()> {
    let installed = switch.sh("tpcm show story")?.success();
    if installed {
        tpcm(switch, "uninstall story --purge -y")?;
    }
    tpcm(switch, &format!("install story {} -y", files.one))?;
    switch.ok("docker exec story sh -c 'echo layer > /data/file; echo volume > /tpc/data; sync'").map(drop)
}

/// Whichever version runs, its data is whole.
pub(super) fn one_runs(switch: &Switch) -> Result<()> {
    has(switch, |_| "layer\nvolume")
}

/// As that, where a version's data is what is given for it.
fn has(switch: &Switch, data_of: impl Fn(&str) -> &'static str) -> Result<()> {
    let version = switch.ok("docker exec story cat /version")?;
    runs(switch, "story", &version)?;
    let told = show(switch, "story")?["version"].clone();
    ensure!(told == *version, "it runs version {version}, and tpcm show says {told}");
    let data = switch.ok("docker exec story sh -c 'cat /data/file /tpc/data 2> /dev/null; true'")?;
    let wanted = data_of(&version);
    ensure!(data == wanted, "version {version} has {data:?} instead of {wanted:?}");
    Ok(())
}

fn upgrade_once(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let files = files(switch)?;
        for (step, place, version) in [("start", "after", "1"), ("record", "after", "2")] {
            fresh(switch, &files)?;
            all_killed(switch, &format!("upgrade story {} -y", files.two), step, place)?;
            recovered(switch, "recover")?;
            nothing_left(switch, step)?;
            one_runs(switch)?;
            runs(switch, "story", version)?;
        }
        Ok(())
    })
}

fn install(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let files = files(switch)?;
        let begin = || {
            if switch.sh("tpcm show story")?.success() {
                tpcm(switch, "uninstall story --purge -y")?;
            }
            Ok(())
        };
        let after = || {
            let there = switch.sh("tpcm show story")?.success();
            if there { runs(switch, "story", "1") } else { switch.ok("[ ! -e /host/tpc/story ]").map(drop) }
        };
        everywhere(switch, &format!("install story {} -y", files.one), &begin, &after)
    })
}

fn upgrade(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let files = files(switch)?;
        let line = format!("upgrade story {} -y", files.two);
        everywhere(switch, &line, &|| fresh(switch, &files), &|| one_runs(switch))
    })
}

fn upgrade_without_data(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let files = files(switch)?;
        let line = format!("upgrade story {} --skip_data -y", files.two);
        // The new version has a writable layer of its own, and nobody carried anything into it.
        let after = || has(switch, |version| if version == "1" { "layer\nvolume" } else { "volume" });
        everywhere(switch, &line, &|| fresh(switch, &files), &after)
    })
}

/// Version 2 with its data, which version 1 has as well.
pub(super) fn upgraded(switch: &Switch, files: &Files) -> Result<()> {
    fresh(switch, files)?;
    tpcm(switch, &format!("upgrade story {} -y", files.two))?;
    switch.ok("docker exec story sh -c 'echo newer > /tpc/data; sync'").map(drop)
}

/// As [`one_runs`] after [`upgraded`]: each version has the data of its own.
pub(super) fn one_runs_of(switch: &Switch) -> Result<()> {
    has(switch, |version| if version == "1" { "layer\nvolume" } else { "layer\nnewer" })
}

fn rollback(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let files = files(switch)?;
        everywhere(switch, "rollback story -y", &|| upgraded(switch, &files), &|| one_runs_of(switch))
    })
}

fn rollback_with_data(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let files = files(switch)?;
        let line = "rollback story --keep_data -y";
        everywhere(switch, line, &|| upgraded(switch, &files), &|| has(switch, |_| "layer\nnewer"))
    })
}

fn restore(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let files = files(switch)?;
        let record = "/host/tpc/.store/tpcs/story/record.json";
        let begin = || {
            fresh(switch, &files)?;
            tpcm(switch, "save")?;
            // As if that had been saved by another SONiC image, on which the newest container is.
            switch.ok(&format!(
                "docker exec story sh -c 'echo older > /data/file; sync'
                 jq -c '.container = \"{}\"' {record} > /root/story.json && mv /root/story.json {record}",
                "0".repeat(64)
            ))?;
            Ok(())
        };
        let after = || {
            one_runs(switch)?;
            let older = show(switch, "story")?["older"].as_array().map_or(0, Vec::len);
            ensure!(older == 1, "{older} older states are kept");
            Ok(())
        };
        everywhere(switch, "restore", &begin, &after)
    })
}

fn uninstall(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let files = files(switch)?;
        let after = || {
            let there = switch.sh("tpcm show story")?.success();
            if there { one_runs(switch) } else { switch.ok("[ ! -e /host/tpc/story ]").map(drop) }
        };
        everywhere(switch, "uninstall story --purge -y", &|| fresh(switch, &files), &after)
    })
}

fn save(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let files = files(switch)?;
        everywhere(switch, "save", &|| fresh(switch, &files), &|| one_runs(switch))
    })
}
