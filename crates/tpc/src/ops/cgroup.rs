//! The cgroup that all third-party containers are in, and what the kernel tells of one container's use. Files only:
//! `docker stats` hangs with a container that is at its memory limit (buildimage #10008).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use switchyard_core::tpc::{Cap, Cpu, Machine};

use super::api::Usage;

/// The group, if the defaults do not name another.
const GROUP: &str = "switchyard-tpc";

/// With systemd's driver the group is a slice.
pub(super) const SLICE: &str = "tpc.slice";

/// The kernel hands out processor time in pieces of so many microseconds.
const PERIOD: u64 = 100_000;

/// What Docker is to be told as the parent of every TPC's own group.
pub(super) fn parent(driver: &str, named: Option<&str>) -> String {
    match (driver, named) {
        ("systemd", None) => SLICE.to_owned(),
        ("systemd", Some(named)) => named.to_owned(),
        (_, named) => format!("/{}", named.unwrap_or(GROUP).trim_matches('/')),
    }
}

/// Whether systemd keeps this group.
pub(super) fn is_slice(parent: &str) -> bool {
    parent.strip_suffix(".slice").is_some_and(|name| !name.contains('/'))
}

/// Makes the group and sets its cap. It is gone after each boot.
pub(super) fn ensure(root: &Path, parent: &str, cap: &Cap, machine: &Machine) -> io::Result<()> {
    let parent = parent.trim_matches('/');
    if parent.is_empty() {
        // A container that somebody else made under our name; the cap would be the whole machine's.
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let quota = quota(cap.cpu, machine.processors);
    let memory = cap.memory_of(machine).to_string();
    if root.join("cgroup.controllers").exists() {
        // Without this the files below would not be there. A kernel that lacks one of them is caught by the writes.
        let _ = fs::write(root.join("cgroup.subtree_control"), "+cpu +memory +pids");
        let group = root.join(parent);
        fs::create_dir_all(&group)?;
        fs::write(group.join("cpu.max"), format!("{quota} {PERIOD}"))?;
        return fs::write(group.join("memory.max"), memory);
    }
    let cpu = root.join("cpu").join(parent);
    fs::create_dir_all(&cpu)?;
    fs::write(cpu.join("cpu.cfs_period_us"), PERIOD.to_string())?;
    fs::write(cpu.join("cpu.cfs_quota_us"), quota.to_string())?;
    let group = root.join("memory").join(parent);
    fs::create_dir_all(&group)?;
    fs::write(group.join("memory.limit_in_bytes"), memory)
}

/// The unit of the group where systemd keeps groups.
pub(super) fn slice(cap: &Cap, machine: &Machine) -> String {
    let share = u64::from(cap.cpu.tenths()) * u64::from(machine.processors) / 10;
    format!(
        "# Written by tpcm: the cap over all third-party containers.\n[Unit]\nDescription=Third-party containers\n\n\
         [Slice]\nCPUQuota={share}%\nMemoryMax={}\n",
        cap.memory_of(machine)
    )
}

fn quota(cpu: Cpu, processors: u32) -> u64 {
    PERIOD * u64::from(cpu.tenths()) * u64::from(processors) / 1000
}

/// What the machine has.
pub(super) fn machine(disk: &Path) -> io::Result<Machine> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kilobytes =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let memory = kilobytes.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or_default() << 10;
    let space = rustix::fs::statvfs(disk)?;
    let disk = space.f_blocks.saturating_mul(space.f_frsize);
    Ok(Machine { processors: u32::try_from(processors).unwrap_or(u32::MAX), memory, disk })
}

/// Reads into `usage` what the groups of a process tell. What is not told stays unknown.
pub(super) fn read(root: &Path, pid: i64, usage: &mut Usage) {
    let Ok(groups) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else { return };
    let number = |path: PathBuf| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let Some(memory) = group(root, &groups, "memory") else { return };
    let cpu = group(root, &groups, "cpu").unwrap_or_default();
    let field = |path: PathBuf, name: &str| {
        let text = fs::read_to_string(path).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<u64>().ok())
    };
    usage.memory =
        number(memory.join("memory.current")).or_else(|| number(memory.join("memory.usage_in_bytes")));
    usage.memory_peak =
        number(memory.join("memory.peak")).or_else(|| number(memory.join("memory.max_usage_in_bytes")));
    usage.oom_kills = field(memory.join("memory.events"), "oom_kill")
        .or_else(|| field(memory.join("memory.oom_control"), "oom_kill"));
    usage.periods = field(cpu.join("cpu.stat"), "nr_periods");
    usage.throttled = field(cpu.join("cpu.stat"), "nr_throttled");
    usage.cpu_microseconds = field(cpu.join("cpu.stat"), "usage_usec").or_else(|| {
        let accounted = group(root, &groups, "cpuacct")?;
        number(accounted.join("cpuacct.usage")).map(|nanoseconds| nanoseconds / 1000)
    });
}

/// The directory of a controller, from the lines `number:controllers:path`; of the unified hierarchy the controllers
/// are empty.
fn group(root: &Path, groups: &str, controller: &str) -> Option<PathBuf> {
    let mut lines = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        rest.split_once(':')
    });
    let unified = root.join("cgroup.controllers").exists();
    let is_it = |names: &str| names.split(',').any(|name| name == controller);
    let (names, path) = lines.find(|(names, _)| if unified { names.is_empty() } else { is_it(names) })?;
    let hierarchy = if unified { root.to_owned() } else { root.join(names) };
    let hierarchy = if hierarchy.exists() { hierarchy } else { root.join(controller) };
    Some(hierarchy.join(path.trim_start_matches('/')))
}

/// What the limits do, in words. Being held back in a tenth of all periods is felt.
pub(super) fn remarks(usage: &Usage, cpu: Cpu) -> Vec<String> {
    let mut remarks = Vec::new();
    if let (Some(periods), Some(throttled)) = (usage.periods, usage.throttled)
        && throttled > 0
        && throttled.saturating_mul(10) >= periods
    {
        let share = throttled.saturating_mul(100) / periods.max(1);
        remarks
            .push(format!("slow because of its limit --cpu {cpu}: held back in {share}% of the time slices"));
    }
    if let Some(kills) = usage.oom_kills.filter(|kills| *kills > 0) {
        remarks.push(format!("{kills} of its processes were killed because of its limit --memory"));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Machine = Machine { processors: 4, memory: 8_000_000_000, disk: 0 };

    #[test]
    fn the_cap_is_set_in_both_kinds_of_hierarchy() {
        let root = tempfile::tempdir().unwrap();
        ensure(root.path(), "/x/tpc", &Cap::default(), &MACHINE).unwrap();
        let of = |path: &str| fs::read_to_string(root.path().join(path)).unwrap();
        assert_eq!(of("cpu/x/tpc/cpu.cfs_quota_us"), "320000");
        assert_eq!(of("memory/x/tpc/memory.limit_in_bytes"), "4000000000");

        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("cgroup.controllers"), "cpu memory").unwrap();
        ensure(root.path(), "/tpc", &Cap::default(), &MACHINE).unwrap();
        let of = |path: &str| fs::read_to_string(root.path().join(path)).unwrap();
        assert_eq!((of("tpc/cpu.max"), of("tpc/memory.max")), ("320000 100000".into(), "4000000000".into()));
        assert!(slice(&Cap::default(), &MACHINE).contains("CPUQuota=320%"));
        for whole_machine in ["", "/"] {
            assert!(ensure(root.path(), whole_machine, &Cap::default(), &MACHINE).is_err());
        }
        assert!(!root.path().join("cpu.max").exists());
    }

    #[test]
    fn the_parent_has_the_form_that_the_driver_wants() {
        assert_eq!(parent("systemd", None), "tpc.slice");
        assert!(is_slice(SLICE) && !is_slice("/switchyard-tpc") && !is_slice("/x.slice") && !is_slice(""));
        assert_eq!(parent("cgroupfs", None), "/switchyard-tpc");
        assert_eq!(parent("cgroupfs", Some("switch-1/tpc")), "/switch-1/tpc");
    }

    #[test]
    fn a_container_that_is_held_back_or_killed_by_its_limits_says_so() {
        let cpu = Cpu::DEFAULT;
        let usage = |periods, throttled, kills| Usage {
            periods: Some(periods),
            throttled: Some(throttled),
            oom_kills: Some(kills),
            ..Usage::default()
        };
        assert!(remarks(&usage(1000, 99, 0), cpu).is_empty());
        assert!(remarks(&Usage::default(), cpu).is_empty());
        let slow = remarks(&usage(1000, 500, 0), cpu);
        assert_eq!(slow, ["slow because of its limit --cpu 20%: held back in 50% of the time slices"]);
        assert!(remarks(&usage(0, 0, 2), cpu)[0].contains("2 of its processes were killed"));
    }
}
