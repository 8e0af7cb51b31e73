//! The power is cut at every step of every operation, as the plan itself lists them: what was not synced by then is lost,
//! the engine's own data as well. The boot recovers by itself: the old or the new version runs with its data, and
//! nothing is left over. What a command said it had done is never lost.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::crash::{
    Files, files, fresh, killed, nothing_left, one_runs, one_runs_of, steps, upgraded, words,
};
use super::{runs, show, tell, tpcm};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Switch;

pub(super) const SCENARIOS: &[Scenario] = &[
    story("tpcm: an upgrade that loses power at every step leaves one version with its data", upgrade),
    story("tpcm: a rollback that loses power at every step leaves one version with its data", rollback),
    story("tpcm: a restore that loses power at every step brings back what Docker forgot", restore),
    story("tpcm: an install that loses power at every step leaves all or nothing", install),
    story("tpcm: an uninstallation that loses power at every step leaves all or nothing", uninstall),
    story("tpcm: a save that loses power at every step loses nothing", save),
];

/// systemd starts it when the boot has recovered it.
const SOON: Duration = Duration::from_mins(1);

const fn story(name: &'static str, run: fn(&Switch) -> Result<()>) -> Scenario {
    Scenario { name, switch: SwitchKind::OwnDisk, long: true, run }
}

/// One operation, whose power is cut at the end of each of its steps, before the journal says that it is done, and after
/// all of them.
struct Operation<'a> {
    line: &'a str,
    /// Puts the switch into the state before it.
    begin: &'a dyn Fn() -> Result<()>,
    /// Looks at what came of it.
    after: &'a dyn Fn() -> Result<()>,
    /// Insists that it was done.
    done: &'a dyn Fn() -> Result<()>,
}

impl Operation<'_> {
    fn everywhere(&self, switch: &Switch) -> Result<()> {
        (self.begin)()?;
        for step in self.steps(switch)? {
            let at = format!("{}: the power is cut after {step}", self.line);
            self.begin(switch)
                .and_then(|()| killed(switch, self.line, &step, "after"))
                .context(at.clone())?;
            self.cut(switch, &at).context(at)?;
        }
        let at = format!("{}: the power is cut at its end", self.line);
        self.begin(switch)?;
        tpcm(switch, self.line)?;
        self.cut(switch, &at).and_then(|()| (self.done)()).context(at)
    }

    /// A restore has no `--dry-run`; its plan is in its journal.
    fn steps(&self, switch: &Switch) -> Result<Vec<String>> {
        if self.line != "restore" {
            return steps(switch, self.line);
        }
        killed(switch, self.line, "load", "before")?;
        let journal = switch.ok("jq .progress /host/tpc/.store/journal/story.json")?;
        tpcm(switch, "recover")?;
        words(&serde_json::from_str(&journal).context("the journal")?)
    }

    /// What was before it has long been on the disk.
    fn begin(&self, switch: &Switch) -> Result<()> {
        (self.begin)()?;
        switch.ok("sync --file-system /host").map(drop)
    }

    fn cut(&self, switch: &Switch, at: &str) -> Result<()> {
        switch.power_cut()?;
        if is_installed(switch)? {
            switch.wait_text("systemctl is-active story.service", "active", SOON)?;
        }
        nothing_left(switch, at)?;
        (self.after)()
    }
}

fn is_installed(switch: &Switch) -> Result<bool> {
    Ok(switch.sh("tpcm show story")?.success())
}

fn is_gone(switch: &Switch) -> Result<()> {
    ensure!(!is_installed(switch)?, "it is still installed");
    switch.ok("[ ! -e /host/tpc/story ]").map(drop)
}

fn install(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let files = files(switch)?;
        let begin = || if is_installed(switch)? { uninstalled(switch) } else { Ok(()) };
        let after = || if is_installed(switch)? { runs(switch, "story", "1") } else { is_gone(switch) };
        let line = format!("install story {} -y", files.one);
        let done = || runs(switch, "story", "1");
        Operation { line: &line, begin: &begin, after: &after, done: &done }.everywhere(switch)
    })
}

fn uninstalled(switch: &Switch) -> Result<()> {
    tpcm(switch, "uninstall story --purge -y").map(drop)
}

fn upgrade(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let files = files(switch)?;
        let line = format!("upgrade story {} -y", files.two);
        let done = || runs(switch, "story", "2");
        of_installed(switch, &files, &line, &|| Ok(()), &done)
    })
}

fn rollback(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let files = files(switch)?;
        let begin = || upgraded(switch, &files);
        let done = || runs(switch, "story", "1");
        let line = "rollback story -y";
        Operation { line, begin: &begin, after: &|| one_runs_of(switch), done: &done }.everywhere(switch)
    })
}

fn save(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let files = files(switch)?;
        let done = || {
            ensure!(show(switch, "story")?["saved"].is_string(), "nothing is saved");
            Ok(())
        };
        of_installed(switch, &files, "save", &|| Ok(()), &done)
    })
}

fn restore(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let files = files(switch)?;
        let forgotten = || {
            tpcm(switch, "save")?;
            switch.ok("systemctl stop story.service; docker rm story; docker rmi --force tpc/story").map(drop)
        };
        of_installed(switch, &files, "restore", &forgotten, &|| Ok(()))
    })
}

/// An operation after which one version runs with its data, wherever it was cut short.
fn of_installed(
    switch: &Switch,
    files: &Files,
    line: &str,
    prepare: &dyn Fn() -> Result<()>,
    done: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let begin = || fresh(switch, files).and_then(|()| prepare());
    Operation { line, begin: &begin, after: &|| one_runs(switch), done }.everywhere(switch)
}

fn uninstall(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let files = files(switch)?;
        let begin = || fresh(switch, &files);
        let after = || if is_installed(switch)? { one_runs(switch) } else { is_gone(switch) };
        let line = "uninstall story --purge -y";
        Operation { line, begin: &begin, after: &after, done: &|| is_gone(switch) }.everywhere(switch)
    })
}
