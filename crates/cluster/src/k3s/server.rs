//! What is asked of k3s's servers before k3s is started: who they are, and whether they take the token.
//!
//! As k3s itself does it, but for what it leaves open: it sends a token that names no cluster to whoever answers. Here the
//! CA is known by the hash in the token, or by the pin, before anything secret is sent.

use hyper::StatusCode;
use hyper::header::HeaderValue;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::address::ServerAddress;
use crate::credential::Credential;
use crate::discover::{Seen, look_at};
use crate::error::{ClusterError, one_line};
use crate::forms::NodeName;
use crate::https::{ANSWER_MAX, Answer, Ask, call};
use crate::invitation::Invitation;
use crate::tls;
use crate::token::{K3sToken, sha256};
use crate::trust::{CaCertificate, pins_told};

/// The CA of the API server, for everybody.
const AUTHORITIES: &str = "/cacerts";
/// What k3s's agent fetches first of all that is for those with a token: no secret, and nothing is made for it.
const FOR_AGENTS: &str = "/v1-k3s/client-ca.crt";
/// Where it gets the node's certificate, and where the node's password is checked.
const FOR_NODES: &str = "/v1-k3s/client-kubelet.crt";

/// What discovery sees. Nothing secret is sent.
pub(crate) async fn look(invitation: &Invitation) -> Result<Seen, ClusterError> {
    let server = &invitation.server;
    let token = match &invitation.credential {
        Some(Credential::K3s(token)) => Some(token),
        None => None,
        Some(_) => return Err(ClusterError::WantsK3sToken { server: server.clone() }),
    };
    if !invitation.tells_cluster() {
        match token {
            Some(_) => return Err(ClusterError::TokenNamesNoCluster { server: server.clone() }),
            None if !invitation.insecure => return Err(ClusterError::NoTrust { server: server.clone() }),
            None => {}
        }
    }
    let (chain, answer) = look_at(server, AUTHORITIES).await?;
    let ca = authority(invitation, token, &answer);
    let ca = ca.and_then(|ca| tls::check_chain(server, &ca, &chain).map(|()| ca));
    Ok(Seen { ca, date: answer.date })
}

/// The CA, by whatever there is to know it by. Where there are both hash and pin, both have to name it.
fn authority(
    invitation: &Invitation,
    token: Option<&K3sToken>,
    answer: &Answer,
) -> Result<CaCertificate, ClusterError> {
    let server = &invitation.server;
    let shown = shown(server, answer)?;
    let found = match token.and_then(K3sToken::ca_hash) {
        Some(hash) => named(&shown, &answer.body, hash).ok_or_else(|| ClusterError::TokenHashDiffers {
            server: server.clone(),
            found: sha256(&answer.body),
        })?,
        // It would be another hash than the one that k3s takes of it.
        None if token.is_some() && !is_one(&shown, &answer.body) => {
            return Err(ClusterError::TokenNamesNoCluster { server: server.clone() });
        }
        None => shown,
    };
    match &invitation.pin {
        None => Ok(found),
        Some(pin) => CaCertificate::pinned(found.certificates(), pin).ok_or_else(|| {
            ClusterError::PinDiffers { server: server.clone(), found: pins_told(found.certificates()) }
        }),
    }
}

fn shown(server: &ServerAddress, answer: &Answer) -> Result<CaCertificate, ClusterError> {
    passing(server, answer, "show its CA")?;
    let not_k3s = |found: String| ClusterError::NotK3s { server: server.clone(), found };
    if !answer.status.is_success() {
        return Err(not_k3s(format!("it answers {} when asked for {AUTHORITIES}", answer.status.as_u16())));
    }
    CaCertificate::from_pem(&answer.body)
        .map_err(|_| not_k3s(format!("what it shows as {AUTHORITIES} are no certificates")))
}

/// Whether it is one certificate and nothing else, as k3s makes it for itself.
fn is_one(shown: &CaCertificate, served: &[u8]) -> bool {
    shown.certificates().len() == 1 && shown.pem().as_bytes() == served
}

/// What the hash names: the whole as it was served, or one certificate in it. Of the others nothing is believed: somebody
/// between could have put one of their own beside it.
fn named(shown: &CaCertificate, served: &[u8], hash: &str) -> Option<CaCertificate> {
    if sha256(served) == hash {
        return Some(shown.clone());
    }
    let one = shown.certificates().iter().find(|certificate| sha256(certificate) == hash)?;
    CaCertificate::from_der(vec![one.clone()])
}

/// Whether the cluster lets somebody with this token in.
pub(crate) async fn try_token(
    server: &ServerAddress,
    ca: &CaCertificate,
    token: &K3sToken,
) -> Result<(), ClusterError> {
    let answer = ask(server, ca, token, FOR_AGENTS, Vec::new()).await?;
    accepted(server, token, &answer)?;
    if CertificateDer::from_pem_slice(&answer.body).is_err() {
        let found = format!("what it gives as {FOR_AGENTS} is no certificate");
        return Err(ClusterError::NotK3s { server: server.clone(), found });
    }
    Ok(())
}

/// Whether the cluster takes the switch for the node of this name that it was. k3s asks the same, and tells its log alone.
pub(crate) async fn try_node(
    server: &ServerAddress,
    ca: &CaCertificate,
    token: &K3sToken,
    node: &NodeName,
    password: &str,
) -> Result<(), ClusterError> {
    let refused = || ClusterError::NodePasswordRefused { server: server.clone(), node: node.clone() };
    let mut secret = HeaderValue::from_str(password).map_err(|_| refused())?;
    secret.set_sensitive(true);
    let name = HeaderValue::from_str(node.as_str()).map_err(|_| refused())?;
    let headers = vec![("k3s-node-name", name), ("k3s-node-password", secret)];
    let answer = ask(server, ca, token, FOR_NODES, headers).await?;
    if answer.status == StatusCode::FORBIDDEN {
        return Err(refused());
    }
    // The certificate in it is left: k3s gets its own.
    accepted(server, token, &answer)
}

async fn ask(
    server: &ServerAddress,
    ca: &CaCertificate,
    token: &K3sToken,
    path: &str,
    headers: Vec<(&'static str, HeaderValue)>,
) -> Result<Answer, ClusterError> {
    let authorization = token.authorization().ok_or_else(|| refused(server, token))?;
    let ask = Ask { authorization: Some(authorization), headers, ..Ask::get(path) };
    call(server, tls::trusting(server, ca, None)?, ask, ANSWER_MAX).await
}

fn accepted(server: &ServerAddress, token: &K3sToken, answer: &Answer) -> Result<(), ClusterError> {
    passing(server, answer, "let an agent in")?;
    match answer.status {
        status if status.is_success() => Ok(()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(refused(server, token)),
        status => {
            let found = format!("it answers {} when asked to let an agent in", status.as_u16());
            Err(ClusterError::NotK3s { server: server.clone(), found })
        }
    }
}

fn refused(server: &ServerAddress, token: &K3sToken) -> ClusterError {
    let what = format!("token {token}, which is wrong or has expired");
    ClusterError::Unauthorized { server: server.clone(), what }
}

/// A server that is busy, or has not come up yet, says so whatever it is asked.
fn passing(server: &ServerAddress, answer: &Answer, doing: &str) -> Result<(), ClusterError> {
    if !matches!(answer.status.as_u16(), 429 | 500..) {
        return Ok(());
    }
    Err(ClusterError::Refused {
        server: server.clone(),
        doing: doing.to_owned(),
        status: answer.status.as_u16(),
        message: one_line(&String::from_utf8_lossy(&answer.body)),
    })
}
