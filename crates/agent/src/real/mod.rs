//! The switch as the agent's world: its events come by one queue, it is looked at through [`Host`] and systemd, and what
//! takes long is done beside the loop.

mod fail;
mod inbox;
mod native;
mod notify;
mod restart;
mod server;
mod sources;

pub use fail::fail_points;
pub use native::{tag_beside, take_home};

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use switchyard_core::{
    AgentStep, Care, Cause, ContainerId, CurrentOwner, FeatureName, Instance, Local, Phase, Reason,
    RemoteState, Scope, SetOwner, Unit, Version, View, instances_of, stop,
};
use switchyard_host::{Host, How, TrackLock, clock};
use switchyard_sonic::{FeatureKeys, SonicError, Units, record};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use crate::world::{Event, PodReport, Seen, Trouble, World, trouble};
use inbox::Inbox;
use notify::Systemd;

/// How many events may wait. Whoever fills the queue waits, and nothing is lost.
const QUEUE: usize = 256;
/// How long the configuration must have been loaded before it counts: it comes row by row.
const SETTLED: Duration = Duration::from_secs(2);
/// The target below which all features of a switch run.
const SONIC_TARGET: &str = "sonic.target";

/// What the sources tell; names become instances where the features are known.
#[derive(Debug)]
pub(crate) enum Message {
    /// Told as it is.
    Event(Event),
    /// A unit has changed.
    Unit(String),
    /// A container of this name has begun or ended to run.
    Container(String),
    /// What the cluster says of the containers of this name.
    Pods(String, Vec<PodReport>),
}

impl From<Event> for Message {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

/// Where the sources put what happened.
pub(crate) type Queue = mpsc::Sender<Message>;

/// The switch.
pub(crate) struct Real {
    host: Host,
    units: Units,
    systemd: Systemd,
    queue: Queue,
    inbox: Inbox,
    /// All instances by the names of their containers and units.
    known: BTreeMap<String, Instance>,
    /// What the cluster said last of containers of these names, whether they are known by now or not.
    reports: BTreeMap<String, Vec<PodReport>>,
    watched_units: watch::Sender<Vec<String>>,
    member: server::Member,
    /// The rows that cannot be read, as they were told.
    told_broken: BTreeSet<String>,
    loaded_since: Option<Duration>,
    /// Held for local copies that nobody watches: their `container wait` was killed, or never came.
    locks: BTreeMap<Instance, TrackLock>,
    /// Since when units are seen off of which systemd does not know since when: it forgets one that nothing wants, as
    /// snmp's, as soon as it is off. Nothing for those that were last seen otherwise.
    off_since: BTreeMap<Instance, Option<Duration>>,
}

/// Runs the agent until it is told to end.
pub(crate) async fn run() -> Result<(), Trouble> {
    let systemd = Systemd::from_env();
    let host = Host::open_waiting(true).map_err(trouble)?;
    let knobs = host.knobs_and_tell();
    let units = Units::connect().await.map_err(trouble)?;
    let (queue, messages) = mpsc::channel(QUEUE);
    let (watched_units, unit_names) = watch::channel(Vec::new());
    let (told, server_told) = watch::channel(0_u64);
    tokio::spawn(sources::rows(host.paths.clone(), queue.clone(), told));
    tokio::spawn(sources::units(unit_names, queue.clone()));
    tokio::spawn(sources::containers(host.engine.clone(), queue.clone()));
    let member = server::begin(&host.paths, &knobs, &queue, server_told);
    let mut real = Real {
        host,
        units,
        systemd,
        queue,
        inbox: Inbox::of(messages),
        known: BTreeMap::new(),
        reports: BTreeMap::new(),
        watched_units,
        member,
        told_broken: BTreeSet::new(),
        loaded_since: None,
        locks: BTreeMap::new(),
        off_since: BTreeMap::new(),
    };
    real.say_down_before_pods_come().await;
    let mut agent = crate::Agent::new(knobs);
    agent.step(&mut real, Event::Everything).await;
    notify::ready();
    real.member.go();
    tokio::select! {
        never = agent.run(&mut real) => match never {},
        ended = notify::told_to_end() => ended.map_err(trouble),
    }
}

/// For whoever counts wake-ups: each has a reason.
fn tell_woken(message: Option<&Message>) {
    match message {
        None => debug!("woke: the safety check, the watchdog or something due"),
        Some(Message::Event(event)) => debug!("woke: {event:?}"),
        Some(Message::Unit(name)) => debug!("woke: unit {name}"),
        Some(Message::Container(name)) => debug!("woke: container {name}"),
        Some(Message::Pods(name, _)) => debug!("woke: pods of {name}"),
    }
}

/// Whose change this tells of, if it tells of one instance's.
fn instance_of<'a>(known: &'a BTreeMap<String, Instance>, message: &'a Message) -> Option<&'a Instance> {
    match message {
        Message::Event(Event::Instance(instance)) => Some(instance),
        Message::Unit(name) | Message::Container(name) => known.get(name),
        Message::Event(_) | Message::Pods(..) => None,
    }
}

impl Real {
    /// Rows are gone after every boot, and a pod that finds none runs ahead (SONIC.md 4.2): before the kubelet starts,
    /// each feature that Kubernetes may run is said to be down. Of one whose unit is up the unit's own processes say
    /// how it is.
    async fn say_down_before_pods_come(&mut self) {
        for instance in self.instances().unwrap_or_default() {
            let said = match self.units.status(&instance.unit_name()).await {
                Ok(status) if status.unit() == Unit::Off => self.host.say_down_if_nothing_is_said(&instance),
                Ok(_) => Ok(()),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = said {
                warn!(feature = %instance, %error, "the row could not be prepared for pods");
            }
        }
    }

    fn translate(&mut self, message: Message) -> Option<Event> {
        match message {
            Message::Event(event) => Some(event),
            Message::Unit(unit) if unit == SONIC_TARGET => Some(Event::Everything),
            Message::Unit(_) | Message::Container(_) => {
                instance_of(&self.known, &message).cloned().map(Event::Instance)
            }
            Message::Pods(name, reports) => {
                let instance = self.known.get(&name).cloned();
                if reports.is_empty() {
                    self.reports.remove(&name);
                } else {
                    self.reports.insert(name, reports);
                }
                instance.map(Event::Instance)
            }
        }
    }

    /// How long a unit has been as it is. Of one that was off before the agent looked, and whose copy runs all the same,
    /// nobody knows; it is taken for long, so that what somebody started by hand is left alone.
    fn since(&mut self, instance: &Instance, unit: Unit, monotonic_us: u64, local: Local) -> Duration {
        let now = clock::monotonic();
        if unit != Unit::Off || monotonic_us != 0 {
            self.off_since.insert(instance.clone(), None);
            return now.saturating_sub(Duration::from_micros(monotonic_us));
        }
        let unknown = if local == Local::Running { Duration::ZERO } else { now };
        let since = self.off_since.entry(instance.clone()).or_insert(Some(unknown));
        now.saturating_sub(*since.get_or_insert(now))
    }

    /// A local copy that runs and is not watched keeps pods out by the agent's hand.
    fn hold_track(&mut self, instance: &Instance, local: Local, unit: Unit) {
        let unwatched = local == Local::Running && matches!(unit, Unit::Off | Unit::WillRestart);
        if !unwatched {
            self.locks.remove(instance);
        } else if !self.locks.contains_key(instance)
            && let Some(lock) = TrackLock::shared_now(instance)
        {
            self.locks.insert(instance.clone(), lock);
        }
    }
}

impl World for Real {
    fn now(&self) -> Duration {
        clock::boottime()
    }

    async fn next(&mut self, at_most: Duration) -> Event {
        let until = self.now() + at_most;
        loop {
            let left = until.saturating_sub(self.now());
            let nap = self.systemd.watchdog().map_or(left, |watchdog| left.min(watchdog));
            // The queue cannot end: this very struct holds a sender.
            let message = tokio::select! {
                message = self.inbox.next() => message,
                () = clock::sleep(nap) => None,
            };
            self.systemd.alive();
            tell_woken(message.as_ref());
            if let Some(message) = message
                && let Some(event) = self.translate(message)
            {
                if let Event::Instance(instance) = &event {
                    // The end of a copy is told by the engine, by its row and by its unit: one look sees it all.
                    self.inbox.skip(|next| instance_of(&self.known, next) == Some(instance));
                }
                return event;
            }
            if self.now() >= until {
                return Event::Time;
            }
        }
    }

    async fn phase(&mut self) -> Result<Phase, Trouble> {
        if !self.host.switch.config_initialized().map_err(trouble)? {
            self.loaded_since = None;
            return Ok(Phase::Loading);
        }
        let now = self.now();
        let since = *self.loaded_since.get_or_insert_with(|| {
            let queue = self.queue.clone();
            tokio::spawn(async move {
                tokio::time::sleep(SETTLED).await;
                let _ = queue.send(Event::Everything.into()).await;
            });
            now
        });
        if now.saturating_sub(since) < SETTLED {
            return Ok(Phase::Loading);
        }
        if self.host.switch.warm_or_fast_reboot().map_err(trouble)? {
            return Ok(Phase::Rebooting);
        }
        let target = self.units.status(SONIC_TARGET).await.map_err(trouble)?;
        // A switch without the target has no word for being down.
        Ok(if target.exists() && !target.is_up() { Phase::TargetDown } else { Phase::Steady })
    }

    fn leaving(&mut self) -> bool {
        self.member.leaving()
    }

    fn instances(&mut self) -> Result<Vec<Instance>, Trouble> {
        let switch = &mut self.host.switch;
        let mut instances = Vec::new();
        let FeatureKeys { names, strange } = switch.feature_keys().map_err(trouble)?;
        let mut broken: BTreeSet<String> = strange
            .iter()
            .filter_map(|key| FeatureName::parse(key).err())
            .map(|error| format!("a row of FEATURE is left alone: {error}"))
            .collect();
        for feature in names {
            if feature.is_database() {
                continue;
            }
            match switch.feature_config(&feature) {
                Ok(Some(config)) => {
                    let scope =
                        Scope { global: config.has_global_scope, per_asic: config.has_per_asic_scope };
                    instances.extend(instances_of(&feature, scope, switch.asics()));
                }
                Ok(None) => {}
                // Garbage in one row must not stop the others.
                Err(SonicError::Row(error)) => {
                    broken.insert(format!("{feature} is left alone until its row is mended: {error}"));
                }
                Err(error) => return Err(trouble(error)),
            }
        }
        for why in broken.difference(&self.told_broken) {
            warn!("{why}");
        }
        self.told_broken = broken;
        let names = |instance: &Instance| {
            [instance.container_name(), instance.unit_name()].map(|name| (name, instance.clone()))
        };
        // What is missing while the configuration is loaded is not gone: its pods and units are still told of.
        if switch.config_initialized().map_err(trouble)? {
            self.known.clear();
        }
        self.known.extend(instances.iter().flat_map(names));
        let units: BTreeSet<_> = instances.iter().map(Instance::unit_name).collect();
        let units: Vec<_> = units.into_iter().chain([SONIC_TARGET.to_owned()]).collect();
        self.watched_units.send_if_modified(|now| {
            let changed = *now != units;
            *now = units;
            changed
        });
        Ok(instances)
    }

    /// What draws a feature's pods, and what runs of it, stands in its rows; should Redis have lost them, what is remembered
    /// of its versions tells that Kubernetes had it.
    fn deleted(&mut self) -> Result<Vec<Instance>, Trouble> {
        let switch = &mut self.host.switch;
        let configured = switch.feature_names().map_err(trouble)?;
        let mut told = switch.recorded_instances().map_err(trouble)?;
        told.extend(record::instances(&self.host.paths, switch.asics()));
        told.retain(|instance| !instance.feature.is_database() && !configured.contains(&instance.feature));
        Ok(told)
    }

    async fn see(&mut self, instance: &Instance) -> Result<Seen, Trouble> {
        self.systemd.looks();
        let view = self.host.view(instance).await.map_err(trouble)?;
        // After the rows: a row that a stop has written beside a unit that was up before would look like its mistake.
        let status = self.units.status(&instance.unit_name()).await.map_err(trouble)?;
        let unit = status.unit();
        self.hold_track(instance, view.local, unit);
        let since = self.since(instance, unit, status.since_monotonic, view.local);
        let asks = view.row.remote_state == RemoteState::Pending;
        let same_as_local = asks && self.is_local_version(instance, view.judged_version())?;
        let copy_for = match (unit, view.local) {
            (Unit::Off, Local::Running) => self.local_copy_for(instance).await?,
            _ => None,
        };
        let labelled = self.host.is_labelled(&instance.feature, true).map_err(trouble)?;
        let reports = self.reports.get(&instance.container_name()).cloned().unwrap_or_default();
        Ok(Seen { view, unit, since, same_as_local, copy_for, labelled, reports })
    }

    fn label(&mut self, feature: &FeatureName, wanted: bool) -> Result<(), Trouble> {
        if self.host.is_labelled(feature, wanted).map_err(trouble)? {
            return Ok(());
        }
        let step = AgentStep::Label(wanted).word();
        fail::before(step);
        self.host.label(feature, wanted).map_err(trouble)?;
        fail::after(step);
        Ok(())
    }

    fn restart(&mut self, instance: &Instance, reason: Reason) {
        info!(feature = %instance, "restarting its unit: {reason}");
        let (units, queue, instance) = (self.units.clone(), self.queue.clone(), instance.clone());
        let step = AgentStep::RestartUnit(reason).word();
        fail::before(step);
        tokio::spawn(async move {
            let outcome = restart::restart(&units, &instance).await;
            fail::after(step);
            let _ = queue.send(Event::Restarted(instance, outcome).into()).await;
        });
    }

    async fn bring_down(&mut self, instance: &Instance, reason: Reason) -> Result<(), Trouble> {
        info!(feature = %instance, "bringing down what is left of it: {reason}");
        let decide = |view: &View| Ok(stop(view));
        let step = AgentStep::BringDown(reason).word();
        fail::before(step);
        self.host.carry_out("agent", instance, How::default(), decide).await.map_err(trouble)?;
        fail::after(step);
        Ok(())
    }

    async fn stop_pod(&mut self, id: &ContainerId) -> Result<(), Trouble> {
        self.host.engine.stop(id.as_str(), None).await.map_err(trouble)
    }

    async fn version(&mut self, pod: &ContainerId) -> Result<Option<Version>, Trouble> {
        let container = self.host.engine.container(pod.as_str()).await.map_err(trouble)?;
        Ok(container.and_then(|container| container.version))
    }

    fn failed(&mut self, instance: &Instance, version: &Version) -> Result<(), Trouble> {
        let now = record::moment().map_err(trouble)?;
        fail::before(Care::GiveUp.word());
        record::change(&self.host.paths, instance, |record| record.left(version, Cause::Failed, now))
            .map_err(trouble)?;
        fail::after(Care::GiveUp.word());
        Ok(())
    }

    fn ran_well(&mut self, instance: &Instance, version: &Version) -> Result<(), Trouble> {
        fail::before(Care::RanWell.word());
        record::change(&self.host.paths, instance, |record| record.ran_well(version)).map_err(trouble)?;
        fail::after(Care::RanWell.word());
        Ok(())
    }

    fn go_native(&mut self, instance: &Instance, pod: &ContainerId) {
        let (queue, instance, pod) = (self.queue.clone(), instance.clone(), pod.clone());
        let (paths, engine) = (self.host.paths.clone(), self.host.engine.clone());
        tokio::spawn(async move {
            let done = native::take_home(&paths, engine, &instance, &pod, None).await;
            let _ = queue.send(Event::WentNative(instance, done).into()).await;
        });
    }

    fn told_owner(&mut self, instance: &Instance) -> Option<CurrentOwner> {
        record::load(&self.host.paths, instance).told_owner
    }

    fn keep_told_owner(&mut self, instance: &Instance, owner: CurrentOwner) {
        let kept = record::change(&self.host.paths, instance, |record| record.told_owner = Some(owner));
        if let Err(error) = kept {
            warn!(feature = %instance, %error, "who runs it may be told once more after a restart of the agent");
        }
    }

    fn tell_moved(&mut self, seen: &View, from: CurrentOwner, why: Option<Reason>) {
        let (instance, to) = (&seen.instance, seen.row.current_owner);
        let last = || switchyard_host::last(&self.host.paths.host, instance).pop();
        let why = why.map(|why| why.to_string()).or_else(|| last().map(|entry| entry.message));
        let fell_back = to == CurrentOwner::Local && seen.wanted() == SetOwner::Kube;
        let words = moved_words(instance, fell_back, from, to, &why.unwrap_or_default());
        if fell_back {
            warn!("{words}");
        } else {
            info!("{words}");
        }
    }

    fn tell_kept_out(&mut self, instance: &Instance, pod: Option<&ContainerId>, why: Option<Reason>) {
        match why {
            None => {}
            // What its turn would cost is the reason to be asked.
            Some(Reason::Held) => {
                drop(tokio::spawn(restart::tell_held(self.units.clone(), instance.clone())));
            }
            Some(why) => info!(feature = %instance, "the pod waits: {why}"),
        }
        self.member.tell_kept_out(pod, why);
    }
}

impl Real {
    async fn local_copy_for(&mut self, instance: &Instance) -> Result<Option<Duration>, Trouble> {
        let container = self.host.engine.container(&instance.container_name()).await.map_err(trouble)?;
        let started = container.and_then(|container| container.started_at?.parse().ok());
        Ok(started.and_then(|at: jiff::Timestamp| jiff::Timestamp::now().duration_since(at).try_into().ok()))
    }

    /// Whether the local image has this version, as its own start-up call recorded.
    fn is_local_version(&mut self, instance: &Instance, version: Option<&Version>) -> Result<bool, Trouble> {
        let local = self.host.switch.local_version(instance).map_err(trouble)?;
        Ok(local.zip(version).is_some_and(|(local, version)| local.same_as(version)))
    }
}

/// How a change of hands is logged. The words are an interface: SONiC's event log is fed from them (packaging/events).
pub fn moved_words(
    instance: &Instance,
    fell_back: bool,
    from: CurrentOwner,
    to: CurrentOwner,
    why: &str,
) -> String {
    let how = if fell_back { "fell back" } else { "moved" };
    format!("{instance} {how} from {from} to {to}: {why}")
}
