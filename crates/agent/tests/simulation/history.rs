//! One seed's history: trouble, peace, and what is owed after it.

use std::time::Duration;

use crate::birth::{self, Kind};
use crate::lies::Lie;
use crate::promises;
use crate::sim::{Place, Sim};
use crate::trouble;

/// What was promised and not kept, and how it came to that.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    pub(crate) complaint: String,
    pub(crate) story: Vec<String>,
}

/// What happened in a history that went well.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) troubles: u32,
    pub(crate) restarts: u32,
    pub(crate) moves: u64,
    pub(crate) gave_up: u32,
}

/// A failed version is let in again twice before it is blocked, each after the time that a pod has to get ready.
const PEACE: Duration = Duration::from_mins(45);
const IDLE: Duration = Duration::from_mins(30);
/// At most so many wake-ups while it is idle: two a minute.
const WAKE_UPS: u32 = 60;
/// A history is over after so long, whatever still happens.
const LONGEST: Duration = Duration::from_hours(24 * 40);

/// The history of a seed; told in full only if it goes wrong.
pub(crate) fn live(seed: u64, lie: Lie) -> Result<Tally, Failure> {
    match run(seed, Kind { lie, telling: false }) {
        Ok(tally) => Ok(tally),
        // The same seed tells the same story.
        Err(_) => run(seed, Kind { lie, telling: true }),
    }
}

fn run(seed: u64, kind: Kind) -> Result<Tally, Failure> {
    let sim = Sim::new(birth::state(seed, kind));
    // Cut short if a promise is broken.
    let _ = lead(&sim);
    sim.end();
    sim.with(|state| match state.complaint.take() {
        Some(complaint) => Err(Failure { seed, complaint, story: std::mem::take(&mut state.story) }),
        None => Ok(Tally {
            troubles: state.troubles & !(1 << 31),
            restarts: state.restarts,
            moves: state.moves,
            gave_up: state.gave_up,
        }),
    })
}

fn lead(sim: &Sim) -> Option<()> {
    let boot = sim.clone();
    sim.with(|state| state.busy = true);
    sim.spawn(Place::Outside, async move { trouble::up(&boot, false).await });
    let rounds = sim.with(|state| 1 + state.chance.below(3));
    for _ in 0..rounds {
        let count = sim.with(|state| 1 + state.chance.below(60));
        sim.spawn(Place::Outside, trouble::troubles(sim.clone(), count));
        let ended = |sim: &Sim| sim.with(|state| state.troubles & (1 << 31) != 0 && !state.busy);
        pass(sim, ended)?;
        sim.with(|state| state.troubles &= !(1 << 31));
        trouble::heal(sim);
        pass(sim, |sim| sim.with(|state| state.agent.is_some() && !state.leaving))?;
        trouble::heal(sim);
        passed(sim, PEACE)?;
        owed(sim)?;
        idle(sim)?;
    }
    Some(())
}

/// Until this is so.
fn pass(sim: &Sim, is_so: impl Fn(&Sim) -> bool) -> Option<()> {
    while !is_so(sim) {
        if sim.now() > LONGEST {
            sim.with(|state| state.broken("the history does not end".to_owned()));
        }
        passed(sim, Duration::from_secs(10))?;
    }
    Some(())
}

fn passed(sim: &Sim, time: Duration) -> Option<()> {
    sim.run_until(sim.now() + time).then_some(())
}

fn owed(sim: &Sim) -> Option<()> {
    sim.with(|state| match promises::missed(state) {
        Some(missed) => {
            state.broken(missed);
            state.complaint.is_none().then_some(())
        }
        None => Some(()),
    })
}

/// Nothing moves any more, and nobody wakes up more often than is needed.
fn idle(sim: &Sim) -> Option<()> {
    let (moves, restarts) = sim.with(|state| {
        state.wake_ups = 0;
        (state.moves, state.restarts)
    });
    passed(sim, IDLE)?;
    sim.with(|state| {
        if state.wake_ups > WAKE_UPS {
            let wake_ups = state.wake_ups;
            state.broken(format!("while all is quiet: wake-ups of the agent: {wake_ups}"));
        } else if (state.moves, state.restarts) != (moves, restarts) {
            let (moves, restarts) = (state.moves - moves, state.restarts - restarts);
            state.broken(format!("while all is quiet {moves} copies come and go, {restarts} restarts"));
        }
        state.complaint.is_none().then_some(())
    })
}
