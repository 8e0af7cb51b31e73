//! Programs of the machine that outlive the command that started them, and are found again by the next one.
//!
//! A process is known by its number and by when it began, which together are never given twice; both stand in
//! `run/<name>.json` with the command line, so that one started by other arguments is replaced. Its output goes to
//! `log/<name>.log`; the log of the run before is kept as `.old`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::site::Site;

/// An API server ends its watches before it goes, which takes some seconds; then it is killed.
const STOP_MAX: Duration = Duration::from_secs(20);
/// A cold API server on a machine that compiles at the same time.
const READY_MAX: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(100);
/// How much of a log is told when its program ended early.
const LAST_LINES: usize = 8;

/// A program by its name in the site.
#[derive(Debug, Clone)]
pub(super) struct Process {
    name: &'static str,
    record: PathBuf,
    log: PathBuf,
}

/// What is remembered of a running process.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    pid: i32,
    /// In clock ticks since the machine's boot, as the kernel tells it.
    began: u64,
    command: Vec<String>,
}

impl Process {
    pub(super) fn new(site: &Site, name: &'static str) -> Process {
        Process {
            name,
            record: site.path(&format!("run/{name}.json")),
            log: site.path(&format!("log/{name}.log")),
        }
    }

    /// Makes it run by exactly this command; one that already does is left alone.
    pub(super) fn ensure(&self, command: &[String]) -> Result<()> {
        if self.running().is_some_and(|record| record.command == command) {
            return Ok(());
        }
        self.stop()?;
        self.start(command)
    }

    /// The number of the process, if it runs.
    pub(super) fn pid(&self) -> Option<i32> {
        self.running().map(|record| record.pid)
    }

    /// Ends it, if it runs: politely, then by force.
    pub(super) fn stop(&self) -> Result<()> {
        for signal in [Signal::TERM, Signal::KILL] {
            let Some(pid) = self.pid().and_then(Pid::from_raw) else { return Ok(()) };
            // It may end by itself between the look and the call.
            let _ = kill_process(pid, signal);
            let end = Instant::now() + STOP_MAX;
            while self.running().is_some() && Instant::now() < end {
                sleep(POLL);
            }
        }
        match self.pid() {
            Some(pid) => bail!("{} (process {pid}) does not end, not even killed", self.name),
            None => Ok(()),
        }
    }

    /// Waits until `question` is answered with yes; a program that ends meanwhile is told with its last words.
    pub(super) fn wait_ready(&self, mut question: impl FnMut() -> bool) -> Result<()> {
        let end = Instant::now() + READY_MAX;
        while !question() {
            if self.running().is_none() {
                bail!("{} ended: {}", self.name, self.last_words());
            }
            if Instant::now() > end {
                bail!("{} is not ready within {} s: {}", self.name, READY_MAX.as_secs(), self.last_words());
            }
            sleep(POLL);
        }
        Ok(())
    }

    fn start(&self, command: &[String]) -> Result<()> {
        let [program, arguments @ ..] = command else { bail!("{} has no command", self.name) };
        // There is no log before the first start.
        let _ = fs::rename(&self.log, self.log.with_extension("log.old"));
        let log =
            fs::File::create(&self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        // Through setsid, so that no Ctrl-C or hang-up of our terminal reaches it; it keeps the process number.
        let child = Command::new("setsid")
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run setsid")?;
        let pid = i32::try_from(child.id())?;
        let began =
            began(pid).with_context(|| format!("{} ended at once: {}", self.name, self.last_words()))?;
        let record = Record { pid, began, command: command.to_vec() };
        fs::write(&self.record, serde_json::to_vec(&record)?)
            .with_context(|| format!("cannot write {}", self.record.display()))
    }

    /// The record, as long as it is true.
    fn running(&self) -> Option<Record> {
        let record: Record = serde_json::from_slice(&fs::read(&self.record).ok()?).ok()?;
        (began(record.pid) == Some(record.began)).then_some(record)
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!(
            "{} ends with:\n{}",
            self.log.display(),
            lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
        )
    }
}

/// When the process with this number began; nothing if there is none, or only the remains of one that ended. One of whose
/// threads but the first is still ending has not ended: it holds its ports for so long.
fn began(pid: i32) -> Option<u64> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The second field is the program's name, which may contain anything, so the fields are counted from its end.
fn parse_stat(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // State is field 3 of the whole line, the number of threads field 20, the starting time field 22.
    let threads: u64 = fields.get(17)?.parse().ok()?;
    (*fields.first()? != "Z" || threads > 1).then_some(())?;
    fields.get(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ended_but_was_not_waited_for_does_not_run() {
        let rest = "1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1";
        assert_eq!(parse_stat(&format!("7 (kube) S {rest}")), Some(4711));
        assert_eq!(parse_stat(&format!("7 (odd) Z) S {rest}")), Some(4711));
        assert_eq!(parse_stat(&format!("7 (kube) Z {rest}")), None);
        let threads = rest.replacen("20 0 1 0 4711", "20 0 3 0 4711", 1);
        assert_eq!(parse_stat(&format!("7 (kube) Z {threads}")), Some(4711));
        assert_eq!(parse_stat("rubbish"), None);
    }

    #[test]
    fn this_process_is_found_and_a_number_nobody_has_is_not() {
        assert!(began(i32::try_from(std::process::id()).unwrap()).is_some());
        assert!(began(i32::MAX).is_none());
    }
}
