//! What a switch with k3s trusts and tells, on TLS servers that answer as k3s's do (its source, `pkg/server/handlers`).

use std::fs;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use serde_json::json;
use switchyard_cluster::{
    CgroupDriver, Client, ClusterError, Credential, Invitation, K3sFiles, K3sToken, NodeFiles, NodeName,
    ServerAddress, Settings, Token,
};
use switchyard_core::CaPin;
use tokio::time::Instant;

use crate::server::{Asked, Authority, Reply, Server, closed_port, mute};

const SECRET: &str = "s3cret0123456789";

fn hash(bytes: &[u8]) -> String {
    let pin = CaPin::of_sha256(digest(&SHA256, bytes).as_ref().try_into().unwrap());
    pin.to_string().trim_start_matches("sha256:").to_owned()
}

fn pin(authority: &Authority) -> CaPin {
    authority.ca().pins().remove(0)
}

fn token(text: &str) -> Credential {
    Credential::K3s(K3sToken::parse(text).unwrap())
}

/// A full token of the cluster whose CA is served so.
fn full(served: &str) -> Credential {
    token(&format!("K10{}::server:{SECRET}", hash(served.as_bytes())))
}

fn by(server: &ServerAddress, credential: Option<Credential>, pin: Option<CaPin>) -> Invitation {
    Invitation { server: server.clone(), credential, pin, insecure: false }
}

fn files(root: &tempfile::TempDir) -> NodeFiles {
    K3sFiles::below(root.path()).into()
}

/// As Go writes it, and so k3s serves it.
fn served(authority: &Authority) -> String {
    authority.pem().replace("\r\n", "\n")
}

/// A server of this authority that serves these authorities.
async fn k3s(authority: &Authority, cacerts: &str) -> Server {
    let cacerts = cacerts.to_owned();
    Server::tls(&authority.for_loopback(), Some(authority), move |asked| answer(asked, &cacerts)).await
}

fn answer(asked: &Asked, cacerts: &str) -> Reply {
    let has = |header: &str| asked.head.contains(header);
    let accepted = has(&format!("Basic {}", STANDARD.encode(format!("node:{SECRET}"))))
        || has("Bearer abcdef.0123456789abcdef");
    let status = |code: u16, message: &str| {
        Reply::Json(code, json!({ "kind": "Status", "code": code, "message": message }).to_string())
    };
    match asked.line() {
        "GET /cacerts" => Reply::Json(200, cacerts.to_owned()),
        _ if !accepted => status(401, "not authorized"),
        "GET /v1-k3s/client-ca.crt" => Reply::Json(200, cacerts.to_owned()),
        "GET /v1-k3s/client-kubelet.crt"
            if has("k3s-node-name: switch1") && has("k3s-node-password: right") =>
        {
            Reply::Json(200, cacerts.to_owned())
        }
        "GET /v1-k3s/client-kubelet.crt" => status(403, "unable to verify password"),
        _ => status(404, "not found"),
    }
}

async fn refused(invitation: &Invitation, reason: &str) -> ClusterError {
    let error = files(&tempfile::tempdir().unwrap()).discover(invitation).await.expect_err("it was trusted");
    plain(&error, reason);
    error
}

/// One line for people, without a secret.
fn plain(error: &ClusterError, reason: &str) {
    let text = error.to_string();
    assert_eq!(error.reason(), reason, "{text}");
    assert!(!text.contains(SECRET) && !text.contains('\n') && text.len() < 500, "{text}");
}

#[tokio::test]
async fn a_cluster_is_known_by_the_hash_in_the_token_or_by_its_pin() {
    let authority = Authority::new();
    let server = k3s(&authority, &served(&authority)).await;
    let root = tempfile::tempdir().unwrap();
    for (credential, pin) in [
        (full(&served(&authority)), None),
        (full(&served(&authority)), Some(pin(&authority))),
        (token(SECRET), Some(pin(&authority))),
        (token("abcdef.0123456789abcdef"), Some(pin(&authority))),
    ] {
        let invitation = by(&server.address, Some(credential), pin);
        assert_eq!(files(&root).discover(&invitation).await.unwrap(), authority.ca());
    }
    assert_eq!(server.asked.lock().unwrap()[0].line(), "GET /cacerts");
    assert!(
        !server.everything().contains("uthorization"),
        "discovery shows nothing: {}",
        server.everything()
    );
}

#[tokio::test]
async fn a_wrong_hash_or_a_wrong_pin_is_refused_with_what_was_found() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = k3s(&authority, &served(&authority)).await;
    let error = refused(&by(&server.address, Some(full(&served(&other))), None), "TokenHashDiffers").await;
    assert!(error.to_string().contains(&hash(served(&authority).as_bytes())), "{error}");
    let wrong_pin = by(&server.address, Some(full(&served(&authority))), Some(pin(&other)));
    refused(&wrong_pin, "PinDiffers").await;
    refused(&by(&server.address, Some(token(SECRET)), Some(pin(&other))), "PinDiffers").await;
    assert!(!server.everything().contains("uthorization"));
}

#[tokio::test]
async fn a_token_that_names_no_cluster_goes_to_none_without_a_pin() {
    let authority = Authority::new();
    let server = k3s(&authority, &served(&authority)).await;
    for insecure in [false, true] {
        for text in [SECRET, "abcdef.0123456789abcdef", "K10::node:s3cret0123456789"] {
            let invitation = Invitation { insecure, ..by(&server.address, Some(token(text)), None) };
            let error = refused(&invitation, "TokenNamesNoCluster").await;
            assert!(error.to_string().contains("node-token"), "the way out: {error}");
        }
    }
    // Of several certificates k3s hashes one of its own choice: only its own token can say which.
    let both = served(&authority) + &served(&Authority::new());
    let server = k3s(&authority, &both).await;
    let by_pin = by(&server.address, Some(token(SECRET)), Some(pin(&authority)));
    refused(&by_pin, "TokenNamesNoCluster").await;
    assert!(!server.everything().contains("uthorization"));
}

#[tokio::test]
async fn of_several_certificates_only_what_the_hash_names_is_trusted() {
    let (root_ca, theirs) = (Authority::new(), Authority::new());
    let both = served(&root_ca) + &served(&theirs);
    let root = tempfile::tempdir().unwrap();
    let named = token(&format!("K10{}::server:{SECRET}", hash(&der(&root_ca))));
    let server = k3s(&root_ca, &both).await;
    let ca = files(&root).discover(&by(&server.address, Some(named.clone()), None)).await.unwrap();
    assert_eq!(ca, root_ca.ca());
    // Somebody between with an authority of their own put beside it.
    let between = k3s(&theirs, &both).await;
    refused(&by(&between.address, Some(named), None), "CertificateUntrusted").await;
    refused(&by(&between.address, Some(full(&served(&root_ca))), None), "TokenHashDiffers").await;
    assert!(!between.everything().contains("uthorization"));
}

fn der(authority: &Authority) -> Vec<u8> {
    let body: String = authority.pem().lines().filter(|line| !line.starts_with("--")).collect();
    STANDARD.decode(body).unwrap()
}

#[tokio::test]
async fn what_is_no_k3s_server_is_told_what_it_seems_to_be() {
    let authority = Authority::new();
    let credential = Some(full(&served(&authority)));
    // As an API server of another Kubernetes answers.
    for status in [401, 403, 404] {
        let body = json!({ "kind": "Status", "code": status, "message": "no" }).to_string();
        let server =
            Server::tls(&authority.for_loopback(), None, move |_| Reply::Json(status, body.clone())).await;
        let error = refused(&by(&server.address, credential.clone(), None), "NotK3s").await;
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
    for body in ["", "<html>", "{}", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let server =
            Server::tls(&authority.for_loopback(), None, move |_| Reply::Json(200, body.to_owned())).await;
        refused(&by(&server.address, credential.clone(), None), "NotK3s").await;
    }
    let busy =
        Server::tls(&authority.for_loopback(), None, |_| Reply::Json(503, "starting".to_owned())).await;
    assert!(refused(&by(&busy.address, credential.clone(), None), "ServerRefused").await.is_passing());
    let plain = Server::plain(|_| Reply::Raw("HTTP/1.1 400 Bad Request\r\n\r\n".to_owned())).await;
    refused(&by(&plain.address, credential.clone(), None), "NotAnApiServer").await;
    refused(&by(&closed_port().await, credential, None), "ServerUnreachable").await;
}

#[tokio::test]
async fn half_a_gigabyte_of_authorities_is_not_read() {
    let authority = Authority::new();
    for announced in [true, false] {
        let server =
            Server::tls(&authority.for_loopback(), None, move |_| Reply::Endless { announced }).await;
        refused(&by(&server.address, Some(full("x")), None), "AnswerTooLarge").await;
        assert!(server.bytes_sent() < 16 << 20, "{} bytes were taken", server.bytes_sent());
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_given_up_after_ten_seconds() {
    let authority = Authority::new();
    let (silent, _held) = mute().await;
    let hangs = Server::tls(&authority.for_loopback(), None, |_| Reply::Nothing).await;
    for address in [&silent, &hangs.address] {
        let begin = Instant::now();
        assert!(refused(&by(address, Some(full("x")), None), "ServerHangs").await.is_passing());
        assert_eq!(begin.elapsed().as_secs(), Duration::from_secs(10).as_secs());
    }
}

#[tokio::test]
async fn a_token_is_shown_over_verified_tls_alone_and_a_wrong_one_is_said() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = k3s(&authority, &served(&authority)).await;
    let root = tempfile::tempdir().unwrap();
    let tried = async |ca: &Authority, credential: Credential| {
        files(&root).try_credential(&server.address, &ca.ca(), &credential).await
    };
    for good in [SECRET, "K10::server:s3cret0123456789", "abcdef.0123456789abcdef"] {
        tried(&authority, token(good)).await.unwrap();
    }
    for wrong in ["wr0ng", "abcdef.fedcba9876543210"] {
        let error = tried(&authority, token(wrong)).await.unwrap_err();
        plain(&error, "Unauthorized");
        assert!(error.to_string().contains("expired") && !error.to_string().contains(wrong), "{error}");
    }
    let asked = server.asked.lock().unwrap().len();
    assert_eq!(tried(&other, token(SECRET)).await.unwrap_err().reason(), "CertificateUntrusted");
    assert_eq!(server.asked.lock().unwrap().len(), asked, "nothing was sent to whom is not trusted");
    let bootstrap = Credential::Token(Token::parse("abcdef.0123456789abcdef").unwrap());
    assert_eq!(tried(&authority, bootstrap).await.unwrap_err().reason(), "WantsK3sToken");
}

/// The cluster knows each node by a password, which a switch that was set up anew has lost.
#[tokio::test]
async fn a_node_whose_password_is_another_one_is_told_what_to_delete() {
    let authority = Authority::new();
    let server = k3s(&authority, &served(&authority)).await;
    let root = tempfile::tempdir().unwrap();
    let node = NodeName::from_host_name("switch1").unwrap();
    let joins =
        async || files(&root).try_to_join(&server.address, &authority.ca(), &token(SECRET), &node).await;
    joins().await.unwrap();
    assert!(!server.everything().contains("client-kubelet"), "a node without a password is no node yet");
    let path = root.path().join("etc/rancher/node/password");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "right\n").unwrap();
    joins().await.unwrap();
    fs::write(&path, "s3cret0123456789\n").unwrap();
    let error = joins().await.unwrap_err();
    plain(&error, "NodePasswordRefused");
    assert!(error.to_string().contains("kubectl delete node switch1"), "{error}");
}

#[tokio::test]
async fn a_node_of_k3s_is_read_with_its_own_certificate() {
    let authority = Authority::new();
    let node = json!({
        "kind": "Node",
        "metadata": { "uid": "n1" },
        "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }] },
    });
    let server = Server::tls(&authority.for_loopback(), Some(&authority), move |asked| {
        let known = asked.client.is_some();
        Reply::Json(if known { 200 } else { 401 }, node.to_string())
    })
    .await;
    let root = tempfile::tempdir().unwrap();
    let (files, name) = (files(&root), NodeName::from_host_name("switch1").unwrap());
    let settings = Settings { node: &name, address: None, cgroup_driver: CgroupDriver::Cgroupfs };
    files.write_for_join(&server.address, &authority.ca(), Some(&token(SECRET)), &settings).unwrap();
    let client = Client::new(server.address.clone(), name, files);
    assert_eq!(client.answers().await.unwrap_err().reason(), "NoCredentials");
    let pem = authority.sign(&[], "system:node:switch1", -48, 24).pem;
    let (certificate, key) = pem.split_at(pem.find("-----BEGIN PRIVATE").unwrap());
    let agent = root.path().join("var/lib/rancher/k3s/agent");
    fs::write(agent.join("client-kubelet.crt"), certificate).unwrap();
    fs::write(agent.join("client-kubelet.key"), key).unwrap();
    assert!(client.node().await.unwrap().unwrap().ready);
}
