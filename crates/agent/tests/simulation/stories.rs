//! Single stories, in a world like the histories', each told of several seeds: what must happen in time, and what must
//! hold even where a row lies.

use std::time::Duration;

use switchyard_core::{Admin, FeatureConfig, RemoteState, SetOwner, Side};

use crate::birth::{self, Kind};
use crate::lies::Lie;
use crate::sim::{Place, Sim};
use crate::state::{Gate, Health, Image, Request, Template};
use crate::{engine, trouble};

const SEEDS: u64 = 40;
/// A switch that boots has moved its feature by then.
const SETTLED: Duration = Duration::from_mins(15);
/// A pod's whole grace, two reads that failed and were tried again, and the unit's scripts. A safety check comes later.
const AT_ONCE: Duration = Duration::from_secs(25);

fn image(number: u64) -> Image {
    Image { version: birth::version(number), health: Health::Good, gate: Gate::Ours, hangs: false }
}

/// A switch whose first feature is run by a pod with our gate.
fn run_by_pod(seed: u64) -> Sim {
    run_by_pod_of(seed, image(2))
}

fn run_by_pod_of(seed: u64, image_of_pod: Image) -> Sim {
    let mut state = birth::state(seed, Kind { lie: Lie::None, telling: true });
    let feature = &mut state.features[0];
    feature.config = FeatureConfig {
        state: Admin::Enabled,
        set_owner: SetOwner::Kube,
        fallback: true,
        auto_restart: true,
        ..FeatureConfig::default()
    };
    feature.manifest = Some(Template { generation: 1, image: image_of_pod });
    let one = &mut state.all[0];
    (one.local_image, one.leaves) = (Some(image(1)), false);
    (state.server, state.joined, state.lost_events, state.busy) = (true, true, 0, true);
    let sim = Sim::new(state);
    let boot = sim.clone();
    sim.spawn(Place::Outside, async move { trouble::up(&boot, false).await });
    becomes(&sim, SETTLED, Side::Kube);
    sim
}

/// Lets time pass until this side runs the payload, and tells how long it took.
fn becomes(sim: &Sim, at_most: Duration, side: Side) -> Duration {
    let begin = sim.now();
    while sim.with(|state| state.payloads(0) != [side]) {
        let passed = sim.now().saturating_sub(begin);
        let goes_on = passed < at_most && sim.run_until(sim.now() + Duration::from_millis(100));
        assert!(goes_on, "{side:?} does not run it after {passed:?}:\n{}", story(sim));
    }
    sim.now().saturating_sub(begin)
}

fn story(sim: &Sim) -> String {
    sim.with(|state| format!("{}\n{:?}", state.story.join("\n"), state.complaint))
}

fn comes_home(seed: u64, lie: Lie) -> Duration {
    let sim = run_by_pod(seed);
    sim.with(|state| state.lie = lie);
    trouble::set_owner(&sim, 0);
    let time = becomes(&sim, Duration::from_hours(1), Side::Local);
    sim.end();
    time
}

/// BI#12188: the way home took very long.
#[test]
fn a_feature_is_back_at_once_when_its_owner_is_set_to_local() {
    for seed in 0..SEEDS {
        let time = comes_home(seed, Lie::None);
        assert!(time <= AT_ONCE, "seed {seed}: it took {time:?}");
    }
}

#[test]
fn without_events_it_would_not_be_back_at_once() {
    let late = (0..SEEDS).filter(|seed| comes_home(*seed, Lie::Unheard) > AT_ONCE).count();
    assert!(late > 0, "no seed shows what events are good for");
}

#[test]
fn it_is_the_pod_that_failed_that_is_remembered_and_not_one_that_asks_beside_it() {
    for seed in 0..SEEDS {
        let sim = run_by_pod_of(seed, Image { health: Health::NeverReady, ..image(2) });
        let number = sim.with(|state| state.new_container(0, Side::Kube, image(3), 1));
        let program = sim.spawn(Place::Switch, engine::pod_main(sim.clone(), 0, number));
        sim.with(|state| state.containers.get_mut(&number).unwrap().program = Some(program));
        let failed = |sim: &Sim| sim.with(|state| state.all[0].record.failures.pop());
        let failure = loop {
            assert!(sim.now() < Duration::from_hours(1), "{}", story(&sim));
            assert!(sim.run_until(sim.now() + Duration::from_secs(1)), "{}", story(&sim));
            if let Some(failure) = failed(&sim) {
                break failure;
            }
        };
        assert_eq!(failure.version, birth::version(2), "seed {seed}:\n{}", story(&sim));
        sim.end();
    }
}

/// The local copy is started while a pod that holds the track runs the payload, under a row that calls it pending.
fn starts_beside_a_pod_that_waits_only_by_its_row(seed: u64, track: bool) -> Sim {
    let sim = run_by_pod(seed);
    sim.with(|state| {
        state.track = track;
        state.operate(0, Request::Stop);
    });
    let waits = |sim: &Sim| {
        sim.with(|state| state.payloads(0).is_empty() && state.of(0, Side::Kube).next().is_some())
    };
    while !waits(&sim) {
        assert!(sim.run_until(sim.now() + Duration::from_secs(1)), "{}", story(&sim));
    }
    let program = sim.with(|state| {
        // Whoever might put it right is away, and so is the cluster, for whose pod the start would wait.
        (state.server, state.connected) = (false, false);
        let number = state.of(0, Side::Kube).next().unwrap();
        let row = &mut state.all[0].row;
        (row.remote_state, row.remote_container_id) =
            (RemoteState::Pending, Some(state.containers[&number].id.short()));
        state.begin_payload(number);
        state.operate(0, Request::Start);
        state.containers.get_mut(&number).unwrap().program.take().unwrap()
    });
    sim.kill(program);
    sim
}

#[test]
fn a_pod_that_holds_the_track_under_a_row_that_calls_it_pending_ends_before_the_local_copy_starts() {
    for seed in 0..SEEDS {
        let sim = starts_beside_a_pod_that_waits_only_by_its_row(seed, true);
        becomes(&sim, Duration::from_mins(1), Side::Local);
        sim.end();
    }
}

#[test]
fn without_the_track_lock_it_would_run_twice() {
    let twice = |seed: &u64| {
        let sim = starts_beside_a_pod_that_waits_only_by_its_row(*seed, false);
        sim.run_until(sim.now() + Duration::from_mins(1));
        let complaint = sim.with(|state| state.complaint.take());
        sim.end();
        complaint.is_some_and(|complaint| complaint.starts_with("two payloads"))
    };
    assert!((0..SEEDS).any(|seed| twice(&seed)), "no seed shows what the lock is good for");
}
