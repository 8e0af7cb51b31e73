//! The second part of the demo: two switches join a cluster, and a feature moves there and comes home again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use switchyard_lab::cluster::{Cluster, Part, kubelet};
use switchyard_lab::image::Product;
use switchyard_lab::{Boot, Switch, fleet};

use super::{FEATURE, show};
use crate::deb;

/// A pull, a start, a hand-over; or a way home.
const SOON: Duration = Duration::from_mins(2);

/// So that a reader waits seconds where a switch waits minutes.
const KNOBS: &str = r#"{ "revert_to_local_on_wait_seconds": 6, "failed_version_delay_seconds": 600,
  "join_latency_on_boot_seconds": 0, "retry_join_interval_seconds": 1 }"#;

/// What we ship as an example, made to fit the lab's payload.
const MANIFEST: &str = include_str!("../../../packaging/examples/snmp-daemonset.yaml");

struct Stage {
    cluster: Cluster,
    switches: Vec<Switch>,
}

/// Tells it; `number` is of the last chapter before.
pub(super) fn tell(number: usize) -> Result<()> {
    println!(
        "\nNow a cluster. Kubernetes is built from its Go modules, which takes minutes the first time.\n"
    );
    let cluster = Cluster::up()?;
    let product = Product { deb: Some(deb::build(true)?), kubernetes: true, kubelet: Some(kubelet()?) };
    let stage = Stage { cluster, switches: fleet::up(&product, 2, 1)? };
    for (at, (title, chapter)) in CHAPTERS.iter().enumerate() {
        let number = number + at + 1;
        println!("\n{number}. {title}");
        chapter(&stage).with_context(|| format!("chapter {number}"))?;
    }
    Ok(())
}

type Chapter = (&'static str, fn(&Stage) -> Result<()>);

const CHAPTERS: [Chapter; 6] = [
    ("Two switches join: a token, an address, and they are nodes", |stage| {
        for switch in &stage.switches {
            stage.join(switch)?;
        }
        stage.kubectl(&["get", "nodes"])?;
        show(stage.first()?, "switchyard show kubernetes status")
    }),
    ("A feature moves to Kubernetes: it runs locally until its pod is there", |stage| {
        let switch = stage.first()?;
        stage.deliver("2.0.0", None)?;
        show(switch, &format!("sudo switchyard config feature owner {FEATURE} kube"))?;
        stage.is_run_by("kube", "2.0.0")?;
        show(switch, "container list")?;
        show(switch, &format!("system service explain {FEATURE}"))?;
        println!("   {} ms without any copy.", switch.longest_gap_ms(FEATURE)?);
        Ok(())
    }),
    ("A version comes that crashes: the feature comes home by itself, and the version stays out", |stage| {
        stage.deliver("3.0.0", Some(&["/bin/sh", "-c", CRASHES]))?;
        stage.is_run_by("local", "1.0.0")?;
        show(stage.first()?, "switchyard show kubernetes status")?;
        println!("   The version before is delivered again, and takes over.");
        stage.deliver("2.0.0", None)?;
        stage.is_run_by("kube", "2.0.0")
    }),
    ("The cluster is cut off: the pod keeps running", |stage| {
        stage.cluster.stop(Part::ApiServer)?;
        let switch = stage.first()?;
        switch.wait_ok(
            "the switch to notice",
            SOON,
            "switchyard show kubernetes status | grep -q 'Connected: no'",
        )?;
        ensure!(switch.serves(FEATURE)?, "the pod went with the cluster");
        show(switch, "switchyard show kubernetes status | head -2")?;
        show(switch, "container list")
    }),
    ("The switch reboots without the cluster: its local image runs", |stage| {
        let switch = stage.first()?;
        show(switch, "sudo config save -y")?;
        switch.reboot(Boot::Cold)?;
        stage.is_run_by("local", "1.0.0")?;
        show(switch, &format!("system service explain {FEATURE}"))
    }),
    ("The cluster is back, and its pod takes over", |stage| {
        stage.cluster.start(Part::ApiServer)?;
        stage.is_run_by("kube", "2.0.0")?;
        let switch = stage.first()?;
        show(switch, "container list")?;
        ensure!(switch.contended()?.is_empty(), "two copies of a payload have met");
        println!("   In all of this no payload has ever met a second copy of itself.");
        Ok(())
    }),
];

/// It asks as every image does, and ends as soon as it runs.
const CRASHES: &str =
    "/usr/share/sonic/scripts/container_startup.py -f snmp -o kube -v \"$IMAGE_VERSION\"; exit 3";

impl Stage {
    fn first(&self) -> Result<&Switch> {
        self.switches.first().context("no switch came up")
    }

    fn join(&self, switch: &Switch) -> Result<()> {
        let invitation = self.cluster.invitation()?;
        switch.write("/etc/sonic/remote_ctr.config.json", KNOBS)?;
        switch.ok("systemctl restart ctrmgrd; install -m 600 /dev/null /root/token")?;
        switch.write("/root/token", &invitation.token)?;
        let config = "sudo switchyard config kubernetes";
        show(switch, &format!("{config} server port {}", invitation.port))?;
        show(switch, &format!("{config} server token --token-file /root/token"))?;
        show(switch, &format!("{config} server ip {}", invitation.address))?;
        show(switch, &format!("{config} join"))
    }

    /// Publishes a version and has the cluster bring it.
    fn deliver(&self, version: &str, command: Option<&[&str]>) -> Result<()> {
        let switch = self.first()?;
        let image = switch.make_image(FEATURE, version)?;
        let name = self.cluster.publish_from(switch, &image, &image)?;
        switch.ok(&format!("docker rmi {image} > /dev/null"))?;
        let probe = format!("[\"/usr/bin/lab-payload\", \"send\", \"{FEATURE}\", \"status\"]");
        let command = command.map(|words| format!("\n        command: {words:?}")).unwrap_or_default();
        // The lab's payload keeps its traces on the host, and its probe is another.
        let manifest = MANIFEST
            .replace("registry.example/docker-snmp:2.0.0", &format!("{name}{command}"))
            .replace("\"2.0.0\"", &format!("\"{version}\""))
            .replace("[\"/usr/bin/readiness_probe.sh\"]", &probe)
            .replace(
                "        volumeMounts:\n",
                "        volumeMounts:\n        - { name: payload, mountPath: /run/payload }\n",
            )
            .replace(
                "      volumes:\n",
                "      volumes:\n      - name: payload\n        hostPath: { path: /run/payload }\n",
            );
        println!("   kubectl apply -f snmp-daemonset.yaml     # {name}");
        self.cluster.apply(&manifest)
    }

    fn is_run_by(&self, owner: &str, version: &str) -> Result<()> {
        let switch = self.first()?;
        let row = format!("sonic-db-cli STATE_DB HGET 'FEATURE|{FEATURE}' current_owner");
        switch.wait_text(&row, owner, SOON)?;
        switch.wait_until(&format!("version {version} serves"), SOON, || {
            Ok(switch.payload(FEATURE, "status")?.contains(&format!("version={version} ")))
        })
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<()> {
        println!("   $ cargo xtask lab kubectl {}", arguments.join(" "));
        for line in self.cluster.kubectl_ok(arguments)?.lines() {
            println!("   {line}");
        }
        Ok(())
    }
}
