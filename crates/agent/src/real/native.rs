//! Carries out the core's plan to make a pod's image the local one. A plan that is cut short is made anew.

use switchyard_core::{ContainerId, Instance, NativeStep, NativeView, NotNow, go_native, local_repository};
use switchyard_engine::{Engine, Removal};
use switchyard_sonic::{Paths, Switch, image_names};
use tracing::{info, warn};

use crate::world::{Trouble, trouble};

/// Whether it is done, or need not be.
pub(super) async fn go(paths: &Paths, engine: Engine, instance: &Instance, pod: &ContainerId) -> bool {
    match try_it(paths, engine, instance, pod).await {
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

/// Whether anything had to be done.
async fn try_it(
    paths: &Paths,
    mut engine: Engine,
    instance: &Instance,
    pod: &ContainerId,
) -> Result<bool, Trouble> {
    let mut switch = Switch::open(paths.clone()).map_err(trouble)?;
    let name = instance.container_name();
    let local = engine.container(&name).await.map_err(trouble)?;
    let made_from = local.and_then(|container| container.image);
    let names = image_names(paths).map_err(trouble)?;
    let row = switch.feature_state(instance).map_err(trouble)?.unwrap_or_default();
    let images = engine.images().await.map_err(trouble)?;
    let containers = engine.used_images().await.map_err(trouble)?;
    let image = engine.image_of(pod.as_str()).await.map_err(trouble)?;
    let Some(pod_image) = images.iter().find(|one| Some(&one.id) == image.as_ref()) else { return Ok(false) };
    let listed = names.get(&instance.feature).map(String::as_str);
    let local = local_repository(listed, made_from.as_deref(), pod_image, &images);
    let view = NativeView {
        instance,
        pod,
        row: &row,
        local: local.as_ref(),
        images: &images,
        containers: &containers,
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
        NativeStep::RemoveLocalContainer => engine.remove(&instance.container_name()).await.map_err(trouble),
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
