//! What the package brings besides the program: help for each command, and what the support archive gets; and SONiC's own
//! `container`, which it gives back when it goes.

use anyhow::{Result, ensure};

use crate::command;
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Switch;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "completions, man pages and help are there for each program",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: help_is_there,
    },
    Scenario {
        name: "the support archive gets version, list, units and history",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: techsupport,
    },
    Scenario {
        // BI#24319.
        name: "before a reboot nothing is tagged, and nothing said, where Kubernetes runs nothing",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: tags_nothing,
    },
    Scenario {
        name: "removing the package gives SONiC's own container command back",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: removal,
    },
];

fn help_is_there(switch: &Switch) -> Result<()> {
    for (program, verbs) in [
        ("container", "start stop wait kill id inspect exec logs state list"),
        ("system", "service container"),
        ("switchyard", "container system tpcm config show gate watch generate completions"),
        (
            "tpcm",
            "install upgrade uninstall list show rollback resources recover verify prune save export import",
        ),
    ] {
        let help = switch.ok(&format!("{program} --help"))?;
        switch.ok(&format!(
            "source /usr/share/bash-completion/completions/{program} && complete -p {program}"
        ))?;
        for verb in verbs.split(' ') {
            ensure!(
                help.lines().any(|line| line.trim().starts_with(verb)),
                "{program} --help lacks {verb}: {help}"
            );
        }
        // One after the other, so that the first that fails is the last that is told.
        switch.ok(&format!(
            "set -eu
             for verb in {verbs}; do
               echo \"$verb\" >&2
               zcat /usr/share/man/man1/{program}-$verb.1.gz | grep -q \"^.TH {program}-$verb \"
               grep -qw \"$verb\" /usr/share/bash-completion/completions/{program}
               grep -qw \"$verb\" /usr/share/zsh/vendor-completions/_{program}
               grep -qw \"$verb\" /usr/share/fish/vendor_completions.d/{program}.fish
             done
             for shell in bash zsh fish; do
               echo \"$shell\" >&2
               switchyard completions $shell {program} | grep -q {program}
             done"
        ))?;
        // A reader that has seen enough is no reason to panic.
        let codes =
            switch.ok(&format!("switchyard completions bash {program} | true; echo ${{PIPESTATUS[0]}}"))?;
        ensure!(codes == "0", "completions that nobody reads end with {codes}");
    }
    let codes = switch.ok("container --help")?;
    for code in ["0 done", "3 no such feature or container", "10 a row that cannot be read"] {
        ensure!(codes.contains(code), "container --help does not explain {code:?}");
    }
    Ok(())
}

fn techsupport(switch: &Switch) -> Result<()> {
    let before = switch.ok("date '+%F %T'")?;
    switch.ok("system service restart snmp")?;
    let archive = switch.ok("/usr/local/bin/debug-dump/switchyard")?;
    let version = switch.ok("switchyard --version")?;
    for wanted in [
        "== switchyard --version",
        &version,
        "== container list -o json",
        "\"name\": \"snmp\"",
        "== system service list -o json",
        "== system service explain snmp",
        "== tail -n 100 /host/switchyard/history/snmp.jsonl",
    ] {
        ensure!(archive.contains(wanted), "the support archive lacks {wanted:?}");
    }
    let is_this_start = |line: &str| {
        line.strip_prefix("{\"time\":\"")
            .and_then(|rest| rest.split_once("\",\"verb\":\"start\""))
            .is_some_and(|(time, _)| *time >= *before)
    };
    ensure!(archive.lines().any(is_this_start), "the support archive lacks the start of after {before}");
    // This image has no `container` of SONiC's that could have been kept, so listing it fails; nothing else may.
    let failed = archive.split("\n== ").find(|part| part.contains("(ended with") && !part.starts_with("ls "));
    ensure!(failed.is_none(), "a part of the support archive failed: {failed:?}");
    Ok(())
}

/// In a throw-away container of the switch's image, with a file where SONiC has its own program.
fn removal(switch: &Switch) -> Result<()> {
    let image = command::ok("docker", &["inspect", "--format", "{{.Config.Image}}", switch.name()])?;
    let script = "set -eu
        program=/usr/local/bin/container
        package=$(dpkg-deb --field /usr/share/lab/switchyard.deb Package)
        dpkg --purge $package > /dev/null 2>&1
        [ ! -e $program ] && [ ! -L $program ]
        printf '#!/bin/sh\\necho shipped\\n' > $program; chmod 755 $program; touch -d 2026-01-01 $program
        before=$(stat -c '%a %u %g %s %Y' $program)
        dpkg --install /usr/share/lab/switchyard.deb > /dev/null 2>&1
        $program --version; $program.sonic
        dpkg --remove $package > /dev/null 2>&1
        $program
        [ \"$before\" = \"$(stat -c '%a %u %g %s %Y' $program)\" ]
        [ ! -e $program.sonic ] && [ ! -e /usr/bin/switchyard ] && [ ! -e /usr/bin/system ]";
    let said = command::ok(
        "docker",
        &["run", "--rm", "--network=none", "--entrypoint", "bash", &image, "-c", script],
    )?;
    let version = switch.ok("container --version")?;
    ensure!(said == format!("{version}\nshipped\nshipped"), "unexpected: {said:?}");
    Ok(())
}

/// As reboot scripts ask; SONiC's own logs an error for each local feature (buildimage #24319).
fn tags_nothing(switch: &Switch) -> Result<()> {
    let since = switch.now()?;
    let output = switch.sh("/usr/local/bin/ctrmgr_tools.py tag-all")?;
    let said = format!("{}{}", output.stdout, output.stderr);
    ensure!(output.success() && said.is_empty(), "it ended with {} and said {said:?}", output.status);
    let log = switch.journal_of(&since, "--identifier=ctrmgr_tools.py")?;
    ensure!(log.is_empty(), "it logged {log}");
    Ok(())
}
