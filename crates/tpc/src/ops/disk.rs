//! How the disk limit is kept: by a project quota of private volume and writable layer together, where the file system
//! has such quotas; in any case by measuring, since a container that was given CAP_SYS_RESOURCE may write beyond them.

use std::path::PathBuf;

use switchyard_core::tpc::{Disk, TpcName, human};
use switchyard_quota::Kept;

use super::api::Usage;
use super::record::Record;
use super::services::Services;
use super::steps::blocking;
use super::{OpsError, Tpcm, volume};

/// The kernel keeps all of it.
const QUOTA: &str = "project quota";

impl<S: Services> Tpcm<S> {
    /// Makes a project of what a container writes into. Before each start, when nobody changes it: the writable layer is
    /// another one after an upgrade, the volume after one that was undone.
    pub(super) async fn join_project(&mut self, record: &Record) {
        let name = record.name.clone();
        let (volume, layer) = (self.layout.volume(&name), self.layer(&name).await);
        let limit = record.current.limits.disk.map(Disk::bytes);
        let kept = blocking(move || {
            switchyard_quota::keep(&volume, &layer, limit).map_err(OpsError::file("limit", &volume))
        })
        .await;
        if let Err(error) = kept {
            tracing::warn!("{name}: its disk limit is kept by measuring alone: {error}");
        }
    }

    /// Changes the quota, if there is one.
    pub(super) fn change_quota(&self, name: &TpcName, limit: Option<Disk>) -> Result<(), OpsError> {
        let volume = self.layout.volume(name);
        if !volume.is_dir() {
            return Ok(());
        }
        switchyard_quota::change(&volume, limit.map(Disk::bytes)).map_err(OpsError::file("limit", &volume))
    }

    /// In words, how the limit is kept.
    pub(super) async fn disk_enforced(&mut self, record: &Record) -> &'static str {
        let Some(limit) = record.current.limits.disk else { return "no limit" };
        let (volume, layer) = (self.layout.volume(&record.name), self.layer(&record.name).await);
        let kept = match layer.as_slice() {
            // Where it is, is not told: nothing is known of it.
            [] => Kept::Nothing,
            layer => switchyard_quota::kept(&volume, layer, limit.bytes()),
        };
        match kept {
            Kept::All => QUOTA,
            Kept::First => "project quota of the private volume; with the writable layer measured every 60 s",
            Kept::Nothing => "measured every 60 s",
        }
    }

    /// What is felt of the limit, or soon will be.
    pub(super) fn disk_remark(limit: Disk, usage: &Usage) -> Option<String> {
        let used = usage.volume.saturating_add(usage.layer.unwrap_or_default());
        let then = if usage.disk_enforced == QUOTA { "it can write no more" } else { "it is stopped" };
        (used > limit.bytes() / 10 * 9)
            .then(|| format!("uses {} of its limit --disk {limit}; above it, {then}", human(used)))
    }

    async fn layer(&self, name: &TpcName) -> Vec<PathBuf> {
        self.engine.layer_directories(name.as_str()).await.unwrap_or_default()
    }

    /// Bytes of private volume and writable layer.
    pub(super) async fn disk_used(&mut self, name: &TpcName) -> (Result<u64, OpsError>, Option<u64>) {
        let path = self.layout.volume(name);
        let volume = blocking(move || volume::size(&path)).await;
        (volume, self.engine.layer_size(name.as_str()).await.ok().flatten())
    }

    pub(super) async fn over_its_disk(&mut self, record: &Record) -> Option<String> {
        let limit = record.current.limits.disk?;
        let (volume, layer) = self.disk_used(&record.name).await;
        let layer = layer.unwrap_or_default();
        let volume = match volume {
            Ok(volume) => volume,
            // What cannot be measured would have no limit.
            Err(error) => return Some(format!("its limit --disk {limit} cannot be kept: {error}")),
        };
        (volume.saturating_add(layer) > limit.bytes()).then(|| over(limit, volume, layer))
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
