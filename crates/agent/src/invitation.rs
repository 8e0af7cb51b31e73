//! What the operator wants of Kubernetes, from rows and from the files on /host.

use switchyard_cluster::{Invitation, KubeletFiles, ServerAddress};
use switchyard_sonic::{Credentials, Paths, Switch};

use crate::world::{Trouble, trouble};

/// The kubelet's files of this switch; of another root only for trials (`SWITCHYARD_ROOT`).
pub fn kubelet_files() -> KubeletFiles {
    let root = std::env::var_os("SWITCHYARD_ROOT").filter(|root| !root.is_empty());
    KubeletFiles::below(root.map_or_else(|| "/".into(), std::path::PathBuf::from))
}

/// The cluster that this switch is to join. None if it is to join none.
pub fn invitation(paths: &Paths, switch: &mut Switch) -> Result<Option<Invitation>, Trouble> {
    let config = switch.server_config().map_err(trouble)?;
    let Some(host) = config.wanted() else { return Ok(None) };
    let server = ServerAddress::new(host.as_str(), config.port).map_err(trouble)?;
    let credential = kubelet_files().saved_credential().map_err(trouble)?;
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
