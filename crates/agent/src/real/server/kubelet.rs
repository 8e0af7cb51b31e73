//! Whether the kubelet that runs now has said that it is Ready, and for how long it has.
//!
//! A Node keeps the last word of the kubelet before: after a reboot, or the kubelet's restart, it goes on being Ready for
//! some 40 seconds, until the cluster misses its heartbeat. What counts is a heartbeat of this very run.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use switchyard_cluster::Node;
use switchyard_core::Unit;
use switchyard_sonic::UnitStatus;
use tokio::time::Instant;

/// How long a kubelet must have been Ready before labels move. Its loop may rest for 5 s after it became so and only then
/// takes up its first list of pods; one that a dropped label has made unfit by then is refused at the door, nobody looks
/// after it, and its container from before may stay for minutes.
const SETTLED: Duration = Duration::from_secs(10);

/// One run of the kubelet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// When it began, by systemd's own clock: which one it is.
    id: u64,
    /// When it began, by the wall clock as it goes now. The stamp that systemd took is of the clock as it went then, which
    /// after a boot may have been years off.
    began: Timestamp,
    /// When it was looked at.
    seen: Timestamp,
}

impl Run {
    /// The run that is under way, if one is.
    pub(super) fn of(status: &UnitStatus, monotonic: Duration, wall: Timestamp) -> Option<Self> {
        let id = status.since_monotonic;
        let ago = SignedDuration::try_from(monotonic.saturating_sub(Duration::from_micros(id))).ok()?;
        let began = wall.checked_sub(ago).ok()?;
        (status.unit() == Unit::Active).then_some(Self { id, began, seen: wall })
    }
}

/// What is known of the kubelet, and what the Node says of it.
#[derive(Debug, Default)]
pub(super) struct Kubelet {
    run: Option<Run>,
    ready: bool,
    heartbeat: Option<Timestamp>,
    why_not: String,
    /// Since when which run is seen to be Ready.
    since: Option<(u64, Instant)>,
}

impl Kubelet {
    pub(super) fn runs(&mut self, run: Option<Run>) {
        self.run = run;
        self.look();
    }

    pub(super) fn node_seen(&mut self, node: &Node) {
        (self.ready, self.heartbeat) = (node.ready, node.heartbeat);
        self.why_not.clone_from(&node.ready_reason);
        self.look();
    }

    pub(super) fn node_gone(&mut self) {
        (self.ready, self.heartbeat) = (false, None);
        "the cluster has no Node of this name yet".clone_into(&mut self.why_not);
        self.look();
    }

    fn look(&mut self) {
        self.since = match (self.ready_run(), self.since) {
            (Some(run), Some((id, since))) if id == run.id => Some((id, since)),
            (Some(run), _) => Some((run.id, self.ready_since(run))),
            (None, _) => None,
        };
    }

    /// It was Ready when it said so, however much later somebody looks for the first time.
    fn ready_since(&self, run: Run) -> Instant {
        let now = Instant::now();
        let said = self.heartbeat.map(|at| run.seen.duration_since(at));
        let ago = said.and_then(|ago| Duration::try_from(ago).ok()).unwrap_or_default();
        now.checked_sub(ago.min(SETTLED)).unwrap_or(now)
    }

    /// The run that has said by itself that it is Ready. The cluster's stamps are whole seconds.
    fn ready_run(&self) -> Option<Run> {
        let run = self.run.filter(|_| self.ready)?;
        self.heartbeat.filter(|at| at.as_second() >= run.began.as_second()).map(|_| run)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready_run().is_some()
    }

    /// How long labels still have to wait; nothing while it is not Ready.
    pub(super) fn settles_in(&self) -> Option<Duration> {
        self.since.map(|(_, since)| SETTLED.saturating_sub(since.elapsed()))
    }

    /// Why it is not Ready.
    pub(super) fn why_not(&self) -> Option<String> {
        match self.run {
            _ if self.is_ready() => None,
            None => Some("the node is not Ready: the kubelet does not run".to_owned()),
            Some(_) if self.ready => {
                Some("the node is not Ready: the kubelet has just started and has not said so yet".to_owned())
            }
            Some(_) => Some(format!("the node is not Ready: {}", self.why_not)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Duration = Duration::from_secs(1000);

    fn wall(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn status(active: &str, since: Duration) -> UnitStatus {
        let since_monotonic = u64::try_from(since.as_micros()).unwrap();
        UnitStatus { active_state: active.to_owned(), since_monotonic, ..UnitStatus::default() }
    }

    /// One that has run since 12:00:10.7.
    fn run() -> Option<Run> {
        let now = wall("2026-01-01T12:01:10.7Z");
        Run::of(&status("active", UP.saturating_sub(Duration::from_mins(1))), UP, now)
    }

    fn node(ready: bool, heartbeat: &str) -> Node {
        Node { ready, heartbeat: heartbeat.parse().ok(), ..Node::default() }
    }

    /// BI#26341: "connected" was said of a node that was not Ready.
    #[tokio::test]
    async fn what_the_kubelet_before_said_does_not_count() {
        let mut kubelet = Kubelet::default();
        kubelet.node_seen(&node(true, "2026-01-01T12:00:09Z"));
        assert_eq!((kubelet.is_ready(), kubelet.settles_in()), (false, None), "no kubelet is known");
        kubelet.runs(run());
        assert!(!kubelet.is_ready());
        assert!(kubelet.why_not().unwrap().contains("just started"));
        for (ready, heartbeat, expected) in [
            (true, "", false),
            (true, "2026-01-01T12:00:10Z", true),
            (true, "2026-01-01T12:05:00Z", true),
            (false, "2026-01-01T12:05:00Z", false),
        ] {
            kubelet.node_seen(&node(ready, heartbeat));
            assert_eq!(kubelet.is_ready(), expected, "{ready} {heartbeat}");
            assert_eq!(kubelet.why_not().is_none(), expected);
        }
    }

    #[test]
    fn a_clock_that_was_set_since_does_not_make_a_kubelet_young() {
        let status = UnitStatus { since: 4_000_000_000_000_000, ..status("active", Duration::from_secs(10)) };
        let run = Run::of(&status, Duration::from_secs(70), wall("2026-01-01T12:01:00Z")).unwrap();
        assert_eq!(run.began, wall("2026-01-01T12:00:00Z"));
        for state in ["activating", "inactive", "failed", "deactivating"] {
            let status = UnitStatus { active_state: state.to_owned(), ..status.clone() };
            assert_eq!(Run::of(&status, UP, wall("2026-01-01T12:01:00Z")), None, "{state}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn labels_wait_until_a_kubelet_has_been_ready_for_a_while() {
        let mut kubelet = Kubelet::default();
        kubelet.runs(run());
        kubelet.node_seen(&node(true, "2026-01-01T12:01:11Z"));
        assert_eq!(kubelet.settles_in(), Some(SETTLED));
        tokio::time::advance(Duration::from_secs(6)).await;
        kubelet.runs(run());
        kubelet.node_seen(&node(true, "2026-01-01T12:01:21Z"));
        assert_eq!(kubelet.settles_in(), Some(Duration::from_secs(4)), "the same one goes on");
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(kubelet.settles_in(), Some(Duration::ZERO));
        let next = run().map(|run| Run { id: run.id + 1, ..run });
        kubelet.runs(next);
        assert_eq!(kubelet.settles_in(), Some(SETTLED), "another one begins anew");
        kubelet.node_gone();
        assert_eq!(kubelet.settles_in(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_comes_later_need_not_wait_again() {
        let mut kubelet = Kubelet::default();
        kubelet.runs(run());
        kubelet.node_seen(&node(true, "2026-01-01T12:01:05Z"));
        assert_eq!(kubelet.settles_in(), Some(Duration::from_millis(4300)), "it said so 5.7 s before");
        kubelet.node_gone();
        kubelet.node_seen(&node(true, "2026-01-01T12:00:20Z"));
        assert_eq!(kubelet.settles_in(), Some(Duration::ZERO));
    }
}
