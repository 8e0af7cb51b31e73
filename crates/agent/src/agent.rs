//! The loop: something happens, the instances that it may concern are looked at, and what the core says is done.
//!
//! Level-triggered: whatever was missed, because the agent was away or an event was lost, is found by looking. What is
//! kept in mind between two looks only says when to look again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use switchyard_core::{
    AgentStep, AgentView, Care, CurrentOwner, FeatureName, Instance, Knobs, Phase, Reason, RemoteState,
    SetOwner, Unit, care, frozen, reconcile, speaks_for_label, wants_label,
};
use tracing::{info, warn};

use crate::track::Track;
use crate::world::{Event, Restarted, Seen, Trouble, World};

/// How long after something could not be found out or done it is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How long after systemd refused or failed a restart it is asked again.
const RESTART_RETRY: Duration = Duration::from_secs(10);

/// The agent's mind.
pub struct Agent {
    knobs: Knobs,
    tracks: BTreeMap<Instance, Track>,
    /// The instances that there are, as they were last read.
    known: BTreeSet<Instance>,
    /// The configuration is being loaded, as far as was last seen.
    loading: bool,
    /// What was deleted before this life of the agent has been looked for.
    sought_deleted: bool,
    safety_check: Duration,
}

impl Agent {
    /// One that knows nothing yet; its first [`Agent::step`] is best [`Event::Everything`].
    pub fn new(knobs: Knobs) -> Self {
        Self {
            knobs,
            tracks: BTreeMap::new(),
            known: BTreeSet::new(),
            loading: true,
            sought_deleted: false,
            safety_check: Duration::ZERO,
        }
    }

    /// Looks at everything, and then at whatever happens.
    pub async fn run(&mut self, world: &mut impl World) -> std::convert::Infallible {
        self.step(world, Event::Everything).await;
        loop {
            let event = world.next(self.rest(world.now())).await;
            self.step(world, event).await;
        }
    }

    /// How long nothing has to be looked at unless something happens.
    pub fn rest(&self, now: Duration) -> Duration {
        let due = self.tracks.values().filter_map(|track| track.due).chain([self.safety_check]).min();
        due.unwrap_or(self.safety_check).saturating_sub(now)
    }

    /// Something has happened.
    pub async fn step(&mut self, world: &mut impl World, event: Event) {
        if self.is_on_its_way(&event) {
            return;
        }
        let now = world.now();
        let phase = world.phase().await;
        self.loading = phase.as_ref().map_or(self.loading, |phase| *phase == Phase::Loading);
        let instances = match event {
            Event::Instance(instance) if self.known.contains(&instance) => BTreeSet::from([instance]),
            // Of one that was deleted all has been seen to; but it may have been added again, and that not been heard.
            Event::Instance(Instance { feature, .. }) | Event::Feature(feature) => {
                self.of_feature(world, &feature)
            }
            Event::Everything => self.everything(world),
            Event::Time if now >= self.safety_check => self.everything(world),
            Event::Time => self.due(now),
            Event::Restarted(instance, outcome) => {
                let track = self.track(&instance);
                track.restarting = false;
                // One that systemd refused has begun nothing: why it was to be is as true as before.
                if outcome != Restarted::Later {
                    track.begins_anew();
                }
                if outcome != Restarted::Done {
                    track.due(now + RESTART_RETRY);
                    return;
                }
                BTreeSet::from([instance])
            }
            Event::WentNative(instance, done) => {
                let again = now + self.knobs.retry_tag_latest;
                let track = self.track(&instance);
                track.going_native = false;
                if done {
                    track.is_native();
                } else {
                    track.native_from = again;
                }
                BTreeSet::from([instance])
            }
        };
        match phase {
            Ok(phase) => {
                for instance in instances {
                    self.look(world, &instance, phase).await;
                }
                // What was deleted has been looked at for the last time once all has been seen to.
                let known = &self.known;
                self.tracks.retain(|instance, track| {
                    track.restarting || track.unsettled || known.contains(instance)
                });
            }
            Err(trouble) => {
                for instance in instances {
                    self.track(&instance).due(now + RETRY);
                }
                info!(%trouble, "cannot tell what the switch is going through; looking again");
            }
        }
    }

    /// What happens to a unit that we restart is its own processes' matter until that is over, which is an event of its own.
    /// To look at each step of it would take time from them in the very moment in which nobody may be running.
    fn is_on_its_way(&self, event: &Event) -> bool {
        let Event::Instance(instance) = event else { return false };
        self.tracks.get(instance).is_some_and(|track| track.restarting)
    }

    fn track(&mut self, instance: &Instance) -> &mut Track {
        self.tracks.entry(instance.clone()).or_default()
    }

    fn due(&self, now: Duration) -> BTreeSet<Instance> {
        let is_due = |track: &Track| track.due.is_some_and(|due| due <= now);
        self.tracks.iter().filter(|(_, track)| is_due(track)).map(|(instance, _)| instance.clone()).collect()
    }

    fn of_feature(&mut self, world: &mut impl World, feature: &FeatureName) -> BTreeSet<Instance> {
        let mut all = self.read(world).unwrap_or_default();
        // Whether others were deleted has been found out on the way, and is forgotten if they are not looked at now.
        all.retain(|instance| instance.feature == *feature || !self.known.contains(instance));
        all
    }

    fn everything(&mut self, world: &mut impl World) -> BTreeSet<Instance> {
        let Some(all) = self.read(world) else { return BTreeSet::new() };
        self.safety_check = world.now() + self.knobs.safety_check;
        all
    }

    /// All instances that there are, and those that were deleted and have not been seen to.
    fn read(&mut self, world: &mut impl World) -> Option<BTreeSet<Instance>> {
        // In this order: what is deleted in between is known from the first reading, and found by its traces if one fails.
        let instances = world.instances();
        let instances = instances.and_then(|found| self.seek_deleted(world).map(|()| found));
        match instances {
            Ok(instances) => {
                // A feature that was deleted is still looked at once: its label and what it left must go.
                let all: BTreeSet<_> = instances.iter().chain(self.tracks.keys()).cloned().collect();
                // What is missing while the configuration is loaded is not gone, and what is kept in mind of it stays.
                if !self.loading {
                    self.known.clear();
                }
                self.known.extend(instances);
                Some(all)
            }
            Err(trouble) => {
                self.safety_check = world.now() + RETRY;
                info!(%trouble, "cannot read which features there are; looking again");
                None
            }
        }
    }

    /// What was deleted while no agent was there is known from its traces alone. Sought once, when it is certain what is
    /// configured: from then on this life knows what there was.
    fn seek_deleted(&mut self, world: &mut impl World) -> Result<(), Trouble> {
        if !self.loading && !self.sought_deleted {
            for instance in world.deleted()? {
                self.track(&instance).unsettled = true;
            }
            self.sought_deleted = true;
        }
        Ok(())
    }

    async fn look(&mut self, world: &mut impl World, instance: &Instance, phase: Phase) {
        let now = world.now();
        self.track(instance).due = None;
        let looked = match world.see(instance).await {
            Ok(seen) => self.act(world, instance, &seen, phase).await.map(|()| seen.unit),
            Err(trouble) => Err(trouble),
        };
        let track = self.track(instance);
        match looked {
            Ok(unit) => {
                track.trouble = None;
                // Otherwise it was no time at which anything is done.
                let is_time = phase == Phase::Steady && matches!(unit, Unit::Active | Unit::Off);
                track.unsettled = !is_time;
            }
            Err(Trouble(why)) => {
                track.unsettled = true;
                track.due(now + RETRY);
                if track.trouble.as_ref() != Some(&why) {
                    warn!(feature = %instance, %why, "not done yet; trying again");
                    track.trouble = Some(why);
                }
            }
        }
    }

    async fn act(
        &mut self,
        world: &mut impl World,
        instance: &Instance,
        seen: &Seen,
        phase: Phase,
    ) -> Result<(), Trouble> {
        let (now, leaving) = (world.now(), world.leaving());
        let Seen { view, unit, since, same_as_local, copy_for, labelled, reports } = seen;
        let track = self.track(instance);
        track.reports(reports, now);
        track.tells(view.server_answers, now);
        track.ran(view, *unit, *since, now);
        if !speaks_for_label(*unit, view) {
            track.label = None;
        }
        let local_ran = !track.pod_ran;
        let agent_view = AgentView {
            view,
            unit: *unit,
            since: *since,
            phase,
            same_as_local: *same_as_local,
            local_ran,
            copy_for: *copy_for,
            labelled: *labelled,
            leaving,
        };
        for step in reconcile(&agent_view, &self.knobs) {
            match step {
                AgentStep::Label(wanted) => self.label(world, instance, wanted)?,
                AgentStep::RestartUnit(reason) => self.restart(world, instance, reason),
                AgentStep::BringDown(reason) => world.bring_down(instance, reason).await?,
            }
        }
        // Of a unit that starts or stops its own processes say what becomes of the pod.
        if phase == Phase::Steady && *unit == Unit::Active {
            self.care(world, instance, seen).await?;
        }
        self.tell_owner(world, instance, seen);
        self.tell(world, instance, seen);
        let label_drop = self.knobs.label_drop;
        let track = self.track(instance);
        if let Some(left) = view.verdict.left() {
            track.due(now + left);
        }
        // The label of a unit that somebody stopped follows after a while.
        if *unit == Unit::Off && track.label == Some(true) && *since < label_drop {
            track.due(now + label_drop.saturating_sub(*since));
        }
        Ok(())
    }

    fn label(&mut self, world: &mut impl World, instance: &Instance, wanted: bool) -> Result<(), Trouble> {
        self.track(instance).label = Some(wanted);
        let of_feature = self.tracks.iter().filter(|(other, _)| other.feature == instance.feature);
        world.label(&instance.feature, wants_label(of_feature.map(|(_, track)| track.label)))
    }

    fn restart(&mut self, world: &mut impl World, instance: &Instance, reason: Reason) {
        let now = world.now();
        let track = self.track(instance);
        if track.restarting {
            return;
        }
        match track.may_restart(reason, now) {
            Ok(()) => {
                track.restarts(reason, now);
                world.restart(instance, reason);
            }
            Err(from) => track.due(from),
        }
    }

    /// What time brings to pods.
    async fn care(
        &mut self,
        world: &mut impl World,
        instance: &Instance,
        seen: &Seen,
    ) -> Result<(), Trouble> {
        let (now, knobs, view) = (world.now(), self.knobs.clone(), &seen.view);
        let track = self.track(instance);
        let Some(pod) = view.pod_in_charge() else {
            track.no_pod();
            return self.wake_frozen(world, instance, seen).await;
        };
        track.frozen_since = None;
        match care(view, &track.pod(&pod.id, now), &knobs) {
            Care::Nothing(left) => {
                if let Some(left) = left {
                    track.due(now + left);
                }
            }
            Care::GiveUp if track.restarting => {}
            Care::GiveUp => {
                // The row may bear that of another pod, which asks.
                if let Some(version) = world.version(&pod.id).await? {
                    world.failed(instance, &version)?;
                }
                self.restart(world, instance, Reason::PodNotReady);
            }
            Care::RanWell if track.going_native => {}
            Care::RanWell if now < track.native_from => {
                let from = track.native_from;
                track.due(from);
            }
            Care::RanWell => {
                if let Some(version) = world.version(&pod.id).await? {
                    world.ran_well(instance, &version)?;
                }
                self.track(instance).going_native = true;
                world.go_native(instance, &pod.id);
            }
        }
        Ok(())
    }

    /// Pods that SONiC's own start-up script froze are started again when their turn has come.
    async fn wake_frozen(
        &mut self,
        world: &mut impl World,
        instance: &Instance,
        seen: &Seen,
    ) -> Result<(), Trouble> {
        let (now, patience) = (world.now(), self.knobs.frozen_pod);
        let track = self.track(instance);
        let pods = frozen(&seen.view);
        if pods.is_empty() {
            track.not_frozen(&seen.view);
            return Ok(());
        }
        let from = track.frozen_from(seen.view.row.remote_state, now) + track.frozen_patience(patience);
        if now < from {
            track.due(from);
            return Ok(());
        }
        track.wakes_frozen();
        for pod in pods {
            info!(feature = %instance, container = %pod, "{}", Reason::PodFrozen);
            world.stop_pod(&pod).await?;
        }
        Ok(())
    }

    /// Says once that a feature has changed hands, whoever was there when it did. Whoever runs it when it is looked at for
    /// the very first time is no news.
    fn tell_owner(&mut self, world: &mut impl World, instance: &Instance, seen: &Seen) {
        let (view, owner) = (&seen.view, seen.view.row.current_owner);
        let track = self.track(instance);
        // Between two owners nobody runs it for a moment; and the row names the next one before its start is over, which
        // only then tells why.
        if owner == CurrentOwner::None || seen.unit != Unit::Active || track.restarting {
            return;
        }
        if track.owner.is_none() {
            track.owner_kept = world.told_owner(instance);
            track.owner = track.owner_kept;
        }
        let (before, why) = (track.owner.replace(owner), track.restarted_for.take());
        if let Some(before) = before
            && before != owner
        {
            world.tell_moved(view, before, why);
        }
        // Of a feature that Kubernetes never had nothing is kept.
        let is_kept = view.wanted() == SetOwner::Kube || track.owner_kept.is_some();
        if is_kept && track.owner_kept != Some(owner) {
            world.keep_told_owner(instance, owner);
            track.owner_kept = Some(owner);
        }
    }

    /// Says once why a pod that asks has to wait.
    fn tell(&mut self, world: &mut impl World, instance: &Instance, seen: &Seen) {
        let view = &seen.view;
        let asks = view.row.remote_state == RemoteState::Pending;
        let why = view.verdict.reason().or(seen.same_as_local.then_some(Reason::SameAsLocal));
        // SONiC's own start-up call asks without an id.
        let pod = view.asker().map(|pod| pod.id.clone());
        let why = why.filter(|_| asks).map(|why| (pod, why));
        let track = self.track(instance);
        if track.told == why {
            return;
        }
        let before = std::mem::replace(&mut track.told, why.clone()).and_then(|(pod, _)| pod);
        let pod = why.as_ref().and_then(|(pod, _)| pod.clone());
        // One that is still here and is not the one that waits has had its turn.
        if let Some(before) = before.filter(|before| pod.as_ref() != Some(before))
            && view.pods.iter().any(|pod| pod.id.same_as(&before))
        {
            world.tell_kept_out(instance, Some(&before), None);
        }
        if let Some((_, why)) = why {
            world.tell_kept_out(instance, pod.as_ref(), Some(why));
        }
    }
}
