//! The container images of the features, as one archive for the switch's nested Docker.
//!
//! All share one layer: busybox, the payload, our binary under the names that images call it by. They differ in their
//! entry point, which is the tier of the feature: no question asked (swss, bgp), SONiC's start-up call (lldp, snmp), our
//! gate (telemetry, sflow). A real switch finds its images in `/var/lib/docker`; here they are loaded at first boot.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::hash::ContentHash;
use super::{Machine, copy_tree, docker, ok, remove_tree, step, workspace};

/// The version that every image of the switch itself reports.
const IMAGE_VERSION: &str = "1.0.0";
/// Where our package has its one binary.
const PRODUCT: &str = "usr/bin/switchyard";

/// The features of the lab: one directory each below `lab/switch/features`.
pub(super) fn names(switch: &Path) -> Result<Vec<String>> {
    let mut names = fs::read_dir(switch.join("features"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Makes sure that the archive exists, and gives its path.
pub(super) fn archive(machine: &Machine, base: &Path, package: Option<&Path>) -> Result<PathBuf> {
    let switch = workspace().join("lab/switch");
    let payload = machine.parts.join("lab-payload");
    let product = package.map(|tree| tree.join(PRODUCT));
    let images = names(&switch)?
        .into_iter()
        .map(|feature| Ok((entrypoint(&switch, &feature)?, feature)))
        .collect::<Result<Vec<_>>>()?;

    let mut hash = ContentHash::new();
    hash.text(&base.to_string_lossy()).text(IMAGE_VERSION).file(&payload)?.tree(&switch.join("container"))?;
    for (entrypoint, feature) in &images {
        hash.text(entrypoint).text(feature);
    }
    if let Some(product) = &product {
        hash.file(product)?;
    }
    let archive = Machine::path("cache").join(format!("features-{}.tar", hash.finish()));
    if !archive.exists() {
        step("making the features' container images", || {
            let layer = layer(base, &switch, &payload, product.as_deref())?;
            save(&images, &layer, &archive)
        })?;
    }
    Ok(archive)
}

/// Makes the units and scripts of the features that have a description instead of files, with our own generator, as the
/// builder of a SONiC image would.
pub(super) fn generate(switch: &Path, package: Option<&Path>, tree: &Path) -> Result<()> {
    for feature in names(switch)? {
        let description = switch.join("features").join(&feature).join("feature.toml");
        if description.exists() {
            let package =
                package.with_context(|| format!("{feature} is generated, which takes our package"))?;
            let (root, description) = (tree.to_string_lossy(), description.to_string_lossy());
            ok(
                &package.join(PRODUCT).to_string_lossy(),
                &["generate", "--root", &root, "install", &description],
            )?;
        }
    }
    Ok(())
}

/// The words of the entry point as Docker's JSON list.
fn entrypoint(switch: &Path, feature: &str) -> Result<String> {
    let path = switch.join("features").join(feature).join("entrypoint");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(serde_json::to_string(&text.split_whitespace().collect::<Vec<_>>())?)
}

/// The one file system that all images have.
fn layer(base: &Path, switch: &Path, payload: &Path, product: Option<&Path>) -> Result<PathBuf> {
    let tree = Machine::path("build/container");
    remove_tree(&tree)?;
    for directory in ["usr/bin", "usr/share/sonic/scripts", "var/run", "etc", "tmp"] {
        fs::create_dir_all(tree.join(directory))?;
    }
    let root = tree.to_string_lossy().into_owned();
    ok("tar", &["--extract", "--file", &base.to_string_lossy(), "--directory", &root, "./usr/bin/busybox"])?;
    for applet in ["sh", "cat", "sleep", "ls", "kill", "env"] {
        symlink("busybox", tree.join("usr/bin").join(applet))?;
    }
    symlink("usr/bin", tree.join("bin"))?;
    copy_tree(&switch.join("container"), &tree.join("usr/bin"))?;
    fs::copy(payload, tree.join("usr/bin/lab-payload"))?;
    if let Some(product) = product {
        let binary = tree.join(PRODUCT);
        fs::copy(product, &binary).with_context(|| format!("our package has no {PRODUCT}"))?;
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))?;
        symlink("/usr/bin/switchyard", tree.join("usr/share/sonic/scripts/container_startup.py"))?;
    }
    let archive = Machine::path("build/container.tar");
    let archive_name = archive.to_string_lossy().into_owned();
    ok("tar", &["--create", "--owner=0", "--group=0", "--file", &archive_name, "--directory", &root, "."])?;
    Ok(archive)
}

fn save(images: &[(String, String)], layer: &Path, archive: &Path) -> Result<()> {
    let mut tags = Vec::new();
    for (entrypoint, feature) in images {
        let tag = format!("docker-{feature}:latest");
        let (entrypoint, version) =
            (format!("ENTRYPOINT {entrypoint}"), format!("ENV IMAGE_VERSION={IMAGE_VERSION}"));
        docker(&["import", "--change", &entrypoint, "--change", &version, &layer.to_string_lossy(), &tag])?;
        tags.push(tag);
    }
    let draft = archive.with_extension("new");
    let draft_name = draft.to_string_lossy().into_owned();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    docker(&[["save", "--output", &draft_name].as_slice(), &tags].concat())?;
    docker(&[["rmi"].as_slice(), &tags].concat())?;
    Ok(fs::rename(&draft, archive)?)
}
