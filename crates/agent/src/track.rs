//! What the agent keeps in mind of one instance. All of it can be lost at any moment: it is made anew by looking.

use std::collections::BTreeMap;
use std::time::Duration;

use switchyard_core::{ContainerId, CurrentOwner, Health, Local, PodTime, Reason, RemoteState, Unit, View};

use crate::world::PodReport;

/// Restarts for a pod that knocks that follow each other within this are one attempt after the other.
const TOGETHER: Duration = Duration::from_mins(2);
/// So many of them may follow at once: an operator may change his mind, and a pod may knock again.
const FREE: u32 = 3;
/// The longest pause between two of them.
const PAUSE_MAX: Duration = Duration::from_mins(5);

/// One instance.
#[derive(Debug, Default)]
pub(crate) struct Track {
    /// Not all has been seen to yet: the last look was no time for it, or there was none.
    pub(crate) unsettled: bool,
    /// A restart is under way.
    pub(crate) restarting: bool,
    /// The image of this container is being made the local one.
    pub(crate) going_native: bool,
    /// When to look again although nothing happened.
    pub(crate) due: Option<Duration>,
    /// Whether the node is to have the feature's label for this instance's sake.
    pub(crate) label: Option<bool>,
    /// Which pod that asks was last said to be kept out, and why.
    pub(crate) told: Option<(Option<ContainerId>, Reason)>,
    /// Who runs it, as was last told.
    pub(crate) owner: Option<CurrentOwner>,
    /// The same as it is kept for the agent's next life.
    pub(crate) owner_kept: Option<CurrentOwner>,
    /// Why the unit was restarted; nothing once it has come of it what may.
    pub(crate) restarted_for: Option<Reason>,
    /// The trouble that was last said.
    pub(crate) trouble: Option<String>,
    /// Since when pods run that do not ask, or with another state of the hand-shake do not take their turn.
    pub(crate) frozen_since: Option<(RemoteState, Duration)>,
    /// A pod ran last in the unit, or was waited for there.
    pub(crate) pod_ran: bool,
    /// When the image may be tried to be made the local one again.
    pub(crate) native_from: Duration,
    in_charge: Option<InCharge>,
    /// What the cluster says of containers.
    health: BTreeMap<ContainerId, Told>,
    /// Since when server and kubelet are there to tell.
    tells_since: Option<Duration>,
    /// How often in a row pods that did not ask were started again.
    wakes: u32,
    last_knock: Option<Duration>,
    knocks: u32,
}

/// What the cluster says of one container.
#[derive(Debug, Clone, Copy)]
struct Told {
    ready: bool,
    since: Duration,
    /// It was ready once, whatever it is now.
    was_ready: bool,
}

#[derive(Debug)]
struct InCharge {
    id: ContainerId,
    since: Duration,
    native: bool,
}

impl Track {
    /// The pod in charge is this one, as far as is known since then.
    pub(crate) fn pod(&mut self, id: &ContainerId, now: Duration) -> PodTime {
        if self.in_charge.as_ref().is_none_or(|pod| !pod.id.same_as(id)) {
            self.in_charge = Some(InCharge { id: id.clone(), since: now, native: false });
        }
        let (since, native) = self.in_charge.as_ref().map_or((now, false), |pod| (pod.since, pod.native));
        let told = self.health.iter().find(|(other, _)| other.same_as(id));
        // Before it was in charge it waited, and was not ready for good reason.
        let health = told.map_or(Health::Unknown, |(_, told)| {
            let lasts = now.saturating_sub(told.since.max(since));
            if told.ready { Health::Ready(lasts) } else { Health::Unready(lasts) }
        });
        let was_ready = told.is_some_and(|(_, told)| told.was_ready);
        let told = self.tells_since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        PodTime { running: now.saturating_sub(since), health, was_ready, told, native }
    }

    /// No pod is in charge.
    pub(crate) fn no_pod(&mut self) {
        self.in_charge = None;
    }

    /// The image of the pod in charge is the local one now.
    pub(crate) fn is_native(&mut self) {
        if let Some(pod) = &mut self.in_charge {
            pod.native = true;
        }
    }

    /// What is seen of the unit's run. Of one that is over nothing is learnt.
    pub(crate) fn ran(&mut self, view: &View, unit: Unit) {
        let waits = view.row.current_owner == CurrentOwner::None && view.is_up();
        if view.local == Local::Running {
            self.pod_ran = false;
        } else if view.pod_in_charge().is_some() || (unit == Unit::Active && waits) {
            self.pod_ran = true;
        }
    }

    /// A unit that would wait for systemd's delay is started now. How its run goes is its own matter until a pod is
    /// seen in it again: one whose start fails must meet that delay, and systemd's limit.
    pub(crate) fn hurried(&mut self) {
        self.pod_ran = false;
    }

    /// What the cluster says of all containers.
    pub(crate) fn reports(&mut self, reports: &[PodReport], now: Duration) {
        let known = std::mem::take(&mut self.health);
        for report in reports {
            let before = known.get(&report.id);
            let since = before.filter(|told| told.ready == report.ready).map_or(now, |told| told.since);
            let was_ready = report.ready || before.is_some_and(|told| told.was_ready);
            self.health.insert(report.id.clone(), Told { ready: report.ready, since, was_ready });
        }
    }

    /// Whether server and kubelet are there to tell of containers.
    pub(crate) fn tells(&mut self, tells: bool, now: Duration) {
        self.tells_since = tells.then(|| self.tells_since.unwrap_or(now));
    }

    /// Nobody waits frozen. One that asks, or runs, shows that waking helped.
    pub(crate) fn not_frozen(&mut self, view: &View) {
        self.frozen_since = None;
        if view.row.remote_state != RemoteState::None {
            self.wakes = 0;
        }
    }

    /// Since when pods are frozen. One that asked and was given its turn has all the time to take it.
    pub(crate) fn frozen_from(&mut self, state: RemoteState, now: Duration) -> Duration {
        let known = self.frozen_since.filter(|(before, _)| *before == state);
        self.frozen_since.insert(known.unwrap_or((state, now))).1
    }

    /// How long a pod may not ask before it is started again. One that freezes again and again has a reason of its own,
    /// such as an image that the switch has anyway.
    pub(crate) fn frozen_patience(&self, patience: Duration) -> Duration {
        PAUSE_MAX.max(patience).min(patience * 2u32.pow(self.wakes.min(10)))
    }

    /// Those that are frozen are started again.
    pub(crate) fn wakes_frozen(&mut self) {
        self.frozen_since = None;
        self.wakes = self.wakes.saturating_add(1);
    }

    /// Whether a restart may begin now, or when. Of those for a pod that knocks each that follows too soon on others
    /// waits longer: one that knocks and dies must not keep a unit going round. The operator's word and the way home
    /// are not kept waiting.
    pub(crate) fn may_restart(&mut self, reason: Reason, now: Duration) -> Result<(), Duration> {
        let Some(last) = self.last_knock.filter(|_| reason == Reason::PodKnocks) else { return Ok(()) };
        if now.saturating_sub(last) >= TOGETHER.max(self.pause()) {
            self.knocks = 0;
        }
        let from = last + self.pause();
        if now >= from { Ok(()) } else { Err(from) }
    }

    /// A restart begins.
    pub(crate) fn restarts(&mut self, reason: Reason, now: Duration) {
        self.restarting = true;
        self.restarted_for = Some(reason);
        match reason {
            Reason::PodKnocks => {
                self.last_knock = Some(now);
                self.knocks = self.knocks.saturating_add(1);
            }
            // What happened before the operator's word is no omen for what comes after it.
            Reason::OwnerChangedToLocal => self.knocks = 0,
            _ => {}
        }
    }

    fn pause(&self) -> Duration {
        let doublings = self.knocks.saturating_sub(FREE);
        if doublings == 0 {
            Duration::ZERO
        } else {
            PAUSE_MAX.min(Duration::from_secs(5) * 2u32.pow(doublings.min(6) - 1))
        }
    }

    /// Looks again at this time at the latest.
    pub(crate) fn due(&mut self, at: Duration) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ContainerId {
        ContainerId::parse(text).unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_a_pod_was_and_how_long_somebody_has_told_of_it_is_kept() {
        let mut track = Track::default();
        let says = |track: &mut Track, ready, at| track.reports(&[PodReport { id: id("a"), ready }], at);
        track.tells(true, seconds(0));
        says(&mut track, false, seconds(0));
        let pod = track.pod(&id("a"), seconds(0));
        assert_eq!((pod.was_ready, pod.told), (false, seconds(0)));
        says(&mut track, true, seconds(110));
        says(&mut track, false, seconds(200));
        track.tells(true, seconds(200));
        let pod = track.pod(&id("a"), seconds(210));
        assert_eq!((pod.was_ready, pod.told, pod.health), (true, seconds(210), Health::Unready(seconds(10))));
        track.tells(false, seconds(400));
        assert_eq!(track.pod(&id("a"), seconds(500)).told, seconds(0));
        // The kubelet is back, and says so still.
        track.tells(true, seconds(510));
        says(&mut track, false, seconds(510));
        assert_eq!(track.pod(&id("a"), seconds(530)).told, seconds(20));
    }

    #[test]
    fn the_time_that_a_pod_waited_for_its_turn_is_not_held_against_it() {
        let mut track = Track::default();
        track.reports(&[PodReport { id: id("a"), ready: false }], seconds(10));
        let pod = track.pod(&id("a"), seconds(100));
        assert_eq!((pod.running, pod.health), (seconds(0), Health::Unready(seconds(0))));
        let pod = track.pod(&id("a"), seconds(130));
        assert_eq!((pod.running, pod.health), (seconds(30), Health::Unready(seconds(30))));
        track.reports(&[PodReport { id: id("a"), ready: true }], seconds(140));
        assert_eq!(track.pod(&id("a"), seconds(150)).health, Health::Ready(seconds(10)));
        track.reports(&[PodReport { id: id("a"), ready: true }], seconds(155));
        assert_eq!(
            track.pod(&id("a"), seconds(160)).health,
            Health::Ready(seconds(20)),
            "it has been since 140"
        );
        track.reports(&[], seconds(160));
        assert_eq!(track.pod(&id("a"), seconds(160)).health, Health::Unknown);
        assert_eq!(track.pod(&id("b"), seconds(160)).running, seconds(0), "another pod begins anew");
    }

    #[test]
    fn restarts_that_follow_each_other_wait_longer_and_longer_and_a_quiet_while_forgives() {
        let mut track = Track::default();
        let mut now = seconds(1000);
        for _ in 0..=FREE {
            assert_eq!(track.may_restart(Reason::PodKnocks, now), Ok(()));
            track.restarts(Reason::PodKnocks, now);
        }
        let mut pauses = Vec::new();
        for _ in 0..4 {
            let from = track.may_restart(Reason::PodKnocks, now).unwrap_err();
            pauses.push(from.saturating_sub(now));
            now = from;
            assert_eq!(track.may_restart(Reason::PodKnocks, now), Ok(()));
            track.restarts(Reason::PodKnocks, now);
        }
        assert_eq!(pauses, [5, 10, 20, 40].map(seconds));
        now += PAUSE_MAX;
        assert_eq!(track.may_restart(Reason::PodKnocks, now), Ok(()));
        track.restarts(Reason::PodKnocks, now);
        assert_eq!(track.may_restart(Reason::PodKnocks, now), Ok(()), "forgiven");
    }

    #[test]
    fn neither_the_operator_s_word_nor_the_way_home_waits_for_knocks() {
        let mut track = Track::default();
        let now = seconds(1000);
        (0..9).for_each(|_| track.restarts(Reason::PodKnocks, now));
        assert!(track.may_restart(Reason::PodKnocks, now).is_err());
        for reason in [Reason::PodNotReady, Reason::PodNeverCame, Reason::OwnerChangedToLocal] {
            assert_eq!(track.may_restart(reason, now), Ok(()));
            track.restarts(reason, now);
        }
        assert_eq!(track.may_restart(Reason::PodKnocks, now), Ok(()), "a new word, a new beginning");
    }
}
