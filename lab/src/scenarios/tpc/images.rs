//! Containers outlive the SONiC image that they were installed on: cases 12 and 13 of seed 004.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{clean, code, make_file, refused, runs, show, story, tell, tpcm};
use crate::command;
use crate::machine::docker;
use crate::scenario::Scenario;
use crate::switch::Switch;

pub(super) const SCENARIOS: &[Scenario] = &[
    story("tpcm: case 13, an ONIE net-install removes all, and import brings back what was exported", onie),
    story("tpcm: save keeps the writable layer, once, when the next boot is another image", save),
    story("tpcm: one container is exported as an archive that docker loads", export_one),
    story("tpcm: case 12, containers move to another SONiC image and back with their data", other_image),
];

const SOON: Duration = Duration::from_mins(1);

const LAYER: &str = "docker exec story sh -c 'cat /data/file /tpc/data'";

fn begin(switch: &Switch) -> Result<()> {
    // What became of GRUB in an earlier story may be saved still: the engine pauses a container then.
    grub_was_looked_at(switch)?;
    let file = make_file(switch, "-k 500", "1")?;
    tpcm(switch, &format!("install story {file} -y --memory 64M --args '-e COLOUR=blue'"))?;
    switch.ok("docker exec story sh -c 'echo layer > /data/file; echo volume > /tpc/data'").map(drop)
}

/// Waits until nobody looks at what is to boot next. A write in the moment in which systemd begins to watch for another is
/// seen at the reboot only.
fn grub_was_looked_at(switch: &Switch) -> Result<()> {
    switch.wait_text("systemctl is-active tpcm-next-boot.service | grep -c activating || true", "0", SOON)
}

fn has(switch: &Switch, data: &str) -> Result<()> {
    runs(switch, "story", "1")?;
    let found = switch.ok(LAYER)?;
    ensure!(found == data, "its data is {found:?} instead of {data:?}");
    let made = switch.ok(
        "docker exec story sh -c 'echo $COLOUR'; docker inspect --format '{{.HostConfig.Memory}}' story",
    )?;
    ensure!(made == "blue\n67108864", "it was made with {made:?}");
    Ok(())
}

fn onie(switch: &Switch) -> Result<()> {
    let told = tell(switch, || {
        begin(switch)?;
        tpcm(switch, "export --all /root/story-all.tar")?;
        refused(switch, "export --all /root/story-all.tar", code::REFUSED, "story-all.tar")?;
        switch.ok("mv /root/story-all.tar /root/kept.tar")?;

        // The partition is formatted, and the image is a fresh one.
        switch.ok(
            "systemctl stop story.service; docker rm -f story > /dev/null; docker rmi -f $(docker images -q tpc/story) > /dev/null
             rm -rf /host/tpc /etc/systemd/system/story.service /etc/systemd/system/*.wants/story.service
             systemctl daemon-reload; systemctl restart tpcm.service",
        )?;
        let list = tpcm(switch, "list -o json")?;
        ensure!(list == "[]", "after the net-install there is {list}");

        tpcm(switch, "import /root/kept.tar -y")?;
        has(switch, "layer\nvolume")?;
        // What is there is not replaced.
        refused(switch, "import /root/kept.tar -y", code::REFUSED, "story").map(drop)
    });
    switch.ok("rm -f /root/kept.tar")?;
    told
}

fn save(switch: &Switch) -> Result<()> {
    let told = tell(switch, || {
        begin(switch)?;
        let blobs = "find /host/tpc/.store/layers -type f | wc -l";
        let before: u32 = switch.ok(blobs)?.parse()?;
        tpcm(switch, "save")?;
        ensure!(show(switch, "story")?["saved"].is_string(), "it does not say when it was saved");
        let once: u32 = switch.ok(blobs)?.parse()?;
        switch.ok("docker exec story sh -c 'echo newer > /data/file'")?;
        tpcm(switch, "save")?;
        let twice: u32 = switch.ok(blobs)?.parse()?;
        ensure!(once == before + 1 && twice == once, "layers in the store: {before}, {once}, {twice}");
        runs(switch, "story", "1")?;
        // By itself when sonic-installer tells GRUB of another image; not when it is the same.
        let saved = show(switch, "story")?["saved"].clone();
        choose(switch, 0)?;
        tpcm(switch, "save --if-next-boot-differs")?;
        ensure!(show(switch, "story")?["saved"] == saved, "it was saved although the same image boots next");
        grub_was_looked_at(switch)?;
        switch.ok("docker exec story sh -c 'echo newest > /data/file'")?;
        // An installer writes more than once, and the last word counts.
        switch.ok("for _ in {1..20}; do echo saved_entry=0 > /host/grub/grubenv; sleep 0.03; done")?;
        choose(switch, 1)?;
        switch.wait_until("it is saved for the next image", SOON, || {
            Ok(show(switch, "story")?["saved"] != saved)
        })
    });
    switch.ok("rm -rf /host/grub")?;
    told
}

/// As `sonic-installer set-default` does with GRUB.
fn choose(switch: &Switch, entry: u32) -> Result<()> {
    switch.ok("mkdir -p /host/grub")?;
    switch.write(
        "/host/grub/grub.cfg",
        "menuentry 'SONiC-OS-lab.1' {\n}\nmenuentry 'SONiC-OS-lab.2' {\n}\nmenuentry ONIE {\n}\n",
    )?;
    switch.write("/host/grub/grubenv", &format!("# GRUB Environment Block\nsaved_entry={entry}\n"))
}

fn export_one(switch: &Switch) -> Result<()> {
    tell(switch, || {
        begin(switch)?;
        tpcm(switch, "export story /root/story-one.tar")?;
        switch.ok("docker exec story sh -c 'echo later > /data/file'")?;
        tpcm(switch, "uninstall story --purge -y")?;
        let loaded = switch.ok("docker load --quiet --input /root/story-one.tar")?;
        let data =
            switch.ok("docker run --rm --network none $(docker images -q tpc/story) cat /data/file")?;
        ensure!(data == "layer", "the archive ({loaded}) has {data}");
        switch.ok("docker rmi $(docker images --format '{{.Repository}}:{{.Tag}}' tpc/story) > /dev/null")?;
        // And tpcm takes it as well.
        tpcm(switch, "install story /root/story-one.tar -y")?;
        let data = switch.ok("docker exec story cat /data/file")?;
        ensure!(data == "layer", "installed from its own export it has {data}");
        Ok(())
    })
}

fn other_image(switch: &Switch) -> Result<()> {
    let first = switch.image()?;
    let second = next_image(&first)?;
    let told = tell(switch, || {
        begin(switch)?;
        choose(switch, 1)?;
        switch.wait_until("it is saved for the next image", SOON, || {
            Ok(show(switch, "story")?["saved"].is_string())
        })?;
        // Written after that; what is left is saved when the switch goes down.
        switch.ok("docker exec story sh -c 'echo last > /data/file'")?;
        let stored = "cd /host/tpc/.store/layers && find . -type f -exec stat -c '%n %Y' {} + | sort";
        let before = switch.ok(stored)?;

        switch.boot_image(&second)?;
        switch.wait_text("systemctl is-active story.service", "active", SOON)?;
        has(switch, "last\nvolume")?;
        let after = switch.ok(stored)?;
        let copied = after.lines().filter(|line| !before.contains(*line)).count();
        ensure!(copied <= 1, "layers that the store had were written again:\n{before}\n->\n{after}");
        switch.ok("docker exec story sh -c 'echo on-second > /data/file; echo second > /tpc/data'")?;

        choose(switch, 0)?;
        switch.boot_image(&first)?;
        switch.wait_text("systemctl is-active story.service", "active", SOON)?;
        has(switch, "on-second\nsecond")?;
        let older = show(switch, "story")?["older"].clone();
        ensure!(
            older.as_array().is_some_and(|states| !states.is_empty()),
            "the older state is not kept: {older}"
        );
        tpcm(switch, "prune -y")?;
        let older = show(switch, "story")?["older"].clone();
        ensure!(older == serde_json::json!([]), "prune left {older}");
        has(switch, "on-second\nsecond")
    });
    // Whatever happened, the switch is to be what the other stories expect.
    if switch.image()? != first {
        switch.boot_image(&first)?;
        clean(switch)?;
    }
    // Not there if the story ended before.
    let _ = switch.remove_image(&second);
    command::run("docker", &["rmi", &second])?;
    switch.ok("rm -rf /host/grub")?;
    told
}

/// The same SONiC with another version.
fn next_image(image: &str) -> Result<String> {
    const BUILDER: &str = "switchyard-lab-next";

    let next = format!("{image}-next");
    command::run("docker", &["rm", "--force", BUILDER])?;
    let change = "sed -i \"s/^build_version:.*/build_version: 'lab.2'/\" /etc/sonic/sonic_version.yml";
    docker(&["run", "--network=none", "--name", BUILDER, image, "bash", "-c", change])?;
    docker(&["commit", "--change", "CMD [\"/sbin/init\"]", BUILDER, &next])?;
    docker(&["rm", BUILDER])?;
    Ok(next)
}
