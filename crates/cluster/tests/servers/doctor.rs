//! What the doctor finds on real servers.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use switchyard_cluster::doctor::{Check, Examined, Verdict, checks};
use switchyard_cluster::{Credential, Invitation, KubeletFiles, NodeFiles, ServerAddress, Token};

use crate::discovery::{TOKEN, cluster_info};
use crate::node::Joined;
use crate::server::{Asked, Authority, Reply, Server, closed_port};

const SECRET: &str = "0123456789abcdef";

fn invitation(server: &ServerAddress) -> Invitation {
    Invitation {
        server: server.clone(),
        credential: Some(Credential::Token(Token::parse(TOKEN).unwrap())),
        pin: None,
        insecure: false,
    }
}

/// A cluster that takes the token or does not, and has a Node or has none.
async fn cluster(authority: &Authority, takes: bool, ready: &'static str) -> Server {
    let info = cluster_info(&authority.pem(), &Token::parse(TOKEN).unwrap());
    Server::tls(&authority.for_loopback(), Some(authority), move |asked: &Asked| match asked.line() {
        line if line.contains("cluster-info") => Reply::Json(200, info.clone()),
        line if line.contains("selfsubjectaccessreviews") && takes => {
            Reply::Json(201, json!({ "status": { "allowed": true } }).to_string())
        }
        line if line.contains("/nodes/") => {
            let condition = json!({ "type": "Ready", "status": ready, "reason": "KubeletNotReady" });
            Reply::Json(200, json!({ "status": { "conditions": [condition] } }).to_string())
        }
        _ => Reply::Json(401, json!({ "kind": "Status", "message": "Unauthorized" }).to_string()),
    })
    .await
}

fn told(found: &[Check], verdict: Verdict) -> Vec<&'static str> {
    assert!(!format!("{found:?}").contains(SECRET), "{found:?}");
    found.iter().filter(|check| check.verdict == verdict).map(|check| check.name).collect()
}

#[tokio::test]
async fn a_switch_that_can_join_has_nothing_missing() {
    let (authority, root) = (Authority::new(), tempfile::tempdir().unwrap());
    for (path, mode) in [("usr/bin/kubelet", 0o755), ("lib/systemd/system/kubelet.service", 0o644)] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let server = cluster(&authority, true, "True").await;
    let files = NodeFiles::from(KubeletFiles::below(root.path()));
    let examined =
        Examined { invitation: Some(&invitation(&server.address)), host_name: "Switch1", files: &files };
    let found = checks(&examined).await;
    let expected = [
        "kubelet",
        "its unit",
        "node name",
        "server",
        "address",
        "connection",
        "cluster",
        "credentials",
        "token",
    ];
    assert_eq!(told(&found, Verdict::Good), expected, "{found:?}");
}

#[tokio::test]
async fn what_is_missing_first_is_what_is_told() {
    let (authority, other) = (Authority::new(), Authority::new());
    let files = NodeFiles::from(KubeletFiles::below(tempfile::tempdir().unwrap().path()));
    let kubelet = ["kubelet", "its unit"];
    let bad = async |server: &ServerAddress| {
        let invitation = invitation(server);
        let examined = Examined { invitation: Some(&invitation), host_name: "switch1", files: &files };
        let found = told(&checks(&examined).await, Verdict::Bad);
        assert_eq!(found[..2], kubelet);
        found[2..].to_vec()
    };
    assert_eq!(bad(&ServerAddress::new("no-such-host.invalid", 6443).unwrap()).await, ["address"]);
    assert_eq!(bad(&closed_port().await).await, ["connection"]);
    let foreign = cluster_info(&authority.pem(), &Token::parse(TOKEN).unwrap());
    let between = Server::tls(&other.for_loopback(), None, move |_| Reply::Json(200, foreign.clone())).await;
    assert_eq!(bad(&between.address).await, ["cluster"]);
    let refuses = cluster(&authority, false, "True").await;
    assert_eq!(bad(&refuses.address).await, ["token"]);
}

#[tokio::test]
async fn of_a_switch_that_joined_the_node_is_looked_at() {
    let authority = Authority::new();
    for (ready, warnings) in
        [("True", vec!["credentials", "token"]), ("False", vec!["credentials", "token", "node"])]
    {
        let server = cluster(&authority, false, ready).await;
        let joined = Joined::to(&server.address, &authority);
        let files = joined.files().into();
        let examined =
            Examined { invitation: Some(&invitation(&server.address)), host_name: "switch1", files: &files };
        let found = checks(&examined).await;
        // The certificate of these tests is good for a day, and its token is not taken any more.
        assert_eq!(told(&found, Verdict::Warning), warnings, "{found:?}");
    }
}

#[tokio::test]
async fn a_switch_that_joined_needs_no_token_any_more() {
    let authority = Authority::new();
    let server = cluster(&authority, false, "True").await;
    let joined = Joined::to(&server.address, &authority);
    let files = joined.files().into();
    let invitation = Invitation { credential: None, ..invitation(&server.address) };
    let examined = Examined { invitation: Some(&invitation), host_name: "switch1", files: &files };
    let good = told(&checks(&examined).await, Verdict::Good);
    assert!(good.contains(&"cluster") && good.contains(&"node"), "{good:?}");
}
