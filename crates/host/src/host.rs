//! One switch as the commands and the agent see it.
//!
//! A plan whose row change finds the row changed meanwhile is thrown away, and the whole is looked at again.

use std::path::Path;
use std::time::Duration;

use switchyard_core::{
    Copy, FeatureName, FeatureState, Instance, Knobs, Local, Moment, OnlyIf, Plan, Pod, Reason, Record,
    Refusal, RowChange, SetOwner, Step, Verdict, Version, View, may_hold_track, resolve, unspoken,
};
use switchyard_engine::{Container, Engine, EngineError, SOCKET};
use switchyard_sonic::{Paths, Switch, Units, read_knobs, record};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::clock::sleep;
use crate::history::{self, Entry};
use crate::{HostError, TrackLock, process};

/// How often a decision is made anew because the row changed under it. Each time somebody else got ahead, and the
/// hand-shake has no more steps than this.
const DECISIONS_MAX: usize = 8;

/// How long systemd may take to forget starts: the unit's next start waits for it.
const FORGIVE_MAX: Duration = Duration::from_secs(5);

/// What a name on the command line stands for.
#[derive(Debug, Clone)]
pub enum Target {
    /// An instance of a feature, with rows to keep.
    Feature(Instance),
    /// A container that is no feature, or `database`: the engine alone is asked, no row is kept.
    Plain(String),
}

/// A switch, seen from its root namespace.
pub struct Host {
    /// Where the switch keeps its files.
    pub paths: Paths,
    /// Its databases.
    pub switch: Switch,
    /// Its container engine.
    pub engine: Engine,
    kubernetes: bool,
}

/// How the engine is to carry out a plan.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// The grace between SIGTERM and SIGKILL; Docker's own if not given.
    pub grace: Option<Duration>,
}

impl Host {
    /// Opens the databases and the engine of this switch; `kubernetes` says whether this build knows Kubernetes.
    pub fn open(kubernetes: bool) -> Result<Self, HostError> {
        let paths = Paths::from_env();
        let switch = Switch::open(paths.clone())?;
        Self::with(paths, switch, kubernetes)
    }

    /// As [`Host::open`], for who may come at boot before the databases' files are there and whole: waits for them, with
    /// a bound.
    pub fn open_waiting(kubernetes: bool) -> Result<Self, HostError> {
        let paths = Paths::from_env();
        let switch = Switch::open_waiting(&paths)?;
        Self::with(paths, switch, kubernetes)
    }

    fn with(paths: Paths, switch: Switch, kubernetes: bool) -> Result<Self, HostError> {
        Ok(Self { paths, switch, engine: Engine::connect(Path::new(SOCKET))?, kubernetes })
    }

    /// The numbers of the rules. What cannot be read leaves the default: no error in them takes a feature down.
    pub fn knobs(&self) -> Knobs {
        read_knobs(&self.paths.etc_sonic).0
    }

    /// The same for whoever begins to act by them: it is logged what cannot be read.
    pub fn knobs_and_tell(&self) -> Knobs {
        let (knobs, broken) = read_knobs(&self.paths.etc_sonic);
        for why in broken {
            warn!("{why}");
        }
        knobs
    }

    /// The switch and what a name stands for on it. A name that is none is refused before anything is opened.
    pub fn for_name(text: &str, kubernetes: bool) -> Result<(Self, Target), HostError> {
        resolve(text, u8::MAX, |_| true)?;
        let mut host = Self::open(kubernetes)?;
        let target = host.target(text)?;
        Ok((host, target))
    }

    fn target(&mut self, text: &str) -> Result<Target, HostError> {
        let base = text.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('@');
        let mut features = Vec::new();
        for name in [text, base].into_iter().filter_map(|name| FeatureName::parse(name).ok()) {
            if !features.contains(&name) && !name.is_database() && self.switch.raw_config(&name)?.is_some() {
                features.push(name);
            }
        }
        let instance = resolve(text, self.switch.asics(), |name| features.contains(name))?;
        let is_feature = features.contains(&instance.feature);
        // While the configuration is not loaded, a missing row says nothing.
        if is_feature || !(instance.feature.is_database() || self.switch.config_initialized()?) {
            Ok(Target::Feature(instance))
        } else {
            Ok(Target::Plain(instance.container_name()))
        }
    }

    /// What is, for one instance, now.
    pub async fn view(&mut self, instance: &Instance) -> Result<View, HostError> {
        let config = self.switch.feature_config(&instance.feature)?.unwrap_or_default();
        let row = self.switch.feature_state(instance)?.unwrap_or_default();
        let server_answers = self.kubernetes && self.switch.pods_can_come()?;
        // Both at once: the engine's answers are most of what a verb costs beside its own call.
        let mut engine = self.engine.clone();
        let name = instance.container_name();
        let starting = !row.holds_pods_back();
        let (container, pods) = tokio::join!(engine.container(&name), self.pods(instance, starting));
        let local = match container? {
            None => Local::Missing,
            Some(container) if container.running => Local::Running,
            Some(_) => Local::Stopped,
        };
        let pods = match pods {
            // The engine wants another version of its protocol, which the other question has agreed on.
            Err(EngineError::Version(_)) => {
                self.engine = engine;
                self.pods(instance, starting).await?
            }
            pods => pods?,
        };
        let (asker_version, verdict) = (None, Verdict::Welcome);
        let (instance, kubernetes) = (instance.clone(), self.kubernetes);
        let mut view =
            View { instance, kubernetes, server_answers, config, row, local, pods, asker_version, verdict };
        // Nobody asks where the owner is local.
        if view.wanted() == SetOwner::Kube {
            view.asker_version = self.asker_version(&view).await?;
            view.verdict = self.verdict(&view).await?;
        }
        Ok(view)
    }

    async fn asker_version(&mut self, view: &View) -> Result<Option<Version>, EngineError> {
        let Some(pod) = view.asker() else { return Ok(None) };
        Ok(self.engine.container(pod.id.as_str()).await?.and_then(|container| container.version))
    }

    /// What this switch thinks of the version that asks, or that ran last.
    async fn verdict(&self, view: &View) -> Result<Verdict, HostError> {
        let Some(version) = view.judged_version() else { return Ok(Verdict::Welcome) };
        let (instance, config) = (&view.instance, &view.config);
        let record = record::load(&self.paths, instance);
        let (now, knobs) = (record::moment()?, self.knobs());
        // systemd is asked only where its answer decides: `container start` must not wait for it.
        let is_open = config.kube_update.is_none() && record.is_up_to_policy(version, &now, &knobs);
        let takes_others = is_open && takes_others(instance).await;
        Ok(record.verdict(version, config.update_policy(takes_others), &now, &knobs))
    }

    /// Changes what is remembered of the versions of an instance that Kubernetes may run. A record that cannot be
    /// written holds nothing up: what it would have said is learnt again.
    pub fn remember(&self, view: &View, change: impl FnOnce(&mut Record, Moment)) {
        if view.wanted() == SetOwner::Local {
            return;
        }
        let changed = record::moment()
            .and_then(|now| record::change(&self.paths, &view.instance, |record| change(record, now)));
        if let Err(error) = changed {
            warn!(feature = %view.instance, %error, "what this version did here is not remembered");
        }
    }

    async fn pods(&self, instance: &Instance, starting: bool) -> Result<Vec<Pod>, EngineError> {
        if self.kubernetes { self.engine.pods(instance, starting).await } else { Ok(Vec::new()) }
    }

    /// Decides on what is and carries it out, until nothing came in between.
    pub async fn carry_out(
        &mut self,
        verb: &'static str,
        instance: &Instance,
        how: How,
        decide: impl Fn(&View) -> Result<Plan, Refusal>,
    ) -> Result<Plan, HostError> {
        // A pass that was overtaken may have done its work: what is told is the way from the first view to the last row.
        let mut first = None;
        for _ in 0..DECISIONS_MAX {
            let view = self.view(instance).await?;
            let plan = decide(&view)?;
            let after = self.perform(&view, &plan, how).await?;
            let before = first.get_or_insert(view);
            if let Some(after) = after {
                self.tell(verb, before, &after, plan.reason);
                return Ok(plan);
            }
        }
        Err(HostError::Restless(instance.to_string(), DECISIONS_MAX))
    }

    /// Says that the unit is down where nothing is said of it yet, as after a boot, and Kubernetes may bring a pod: one
    /// that finds no row runs at once (SONIC.md 4.2).
    pub fn say_down_if_nothing_is_said(&mut self, instance: &Instance) -> Result<(), HostError> {
        let config = self.switch.feature_config(&instance.feature)?.unwrap_or_default();
        let row = self.switch.feature_state(instance)?.unwrap_or_default();
        if let Some(change) = unspoken(&config, &row) {
            self.switch.write_state(instance, &change)?;
        }
        Ok(())
    }

    /// Writes a row change and tells of it. False if the row has changed meanwhile.
    pub fn record(
        &mut self,
        verb: &'static str,
        view: &View,
        change: &RowChange,
        reason: Reason,
    ) -> Result<bool, HostError> {
        let written = self.switch.write_state(&view.instance, change)?;
        if let (true, Some(after)) = (written, change.apply(&view.row)) {
            self.tell(verb, view, &after, reason);
        }
        Ok(written)
    }

    /// The row after the plan, or nothing if somebody else changed it meanwhile.
    async fn perform(
        &mut self,
        view: &View,
        plan: &Plan,
        how: How,
    ) -> Result<Option<FeatureState>, HostError> {
        let mut row = view.row.clone();
        let mut lock = None;
        for step in &plan.steps {
            match step {
                Step::Label(wanted) => self.label(&view.instance.feature, *wanted)?,
                Step::Row(change) => match change.apply(&row) {
                    Some(after) if self.switch.write_state(&view.instance, change)? => row = after,
                    Some(_) | None => return Ok(None),
                },
                Step::AwaitRow(at_most) => {
                    if self.row_changes(&view.instance, &row, *at_most).await? {
                        return Ok(None);
                    }
                }
                Step::StartLocal => {
                    lock = Some(self.start_local(view, how).await?);
                }
                Step::Stop(copy) => self.stop(&view.instance, copy, how).await?,
                Step::Kill(copy) => self.engine.kill(&engine_name(&view.instance, copy)).await?,
            }
        }
        drop(lock);
        Ok(Some(row))
    }

    /// Whether the row says something else before the time is over. What was not heard of is seen then.
    async fn row_changes(
        &mut self,
        instance: &Instance,
        row: &FeatureState,
        at_most: Duration,
    ) -> Result<bool, HostError> {
        let mut changes = self.switch.changes(instance).await.ok();
        let time_is_over = sleep(at_most);
        tokio::pin!(time_is_over);
        let mut is_over = false;
        loop {
            let now = self.switch.feature_state(instance)?.unwrap_or_default();
            let moved = OnlyIf::unchanged(row) != OnlyIf::unchanged(&now);
            if moved || is_over {
                return Ok(moved);
            }
            let change = async {
                match &mut changes {
                    Some(changes) => changes.next().await.is_ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut time_is_over => is_over = true,
                heard = change => if !heard { changes = None },
            }
        }
    }

    /// Stops a container, or says what keeps it alive.
    async fn stop(&mut self, instance: &Instance, copy: &Copy, how: How) -> Result<(), HostError> {
        let name = engine_name(instance, copy);
        let Err(error) = self.engine.stop(&name, how.grace).await else { return Ok(()) };
        match self.engine.container(&name).await {
            Ok(Some(Container { running: true, pid: Some(pid), id, .. })) => {
                let container = match copy {
                    Copy::Local => name,
                    Copy::Pod(_) => id.short().to_string(),
                };
                Err(HostError::LivesOn { container, process: process::describe(pid) })
            }
            _ => Err(error.into()),
        }
    }

    /// Starts the local container under the track lock. A row that promised it is taken back if it does not start.
    async fn start_local(&mut self, view: &View, how: How) -> Result<TrackLock, HostError> {
        let started = match self.take_track(&view.instance, how).await {
            Ok(lock) => match self.engine.start(&view.instance.container_name()).await {
                Ok(()) => return Ok(lock),
                Err(error) => HostError::from(error),
            },
            Err(error) => error,
        };
        let seen =
            View { row: self.switch.feature_state(&view.instance)?.unwrap_or_default(), ..view.clone() };
        if !self.switch.write_state(&view.instance, &switchyard_core::ended(&seen))? {
            warn!(feature = %view.instance, "the row changed while its start failed");
        }
        Err(started)
    }

    /// The track for the local copy. Whoever holds on to it is stopped, then killed, and it is tried once more.
    async fn take_track(&mut self, instance: &Instance, how: How) -> Result<TrackLock, HostError> {
        let held = match TrackLock::shared(instance).await {
            Err(HostError::TrackHeld(why)) => why,
            taken => return taken,
        };
        warn!(feature = %instance, "{held}; ending all of its pods");
        for copy in may_hold_track(&self.view(instance).await?) {
            // What does not end by a stop may by a kill, and what ends by neither is named by the lock.
            let stopped = self.stop(instance, &copy, how).await;
            let killed = self.engine.kill(&engine_name(instance, &copy)).await;
            if let (Err(error), Err(_)) = (stopped, killed) {
                warn!(feature = %instance, %error, "a pod does not end");
            }
        }
        TrackLock::shared(instance).await
    }

    /// Asks for the feature's node label, or for its absence.
    pub fn label(&mut self, feature: &FeatureName, wanted: bool) -> Result<(), HostError> {
        // An unchanged label would still wake everybody who listens.
        if !self.is_labelled(feature, wanted)? {
            self.switch.set_label(&label_name(feature), label_value(wanted))?;
        }
        Ok(())
    }

    /// Whether the label, or its absence, is asked for already.
    pub fn is_labelled(&mut self, feature: &FeatureName, wanted: bool) -> Result<bool, HostError> {
        Ok(self.switch.label(&label_name(feature))?.as_deref() == Some(label_value(wanted)))
    }

    fn tell(&self, verb: &'static str, before: &View, after: &FeatureState, reason: Reason) {
        // ExecStopPost stops what ExecStop has stopped already: that is no news.
        if verb == "stop" && timeless(&before.row) == timeless(after) {
            return;
        }
        info!(feature = %before.instance, from = %before.row.current_owner, to = %after.current_owner, "{verb}: {reason}");
        let entry = Entry::new(verb, reason, before.row.current_owner, after);
        history::append(&self.paths.host, &before.instance, &entry);
    }
}

/// Whether a restart of this instance's unit restarts others too. Where systemd does not tell it is taken for granted: a
/// version that waits a little longer does no harm.
async fn takes_others(instance: &Instance) -> bool {
    let asked = async { Units::connect().await?.would_ever_stop_with(&instance.unit_name()).await };
    match asked.await {
        Ok(others) => !others.is_empty(),
        Err(error) => {
            info!(feature = %instance, %error, "cannot tell what would restart with it");
            true
        }
    }
}

/// Takes the runs so far off systemd's start limit: it is for copies that do not stay up. Where this is not allowed, as to a
/// control script of user admin, or systemd does not answer, the limit has its say.
pub async fn forgive_starts(instance: &Instance) {
    let asked = async { Units::connect().await?.reset_failed(&instance.unit_name()).await };
    let why = match timeout(FORGIVE_MAX, asked).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("systemd did not answer within {} s", FORGIVE_MAX.as_secs()),
    };
    info!(feature = %instance, %why, "this run counts against the start limit of its unit");
}

fn label_name(feature: &FeatureName) -> String {
    format!("{feature}_enabled")
}

fn label_value(wanted: bool) -> &'static str {
    if wanted { "true" } else { "false" }
}

/// What a row says, whenever it was written.
fn timeless(row: &FeatureState) -> FeatureState {
    FeatureState { update_time: None, owner_since: None, ..row.clone() }
}

/// What the engine calls a copy.
pub fn engine_name(instance: &Instance, copy: &Copy) -> String {
    match copy {
        Copy::Local => instance.container_name(),
        Copy::Pod(id) => id.to_string(),
    }
}
