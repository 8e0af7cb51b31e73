//! The container of a TPC, made anew from its record on any SONiC image; and its private volume, made ready for it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use switchyard_core::ImageId;
use switchyard_core::tpc::{CreateArgs, LABEL, Memory, Mount, MountKind, Operation, Step, TpcName};
use switchyard_engine::{EngineError, NewContainer};

use super::execute::Live;
use super::journal::Entry;
use super::record::Record;
use super::services::Services;
use super::steps::{after, blocking, wanted_image};
use super::{OpsError, SLACK, Tpcm, beneath, cgroup, layout, volume};

/// What the image has at paths inside, each as an archive; none where it has nothing.
pub(super) type ImageFiles = HashMap<String, Option<File>>;

/// The images in a volume are not larger than this, or something is wrong with them.
const FILES_MAX: u64 = 8 << 30;

/// The label that says for which root a container was made.
pub(super) const ROOT_LABEL: &str = "switchyard.tpc.root";

/// A directory that is being filled, beside the one that it is to be.
const FILLING: &str = ".tpcm-filling";

/// Whether a container is ours: nobody else's is ever stopped or removed. Its label names the TPC that its own name is
/// made of; one that somebody runs by hand from an image that inherited the label is called something else.
pub(super) fn is_ours(container: &str, labels: &HashMap<String, String>) -> bool {
    let name = labels.get(LABEL).and_then(|name| TpcName::parse(name).ok());
    name.is_some_and(|name| name.containers().iter().any(|own| own == container))
}

impl<S: Services> Tpcm<S> {
    /// Directories for hooks, backup and the image's volumes, with what the image has there.
    pub(super) async fn make_volume(&mut self, entry: &Entry, mut files: ImageFiles) -> Result<(), OpsError> {
        let name = &entry.name;
        let volume = self.layout.volume(name);
        for own in [&volume, &self.layout.shared()] {
            beneath::make(self.layout.root(), own.strip_prefix(self.layout.root()).unwrap_or(own))?;
        }
        let wanted = self.wanted_files(entry)?;
        // Most have been read while the old version ran. What it has removed since has not.
        let mut missing = wanted.clone();
        missing.retain(|(inside, _)| !files.contains_key(inside));
        files.extend(self.read_files(name, &wanted_image(entry)?, &missing).await?);
        for (inside, below) in wanted {
            let file = files.remove(&inside).flatten();
            let most = FILES_MAX.min(self.spare()?);
            if below.as_os_str().is_empty() {
                let volume = volume.clone();
                blocking(move || file.map_or(Ok(()), |file| volume::fill(file, &volume, most))).await?;
            } else {
                fill_whole(&volume, &below, file, most).await?;
            }
        }
        for directory in ["hook", "backup", "volumes"] {
            beneath::make(&volume, Path::new(directory))?;
        }
        Ok(())
    }

    /// Files of the image that belong into the volume, each with the path inside and the path below the volume: its hooks,
    /// which the mount would hide; and what its volumes begin with, as Docker does it.
    fn wanted_files(&self, entry: &Entry) -> Result<Vec<(String, PathBuf)>, OpsError> {
        let volume = self.layout.volume(&entry.name);
        let mut wanted = Vec::new();
        if matches!(entry.operation, Operation::Install | Operation::Upgrade) {
            wanted.push(("/tpc".to_owned(), PathBuf::new()));
        }
        for (inside, below) in self.places(&wanted_image(entry)?, &after(entry)?.current.args)? {
            if !volume.is_dir() || !beneath::is_there(&volume, Path::new(&below))? {
                wanted.push((inside, below.into()));
            }
        }
        Ok(wanted)
    }

    async fn read_files(
        &mut self,
        name: &TpcName,
        image: &ImageId,
        wanted: &[(String, PathBuf)],
    ) -> Result<ImageFiles, OpsError> {
        let mut files = ImageFiles::new();
        let bare = name.bare();
        self.discard(&bare).await?;
        if wanted.is_empty() {
            return Ok(files);
        }
        self.engine.create(&bare, self.bare_container(name, image)).await?;
        // They are there twice for a moment: in the spools, and in the volume.
        let mut left = FILES_MAX.min(self.spare()? / 2);
        for (inside, _) in wanted {
            let spool = self.spool(&bare, inside, left).await?;
            let size = spool.as_ref().and_then(|spool| spool.metadata().ok()).map_or(0, |about| about.len());
            left = left.saturating_sub(size);
            files.insert(inside.clone(), spool);
        }
        self.discard(&bare).await?;
        Ok(files)
    }

    /// One that is never started.
    fn bare_container(&self, name: &TpcName, image: &ImageId) -> NewContainer {
        NewContainer {
            image: image.clone(),
            args: CreateArgs { network: Some("none".to_owned()), ..CreateArgs::default() },
            binds: Vec::new(),
            labels: self.labels(name),
            nano_cpus: 0,
            memory: None,
            cgroup_parent: String::new(),
            command: Some(vec!["/none".to_owned()]),
        }
    }

    /// Removes a container also if the engine is still making it, for a process that has died: its name is taken from the
    /// beginning on, though there is no such container yet.
    pub(super) async fn discard_late(&mut self, entry: &Entry, container: &str) -> Result<(), OpsError> {
        const TIME_MAX: Duration = Duration::from_mins(1);
        const LOOK: Duration = Duration::from_millis(100);
        let image = wanted_image(entry)?;
        let taken = async {
            loop {
                self.discard(container).await?;
                let made = self.engine.create(container, self.bare_container(&entry.name, &image)).await;
                if !matches!(made, Err(EngineError::NameTaken(_))) {
                    // Any other failure says as well that nobody has the name.
                    return self.discard(container).await;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        // It may as well be somebody else's.
        tokio::time::timeout(TIME_MAX, taken).await.unwrap_or(Ok(()))
    }

    /// What a container has at a path, as an archive that has no name; none if it has nothing there.
    async fn spool(&mut self, container: &str, inside: &str, most: u64) -> Result<Option<File>, OpsError> {
        let Some(pieces) = self.engine.read_out(container, inside).await? else { return Ok(None) };
        let free = self.free()?;
        let mut spooled = 0_u64;
        let mut spool = tempfile(&self.layout.store())?;
        let mut pieces = std::pin::pin!(pieces);
        let failed = |error| OpsError::file("write", &self.layout.store())(error);
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            spooled = spooled.saturating_add(piece.len() as u64);
            if spooled > most {
                let needed = spooled.saturating_mul(2).saturating_add(SLACK);
                return Err(self.no_room("the image's own files in the volume", needed, free));
            }
            spool.write_all(&piece).map_err(failed)?;
        }
        spool.rewind().map_err(failed)?;
        Ok(Some(spool))
    }

    /// Where the image, and volumes by name, want places below the private volume: the path inside, and the path below.
    fn places(&self, image: &ImageId, args: &str) -> Result<Vec<(String, String)>, OpsError> {
        let args = CreateArgs::parse(args)?;
        let stored = self.store.image(image)?.map(|image| image.volumes).unwrap_or_default();
        Ok(places_of(stored.iter().map(String::as_str), &args.mounts))
    }

    /// Whether what the engine is about to mount is what was meant when the container was made. It has run since, and may
    /// have put a link in the place of a directory below its volume; now it does not run. A directory that it removed is
    /// made again, since the engine would make it through links.
    pub(super) fn mounts_are_plain(&self, binds: &[(PathBuf, PathBuf)]) -> Result<(), OpsError> {
        for (source, _) in binds {
            // What an operator bound from elsewhere is theirs.
            if let Ok(below) = source.strip_prefix(self.layout.root()) {
                beneath::make(self.layout.root(), below)?;
            }
        }
        Ok(())
    }

    /// The new container is made, and all else that the engine has to be asked for: as soon as the old version has
    /// stopped, nobody serves.
    pub(super) async fn make_container(
        &mut self,
        entry: &mut Entry,
        live: &mut Live<'_>,
    ) -> Result<(), OpsError> {
        let name = entry.name.clone();
        // An operation that was cut short here and ended under another SONiC image has left them.
        for left in [name.set_aside(), name.next()] {
            self.discard(&left).await?;
        }
        let image = wanted_image(entry)?;
        let new = self.new_container(after(entry)?, &image).await?;
        let id = self.engine.create(&name.next(), new).await?;
        if let Some(record) = &mut entry.after {
            record.container = Some(id.to_string());
        }
        if entry.progress.steps.contains(&Step::Volume) {
            live.files = self.read_files(&name, &image, &self.wanted_files(entry)?).await?;
        }
        Ok(())
    }

    /// The old container gets out of the way, and the new one into its place.
    pub(super) async fn replace_container(&mut self, entry: &Entry) -> Result<(), OpsError> {
        let name = &entry.name;
        match self.engine.container(name.as_str()).await? {
            Some(here)
                if entry.old_container.as_deref() == Some(here.id.as_str())
                    && entry.operation != Operation::Install =>
            {
                self.engine.rename(name.as_str(), &name.set_aside()).await?;
            }
            Some(_) => self.discard(name.as_str()).await?,
            None => {}
        }
        Ok(self.engine.rename(&name.next(), name.as_str()).await?)
    }

    async fn new_container(&mut self, record: &Record, image: &ImageId) -> Result<NewContainer, OpsError> {
        let (name, release) = (&record.name, &record.current);
        let machine = self.machine()?;
        let args = CreateArgs::parse(&release.args)?;
        let volume = self.layout.volume(name);
        let volume_text = volume.display();
        let mut binds = vec![format!("{volume_text}:/tpc")];
        if release.shared {
            binds.push(format!("{}:/tpc_shared", self.layout.shared().display()));
        }
        let named: HashMap<String, String> = self.places(image, &release.args)?.into_iter().collect();
        for (inside, below) in &named {
            if args.mounts.iter().all(|mount| mount.target != *inside) {
                binds.push(format!("{volume_text}/{below}:{inside}"));
            }
        }
        for mount in &args.mounts {
            let from = match &mount.kind {
                MountKind::Bind(path) => path.clone(),
                MountKind::Volume(_) => {
                    let below = named.get(&mount.target).cloned().unwrap_or_else(|| below(&mount.target));
                    format!("{volume_text}/{below}")
                }
            };
            let mut options = vec![if mount.read_only { "ro" } else { "rw" }];
            options.extend(mount.propagation.as_deref());
            binds.push(format!("{from}:{}:{}", mount.target, options.join(",")));
        }
        let driver = self.engine.cgroup_driver().await?;
        let group = cgroup::parent(&driver, self.defaults.cgroup.as_deref());
        self.ensure_group(&group).await?;
        let stored = self.store.image(image)?;
        let has_command = stored.is_none_or(|stored| stored.has_command);
        Ok(NewContainer {
            image: image.clone(),
            binds,
            labels: self.labels(name),
            nano_cpus: release.limits.cpu.nano_cpus(machine.processors),
            memory: release.limits.memory.map(Memory::bytes),
            cgroup_parent: group,
            // What `docker export` wrote says nothing about what to run; most have a shell.
            command: (!has_command && args.command.is_empty()).then(|| vec!["/bin/sh".to_owned()]),
            args,
        })
    }

    fn labels(&self, name: &TpcName) -> HashMap<String, String> {
        let labels = [(LABEL, name.to_string()), (ROOT_LABEL, self.root_text())];
        labels.map(|(label, value)| (label.to_owned(), value)).into()
    }

    pub(super) fn root_text(&self) -> String {
        self.layout.root().display().to_string()
    }

    /// The group that all are in, with its cap. Without it a TPC still has its own limits.
    pub(super) async fn ensure_group(&mut self, group: &str) -> Result<(), OpsError> {
        let machine = self.machine()?;
        if cgroup::is_slice(group) {
            let text = cgroup::slice(&self.defaults.cap, &machine);
            if layout::write(&self.settings.units.join(group), text.as_bytes(), 0o644)? {
                self.services.reload().await?;
            }
            return Ok(());
        }
        if let Err(error) = cgroup::ensure(&self.settings.cgroups, group, &self.defaults.cap, &machine) {
            tracing::warn!(
                "the cap over all third-party containers cannot be set in cgroup {group}: {error}"
            );
        }
        Ok(())
    }
}

/// Places below the private volume for the image's volumes and for those that `--args` names.
fn places_of<'a>(image: impl Iterator<Item = &'a str>, mounts: &[Mount]) -> Vec<(String, String)> {
    let bound = |path: &str| {
        mounts.iter().any(|mount| mount.target == path && matches!(mount.kind, MountKind::Bind(_)))
    };
    let mut places: HashMap<String, String> = image
        .filter(|path| !bound(path) && !matches!(path.trim_end_matches('/'), "/tpc" | "/tpc_shared" | ""))
        .map(|path| (path.to_owned(), below(path)))
        .collect();
    for mount in mounts {
        if let MountKind::Volume(name) = &mount.kind {
            let below = name.as_ref().map_or_else(|| below(&mount.target), |name| format!("volumes/{name}"));
            places.insert(mount.target.clone(), below);
        }
    }
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort();
    places
}

/// One directory name for a path inside; no two paths have the same.
fn below(inside: &str) -> String {
    let name = inside.trim_matches('/').replace('%', "%25").replace('/', "%2F");
    format!("volumes/{}", name.trim_start_matches('.'))
}

/// Whole or not at all: what is there is left as it is by another attempt.
async fn fill_whole(volume: &Path, below: &Path, file: Option<File>, most: u64) -> Result<(), OpsError> {
    let (filling, directory) = (below.with_file_name(FILLING), volume.join(below));
    beneath::make(volume, filling.parent().unwrap_or(&filling))?;
    let draft = volume.join(&filling);
    layout::remove_tree(&draft)?;
    beneath::make(volume, &filling)?;
    blocking(move || {
        if let Some(file) = file {
            volume::fill(file, &draft, most)?;
            layout::sync(&draft)?;
        }
        layout::rename(&draft, &directory)
    })
    .await
}

/// A file without a name: whatever happens, nothing of it is left.
fn tempfile(directory: &Path) -> Result<File, OpsError> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let opened = open(directory, flags, Mode::from_raw_mode(0o600));
    opened.map(Into::into).map_err(|error| OpsError::file("write into", directory)(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_ours_by_label_and_name() {
        let labels = |value: &str| HashMap::from([(LABEL.to_owned(), value.to_owned())]);
        for ours in TpcName::parse("web").unwrap().containers() {
            assert!(is_ours(&ours, &labels("web")), "{ours}");
        }
        for (name, label) in [("web", ""), ("web2", "web"), ("hand", "web"), ("web", "hand")] {
            assert!(!is_ours(name, &labels(label)), "{name} {label}");
        }
        assert!(!is_ours("web", &HashMap::new()));
    }

    #[test]
    fn volumes_of_the_image_and_of_names_lie_below_the_private_one() {
        let args = CreateArgs::parse("-v data:/var/lib/x -v /srv:/bound").unwrap();
        let places = places_of(["/var/www", "/bound", "/tpc"].into_iter(), &args.mounts);
        let expected = [("/var/lib/x", "volumes/data"), ("/var/www", "volumes/var%2Fwww")];
        let expected = expected.map(|(inside, below)| (inside.to_owned(), below.to_owned()));
        assert_eq!(places, expected);
    }

    #[test]
    fn no_two_paths_share_a_directory_and_none_leads_out() {
        assert_ne!(below("/a/b"), below("/a%2Fb"));
        for path in ["/", "/..", "/../x", "/a/../../b"] {
            assert!(!below(path).contains("/.."), "{path}: {}", below(path));
        }
    }
}
