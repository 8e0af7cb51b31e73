//! Writable layers into the store, before another SONiC image boots: all containers in one stream, so that a base that
//! they share is read once. The saved layer replaces the one before.

use std::collections::HashMap;

use switchyard_core::tpc::{Facts, Operation, Step, TpcName};
use switchyard_core::{Digest, ImageId};
use switchyard_engine::EngineError;

use super::api::Report;
use super::execute::{Live, Quiet, report};
use super::journal::Entry;
use super::layout;
use super::loading::Loading;
use super::record::{Record, Saved};
use super::services::Services;
use super::steps::blocking;
use super::{OpsError, Tpcm};
use crate::archive::{self, Bounds};

impl<S: Services> Tpcm<S> {
    /// Saves these, or all. One without a container here has nothing new to save and is left out.
    pub async fn save(&mut self, names: &[TpcName]) -> Result<Vec<Report>, OpsError> {
        self.begin().await?;
        let (records, mut left_out) = if names.is_empty() {
            Record::load_readable(&self.layout)?
        } else {
            (names.iter().map(|name| self.record(name)).collect::<Result<_, _>>()?, None)
        };
        let mut entries = Vec::new();
        for record in records {
            let name = record.name.clone();
            if let Err(error) = self.not_stuck(&name) {
                left_out.get_or_insert(error);
                continue;
            }
            let entry = self.entry(&name, Operation::Save, Facts::default(), Some(record)).await?;
            let newest = entry.before.as_ref().and_then(|record| record.container.clone());
            if newest.is_some() && entry.old_container == newest {
                entries.push(entry);
            }
        }
        let reports = self.save_all(entries).await?;
        left_out.map_or(Ok(reports), Err)
    }

    /// Each step of all before the next one of any. Who fails takes only itself out.
    async fn save_all(&mut self, mut entries: Vec<Entry>) -> Result<Vec<Report>, OpsError> {
        let mut quiet = Quiet;
        let mut live = Live::new(&mut quiet);
        if self.settings.dry_run {
            let steps = |entry: &Entry| entry.progress.steps.clone();
            return Ok(entries.iter().map(|entry| report(entry, steps(entry), &mut live, false)).collect());
        }
        layout::create(&self.layout.journals(), 0o700)?;
        self.note_interrupts()?;
        let mut first_failure = None;
        let steps = entries.first().map(|entry| entry.progress.steps.clone()).unwrap_or_default();
        for step in &steps {
            if *step == Step::Ingest && entries.len() > 1 {
                let snapshots: Vec<ImageId> =
                    entries.iter().filter_map(|entry| entry.snapshot.clone()).collect();
                // The step of each finds its image in the store already, or else saves it by itself.
                if let Err(error) = self.save_images(&snapshots).await {
                    tracing::warn!("they cannot be saved together, and are saved one by one: {error}");
                }
            }
            let mut going = Vec::new();
            for mut entry in entries {
                match self.step_if_not_interrupted(&mut entry, &mut live).await {
                    Ok(()) => going.push(entry),
                    Err(error) => {
                        let worse = self.turn_back(&mut entry, &mut live, &error).await;
                        first_failure.get_or_insert(worse.unwrap_or(error));
                    }
                }
            }
            entries = going;
        }
        let mut reports = Vec::new();
        for entry in entries {
            self.close(&entry).await?;
            reports.push(report(&entry, entry.progress.steps.clone(), &mut live, true));
        }
        first_failure.map_or(Ok(reports), Err)
    }

    /// The part of the step that is one TPC's own: its record to be.
    pub(super) async fn take_in_snapshot(&mut self, entry: &mut Entry) -> Result<(), OpsError> {
        let (Some(image), Some(mut after)) = (entry.snapshot.clone(), entry.before.clone()) else {
            return Ok(());
        };
        if self.store.image(&image)?.is_none() {
            self.save_images(std::slice::from_ref(&image)).await?;
        }
        after.current.saved = Some(Saved { image, at: entry.began.clone() });
        after.note(&entry.began, Operation::Save, "writable layer saved".to_owned());
        entry.after = Some(after);
        Ok(())
    }

    /// Images of the engine into the store, in one stream.
    pub(super) async fn save_images(&mut self, images: &[ImageId]) -> Result<(), OpsError> {
        let mut wanted = Vec::new();
        for image in images {
            if self.store.image(image)?.is_none() {
                wanted.push(image.clone());
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        self.has_room("keeping images in the store", self.new_bytes(&wanted).await?)?;
        let archive = self.engine.save(&wanted);
        let (store, bounds) = (self.store.clone(), Bounds::of_engine());
        let taken = blocking(move || Ok(archive::ingest(archive, &store, &bounds, &mut |_| {})?)).await?;
        match wanted.iter().find(|image| taken.iter().all(|taken| taken.id != **image)) {
            Some(image) => Err(OpsError::Store(crate::store::StoreError::NoSuchImage(image.clone()))),
            None => Ok(()),
        }
    }

    /// What the store does not have of these, before it is compressed.
    async fn new_bytes(&self, images: &[ImageId]) -> Result<u64, OpsError> {
        let stored = self.store.images()?;
        let known: HashMap<_, _> =
            stored.iter().flat_map(|image| &image.layers).map(|layer| (&layer.diff_id, layer.size)).collect();
        let mut total = 0_u64;
        for image in images {
            let (bytes, layers) = self.engine.weigh(image).await?;
            let shared = layers.iter().filter_map(|layer| known.get(layer)).sum();
            total = total.saturating_add(bytes.saturating_sub(shared));
        }
        Ok(total)
    }

    /// Whether a container's image can have one more layer. Each move to another SONiC image leaves one: the layer that was
    /// saved before is below the container that was made of it. All are saved in one stream, so that one too many would
    /// be the end of all.
    pub(super) async fn has_layers_left(&mut self, name: &TpcName) -> Result<(), OpsError> {
        /// From here on it is said at each save: there is time for an upgrade, which begins anew.
        const MANY: usize = 100;
        let Some(image) = self.engine.image_of(name.as_str()).await? else { return Ok(()) };
        let (_, layers) = self.engine.weigh(&image).await?;
        if layers.len() >= Bounds::unpacked(0).layers {
            return Err(OpsError::NoLayersLeft(name.clone()));
        }
        if layers.len() > MANY {
            tracing::warn!(
                "{name} has {} layers of at most {}, one more after each move to another SONiC image: tpcm upgrade {name} \
                 begins anew",
                layers.len(),
                Bounds::unpacked(0).layers
            );
        }
        Ok(())
    }

    /// Whether a container's writable layer can become an image of the engine, and then a layer of the store.
    pub(super) async fn has_room_for_layer_of(&self, container: &str) -> Result<(), OpsError> {
        let bytes = self.engine.layer_size(container).await?.unwrap_or_default();
        self.has_room("saving the writable layer", bytes.saturating_mul(2))
    }

    /// An image of the store into the engine, under this name; without the layers that the engine has, which is the base
    /// for all TPCs but the first. An engine that does not understand that, or has just lost them, gets all.
    pub(super) async fn load(
        &mut self,
        image: &ImageId,
        name: String,
        begun: Option<Loading>,
    ) -> Result<(), OpsError> {
        let there = self.engine.layers().await?;
        let layers = self.store.image(image)?.map(|image| image.layers).unwrap_or_default();
        let has = |layer: &Digest| there.iter().flatten().any(|there| there == layer);
        let new = layers.iter().filter(|layer| !has(&layer.diff_id)).map(|layer| layer.size).sum();
        self.has_room("loading the image into the engine", new)?;
        let loading = begun.unwrap_or_else(|| Loading::begin(&self.engine));
        match loading.complete(self.store.clone(), image, name.clone(), there).await {
            Err(OpsError::Engine(EngineError::Refused { .. })) => {
                Loading::begin(&self.engine).complete(self.store.clone(), image, name, Vec::new()).await
            }
            result => result,
        }
    }
}
