//! What the engine does to images, and a whole plan of going native carried out on it: the model in core's tests
//! refuses what is refused here.

use std::collections::BTreeSet;

use switchyard_core::{
    CurrentOwner, Digest, FeatureName, FeatureState, ImageId, ImageName, Instance, NativeStep, NativeView,
    Repository, Tag, Version, go_native,
};
use switchyard_engine::{Engine, EngineError, Removal};

use super::registry::Registry;
use super::{Guest, SLEEPER, docker, engine, make_image};

impl Registry {
    fn repository(&self, path: &str) -> Repository {
        Repository::parse(&format!("{}/{path}", self.address)).unwrap()
    }

    /// Gives an image a name here, and the digest that comes with it.
    fn push(&self, image: &ImageId, path: &str, tag: &str) -> Digest {
        let name = format!("{}/{path}:{tag}", self.address);
        docker(&["tag", image.as_str(), &name]);
        docker(&["push", "--quiet", &name]);
        let digests = docker(&["image", "inspect", "--format", "{{join .RepoDigests \"\\n\"}}", &name]);
        let repository = self.repository(path);
        let pinned = digests.lines().filter_map(|text| ImageName::parse(text).ok());
        pinned.filter(|name| *name.repository() == repository).find_map(digest).unwrap()
    }

    fn pull(&self, path: &str, digest: &Digest) {
        let name = ImageName::Pinned(self.repository(path), digest.clone());
        docker(&["pull", "--quiet", &name.to_string()]);
    }
}

fn digest(name: ImageName) -> Option<Digest> {
    match name {
        ImageName::Pinned(_, digest) => Some(digest),
        ImageName::Tagged(..) => None,
    }
}

/// Repositories of a test's own, whose images are removed at its end.
struct Shop {
    name: String,
}

impl Shop {
    fn new(name: &str) -> Self {
        Self { name: format!("engine-test-{name}-{}", std::process::id()) }
    }

    fn repository(&self) -> Repository {
        Repository::parse(&self.name).unwrap()
    }

    /// A place that is never fetched from: the engine asks no registry for what it has.
    fn remote(&self) -> Repository {
        Repository::parse(&format!("localhost:1/{}", self.name)).unwrap()
    }

    fn image(&self, tag: &str) -> ImageId {
        make_image(&format!("{}:{tag}", self.name), tag);
        self.id(tag)
    }

    fn id(&self, tag: &str) -> ImageId {
        let id = docker(&["image", "inspect", "--format", "{{.Id}}", &format!("{}:{tag}", self.name)]);
        ImageId::parse(&id).unwrap()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        for repository in [&self.name, &format!("localhost:1/{}", self.name)] {
            // By its id an image goes with all its names.
            let ids = docker(&["images", "--quiet", "--no-trunc", repository]);
            for id in ids.lines().collect::<BTreeSet<_>>() {
                docker(&["rmi", "--force", id]);
            }
        }
    }
}

fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

async fn names(engine: &Engine, id: &ImageId) -> Vec<String> {
    let image = engine.image(id).await.unwrap();
    let mut names: Vec<_> = image.iter().flat_map(|image| &image.names).map(ToString::to_string).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_image_is_described_with_its_names_and_version_and_by_whom_it_is_used() {
    let shop = Shop::new("described");
    let id = shop.image("1.0");
    let mut engine = engine();
    engine.tag(&id, &shop.remote(), &tag("2")).await.unwrap();
    let image = engine.images().await.unwrap().into_iter().find(|image| image.id == id).unwrap();
    assert_eq!(image.version.unwrap().as_str(), "1.0");
    assert_eq!(image.names.len(), 2, "{:?}", image.names);

    let guest = Guest::made_from(&format!("{}:1.0", shop.name), "user", &[], SLEEPER);
    assert_eq!(engine.image_of(&guest.name).await.unwrap(), Some(id.clone()));
    let origin = engine.container(&guest.name).await.unwrap().unwrap();
    let version = Version::parse("1.0").ok();
    assert_eq!((origin.image_id, origin.version), (Some(id.clone()), version));
    assert_eq!(engine.image_of("engine-test-nobody").await.unwrap(), None);
    let used =
        |made: Vec<switchyard_core::Made>| made.into_iter().find(|made| made.name == guest.name).unwrap();
    let made = used(engine.used_images().await.unwrap());
    assert_eq!((made.image, made.running), (id, false));
    engine.start(&guest.name).await.unwrap();
    assert!(used(engine.used_images().await.unwrap()).running);
}

#[tokio::test]
async fn a_tag_is_moved_from_one_image_to_another() {
    let shop = Shop::new("moved");
    let (old, new) = (shop.image("1"), shop.image("2"));
    let engine = engine();
    for id in [&old, &new, &new] {
        engine.tag(id, &shop.repository(), &Tag::latest()).await.unwrap();
        assert_eq!(shop.id("latest"), *id);
    }
    assert_eq!(names(&engine, &old).await, [format!("{}:1", shop.name)]);
    let nobody = ImageId::parse(&format!("sha256:{}", "0".repeat(64))).unwrap();
    let error = engine.tag(&nobody, &shop.repository(), &Tag::latest()).await.unwrap_err();
    assert!(matches!(error, EngineError::NoSuchImage(_)), "{error:?}");
}

#[tokio::test]
async fn a_name_is_taken_away_but_not_the_last_one_of_an_image_in_use() {
    let shop = Shop::new("untagged");
    let id = shop.image("1");
    let engine = engine();
    engine.tag(&id, &shop.remote(), &tag("1")).await.unwrap();
    let guest = Guest::made_from(&format!("{}:1", shop.name), "holder", &[], SLEEPER);
    let remote = ImageName::Tagged(shop.remote(), tag("1"));
    let local = ImageName::Tagged(shop.repository(), tag("1"));
    assert_eq!(engine.untag(&remote).await.unwrap(), Removal::Done);
    assert_eq!(engine.untag(&remote).await.unwrap(), Removal::NotFound);
    assert_eq!(engine.untag(&local).await.unwrap(), Removal::InUse);
    assert_eq!(names(&engine, &id).await, [local.to_string()]);
    drop(guest);
    assert_eq!(engine.untag(&local).await.unwrap(), Removal::Done);
    assert_eq!(engine.image(&id).await.unwrap(), None, "the last name goes with the image");
}

#[tokio::test]
async fn an_image_is_removed_with_its_name_unless_it_is_in_use_or_has_several() {
    let shop = Shop::new("removed");
    let id = shop.image("1");
    let engine = engine();
    let guest = Guest::made_from(&format!("{}:1", shop.name), "keeper", &[], SLEEPER);
    assert_eq!(engine.remove_image(&id).await.unwrap(), Removal::InUse);
    drop(guest);
    for other in [shop.repository(), shop.remote()] {
        engine.tag(&id, &other, &tag("2")).await.unwrap();
        assert_eq!(engine.remove_image(&id).await.unwrap(), Removal::InUse);
        assert_eq!(names(&engine, &id).await.len(), 2);
        engine.untag(&ImageName::Tagged(other, tag("2"))).await.unwrap();
    }
    assert_eq!(engine.remove_image(&id).await.unwrap(), Removal::Done);
    assert_eq!(engine.remove_image(&id).await.unwrap(), Removal::NotFound);
}

/// The engine goes on with what a process has asked it for that has died, and answers 500 to the one that comes second.
#[tokio::test]
async fn an_image_that_goes_while_it_is_removed_is_none_to_remove() {
    let shop = Shop::new("twice");
    for round in 0..20 {
        let id = shop.image(&round.to_string());
        let removals = (0..4).map(|_| {
            let (engine, id) = (engine(), id.clone());
            tokio::spawn(async move { engine.remove_image(&id).await })
        });
        for removal in removals.collect::<Vec<_>>() {
            assert_ne!(removal.await.unwrap().unwrap(), Removal::InUse, "round {round}");
        }
        assert_eq!(engine().image(&id).await.unwrap(), None);
    }
}

/// What the agent does with a plan.
async fn carry_out(engine: &Engine, local: &str, row: &mut FeatureState, step: &NativeStep) {
    match step {
        NativeStep::Tag { image, repository, tag } => engine.tag(image, repository, tag).await.unwrap(),
        NativeStep::RemoveLocalContainer => engine.remove(local).await.unwrap(),
        NativeStep::Row(change) => *row = change.apply(row).unwrap(),
        NativeStep::Untag(name) => assert_ne!(engine.untag(name).await.unwrap(), Removal::InUse),
        NativeStep::RemoveImage(image) => {
            assert_ne!(engine.remove_image(image).await.unwrap(), Removal::InUse);
        }
    }
}

/// The whole plan at once, and one that is made anew after each step, as after a crash.
#[tokio::test]
async fn a_pods_image_goes_native_however_often_it_is_broken_off() {
    let mut engine = engine();
    let registry = Registry::start();
    for steps in [usize::MAX, 1] {
        let shop = Shop::new("native");
        let (older, former, new) = (shop.image("0"), shop.image("1"), shop.image("2"));
        for (image, text) in [(&former, "latest"), (&older, "last")] {
            engine.tag(image, &shop.repository(), &tag(text)).await.unwrap();
        }
        // As a kubelet leaves it: by tag and digest, and from a mirror by digest alone.
        registry.push(&older, "snmp", "0");
        let pinned = registry.push(&older, "mirror/snmp", "0");
        docker(&["rmi", &format!("{}:0", registry.repository("mirror/snmp"))]);
        registry.pull("mirror/snmp", &pinned);
        registry.push(&new, "snmp", "2");
        registry.push(&new, "mirror/snmp", "2");
        let before = engine.image(&older).await.unwrap().unwrap().names;
        assert_eq!(before.len(), 5, "{before:?}");
        let pod = Guest::made_from(&format!("{}:2", shop.name), "pod", &[], SLEEPER);
        engine.start(&pod.name).await.unwrap();
        let feature = format!("engine-{}", std::process::id());
        let instance = Instance::on_host(FeatureName::parse(&feature).unwrap());
        docker(&["create", "--name", &feature, &format!("{}:latest", shop.name), "/bin/busybox", "true"]);
        let ran_well = engine.container(&pod.name).await.unwrap().unwrap().id;
        let mut row = FeatureState {
            current_owner: CurrentOwner::Kube,
            container_id: Some(ran_well.short()),
            ..FeatureState::default()
        };
        for round in 0.. {
            assert!(round < 20, "it never ends");
            let (images, containers) = (engine.images().await.unwrap(), engine.used_images().await.unwrap());
            let local = shop.repository();
            let view = NativeView {
                instance: &instance,
                pod: &ran_well,
                row: &row,
                local: Some(&local),
                images: &images,
                containers: &containers,
            };
            let plan = go_native(&view).unwrap();
            for step in plan.iter().take(steps) {
                carry_out(&engine, &feature, &mut row, step).await;
            }
            if plan.is_empty() {
                break;
            }
        }
        assert_eq!(shop.id("latest"), new);
        assert_eq!(shop.id("last"), former);
        assert!(names(&engine, &new).await.contains(&format!("{}:2", registry.repository("snmp"))));
        assert_eq!(engine.image(&older).await.unwrap(), None);
        assert!(engine.container(&feature).await.unwrap().is_none(), "the control script makes it anew");
        let versions = [row.stable_version, row.last_version].map(|version| version.unwrap().to_string());
        assert_eq!(versions, ["2", "1"]);
    }
}
