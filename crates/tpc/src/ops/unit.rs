//! The systemd service of a third-party container: its main process is `tpcm run`, which starts the container and lives
//! as long as it does.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use switchyard_core::FeatureName;
use switchyard_core::tpc::TpcName;

/// The exit code of a run that systemd is not to repeat: its limits, those of all, or a link that it planted forbid it.
pub const NOT_AGAIN: u8 = 17;

/// Between SIGTERM and SIGKILL a container has so long, unless `--stop-timeout` says otherwise. As `docker stop`.
pub(super) const STOP_TIME: Duration = Duration::from_secs(10);

/// What stopping takes besides: the engine's own work on a slow disk.
const STOP_SLACK: u64 = 30;

/// How each of our units begins, those of earlier versions too.
const FIRST_WORDS: &str = "# Written by tpcm ";

/// Whether a unit file was written by us.
pub(super) fn is_ours(text: &str) -> bool {
    text.starts_with(FIRST_WORDS)
}

/// The whole unit file.
pub(super) fn render(name: &TpcName, after: &[FeatureName], stop: Duration, binary: &Path) -> String {
    let binary = binary.display();
    let mut features = String::new();
    for feature in after {
        // Writing to a String cannot fail.
        let _ = write!(features, " {feature}.service");
    }
    let stop = stop.as_secs() + STOP_SLACK;
    format!(
        "\
{FIRST_WORDS}and written anew by each upgrade: your own settings go into {name}.service.d/.
[Unit]
Description=Third-party container {name}
Documentation=man:tpcm(1)
Requires=docker.service
Wants=tpcm-apply.service
After=docker.service dbus.service tpcm.service{features}
StartLimitIntervalSec=600
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
ExecStart={binary} run {name}
# Also after a main process that was killed: the unit's state is the container's.
ExecStopPost={binary} stop {name}
KillMode=mixed
Restart=always
RestartSec=2
RestartPreventExitStatus={NOT_AGAIN}
TimeoutStartSec=120
TimeoutStopSec={stop}

[Install]
WantedBy=multi-user.target
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_starts_after_the_engine_the_restore_and_the_features_it_names() {
        let name = TpcName::parse("web").unwrap();
        let after = ["swss", "bgp"].map(|feature| FeatureName::parse(feature).unwrap());
        let text = render(&name, &after, Duration::from_mins(1), Path::new("/usr/bin/tpcm"));
        assert!(is_ours(&text) && !is_ours("[Unit]\nDescription=web"));
        for line in [
            "After=docker.service dbus.service tpcm.service swss.service bgp.service",
            "ExecStart=/usr/bin/tpcm run web",
            "ExecStopPost=/usr/bin/tpcm stop web",
            "TimeoutStopSec=90",
            "WantedBy=multi-user.target",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}
