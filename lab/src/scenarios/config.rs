//! `switchyard config` and `switchyard show`: SONiC's rows, SONiC's tables (SONIC.md 9), and what is better than SONiC's.
//!
//! What is about the server plays on databases of its own, so that no agent follows what is written there; what is
//! about features plays on the switch's.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::refusal::{Refusal, all_refused, refusal};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::{Switch, User};

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
        run: features,
    },
    Scenario {
        name: "config feature writes what every namespace must know into each of them",
        switch: SwitchKind::TwoAsics,
        long: false,
        run: namespaces,
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

/// Databases of our own, on a private socket below a root of their own.
struct Private<'a> {
    switch: &'a Switch,
}

const ROOT: &str = "/run/lab-config";

fn redis(command: &str) -> String {
    format!("redis-cli -s {ROOT}/var/run/redis/redis.sock {command}")
}

impl<'a> Private<'a> {
    fn start(switch: &'a Switch) -> Result<Self> {
        let private = Private { switch };
        drop(private.stop());
        switch.ok(&format!(
            "mkdir -p {ROOT}/var/run/redis/sonic-db {ROOT}/etc/sonic {ROOT}/host && cd {ROOT}/var/run/redis
             jq --arg socket $PWD/redis.sock '.INSTANCES.redis = {{hostname: \"127.0.0.1\", unix_socket_path: $socket}}' \
               /var/run/redis/sonic-db/database_config.json > sonic-db/database_config.json
             redis-server --port 0 --unixsocket $PWD/redis.sock --save '' --databases 100 --daemonize yes"
        ))?;
        switch.wait_ok("the private databases are up", SOON, &redis("ping"))?;
        private.set("4 'DEVICE_METADATA|localhost' hostname Leaf-1")?;
        Ok(private)
    }

    fn stop(&self) -> Result<()> {
        self.switch.ok(&format!("{}; rm -rf {ROOT}", redis("shutdown nosave"))).map(drop)
    }

    /// `<database> <row> <field> <value> …`
    fn set(&self, what: &str) -> Result<()> {
        let (database, row) = what.split_once(' ').context("no row")?;
        self.switch.ok(&redis(&format!("-n {database} hset {row}"))).map(drop)
    }

    /// The fields of a row, sorted: `field=value …`.
    fn row(&self, database: u8, row: &str) -> Result<String> {
        self.switch.ok(&format!(
            "{} | paste -sd '=\\n' | sort | paste -sd ' '",
            redis(&format!("-n {database} hgetall '{row}'"))
        ))
    }

    /// Runs one of our commands there; standard output as it is.
    fn ask(&self, command: &str) -> Result<String> {
        let output = self.switch.sh(&format!("SWITCHYARD_ROOT={ROOT} {command}"))?;
        ensure!(output.success() && output.stderr.is_empty(), "{command} said {:?}", output.stderr);
        Ok(output.stdout)
    }

    fn prints(&self, command: &str, wanted: &str) -> Result<()> {
        let told = self.ask(command)?;
        ensure!(told == wanted, "{command} should print\n{wanted}\nand printed\n{told}");
        Ok(())
    }

    fn json(&self, command: &str) -> Result<Value> {
        let text = self.ask(&format!("{command} -o json"))?;
        serde_json::from_str(&text).with_context(|| format!("{command} prints no JSON: {text}"))
    }

    fn does(&self, command: &str) -> Result<()> {
        self.prints(command, "")
    }
}

impl Drop for Private<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("the private databases are still there: {error:#}");
        }
    }
}

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

fn features(switch: &Switch) -> Result<()> {
    let does = |command: &str| -> Result<()> {
        let output = switch.sh(command)?;
        ensure!(
            output.success() && output.stdout.is_empty() && output.stderr.is_empty(),
            "{command} ended with {} and said {:?} {:?}",
            output.status,
            output.stdout,
            output.stderr
        );
        Ok(())
    };
    for (command, field, value) in [
        ("owner sflow kube", "set_owner", "kube"),
        ("owner sflow local", "set_owner", "local"),
        ("fallback sflow off", "no_fallback_to_local", "true"),
        ("fallback sflow on", "no_fallback_to_local", "false"),
        ("update sflow hold", "kube_update", "hold"),
        ("autorestart sflow disabled", "auto_restart", "disabled"),
        ("auto sflow enabled", "auto_restart", "enabled"),
    ] {
        does(&format!("switchyard config feature {command}"))?;
        let is = switch.config("sflow", field)?;
        ensure!(is == value, "after {command}, {field} is {is:?}");
    }
    let told = switch.sh("switchyard show feature config sflow")?.stdout;
    let wanted = "\
Feature    State     AutoRestart    Owner    fallback    KubeUpdate
---------  --------  -------------  -------  ----------  ------------
sflow      disabled  enabled        local    true        hold
";
    ensure!(told == wanted, "it prints\n{told}");

    // With --block it is done when the command ends.
    for (state, active) in [("enabled", "active"), ("disabled", "inactive")] {
        does(&format!("switchyard config feature state sflow {state} --block --timeout 60"))?;
        ensure!(switch.state("sflow", "state")? == state, "featured has not said {state}");
        switch.wait_text("systemctl is-active sflow || true", active, SOON)?;
    }
    // A start that fails is told at once, and a featured that says nothing is not waited for without end.
    switch.drop_in("sflow.service", "[Service]\nExecStartPre=/bin/false\n")?;
    let failed = "Feature failed to be enabled";
    let enable = |seconds: u32| {
        refused_with(
            switch,
            &format!("switchyard config feature state sflow enabled --block --timeout {seconds}"),
        )
    };
    let (begin, said) = (Instant::now(), enable(120)?);
    ensure!(
        said == failed && begin.elapsed() < Duration::from_mins(1),
        "{said:?} after {:?}",
        begin.elapsed()
    );
    does("switchyard config feature state sflow disabled --block --timeout 60")?;
    switch.ok("systemctl stop featured")?;
    let (begin, said) = (Instant::now(), enable(2)?);
    ensure!(
        said == failed && begin.elapsed() >= Duration::from_secs(2),
        "{said:?} after {:?}",
        begin.elapsed()
    );
    switch.ok("switchyard config feature state sflow disabled; systemctl start featured")?;
    let always = switch.sh("switchyard config feature autorestart database disabled")?;
    ensure!(
        (always.status, always.text())
            == (0, "Feature 'database' auto-restart is always enabled and can not be modified"),
        "unexpected: {always:?}"
    );
    shown(switch)
}

/// To everybody who may read Redis, and as SONiC's own `show` has it.
fn shown(switch: &Switch) -> Result<()> {
    let told = switch.sh_as(User::Admin, "switchyard show feat status snmp")?.stdout;
    let value = |field: &str| switch.state("snmp", field);
    let configured = |field: &str| switch.config("snmp", field);
    let columns = [
        ("Feature", "snmp".to_owned()),
        ("State", configured("state")?),
        ("AutoRestart", configured("auto_restart")?),
        ("SystemState", value("system_state")?),
        ("UpdateTime", value("update_time")?),
        ("ContainerId", value("container_id")?),
        ("Version", value("container_version")?),
        ("SetOwner", configured("set_owner")?),
        ("CurrentOwner", value("current_owner")?),
        ("RemoteState", value("remote_state")?),
    ];
    let width = |(name, value): &(&str, String)| value.len().max(name.len() + 2);
    let line = |cell: &dyn Fn(&(&str, String)) -> String| {
        let cells: Vec<String> =
            columns.iter().map(|column| format!("{:1$}", cell(column), width(column))).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    let wanted = line(&|(name, _)| (*name).to_owned())
        + &line(&|column| "-".repeat(width(column)))
        + &line(&|(_, value)| value.clone());
    ensure!(told == wanted, "it prints\n{told}and should print\n{wanted}");

    let all = switch.ok_as(User::Admin, "switchyard show feature autorestart")?;
    ensure!(all.starts_with("Feature       AutoRestart\n") || all.contains("AutoRestart\n"), "{all}");
    let text = switch.ok("switchyard show feature status -o json")?;
    let lines: Value = serde_json::from_str(&text).context("show feature status prints no JSON")?;
    let snmp = lines.as_array().into_iter().flatten().find(|line| line["name"] == "snmp");
    let keys: Vec<&str> = snmp
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|line| line.keys().map(String::as_str))
        .collect();
    ensure!(
        keys.join(" ")
            == "auto_restart container_id container_version current_owner name outcome pod_trouble remote_state set_owner state \
                system_state update_time",
        "the keys are {keys:?}"
    );
    Ok(())
}

fn namespaces(switch: &Switch) -> Result<()> {
    let everywhere = |field: &str| {
        switch.ok(&format!(
            "for namespace in '' '-n asic0' '-n asic1'; do sonic-db-cli $namespace CONFIG_DB HGET 'FEATURE|bgp' {field}; \
             done | paste -sd ' '"
        ))
    };
    switch.ok("switchyard config feature autorestart bgp disabled")?;
    ensure!(
        everywhere("auto_restart")? == "disabled disabled disabled",
        "auto_restart is {}",
        everywhere("auto_restart")?
    );
    switch.ok("switchyard config feature autorestart bgp enabled")?;
    switch.ok("switchyard config feature update bgp hold")?;
    ensure!(everywhere("kube_update")? == "hold", "kube_update is {}", everywhere("kube_update")?);
    for owner in ["kube", "local"] {
        switch.ok(&format!("switchyard config feature owner bgp {owner}"))?;
        let owners = everywhere("set_owner")?;
        ensure!(owners == [owner; 3].join(" "), "who is to run bgp is {owners}");
    }
    switch.ok("sonic-db-cli -n asic1 CONFIG_DB HSET 'FEATURE|bgp' auto_restart disabled")?;
    let refused = refused_with(switch, "switchyard config feature autorestart bgp disabled");
    switch.ok("sonic-db-cli -n asic1 CONFIG_DB HSET 'FEATURE|bgp' auto_restart enabled")?;
    ensure!(refused? == "Feature 'bgp' auto-restart is not consistent across namespaces");
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
