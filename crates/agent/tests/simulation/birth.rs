//! A switch as it is when its history begins, drawn from a seed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use switchyard_core::{
    Admin, AsicId, FeatureConfig, FeatureName, FeatureState, Instance, Knobs, KubeUpdate, Phase, Record,
    SetOwner, Version,
};

use crate::chance::Chance;
use crate::lies::Lie;
use crate::state::{Feature, Gate, Health, Image, One, State, Template, Unit, UnitState};

/// What histories of one seed are like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) lie: Lie,
    pub(crate) telling: bool,
}

pub(crate) fn version(number: u64) -> Version {
    Version::parse(&format!("{number}.0")).unwrap()
}

pub(crate) fn state(seed: u64, kind: Kind) -> State {
    let mut chance = Chance::new(seed);
    let sonic = chance.percent(25);
    let host = |text: &str| Instance::on_host(FeatureName::parse(text).unwrap());
    let bgp = |asic| Instance { asic: Some(AsicId(asic)), ..host("bgp") };
    let shapes = [vec![host("snmp")], vec![bgp(0), bgp(1)], vec![host("lldp")]];
    let how_many = 1 + chance.below(shapes.len());
    let mut features = Vec::new();
    let mut all = Vec::new();
    for (number, names) in shapes.into_iter().take(how_many).enumerate() {
        let set_owner = if chance.percent(70) { SetOwner::Kube } else { SetOwner::Local };
        let image = image(&mut chance, 2, sonic);
        let (local, asks, leaves) = (chance.percent(90), chance.percent(50), chance.percent(50));
        features.push(Feature {
            exists: true,
            config: FeatureConfig {
                state: Admin::Enabled,
                set_owner,
                fallback: chance.percent(85),
                kube_update: chance.percent(15).then_some(KubeUpdate::Hold),
                auto_restart: true,
                ..FeatureConfig::default()
            },
            label_row: None,
            label_node: set_owner == SetOwner::Kube && chance.percent(50),
            manifest: chance
                .percent(80)
                .then_some(Template { generation: u64::try_from(number).unwrap(), image }),
            takes_others: number == 1 && seed.is_multiple_of(4),
            instances: (all.len()..all.len() + names.len()).collect(),
        });
        all.extend(names.into_iter().map(|name| {
            let health = Health::Good;
            let unmodified = sonic && (seed % 5 == 3 || kind.lie == Lie::JudgedByRow);
            let gate = if unmodified { Gate::Sonic } else { Gate::Ours };
            let image = Image { version: version(1), health, gate, hangs: false };
            one(name, number, local.then_some(image), asks, leaves)
        }));
    }
    State {
        now: Duration::ZERO,
        lost_events: chance.pick(&[0, 0, 5, 50]),
        server: chance.percent(80),
        server_since: Duration::ZERO,
        joined: chance.percent(95),
        chance,
        touched: Vec::new(),
        complaint: None,
        telling: kind.telling,
        story: Vec::new(),
        lie: kind.lie,
        knobs: Knobs::default(),
        features,
        all,
        containers: BTreeMap::new(),
        last_container: 1,
        ends: BTreeMap::new(),
        boot: 0,
        booted_at: Duration::ZERO,
        phase: Phase::Steady,
        phase_since: Duration::ZERO,
        config_loaded: true,
        engine_up: true,
        engine_hangs_until: Duration::ZERO,
        // Rows of images that do not ask again must not be lost: they run ahead (SONIC.md 4.2 row 1).
        redis_flushed: if sonic { Duration::MAX / 2 } else { Duration::ZERO },
        track: false,
        busy: false,
        leaving: false,
        connected: false,
        kubelet: false,
        generations: 10,
        agent: None,
        agent_ends: false,
        agent_since: Duration::ZERO,
        agent_away: Duration::ZERO,
        inbox: VecDeque::new(),
        fuse: None,
        wake_ups: 0,
        moves: 0,
        gave_up: 0,
        restarts: 0,
        troubles: 0,
        hurry: 0,
    }
}

/// An image that the cluster brings.
pub(crate) fn image(chance: &mut Chance, number: u64, sonic: bool) -> Image {
    let health = match chance.below(20) {
        0..=1 => Health::Crashes,
        2 => Health::CrashesEarly,
        3..=4 => Health::NeverReady,
        5 => Health::NoImage,
        6 => Health::Leaves,
        _ => Health::Good,
    };
    let gate = if sonic && chance.percent(70) { Gate::Sonic } else { Gate::Ours };
    Image { version: version(number), health, gate, hangs: chance.percent(5) }
}

fn one(name: Instance, feature: usize, local: Option<Image>, local_asks: bool, leaves: bool) -> One {
    One {
        name,
        feature,
        row: FeatureState::default(),
        record: Record::default(),
        told: None,
        unit: Unit {
            state: UnitState::Off,
            since: Duration::ZERO,
            request: None,
            goes_off: false,
            starts: Vec::new(),
            ended_as_planned: false,
            given_up: false,
            script: None,
            script_ended: None,
            main: None,
            main_ended: false,
            ran: None,
        },
        unit_wanted: true,
        local_image: local,
        local_made: None,
        local_asks,
        local_label: None,
        leaves,
        orders: None,
        reports: Vec::new(),
        fresh_pod: false,
        restarts: Vec::new(),
        looked: Duration::ZERO,
        gone_since: None,
        was_deleted: false,
        stops_in_between: false,
    }
}
