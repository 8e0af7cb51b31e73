//! Carries out the steps of a plan under its journal, and finishes or undoes what was cut short.
//!
//! Who dies at any instruction here is followed by [`Tpcm::recover`], which does what the core says of the step that had
//! begun. Between the steps are the fail points: `SWITCHYARD_TPC_FAIL=<step>:<before|after|error>` kills this process
//! there as a power cut would, or makes the step fail; `undo_<step>` are those of the way back.

use std::time::{Duration, Instant};

use switchyard_core::tpc::{Recovery, Step, TpcName, recover};

use super::container::ImageFiles;
use super::journal::Entry;
use super::layout;
use super::loading::Loading;
use super::record::Record;
use super::services::Services;
use super::steps::blocking;
use super::volume::Copied;
use super::{OpsError, Recovered, Report, Tpcm, bring::Draft};
use crate::fetch::Progress;

/// What an operation has at hand as long as its process lives. No step from the record on needs any of it.
pub(super) struct Live<'a> {
    /// What is to be installed.
    pub(super) draft: Option<Draft<'a>>,
    pub(super) progress: &'a mut dyn Progress,
    /// The image that is on its way into the engine.
    pub(super) loading: Option<Loading>,
    pub(super) copied: Copied,
    /// What the image has for the private volume.
    pub(super) files: ImageFiles,
    pub(super) messages: Vec<String>,
    pub(super) stopped: Option<Instant>,
    pub(super) down: Option<Duration>,
    /// When the engine says that the new version began to run.
    pub(super) started: Option<String>,
    /// Starts are asked for and not waited for.
    pub(super) queue: bool,
}

impl<'a> Live<'a> {
    pub(super) fn new(progress: &'a mut dyn Progress) -> Self {
        Self {
            draft: None,
            progress,
            loading: None,
            copied: Copied::default(),
            files: ImageFiles::new(),
            messages: Vec::new(),
            stopped: None,
            down: None,
            started: None,
            queue: false,
        }
    }
}

/// Nobody looks on.
pub(super) struct Quiet;

impl Progress for Quiet {
    fn total(&mut self, _: Option<u64>) {}

    fn advance(&mut self, _: u64) {}

    fn message(&mut self, text: &str) {
        tracing::info!("{text}");
    }
}

impl<S: Services> Tpcm<S> {
    /// A plan from its beginning to its end; or, if a step fails before the record, back to where it began.
    pub(super) async fn carry_out(
        &mut self,
        mut entry: Entry,
        live: &mut Live<'_>,
    ) -> Result<Report, OpsError> {
        let steps = entry.progress.steps.clone();
        if self.settings.dry_run {
            return Ok(report(&entry, steps, live, false));
        }
        layout::create(&self.layout.journals(), 0o700)?;
        self.note_interrupts()?;
        while entry.progress.next().is_some() {
            if let Err(error) = self.step_if_not_interrupted(&mut entry, live).await {
                return Err(self.turn_back(&mut entry, live, &error).await.unwrap_or(error));
            }
        }
        self.close(&entry).await?;
        Ok(report(&entry, steps, live, true))
    }

    /// The next step of a plan, unless a signal has come before it was decided.
    pub(super) async fn step_if_not_interrupted(
        &mut self,
        entry: &mut Entry,
        live: &mut Live<'_>,
    ) -> Result<(), OpsError> {
        let is_decided = matches!(recover(&entry.progress), Recovery::Finish(_));
        if let Some(interrupts) = self.interrupts.as_mut().filter(|_| !is_decided)
            && let Some(signal) = interrupts.noted().await
        {
            return Err(signal);
        }
        self.step(entry, live).await
    }

    /// The next step of a plan.
    pub(super) async fn step(&mut self, entry: &mut Entry, live: &mut Live<'_>) -> Result<(), OpsError> {
        let Some(step) = entry.progress.next() else { return Ok(()) };
        if step == Step::Record {
            self.sync().await?;
        }
        entry.progress.begun = true;
        if let Err(error) = entry.write(&self.layout) {
            // It has not begun, or a full disk would decide for the new version that has filled it.
            entry.progress.begun = false;
            return Err(error);
        }
        fail_point(step.word(), "before")?;
        fail_point(step.word(), "error")?;
        // Of all steps together this is large, and every verb has it in it.
        Box::pin(self.forward(step, entry, live)).await?;
        fail_point(step.word(), "after")?;
        entry.progress.done += 1;
        entry.progress.begun = false;
        Ok(())
    }

    /// What becomes of an operation that failed; something worse than its error, if it comes to that.
    pub(super) async fn turn_back(
        &mut self,
        entry: &mut Entry,
        live: &mut Live<'_>,
        error: &OpsError,
    ) -> Option<OpsError> {
        match recover(&entry.progress) {
            Recovery::Finish(steps) => {
                // The journal stays: whoever comes next goes on.
                let _ = entry.write(&self.layout);
                Some(OpsError::Unfinished {
                    name: entry.name.clone(),
                    operation: entry.operation,
                    step: steps.first().copied().unwrap_or(Step::Sweep),
                    cause: error.to_string(),
                })
            }
            Recovery::Undo(steps) => match self.undo(entry, &steps, live).await {
                Ok(()) => None,
                Err(second) => Some(self.give_up(entry, error, &second)),
            },
        }
    }

    async fn undo(&mut self, entry: &mut Entry, steps: &[Step], live: &mut Live<'_>) -> Result<(), OpsError> {
        let mut unit_is_old = true;
        for step in steps {
            let word = format!("undo_{step}", step = step.word());
            fail_point(&word, "before")?;
            fail_point(&word, "error")?;
            match self.backward(*step, entry, live).await {
                // On a disk that is full there is room for it once the new container and the copy of the volume have
                // gone, which come next; meanwhile the new unit starts the old version as well.
                Err(error) if *step == Step::Unit => {
                    tracing::warn!("{}: {error}; it is tried again at the end", entry.name);
                    unit_is_old = false;
                }
                done => done?,
            }
            fail_point(&word, "after")?;
        }
        if entry.before.is_none() {
            layout::remove_tree(&self.layout.of(&entry.name))?;
        }
        // An attempt to undo it that failed has said so in the record since, not in what the journal has of before.
        if let Some(mut record) = Record::load(&self.layout, &entry.name)?
            && record.inconsistent.take().is_some()
        {
            record.store(&self.layout)?;
        }
        self.sweep(&entry.name).await?;
        if !unit_is_old {
            self.backward(Step::Unit, entry, live).await?;
        }
        self.close(entry).await
    }

    /// The end of an operation, one way or the other. Only now may its journal go, by which it could be done again.
    pub(super) async fn close(&mut self, entry: &Entry) -> Result<(), OpsError> {
        self.sync().await?;
        entry.remove(&self.layout)?;
        self.tell(&entry.name).await;
        Ok(())
    }

    /// All that was done is on the disk: hooks that are empty after a power cut would be run by the next upgrade, and the
    /// engine syncs neither layers nor what containers write, and systemd no
    /// links. A record of a version that a power cut takes away again would be the loss of both.
    async fn sync(&self) -> Result<(), OpsError> {
        let engine = self.engine.data_root().await?;
        // On a switch the first two are one file system, which is then synced already.
        let places = [self.layout.root().to_owned(), engine, self.settings.units.clone()];
        blocking(move || places.iter().try_for_each(|place| layout::sync(place))).await
    }

    /// Neither forward nor back: the record says so, and what to do; of a first installation, the journal. That stays.
    fn give_up(&mut self, entry: &mut Entry, first: &OpsError, second: &OpsError) -> OpsError {
        let hint = "put right what it names, then run: tpcm recover".to_owned();
        let text = format!(
            "{} failed ({first}), putting the old state back failed too ({second}); {hint}",
            entry.operation
        );
        tracing::error!("{}: inconsistent: {text}", entry.name);
        let noted = match Record::load(&self.layout, &entry.name) {
            Ok(Some(mut record)) => {
                record.inconsistent = Some(text);
                record.store(&self.layout)
            }
            Ok(None) => {
                entry.inconsistent = Some(text);
                entry.write(&self.layout)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            tracing::error!("{}: {error}", entry.name);
        }
        OpsError::Inconsistent {
            name: entry.name.clone(),
            operation: entry.operation,
            first: first.to_string(),
            second: second.to_string(),
            hint,
        }
    }

    /// Finishes or undoes every operation that was cut short. Takes the lock. One that can be neither finished nor undone
    /// is the error, after all others were seen to.
    pub async fn recover(&mut self) -> Result<Vec<Recovered>, OpsError> {
        if self.settings.dry_run {
            let planned = |entry: Entry| Recovered {
                finished: matches!(recover(&entry.progress), Recovery::Finish(_)),
                name: entry.name,
                operation: entry.operation,
                done: false,
            };
            return Ok(Entry::load_all(&self.layout)?.into_iter().map(planned).collect());
        }
        self.take_lock().await?;
        let done = self.recover_locked().await?;
        if self.stuck.is_empty() {
            return Ok(done);
        }
        let why: Vec<&str> = self.stuck.values().map(String::as_str).collect();
        Err(OpsError::Stuck(why.join("; and ")))
    }

    /// As [`Tpcm::recover`]; what is stuck stands in the way of nobody but those who ask for that TPC, who are told by
    /// [`Tpcm::not_stuck`].
    pub(super) async fn recover_locked(&mut self) -> Result<Vec<Recovered>, OpsError> {
        let mut done = Vec::new();
        self.stuck.clear();
        self.remove_halves()?;
        if let Err(error) = self.end_import().await {
            tracing::error!("what an interrupted import left cannot be taken away: {error}");
        }
        for name in Entry::names(&self.layout)? {
            match self.recover_one(&name).await {
                Ok(recovered) => done.extend(recovered),
                Err(error) => {
                    tracing::error!("{name}: {error}");
                    self.stuck.insert(name, error.to_string());
                }
            }
        }
        if let Err(error) = self.remove_strays().await {
            tracing::error!("what is left of what is not installed cannot be taken away: {error}");
        }
        self.settle(&done).await?;
        Ok(done)
    }

    async fn recover_one(&mut self, name: &TpcName) -> Result<Option<Recovered>, OpsError> {
        let Some(mut entry) = Entry::load(&self.layout, name)? else { return Ok(None) };
        let operation = entry.operation;
        self.note_interrupts()?;
        let mut quiet = Quiet;
        let mut live = Live::new(&mut quiet);
        live.queue = true;
        let finished = match recover(&entry.progress) {
            Recovery::Finish(_) => {
                while entry.progress.next().is_some() {
                    if let Err(error) = self.step(&mut entry, &mut live).await {
                        return Err(self.turn_back(&mut entry, &mut live, &error).await.unwrap_or(error));
                    }
                }
                self.close(&entry).await?;
                true
            }
            Recovery::Undo(steps) => {
                if let Err(second) = self.undo(&mut entry, &steps, &mut live).await {
                    let first = OpsError::Damaged {
                        path: self.layout.journal(name),
                        why: format!("{operation} was interrupted"),
                        hint: "run: tpcm recover",
                    };
                    return Err(self.give_up(&mut entry, &first, &second));
                }
                false
            }
        };
        let what = if finished { "finished" } else { "undone" };
        tracing::warn!("{name}: an interrupted {operation} was {what}");
        Ok(Some(Recovered { name: name.clone(), operation, finished, done: true }))
    }

    /// Nothing is done to a TPC while an earlier operation on it can be neither finished nor undone: its journal, which
    /// says how things were, would be lost.
    pub(super) fn not_stuck(&self, name: &TpcName) -> Result<(), OpsError> {
        self.stuck.get(name).map_or(Ok(()), |why| Err(OpsError::Stuck(why.clone())))
    }

    /// Files that a power cut left half written, before anybody looked at them.
    fn remove_halves(&self) -> Result<(), OpsError> {
        let names = layout::entries(&self.layout.records())?;
        let records = names.iter().map(|name| self.layout.records().join(name));
        for directory in records.chain([self.layout.journals(), self.layout.store()]) {
            let files = layout::entries(&directory)?;
            for half in files.iter().filter_map(|file| file.strip_prefix('.')?.strip_suffix(".new")) {
                layout::remove_half(&directory.join(half))?;
            }
        }
        Ok(())
    }

    /// Whoever asked for a command that begins with a recovery finds running what is to run; at boot, systemd waits for
    /// us instead.
    async fn settle(&mut self, done: &[Recovered]) -> Result<(), OpsError> {
        /// A container starts within this time, or its unit tells.
        const UP_TIME_MAX: Duration = Duration::from_mins(1);
        if self.settings.at_boot {
            return Ok(());
        }
        for name in done.iter().map(|recovered| &recovered.name) {
            let record = Record::load(&self.layout, name)?;
            if record.is_some_and(|record| record.enabled) && self.services.is_up(&name.unit()).await? {
                self.services.wait_up(&name.unit(), UP_TIME_MAX).await?;
            }
        }
        Ok(())
    }

    /// The record of a TPC that there must be.
    pub(super) fn record(&self, name: &TpcName) -> Result<Record, OpsError> {
        Record::load(&self.layout, name)?.ok_or_else(|| OpsError::NotInstalled(name.clone()))
    }
}

pub(super) fn report(entry: &Entry, steps: Vec<Step>, live: &mut Live<'_>, done: bool) -> Report {
    Report {
        name: entry.name.clone(),
        operation: entry.operation,
        done,
        steps,
        messages: std::mem::take(&mut live.messages),
        down_milliseconds: live.down.map(|down| u64::try_from(down.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// Dies, or fails, if a test wants it to at this place.
pub(super) fn fail_point(step: &str, place: &str) -> Result<(), OpsError> {
    let wanted = std::env::var("SWITCHYARD_TPC_FAIL").unwrap_or_default();
    if wanted.split(',').all(|wanted| wanted != format!("{step}:{place}")) {
        return Ok(());
    }
    if place == "error" {
        return Err(OpsError::FailPoint(wanted));
    }
    // As a power cut: nothing is flushed, no destructor runs.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    Err(OpsError::FailPoint(wanted))
}
