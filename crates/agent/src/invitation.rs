//! What the operator wants of Kubernetes, from rows and from the files on /host.

use std::path::PathBuf;

use switchyard_cluster::{Invitation, NodeFiles, SavedCredential, ServerAddress};
use switchyard_core::NodeProgram;
use switchyard_sonic::{Credentials, Paths, Switch};

use crate::world::{Trouble, trouble};

/// The root of this switch; another one only for trials (`SWITCHYARD_ROOT`).
fn root() -> PathBuf {
    let root = std::env::var_os("SWITCHYARD_ROOT").filter(|root| !root.is_empty());
    root.map_or_else(|| "/".into(), PathBuf::from)
}

/// The files of the program that makes this switch a node; where both or none are installed, of the preferred one.
pub fn node_files(preferred: NodeProgram) -> NodeFiles {
    NodeFiles::installed(&root(), preferred)
}

/// What this switch was given to be let in by.
pub fn saved_credential() -> SavedCredential {
    SavedCredential::below(&root())
}

/// The cluster that this switch is to join by this program. None if it is to join none.
pub fn invitation(
    paths: &Paths,
    switch: &mut Switch,
    program: NodeProgram,
) -> Result<Option<Invitation>, Trouble> {
    let config = switch.server_config().map_err(trouble)?;
    let Some(host) = config.wanted() else { return Ok(None) };
    let server = ServerAddress::new(host.as_str(), config.port).map_err(trouble)?;
    let credential = saved_credential().read(program).map_err(trouble)?;
    let pin = Credentials::of(paths).ca_pin().map_err(trouble)?;
    Ok(Some(Invitation { server, credential, pin, insecure: config.insecure }))
}

/// What the switch is called: as configured, else as the kernel has it.
pub fn host_name(switch: &mut Switch) -> Result<String, Trouble> {
    match switch.node_name().map_err(trouble)? {
        Some(name) => Ok(name),
        None => Ok(std::fs::read_to_string("/proc/sys/kernel/hostname").map_err(trouble)?.trim().to_owned()),
    }
}
