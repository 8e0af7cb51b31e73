//! The steps, each undone. Each may not have been done, or by half, or have been undone before.

use switchyard_core::tpc::{Memory, Operation, Step, TpcName};

use super::execute::Live;
use super::journal::Entry;
use super::services::Services;
use super::steps::NEXT;
use super::{OpsError, Tpcm, layout, loading, volume};

impl<S: Services> Tpcm<S> {
    pub(super) async fn backward(
        &mut self,
        step: Step,
        entry: &mut Entry,
        live: &mut Live<'_>,
    ) -> Result<(), OpsError> {
        let name = entry.name.clone();
        match step {
            Step::Load => {
                if !entry.progress.is_done(Step::Load) {
                    loading::wait_for_others(&self.engine).await?;
                }
                self.drop_name(&name, NEXT).await?;
                let new = entry.after.iter().flat_map(super::record::Record::images).collect::<Vec<_>>();
                for image in new {
                    self.drop_image(&image).await?;
                }
                Ok(())
            }
            Step::CopyAside => layout::remove_tree(&self.layout.aside(&name)),
            Step::CopyBack => layout::remove_tree(&self.layout.back(&name)),
            Step::Stop => self.start_old(entry, live).await,
            Step::SetAside => {
                if entry.progress.is_done(Step::SetAside) {
                    return self.put_volume_back(&name);
                }
                // Nobody has written into the volume since: the copy may be a half one.
                layout::remove_tree(&self.layout.aside(&name))
            }
            // What is aside is the volume itself, whole whenever it is there.
            Step::Exchange => self.put_volume_back(&name),
            Step::Volume => {
                self.discard_late(entry, &name.bare()).await?;
                if entry.operation == Operation::Install && !entry.had_volume {
                    layout::remove_tree(&self.layout.volume(&name))?;
                }
                Ok(())
            }
            Step::Container => {
                if entry.progress.is_done(Step::Container) {
                    return self.discard(&name.next()).await;
                }
                self.discard_late(entry, &name.bare()).await?;
                self.discard_late(entry, &name.next()).await
            }
            Step::Replace => self.put_old_container_back(entry).await,
            Step::Unit => match &entry.before {
                // A restore found no unit on this SONiC image, but the next one writes it.
                Some(record) => {
                    let record = record.clone();
                    self.write_unit(&record).await
                }
                None => self.remove_unit(&name).await,
            },
            Step::Start => {
                self.services.stop(&name.unit()).await?;
                Ok(self.engine.stop(name.as_str(), None).await?)
            }
            Step::Snapshot => {
                self.wait_for_commit(&name).await?;
                self.drop_commits(&name).await?;
                match &entry.snapshot {
                    Some(image) => self.drop_image(image).await,
                    None => Ok(()),
                }
            }
            Step::Limits => match &entry.before {
                Some(record) => {
                    let limits = record.current.limits;
                    // The engine takes no limit away again; as much as the machine has is the same.
                    let was_set = entry.after.iter().any(|after| after.current.limits.memory.is_some());
                    let all = if was_set { Some(self.machine()?.memory) } else { None };
                    self.tell_limits(&name, &limits, limits.memory.map(Memory::bytes).or(all)).await
                }
                None => Ok(()),
            },
            // The store lets go of what nobody needs when all is undone.
            Step::Ingest => {
                if let Some(loading) = live.loading.take() {
                    loading.give_up().await;
                }
                self.let_go_of_pulled(entry).await
            }
            // Hooks have had their effect, which goes with the
            // volume; looking on changes nothing. The others come after the record: the core never has them undone.
            Step::PreHook
            | Step::PostHook
            | Step::StaysUp
            | Step::Record
            | Step::KeepOld
            | Step::LetGo
            | Step::RemoveUnit
            | Step::RemoveContainer
            | Step::RemoveImage
            | Step::RemoveVolume
            | Step::Forget
            | Step::Sweep => Ok(()),
        }
    }

    fn put_volume_back(&self, name: &TpcName) -> Result<(), OpsError> {
        let layout = &self.layout;
        volume::put_back(&layout.aside(name), &layout.volume(name), &layout.trash(name))
    }

    async fn put_old_container_back(&mut self, entry: &Entry) -> Result<(), OpsError> {
        let (name, aside) = (entry.name.as_str(), entry.name.set_aside());
        if self.engine.container(&aside).await?.is_some() {
            self.discard(name).await?;
            return Ok(self.engine.rename(&aside, name).await?);
        }
        // The old one has still, or again, its own name; anything else of that name was made by us.
        let found = self.engine.container(name).await?;
        let is_old = |id: &str| entry.old_container.as_deref() == Some(id);
        match found {
            Some(found) if !is_old(found.id.as_str()) => self.discard(name).await,
            _ => Ok(()),
        }
    }

    async fn start_old(&mut self, entry: &Entry, live: &mut Live<'_>) -> Result<(), OpsError> {
        let (name, unit) = (&entry.name, entry.name.unit());
        let enabled = entry.before.as_ref().is_some_and(|record| record.enabled);
        // Under another SONiC image there is no container; the restore that follows makes one.
        if !entry.was_up || !enabled || self.engine.container(name.as_str()).await?.is_none() {
            return Ok(());
        }
        if live.queue {
            return Ok(self.services.queue(&unit).await?);
        }
        let started = self.services.start(&unit).await?;
        live.down = live.stopped.map(|stopped| stopped.elapsed());
        started.map_err(|why| OpsError::NotUp { name: name.clone(), why })
    }
}
