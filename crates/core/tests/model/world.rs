//! One instance of a feature and everything around it, small enough to visit every state of it.
//!
//! Only data. Ids are small numbers that stand for container ids; [`crate::translate`] turns them into what the
//! core takes. What can happen to a world is in `unit`, `watcher`, `pods`, `agent` and `trouble`.

use switchyard_core::{CurrentOwner, RemoteState, SetOwner, SystemState};

/// Stands for a container id. 0 is none, 1 the local container's name, the rest are containers of pods.
pub type Id = u8;
pub const NO_ID: Id = 0;
pub const LOCAL_ID: Id = 1;

/// STATE_DB `FEATURE|<f>`, as far as decisions look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub system: Option<SystemState>,
    pub owner: CurrentOwner,
    pub id: Id,
    pub remote: RemoteState,
    pub asker: Id,
    pub version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    Unknown,
    Local,
    Pod,
}

pub const GONE: Row = Row {
    system: None,
    owner: CurrentOwner::None,
    id: NO_ID,
    remote: RemoteState::None,
    asker: NO_ID,
    version: Version::Unknown,
};

/// A `RowChange` on its way, with the row it may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    pub system: Option<SystemState>,
    pub owner: Option<CurrentOwner>,
    pub id: Option<Id>,
    pub remote: Option<RemoteState>,
    pub asker: Option<Id>,
    pub version: Option<Version>,
    /// The fields of `OnlyIf`; the others stand as in a row that is gone.
    pub only_if: Option<Row>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    Local,
    Pod(Id),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Label(bool),
    Row(Change),
    StartLocal,
    Stop(Who),
    Kill(Who),
}

/// The container that the control script created. Its payload counts as running from the engine's start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Local {
    Missing,
    Stopped,
    /// Runs; the start-up call inside has not spoken yet.
    Fresh,
    /// The start-up call inside has read the row and is about to write this.
    Recording(Change),
    Running,
    /// Has recorded its leave and is about to end.
    Leaving,
}

impl Local {
    pub fn runs(self) -> bool {
        matches!(self, Self::Fresh | Self::Recording(_) | Self::Running | Self::Leaving)
    }
}

/// What the gate inside a pod's container is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// About to look at the row.
    Waits { asked: bool },
    /// Has decided and is about to write.
    Writes { change: Change, run: bool, asked: bool },
    /// Is recorded; the payload starts next.
    Begins,
    /// The payload runs.
    Runs,
    /// The payload runs and its leave is recorded.
    Leaves,
}

/// The container of a pod: none, or one with an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pod {
    Dead,
    Up(Id, Gate),
}

impl Pod {
    pub fn id(&self) -> Option<Id> {
        match self {
            Self::Dead => None,
            Self::Up(id, _) => Some(*id),
        }
    }

    pub fn runs_payload(&self) -> bool {
        matches!(self, Self::Up(_, Gate::Runs | Gate::Leaves))
    }
}

/// What systemd holds of the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    Off,
    Pre,
    Active,
    Stopping(Then),
    AutoRestart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Then {
    Off,
    Start,
    AutoRestart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    Start,
    Stop,
    Kill,
}

/// The control script in ExecStartPre or ExecStop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Script {
    None,
    /// About to ask `docker ps` whether there is anything to stop.
    Checks(Verb),
    /// The verb is about to look at rows and engine.
    Looks(Verb),
    /// The verb has read the rows and is about to read the engine.
    Reads(Verb, Rows),
    /// The verb carries out the rest of its plan.
    Does(Verb, Vec<Step>),
}

/// What was read from the databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rows {
    pub row: Row,
    pub wanted: SetOwner,
    pub server: bool,
}

/// `container wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Main {
    None,
    Looks,
    Reads {
        rows: Rows,
        late: bool,
    },
    Writes {
        change: Change,
        over: bool,
    },
    Watches(Who),
    Repairs(Who, Change),
    /// What it watched has ended; about to look once more.
    Ends,
    Records(Change),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Agent {
    /// Not installed, or dead.
    Absent,
    Watches,
    Does(Vec<Errand>),
    /// Carries out a plan of `stop`.
    Carries(Vec<Step>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Errand {
    Label(bool),
    Restart,
    BringDown,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    // The databases.
    pub row: Row,
    pub label: bool,
    pub wanted: SetOwner,
    // The cluster.
    pub server: bool,
    pub manifest: bool,
    pub orders: bool,
    // The engine.
    pub local: Local,
    pub pods: Vec<Pod>,
    // The switch.
    pub unit: Unit,
    pub script: Script,
    pub main: Main,
    pub agent: Agent,
    /// Whether the operator's last word was to have the unit running.
    pub unit_wanted: bool,
    /// The agent asked for a restart of a copy that was as wanted.
    pub wronged: bool,
    /// How much trouble may still come.
    pub trouble: u8,
}

impl World {
    /// How many copies of the payload run.
    pub fn payloads(&self) -> usize {
        usize::from(self.local.runs()) + self.pods.iter().filter(|pod| pod.runs_payload()).count()
    }

    pub fn kill(&mut self, who: Who) {
        match who {
            Who::Local if self.local.runs() => self.local = Local::Stopped,
            Who::Local => {}
            Who::Pod(id) => {
                for pod in &mut self.pods {
                    if pod.id() == Some(id) {
                        *pod = Pod::Dead;
                    }
                }
            }
        }
    }

    pub fn runs(&self, who: Who) -> bool {
        match who {
            Who::Local => self.local.runs(),
            Who::Pod(id) => self.pods.iter().any(|pod| pod.id() == Some(id)),
        }
    }
}
