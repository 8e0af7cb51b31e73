//! Guarding rules taken away, one at a time, from outside: the world tells the core what is not so, or forgets a
//! part of what the core asked for. Product code has no switch for this.

/// Which rule is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// None: the switch as it is.
    None,
    /// `container wait` takes the local copy for ended.
    LocalSeemsEnded,
    /// Every container takes the id of whoever asked last for its own.
    AnyPodsTurn,
    /// Row changes of this program are written whatever the row says by now.
    Unconditional(Writer),
    /// `start` does not stop pods before it starts the local copy.
    PodsNotStopped,
    /// `start` does not write the row before it starts the local copy.
    StartWithoutRow,
    /// `container wait` never finds that it has waited long enough.
    NeverLate,
    /// The agent takes owner none for somebody else than it should be.
    NoneIsMismatch,
    /// A gate without a row runs its payload.
    RunsAhead,
}

/// Who writes rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    Start,
    Stop,
    Wait,
    Gate,
}
