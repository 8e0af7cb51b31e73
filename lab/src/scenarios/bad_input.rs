//! Bad input on a real switch: names, verbs, rights, and a switch on which something that we need is missing.
//!
//! What is missing is missing only for the command under test, which runs in a mount or network namespace of its own:
//! the switch around it goes on, and can be compared.

use anyhow::{Result, ensure};

use super::refusal::{Refusal, all_refused, difference, refusal, snapshot};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Switch;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a name that is none is refused in one line and changes nothing",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: bad_names,
    },
    Scenario {
        name: "a command line that makes no sense is refused in one line and changes nothing",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: bad_command_lines,
    },
    Scenario {
        // BI#13342.
        name: "database is never ours to run",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: database_is_not_ours,
    },
    Scenario {
        name: "without a sound database_config.json, Redis or Docker each command says what is missing",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: parts_are_missing,
    },
    Scenario {
        name: "with a full /run a start fails with the reason and leaves the row true",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: run_is_full,
    },
    Scenario {
        name: "a user without rights is told so and changes nothing",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: without_rights,
    },
    Scenario {
        name: "a container that is no feature is started and stopped, and no row is kept for it",
        switch: SwitchKind::SingleAsic,
        long: false,
        run: container_that_is_no_feature,
    },
];

/// The verbs that act on, or look into, a container.
const VERBS: [&str; 7] = ["start", "stop", "kill", "wait", "inspect", "logs", "exec"];

/// A verb with a name, complete enough to be understood.
fn with(verb: &str, name: &str) -> String {
    let rest = if verb == "exec" { " -- true" } else { "" };
    format!("container {verb} {name}{rest}")
}

fn bad_names(switch: &Switch) -> Result<()> {
    // Another story may have enabled it on this switch.
    switch.ok("docker rm --force sflow > /dev/null 2>&1 || true")?;
    let long = "x".repeat(300);
    let mut refusals = Vec::new();
    for verb in VERBS {
        refusals.push(refusal(
            with(verb, "nosuch"),
            3,
            "no feature \"nosuch\" on this switch and no container",
        ));
        refusals.push(refusal(with(verb, "\"\""), 2, "feature name is empty"));
        refusals.push(refusal(with(verb, &long), 2, "has 300 characters, at most 32 are allowed"));
        refusals.push(refusal(with(verb, "../x"), 2, "\"../x\" is not valid: letters, digits"));
        refusals.push(refusal(with(verb, "\"a b\""), 2, "\"a b\" is not valid: letters, digits"));
        refusals.push(refusal(with(verb, "-v"), 2, "'-v'"));
        refusals.push(refusal(with(verb, "bgp0"), 2, "bgp has no instance for ASIC 0"));
    }
    for verb in ["start", "stop", "restart", "reload", "enable", "disable", "mask", "unmask"] {
        let service = |name: &str| format!("system service {verb} {name}");
        refusals.push(refusal(service("nosuch"), 3, "there is no unit nosuch"));
        refusals.push(refusal(service("../x"), 2, "\"../x\" is neither a feature nor a unit name"));
        refusals.push(refusal(service("\"a b\""), 2, "\"a b\" is neither a feature nor a unit name"));
        refusals.push(refusal(service(&long), 2, "is neither a feature nor a unit name"));
        refusals.push(refusal(service("\"\""), 2, "\"\" is neither a feature nor a unit name"));
        refusals.push(refusal(service("-v"), 2, "unexpected argument '-v'"));
    }
    for verb in ["status", "explain", "logs"] {
        for name in ["\"a b\"", &long] {
            let service = format!("system service {verb} {name}");
            refusals.push(refusal(service, 2, "is neither a feature nor a unit name"));
        }
    }
    refusals.extend([
        refusal("system service status nosuch", 4, "nosuch.service could not be found"),
        refusal("system service explain nosuch", 3, "no feature \"nosuch\""),
        refusal("container id nosuch", 3, "no feature \"nosuch\""),
        refusal("system container stop nosuch", 3, "no feature \"nosuch\""),
        refusal("container id ../x", 2, "\"../x\" is not valid"),
        refusal("IMAGE_VERSION=1 container state ../x down", 2, "\"../x\" is not valid"),
        refusal("switchyard gate ../x -- true", 2, "IMAGE_VERSION is not set"),
        refusal("IMAGE_VERSION=1 switchyard gate ../x -- true", 2, "\"../x\" is not valid"),
        refusal("switchyard generate remove ../x", 2, "\"../x\" is not valid"),
        refusal("switchyard generate remove nosuch", 1, "no files were generated for feature nosuch"),
        // A feature that never ran has no container, and nothing runs of it.
        refusal(
            "container start sflow",
            4,
            "no container named sflow to start; its control script creates it",
        ),
        refusal("container exec sflow -- true", 3, "no copy of sflow is recorded as running"),
        refusal("container logs sflow", 3, "no copy of sflow is recorded as running"),
        refusal("container inspect sflow", 3, "no copy of sflow is recorded as running"),
    ]);
    all_refused(switch, &refusals)
}

fn bad_command_lines(switch: &Switch) -> Result<()> {
    all_refused(
        switch,
        &[
            refusal(
                "container start stop snmp",
                2,
                "unexpected argument 'snmp' found; usage: container start",
            ),
            refusal("container frobnicate snmp", 2, "unrecognized subcommand 'frobnicate'; usage: container"),
            refusal("container stop", 2, "<NAME>; usage: container stop"),
            refusal("container exec snmp", 2, "<COMMAND>"),
            refusal("container -t soon stop snmp", 2, "invalid value 'soon' for '--timeout"),
            refusal("container stop snmp -t 5000000000", 2, "5000000000"),
            refusal("container id snmp -o xml", 2, "invalid value 'xml' for '--output"),
            refusal("container id $'\\xff'", 2, "invalid UTF-8"),
            refusal("container state snmp up purple 1", 2, "owner \"purple\" is neither local nor kube"),
            refusal("container state snmp up local", 2, "IMAGE_VERSION is not set"),
            refusal("container state snmp up local \"a b\"", 2, "version \"a b\" is not valid"),
            refusal("system service start stop snmp", 2, "unexpected argument 'snmp' found"),
            refusal("system frobnicate", 2, "unrecognized subcommand 'frobnicate'"),
            refusal("switchyard frobnicate", 2, "unrecognized subcommand 'frobnicate'"),
            refusal("switchyard gate snmp", 2, "COMMAND"),
            refusal("switchyard generate install /no/such/file", 1, "cannot read /no/such/file"),
            refusal("switchyard completions bash nosuch", 2, "none of switchyard, container, system"),
        ],
    )
}

fn database_is_not_ours(switch: &Switch) -> Result<()> {
    let mut refusals: Vec<Refusal> = ["enable", "disable", "mask", "explain"]
        .iter()
        .map(|verb| {
            refusal(format!("system service {verb} database"), 8, "it carries the rows of all features")
        })
        .collect();
    // Here its container is none of Docker's; where it is one, the engine alone is asked.
    refusals.extend(
        ["start", "stop", "kill", "wait"].map(|verb| refusal(with(verb, "database"), 3, "\"database\"")),
    );
    all_refused(switch, &refusals)?;
    switch.ok("docker create --name database --entrypoint sleep docker-snmp:latest infinity")?;
    let row = "sonic-db-cli STATE_DB HLEN 'FEATURE|database'";
    let before = switch.ok(row)?;
    let did = switch.ok("container start database && docker inspect -f '{{.State.Running}}' database && \
         container stop -t 0 database && docker inspect -f '{{.State.Running}}' database");
    switch.ok("docker rm --force database")?;
    ensure!(did? == "true\nfalse", "the engine should have started and stopped it");
    ensure!(switch.ok(row)? == before, "a row was kept for database");
    Ok(())
}

fn parts_are_missing(switch: &Switch) -> Result<()> {
    const CONFIG: &str = "/run/redis/sonic-db/database_config.json";
    let all: Vec<String> = VERBS
        .iter()
        .map(|verb| with(verb, "snmp"))
        .chain(["container list", "container id snmp"].map(str::to_owned))
        .chain(
            ["status", "explain", "stop", "restart", "disable"]
                .map(|verb| format!("system service {verb} snmp")),
        )
        .collect();
    let mut refusals = Vec::new();
    for command in &all {
        let missing = |what: &str, code, says| {
            refusal(format!("unshare --mount bash -c \"{what}; {command}\""), code, says)
        };
        refusals.push(missing(
            "mount -t tmpfs none /run/redis/sonic-db",
            6,
            "database_config.json is not there",
        ));
        refusals.push(refusal(
            format!(
                "unshare --mount --net bash -c \"mount --bind /dev/null /run/redis/redis.sock; {command}\""
            ),
            6,
            "Redis does not answer at /var/run/redis/redis.sock or 127.0.0.1:6379",
        ));
        let needs_engine = !["id", "disable", "restart"]
            .contains(&command.split(' ').nth(1).unwrap_or_default())
            && !["system service stop snmp", "system service restart snmp", "system service disable snmp"]
                .contains(&command.as_str());
        if needs_engine {
            refusals.push(missing(
                "mount --bind /dev/null /run/docker.sock",
                7,
                "the Docker engine does not answer on /var/run/docker.sock",
            ));
        }
    }
    for (content, says) in [
        ("", "it is empty"),
        ("{", "not JSON"),
        ("[]", "INSTANCES is missing or empty"),
        ("{\\\"INSTANCES\\\": {\\\"redis\\\": {}}}", "neither unix_socket_path nor port"),
    ] {
        refusals.push(refusal(
            format!(
                "unshare --mount bash -c \"printf %s '{content}' > /tmp/config; mount --bind /tmp/config {CONFIG}; \
                 container stop snmp\""
            ),
            6,
            says,
        ));
    }
    all_refused(switch, &refusals)
}

fn run_is_full(switch: &Switch) -> Result<()> {
    switch.ok("systemctl stop telemetry")?;
    let before = snapshot(switch)?;
    // What another process frees meanwhile must not be enough for us.
    let full = switch.sh("mount -o remount,size=$(df --output=used -k /run | tail -1 | tr -d ' ')k /run
         dd if=/dev/zero of=/run/filler bs=4096 2> /dev/null; container start telemetry");
    // Read-only questions are answered all the same.
    let asked = switch.sh("container id snmp && container list -o json | jq -e length > /dev/null");
    switch.ok("rm -f /run/filler; mount -o remount,size=50% /run")?;
    let locks = switch.sh("unshare --mount bash -c 'mount -t tmpfs -o nr_inodes=1 none /run/switchyard; container start telemetry'");
    let after = snapshot(switch)?;
    switch.ok("systemctl reset-failed telemetry; systemctl start telemetry")?;
    for (output, code, says) in
        [(full?, 7, "no space left on device"), (locks?, 1, "/run is full; see: df -i /run")]
    {
        let said = output.stderr.trim();
        ensure!(
            output.status == code && said.lines().count() == 1 && said.contains(says),
            "it ended with {}: {said}",
            output.status
        );
    }
    ensure!(asked?.success(), "questions should be answered");
    ensure!(before == after, "something changed: {}", difference(&before, &after));
    switch.wait_serves("telemetry")
}

fn without_rights(switch: &Switch) -> Result<()> {
    let as_group = |group: &str, command: &str| {
        format!("setpriv --reuid=nobody --regid={group} --clear-groups {command}")
    };
    let admin = |verb: &str| format!("su admin -c \"system service {verb} snmp\"");
    let mut refusals = Vec::new();
    for command in VERBS.map(|verb| with(verb, "snmp")) {
        refusals.push(refusal(
            as_group("nogroup", &command),
            5,
            "no right to open /var/run/redis/redis.sock: run as root or as a member of group redis",
        ));
        refusals.push(refusal(
            as_group("redis", &command),
            5,
            "no permission for /var/run/docker.sock: run as root or as a member of group docker",
        ));
    }
    refusals.extend(
        ["start", "stop", "restart", "enable", "disable", "mask"]
            .map(|verb| refusal(admin(verb), 5, "run it with sudo")),
    );
    all_refused(switch, &refusals)
}

fn container_that_is_no_feature(switch: &Switch) -> Result<()> {
    switch.ok("docker create --name stranger --entrypoint sleep docker-snmp:latest infinity")?;
    let did = switch.ok(
        "container start stranger && container id stranger && container exec stranger -- sh -c \"echo hello\" && \
         container inspect stranger | jq -r '.[0].State.Status' && container kill stranger && \
         container wait stranger && docker inspect -f '{{.State.Status}}' stranger",
    );
    let rows = switch
        .ok("sonic-db-cli STATE_DB KEYS 'FEATURE|stranger'; sonic-db-cli STATE_DB HKEYS 'KUBE_LABELS|SET'");
    switch.ok("docker rm --force stranger")?;
    let did = did?;
    ensure!(did == "stranger\nhello\nrunning\nexited", "unexpected: {did:?}");
    ensure!(!rows?.contains("stranger"), "a row was kept for a container that is no feature");
    Ok(())
}
