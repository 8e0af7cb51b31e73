//! Drives one virtual switch: commands in it, waiting, reboots of every kind, its journal, its features.

mod cgroups;
mod create;
pub(crate) mod disk;
mod features;

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::command::{self, Output, last_words};
use crate::machine::docker;

use disk::Disk;

pub use create::{Host, Spec};
pub use features::Instance;

/// Longer than any single step in a switch takes; a command that hangs must not hang the scenarios.
const COMMAND_MAX: Duration = Duration::from_mins(4);
/// From `docker start` to the last unit of the boot, on a machine that compiles at the same time.
const BOOT_MAX: Duration = Duration::from_mins(2);
/// How long the features may take after that: a delayed one starts seconds after the ports are up.
const FEATURES_MAX: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(200);

/// Who runs a command in a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// The system's own.
    Root,
    /// The person at the console, and the user of most units.
    Admin,
}

/// The kinds of reboot that an operator can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// Units are stopped in order.
    Cold,
    /// The data plane goes on: containers are killed by their order file, Redis is carried over.
    Warm,
    /// As warm, with fewer features' help.
    Fast,
}

/// A switch by its name; whether it exists is found out when it is asked something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Switch {
    name: String,
}

impl Switch {
    /// The switch called `name`.
    pub fn new(name: impl Into<String>) -> Switch {
        Switch { name: name.into() }
    }

    /// Its name, which is also its container's on the machine's Docker.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a shell command as root, whatever its end.
    pub fn sh(&self, script: &str) -> Result<Output> {
        self.sh_as(User::Root, script)
    }

    /// Runs a shell command as `user`, whatever its end.
    pub fn sh_as(&self, user: User, script: &str) -> Result<Output> {
        let user = match user {
            User::Root => "root",
            User::Admin => "admin",
        };
        let limit = COMMAND_MAX.as_secs().to_string();
        let args =
            ["exec", "--user", user, &self.name, "timeout", "--kill-after=5", &limit, "bash", "-c", script];
        command::run("docker", &args)
    }

    /// Runs a shell command as root and gives its trimmed output; anything but success is an error that quotes it.
    pub fn ok(&self, script: &str) -> Result<String> {
        self.ok_as(User::Root, script)
    }

    /// As [`Switch::ok`], as `user`.
    pub fn ok_as(&self, user: User, script: &str) -> Result<String> {
        let output = self.sh_as(user, script)?;
        if !output.success() {
            bail!("{}: `{script}` ended with {}: {}", self.name, output.status, last_words(&output));
        }
        Ok(output.text().to_owned())
    }

    /// Runs a shell command that must fail, and gives what it said.
    pub fn refused(&self, script: &str) -> Result<Output> {
        let output = self.sh(script)?;
        ensure!(
            !output.success(),
            "{}: `{script}` should have failed, but said: {}",
            self.name,
            output.text()
        );
        Ok(output)
    }

    /// Asks again until the answer is yes. An error of the question counts as *not yet* and is told if time runs out:
    /// the switch may be rebooting. An answer that comes too late is none, however long the question itself took.
    pub fn wait_until(
        &self,
        what: &str,
        deadline: Duration,
        mut question: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let end = Instant::now() + deadline;
        loop {
            let answer = question();
            let is_late = Instant::now() > end;
            if !is_late && matches!(answer, Ok(true)) {
                return Ok(());
            }
            if is_late {
                let why = answer.err().map(|error| format!(": {error:#}")).unwrap_or_default();
                bail!("{}: not within {} s: {what}{why}", self.name, deadline.as_secs());
            }
            sleep(POLL);
        }
    }

    /// Waits until a shell command succeeds in the switch.
    pub fn wait_ok(&self, what: &str, deadline: Duration, script: &str) -> Result<()> {
        self.wait_until(what, deadline, || Ok(self.sh(script)?.success()))
    }

    /// Waits until a shell command prints exactly `wanted`; tells what it printed last if time runs out.
    pub fn wait_text(&self, script: &str, wanted: &str, deadline: Duration) -> Result<()> {
        let mut last = String::new();
        self.wait_until(&format!("`{script}` prints {wanted:?}"), deadline, || {
            self.ok(script)?.clone_into(&mut last);
            Ok(last == wanted)
        })
        .with_context(|| format!("it last printed {last:?}"))
    }

    /// Waits for the end of the boot; failed units are named.
    pub fn wait_booted(&self) -> Result<()> {
        let mut state = String::new();
        self.wait_until("the boot ends", BOOT_MAX, || {
            self.sh("systemctl is-system-running --wait")?.text().clone_into(&mut state);
            Ok(["running", "degraded"].contains(&state.as_str()))
        })
        .with_context(|| format!("{}: systemd says {state:?}", self.name))?;
        if state == "degraded" {
            let failed = self.ok("systemctl --failed --plain --no-legend | cut -d' ' -f1")?;
            bail!("{}: booted, but failed: {}", self.name, failed.replace('\n', ", "));
        }
        Ok(())
    }

    /// Reboots by the operator's command and waits until the switch and its features are back.
    pub fn reboot(&self, kind: Boot) -> Result<()> {
        self.begin_reboot(kind)?;
        self.wait_booted()?;
        self.wait_features()
    }

    /// Reboots by the operator's command and waits only until the switch has gone down and begun to boot.
    pub fn begin_reboot(&self, kind: Boot) -> Result<()> {
        let command = match kind {
            Boot::Cold => "reboot",
            Boot::Warm => "warm-reboot",
            Boot::Fast => "fast-reboot",
        };
        let before = self.started_at()?;
        let output = self.sh(command)?;
        self.wait_until(&format!("{command} takes the switch down"), BOOT_MAX, || {
            Ok(self.started_at()? != before && self.is_up()?)
        })
        .with_context(|| format!("`{command}` said: {}", last_words(&output)))
    }

    /// Waits until the finalizer of a warm or fast boot has cleared the flags.
    pub fn wait_finalized(&self) -> Result<()> {
        self.wait_ok(
            "the warm and fast reboot flags are cleared",
            FEATURES_MAX,
            "! { sonic-db-cli STATE_DB HGET 'WARM_RESTART_ENABLE_TABLE|system' enable; \
             sonic-db-cli STATE_DB HGET 'FAST_RESTART_ENABLE_TABLE|system' enable; } | grep -qx true",
        )
    }

    /// Everything ends at once and keeps what the kernel still had to write, as in a kernel panic that reboots; then the
    /// switch boots.
    pub fn crash(&self) -> Result<()> {
        docker(&["kill", &self.name])?;
        docker(&["start", &self.name])?;
        self.wait_booted()?;
        self.wait_features()
    }

    /// The power is cut: everything ends at once, and what was not synced is lost; then the switch boots. Only one that
    /// has a disk of its own can lose anything.
    pub fn power_cut(&self) -> Result<()> {
        let disk = Disk::of(&self.name);
        disk.cut()?;
        docker(&["kill", &self.name])?;
        disk.mount_anew()?;
        docker(&["start", &self.name])?;
        self.wait_booted()?;
        self.wait_features()
    }

    /// Copies a file or directory of this machine into the switch.
    pub fn copy_in(&self, from: &str, to: &str) -> Result<()> {
        docker(&["cp", from, &format!("{}:{to}", self.name)]).map(drop)
    }

    /// Copies a file or directory out of the switch.
    pub fn copy_out(&self, from: &str, to: &str) -> Result<()> {
        docker(&["cp", &format!("{}:{from}", self.name), to]).map(drop)
    }

    /// Writes a file in the switch, over whatever was there.
    pub fn write(&self, path: &str, content: &str) -> Result<()> {
        use std::io::Write;
        use std::process::Stdio;

        let mut child = Command::new("docker")
            .args(["exec", "--interactive", &self.name, "bash", "-c", "cat > \"$0\"", path])
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot run docker")?;
        child.stdin.take().context("docker takes no input")?.write_all(content.as_bytes())?;
        ensure!(child.wait()?.success(), "{}: cannot write {path}", self.name);
        Ok(())
    }

    /// This moment, for [`Switch::journal`].
    pub fn now(&self) -> Result<Moment> {
        self.ok("journalctl --sync && date +@%s.%6N").map(Moment)
    }

    /// Every line of the journal since that moment, with the names of those who wrote them.
    pub fn journal(&self, since: &Moment) -> Result<String> {
        self.journal_of(since, "")
    }

    /// As [`Switch::journal`], with further journalctl arguments, such as `--unit=bgp` or `--priority=err`.
    pub fn journal_of(&self, since: &Moment, arguments: &str) -> Result<String> {
        // By time: after a cursor, journalctl loses the first line of those that it filters. What was said a moment ago
        // may still be on its way into the journal.
        self.ok(&format!(
            "journalctl --sync && journalctl --quiet --output=short-precise --since='{}' {arguments}",
            since.0
        ))
    }

    fn started_at(&self) -> Result<String> {
        docker(&["inspect", "--format", "{{.State.StartedAt}}", &self.name])
    }

    fn is_up(&self) -> Result<bool> {
        Ok(docker(&["inspect", "--format", "{{.State.Running}}", &self.name])? == "true")
    }
}

/// A moment by a switch's clock, as its journalctl takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment(String);

#[cfg(test)]
mod tests {
    use super::*;

    /// A Docker that was away for a minute passed for one that is back at once: the question had hung.
    #[test]
    fn an_answer_that_comes_too_late_is_none() {
        let hangs = || {
            sleep(Duration::from_millis(5));
            Ok(true)
        };
        let switch = Switch::new("nobody");
        assert!(switch.wait_until("it answers", Duration::from_millis(1), hangs).is_err());
        switch.wait_until("it answers", Duration::from_mins(1), hangs).unwrap();
    }
}
