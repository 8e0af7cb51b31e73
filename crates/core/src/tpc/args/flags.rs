//! The flags of `docker create`: what tpcm takes, and what it refuses with the reason.

/// A flag that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    AddHost,
    CapAdd,
    CapDrop,
    Cgroupns,
    Device,
    Dns,
    DnsOption,
    DnsSearch,
    Entrypoint,
    Env,
    GroupAdd,
    Hostname,
    Init,
    Ipc,
    Label,
    LogDriver,
    LogOpt,
    Mount,
    Network,
    NoHealthcheck,
    Pid,
    Privileged,
    Publish,
    ReadOnly,
    SecurityOpt,
    ShmSize,
    StopSignal,
    StopTimeout,
    Sysctl,
    Tmpfs,
    Ulimit,
    User,
    Userns,
    Uts,
    Volume,
    Workdir,
}

/// Each flag by its long name, and by the others that Docker knows it by.
const TAKEN: [(&str, &[&str], Flag); 36] = [
    ("--add-host", &[], Flag::AddHost),
    ("--cap-add", &[], Flag::CapAdd),
    ("--cap-drop", &[], Flag::CapDrop),
    ("--cgroupns", &[], Flag::Cgroupns),
    ("--device", &[], Flag::Device),
    ("--dns", &[], Flag::Dns),
    ("--dns-option", &["--dns-opt"], Flag::DnsOption),
    ("--dns-search", &[], Flag::DnsSearch),
    ("--entrypoint", &[], Flag::Entrypoint),
    ("--env", &["-e"], Flag::Env),
    ("--group-add", &[], Flag::GroupAdd),
    ("--hostname", &["-h"], Flag::Hostname),
    ("--init", &[], Flag::Init),
    ("--ipc", &[], Flag::Ipc),
    ("--label", &["-l"], Flag::Label),
    ("--log-driver", &[], Flag::LogDriver),
    ("--log-opt", &[], Flag::LogOpt),
    ("--mount", &[], Flag::Mount),
    ("--network", &["--net"], Flag::Network),
    ("--no-healthcheck", &[], Flag::NoHealthcheck),
    ("--pid", &[], Flag::Pid),
    ("--privileged", &[], Flag::Privileged),
    ("--publish", &["-p"], Flag::Publish),
    ("--read-only", &[], Flag::ReadOnly),
    ("--security-opt", &[], Flag::SecurityOpt),
    ("--shm-size", &[], Flag::ShmSize),
    ("--stop-signal", &[], Flag::StopSignal),
    ("--stop-timeout", &[], Flag::StopTimeout),
    ("--sysctl", &[], Flag::Sysctl),
    ("--tmpfs", &[], Flag::Tmpfs),
    ("--ulimit", &[], Flag::Ulimit),
    ("--user", &["-u"], Flag::User),
    ("--userns", &[], Flag::Userns),
    ("--uts", &[], Flag::Uts),
    ("--volume", &["-v"], Flag::Volume),
    ("--workdir", &["-w"], Flag::Workdir),
];

const NAME: &str = "the container has the name that it is installed by";
const RESTART: &str = "its systemd unit restarts it; set Restart= with: systemctl edit <name>";
const DETACHED: &str = "its systemd unit runs it";
const REMOVE: &str = "it is kept until: tpcm uninstall <name>";
const TERMINAL: &str = "a service has no terminal";
const CPU: &str = "use --cpu of tpcm itself, outside of --args";
const MEMORY: &str = "use --memory of tpcm itself, outside of --args";
const DISK: &str = "use --disk of tpcm itself, outside of --args";
const CGROUP: &str = "all TPCs are below one cgroup, which caps what they take together";
const FILE: &str = "files of this machine are not read; give each value itself, with --env or --label";
const PULL: &str = "the image is the source that tpcm is given";
const ALL_PORTS: &str = "name each port with --publish";
const OTHERS: &str = "volumes of other containers are not shared; use /tpc_shared";
const OOM: &str = "a TPC never outlives SONiC's own containers when memory runs out";

const REFUSED: [(&str, &str); 40] = [
    ("--name", NAME),
    ("--restart", RESTART),
    ("--detach", DETACHED),
    ("-d", DETACHED),
    ("--rm", REMOVE),
    ("--interactive", TERMINAL),
    ("-i", TERMINAL),
    ("--tty", TERMINAL),
    ("-t", TERMINAL),
    ("--attach", TERMINAL),
    ("-a", TERMINAL),
    ("--detach-keys", TERMINAL),
    ("--sig-proxy", TERMINAL),
    ("--cpus", CPU),
    ("--cpu-shares", CPU),
    ("-c", CPU),
    ("--cpu-period", CPU),
    ("--cpu-quota", CPU),
    ("--cpu-rt-period", CPU),
    ("--cpu-rt-runtime", CPU),
    ("--cpuset-cpus", CPU),
    ("--cpuset-mems", CPU),
    ("--memory", MEMORY),
    ("-m", MEMORY),
    ("--memory-reservation", MEMORY),
    ("--memory-swap", MEMORY),
    ("--memory-swappiness", MEMORY),
    ("--kernel-memory", MEMORY),
    ("--storage-opt", DISK),
    ("--cgroup-parent", CGROUP),
    ("--env-file", FILE),
    ("--label-file", FILE),
    ("--cidfile", FILE),
    ("--pull", PULL),
    ("--platform", PULL),
    ("--publish-all", ALL_PORTS),
    ("-P", ALL_PORTS),
    ("--volumes-from", OTHERS),
    ("--oom-kill-disable", OOM),
    ("--oom-score-adj", OOM),
];

impl Flag {
    /// The flag of this name, long or short.
    pub(super) fn by_name(name: &str) -> Option<Self> {
        let found = TAKEN.iter().find(|(long, others, _)| *long == name || others.contains(&name));
        found.map(|(_, _, flag)| *flag)
    }

    /// Its long name.
    pub(super) fn name(self) -> &'static str {
        TAKEN.iter().find(|(_, _, flag)| *flag == self).map_or("", |(long, _, _)| long)
    }

    /// Whether it stands without a value.
    pub(super) fn is_switch(self) -> bool {
        matches!(self, Self::Init | Self::NoHealthcheck | Self::Privileged | Self::ReadOnly)
    }
}

/// Why the flag of this name is not taken, if that is known.
pub(super) fn refusal(name: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, why)| *why)
}
