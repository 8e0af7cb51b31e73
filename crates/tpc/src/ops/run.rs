//! What a TPC's unit runs: starts the container, lives as long as it does, says why it ended, and stops one that is over
//! its disk limit.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use switchyard_core::tpc::{Reservation, TpcName, admit_start};
use tokio::signal::unix::{SignalKind, signal};

use super::journal::Entry;
use super::record::Record;
use super::services::Services;
use super::steps::stop_time;
use super::{NOT_AGAIN, OpsError, Tpcm, layout};

/// How often the disk and the kernel's counters are looked at. Nobody is told by the kernel that a directory grows or that
/// a group is held back, so these are looked at again and again, if seldom.
pub(super) const MEASURE: Duration = Duration::from_mins(1);

const DOCKER: &str = "docker.service";

/// So many ends of runs are remembered.
const ENDS_MAX: usize = 20;

/// How a run ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) at: String,
    pub(super) why: String,
    /// The limits had a part in it.
    pub(super) limits: bool,
}

impl<S: Services> Tpcm<S> {
    /// Starts a TPC, tells systemd so, and waits for its end, whose exit code it returns. Takes no lock: whoever holds it
    /// waits for this. That it has ended is told by [`Tpcm::stop`], which the unit runs after this.
    pub async fn run(&mut self, name: &TpcName) -> Result<u8, OpsError> {
        let record = self.record_to_run(name).await?;
        if !record.enabled {
            self.ended(name, "not started: it is disabled in CONFIG_DB".to_owned(), false);
            return Ok(NOT_AGAIN);
        }
        let mut terminated = signal(SignalKind::terminate())
            .map_err(|error| OpsError::file("hear of signals for", self.layout.root())(error))?;
        let made = self.engine.made(name.as_str()).await?;
        self.ensure_group(&made.cgroup_parent).await?;
        if let Some(why) = self.over_its_disk(&record).await {
            self.ended(name, why, true);
            return Ok(NOT_AGAIN);
        }
        if let Err(error) = self.may_start(&record).await {
            self.ended(name, format!("not started: {error}"), true);
            self.tell(name).await;
            // It would not fit in two seconds either.
            return if matches!(error, OpsError::NotAdmitted(_)) { Ok(NOT_AGAIN) } else { Err(error) };
        }
        if let Err(error) = self.mounts_are_plain(&made.binds) {
            self.ended(name, format!("not started: {error}"), false);
            // Another attempt would find the same link.
            return if matches!(error, OpsError::Planted(_)) { Ok(NOT_AGAIN) } else { Err(error) };
        }
        self.join_project(&record).await;
        self.engine.start(name.as_str()).await?;
        // Without systemd nobody listens, and nobody needs to.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        // An upgrade counts until here how long nobody serves.
        self.put_vrf_right();
        self.tell(name).await;
        let engine = self.engine.clone();
        let mut end = std::pin::pin!(engine.wait_end(name.as_str()));
        let mut remarks = Vec::new();
        let mut measure = tokio::time::interval(MEASURE);
        measure.reset();
        loop {
            tokio::select! {
                ended = &mut end => {
                    let code = ended?.code;
                    let why = self.why_ended(name, code).await;
                    let limits = why.contains("--memory") || !remarks.is_empty();
                    remarks.insert(0, why);
                    self.ended(name, remarks.join("; "), limits);
                    return Ok(exit_code(code));
                }
                _ = terminated.recv() => {
                    // Before that it is asked for nothing.
                    if self.docker_runs().await {
                        let now = self.record_to_run(name).await.unwrap_or(record);
                        self.engine.stop(name.as_str(), Some(stop_time(&now.current))).await?;
                    }
                    return Ok(0);
                }
                _ = measure.tick() => {
                    // The limits may have been changed meanwhile.
                    let Ok(now) = self.record_to_run(name).await else { continue };
                    if let Some(why) = self.over_its_disk(&now).await {
                        self.engine.stop(name.as_str(), Some(stop_time(&now.current))).await?;
                        self.ended(name, format!("stopped: {why}"), true);
                        return Ok(NOT_AGAIN);
                    }
                    let found = self.remarks(&now).await;
                    if remarks.is_empty() && !found.is_empty() {
                        tracing::warn!("{name}: {}", found.join("; "));
                        self.tell(name).await;
                    }
                    remarks = found;
                }
            }
        }
    }

    /// Whether its limits still fit under the cap. One that an operation has found running, and starts again because that
    /// failed, is as those that run go on under a cap that was lowered.
    async fn may_start(&mut self, own: &Record) -> Result<(), OpsError> {
        if self.goes_on(&own.name).await? {
            return Ok(());
        }
        let mut others = Vec::new();
        let (records, _) = Record::load_readable(&self.layout)?;
        for record in records.into_iter().filter(|record| record.enabled) {
            let container = self.engine.container(record.name.as_str()).await?;
            others.push(reservation(&record, container.is_some_and(|container| container.running)));
        }
        let own = reservation(own, false);
        Ok(admit_start(&self.machine()?, &self.defaults.cap, &others, &own)?)
    }

    async fn goes_on(&mut self, name: &TpcName) -> Result<bool, OpsError> {
        let Ok(Some(entry)) = Entry::load(&self.layout, name) else { return Ok(false) };
        let here = self.engine.container(name.as_str()).await?.map(|found| found.id.to_string());
        Ok(entry.was_up && here.is_some() && entry.old_container == here)
    }

    /// The record of the container that has the name now.
    async fn record_to_run(&mut self, name: &TpcName) -> Result<Record, OpsError> {
        let record = Record::load(&self.layout, name)?;
        let entry = match Entry::load(&self.layout, name) {
            Err(error) if record.is_none() => return Err(error),
            // Operations on it are stuck then; it runs all the same.
            entry => entry.ok().flatten(),
        };
        let here = self.engine.container(name.as_str()).await?.map(|found| found.id.to_string());
        chosen(record, entry, here.as_deref()).ok_or_else(|| OpsError::NotInstalled(name.clone()))
    }

    /// Stops a TPC's container, whoever started it. While Docker does not run that is left to the unit's next start, which
    /// goes on with a container that still runs.
    pub async fn stop(&mut self, name: &TpcName) -> Result<(), OpsError> {
        if !self.docker_runs().await {
            tracing::warn!("{name}: not stopped, since Docker does not run");
            return Ok(());
        }
        let time = self.record_to_run(name).await.ok().map(|record| stop_time(&record.current));
        let running = self.engine.container(name.as_str()).await?.is_some_and(|found| found.running);
        if running {
            self.engine.stop(name.as_str(), time).await?;
        }
        self.tell(name).await;
        Ok(())
    }

    /// Whether there is a Docker daemon that will answer. After a crash systemd holds its socket, which takes questions that
    /// nobody reads, and brings it back only when the units have stopped that need it: one of these that waited for an
    /// answer would keep Docker away from the whole switch. A Docker that is none of systemd's is taken to run.
    pub async fn docker_runs(&self) -> bool {
        let Ok((state, _)) = self.services.state(DOCKER).await else { return true };
        let runs = matches!(state.as_str(), "active" | "reloading" | "deactivating");
        runs || !self.services.exists(DOCKER).await.unwrap_or(false)
    }

    /// What its limits do to it, as far as that is felt.
    async fn remarks(&mut self, record: &Record) -> Vec<String> {
        self.usage(record).await.map(|usage| usage.remarks).unwrap_or_default()
    }

    fn ended(&self, name: &TpcName, why: String, limits: bool) {
        tracing::warn!("{name}: {why}");
        let path = self.layout.ends(name);
        let mut ends = self.ends(name);
        ends.push(End { at: switchyard_sonic::local_time(), why, limits });
        let too_many = ends.len().saturating_sub(ENDS_MAX);
        ends.drain(..too_many);
        if let Err(error) = layout::write_json(&path, &ends) {
            tracing::warn!("{name}: {error}");
        }
    }

    /// How its last runs ended, oldest first.
    pub(super) fn ends(&self, name: &TpcName) -> Vec<End> {
        layout::read_json(&self.layout.ends(name), "it is written anew").ok().flatten().unwrap_or_default()
    }
}

/// A new version starts before it counts: until then what is recorded is of the container before it, if of any.
fn chosen(record: Option<Record>, entry: Option<Entry>, here: Option<&str>) -> Option<Record> {
    let is_here = |record: &Record| here.is_some() && record.container.as_deref() == here;
    let after = entry.and_then(|entry| entry.after);
    match record {
        Some(record) if is_here(&record) => Some(record),
        Some(record) => Some(after.filter(is_here).unwrap_or(record)),
        None => after,
    }
}

fn reservation(record: &Record, runs: bool) -> Reservation {
    Reservation {
        name: record.name.clone(),
        limits: record.current.limits,
        since: record.created.clone(),
        runs,
    }
}

/// The container's own code, unless systemd would take it for ours.
fn exit_code(code: i64) -> u8 {
    match u8::try_from(code) {
        Ok(NOT_AGAIN) => 1,
        Ok(code) => code,
        Err(_) => u8::MAX,
    }
}

#[cfg(test)]
mod tests {
    use switchyard_core::ImageId;
    use switchyard_core::tpc::{Asked, Facts, Limits, Operation};

    use super::super::record::Release;
    use super::*;

    fn record(container: &str, cpu: &str) -> Record {
        let release = Release {
            source: "web.tar".to_owned(),
            digest: None,
            image: ImageId::parse(&format!("sha256:{}", "a".repeat(64))).unwrap(),
            saved: None,
            version: None,
            args: String::new(),
            limits: Asked { cpu: Some(cpu.parse().unwrap()), ..Asked::default() }.over(Limits::default()),
            after: Vec::new(),
            shared: true,
        };
        let mut record = Record::new(TpcName::parse("web").unwrap(), release, "now");
        record.container = Some(container.to_owned());
        record
    }

    #[test]
    fn a_container_is_run_by_the_limits_of_its_own_version() {
        let (old, new) = (record("old", "35%"), record("new", "15%"));
        let began = ("now".to_owned(), "tpcm".to_owned());
        let mut entry = Entry::new(&old.name, Operation::Upgrade, Facts::default(), Some(old.clone()), began);
        let run = |record: Option<&Record>, entry: &Entry, here| {
            chosen(record.cloned(), Some(entry.clone()), here).map(|record| record.current.limits)
        };
        assert_eq!(run(Some(&old), &entry, Some("old")), Some(old.current.limits), "none is made yet");
        entry.after = Some(new.clone());
        assert_eq!(run(Some(&old), &entry, Some("new")), Some(new.current.limits), "an upgrade starts it");
        assert_eq!(run(Some(&old), &entry, Some("old")), Some(old.current.limits), "or is undone");
        assert_eq!(run(Some(&new), &entry, Some("new")), Some(new.current.limits), "it counts");
        assert_eq!(run(None, &entry, Some("new")), Some(new.current.limits), "it is the first");
        // Limits that are being changed count when they are recorded.
        entry.after = Some(record("old", "15%"));
        assert_eq!(run(Some(&old), &entry, Some("old")), Some(old.current.limits));
        assert_eq!(chosen(None, None, Some("old")), None);
    }
}
