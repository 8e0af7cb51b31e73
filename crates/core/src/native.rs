//! Going native: a pod's image that has run well becomes the local image, the one before it is kept as *last*, and
//! others of the feature go (DESIGN.md section 4; SONIC.md 5.8, whose defects are named where they are avoided).
//!
//! The image store is its own record: `<local image>:latest` is what the control script starts and
//! `<local image>:last` the one before it. So a plan that was broken off, or a switch that was rebooted, is put right
//! by planning again.
//!
//! Holds always: the image that runs, the local one, the *last* one, one that any container was made from, and one
//! with a name of somebody else are never removed, and no image of ours is left without a name, since nobody could
//! tell any more whose it was.

use std::collections::BTreeSet;

use crate::{
    ContainerId, CurrentOwner, FeatureState, Image, ImageId, ImageName, Instance, Made, OnlyIf, Repository,
    RowChange, Tag, Version,
};

/// What the plan rests on.
#[derive(Debug, Clone)]
pub struct NativeView<'a> {
    /// Which instance this is about.
    pub instance: &'a Instance,
    /// The pod's container that has run well. Another one may run by now.
    pub pod: &'a ContainerId,
    /// What is recorded of the instance.
    pub row: &'a FeatureState,
    /// The repository whose `latest` its control script starts, from [`local_repository`]. None if there is none, as
    /// for a feature that only Kubernetes runs.
    pub local: Option<&'a Repository>,
    /// All images of the switch.
    pub images: &'a [Image],
    /// All its containers, those that do not run included.
    pub containers: &'a [Made],
}

/// One thing to do. Each can run twice: what is gone or tagged already is as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NativeStep {
    /// Give an image a name, which another one may lose by it.
    Tag {
        /// Which image.
        image: ImageId,
        /// The name's repository.
        repository: Repository,
        /// The name's tag.
        tag: Tag,
    },
    /// Remove the local container, which does not run: the control script makes it anew from the new image. Never
    /// by force, since it may have been started meanwhile. What it said of its version (`<f>_local`) goes first: by that
    /// name SONiC's own start-up script would keep out a pod of a version that is not on the switch any more.
    RemoveLocalContainer,
    /// Record which versions are good.
    Row(RowChange),
    /// Take one of several names from an image.
    Untag(ImageName),
    /// Remove an image that nobody uses with the names it has left: one tag at most, and digests of its repository.
    RemoveImage(ImageId),
}

/// Why nothing can be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// The pod that ran well has gone.
    #[error("the pod that ran well is not recorded to run any more")]
    NoPodRuns,
    /// The rows and the engine do not agree; the rules of the hand-shake put that right.
    #[error("the local container runs beside the pod")]
    LocalRuns,
    /// The engine does not list the image of a container that runs.
    #[error("the engine does not list the image of its pod")]
    NoImage,
}

/// The steps, in order. None: the pod's image is the local one and nothing is left over.
pub fn go_native(view: &NativeView<'_>) -> Result<Vec<NativeStep>, NotNow> {
    let pod = view.pod().ok_or(NotNow::NoPodRuns)?;
    let stopped = match view.local_container() {
        Some(local) if local.running => return Err(NotNow::LocalRuns),
        stopped => stopped.filter(|local| view.local.is_some() && local.image != pod.image),
    };
    let running = view.image(&pod.image).ok_or(NotNow::NoImage)?;
    let mut work = Work { images: view.images.to_vec(), steps: Vec::new() };
    if let Some(local) = view.local {
        work.take_home(local, &running.id);
    }
    work.steps.extend(stopped.map(|_| NativeStep::RemoveLocalContainer));
    let last =
        view.local.and_then(|local| work.named(local, &Tag::last())).filter(|last| *last != running.id);
    let good = view.good_versions(running, last.as_ref());
    work.steps.extend(view.record(&good));

    let mut kept: BTreeSet<ImageId> = [running.id.clone()].into_iter().chain(last.clone()).collect();
    kept.extend(view.containers.iter().filter(|made| Some(*made) != stopped).map(|made| made.image.clone()));
    if view.local.is_none() {
        kept.extend(view.images_of_version(good.last.as_ref()));
    }
    work.remove_others(&view.repositories(running), &kept);
    if let Some(local) = view.local {
        work.drop_spare_names(local, [Some(running.id.clone()), last].into_iter().flatten());
    }
    Ok(work.steps)
}

/// The repository of a feature's local image: what SONiC's list of images says (`ctr_image_names.json`); else what
/// its local container was made from, if that is a `latest`; else the last path segment of the pod's repository, if
/// that is an image here.
///
/// SONIC.md 5.8 takes that segment always. It would make a local image for a feature that has no control script to
/// start one, and for a package that starts another tag than `latest`.
pub fn local_repository(
    listed: Option<&str>,
    made_from: Option<&str>,
    pod: &Image,
    images: &[Image],
) -> Option<Repository> {
    if let Some(repository) = listed.and_then(started_as_latest) {
        return Some(repository);
    }
    if let Some(made_from) = made_from {
        return started_as_latest(made_from);
    }
    let remote = pod.names.iter().map(ImageName::repository).filter(|repository| repository.is_remote());
    remote.map(Repository::last_segment).find(|local| {
        let latest = ImageName::Tagged(local.clone(), Tag::latest());
        images.iter().any(|image| image.names.contains(&latest))
    })
}

/// A control script that names an id, a digest or another tag starts that one, whatever `latest` is.
fn started_as_latest(text: &str) -> Option<Repository> {
    match ImageName::parse(text) {
        Ok(ImageName::Tagged(repository, tag)) => (tag == Tag::latest()).then_some(repository),
        Ok(ImageName::Pinned(..)) => None,
        Err(_) => Repository::parse(text).ok().filter(|_| !is_id(text)),
    }
}

fn is_id(text: &str) -> bool {
    text.len() >= 12 && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// The versions that the row is to name.
struct Good {
    stable: Option<Version>,
    last: Option<Version>,
}

impl NativeView<'_> {
    /// The pod that ran well, if the row says that it runs the payload and the engine agrees.
    fn pod(&self) -> Option<&Made> {
        if self.row.current_owner != CurrentOwner::Kube {
            return None;
        }
        let id = self.row.container_id.as_ref().filter(|id| id.same_as(self.pod))?;
        self.containers.iter().find(|made| made.running && made.id.same_as(id))
    }

    fn local_container(&self) -> Option<&Made> {
        let name = self.instance.container_name();
        self.containers.iter().find(|made| made.name == name)
    }

    fn image(&self, id: &ImageId) -> Option<&Image> {
        self.images.iter().find(|image| image.id == *id)
    }

    /// The image kept as *last* says which version it is; only where it does not, or there is none, what was
    /// recorded counts, as in SONIC.md 5.8. The record alone would be lost with the next boot.
    fn good_versions(&self, running: &Image, last: Option<&ImageId>) -> Good {
        let stable = running.version.clone().or_else(|| self.row.stable_version.clone());
        let before = match (&self.row.stable_version, &stable) {
            (Some(before), Some(now)) if !before.same_as(now) => Some(before.clone()),
            _ => self.row.last_version.clone(),
        };
        Good { stable, last: last.and_then(|last| self.image(last)?.version.clone()).or(before) }
    }

    fn record(&self, good: &Good) -> Option<NativeStep> {
        let changed = |new: &Option<Version>, old: &Option<Version>| {
            new.clone().filter(|_| new.as_ref() != old.as_ref())
        };
        let change = RowChange {
            stable_version: changed(&good.stable, &self.row.stable_version),
            last_version: changed(&good.last, &self.row.last_version),
            only_if: OnlyIf::unchanged(self.row),
            ..RowChange::default()
        };
        (change.stable_version.is_some() || change.last_version.is_some()).then_some(NativeStep::Row(change))
    }

    fn images_of_version<'a>(&'a self, version: Option<&'a Version>) -> impl Iterator<Item = ImageId> + 'a {
        let of = move |image: &&Image| {
            image.version.as_ref().zip(version).is_some_and(|(has, wanted)| has.same_as(wanted))
        };
        self.images.iter().filter(of).map(|image| image.id.clone())
    }

    /// The repositories whose images are this feature's: the local one, and those that the pod's image came from. A
    /// name without a host is SONiC's own for some feature, so only the given one is ours.
    fn repositories(&self, running: &Image) -> BTreeSet<Repository> {
        let remote =
            running.names.iter().map(ImageName::repository).filter(|repository| repository.is_remote());
        remote.chain(self.local).cloned().collect()
    }
}

/// The images as they will be, and the steps that make them so.
struct Work {
    images: Vec<Image>,
    steps: Vec<NativeStep>,
}

impl Work {
    /// Makes the image the local one and keeps the one before it as *last*.
    fn take_home(&mut self, local: &Repository, running: &ImageId) {
        let former = self.named(local, &Tag::latest());
        if former.as_ref() == Some(running) {
            return;
        }
        if let Some(former) = former {
            let last = self.named(local, &Tag::last());
            if last.as_ref() != Some(&former) {
                if let Some(last) = last.filter(|last| self.names(last).len() == 1) {
                    self.tag(&last, local, Tag::of(&last));
                }
                self.tag(&former, local, Tag::last());
            }
        }
        self.tag(running, local, Tag::latest());
    }

    fn named(&self, repository: &Repository, tag: &Tag) -> Option<ImageId> {
        let name = ImageName::Tagged(repository.clone(), tag.clone());
        self.images.iter().find(|image| image.names.contains(&name)).map(|image| image.id.clone())
    }

    fn names(&self, id: &ImageId) -> &[ImageName] {
        self.images
            .iter()
            .find(|image| image.id == *id)
            .map(|image| image.names.as_slice())
            .unwrap_or_default()
    }

    fn tag(&mut self, id: &ImageId, repository: &Repository, tag: Tag) {
        let name = ImageName::Tagged(repository.clone(), tag.clone());
        for image in &mut self.images {
            image.names.retain(|other| *other != name);
            if image.id == *id {
                image.names.push(name.clone());
            }
        }
        self.steps.push(NativeStep::Tag { image: id.clone(), repository: repository.clone(), tag });
    }

    /// An image whose names are all ours is ours. The engine removes an image by its id only while it has one tag at
    /// most and names of one repository, and by its last name at once: so all other names are taken first.
    fn remove_others(&mut self, ours: &BTreeSet<Repository>, kept: &BTreeSet<ImageId>) {
        for image in self.images.iter().filter(|image| !kept.contains(&image.id)) {
            if !image.names.iter().all(|name| ours.contains(name.repository())) {
                continue;
            }
            let tagged = |name: &&ImageName| matches!(name, ImageName::Tagged(..));
            let Some(stays) = image.names.iter().find(tagged).or(image.names.first()) else { continue };
            let in_the_way = |name: &&ImageName| {
                name.repository() != stays.repository() || (tagged(name) && *name != stays)
            };
            self.steps.extend(image.names.iter().filter(in_the_way).cloned().map(NativeStep::Untag));
            self.steps.push(NativeStep::RemoveImage(image.id.clone()));
        }
    }

    /// A name that only bridged the time until `latest` and `last` were moved.
    fn drop_spare_names(&mut self, local: &Repository, images: impl Iterator<Item = ImageId>) {
        for id in images {
            let spare = ImageName::Tagged(local.clone(), Tag::of(&id));
            if self.names(&id).contains(&spare) {
                self.steps.push(NativeStep::Untag(spare));
            }
        }
    }
}
