//! What the kernel tells of processes that keep a feature from being started: for people, never to decide on.

use std::fs;

/// A process and its state. One in `D` heeds no signal.
pub(crate) fn describe(pid: i64) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    format!("pid {pid}, state {}", state(&status))
}

/// Who has a file, by its inode, locked for itself alone, and in which container.
pub(crate) fn holder(inode: u64) -> Option<String> {
    let pid = exclusive_holder(&fs::read_to_string("/proc/locks").ok()?, inode)?;
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let container = container(&groups).map(|id| format!("container {id}, ")).unwrap_or_default();
    Some(format!("{container}{}", describe(pid)))
}

fn state(status: &str) -> &str {
    status.lines().find_map(|line| line.strip_prefix("State:")).map_or("unknown", str::trim)
}

/// `1: FLOCK  ADVISORY  WRITE 1234 00:1a:5678 0 EOF`. A process of another namespace has the number 0 here.
fn exclusive_holder(locks: &str, inode: u64) -> Option<i64> {
    let holder = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, file, ..] = words.as_slice() else { return None };
        let is_it = file.rsplit(':').next()?.parse() == Ok(inode);
        pid.parse().ok().filter(|pid| is_it && *pid > 0)
    };
    locks.lines().find_map(holder)
}

/// The first digits of a container's id, wherever cgroup drivers put it.
fn container(groups: &str) -> Option<&str> {
    let id = groups.split(|c: char| !c.is_ascii_hexdigit()).find(|word| word.len() == 64)?;
    id.get(..12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_found_and_described() {
        let locks = "1: FLOCK  ADVISORY  READ 7 00:1a:42 0 EOF\n\
                     1: -> FLOCK  ADVISORY  WRITE 6 00:1a:42 0 EOF\n\
                     2: POSIX  ADVISORY  WRITE 8 00:1a:42 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 9 00:1a:43 0 EOF\n";
        assert_eq!(exclusive_holder(locks, 42), None, "who shares it, waits for it or has another kind");
        assert_eq!(exclusive_holder(locks, 43), Some(9));
        assert_eq!(state("Name:\tsnmpd\nState:\tD (disk sleep)\n"), "D (disk sleep)");
        assert_eq!(state(""), "unknown");
    }

    #[test]
    fn the_container_of_a_process_is_in_its_cgroup() {
        let id = "41d3a4bcdcc1".repeat(6).get(..64).unwrap().to_owned();
        for groups in [
            format!("9:freezer:/docker/{id}\n0::/\n"),
            format!("0::/kubepods.slice/kubepods-pod1.slice/docker-{id}.scope\n"),
            format!("4:freezer:/switch-1/kubepods/besteffort/pod12345678-abcd/{id}/stuck\n"),
        ] {
            assert_eq!(container(&groups), Some("41d3a4bcdcc1"));
        }
        assert_eq!(container("0::/system.slice/snmp.service\n"), None);
    }
}
