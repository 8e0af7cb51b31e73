//! The switch, or its way to the server, is in trouble of its own while Kubernetes runs its features: what lives is let
//! live, one copy runs, and all comes right again.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::super::lost::{another_docker, live_restore, require_swss_later};
use super::member::{
    Delivery, HELD, JOIN_MAX, KNOBS, LOCAL, Member, NEWER, NEWEST, SOON, TIERS, as_member, in_both_tiers,
    with_knobs,
};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Boot;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "in trouble: while only the API server is away, for an hour, a healthy pod stays, and that is said once",
        switch: SwitchKind::AloneInCluster,
        long: false,
        run: |switch| {
            // A busy machine takes longer than a second to get a pod ready, which is none of this story's.
            with_knobs(switch, &knobs(&[("revert_to_local_on_wait_seconds", 1)]), server_away)
        },
    },
    Scenario {
        name: "in trouble: what restarts while the API server is away runs locally, and moves when it is back",
        switch: SwitchKind::AloneInCluster,
        long: true,
        run: |switch| as_member(switch, bridges_while_away),
    },
    Scenario {
        name: "in trouble: a switch that was cut off for a week takes the newer version then, or holds it",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| as_member(switch, cut_off_for_a_week),
    },
    Scenario {
        // k3s#1686: a switch that rebooted without its server ran nothing.
        name: "in trouble: a switch that boots without its server runs locally, and its pods wait or take over later",
        switch: SwitchKind::AloneInCluster,
        long: true,
        run: |switch| {
            with_knobs(switch, &knobs(&[("tag_latest_image_on_wait_seconds", 2)]), boots_without_server)
        },
    },
    Scenario {
        name: "in trouble: a warm reboot that is flagged stops the kubelet, and no owner changes until it is over",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, flagged),
    },
    Scenario {
        name: "in trouble: a warm reboot takes along the images of pods in charge, and their pods wait for the next restart",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| as_member(switch, |member| reboots(member, Boot::Warm)),
    },
    Scenario {
        name: "in trouble: a fast reboot takes along the images of pods in charge, and their pods wait for the next restart",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| as_member(switch, |member| reboots(member, Boot::Fast)),
    },
    Scenario {
        name: "in trouble: a power cut with pods in charge ends with pods in charge",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| as_member(switch, power_cut),
    },
    Scenario {
        name: "in trouble: a kubelet that is killed or stopped takes no pod along, and a pod that dies then is bridged",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, kubelet_dies),
    },
    Scenario {
        name: "in trouble: a restart of Docker takes pods along or leaves them, and they are in charge afterwards",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| as_member(switch, docker_restarts),
    },
    Scenario {
        name: "in trouble: rows that Redis lost while pods are in charge come right without touching a pod",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| as_member(switch, rows_are_lost),
    },
    Scenario {
        // BI#19528.
        name: "in trouble: config reload in the middle of a switchover ends with the pod in charge",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| as_member(switch, |member| in_both_tiers(member, reloaded_amid)),
    },
    Scenario {
        name: "in trouble: a local copy that will not stop is killed after its stop time, and the pod takes over",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, |member| in_both_tiers(member, local_hangs)),
    },
    Scenario {
        name: "in trouble: a pod that hangs, with the track lock or without, is killed when the owner is set to local",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| as_member(switch, |member| in_both_tiers(member, pod_hangs)),
    },
];

const SAME: &str = "the local image has the same version: the pod waits for the next restart";

/// [`KNOBS`] with other numbers.
fn knobs(others: &[(&str, u32)]) -> String {
    others.iter().fold(KNOBS.to_owned(), |knobs, (name, number)| {
        let start = knobs.find(name).map_or(0, |at| at + name.len() + 3);
        let end = start + knobs[start..].find([',', '\n']).unwrap_or_default();
        format!("{}{number}{}", &knobs[..start], &knobs[end..])
    })
}

/// Twelve times the patience of this story, as an hour is of SONiC's.
const HOUR: Duration = Duration::from_secs(12);

fn server_away(member: &Member<'_>) -> Result<()> {
    in_both_tiers(member, |member, feature| {
        member.move_to_kube(feature, NEWER)?;
        member.is_told_ready(feature)
    })?;
    member.owner("lldp", "kube")?;
    member.row_becomes("lldp", "local none up true")?;
    let before = lives(member)?;
    let since = member.switch.now()?;
    let away = Instant::now();
    member.cluster.take_server_away()?;
    let told = said(member, HOUR);
    member.cluster.bring_server_back()?;
    told?;
    member.wait_connected(true)?;
    println!(
        "     the server was away for {:.0} s, and was known to be back then",
        away.elapsed().as_secs_f64()
    );
    in_both_tiers(member, |member, feature| member.is_run_by_pod(feature, NEWER))?;
    member.row_is("lldp", "local none up true")?;
    let after = lives(member)?;
    ensure!(after == before, "something was restarted: {before:?} before, {after:?} now");
    let log = member.switch.journal_of(&since, "--identifier=switchyard")?;
    let lost: Vec<&str> = log.lines().filter(|line| line.contains("connected=false")).collect();
    ensure!(
        lost.len() <= 3,
        "losing and finding the server was said in {} lines:\n{}",
        lost.len(),
        lost.join("\n")
    );
    Ok(())
}

/// The server has gone: that is said once, with a reason, and nothing more for so long.
fn said(member: &Member<'_>, away: Duration) -> Result<()> {
    let since = member.switch.now()?;
    member.wait_connected(false)?;
    let reason = member.switch.ok("sonic-db-cli STATE_DB HGET 'KUBERNETES_MASTER|SERVER' reason")?;
    ensure!(!reason.is_empty(), "the row does not say why the switch is not connected");
    // Only time can show that time changes nothing.
    sleep(away);
    let log = member.switch.journal_of(&since, "--identifier=switchyard")?;
    let lines = log.lines().filter(|line| line.contains("cluster: ")).count();
    ensure!(lines <= 1, "that the server is away was said {lines} times:\n{log}");
    Ok(())
}

/// What changes when a payload is restarted, of all features in this story.
fn lives(member: &Member<'_>) -> Result<Vec<String>> {
    TIERS.into_iter().chain(["lldp"]).map(|feature| member.runs(feature)).collect()
}

fn bridges_while_away(member: &Member<'_>) -> Result<()> {
    in_both_tiers(member, |member, feature| member.move_to_kube(feature, NEWER))?;
    member.owner("lldp", "kube")?;
    member.row_becomes("lldp", "local none up true")?;
    member.cluster.take_server_away()?;
    let told = restarts_while_away(member);
    member.cluster.bring_server_back()?;
    told?;
    member.wait_connected(true)?;
    in_both_tiers(member, |member, feature| {
        member.is_run_by_pod(feature, NEWER)?;
        member.tell_gap(feature, "of three hand-overs, two of them around the server's absence")
    })?;
    member.deliver(&Delivery::of("lldp", NEWER))?;
    // The cluster's own controllers come back from its absence in their own time.
    let comes = || Ok(member.pod("lldp")?["spec"]["nodeName"].is_string());
    member.switch.wait_until("the cluster brings a pod", JOIN_MAX, comes)?;
    member.is_run_by_pod("lldp", NEWER)?;
    member.tell_gap("lldp", "after it bridged through the server's absence")
}

fn restarts_while_away(member: &Member<'_>) -> Result<()> {
    member.wait_connected(false)?;
    for feature in ["snmp", "telemetry", "lldp"] {
        member.switch.ok(&format!("system service restart {feature}"))?;
        member.is_run_locally(feature, LOCAL)?;
    }
    // The kubelet starts the pods' containers again without a server. They ask, and wait for it.
    in_both_tiers(member, |member, feature| member.row_becomes(feature, "local pending up true"))?;
    for feature in TIERS {
        let now = member.explain(feature, "")?;
        ensure!(now.contains("server"), "explain does not say that the server is what it waits for: {now}");
    }
    Ok(())
}

/// Cuts the switch off: nothing it sends to the server arrives, and nobody says so.
fn cut_off(member: &Member<'_>, cut: bool) -> Result<()> {
    let invitation = member.cluster.invitation()?;
    let change = if cut { "-I" } else { "-D" };
    member
        .switch
        .ok(&format!(
            "iptables {change} OUTPUT -p tcp -d {} --dport {} -j DROP",
            invitation.address, invitation.port
        ))
        .map(drop)
}

fn cut_off_for_a_week(member: &Member<'_>) -> Result<()> {
    in_both_tiers(member, |member, feature| member.move_to_kube(feature, NEWER))?;
    member.switch.ok("switchyard config feature update snmp hold")?;
    let before = lives(member)?;
    let newest = member.publish("telemetry", NEWEST)?;
    cut_off(member, true)?;
    let meanwhile = member.wait_connected(false).and_then(|()| {
        in_both_tiers(member, |member, feature| member.deliver(&Delivery::of(feature, NEWEST)).map(drop))?;
        ensure!(lives(member)? == before, "something was restarted while the switch was cut off");
        in_both_tiers(member, |member, feature| member.is_run_by_pod(feature, NEWER))
    });
    cut_off(member, false)?;
    meanwhile?;
    member.wait_connected(true)?;
    // The kubelet finds its way back in its own time.
    let comes = || Ok(member.pod("telemetry")?["spec"]["containers"][0]["image"].as_str() == Some(&newest));
    member.switch.wait_until("the cluster brings a newer pod", JOIN_MAX, comes)?;
    member.is_run_by_pod("telemetry", NEWEST)?;
    member.tell_gap("telemetry", "until the newer version had taken over")?;
    member.row_becomes("snmp", "local pending up true")?;
    member.is_run_locally("snmp", LOCAL)?;
    member.is_kept_out("snmp", "Held", HELD)?;
    member.tell_gap("snmp", "until the local image bridged for the held version")?;
    member.switch.ok("system service accept snmp")?;
    member.is_run_by_pod("snmp", NEWEST)
}

fn boots_without_server(member: &Member<'_>) -> Result<()> {
    in_both_tiers(member, |member, feature| {
        member.move_to_kube(feature, NEWER)?;
        let local = format!(
            "docker inspect --format '{{{{.Config.Env}}}}' docker-{feature}:latest | grep -o 'IMAGE_VERSION=[^] ]*'"
        );
        member.switch.wait_text(&local, &format!("IMAGE_VERSION={NEWER}"), SOON)
    })?;
    member.switch.ok("config save -y")?;
    member.cluster.take_server_away()?;
    let booted = boots_locally(member);
    member.cluster.bring_server_back()?;
    booted?;
    member.wait_connected(true)?;
    member.is_kept_out("snmp", "SameAsLocal", SAME)?;
    member.is_run_locally("snmp", NEWER)?;
    member.switch.ok("system service restart snmp")?;
    member.is_run_by_pod("snmp", NEWER)?;
    member.deliver(&Delivery::of("telemetry", NEWEST))?;
    member.is_run_by_pod("telemetry", NEWEST)?;
    in_both_tiers(member, |member, feature| member.tell_gap(feature, "at most, the boot included"))
}

fn boots_locally(member: &Member<'_>) -> Result<()> {
    let begun = Instant::now();
    member.switch.reboot(Boot::Cold)?;
    println!("     booted without a server in {:.1} s", begun.elapsed().as_secs_f64());
    in_both_tiers(member, |member, feature| member.is_run_locally(feature, NEWER))
}

const KUBELET: &str = "systemctl is-active kubelet || true";

fn flagged(member: &Member<'_>) -> Result<()> {
    in_both_tiers(member, |member, feature| member.move_to_kube(feature, NEWER))?;
    let before = lives(member)?;
    let flag = |up: bool| {
        member
            .switch
            .ok(&format!("sonic-db-cli STATE_DB HSET 'WARM_RESTART_ENABLE_TABLE|system' enable {up}"))
    };
    flag(true)?;
    let begun = Instant::now();
    member.switch.wait_text(KUBELET, "inactive", SOON)?;
    println!("     the kubelet stopped {:.1} s after the flag", begun.elapsed().as_secs_f64());
    member.owner("telemetry", "local")?;
    // Only time can show that nothing comes of it.
    sleep(Duration::from_secs(3));
    member.row_is("telemetry", "kube running up true")?;
    ensure!(!member.connected()?, "a switch whose kubelet is stopped is not connected");
    ensure!(lives(member)? == before, "something was restarted amid a reboot");
    flag(false)?;
    member.switch.wait_text(KUBELET, "active", SOON)?;
    member.wait_connected(true)?;
    member.is_run_locally("telemetry", LOCAL)?;
    member.is_run_by_pod("snmp", NEWER)?;
    ensure!(member.runs("snmp")? == before[0], "the kubelet's stop restarted a pod");
    member.tell_gap("telemetry", "on its way there and, when the reboot was over, home")
}

fn reboots(member: &Member<'_>, boot: Boot) -> Result<()> {
    in_both_tiers(member, |member, feature| member.move_to_kube(feature, NEWER))?;
    member.switch.ok("config save -y")?;
    let begun = Instant::now();
    member.switch.reboot(boot)?;
    println!("     booted in {:.1} s", begun.elapsed().as_secs_f64());
    // Nobody lets a pod in before the finalizer is done.
    member.switch.wait_finalized()?;
    member.wait_connected(true)?;
    in_both_tiers(member, |member, feature| {
        member.is_run_locally(feature, NEWER)?;
        member.is_kept_out(feature, "SameAsLocal", SAME)?;
        member.tell_gap(
            feature,
            "at most, the boot included (and what ran before it, if its end was not noted)",
        )?;
        // Before its kubelet has begun again the Node still says what it said before the reboot.
        member.wait_connected(true)?;
        member.switch.ok(&format!("system service restart {feature}"))?;
        member.is_run_by_pod(feature, NEWER)
    })
}

fn power_cut(member: &Member<'_>) -> Result<()> {
    in_both_tiers(member, |member, feature| member.move_to_kube(feature, NEWER))?;
    member.switch.ok("config save -y && sync")?;
    member.switch.crash()?;
    in_both_tiers(member, |member, feature| {
        member.is_run_by_pod(feature, NEWER)?;
        member
            .tell_gap(feature, "at most, the boot included (and what ran before it, whose end nobody noted)")
    })
}

fn kubelet_dies(member: &Member<'_>) -> Result<()> {
    in_both_tiers(member, |member, feature| member.move_to_kube(feature, NEWER))?;
    let before = lives(member)?;
    let heard = || -> Result<String> {
        member.node(".status.conditions[?(@.type==\"Ready\")]['status','lastHeartbeatTime']")
    };
    let last = heard()?;
    member.switch.ok("systemctl kill --kill-who=main --signal=KILL kubelet; systemctl restart kubelet")?;
    // Till the new one is heard of, all is said to be as it was.
    member.switch.wait_until("another kubelet says that the node is Ready", JOIN_MAX, || {
        let now = heard()?;
        Ok(now != last && now.starts_with("True"))
    })?;
    member.wait_connected(true)?;
    in_both_tiers(member, |member, feature| member.is_run_by_pod(feature, NEWER))?;
    ensure!(lives(member)? == before, "the kubelet's death restarted a pod");

    member.switch.ok("systemctl stop kubelet")?;
    member.switch.ok("docker kill $(container id snmp)")?;
    member.is_run_locally("snmp", LOCAL)?;
    member.tell_gap("snmp", "until the local image bridged for a pod that died without a kubelet")?;
    member.is_run_by_pod("telemetry", NEWER)?;
    ensure!(lives(member)?[1] == before[1], "the kubelet's stop restarted a pod");
    member.switch.ok(&format!("systemctl start kubelet; system service accept snmp {NEWER}"))?;
    member.is_run_by_pod("snmp", NEWER)?;
    member.is_run_by_pod("telemetry", NEWER)
}

fn docker_restarts(member: &Member<'_>) -> Result<()> {
    in_both_tiers(member, |member, feature| member.move_to_kube(feature, NEWER))?;
    live_restore(member.switch, true)?;
    let told = docker_comes_back(member);
    live_restore(member.switch, false)?;
    told?;
    require_swss_later(member.switch)?;
    member.switch.ok("systemctl reset-failed; systemctl restart docker")?;
    in_both_tiers(member, |member, feature| {
        member.is_run_by_pod(feature, NEWER)?;
        member.tell_gap(feature, "around a restart of Docker that took all along")
    })
}

fn docker_comes_back(member: &Member<'_>) -> Result<()> {
    let before = lives(member)?;
    for end in ["systemctl restart docker", "kill -KILL $(pidof dockerd)"] {
        another_docker(member.switch, end)?;
        in_both_tiers(member, |member, feature| member.is_run_by_pod(feature, NEWER))?;
        let after = lives(member)?;
        ensure!(after == before, "`{end}` restarted something: {before:?} before, {after:?} now");
    }
    Ok(())
}

fn rows_are_lost(member: &Member<'_>) -> Result<()> {
    in_both_tiers(member, |member, feature| member.move_to_kube(feature, NEWER))?;
    member.owner("lldp", "kube")?;
    member.row_becomes("lldp", "local none up true")?;
    member.switch.ok("config save -y")?;
    let before = lives(member)?;
    for loss in [
        "systemctl restart redis && /usr/lib/lab/database refill",
        "redis-cli -s /run/redis/redis.sock FLUSHALL && /usr/lib/lab/database refill",
        "sonic-db-cli STATE_DB FLUSHDB",
    ] {
        let lost = Instant::now();
        member.switch.ok(loss)?;
        in_both_tiers(member, |member, feature| member.is_run_by_pod(feature, NEWER))?;
        member.row_becomes("lldp", "local none up true")?;
        member.wait_connected(true)?;
        println!("     rows true {:.1} s after `{loss}`", lost.elapsed().as_secs_f64());
        let after = lives(member)?;
        ensure!(after == before, "`{loss}` restarted something: {before:?} before, {after:?} now");
    }
    Ok(())
}

fn reloaded_amid(member: &Member<'_>, feature: &str) -> Result<()> {
    member.owner(feature, "kube")?;
    member.deliver(&Delivery::of(feature, NEWER))?;
    // One of the two is enough: a reload is about all features.
    if feature == TIERS[0] {
        let asks = format!("sonic-db-cli STATE_DB HGET 'FEATURE|{feature}' remote_state");
        member.switch.wait_until("a pod asks", SOON, || Ok(member.switch.ok(&asks)? != "none"))?;
        member.switch.ok("config save -y && config reload -y")?;
        member.switch.wait_features()?;
    }
    member.is_run_by_pod(feature, NEWER)?;
    member.wait_connected(true)?;
    member.tell_gap(feature, "with a config reload in the middle of its switchover")
}

fn local_hangs(member: &Member<'_>, feature: &str) -> Result<()> {
    member.switch.payload(feature, "hang")?;
    member.move_to_kube(feature, NEWER)?;
    let code = member.switch.ok(&format!("docker inspect --format '{{{{.State.ExitCode}}}}' {feature}"))?;
    ensure!(code == "137", "the local copy should have been killed, and ended with {code}");
    let runs = member.runs(feature)?;
    ensure!(runs == "1", "the payload began {runs} times instead of once, as the pod's");
    member.owner(feature, "local")?;
    member.is_run_locally(feature, LOCAL)?;
    member.tell_gap(feature, "on the way home after a copy that had to be killed")
}

fn pod_hangs(member: &Member<'_>, feature: &str) -> Result<()> {
    member.move_to_kube(feature, NEWER)?;
    member.switch.payload(feature, "hang")?;
    let begun = Instant::now();
    member.owner(feature, "local")?;
    member.is_run_locally(feature, LOCAL)?;
    member.row_becomes(feature, "local none up false")?;
    println!(
        "     {feature}: home {:.1} s after the word, from a pod that had to be killed",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}
