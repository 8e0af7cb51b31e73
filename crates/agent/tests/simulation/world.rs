//! The agent's world: the simulated switch as [`World`] shows it.

use std::collections::BTreeSet;
use std::time::Duration;

use switchyard_agent::{Agent, Event, Restarted, Seen, Trouble, World};
use switchyard_core::{
    ContainerId, CurrentOwner, FeatureName, Instance, Phase, Reason, Record, RemoteState, SetOwner, Side,
    Unit, Version, View,
};

use crate::host::{self, Verb};
use crate::lies::Lie;
use crate::sim::{Channel, Pid, Place, Sim};
use crate::state::{Health, One, Request, UnitState};
use crate::{engine, kubelet, trouble};

/// How long after the phase changed the agent may not have heard of it.
const HEARSAY: Duration = Duration::from_secs(2);
/// No instance is restarted so often within an hour, whatever happens.
const RESTARTS_AN_HOUR: usize = 40;

/// Starts the agent and the adapters that live in its process.
pub(crate) fn start(sim: &Sim) -> Pid {
    let knobs = sim.with(|state| state.knobs.clone());
    let mut world = Life(sim.clone());
    let pid = sim.spawn(Place::Switch, async move {
        let mut agent = Agent::new(knobs);
        match agent.run(&mut world).await {}
    });
    sim.with(|state| {
        state.agent = Some(pid);
        state.agent_since = state.now;
        state.tell_story(|| "the agent starts".to_owned());
        for at in 0..state.all.len() {
            state.all[at].reports.clear();
            state.report(at);
        }
    });
    sim.spawn(Place::Agent, kubelet::labels(sim.clone()));
    sim.spawn(Place::Agent, kubelet::connection(sim.clone()));
    pid
}

struct Life(Sim);

impl Life {
    fn number(&self, instance: &Instance) -> Option<usize> {
        self.0.with(|state| state.all.iter().position(|one| one.name == *instance))
    }

    fn known(&self, instance: &Instance) -> Result<usize, Trouble> {
        self.number(instance).ok_or_else(|| Trouble(format!("nobody knows {instance}")))
    }
}

impl World for Life {
    fn now(&self) -> Duration {
        self.0.with(|state| state.clock())
    }

    async fn next(&mut self, at_most: Duration) -> Event {
        let sim = &self.0;
        let restless = sim.with(|state| state.lie == Lie::Restless);
        let at_most = if restless { at_most.min(Duration::from_secs(1)) } else { at_most };
        let at_most = if sim.with(|state| state.lie == Lie::Deaf) { Duration::MAX / 4 } else { at_most };
        // Whoever wakes up at once, again and again, is counted and slowed down.
        let least = sim.with(|state| {
            state.hurry = if at_most < Duration::from_millis(5) { state.hurry + 1 } else { 0 };
            Duration::from_millis(if state.hurry > 100 { 5000 } else { 1 })
        });
        let latest = sim.now() + at_most.max(least);
        sim.moment().await;
        sim.until(Channel::Inbox, Some(latest), |state| !state.inbox.is_empty()).await;
        sim.with(|state| {
            state.inbox.pop_front().unwrap_or_else(|| {
                state.wake_ups += 1;
                Event::Time
            })
        })
    }

    async fn phase(&mut self) -> Result<Phase, Trouble> {
        self.0.moment().await;
        self.0.with(|state| {
            if state.chance.percent(1) {
                return Err(Trouble("Redis does not answer".to_owned()));
            }
            Ok(if state.lie == Lie::AlwaysSteady { Phase::Steady } else { state.phase })
        })
    }

    fn leaving(&mut self) -> bool {
        self.0.with(|state| state.leaving)
    }

    fn instances(&mut self) -> Result<Vec<Instance>, Trouble> {
        self.0.with(|state| {
            if state.chance.percent(1) {
                return Err(Trouble("Redis does not answer".to_owned()));
            }
            let there = |feature: usize| state.config_loaded && state.features[feature].exists;
            let names: BTreeSet<_> =
                state.all.iter().filter(|one| there(one.feature)).map(|one| one.name.clone()).collect();
            Ok(names.into_iter().collect())
        })
    }

    fn deleted(&mut self) -> Result<Vec<Instance>, Trouble> {
        self.0.with(|state| {
            if state.chance.percent(1) {
                return Err(Trouble("Redis does not answer".to_owned()));
            }
            let tells = |one: &One| {
                let row = &one.row;
                row.system_state.is_some()
                    || row.current_owner != CurrentOwner::None
                    || one.record != Record::default()
            };
            let deleted =
                |one: &&One| state.config_loaded && !state.features[one.feature].exists && tells(one);
            Ok(state.all.iter().filter(deleted).map(|one| one.name.clone()).collect())
        })
    }

    async fn see(&mut self, instance: &Instance) -> Result<Seen, Trouble> {
        let sim = &self.0;
        let at = self.known(instance)?;
        sim.with(|state| {
            state.all[at].looked = state.now;
            // A feature that is gone is looked at until what it left is gone, and not for ever.
            let limit = Duration::from_mins(20);
            // Each life of the agent looks anew.
            let since = state.all[at].gone_since.map(|gone| gone.max(state.agent_since));
            if since.is_some_and(|since| since + limit < state.now) {
                state.broken(format!("{instance} was deleted long ago and is still looked at"));
            }
        });
        let mut view = host::view(sim, at).await?;
        sim.moment().await;
        sim.with(|state| {
            if state.lie == Lie::OwnerSeemsLocal {
                view.config.set_owner = SetOwner::Local;
            }
            let asks = view.row.remote_state == RemoteState::Pending;
            let local = state.all[at].local_label.as_ref().zip(view.judged_version());
            let same_as_local = asks && local.is_some_and(|(local, asks)| local.same_as(asks));
            let unit = &state.all[at].unit;
            let since = state.now.saturating_sub(unit.since);
            let unit = match unit.state {
                UnitState::Off => Unit::Off,
                UnitState::Pre | UnitState::Stopping => Unit::Busy,
                UnitState::Active => Unit::Active,
                UnitState::AutoRestart => Unit::WillRestart,
            };
            let labelled = state.features[state.all[at].feature].label_row == Some(true);
            let reports = state.all[at].reports.clone();
            Ok(Seen { view, unit, since, same_as_local, copy_for: None, labelled, reports })
        })
    }

    fn label(&mut self, feature: &FeatureName, wanted: bool) -> Result<(), Trouble> {
        self.0.with(|state| {
            let found = state.all.iter().find(|one| one.name.feature == *feature).map(|one| one.feature);
            if let Some(feature) = found
                && state.features[feature].label_row != Some(wanted)
                && state.lie != Lie::OwnerSeemsLocal
            {
                state.features[feature].label_row = Some(wanted);
                state.tell_story(|| format!("feature {feature}: the agent wants the label: {wanted}"));
                state.touched.push(Channel::Cluster);
            }
            Ok(())
        })
    }

    fn restart(&mut self, instance: &Instance, reason: Reason) {
        let Some(at) = self.number(instance) else { return };
        let sim = self.0.clone();
        self.0.with(|state| {
            let now = state.now;
            state.tell_story(|| format!("{instance} the agent restarts: {reason}"));
            state.restarts += 1;
            let name = &state.all[at].name;
            let helpless = state.all[at].local_made.is_none() && state.phase == Phase::Rebooting;
            if state.phase != Phase::Steady && !helpless && now > state.phase_since + HEARSAY {
                let complaint = format!("{name} is restarted during {:?}", state.phase);
                state.broken(complaint);
            }
            let unit = &state.all[at].unit;
            let hurries = unit.state == UnitState::AutoRestart && reason == Reason::OwnerChangedToLocal;
            if hurries && unit.ran == Some(Side::Local) {
                state.broken(format!("{instance}: the local copy ended, and systemd's delay is cut short"));
            }
            let restarts = &mut state.all[at].restarts;
            restarts.push(now);
            restarts.retain(|restart| *restart + Duration::from_hours(1) > now);
            if restarts.len() > RESTARTS_AN_HOUR {
                state
                    .broken(format!("{instance} is restarted more than {RESTARTS_AN_HOUR} times in an hour"));
            }
        });
        trouble::in_between(&self.0, at);
        let instance = instance.clone();
        self.0.spawn(Place::Agent, async move {
            let outcome = try_restart(&sim, at).await;
            sim.with(|state| state.event(Event::Restarted(instance, outcome)));
        });
    }

    async fn bring_down(&mut self, instance: &Instance, _: Reason) -> Result<(), Trouble> {
        let at = self.known(instance)?;
        if self.0.with(|state| state.lie == Lie::LeftAlone) {
            return Ok(());
        }
        host::carry_out(&self.0, at, Verb::Stop, "agent").await
    }

    async fn stop_pod(&mut self, id: &ContainerId) -> Result<(), Trouble> {
        let sim = &self.0;
        let found = sim.with(|state| {
            let mut all = state.containers.iter();
            let found = all.find(|(_, container)| container.id.same_as(id));
            let found = found.map(|(number, container)| (container.instance, *number));
            found.filter(|_| state.lie != Lie::FrozenStays)
        });
        match found {
            Some((at, number)) => engine::stop(sim, at, number, false).await,
            None => Ok(()),
        }
    }

    async fn version(&mut self, pod: &ContainerId) -> Result<Option<Version>, Trouble> {
        self.0.moment().await;
        Ok(self.0.with(|state| state.version_of(pod)))
    }

    fn failed(&mut self, instance: &Instance, version: &Version) -> Result<(), Trouble> {
        let at = self.known(instance)?;
        self.0.with(|state| {
            let now = state.now_moment();
            state.tell_story(|| format!("{instance}: {version} failed"));
            let is_well = |number: u64| {
                let container = &state.containers[&number];
                container.ready && container.image.version == *version
            };
            if state.of(at, Side::Kube).any(is_well) {
                state.broken(format!("{instance}: a pod that is ready is given up as one that is not"));
            }
            state.all[at].record.left(version, switchyard_core::Cause::Failed, now);
            Ok(())
        })
    }

    fn ran_well(&mut self, instance: &Instance, version: &Version) -> Result<(), Trouble> {
        let at = self.known(instance)?;
        self.0.with(|state| state.all[at].record.ran_well(version));
        Ok(())
    }

    fn go_native(&mut self, instance: &Instance, pod: &ContainerId) {
        let Some(at) = self.number(instance) else { return };
        let (sim, instance, pod) = (self.0.clone(), instance.clone(), pod.clone());
        self.0.spawn(Place::Agent, async move {
            let time = sim.with(|state| state.chance.ms(100, 20_000));
            sim.sleep(time).await;
            sim.with(|state| {
                let runs = state.of(at, Side::Kube).find(|number| {
                    let container = &state.containers[number];
                    container.payload && container.id.same_as(&pod)
                });
                let lucky = !state.chance.percent(10);
                let done = match runs {
                    // A feature that only Kubernetes runs has no local image, whatever its pods are.
                    Some(number) if lucky && state.all[at].local_image.is_some() => {
                        let image = state.containers[&number].image.clone();
                        if image.health == Health::NeverReady {
                            state.broken(format!("{instance}: an image that was never ready goes native"));
                        }
                        state.all[at].local_image = Some(image.clone());
                        // Of the same image nothing is made anew.
                        if state.all[at].local_made.replace(image.clone()).is_none_or(|made| made != image) {
                            state.all[at].local_label = None;
                        }
                        true
                    }
                    Some(_) => lucky,
                    None => false,
                };
                state.tell_story(|| format!("{instance} goes native: {done}"));
                state.event(Event::WentNative(instance.clone(), done));
            });
        });
    }

    fn told_owner(&mut self, instance: &Instance) -> Option<CurrentOwner> {
        let at = self.number(instance)?;
        self.0.with(|state| state.all[at].record.told_owner)
    }

    fn keep_told_owner(&mut self, instance: &Instance, owner: CurrentOwner) {
        let Some(at) = self.number(instance) else { return };
        self.0.with(|state| state.all[at].record.told_owner = Some(owner));
    }

    fn tell_moved(&mut self, seen: &View, from: CurrentOwner, why: Option<Reason>) {
        let (instance, to) = (&seen.instance, seen.row.current_owner);
        let Some(at) = self.number(instance) else { return };
        self.0.with(|state| {
            state.tell_story(|| format!("{instance} moved from {from} to {to}: {why:?}"));
            // Nothing is told twice, and nothing is left out: each news begins where the one before it ended.
            let before = state.all[at].told.replace(to);
            if before.is_some_and(|before| before != from) || from == to {
                state.broken(format!("{instance} moved from {from} to {to}, it is told after {before:?}"));
            }
        });
    }

    fn tell_kept_out(&mut self, instance: &Instance, _: Option<&ContainerId>, why: Option<Reason>) {
        self.0.with(|state| state.tell_story(|| format!("{instance} keeps out: {why:?}")));
    }
}

/// `systemctl reset-failed`, then `systemctl try-restart`.
async fn try_restart(sim: &Sim, at: usize) -> Restarted {
    // A switch has busy moments.
    let time = sim
        .with(|state| if state.chance.percent(20) { state.chance.ms(0, 300) } else { state.chance.ms(0, 4) });
    sim.sleep(time).await;
    let begun = sim.with(|state| {
        state.reset_failed(at);
        if state.busy {
            return Err(Restarted::Later);
        }
        let unit = &state.all[at].unit;
        let is_off =
            matches!(unit.state, UnitState::Off | UnitState::Stopping) || unit.request == Some(Request::Stop);
        if is_off && state.lie != Lie::RestartStarts {
            return Err(Restarted::Done);
        }
        state.request(at, Request::Restart);
        Ok(())
    });
    sim.moment().await;
    if let Err(outcome) = begun {
        return outcome;
    }
    sim.until(Channel::Instance(at), None, |state| {
        let unit = &state.all[at].unit;
        let rests = matches!(unit.state, UnitState::Active | UnitState::Off | UnitState::AutoRestart);
        unit.request.is_none() && rests
    })
    .await;
    let state = sim.with(|state| state.all[at].unit.state);
    if state == UnitState::AutoRestart { Restarted::Failed } else { Restarted::Done }
}
