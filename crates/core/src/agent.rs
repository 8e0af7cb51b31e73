//! What the host does about a feature that nobody is just starting or stopping: the rules of the daemon that
//! watches rows, engine and units (SONIC.md 5.5, DESIGN.md section 4). `crates/agent` looks and acts.

use std::time::Duration;

use crate::{Admin, CurrentOwner, Knobs, Local, Reason, RemoteState, SetOwner, SystemState, Verdict, View};

/// What systemd says of the instance's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Its main process, `container wait`, runs.
    Active,
    /// It ended and systemd will start it again.
    WillRestart,
    /// It is starting or stopping: not the moment to interfere.
    Busy,
    /// It is off: stopped by somebody, never started, or given up.
    Off,
}

/// What the switch as a whole is going through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It works.
    Steady,
    /// CONFIG_DB is not loaded, or has changed so lately that more may follow: a missing row means nothing.
    Loading,
    /// A warm or fast reboot is under way, from its first step until its finalizer is done.
    Rebooting,
    /// `sonic.target` is down: everything is, and nobody meant this feature.
    TargetDown,
}

/// What the daemon looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentView<'a> {
    /// Rows and engine.
    pub view: &'a View,
    /// The unit.
    pub unit: Unit,
    /// How long the unit has been as it is.
    pub since: Duration,
    /// The switch.
    pub phase: Phase,
    /// The version of the pod that asks is that of the local image.
    pub same_as_local: bool,
    /// How long the local copy has been running; nothing if it does not, or the engine does not tell.
    pub copy_for: Option<Duration>,
    /// The node is to have the feature's label, by what stands in the rows.
    pub labelled: bool,
    /// The copy that last ran in this unit was the local one, or nobody knows: that it ended is the unit's own matter,
    /// and systemd's delay and start limit are for it.
    pub local_ran: bool,
    /// The switch leaves its cluster, or has left it: no pod may stay in charge where the local image may step in. (Whether it can is seen at the unit's start: a
    /// container that was made from an older image is removed, and made anew by the control script.)
    pub leaving: bool,
}

/// What the daemon does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentStep {
    /// Write the node label.
    Label(bool),
    /// Restart the unit, unless it is off or going off by now (`systemctl try-restart`): its stop and start do the
    /// rest by the ordinary rules.
    RestartUnit(Reason),
    /// Carry out the plan of [`crate::stop`]: the unit is off and its run was not brought to its end.
    BringDown(Reason),
}

impl AgentStep {
    /// One of each kind.
    pub const KINDS: [Self; 3] =
        [Self::Label(true), Self::RestartUnit(Reason::PodKnocks), Self::BringDown(Reason::UnitStopped)];

    /// Its name, for whoever wants to see the daemon die at it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Label(_) => "label",
            Self::RestartUnit(_) => "restart_unit",
            Self::BringDown(_) => "bring_down",
        }
    }
}

/// How long after the end of its unit a start that was cut short may still take effect.
const STRAGGLER: Duration = Duration::from_secs(5);

/// What is to be done now, in order. Empty: all is as asked.
pub fn reconcile(now: &AgentView<'_>, knobs: &Knobs) -> Vec<AgentStep> {
    let view = now.view;
    if !view.kubernetes || view.instance.feature.is_database() || is_no_time_for(now) {
        return Vec::new();
    }
    match (now.unit, view.wanted()) {
        // Tidying up after an earlier run overtook the start of this one.
        (Unit::Active, _) if view.row.system_state == Some(SystemState::Down) && copy_runs(view) => {
            vec![AgentStep::RestartUnit(Reason::RowRepaired)]
        }
        (Unit::Active, SetOwner::Local) => {
            let mut steps = vec![AgentStep::Label(false)];
            // Owner none is no mismatch: restarting for it would never end (buildimage #13342).
            if view.row.current_owner == CurrentOwner::Kube {
                steps.push(AgentStep::RestartUnit(Reason::OwnerChangedToLocal));
            }
            steps
        }
        (Unit::Active, SetOwner::Kube) => {
            let mut steps = vec![AgentStep::Label(true)];
            if now.leaving && view.row.current_owner == CurrentOwner::Kube && view.config.fallback {
                steps.push(AgentStep::RestartUnit(Reason::Leaving));
            } else if pod_wants_to_take_over(now) {
                steps.push(AgentStep::RestartUnit(Reason::PodKnocks));
            }
            steps
        }
        // Shortens the gap of a rolling update and the way home; systemd would do it after its restart delay.
        (Unit::WillRestart, wanted)
            if view.row.current_owner == CurrentOwner::None && is_ours_to_hurry(now, wanted) =>
        {
            vec![AgentStep::RestartUnit(why_nobody_runs(view, wanted))]
        }
        // A unit that somebody stopped stays stopped; what a broken-off start or stop left behind goes too.
        (Unit::Off, _) => {
            let traces = (leaves_traces(view) && !is_by_hand(now))
                .then_some(AgentStep::BringDown(Reason::UnitStopped));
            drop_label(now, knobs).into_iter().chain(traces).collect()
        }
        (Unit::WillRestart | Unit::Busy, _) => Vec::new(),
    }
}

/// The end of a local copy is the unit's own matter; that of a pod is not: when the owner became local its label is gone,
/// and it may end before its unit is restarted.
fn is_ours_to_hurry(now: &AgentView<'_>, wanted: SetOwner) -> bool {
    !now.local_ran || (wanted == SetOwner::Kube && now.view.pod_is_coming())
}

fn why_nobody_runs(view: &View, wanted: SetOwner) -> Reason {
    if wanted == SetOwner::Local {
        return Reason::OwnerChangedToLocal;
    }
    match view.row.remote_state {
        RemoteState::None => Reason::PodNeverCame,
        RemoteState::Pending | RemoteState::Ready | RemoteState::Running | RemoteState::Stopped => {
            Reason::PodGone
        }
    }
}

/// Nothing moves while the configuration is being loaded or the switch goes down or reboots with its data plane up.
/// A feature that has no local image could not be helped by waiting.
fn is_no_time_for(now: &AgentView<'_>) -> bool {
    match now.phase {
        Phase::Steady => false,
        Phase::Loading | Phase::TargetDown => true,
        Phase::Rebooting => now.view.local != Local::Missing,
    }
}

/// The label is intent: it follows a disabled feature and owner local at once, and a unit stopped by hand only after
/// a while, so that stop, look, start does not take a version out of turn (buildimage #15642).
fn drop_label(now: &AgentView<'_>, knobs: &Knobs) -> Option<AgentStep> {
    let view = now.view;
    let unwanted = view.wanted() == SetOwner::Local
        || matches!(view.config.state, Admin::Disabled | Admin::AlwaysDisabled);
    let long_off = now.since >= knobs.label_drop;
    let speaks = speaks_for_label(now.unit, view);
    // A label that is there draws pods whether there is a row or not, of a feature that was deleted too.
    ((speaks && long_off) || (unwanted && (speaks || now.labelled))).then_some(AgentStep::Label(false))
}

/// Whether an instance says anything of its feature's label. One that is off and has no row does not: its unit was never
/// started, or what it wanted was lost with the row and must not speak on.
pub fn speaks_for_label(unit: Unit, view: &View) -> bool {
    unit != Unit::Off || view.row.system_state.is_some()
}

/// Whether the node is to have a feature's label, of what its instances want: it is there for any of them.
pub fn wants_label(instances: impl IntoIterator<Item = Option<bool>>) -> bool {
    instances.into_iter().any(|wanted| wanted == Some(true))
}

/// A copy that began well after its unit was off was not left behind by it: somebody ran the control script by hand, as
/// people do, and means it. (A start that was cut short can still take effect some seconds after its unit's end.)
fn is_by_hand(now: &AgentView<'_>) -> bool {
    now.copy_for.is_some_and(|ran| ran + STRAGGLER < now.since)
}

fn copy_runs(view: &View) -> bool {
    view.local == Local::Running || view.pod_in_charge().is_some()
}

/// A row or a copy of a run that is over. Pods that wait are none.
fn leaves_traces(view: &View) -> bool {
    crate::left_behind(view) || view.row.current_owner != CurrentOwner::None || view.strangers()
}

/// With owner none the unit's `container wait` lets the pod in by itself. A pod that runs is not put out for
/// another, or two pods that both ask whenever they start would never end to take the turn from each other.
fn pod_wants_to_take_over(now: &AgentView<'_>) -> bool {
    now.view.row.remote_state == RemoteState::Pending
        && now.view.row.current_owner == CurrentOwner::Local
        && now.view.server_answers
        && now.view.verdict == Verdict::Welcome
        && !now.same_as_local
}
