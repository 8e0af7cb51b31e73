//! Whether the plug-ins for SONiC's `config`, `show` and Klish hand on what was typed, word for word, and the answer.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use switchyard_lab::command::{run, step};

/// Debian's, which has the package python3-click.
const PYTHON: &str = "/usr/bin/python3";

/// What is typed, and what tpcm gets: each argument in brackets.
const CLICK: [(&str, &[&str], &str); 6] = [
    (
        "config",
        &["tpcm", "install", "a", "http://x", "--args", "-e A=b", "-y"],
        "[install][a][http://x][--args][-e A=b][-y]",
    ),
    ("config", &["tpcm", "install", "--help"], "[install][--help]"),
    ("config", &["tpcm", "uninstall", "a", "--", "$(reboot)"], "[uninstall][a][$(reboot)]"),
    ("show", &["tpcm"], "[list]"),
    ("show", &["tpcm", "a"], "[show][a]"),
    ("show", &["tpcm", "a", "-o", "json"], "[show][a][-o][json]"),
];

/// What Klish understood, and what tpcm gets.
const KLISH: [(&[&str], &str); 5] = [
    (&["show", "name="], "[list]"),
    (&["show", "name=a"], "[show][a]"),
    (
        &["install", "name=a", "source=/x", "protocol=scp", "server=h", "username=me", "args=-e A=b"],
        "[install][-y][--protocol=scp][--server=h][--username=me][--args=-e A=b][--][a][/x]",
    ),
    (
        &["upgrade", "name=a", "source=--purge", "flag=skip-data"],
        "[upgrade][-y][--skip_data][--][a][--purge]",
    ),
    (&["resources", "name=a", "cpu=20%", "memory=", "disk="], "[resources][-y][--cpu=20%][--][a]"),
];

/// Runs the plug-ins in a small host with the real click, and the actioner, against a tpcm that tells what it got.
pub(super) fn check(packaging: &Path, scratch: &Path) -> Result<()> {
    step("checking the plug-ins of config, show and Klish", || {
        fs::create_dir_all(scratch)?;
        let tpcm = scratch.join("tpcm");
        fs::write(&tpcm, "#!/bin/sh\nprintf '[%s]' \"$@\"\nexit 13\n")?;
        fs::set_permissions(&tpcm, Permissions::from_mode(0o755))?;
        let path = |name: &str| packaging.join(name).to_string_lossy().into_owned();
        let said = |script: &str, arguments: &[&str]| {
            let assignment = format!("TPCM={}", tpcm.display());
            let line = [&[&assignment, PYTHON, "-B", script], arguments].concat();
            run("env", &line).context("install Debian's python3-click")
        };
        for (program, typed, wanted) in CLICK {
            let (host, click, plugin) =
                (path("tests/click/host.py"), path("click"), format!("{program}_tpcm"));
            let output = said(&host, &[&[&*click, &plugin], typed].concat())?;
            ensure!(
                output.text() == wanted && output.status == 13,
                "{program} {typed:?} became {} and ended with {}: {}",
                output.text(),
                output.status,
                output.stderr
            );
        }
        for (understood, wanted) in KLISH {
            let output = said(&path("klish/tpcm_actioner.py"), understood)?;
            ensure!(
                output.text() == wanted && output.status == 13,
                "Klish's {understood:?} became {}: {}",
                output.text(),
                output.stderr
            );
        }
        // Well-formed, and every command ends in a call of the actioner or is a mere prefix of one that does.
        let well_formed = "import sys, xml.etree.ElementTree as E; t = E.parse(sys.argv[1]); \
            n = '{http://www.dellemc.com/sonic/XMLSchema}'; c = list(t.iter(n + 'COMMAND')); \
            a = [x.findtext(n + 'ACTION') for x in c if len(x)]; \
            assert len(a) > 5 and all(x.startswith('tpcm_actioner ') for x in a), a";
        let output = run(PYTHON, &["-c", well_formed, &path("klish/tpcm.xml")])?;
        ensure!(output.success(), "klish/tpcm.xml: {}", output.stderr);
        Ok(())
    })
}
