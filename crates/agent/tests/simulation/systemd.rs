//! systemd: the units of the features and of the agent.
//!
//! ExecStartPre is `container start`, ExecStart `container wait`, ExecStop and ExecStopPost `container stop`; a unit
//! that ended by itself is started again after RestartSec, three times within twenty minutes.

use std::time::Duration;

use switchyard_core::Phase;

use crate::host::{self, Verb};
use crate::lies::Lie;
use crate::sim::{Channel, Place, Sim};
use crate::state::{Health, Request, State, UnitState};

const RESTART_DELAY: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(90);
const LIMIT_INTERVAL: Duration = Duration::from_mins(20);
const LIMIT_BURST: usize = 3;

impl State {
    fn unit_becomes(&mut self, at: usize, to: UnitState) {
        let unit = &mut self.all[at].unit;
        if unit.state != to {
            unit.state = to;
            unit.since = self.now;
            if to == UnitState::Pre {
                unit.ran = None;
            }
            let name = self.all[at].name.clone();
            self.tell_story(|| format!("{name} unit {to:?}"));
        }
        if to == UnitState::Pre && !self.all[at].unit_wanted {
            let name = self.all[at].name.clone();
            self.broken(format!("{name} was stopped by the operator and its unit starts"));
        }
        self.touch(at);
    }

    fn may_start(&mut self, at: usize) -> bool {
        let now = self.now;
        let unit = &mut self.all[at].unit;
        unit.starts.retain(|(start, _)| *start + LIMIT_INTERVAL > now);
        unit.starts.push((now, std::mem::take(&mut unit.ended_as_planned)));
        unit.given_up = unit.starts.len() > LIMIT_BURST;
        if unit.given_up {
            self.gave_up += 1;
            let name = self.all[at].name.clone();
            self.tell_story(|| format!("{name} systemd gives up"));
        }
        !self.all[at].unit.given_up
    }

    /// What `container wait` does about a run that did not end for want of a good local copy.
    pub(crate) fn forgive_starts(&mut self, at: usize) {
        if self.lie != Lie::StartsCount {
            self.reset_failed(at);
        }
        self.all[at].unit.ended_as_planned = true;
    }

    /// `systemctl reset-failed`.
    pub(crate) fn reset_failed(&mut self, at: usize) {
        let unit = &mut self.all[at].unit;
        unit.starts.clear();
        unit.given_up = false;
    }
}

/// What becomes of a unit that stops.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Off,
    Start,
    AutoRestart,
}

/// The life of a unit, from boot to shutdown.
pub(crate) async fn unit(sim: Sim, at: usize) {
    loop {
        sim.with(|state| {
            state.unit_becomes(at, UnitState::Off);
            state.all[at].unit.goes_off = false;
        });
        sim.until(Channel::Instance(at), None, |state| state.all[at].unit.request.is_some()).await;
        let request = sim.with(|state| state.all[at].unit.request.take());
        if request == Some(Request::Stop) {
            continue;
        }
        while sim.with(|state| state.may_start(at)) && run(&sim, at).await {}
    }
}

/// One run; whether another follows.
async fn run(sim: &Sim, at: usize) -> bool {
    sim.with(|state| state.unit_becomes(at, UnitState::Pre));
    let (started, mut then) = pre(sim, at).await;
    if started && then.is_none() {
        sim.with(|state| {
            state.all[at].unit.main_ended = false;
            state.unit_becomes(at, UnitState::Active);
        });
        let main = {
            let sim = sim.clone();
            sim.clone().spawn(Place::Switch, async move {
                host::wait_main(&sim, at).await;
                sim.with(|state| {
                    state.all[at].unit.main_ended = true;
                    state.touch(at);
                });
            })
        };
        sim.with(|state| state.all[at].unit.main = Some(main));
        sim.until(Channel::Instance(at), None, |state| {
            state.all[at].unit.request.is_some_and(|request| request != Request::Start)
                || state.all[at].unit.main_ended
        })
        .await;
        then = taken(sim, at);
        goes(sim, at, then);
        let verb = if sim.with(|state| state.phase == Phase::Rebooting) { Verb::Kill } else { Verb::Stop };
        script(sim, at, verb, "stop").await;
        sim.kill(main);
        sim.with(|state| state.all[at].unit.main = None);
    } else {
        goes(sim, at, then);
    }
    let verb = if sim.with(|state| state.phase == Phase::Rebooting) { Verb::Kill } else { Verb::Stop };
    script(sim, at, verb, "stop-post").await;
    let then = taken(sim, at).or(then).unwrap_or(Then::AutoRestart);
    match then {
        Then::Off => false,
        Then::Start => true,
        Then::AutoRestart => {
            sim.with(|state| state.unit_becomes(at, UnitState::AutoRestart));
            let latest = sim.now() + RESTART_DELAY;
            sim.until(Channel::Instance(at), Some(latest), |state| state.all[at].unit.request.is_some())
                .await;
            taken(sim, at) != Some(Then::Off)
        }
    }
}

fn goes(sim: &Sim, at: usize, then: Option<Then>) {
    sim.with(|state| {
        state.all[at].unit.goes_off = then == Some(Then::Off);
        state.unit_becomes(at, UnitState::Stopping);
    });
}

fn taken(sim: &Sim, at: usize) -> Option<Then> {
    sim.with(|state| state.all[at].unit.request.take()).map(|request| match request {
        Request::Stop => Then::Off,
        Request::Start | Request::Restart => Then::Start,
    })
}

/// ExecStartPre; whether it went through, and what came in between.
async fn pre(sim: &Sim, at: usize) -> (bool, Option<Then>) {
    let script = begin_script(sim, at, Verb::Start, "start");
    let latest = sim.now() + TIMEOUT;
    let over = sim
        .until(Channel::Instance(at), Some(latest), |state| {
            state.all[at].unit.script_ended.is_some()
                || state.all[at].unit.request.is_some_and(|request| request != Request::Start)
        })
        .await;
    let ended = sim.with(|state| state.all[at].unit.script_ended);
    if let (Some(true), true) = (ended, over) {
        // A start that is asked for while the unit starts is as good as done.
        sim.with(|state| {
            if state.all[at].unit.request == Some(Request::Start) {
                state.all[at].unit.request = None;
            }
        });
        return (true, taken(sim, at));
    }
    sim.kill(script);
    (false, taken(sim, at))
}

async fn script(sim: &Sim, at: usize, verb: Verb, who: &'static str) {
    let script = begin_script(sim, at, verb, who);
    let latest = sim.now() + TIMEOUT;
    sim.until(Channel::Instance(at), Some(latest), |state| state.all[at].unit.script_ended.is_some()).await;
    sim.kill(script);
    sim.with(|state| state.all[at].unit.script = None);
}

fn begin_script(sim: &Sim, at: usize, verb: Verb, who: &'static str) -> crate::sim::Pid {
    sim.with(|state| state.all[at].unit.script_ended = None);
    let script = {
        let sim = sim.clone();
        sim.clone().spawn(Place::Switch, async move {
            let time = sim.with(|state| state.chance.ms(5, 400));
            sim.sleep(time).await;
            if verb == Verb::Start {
                sim.with(|state| state.make_container(at));
            }
            let done = host::carry_out(&sim, at, verb, who).await;
            sim.with(|state| {
                if let Err(trouble) = &done {
                    state.tell_story(|| format!("instance {at}: {who} fails: {trouble}"));
                }
                state.all[at].unit.script_ended = Some(done.is_ok());
                state.touched.push(Channel::Instance(at));
            });
        })
    };
    sim.with(|state| state.all[at].unit.script = Some(script));
    script
}

impl State {
    /// The control script creates the local container, anew if there is another image.
    fn make_container(&mut self, at: usize) {
        if !self.engine_up || self.local_run(at).is_some() {
            return;
        }
        let one = &mut self.all[at];
        one.local_made = one.local_image.clone().filter(|image| image.health != Health::NoImage);
    }
}

/// `ctrmgrd.service`: the agent, started again whenever it ends.
pub(crate) async fn agent_unit(sim: Sim) {
    loop {
        let agent = crate::world::start(&sim);
        sim.until(Channel::Cluster, None, |state| state.agent_ends).await;
        sim.kill(agent);
        sim.kill_all(&[Place::Agent]);
        let away = sim.with(|state| {
            state.agent_ends = false;
            state.agent = None;
            state.fuse = None;
            state.inbox.clear();
            state.agent_away
        });
        sim.sleep(away).await;
    }
}
