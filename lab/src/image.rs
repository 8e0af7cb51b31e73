//! Builds the image of a switch, in layers that are rebuilt only when what they are made of has changed.
//!
//! 1. The base: a Debian root file system made by mmdebstrap, cached by its package list; the kubelet, if it is wanted.
//! 2. The features' container images: one archive for the switch's nested Docker, cached by its content.
//! 3. The switch: base, overlay (`lab/switch`), archive, our package; its tag is the hash of all of it.

mod features;
pub(crate) mod hash;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::command::{self, ok, step};
use crate::machine::{Machine, PARTS, docker, workspace};
use hash::ContentHash;

/// What a SONiC switch has and this project touches. No Python: the product must not need it.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,procps,kmod,iptables,redis-server,docker.io,ca-certificates,\
jq,socat,conntrack,monit,openssh-server,sudo,busybox-static,less";
const SUITE: &str = "bookworm";

/// What is installed on a switch besides the lab's own files.
#[derive(Debug, Clone)]
pub struct Product {
    /// Our package; a switch without it has features that cannot start, which is of use only to the lab's makers.
    pub deb: Option<PathBuf>,
    /// Whether the switch's image was built with Kubernetes support.
    pub kubernetes: bool,
    /// SONiC's kubelet ([`crate::cluster::kubelet`]), for switches that are to join a cluster. It takes minutes to build,
    /// and what is told of standalone switches does without.
    pub kubelet: Option<PathBuf>,
}

/// Makes sure that the image for `product` exists, and gives its name.
pub fn switch_image(machine: &Machine, product: &Product) -> Result<String> {
    let _lock = Machine::lock()?;
    let base = base_image()?;
    let unpacked = product.deb.as_deref().map(unpack).transpose()?;
    let features = features::archive(machine, &base.tar, unpacked.as_deref())?;

    let switch = workspace().join("lab/switch");
    let base_name = match &product.kubelet {
        Some(kubelet) => with_kubelet(&base.name, kubelet)?,
        None => base.name,
    };
    let mut hash = ContentHash::new();
    hash.text(&base_name).text(if product.kubernetes { "kubernetes" } else { "plain" });
    hash.tree(&switch)?.file(&features)?;
    if let Some(deb) = &product.deb {
        hash.file(deb)?;
    }
    for part in PARTS {
        hash.file(&machine.parts.join(part))?;
    }
    let name = format!("switchyard-switch:{}", hash.finish());
    if !exists(&name) {
        step("building the switch image", || {
            let tree = stage(machine, product, &switch, &features)?;
            features::generate(&switch, unpacked.as_deref(), &tree)?;
            build(&base_name, &tree, product, &name)?;
            remove_old_images(&name)
        })?;
    }
    Ok(name)
}

/// The Debian base: as an image and as the archive it was imported from.
struct Base {
    name: String,
    tar: PathBuf,
}

fn base_image() -> Result<Base> {
    let id = ContentHash::new().text(SUITE).text(PACKAGES).finish();
    let base = Base {
        name: format!("switchyard-lab-base:{id}"),
        tar: Machine::path("cache").join(format!("rootfs-{id}.tar")),
    };
    if !base.tar.exists() {
        step("making a Debian root file system", || {
            let draft = base.tar.with_extension("new.tar");
            let include = format!("--include={PACKAGES}");
            ok("mmdebstrap", &["--quiet", "--variant=minbase", &include, SUITE, &draft.to_string_lossy()])?;
            Ok(fs::rename(&draft, &base.tar)?)
        })?;
    }
    if !exists(&base.name) {
        step("importing it into Docker", || docker(&["import", &base.tar.to_string_lossy(), &base.name]))?;
    }
    Ok(base)
}

/// The base with the kubelet on top: a layer of its own, so that a new switch image does not copy it again.
fn with_kubelet(base: &str, kubelet: &Path) -> Result<String> {
    const BUILDER: &str = "switchyard-lab-kubelet";

    // Its directory is named after its sources.
    let name = format!("{base}-{}", ContentHash::new().text(&kubelet.to_string_lossy()).finish());
    if !exists(&name) {
        step("adding the kubelet", || {
            command::run("docker", &["rm", "--force", BUILDER])?;
            docker(&["create", "--name", BUILDER, base, "true"])?;
            docker(&["cp", &kubelet.to_string_lossy(), &format!("{BUILDER}:/usr/bin/kubelet")])?;
            docker(&["commit", BUILDER, &name])?;
            docker(&["rm", BUILDER])
        })?;
    }
    Ok(name)
}

/// Unpacks our package beside the cache, to find the binary that goes into the feature images.
fn unpack(deb: &Path) -> Result<PathBuf> {
    let tree = Machine::path("build/deb");
    remove_tree(&tree)?;
    fs::create_dir_all(&tree)?;
    ok("dpkg-deb", &["--extract", &deb.to_string_lossy(), &tree.to_string_lossy()])?;
    Ok(tree)
}

/// Lays out everything that is unpacked over the base.
fn stage(machine: &Machine, product: &Product, switch: &Path, features: &Path) -> Result<PathBuf> {
    let tree = Machine::path("build/switch");
    remove_tree(&tree)?;
    let lab = tree.join("usr/lib/lab");
    let share = tree.join("usr/share/lab");
    fs::create_dir_all(&lab)?;
    fs::create_dir_all(share.join("features"))?;
    copy_tree(&switch.join("base"), &tree)?;
    if product.kubelet.is_some() {
        copy_tree(&switch.join("kubelet"), &tree)?;
    }
    for feature in features::names(switch)? {
        let root = switch.join("features").join(&feature).join("root");
        if root.exists() {
            copy_tree(&root, &tree)?;
        }
        fs::create_dir(share.join("features").join(&feature))?;
    }
    fs::copy(switch.join("setup"), lab.join("setup"))?;
    fs::copy(machine.parts.join("lab-featured"), lab.join("lab-featured"))?;
    fs::copy(machine.parts.join("lab-runc"), lab.join("lab-runc"))?;
    fs::copy(machine.parts.join("lab-payload"), tree.join("usr/bin/lab-payload"))?;
    fs::copy(features, share.join("feature-images.tar"))?;
    if let Some(deb) = &product.deb {
        fs::copy(deb, share.join("switchyard.deb"))
            .with_context(|| format!("cannot copy {}", deb.display()))?;
    }
    Ok(tree)
}

/// Runs the set-up in a container of the base and keeps the result. Not a Dockerfile, because the machine's docker
/// command may be any version and newer ones build only with a plug-in that Debian does not have.
fn build(base: &str, tree: &Path, product: &Product, name: &str) -> Result<()> {
    const BUILDER: &str = "switchyard-lab-builder";

    let variant = if product.kubernetes { "with-kubernetes" } else { "without-kubernetes" };
    let script =
        format!("tar --extract --keep-directory-symlink --directory / && /usr/lib/lab/setup {variant}");
    command::run("docker", &["rm", "--force", BUILDER])?;
    let mut tar = Command::new("tar")
        .args(["--create", "--owner=0", "--group=0", "--directory"])
        .args([tree.as_os_str(), ".".as_ref()])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run tar")?;
    let mut docker_run = Command::new("docker");
    docker_run
        .args(["run", "--interactive", "--network=none", "--name", BUILDER, base, "bash", "-c", &script])
        .stdin(tar.stdout.take().context("tar has no output")?);
    let output = command::finish("docker", &mut docker_run)?;
    ensure!(tar.wait()?.success(), "cannot pack {}", tree.display());
    ensure!(output.success(), "the switch image's set-up failed: {}", command::last_words(&output));
    docker(&["commit", "--change", "CMD [\"/sbin/init\"]", BUILDER, name])?;
    docker(&["rm", BUILDER])?;
    Ok(())
}

/// Earlier builds take half a gigabyte each; those that no switch runs on go.
fn remove_old_images(current: &str) -> Result<()> {
    let names = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", "switchyard-switch"])?;
    for name in names.lines().filter(|name| *name != current) {
        // Refused while a switch is made of it.
        command::run("docker", &["rmi", name])?;
    }
    Ok(())
}

fn exists(image: &str) -> bool {
    docker(&["image", "inspect", "--format", "{{.Id}}", image]).is_ok()
}

fn remove_tree(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// With cp, which keeps links and modes.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    ok("cp", &["--archive", &format!("{}/.", from.display()), &to.to_string_lossy()]).map(drop)
}
