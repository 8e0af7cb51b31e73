//! Guarding rules taken away, one at a time, from outside: the world tells the core what is not so, or forgets a
//! part of what the core asked for. Product code has no switch for this. What each rule is good for is in `guards`.

/// Which rule is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// None: the switch as it is.
    None,
    /// `container wait` takes the local copy for ended.
    LocalSeemsEnded,
    /// `container wait` sees no pod but the one that asked.
    OtherPodsHidden,
    /// Every container takes the id of whoever asked last for its own.
    AnyPodsTurn,
    /// A container does not see that the row names it.
    OwnNameHidden,
    /// Row changes of this program are written whatever the row says by now.
    Unconditional(Writer),
    /// `start` does not stop pods before it starts the local copy.
    PodsNotStopped,
    /// `start` does not write the row before it starts the local copy.
    StartWithoutRow,
    /// `stop` leaves no mark in the place of a lost row that pods may run.
    NoMark,
    /// `container wait` never finds that it has waited long enough.
    NeverLate,
    /// `container wait` does not touch the hand-shake when it repairs the row of the local copy.
    StalePending,
    /// The agent takes owner none for somebody else than it should be.
    NoneIsMismatch,
    /// The agent takes a pod that runs for a local copy that bridges.
    PodSeemsLocal,
    /// The agent starts what it only should restart.
    PlainRestart,
    /// The agent leaves alone what a unit left behind.
    LeftAlone,
    /// A gate without a row runs its payload.
    RunsAhead,
}

/// Who writes rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    Start,
    Stop,
    Wait,
    Gate,
}
