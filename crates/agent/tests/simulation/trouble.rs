//! What the operator does, what breaks and what comes back, in an order and at times drawn from the seed.

use std::time::Duration;

use switchyard_agent::Event;
use switchyard_core::{Admin, FeatureState, KubeUpdate, Phase, SetOwner, Side, SystemState};

use crate::birth;
use crate::engine;
use crate::sim::{Channel, Place, Sim};
use crate::state::{Request, State, Template, UnitState};
use crate::{kubelet, systemd};

type Act = fn(&Sim, usize);

/// Everything that can happen to a feature or one of its instances, each as likely as it stands here often.
const ALL: &[(&str, Act)] = &[
    ("owner", set_owner),
    ("owner", set_owner),
    ("owner ten times", set_owner_ten_times),
    ("enable or disable", enable),
    ("hold or auto", hold),
    ("accept", accept),
    ("fallback", fallback),
    ("stop", |sim, at| operate(sim, at, Request::Stop)),
    ("stop in between", stop_in_between),
    ("start", |sim, at| operate(sim, at, Request::Start)),
    ("restart", |sim, at| operate(sim, at, Request::Restart)),
    ("config reload", reload),
    ("new image", new_image),
    ("new image", new_image),
    ("manifest", manifest),
    ("evict", evict),
    ("pod killed", |sim, at| kill(sim, at, Side::Kube)),
    ("local killed", |sim, at| kill(sim, at, Side::Local)),
    ("kubelet", kubelet_down_or_up),
    ("server", server),
    ("server", server),
    ("agent killed", |sim, _| agent_dies(sim)),
    ("agent killed", |sim, _| agent_dies(sim)),
    ("agent killed where it waits", fuse),
    ("agent killed where it waits", fuse),
    ("script killed", script_dies),
    ("wait killed", wait_dies),
    ("dockerd", dockerd),
    ("redis", redis),
    ("cold reboot", |sim, _| reboot(sim, false)),
    ("warm reboot", |sim, _| reboot(sim, true)),
    ("leave or join", leave),
    ("delete or add", delete),
    ("label by hand", label),
];

/// What also happens while the switch comes up or loads its configuration.
const AT_ANY_TIME: &[&str] = &[
    "owner",
    "owner ten times",
    "new image",
    "pod killed",
    "local killed",
    "server",
    "agent killed",
    "agent killed where it waits",
    "redis",
];

/// So many things happen, one after the other.
pub(crate) async fn troubles(sim: Sim, count: usize) {
    // Each history is about some of them only, so that these meet each other more often.
    let (mut acts, pace) = sim.with(|state| {
        let some = state.chance.pick(&[20, 50, 100]);
        let acts: Vec<_> = ALL.iter().filter(|_| state.chance.percent(some)).collect();
        (acts, state.chance.below(3))
    });
    if acts.is_empty() {
        acts = ALL.iter().collect();
    }
    for _ in 0..count {
        let (act, at, time) = sim.with(|state| {
            let act = acts[state.chance.below(acts.len())];
            let at = state.chance.below(state.all.len());
            let time = match (pace, state.chance.below(10)) {
                (0, _) | (_, 0..=2) => state.chance.ms(0, 200),
                (1, _) | (_, 3..=6) => state.chance.ms(0, 20_000),
                _ => state.chance.ms(0, 900_000),
            };
            (act, at, time)
        });
        sim.sleep(time).await;
        if !AT_ANY_TIME.contains(&act.0) {
            sim.until(Channel::Cluster, None, |state| !state.busy).await;
        }
        sim.with(|state| {
            state.troubles += 1;
            let name = state.all[at].name.clone();
            state.tell_story(|| format!("## {} ({name})", act.0));
        });
        (act.1)(&sim, at);
    }
    sim.with(|state| state.troubles |= 1 << 31);
}

impl State {
    fn feature_touched(&mut self, feature: usize) {
        let event = Event::Feature(self.all[self.features[feature].instances[0]].name.feature.clone());
        if !self.chance.percent(self.lost_events) {
            self.event(event);
        }
        let instances = self.features[feature].instances.clone();
        self.touched.extend(instances.into_iter().map(Channel::Instance));
    }

    fn change_feature(&mut self, at: usize, change: impl FnOnce(&mut crate::state::Feature)) {
        let feature = self.all[at].feature;
        change(&mut self.features[feature]);
        let config = self.features[feature].config.clone();
        self.tell_story(|| {
            format!("feature {feature}: {} {} {}", config.state, config.set_owner, config.fallback)
        });
        self.feature_touched(feature);
    }

    /// What `featured` does, or a person by `system service`, which both reset the start limit before.
    pub(crate) fn operate(&mut self, at: usize, request: Request) {
        let enabled = {
            let feature = &self.features[self.all[at].feature];
            feature.exists && feature.config.state.is_enabled()
        };
        if request != Request::Stop && !enabled {
            return;
        }
        self.all[at].unit_wanted = request != Request::Stop;
        self.reset_failed(at);
        self.request(at, request);
    }
}

fn flip(owner: SetOwner) -> SetOwner {
    match owner {
        SetOwner::Local => SetOwner::Kube,
        SetOwner::Kube => SetOwner::Local,
    }
}

pub(crate) fn set_owner(sim: &Sim, at: usize) {
    sim.with(|state| {
        state.change_feature(at, |feature| feature.config.set_owner = flip(feature.config.set_owner));
        let feature = state.all[at].feature;
        if state.features[feature].config.set_owner == SetOwner::Local {
            // With it goes every question, however soon it is kube again.
            let (containers, all) = (&mut state.containers, &state.all);
            let asks = containers.values_mut().filter(|container| all[container.instance].feature == feature);
            asks.for_each(|container| container.polls = false);
        }
    });
}

fn set_owner_ten_times(sim: &Sim, at: usize) {
    let inner = sim.clone();
    sim.spawn(Place::Outside, async move {
        for _ in 0..10 {
            set_owner(&inner, at);
            inner.sleep(Duration::from_millis(100)).await;
        }
    });
}

fn enable(sim: &Sim, at: usize) {
    sim.with(|state| {
        if !state.features[state.all[at].feature].exists {
            return;
        }
        let mut enabled = false;
        state.change_feature(at, |feature| {
            enabled = !feature.config.state.is_enabled();
            feature.config.state = if enabled { Admin::Enabled } else { Admin::Disabled };
        });
        featured(state, at, enabled);
    });
}

fn featured(state: &mut State, at: usize, enabled: bool) {
    let request = if enabled { Request::Start } else { Request::Stop };
    for at in state.features[state.all[at].feature].instances.clone() {
        state.operate(at, request);
    }
}

fn hold(sim: &Sim, at: usize) {
    sim.with(|state| {
        state.change_feature(at, |feature| {
            feature.config.kube_update = match feature.config.kube_update {
                None | Some(KubeUpdate::Auto) => Some(KubeUpdate::Hold),
                Some(KubeUpdate::Hold) => Some(KubeUpdate::Auto),
            };
        });
    });
}

fn accept(sim: &Sim, at: usize) {
    sim.with(|state| {
        let version =
            state.features[state.all[at].feature].manifest.as_ref().map(|t| t.image.version.clone());
        if let Some(version) = version {
            state.all[at].record.accept(&version);
            // The command touches the row, so that everybody looks again.
            state.touch(at);
        }
    });
}

fn fallback(sim: &Sim, at: usize) {
    sim.with(|state| state.change_feature(at, |feature| feature.config.fallback = !feature.config.fallback));
}

fn operate(sim: &Sim, at: usize, request: Request) {
    sim.with(|state| state.operate(at, request));
}

fn new_image(sim: &Sim, at: usize) {
    sim.with(|state| {
        state.generations += 1;
        let (generation, sonic) = (state.generations, state.redis_flushed > Duration::from_hours(1_000_000));
        let number = if state.chance.percent(25) { 1 + state.chance.next() % 3 } else { generation };
        let image = birth::image(&mut state.chance, number, sonic);
        let image = match state.all[at].local_image.as_ref().filter(|local| local.version == image.version) {
            Some(local) => local.clone(),
            None => image,
        };
        state.tell_story(|| format!("template {generation}: {image:?}"));
        let feature = state.all[at].feature;
        state.features[feature].manifest = Some(Template { generation, image });
        state.kubelets();
    });
}

fn manifest(sim: &Sim, at: usize) {
    sim.with(|state| {
        let feature = state.all[at].feature;
        if state.features[feature].manifest.take().is_some() {
            state.kubelets();
        }
    });
    if sim.with(|state| state.chance.percent(50)) {
        new_image(sim, at);
    }
}

fn evict(sim: &Sim, at: usize) {
    let pods: Vec<_> = sim.with(|state| {
        state.all[at].fresh_pod = true;
        state.of(at, Side::Kube).collect()
    });
    for pod in pods {
        engine::begin_stop(sim, pod);
    }
}

fn kill(sim: &Sim, at: usize, side: Side) {
    let found: Vec<_> = sim.with(|state| state.of(at, side).collect());
    for number in found {
        engine::kill(sim, number);
    }
}

fn kubelet_down_or_up(sim: &Sim, _: usize) {
    sim.with(|state| {
        state.kubelet = !state.kubelet && state.joined;
        let up = state.kubelet;
        state.tell_story(|| format!("kubelet {up}"));
        state.touched.push(Channel::Cluster);
        state.kubelets();
    });
}

fn server(sim: &Sim, _: usize) {
    sim.with(|state| {
        state.server = !state.server;
        state.server_since = state.now;
        let up = state.server;
        state.tell_story(|| format!("server {up}"));
        state.touched.push(Channel::Cluster);
        state.kubelets();
    });
}

fn agent_dies(sim: &Sim) {
    sim.with(|state| {
        state.agent_away = match state.chance.below(3) {
            0 => Duration::ZERO,
            1 => state.chance.ms(0, 30_000),
            _ => state.chance.ms(0, 1_200_000),
        };
        if state.agent.is_some() {
            state.agent_ends = true;
            state.touched.push(Channel::Cluster);
        }
    });
}

fn fuse(sim: &Sim, _: usize) {
    sim.with(|state| {
        state.agent_away = state.chance.ms(0, 5000);
        state.fuse = Some(u32::try_from(state.chance.below(40)).unwrap());
    });
}

/// Not one that stops and under which Redis has lost its rows already: both within one stop are more than is promised. Of a
/// copy that neither ExecStop nor ExecStopPost has ended nobody would know who looks at rows alone.
fn script_dies(sim: &Sim, at: usize) {
    let script = sim.with(|state| {
        let unit = &state.all[at].unit;
        let lost = (unit.since..=state.now).contains(&state.redis_flushed);
        let spared = lost && unit.state == UnitState::Stopping;
        let script = unit.script.filter(|_| unit.script_ended.is_none() && !spared);
        if script.is_some() {
            state.all[at].unit.script_ended = Some(false);
            state.touched.push(Channel::Instance(at));
        }
        script
    });
    if let Some(script) = script {
        sim.kill(script);
    }
}

fn wait_dies(sim: &Sim, at: usize) {
    let main = sim.with(|state| {
        state.all[at].unit.main.inspect(|_| {
            state.all[at].unit.main_ended = true;
            state.touched.push(Channel::Instance(at));
        })
    });
    if let Some(main) = main {
        sim.kill(main);
    }
}

fn dockerd(sim: &Sim, _: usize) {
    let (all, time) = sim.with(|state| {
        state.engine_up = false;
        let all: Vec<_> = state.containers.keys().copied().filter(|_| state.chance.percent(90)).collect();
        (all, state.chance.ms(200, 20_000))
    });
    for number in all {
        engine::kill(sim, number);
    }
    let sim = sim.clone();
    sim.clone().spawn(Place::Switch, async move {
        sim.sleep(time).await;
        sim.with(|state| {
            state.engine_up = true;
            (0..state.all.len()).for_each(|at| state.touch(at));
            state.kubelets();
        });
    });
}

/// At most once in a minute: twice within one stop is more than is promised. Nor while the rows are all that knows of a copy
/// that a stop has left behind, for the reason that [`script_dies`] gives.
fn redis(sim: &Sim, _: usize) {
    sim.with(|state| {
        let left_behind = (0..state.all.len()).any(|at| {
            let unit = state.all[at].unit.state;
            let is_unheard = unit == UnitState::Stopping && !state.engine_up;
            (unit == UnitState::Off || is_unheard) && state.local_run(at).is_some()
        });
        if left_behind || state.redis_flushed + Duration::from_mins(1) > state.now {
            return;
        }
        state.redis_flushed = state.now;
        // Redis tells nobody; the programs find out by their safety checks.
        for one in &mut state.all {
            one.row = FeatureState::default();
            one.local_label = None;
        }
        for feature in &mut state.features {
            feature.label_row = None;
        }
    });
}

fn label(sim: &Sim, at: usize) {
    sim.with(|state| {
        let feature = state.all[at].feature;
        state.features[feature].label_node = false;
        state.touched.push(Channel::Cluster);
        state.kubelets();
    });
}

/// A package is removed: its units first, then its row; or it is added again.
fn delete(sim: &Sim, at: usize) {
    let sim = sim.clone();
    let feature = sim.with(|state| state.all[at].feature);
    let instances = sim.with(|state| state.features[feature].instances.clone());
    if sim.with(|state| !state.features[feature].exists) {
        sim.with(|state| {
            state.features[feature].exists = true;
            state.features[feature].config.state = Admin::Enabled;
            for at in &instances {
                state.all[*at].gone_since = None;
            }
            state.feature_touched(feature);
            featured(state, at, true);
        });
        return;
    }
    sim.with(|state| {
        state.features[feature].config.state = Admin::Disabled;
        state.feature_touched(feature);
        featured(state, at, false);
    });
    sim.clone().spawn(Place::Outside, async move {
        for at in &instances {
            sim.until(Channel::Instance(*at), None, |state| state.all[*at].unit.state == UnitState::Off)
                .await;
        }
        sim.with(|state| {
            if state.features[feature].config.state == Admin::Disabled && !state.busy {
                state.features[feature].exists = false;
                for at in &instances {
                    state.all[*at].gone_since = Some(state.now);
                    state.all[*at].was_deleted = true;
                }
                state.tell_story(|| format!("feature {feature} is deleted"));
                state.feature_touched(feature);
            }
        });
    });
}

fn leave(sim: &Sim, _: usize) {
    let sim = sim.clone();
    let joins = sim.with(|state| !state.joined && !state.leaving);
    sim.clone().spawn(Place::Outside, async move {
        if joins {
            sim.with(|state| (state.joined, state.kubelet) = (true, true));
        } else if sim.with(|state| state.joined && !state.leaving) {
            sim.with(|state| {
                state.leaving = true;
                state.event(Event::Everything);
            });
            let time = sim.with(|state| state.chance.ms(1000, 120_000));
            sim.sleep(time).await;
            sim.with(|state| {
                (state.joined, state.leaving, state.kubelet) = (false, false, false);
                state.features.iter_mut().for_each(|feature| feature.label_node = false);
            });
            let pods: Vec<_> = sim.with(|state| {
                state.all.iter_mut().for_each(|one| one.orders = None);
                (0..state.all.len()).flat_map(|at| state.of(at, Side::Kube).collect::<Vec<_>>()).collect()
            });
            for pod in pods {
                engine::begin_stop(&sim, pod);
            }
        }
        sim.with(|state| {
            state.event(Event::Everything);
            state.touched.push(Channel::Cluster);
            state.kubelets();
        });
    });
}

fn stop_in_between(sim: &Sim, at: usize) {
    sim.with(|state| state.all[at].stops_in_between = true);
}

/// The agent has just begun a restart.
pub(crate) fn in_between(sim: &Sim, at: usize) {
    if sim.with(|state| std::mem::take(&mut state.all[at].stops_in_between) && !state.busy) {
        let sim = sim.clone();
        sim.clone().spawn(Place::Outside, async move {
            let time = sim.with(|state| state.chance.ms(0, 10));
            sim.sleep(time).await;
            operate(&sim, at, Request::Stop);
        });
    }
}

/// `config reload`: everything is stopped, the configuration is loaded anew, everything enabled is started.
fn reload(sim: &Sim, _: usize) {
    let sim = sim.clone();
    sim.with(|state| state.busy = true);
    sim.clone().spawn(Place::Outside, async move {
        sim.with(|state| {
            state.set_phase(Phase::TargetDown);
            for at in 0..state.all.len() {
                // Bound to sonic.target, not stopped by anybody.
                state.all[at].unit_wanted = false;
                state.request(at, Request::Stop);
            }
        });
        if sim.with(|state| state.chance.percent(50)) {
            agent_dies(&sim);
        }
        for at in 0..sim.with(|state| state.all.len()) {
            let latest = sim.now() + Duration::from_secs(200);
            sim.until(Channel::Instance(at), Some(latest), |state| {
                state.all[at].unit.state == UnitState::Off && state.all[at].unit.request.is_none()
            })
            .await;
        }
        sim.with(|state| {
            state.config_loaded = false;
            state.set_phase(Phase::Loading);
        });
        let time = sim.with(|state| state.chance.ms(1000, 30_000));
        sim.sleep(time).await;
        sim.with(|state| {
            state.config_loaded = true;
            state.event(Event::Everything);
            start_enabled(state);
        });
        sim.sleep(Duration::from_secs(2)).await;
        sim.with(|state| {
            state.set_phase(Phase::Steady);
            state.busy = false;
            state.touched.push(Channel::Cluster);
        });
    });
}

fn start_enabled(state: &mut State) {
    for at in 0..state.all.len() {
        state.operate(at, Request::Start);
    }
}

/// A reboot: STATE_DB is gone, containers do not run, what is on /host stays.
fn reboot(sim: &Sim, warm: bool) {
    let sim = sim.clone();
    sim.with(|state| state.busy = true);
    sim.clone().spawn(Place::Outside, async move {
        if warm {
            sim.with(|state| {
                state.kubelet = false;
                state.set_phase(Phase::Rebooting);
                state.kubelets();
            });
            let time = sim.with(|state| state.chance.ms(500, 20_000));
            sim.sleep(time).await;
        }
        down(&sim);
        let time = sim.with(|state| state.chance.ms(5000, 60_000));
        sim.sleep(time).await;
        up(&sim, warm).await;
    });
}

fn down(sim: &Sim) {
    sim.kill_all(&[Place::Switch, Place::Agent]);
    sim.with(|state| {
        state.tell_story(|| "the switch is down".to_owned());
        state.containers.clear();
        state.agent = None;
        state.agent_ends = false;
        state.fuse = None;
        state.inbox.clear();
        state.engine_up = true;
        (state.kubelet, state.connected) = (false, false);
        for one in &mut state.all {
            one.row = FeatureState::default();
            one.local_label = None;
            one.orders = None;
            one.unit.request = None;
            one.unit.state = UnitState::Off;
        }
        for feature in &mut state.features {
            feature.label_row = None;
        }
    });
}

/// The switch comes up: its units first, then the agent, then the kubelet.
pub(crate) async fn up(sim: &Sim, warm: bool) {
    sim.with(|state| {
        state.boot += 1;
        state.booted_at = state.now;
        state.set_phase(if warm { Phase::Rebooting } else { Phase::Steady });
        for at in 0..state.all.len() {
            let feature = &state.features[state.all[at].feature];
            state.all[at].unit_wanted = feature.exists && feature.config.state.is_enabled();
            state.reset_failed(at);
        }
    });
    for at in 0..sim.with(|state| state.all.len()) {
        sim.spawn(Place::Switch, systemd::unit(sim.clone(), at));
        sim.spawn(Place::Switch, kubelet::kubelet(sim.clone(), at));
    }
    let early = sim.with(|state| state.chance.percent(50));
    if early {
        sim.spawn(Place::Switch, systemd::agent_unit(sim.clone()));
    }
    let time = sim.with(|state| state.chance.ms(0, 20_000));
    sim.sleep(time).await;
    sim.with(start_enabled);
    let time = sim.with(|state| state.chance.ms(0, 20_000));
    sim.sleep(time).await;
    if !early {
        sim.spawn(Place::Switch, systemd::agent_unit(sim.clone()));
    }
    if warm {
        let time = sim.with(|state| state.chance.ms(30_000, 300_000));
        sim.sleep(time).await;
        sim.with(|state| state.set_phase(Phase::Steady));
    }
    sim.with(|state| {
        // So that no pod runs ahead (DESIGN.md section 4 *Boot*).
        for at in 0..state.all.len() {
            let kube = state.features[state.all[at].feature].config.set_owner == SetOwner::Kube;
            if kube && state.all[at].row.system_state.is_none() {
                state.all[at].row.system_state = Some(SystemState::Down);
                state.touch(at);
            }
        }
        state.kubelet = state.joined;
        state.tell_story(|| "the kubelet runs".to_owned());
        state.touched.push(Channel::Cluster);
        state.kubelets();
        state.busy = false;
    });
}

/// All that can be healed is healed: from here on only the switch and the cluster act.
pub(crate) fn heal(sim: &Sim) {
    sim.with(|state| {
        let back = state.chance.percent(80);
        if back && !(state.server && state.joined && state.kubelet) {
            state.server = true;
            state.server_since = state.now;
        }
        state.joined = true;
        state.kubelet |= state.server;
        state.lost_events = 0;
        state.fuse = None;
        state.all.iter_mut().for_each(|one| one.stops_in_between = false);
        state.touched.push(Channel::Cluster);
        state.kubelets();
    });
}
