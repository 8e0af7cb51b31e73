//! Starting and stopping: a job is asked for, and its end awaited by the signal that tells of it.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use zbus::OwnedObjectPath;

use super::{Units, failed, is_named, proxies, status::text, without_name};
use crate::SonicError;

/// A job replaces a contrary one that waits, as with systemctl.
const MODE: &str = "replace";

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// It was done, or there was nothing to do.
    Done,
    /// It ended otherwise; systemd's word for it: `failed`, `timeout`, `dependency`, `canceled`, ….
    Failed(String),
    /// The job in the queue may not be replaced, as when the switch shuts down: not now, perhaps later.
    Refused(String),
}

#[derive(Clone, Copy)]
enum Verb {
    Start,
    Stop,
    Restart,
    TryRestart,
    Reload,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart | Self::TryRestart => "restart",
            Self::Reload => "reload",
        }
    }
}

impl Units {
    /// Starts a unit and waits until it has started.
    pub async fn start(&self, unit: &str) -> Result<JobOutcome, SonicError> {
        self.run(Verb::Start, unit).await
    }

    /// Asks for a unit's start and does not wait for it: at boot the unit may be waiting for the caller.
    pub async fn ask_start(&self, unit: &str) -> Result<(), SonicError> {
        let asked = self.manager.start_unit(unit, MODE).await;
        asked.map(drop).map_err(|e| failed(format!("start {unit}"), unit, e))
    }

    /// Stops a unit and waits until it has stopped.
    pub async fn stop(&self, unit: &str) -> Result<JobOutcome, SonicError> {
        self.run(Verb::Stop, unit).await
    }

    /// Stops and starts a unit, or only starts it if it is stopped.
    pub async fn restart(&self, unit: &str) -> Result<JobOutcome, SonicError> {
        self.run(Verb::Restart, unit).await
    }

    /// Stops and starts a unit that runs or is about to; one that is stopped stays so. Refused while one stops or
    /// starts that it needs.
    pub async fn try_restart(&self, unit: &str) -> Result<JobOutcome, SonicError> {
        match self.need_in_motion(unit).await? {
            Some(need) => {
                Ok(JobOutcome::Refused(format!("{need}, which it needs, is about to stop or start")))
            }
            None => self.run(Verb::TryRestart, unit).await,
        }
    }

    /// Makes a service read its configuration anew.
    pub async fn reload(&self, unit: &str) -> Result<JobOutcome, SonicError> {
        self.run(Verb::Reload, unit).await
    }

    /// Waits until a unit is active, or, with `want` false, until it is down. False if the time is over before.
    pub async fn wait_active(&self, unit: &str, want: bool, deadline: Duration) -> Result<bool, SonicError> {
        let error = |e| failed(format!("watch {unit}"), unit, e);
        let path = self.load(unit).await?;
        self.listen().await.map_err(error)?;
        let mut changes = self.property_changes(path.clone()).await.map_err(error)?;
        let now = self.properties(&path, proxies::UNIT).await.map_err(error)?;
        let reached = |state: &str| match state {
            "active" => want,
            "inactive" | "failed" => !want,
            _ => false,
        };
        if reached(&text(&now, "ActiveState")) {
            return Ok(true);
        }
        let watch = async {
            while let Some(change) = changes.next().await {
                let args = change.args().map_err(error)?;
                let state = args.changed_properties().get("ActiveState");
                if state.and_then(|state| state.downcast_ref::<&str>().ok()).is_some_and(reached) {
                    return Ok(true);
                }
            }
            Err(gone(unit))
        };
        tokio::time::timeout(deadline, watch).await.unwrap_or(Ok(false))
    }

    async fn run(&self, verb: Verb, unit: &str) -> Result<JobOutcome, SonicError> {
        let doing = || format!("{} {unit}", verb.word());
        let error = |e| failed(doing(), unit, e);
        // Signals carry the unit's own name, which an alias is not.
        let listens = async { self.listen().await.map_err(error) };
        let (shown, ()) = tokio::try_join!(self.shown(unit, proxies::UNIT), listens)?;
        let own_name = text(&shown, "Id");
        // Only this unit's jobs: the hundreds of a boot would fill the queue and block the answer below.
        let ends = self.manager.receive_job_removed_with_args(&[(2, &own_name)]).await.map_err(error)?;
        let job = match verb {
            Verb::Start => self.manager.start_unit(unit, MODE).await,
            Verb::Stop => self.manager.stop_unit(unit, MODE).await,
            Verb::Restart => self.manager.restart_unit(unit, MODE).await,
            Verb::TryRestart => self.manager.try_restart_unit(unit, MODE).await,
            Verb::Reload => self.manager.reload_unit(unit, MODE).await,
        };
        let job = match job {
            Ok(job) => job,
            Err(refusal) if is_named(&refusal, "org.freedesktop.systemd1.TransactionIsDestructive") => {
                return Ok(JobOutcome::Refused(without_name(&refusal.to_string())));
            }
            Err(other) => return Err(error(other)),
        };
        let end = end_of(ends, &job, unit);
        match self.deadline {
            None => end.await,
            Some(deadline) => tokio::time::timeout(deadline, end).await.unwrap_or_else(|_| {
                Err(SonicError::TimedOut { what: format!("the job to {}", doing()), after: deadline })
            }),
        }
    }
}

async fn end_of(
    mut ends: impl Stream<Item = proxies::JobRemoved> + Unpin,
    job: &OwnedObjectPath,
    unit: &str,
) -> Result<JobOutcome, SonicError> {
    while let Some(end) = ends.next().await {
        let args = end.args().map_err(|e| failed(format!("tell how {unit} went"), unit, e))?;
        if args.job == *job {
            return Ok(outcome(&args.result));
        }
    }
    Err(gone(unit))
}

fn outcome(result: &str) -> JobOutcome {
    match result {
        // Skipped: the job does not apply to the state that the unit is in.
        "done" | "skipped" => JobOutcome::Done,
        other => JobOutcome::Failed(other.to_owned()),
    }
}

fn gone(unit: &str) -> SonicError {
    let reason = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    failed(format!("watch {unit}"), unit, reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_done_only_if_systemd_says_so() {
        for word in ["done", "skipped"] {
            assert_eq!(outcome(word), JobOutcome::Done);
        }
        for word in ["failed", "timeout", "canceled", "dependency", "invalid", "assert", "unheard-of"] {
            assert_eq!(outcome(word), JobOutcome::Failed(word.into()));
        }
    }
}
