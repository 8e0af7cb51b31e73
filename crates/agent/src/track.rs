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
    /// Until when the time that the pod in charge was called not ready is counted.
    counted: Duration,
    /// When the local copy was last seen.
    local_seen: Option<Duration>,
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
    /// For how long in sum, since it was last called ready, somebody was there to tell and called it not ready.
    unready: Duration,
    native: bool,
}

impl Track {
    /// The pod in charge is this one, as far as is known since then.
    pub(crate) fn pod(&mut self, id: &ContainerId, now: Duration) -> PodTime {
        self.count(now);
        let told = said_of(&self.health, id);
        let new = InCharge { id: id.clone(), since: now, unready: Duration::ZERO, native: false };
        let known = self.in_charge.take().filter(|pod| pod.id.same_as(id));
        let pod = self.in_charge.insert(known.unwrap_or(new));
        // Before it was in charge it waited, and was not ready for good reason.
        let health = told.map_or(Health::Unknown, |told| {
            let lasts = now.saturating_sub(told.since.max(pod.since));
            if told.ready { Health::Ready(lasts) } else { Health::Unready(pod.unready) }
        });
        let was_ready = told.is_some_and(|told| told.was_ready);
        let told = self.tells_since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        PodTime { running: now.saturating_sub(pod.since), health, was_ready, told, native: pod.native }
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

    /// What is seen of the unit's run, which has been as it is for so long. Of one that is over nothing is learnt.
    pub(crate) fn ran(&mut self, view: &View, unit: Unit, since: Duration, now: Duration) {
        if view.local == Local::Running {
            self.local_seen = Some(now);
            self.pod_ran = false;
            return;
        }
        // A run in which the local copy was seen ends with it: until systemd has noticed it looks as if it waited.
        let locals = self.local_seen.is_some_and(|seen| seen >= now.saturating_sub(since));
        let waits = view.row.current_owner == CurrentOwner::None && view.is_up();
        if view.pod_in_charge().is_some() || (unit == Unit::Active && waits && !locals) {
            self.pod_ran = true;
        }
    }

    /// We have started the unit anew, or tried to. How this run goes is its own matter until a pod is seen in it: one
    /// whose start fails must meet systemd's delay and its limit.
    pub(crate) fn begins_anew(&mut self) {
        self.pod_ran = false;
    }

    /// What the cluster says of all containers.
    pub(crate) fn reports(&mut self, reports: &[PodReport], now: Duration) {
        self.count(now);
        let known = std::mem::take(&mut self.health);
        for report in reports {
            let before = known.get(&report.id);
            let since = before.filter(|told| told.ready == report.ready).map_or(now, |told| told.since);
            let was_ready = report.ready || before.is_some_and(|told| told.was_ready);
            self.health.insert(report.id.clone(), Told { ready: report.ready, since, was_ready });
        }
        if let Some(pod) = &mut self.in_charge
            && said_of(&self.health, &pod.id).is_some_and(|told| told.ready)
        {
            pod.unready = Duration::ZERO;
        }
    }

    /// Whether server and kubelet are there to tell of containers.
    pub(crate) fn tells(&mut self, tells: bool, now: Duration) {
        self.count(now);
        self.tells_since = tells.then(|| self.tells_since.unwrap_or(now));
    }

    /// The time until now is the pod's in charge, if it was called not ready in it.
    fn count(&mut self, now: Duration) {
        let passed = now.saturating_sub(std::mem::replace(&mut self.counted, now));
        if let Some(pod) = &mut self.in_charge
            && self.tells_since.is_some()
            && said_of(&self.health, &pod.id).is_some_and(|told| !told.ready)
        {
            pod.unready += passed;
        }
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

fn said_of(health: &BTreeMap<ContainerId, Told>, id: &ContainerId) -> Option<Told> {
    health.iter().find(|(other, _)| other.same_as(id)).map(|(_, told)| *told)
}

#[cfg(test)]
mod tests {
    use switchyard_core::{FeatureConfig, FeatureName, FeatureState, Instance, SystemState, Verdict};

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
    fn the_time_in_which_nobody_is_there_to_tell_is_not_held_against_a_pod() {
        let mut track = Track::default();
        let health = |track: &mut Track, at| track.pod(&id("a"), at).health;
        track.tells(true, seconds(0));
        track.reports(&[PodReport { id: id("a"), ready: false }], seconds(0));
        assert_eq!(health(&mut track, seconds(0)), Health::Unready(seconds(0)));
        track.tells(false, seconds(20));
        assert_eq!(health(&mut track, seconds(500)), Health::Unready(seconds(20)));
        track.tells(true, seconds(3600));
        assert_eq!(
            health(&mut track, seconds(3610)),
            Health::Unready(seconds(30)),
            "a server that comes and goes"
        );
        track.reports(&[PodReport { id: id("a"), ready: true }], seconds(3611));
        track.reports(&[PodReport { id: id("a"), ready: false }], seconds(3620));
        assert_eq!(health(&mut track, seconds(3621)), Health::Unready(seconds(1)), "it was ready in between");
    }

    fn view(current_owner: CurrentOwner, local: Local) -> View {
        View {
            instance: Instance::on_host(FeatureName::parse("snmp").unwrap()),
            kubernetes: true,
            server_answers: true,
            config: FeatureConfig::default(),
            row: FeatureState {
                system_state: Some(SystemState::Up),
                current_owner,
                ..FeatureState::default()
            },
            local,
            pods: Vec::new(),
            asker_version: None,
            verdict: Verdict::Welcome,
        }
    }

    /// The unit of a local copy that was stopped by hand was started again without systemd's delay, and past its limit.
    #[test]
    fn the_end_of_a_local_copy_is_not_taken_for_a_pod_s_as_long_as_its_unit_is_up() {
        let mut track = Track::default();
        let nobody = view(CurrentOwner::None, Local::Stopped);
        track.ran(&nobody, Unit::Active, seconds(10), seconds(100));
        assert!(track.pod_ran, "it waits for one");
        track.ran(&view(CurrentOwner::Local, Local::Running), Unit::Busy, seconds(1), seconds(200));
        track.ran(&view(CurrentOwner::Local, Local::Running), Unit::Active, seconds(0), seconds(201));
        track.ran(&nobody, Unit::Active, seconds(60), seconds(261));
        assert!(!track.pod_ran, "the copy that was seen a minute ago has ended");
        track.ran(&nobody, Unit::Active, seconds(1), seconds(300));
        assert!(track.pod_ran, "another run of the unit, which waits");
    }

    #[test]
    fn the_time_that_a_pod_waited_for_its_turn_is_not_held_against_it() {
        let mut track = Track::default();
        track.tells(true, seconds(0));
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
