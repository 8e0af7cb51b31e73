//! Tidies up the cgroups that a switch leaves on the machine.
//!
//! A switch shares the machine's cgroup hierarchies (the nested runc needs that), so the groups of its own containers
//! stay behind when it is removed in full flight. Only groups named after containers of that switch, or after the switch
//! for its pods, are touched: the hierarchies also hold the machine's own processes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command;

const HIERARCHIES: &str = "/sys/fs/cgroup";

/// The cgroup directories of the switch `name` and of the containers in it, each before the one that it is in; none if
/// there is no such switch.
pub(super) fn of(name: &str) -> Result<Vec<PathBuf>> {
    let format =
        "{{.Id}} {{range .Mounts}}{{if eq .Destination \"/var/lib/docker\"}}{{.Source}}{{end}}{{end}}";
    let output = command::run("docker", &["inspect", "--type", "container", "--format", format, name])?;
    let Some((switch, nested)) = output.text().split_once(' ') else { return Ok(Vec::new()) };
    // The nested Docker keeps a directory for each of its containers, named by the id.
    let mut ids: Vec<String> = directories(&Path::new(nested).join("containers"));
    ids.push(switch.to_owned());
    let hierarchies = directories(Path::new(HIERARCHIES));
    let mut groups = Vec::new();
    for hierarchy in hierarchies {
        let root = Path::new(HIERARCHIES).join(hierarchy);
        groups.extend(ids.iter().map(|id| root.join("docker").join(id)));
        // Made by `/usr/lib/lab/node` for the kubelet, which makes one for each pod below it.
        innermost_first(&root.join(format!("switch-{name}")), &mut groups);
    }
    Ok(groups)
}

fn innermost_first(group: &Path, groups: &mut Vec<PathBuf>) {
    for child in directories(group) {
        let child = group.join(child);
        if child.is_dir() {
            innermost_first(&child, groups);
        }
    }
    groups.push(group.to_owned());
}

/// Removes those that are there and empty. The kernel refuses the others, and a left-over group harms nobody, so
/// nothing is made of a failure.
pub(super) fn remove(groups: &[PathBuf]) {
    for group in groups {
        let _ = fs::remove_dir(group);
    }
}

fn directories(path: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
