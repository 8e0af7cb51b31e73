//! `container wait`: the unit's main process. Watches the copy that runs until it ends, lets a pod in that asks, or
//! gives up on it after the configured time (SONIC.md 3.6).
//!
//! Sleeps on three things only: the engine's answer, changes of the rows, and a safety check, since Redis tells
//! nobody that its data was flushed. What it sees it hands to the core; a database or an engine that is away is no
//! reason to end, because ending would have systemd restart what runs.

use std::process::ExitCode;
use std::time::Duration;

use switchyard_core::{
    ContainerId, Copy, Idle, Instance, Knobs, Local, Reason, RowChange, Version, View, Waiting, cause_of_end,
    ended as ended_row, is_planned_end, versions, wait, why_ended,
};
use switchyard_engine::{Container, Ended, EngineError};
use switchyard_sonic::{Changes, Switch};
use tracing::{debug, info, warn};

use crate::error::CliError;
use switchyard_host::clock::{boottime, sleep};
use switchyard_host::{Host, Target, TrackLock, engine_name, forgive_starts};

/// How long an engine that went away is waited for before the next try. Its restart takes seconds.
const ENGINE_RETRY: Duration = Duration::from_secs(1);

/// How long a database that went away, or has not loaded its configuration, is waited for before the next try. That
/// it has loaded is announced; this is for a connection that was lost.
const DATABASE_RETRY: Duration = Duration::from_secs(5);

/// What a run that did not end in order bears, as SONiC's own tool does (SONIC.md 3.7).
const FAILED: u8 = 255;

pub(super) async fn main(name: &str) -> Result<ExitCode, CliError> {
    let (mut host, target) = Host::for_name(name, crate::KUBERNETES)?;
    match target {
        Target::Feature(instance) => {
            let knobs = host.knobs_and_tell();
            let events = Events { changes: host.switch.changes(&instance).await.ok() };
            Watcher { host, instance, knobs, events }.run().await
        }
        Target::Plain(name) => match host.engine.container(&name).await? {
            None => Err(CliError::NoSuchFeature(name)),
            Some(_) => Ok(code(host.engine.wait_end(&name).await?)),
        },
    }
}

fn code(ended: Ended) -> ExitCode {
    if ended.in_order() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

/// The rows' changes, subscribed again after the database was away.
struct Events {
    changes: Option<Changes>,
}

impl Events {
    /// Resolves at the next change, or when it is time to look without one. Not while the database is away or has not
    /// loaded its configuration: what is missing then says nothing.
    async fn next(&mut self, switch: &mut Switch, instance: &Instance, at_most: Duration) {
        let mut at_most = at_most;
        loop {
            tokio::select! {
                () = sleep(at_most) => {}
                lost = Self::change(&mut self.changes) => if lost { self.changes = None },
            }
            if self.changes.is_none() {
                self.changes = switch.changes(instance).await.ok();
            }
            if self.changes.is_some() && matches!(switch.config_initialized(), Ok(true)) {
                return;
            }
            at_most = DATABASE_RETRY;
        }
    }

    /// True if the connection was lost.
    async fn change(changes: &mut Option<Changes>) -> bool {
        match changes {
            Some(changes) => changes.next().await.is_err(),
            None => std::future::pending().await,
        }
    }
}

struct Watcher {
    host: Host,
    instance: Instance,
    knobs: Knobs,
    events: Events,
}

impl Watcher {
    async fn run(mut self) -> Result<ExitCode, CliError> {
        let (mut idle, mut let_in) = (Idle::as_of(boottime()), None);
        loop {
            let view = self.host.view(&self.instance).await?;
            let next = wait(&view, idle.at(boottime()), &self.knobs);
            if let Waiting::Watch(copy, repair) = next {
                return self.watch(view, copy, repair).await;
            }
            if self.is_over(&view, let_in.as_ref()).await? {
                let_in = None;
                continue;
            }
            match next {
                Waiting::Watch(..) => {}
                Waiting::Write(change, reason) => {
                    let asker = view.asker().map(|pod| pod.id.clone());
                    if self.host.record("wait", &view, &change, reason)? && idle.wrote(reason, boottime()) {
                        let_in = asker;
                    }
                }
                Waiting::Await(left, _) => {
                    let at_most = left.unwrap_or(self.knobs.safety_check).min(self.knobs.safety_check);
                    self.events.next(&mut self.host.switch, &self.instance, at_most).await;
                }
                Waiting::Over(change, reason) => {
                    if self.host.record("wait", &view, &change, reason)? {
                        if is_planned_end(&view) {
                            forgive_starts(&self.instance).await;
                        }
                        return Ok(ExitCode::SUCCESS);
                    }
                }
            }
        }
    }

    /// Whether the pod that was let in has ended. One that ran and died before it was ever seen to run counts as well.
    async fn is_over(&mut self, view: &View, let_in: Option<&ContainerId>) -> Result<bool, CliError> {
        let Some(id) = let_in else { return Ok(false) };
        match self.host.engine.container(id.as_str()).await? {
            Some(container) if container.running => return Ok(false),
            Some(container @ Container { exit_code: Some(code), .. }) => {
                if let Some(version) = &container.version {
                    let in_order = Ended { code }.in_order() && !container.out_of_memory;
                    self.remember_end(view, version, in_order, Duration::ZERO);
                }
            }
            Some(_) | None => {}
        }
        Ok(true)
    }

    /// The kernel kills with the same signal as we do.
    async fn ran_out_of_memory(&mut self, id: &ContainerId) -> bool {
        let found = self.host.engine.container(id.as_str()).await;
        found.ok().flatten().is_some_and(|container| container.out_of_memory)
    }

    fn remember_end(&self, view: &View, version: &Version, in_order: bool, ran: Duration) {
        let cause = cause_of_end(view, in_order, ran, &self.knobs);
        self.host.remember(view, |record, now| record.left(version, cause, now));
    }

    /// Stays until the engine says that this copy has ended, and keeps the row true meanwhile.
    async fn watch(
        mut self,
        view: View,
        copy: Copy,
        repair: Option<RowChange>,
    ) -> Result<ExitCode, CliError> {
        // Held for the local copy's life: no pod with our gate runs beside it.
        let _lock = match &copy {
            Copy::Local => Some(TrackLock::shared(&self.instance).await?),
            Copy::Pod(_) => None,
        };
        let id = engine_name(&self.instance, &copy);
        self.repair(&view, &copy, repair).await?;
        let version = self.record_version(&copy).await?;
        // This run's start counts no more, however the pod ends. Now: once it has ended nobody runs, and each question
        // prolongs that.
        if matches!(copy, Copy::Pod(_)) {
            forgive_starts(&self.instance).await;
        }
        debug!(feature = %self.instance, container = %id, "watching until it ends");
        let begun = boottime();
        let ended = loop {
            tokio::select! {
                ended = self.host.engine.wait_end(&id) => match ended {
                    Ok(ended) => break ended,
                    Err(EngineError::NoSuchContainer(_)) => break Ended { code: 0 },
                    Err(error) => {
                        info!(feature = %self.instance, %error, "cannot tell whether the container runs; asking again");
                        sleep(ENGINE_RETRY).await;
                    }
                },
                () = self.events.next(&mut self.host.switch, &self.instance, self.knobs.safety_check) => if self.check(&copy).await {
                    return Ok(ExitCode::SUCCESS);
                },
            }
        };
        let ran = boottime().saturating_sub(begun);
        self.record_end(&copy, ended, version, ran).await;
        Ok(code(ended))
    }

    /// Makes the row say again what the engine shows. What cannot be read now is looked at next time. True if the
    /// run is over although the copy runs on: the unit's stop ends it.
    async fn check(&mut self, watched: &Copy) -> bool {
        let checked = match self.host.view(&self.instance).await {
            Ok(view) => match wait(&view, Duration::ZERO, &self.knobs) {
                Waiting::Watch(copy, repair) if copy == *watched => {
                    self.repair(&view, &copy, repair).await.map(|()| false)
                }
                // Of a copy that has ended the engine tells, with its exit code.
                Waiting::Over(change, reason) if runs(&view, watched) => {
                    self.host.record("wait", &view, &change, reason).map_err(CliError::from)
                }
                _ => Ok(false),
            },
            Err(error) => Err(error.into()),
        };
        checked.unwrap_or_else(|error| {
            info!(feature = %self.instance, %error, "the row could not be checked; trying again");
            false
        })
    }

    async fn repair(&mut self, view: &View, copy: &Copy, repair: Option<RowChange>) -> Result<(), CliError> {
        if let Some(change) = repair {
            let written = self.host.record("wait", view, &change, Reason::RowRepaired)?;
            if written {
                self.record_version(copy).await?;
            }
        }
        Ok(())
    }

    /// The version that runs, in the row and in what is remembered.
    async fn record_version(&mut self, copy: &Copy) -> Result<Option<Version>, CliError> {
        let id = engine_name(&self.instance, copy);
        let Some(version) = self.host.engine.container(&id).await?.and_then(|container| container.version)
        else {
            return Ok(None);
        };
        loop {
            let view = self.host.view(&self.instance).await?;
            if self.host.switch.write_state(&self.instance, &versions(&view, copy, &version))? {
                self.host.remember(&view, |record, _| record.ran(&version));
                return Ok(Some(version));
            }
        }
    }

    /// The row after the end, whatever systemd and the control script do next, and what is known against the version
    /// now. Failing is no reason to hold up the restart.
    async fn record_end(&mut self, copy: &Copy, ended: Ended, version: Option<Version>, ran: Duration) {
        let recorded = match self.host.view(&self.instance).await {
            Ok(view) => {
                if let (Copy::Pod(id), Some(version)) = (copy, version) {
                    let in_order = ended.in_order() && !self.ran_out_of_memory(id).await;
                    self.remember_end(&view, &version, in_order, ran);
                }
                self.host.record("wait", &view, &ended_row(&view), why_ended(&view)).map(|_| ())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = recorded {
            warn!(feature = %self.instance, %error, "the end of the container was not recorded");
        }
    }
}

fn runs(view: &View, copy: &Copy) -> bool {
    match copy {
        Copy::Local => view.local == Local::Running,
        Copy::Pod(id) => view.pod_runs(id),
    }
}
