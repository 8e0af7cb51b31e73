//! Which container am I? Read from the control groups of this process, where the engine put it.

use switchyard_core::ContainerId;

/// This container's id, if its control groups tell. In a private cgroup namespace they do not: then the host finds
/// the container by its labels.
pub(super) fn own_container_id() -> Option<ContainerId> {
    find_id(&std::fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// The first path component that is 64 hex digits, bare (cgroupfs driver) or as `docker-<id>.scope` and
/// `cri-containerd-<id>.scope` (systemd driver), in any line of either cgroup version.
fn find_id(cgroups: &str) -> Option<ContainerId> {
    let components = cgroups.lines().flat_map(|line| line.rsplit('/'));
    let ids = components.filter_map(|part| {
        let bare = part.strip_suffix(".scope").unwrap_or(part);
        let digits = bare.rsplit('-').next().unwrap_or(bare);
        (digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(digits)
    });
    ids.map(ContainerId::parse).find_map(Result::ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIELD.md defect 2: on cgroup v2 no container knew its id.
    #[test]
    fn the_id_is_found_on_both_cgroup_versions_and_with_both_drivers() {
        let id = "0123456789abcdef".repeat(4);
        for text in [
            format!("4:memory:/docker/{id}\n0::/"),
            format!("9:memory:/kubepods/burstable/pod7d2a/{id}\n"),
            format!("0::/system.slice/docker-{id}.scope\n"),
            format!("0::/kubepods.slice/kubepods-pod7d_2a.slice/cri-containerd-{id}.scope\n"),
            format!("0::/docker/{id}/init\n"),
        ] {
            assert_eq!(find_id(&text).map(|id| id.to_string()), Some(id.clone()), "{text}");
        }
        assert_eq!(find_id("0::/\n"), None);
        assert_eq!(find_id("0::/user.slice/session-1.scope\n"), None);
    }
}
