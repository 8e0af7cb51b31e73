//! `switchyard config` and `switchyard show`: SONiC's rows, SONiC's tables (SONIC.md 9), and what is better than SONiC's.
//!
//! What is about the server plays on databases of its own, so that no agent follows what is written there; what is
//! about features plays on the switch's.

mod features;
mod private;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::refusal::{Refusal, all_refused, refusal};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Switch;
use private::{Private, ROOT, redis};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "config kubernetes writes SONiC's rows and show kubernetes prints SONiC's tables",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: server,
    },
    Scenario {
        name: "a token is asked for without being shown, kept for root alone and never told",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: token,
    },
    Scenario {
        name: "show kubernetes status says why a feature is not run by Kubernetes",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: why,
    },
    Scenario {
        name: "config feature writes what featured and Kubernetes mode act on, and waits for it if asked to",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: features::features,
    },
    Scenario {
        name: "config feature writes what every namespace must know into each of them",
        switch: SwitchKind::TwoAsics,
        long: false,
        run: features::namespaces,
    },
    Scenario {
        name: "a configuration that makes no sense is refused in one line and changes nothing",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: refusals,
    },
    Scenario {
        name: "without Kubernetes support nothing about Kubernetes can be configured or shown",
        switch: SwitchKind::NoKubernetes,
        long: false,
        run: without_kubernetes,
    },
];

/// featured does within this time what it is told.
const SOON: Duration = Duration::from_mins(1);

fn server(switch: &Switch) -> Result<()> {
    const SERVER: &str = "KUBERNETES_MASTER|SERVER";
    let private = Private::start(switch)?;
    private.prints("switchyard show kubernetes server config", "Kubernetes server is not configured\n")?;
    private.prints("switchyard show kubernetes server status", "Kubernetes server has no status info\n")?;

    // SONiC would have made it insecure.
    private.does("switchyard config kubernetes server ip 10.0.0.5")?;
    ensure!(private.row(4, SERVER)? == "disable=False insecure=False ip=10.0.0.5 port=6443");
    private.does("switchyard config kube serv insecure on")?;
    private.prints(
        "switchyard show kube server config",
        "\
ip        port    insecure    disable
--------  ------  ----------  ---------
10.0.0.5  6443    True        False
",
    )?;
    private.does("switchyard config kubernetes server insecure off")?;
    private.does("switchyard config kubernetes server port 7443")?;
    private.does("switchyard config kubernetes server disable on")?;
    ensure!(private.row(4, SERVER)? == "disable=True insecure=False ip=10.0.0.5 port=7443");
    ensure!(
        private.json("switchyard show kubernetes server config")?
            == json!({"configured": true, "ip": "10.0.0.5", "port": 7443, "insecure": false, "disable": true})
    );

    private.set(&format!(
        "6 '{SERVER}' ip 10.0.0.5 port 6443 connected true update_time '2026-08-01 10:00:00' reason ''"
    ))?;
    private.prints(
        "switchyard show kubernetes server status",
        "\
ip        port    connected    update-time
--------  ------  -----------  -------------------
10.0.0.5  6443    true         2026-08-01 10:00:00
",
    )?;
    let status = private.json("switchyard show kubernetes server status")?;
    ensure!(status["connected"] == true && status["reason"].is_null(), "unexpected: {status}");
    labels(&private)
}

fn labels(private: &Private<'_>) -> Result<()> {
    private.does("switchyard config kubernetes label add snmp_enabled true")?;
    private.does("switchyard config kubernetes label add sonic_version 20250510.07")?;
    private.prints(
        "switchyard show kubernetes labels",
        "\
name           value
-------------  -----------
snmp_enabled   true
sonic_version  20250510.07
",
    )?;
    // SONiC's own would leave `snmp_enabled` there as "false".
    private.does("switchyard config kubernetes label drop snmp_enabled")?;
    ensure!(private.row(6, "KUBE_LABELS|SET")? == "sonic_version=20250510.07");
    ensure!(
        private.json("switchyard show kubernetes labels")?
            == json!([{"name": "sonic_version", "value": "20250510.07"}])
    );
    Ok(())
}

fn token(switch: &Switch) -> Result<()> {
    const SECRET: &str = "abcdef.0123456789abcdef";
    const SET: &str = "switchyard config kubernetes server token";
    let private = Private::start(switch)?;
    let kept =
        || switch.ok(&format!("cd {ROOT}/host/switchyard/kubernetes && stat -c '%a %U' . * && cat token"));

    // At a terminal, by a person who mistypes the first time.
    let screen = switch.ok(&format!(
        "export SWITCHYARD_ROOT={ROOT}
         coproc script --quiet --return --command '{SET}; echo \"code $?\"; stty -a' /dev/null
         exec 3<&${{COPROC[0]}} 4>&${{COPROC[1]}}
         read -r -t 20 -d : -u 3 prompt && echo \"$prompt\"
         printf 'wrong\\025{SECRET}\\r' >&4
         timeout 20 cat <&3"
    ))?;
    ensure!(!screen.contains(SECRET) && !screen.contains("wrong"), "the screen shows the token: {screen}");
    ensure!(screen.starts_with("Token"), "nothing was asked: {screen}");
    ensure!(screen.contains("code 0") && screen.contains(" echo "), "not as it was: {screen}");
    ensure!(kept()? == format!("700 root\n600 root\n{SECRET}"), "kept as {}", kept()?);

    // From a pipe and from a file.
    private.does(&format!("{SET} --token-stdin <<< other.token"))?;
    ensure!(kept()?.ends_with("\nother.token"), "kept as {}", kept()?);
    switch.ok(&format!("umask 077; echo {SECRET} > {ROOT}/token"))?;
    private.does(&format!("{SET} --token-file {ROOT}/token"))?;
    ensure!(kept()?.ends_with(SECRET), "kept as {}", kept()?);

    let pin = format!("sha256:{}", "0af9".repeat(16));
    private.does(&format!("switchyard config kubernetes server ca-pin {pin}"))?;
    let told = private.ask(
        "switchyard show kubernetes status; SWITCHYARD_ROOT=/run/lab-config switchyard show kubernetes status -o json",
    )?;
    ensure!(
        told.contains(&format!("CA pin:    {pin}")) && told.contains("Token:     present"),
        "it says {told}"
    );
    let rows = switch.ok(&format!(
        "for database in 4 6; do {}; done",
        redis("-n $database --scan | while read -r key; do redis-cli -s /run/lab-config/var/run/redis/redis.sock \
                       -n $database hgetall \"$key\"; done")
    ))?;
    let journal = switch.ok("journalctl --sync && journalctl --quiet --boot --identifier=switchyard")?;
    for (what, text) in [("show kubernetes status", &told), ("the rows", &rows), ("the journal", &journal)] {
        ensure!(!text.contains(SECRET), "the token is in {what}: {text}");
    }

    private.does(&format!("{SET} --remove"))?;
    private.does("switchyard config kubernetes server ca-pin none")?;
    let report = private.json("switchyard show kubernetes status")?;
    ensure!(report["token"] == "absent" && report["ca_pin"].is_null(), "still there: {report}");
    Ok(())
}

fn why(switch: &Switch) -> Result<()> {
    let private = Private::start(switch)?;
    for (name, owner) in [("snmp", "local"), ("telemetry", "kube"), ("sflow", "kube")] {
        private.set(&format!("4 'FEATURE|{name}' state enabled set_owner {owner} has_global_scope True"))?;
    }
    private.set(
        "6 'FEATURE|telemetry' system_state up current_owner local container_id telemetry remote_state none",
    )?;
    private.set("4 'FEATURE|sflow' state disabled")?;
    let facts = |private: &Private<'_>| private.ask("switchyard show kubernetes status");
    let told = facts(&private)?;
    for line in [
        "Server:    none",
        "Connected: no: no server is configured; see: switchyard config kubernetes server ip --help",
        "Token:     absent",
        "CA pin:    none",
        "Node:      leaf-1",
    ] {
        ensure!(told.lines().any(|told| told == line), "{line:?} is not in {told}");
    }
    private.does("switchyard config kubernetes server ip fd00::5")?;
    let told = facts(&private)?;
    ensure!(
        told.contains("Server:    [fd00::5]:6443\nConnected: no: it has not been tried"),
        "it says {told}"
    );
    private.set(
        "6 'KUBERNETES_MASTER|SERVER' connected false update_time '2026-08-01 10:00:00' reason 'the token is refused'",
    )?;
    let told = facts(&private)?;
    let wanted = "Connected: no since 2026-08-01 10:00:00: the token is refused\n";
    ensure!(told.contains(wanted), "{wanted:?} is not in {told}");
    let report = private.json("switchyard show kubernetes status")?;
    let why = |name: &str| {
        let lines = report["features"].as_array().into_iter().flatten();
        lines.filter(|line| line["name"] == name).map(|line| line["why"].as_str().unwrap_or_default()).next()
    };
    for (name, words) in [
        ("snmp", "owner is local; to change it: config feature owner snmp kube"),
        ("telemetry", "owner is kube, but the server does not answer: the local image bridges"),
        ("sflow", "state is disabled; to change it: config feature state sflow enabled"),
    ] {
        ensure!(why(name) == Some(words), "{name} should be {words:?}: {report}");
    }
    // Garbage that somebody else wrote is the reason then.
    private.set("4 'KUBERNETES_MASTER|SERVER' ip https://x")?;
    let told = facts(&private)?;
    ensure!(
        told.contains(
            "Connected: no since 2026-08-01 10:00:00: CONFIG_DB KUBERNETES_MASTER|SERVER: ip is \"https://x\""
        ),
        "{told}"
    );
    // Who may read Redis may ask, also where he may not ask Docker.
    let output =
        switch.sh("setpriv --reuid nobody --regid redis --clear-groups switchyard show kubernetes status")?;
    let said = output.stderr.trim();
    ensure!(
        output.success() && said.lines().count() == 1 && said.ends_with("told from the rows alone"),
        "without Docker it ended with {} and said {said:?}",
        output.status
    );
    ensure!(output.stdout.contains("\nsnmp "), "without Docker it prints {}", output.stdout);
    Ok(())
}

fn refused_with(switch: &Switch, command: &str) -> Result<String> {
    let output = switch.refused(command)?;
    ensure!(output.status == 1, "{command} ended with {}", output.status);
    Ok(output.stderr.trim().to_owned())
}

fn refusals(switch: &Switch) -> Result<()> {
    switch.ok("install -m 644 /dev/null /tmp/open-token; echo x > /tmp/open-token")?;
    let with = |command: &str, code, says| refusal(format!("switchyard {command}"), code, says);
    let refusals: Vec<Refusal> = vec![
        with("config feature owner nosuch kube", 1, "Unable to retrieve nosuch from FEATURE table"),
        with("config feature fallback ../x on", 1, "Unable to retrieve ../x from FEATURE table"),
        with("config feature update nosuch hold", 1, "Unable to retrieve nosuch from FEATURE table"),
        with("config feature owner database kube", 1, "database carries the rows of all features"),
        with("config feature owner snmp systemd", 2, "invalid value 'systemd'"),
        with("config feature state nosuch enabled", 1, "Feature 'nosuch' doesn't exist"),
        with(
            "config feature state database disabled",
            1,
            "Feature 'database' state is always enabled and can not be modified",
        ),
        with(
            "config feature state telemetry enabled --block",
            1,
            "featured never says whether telemetry is enabled",
        ),
        with("config feature state snmp enabled --timeout 5", 2, "--block"),
        with("config feature autorestart nosuch enabled", 1, "Feature 'nosuch' doesn't exist"),
        with("show feature status nosuch", 1, "Can not find feature nosuch"),
        with("show feature config nosuch", 1, "Can not find feature nosuch"),
        with("show feature autorestart a/b", 1, "Can not find feature a/b"),
        with("config kubernetes server ip http://k8s", 1, "Invalid server address \"http://k8s\""),
        with("config kubernetes server ip 10.0.0", 1, "Invalid server address \"10.0.0\""),
        with("config kubernetes server ip \"\"", 1, "Invalid server address \"\""),
        with("config kubernetes server port 65536", 1, "Invalid port value 65536: it must be"),
        with("config kubernetes server port x", 1, "Invalid port value x: it must be"),
        with("config kubernetes server insecure maybe", 2, "invalid value 'maybe'"),
        with("config kubernetes server i on", 2, "unrecognized subcommand 'i'"),
        with("config kubernetes server ca-pin sha256:12", 1, "64 hexadecimal digits"),
        with("config kubernetes server token", 2, "--token-stdin or --token-file"),
        with("config kubernetes server token abcdef.0123", 2, "unexpected argument"),
        with("config kubernetes server token --token-stdin < /dev/null", 1, "the token is empty"),
        with("config kubernetes server token --token-file /nosuch", 1, "cannot read /nosuch"),
        with("config kubernetes server token --token-file /tmp/open-token", 1, "chmod 600 /tmp/open-token"),
        with("config kubernetes server token --token-stdin < /dev/zero", 1, "the token has more than"),
        with("config kubernetes label add rack a+b", 1, "Invalid label value \"a+b\""),
        with("config kubernetes label add -- -rack x", 1, "Invalid label name \"-rack\""),
        refusal(
            "runuser -u admin -- switchyard config feature owner snmp kube",
            1,
            "Root privileges are required for this operation",
        ),
        refusal("runuser -u nobody -- switchyard show feature status", 5, "no right to open"),
    ];
    all_refused(switch, &refusals)?;
    switch.ok("[ ! -e /host/switchyard/kubernetes/token ]").context("a refused token was kept").map(drop)
}

fn without_kubernetes(switch: &Switch) -> Result<()> {
    let refusals: Vec<Refusal> = vec![
        refusal("switchyard config kubernetes server ip 10.0.0.5", 2, "unrecognized subcommand 'kubernetes'"),
        refusal("switchyard show kubernetes labels", 2, "unrecognized subcommand 'kubernetes'"),
        refusal("switchyard config feature owner snmp kube", 2, "unrecognized subcommand 'owner'"),
    ];
    all_refused(switch, &refusals)?;
    for help in ["switchyard config --help", "switchyard config feature --help", "switchyard show --help"] {
        let told = switch.ok(help)?;
        ensure!(!told.to_lowercase().contains("kube"), "{help} speaks of Kubernetes: {told}");
    }
    switch.ok("switchyard config feature autorestart snmp disabled")?;
    ensure!(switch.config("snmp", "auto_restart")? == "disabled");
    let told = switch.ok("switchyard show feature status snmp")?;
    ensure!(told.starts_with("Feature") && told.contains("\nsnmp "), "it prints {told}");
    Ok(())
}
