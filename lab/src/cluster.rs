//! A Kubernetes control plane as processes of this machine, which the lab's switches can join.
//!
//! etcd, API server, controller manager, scheduler and a registry listen on Docker's bridge. They live on when the
//! command that started them ends, keep their data over a restart, and know nothing of the switches: either side can be
//! restarted without the other. What a real cluster needs for us is applied from `packaging/cluster`.

mod build;
mod manifests;
mod parts;
mod pki;
mod process;
mod registry;
mod site;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::command::{self, Output, last_words, step};
use crate::fleet;
use crate::machine::{Machine, docker, install_packages};
use crate::switch::Switch;
use build::Programs;
use site::Site;

pub use build::kubelet;
pub use parts::Part;

/// What the control plane needs besides what every lab does.
const TOOLS: [(&str, &str); 2] = [("openssl", "openssl"), ("ip", "iproute2")];

/// The API server makes the namespaces that it comes with a moment after it says that it is ready.
const NAMESPACES_MAX: Duration = Duration::from_secs(30);

/// A control plane of this machine.
#[derive(Debug, Clone)]
pub struct Cluster {
    site: Site,
    programs: Programs,
}

/// How a switch joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The API server's address.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// A bootstrap token.
    pub token: String,
    /// The pin of the cluster's CA: `sha256:…`.
    pub ca_pin: String,
}

impl Cluster {
    /// Brings the control plane of this prefix up, with everything that takes; parts that run already stay. The machine
    /// must have been prepared.
    pub fn up() -> Result<Cluster> {
        Cluster::up_as(&fleet::prefix())
    }

    /// A second control plane beside that of this prefix, with another authority. Whoever needs it removes it.
    pub fn other() -> Result<Cluster> {
        Cluster::up_as(&Cluster::name_of_other())
    }

    fn name_of_other() -> String {
        format!("{}-other", fleet::prefix())
    }

    /// A store and an API server alone, with the shipped rules, for a test that plays the rest of the cluster itself.
    /// Whoever needs it removes it.
    pub fn bare(name: &str) -> Result<Cluster> {
        Cluster::up_with(&format!("{}-{name}", fleet::prefix()), &[Part::Etcd, Part::ApiServer])
    }

    /// Ends it and forgets that there ever was one.
    pub fn remove_bare(name: &str) -> Result<()> {
        Cluster::end(&format!("{}-{name}", fleet::prefix()), true)
    }

    fn up_as(name: &str) -> Result<Cluster> {
        Cluster::up_with(name, &Part::ALL)
    }

    fn up_with(name: &str, parts: &[Part]) -> Result<Cluster> {
        install_packages(&TOOLS)?;
        let cluster = Cluster { programs: Programs::prepare()?, site: Site::make(name)? };
        let _lock = Machine::lock_file("cluster.lock")?;
        pki::prepare(&cluster.site)?;
        step("starting the control plane", || {
            parts.iter().try_for_each(|part| cluster.start(*part))?;
            cluster.wait_namespaces()?;
            manifests::apply(&cluster)
        })?;
        Ok(cluster)
    }

    /// The control plane of this prefix, whether it runs or not.
    pub fn find() -> Result<Cluster> {
        let site = Site::find(&fleet::prefix())?
            .context("no control plane was made; `cargo xtask lab up --cluster`")?;
        Ok(Cluster { programs: Programs::find()?, site })
    }

    /// Ends the control plane of this prefix if there is one; `wipe` removes its data and keys too.
    pub fn down(wipe: bool) -> Result<()> {
        // A story that was killed may have left its other one.
        Cluster::end(&Cluster::name_of_other(), true)?;
        Cluster::end(&fleet::prefix(), wipe)
    }

    /// Ends it and forgets that there ever was one.
    pub fn remove_other() -> Result<()> {
        Cluster::end(&Cluster::name_of_other(), true)
    }

    fn end(name: &str, wipe: bool) -> Result<()> {
        let Some(site) = Site::find(name)? else { return Ok(()) };
        step("stopping the control plane", || {
            Part::ALL.into_iter().rev().try_for_each(|part| part.process(&site).stop())?;
            if wipe { site.wipe() } else { Ok(()) }
        })
    }

    /// Starts a part if it does not run, and waits until it answers.
    pub fn start(&self, part: Part) -> Result<()> {
        part.ensure(&self.site, &self.programs)
    }

    /// Ends the API server, as for a switch that is cut off.
    pub fn take_server_away(&self) -> Result<()> {
        self.stop(Part::ApiServer)
    }

    /// Brings it back. Those who ask it anew ever more rarely, and bring pods to switches, begin again: a story waits for
    /// what its switch does, and not for them.
    pub fn bring_server_back(&self) -> Result<()> {
        // Before the server is there: the old ones would think all nodes silent for as long as it was away.
        [Part::ControllerManager, Part::Scheduler].into_iter().try_for_each(|part| self.stop(part))?;
        [Part::ApiServer, Part::ControllerManager, Part::Scheduler]
            .into_iter()
            .try_for_each(|part| self.start(part))
    }

    /// Ends a part; its data stay.
    pub fn stop(&self, part: Part) -> Result<()> {
        part.process(&self.site).stop()
    }

    /// The process number of a part, if it runs.
    pub fn pid(&self, part: Part) -> Option<i32> {
        part.process(&self.site).pid()
    }

    /// How much memory a part has for itself, in kilobytes, if it runs.
    pub fn memory(&self, part: Part) -> Option<u64> {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid(part)?)).ok()?;
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        pss.split_whitespace().next()?.parse().ok()
    }

    /// What a switch has to be told to join.
    pub fn invitation(&self) -> Result<Invitation> {
        Ok(Invitation {
            address: self.site.address().to_string(),
            port: self.site.port(site::Port::ApiServer),
            token: manifests::token(&self.site)?,
            ca_pin: pki::ca_pin(&self.site)?,
        })
    }

    /// The registry's port, at the API server's address.
    pub fn registry_port(&self) -> u16 {
        self.site.port(site::Port::Registry)
    }

    /// Puts an image of this machine's Docker into the registry as `name` (`docker-lldp:2.0.0`), and gives the name by
    /// which switches pull it.
    pub fn publish(&self, image: &str, name: &str) -> Result<String> {
        registry::publish(&self.site, image, name)?;
        Ok(format!("{}/{name}", registry::pull_address(&self.site)))
    }

    /// As [`Cluster::publish`], of an image that is in the Docker of a switch.
    pub fn publish_from(&self, switch: &Switch, image: &str, name: &str) -> Result<String> {
        // By a name of its own, so that it replaces nothing here, nor in what another switch publishes meanwhile.
        let passing = format!("switchyard-lab-passing:{}", switch.name());
        switch.ok(&format!("docker tag '{image}' {passing}"))?;
        let mut save = Command::new("docker")
            .args(["exec", switch.name(), "docker", "save", &passing])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run docker")?;
        let mut load = Command::new("docker");
        load.args(["load", "--quiet"]).stdin(save.stdout.take().context("docker has no output")?);
        let loaded = command::finish("docker", &mut load)?;
        ensure!(save.wait()?.success() && loaded.success(), "cannot copy {image}: {}", last_words(&loaded));
        switch.ok(&format!("docker rmi {passing}"))?;
        let published = self.publish(&passing, name);
        docker(&["rmi", &passing])?;
        published
    }

    /// The certificate of the cluster's authority.
    pub fn ca(&self) -> Result<String> {
        std::fs::read_to_string(self.site.path("pki/ca.crt")).context("cannot read the cluster's CA")
    }

    /// A client certificate with which a switch may join, and its key.
    pub fn client_certificate(&self) -> Result<(String, String)> {
        self.pair("switches")
    }

    /// The hash of the authority's certificate as the file has it, in hexadecimal digits.
    pub fn ca_hash(&self) -> Result<String> {
        let sum = command::ok("sha256sum", &[&self.site.text("pki/ca.crt")])?;
        Ok(sum.split_whitespace().next().context("sha256sum said nothing")?.to_owned())
    }

    /// The API server's own certificate and key, for whoever stands before it.
    pub fn server_certificate(&self) -> Result<(String, String)> {
        self.pair(&pki::server_name(&self.site))
    }

    /// A node's certificate and key, as of a cluster whose servers sign by themselves.
    pub fn node_certificate(&self, node: &str) -> Result<(String, String)> {
        self.pair(&pki::node(&self.site, node)?)
    }

    fn pair(&self, name: &str) -> Result<(String, String)> {
        let read = |kind: &str| std::fs::read_to_string(self.site.path(&format!("pki/{name}.{kind}")));
        Ok((read("crt")?, read("key")?))
    }

    /// A kubeconfig of somebody who has this token.
    pub fn kubeconfig(&self, token: &str) -> Result<String> {
        pki::token_kubeconfig(&self.site, token).map(|config| config.to_string())
    }

    /// As [`Cluster::kubeconfig`], in a file that only root reads.
    pub fn write_kubeconfig(&self, name: &str, token: &str) -> Result<PathBuf> {
        let name = format!("run/{name}.kubeconfig");
        self.site.write_secret(&name, &self.kubeconfig(token)?)?;
        Ok(self.site.path(&name))
    }

    /// A kubectl that may do everything in this cluster.
    pub fn kubectl(&self) -> Command {
        let mut kubectl = Command::new(self.programs.path("kubectl"));
        kubectl.env("KUBECONFIG", self.site.path("pki/admin.kubeconfig"));
        kubectl
    }

    /// Runs kubectl to its end, whatever the end is.
    pub fn kubectl_run(&self, arguments: &[&str]) -> Result<Output> {
        command::finish("kubectl", self.kubectl().args(arguments).stdin(Stdio::null()))
    }

    /// Runs kubectl and gives its trimmed output; anything but success is an error that quotes it.
    pub fn kubectl_ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.kubectl_run(arguments)?;
        if !output.success() {
            bail!("`kubectl {}` ended with {}: {}", arguments.join(" "), output.status, last_words(&output));
        }
        Ok(output.text().to_owned())
    }

    /// Makes the cluster hold what a manifest describes.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        self.feed(&["apply", "--filename=-"], manifest)
    }

    /// Makes an object at a path of the API for which kubectl has no word, such as the eviction of a pod.
    pub fn create_raw(&self, path: &str, object: &str) -> Result<()> {
        self.feed(&["create", "--raw", path, "--filename=-"], object)
    }

    /// On standard input: manifests hold secrets, and everybody may read command lines.
    fn feed(&self, arguments: &[&str], input: &str) -> Result<()> {
        let mut kubectl = self.kubectl();
        kubectl.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut kubectl = kubectl.spawn().context("cannot run kubectl")?;
        kubectl.stdin.take().context("kubectl takes no input")?.write_all(input.as_bytes())?;
        ensure!(kubectl.wait()?.success(), "kubectl did not {} a manifest", arguments[0]);
        Ok(())
    }

    fn wait_namespaces(&self) -> Result<()> {
        let end = Instant::now() + NAMESPACES_MAX;
        while !self.kubectl_run(&["get", "namespaces", "kube-public", "kube-system"])?.success() {
            if Instant::now() > end {
                bail!("the API server makes no namespaces");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}
