//! The lab's image registry: Debian's docker-registry, one store with two doors.
//!
//! Switches pull through Docker's bridge and can only read. This machine pushes through the loopback, which its Docker
//! trusts without TLS by default, whatever the daemon's settings are.

use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use serde_json::json;

use super::site::{Port, Site};
use crate::machine::docker;

/// Which side of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// For switches; read only.
    Pull,
    /// For this machine.
    Push,
}

/// Writes the configuration of a door and gives the command that opens it.
pub(super) fn command(site: &Site, door: Door) -> Result<Vec<String>> {
    let (name, address) = match door {
        Door::Pull => ("run/registry.yml", pull_address(site)),
        Door::Push => ("run/registry-uploads.yml", push_address(site)),
    };
    // JSON is YAML too. No cache of descriptors: each door must see at once what came through the other.
    let config = json!({
        "version": 0.1,
        "log": { "level": "warn", "accesslog": { "disabled": true } },
        "http": { "addr": address },
        "storage": {
            "filesystem": { "rootdirectory": site.text("registry") },
            "delete": { "enabled": true },
            "maintenance": { "readonly": { "enabled": door == Door::Pull } },
        },
    });
    let path = site.path(name);
    fs::write(&path, config.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(["docker-registry", "serve", &path.to_string_lossy()].map(ToOwned::to_owned).to_vec())
}

/// What the name of an image begins with in a manifest.
pub(super) fn pull_address(site: &Site) -> String {
    format!("{}:{}", site.address(), site.port(Port::Registry))
}

/// Puts an image of this machine's Docker into the registry as `name` (`docker-lldp:2.0.0`).
pub(super) fn publish(site: &Site, image: &str, name: &str) -> Result<()> {
    let upload = format!("{}/{name}", push_address(site));
    docker(&["tag", image, &upload])?;
    let pushed = docker(&["push", "--quiet", &upload]);
    docker(&["rmi", &upload])?;
    pushed.map(drop)
}

fn push_address(site: &Site) -> String {
    format!("{}:{}", Ipv4Addr::LOCALHOST, site.port(Port::RegistryUploads))
}
