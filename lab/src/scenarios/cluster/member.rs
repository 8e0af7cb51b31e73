//! A switch that has joined the lab's cluster by its own commands, and features that move there and back.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::switch::Switch;

/// A pull, a start, a probe, a hand-over; Docker's grace for what hangs is in it.
pub(super) const SOON: Duration = Duration::from_mins(1);

/// A join from nothing: certificate, kubelet, Ready.
pub(super) const JOIN_MAX: Duration = Duration::from_mins(2);

/// A feature for each way to ask at the door: SONiC's own start-up call, and our gate.
pub(super) const TIERS: [&str; 2] = ["snmp", "telemetry"];

/// The version that the lab's own images have, and those that the cluster brings.
pub(super) const LOCAL: &str = "1.0.0";
pub(super) const NEWER: &str = "2.0.0";
pub(super) const NEWEST: &str = "3.0.0";

/// Why a version waits that the operator wants to be asked about.
pub(super) const HELD: &str =
    "another version asks and updates are on hold: it waits for system service accept";

const KNOBS_FILE: &str = "/etc/sonic/remote_ctr.config.json";

/// Short enough for a story, long enough to be told apart. A pod that is well is ready within 30 s on a machine that has ten
/// times the work that it is made for, and one that never is has surely been seen in charge by then.
pub(super) const KNOBS: &str = r#"{
    "revert_to_local_on_wait_seconds": 6, "pod_ready_seconds": 30, "frozen_pod_seconds": 5,
    "failed_version_delay_seconds": 600, "failures_until_blocked": 2, "label_drop_seconds": 4,
    "tag_latest_image_on_wait_seconds": 600, "retry_tag_latest_seconds": 2,
    "join_latency_on_boot_seconds": 0, "retry_join_interval_seconds": 1, "retry_labels_update_seconds": 1
}"#;

/// A switch that is a member.
pub(super) struct Member<'a> {
    pub(super) cluster: Cluster,
    pub(super) switch: &'a Switch,
}

/// Tells a story on a member with [`KNOBS`]. It stays a member afterwards; its features are its own again.
pub(super) fn as_member(switch: &Switch, story: impl FnOnce(&Member<'_>) -> Result<()>) -> Result<()> {
    with_knobs(switch, KNOBS, story)
}

/// As [`as_member`], with other numbers.
pub(super) fn with_knobs(
    switch: &Switch,
    knobs: &str,
    story: impl FnOnce(&Member<'_>) -> Result<()>,
) -> Result<()> {
    let member = Member { cluster: Cluster::up()?, switch };
    let told = member.prepare(knobs).and_then(|()| story(&member));
    let told = told.with_context(|| member.now().unwrap_or_default());
    told.and(member.tidy().context("and it was not tidied up"))
}

/// Tells a story once for each tier, at the same time.
pub(super) fn in_both_tiers(
    member: &Member<'_>,
    story: impl Fn(&Member<'_>, &str) -> Result<()> + Sync,
) -> Result<()> {
    let story = &story;
    let failed: Vec<String> = thread::scope(|scope| {
        let tellers = TIERS.map(|feature| (feature, scope.spawn(move || story(member, feature))));
        let ends = tellers.into_iter().map(|(feature, teller)| {
            let told = teller.join().unwrap_or_else(|_| Err(anyhow!("the story panicked")));
            told.err().map(|error| format!("{feature}: {error:#}"))
        });
        ends.flatten().collect()
    });
    ensure!(failed.is_empty(), "{}", failed.join("; and "));
    Ok(())
}

/// The images that this run has published from a switch, by switch, feature and version: each is made once, whatever
/// becomes of the switch's own image since.
static PUBLISHED: Mutex<BTreeMap<[String; 3], String>> = Mutex::new(BTreeMap::new());

/// What the DaemonSet of a feature is like.
pub(super) struct Delivery<'a> {
    /// Of which feature; of a feature of each ASIC, which instance: `bgp0`.
    pub(super) feature: &'a str,
    /// Which version; its image is made and published if the registry has none.
    pub(super) version: &'a str,
    /// Another image, by its whole name: one that does not exist, say.
    pub(super) image: Option<String>,
    /// What runs instead of the image's entry point.
    pub(super) command: Option<Vec<&'a str>>,
    /// The readiness probe's command instead of asking the payload.
    pub(super) ready: Option<Vec<&'a str>>,
}

impl<'a> Delivery<'a> {
    /// A version that is as it should be.
    pub(super) fn of(feature: &'a str, version: &'a str) -> Self {
        Self { feature, version, image: None, command: None, ready: None }
    }
}

impl Member<'_> {
    fn prepare(&self, knobs: &str) -> Result<()> {
        self.settle(knobs)?;
        if !self.connected()? {
            self.invite()?;
            self.join()?;
        }
        Ok(())
    }

    /// As every story begins, on a member or not.
    pub(super) fn settle(&self, knobs: &str) -> Result<()> {
        let switch = self.switch;
        // A shorter history, and nothing that an earlier story learnt.
        switch.ok("rm -f /host/switchyard/versions/*.json; : > /dev/null
            for log in /run/payload/*.log /host/switchyard/history/*.jsonl; do : > \"$log\"; done")?;
        if switch.ok(&format!("cat {KNOBS_FILE} 2> /dev/null || true"))? != knobs {
            switch.write(KNOBS_FILE, knobs)?;
            switch.ok("systemctl restart ctrmgrd")?;
        }
        switch.ok("systemctl start ctrmgrd").map(drop)
    }

    /// Tells the switch which cluster it is to join, but for the address, which would make it join at once.
    pub(super) fn invite(&self) -> Result<()> {
        let invitation = self.cluster.invitation()?;
        self.switch.write("/root/token", &invitation.token)?;
        self.switch.ok(&format!(
            "set -e; chmod 600 /root/token
             switchyard config kubernetes server port {}
             switchyard config kubernetes server token --token-file /root/token
             switchyard config kubernetes server ca-pin {}
             rm /root/token",
            invitation.port, invitation.ca_pin
        ))?;
        Ok(())
    }

    /// Joins and waits until it has.
    pub(super) fn join(&self) -> Result<()> {
        self.switch.ok(&format!(
            "switchyard config kubernetes server ip {} && switchyard config kubernetes join --timeout {}",
            self.cluster.invitation()?.address,
            JOIN_MAX.as_secs()
        ))?;
        Ok(())
    }

    /// Whether the switch says that it is connected.
    pub(super) fn connected(&self) -> Result<bool> {
        Ok(self.switch.ok("sonic-db-cli STATE_DB HGET 'KUBERNETES_MASTER|SERVER' connected")? == "true")
    }

    /// Waits until it says so, or says that it is not.
    pub(super) fn wait_connected(&self, wanted: bool) -> Result<()> {
        let script = "sonic-db-cli STATE_DB HGET 'KUBERNETES_MASTER|SERVER' connected";
        self.switch.wait_text(script, if wanted { "true" } else { "false" }, JOIN_MAX)
    }

    /// Makes the image of a version, publishes it, and gives the name by which switches pull it. The switch keeps none.
    pub(super) fn publish(&self, feature: &str, version: &str) -> Result<String> {
        let key = [self.switch.name(), feature, version].map(str::to_owned);
        let mut published = PUBLISHED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = published.get(&key) {
            return Ok(name.clone());
        }
        let image = self.switch.make_image(feature, version)?;
        let name = self.cluster.publish_from(self.switch, &image, &image)?;
        self.switch.ok(&format!("docker rmi {image} > /dev/null"))?;
        published.insert(key, name.clone());
        Ok(name)
    }

    /// Makes the cluster bring a feature to this switch, or bring it otherwise. Gives the image's name.
    pub(super) fn deliver(&self, delivery: &Delivery<'_>) -> Result<String> {
        let image = match &delivery.image {
            Some(image) => image.clone(),
            None => self.publish(delivery.feature, delivery.version)?,
        };
        self.cluster.apply(&self.daemon_set(delivery, &image).to_string())?;
        Ok(image)
    }

    /// Takes the manifest away.
    pub(super) fn withdraw(&self, feature: &str) -> Result<()> {
        let name = self.set_name(feature);
        self.cluster
            .kubectl_ok(&["--namespace=sonic", "delete", "daemonset", &name, "--ignore-not-found"])
            .map(drop)
    }

    fn set_name(&self, feature: &str) -> String {
        format!("{feature}-{}", self.switch.name())
    }

    /// The same as a static pod, of an image that the switch has.
    pub(super) fn static_pod(&self, delivery: &Delivery<'_>, image: &str) -> Value {
        let mut spec = self.daemon_set(delivery, image)["spec"]["template"]["spec"].take();
        spec["nodeSelector"] = Value::Null;
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": delivery.feature, "namespace": "sonic" },
            "spec": spec,
        })
    }

    fn daemon_set(&self, delivery: &Delivery<'_>, image: &str) -> Value {
        let feature = delivery.feature;
        let (label, asic) = split(feature);
        let ask = vec!["/usr/bin/lab-payload", "send", feature, "status"];
        let mut container = json!({
            "name": feature,
            "image": image,
            "env": [
                { "name": "IMAGE_VERSION", "value": delivery.version },
                { "name": "NAMESPACE_ID", "value": asic },
                { "name": "DEV", "value": asic },
            ],
            "readinessProbe": {
                "exec": { "command": delivery.ready.as_ref().unwrap_or(&ask) },
                "periodSeconds": 1,
                "timeoutSeconds": 5,
            },
            "volumeMounts": [
                { "name": "redis", "mountPath": "/var/run/redis" },
                { "name": "payload", "mountPath": "/run/payload" },
                { "name": "locks", "mountPath": "/run/switchyard" },
            ],
        });
        if let Some(command) = &delivery.command {
            container["command"] = json!(command);
        }
        let host = |name: &str, path: &str| json!({ "name": name, "hostPath": { "path": path } });
        let labels = json!({ "app": self.set_name(feature), "raw_container_name": feature });
        json!({
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": { "name": self.set_name(feature), "namespace": "sonic" },
            "spec": {
                "selector": { "matchLabels": { "app": self.set_name(feature) } },
                "updateStrategy": { "type": "RollingUpdate" },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": {
                        "nodeSelector": {
                            format!("{label}_enabled"): "true",
                            "kubernetes.io/hostname": self.switch.name(),
                        },
                        "hostNetwork": true,
                        "dnsPolicy": "ClusterFirstWithHostNet",
                        "terminationGracePeriodSeconds": 5,
                        "containers": [container],
                        "volumes": [
                            host("redis", &format!("/var/run/redis{asic}")),
                            host("payload", "/run/payload"),
                            host("locks", "/run/switchyard"),
                        ],
                    },
                },
            },
        })
    }

    /// The one pod of a feature here, as the API server tells it; null if there is none, or none that stays.
    pub(super) fn pod(&self, feature: &str) -> Result<Value> {
        let (app, node) = (
            format!("--selector=app={}", self.set_name(feature)),
            format!("spec.nodeName={}", self.switch.name()),
        );
        let list = ["--namespace=sonic", "get", "pods", &app, "--field-selector", &node, "--output=json"];
        let list: Value = serde_json::from_str(&self.cluster.kubectl_ok(&list)?)?;
        let pods = list["items"].as_array().into_iter().flatten();
        let mut staying = pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        Ok(staying.next().cloned().unwrap_or_default())
    }

    /// Says who is to run a feature, as an operator does.
    pub(super) fn owner(&self, feature: &str, owner: &str) -> Result<()> {
        self.switch.ok(&format!("switchyard config feature owner {feature} {owner}")).map(drop)
    }

    /// Delivers a version, hands the feature over and waits until its pod has taken it.
    pub(super) fn move_to_kube(&self, feature: &str, version: &str) -> Result<()> {
        self.deliver(&Delivery::of(feature, version))?;
        self.owner(feature, "kube")?;
        self.is_run_by_pod(feature, version)
    }

    /// Waits until a pod of that version is in charge, recorded and ready.
    pub(super) fn is_run_by_pod(&self, feature: &str, version: &str) -> Result<()> {
        self.row_becomes(feature, "kube running up true")?;
        self.serves_as(feature, &format!("version={version} owner=-"))
    }

    /// Waits until the cluster calls its pod ready: the kubelet tells it a moment after it is so.
    pub(super) fn is_told_ready(&self, feature: &str) -> Result<()> {
        self.switch.wait_until(&format!("the cluster calls the pod of {feature} ready"), SOON, || {
            Ok(self.pod(feature)?["status"]["containerStatuses"][0]["ready"] == true)
        })
    }

    /// Waits until the local image of that version is in charge and recorded; nothing is said of the hand-shake.
    pub(super) fn is_run_locally(&self, feature: &str, version: &str) -> Result<()> {
        self.switch.wait_text(&row_script(feature, "current_owner system_state", false), "local up", SOON)?;
        self.serves_as(feature, &format!("version={version} owner=local"))
    }

    /// Waits until its payload says so.
    pub(super) fn serves_as(&self, feature: &str, wanted: &str) -> Result<()> {
        let mut last = String::new();
        self.switch
            .wait_until(&format!("{feature} serves as {wanted}"), SOON, || {
                last = self.switch.payload(feature, "status")?;
                Ok(last.contains(wanted))
            })
            .with_context(|| format!("it last said {last:?}"))
    }

    /// Waits for owner, hand-shake, the unit's wish, label; `-` for empty.
    pub(super) fn row_becomes(&self, feature: &str, wanted: &str) -> Result<()> {
        self.switch.wait_text(&row(feature), wanted, SOON)
    }

    /// Insists on it now.
    pub(super) fn row_is(&self, feature: &str, wanted: &str) -> Result<()> {
        let row = self.switch.ok(&row(feature))?;
        ensure!(row == wanted, "the row of {feature} should be {wanted:?}, and is {row:?}");
        Ok(())
    }

    /// The reasons of the host's decisions in this story, oldest first.
    pub(super) fn history(&self, feature: &str) -> Result<String> {
        self.switch.ok(&format!(
            "system service explain {feature} -o json | jq -r '.[0].history[].reason' | uniq | paste -sd' '"
        ))
    }

    /// A part of what `system service explain` says, by a jq path below the instance.
    pub(super) fn explain(&self, feature: &str, path: &str) -> Result<String> {
        self.switch.ok(&format!("system service explain {feature} -o json | jq -r '.[0]{path}'"))
    }

    /// Waits until `show kubernetes status` and `system service explain` say so of the pod that is kept out, and the
    /// pod's own condition has the reason's word.
    pub(super) fn is_kept_out(&self, feature: &str, word: &str, sentence: &str) -> Result<()> {
        let why = format!(
            "switchyard show kubernetes status -o json | jq -r '.features[] | select(.name == \"{feature}\") | .why'"
        );
        self.switch.wait_text(&why, sentence, SOON)?;
        let mut last = String::new();
        let condition = |pod: &Value| {
            let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let turn = conditions.into_iter().find(|one| one["type"] == "switchyard.sonic/Turn");
            turn.map(|turn| format!("{} {}", turn["status"], turn["reason"]).replace('"', ""))
                .unwrap_or_default()
        };
        self.switch
            .wait_until(&format!("the pod of {feature} is told {word}"), SOON, || {
                last = condition(&self.pod(feature)?);
                // The version that it brings runs here already.
                let status = if word == "SameAsLocal" { "True" } else { "False" };
                Ok(last == format!("{status} {word}"))
            })
            .with_context(|| format!("its condition was last {last:?}"))?;
        let said = self.explain(feature, "")?;
        ensure!(said.contains(sentence), "explain should say {sentence:?}: {said}");
        Ok(())
    }

    /// Waits until nothing of its pod is left here: one that is on its way out may still ask when its label comes back.
    pub(super) fn pod_is_gone(&self, feature: &str) -> Result<()> {
        let here = format!("docker ps --quiet --filter name=_{}- | wc -l", self.set_name(feature));
        self.switch.wait_text(&here, "0", SOON)
    }

    /// How often the payload has begun in this story.
    pub(super) fn runs(&self, feature: &str) -> Result<String> {
        self.switch.ok(&format!("grep -c ' acquired ' /run/payload/{feature}.log || true"))
    }

    /// Insists on a bound of the longest time without any copy in this story.
    pub(super) fn gap_is(&self, feature: &str, within: std::ops::RangeInclusive<u64>) -> Result<()> {
        let gap = self.switch.longest_gap_ms(feature)?;
        ensure!(within.contains(&gap), "{feature} had no copy for {gap} ms, and that should be {within:?}");
        Ok(())
    }

    /// Prints how long, at most, nobody ran the payload in this story.
    pub(super) fn tell_gap(&self, feature: &str, what: &str) -> Result<()> {
        println!("     {feature}: {} ms without any copy {what}", self.switch.longest_gap_ms(feature)?);
        Ok(())
    }

    /// Every feature is the switch's own again, and the cluster brings none.
    pub(super) fn tidy(&self) -> Result<()> {
        self.switch.ok("systemctl start ctrmgrd; rm -f /host/switchyard/kubernetes/manifests/*
            for key in $(sonic-db-cli CONFIG_DB KEYS 'FEATURE|*'); do
              [ \"$(sonic-db-cli CONFIG_DB HGET \"$key\" set_owner)\" != kube ] ||
                switchyard config feature owner \"${key#FEATURE|}\" local
              sonic-db-cli CONFIG_DB HDEL \"$key\" no_fallback_to_local kube_update > /dev/null
            done")?;
        let here = format!("kubernetes.io/hostname={}", self.switch.name());
        let sets = self.cluster.kubectl_ok(&["--namespace=sonic", "get", "daemonsets", "--output=name"])?;
        let ours = format!("-{}", self.switch.name());
        for set in sets.lines().filter(|set| set.ends_with(&ours)) {
            self.cluster.kubectl_ok(&["--namespace=sonic", "delete", set, "--wait=false"])?;
        }
        self.cluster.kubectl_run(&["uncordon", "--selector", &here])?;
        let containers = "docker ps --quiet --filter label=io.kubernetes.pod.namespace=sonic | wc -l";
        let gone = self.switch.wait_text(containers, "0", SOON);
        // The next story would take an object that lingers for its own.
        let gone = gone.and_then(|()| {
            self.switch.wait_until("no pod is told of", SOON, || Ok(self.pods("name")?.is_empty()))
        });
        gone.with_context(|| {
            let kubelet = "journalctl --quiet --unit kubelet --lines 40 --no-pager --output short-precise";
            let kubelet = self.switch.ok(kubelet).unwrap_or_default();
            let events = ["get", "events", "--namespace=sonic", "--sort-by=.lastTimestamp"];
            let events = self.cluster.kubectl_ok(&events).unwrap_or_default();
            let events: Vec<&str> = events.lines().rev().take(20).collect();
            let (now, pods) = (self.now().unwrap_or_default(), self.pods("wide").unwrap_or_default());
            format!("{now}\n{pods}\n{}\n{kubelet}", events.join("\n"))
        })
    }

    /// All pods of this switch, those on their way out too.
    fn pods(&self, output: &str) -> Result<String> {
        let node = format!("--field-selector=spec.nodeName={}", self.switch.name());
        let output = format!("--output={output}");
        self.cluster.kubectl_ok(&["get", "pods", "--namespace=sonic", "--ignore-not-found", &node, &output])
    }

    /// What a reader of a failed story wants to know.
    pub(super) fn now(&self) -> Result<String> {
        self.switch.ok("echo; for f in snmp telemetry lldp bgp; do
              echo \"$f: $(sonic-db-cli STATE_DB HGETALL \"FEATURE|$f\") $(systemctl is-active $f)\"
              tail -n 6 /host/switchyard/history/$f.jsonl 2> /dev/null | jq -r '[.time,.verb,.from,.to,.reason] | join(\" \")'
            done
            sonic-db-cli STATE_DB HGETALL 'KUBERNETES_MASTER|SERVER'
            docker ps --all --format '{{.Names}} {{.Status}}'
            systemctl --failed --plain --no-legend
            journalctl --quiet --unit 'swss*' --unit docker --lines 25 --no-pager --output short-precise | grep -v level=info
            journalctl --quiet --identifier switchyard --lines 25 --no-pager --output short-precise")
    }
}

/// The feature of an instance, and its ASIC's number if it is one of several.
fn split(instance: &str) -> (&str, &str) {
    instance.split_at(instance.trim_end_matches(|letter: char| letter.is_ascii_digit()).len())
}

/// A command that prints these fields of an instance's row, and its label.
fn row_script(feature: &str, fields: &str, label: bool) -> String {
    let (feature, asic) = split(feature);
    let namespace = if asic.is_empty() { String::new() } else { format!("-n asic{asic}") };
    let label = if label {
        format!("sonic-db-cli STATE_DB HGET 'KUBE_LABELS|SET' {feature}_enabled;")
    } else {
        String::new()
    };
    format!(
        "{{ sonic-db-cli {namespace} STATE_DB HMGET 'FEATURE|{feature}' {fields}; {label} }} | sed 's/^$/-/' | paste -sd' '"
    )
}

fn row(feature: &str) -> String {
    row_script(feature, "current_owner remote_state system_state", true)
}
