//! Which versions are let in: what failed here before, what the operator accepted, what waits for his word
//! (DESIGN.md section 4, *Keeping out*, *When to update*, *Fallback*).
//!
//! Versions are not ordered; only what happened on this switch counts. The record is kept on /host by the adapters,
//! since STATE_DB is lost at every boot.

use std::time::Duration;

use crate::{CurrentOwner, Knobs, KubeUpdate, Reason, Version};

/// A record holds no more failed versions than this; the one that failed longest ago is forgotten first.
const REMEMBERED: usize = 16;

/// So many pods of a version in a row may end in order soon after they began, as one does that is evicted or deleted. One
/// more is a pod that does not stay up, whatever its exit code says: the kubelet starts it ever more rarely, and nobody
/// runs in between.
const SHORT_RUNS: u32 = 3;

/// A moment that nobody can set: time since boot, and which boot it was.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Moment {
    /// The kernel's name for this boot.
    pub boot: String,
    /// Time since it, suspended time included.
    pub since_boot: Duration,
}

impl Moment {
    /// How long ago `earlier` was, as far as can be known: what happened before this boot is as old as the boot.
    fn since(&self, earlier: &Self) -> Duration {
        if self.boot == earlier.boot {
            self.since_boot.saturating_sub(earlier.since_boot)
        } else {
            self.since_boot
        }
    }
}

/// Why a pod of a version left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It was taken away, or its image was not to be had: nothing is known against the version.
    Absent,
    /// It ended in order, but before it had run for as long as it takes to be called good.
    EndedSoon,
    /// It ran and died, was unhealthy or never became ready.
    Failed,
}

/// A version that failed here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Failure {
    /// Which one.
    pub version: Version,
    /// How often in a row.
    pub times: u32,
    /// When last.
    pub last: Moment,
}

/// Runs of a version that ended in order and soon.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShortRuns {
    /// Which one.
    pub version: Version,
    /// How many in a row.
    pub times: u32,
}

/// What this switch remembers of the versions of one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Record {
    /// The version that last ran here, whoever ran it.
    pub last_ran: Option<Version>,
    /// The version that the operator let in.
    pub accepted: Option<Version>,
    /// Versions that failed, the oldest first.
    pub failures: Vec<Failure>,
    /// Those of the version that ended last.
    pub short_runs: Option<ShortRuns>,
    /// Who ran it, as people were last told: what changed while nobody was there to tell it is told later.
    pub told_owner: Option<CurrentOwner>,
}

/// Whether a version may take over now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It may.
    Welcome,
    /// It is another version than the one that ran, and the operator wants to be asked.
    Held,
    /// It failed a short while ago: not before this has passed.
    TooSoon(Duration),
    /// It failed too often: not until it is accepted.
    Blocked,
}

impl Verdict {
    /// Why it is kept out; nothing if it is welcome.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Welcome => None,
            Self::Held => Some(Reason::Held),
            Self::TooSoon(_) => Some(Reason::FailedLately),
            Self::Blocked => Some(Reason::Blocked),
        }
    }

    /// When to look again, where time alone changes it.
    pub fn left(self) -> Option<Duration> {
        match self {
            Self::TooSoon(left) => Some(left),
            Self::Welcome | Self::Held | Self::Blocked => None,
        }
    }
}

impl Record {
    /// The verdict on a version that asks now. A failure outweighs the operator's standing word for *hold*: that is
    /// about surprise, not about trust.
    pub fn verdict(&self, version: &Version, policy: KubeUpdate, now: &Moment, knobs: &Knobs) -> Verdict {
        let accepted = self.accepted.as_ref().is_some_and(|accepted| accepted.same_as(version));
        if let Some(failure) = self.failure(version)
            && !accepted
        {
            if failure.times >= knobs.failures_until_blocked {
                return Verdict::Blocked;
            }
            let delay = knobs.delay_after(failure.times);
            if let Some(left) = delay.checked_sub(now.since(&failure.last)).filter(|left| !left.is_zero()) {
                return Verdict::TooSoon(left);
            }
        }
        let known = accepted || self.last_ran.as_ref().is_some_and(|last| last.same_as(version));
        match policy {
            KubeUpdate::Hold if !known => Verdict::Held,
            KubeUpdate::Hold | KubeUpdate::Auto => Verdict::Welcome,
        }
    }

    /// Whether it depends on the policy if this version is let in now. Else nobody need find out which one holds.
    pub fn is_up_to_policy(&self, version: &Version, now: &Moment, knobs: &Knobs) -> bool {
        let verdict = |policy| self.verdict(version, policy, now, knobs);
        verdict(KubeUpdate::Auto) != verdict(KubeUpdate::Hold)
    }

    /// A pod of this version has left.
    pub fn left(&mut self, version: &Version, cause: Cause, now: Moment) {
        let short_runs = match cause {
            Cause::EndedSoon => self.short_runs(version).saturating_add(1),
            Cause::Absent => 0,
            Cause::Failed => self.short_runs(version),
        };
        self.short_runs = (short_runs > 0).then(|| ShortRuns { version: version.clone(), times: short_runs });
        if cause == Cause::Absent || (cause == Cause::EndedSoon && short_runs <= SHORT_RUNS) {
            return;
        }
        let times = self.failure(version).map_or(0, |failure| failure.times).saturating_add(1);
        self.forget(version);
        // An acceptance is for one try: a version that fails again must not come back for ever on an old word.
        self.accepted.take_if(|accepted| accepted.same_as(version));
        self.failures.push(Failure { version: version.clone(), times, last: now });
        let surplus = self.failures.len().saturating_sub(REMEMBERED);
        self.failures.drain(..surplus);
    }

    /// This version has begun to run here. Under *hold* it is no surprise any more.
    pub fn ran(&mut self, version: &Version) {
        self.last_ran = Some(version.clone());
    }

    /// This version has run for as long as it takes to be called good.
    pub fn ran_well(&mut self, version: &Version) {
        self.forget(version);
        self.short_runs = None;
        self.last_ran = Some(version.clone());
    }

    /// The operator lets this version in.
    pub fn accept(&mut self, version: &Version) {
        self.accepted = Some(version.clone());
    }

    fn short_runs(&self, version: &Version) -> u32 {
        self.short_runs.as_ref().filter(|runs| runs.version.same_as(version)).map_or(0, |runs| runs.times)
    }

    fn failure(&self, version: &Version) -> Option<&Failure> {
        self.failures.iter().find(|failure| failure.version.same_as(version))
    }

    fn forget(&mut self, version: &Version) {
        self.failures.retain(|failure| !failure.version.same_as(version));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    fn at(seconds: u64) -> Moment {
        Moment { boot: "a".to_owned(), since_boot: Duration::from_secs(seconds) }
    }

    fn verdict(record: &Record, text: &str, policy: KubeUpdate, seconds: u64) -> Verdict {
        record.verdict(&version(text), policy, &at(seconds), &Knobs::default())
    }

    fn failed(times: u32) -> Record {
        let mut record = Record::default();
        (0..times).for_each(|_| record.left(&version("2"), Cause::Failed, at(100)));
        record
    }

    #[test]
    fn a_version_that_was_merely_absent_is_let_back_at_once() {
        let mut record = Record::default();
        record.left(&version("2"), Cause::Absent, at(100));
        assert_eq!(verdict(&record, "2", KubeUpdate::Auto, 100), Verdict::Welcome);
    }

    /// DESIGN.md promise 2: a pod that crash-loops has failed; many a payload ends with 0 when a part of it dies.
    #[test]
    fn a_version_whose_pods_end_in_order_again_and_again_has_failed() {
        let mut record = Record::default();
        let mut ends = |cause| {
            record.left(&version("2"), cause, at(100));
            verdict(&record, "2", KubeUpdate::Auto, 100)
        };
        for _ in 0..SHORT_RUNS {
            assert_eq!(ends(Cause::EndedSoon), Verdict::Welcome, "it may have been taken away");
        }
        assert_eq!(ends(Cause::Absent), Verdict::Welcome, "it ran for long in between");
        for _ in 0..SHORT_RUNS {
            assert_eq!(ends(Cause::EndedSoon), Verdict::Welcome, "and begins anew");
        }
        assert!(matches!(ends(Cause::EndedSoon), Verdict::TooSoon(_)));
        ends(Cause::EndedSoon);
        assert_eq!(ends(Cause::EndedSoon), Verdict::Blocked, "each more counts");
        record.ran_well(&version("2"));
        record.left(&version("2"), Cause::EndedSoon, at(100));
        assert_eq!(verdict(&record, "2", KubeUpdate::Auto, 100), Verdict::Welcome);
    }

    #[test]
    fn a_version_that_failed_is_let_back_after_a_delay_that_grows_and_then_is_blocked() {
        let knobs = Knobs::default();
        let mut delay = Duration::ZERO;
        for times in 1..knobs.failures_until_blocked {
            let record = failed(times);
            let Verdict::TooSoon(left) = verdict(&record, "2", KubeUpdate::Auto, 100) else {
                panic!("let in at once after {times} failures");
            };
            assert!(left > delay, "the delay does not grow");
            delay = left;
            assert_eq!(verdict(&record, "2", KubeUpdate::Auto, 100 + delay.as_secs()), Verdict::Welcome);
        }
        let record = failed(knobs.failures_until_blocked);
        assert_eq!(verdict(&record, "2", KubeUpdate::Auto, 1_000_000), Verdict::Blocked);
        assert_eq!(verdict(&record, "3", KubeUpdate::Auto, 100), Verdict::Welcome, "another version");
    }

    #[test]
    fn a_blocked_version_comes_in_when_it_is_accepted_and_once_only() {
        let mut record = failed(9);
        record.accept(&version("2"));
        assert_eq!(verdict(&record, "2", KubeUpdate::Auto, 100), Verdict::Welcome);
        record.left(&version("2"), Cause::Failed, at(200));
        assert_eq!(verdict(&record, "2", KubeUpdate::Auto, 200), Verdict::Blocked);
    }

    #[test]
    fn under_hold_only_the_version_that_last_ran_or_was_accepted_comes_in() {
        let mut record = Record::default();
        assert_eq!(verdict(&record, "1", KubeUpdate::Hold, 0), Verdict::Held);
        record.ran_well(&version("1"));
        assert_eq!(verdict(&record, "1", KubeUpdate::Hold, 0), Verdict::Welcome);
        assert_eq!(verdict(&record, "0", KubeUpdate::Hold, 0), Verdict::Held, "going back is an update too");
        record.accept(&version("2"));
        assert_eq!(verdict(&record, "2", KubeUpdate::Hold, 0), Verdict::Welcome);
    }

    #[test]
    fn the_policy_decides_about_a_version_of_which_nothing_else_is_known() {
        let mut record = failed(9);
        record.ran(&version("1"));
        let is_up_to_policy = |text| record.is_up_to_policy(&version(text), &at(100), &Knobs::default());
        assert_eq!(["1", "2", "3"].map(is_up_to_policy), [false, false, true], "ran, is blocked, is new");
    }

    #[test]
    fn running_well_clears_the_name_of_a_version() {
        let mut record = failed(9);
        record.ran_well(&version("2"));
        assert_eq!(verdict(&record, "2", KubeUpdate::Auto, 100), Verdict::Welcome);
    }

    #[test]
    fn a_reboot_neither_forgives_a_failure_nor_holds_it_against_a_version_for_ever() {
        let record = failed(1);
        let after = |seconds| Moment { boot: "b".to_owned(), since_boot: Duration::from_secs(seconds) };
        let verdict =
            |seconds| record.verdict(&version("2"), KubeUpdate::Auto, &after(seconds), &Knobs::default());
        assert!(matches!(verdict(1), Verdict::TooSoon(_)));
        assert_eq!(verdict(3600), Verdict::Welcome);
    }

    #[test]
    fn a_record_does_not_grow_without_end() {
        let mut record = Record::default();
        (0..100).for_each(|n| record.left(&version(&n.to_string()), Cause::Failed, at(n)));
        assert_eq!(record.failures.len(), REMEMBERED);
        assert_eq!(record.failures.last().unwrap().version, version("99"));
    }
}
