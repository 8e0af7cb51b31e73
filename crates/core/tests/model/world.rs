//! One instance of a feature and everything around it, small enough to visit every state of it.
//!
//! Only data. Ids are small numbers that stand for container ids; [`crate::translate`] turns them into what the
//! core takes. What can happen to a world is in `unit`, `watcher`, `pods`, `agent` and `trouble`.

use switchyard_core::{CurrentOwner, RemoteState, SetOwner, SystemState};

/// Stands for a container id. 0 is none, 1 the local container's name, the rest are containers of pods.
pub(crate) type Id = u8;
pub(crate) const NO_ID: Id = 0;
pub(crate) const LOCAL_ID: Id = 1;

/// STATE_DB `FEATURE|<f>`, as far as decisions look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) system: Option<SystemState>,
    pub(crate) owner: CurrentOwner,
    pub(crate) id: Id,
    pub(crate) remote: RemoteState,
    pub(crate) asker: Id,
    pub(crate) version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Version {
    Unknown,
    Local,
    Pod,
}

pub(crate) const GONE: Row = Row {
    system: None,
    owner: CurrentOwner::None,
    id: NO_ID,
    remote: RemoteState::None,
    asker: NO_ID,
    version: Version::Unknown,
};

/// A `RowChange` on its way, with the row it may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Change {
    pub(crate) system: Option<SystemState>,
    pub(crate) owner: Option<CurrentOwner>,
    pub(crate) id: Option<Id>,
    pub(crate) remote: Option<RemoteState>,
    pub(crate) asker: Option<Id>,
    pub(crate) version: Option<Version>,
    /// The fields of `OnlyIf`; the version stands as in a row that is gone.
    pub(crate) only_if: Option<Row>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    Local,
    Pod(Id),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Label(bool),
    Row(Change),
    AwaitRow,
    StartLocal,
    Stop(Who),
    Kill(Who),
}

/// The container that the control script created. Its payload counts as running from the engine's start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Local {
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
    pub(crate) fn runs(self) -> bool {
        matches!(self, Self::Fresh | Self::Recording(_) | Self::Running | Self::Leaving)
    }
}

/// What the gate inside a pod's container is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Gate {
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
pub(crate) enum Pod {
    Dead,
    Up(Id, Gate),
}

impl Pod {
    pub(crate) fn id(&self) -> Option<Id> {
        match self {
            Self::Dead => None,
            Self::Up(id, _) => Some(*id),
        }
    }

    pub(crate) fn runs_payload(&self) -> bool {
        matches!(self, Self::Up(_, Gate::Runs | Gate::Leaves))
    }
}

/// What systemd holds of the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unit {
    Off,
    Pre,
    Active,
    Stopping(Then),
    AutoRestart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Then {
    Off,
    Start,
    AutoRestart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Start,
    Stop,
    Kill,
}

/// The control script in ExecStartPre or ExecStop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Script {
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
pub(crate) struct Rows {
    pub(crate) row: Row,
    pub(crate) wanted: SetOwner,
    pub(crate) server: bool,
}

/// `container wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Main {
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
pub(crate) enum Agent {
    /// Not installed, or dead.
    Absent,
    Watches,
    Does(Vec<Errand>),
    /// Carries out a plan of `stop`.
    Carries(Vec<Step>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Errand {
    Label(bool),
    Restart,
    BringDown,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    // The databases.
    pub(crate) row: Row,
    pub(crate) label: bool,
    pub(crate) wanted: SetOwner,
    // The cluster.
    pub(crate) server: bool,
    pub(crate) manifest: bool,
    pub(crate) orders: bool,
    /// Whether the switch lets in the version that the cluster brings.
    pub(crate) welcome: bool,
    // The engine.
    pub(crate) local: Local,
    pub(crate) pods: Vec<Pod>,
    // The switch.
    pub(crate) unit: Unit,
    pub(crate) script: Script,
    pub(crate) main: Main,
    pub(crate) agent: Agent,
    /// Whether the operator's last word was to have the unit running.
    pub(crate) unit_wanted: bool,
    /// Redis has lost the row once. Twice within one stop, milliseconds apart, is more than is promised.
    pub(crate) lost: bool,
    /// The agent asked for a restart of a copy that was as wanted.
    pub(crate) wronged: bool,
    /// How much trouble may still come.
    pub(crate) trouble: u8,
}

impl World {
    /// How many copies of the payload run.
    pub(crate) fn payloads(&self) -> usize {
        usize::from(self.local.runs()) + self.pods.iter().filter(|pod| pod.runs_payload()).count()
    }

    pub(crate) fn kill(&mut self, who: Who) {
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

    pub(crate) fn runs(&self, who: Who) -> bool {
        match who {
            Who::Local => self.local.runs(),
            Who::Pod(id) => self.pods.iter().any(|pod| pod.id() == Some(id)),
        }
    }
}
