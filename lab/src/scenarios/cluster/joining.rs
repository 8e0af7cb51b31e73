//! A switch becomes a member of its cluster, and stays it: by itself at once and after every boot, under another address,
//! after its Node was deleted, and without a word too many while the server is away.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::member::{LOCAL, Member, NEWER, SOON, as_member};
use super::outside::outside;
use super::strangers::Mute;
use crate::cluster::{Cluster, Invitation};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Boot;

/// What each life of the agent says when it first finds the switch connected.
const CONNECTED: &str = "the node is Ready and the API server answers";

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a switch joins by itself once it has a server and a token, and joining twice is harmless",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| outside(switch, joins_by_itself),
    },
    Scenario {
        // SONIC.md 12.2: a change of the image lost the cluster's credentials.
        name: "a member that reboots joins by itself, and so it does with another SONiC image, its token long expired",
        switch: SwitchKind::AloneInCluster,
        long: false,
        run: |switch| as_member(switch, joins_at_boot),
    },
    Scenario {
        name: "a switch joins with a client certificate as it does with a token, and gets one of its own by it",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| outside(switch, client_certificate),
    },
    Scenario {
        name: "a join that is killed in between is carried on by the next agent",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| outside(switch, killed_in_between),
    },
    Scenario {
        name: "a member whose cluster has another address joins it there as the same node",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| as_member(switch, another_address),
    },
    Scenario {
        name: "a member that is told of another cluster leaves the one before it and joins that one",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| as_member(switch, another_cluster),
    },
    Scenario {
        // BI#26826, and SONIC.md 12.2: labels were never removed.
        name: "the node has the switch's identity and the operator's labels, always valid, and those of others stay",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, labels),
    },
    Scenario {
        name: "a Node that was deleted in the cluster comes again by itself, with its labels",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, node_deleted),
    },
    Scenario {
        name: "while the server is away a switch asks ever more rarely, and neither its log nor its agent grows",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| outside(switch, server_away),
    },
    Scenario {
        // FIELD.md defect 5: a server that died after the join stayed "connected".
        name: "a member whose server goes away and comes back says so, once each",
        switch: SwitchKind::AloneInCluster,
        long: false,
        run: |switch| as_member(switch, server_away_and_back),
    },
];

fn joins_by_itself(member: &Member<'_>) -> Result<()> {
    let switch = member.switch;
    member.shows("no server is configured")?;
    member.doctor(false, "missing server none is configured")?;
    let token = member.cluster.invitation()?.token;
    member.undisturbed(&[&token], || {
        member.give_token(&token)?;
        member.point_home()?;
        member.wait_connected(true)?;
        member.shows("Connected: yes")?;
        member.doctor(true, "ok cluster known by the token's signature")?;
        member.doctor(true, "ok node is Ready")?;
        let modes = "stat --format %a /host/switchyard/kubernetes/token /etc/kubernetes/bootstrap-kubelet.conf \
            /host/switchyard/kubernetes/kubelet-client.pem | sort --unique";
        let modes = switch.ok(modes)?;
        ensure!(modes == "600", "others may read secrets: {modes}");
        Ok(())
    })?;
    switch.ok("systemctl stop ctrmgrd")?;
    let stopped = member.doctor(false, "missing agent ctrmgrd.service is inactive");
    switch.ok("systemctl start ctrmgrd")?;
    stopped.and_then(|()| member.doctor(true, "ok agent ctrmgrd.service runs"))?;
    member.doctor(true, "ok docker answers")?;
    let (kubelet, node) = (member.pid("kubelet")?, member.node(".metadata.uid")?);
    switch.ok("switchyard config kubernetes join --timeout 60")?;
    member.point_home()?;
    switch.ok("switchyard config kubernetes join --timeout 60")?;
    restart(member, "ctrmgrd")?;
    ensure!(member.pid("kubelet")? == kubelet, "joining again restarted the kubelet");
    ensure!(member.node(".metadata.uid")? == node, "joining again made another Node");
    Ok(())
}

fn joins_at_boot(member: &Member<'_>) -> Result<()> {
    let switch = member.switch;
    let node = member.node(".metadata.uid")?;
    let token = member.cluster.invitation()?.token;
    let secret = format!("bootstrap-token-{}", token.split('.').next().context("a token has two parts")?);
    member.cluster.kubectl_ok(&["--namespace=kube-system", "delete", "secret", &secret])?;
    switch.ok("config save -y > /dev/null; switchyard config kubernetes server ca-pin none")?;

    switch.reboot(Boot::Cold)?;
    member.wait_connected(true)?;
    ensure!(member.node(".metadata.uid")? == node, "the reboot made another Node");

    // All that another SONiC image would not have.
    switch.ok("systemctl stop ctrmgrd kubelet
        rm -rf /etc/kubernetes /var/lib/kubelet/pki /var/lib/kubelet/config.yaml /etc/systemd/system/kubelet.service.d
        sonic-db-cli STATE_DB DEL 'KUBERNETES_MASTER|SERVER' > /dev/null
        systemctl daemon-reload; systemctl start ctrmgrd")?;
    member.wait_connected(true)?;
    member.doctor(true, "ok cluster known by the CA of its join")?;
    ensure!(member.node(".metadata.uid")? == node, "the other image made another Node");
    switch.ok("echo '{}' > /etc/sonic/config_db.json").map(drop)
}

fn client_certificate(member: &Member<'_>) -> Result<()> {
    const SET: &str = "switchyard config kubernetes server client-certificate";
    let switch = member.switch;
    let (certificate, key) = member.cluster.client_certificate()?;
    member.invite()?;
    switch.write("/root/switches.crt", &certificate)?;
    switch.write("/root/switches.key", &key)?;
    let readable = switch.refused(&format!("{SET} /root/switches.crt --key /root/switches.key"))?;
    ensure!(readable.stderr.contains("others may read"), "it said: {}", readable.stderr);
    switch.ok(&format!(
        "set -e; chmod 600 /root/switches.key
         {SET} /root/switches.crt --key /root/switches.key; rm /root/switches.*
         test ! -e /host/switchyard/kubernetes/token"
    ))?;
    member.shows("Client certificate: switches")?;
    let secret = key.lines().nth(1).context("a key has lines")?;
    member.undisturbed(&[secret], || {
        member.join()?;
        member.doctor(true, "ok client certificate the client certificate of \"switches\" is accepted")?;
        member.doctor(true, "ok node is Ready")
    })?;
    // It has a certificate of its own now, and what it was given is needed no more.
    switch.ok(&format!("{SET} --remove"))?;
    restart(member, "ctrmgrd kubelet")?;
    member.doctor(true, "ok node is Ready")
}

/// Restarts these and waits until the new agent has found the switch connected: until it has asked, the row says what the
/// one before has found.
fn restart(member: &Member<'_>, units: &str) -> Result<()> {
    let since = member.switch.now()?;
    member.switch.ok(&format!("systemctl restart {units}"))?;
    member.wait_logged(&since, CONNECTED)
}

fn killed_in_between(member: &Member<'_>) -> Result<()> {
    let switch = member.switch;
    member.invite()?;
    member.point_home()?;
    for pause in [0, 50, 150, 400, 1000] {
        // Not a wait for anything: each kill is to meet another step.
        sleep(Duration::from_millis(pause));
        switch.ok("systemctl kill --signal=KILL ctrmgrd; systemctl restart ctrmgrd")?;
    }
    member.wait_connected(true)?;
    member.doctor(true, "ok node is Ready")?;

    let leave = "switchyard config kubernetes server disable on";
    switch.ok(leave)?;
    // The wish has to stand for two seconds in each life of the agent before it leaves.
    for pause in [2000, 2100, 2300] {
        sleep(Duration::from_millis(pause));
        switch.ok("systemctl kill --signal=KILL ctrmgrd; systemctl restart ctrmgrd")?;
    }
    let output = member.reset("")?;
    ensure!(output.success(), "it did not leave: {}", output.stderr);
    member.has_left()?;
    ensure!(member.node(".metadata.name")?.is_empty(), "its Node is still there");
    Ok(())
}

fn another_address(member: &Member<'_>) -> Result<()> {
    let switch = member.switch;
    let (node, since) = (member.node(".metadata.uid")?, switch.now()?);
    let certificate = "readlink /var/lib/kubelet/pki/kubelet-client-current.pem";
    let before = switch.ok(certificate)?;
    // The API server's certificate has this name too.
    member.call_server("kubernetes")?;
    switch.ok("switchyard config kubernetes server token --remove")?;
    member.server("ip", "kubernetes")?;
    switch.ok("switchyard config kubernetes join --timeout 60")?;
    let points = switch.ok("grep -o 'https://[^ ]*' /etc/kubernetes/kubelet.conf")?;
    ensure!(points.starts_with("https://kubernetes:"), "the kubelet still goes to {points}");
    ensure!(member.node(".metadata.uid")? == node, "it left and joined as another Node");
    ensure!(switch.ok(certificate)? == before, "it has another certificate");
    ensure!(member.times_logged(&since, "leaving")? == 0, "it left");
    member.give_token(&member.cluster.invitation()?.token)?;
    // The row says connected until the kubelet is on its way to the first address again.
    member.join()
}

fn another_cluster(member: &Member<'_>) -> Result<()> {
    let other = Cluster::other()?;
    let moved = move_to(member, &other);
    Cluster::remove_other()?;
    let output = member.reset("--force")?;
    ensure!(output.success(), "it did not leave a cluster that is gone: {}", output.stderr);
    member.is_forgotten()?;
    moved
}

fn move_to(member: &Member<'_>, other: &Cluster) -> Result<()> {
    let switch = member.switch;
    let Invitation { address, port, token, ca_pin } = other.invitation()?;
    member.move_to_kube("snmp", NEWER)?;
    // It stays where it is until all that the other cluster needs is there.
    member.give_token(&token)?;
    member.server("ca-pin", &ca_pin)?;
    member.wait_reason("another hash")?;
    member.is_run_by_pod("snmp", NEWER)?;
    member.point_to(&address, port)?;
    member.is_run_locally("snmp", LOCAL)?;
    member.wait_connected(true)?;
    let name = other.kubectl_ok(&["get", "nodes", "--output=name"])?;
    ensure!(name == format!("node/{}", switch.name()), "the other cluster has the nodes {name:?}");
    ensure!(member.node(".metadata.name")?.is_empty(), "the first cluster still has its Node");
    member.doctor(true, "ok node is Ready")
}

fn labels(member: &Member<'_>) -> Result<()> {
    let switch = member.switch;
    let label = |label: &str| {
        member.cluster.kubectl_ok(&["label", "--overwrite", "node", switch.name(), label]).map(drop)
    };
    let told = switch.ok("sonic-db-cli CONFIG_DB HGET 'DEVICE_METADATA|localhost' hwsku")?;
    for key in ["sonic_version", "hwsku", "deployment_type", "worker.sonic/platform"] {
        let mut row = String::new();
        // The labels follow a moment after the switch is connected.
        let told = switch.wait_until(&format!("the switch says its {key}"), SOON, || {
            row = switch.ok(&format!("sonic-db-cli STATE_DB HGET 'KUBE_LABELS|SET' '{key}'"))?;
            Ok(!row.is_empty() || key == "worker.sonic/platform")
        });
        told?;
        if !row.is_empty() {
            member.wait_label(key, &row)?;
        }
    }
    label("theirs=1")?;
    switch.ok(
        "switchyard config kubernetes label add rack r1 && switchyard config kubernetes label add lab/x ''",
    )?;
    member.wait_label("rack", "r1")?;
    label("rack=other")?;
    member.wait_label("rack", "r1")?;
    // Dropped while nobody listens, it is known by the annotation.
    let since = switch.now()?;
    switch.ok("systemctl stop ctrmgrd; switchyard config kubernetes label drop rack
        sonic-db-cli CONFIG_DB HSET 'DEVICE_METADATA|localhost' hwsku 'Force10+S6000 with blanks' > /dev/null
        systemctl start ctrmgrd")?;
    member.wait_label("rack", "")?;
    member.wait_label("hwsku", "Force10-S6000-with-blanks")?;
    let given = "\"Force10+S6000 with blanks\" can be no label's value";
    member.is_logged_once(&since, given)?;
    member.shows(given)?;
    let long = "s".repeat(80);
    switch.ok(&format!(
        "sonic-db-cli CONFIG_DB HSET 'DEVICE_METADATA|localhost' hwsku '{long}' > /dev/null
         switchyard config kubernetes label drop lab/x"
    ))?;
    member.wait_label("hwsku", &long[..63])?;
    member.wait_label("theirs", "1")?;

    // What can be no label is told once, and keeps no other from the node.
    let since = switch.now()?;
    switch.ok("sonic-db-cli STATE_DB HSET 'KUBE_LABELS|SET' 'no label!' 1 > /dev/null
        for number in 1 2 3; do switchyard config kubernetes label add number $number; done")?;
    member.wait_label("number", "3")?;
    member.is_logged_once(&since, "no label!")?;
    member.shows("no label!: no node label")?;
    switch.ok(&format!(
        "sonic-db-cli STATE_DB HDEL 'KUBE_LABELS|SET' 'no label!' > /dev/null
         sonic-db-cli CONFIG_DB HSET 'DEVICE_METADATA|localhost' hwsku '{told}' > /dev/null
         switchyard config kubernetes label drop number"
    ))?;
    member.wait_label("hwsku", &told)?;
    let page = switch.ok("switchyard show kubernetes status")?;
    ensure!(!page.contains("label's value"), "nothing is wrong with a label any more: {page}");
    label("theirs-")
}

fn node_deleted(member: &Member<'_>) -> Result<()> {
    let node = member.node(".metadata.uid")?;
    member.switch.ok("switchyard config kubernetes label add rack r2")?;
    member.wait_label("rack", "r2")?;
    member.delete_node()?;
    member.switch.wait_until("another Node is Ready and labelled", SOON, || {
        let uid = member.node(".metadata.uid")?;
        Ok(!uid.is_empty()
            && uid != node
            && member.node(".metadata.labels.rack")? == "r2"
            && member.connected()?)
    })?;
    member.switch.ok("switchyard config kubernetes label drop rack").map(drop)
}

fn server_away(member: &Member<'_>) -> Result<()> {
    const TRIES: usize = 60;
    let switch = member.switch;
    let invitation = member.cluster.invitation()?;
    let nobody = Mute::hangs_up(&invitation.address)?;
    member.undisturbed(&[&invitation.token], || {
        member.give_token(&invitation.token)?;
        let since = switch.now()?;
        member.point_to(&invitation.address, nobody.port())?;
        member.wait_reason("cannot be reached")?;
        switch.wait_until("it has tried five times", SOON, || Ok(nobody.came().len() >= 5))?;
        let came = nobody.came();
        let gap = |number: usize| came[number].duration_since(came[number - 1]);
        // The fourth is at least twice the longest second: what is left is for a busy machine.
        ensure!(gap(4) >= gap(2), "it asks as often as before: {:?} after {:?}", gap(4), gap(2));

        let memory = || -> Result<u64> {
            let kilobytes = "awk '/^Pss_Anon:/ { print $2 }' \"/proc/$(systemctl show --property MainPID --value ctrmgrd)/smaps_rollup\"";
            Ok(switch.ok(kilobytes)?.parse()?)
        };
        let before = memory()?;
        // Each change of the row is a reason to try at once.
        switch.wait_until("it has tried often", SOON * 2, || {
            switch.ok("for n in 1 2 3 4 5; do sonic-db-cli CONFIG_DB HSET 'KUBERNETES_MASTER|SERVER' disable False > /dev/null; done")?;
            Ok(nobody.came().len() >= TRIES)
        })?;
        let (after, lines) = (memory()?, member.times_logged(&since, "cannot be reached")?);
        println!("     the agent's memory after {} tries: {after} kB, before them: {before} kB", nobody.came().len());
        ensure!(after <= before + 512, "the agent grew from {before} to {after} kB");
        // The kernel tells of who hangs up in two ways, by turns; it is one outage all the same.
        ensure!(lines == 1, "that the server is away was said {lines} times");
        member.doctor(false, "missing")
    })?;
    member.point_home()?;
    member.wait_connected(true)
}

fn server_away_and_back(member: &Member<'_>) -> Result<()> {
    let since = member.switch.now()?;
    let token = member.cluster.invitation()?.token;
    member.undisturbed(&[&token], || {
        member.cluster.take_server_away()?;
        let gone = member.wait_connected(false).and_then(|()| member.wait_reason("cannot be reached"));
        let gone = gone.and_then(|()| member.doctor(false, "missing connection"));
        member.cluster.bring_server_back()?;
        gone?;
        member.wait_connected(true)
    })?;
    ["cannot be reached", CONNECTED].into_iter().try_for_each(|words| member.is_logged_once(&since, words))
}
