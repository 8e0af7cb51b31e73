//! What Kubernetes does to a feature when things go wrong there: the local image goes on, steps in, or is kept out by
//! the operator's word, and every reason is told.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::member::{
    Delivery, KNOBS, LOCAL, Member, NEWER, NEWEST, SOON, as_member, in_both_tiers, with_knobs,
};
use super::moves::told_once;
use crate::scenario::{Scenario, SwitchKind};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "when the manifest is removed and the pod goes, the local image is back after the configured time",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, |member| in_both_tiers(member, manifest_removed)),
    },
    Scenario {
        name: "an image that does not exist leaves the local one running without a gap, and says so",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, |member| in_both_tiers(member, no_such_image)),
    },
    Scenario {
        name: "a version that crashes at once is kept out for a while, then blocked until it is accepted, for one try",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| {
            let knobs =
                KNOBS.replace("\"failed_version_delay_seconds\": 600", "\"failed_version_delay_seconds\": 4");
            with_knobs(switch, &knobs, |member| in_both_tiers(member, crashes_at_once))
        },
    },
    Scenario {
        name: "a pod that ends in order again and again has failed, and the local image is back",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| as_member(switch, |member| in_both_tiers(member, ends_in_order)),
    },
    Scenario {
        name: "a pod that ends with an error when its unit is restarted has not failed, and comes again",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, restarted),
    },
    Scenario {
        // BI#15223.
        name: "a pod that starts and never gets ready has failed, and the local image is back",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, |member| in_both_tiers(member, never_ready)),
    },
    Scenario {
        name: "when a pod that ran crashes later, the local image is back without waiting for another",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, |member| in_both_tiers(member, crashes_later)),
    },
    Scenario {
        name: "a pod that is evicted or deleted comes again, or the local image bridges: never both",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, |member| in_both_tiers(member, evicted)),
    },
    Scenario {
        name: "draining and cordoning its node leave the pod of a feature alone",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, drained),
    },
    Scenario {
        name: "a node label that is removed by hand comes back, and the feature with it",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, |member| in_both_tiers(member, label_removed)),
    },
    Scenario {
        name: "no_fallback_to_local keeps the local image out when the pod is evicted, crashes, or its manifest goes",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| as_member(switch, |member| in_both_tiers(member, fallback_is_forbidden)),
    },
    Scenario {
        name: "a feature that only Kubernetes can run is waited for without end, is disabled and enabled, and leaves only by force",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| as_member(switch, kube_only),
    },
];

/// What `KNOBS` lets pass before the local image steps in, and what a busy machine adds.
const PATIENCE_MS: std::ops::RangeInclusive<u64> = 5_500..=30_000;

const FAILED_LATELY: &str = "the version that asks failed here a short while ago: it is kept out for now";
const BLOCKED: &str = "the version that asks failed here too often: it waits for system service accept";

fn manifest_removed(member: &Member<'_>, feature: &str) -> Result<()> {
    // As SONiC ships it; the way home must not wait for it.
    member.switch.drop_in(&format!("{feature}.service"), "[Service]\nRestartSec=30\n")?;
    member.move_to_kube(feature, NEWER)?;
    member.withdraw(feature)?;
    member.is_run_locally(feature, LOCAL)?;
    member.row_becomes(feature, "local none up true")?;
    member.tell_gap(feature, "until the local image was back, 6000 ms of them patience")?;
    member.gap_is(feature, PATIENCE_MS)?;
    // Written once the container has been started, which may serve before.
    member.switch.wait_until("the history says why", SOON, || {
        Ok(member.history(feature)?.ends_with("PodNeverCame NoPodYet"))
    })?;

    member.deliver(&Delivery::of(feature, NEWER))?;
    member.is_run_by_pod(feature, NEWER)
}

fn no_such_image(member: &Member<'_>, feature: &str) -> Result<()> {
    let since = member.switch.now()?;
    let there = member.publish(feature, NEWER)?;
    let image = there.replace(NEWER, "nonesuch");
    member.deliver(&Delivery { image: Some(image), ..Delivery::of(feature, "9.9.9") })?;
    member.owner(feature, "kube")?;
    member.switch.wait_until("the cluster says that there is no such image", SOON, || {
        let pod = member.pod(feature)?;
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
        Ok(["ErrImagePull", "ImagePullBackOff"].iter().any(|reason| *waiting == **reason))
    })?;
    member.row_becomes(feature, "local none up true")?;
    let now = member.explain(feature, ".next_start")?;
    ensure!(now.contains("no pod has asked yet: the local image bridges"), "explain says {now:?}");
    let shown = format!("switchyard show feature status {feature} -o json | jq -r '.[0].pod_trouble'");
    let trouble = |said: &str| said.contains("ImagePull") && said.contains("nonesuch");
    member.switch.wait_until("it is shown that the pod cannot start", SOON, || {
        Ok(trouble(&member.switch.ok(&shown)?) && trouble(&member.explain(feature, ".pod_trouble")?))
    })?;
    let log = member.switch.journal_of(&since, "--identifier=switchyard")?;
    let of_it =
        |line: &&str| line.contains("the pod cannot start") && line.contains(&format!("feature={feature}"));
    let lines = log.lines().filter(of_it).count();
    ensure!((1..=2).contains(&lines), "that the pod cannot start was logged {lines} times: {log}");
    ensure!(member.runs(feature)? == "0", "the local image was restarted for nothing");
    member.is_run_locally(feature, LOCAL)?;

    member.deliver(&Delivery::of(feature, NEWER))?;
    member.is_run_by_pod(feature, NEWER)?;
    member.switch.wait_text(&shown, "null", SOON)?;
    member.tell_gap(feature, "when the manifest was mended")
}

/// Takes its turn and ends with this code before it has done anything.
fn ends_with<'a>(code: &'a str, feature: &'a str) -> Vec<&'a str> {
    match feature {
        "snmp" => vec![
            "sh",
            "-c",
            "/usr/share/sonic/scripts/container_startup.py -f snmp -o kube -v $IMAGE_VERSION; exit $0",
            code,
        ],
        _ => vec!["/usr/bin/switchyard", "gate", feature, "--", "sh", "-c", "exit $0", code],
    }
}

fn ends_in_order(member: &Member<'_>, feature: &str) -> Result<()> {
    member.deliver(&Delivery { command: Some(ends_with("0", feature)), ..Delivery::of(feature, NEWER) })?;
    member.owner(feature, "kube")?;
    // The kubelet starts it at once, then after ten seconds, twenty, forty; the local image bridges in between.
    let kept_out = || Ok(member.explain(feature, "")?.contains(FAILED_LATELY));
    member.switch.wait_until("its version has failed", SOON * 4, kept_out)?;
    member.is_run_locally(feature, LOCAL)?;
    member.tell_gap(feature, "in the worst of the tries of a version that ends in order")
}

/// Serves as it should, and knows one answer to SIGTERM.
const COMPLAINS: &str = "/usr/bin/lab-payload run telemetry & payload=$!; trap 'kill $payload; wait $payload; exit 1' TERM; wait $payload";

fn restarted(member: &Member<'_>) -> Result<()> {
    let feature = "telemetry";
    let command = vec!["/usr/bin/switchyard", "gate", feature, "--", "sh", "-c", COMPLAINS];
    member.deliver(&Delivery { command: Some(command), ..Delivery::of(feature, NEWER) })?;
    member.owner(feature, "kube")?;
    member.is_run_by_pod(feature, NEWER)?;
    for _ in 0..2 {
        let before = member.runs(feature)?;
        member.switch.ok(&format!("system service restart {feature}"))?;
        member.switch.wait_until("it began anew", SOON, || Ok(member.runs(feature)? != before))?;
        member.is_run_by_pod(feature, NEWER)?;
    }
    let code = "docker ps --all --filter status=exited --filter name=_telemetry- --format '{{.Status}}' | grep -c '(1)'";
    member.switch.ok(code).context("it did not complain")?;
    let failures = member.switch.ok("jq '.failures | length' /host/switchyard/versions/telemetry.json")?;
    ensure!(failures == "0", "{failures} failures are held against it");
    member.tell_gap(feature, "while a pod that ends with an error was restarted")
}

fn crashes_at_once(member: &Member<'_>, feature: &str) -> Result<()> {
    let failures = format!(
        "jq -r '[.failures[]? | \"\\(.version) \\(.times)\"] | join(\",\")' /host/switchyard/versions/{feature}.json 2> /dev/null || true"
    );
    member.deliver(&Delivery { command: Some(ends_with("3", feature)), ..Delivery::of(feature, NEWER) })?;
    member.owner(feature, "kube")?;
    // Its second try comes soon.
    member
        .switch
        .wait_until("its failure is remembered", SOON, || Ok(!member.switch.ok(&failures)?.is_empty()))?;
    member.is_run_locally(feature, LOCAL)?;
    member.switch.wait_text(&failures, &format!("{NEWER} 2"), SOON)?;
    member.is_kept_out(feature, "Blocked", BLOCKED)?;
    member.is_run_locally(feature, LOCAL)?;

    member.switch.ok(&format!("system service accept {feature}"))?;
    member.switch.wait_text(&failures, &format!("{NEWER} 3"), SOON)?;
    member.is_kept_out(feature, "Blocked", BLOCKED)?;
    member.is_run_locally(feature, LOCAL)?;
    member.tell_gap(feature, "in the worst of three tries of a version that crashes at once")?;
    member.gap_is(feature, 0..=PATIENCE_MS.end().to_owned())?;

    member.deliver(&Delivery::of(feature, NEWEST))?;
    member.is_run_by_pod(feature, NEWEST)
}

fn never_ready(member: &Member<'_>, feature: &str) -> Result<()> {
    let since = member.switch.now()?;
    let never = vec!["sh", "-c", "exit 1"];
    member.deliver(&Delivery { ready: Some(never), ..Delivery::of(feature, NEWER) })?;
    member.owner(feature, "kube")?;
    member.is_run_by_pod(feature, NEWER)?;
    member.is_run_locally(feature, LOCAL)?;
    member.is_kept_out(feature, "FailedLately", FAILED_LATELY)?;
    member.tell_gap(feature, "on the way to a pod that never got ready, and back")?;
    let log =
        member.switch.ok("journalctl --sync; journalctl --quiet --identifier switchyard --lines 200")?;
    let why = "restarting its unit: the pod runs and has not been ready for too long";
    ensure!(log.contains(why), "the log does not say {why:?}");
    told_once(member, &since, &format!("{feature} moved from local to kube: a pod asks for its turn"))?;
    let home = "the pod runs and has not been ready for too long: the local image comes back";
    told_once(member, &since, &format!("{feature} fell back from kube to local: {home}"))?;

    member.deliver(&Delivery::of(feature, NEWEST))?;
    member.is_run_by_pod(feature, NEWEST)
}

fn crashes_later(member: &Member<'_>, feature: &str) -> Result<()> {
    member.move_to_kube(feature, NEWER)?;
    member.switch.payload(feature, "crash 3")?;
    member.is_run_locally(feature, LOCAL)?;
    member.is_kept_out(feature, "FailedLately", FAILED_LATELY)?;
    member.tell_gap(feature, "after a pod that crashed")?;
    // Without the patience that a pod has which is only gone.
    member.gap_is(feature, 0..=*PATIENCE_MS.start())?;
    member.switch.ok(&format!("system service accept {feature}"))?;
    member.is_run_by_pod(feature, NEWER)
}

fn evicted(member: &Member<'_>, feature: &str) -> Result<()> {
    member.move_to_kube(feature, NEWER)?;
    let name = |member: &Member<'_>| -> Result<String> {
        let pod = member.pod(feature)?;
        pod["metadata"]["name"].as_str().map(str::to_owned).context("there is no pod")
    };
    let first = name(member)?;
    let eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": { "name": first, "namespace": "sonic" },
    });
    member
        .cluster
        .create_raw(&format!("/api/v1/namespaces/sonic/pods/{first}/eviction"), &eviction.to_string())?;
    member.switch.wait_until("another pod is here", SOON, || Ok(name(member)? != first))?;
    member.is_run_by_pod(feature, NEWER)?;
    member.tell_gap(feature, "after an eviction")?;
    let second = name(member)?;
    member.cluster.kubectl_ok(&["--namespace=sonic", "delete", "pod", &second, "--wait=false"])?;
    member.switch.wait_until("another pod is here", SOON, || Ok(name(member)? != second))?;
    member.is_run_by_pod(feature, NEWER)?;
    member.tell_gap(feature, "after an eviction and a deletion")
}

fn drained(member: &Member<'_>) -> Result<()> {
    in_both_tiers(member, |member, feature| member.move_to_kube(feature, NEWER))?;
    let before = [member.runs("snmp")?, member.runs("telemetry")?];
    let node = member.switch.name();
    member.cluster.kubectl_ok(&["drain", node, "--ignore-daemonsets", "--timeout=30s"])?;
    // Its pods stay; what happens to a drained node's next pod is the DaemonSet's to say: it tolerates.
    in_both_tiers(member, |member, feature| member.is_run_by_pod(feature, NEWER))?;
    let after = [member.runs("snmp")?, member.runs("telemetry")?];
    ensure!(before == after, "the drain restarted something: {before:?} before, {after:?} now");
    member.switch.ok("docker kill $(container id snmp)")?;
    member.switch.wait_until("the pod runs again", SOON, || Ok(member.runs("snmp")? != before[0]))?;
    member.is_run_by_pod("snmp", NEWER)?;
    member.tell_gap("snmp", "after its container was killed on a cordoned node")?;
    member.cluster.kubectl_ok(&["uncordon", node])?;
    member.is_run_by_pod("telemetry", NEWER)
}

fn label_removed(member: &Member<'_>, feature: &str) -> Result<()> {
    member.move_to_kube(feature, NEWER)?;
    let node = member.switch.name();
    let label = format!("{feature}_enabled");
    member.cluster.kubectl_ok(&["label", "node", node, &format!("{label}-")])?;
    let path = format!("--output=jsonpath={{.metadata.labels.{label}}}");
    member.switch.wait_until("the label is back", SOON, || {
        Ok(member.cluster.kubectl_ok(&["get", "node", node, &path])? == "true")
    })?;
    // The DaemonSet may have taken its pod away meanwhile; if so it brings another.
    member.switch.wait_until("a pod is here to stay", SOON, || {
        let pod = member.pod(feature)?;
        Ok(pod["metadata"]["uid"].is_string() && pod["metadata"]["deletionTimestamp"].is_null())
    })?;
    member.is_run_by_pod(feature, NEWER)?;
    member.tell_gap(feature, "after its label was removed by hand")
}

fn fallback_is_forbidden(member: &Member<'_>, feature: &str) -> Result<()> {
    member.switch.ok(&format!("switchyard config feature fallback {feature} off"))?;
    member.move_to_kube(feature, NEWER)?;

    let pod = member.pod(feature)?;
    let name = pod["metadata"]["name"].as_str().context("there is no pod")?;
    member.cluster.kubectl_ok(&["--namespace=sonic", "delete", "pod", name])?;
    member.is_run_by_pod(feature, NEWER)?;

    member.switch.payload(feature, "crash 3")?;
    member.is_kept_out(feature, "FailedLately", FAILED_LATELY)?;
    member.switch.ok(&format!("system service accept {feature}"))?;
    member.is_run_by_pod(feature, NEWER)?;

    member.withdraw(feature)?;
    // The unit is restarted for the pod that went, and then waits.
    member.switch.wait_until("the unit waits for the next pod", SOON, || {
        Ok(member.history(feature)?.ends_with("ContainerEnded PodIsComing"))
    })?;
    member.row_becomes(feature, "none stopped up true")?;
    let unit = format!("systemctl show --value --property MainPID {feature}");
    let waiting = waiter(member, feature)?;
    // Only time can show that time changes nothing.
    sleep(Duration::from_secs(14));
    member.row_is(feature, "none stopped up true")?;
    ensure!(member.switch.ok(&unit)? == waiting, "container wait returned although fallback is forbidden");
    ensure!(!member.switch.serves(feature)?, "somebody runs it");
    let local = member.switch.ok(&format!("docker inspect --format '{{{{.State.StartedAt}}}}' {feature}"))?;
    let now = member.explain(feature, ".now")?;
    ensure!(now.contains("fallback to the local image is off"), "explain says {now:?}");

    member.deliver(&Delivery::of(feature, NEWER))?;
    member.is_run_by_pod(feature, NEWER)?;
    let again = member.switch.ok(&format!("docker inspect --format '{{{{.State.StartedAt}}}}' {feature}"))?;
    ensure!(again == local, "the local image ran in between");
    member.tell_gap(feature, "with fallback forbidden, by the test's own word")?;
    member.switch.ok(&format!("switchyard config feature fallback {feature} on"))?;
    Ok(())
}

/// The process that waits for a pod. The row is written before it is there.
fn waiter(member: &Member<'_>, feature: &str) -> Result<String> {
    member.switch.wait_text(&format!("systemctl is-active {feature} || true"), "active", SOON)?;
    member.switch.ok(&format!("systemctl show --value --property MainPID {feature}"))
}

const PROBE: &str = r#"
name = "probe"
kube_only = true
owner = "kube"
state = "enabled"
scope = ["host"]
restart_delay_seconds = 2

[dependencies]
after = ["database"]
"#;

fn kube_only(member: &Member<'_>) -> Result<()> {
    let switch = member.switch;
    switch.write("/tmp/probe.toml", PROBE)?;
    switch.ok("switchyard generate install /tmp/probe.toml")?;
    let told = kube_only_lives(member);
    let removed = switch.ok("switchyard generate remove --force probe; rm -f /run/payload/probe.*").map(drop);
    told.and(removed)
}

fn kube_only_lives(member: &Member<'_>) -> Result<()> {
    let switch = member.switch;
    member.row_becomes("probe", "none - up true")?;
    let unit = "systemctl show --value --property MainPID probe";
    let waiting = waiter(member, "probe")?;
    // Only time can show that time changes nothing.
    sleep(Duration::from_secs(14));
    member.row_is("probe", "none - up true")?;
    ensure!(switch.ok(unit)? == waiting, "container wait gave up because of time");
    let now = member.explain("probe", ".now")?;
    ensure!(now.ends_with("a pod is waited for"), "explain says {now:?}");

    let gate = vec!["/usr/bin/switchyard", "gate", "probe", "--", "/usr/bin/lab-payload", "run", "probe"];
    let image = Some(member.publish("telemetry", NEWER)?);
    member.deliver(&Delivery { image, command: Some(gate), ..Delivery::of("probe", NEWER) })?;
    member.is_run_by_pod("probe", NEWER)?;
    ensure!(switch.ok(unit)? == waiting, "the unit was restarted to let the pod in");

    switch.ok("docker kill $(container id probe)")?;
    switch.wait_until("the pod runs again", SOON, || Ok(member.runs("probe")? == "2"))?;
    member.is_run_by_pod("probe", NEWER)?;
    member.tell_gap("probe", "after its container was killed")?;

    switch.ok("system service disable probe")?;
    member.row_becomes("probe", "none stopped down false")?;
    switch.wait_gone("probe")?;
    switch.ok("system service enable probe")?;
    member.is_run_by_pod("probe", NEWER)?;

    let refused = switch.refused("switchyard config kubernetes reset")?;
    ensure!(refused.stderr.contains("probe"), "the refusal does not name it: {}", refused.stderr);
    member.is_run_by_pod("probe", NEWER)?;
    switch.ok("switchyard config kubernetes reset --force --timeout 60")?;
    switch.wait_gone("probe")?;
    member.row_becomes("probe", "none stopped up true")?;
    member.invite()?;
    member.join()?;
    member.is_run_by_pod("probe", NEWER)
}
