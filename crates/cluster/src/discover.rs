//! Finds out whom to trust: the cluster's CA, from the one thing that a cluster shows to strangers.
//!
//! Of the connection over which it is read nothing is believed: the CA counts if its hash is the pin, or, where there is
//! no pin, if the token's signature on it holds. After that the server that showed it must hold a certificate of it for
//! its own address. Nothing secret is sent meanwhile. `insecure` takes a CA as it is presented only where there is
//! neither pin nor token: a token is never given to a cluster that did not sign with it, nor against a pin.

use std::collections::BTreeMap;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use hyper::header::HeaderValue;
use serde::Deserialize;
use serde_json::json;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::address::ServerAddress;
use crate::credential::Credential;
use crate::error::ClusterError;
use crate::https::{ANSWER_MAX, Answer, Ask, CALL_MAX, call, connect, within};
use crate::invitation::Invitation;
use crate::token::Token;
use crate::trust::{CaCertificate, pins_told};
use crate::{jws, kubeconfig, tls};

/// Where every cluster that takes bootstrap tokens tells who it is.
const CLUSTER_INFO: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";

#[derive(Deserialize)]
struct ConfigMap {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

/// The CA of the cluster that the switch is invited to, verified.
pub async fn discover(invitation: &Invitation) -> Result<CaCertificate, ClusterError> {
    look(invitation).await?.ca
}

/// What discovery saw.
pub(crate) struct Seen {
    /// The CA, or why it is not trusted.
    pub(crate) ca: Result<CaCertificate, ClusterError>,
    /// The server's clock.
    pub(crate) date: Option<String>,
}

pub(crate) async fn look(invitation: &Invitation) -> Result<Seen, ClusterError> {
    let server = &invitation.server;
    if !invitation.tells_cluster() && !invitation.insecure {
        return Err(ClusterError::NoTrust { server: server.clone() });
    }
    let (chain, answer) = look_at(server, CLUSTER_INFO).await?;
    let ca = authority(invitation, &chain, &answer);
    let ca = ca.and_then(|ca| tls::check_chain(server, &ca, &chain).map(|()| ca));
    Ok(Seen { ca, date: answer.date })
}

/// What a server that is not known yet presents of itself and shows to everybody. Nothing secret is sent.
pub(crate) async fn look_at(
    server: &ServerAddress,
    path: &str,
) -> Result<(Vec<CertificateDer<'static>>, Answer), ClusterError> {
    let config = tls::curious(server)?;
    within(server, CALL_MAX, async {
        let connection = connect(server, config).await?;
        let chain = connection.chain.clone();
        let answer = connection.send(Ask::get(path)).await?.whole(ANSWER_MAX).await?;
        Ok((chain, answer))
    })
    .await
}

/// The CA, by whatever the invitation has to know it by.
fn authority(
    invitation: &Invitation,
    chain: &[CertificateDer<'static>],
    answer: &Answer,
) -> Result<CaCertificate, ClusterError> {
    let server = &invitation.server;
    let info = cluster_info(server, answer);
    if let Some(pin) = &invitation.pin {
        // A cluster that hides its cluster-info may present its CA with its certificate.
        let shown = info.as_ref().map(|info| certificates(info)).unwrap_or_default();
        let candidates = [shown.as_slice(), chain].concat();
        return match (CaCertificate::pinned(&candidates, pin), info) {
            (Some(ca), _) => Ok(ca),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => Err(pin_differs(server, &shown)),
        };
    }
    let info = info?;
    if let Some(token) = invitation.token() {
        check_signature(server, &info, token)?;
    }
    let pem: String = certificates(&info).iter().map(|der| crate::x509::pem("CERTIFICATE", der)).collect();
    CaCertificate::from_pem(pem.as_bytes()).map_err(|_| ClusterError::BadAnswer {
        server: server.clone(),
        why: "its cluster-info holds no usable CA (docs/cluster.md tells how to make it)".to_owned(),
    })
}

fn cluster_info(server: &ServerAddress, answer: &Answer) -> Result<ConfigMap, ClusterError> {
    match answer.object(server, "read cluster-info", "a stranger") {
        // An API server says so of what is missing and of what strangers may not see.
        Err(
            ClusterError::Unauthorized { .. }
            | ClusterError::Forbidden { .. }
            | ClusterError::Refused { status: 404, .. },
        ) => Err(ClusterError::NoClusterInfo { server: server.clone(), status: answer.status.as_u16() }),
        other => other,
    }
}

/// The certificates in cluster-info; none where it has none that can be read.
fn certificates(info: &ConfigMap) -> Vec<CertificateDer<'static>> {
    let read = || {
        let text = kubeconfig::field(info.data.get("kubeconfig")?, "certificate-authority-data")?;
        let pem = STANDARD.decode(text).ok()?;
        CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().ok()
    };
    read().unwrap_or_default()
}

fn pin_differs(server: &ServerAddress, shown: &[CertificateDer<'_>]) -> ClusterError {
    ClusterError::PinDiffers { server: server.clone(), found: pins_told(shown) }
}

fn check_signature(server: &ServerAddress, info: &ConfigMap, token: &Token) -> Result<(), ClusterError> {
    let (server, id) = (server.clone(), token.id().to_owned());
    let content = info.data.get("kubeconfig").map(String::as_bytes).unwrap_or_default();
    match info.data.get(&format!("jws-kubeconfig-{id}")) {
        None => Err(ClusterError::TokenUnknown { server, id }),
        Some(signature) if !jws::holds(signature, content, token) => {
            Err(ClusterError::SignatureWrong { server, id })
        }
        Some(_) => Ok(()),
    }
}

/// Whether this is the cluster whose CA is known from an earlier join, at whatever address: a switch that has joined needs
/// neither token nor pin to know its cluster again. Nothing is sent but the handshake.
pub async fn recognize(server: &ServerAddress, ca: &CaCertificate) -> Result<(), ClusterError> {
    let config = tls::trusting(server, ca, None)?;
    within(server, CALL_MAX, connect(server, config)).await.map(drop)
}

/// Whether the cluster takes this and would give a node's certificate for it. Shown over verified TLS only.
///
/// The kubelet asks for its certificate by itself, but tells nobody but its log why it got none.
pub async fn try_credential(
    server: &ServerAddress,
    ca: &CaCertificate,
    credential: &Credential,
) -> Result<(), ClusterError> {
    #[derive(Deserialize)]
    struct Review {
        status: ReviewStatus,
    }
    #[derive(Deserialize)]
    struct ReviewStatus {
        allowed: bool,
    }
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": {
            "group": "certificates.k8s.io", "resource": "certificatesigningrequests", "verb": "create",
        } },
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let mut ask = Ask::send(Method::POST, path, "application/json", review.to_string().into_bytes());
    let identity = match credential {
        Credential::Token(token) => {
            ask.authorization = Some(bearer(server, token)?);
            None
        }
        Credential::Certificate(certificate) => {
            certificate.check(SystemTime::now())?;
            certificate.identity()
        }
        Credential::K3s(_) => {
            let what = "a token of k3s, from a kubelet".to_owned();
            return Err(ClusterError::Unauthorized { server: server.clone(), what });
        }
    };
    let answer = call(server, tls::trusting(server, ca, identity)?, ask, ANSWER_MAX).await?;
    let shown = match credential {
        Credential::Token(token) => format!("token {}", token.id()),
        other => other.to_string(),
    };
    let doing = "ask for a node's certificate";
    let review: Review = answer.object(server, doing, &shown)?;
    if review.status.allowed {
        return Ok(());
    }
    Err(ClusterError::Forbidden {
        server: server.clone(),
        doing: doing.to_owned(),
        message: format!("to whoever has {shown}: it is not of the group system:bootstrappers:switchyard"),
        remedy: "kubectl apply -f packaging/cluster/2-join.yaml, and make the token or certificate as docs/cluster.md tells"
            .to_owned(),
    })
}

fn bearer(server: &ServerAddress, token: &Token) -> Result<HeaderValue, ClusterError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal())).map_err(|_| {
        ClusterError::Unauthorized { server: server.clone(), what: "the token's characters".to_owned() }
    })?;
    value.set_sensitive(true);
    Ok(value)
}
