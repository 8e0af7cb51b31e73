//! A pod's image becomes the local one: in a model of the engine's image store that refuses what the engine refuses.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use switchyard_core::{
    ContainerId, CurrentOwner, FeatureName, FeatureState, Image, ImageId, ImageName, Instance, Made,
    NativeStep, NativeView, NotNow, Repository, Version, go_native, local_repository,
};

const LOCAL: &str = "docker-snmp";
const REMOTE: &str = "r:5000/sonic/docker-snmp";

fn id(letter: char) -> ImageId {
    ImageId::parse(&format!("sha256:{}", letter.to_string().repeat(64))).unwrap()
}

fn name(text: &str) -> ImageName {
    ImageName::parse(text).unwrap()
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

/// An image is a letter from a to f, its version that letter too; the pod's container is `pod`, snmp's is `snmp`.
#[derive(Debug, Clone, PartialEq)]
struct Store {
    names: BTreeMap<ImageName, char>,
    images: BTreeSet<char>,
    containers: Vec<(&'static str, char, bool)>,
    row: FeatureState,
    local: Option<Repository>,
}

impl Store {
    /// A pod made from image `b` runs.
    fn new(names: &[(&str, char)]) -> Self {
        Self {
            names: names.iter().map(|(text, image)| (name(text), *image)).collect(),
            images: names.iter().map(|(_, image)| *image).chain(['b']).collect(),
            containers: vec![("pod", 'b', true)],
            row: FeatureState {
                current_owner: CurrentOwner::Kube,
                container_id: ContainerId::parse("pod").ok(),
                ..FeatureState::default()
            },
            local: Repository::parse(LOCAL).ok(),
        }
    }

    fn with(mut self, container: &'static str, image: char, running: bool) -> Self {
        self.images.insert(image);
        self.containers.push((container, image, running));
        self
    }

    fn plan(&self) -> Result<Vec<NativeStep>, NotNow> {
        let images: Vec<Image> = self
            .images
            .iter()
            .map(|image| Image {
                id: id(*image),
                names: self
                    .names
                    .iter()
                    .filter(|(_, of)| *of == image)
                    .map(|(name, _)| name.clone())
                    .collect(),
                // That of e is not known.
                version: (*image != 'e').then(|| version(&image.to_string())),
            })
            .collect();
        let containers: Vec<Made> = self
            .containers
            .iter()
            .map(|(name, image, running)| Made {
                id: ContainerId::parse(name).unwrap(),
                name: (*name).to_owned(),
                running: *running,
                image: id(*image),
            })
            .collect();
        go_native(&NativeView {
            instance: &Instance::on_host(FeatureName::parse("snmp").unwrap()),
            pod: &ContainerId::parse("pod").unwrap(),
            row: &self.row,
            local: self.local.as_ref(),
            images: &images,
            containers: &containers,
        })
    }

    fn letter(&self, wanted: &ImageId) -> Option<char> {
        self.images.iter().copied().find(|image| id(*image) == *wanted)
    }

    fn is_used(&self, image: char) -> bool {
        self.containers.iter().any(|(_, of, _)| *of == image)
    }

    fn named(&self, text: &str) -> Option<char> {
        self.names.get(&name(text)).copied()
    }

    /// What the engine does with a step. It panics where a plan may not go.
    fn carry_out(&mut self, step: &NativeStep) {
        match step {
            NativeStep::Tag { image, repository, tag } => {
                let image = self.letter(image).unwrap();
                let lost = self.names.insert(ImageName::Tagged(repository.clone(), tag.clone()), image);
                if let Some(lost) = lost {
                    assert!(self.names.values().any(|of| *of == lost), "{lost} has lost its last name");
                }
            }
            NativeStep::RemoveLocalContainer => {
                let local = self.containers.iter().position(|(name, ..)| *name == "snmp");
                if let Some(local) = local {
                    assert!(!self.containers.remove(local).2, "the local container runs");
                }
            }
            NativeStep::Row(change) => self.row = change.apply(&self.row).unwrap(),
            NativeStep::Untag(name) => {
                if let Some(image) = self.names.remove(name) {
                    assert!(self.names.values().any(|of| *of == image), "{image} has lost its last name");
                }
            }
            NativeStep::RemoveImage(image) => {
                let Some(image) = self.letter(image) else { return };
                assert!(!self.is_used(image), "{image} is in use");
                let names: Vec<_> =
                    self.names.iter().filter(|(_, of)| **of == image).map(|(name, _)| name).collect();
                let repositories: BTreeSet<_> = names.iter().map(|name| name.repository()).collect();
                let tags = names.iter().filter(|name| matches!(name, ImageName::Tagged(..))).count();
                assert!(repositories.len() < 2 && tags < 2, "{image} has several names");
                self.names.retain(|_, of| *of != image);
                self.images.remove(&image);
            }
        }
    }

    fn carry_out_all(mut self) -> Self {
        for step in self.plan().unwrap() {
            self.carry_out(&step);
        }
        self
    }

    fn versions(&self) -> (Option<String>, Option<String>) {
        let text = |version: &Option<Version>| version.as_ref().map(ToString::to_string);
        (text(&self.row.stable_version), text(&self.row.last_version))
    }
}

fn pair(stable: &str, last: &str) -> (Option<String>, Option<String>) {
    (Some(stable.to_owned()), Some(last.to_owned()))
}

#[test]
fn the_image_that_runs_becomes_local_and_the_one_before_it_is_kept() {
    let store = Store::new(&[("docker-snmp:latest", 'a'), ("r:5000/sonic/docker-snmp:2", 'b')]);
    let store = store.with("snmp", 'a', false).carry_out_all();
    assert_eq!(store.named("docker-snmp:latest"), Some('b'));
    assert_eq!(store.named("docker-snmp:last"), Some('a'));
    assert_eq!(store.named("r:5000/sonic/docker-snmp:2"), Some('b'), "or the kubelet would fetch it again");
    assert!(!store.containers.iter().any(|(name, ..)| *name == "snmp"), "it is to be made anew");
    assert_eq!(store.versions(), pair("b", "a"));
}

#[test]
fn the_third_image_back_is_removed_by_its_id_with_all_its_names() {
    let store = Store::new(&[
        ("docker-snmp:latest", 'a'),
        ("docker-snmp:last", 'c'),
        ("r:5000/sonic/docker-snmp:0", 'c'),
        ("r:5000/sonic/docker-snmp:2", 'b'),
    ])
    .carry_out_all();
    assert_eq!(store.images, BTreeSet::from(['a', 'b']));
    assert_eq!(store.named("docker-snmp:last"), Some('a'));
}

#[test]
fn going_back_to_the_last_image_swaps_the_two() {
    let store = Store::new(&[("docker-snmp:latest", 'a'), ("docker-snmp:last", 'b')]).carry_out_all();
    assert_eq!(store.names, Store::new(&[("docker-snmp:latest", 'b'), ("docker-snmp:last", 'a')]).names);
    assert_eq!(store.versions(), pair("b", "a"));
}

/// SONIC.md 5.8: `docker images | grep snmp` also finds these.
/// BI#14978, BI#15772, FIELD.md defect 7: images of gnmi were found by a part of their name, with them those of
/// gnmi-sidecar.
#[test]
fn an_image_with_a_similar_name_is_somebody_elses() {
    let others = [
        ("docker-snmp-sidecar:1", 'c'),
        ("r:5000/sonic/docker-snmp-sidecar:1", 'd'),
        ("other/sonic/docker-snmp:1", 'f'),
    ];
    let mut names = vec![("docker-snmp:latest", 'a'), ("r:5000/sonic/docker-snmp:2", 'b')];
    names.extend(others);
    let store = Store::new(&names).carry_out_all();
    for (text, image) in others {
        assert_eq!(store.named(text), Some(image));
    }
}

/// SONIC.md 5.8: the clean-up of features whose image is called otherwise (`bgp`: `docker-fpm-frr`) was retried for
/// ever, and their disk filled up.
/// FIELD.md defect 7: no image has bgp in its name, and nothing of it was ever removed.
#[test]
fn the_name_of_a_feature_plays_no_part() {
    let mut store =
        Store::new(&[("docker-fpm-frr:latest", 'a'), ("docker-fpm-frr:1", 'c'), ("r/docker-fpm-frr:2", 'b')]);
    store.local = Repository::parse("docker-fpm-frr").ok();
    let store = store.carry_out_all();
    assert_eq!(store.images, BTreeSet::from(['a', 'b']));
    assert_eq!(store.plan(), Ok(Vec::new()));
}

#[test]
fn an_image_of_which_another_features_image_is_a_name_stays() {
    let store = Store::new(&[
        ("docker-snmp:latest", 'a'),
        ("r:5000/sonic/docker-snmp:2", 'b'),
        ("r:5000/sonic/docker-snmp:1", 'c'),
        ("docker-gnmi:latest", 'c'),
    ])
    .carry_out_all();
    assert_eq!(store.named("docker-gnmi:latest"), Some('c'));
    assert_eq!(store.named("r:5000/sonic/docker-snmp:1"), Some('c'));
}

#[test]
fn a_second_name_of_the_pods_image_does_not_make_another_features_images_ours() {
    let store = Store::new(&[
        ("docker-snmp:latest", 'a'),
        ("r:5000/sonic/docker-snmp:2", 'b'),
        ("docker-gnmi:latest", 'b'),
        ("docker-gnmi:last", 'c'),
    ]);
    assert!(store.carry_out_all().images.contains(&'c'));
}

#[test]
fn an_image_that_a_stopped_container_was_made_from_stays() {
    let store = Store::new(&[("docker-snmp:latest", 'a'), ("docker-snmp:1", 'c'), ("docker-snmp:last", 'd')]);
    let store = store.with("snmp1", 'c', false).with("waits", 'd', true).carry_out_all();
    assert_eq!(store.images, BTreeSet::from(['a', 'b', 'c', 'd']));
    assert_eq!(store.plan(), Ok(Vec::new()));
}

/// The rows are lost at every boot; the images are not.
/// FIELD.md defect 3: the last version was kept in memory under a wrong name.
#[test]
fn the_versions_are_recorded_again_after_a_boot() {
    let store = Store::new(&[("docker-snmp:latest", 'b'), ("docker-snmp:last", 'a')]);
    assert_eq!(store.carry_out_all().versions(), pair("b", "a"));
}

#[test]
fn where_the_last_image_has_no_version_the_record_counts() {
    let mut store = Store::new(&[("docker-snmp:latest", 'e')]);
    store.row.stable_version = Some(version("0"));
    let store = store.carry_out_all();
    assert_eq!(store.versions(), pair("b", "0"));
    assert_eq!(store.plan(), Ok(Vec::new()), "the second look does not take the new for the old");
}

#[test]
fn a_feature_without_a_local_image_gets_none_and_is_cleaned_all_the_same() {
    let mut store = Store::new(&[
        ("r:5000/sonic/docker-snmp:2", 'b'),
        ("r:5000/sonic/docker-snmp:1", 'a'),
        ("r:5000/sonic/docker-snmp:0", 'c'),
    ]);
    store.local = None;
    store.row.stable_version = Some(version("a"));
    let store = store.carry_out_all();
    assert_eq!(store.images, BTreeSet::from(['a', 'b']));
    assert!(store.names.keys().all(|name| name.repository().as_str() == REMOTE));
    assert_eq!(store.versions(), pair("b", "a"));
}

#[test]
fn nothing_is_done_while_no_pod_runs_or_the_local_container_does() {
    let names = [("docker-snmp:latest", 'a')];
    let mut gone = Store::new(&names);
    gone.containers[0].2 = false;
    assert_eq!(gone.plan(), Err(NotNow::NoPodRuns));
    let mut local = Store::new(&names);
    local.row.current_owner = CurrentOwner::Local;
    assert_eq!(local.plan(), Err(NotNow::NoPodRuns));
    let mut another = Store::new(&names).with("newer", 'c', true);
    another.row.container_id = ContainerId::parse("newer").ok();
    assert_eq!(another.plan(), Err(NotNow::NoPodRuns), "that one has not run well yet");
    assert_eq!(Store::new(&names).with("snmp", 'a', true).plan(), Err(NotNow::LocalRuns));
}

#[test]
fn the_local_repository_is_the_one_that_the_control_script_starts() {
    let image = |names: &[&str]| Image {
        id: id('b'),
        names: names.iter().map(|text| name(text)).collect(),
        version: None,
    };
    let pod = image(&["r:5000/sonic/docker-snmp:2"]);
    let local = |listed, made_from, images: &[Image]| {
        local_repository(listed, made_from, &pod, images).map(|repository| repository.to_string())
    };
    let here = [image(&["docker-snmp:latest"])];
    let by_id = id('a');
    assert_eq!(local(Some("docker-fpm-frr"), Some("docker-snmp:latest"), &here).unwrap(), "docker-fpm-frr");
    assert_eq!(local(None, Some("docker-own:latest"), &here).unwrap(), "docker-own");
    assert_eq!(local(None, Some("docker-own:1.2"), &here), None, "it starts that, whatever latest is");
    assert_eq!(local(None, Some("0123456789ab"), &here), None);
    assert_eq!(local(None, Some(by_id.as_str()), &here), None);
    assert_eq!(local(None, None, &here).unwrap(), "docker-snmp");
    assert_eq!(local(None, None, &[image(&["docker-snmp:1"])]), None, "nothing starts that");
    assert_eq!(local(Some("../x"), None, &[]), None);
}

const NAMES: [&str; 11] = [
    "docker-snmp:latest",
    "docker-snmp:last",
    "docker-snmp:1",
    "docker-snmp:bbbbbbbbbbbb",
    "r:5000/sonic/docker-snmp:1",
    "r:5000/sonic/docker-snmp:2",
    "r:5000/sonic/docker-snmp@sha256:1111111111111111111111111111111111111111111111111111111111111111",
    "mirror/docker-snmp:1",
    "docker-snmp-sidecar:latest",
    "docker-gnmi:latest",
    "r:5000/sonic/docker-gnmi:1",
];

fn any_image() -> impl Strategy<Value = char> {
    prop::sample::select(vec!['a', 'b', 'c', 'd', 'e', 'f'])
}

prop_compose! {
    fn any_store()(
        names in prop::collection::vec(prop::option::of(any_image()), NAMES.len()),
        local in prop::option::of(any_image()),
        others in prop::collection::vec((any_image(), any::<bool>()), 0..3),
        is_native in prop::bool::weighted(0.8),
        stable in prop::option::of("[a-f]"),
        last in prop::option::of("[a-f]"),
    ) -> Store {
        let names: Vec<_> = NAMES.into_iter().zip(names).filter_map(|(name, of)| Some((name, of?))).collect();
        let mut store = Store::new(&names);
        // A tag made of an image's id is that image's.
        store.names.entry(name("docker-snmp:bbbbbbbbbbbb")).and_modify(|of| *of = 'b');
        if let Some(image) = local {
            store = store.with("snmp", image, false);
        }
        for (image, running) in others {
            store = store.with("other", image, running);
        }
        store.local = store.local.filter(|_| is_native);
        store.row.stable_version = stable.map(|text| version(&text));
        store.row.last_version = last.map(|text| version(&text));
        store
    }
}

fn is_ours(name: &ImageName) -> bool {
    name.repository().as_str() == LOCAL || name.repository().is_remote()
}

proptest! {
    #[test]
    fn what_runs_what_is_local_what_is_last_and_what_is_used_or_others_is_never_removed(store in any_store()) {
        let after = store.clone().carry_out_all();
        let former = store.named("docker-snmp:latest").filter(|_| store.local.is_some());
        prop_assert!(after.images.contains(&'b'));
        if let Some(former) = former {
            prop_assert!(after.images.contains(&former));
            prop_assert_eq!(after.named("docker-snmp:latest"), Some('b'));
            if former != 'b' {
                prop_assert_eq!(after.named("docker-snmp:last"), Some(former));
            } else if let Some(last) = store.named("docker-snmp:last") {
                prop_assert_eq!(after.named("docker-snmp:last"), Some(last));
            }
        }
        for (container, image, _) in &store.containers {
            prop_assert!(*container == "snmp" || after.images.contains(image));
        }
        for (name, image) in store.names.iter().filter(|(name, _)| !is_ours(name)) {
            prop_assert_eq!(after.names.get(name), Some(image));
        }
        for image in store.images.iter().filter(|image| !store.names.values().any(|of| of == *image)) {
            prop_assert!(after.images.contains(image), "nobody knows whose {} is", image);
        }
    }

    #[test]
    fn after_one_plan_nothing_is_left_to_do(store in any_store()) {
        prop_assert_eq!(store.carry_out_all().plan(), Ok(Vec::new()));
    }

    /// FIELD.md defect 7: between removing and tagging nothing remembered what was under way.
    #[test]
    fn a_crash_between_any_two_steps_is_put_right_by_planning_again(store in any_store()) {
        let steps = store.plan().unwrap();
        let whole = store.clone().carry_out_all();
        for until in 0..steps.len() {
            let mut broken = store.clone();
            steps[..until].iter().for_each(|step| broken.carry_out(step));
            prop_assert_eq!(&broken.carry_out_all(), &whole, "after {} of {:?}", until, &steps);
        }
    }

    #[test]
    fn every_step_can_run_twice(store in any_store()) {
        let mut twice = store.clone();
        for step in store.plan().unwrap() {
            twice.carry_out(&step);
            // A row that was written meanwhile is looked at again; it was by ourselves.
            if !matches!(step, NativeStep::Row(_)) {
                twice.carry_out(&step);
            }
        }
        prop_assert_eq!(twice, store.carry_out_all());
    }
}
