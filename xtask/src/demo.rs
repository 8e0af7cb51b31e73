//! `cargo xtask demo`: the life of a feature, told on a virtual switch that stays up for the reader to go on with.
//!
//! Each chapter does one thing as an operator would, shows what the switch says, and checks what is claimed: a demo
//! that tells what is not so ends there.

mod cluster;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use switchyard_lab::image::Product;
use switchyard_lab::{Boot, Switch, fleet};

use crate::deb;

/// The feature whose life is told.
const FEATURE: &str = "snmp";

/// systemd restarts a feature after two seconds in the lab, thirty on a real switch.
const BACK: Duration = Duration::from_mins(1);

/// What can be chosen.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave out the chapters in a cluster, which takes minutes to build the first time
    #[arg(long)]
    no_cluster: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    println!(
        "A SONiC switch is built and booted on this machine, with our package on it. The first time takes minutes.\n"
    );
    let product = Product { deb: Some(deb::build(true)?), kubernetes: true, kubelet: None };
    let switches = fleet::up(&product, 1, 1)?;
    let switch = switches.first().context("no switch came up")?;
    for (number, (title, chapter)) in CHAPTERS.iter().enumerate() {
        println!("\n{}. {title}", number + 1);
        chapter(switch).with_context(|| format!("chapter {}", number + 1))?;
    }
    if !arguments.no_cluster {
        cluster::tell(CHAPTERS.len())?;
    }
    println!(
        "\nThe switch stays up. Log in:  cargo xtask lab shell {0}\nRemove it:                 cargo xtask lab down --all",
        switch.name()
    );
    Ok(ExitCode::SUCCESS)
}

/// A title, and what is done and shown under it.
type Chapter = (&'static str, fn(&Switch) -> Result<()>);

const CHAPTERS: [Chapter; 10] = [
    ("The switch has booted; systemd and the image that came with it run the features", |switch| {
        show(switch, "container list")?;
        show(switch, "system service status snmp")
    }),
    (
        "An operator stops a feature: container and rows follow, and nothing is restarted behind his back",
        |switch| {
            show(switch, "sudo system service stop snmp")?;
            switch.wait_gone(FEATURE)?;
            show(switch, "container list")
        },
    ),
    ("And starts it again", |switch| {
        show(switch, "sudo system service start snmp")?;
        switch.wait_serves(FEATURE)?;
        show(switch, "container id snmp")
    }),
    ("Old habits work: systemctl does the same, by the same control script", |switch| {
        show(switch, "sudo systemctl restart snmp")?;
        switch.wait_serves(FEATURE)?;
        show(switch, "docker ps --filter name=snmp --format '{{.Names}} {{.Status}}'")
    }),
    ("The feature crashes: the row is true at once, and systemd brings it back", |switch| {
        let before = switch.ok("docker inspect --format '{{.State.StartedAt}}' snmp")?;
        switch.payload(FEATURE, "crash 3").ok();
        switch.wait_until("snmp to be started anew", BACK, || {
            Ok(switch
                .ok("docker inspect --format '{{.State.StartedAt}} {{.State.Running}}' snmp")?
                .ends_with("true")
                && switch.ok("docker inspect --format '{{.State.StartedAt}}' snmp")? != before)
        })?;
        switch.wait_serves(FEATURE)?;
        show(switch, "system service explain snmp")
    }),
    ("The one that all need is stopped: what needs it stops with it, and comes back in order", |switch| {
        show(switch, "sudo system service stop swss")?;
        show(switch, "container list")?;
        show(switch, "sudo config reload -y")?;
        switch.wait_features()?;
        show(switch, "container list")
    }),
    ("A feature is enabled, and disabled again", |switch| {
        show(switch, "sudo system service enable sflow")?;
        switch.wait_serves("sflow")?;
        show(switch, "system service list")?;
        show(switch, "sudo system service disable sflow")?;
        switch.wait_gone("sflow")
    }),
    ("An operator brings a container of his own, from a USB stick", |switch| {
        switch.ok("set -e; mkdir -p /media/usb
             for version in 1.0 2.0; do
               /usr/lib/lab/make-tpc -H monitor $version
               docker save --output /media/usb/monitor-$version.tar monitor:$version
               docker rmi monitor:$version > /dev/null
             done
             printf '#!/bin/sh\necho no luck\nexit 1\n' > /media/usb/broken-pre.sh")?;
        show(switch, "sudo tpcm install monitor /media/usb/monitor-1.0.tar --memory 64M -y")?;
        switch.ok("docker exec monitor sh -c 'echo precious > /data/file'")?;
        show(switch, "sudo tpcm show monitor")?;
        show(switch, "sudo systemctl restart monitor && docker exec monitor cat /data/file")
    }),
    (
        "It is upgraded: one whose hook fails leaves the old version running, one that works takes its data along",
        |switch| {
            let hook = "/host/tpc/monitor/hook/pre.sh";
            switch.ok(&format!("cp -a {hook} /root/pre.sh; cat /media/usb/broken-pre.sh > {hook}"))?;
            let upgrade = "sudo tpcm upgrade monitor /media/usb/monitor-2.0.tar -y";
            println!("   admin@{}:~$ {upgrade}", switch.name());
            let failed = switch.refused(upgrade)?;
            println!("   {}", failed.stderr.trim());
            show(switch, "docker exec monitor cat /version /data/file")?;
            switch.ok(&format!("cp -a /root/pre.sh {hook}"))?;
            show(switch, upgrade)?;
            show(switch, "docker exec monitor cat /version /data/file")?;
            show(switch, "sudo tpcm list")
        },
    ),
    ("The switch reboots: what is enabled is back, and its history is still told", |switch| {
        switch.reboot(Boot::Cold)?;
        switch.wait_features()?;
        show(switch, "system service explain snmp")?;
        switch.wait_text("systemctl is-active monitor.service", "active", BACK)?;
        show(switch, "sudo tpcm list")?;
        show(switch, "sudo tpcm uninstall monitor --purge -y")?;
        ensure!(switch.contended()?.is_empty(), "two copies of a payload have met");
        println!("   In all of this no payload has ever met a second copy of itself.");
        Ok(())
    }),
];

/// Runs a command as the switch's operator and shows it with its output.
fn show(switch: &Switch, command: &str) -> Result<()> {
    println!("   admin@{}:~$ {command}", switch.name());
    let output = switch.sh_as(switchyard_lab::User::Admin, command)?;
    for line in output.stdout.lines().chain(output.stderr.lines()) {
        println!("   {line}");
    }
    ensure!(output.success(), "`{command}` ended with {}", output.status);
    Ok(())
}
