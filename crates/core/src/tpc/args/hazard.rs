//! What would take a container's volumes from tpcm, and what is allowed but dangerous.

use std::collections::BTreeSet;
use std::fmt;

use super::values::{Mount, MountKind};
use super::{ArgsError, CreateArgs};

/// Where tpcm itself mounts.
const OURS: [&str; 2] = ["/tpc", "/tpc_shared"];

/// What all TPCs are kept in.
const ROOT: &str = "/host/tpc";
const STORE: &str = "/host/tpc/.store";

/// Where the engine listens, and what it lies in.
const SOCKETS: [&str; 4] = ["/var/run/docker.sock", "/run/docker.sock", "/var/run", "/run"];

/// Something that is allowed because operators need it, and that they should be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hazard {
    /// The container can do to every other one what it wants.
    Engine(String),
    /// The container can write into what SONiC and tpcm keep.
    Host(String),
}

impl fmt::Display for Hazard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(path) => write!(
                f,
                "with {path} this container can stop, change and remove every container, SONiC's own included"
            ),
            Self::Host(path) => {
                write!(
                    f,
                    "with {path} this container can write into the switch's own files; :ro keeps it from that"
                )
            }
        }
    }
}

fn is_at_or_below(path: &str, above: &str) -> bool {
    path == above || path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/')) || above == "/"
}

/// Refuses what would hide tpcm's own volumes or open its store.
pub(super) fn check(args: &CreateArgs) -> Result<(), ArgsError> {
    let mounts = args.mounts.iter().map(|mount| &mount.target);
    let targets = mounts.chain(args.tmpfs.iter().map(|tmpfs| &tmpfs.target));
    let mut places = BTreeSet::new();
    for target in targets {
        if OURS.iter().any(|ours| is_at_or_below(target, ours)) {
            return Err(ArgsError::Refused {
                flag: format!("a volume at {target}"),
                why: "/tpc and /tpc_shared are mounted by tpcm and keep hooks, backups and shared data",
            });
        }
        if !places.insert(target) {
            return Err(ArgsError::SamePlace(target.clone()));
        }
    }
    for Mount { kind, read_only, .. } in &args.mounts {
        let MountKind::Bind(source) = kind else { continue };
        if is_at_or_below(source, STORE) || (source == ROOT && !read_only) {
            return Err(ArgsError::Refused {
                flag: format!("the volume {source}"),
                why: "it holds tpcm's store, and what keeps all TPCs is not given to one; use /tpc_shared",
            });
        }
    }
    Ok(())
}

/// What is allowed and dangerous.
pub(super) fn of(args: &CreateArgs) -> Vec<Hazard> {
    let binds = args.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind(source) => Some((source, mount.read_only)),
        MountKind::Volume(_) => None,
    });
    binds
        .filter_map(|(source, read_only)| match source.as_str() {
            path if SOCKETS.contains(&path) => Some(Hazard::Engine(path.to_owned())),
            "/" | "/host" | "/etc" | "/etc/sonic" if !read_only => Some(Hazard::Host(source.clone())),
            _ => None,
        })
        .collect()
}
