//! What a switch says as its own node.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use switchyard_cluster::{
    CgroupDriver, Client, Credential, KubeletFiles, LabelKey, NodeName, PodCondition, PodName, ServerAddress,
    Settings, Token, label_value,
};

use crate::server::{Asked, Authority, Reply, Server};

/// A switch that has joined, with a certificate of this authority.
pub(crate) struct Joined {
    pub(crate) client: Client,
    root: tempfile::TempDir,
}

impl Joined {
    pub(crate) fn to(server: &ServerAddress, authority: &Authority) -> Self {
        let root = tempfile::tempdir().unwrap();
        let files = KubeletFiles::below(root.path());
        let node = NodeName::from_host_name("switch1").unwrap();
        let token = Credential::Token(Token::parse("abcdef.0123456789abcdef").unwrap());
        let settings = Settings {
            node: &node,
            address: Some([127, 0, 0, 1].into()),
            cgroup_driver: CgroupDriver::Cgroupfs,
        };
        files.write_for_join(server, &authority.ca(), Some(&token), &settings).unwrap();
        let joined = Self { client: Client::new(server.clone(), node, files), root };
        joined.gets_certificate(authority, "system:node:switch1", 24);
        joined
    }

    pub(crate) fn files(&self) -> KubeletFiles {
        KubeletFiles::below(self.root.path())
    }

    fn gets_certificate(&self, authority: &Authority, user: &str, hours: i64) {
        let pki = self.root.path().join("var/lib/kubelet/pki");
        fs::create_dir_all(&pki).unwrap();
        let current = pki.join("kubelet-client-current.pem");
        let next = pki.join("next.pem");
        fs::write(&next, authority.sign(&[], user, -48, hours).pem).unwrap();
        fs::rename(next, current).unwrap();
    }
}

fn node(labels: &Value) -> String {
    json!({
        "kind": "Node",
        "metadata": { "uid": "n1", "labels": labels, "annotations": { "a/b": "1" } },
        "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }] },
    })
    .to_string()
}

fn status(code: u16, message: &str) -> Reply {
    Reply::Json(code, json!({ "kind": "Status", "code": code, "message": message }).to_string())
}

async fn answering(
    authority: &Authority,
    handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> Server {
    Server::tls(&authority.for_loopback(), Some(authority), handler).await
}

#[tokio::test]
async fn a_node_is_read_with_its_own_certificate() {
    let authority = Authority::new();
    let server = answering(&authority, |_| Reply::Json(200, node(&json!({ "hwsku": "x" })))).await;
    let joined = Joined::to(&server.address, &authority);
    joined.client.answers().await.unwrap();
    let seen = joined.client.node().await.unwrap().unwrap();
    assert!(seen.ready && seen.labels["hwsku"] == "x");
    let asked = server.asked.lock().unwrap()[0].clone();
    assert_eq!(asked.line(), "GET /api/v1/nodes/switch1");
    assert!(asked.client.is_some_and(|der| String::from_utf8_lossy(&der).contains("system:node:switch1")));
    assert!(!asked.head.to_lowercase().contains("authorization"), "{}", asked.head);
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_without_being_told() {
    let authority = Authority::new();
    let server = answering(&authority, |_| Reply::Json(200, node(&json!({})))).await;
    let joined = Joined::to(&server.address, &authority);
    joined.client.answers().await.unwrap();
    joined.gets_certificate(&authority, "system:node:switch1", 48);
    joined.client.answers().await.unwrap();
    let asked = server.asked.lock().unwrap();
    assert_ne!(asked[0].client, asked[1].client);
}

#[tokio::test]
async fn an_expired_certificate_is_said_before_anybody_is_asked() {
    let authority = Authority::new();
    let server = answering(&authority, |_| Reply::Json(200, node(&json!({})))).await;
    let joined = Joined::to(&server.address, &authority);
    joined.gets_certificate(&authority, "system:node:switch1", -24);
    let error = joined.client.answers().await.unwrap_err();
    assert_eq!(error.reason(), "CertificateExpired");
    assert!(error.to_string().contains("switch1"), "{error}");
    assert_eq!(server.everything(), "");
}

#[tokio::test]
async fn a_server_of_another_cluster_is_told_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = answering(&other, |_| Reply::Json(200, node(&json!({})))).await;
    let joined = Joined::to(&server.address, &authority);
    assert_eq!(joined.client.answers().await.unwrap_err().reason(), "CertificateUntrusted");
    assert_eq!(server.everything(), "");
}

#[tokio::test]
async fn labels_that_are_so_already_are_not_sent_and_the_others_in_one_patch() {
    let authority = Authority::new();
    let server = answering(&authority, |_| {
        Reply::Json(200, node(&json!({ "hwsku": "x", "snmp_enabled": "true", "f": "y" })))
    })
    .await;
    let joined = Joined::to(&server.address, &authority);
    let key = |text: &str| LabelKey::parse(text).unwrap();
    let same = BTreeMap::from([(key("hwsku"), Some(label_value("x"))), (key("absent"), None)]);
    assert!(!joined.client.set_labels(&same).await.unwrap());
    assert_eq!(server.asked.lock().unwrap().len(), 1, "nothing differs, nothing is written");

    let mut wanted = same;
    wanted.insert(key("snmp_enabled"), None);
    wanted.insert(key("sonic_version"), Some(label_value("2025+1")));
    assert!(joined.client.set_labels(&wanted).await.unwrap());
    let patch = server.asked.lock().unwrap().last().unwrap().clone();
    assert_eq!(patch.line(), "PATCH /api/v1/nodes/switch1");
    assert!(patch.head.contains("application/merge-patch+json"));
    let said: Value = serde_json::from_str(&patch.body).unwrap();
    assert_eq!(
        said,
        json!({ "metadata": { "labels": { "snmp_enabled": null, "sonic_version": "2025-1" } } })
    );

    let notes = BTreeMap::from([
        (key("a/b"), Some("1".to_owned())),
        (key("a/c"), Some("any text, really".to_owned())),
    ]);
    assert!(joined.client.set_annotations(&notes).await.unwrap());
    let patch = server.asked.lock().unwrap().last().unwrap().clone();
    let said: Value = serde_json::from_str(&patch.body).unwrap();
    assert_eq!(said, json!({ "metadata": { "annotations": { "a/c": "any text, really" } } }));
}

#[tokio::test]
async fn a_node_that_may_not_delete_itself_is_told_the_command() {
    let authority = Authority::new();
    let server = answering(&authority, |_| status(403, "nodes \"switch1\" is forbidden")).await;
    let joined = Joined::to(&server.address, &authority);
    let error = joined.client.delete_node().await.unwrap_err();
    assert_eq!(error.reason(), "Forbidden");
    assert!(error.to_string().contains("kubectl delete node switch1"), "{error}");

    let gone = answering(&authority, |_| status(404, "not found")).await;
    let joined = Joined::to(&gone.address, &authority);
    joined.client.delete_node().await.unwrap();
    assert_eq!(joined.client.node().await.unwrap(), None);
}

#[tokio::test]
async fn a_pod_is_deleted_at_once_and_no_other_of_its_name() {
    let authority = Authority::new();
    let server = answering(&authority, |_| status(200, "")).await;
    let joined = Joined::to(&server.address, &authority);
    let pod = PodName { namespace: "sonic", name: "snmp-x" };
    joined.client.delete_pod(pod, "u1").await.unwrap();
    let asked = server.asked.lock().unwrap().last().unwrap().clone();
    assert_eq!(asked.line(), "DELETE /api/v1/namespaces/sonic/pods/snmp-x");
    let said: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!((&said["gracePeriodSeconds"], &said["preconditions"]["uid"]), (&json!(0), &json!("u1")));

    for (code, is_gone) in [(404, true), (409, true), (403, false), (500, false)] {
        let server = answering(&authority, move |_| status(code, "because")).await;
        let deleted = Joined::to(&server.address, &authority).client.delete_pod(pod, "u1").await;
        assert_eq!(deleted.is_ok(), is_gone, "{code}: {deleted:?}");
    }
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let authority = Authority::new();
    for (code, reason, passing) in [
        (401, "Unauthorized", false),
        (403, "Forbidden", false),
        (500, "ServerRefused", true),
        (429, "ServerRefused", true),
    ] {
        let server = answering(&authority, move |_| status(code, "because")).await;
        let error = Joined::to(&server.address, &authority).client.answers().await.unwrap_err();
        assert_eq!((error.reason(), error.is_passing()), (reason, passing), "{error}");
    }
    let proxy = answering(&authority, |_| Reply::Json(503, "no upstream".to_owned())).await;
    assert!(Joined::to(&proxy.address, &authority).client.answers().await.unwrap_err().is_passing());
    let endless = answering(&authority, |_| Reply::Endless { announced: false }).await;
    let joined = Joined::to(&endless.address, &authority);
    assert_eq!(joined.client.answers().await.unwrap_err().reason(), "AnswerTooLarge");
    assert_eq!(joined.client.pods().await.unwrap_err().reason(), "AnswerTooLarge");
}

#[tokio::test]
async fn a_pods_condition_is_written_once() {
    let authority = Authority::new();
    let server = answering(&authority, |_| {
        let same = json!({ "type": "sonic/kept", "status": "False", "reason": "Held", "message": "as told" });
        Reply::Json(
            200,
            json!({ "metadata": { "name": "p" }, "status": { "conditions": [same] } }).to_string(),
        )
    })
    .await;
    let joined = Joined::to(&server.address, &authority);
    let pod = PodName { namespace: "sonic", name: "p" };
    let held = PodCondition { kind: "sonic/kept", status: false, reason: "Held", message: "as told" };
    assert!(!joined.client.set_pod_condition(pod, &held).await.unwrap());
    assert_eq!(server.asked.lock().unwrap().len(), 1);
    assert!(joined.client.set_pod_condition(pod, &PodCondition { status: true, ..held }).await.unwrap());
    let patch = server.asked.lock().unwrap().last().unwrap().clone();
    assert_eq!(patch.line(), "PATCH /api/v1/namespaces/sonic/pods/p/status");
    let said: Value = serde_json::from_str(&patch.body).unwrap();
    assert_eq!(said["status"]["conditions"][0]["status"], "True");

    let gone = answering(&authority, |_| status(404, "not found")).await;
    let joined = Joined::to(&gone.address, &authority);
    assert!(!joined.client.set_pod_condition(pod, &held).await.unwrap());
}
