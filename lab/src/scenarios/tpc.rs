//! Third-party containers: the sixteen cases of seed 004, bad input, failed upgrades, crashes, other SONiC images.
//!
//! Each story ends with everything taken off the switch again, which is itself a check: [`clean`] tells what was left.

mod bad_input;
mod crash;
mod cut;
mod failures;
mod images;
mod life;
mod limits;
mod power;
mod sources;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::command::Output;
use crate::scenario::{Scenario, SwitchKind};
use crate::servers::Servers;
use crate::switch::Switch;

/// All stories about third-party containers.
pub(super) fn all() -> Vec<Scenario> {
    [
        sources::SCENARIOS,
        life::SCENARIOS,
        limits::SCENARIOS,
        failures::SCENARIOS,
        crash::SCENARIOS,
        power::SCENARIOS,
        bad_input::SCENARIOS,
        images::SCENARIOS,
    ]
    .concat()
}

/// A story on the usual switch.
const fn story(name: &'static str, run: fn(&Switch) -> Result<()>) -> Scenario {
    Scenario { name, switch: SwitchKind::SingleAsic, long: false, run }
}

/// One that takes long.
const fn long_story(name: &'static str, run: fn(&Switch) -> Result<()>) -> Scenario {
    Scenario { name, switch: SwitchKind::SingleAsic, long: true, run }
}

/// Exit codes, as `tpcm --help` has them.
mod code {
    pub(super) const USAGE: i32 = 2;
    pub(super) const NO_SUCH: i32 = 3;
    pub(super) const NOT_CONFIRMED: i32 = 4;
    pub(super) const DENIED: i32 = 5;
    pub(super) const REFUSED: i32 = 8;
    pub(super) const LOCKED: i32 = 9;
    pub(super) const DOES_NOT_RUN: i32 = 10;
    pub(super) const UNREACHABLE: i32 = 11;
    pub(super) const LOGIN: i32 = 12;
    pub(super) const NOT_TRUSTED: i32 = 13;
    pub(super) const NOT_AN_IMAGE: i32 = 14;
    pub(super) const DIGEST: i32 = 15;
    pub(super) const NO_SPACE: i32 = 16;
    pub(super) const LIMITS: i32 = 17;
    pub(super) const HOOK: i32 = 18;
    pub(super) const STORE: i32 = 19;
    pub(super) const ARGUMENTS: i32 = 21;
    pub(super) const SONIC_PACKAGE: i32 = 22;
}

/// The settings of a machine.
const DEFAULTS: &str = "/host/tpc/.store/defaults.json";

/// Tells a story and takes everything off again; the story's own failure counts before what it left.
fn tell(switch: &Switch, story: impl FnOnce() -> Result<()>) -> Result<()> {
    let told = story();
    let cleaned = clean(switch);
    told.and(cleaned)
}

/// As [`tell`], with servers to fetch from.
fn tell_with(switch: &Switch, story: impl FnOnce(&Servers) -> Result<()>) -> Result<()> {
    let servers = Servers::up()?;
    tell(switch, || story(&servers))
}

/// Uninstalls everything, insists that nothing of it is left, and removes the stories' own images and files.
fn clean(switch: &Switch) -> Result<()> {
    let uninstalled =
        switch.sh("set -e; [ ! -d /host/tpc ] || for name in $(tpcm list -o json | jq -r '.[].name'); do
           tpcm uninstall \"$name\" --purge -y
         done; tpcm prune -y")?;
    let left = switch.ok("docker images --format '{{.Repository}}' | grep ^tpc/ | sed 's/^/image /'
         docker ps --all --format '{{.Names}}' | grep -E '(^story|BEFORE)' | sed 's/^/container /'
         ls /etc/systemd/system | grep ^story | sed 's/^/unit /'
         [ ! -d /host/tpc ] || find /host/tpc -mindepth 1 -maxdepth 1 ! -name .store ! -name .shared
         [ ! -d /host/tpc/.store ] || find /host/tpc/.store -mindepth 2 -type f ! -name '*.lock' ! -name lock \
              ! -path '*/downloads/*'
         true")?;
    // Whatever it was, the next story begins without it.
    switch.ok("systemctl stop 'story*.service' 2> /dev/null
         rm -rf /host/tpc /etc/systemd/system/story* /etc/systemd/system/*.wants/story* /root/story*
         systemctl daemon-reload; systemctl reset-failed
         docker ps --all --quiet --filter name=story | xargs -r docker rm --force > /dev/null
         docker images --format '{{.Repository}}:{{.Tag}}' | grep -E '^(tpc/|story|[0-9.]+:500)' |
           xargs -r docker rmi --force > /dev/null
         docker image prune --force > /dev/null")?;
    ensure!(
        uninstalled.success(),
        "taking everything off ended with {}: {}",
        uninstalled.status,
        uninstalled.stderr
    );
    ensure!(left.is_empty(), "left on the switch: {left}");
    Ok(())
}

/// An image `story:<version>` in the switch; `options` are those of `make-tpc`.
fn make(switch: &Switch, options: &str, version: &str) -> Result<()> {
    switch.ok(&format!("/usr/lib/lab/make-tpc {options} story {version}")).map(drop)
}

/// The same as a file `/root/story-<version>.tar`, and gone from the engine, so that it must come from the file.
fn make_file(switch: &Switch, options: &str, version: &str) -> Result<String> {
    make(switch, options, version)?;
    let file = format!("/root/story-{version}.tar");
    switch.ok(&format!(
        "docker save --output {file} story:{version} && docker rmi story:{version} > /dev/null"
    ))?;
    Ok(file)
}

/// Runs `tpcm` and insists that it succeeds; gives what it said.
fn tpcm(switch: &Switch, line: &str) -> Result<String> {
    switch.ok(&format!("tpcm {line}"))
}

/// Runs `tpcm` and insists that it fails with this code, in one line that contains these words, and without a change.
fn refused(switch: &Switch, line: &str, code: i32, words: &str) -> Result<Output> {
    let before = traces(switch)?;
    let output = switch.refused(&format!("tpcm {line}"))?;
    let said = output.stderr.trim();
    ensure!(output.status == code, "`tpcm {line}` ended with {} instead of {code}: {said}", output.status);
    let last = said.lines().last().unwrap_or_default();
    ensure!(
        last.starts_with("tpcm: ") && last.contains(words),
        "`tpcm {line}` does not say {words:?}: {said}"
    );
    let after = traces(switch)?;
    let (before, after): (BTreeSet<&str>, BTreeSet<&str>) =
        (before.lines().collect(), after.lines().collect());
    let changed: Vec<_> = before.symmetric_difference(&after).collect();
    ensure!(changed.is_empty(), "`tpcm {line}` failed and changed {changed:?}");
    Ok(output)
}

/// What a command that failed must leave as it was. A download that broke off may stay, to be gone on with.
fn traces(switch: &Switch) -> Result<String> {
    switch.ok("docker ps --all --format '{{.Names}} {{.Image}} {{.ID}} {{.State}}' | sort
         docker images --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}' | sort
         ls /etc/systemd/system
         [ ! -d /host/tpc ] || (cd /host/tpc && find . -type f ! -path './.store/journal/*' \
           ! -path './.store/downloads/*' ! -path './.store/lock' ! -path './.store/version' ! -name ends.json \
           ! -path '*/backup/*' | sort)")
}

/// What `tpcm show` says of `story`.
fn show(switch: &Switch, name: &str) -> Result<Value> {
    serde_json::from_str(&tpcm(switch, &format!("show {name} -o json"))?).context("tpcm show")
}

/// Insists that `name` runs, and runs this version.
fn runs(switch: &Switch, name: &str, version: &str) -> Result<()> {
    let found = switch.ok(&format!("docker exec {name} cat /version"))?;
    ensure!(found == version, "{name} runs version {found} instead of {version}");
    let active = switch.ok(&format!("systemctl is-active {name}.service"))?;
    ensure!(active == "active", "{name}.service is {active}");
    let state = show(switch, name)?["state"].clone();
    ensure!(state == "running", "tpcm show says {state}");
    Ok(())
}
