//! What happens to packages: installed, upgraded, called off half-way, removed, replaced.

use std::fs;

use anyhow::{Result, ensure};

use super::Packages;
use super::root::{Root, SONICS};

/// A story; it ends with the package purged.
pub(super) struct Story {
    pub(super) name: &'static str,
    /// Told in this root with these packages; with a `container` of SONiC's there before, or without.
    pub(super) tell: fn(&Root, &Packages, bool) -> Result<()>,
}

pub(super) const ALL: [Story; 10] = [
    Story { name: "install, use, remove, purge", tell: install },
    Story { name: "upgrade", tell: upgrade },
    Story { name: "an installation that is refused", tell: refused_installation },
    Story { name: "an upgrade that is called off", tell: called_off_upgrade },
    Story { name: "a configuration that fails", tell: failed_configuration },
    Story { name: "a removal that is called off", tell: called_off_removal },
    Story { name: "one variant for the other and back", tell: variants },
    Story { name: "SONiC's command renewed meanwhile", tell: renewed_original },
    Story { name: "another package with a container command", tell: second_container },
    Story { name: "death at every command of the scripts", tell: death },
];

fn install(root: &Root, packages: &Packages, original: bool) -> Result<()> {
    dpkg(root, original, &format!("dpkg --install {}", packages.plain))?;
    check_ours(root, original)?;
    let modes =
        root.must("cd /host/switchyard && stat -c '%a %U:%G %n' /run/switchyard $PWD history versions")?;
    let wanted = "2770 root:docker /run/switchyard\n2775 root:docker /host/switchyard\n\
                  2775 root:docker history\n2775 root:docker versions";
    ensure!(modes == wanted, "the shared directories are {modes}");
    let support = root.must("/usr/local/bin/debug-dump/switchyard")?;
    ensure!(support.contains("== switchyard --version\nswitchyard "), "techsupport says {support}");
    ensure!(support.contains("== container list -o json"), "techsupport says {support}");
    let yang = root.must("cat /usr/local/yang-models/sonic-feature-switchyard.yang")?;
    ensure!(yang.starts_with("module sonic-feature-switchyard {"), "the model is {yang}");
    root.must("cd / && md5sum --quiet --check /var/lib/dpkg/info/switchyard.md5sums")?;

    dpkg(root, original, "dpkg --remove switchyard")?;
    check_theirs(root, original, SONICS)?;
    purge(root)
}

fn upgrade(root: &Root, packages: &Packages, original: bool) -> Result<()> {
    root.must(&format!("dpkg --install {}", packages.plain))?;
    root.must("touch /host/switchyard/history/snmp.jsonl /run/switchyard/snmp.lock")?;
    for package in [&packages.newer, &packages.plain, &packages.plain] {
        // Also down again, and the same once more.
        root.never_without_container(|| root.must(&format!("dpkg --install {package}")).map(drop))?;
        check_ours(root, original)?;
    }
    root.must("ls /host/switchyard/history/snmp.jsonl /run/switchyard/snmp.lock")?;
    purge(root)
}

fn refused_installation(root: &Root, packages: &Packages, original: bool) -> Result<()> {
    for package in [&packages.refusing, &packages.torn] {
        let before = root.tree()?;
        dpkg_fails(root, original, &format!("dpkg --install {package}"))?;
        root.check_same(&before)?;
    }
    root.must(&format!("dpkg --install {}", packages.rival))?;
    let before = root.tree()?;
    dpkg_fails(root, original, &format!("dpkg --install {}", packages.plain))?;
    root.check_same(&before)?;
    root.must("dpkg --purge rival").map(drop)
}

fn called_off_upgrade(root: &Root, packages: &Packages, original: bool) -> Result<()> {
    root.must(&format!("dpkg --install {}", packages.plain))?;
    let installed = root.tree()?;
    for package in [&packages.refusing, &packages.torn] {
        root.never_without_container(|| root.must_fail(&format!("dpkg --install {package}")))?;
        check_ours(root, original)?;
        ensure!(root.tree()? == installed, "{package} was called off and left something");
        let status =
            root.must("dpkg-query --show --showformat='${db:Status-Status} ${Version}' switchyard")?;
        ensure!(status.starts_with("installed ") && !status.contains(" 9."), "after {package}: {status}");
    }
    purge(root)
}

fn failed_configuration(root: &Root, packages: &Packages, original: bool) -> Result<()> {
    dpkg_fails(root, original, &format!("dpkg --install {}", packages.failing))?;
    // Nothing was taken over yet; removing what is half there must not take anything away either.
    dpkg(root, original, "dpkg --remove switchyard")?;
    check_theirs(root, original, SONICS)?;
    root.must(&format!("dpkg --install {}", packages.plain))?;
    root.never_without_container(|| root.must_fail(&format!("dpkg --install {}", packages.failing)))?;
    check_ours(root, original)?;
    root.must(&format!("dpkg --install {}", packages.plain))?;
    check_ours(root, original)?;
    purge(root)
}

fn called_off_removal(root: &Root, packages: &Packages, original: bool) -> Result<()> {
    root.must(&format!("dpkg --install {}", packages.plain))?;
    let script = root.path("/var/lib/dpkg/info/switchyard.prerm");
    let good = fs::read_to_string(&script)?;
    // It does all of its work and then says that it could not.
    fs::write(&script, format!("{good}\nexit 1\n"))?;
    dpkg_fails(root, original, "dpkg --remove switchyard")?;
    check_ours(root, original)?;
    fs::write(&script, good)?;
    purge(root)
}

fn variants(root: &Root, packages: &Packages, original: bool) -> Result<()> {
    root.must(&format!("dpkg --install {}", packages.plain))?;
    root.must("touch /host/switchyard/history/snmp.jsonl")?;
    for (package, name, other) in [
        (&packages.standalone, "switchyard-standalone", "switchyard"),
        (&packages.plain, "switchyard", "switchyard-standalone"),
    ] {
        root.never_without_container(|| root.must(&format!("dpkg --install {package}")).map(drop))?;
        check_ours(root, original)?;
        let is_standalone = root.must("switchyard --version")?.ends_with("standalone");
        ensure!(is_standalone == (name == "switchyard-standalone"), "{name} brought another binary");
        // What is left of the one that went must not pull anything down with it.
        root.must(&format!("dpkg --purge {other} && test -e /host/switchyard/history/snmp.jsonl"))?;
        check_ours(root, original)?;
        root.must(&format!("cd / && md5sum --quiet --check /var/lib/dpkg/info/{name}.md5sums"))?;
    }
    purge(root)
}

fn renewed_original(root: &Root, packages: &Packages, original: bool) -> Result<()> {
    let renewed = SONICS.replace("own", "own, renewed");
    let put = || {
        fs::remove_file(root.path("/usr/local/bin/container"))?;
        fs::write(root.path("/usr/local/bin/container"), &renewed)?;
        root.must("chmod 755 /usr/local/bin/container").map(drop)
    };
    root.must(&format!("dpkg --install {}", packages.plain))?;
    put()?;
    root.must("dpkg --remove switchyard")?;
    check_theirs(root, true, &renewed)?;
    root.must(&format!("dpkg --install {}", packages.plain))?;
    put()?;
    root.must(&format!("dpkg --install {}", packages.newer))?;
    check_ours(root, true)?;
    root.must("dpkg --remove switchyard")?;
    check_theirs(root, true, &renewed)?;
    purge(root)?;
    root.set_original(original)
}

fn second_container(root: &Root, packages: &Packages, original: bool) -> Result<()> {
    root.must(&format!("dpkg --install {}", packages.plain))?;
    root.must(&format!("dpkg --install {}", packages.second))?;
    check_ours(root, true)?;
    let kept = root.must("/usr/local/bin/container.sonic")?;
    ensure!(kept == "second", "the other package's command is not where the original is kept: {kept}");
    root.must("dpkg --remove switchyard")?;
    ensure!(root.must("container")? == "second", "the other package's command did not come back");
    // With the last file of a package dpkg removes the directory as well; that is the other package's doing.
    root.must(
        "dpkg --verify second && dpkg --purge second && mkdir -p /usr/local/bin /usr/local/yang-models",
    )?;
    purge(root)?;
    root.set_original(original)
}

/// The scripts are killed before their first command, their second, …; done again they must end as if nothing happened.
fn death(root: &Root, packages: &Packages, original: bool) -> Result<()> {
    root.must(&format!("dpkg --install {}", packages.plain))?;
    let script = |name: &str| format!("/var/lib/dpkg/info/switchyard.{name}");
    let (take_over, give_back) = (script("postinst") + " configure", script("prerm") + " remove");
    for (name, arguments) in [("postinst", "configure"), ("prerm", "remove"), ("postrm", "purge")] {
        let path = script(name);
        for deaths in 0_u32.. {
            // From the state that the script meets in life.
            root.must(if name == "postinst" { &give_back } else { &take_over })?;
            let watched =
                format!("set -T; n=0; trap '[ $((n++)) -lt {deaths} ] || kill -9 $$' DEBUG; . {path}");
            let watched = watched.replace('\'', r"'\''");
            // More than one command, or the inner shell would become process 1 of the namespace, which nothing kills.
            let died = !root.shell(&format!("bash -c '{watched}' {path} {arguments}; exit $?"))?.success();
            root.must(&format!("{path} {arguments}"))?;
            if name == "postinst" {
                check_ours(root, original)?;
            } else {
                check_theirs(root, original, SONICS)?;
            }
            if !died {
                ensure!(deaths > 5, "{name} was killed only {deaths} times: it did not do its work");
                break;
            }
            ensure!(deaths < 200, "{name} has no end");
        }
    }
    root.must(&take_over)?;
    purge(root)
}

/// Runs dpkg; where SONiC's command was there before, there is one in every moment.
fn dpkg(root: &Root, original: bool, line: &str) -> Result<()> {
    let work = || root.must(line).map(drop);
    if original { root.never_without_container(work) } else { work() }
}

fn dpkg_fails(root: &Root, original: bool, line: &str) -> Result<()> {
    let work = || root.must_fail(line);
    if original { root.never_without_container(work) } else { work() }
}

fn purge(root: &Root) -> Result<()> {
    root.must("dpkg --purge switchyard switchyard-standalone").map(drop)
}

/// The switch has our command, and SONiC's is kept.
fn check_ours(root: &Root, original: bool) -> Result<()> {
    let version = root.must("container --version && readlink /usr/local/bin/container")?;
    ensure!(version.ends_with("/usr/bin/switchyard"), "container is not ours: {version}");
    root.must("system --version")?;
    let kept = root.path("/usr/local/bin/container.sonic").exists();
    ensure!(kept == original, "an original is kept: {kept}, there was one: {original}");
    // What takes images along is ours only where Kubernetes may bring some.
    let standalone = root.must("switchyard --version")?.ends_with("standalone");
    let tools = fs::read_link(root.path("/usr/local/bin/ctrmgr_tools.py"));
    let is_ours = tools.is_ok_and(|program| program.ends_with("switchyard"));
    ensure!(is_ours != standalone, "ctrmgr_tools.py is ours: {is_ours}, without Kubernetes: {standalone}");
    if standalone { has_their_tools(root) } else { root.must("ctrmgr_tools.py --version").map(drop) }
}

/// SONiC's own `ctrmgr_tools.py` is where it was, if there was one, and nothing is left beside it.
fn has_their_tools(root: &Root) -> Result<()> {
    let path = root.path("/usr/local/bin/ctrmgr_tools.py");
    if fs::symlink_metadata(&path).is_ok() {
        let found = fs::read_to_string(&path)?;
        ensure!(found == SONICS, "ctrmgr_tools.py is not SONiC's: {found}");
    }
    ensure!(!root.path("/usr/local/bin/ctrmgr_tools.py.sonic").exists(), "its original is still kept");
    Ok(())
}

/// The switch has SONiC's command again, or none if it had none.
fn check_theirs(root: &Root, original: bool, text: &str) -> Result<()> {
    let path = root.path("/usr/local/bin/container");
    if original {
        let found = fs::read_to_string(&path)?;
        ensure!(found == text, "container is not SONiC's: {found}");
        root.must("[ \"$(container)\" = sonic ]")?;
    } else {
        ensure!(fs::symlink_metadata(&path).is_err(), "there is a container where there was none");
    }
    let kept = root.path("/usr/local/bin/container.sonic").exists();
    ensure!(!kept, "the kept original is still there");
    let tools = root.path("/usr/local/bin/ctrmgr_tools.py").exists();
    // Where a story put a `container` of its own there, it put no more than that.
    ensure!(
        tools == original || text != SONICS,
        "ctrmgr_tools.py is there: {tools}, and was there: {original}"
    );
    has_their_tools(root)
}
