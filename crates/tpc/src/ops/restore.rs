//! From the store onto this SONiC image: done at each boot for every TPC whose newest container is not here. A container
//! of that name that is here is an older state; it is kept in the store until `prune`.

use switchyard_core::tpc::{Facts, Operation, TpcName, human};

use super::api::{Pruned, Report, Verified};
use super::execute::{Live, Quiet};
use super::record::Record;
use super::services::Services;
use super::steps::blocking;
use super::{OpsError, Tpcm, layout};
use crate::fetch;

impl<S: Services> Tpcm<S> {
    /// Restores what is not here, and sees that every unit is as the store has it. Waits for no start at boot, since each waits
    /// for this; whoever asks by hand finds running what is to run.
    pub async fn restore(&mut self) -> Result<Vec<Report>, OpsError> {
        self.begin().await?;
        let (records, unreadable) = Record::load_readable(&self.layout)?;
        let (reports, failure) = self.restore_all(records).await;
        failure.or(unreadable).map_or(Ok(reports), Err)
    }

    /// One after the other. One that cannot be restored must not keep the others from running; the first failure is told.
    pub(super) async fn restore_all(&mut self, records: Vec<Record>) -> (Vec<Report>, Option<OpsError>) {
        let (mut reports, mut first_failure) = (Vec::new(), None);
        for record in records {
            let name = record.name.clone();
            match self.restore_one(record).await {
                Ok(report) => reports.extend(report),
                Err(error) => {
                    tracing::error!("{name}: {error}");
                    first_failure.get_or_insert(error);
                }
            }
        }
        self.put_vrf_right();
        (reports, first_failure)
    }

    async fn restore_one(&mut self, record: Record) -> Result<Option<Report>, OpsError> {
        let name = record.name.clone();
        self.not_stuck(&name)?;
        let here = self.engine.container(name.as_str()).await?;
        let is_newest =
            here.as_ref().is_some_and(|here| record.container.as_deref() == Some(here.id.as_str()));
        if is_newest {
            if !self.settings.dry_run && !self.settings.units.join(name.unit()).exists() {
                self.write_unit(&record).await?;
                self.start_if_wanted(&record).await?;
            }
            self.tell(&name).await;
            return Ok(None);
        }
        if let Some(here) = &here
            && !super::container::is_ours(name.as_str(), &here.labels)
        {
            return Err(OpsError::NameTaken { name, by: "another container".to_owned() });
        }
        let facts = Facts { older: here.is_some(), ..Facts::default() };
        let mut entry = self.entry(&name, Operation::Restore, facts, Some(record.clone())).await?;
        entry.was_up = true;
        let mut after = record;
        let note = after.current.saved.as_ref().map_or_else(
            || "onto this SONiC image, as it was installed".to_owned(),
            |saved| format!("onto this SONiC image, as it was saved {}", saved.at),
        );
        after.note(&entry.began, Operation::Restore, note);
        entry.after = Some(after);
        let mut quiet = Quiet;
        let mut live = Live::new(&mut quiet);
        live.queue = self.settings.at_boot;
        self.carry_out(entry, &mut live).await.map(Some)
    }

    async fn start_if_wanted(&mut self, record: &Record) -> Result<(), OpsError> {
        let (name, unit) = (&record.name, record.name.unit());
        if !record.enabled {
            return Ok(());
        }
        if self.settings.at_boot {
            return Ok(self.services.queue(&unit).await?);
        }
        self.services.start(&unit).await?.map_err(|why| OpsError::NotUp { name: name.clone(), why })
    }

    /// Reads every blob and compares what is there with what the records say. Takes the lock: what an operation is just
    /// about to change is no damage.
    pub async fn verify(&mut self) -> Result<Verified, OpsError> {
        self.take_lock().await?;
        let mut verified = Verified::default();
        let store = self.store.clone();
        let (faults, bytes, files) =
            blocking(move || Ok((store.verify()?, store.size()?, store.files()?))).await?;
        verified.bytes = bytes;
        verified.blobs = u64::try_from(files.len()).unwrap_or(u64::MAX);
        verified.problems.extend(faults.iter().map(ToString::to_string));
        for name in layout::entries(&self.layout.journals())? {
            verified.problems.push(format!("journal {name}: an operation was interrupted; tpcm recover"));
        }
        for (name, record) in Record::load_each(&self.layout)? {
            match record {
                Ok(record) => self.verify_one(&record, &mut verified.problems).await?,
                Err(error) => verified.problems.push(format!("{name}: {error}")),
            }
        }
        Ok(verified)
    }

    async fn verify_one(&mut self, record: &Record, problems: &mut Vec<String>) -> Result<(), OpsError> {
        let name = &record.name;
        for image in record.images() {
            if self.store.image(&image)?.is_none() {
                problems.push(format!("{name}: its image {image} is not in the store; install it again"));
            }
        }
        let kept = std::fs::read(self.layout.unit(name)).ok();
        if kept.is_none() || std::fs::read(self.settings.units.join(name.unit())).ok() != kept {
            problems.push(format!("{name}: its unit is not as the store has it; tpcm restore"));
        }
        if !self.layout.volume(name).is_dir() {
            problems
                .push(format!("{name}: its private volume {} is gone", self.layout.volume(name).display()));
        }
        let here = self.engine.container(name.as_str()).await?.map(|container| container.id.to_string());
        if here != record.container {
            problems.push(format!("{name}: its newest container is not on this SONiC image; tpcm restore"));
        }
        for left in [self.layout.aside(name), self.layout.back(name), self.layout.trash(name)] {
            if left.exists() {
                problems.push(format!("{} is left over; tpcm recover", left.display()));
            }
        }
        Ok(())
    }

    /// Lets go of older versions and older states, of downloads that were cut off, and of what nobody needs.
    pub async fn prune(&mut self) -> Result<Pruned, OpsError> {
        self.begin().await?;
        let mut pruned = Pruned::default();
        for mut record in Record::load_all(&self.layout)? {
            let name = record.name.clone();
            if self.stuck.contains_key(&name) {
                // Its way back may need what would be let go.
                continue;
            }
            pruned.let_go.extend(record.before.take().map(|before| format!("{name}: {}", before.source)));
            let older = std::mem::take(&mut record.older);
            pruned.let_go.extend(older.iter().map(|saved| format!("{name}: state of {}", saved.at)));
            if !self.settings.dry_run {
                record.store(&self.layout)?;
                layout::remove_tree(&self.layout.before(&name))?;
            }
        }
        let downloads = self.layout.downloads();
        let cut_off = fetch::pending(&downloads)?;
        pruned.downloads = u64::try_from(cut_off.len()).unwrap_or(u64::MAX);
        pruned.let_go.extend(cut_off.iter().map(|download| {
            format!("{} of {}, whose download was cut off", human(download.bytes), download.source)
        }));
        if self.settings.dry_run {
            return Ok(pruned);
        }
        fetch::clear(&downloads)?;
        let roots = self.roots(None)?;
        let store = self.store.clone();
        let done = blocking(move || Ok(store.prune(&roots)?)).await?;
        pruned.blobs = u64::try_from(done.layers + done.images.len()).unwrap_or(u64::MAX);
        pruned.bytes = cut_off.iter().map(|download| download.bytes).fold(done.bytes, u64::saturating_add);
        Ok(pruned)
    }

    /// All that are installed.
    pub(super) fn names(&self) -> Result<Vec<TpcName>, OpsError> {
        Ok(Record::load_each(&self.layout)?.into_iter().map(|(name, _)| name).collect())
    }
}
