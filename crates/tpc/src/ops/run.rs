//! What a TPC's unit runs: starts the container, lives as long as it does, says why it ended, and keeps its disk limit.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use switchyard_core::tpc::{Disk, TpcName, human};
use tokio::signal::unix::{SignalKind, signal};

use super::record::Record;
use super::services::Services;
use super::steps::{blocking, stop_time};
use super::{NOT_AGAIN, OpsError, Tpcm, cgroup, layout, volume};
use crate::ops::api::Usage;

/// How often the disk is measured. The kernel tells nobody that a directory grows, so this one thing is looked at again
/// and again; only where a limit is set.
const MEASURE: Duration = Duration::from_secs(30);

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
    /// waits for this.
    pub async fn run(&mut self, name: &TpcName) -> Result<u8, OpsError> {
        let record = self.record(name)?;
        let mut terminated = signal(SignalKind::terminate())
            .map_err(|error| OpsError::file("hear of signals for", self.layout.root())(error))?;
        self.ensure_group().await?;
        if let Some(why) = self.over_its_disk(&record).await {
            self.ended(name, why, true);
            return Ok(NOT_AGAIN);
        }
        self.engine.start(name.as_str()).await?;
        // Without systemd nobody listens, and nobody needs to.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        self.tell(name).await;
        let engine = self.engine.clone();
        let mut end = std::pin::pin!(engine.wait_end(name.as_str()));
        let mut warned = false;
        let mut measure = tokio::time::interval(MEASURE);
        measure.reset();
        loop {
            tokio::select! {
                ended = &mut end => {
                    let code = ended?.code;
                    let usage = self.last_usage(name).await;
                    let why = self.why_ended(name, code).await;
                    let limits = why.contains("--memory") || !usage.is_empty();
                    self.ended(name, [vec![why], usage].concat().join("; "), limits);
                    self.tell(name).await;
                    return Ok(u8::try_from(code).unwrap_or(u8::MAX));
                }
                _ = terminated.recv() => {
                    self.engine.stop(name.as_str(), Some(stop_time(&record.current))).await?;
                    self.tell(name).await;
                    return Ok(0);
                }
                _ = measure.tick(), if record.current.limits.disk.is_some() => {
                    // The limit may have been changed meanwhile.
                    let Some(now) = Record::load(&self.layout, name)? else { continue };
                    if let Some(why) = self.over_its_disk(&now).await {
                        self.engine.stop(name.as_str(), Some(stop_time(&now.current))).await?;
                        self.ended(name, format!("stopped: {why}"), true);
                        self.tell(name).await;
                        return Ok(NOT_AGAIN);
                    }
                    warned = self.warn_of_disk(&now, warned).await;
                }
            }
        }
    }

    /// Stops a TPC's container, whoever started it.
    pub async fn stop(&mut self, name: &TpcName) -> Result<(), OpsError> {
        let time = Record::load(&self.layout, name)?.map(|record| stop_time(&record.current));
        let running = self.engine.container(name.as_str()).await?.is_some_and(|found| found.running);
        if running {
            self.engine.stop(name.as_str(), time).await?;
        }
        self.tell(name).await;
        Ok(())
    }

    /// Bytes of private volume and writable layer.
    pub(super) async fn disk_used(&mut self, name: &TpcName) -> (u64, Option<u64>) {
        let path = self.layout.volume(name);
        let volume = blocking(move || Ok(volume::size(&path))).await.unwrap_or_default();
        (volume, self.engine.layer_size(name.as_str()).await.ok().flatten())
    }

    async fn over_its_disk(&mut self, record: &Record) -> Option<String> {
        let limit = record.current.limits.disk?;
        let (volume, layer) = self.disk_used(&record.name).await;
        let layer = layer.unwrap_or_default();
        (volume.saturating_add(layer) > limit.bytes()).then(|| over(limit, volume, layer))
    }

    /// Says once that it is nearly full.
    async fn warn_of_disk(&mut self, record: &Record, warned: bool) -> bool {
        let Some(limit) = record.current.limits.disk else { return false };
        let (volume, layer) = self.disk_used(&record.name).await;
        let used = volume.saturating_add(layer.unwrap_or_default());
        let nearly = used > limit.bytes() / 10 * 9;
        if nearly && !warned {
            tracing::warn!(
                "{}: uses {} of its limit --disk {limit}; above it, it is stopped",
                record.name,
                human(used)
            );
        }
        nearly
    }

    /// What the limits did to it, while its groups are still there or not.
    async fn last_usage(&mut self, name: &TpcName) -> Vec<String> {
        let Ok(Some(container)) = self.engine.container(name.as_str()).await else { return Vec::new() };
        let mut usage = Usage::default();
        if let Some(pid) = container.pid {
            cgroup::read(&self.settings.cgroups, pid, &mut usage);
        }
        let Ok(record) = self.record(name) else { return Vec::new() };
        cgroup::remarks(&usage, record.current.limits.cpu)
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

fn over(limit: Disk, volume: u64, layer: u64) -> String {
    format!(
        "its private volume has {} and its writable layer {}, together more than its limit --disk {limit}; remove \
         something, or give it more with: tpcm resources",
        human(volume),
        human(layer)
    )
}
