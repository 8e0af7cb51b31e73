//! Makes and removes a switch.

use anyhow::{Context, Result};

use super::disk::Disk;
use super::{Switch, cgroups};
use crate::command;
use crate::machine::{Machine, docker};

/// What a switch is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The image, from [`crate::image::switch_image`].
    pub image: String,
    /// More than one brings a namespace and an instance of each per-ASIC feature for each.
    pub asics: u32,
    /// Whether what it keeps is on a disk of its own, whose power can be cut, and not on volumes of the machine's Docker.
    pub disk: bool,
}

/// What becomes of a switch's `/host` when the switch is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// The next switch of that name finds it, as the next SONiC image on the same disk would.
    Keep,
    /// The disk is wiped.
    Remove,
}

/// All privileges the lab's machine can give, short of `--privileged`, which asks for more than it has. The cgroup
/// namespace is the machine's because the nested runc fails in one of its own.
const PRIVILEGES: [&str; 9] = [
    "--cap-add=ALL",
    "--cap-drop=SYS_RESOURCE",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--security-opt=systempaths=unconfined",
    "--device-cgroup-rule=a *:* rwm",
    "--cgroupns=host",
    "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw",
    "--volume=/lib/modules:/lib/modules:ro",
];

/// Everything else: systemd's way of being told to stop, and coming back by itself when the switch reboots from inside.
const MANNERS: [&str; 8] = [
    "--stop-signal=SIGRTMIN+3",
    "--stop-timeout=120",
    "--restart=unless-stopped",
    "--tmpfs=/run",
    "--tmpfs=/tmp",
    "--volume=/var/lib/kubelet",
    "--env=container=docker",
    "--label=switchyard.lab=switch",
];

impl Switch {
    /// Brings the switch up as `spec` says. One that already runs as such is left alone, and `false` is given.
    pub fn ensure(&self, spec: &Spec) -> Result<bool> {
        if self.runs_as(spec)? {
            return Ok(false);
        }
        self.remove(Host::Keep)?;
        self.create(spec)?;
        docker(&["start", &self.name])?;
        Ok(true)
    }

    /// Goes down in order and boots this SONiC image over the same /host, as it was left if it ran here before. The one
    /// that ran stays beside it.
    pub fn boot_image(&self, image: &str) -> Result<()> {
        let present = self.image()?;
        docker(&["stop", &self.name])?;
        docker(&["rename", &self.name, &self.parked(&present)])?;
        let parked = self.parked(image);
        if command::run("docker", &["inspect", "--format", "{{.Id}}", &parked])?.success() {
            docker(&["rename", &parked, &self.name])?;
        } else {
            self.create(&Spec { image: image.to_owned(), asics: 1, disk: false })?;
        }
        docker(&["start", &self.name])?;
        self.wait_booted()?;
        self.wait_features()
    }

    /// Removes a SONiC image that does not run, as sonic-installer does.
    pub fn remove_image(&self, image: &str) -> Result<()> {
        docker(&["rm", "--force", "--volumes", &self.parked(image)]).map(drop)
    }

    /// The image that runs.
    pub fn image(&self) -> Result<String> {
        docker(&["inspect", "--format", "{{.Config.Image}}", &self.name])
    }

    /// A container's name may have no colon.
    fn parked(&self, image: &str) -> String {
        format!("{}-{}", self.name, image.replace(':', "-"))
    }

    /// Removes the switch if it exists.
    pub fn remove(&self, host: Host) -> Result<()> {
        let traces = cgroups::of(&self.name)?;
        // Told to end as a power failure would: what it should have saved is none of ours any more.
        command::run("docker", &["rm", "--force", "--volumes", &self.name])?;
        cgroups::remove(&traces);
        Disk::of(&self.name).remove()?;
        if host == Host::Remove {
            command::run("docker", &["volume", "rm", "--force", &self.host_volume()])?;
        }
        Ok(())
    }

    fn create(&self, spec: &Spec) -> Result<()> {
        let asics = format!("--label=switchyard.lab.asics={}", spec.asics);
        let kept = if spec.disk {
            let disk = Disk::of(&self.name);
            disk.make(&spec.image)?;
            disk.mounts()
        } else {
            vec![format!("--volume={}:/host", self.host_volume()), "--volume=/var/lib/docker".to_owned()]
        };
        let kept: Vec<&str> = kept.iter().map(String::as_str).collect();
        let disk = format!("--label=switchyard.lab.disk={}", spec.disk);
        let own = ["create", "--name", &self.name, "--hostname", &self.name, &asics, &disk];
        docker(&[own.as_slice(), &kept, &PRIVILEGES, &MANNERS, &[&spec.image]].concat())?;
        if spec.asics > 1 {
            self.tell_asics(spec.asics)?;
        }
        Ok(())
    }

    /// As on a real switch, the number of ASICs is a property of the platform's files.
    fn tell_asics(&self, asics: u32) -> Result<()> {
        let conf = Machine::path(&format!("{}-asic.conf", self.name));
        std::fs::write(&conf, format!("NUM_ASIC={asics}\n"))
            .with_context(|| format!("cannot write {}", conf.display()))?;
        self.copy_in(&conf.to_string_lossy(), "/usr/share/sonic/device/x86_64-lab-r0/asic.conf")?;
        Ok(std::fs::remove_file(&conf)?)
    }

    /// Whether the switch runs and is what `spec` says.
    pub fn runs_as(&self, spec: &Spec) -> Result<bool> {
        let format = "{{.State.Running}} {{.Config.Image}} \
                      {{index .Config.Labels \"switchyard.lab.asics\"}} {{index .Config.Labels \"switchyard.lab.disk\"}}";
        let output = command::run("docker", &["inspect", "--format", format, &self.name])?;
        Ok(output.text() == format!("true {} {} {}", spec.image, spec.asics, spec.disk))
    }

    fn host_volume(&self) -> String {
        format!("{}-host", self.name)
    }
}
