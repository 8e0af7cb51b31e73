//! Versions that come and go, and the switch's own word beside the cluster's: hold and accept, start, stop, enable,
//! disable, one owner after the other.

use anyhow::{Context, Result, ensure};

use super::member::{
    Delivery, HELD, KNOBS, LOCAL, Member, NEWER, NEWEST, SOON, as_member, in_both_tiers, with_knobs,
};
use crate::scenario::{Scenario, SwitchKind};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a new template rolls over by itself, and going back is an update like any other",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, |member| in_both_tiers(member, rolls_over)),
    },
    Scenario {
        name: "under hold a new version waits for system service accept",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, |member| in_both_tiers(member, held)),
    },
    Scenario {
        name: "a feature whose restart takes others with it holds a new version by itself, and says whom it would take",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, holds_for_others),
    },
    Scenario {
        // HLD#1421.
        name: "a pod of the local image's version waits at the gate and takes over at the next ordinary restart",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, |member| in_both_tiers(member, same_as_local)),
    },
    Scenario {
        // BI#14978, BI#15772, HLD#1421.
        name: "a version that ran well goes native: it is what the switch comes home to, and is not fetched twice",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| {
            let knobs = KNOBS.replace(
                "\"tag_latest_image_on_wait_seconds\": 600",
                "\"tag_latest_image_on_wait_seconds\": 2",
            );
            with_knobs(switch, &knobs, goes_native)
        },
    },
    Scenario {
        name: "container id, inspect, exec, logs, wait and kill are about the pod that runs",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, |member| in_both_tiers(member, container_verbs)),
    },
    Scenario {
        name: "disabling a feature that Kubernetes runs takes its label and its pod, and enabling it brings both back",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, |member| in_both_tiers(member, disabled)),
    },
    Scenario {
        // BI#15642.
        name: "system service stop stops the pod at once and drops the label after a while; a restart keeps it",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| {
            // Long enough to look before it is over.
            let knobs = KNOBS.replace("\"label_drop_seconds\": 4", "\"label_drop_seconds\": 20");
            with_knobs(switch, &knobs, |member| in_both_tiers(member, stopped))
        },
    },
    Scenario {
        name: "two features switch over at once",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, two_at_once),
    },
    Scenario {
        name: "an owner that changes ten times in a second ends with the last word and one copy",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, |member| in_both_tiers(member, flipped)),
    },
    Scenario {
        // FIELD.md defect 8.
        name: "a pod that SONiC's own start-up script froze is started again when its turn has come",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| {
            // The pod must outlive the time for which its unit is off.
            let knobs = KNOBS
                .replace("\"frozen_pod_seconds\": 5", "\"frozen_pod_seconds\": 2")
                .replace("\"label_drop_seconds\": 4", "\"label_drop_seconds\": 300");
            with_knobs(switch, &knobs, frozen)
        },
    },
];

fn rolls_over(member: &Member<'_>, feature: &str) -> Result<()> {
    member.move_to_kube(feature, NEWER)?;
    member.deliver(&Delivery::of(feature, NEWEST))?;
    member.is_run_by_pod(feature, NEWEST)?;
    member.tell_gap(feature, "while a new version rolled over")?;
    member.deliver(&Delivery::of(feature, NEWER))?;
    member.is_run_by_pod(feature, NEWER)?;
    member.tell_gap(feature, "while it rolled over and back")
}

fn holds_for_others(member: &Member<'_>) -> Result<()> {
    let switch = member.switch;
    let since = switch.now()?;
    let updates = |feature: &str| {
        let command = "switchyard show feature config";
        switch.ok(&format!("{command} {feature} -o json | jq -r '.[0].kube_update'"))
    };
    for (feature, policy) in [("swss", "hold"), ("snmp", "auto")] {
        let said = updates(feature)?;
        ensure!(said == policy, "the updates of {feature} should be {policy}, and are {said}");
    }
    // Its own image asks nobody.
    let gate = vec!["/usr/bin/switchyard", "gate", "swss", "--", "/usr/bin/lab-payload", "run", "swss"];
    member.deliver(&Delivery { command: Some(gate), ..Delivery::of("swss", NEWER) })?;
    member.owner("swss", "kube")?;
    member.is_kept_out("swss", "Held", HELD)?;
    let said = member.explain("swss", ".updates")?;
    ensure!(
        said.starts_with("hold, it would restart") && said.contains("bgp.service"),
        "explain says {said:?}"
    );
    // Whom it takes is asked of systemd beside the agent's loop.
    switch.wait_until("the log says whom it takes", SOON, || {
        let log = switch.journal_of(&since, "--identifier=switchyard")?;
        let mut lines =
            log.lines().filter(|line| line.contains(HELD) && line.contains("with it would restart"));
        Ok(lines.any(|line| line.contains("bgp.service")))
    })?;
    ensure!(member.runs("swss")? == "0", "it was restarted for a version that is held");

    switch.ok("switchyard config feature update swss auto")?;
    let said = member.explain("swss", ".updates")?;
    ensure!(said.starts_with("auto, as configured"), "explain says {said:?}");
    member.owner("swss", "local")
}

fn held(member: &Member<'_>, feature: &str) -> Result<()> {
    member.move_to_kube(feature, NEWER)?;
    member.switch.ok(&format!("switchyard config feature update {feature} hold"))?;
    member.deliver(&Delivery::of(feature, NEWEST))?;
    member.is_kept_out(feature, "Held", HELD)?;
    member.is_run_locally(feature, LOCAL)?;
    member.tell_gap(feature, "until the local image bridged")?;
    member.switch.ok(&format!("system service accept {feature}"))?;
    member.is_run_by_pod(feature, NEWEST)?;
    member.tell_gap(feature, "until the local image bridged and the accepted version took over")?;

    // The version that runs is no surprise, whatever happens to its pod.
    let runs = member.runs(feature)?;
    member.switch.ok(&format!("docker kill $(container id {feature})"))?;
    member.switch.wait_until("the pod runs again", SOON, || Ok(member.runs(feature)? != runs))?;
    member.is_run_by_pod(feature, NEWEST)
}

fn same_as_local(member: &Member<'_>, feature: &str) -> Result<()> {
    const SAME: &str = "the local image has the same version: the pod waits for the next restart";

    member.deliver(&Delivery::of(feature, LOCAL))?;
    member.owner(feature, "kube")?;
    member.row_becomes(feature, "local pending up true")?;
    member.is_kept_out(feature, "SameAsLocal", SAME)?;
    member.is_run_locally(feature, LOCAL)?;
    ensure!(member.runs(feature)? == "0", "something was restarted for the same version");
    member.switch.ok(&format!("system service restart {feature}"))?;
    member.is_run_by_pod(feature, LOCAL)?;
    member.tell_gap(feature, "while the pod of the same version took over")
}

/// The one after [`NEWEST`].
const LAST: &str = "4.0.0";

fn goes_native(member: &Member<'_>) -> Result<()> {
    let switch = member.switch;
    // Another name, so that the image that came with the switch outlives the story.
    switch.ok("docker tag docker-snmp:latest mine/docker-snmp:original")?;
    let told = lives_natively(member);
    let home = member.owner("snmp", "local").and_then(|()| {
        switch.ok("set -e; docker tag mine/docker-snmp:original docker-snmp:latest
            docker rmi docker-snmp:last mine/docker-snmp:original > /dev/null
            systemctl stop snmp; docker rm -f snmp > /dev/null; system service start snmp")
    });
    told.and(home.map(drop))
}

fn lives_natively(member: &Member<'_>) -> Result<()> {
    let switch = member.switch;
    let feature = "snmp";
    let id = |image: &str| switch.ok(&format!("docker images --no-trunc --quiet {image}"));
    let original = id("docker-snmp:latest")?;
    let names = [NEWER, NEWEST, LAST].map(|version| member.publish(feature, version));
    let names = names.into_iter().collect::<Result<Vec<_>>>()?;
    switch.ok(&format!("docker rmi {} > /dev/null 2>&1 || true", names.join(" ")))?;
    // Written down as they come: Docker remembers only the last 256 events, and each probe makes three.
    switch.ok("systemctl stop story-pulls 2> /dev/null
        systemd-run --quiet --collect --unit=story-pulls sh -c \
          \"exec docker events --since $(date +%s) --filter type=image --filter event=pull > /run/lab/pulls\"")?;
    let native = |version: &str, image: &str| {
        switch.wait_until(&format!("{version} is the local image"), SOON, || {
            let row = switch.ok("sonic-db-cli STATE_DB HGET 'FEATURE|snmp' container_stable_version")?;
            Ok(row == version && id("docker-snmp:latest")? == id(image)?)
        })
    };
    let last_version = "sonic-db-cli STATE_DB HGET 'FEATURE|snmp' container_last_version";

    let local_version = "sonic-db-cli STATE_DB HGET 'KUBE_LABELS|SET' snmp_local";

    switch.wait_text(local_version, LOCAL, SOON)?;
    member.move_to_kube(feature, NEWER)?;
    native(NEWER, &names[0])?;
    // Else SONiC's own start-up script would still take that version for one that is here.
    switch.wait_text(local_version, "", SOON)?;
    ensure!(id("docker-snmp:last")? == original, "the image before it is not kept as last");
    switch.wait_text(last_version, LOCAL, SOON)?;
    for (version, image, before) in [(NEWEST, &names[1], NEWER), (LAST, &names[2], NEWEST)] {
        member.deliver(&Delivery::of(feature, version))?;
        member.is_run_by_pod(feature, version)?;
        native(version, image)?;
        switch.wait_text(last_version, before, SOON)?;
    }
    ensure!(id("docker-snmp:last")? == id(&names[1])?, "the image before the last is not kept as last");
    switch.wait_until("the image before these two is removed", SOON, || Ok(id(&names[0])?.is_empty()))?;

    member.withdraw(feature)?;
    member.is_run_locally(feature, LAST)?;
    member.tell_gap(feature, "until the new local image was back, 6000 ms of them patience")?;
    member.deliver(&Delivery::of(feature, LAST))?;
    member.row_becomes(feature, "local pending up true")?;
    switch.ok("system service restart snmp")?;
    member.is_run_by_pod(feature, LAST)?;
    member.owner(feature, "local")?;
    member.is_run_locally(feature, LAST)?;
    let pulls =
        switch.ok(&format!("systemctl stop story-pulls; grep -c 'docker-snmp:{LAST}' /run/lab/pulls"))?;
    ensure!(pulls == "1", "the image was fetched {pulls} times");
    Ok(())
}

fn container_verbs(member: &Member<'_>, feature: &str) -> Result<()> {
    let switch = member.switch;
    member.move_to_kube(feature, NEWER)?;
    let id = switch.ok(&format!("container id {feature}"))?;
    let name = switch.ok(&format!("container inspect {feature} | jq -r .[0].Name"))?;
    ensure!(name.starts_with(&format!("/k8s_{feature}_{feature}-")), "container inspect is about {name}");
    let version = switch.ok(&format!("container exec {feature} sh -c 'echo $IMAGE_VERSION'"))?;
    ensure!(version == NEWER, "container exec runs in version {version}");
    let logs = switch.ok(&format!("container logs {feature}"))?;
    ensure!(logs.contains("serving on port"), "container logs says {logs:?}");

    let runs = member.runs(feature)?;
    let pod = member.pod(feature)?["metadata"]["uid"].clone();
    let ended = format!("/run/payload/{feature}.waited");
    switch.ok(&format!(
        "systemd-run --quiet --collect --unit=story-wait-{feature} --setenv=SWITCHYARD_LOG=debug \
         sh -c 'container wait {feature}; echo $? > {ended}.new; mv {ended}.new {ended}'"
    ))?;
    let said = format!("journalctl --quiet --unit=story-wait-{feature} | grep -q 'watching until it ends'");
    switch.wait_ok("container wait waits", SOON, &said)?;
    ensure!(!switch.sh(&format!("test -e {ended}"))?.success(), "container wait did not wait");
    switch.ok(&format!("container kill {feature}"))?;
    let code = switch.wait_text(&format!("cat {ended}; rm {ended}"), "0", SOON);
    code.context("container wait has not ended in order")?;
    switch.wait_until("the pod runs again", SOON, || Ok(member.runs(feature)? != runs))?;
    member.is_run_by_pod(feature, NEWER)?;
    member.tell_gap(feature, "after container kill")?;
    let again = switch.ok(&format!("container id {feature}"))?;
    ensure!(again != id, "container id tells of the container that was killed");
    // The kubelet starts its container again: the node label stayed, so nobody took the pod away.
    ensure!(member.pod(feature)?["metadata"]["uid"] == pod, "the pod was deleted and scheduled anew");
    Ok(())
}

fn disabled(member: &Member<'_>, feature: &str) -> Result<()> {
    let switch = member.switch;
    member.move_to_kube(feature, NEWER)?;
    switch.ok(&format!("system service disable {feature}"))?;
    ensure!(!switch.serves(feature)?, "it still serves");
    member.row_becomes(feature, "none stopped down false")?;
    switch.wait_until("the pod is gone", SOON, || Ok(member.pod(feature)?.is_null()))?;
    switch.ok(&format!("system service enable {feature}"))?;
    member.is_run_by_pod(feature, NEWER)?;
    member.tell_gap(feature, "by the operator's word and until the pod was back")
}

fn stopped(member: &Member<'_>, feature: &str) -> Result<()> {
    let switch = member.switch;
    let uid = || Ok::<_, anyhow::Error>(member.pod(feature)?["metadata"]["uid"].to_string());
    member.move_to_kube(feature, NEWER)?;
    let pod = uid()?;
    switch.ok(&format!("system service restart {feature}"))?;
    member.is_run_by_pod(feature, NEWER)?;
    member.tell_gap(feature, "while the unit was restarted")?;
    ensure!(uid()? == pod, "the restart cost the pod");

    switch.ok(&format!("system service stop {feature}"))?;
    ensure!(!switch.serves(feature)?, "it still serves");
    member.row_is(feature, "none stopped down true")?;
    ensure!(uid()? == pod, "the pod went at once");
    member.row_becomes(feature, "none stopped down false")?;
    switch.wait_until("the pod is gone", SOON, || Ok(member.pod(feature)?.is_null()))?;
    ensure!(!switch.serves(feature)?, "it serves although it was stopped");
    switch.ok(&format!("system service start {feature}"))?;
    member.is_run_by_pod(feature, NEWER)
}

fn two_at_once(member: &Member<'_>) -> Result<()> {
    in_both_tiers(member, |member, feature| member.deliver(&Delivery::of(feature, NEWER)).map(drop))?;
    let both = |owner: &str| {
        member.switch.ok(&format!(
            "switchyard config feature owner snmp {owner} & switchyard config feature owner telemetry {owner}; wait"
        ))
    };
    both("kube")?;
    in_both_tiers(member, |member, feature| {
        member.is_run_by_pod(feature, NEWER)?;
        member.tell_gap(feature, "while two moved at once")
    })?;
    both("local")?;
    in_both_tiers(member, |member, feature| {
        member.is_run_locally(feature, LOCAL)?;
        member.tell_gap(feature, "while two came home at once")
    })
}

fn flipped(member: &Member<'_>, feature: &str) -> Result<()> {
    let flip = |owners: [&str; 2]| {
        let one = |owner: &str| {
            format!("sonic-db-cli CONFIG_DB HSET 'FEATURE|{feature}' set_owner {owner}; sleep 0.05;")
        };
        let both = owners.map(one).concat();
        member.switch.ok(&format!("for i in 1 2 3 4 5; do {both} done"))
    };
    member.deliver(&Delivery::of(feature, NEWER))?;
    flip(["local", "kube"])?;
    member.is_run_by_pod(feature, NEWER)?;
    member.tell_gap(feature, "while the owner changed ten times and kube was the last word")?;
    flip(["kube", "local"])?;
    member.is_run_locally(feature, LOCAL)?;
    member.row_becomes(feature, "local none up false")?;
    member.tell_gap(feature, "while it changed ten times more and local was the last word")
}

/// What SONiC's own script does to a pod that finds its unit down (SONIC.md 4.2 row 4), here whenever the story says
/// so: it never looks again.
const FREEZES: &str = "\
    [ -e /run/payload/freeze ] || exec start.sh snmp
    echo frozen
    trap 'exit 143' TERM
    sleep 100000 & wait";

fn frozen(member: &Member<'_>) -> Result<()> {
    let (switch, feature) = (member.switch, "snmp");
    let command = Some(vec!["sh", "-c", FREEZES]);
    member.deliver(&Delivery { command, ..Delivery::of(feature, NEWER) })?;
    member.owner(feature, "kube")?;
    member.is_run_by_pod(feature, NEWER)?;

    switch.ok("touch /run/payload/freeze; systemctl stop snmp")?;
    let pod = "docker ps --quiet --filter label=io.kubernetes.container.name=snmp \
               --filter label=io.kubernetes.docker.type=container";
    let told = switch.wait_ok("the pod is frozen", SOON, &format!("docker logs $({pod}) | grep -qx frozen"));
    switch.ok("rm /run/payload/freeze")?;
    told?;
    switch.ok("system service start snmp")?;
    // The local image may bridge: the kubelet takes its time with a container that ends for the second time.
    member.is_run_by_pod(feature, NEWER)?;
    let log = switch.ok("journalctl --sync; journalctl --quiet --identifier switchyard --lines 100")?;
    let why = "the pod does not ask although its turn has come: it is started again";
    ensure!(log.contains(why), "the log does not say {why:?}");
    member.tell_gap(feature, "with the time for which it was stopped")
}
