//! What k3s is told: a part of its configuration, and the drop-in of its unit.
//!
//! Both stand beside what an administrator has written and take nothing of it away. In k3s the last file counts, and a
//! list's key with `+` adds to it (k3s docs, `installation/configuration.md`).

use crate::address::ServerAddress;
use crate::kubelet::Settings;

use super::{DATA, TOKEN};

/// What its kubelet is told beside k3s's own settings, which let no stranger in and have no read-only port. In flags,
/// which every k3s takes; files of it only since 1.32. Why each: `kubelet/texts.rs`.
const KUBELET_ARGUMENTS: [&str; 4] = [
    "image-gc-high-threshold=100",
    "eviction-hard=memory.available<100Mi,nodefs.available<0%,nodefs.inodesFree<0%,imagefs.available<0%",
    "enforce-node-allocatable=none",
    "fail-swap-on=false",
];

/// `/etc/rancher/k3s/config.yaml.d/90-switchyard.yaml`. The token is in a file of its own.
pub(super) fn configuration(server: &ServerAddress, with_token: bool, settings: &Settings<'_>) -> String {
    let line = |key: &str, value: &str| format!("{key}: \"{value}\"\n");
    let mut text = "# Written by switchyard, removed when the switch leaves its cluster.\n".to_owned();
    text += &line("server", &server.url());
    if with_token {
        text += &line("token-file", TOKEN);
    }
    text += &line("data-dir", DATA);
    text += &line("node-name", settings.node.as_str());
    if let Some(address) = settings.address {
        text += &line("node-ip", &address.to_string());
    }
    // Pods are containers of the same Docker as the features' own: all else of ours looks there.
    text += "docker: true\nkubelet-arg+:\n";
    text + &KUBELET_ARGUMENTS.map(|argument| format!("- \"{argument}\"\n")).concat()
}

/// `/etc/systemd/system/k3s-agent.service.d/10-switchyard.conf`. What stands on k3s's command line counts more than its
/// files, so the one that its installer wrote, with a server or a token in it, is replaced.
pub(super) fn drop_in(program: &str) -> String {
    format!(
        "# Written by switchyard, removed when the switch leaves its cluster.\n\
         [Unit]\n\
         After=docker.service\n\
         \n\
         [Service]\n\
         # It is up when it runs: whether the server answers is asked elsewhere.\n\
         Type=exec\n\
         UnsetEnvironment=K3S_CONFIG_FILE\n\
         ExecStart=\n\
         ExecStart={program} agent\n"
    )
}
