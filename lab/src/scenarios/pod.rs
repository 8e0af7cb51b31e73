//! A slice of Kubernetes for stories that need no cluster: containers with the kubelet's labels play pods, and a [`Stage`]
//! does the little that the agent and the API server would have done to the rows. No daemon of ours runs.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::switch::Switch;

/// A feature for each way to ask at the door: SONiC's own start-up call, and our gate.
pub(super) const TIERS: [&str; 2] = ["snmp", "telemetry"];

/// What a step may take on a busy machine; Docker's own grace of 10 s for a container that hangs is in it.
pub(super) const SOON: Duration = Duration::from_mins(1);

/// `revert_to_local_on_wait_seconds` of these stories.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// The version that the lab's own images have, and one that a cluster brings.
pub(super) const LOCAL: &str = "1.0.0";
pub(super) const NEWER: &str = "2.0.0";

const KNOBS: &str = "/etc/sonic/remote_ctr.config.json";

/// Tells a story once for each tier, at the same time, with a server that answers; then the switch has no cluster again.
pub(super) fn in_both_tiers(switch: &Switch, story: fn(&Stage<'_>) -> Result<()>) -> Result<()> {
    in_tiers(switch, &TIERS, story)
}

/// As [`in_both_tiers`], for some of them.
pub(super) fn in_tiers(
    switch: &Switch,
    features: &[&'static str],
    story: fn(&Stage<'_>) -> Result<()>,
) -> Result<()> {
    with_patience(switch, features, PATIENCE, story)
}

/// As [`in_tiers`], with another time after which a pod that is gone is given up.
pub(super) fn with_patience(
    switch: &Switch,
    features: &[&'static str],
    patience: Duration,
    story: fn(&Stage<'_>) -> Result<()>,
) -> Result<()> {
    // What happens without the agent is to be seen.
    switch.ok("systemctl stop ctrmgrd")?;
    server(switch, true)?;
    let knobs = format!("{{\"revert_to_local_on_wait_seconds\": {}}}", patience.as_secs());
    switch.write(KNOBS, &knobs)?;
    let told = thread::scope(|scope| {
        let tellers: Vec<_> = features
            .iter()
            .map(|feature| (feature, scope.spawn(|| Stage { switch, feature }.tell(story))))
            .collect();
        let failed: Vec<String> = tellers
            .into_iter()
            .filter_map(|(feature, teller)| {
                let told = teller.join().unwrap_or_else(|_| Err(anyhow!("the story panicked")));
                told.err().map(|error| format!("{feature}: {error:#}"))
            })
            .collect();
        ensure!(failed.is_empty(), "{}", failed.join("; and "));
        Ok(())
    });
    let tidied = switch.ok(&format!("rm -f {KNOBS}; sonic-db-cli STATE_DB DEL 'KUBERNETES_MASTER|SERVER'"));
    told.and(tidied.map(drop))
}

/// What the agent would write when the API server comes into reach or leaves it.
pub(super) fn server(switch: &Switch, answers: bool) -> Result<()> {
    switch.ok(&format!("sonic-db-cli STATE_DB HSET 'KUBERNETES_MASTER|SERVER' connected {answers}")).map(drop)
}

/// One feature of a switch on which pods may come.
pub(super) struct Stage<'a> {
    pub(super) switch: &'a Switch,
    pub(super) feature: &'static str,
}

impl Stage<'_> {
    fn tell(&self, story: fn(&Stage<'_>) -> Result<()>) -> Result<()> {
        // Only what this story leaves in the logs counts, and nothing that an earlier one taught of its versions.
        let feature = self.feature;
        let cleared = format!(
            ": > /run/payload/{feature}.log; : > /host/switchyard/history/{feature}.jsonl
             rm -f /host/switchyard/versions/{feature}.json"
        );
        let told = self.switch.ok(&cleared).and_then(|_| self.owner("kube")).and_then(|()| story(self));
        let told = told.with_context(|| self.now().unwrap_or_default());
        told.and(self.home().context("it did not come home"))
    }

    /// Puts the feature back into the local image's hands, whatever the story did.
    fn home(&self) -> Result<()> {
        let feature = self.feature;
        self.switch.ok(&format!(
            "rm -f /run/lab-held/{feature}.service
             docker ps --all --quiet --filter label=io.kubernetes.container.name={feature} | xargs -r docker rm --force
             docker ps --all --quiet --filter name=k8s_POD_{feature}- | xargs -r docker rm --force
             sonic-db-cli CONFIG_DB HSET 'FEATURE|{feature}' set_owner local
             sonic-db-cli CONFIG_DB HDEL 'FEATURE|{feature}' no_fallback_to_local"
        ))?;
        self.restart()?;
        self.row_becomes(&format!("local {feature} none up false"))?;
        self.switch.wait_serves(feature)
    }

    /// Chooses the owner. By itself that changes nothing that runs.
    pub(super) fn owner(&self, owner: &str) -> Result<()> {
        self.switch.set_config(self.feature, "set_owner", owner)
    }

    /// Restarts the unit by systemd's own hand, forgetting its start limit first as every planned restart does.
    pub(super) fn restart(&self) -> Result<()> {
        let unit = self.feature;
        self.switch.ok(&format!("systemctl reset-failed {unit}; systemctl restart {unit}")).map(drop)
    }

    /// With the owner kube and no pod, the local image bridges: the ground on which most stories begin.
    pub(super) fn bridge(&self) -> Result<()> {
        self.restart()?;
        self.row_becomes(&format!("local {} none up true", self.feature))?;
        self.runs_locally()
    }

    /// The local image bridges, a pod comes and gets its turn by a restart of the unit.
    pub(super) fn pod_in_charge(&self) -> Result<Pod<'_>> {
        self.bridge()?;
        let pod = self.pod(NEWER)?;
        self.row_becomes(&format!("local {} pending up true", self.feature))?;
        self.restart()?;
        self.is_in_charge(&pod)?;
        Ok(pod)
    }

    /// A pod of that version starts.
    pub(super) fn pod(&self, version: &'static str) -> Result<Pod<'_>> {
        Pod::start(self, version, "", "")
    }

    /// A pod starts whose image asks in another way than the feature's own: by this shell text.
    pub(super) fn pod_that(&self, version: &'static str, script: &str) -> Result<Pod<'_>> {
        Pod::start(self, version, "--entrypoint sh", &format!("-c '{script}'"))
    }

    /// Waits until the pod is recorded as the one that runs, and serves.
    pub(super) fn is_in_charge(&self, pod: &Pod<'_>) -> Result<()> {
        self.row_becomes(&format!("kube {} running up true", pod.id))?;
        self.serves_as(&format!("version={} owner=- container={}", pod.version, pod.id))
    }

    /// Waits until the local image serves.
    pub(super) fn runs_locally(&self) -> Result<()> {
        let id = self.switch.ok(&format!("docker inspect --format '{{{{.Id}}}}' {}", self.feature))?;
        self.serves_as(&format!("version={LOCAL} owner=local container={}", &id[..12]))
    }

    fn serves_as(&self, wanted: &str) -> Result<()> {
        let mut last = String::new();
        self.switch
            .wait_until(&format!("{} serves as {wanted}", self.feature), SOON, || {
                last = self.switch.payload(self.feature, "status")?;
                Ok(last.contains(wanted))
            })
            .with_context(|| format!("it last said {last:?}"))
    }

    /// Waits for what SONIC.md 3.8 lists: owner, container id, hand-shake, the unit's wish, label; `-` for empty.
    pub(super) fn row_becomes(&self, wanted: &str) -> Result<()> {
        self.switch.wait_text(&self.row_script(), wanted, SOON)
    }

    /// Insists on it now.
    pub(super) fn row_is(&self, wanted: &str) -> Result<()> {
        let row = self.switch.ok(&self.row_script())?;
        ensure!(row == wanted, "the row should be {wanted:?}, and is {row:?}");
        Ok(())
    }

    fn row_script(&self) -> String {
        let feature = self.feature;
        format!(
            "{{ sonic-db-cli STATE_DB HMGET 'FEATURE|{feature}' current_owner container_id remote_state system_state
                sonic-db-cli STATE_DB HGET 'KUBE_LABELS|SET' {feature}_enabled; }} | sed 's/^$/-/' | paste -sd' '"
        )
    }

    /// The reasons of the host's decisions in this story, oldest first. Both the unit's stop and its `container wait`
    /// may tell of one stop.
    pub(super) fn history(&self) -> Result<String> {
        self.switch.ok(&format!(
            "system service explain {} -o json | jq -r '.[0].history[].reason' | uniq | paste -sd' '",
            self.feature
        ))
    }

    /// How many milliseconds, at most, nobody ran the payload in this story.
    pub(super) fn gap_ms(&self) -> Result<u64> {
        self.switch.longest_gap_ms(self.feature)
    }

    /// What a reader of a failed story wants to know.
    fn now(&self) -> Result<String> {
        let row = self.switch.ok(&self.row_script())?;
        Ok(format!("with the row {row:?} and the history {:?}", self.history()?))
    }
}

/// A container that the kubelet might have started, with its pod's sandbox beside it.
pub(super) struct Pod<'a> {
    switch: &'a Switch,
    name: String,
    /// As rows have it.
    pub(super) id: String,
    pub(super) version: &'static str,
}

impl<'a> Pod<'a> {
    fn start(stage: &Stage<'a>, version: &'static str, entry: &str, command: &str) -> Result<Pod<'a>> {
        static COUNT: AtomicU32 = AtomicU32::new(1);

        let (switch, feature) = (stage.switch, stage.feature);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let uid = format!("00000000-0000-4000-8000-{number:012}");
        let pod = format!("{feature}-ds-{number}");
        let labels = |container: &str, kind: &str| {
            format!(
                "--label io.kubernetes.container.name={container} --label io.kubernetes.docker.type={kind} \
                 --label io.kubernetes.pod.name={pod} --label io.kubernetes.pod.namespace=sonic \
                 --label io.kubernetes.pod.uid={uid}"
            )
        };
        // The manifest's mounts; with our gate the host's locks too. RUNTIME_OWNER stays unset: that says kube.
        let locks = if feature == "snmp" { "" } else { "--volume /run/switchyard:/run/switchyard" };
        let name = format!("k8s_{feature}_{pod}_sonic_{uid}_0");
        let id = switch.ok(&format!(
            "docker run --detach --net=host --name k8s_POD_{pod}_sonic_{uid}_0 {} --entrypoint sleep \
               docker-{feature}:latest infinity > /dev/null && \
             docker run --detach --net=host --uts=host --name {name} {} --env IMAGE_VERSION={version} \
               --volume /var/run/redis:/var/run/redis --volume /run/payload:/run/payload {locks} {entry} \
               docker-{feature}:latest {command}",
            labels("POD", "podsandbox"),
            labels(feature, "container"),
        ))?;
        Ok(Pod { switch, name, id: id[..12].to_owned(), version })
    }

    /// Ends as a payload that crashed does; the kubelet has not noticed yet.
    pub(super) fn dies(&self) -> Result<()> {
        self.switch.ok(&format!("docker kill {}", self.id)).map(drop)
    }

    /// Whether the container is up, waiting or not.
    pub(super) fn is_up(&self) -> Result<bool> {
        Ok(self.switch.ok(&format!("docker inspect --format '{{{{.State.Running}}}}' {}", self.id))?
            == "true")
    }

    /// Waits until it has said so in its log.
    pub(super) fn says(&self, words: &str) -> Result<()> {
        let command = format!("docker logs {} 2>&1 | grep -qF '{words}'", self.id);
        self.switch
            .wait_ok(&format!("pod {} says {words:?}", self.name), SOON, &command)
            .with_context(|| self.switch.ok(&format!("docker logs {} 2>&1", self.id)).unwrap_or_default())
    }

    /// Whether its payload ever began.
    pub(super) fn has_served(&self) -> Result<bool> {
        Ok(self.switch.ok(&format!("docker logs {} 2>&1", self.id))?.contains("serving on port"))
    }
}
