//! The cluster and the kubelet: what the label and the manifest call for is run, again and again with SONiC's
//! kubelet's back-off.

use std::time::Duration;

use switchyard_core::Side;

use crate::engine;
use crate::sim::{Channel, Place, Sim};
use crate::state::{Feature, Health, State};

const BACKOFF: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_mins(5);
/// A container that ran so long has its back-off forgotten.
const FORGIVEN: Duration = Duration::from_mins(10);

impl State {
    /// The kubelet hears what the cluster wants, if it can.
    fn hear(&mut self, at: usize) {
        if self.server && self.joined && self.kubelet {
            let feature = &self.features[self.all[at].feature];
            self.all[at].orders = feature.manifest.clone().filter(|_| feature.label_node);
        }
    }

    pub(crate) fn kubelets(&mut self) {
        let all = 0..self.all.len();
        self.touched.extend(all.map(Channel::Kubelet));
    }
}

/// What one instance's pod lives through.
pub(crate) async fn kubelet(sim: Sim, at: usize) {
    let mut failures = 0;
    let mut not_before = Duration::ZERO;
    let mut own: Option<(u64, Duration)> = None;
    loop {
        let seen = sim.seen(Channel::Kubelet(at));
        let time = sim.with(|state| state.chance.ms(5, 1500));
        sim.sleep(time).await;
        let (up, orders, fresh) = sim.with(|state| {
            state.hear(at);
            let fresh = std::mem::take(&mut state.all[at].fresh_pod);
            (state.kubelet && state.engine_up, state.all[at].orders.clone(), fresh)
        });
        if let Some((number, since)) = own
            && !sim.with(|state| state.containers.contains_key(&number))
        {
            own = None;
            if sim.now() >= since + FORGIVEN {
                failures = 0;
            }
            not_before = if failures == 0 { Duration::ZERO } else { sim.now() + backoff(failures) };
            failures += 1;
        }
        if fresh {
            (failures, not_before) = (0, Duration::ZERO);
        }
        let runs = sim.with(|state| {
            let number = state.of(at, Side::Kube).next();
            number.map(|number| (number, state.containers[&number].generation))
        });
        match (runs, orders) {
            _ if !up => {}
            (Some((number, generation)), orders)
                if orders.as_ref().is_none_or(|orders| orders.generation != generation) =>
            {
                engine::begin_stop(&sim, number);
                sim.with(|state| state.all[at].fresh_pod = true);
                sim.until(Channel::Kubelet(at), None, |state| !state.containers.contains_key(&number)).await;
                continue;
            }
            (None, Some(orders)) if sim.now() >= not_before => {
                if orders.image.health == Health::NoImage {
                    not_before = sim.now() + backoff(failures);
                    failures += 1;
                    continue;
                }
                let number = sim.with(|state| {
                    let number = state.new_container(at, Side::Kube, orders.image, orders.generation);
                    state.report(at);
                    state.touch(at);
                    number
                });
                own = Some((number, sim.now()));
                let program = sim.spawn(Place::Switch, engine::pod_main(sim.clone(), at, number));
                sim.with(|state| {
                    if let Some(container) = state.containers.get_mut(&number) {
                        container.program = Some(program);
                    }
                });
                continue;
            }
            _ => {}
        }
        let latest = if not_before > sim.now() { not_before } else { sim.now() + Duration::from_hours(24) };
        sim.change(Channel::Kubelet(at), seen, latest).await;
    }
}

fn backoff(failures: u32) -> Duration {
    (BACKOFF * 2u32.pow(failures.clamp(1, 10) - 1)).min(BACKOFF_MAX)
}

/// The agent's adapter for labels: what the rows ask for is told the cluster when it can be reached.
pub(crate) async fn labels(sim: Sim) {
    loop {
        sim.until(Channel::Cluster, None, |state| state.server && state.joined && differs(state).is_some())
            .await;
        let time = sim.with(|state| state.chance.ms(50, 3000));
        sim.sleep(time).await;
        sim.with(|state| {
            if state.server
                && state.joined
                && let Some(feature) = differs(state)
            {
                let wanted = state.features[feature].label_row == Some(true);
                state.features[feature].label_node = wanted;
                state.tell_story(|| format!("feature {feature} has the label: {wanted}"));
                state.kubelets();
            }
        });
    }
}

/// A row that is not there says nothing, but for a feature that is not there either.
fn differs(state: &State) -> Option<usize> {
    let deleted = |feature: &Feature| (state.config_loaded && !feature.exists).then_some(false);
    let wanted = |feature: &Feature| feature.label_row.or_else(|| deleted(feature));
    state.features.iter().position(|feature| wanted(feature).is_some_and(|row| row != feature.label_node))
}

/// The agent's adapter that says whether the server answers.
pub(crate) async fn connection(sim: Sim) {
    loop {
        let is = |state: &State| state.server && state.joined && state.kubelet;
        sim.until(Channel::Cluster, None, |state| is(state) != state.connected).await;
        let time = sim.with(|state| state.chance.ms(10, 20_000));
        sim.sleep(time).await;
        sim.with(|state| {
            let now = is(state);
            let is_news = std::mem::replace(&mut state.connected, now) != now;
            if is_news {
                state.tell_story(|| format!("connected: {now}"));
                state.event(switchyard_agent::Event::Everything);
            }
            // One that was away for a moment tells everything anew as well.
            for at in 0..state.all.len() {
                if is_news {
                    state.touch(at);
                }
                state.report(at);
            }
        });
    }
}
