//! One switch with several features, its cluster and what is known of both: only data, and the changes of it that
//! everybody hears of.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use switchyard_agent::{Event, PodReport};
use switchyard_core::{
    ContainerId, CurrentOwner, FeatureConfig, FeatureState, Instance, Knobs, Moment, Phase, Record,
    RemoteState, RowChange, SetOwner, Side, Verdict, Version, View,
};

use crate::chance::Chance;
use crate::lies::Lie;
use crate::sim::{Channel, Pid};

/// What becomes of a container of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Good,
    /// Ends badly moments after its payload began.
    Crashes,
    /// Ends in order moments after its payload began.
    Leaves,
    /// Ends badly before it asks.
    CrashesEarly,
    /// Runs and never gets ready.
    NeverReady,
    /// There is no such image.
    NoImage,
}

/// What asks inside a container of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Ours,
    /// SONiC's own start-up script (SONIC.md 4.2), which freezes and never looks again.
    Sonic,
}

/// An image, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) version: Version,
    pub(crate) health: Health,
    pub(crate) gate: Gate,
    /// Does not end when asked to.
    pub(crate) hangs: bool,
}

/// What the cluster wants to run on every node with the label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) generation: u64,
    pub(crate) image: Image,
}

pub(crate) struct Feature {
    pub(crate) exists: bool,
    pub(crate) config: FeatureConfig,
    /// `KUBE_LABELS|SET` of STATE_DB.
    pub(crate) label_row: Option<bool>,
    /// On the node, as the cluster knows it.
    pub(crate) label_node: bool,
    pub(crate) manifest: Option<Template>,
    /// Other units restart with it.
    pub(crate) takes_others: bool,
    pub(crate) instances: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnitState {
    Off,
    Pre,
    Active,
    Stopping,
    AutoRestart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Start,
    Stop,
    Restart,
}

pub(crate) struct Unit {
    pub(crate) state: UnitState,
    pub(crate) since: Duration,
    pub(crate) request: Option<Request>,
    /// It stops in order to be off, as far as is known.
    pub(crate) goes_off: bool,
    /// Starts that count against the limit.
    /// Each with whether the run before it had ended as planned.
    pub(crate) starts: Vec<(Duration, bool)>,
    pub(crate) ended_as_planned: bool,
    /// systemd gave up.
    pub(crate) given_up: bool,
    pub(crate) script: Option<Pid>,
    pub(crate) script_ended: Option<bool>,
    pub(crate) main: Option<Pid>,
    pub(crate) main_ended: bool,
    /// Whose payload ran last in this run.
    pub(crate) ran: Option<Side>,
}

pub(crate) struct Container {
    pub(crate) instance: usize,
    pub(crate) side: Side,
    pub(crate) id: ContainerId,
    pub(crate) image: Image,
    pub(crate) generation: u64,
    pub(crate) payload: bool,
    pub(crate) ready: bool,
    pub(crate) dying: bool,
    pub(crate) since: Duration,
    /// It asked by SONiC's own script, and looks for its turn.
    pub(crate) polls: bool,
    pub(crate) program: Option<Pid>,
}

pub(crate) struct One {
    pub(crate) name: Instance,
    pub(crate) feature: usize,
    pub(crate) row: FeatureState,
    pub(crate) record: Record,
    /// Who was last told to have taken over.
    pub(crate) told: Option<CurrentOwner>,
    pub(crate) unit: Unit,
    /// The operator's last word: the unit is to run.
    pub(crate) unit_wanted: bool,
    pub(crate) local_image: Option<Image>,
    /// The image that the local container was made from.
    pub(crate) local_made: Option<Image>,
    pub(crate) local_asks: bool,
    /// `<f>_local` of `KUBE_LABELS|SET`: the version that the local copy's call recorded last.
    pub(crate) local_label: Option<Version>,
    /// Containers record that they are about to end.
    pub(crate) leaves: bool,
    pub(crate) orders: Option<Template>,
    /// What the cluster told the agent that runs of the containers of its pods.
    pub(crate) reports: Vec<PodReport>,
    pub(crate) fresh_pod: bool,
    /// When the agent restarted the unit.
    pub(crate) restarts: Vec<Duration>,
    /// When the agent looked last.
    pub(crate) looked: Duration,
    pub(crate) gone_since: Option<Duration>,
    pub(crate) was_deleted: bool,
    /// The operator stops it the moment after the agent begins to restart it.
    pub(crate) stops_in_between: bool,
}

pub(crate) struct State {
    pub(crate) now: Duration,
    pub(crate) chance: Chance,
    pub(crate) touched: Vec<Channel>,
    pub(crate) complaint: Option<String>,
    pub(crate) telling: bool,
    pub(crate) story: Vec<String>,
    pub(crate) lie: Lie,
    pub(crate) knobs: Knobs,

    pub(crate) features: Vec<Feature>,
    pub(crate) all: Vec<One>,
    pub(crate) containers: BTreeMap<u64, Container>,
    pub(crate) last_container: u64,
    /// How containers ended: in order or not.
    pub(crate) ends: BTreeMap<u64, bool>,

    pub(crate) boot: u32,
    pub(crate) booted_at: Duration,
    pub(crate) phase: Phase,
    pub(crate) phase_since: Duration,
    pub(crate) config_loaded: bool,
    pub(crate) engine_up: bool,
    pub(crate) engine_hangs_until: Duration,
    pub(crate) redis_flushed: Duration,
    /// Pods with our gate hold the track lock, and a local start needs it. Not in histories: there the rows must do.
    pub(crate) track: bool,
    /// The switch goes down, or reloads its configuration.
    pub(crate) busy: bool,

    pub(crate) server: bool,
    pub(crate) server_since: Duration,
    pub(crate) joined: bool,
    pub(crate) leaving: bool,
    /// What the rows say of the server.
    pub(crate) connected: bool,
    pub(crate) kubelet: bool,
    pub(crate) generations: u64,

    pub(crate) agent: Option<Pid>,
    pub(crate) agent_ends: bool,
    pub(crate) agent_since: Duration,
    pub(crate) agent_away: Duration,
    pub(crate) inbox: VecDeque<Event>,
    /// The agent dies at the so many-th moment that it waits.
    pub(crate) fuse: Option<u32>,
    pub(crate) lost_events: u64,
    pub(crate) wake_ups: u32,
    /// How often any copy began or ended.
    pub(crate) moves: u64,
    pub(crate) gave_up: u32,
    pub(crate) restarts: u32,
    pub(crate) troubles: u32,
    /// Waits of no time at all, one after the other.
    pub(crate) hurry: u32,
}

impl State {
    pub(crate) fn broken(&mut self, promise: String) {
        self.tell_story(|| format!("BROKEN: {promise}"));
        self.complaint.get_or_insert(promise);
    }

    pub(crate) fn tell_story(&mut self, line: impl FnOnce() -> String) {
        if self.telling {
            let now = self.now.as_secs_f64();
            self.story.push(format!("{now:>11.3} {}", line()));
        }
    }

    /// Time since boot.
    pub(crate) fn clock(&self) -> Duration {
        self.now.saturating_sub(self.booted_at)
    }

    pub(crate) fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
        self.phase_since = self.now;
        self.tell_story(|| format!("-- {phase:?}"));
        self.event(Event::Everything);
    }

    pub(crate) fn event(&mut self, event: Event) {
        if self.agent.is_none() || self.lie.hides(&event) || self.inbox.back() == Some(&event) {
            return;
        }
        self.inbox.push_back(event);
        self.touched.push(Channel::Inbox);
    }

    /// Something about an instance has changed: who listens hears of it, the agent not always.
    pub(crate) fn touch(&mut self, at: usize) {
        self.touched.push(Channel::Instance(at));
        let lost = self.lost_events;
        if !self.chance.percent(lost) {
            self.event(Event::Instance(self.all[at].name.clone()));
        }
    }

    pub(crate) fn config(&self, at: usize) -> Option<&FeatureConfig> {
        let feature = &self.features[self.all[at].feature];
        (self.config_loaded && feature.exists).then_some(&feature.config)
    }

    /// Writes as the database does: whole, and only if the condition holds.
    pub(crate) fn write(&mut self, at: usize, change: &RowChange, who: &str) -> bool {
        let Some(after) = change.apply(&self.all[at].row) else { return false };
        // Redis tells of every write, also of one that changes nothing.
        if *change != (RowChange { only_if: change.only_if.clone(), ..RowChange::default() }) {
            let before = std::mem::replace(&mut self.all[at].row, after);
            let same = before == self.all[at].row;
            self.must_not_lose_question(at, &before, who);
            if !same {
                self.tell_row(at, who);
            }
            self.touch(at);
        }
        true
    }

    /// One that asks by SONiC's own script asks once. The start of the local copy takes that back (SONIC.md 4.3), and owner
    /// local: nobody else may. One that found the question of another there, which has ended since, cannot be told from one
    /// that has not asked yet; it is woken as one that is frozen.
    fn must_not_lose_question(&mut self, at: usize, before: &FeatureState, who: &str) {
        let is_kube = self.config(at).is_some_and(|config| config.set_owner == SetOwner::Kube);
        let asks = |row: &FeatureState| matches!(row.remote_state, RemoteState::Pending | RemoteState::Ready);
        let of_a_dead_one = before
            .remote_container_id
            .as_ref()
            .is_some_and(|id| !self.of(at, Side::Kube).any(|number| self.containers[&number].id.same_as(id)));
        let lost = asks(before)
            && !asks(&self.all[at].row)
            && !of_a_dead_one
            && self.of(at, Side::Kube).any(|number| self.containers[&number].polls);
        if lost && is_kube && who != "start" {
            let name = self.all[at].name.clone();
            self.broken(format!("{name}: the question of a pod is lost: {who}"));
        }
    }

    pub(crate) fn tell_row(&mut self, at: usize, who: &str) {
        if !self.telling {
            return;
        }
        let one = &self.all[at];
        let (row, name) = (&one.row, one.name.clone());
        let text = format!(
            "{name} {who}: row {}/{}({})/{}({}) {}",
            row.system_state.map_or("absent", switchyard_core::SystemState::as_str),
            row.current_owner,
            row.container_id.as_ref().map_or("", ContainerId::as_str),
            row.remote_state,
            row.remote_container_id.as_ref().map_or("", ContainerId::as_str),
            row.container_version.as_ref().map_or("", Version::as_str),
        );
        self.tell_story(|| text);
    }

    pub(crate) fn now_moment(&self) -> Moment {
        Moment { boot: self.boot.to_string(), since_boot: self.clock() }
    }

    pub(crate) fn verdict(&self, at: usize, view: &View) -> Verdict {
        let Some(version) = view.judged_version() else { return Verdict::Welcome };
        let one = &self.all[at];
        let policy = view.config.update_policy(self.features[one.feature].takes_others);
        one.record.verdict(version, policy, &self.now_moment(), &self.knobs)
    }

    /// As the engine knows it.
    pub(crate) fn version_of(&self, id: &ContainerId) -> Option<Version> {
        let container = self.containers.values().find(|container| container.id.same_as(id))?;
        Some(container.image.version.clone())
    }

    pub(crate) fn local_run(&self, at: usize) -> Option<u64> {
        self.of(at, Side::Local).next()
    }

    pub(crate) fn of(&self, at: usize, side: Side) -> impl Iterator<Item = u64> + '_ {
        self.containers
            .iter()
            .filter(move |(_, container)| container.instance == at && container.side == side)
            .map(|(number, _)| *number)
    }

    /// The copies that run the payload.
    pub(crate) fn payloads(&self, at: usize) -> Vec<Side> {
        self.containers
            .values()
            .filter(|container| container.instance == at && container.payload)
            .map(|container| container.side)
            .collect()
    }

    /// The payload of a container begins.
    pub(crate) fn begin_payload(&mut self, number: u64) {
        let Some(container) = self.containers.get_mut(&number) else { return };
        container.payload = true;
        let (at, side) = (container.instance, container.side);
        self.all[at].unit.ran = Some(side);
        self.moves += 1;
        let name = self.all[at].name.clone();
        self.tell_story(|| format!("{name} payload of {side:?} {number} RUNS"));
        if self.payloads(at).len() > 1 {
            let whose = if self.all[at].was_deleted { "a feature that was deleted, " } else { "" };
            self.broken(format!("two payloads of {whose}{name} run"));
        }
    }

    pub(crate) fn new_container(&mut self, at: usize, side: Side, image: Image, generation: u64) -> u64 {
        self.last_container += 1;
        let number = self.last_container;
        let text = format!("{number:012x}{}", "f".repeat(52));
        let id = ContainerId::parse(&text).unwrap();
        let container = Container {
            instance: at,
            side,
            id,
            image,
            generation,
            payload: false,
            ready: false,
            dying: false,
            since: self.now,
            polls: false,
            program: None,
        };
        self.containers.insert(number, container);
        let name = self.all[at].name.clone();
        self.tell_story(|| format!("{name} container {number} of {side:?} starts"));
        number
    }

    /// A container is no more; returns the program that ran in it.
    pub(crate) fn end_container(&mut self, number: u64, in_order: bool) -> Option<Pid> {
        let container = self.containers.remove(&number)?;
        let at = container.instance;
        self.ends.insert(number, in_order);
        self.moves += u64::from(container.payload);
        let name = self.all[at].name.clone();
        self.tell_story(|| {
            let how = if in_order { "ends" } else { "ends BADLY" };
            format!("{name} container {number} of {:?} {how}", container.side)
        });
        self.touched.push(Channel::Kubelet(at));
        self.report(at);
        self.touch(at);
        container.program
    }

    /// The cluster tells of the containers of this instance's pods.
    pub(crate) fn report(&mut self, at: usize) {
        if !(self.server && self.joined && self.kubelet) {
            return;
        }
        let reports = self
            .of(at, Side::Kube)
            .map(|number| &self.containers[&number])
            .map(|container| PodReport { id: container.id.clone(), ready: container.ready })
            .collect();
        if self.lie != Lie::PodsHidden {
            self.all[at].reports = reports;
            self.event(Event::Instance(self.all[at].name.clone()));
        }
    }

    pub(crate) fn agent_dies_here(&mut self, me: Pid) -> bool {
        if self.agent != Some(me) {
            return false;
        }
        match self.fuse {
            Some(0) => {
                self.fuse = None;
                self.agent_ends = true;
                self.touched.push(Channel::Cluster);
                self.tell_story(|| "the agent dies where it waits".to_owned());
                true
            }
            Some(left) => {
                self.fuse = Some(left - 1);
                false
            }
            None => false,
        }
    }

    pub(crate) fn request(&mut self, at: usize, request: Request) {
        self.all[at].unit.request = Some(request);
        let name = self.all[at].name.clone();
        self.tell_story(|| format!("{name} asked to {request:?}"));
        self.touched.push(Channel::Instance(at));
    }
}
