//! Rules taken away on purpose, from outside: the checker must find what each was good for.

use switchyard_agent::Event;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// None: the switch as it is.
    None,
    /// The agent is never told that a restart is over.
    RestartsNeverEnd,
    /// The agent is told of nothing and never wakes by time.
    Deaf,
    /// The agent is told of nothing, and wakes by time.
    Unheard,
    /// The cluster's word on pods does not arrive.
    PodsHidden,
    /// A restart starts what is off.
    RestartStarts,
    /// Nothing is done when a unit that is off is to be brought down.
    LeftAlone,
    /// The agent is told that all is steady when it is not.
    AlwaysSteady,
    /// The agent sees an owner that nobody else sees: what it restarts for never changes.
    OwnerSeemsLocal,
    /// Time is over at once when the agent waits.
    Restless,
    /// A container begins its payload without asking.
    RunsAhead,
    /// Runs that end as planned count against the start limit.
    StartsCount,
    /// A container runs for a while before it is seen to.
    ListedLate,
    /// A pod that asks is taken to be of the version that the row says.
    JudgedByRow,
    /// A frozen pod is not stopped.
    FrozenStays,
}

impl Lie {
    pub(crate) fn hides(self, event: &Event) -> bool {
        match self {
            Self::RestartsNeverEnd => matches!(event, Event::Restarted(..)),
            Self::Deaf | Self::Unheard => true,
            _ => false,
        }
    }
}
