//! What a switch may be told of its cluster by mistake or malice: each time a clear reason, said once, no secret shown,
//! nobody disturbed; and with the right word it joins.

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::member::{Member, SOON, as_member};
use super::outside::outside;
use super::strangers::{Answers, Mute};
use crate::cluster::Invitation;
use crate::scenario::{Scenario, SwitchKind};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a server that is no API server is told for what it is, and then the right one is joined",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| outside(switch, no_api_server),
    },
    Scenario {
        name: "a wrong, unknown or expired token and a wrong pin are told for what they are, and the right ones join",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| outside(switch, wrong_credentials),
    },
    Scenario {
        name: "garbage in the rows of a member is told once and keeps neither it nor its features from their work",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| as_member(switch, garbage_in_rows),
    },
];

/// A secret that no cluster has.
const WRONG: &str = "wrongwrongwrong1";

/// Waits for the reason, has the agent try again, and insists that it said so once.
fn told_once(member: &Member<'_>, reason: &str, point: impl FnOnce() -> Result<()>) -> Result<()> {
    let since = member.switch.now()?;
    point()?;
    member.wait_reason(reason)?;
    // The reason may be that of the server before.
    member.wait_logged(&since, reason)?;
    // Each write is a reason to try again.
    member.switch.ok("for n in 1 2 3; do
          sonic-db-cli CONFIG_DB HSET 'KUBERNETES_MASTER|SERVER' disable False > /dev/null
        done")?;
    let output = member.switch.refused("switchyard config kubernetes join --timeout 1")?;
    ensure!(output.stderr.contains(reason), "join should say {reason:?}: {}", output.stderr);
    member.is_logged_once(&since, reason)
}

fn no_api_server(member: &Member<'_>) -> Result<()> {
    let cluster = &member.cluster;
    let Invitation { address, port, token, ca_pin } = cluster.invitation()?;
    let hangs = Mute::hangs(&address)?;
    let closed = TcpListener::bind((address.as_str(), 0))?.local_addr()?.port();
    let redirect = "HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n";
    let redirects = Answers::with(&address, redirect, 0)?;
    let endless = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 500 << 20);
    let endless = Answers::with(&address, &endless, 500 << 20)?;
    let website = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>";
    let website = Answers::with(&address, website, 0)?;
    member.call_server("another-name")?;
    let other_name = format!("is for another name ({address}, ");

    member.undisturbed(&[&token], || {
        member.give_token(&token)?;
        member.server("ca-pin", &ca_pin)?;
        for (host, port, reason) in [
            (address.as_str(), closed, "cannot be reached"),
            ("nobody.invalid", port, "cannot be reached"),
            (&address, cluster.registry_port(), "it does not speak TLS"),
            (&address, redirects.port(), "a redirect to https://elsewhere.example/"),
            (&address, endless.port(), "larger than 1048576 bytes"),
            (&address, website.port(), "its answer is no JSON"),
            ("another-name", port, &other_name),
        ] {
            told_once(member, reason, || member.point_to(host, port))
                .with_context(|| format!("{host}:{port}"))?;
        }
        let since = member.switch.now()?;
        member.point_to(&address, hangs.port())?;
        member.wait_reason("did not answer within 10s")?;
        // Each write is a reason to try at once, and each try takes the ten seconds.
        member.switch.wait_until("it has tried three times", SOON * 2, || {
            member
                .switch
                .ok("sonic-db-cli CONFIG_DB HSET 'KUBERNETES_MASTER|SERVER' disable False > /dev/null")?;
            Ok(hangs.came().len() >= 4)
        })?;
        member.is_logged_once(&since, "did not answer")?;
        member.point_home()?;
        member.wait_connected(true)
    })
}

fn wrong_credentials(member: &Member<'_>) -> Result<()> {
    let Invitation { token, ca_pin, .. } = member.cluster.invitation()?;
    let id = token.split('.').next().context("a token has two parts")?;
    let wrong = format!("{id}.{WRONG}");
    let unknown = format!("unkn0w.{WRONG}");
    let expired = "expire.d0123456789abcde";
    let refused = |id: &str| format!("does not accept token {id}");
    member.undisturbed(&[&token, &wrong, expired], || {
        told_once(member, "nothing tells whether", || member.point_home())?;
        told_once(member, "is not signed with token", || member.give_token(&wrong))?;
        member.doctor(false, "is not signed with token")?;
        told_once(member, "knows no token unkn0w", || member.give_token(&unknown))?;
        told_once(member, "the token is not valid", || member.give_token("hello"))?;
        // With a pin the cluster is known, and it is the token that it refuses.
        member.server("ca-pin", &ca_pin)?;
        told_once(member, &refused(id), || member.give_token(&wrong))?;
        member.doctor(false, &refused(id))?;
        add_expired(member, expired)?;
        told_once(member, &refused("expire"), || member.give_token(expired))?;
        let other = format!("sha256:{}", "0".repeat(64));
        told_once(member, "another hash", || member.server("ca-pin", &other))?;
        member.give_token(&token)?;
        member.wait_reason("another hash")?;
        member.server("ca-pin", &ca_pin)?;
        member.wait_connected(true)
    })
}

/// A token that was good until a while ago. The cluster removes it when it notices.
fn add_expired(member: &Member<'_>, token: &str) -> Result<()> {
    let (id, secret) = token.split_once('.').context("a token has two parts")?;
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": format!("bootstrap-token-{id}"), "namespace": "kube-system" },
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": id,
            "token-secret": secret,
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
            "auth-extra-groups": "system:bootstrappers:switchyard",
            "expiration": "2020-01-31T12:00:00Z",
        },
    });
    member.cluster.apply(&secret.to_string())
}

fn garbage_in_rows(member: &Member<'_>) -> Result<()> {
    let switch = member.switch;
    let token = member.cluster.invitation()?.token;
    let kubelet = member.pid("kubelet")?;
    let set = |row: &str, fields: &str| {
        switch.ok(&format!("sonic-db-cli CONFIG_DB HSET '{row}' {fields}")).map(drop)
    };
    member.undisturbed(&[&token], || {
        for (field, word, reason) in [
            ("ip", "'https://10.0.0.5/; reboot'", "an IPv4 address, an IPv6 address or a DNS name"),
            ("ip", "0.0.0.0", "an IPv4 address, an IPv6 address or a DNS name"),
            ("port", "99999", "a number from 1 to 65535"),
            ("disable", "perhaps", "perhaps"),
        ] {
            let right =
                switch.ok(&format!("sonic-db-cli CONFIG_DB HGET 'KUBERNETES_MASTER|SERVER' {field}"))?;
            let since = switch.now()?;
            set("KUBERNETES_MASTER|SERVER", &format!("{field} {word}"))?;
            member.wait_reason(reason)?;
            for _ in 0..3 {
                set("KUBERNETES_MASTER|SERVER", &format!("{field} {word}"))?;
            }
            member.is_logged_once(&since, reason).with_context(|| format!("{field} {word}"))?;
            set("KUBERNETES_MASTER|SERVER", &format!("{field} '{right}'"))?;
            member.wait_connected(true)?;
        }
        ensure!(member.pid("kubelet")? == kubelet, "garbage restarted the kubelet");

        let since = switch.now()?;
        set("FEATURE|no feature+name", "state enabled set_owner kube")?;
        // Each change has the agent read all rows.
        for (owner, label) in [("kube", "true"), ("local", "false")] {
            member.owner("snmp", owner)?;
            member.row_becomes("snmp", &format!("local none up {label}"))?;
        }
        member.is_logged_once(&since, "no feature+name")?;
        member.shows("no feature+name")?;
        switch.ok("sonic-db-cli CONFIG_DB DEL 'FEATURE|no feature+name'").map(drop)
    })
}
