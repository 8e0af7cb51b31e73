//! A clock that only moves when everybody waits, and the programs that run by it.
//!
//! Each program of the switch and of the cluster is a future; ending a process is dropping it, at whatever point it
//! waits. Who goes first at one moment is drawn from the seed.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::state::State;

/// Number of a program.
pub(crate) type Pid = u64;
type Program = Pin<Box<dyn Future<Output = ()>>>;

/// Where a program runs: what runs on the switch ends when the switch goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Switch,
    /// A part of the agent's process: it ends with it.
    Agent,
    Outside,
}

/// What a program can wait for besides time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Channel {
    /// Rows, unit or containers of the instance with this number.
    Instance(usize),
    /// What the kubelet looks at for this instance.
    Kubelet(usize),
    /// Labels, and the way to the server.
    Cluster,
    /// Events for the agent.
    Inbox,
}

#[derive(Default)]
struct Listeners {
    seen: u64,
    pids: Vec<Pid>,
}

/// A handle to a world.
#[derive(Clone)]
pub(crate) struct Sim(Rc<Inner>);

struct Inner {
    state: RefCell<State>,
    programs: RefCell<BTreeMap<Pid, (Place, Option<Program>)>>,
    queue: RefCell<BinaryHeap<Reverse<(Duration, u64, Pid)>>>,
    listeners: RefCell<BTreeMap<Channel, Listeners>>,
    now: Cell<Duration>,
    current: Cell<Pid>,
    last: Cell<Pid>,
    /// How many turns were taken at this moment.
    turns: Cell<u32>,
}

/// So many turns at one moment mean that somebody goes round without end.
const TURNS_MAX: u32 = 20_000;

impl Sim {
    pub(crate) fn new(state: State) -> Self {
        Self(Rc::new(Inner {
            state: RefCell::new(state),
            programs: RefCell::default(),
            queue: RefCell::default(),
            listeners: RefCell::default(),
            // Not zero, so that a moment before the beginning can be told.
            now: Cell::new(Duration::from_mins(1)),
            current: Cell::new(0),
            last: Cell::new(0),
            turns: Cell::new(0),
        }))
    }

    pub(crate) fn now(&self) -> Duration {
        self.0.now.get()
    }

    /// Looks at the world or changes it, in one go.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.state.borrow_mut();
        state.now = self.now();
        let answer = act(&mut state);
        let touched = std::mem::take(&mut state.touched);
        drop(state);
        for channel in touched {
            self.wake(channel);
        }
        answer
    }

    /// Number of the program that runs.
    pub(crate) fn me(&self) -> Pid {
        self.0.current.get()
    }

    pub(crate) fn spawn(&self, place: Place, program: impl Future<Output = ()> + 'static) -> Pid {
        let pid = self.0.last.get() + 1;
        self.0.last.set(pid);
        self.0.programs.borrow_mut().insert(pid, (place, Some(Box::pin(program))));
        self.at(self.now(), pid);
        pid
    }

    /// Ends a program where it waits.
    pub(crate) fn kill(&self, pid: Pid) {
        let ended = self.0.programs.borrow_mut().remove(&pid);
        drop(ended);
    }

    /// Ends all programs there.
    pub(crate) fn kill_all(&self, places: &[Place]) {
        let mut programs = self.0.programs.borrow_mut();
        let me = self.me();
        let ended: Vec<_> =
            programs.extract_if(.., |pid, (place, _)| *pid != me && places.contains(place)).collect();
        drop(programs);
        drop(ended);
    }

    fn at(&self, time: Duration, pid: Pid) {
        let order = self.0.state.borrow_mut().chance.next();
        self.0.queue.borrow_mut().push(Reverse((time, order, pid)));
    }

    fn wake(&self, channel: Channel) {
        let pids = {
            let mut listeners = self.0.listeners.borrow_mut();
            let listeners = listeners.entry(channel).or_default();
            listeners.seen += 1;
            std::mem::take(&mut listeners.pids)
        };
        for pid in pids {
            let late = self.0.state.borrow_mut().chance.ms(0, 3);
            self.at(self.now() + late, pid);
        }
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        let until = self.now() + time;
        self.at(until, self.me());
        poll_fn(|_| if self.now() >= until { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// A moment in which others may act. The agent may find its end in it.
    pub(crate) async fn moment(&self) {
        let me = self.me();
        let (time, dies) = self.with(|state| (state.chance.ms(0, 4), state.agent_dies_here(me)));
        if dies {
            std::future::pending::<()>().await;
        }
        self.pause(time).await;
    }

    /// Waits, and lets others act even if it is for no time at all.
    pub(crate) async fn pause(&self, time: Duration) {
        let until = self.now() + time;
        self.at(until, self.me());
        let mut polled = false;
        poll_fn(|_| {
            let ready = polled && self.now() >= until;
            polled = true;
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits until this is so, or until then; whether it is so.
    pub(crate) async fn until(
        &self,
        channel: Channel,
        latest: Option<Duration>,
        is_so: impl Fn(&State) -> bool,
    ) -> bool {
        if let Some(latest) = latest {
            self.at(latest, self.me());
        }
        poll_fn(|_| {
            if is_so(&self.0.state.borrow()) {
                return Poll::Ready(true);
            }
            if latest.is_some_and(|latest| self.now() >= latest) {
                return Poll::Ready(false);
            }
            self.listen(channel);
            Poll::Pending
        })
        .await
    }

    /// Waits for the next change there after `seen`, or until then.
    pub(crate) async fn change(&self, channel: Channel, seen: u64, latest: Duration) {
        self.at(latest, self.me());
        poll_fn(|_| {
            if self.seen(channel) != seen || self.now() >= latest {
                return Poll::Ready(());
            }
            self.listen(channel);
            Poll::Pending
        })
        .await;
    }

    /// How many changes there have been there.
    pub(crate) fn seen(&self, channel: Channel) -> u64 {
        self.0.listeners.borrow().get(&channel).map_or(0, |listeners| listeners.seen)
    }

    fn listen(&self, channel: Channel) {
        let mut listeners = self.0.listeners.borrow_mut();
        let pids = &mut listeners.entry(channel).or_default().pids;
        if !pids.contains(&self.me()) {
            pids.push(self.me());
        }
    }

    /// Lets the next program go on; false if none ever will, or not before then.
    pub(crate) fn turn(&self, latest: Duration) -> bool {
        let next = {
            let mut queue = self.0.queue.borrow_mut();
            if queue.peek().is_none_or(|Reverse((time, _, _))| *time > latest) {
                return false;
            }
            queue.pop()
        };
        let Some(Reverse((time, _, pid))) = next else { return false };
        if time > self.now() {
            self.0.now.set(time);
            self.0.turns.set(0);
        }
        let Some(mut program) =
            self.0.programs.borrow_mut().get_mut(&pid).and_then(|(_, program)| program.take())
        else {
            return true;
        };
        self.0.turns.set(self.0.turns.get() + 1);
        if self.0.turns.get() > TURNS_MAX {
            self.with(|state| state.broken("somebody goes round without end at one moment".to_owned()));
            return false;
        }
        self.0.current.set(pid);
        let over = program.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        if over {
            self.kill(pid);
        } else if let Some((_, waiting)) = self.0.programs.borrow_mut().get_mut(&pid) {
            *waiting = Some(program);
        }
        true
    }

    /// Lets time pass until then; false if a promise was broken on the way.
    pub(crate) fn run_until(&self, latest: Duration) -> bool {
        while self.0.state.borrow().complaint.is_none() {
            if !self.turn(latest) {
                if self.now() < latest {
                    self.0.now.set(latest);
                    self.0.turns.set(0);
                }
                break;
            }
        }
        self.0.state.borrow().complaint.is_none()
    }

    /// Ends all programs, which hold on to the world.
    pub(crate) fn end(&self) {
        let programs = std::mem::take(&mut *self.0.programs.borrow_mut());
        drop(programs);
    }
}
