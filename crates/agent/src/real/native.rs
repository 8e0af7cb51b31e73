//! Carries out the core's plan to make a pod's image the local one. A plan that is cut short is made anew.

use switchyard_core::{
    ContainerId, FeatureState, Image, Instance, Made, NativeStep, NativeView, NotNow, Repository, Tag,
    go_native, local_repository,
};
use switchyard_engine::{Engine, Removal};
use switchyard_sonic::{Paths, Switch, image_names};
use tracing::{info, warn};

use crate::world::{Trouble, trouble};

/// Makes a pod's image the local one, whose name is looked up unless it is given. Whether it is done, or need not be.
pub async fn take_home(
    paths: &Paths,
    engine: Engine,
    instance: &Instance,
    pod: &ContainerId,
    name: Option<&str>,
) -> bool {
    match try_it(paths, engine, instance, pod, name).await {
        Ok(true) => {
            info!(feature = %instance, container = %pod, "its image is the local one now");
            true
        }
        Ok(false) => true,
        Err(Trouble(why)) => {
            warn!(feature = %instance, container = %pod, %why, "its image is not the local one yet; trying again");
            false
        }
    }
}

/// Gives a pod's image another tag beside the local one's, and changes nothing else. False if there is no such pod, or no
/// local image whose name it could have.
pub async fn tag_beside(
    paths: &Paths,
    mut engine: Engine,
    instance: &Instance,
    pod: &ContainerId,
    name: Option<&str>,
    tag: &Tag,
) -> Result<bool, Trouble> {
    let mut switch = Switch::open(paths.clone()).map_err(trouble)?;
    let Some(seen) = look(paths, &mut switch, &mut engine, instance, pod, name).await? else {
        return Ok(false);
    };
    let Some(local) = &seen.local else { return Ok(false) };
    engine.tag(&seen.pod_image.id, local, tag).await.map_err(trouble)?;
    Ok(true)
}

/// What the plan rests on.
struct Seen {
    row: FeatureState,
    images: Vec<Image>,
    containers: Vec<Made>,
    pod_image: Image,
    local: Option<Repository>,
}

/// Nothing if the pod has no image here any more.
async fn look(
    paths: &Paths,
    switch: &mut Switch,
    engine: &mut Engine,
    instance: &Instance,
    pod: &ContainerId,
    name: Option<&str>,
) -> Result<Option<Seen>, Trouble> {
    let local = engine.container(&instance.container_name()).await.map_err(trouble)?;
    let made_from = local.and_then(|container| container.image);
    let names = image_names(paths).map_err(trouble)?;
    let row = switch.feature_state(instance).map_err(trouble)?.unwrap_or_default();
    let images = engine.images().await.map_err(trouble)?;
    let containers = engine.used_images().await.map_err(trouble)?;
    let image = engine.image_of(pod.as_str()).await.map_err(trouble)?;
    let Some(pod_image) = images.iter().find(|one| Some(&one.id) == image.as_ref()).cloned() else {
        return Ok(None);
    };
    let listed = name.or_else(|| names.get(&instance.feature).map(String::as_str));
    let local = local_repository(listed, made_from.as_deref(), &pod_image, &images);
    Ok(Some(Seen { row, images, containers, pod_image, local }))
}

/// Whether anything had to be done.
async fn try_it(
    paths: &Paths,
    mut engine: Engine,
    instance: &Instance,
    pod: &ContainerId,
    name: Option<&str>,
) -> Result<bool, Trouble> {
    let mut switch = Switch::open(paths.clone()).map_err(trouble)?;
    let Some(seen) = look(paths, &mut switch, &mut engine, instance, pod, name).await? else {
        return Ok(false);
    };
    let view = NativeView {
        instance,
        pod,
        row: &seen.row,
        local: seen.local.as_ref(),
        images: &seen.images,
        containers: &seen.containers,
    };
    let steps = match go_native(&view) {
        Ok(steps) => steps,
        Err(NotNow::NoPodRuns) => return Ok(false),
        Err(why) => return Err(trouble(why)),
    };
    for step in &steps {
        carry_out(&mut engine, &mut switch, instance, step).await?;
    }
    Ok(!steps.is_empty())
}

async fn carry_out(
    engine: &mut Engine,
    switch: &mut Switch,
    instance: &Instance,
    step: &NativeStep,
) -> Result<(), Trouble> {
    match step {
        NativeStep::Tag { image, repository, tag } => {
            engine.tag(image, repository, tag).await.map_err(trouble)
        }
        NativeStep::RemoveLocalContainer => {
            switch.forget_local_version(instance).map_err(trouble)?;
            engine.remove(&instance.container_name()).await.map_err(trouble)
        }
        NativeStep::Row(change) => {
            let written = switch.write_state(instance, change).map_err(trouble)?;
            if written { Ok(()) } else { Err(Trouble("its row changed meanwhile".to_owned())) }
        }
        NativeStep::Untag(name) => {
            tell_if_used(engine.untag(name).await.map_err(trouble)?, &name.to_string());
            Ok(())
        }
        NativeStep::RemoveImage(image) => {
            tell_if_used(engine.remove_image(image).await.map_err(trouble)?, image.short());
            Ok(())
        }
    }
}

fn tell_if_used(removal: Removal, image: &str) {
    if matches!(removal, Removal::InUse) {
        info!(image, "not removed: a container was made from it meanwhile");
    }
}
