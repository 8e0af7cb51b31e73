//! Whom a switch trusts, and what it says of each server that it does not trust.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::json;
use switchyard_cluster::{
    ClusterError, Credential, Invitation, InvitationCertificate, ServerAddress, Token, discover, recognize,
    try_credential,
};
use switchyard_core::CaPin;
use tokio::time::Instant;

use crate::server::{Authority, Pair, Reply, Server, closed_port, mute};

pub(crate) const TOKEN: &str = "abcdef.0123456789abcdef";
const SECRET: &str = "0123456789abcdef";

/// The first bytes of a plain HTTP server's answer to a TLS client.
const PLAIN_ANSWER: &str =
    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html></html>";

fn token(text: &str) -> Token {
    Token::parse(text).unwrap()
}

fn shown(text: &str) -> Credential {
    Credential::Token(token(text))
}

fn pin(authority: &Authority) -> CaPin {
    authority.ca().pins().remove(0)
}

/// As kubeadm writes it, signed with this token.
pub(crate) fn cluster_info(pem: &str, signer: &Token) -> String {
    let kubeconfig = format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {}\n    server: https://x:6443\n  name: \"\"\nkind: Config\n",
        STANDARD.encode(pem)
    );
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{}"}}"#, signer.id()));
    let secret = signer.reveal();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.split_once('.').unwrap().1.as_bytes());
    let sum = hmac::sign(&key, format!("{header}.{}", URL_SAFE_NO_PAD.encode(&kubeconfig)).as_bytes());
    let signature = format!("{header}..{}", URL_SAFE_NO_PAD.encode(sum));
    json!({ "kind": "ConfigMap", "data": {
        "kubeconfig": kubeconfig,
        format!("jws-kubeconfig-{}", signer.id()): signature,
    } })
    .to_string()
}

/// A server of this certificate that shows cluster-info with this CA.
async fn cluster(pair: &Pair, pem: &str) -> Server {
    let info = cluster_info(pem, &token(TOKEN));
    Server::tls(pair, None, move |_| Reply::Json(200, info.clone())).await
}

fn by_token(server: &ServerAddress, text: &str) -> Invitation {
    Invitation { server: server.clone(), credential: Some(shown(text)), pin: None, insecure: false }
}

fn by_pin(server: &ServerAddress, pin: CaPin) -> Invitation {
    Invitation { server: server.clone(), credential: Some(shown(TOKEN)), pin: Some(pin), insecure: false }
}

/// That it is refused for this reason, in one line that names the server and no secret.
async fn refused(invitation: &Invitation, reason: &str) -> ClusterError {
    let error = discover(invitation).await.expect_err("it was trusted");
    let text = error.to_string();
    assert_eq!(error.reason(), reason, "{text}");
    assert!(text.contains(&invitation.server.to_string()), "{text}");
    assert!(!text.contains(SECRET) && !text.contains('\n') && text.len() < 500, "{text}");
    error
}

#[tokio::test]
async fn a_cluster_is_known_by_the_tokens_signature_or_by_its_pin() {
    let authority = Authority::new();
    let server = cluster(&authority.for_loopback(), &authority.pem()).await;
    for invitation in [by_token(&server.address, TOKEN), by_pin(&server.address, pin(&authority))] {
        assert_eq!(discover(&invitation).await.unwrap(), authority.ca());
    }
    assert_eq!(
        server.asked.lock().unwrap()[0].line(),
        "GET /api/v1/namespaces/kube-public/configmaps/cluster-info"
    );
    assert!(!server.everything().contains(SECRET), "discovery sends no secret");
}

#[tokio::test]
async fn a_wrong_token_is_told_from_one_that_the_cluster_does_not_know() {
    let authority = Authority::new();
    let server = cluster(&authority.for_loopback(), &authority.pem()).await;
    refused(&by_token(&server.address, "abcdef.fedcba9876543210"), "TokenSignatureWrong").await;
    refused(&by_token(&server.address, "zzzzzz.0123456789abcdef"), "TokenUnknown").await;
    assert!(!server.everything().contains(SECRET));
}

#[tokio::test]
async fn a_wrong_pin_is_refused_with_the_pin_that_was_found() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = cluster(&authority.for_loopback(), &authority.pem()).await;
    let error = refused(&by_pin(&server.address, pin(&other)), "PinDiffers").await;
    assert!(error.to_string().contains(&pin(&authority).to_string()), "{error}");
}

#[tokio::test]
async fn somebody_between_who_repeats_the_clusters_words_is_not_trusted() {
    let (cluster_s, theirs) = (Authority::new(), Authority::new());
    let between = cluster(&theirs.for_loopback(), &cluster_s.pem()).await;
    refused(&by_token(&between.address, TOKEN), "CertificateUntrusted").await;
    // Nor with an authority of their own put beside the one that the pin names.
    let between = cluster(&theirs.for_loopback(), &(cluster_s.pem() + &theirs.pem())).await;
    refused(&by_pin(&between.address, pin(&cluster_s)), "CertificateUntrusted").await;
    assert!(!between.everything().contains(SECRET));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_told_with_the_names_it_has() {
    let authority = Authority::new();
    let pair = authority.sign(&["kube.example", "10.9.9.9"], "kube-apiserver", -48, 48);
    let server = cluster(&pair, &authority.pem()).await;
    let error = refused(&by_token(&server.address, TOKEN), "CertificateForAnotherName").await;
    assert!(error.to_string().contains("kube.example"), "{error}");
}

#[tokio::test]
async fn certificates_of_another_time_are_told_apart_from_untrusted_ones() {
    let authority = Authority::new();
    for (from, to, words) in [(-48, -24, "has expired"), (24, 48, "is not valid yet")] {
        let server = cluster(&authority.sign(&["127.0.0.1"], "x", from, to), &authority.pem()).await;
        let error = refused(&by_token(&server.address, TOKEN), "ServerCertificateExpired").await;
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (authority, target) = (Authority::new(), Authority::new());
    let target = cluster(&target.for_loopback(), &target.pem()).await;
    let head =
        format!("HTTP/1.1 302 Found\r\nLocation: {}/x\r\nContent-Length: 0\r\n\r\n", target.address.url());
    let server = Server::tls(&authority.for_loopback(), None, move |_| Reply::Raw(head.clone())).await;
    let error = refused(&by_token(&server.address, TOKEN), "RedirectRefused").await;
    assert!(error.to_string().contains(&target.address.to_string()), "{error}");
    assert_eq!(target.everything(), "");
}

#[tokio::test]
async fn half_a_gigabyte_is_not_read() {
    let authority = Authority::new();
    for announced in [true, false] {
        let server =
            Server::tls(&authority.for_loopback(), None, move |_| Reply::Endless { announced }).await;
        refused(&by_token(&server.address, TOKEN), "AnswerTooLarge").await;
        assert!(server.bytes_sent() < 16 << 20, "{} bytes were taken", server.bytes_sent());
    }
}

#[tokio::test]
async fn what_is_no_api_server_is_told_what_it_seems_to_be() {
    let authority = Authority::new();
    let plain = Server::plain(|_| Reply::Raw(PLAIN_ANSWER.to_owned())).await;
    let error = refused(&by_token(&plain.address, TOKEN), "NotAnApiServer").await;
    assert!(error.to_string().contains("TLS"), "{error}");
    for (status, body) in [(200, "<html>welcome</html>"), (404, "not found"), (404, "{}"), (200, "")] {
        let server =
            Server::tls(&authority.for_loopback(), None, move |_| Reply::Json(status, body.to_owned())).await;
        refused(&by_token(&server.address, TOKEN), "NotAnApiServer").await;
    }
    let raw =
        Server::tls(&authority.for_loopback(), None, |_| Reply::Raw("220 smtp ready\r\n".to_owned())).await;
    refused(&by_token(&raw.address, TOKEN), "NotAnApiServer").await;
}

#[tokio::test]
async fn a_cluster_info_that_holds_nothing_is_a_bad_answer() {
    let authority = Authority::new();
    for shown in ["", "junk", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let server = cluster(&authority.for_loopback(), shown).await;
        refused(&by_token(&server.address, TOKEN), "BadAnswer").await;
        refused(&by_pin(&server.address, pin(&authority)), "PinDiffers").await;
    }
}

#[tokio::test]
async fn a_cluster_that_hides_its_cluster_info_says_what_to_apply() {
    let authority = Authority::new();
    for status in [401, 403, 404] {
        let body = json!({ "kind": "Status", "code": status, "message": "no\u{1b}[31m" }).to_string();
        let server =
            Server::tls(&authority.for_loopback(), None, move |_| Reply::Json(status, body.clone())).await;
        let error = refused(&by_token(&server.address, TOKEN), "NoClusterInfo").await;
        assert!(error.to_string().contains("2-join.yaml"), "{error}");
    }
}

/// BI#26341: a join hung.
#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_given_up_after_ten_seconds() {
    let authority = Authority::new();
    let (silent, _held) = mute().await;
    let hangs = Server::tls(&authority.for_loopback(), None, |_| Reply::Nothing).await;
    for address in [&silent, &hangs.address] {
        let begin = Instant::now();
        let error = refused(&by_token(address, TOKEN), "ServerHangs").await;
        assert!(error.is_passing());
        assert_eq!(begin.elapsed().as_secs(), Duration::from_secs(10).as_secs());
    }
}

#[tokio::test]
async fn nobody_there_is_passing() {
    let error = refused(&by_token(&closed_port().await, TOKEN), "ServerUnreachable").await;
    assert!(error.is_passing());
    let nowhere = ServerAddress::new("no-such-host.invalid", 6443).unwrap();
    refused(&by_token(&nowhere, TOKEN), "ServerUnreachable").await;
}

#[tokio::test]
async fn insecure_takes_a_ca_only_where_nothing_better_is_known() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = cluster(&authority.for_loopback(), &authority.pem()).await;
    let insecure =
        |credential, pin| Invitation { server: server.address.clone(), credential, pin, insecure: true };
    assert_eq!(discover(&insecure(None, None)).await.unwrap(), authority.ca());
    refused(&Invitation { insecure: false, ..insecure(None, None) }, "NothingToTrust").await;
    refused(&insecure(Some(shown("zzzzzz.0123456789abcdef")), None), "TokenUnknown").await;
    refused(&insecure(Some(shown(TOKEN)), Some(pin(&other))), "PinDiffers").await;
    assert!(!server.everything().contains(SECRET));
}

#[tokio::test]
async fn a_token_is_tried_over_verified_tls_alone() {
    let (authority, other) = (Authority::new(), Authority::new());
    let allowed = |allowed: bool| json!({ "status": { "allowed": allowed } }).to_string();
    let yes = Server::tls(&authority.for_loopback(), None, move |_| Reply::Json(201, allowed(true))).await;
    try_credential(&yes.address, &authority.ca(), &shown(TOKEN)).await.unwrap();
    assert!(yes.everything().contains(&format!("authorization: Bearer {TOKEN}")), "{}", yes.everything());

    let error = try_credential(&yes.address, &other.ca(), &shown(TOKEN)).await.unwrap_err();
    assert_eq!(error.reason(), "CertificateUntrusted");
    assert_eq!(yes.asked.lock().unwrap().len(), 1, "nothing was sent to whom is not trusted");

    let no = Server::tls(&authority.for_loopback(), None, move |_| Reply::Json(201, allowed(false))).await;
    let error = try_credential(&no.address, &authority.ca(), &shown(TOKEN)).await.unwrap_err();
    assert_eq!(error.reason(), "Forbidden");

    let body = json!({ "kind": "Status", "code": 401, "message": "Unauthorized" }).to_string();
    let old = Server::tls(&authority.for_loopback(), None, move |_| Reply::Json(401, body.clone())).await;
    let error = try_credential(&old.address, &authority.ca(), &shown(TOKEN)).await.unwrap_err();
    assert_eq!(error.reason(), "Unauthorized");
    assert!(error.to_string().contains("token abcdef") && !error.to_string().contains(SECRET), "{error}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_the_cluster_that_the_pin_names_and_signs_nothing() {
    let authority = Authority::new();
    let certified = |hours| {
        let pair = authority.sign(&[], "switches", -48, hours);
        (pair.certificate.to_vec(), Credential::Certificate(InvitationCertificate::parse(&pair.pem).unwrap()))
    };
    let (der, good) = certified(1);
    let allowed = json!({ "status": { "allowed": true } }).to_string();
    let unknown = json!({ "kind": "Status", "code": 401, "message": "Unauthorized" }).to_string();
    let server = Server::tls(&authority.for_loopback(), Some(&authority), move |asked| {
        let known = asked.client.as_ref() == Some(&der);
        if known { Reply::Json(201, allowed.clone()) } else { Reply::Json(401, unknown.clone()) }
    })
    .await;
    try_credential(&server.address, &authority.ca(), &good).await.unwrap();

    let error = try_credential(&server.address, &authority.ca(), &certified(-1).1).await.unwrap_err();
    assert_eq!(error.reason(), "ClientCertificateExpired");
    let error = try_credential(&server.address, &authority.ca(), &certified(2).1).await.unwrap_err();
    assert_eq!(error.reason(), "Unauthorized");
    assert!(error.to_string().contains(r#"the client certificate of "switches""#), "{error}");

    let without_pin =
        Invitation { server: server.address.clone(), credential: Some(good), pin: None, insecure: false };
    refused(&without_pin, "NothingToTrust").await;
}

#[tokio::test]
async fn a_switch_that_has_joined_knows_its_cluster_again_without_token_or_pin() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = cluster(&authority.for_loopback(), &authority.pem()).await;
    recognize(&server.address, &authority.ca()).await.unwrap();
    let error = recognize(&server.address, &other.ca()).await.unwrap_err();
    assert_eq!(error.reason(), "CertificateUntrusted");
    assert_eq!(server.everything(), "");
}
