//! `list` and `show`: how it is with the TPCs, from records, engine, systemd and the kernel's own files. Changes nothing
//! and waits for nobody.

use std::time::{Duration, SystemTime};

use switchyard_core::tpc::TpcName;

use super::api::{Before, Details, Older, State, Summary, Usage, short};
use super::journal::Entry;
use super::record::Record;
use super::services::Services;
use super::{OpsError, Tpcm, cgroup};

impl<S: Services> Tpcm<S> {
    /// All of them, by name; also those of which there is no more than an operation that was interrupted, or a record that
    /// cannot be read.
    pub async fn list(&mut self) -> Result<Vec<Summary>, OpsError> {
        let mut rows = Vec::new();
        for (name, record) in Record::load_each(&self.layout)? {
            rows.push(match record {
                Ok(record) => self.summary(&record).await?,
                Err(error) => self.unknown(name, State::Inconsistent, error.to_string()),
            });
        }
        for name in Entry::names(&self.layout)? {
            if rows.iter().all(|row| row.name != name) {
                rows.push(self.unrecorded(name).await?);
            }
        }
        rows.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(rows)
    }

    /// What is known of a TPC without a record, from its journal.
    async fn unrecorded(&mut self, name: TpcName) -> Result<Summary, OpsError> {
        let entry = Entry::load(&self.layout, &name);
        if let Ok(Some(Entry { after: Some(record), .. })) = &entry {
            return self.summary(record).await;
        }
        let (state, reason) = match entry {
            Ok(Some(entry)) => interrupted(&entry),
            // It ended meanwhile.
            Ok(None) => (State::Interrupted, "it has just ended".to_owned()),
            Err(error) => (State::Inconsistent, error.to_string()),
        };
        Ok(self.unknown(name, state, reason))
    }

    /// Of which no more is known.
    fn unknown(&self, name: TpcName, state: State, reason: String) -> Summary {
        Summary {
            name,
            state,
            since: None,
            reason: Some(reason),
            source: String::new(),
            image: String::new(),
            version: None,
            limits: self.defaults.limits,
        }
    }

    /// The record of a TPC, or the one that an interrupted operation was to make.
    fn recorded(&self, name: &TpcName) -> Result<Record, OpsError> {
        if let Some(record) = Record::load(&self.layout, name)? {
            return Ok(record);
        }
        let Some(entry) = Entry::load(&self.layout, name)? else {
            return Err(OpsError::NotInstalled(name.clone()));
        };
        let why = format!("{name}: {}", interrupted(&entry).1);
        entry.after.ok_or(OpsError::Stuck(why))
    }

    /// Everything about one.
    pub async fn show(&mut self, name: &TpcName) -> Result<Details, OpsError> {
        let record = self.recorded(name)?;
        let mut summary = self.summary(&record).await?;
        let usage = self.usage(&record).await?;
        if summary.reason.is_none() {
            summary.reason = usage.remarks.first().cloned();
        }
        let release = &record.current;
        let mut stored = 0;
        for image in record.images() {
            stored += self.store.image(&image)?.map_or(0, |image| image.stored());
        }
        Ok(Details {
            summary,
            digest: release.digest.clone(),
            args: release.args.clone(),
            after: release.after.clone(),
            shared: release.shared,
            container: record.container.as_ref().map(|id| id.chars().take(12).collect()),
            saved: release.saved.as_ref().map(|saved| saved.at.clone()),
            before: record.before.as_ref().map(|before| Before {
                source: before.source.clone(),
                image: short(&before.image),
                version: before.version.clone(),
            }),
            older: record
                .older
                .iter()
                .map(|older| Older { at: older.at.clone(), image: short(&older.image) })
                .collect(),
            usage,
            history: record.history.clone(),
            volume: self.layout.volume(name).display().to_string(),
            stored,
        })
    }

    pub(super) async fn summary(&mut self, record: &Record) -> Result<Summary, OpsError> {
        let (state, since, reason) = self.state(record).await?;
        let release = &record.current;
        Ok(Summary {
            name: record.name.clone(),
            state,
            since,
            reason,
            source: release.source.clone(),
            image: short(&release.image),
            version: release.version.clone(),
            limits: release.limits,
        })
    }

    async fn state(&mut self, record: &Record) -> Result<(State, Option<String>, Option<String>), OpsError> {
        let name = &record.name;
        let here = self.engine.container(name.as_str()).await?;
        let (unit, since) = self.services.state(&name.unit()).await?;
        let since = (since > 0)
            .then(|| SystemTime::UNIX_EPOCH + Duration::from_micros(since))
            .map(switchyard_sonic::utc_text);
        if let Some(why) = &record.inconsistent {
            return Ok((State::Inconsistent, None, Some(why.clone())));
        }
        if let Some(entry) = Entry::load(&self.layout, name)? {
            let (state, why) = interrupted(&entry);
            return Ok((state, None, Some(why)));
        }
        let is_newest =
            here.as_ref().is_some_and(|here| record.container.as_deref() == Some(here.id.as_str()));
        if !is_newest {
            let why = "its newest container is not on this SONiC image; tpcm restore".to_owned();
            return Ok((State::NotRestored, None, Some(why)));
        }
        if let Some(here) = here.filter(|here| here.running) {
            return Ok((State::Running, here.started_at.or(since), self.last_limit(name)));
        }
        let last = self.ends(name).pop().map(|end| format!("{}: {}", end.at, end.why));
        let wanted = record.enabled && unit != "inactive";
        if !wanted {
            let why = if record.enabled { last } else { Some("disabled in CONFIG_DB".to_owned()) };
            return Ok((State::Stopped, since, why));
        }
        Ok((
            State::Failed,
            since,
            last.or_else(|| Some(format!("its unit is {unit}; see: journalctl -u {name}"))),
        ))
    }

    /// Why it died last, if its limits had a part in it: one that was restarted since has not got over it.
    fn last_limit(&self, name: &TpcName) -> Option<String> {
        let end = self.ends(name).pop().filter(|end| end.limits)?;
        Some(format!("restarted; {}: {}", end.at, end.why))
    }

    pub(super) async fn usage(&mut self, record: &Record) -> Result<Usage, OpsError> {
        let name = &record.name;
        let mut usage = Usage { disk_enforced: self.disk_enforced(record).await, ..Usage::default() };
        let (volume, layer) = self.disk_used(name).await;
        let (volume, unmeasured) = volume.map_or_else(|error| (0, Some(error)), |volume| (volume, None));
        (usage.volume, usage.layer) = (volume, layer);
        let pid = self.engine.container(name.as_str()).await?.and_then(|container| container.pid);
        if let Some(pid) = pid {
            cgroup::read(&self.settings.cgroups, pid, &mut usage);
        }
        usage.remarks = cgroup::remarks(&usage, record.current.limits.cpu);
        usage.remarks.extend(unmeasured.map(|error| error.to_string()));
        let limit = record.current.limits.disk;
        usage.remarks.extend(limit.and_then(|limit| Self::disk_remark(limit, &usage)));
        Ok(usage)
    }
}

/// How it is with a TPC that an operation is under way on, or was interrupted, and why.
fn interrupted(entry: &Entry) -> (State, String) {
    if let Some(why) = &entry.inconsistent {
        return (State::Inconsistent, why.clone());
    }
    let why = format!("{} since {} ({}); tpcm recover", entry.operation, entry.began, entry.command);
    (State::Interrupted, why)
}
