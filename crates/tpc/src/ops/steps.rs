//! The steps, each done forward. Each may have been done before, wholly or by half.

use std::time::{Duration, Instant};

use switchyard_core::tpc::{Limits, Memory, Operation, Step, TpcName, admit};
use switchyard_core::{ImageId, Repository, Tag};

use super::execute::Live;
use super::journal::Entry;
use super::loading::Loading;
use super::record::{Record, Release, Saved};
use super::services::Services;
use super::volume::Copied;
use super::{OpsError, Tpcm, container, layout, unit, volume};

/// Of the image that an operation brings, until it is decided.
pub(super) const NEXT: &str = "next";

impl<S: Services> Tpcm<S> {
    pub(super) async fn forward(
        &mut self,
        step: Step,
        entry: &mut Entry,
        live: &mut Live<'_>,
    ) -> Result<(), OpsError> {
        let name = entry.name.clone();
        match step {
            Step::Ingest => self.ingest(entry, live).await,
            Step::Load => {
                let image = wanted_image(entry)?;
                self.load_as(&name, &image, NEXT, live.loading.take()).await
            }
            Step::PreHook => self.pre_hook(entry, live).await,
            Step::CopyAside => self.copy_aside(&name, live).await,
            Step::CopyBack => self.copy_back(&name).await,
            Step::Stop => {
                live.stopped = Some(Instant::now());
                self.stop_container(&name, entry.before.as_ref()).await
            }
            Step::SetAside => self.copy_now(&name, live).await,
            Step::Exchange => {
                layout::rename(&self.layout.volume(&name), &self.layout.aside(&name))?;
                layout::rename(&self.layout.back(&name), &self.layout.volume(&name))
            }
            Step::Volume => self.make_volume(entry, std::mem::take(&mut live.files)).await,
            Step::Container => self.make_container(entry, live).await,
            Step::Replace => self.replace_container(entry).await,
            Step::Unit => {
                let record = after(entry)?.clone();
                self.write_unit(&record).await
            }
            Step::Start => self.start(entry, live).await,
            Step::PostHook => self.post_hook(entry, live).await,
            Step::StaysUp => self.stays_up(entry, live).await,
            Step::Record => {
                let record = after(entry)?;
                record.store(&self.layout)?;
                self.tell_config(record);
                Ok(())
            }
            Step::KeepOld => self.keep_old(entry, live).await,
            Step::LetGo => self.let_go(entry).await,
            Step::Snapshot => {
                self.has_layers_left(&name).await?;
                self.has_room_for_layer_of(name.as_str()).await?;
                entry.snapshot = Some(self.commit(&name, name.as_str()).await?);
                Ok(())
            }
            Step::Limits => {
                let limits = after(entry)?.current.limits;
                self.tell_limits(&name, &limits, limits.memory.map(Memory::bytes)).await
            }
            Step::RemoveUnit => self.remove_unit(&name).await,
            Step::RemoveContainer => {
                for container in name.containers() {
                    self.discard(&container).await?;
                }
                // Data that stays is limited no more.
                self.change_quota(&name, None)
            }
            Step::RemoveImage => self.remove_images(entry).await,
            Step::RemoveVolume => layout::remove_tree(&self.layout.volume(&name)),
            Step::Forget => {
                layout::remove_tree(&self.layout.of(&name))?;
                self.forget_rows(&name);
                Ok(())
            }
            Step::Sweep => self.sweep(&name).await,
        }
    }

    /// Gives an image that the engine has, or gets now from the store, one of this TPC's names.
    pub(super) async fn load_as(
        &mut self,
        name: &TpcName,
        image: &ImageId,
        word: &str,
        loading: Option<Loading>,
    ) -> Result<(), OpsError> {
        match (self.engine.image(image).await?, loading) {
            (None, loading) => self.load(image, format!("{}:{word}", name.repository()), loading).await?,
            (Some(_), Some(loading)) => loading.give_up().await,
            (Some(_), None) => {}
        }
        Ok(self.engine.tag(image, &repository(name)?, &tag(word)?).await?)
    }

    async fn copy_aside(&mut self, name: &TpcName, live: &mut Live<'_>) -> Result<(), OpsError> {
        let (volume, aside) = (self.layout.volume(name), self.layout.aside(name));
        layout::create(&self.layout.of(name), 0o700)?;
        layout::create(&volume, 0o755)?;
        self.has_room("setting the private volume aside", volume::size(&volume)?)?;
        layout::remove_tree(&aside)?;
        self.copy_now(name, live).await
    }

    async fn copy_back(&mut self, name: &TpcName) -> Result<(), OpsError> {
        let (before, back) = (self.layout.before(name), self.layout.back(name));
        self.has_room("bringing the data back", volume::size(&before)?)?;
        layout::create(&self.layout.volume(name), 0o755)?;
        for left in [self.layout.aside(name), back.clone()] {
            layout::remove_tree(&left)?;
        }
        blocking(move || volume::copy(&before, &back, &mut Copied::default())).await
    }

    /// The first time all of it, then what has changed.
    async fn copy_now(&mut self, name: &TpcName, live: &mut Live<'_>) -> Result<(), OpsError> {
        let (volume, aside) = (self.layout.volume(name), self.layout.aside(name));
        let mut copied = std::mem::take(&mut live.copied);
        // A long copy must not keep the progress of others, or signals, from being seen to.
        live.copied = blocking(move || volume::copy(&volume, &aside, &mut copied).map(|()| copied)).await?;
        Ok(())
    }

    /// Stops the unit, and the container should it run without it.
    pub(super) async fn stop_container(
        &mut self,
        name: &TpcName,
        record: Option<&Record>,
    ) -> Result<(), OpsError> {
        self.services.stop(&name.unit()).await?;
        let time = record.map_or(unit::STOP_TIME, |record| stop_time(&record.current));
        Ok(self.engine.stop(name.as_str(), Some(time)).await?)
    }

    pub(super) async fn write_unit(&mut self, record: &Record) -> Result<(), OpsError> {
        let name = &record.name;
        let release = &record.current;
        // It is written while the version before runs, which is then stopped under it.
        let stop = record.before.iter().chain([release]).map(stop_time).max().unwrap_or(unit::STOP_TIME);
        let text = unit::render(name, &release.after, stop, &self.settings.binary);
        layout::create(&self.layout.of(name), 0o700)?;
        for file in [self.layout.unit(name), self.settings.units.join(name.unit())] {
            layout::write(&file, text.as_bytes(), 0o644)?;
        }
        if record.enabled {
            self.services.enable(&name.unit()).await?;
        } else {
            // This SONiC image may have enabled it before another one disabled it.
            self.services.disable(&name.unit()).await?;
        }
        Ok(())
    }

    pub(super) async fn remove_unit(&mut self, name: &TpcName) -> Result<(), OpsError> {
        let file = self.settings.units.join(name.unit());
        if file.exists() {
            self.services.stop(&name.unit()).await?;
            self.services.disable(&name.unit()).await?;
        }
        layout::remove(&file)?;
        layout::remove_tree(&self.settings.units.join(format!("{}.d", name.unit())))?;
        Ok(self.services.reload().await?)
    }

    async fn start(&mut self, entry: &mut Entry, live: &mut Live<'_>) -> Result<(), OpsError> {
        let record = after(entry)?;
        self.admitted(&record.name, &record.current)?;
        if !record.enabled || !entry.was_up {
            live.messages.push("it is not started: it was stopped, or is disabled".to_owned());
            return Ok(());
        }
        let unit = record.name.unit();
        if live.queue {
            return Ok(self.services.queue(&unit).await?);
        }
        let started = self.services.start(&unit).await?;
        live.down = live.stopped.map(|stopped| stopped.elapsed());
        started.map_err(|why| OpsError::NotUp { name: record.name.clone(), why })?;
        let name = record.name.clone();
        live.started = self.engine.container(name.as_str()).await?.and_then(|container| container.started_at);
        Ok(())
    }

    async fn stays_up(&mut self, entry: &mut Entry, live: &mut Live<'_>) -> Result<(), OpsError> {
        let record = after(entry)?;
        if !record.enabled || !entry.was_up {
            return Ok(());
        }
        let name = record.name.clone();
        let time = Duration::from_secs(self.defaults.stays_up.unwrap_or(super::STAYS_UP));
        live.progress.message(&format!("seeing whether {name} stays up for {} s", time.as_secs()));
        let ended = tokio::time::timeout(time, self.engine.wait_end(name.as_str())).await;
        match ended {
            Err(_) => {
                // systemd may have been quicker with a new start than we with looking.
                let now = self.engine.container(name.as_str()).await?.and_then(|found| found.started_at);
                let why = "it ended and was started again; see: tpcm show".to_owned();
                if now == live.started { Ok(()) } else { Err(OpsError::NotUp { name, why }) }
            }
            Ok(ended) => {
                let why = self.why_ended(&name, ended?.code).await;
                Err(OpsError::NotUp { name, why })
            }
        }
    }

    /// In words why a container has ended.
    pub(super) async fn why_ended(&mut self, name: &TpcName, code: i64) -> String {
        let container = self.engine.container(name.as_str()).await.ok().flatten();
        let memory = container.is_some_and(|container| container.out_of_memory);
        let words = self.engine.last_words(name.as_str()).await.unwrap_or_default();
        let mut why = format!("it ended with exit code {code}");
        if memory {
            why.push_str(", killed because of its limit --memory");
        }
        if !words.is_empty() {
            why = format!("{why}; its last words: {words}");
        }
        why
    }

    async fn keep_old(&mut self, entry: &mut Entry, live: &mut Live<'_>) -> Result<(), OpsError> {
        let old = entry.name.set_aside();
        if self.engine.container(&old).await?.is_none() {
            return Ok(());
        }
        let kept = self.keep(&entry.name, &old).await;
        let at = switchyard_sonic::local_time();
        let restoring = entry.operation == Operation::Restore;
        let record = entry.after.as_mut().ok_or_else(|| undecided(&entry.name))?;
        match kept {
            Ok(image) if restoring => {
                // Said once, even if this step is done again.
                if record.older.iter().all(|saved| saved.image != image) {
                    record.older.push(Saved { image, at });
                }
            }
            Ok(image) => {
                if let Some(before) = &mut record.before {
                    before.saved = Some(Saved { image, at });
                }
            }
            // Its image and its data are kept all the same; for an older state there is nothing else.
            Err(error) if !restoring => {
                live.messages.push(format!("the writable layer of the version before is not kept: {error}"));
            }
            Err(error) => return Err(error),
        }
        record.store(&self.layout)
    }

    async fn keep(&mut self, name: &TpcName, container: &str) -> Result<ImageId, OpsError> {
        self.has_room_for_layer_of(container).await?;
        let image = self.commit(name, container).await?;
        self.save_images(std::slice::from_ref(&image)).await?;
        Ok(image)
    }

    async fn let_go(&mut self, entry: &mut Entry) -> Result<(), OpsError> {
        let name = entry.name.clone();
        self.discard(&name.set_aside()).await?;
        if entry.operation != Operation::Save {
            let image = wanted_image(entry)?;
            // An operation that was decided under another SONiC image has nothing here to name.
            if self.engine.image(&image).await?.is_some() {
                self.engine.tag(&image, &repository(&name)?, &Tag::latest()).await?;
            }
        }
        self.drop_name(&name, NEXT).await?;
        self.drop_commits(&name).await?;
        let mut old: Vec<ImageId> = entry.before.iter().flat_map(Record::images).collect();
        old.extend(after(entry)?.images());
        old.extend(entry.snapshot.clone());
        for image in old {
            self.drop_image(&image).await?;
        }
        let (aside, before) = (self.layout.aside(&name), self.layout.before(&name));
        if matches!(entry.operation, Operation::Upgrade | Operation::Rollback) && aside.is_dir() {
            layout::remove_tree(&before)?;
            layout::rename(&aside, &before)?;
        }
        Ok(())
    }

    async fn remove_images(&mut self, entry: &mut Entry) -> Result<(), OpsError> {
        let name = entry.name.clone();
        for word in [NEXT, Tag::latest().as_str()] {
            self.drop_name(&name, word).await?;
        }
        self.drop_commits(&name).await?;
        for image in entry.before.iter().flat_map(Record::images) {
            self.drop_image(&image).await?;
        }
        Ok(())
    }

    /// Takes one of a TPC's names from its image, and removes that image if nobody else has a name for it.
    pub(super) async fn drop_name(&mut self, name: &TpcName, word: &str) -> Result<(), OpsError> {
        let image_name = switchyard_core::ImageName::Tagged(repository(name)?, tag(word)?);
        // Of one from which a container was made, the last name stays, and goes when that container does.
        self.engine.untag(&image_name).await?;
        Ok(())
    }

    /// Removes an image that has no name and that no container was made from.
    pub(super) async fn drop_image(&mut self, image: &ImageId) -> Result<(), OpsError> {
        let Some(found) = self.engine.image(image).await? else { return Ok(()) };
        if found.names.is_empty() {
            self.engine.remove_image(image).await?;
        }
        Ok(())
    }

    /// Stops and removes a container of ours, if it is there.
    pub(super) async fn discard(&mut self, name: &str) -> Result<(), OpsError> {
        let Some(found) = self.engine.container(name).await? else { return Ok(()) };
        if !container::is_ours(name, &found.labels) {
            return Ok(());
        }
        self.engine.kill(name).await?;
        Ok(self.engine.remove(name).await?)
    }

    pub(super) async fn tell_limits(
        &mut self,
        name: &TpcName,
        limits: &Limits,
        memory: Option<u64>,
    ) -> Result<(), OpsError> {
        self.change_quota(name, limits.disk)?;
        if self.engine.container(name.as_str()).await?.is_none() {
            return Ok(());
        }
        let processors = self.machine()?.processors;
        Ok(self.engine.limit(name.as_str(), limits.cpu.nano_cpus(processors), memory).await?)
    }

    /// Whether the limits of a TPC fit beside what the others have.
    pub(super) fn admitted(&self, name: &TpcName, release: &Release) -> Result<(), OpsError> {
        let (records, _) = Record::load_readable(&self.layout)?;
        let others: Vec<_> = records
            .iter()
            .filter(|record| record.enabled)
            .map(|record| (record.name.clone(), record.current.limits))
            .collect();
        Ok(admit(&self.machine()?, &self.defaults.cap, &others, name, &release.limits)?)
    }

    /// Everything that no record, and no operation under way but this one, needs leaves the store.
    pub(super) async fn sweep(&mut self, done: &TpcName) -> Result<(), OpsError> {
        let roots = match self.roots(Some(done)) {
            Ok(roots) => roots,
            // What a journal or record that cannot be read needs is not known: nothing is let go until it is mended.
            Err(error) => {
                tracing::warn!("nothing leaves the store: {error}");
                return Ok(());
            }
        };
        let store = self.store.clone();
        blocking(move || Ok(store.prune(&roots).map(drop)?)).await
    }

    pub(super) fn roots(&self, done: Option<&TpcName>) -> Result<Vec<ImageId>, OpsError> {
        let mut roots: Vec<ImageId> =
            Record::load_all(&self.layout)?.iter().flat_map(Record::images).collect();
        let entries = Entry::load_all(&self.layout)?;
        for entry in entries.into_iter().filter(|entry| Some(&entry.name) != done) {
            roots.extend(entry.before.iter().chain(&entry.after).flat_map(Record::images));
            roots.extend(entry.snapshot);
        }
        Ok(roots)
    }
}

/// The image that the container of an operation is made from.
pub(super) fn wanted_image(entry: &Entry) -> Result<ImageId, OpsError> {
    let release = &after(entry)?.current;
    Ok(match entry.operation {
        Operation::Rollback | Operation::Restore => release.newest().clone(),
        Operation::Install
        | Operation::Upgrade
        | Operation::Uninstall
        | Operation::Save
        | Operation::Resources => release.image.clone(),
    })
}

pub(super) fn after(entry: &Entry) -> Result<&Record, OpsError> {
    entry.after.as_ref().ok_or_else(|| undecided(&entry.name))
}

/// A journal that was cut down by hand: no plan gets here without an image.
fn undecided(name: &TpcName) -> OpsError {
    OpsError::Damaged {
        path: format!("journal/{name}.json").into(),
        why: "it has no record to go to".to_owned(),
        hint: "remove it, and install the TPC again",
    }
}

pub(super) fn repository(name: &TpcName) -> Result<Repository, OpsError> {
    Repository::parse(&name.repository()).map_err(|error| named_badly(&error))
}

pub(super) fn tag(word: &str) -> Result<Tag, OpsError> {
    Tag::parse(word).map_err(|error| named_badly(&error))
}

fn named_badly(error: &switchyard_core::NameError) -> OpsError {
    OpsError::Damaged { path: "tpc".into(), why: error.to_string(), hint: "choose another name" }
}

/// How long its container may take to stop.
pub(super) fn stop_time(release: &Release) -> Duration {
    let args = switchyard_core::tpc::CreateArgs::parse(&release.args).unwrap_or_default();
    args.stop_timeout.map_or(unit::STOP_TIME, |seconds| Duration::from_secs(seconds.into()))
}

/// Runs what blocks on files beside the runtime.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpsError> + Send + 'static,
) -> Result<T, OpsError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| OpsError::File {
        action: "work on",
        path: "files".into(),
        source: std::io::Error::other(error),
    })?
}
