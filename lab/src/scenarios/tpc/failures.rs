//! Upgrades that fail leave the old version running with its data, whatever it was that failed.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::super::lost::{another_docker, live_restore};
use super::cut::CutServer;
use super::{DEFAULTS, code, long_story, make, make_file, refused, runs, show, story, tell, tell_with, tpcm};
use crate::scenario::Scenario;
use crate::servers::Servers;
use crate::switch::Switch;

pub(super) const SCENARIOS: &[Scenario] = &[
    story("tpcm: an upgrade whose image does not start leaves the old version running", does_not_start),
    story("tpcm: an upgrade whose hook fails or hangs leaves the old version running", hooks),
    story("tpcm: an upgrade whose new version rewrites its data and dies leaves the old data", rewrites),
    story("tpcm: a download that is cut goes on where it was, or leaves the old version running", cut),
    story("tpcm: an upgrade with a wrong digest leaves the old version running", digest),
    story(
        "tpcm: a crash of Docker is over at once, and a container that lived through it lives on",
        docker_dies,
    ),
    long_story("tpcm: a download that is cut at any tenth leaves the old version running", cut_everywhere),
    long_story(
        "tpcm: a download from a server that stalls is given up in time, and goes on where it was",
        stalls,
    ),
    long_story("tpcm: a disk that fills at any write leaves the old version running", disk_full),
];

const IMPATIENT: &str = r#"{ "stays_up": 2 }"#;

/// For a version that ends by itself, and is to be seen doing so however busy the machine is.
const PATIENT: &str = r#"{ "stays_up": 30 }"#;

/// Version 1, installed, with data in the volume and in the writable layer.
fn begin(switch: &Switch, options: &str) -> Result<()> {
    let one = make_file(switch, options, "1")?;
    tpcm(switch, &format!("install story {one} -y"))?;
    switch.write(DEFAULTS, IMPATIENT)?;
    switch.ok("docker exec story sh -c 'echo volume > /tpc/data; echo layer > /data/file'").map(drop)
}

/// Version 1 runs and has its data.
fn still(switch: &Switch) -> Result<()> {
    runs(switch, "story", "1")?;
    let data = switch.ok("docker exec story cat /tpc/data /data/file")?;
    ensure!(data == "volume\nlayer", "after the upgrade failed its data is {data:?}");
    let containers = switch.ok("docker ps --all --format '{{.Names}}' | grep story")?;
    ensure!(containers == "story", "containers are left: {containers}");
    switch.ok("! ls /host/tpc/.store/tmp/* 2> /dev/null").map(drop)
}

/// Upgrades, which must fail like this, and checks that nothing came of it.
fn fails(switch: &Switch, line: &str, code: i32, words: &str) -> Result<()> {
    refused(switch, line, code, words)?;
    still(switch)
}

fn docker_dies(switch: &Switch) -> Result<()> {
    tell(switch, || {
        begin(switch, "")?;
        live_restore(switch, true)?;
        let told = lives_on(switch);
        live_restore(switch, false)?;
        told
    })
}

fn lives_on(switch: &Switch) -> Result<()> {
    let facts = "docker inspect --format '{{.State.Pid}} {{.State.StartedAt}}' story";
    let before = switch.ok(facts)?;
    another_docker(switch, "kill -KILL $(pidof dockerd)")?;
    switch.wait_text("systemctl is-active story", "active", Duration::from_secs(30))?;
    let after = switch.ok(facts)?;
    ensure!(after == before, "it ran as {before}, and now as {after}");
    still(switch)
}

fn does_not_start(switch: &Switch) -> Result<()> {
    tell(switch, || {
        begin(switch, "")?;
        switch.write(DEFAULTS, PATIENT)?;
        for (version, program) in [("2", "exit 3"), ("3", "exec /none"), ("4", "sleep 1; exit 0")] {
            let file = make_file(switch, &format!("-p '{program}'"), version)?;
            fails(switch, &format!("upgrade story {file} -y"), code::DOES_NOT_RUN, "story")?;
        }
        // The same at an installation leaves nothing.
        let file = make_file(switch, "-p 'exit 3'", "5")?;
        refused(switch, &format!("install story-b {file} -y"), code::DOES_NOT_RUN, "story-b")?;
        let kept = show(switch, "story")?["version"].clone();
        ensure!(kept == "1", "the version is told as {kept}");
        Ok(())
    })
}

fn hooks(switch: &Switch) -> Result<()> {
    tell(switch, || {
        begin(switch, "-H")?;
        let two = make_file(switch, "-H", "2")?;
        let pre = "/host/tpc/story/hook/pre.sh";
        switch.ok(&format!("cp -a {pre} /root/story-pre.sh"))?;
        for (script, words, defaults) in [
            ("while :; do sleep 1; done", "pre.sh", r#"{ "stays_up": 2, "hook_time": 3 }"#),
            ("echo no luck; exit 7", "no luck", IMPATIENT),
        ] {
            switch.write(DEFAULTS, defaults)?;
            switch.write(pre, &format!("#!/bin/sh\n{script}\n"))?;
            fails(switch, &format!("upgrade story {two} -y"), code::HOOK, words)?;
        }
        switch.write(pre, "#!/bin/sh\nmkdir -p /tpc/backup\necho broken > /tpc/backup/data.tar.gz\n")?;
        fails(switch, &format!("upgrade story {two} -y"), code::HOOK, "data.tar.gz")?;
        switch.ok(&format!("cp -a /root/story-pre.sh {pre}"))?;

        // The new version's own hook.
        make(switch, "-H", "3")?;
        switch.ok(
            "set -e; id=$(docker create story:3 /app)
             printf '#!/bin/sh\\nrm /tpc/data; echo cannot; exit 1\\n' > /root/story-post.sh; chmod 755 /root/story-post.sh
             docker cp /root/story-post.sh \"$id\":/tpc/hook/post.sh
             docker commit --change 'CMD [\"/app\"]' \"$id\" story:3 > /dev/null; docker rm \"$id\" > /dev/null
             docker save -o /root/story-3.tar story:3; docker rmi story:3 > /dev/null",
        )?;
        fails(switch, "upgrade story /root/story-3.tar -y", code::HOOK, "cannot")
    })
}

fn rewrites(switch: &Switch) -> Result<()> {
    tell(switch, || {
        begin(switch, "")?;
        switch.write(DEFAULTS, PATIENT)?;
        let program = "echo spoilt > /tpc/data; rm -rf /tpc/hook; exit 1";
        let file = make_file(switch, &format!("-p '{program}'"), "2")?;
        fails(switch, &format!("upgrade story {file} -y"), code::DOES_NOT_RUN, "story")
    })
}

fn cut(switch: &Switch) -> Result<()> {
    tell_with(switch, |servers: &Servers| {
        begin(switch, "")?;
        let file = make_file(switch, "-k 2000", "2")?;
        let server = CutServer::of(switch, &file, &servers.gateway()?)?;
        let url = server.url();
        server.cut_for_good_at(5);
        refused(switch, &format!("upgrade story {url} -y"), code::UNREACHABLE, "closed the connection")?;
        still(switch)?;
        // What came is kept, and the next attempt needs only the rest. Each connection gives two tenths.
        server.cut_each_after(2);
        tpcm(switch, &format!("upgrade story {url} -y"))?;
        runs(switch, "story", "2")?;
        ensure!((3..6).contains(&server.connections()), "it took {} connections", server.connections());
        ensure!(server.resumed(), "each connection began anew");
        Ok(())
    })
}

/// Each attempt waits a while before it gives up, so this takes minutes.
fn cut_everywhere(switch: &Switch) -> Result<()> {
    tell_with(switch, |servers: &Servers| {
        begin(switch, "")?;
        for tenth in 0..10 {
            let file = make_file(switch, "-k 2000", "2")?;
            let server = CutServer::of(switch, &file, &servers.gateway()?)?;
            server.cut_for_good_at(tenth);
            let line = format!("upgrade story {} -y", server.url());
            refused(switch, &line, code::UNREACHABLE, "closed the connection")?;
            still(switch)?;
        }
        Ok(())
    })
}

/// A minute for each of five attempts, and the pauses between them: minutes, and an end.
const GIVEN_UP_MAX: Duration = Duration::from_mins(8);

fn stalls(switch: &Switch) -> Result<()> {
    tell_with(switch, |servers: &Servers| {
        begin(switch, "")?;
        let file = make_file(switch, "-k 2000", "2")?;
        let server = CutServer::of(switch, &file, &servers.gateway()?)?;
        let url = server.url();
        server.stall_at(5);
        // Longer than a command of a story may take.
        switch.ok(&format!(
            "(tpcm upgrade story {url} -y 2> /root/story-said; echo $? > /root/story-code) > /dev/null 2>&1 &"
        ))?;
        switch.wait_ok("it is given up", GIVEN_UP_MAX, "test -s /root/story-code")?;
        let ended = switch.ok("cat /root/story-code; tail -1 /root/story-said")?;
        let (code, said) = ended.split_once('\n').unwrap_or((&ended, ""));
        ensure!(
            code == code::UNREACHABLE.to_string() && said.starts_with("tpcm: ") && said.contains("stalls"),
            "it ended with {code}: {said}"
        );
        still(switch)?;
        server.cut_each_after(10);
        tpcm(switch, &format!("upgrade story {url} -y"))?;
        runs(switch, "story", "2")?;
        ensure!(server.connections() == 1 && server.resumed(), "what had come was fetched again");
        Ok(())
    })
}

fn digest(switch: &Switch) -> Result<()> {
    tell(switch, || {
        begin(switch, "")?;
        let file = make_file(switch, "-k 400", "2")?;
        let wrong = "ab".repeat(32);
        fails(switch, &format!("upgrade story {file} --sha256 {wrong} -y"), code::DIGEST, &wrong)?;
        // An archive whose own digests are wrong: a layer was changed.
        switch.ok(&format!(
            "cd /root && mkdir story-t && cd story-t && tar -xf {file} && layer=$(ls */layer.tar)
             at=$(grep -abo blob $layer | tail -1 | cut -d: -f1)
             printf 'xx' | dd of=$layer bs=1 seek=$((at + 9000)) conv=notrunc 2> /dev/null
             tar -cf {file} * && cd .. && rm -r story-t"
        ))?;
        fails(switch, &format!("upgrade story {file} -y"), code::DIGEST, "digest")
    })
}

/// What is set aside, in megabytes: more than an image twice, so that there is room for that and none for this.
const DATA: u64 = 24;

/// What tpcm leaves to SONiC, in megabytes.
const SLACK: u64 = 16;

/// On a partition of its own, with so much room and no more: from too little for the new image to more than enough for
/// everything. There a version comes first that fills it all itself, and stays up.
fn disk_full(switch: &Switch) -> Result<()> {
    let two = make_file(switch, "-k 4000", "2")?;
    let fills = "dd if=/dev/zero of=/tpc/full bs=1M 2> /dev/null; while :; do sleep 1; done";
    let three = make_file(switch, &format!("-p '{fills}'"), "3")?;
    let bytes: u64 = switch.ok(&format!("stat --format %s {two}"))?.trim().parse()?;
    let image = bytes.div_ceil(1 << 20);
    let (least, most) = (2 * image + SLACK, image + DATA + SLACK);
    let mut outcomes = std::collections::BTreeSet::new();
    for megabytes in (least - 4..most + 8).step_by(4) {
        let told = (|| {
            switch.ok("mkdir -p /host/tpc && mount -t tmpfs -o size=128M tmpfs /host/tpc")?;
            begin(switch, "")?;
            switch.ok(&format!("head -c {DATA}M /dev/urandom > /host/tpc/story/large"))?;
            let used: u64 = switch.ok("df --output=used -k /host/tpc | tail -1")?.trim().parse()?;
            switch.ok(&format!("mount -o remount,size={}k /host/tpc", used + megabytes * 1024))?;
            if megabytes > most {
                no_space(switch, &three, megabytes)?;
            }
            let output = switch.sh(&format!("tpcm upgrade story {two} -y"))?;
            if output.success() {
                outcomes.insert("done");
                return runs(switch, "story", "2");
            }
            let aside = output.stderr.contains("aside");
            outcomes.insert(if aside { "no room for the data" } else { "no room for the image" });
            ensure!(
                output.status == code::NO_SPACE,
                "with {megabytes} MB: {} {}",
                output.status,
                output.stderr
            );
            still(switch)
        })();
        let cleaned = switch.ok(
            "mount -o remount,size=128M /host/tpc; tpcm uninstall story --purge -y; umount --lazy /host/tpc; true",
        );
        told?;
        cleaned?;
    }
    ensure!(outcomes.len() == 3, "of image, data and neither, only this was met: {outcomes:?}");
    tell(switch, || Ok(()))
}

/// Upgrades to what fills the disk, which must fail for that and leave version 1.
fn no_space(switch: &Switch, file: &str, megabytes: u64) -> Result<()> {
    let output = switch.sh(&format!("tpcm upgrade story {file} -y"))?;
    ensure!(
        output.status == code::NO_SPACE,
        "a version that fills {megabytes} MB: {} {}",
        output.status,
        output.stderr
    );
    still(switch)
}
