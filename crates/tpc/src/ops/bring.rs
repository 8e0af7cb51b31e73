//! The image of an installation or upgrade, from wherever it is into the store; and the record that comes of it.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use switchyard_core::tpc::Reference;
use switchyard_core::tpc::{Limits, Operation, Source};
use switchyard_core::{FeatureName, ImageId, ImageName};
use switchyard_engine::{RegistryLogin, docker_config};
use tokio::sync::mpsc::unbounded_channel;

use super::api::SourceRequest;
use super::execute::{Live, fail_point};
use super::interrupts::or_interrupted;
use super::journal::Entry;
use super::loading::Loading;
use super::record::{Record, Release};
use super::services::Services;
use super::steps::blocking;
use super::{OpsError, SLACK, Tpcm};
use crate::archive::{self, Bounds, Ingested};
use crate::fetch::{self, Patience};
use crate::store::{Ahead, StoredImage};

/// The label of images that SONiC's own package manager installs.
const PACKAGE_LABEL: &str = "com.azure.sonic.manifest";

/// How the labels begin by which a kubelet finds its containers. They are inherited from the image.
const POD_LABELS: &str = "io.kubernetes.";

/// Where an image says its version, if not in `IMAGE_VERSION`.
const VERSION_LABELS: [&str; 2] = ["org.opencontainers.image.version", "version"];

/// What is to be installed.
pub(super) struct Draft<'a> {
    pub(super) source: &'a SourceRequest,
    pub(super) args: String,
    pub(super) limits: Limits,
    pub(super) after: Vec<FeatureName>,
    pub(super) shared: bool,
}

impl<S: Services> Tpcm<S> {
    /// The step: whatever its operation, the image is in the store and the record to be is known.
    pub(super) async fn ingest(&mut self, entry: &mut Entry, live: &mut Live<'_>) -> Result<(), OpsError> {
        if entry.operation == Operation::Save {
            return self.take_in_snapshot(entry).await;
        }
        let Some(draft) = live.draft.take() else { return Ok(()) };
        let (image, digest) = match &draft.source.source {
            Source::Registry(_) => self.bring_from_registry(draft.source, entry, live).await?,
            Source::Http(_) | Source::Ssh(_) | Source::Media(_) => {
                self.bring_file(draft.source, live).await?
            }
        };
        let put_by = live.loading.as_ref().map_or(0, Loading::put_by);
        let stored = self.checked(&image, put_by).await?;
        let release = Release {
            source: draft.source.source.shown(),
            digest,
            version: version_of(&stored),
            image,
            saved: None,
            args: draft.args,
            limits: draft.limits,
            after: draft.after,
            shared: draft.shared,
        };
        entry.after = Some(record_after(entry, release));
        Ok(())
    }

    async fn bring_file(
        &mut self,
        request: &SourceRequest,
        live: &mut Live<'_>,
    ) -> Result<(ImageId, Option<String>), OpsError> {
        let downloads = self.layout.downloads();
        super::layout::create(&downloads, 0o700)?;
        let partition = self.layout.root().to_owned();
        let room = move || -> std::io::Result<u64> {
            let space = rustix::fs::statvfs(&partition)?;
            Ok(space.f_bavail.saturating_mul(space.f_frsize).saturating_sub(SLACK))
        };
        let wanted = fetch::Request {
            source: &request.source,
            downloads: &downloads,
            room: &room,
            // Unpacked it is no smaller, and it is needed twice: here, and in the SONiC image to come.
            times: 2,
            sha256: request.sha256,
            interface: request.interface.as_deref(),
            ca: request.ca.as_deref(),
            insecure: request.insecure,
            login: request.login.clone(),
            known_hosts: request.known_hosts.clone(),
            patience: Patience::default(),
        };
        let fetching = fetch::fetch(&wanted, &mut *live.progress);
        let fetched = or_interrupted(&mut self.interrupts, fetching).await?;
        live.progress.message("unpacking into the store");
        // It is needed twice: here, and in the SONiC image to come. One that is refused then must not fill the disk now.
        let bounds = Bounds::unpacked(self.spare()? / 2);
        live.progress.total(fetched.size);
        let taken = self.read_archive(fetched.path.clone(), bounds, live).await;
        fetched.discard()?;
        let image = only_one(taken?)?;
        // A file of this switch is not read once more for its sum if nobody asked for that; its image has one anyway.
        let digest = fetched.sha256.map_or_else(|| image.to_string(), |sum| format!("sha256:{sum}"));
        Ok((image, Some(digest)))
    }

    /// The archive into the store, and what is new of it on to the engine. It is read in a thread of its own, under the eyes
    /// of the progress.
    async fn read_archive(
        &mut self,
        path: PathBuf,
        bounds: Bounds,
        live: &mut Live<'_>,
    ) -> Result<Vec<Ingested>, OpsError> {
        let loading = live.loading.insert(Loading::begin(&self.engine));
        let (mut ahead, store) = (loading.ahead.take(), self.store.clone());
        let (told, mut bytes) = unbounded_channel();
        let reading = blocking(move || {
            let mut tell = |bytes| {
                // If this cannot be told, nobody looks on any more.
                let _ = told.send(bytes);
            };
            let passing = ahead.as_mut().map(|ahead| ahead as &mut Ahead<dyn Write>);
            let taken = archive::ingest_path(&path, &store, &bounds, &mut tell, passing)?;
            Ok((taken, ahead))
        });
        let telling = async {
            while let Some(bytes) = bytes.recv().await {
                live.progress.advance(bytes);
            }
        };
        let (read, ()) = tokio::join!(reading, telling);
        let (taken, ahead) = read?;
        loading.ahead = ahead;
        Ok(taken)
    }

    /// Pulled by the engine, then kept in the store as all others are: a SONiC image to come has another engine.
    async fn bring_from_registry(
        &mut self,
        request: &SourceRequest,
        entry: &mut Entry,
        live: &mut Live<'_>,
    ) -> Result<(ImageId, Option<String>), OpsError> {
        let Source::Registry(reference) = &request.source else {
            return Err(OpsError::NotOneImage { count: 0, names: String::new() });
        };
        live.progress.message(&format!("pulling {reference}"));
        self.has_room("pulling an image", 0)?;
        let (free, mut needed) = (self.free()?, SLACK);
        let given = request.username.clone().zip(request.login.password.clone());
        let login = match given {
            Some((username, password)) => Some(RegistryLogin::Password { username, password }),
            None => registry_login(reference)?,
        };
        let digest = self.engine.resolve(reference, login.as_ref()).await?;
        if let Some(wanted) = request.sha256
            && digest.to_string() != format!("sha256:{wanted}")
        {
            return Err(OpsError::WrongManifest {
                reference: reference.to_string(),
                wanted: wanted.to_string(),
                digest,
            });
        }
        let (progress, mut before) = (&mut *live.progress, 0);
        let mut tell = |done: u64, total: u64| {
            progress.total(Some(total));
            progress.advance(done.saturating_sub(before));
            before = done.max(before);
            // How large it is, its registry says to the engine alone, which tells of each layer when it begins to come. The
            // least that it takes is as much packed as unpacked.
            needed = total.saturating_mul(2).saturating_add(SLACK);
            if needed > free { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let name = ImageName::Pinned(reference.repository().clone(), digest.clone());
        // One that is here already is somebody else's.
        if self.engine.images().await?.iter().all(|image| !image.names.contains(&name)) {
            entry.pulled = Some(name.to_string());
            entry.write(&self.layout)?;
        }
        let pulling = self.engine.pull(reference, &digest, login.as_ref(), &mut tell);
        let pulled = or_interrupted(&mut self.interrupts, pulling).await;
        if needed > free {
            return Err(self.no_room("pulling the image", needed, free));
        }
        let pulled = pulled?;
        fail_point("pull", "after")?;
        let saved = self.save_images(std::slice::from_ref(&pulled.id)).await;
        self.let_go_of_pulled(entry).await?;
        saved?;
        Ok((pulled.id, Some(digest.to_string())))
    }

    /// The registry's name for an image goes, and with it an image that was here for this alone; loading from the store
    /// brings it back under a name of ours. One that somebody else has named or uses stays.
    pub(super) async fn let_go_of_pulled(&mut self, entry: &mut Entry) -> Result<(), OpsError> {
        if let Some(Ok(name)) = entry.pulled.as_deref().map(ImageName::parse) {
            self.engine.untag(&name).await?;
        }
        entry.pulled = None;
        Ok(())
    }

    /// Whether the image may be installed, and there is room for it twice: here, and in the SONiC image to come.
    async fn checked(&self, image: &ImageId, put_by: u64) -> Result<StoredImage, OpsError> {
        let stored = self
            .store
            .image(image)?
            .ok_or_else(|| OpsError::Store(crate::store::StoreError::NoSuchImage(image.clone())))?;
        if stored.labels.contains_key(PACKAGE_LABEL) {
            return Err(OpsError::SonicPackage(
                stored.names.first().map_or("the image", |name| name).to_owned(),
            ));
        }
        if let Some(label) = stored.labels.keys().find(|label| label.starts_with(POD_LABELS)) {
            return Err(OpsError::PodLabel(label.chars().filter(|c| !c.is_control()).take(64).collect()));
        }
        // What the engine has put by goes again. It is on this partition, unless its data is elsewhere.
        let put_by = if self.shares_the_disk(&self.engine.data_root().await?) { put_by } else { 0 };
        let twice = stored.size().saturating_mul(2).saturating_sub(put_by);
        self.has_room("the image in this SONiC image and in the next", twice)?;
        Ok(stored)
    }
}

fn only_one(mut taken: Vec<Ingested>) -> Result<ImageId, OpsError> {
    match taken.len() {
        1 => Ok(taken.remove(0).id),
        count => {
            let names: Vec<_> = taken.into_iter().flat_map(|image| image.names).collect();
            Err(OpsError::NotOneImage { count, names: names.join(", ") })
        }
    }
}

fn record_after(entry: &Entry, release: Release) -> Record {
    let note = match &release.version {
        Some(version) => format!("{version} from {}", release.source),
        None => format!("from {}", release.source),
    };
    let mut record = match &entry.before {
        Some(before) => {
            let mut after = before.clone();
            after.before = Some(std::mem::replace(&mut after.current, release));
            after
        }
        None => Record::new(entry.name.clone(), release, &entry.began),
    };
    record.note(&entry.began, entry.operation, note);
    record
}

fn version_of(image: &StoredImage) -> Option<String> {
    let config: serde_json::Value = serde_json::from_slice(&image.config).ok()?;
    let env = config.pointer("/config/Env").and_then(|env| env.as_array());
    let env = env.into_iter().flatten().filter_map(|entry| entry.as_str());
    let mut versions = env.filter_map(|entry| entry.strip_prefix("IMAGE_VERSION="));
    let label = || VERSION_LABELS.iter().find_map(|label| image.labels.get(*label).map(String::as_str));
    // It is printed: whoever made the image must not be able to move the cursor with it.
    let text = versions.next().or_else(label)?;
    let clean: String = text.chars().filter(|c| !c.is_control()).take(64).collect();
    (!clean.is_empty()).then_some(clean)
}

/// What `docker login` left for this registry.
fn registry_login(reference: &Reference) -> Result<Option<RegistryLogin>, OpsError> {
    let home = std::env::home_dir().unwrap_or_else(|| "/root".into());
    Ok(docker_config(&home.join(".docker/config.json"), reference)?)
}
