//! The images on the engine: which there are, which are used, and moving and taking their names.
//!
//! Nothing here is ever forced: the engine refuses to remove what a container was made from, and that is told apart
//! from what is gone already.

use std::collections::HashMap;

use bollard::errors::Error as Bollard;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum as State, ImageInspect};
use bollard::query_parameters::{
    ListContainersOptions, ListImagesOptions, RemoveImageOptions, TagImageOptions,
};
use switchyard_core::{ContainerId, Digest, Image, ImageId, ImageName, Made, Repository, Tag, Version};

use crate::containers::name_of;
use crate::{Engine, EngineError};

/// What became of an image, or a name of one, that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is removed.
    Done,
    /// It was not there.
    NotFound,
    /// A container was made from it, or it has several tags or names of several repositories: nothing was removed.
    InUse,
}

impl Engine {
    /// The image that a container was made from; nothing if there is no such container.
    pub async fn image_of(&mut self, container: &str) -> Result<Option<ImageId>, EngineError> {
        Ok(self.container(container).await?.and_then(|container| container.image_id))
    }

    /// All images with their names and versions. One that is removed meanwhile is left out.
    pub async fn images(&self) -> Result<Vec<Image>, EngineError> {
        let options = ListImagesOptions::default();
        let listed = self.docker.list_images(Some(options)).await.map_err(|error| self.error("", error))?;
        let mut images = Vec::with_capacity(listed.len());
        for id in listed.iter().filter_map(|summary| ImageId::parse(&summary.id).ok()) {
            images.extend(self.image(&id).await?);
        }
        Ok(images)
    }

    /// The names of images that are like this pattern, in which `*` is anything without a slash.
    pub async fn names_like(&self, pattern: &str) -> Result<Vec<ImageName>, EngineError> {
        let filters = HashMap::from([("reference".to_owned(), vec![pattern.to_owned()])]);
        let options = ListImagesOptions { filters: Some(filters), ..ListImagesOptions::default() };
        let listed = self.docker.list_images(Some(options)).await.map_err(|error| self.error("", error))?;
        let names = listed.iter().flat_map(|summary| &summary.repo_tags);
        Ok(names.filter_map(|name| ImageName::parse(name).ok()).collect())
    }

    /// One image; nothing if there is none of this id.
    pub async fn image(&self, id: &ImageId) -> Result<Option<Image>, EngineError> {
        match self.docker.inspect_image(id.as_str()).await {
            Ok(raw) => Ok(Some(describe(id, raw))),
            Err(Bollard::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(self.image_error(id.as_str(), error)),
        }
    }

    /// The bytes of an image's files, and its layers, the lowest first; nothing if there is none of this id.
    pub async fn weigh(&self, id: &ImageId) -> Result<(u64, Vec<Digest>), EngineError> {
        let raw = match self.docker.inspect_image(id.as_str()).await {
            Ok(raw) => raw,
            Err(Bollard::DockerResponseServerError { status_code: 404, .. }) => return Ok((0, Vec::new())),
            Err(error) => return Err(self.image_error(id.as_str(), error)),
        };
        let layers = raw.root_fs.and_then(|root| root.layers).unwrap_or_default();
        let layers = layers.iter().map_while(|layer| Digest::parse(layer).ok()).collect();
        Ok((raw.size.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default(), layers))
    }

    /// All containers, running or not, each with the image that it uses.
    pub async fn used_images(&self) -> Result<Vec<Made>, EngineError> {
        let options = ListContainersOptions { all: true, ..ListContainersOptions::default() };
        let listed =
            self.docker.list_containers(Some(options)).await.map_err(|error| self.error("", error))?;
        Ok(listed.iter().filter_map(made).collect())
    }

    /// Gives an image a name, taking it from the image that has it. One that has it already is as asked.
    pub async fn tag(&self, image: &ImageId, repository: &Repository, tag: &Tag) -> Result<(), EngineError> {
        let options = TagImageOptions { repo: Some(repository.to_string()), tag: Some(tag.to_string()) };
        self.docker
            .tag_image(image.as_str(), Some(options))
            .await
            .map_err(|error| self.image_error(image.as_str(), error))
    }

    /// Takes a name from its image. The last name goes with the image.
    pub async fn untag(&self, name: &ImageName) -> Result<Removal, EngineError> {
        self.remove_image_by(&name.to_string()).await
    }

    /// Removes an image with its tag and the digests of that repository, if it has no other names.
    pub async fn remove_image(&self, image: &ImageId) -> Result<Removal, EngineError> {
        self.remove_image_by(image.as_str()).await
    }

    async fn remove_image_by(&self, name: &str) -> Result<Removal, EngineError> {
        let options = RemoveImageOptions { force: false, noprune: false, platforms: None };
        match self.docker.remove_image(name, Some(options), None).await {
            Ok(_) => Ok(Removal::Done),
            Err(Bollard::DockerResponseServerError { status_code: 404, .. }) => Ok(Removal::NotFound),
            Err(Bollard::DockerResponseServerError { status_code: 409, .. }) => Ok(Removal::InUse),
            // Of several that remove it at once, one of them a process that has died since, the later ones may get a 500.
            Err(error @ Bollard::DockerResponseServerError { .. }) => match self.has_image(name).await {
                Ok(false) => Ok(Removal::NotFound),
                Ok(true) | Err(_) => Err(self.image_error(name, error)),
            },
            Err(error) => Err(self.image_error(name, error)),
        }
    }

    async fn has_image(&self, name: &str) -> Result<bool, Bollard> {
        match self.docker.inspect_image(name).await {
            Ok(_) => Ok(true),
            Err(Bollard::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn image_error(&self, image: &str, error: Bollard) -> EngineError {
        match error {
            Bollard::DockerResponseServerError { status_code: 404, .. } => {
                EngineError::NoSuchImage(image.to_owned())
            }
            error => self.error(image, error),
        }
    }
}

fn describe(id: &ImageId, raw: ImageInspect) -> Image {
    // What has no name is listed by some engines as one with "<none>".
    let names = [raw.repo_tags, raw.repo_digests].into_iter().flatten().flatten();
    let env = raw.config.and_then(|config| config.env).unwrap_or_default();
    Image {
        id: id.clone(),
        names: names.filter_map(|text| ImageName::parse(&text).ok()).collect(),
        version: version_in(&env),
    }
}

/// `IMAGE_VERSION` of an environment.
pub(crate) fn version_in(env: &[String]) -> Option<Version> {
    let text = env.iter().find_map(|entry| entry.strip_prefix("IMAGE_VERSION="))?;
    Version::parse(text).ok()
}

fn made(summary: &ContainerSummary) -> Option<Made> {
    let name = name_of(summary).to_owned();
    let ended = matches!(summary.state, Some(State::CREATED | State::EXITED | State::DEAD | State::REMOVING));
    Some(Made {
        id: ContainerId::parse(summary.id.as_deref()?).ok()?,
        name,
        running: !ended,
        image: ImageId::parse(summary.image_id.as_deref()?).ok()?,
    })
}
