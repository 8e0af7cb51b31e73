//! What comes from outside may be anything: each gets one clear line, its own exit code, and changes nothing.

use anyhow::{Result, ensure};

use super::{code, make, make_file, refused, runs, story, tell, tpcm};
use crate::scenario::Scenario;
use crate::switch::Switch;

pub(super) const SCENARIOS: &[Scenario] = &[
    story("tpcm: hostile and broken archives are refused", archives),
    story("tpcm: names that are no names, or somebody's, are refused", names),
    story("tpcm: tags in an archive never replace an image of the switch", tags),
    story("tpcm: a SONiC package is refused with the name of its tool", sonic_package),
    story("tpcm: links that a container plants in its volume are not followed", planted),
    story("tpcm: a store of a newer version is left alone", newer_store),
];

fn archives(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let good = make_file(switch, "-k 100", "1")?;
        switch.ok(&format!(
            "set -e; cd /root; mkdir story-x; cd story-x
             head -c $(( $(stat -c %s {good}) / 2 )) {good} > truncated
             head -c 100000 /dev/urandom > noise
             : > empty
             echo '{{}}' > text
             cp /bin/busybox program
             mkdir t; cd t; tar -xf {good}
             tar -cPf ../traversal --transform 's,^manifest.json,../manifest.json,' *
             tar -cPf ../absolute --transform 's,^manifest.json,/manifest.json,' *
             tar -cf ../twice * manifest.json
             ln -s /etc/shadow link; tar -cf ../link *; rm link
             mknod device b 8 0; tar -cf ../device *; rm device
             rm */layer.tar; tar -cf ../lacks *
             cd ..; rm -r t
             head -c 2000M /dev/zero | gzip -9 > bomb"
        ))?;
        for (name, words) in [
            ("truncated", "cut off"),
            ("noise", "not an image"),
            ("empty", "not an image"),
            ("text", "not an image"),
            ("program", "not an image"),
            ("traversal", "../manifest.json"),
            ("absolute", "manifest.json"),
            ("twice", "two entries"),
            ("link", "link"),
            ("device", "device"),
            ("lacks", "layer.tar"),
            ("bomb", ""),
        ] {
            let line = format!("install story /root/story-x/{name} -y");
            refused(switch, &line, code::NOT_AN_IMAGE, words)?;
        }
        tpcm(switch, &format!("install story {good} -y"))?;
        runs(switch, "story", "1")
    })
}

fn names(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let file = make_file(switch, "", "1")?;
        for name in
            ["../x", "-x", "Story", "a/b", "x.service", "tpcm", "docker", "..", "a b", &"n".repeat(70)]
        {
            let line = format!("install '{file}' -y -- '{name}'");
            let line = if name.starts_with('-') { line } else { format!("install '{name}' {file} -y") };
            let output = switch.refused(&format!("tpcm {line}"))?;
            ensure!(output.status == code::USAGE, "{name:?}: {} {}", output.status, output.stderr);
        }
        // A feature, a unit, a container.
        switch.ok("docker create --name story-taken docker-snmp:latest > /dev/null")?;
        for name in ["snmp", "redis", "story-taken"] {
            refused(switch, &format!("install {name} {file} -y"), code::REFUSED, "taken")?;
        }
        switch.ok("docker rm story-taken").map(drop)
    })
}

fn tags(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let before = switch.ok("docker inspect --format '{{.Id}}' docker-snmp:latest")?;
        make(switch, "", "1")?;
        switch.ok(
            "set -e; docker tag docker-snmp:latest story:keep; docker tag story:1 docker-snmp:latest
             docker save -o /root/story-1.tar docker-snmp:latest
             docker tag story:keep docker-snmp:latest; docker rmi story:keep story:1 > /dev/null",
        )?;
        tpcm(switch, "install story /root/story-1.tar -y")?;
        runs(switch, "story", "1")?;
        let after = switch.ok("docker inspect --format '{{.Id}}' docker-snmp:latest")?;
        ensure!(before == after, "docker-snmp:latest was {before} and is {after}");
        let repositories = switch.ok("docker inspect --format '{{.RepoTags}}' tpc/story")?;
        ensure!(
            repositories.starts_with("[tpc/story:") && !repositories.contains(' '),
            "its names are {repositories}"
        );
        Ok(())
    })
}

fn sonic_package(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let file = make_file(switch, "-l 'com.azure.sonic.manifest={}'", "1")?;
        let line = format!("install story {file} -y");
        refused(switch, &line, code::SONIC_PACKAGE, "sonic-package-manager").map(drop)
    })
}

fn planted(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let (one, two) = (make_file(switch, "-H", "1")?, make_file(switch, "-H", "2")?);
        tpcm(switch, &format!("install story {one} -y"))?;
        let before = switch.ok("md5sum /etc/passwd; ls /etc | md5sum")?;
        switch.ok(
            "docker exec story sh -c 'rm -rf /tpc/hook /tpc/backup; \
             busybox ln -s /etc /tpc/backup; busybox ln -s /etc /tpc/hook; busybox ln -s /etc/passwd /tpc/data'",
        )?;
        // It succeeds or it fails; nothing outside the volume is touched.
        let output = switch.sh(&format!("tpcm upgrade story {two} -y"))?;
        tpcm(switch, "uninstall story --purge -y")?;
        let after = switch.ok("md5sum /etc/passwd; ls /etc | md5sum")?;
        ensure!(before == after, "the upgrade ({}) followed a link: {}", output.status, output.stderr);

        // A link in the place of a directory that the engine mounts: it is resolved anew at every start.
        tpcm(switch, &format!("install story {one} -y --args '-v data:/kept'"))?;
        switch.ok("docker exec story sh -c 'busybox mv /tpc/volumes/data /tpc/away; \
             busybox ln -s /etc /tpc/volumes/data'")?;
        switch.sh("systemctl restart story")?;
        let running = switch.ok("docker inspect --format '{{.State.Running}}' story")?;
        ensure!(running == "false", "it was started with /etc mounted");
        let shown = tpcm(switch, "show story")?;
        ensure!(shown.contains("volumes/data"), "tpcm show does not tell the link: {shown}");
        // As it says: the link removed, it runs again.
        switch.ok("rm /host/tpc/story/volumes/data; systemctl reset-failed story; systemctl start story")?;
        runs(switch, "story", "1")
    })
}

fn newer_store(switch: &Switch) -> Result<()> {
    tell(switch, || {
        let file = make_file(switch, "", "1")?;
        tpcm(switch, &format!("install story {file} -y"))?;
        let version = switch.ok("cat /host/tpc/.store/version")?;
        switch.ok("echo 99 > /host/tpc/.store/version")?;
        for line in ["list", "uninstall story -y", "restore", &format!("install story-b {file} -y")] {
            let output = switch.refused(&format!("tpcm {line}"))?;
            ensure!(output.status == code::STORE, "tpcm {line}: {} {}", output.status, output.stderr);
            ensure!(output.stderr.contains("newer"), "tpcm {line} says {}", output.stderr);
        }
        switch.ok(&format!("echo '{version}' > /host/tpc/.store/version"))?;
        runs(switch, "story", "1")
    })
}
