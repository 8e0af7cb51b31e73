//! The agent dies, killed, at every step of what it does: the next one carries on, and all ends where it was meant to.
//!
//! The moments are told by what others can see, the rows above all: Redis's own `MONITOR` shows a write as it is made, and
//! the agent is dead a few milliseconds later.

use std::thread;

use anyhow::{Result, anyhow, ensure};

use super::member::{
    Delivery, JOIN_MAX, KNOBS, LOCAL, Member, NEWER, SOON, TIERS, in_both_tiers, with_knobs,
};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Switch;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "killed: the agent in the middle of a switchover and of a fallback, and both end as they were meant to",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| {
            with_mortal_agent(switch, |member| {
                in_switchover(member, "telemetry", &[Moment::Down])?;
                in_fallback(member, "snmp", &[Moment::GivenUp])
            })
        },
    },
    Scenario {
        name: "killed: the agent at every step of a switchover, both tiers, and each ends with the pod in charge",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| {
            with_mortal_agent(switch, |member| {
                TIERS.into_iter().try_for_each(|feature| in_switchover(member, feature, SWITCHOVER))
            })
        },
    },
    Scenario {
        name: "killed: the agent at every step of a fallback, both tiers, and each ends with the local image",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| {
            with_mortal_agent(switch, |member| {
                TIERS.into_iter().try_for_each(|feature| in_fallback(member, feature, FALLBACK))
            })
        },
    },
    Scenario {
        name: "killed: the agent at every step of the way home by the operator's word, and each ends with the local image",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| {
            with_mortal_agent(switch, |member| {
                TIERS.into_iter().try_for_each(|feature| on_the_way_home(member, feature))
            })
        },
    },
    Scenario {
        name: "killed: the agent before and after each thing that it does in a switchover, a fallback and a way home",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| {
            with_mortal_agent(switch, |member| {
                TIERS.into_iter().try_for_each(|feature| at_fail_points(member, feature))
            })
        },
    },
    Scenario {
        name: "killed: the agent at every step of leaving and of joining, and each ends left and joined",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| with_mortal_agent(switch, joining_and_leaving),
    },
];

/// As a member whose agent is back at once when it was killed, and whose patience is short.
fn with_mortal_agent(switch: &Switch, story: impl FnOnce(&Member<'_>) -> Result<()>) -> Result<()> {
    let knobs =
        KNOBS.replace("\"revert_to_local_on_wait_seconds\": 6", "\"revert_to_local_on_wait_seconds\": 2");
    with_knobs(switch, &knobs, |member| {
        // The agent dies where it is told to in one life only, or it would never get past that place.
        let mortal = format!(
            "[Service]\nRestartSec=100ms\nEnvironmentFile=-{FAIL}\nExecStartPost=/bin/rm -f {FAIL}\n"
        );
        switch.drop_in("ctrmgrd.service", &mortal)?;
        story(member)
    })
}

/// Says to the next life of the agent where it dies.
const FAIL: &str = "/run/agent-fail";

/// What can be seen at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The node label is asked for.
    Labelled,
    /// The pod has asked for its turn.
    Asks,
    /// The unit is on its way down.
    Deactivating,
    /// Nobody owns the feature.
    Down,
    /// The unit is on its way up.
    Activating,
    /// The pod may go on.
    Ready,
    /// The pod is in charge.
    Running,
    /// The pod has gone.
    Stopped,
    /// The local image is in charge.
    Local,
    /// The label is taken back.
    Unlabelled,
    /// The version is written down as failed, or as absent: the pod is waited for no more.
    GivenUp,
}

const SWITCHOVER: &[Moment] = &[
    Moment::Labelled,
    Moment::Asks,
    Moment::Deactivating,
    Moment::Down,
    Moment::Activating,
    Moment::Ready,
    Moment::Running,
];

const FALLBACK: &[Moment] = &[Moment::Stopped, Moment::GivenUp, Moment::Activating, Moment::Local];

const HOME: &[Moment] =
    &[Moment::Unlabelled, Moment::Deactivating, Moment::Down, Moment::Activating, Moment::Local];

impl Moment {
    /// A command that ends when the moment has come.
    fn awaited(self, feature: &str) -> String {
        let row = |fields: &str| written(&format!("\"FEATURE|{feature}\".*{fields}"));
        // A record that stays: the state itself is over in a moment.
        let unit = |word: &str| {
            format!(
                "since=$(date +@%s.%6N); {LISTENS}; grep --quiet --max-count=1 ' {word} ' \
                 <(journalctl --follow --no-tail --since=$since --unit={feature} _PID=1 2> /dev/null)"
            )
        };
        match self {
            Self::Labelled => written(&format!("\"KUBE_LABELS|SET\".*\"{feature}_enabled\" \"true\"")),
            Self::Unlabelled => written(&format!("\"KUBE_LABELS|SET\".*\"{feature}_enabled\" \"false\"")),
            Self::Asks => row("\"remote_state\" \"pending\""),
            Self::Down => row("\"current_owner\" \"none\""),
            Self::Ready => row("\"remote_state\" \"ready\""),
            Self::Running => row("\"remote_state\" \"running\""),
            Self::Stopped => row("\"remote_state\" \"stopped\""),
            Self::GivenUp => row("\"remote_state\" \"none\""),
            Self::Local => row("\"current_owner\" \"local\""),
            Self::Deactivating => unit("Stopping"),
            Self::Activating => unit("Starting"),
        }
    }
}

/// What has been told to wait for a moment says so when it would notice it.
const LISTENS: &str = "touch /run/lab/listens";

/// Ends when somebody sets this in Redis. Redis shows what comes after its first answer.
fn written(pattern: &str) -> String {
    format!(
        "exec 3< <(redis-cli -s /run/redis/redis.sock MONITOR); read -r -u 3; {LISTENS}
         grep --quiet --max-count=1 '\"HSET\" {pattern}' <&3"
    )
}

/// Does something, and kills the agent as soon as a command in the switch has ended that was begun before.
fn kill_agent_when(
    member: &Member<'_>,
    awaited: &str,
    what: &str,
    act: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let switch = member.switch;
    switch.ok("rm -f /run/lab/listens")?;
    let script = format!(
        "timeout {} bash -c '{}' || exit 1
         pid=$(systemctl show --value --property MainPID ctrmgrd)
         [ \"$pid\" != 0 ] && kill -KILL $pid && echo $pid",
        SOON.as_secs(),
        awaited.replace('\'', "'\\''")
    );
    let pid = thread::scope(|scope| {
        let killer = scope.spawn(|| switch.ok(&script));
        let acted = switch.wait_ok("the killer waits", SOON, "test -e /run/lab/listens").and_then(|()| act());
        let pid = killer.join().map_err(|_| anyhow!("the killer panicked"))?;
        acted.and(pid)
    });
    let pid = pid.map_err(|error| error.context(format!("the agent was to be killed at {what}")))?;
    switch.wait_until("another agent runs", SOON, || {
        let now = switch
            .ok("systemctl show --value --property ActiveState --property MainPID ctrmgrd | paste -sd' '")?;
        let is = |wanted: &str| now.split(' ').any(|word| word == wanted);
        Ok(is("active") && !is(&pid))
    })
}

fn in_switchover(member: &Member<'_>, feature: &str, moments: &[Moment]) -> Result<()> {
    member.deliver(&Delivery::of(feature, NEWER))?;
    for moment in moments {
        forget(member, feature)?;
        kill_agent_when(member, &moment.awaited(feature), &format!("{moment:?}"), || {
            member.owner(feature, "kube")
        })?;
        member.is_run_by_pod(feature, NEWER)?;
        member.tell_gap(feature, &format!("in a switchover whose agent was killed at {moment:?}"))?;
        ensure!(member.runs(feature)? == "1", "the payload began {} times", member.runs(feature)?);
        member.owner(feature, "local")?;
        member.is_run_locally(feature, LOCAL)?;
        member.row_becomes(feature, "local none up false")?;
        member.pod_is_gone(feature)?;
    }
    Ok(())
}

fn in_fallback(member: &Member<'_>, feature: &str, moments: &[Moment]) -> Result<()> {
    for moment in moments {
        member.move_to_kube(feature, NEWER)?;
        forget(member, feature)?;
        kill_agent_when(member, &moment.awaited(feature), &format!("{moment:?}"), || {
            member.withdraw(feature)
        })?;
        member.is_run_locally(feature, LOCAL)?;
        member.row_becomes(feature, "local none up true")?;
        member.tell_gap(
            feature,
            &format!("in a fallback whose agent was killed at {moment:?}, 2000 ms of them patience"),
        )?;
        ensure!(member.runs(feature)? == "1", "the payload began {} times", member.runs(feature)?);
    }
    Ok(())
}

fn on_the_way_home(member: &Member<'_>, feature: &str) -> Result<()> {
    for moment in HOME {
        member.move_to_kube(feature, NEWER)?;
        forget(member, feature)?;
        kill_agent_when(member, &moment.awaited(feature), &format!("{moment:?}"), || {
            member.owner(feature, "local")
        })?;
        member.is_run_locally(feature, LOCAL)?;
        member.row_becomes(feature, "local none up false")?;
        member.tell_gap(feature, &format!("on a way home whose agent was killed at {moment:?}"))?;
        ensure!(member.runs(feature)? == "1", "the payload began {} times", member.runs(feature)?);
        member.pod_is_gone(feature)?;
    }
    Ok(())
}

/// Each place at which the agent can die while it does this, by its own list.
fn fail_points(member: &Member<'_>, steps: &[&str]) -> Result<Vec<String>> {
    let listed = member.switch.ok("switchyard agent --fail-points")?;
    let is_of_these = |point: &&str| steps.iter().any(|step| point.split(':').next() == Some(step));
    let points: Vec<_> = listed.lines().filter(is_of_these).map(str::to_owned).collect();
    ensure!(points.len() == 2 * steps.len(), "of {steps:?} the agent knows only {points:?}");
    Ok(points)
}

/// Lets something happen to an agent that dies there.
fn dies_at(member: &Member<'_>, point: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
    let switch = member.switch;
    let since = switch.now()?;
    switch.ok(&format!("echo SWITCHYARD_AGENT_FAIL={point} > {FAIL} && systemctl restart ctrmgrd"))?;
    act()?;
    switch.wait_until(&format!("the agent died at {point}, and another runs"), SOON, || {
        let log = switch.journal_of(&since, "--identifier=switchyard")?;
        let state = switch.ok("systemctl is-active ctrmgrd || true")?;
        Ok(log.contains(&format!("killed at {point}")) && state == "active")
    })
}

fn at_fail_points(member: &Member<'_>, feature: &str) -> Result<()> {
    for point in fail_points(member, &["label", "restart_unit"])? {
        member.deliver(&Delivery::of(feature, NEWER))?;
        dies_at(member, &point, || member.owner(feature, "kube"))?;
        member.is_run_by_pod(feature, NEWER)?;
        member.tell_gap(feature, &format!("in a switchover whose agent died at {point}"))?;
        dies_at(member, &point, || member.owner(feature, "local"))?;
        member.is_run_locally(feature, LOCAL)?;
        member.row_becomes(feature, "local none up false")?;
        member.tell_gap(feature, &format!("on a way home whose agent died at {point}"))?;
        member.pod_is_gone(feature)?;
    }
    for point in fail_points(member, &["give_up", "restart_unit"])? {
        let never = vec!["sh", "-c", "exit 1"];
        member.deliver(&Delivery { ready: Some(never), ..Delivery::of(feature, NEWER) })?;
        member.switch.ok(&format!("system service accept {feature} {NEWER}"))?;
        member.owner(feature, "kube")?;
        member.serves_as(feature, &format!("version={NEWER} owner=-"))?;
        dies_at(member, &point, || Ok(()))?;
        member.is_run_locally(feature, LOCAL)?;
        member.tell_gap(feature, &format!("in a fallback whose agent died at {point}"))?;
        member.owner(feature, "local")?;
        member.row_becomes(feature, "local none up false")?;
        member.pod_is_gone(feature)?;
    }
    Ok(())
}

/// The gaps and starts of before are not counted; the present copy's beginning is.
fn forget(member: &Member<'_>, feature: &str) -> Result<()> {
    member.switch.ok(&format!(": > /run/payload/{feature}.log")).map(drop)
}

/// A line of the row that says how the membership goes.
fn said(text: &str) -> String {
    written(&format!("\"KUBERNETES_MASTER|SERVER\".*{text}"))
}

fn until(condition: &str) -> String {
    format!("{LISTENS}; until {condition}; do :; done")
}

fn joining_and_leaving(member: &Member<'_>) -> Result<()> {
    let switch = member.switch;
    in_both_tiers(member, |member, feature| member.move_to_kube(feature, NEWER))?;
    let leaving = [
        ("the beginning of leaving", said("the switch leaves")),
        ("the kubelet's end", until("[ \"$(systemctl is-active kubelet)\" != active ]")),
        ("the first feature's way home", Moment::Local.awaited("snmp")),
        ("the removal of credentials", until("[ ! -e /etc/kubernetes/kubelet.conf ]")),
    ];
    let joining = [
        (
            "the first of the kubelet's files",
            until("[ -n \"$(ls /etc/kubernetes/*.conf /etc/kubernetes/*.crt 2> /dev/null)\" ]"),
        ),
        ("the kubelet's start", until("[ \"$(systemctl is-active kubelet)\" = active ]")),
        ("the node's certificate", until("[ -e /var/lib/kubelet/pki/kubelet-client-current.pem ]")),
        ("the row that says connected", said("\"connected\" \"true\"")),
    ];
    for ((leave_at, left), (join_at, joined)) in leaving.into_iter().zip(joining) {
        let reset = || {
            switch
                .ok(&format!("switchyard config kubernetes reset --timeout {}", JOIN_MAX.as_secs()))
                .map(drop)
        };
        kill_agent_when(member, &left, leave_at, reset)?;
        switch.wait_text("systemctl is-active kubelet || true", "inactive", SOON)?;
        switch.wait_ok(
            "nothing of the cluster is left",
            SOON,
            "[ ! -e /etc/systemd/system/kubelet.service.d/10-switchyard.conf ] && \
            [ -z \"$(docker ps --quiet --filter label=io.kubernetes.pod.namespace)\" ]",
        )?;
        in_both_tiers(member, |member, feature| member.is_run_locally(feature, LOCAL))?;
        member.is_forgotten()?;
        println!("     left, killed at {leave_at}");

        member.invite()?;
        kill_agent_when(member, &joined, join_at, || member.join())?;
        member.wait_connected(true)?;
        in_both_tiers(member, |member, feature| member.is_run_by_pod(feature, NEWER))?;
        println!("     joined, killed at {join_at}");
    }
    Ok(())
}
