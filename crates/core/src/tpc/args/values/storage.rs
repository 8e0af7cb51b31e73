//! What is mounted into a container, and the devices it sees.

use serde::{Deserialize, Serialize};

use super::super::flags::Flag;
use super::super::{ArgsError, clip};
use super::bad;

/// What stands behind a place in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A path of the host.
    Bind(String),
    /// A volume of the engine by its name; one of its own if it has none.
    Volume(Option<String>),
}

/// One of `--volume` and `--mount`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Where it is seen inside.
    pub target: String,
    /// Whether nothing inside may write to it.
    #[serde(default)]
    pub read_only: bool,
    /// How mounts below it spread: `rslave` and the like.
    #[serde(default)]
    pub propagation: Option<String>,
}

/// A file system in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Where it is seen inside.
    pub target: String,
    /// As `mount -o` takes them.
    #[serde(default)]
    pub options: String,
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its path on the host.
    pub host: String,
    /// Its path inside.
    pub container: String,
    /// Some of `r`, `w` and `m`.
    pub permissions: String,
}

const VOLUME_RULE: &str =
    "wanted is /path/here:/path/inside[:ro] or name:/path/inside[:ro], paths without '..'";
const MOUNT_RULE: &str = "wanted is type=bind|volume,source=…,target=…[,readonly], and at most bind-propagation=… beside; memory is --tmpfs";
const PROPAGATIONS: [&str; 6] = ["shared", "rshared", "slave", "rslave", "private", "rprivate"];

/// An absolute path as the kernel would read it, without doubled slashes and dots.
pub(in super::super) fn absolute(flag: Flag, path: &str) -> Result<String, ArgsError> {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let is_clean = path.starts_with('/') && !parts.contains(&"..") && !path.chars().any(char::is_control);
    if !is_clean {
        return Err(bad(flag, path, "wanted is a path from / without '..'"));
    }
    Ok(format!("/{}", parts.join("/")))
}

fn inside(flag: Flag, path: &str) -> Result<String, ArgsError> {
    match absolute(flag, path)?.as_str() {
        "/" => Err(bad(flag, path, "the container's own root cannot be covered")),
        path => Ok(path.to_owned()),
    }
}

fn volume_name(flag: Flag, name: &str) -> Result<String, ArgsError> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.len() < 2 || name.len() > 128 || !name.chars().all(is_name) || name.starts_with(['-', '.', '_']) {
        return Err(bad(flag, name, VOLUME_RULE));
    }
    Ok(name.to_owned())
}

/// `[source:]target[:options]`
pub(in super::super) fn volume(flag: Flag, value: &str) -> Result<Mount, ArgsError> {
    let parts: Vec<&str> = value.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => return Err(bad(flag, value, VOLUME_RULE)),
    };
    let kind = match source {
        None => MountKind::Volume(None),
        Some(path) if path.starts_with('/') => MountKind::Bind(absolute(flag, path)?),
        Some(name) => MountKind::Volume(Some(volume_name(flag, name)?)),
    };
    let mut mount = Mount { kind, target: inside(flag, target)?, read_only: false, propagation: None };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => mount.read_only = true,
            // What SELinux and other systems than Linux make of a mount says nothing here.
            "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" => {}
            other if PROPAGATIONS.contains(&other) => mount.propagation = Some(other.to_owned()),
            _ => return Err(bad(flag, value, VOLUME_RULE)),
        }
    }
    propagates(flag, value, &mount)?;
    Ok(mount)
}

/// `type=…,source=…,target=…`
pub(in super::super) fn mount(flag: Flag, value: &str) -> Result<Mount, ArgsError> {
    let wrong = || bad(flag, value, MOUNT_RULE);
    let (mut kind, mut source, mut target, mut read_only, mut propagation) =
        ("volume", None, None, false, None);
    for field in value.split(',') {
        match field.split_once('=').unwrap_or((field, "true")) {
            ("type", found) => kind = found,
            ("source" | "src", path) => source = Some(path),
            ("target" | "destination" | "dst", path) => target = Some(path),
            ("readonly" | "ro", "true" | "1") => read_only = true,
            ("readonly" | "ro", "false" | "0") => read_only = false,
            ("bind-propagation", found) if PROPAGATIONS.contains(&found) => {
                propagation = Some(found.to_owned());
            }
            _ => return Err(wrong()),
        }
    }
    let kind = match (kind, source) {
        ("bind", Some(path)) => MountKind::Bind(absolute(flag, path)?),
        ("volume", Some(name)) => MountKind::Volume(Some(volume_name(flag, name)?)),
        ("volume", None) => MountKind::Volume(None),
        _ => return Err(wrong()),
    };
    let target = inside(flag, target.ok_or_else(wrong)?)?;
    let mount = Mount { kind, target, read_only, propagation };
    propagates(flag, value, &mount)?;
    Ok(mount)
}

/// Only what is a path of the host has mounts below it that could spread.
fn propagates(flag: Flag, value: &str, mount: &Mount) -> Result<(), ArgsError> {
    if mount.propagation.is_some() && matches!(mount.kind, MountKind::Volume(_)) {
        return Err(bad(flag, value, "only a path of this machine has a propagation"));
    }
    Ok(())
}

/// `target[:options]`
pub(in super::super) fn tmpfs(flag: Flag, value: &str) -> Result<Tmpfs, ArgsError> {
    let (target, options) = value.split_once(':').unwrap_or((value, ""));
    let is_option = |c: char| c.is_ascii_alphanumeric() || matches!(c, ',' | '=' | '_' | '-' | '%');
    if !options.chars().all(is_option) {
        return Err(bad(flag, value, "wanted is /path[:options], the options as mount takes them"));
    }
    Ok(Tmpfs { target: inside(flag, target)?, options: clip(options) })
}

/// `host[:container][:permissions]`
pub(in super::super) fn device(flag: Flag, value: &str) -> Result<Device, ArgsError> {
    const RULE: &str = "wanted is /dev/here[:/dev/inside][:rwm]";
    let is_permissions =
        |text: &str| !text.is_empty() && text.len() <= 3 && text.chars().all(|c| "rwm".contains(c));
    let parts: Vec<&str> = value.split(':').collect();
    let (host, container, permissions) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, second] if is_permissions(second) => (host, host, second),
        [host, container] => (host, container, "rwm"),
        [host, container, permissions] if is_permissions(permissions) => (host, container, permissions),
        _ => return Err(bad(flag, value, RULE)),
    };
    Ok(Device {
        host: absolute(flag, host)?,
        container: inside(flag, container)?,
        permissions: permissions.to_owned(),
    })
}
