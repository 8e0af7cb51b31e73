//! Plays k3s's server before the lab's control plane: it shows its CA, takes a password, gives certificates to nodes whose
//! own password is right (k3s, `pkg/server/handlers`), and hands on what is asked with such a certificate.

use std::net::TcpListener as Listener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::cluster::{Cluster, Invitation};

/// The head of a request has no more.
const HEAD_MAX: usize = 16 << 10;

/// One that runs until it is dropped. It knows one node.
pub(super) struct K3sServer {
    port: u16,
    known: Arc<Known>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Known {
    ca: String,
    authorization: String,
    node: String,
    /// Certificate and key of that node.
    pair: String,
    /// The password by which it came first.
    password: Mutex<Option<String>>,
    api: (String, u16),
    api_tls: TlsConnector,
}

impl K3sServer {
    /// A server of this cluster for one node, where whoever joins shows this password.
    pub(super) fn of(cluster: &Cluster, node: &str, password: &str) -> Result<Self> {
        let Invitation { address, port, .. } = cluster.invitation()?;
        let ca = cluster.ca()?;
        let (certificate, key) = cluster.node_certificate(node)?;
        let (server_certificate, server_key) = cluster.server_certificate()?;
        let acceptor = acceptor(&ca, &server_certificate, &server_key)?;
        let known = Arc::new(Known {
            authorization: format!("authorization: basic {}", STANDARD.encode(format!("node:{password}"))),
            api_tls: connector(&ca, &certificate, &key)?,
            pair: certificate + &key,
            node: node.to_owned(),
            password: Mutex::default(),
            api: (address.clone(), port),
            ca,
        });
        let listener = Listener::bind((address.as_str(), 0)).context("cannot listen")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = known.clone();
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, acceptor, shared) => {}
                    _ = ended => {}
                }
            });
        });
        Ok(Self { port, known, end: Some(end), thread: Some(thread) })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// What the cluster knows its node by is another password from now on; none: the first that comes.
    pub(super) fn know_node_by(&self, password: Option<&str>) {
        *self.known.password.lock().unwrap_or_else(PoisonError::into_inner) = password.map(ToOwned::to_owned);
    }
}

impl Drop for K3sServer {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // One that panicked has told so.
            drop(thread.join());
        }
    }
}

fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().context("no certificates")
}

fn roots(ca: &str) -> Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(ca)? {
        roots.add(certificate)?;
    }
    Ok(Arc::new(roots))
}

fn acceptor(ca: &str, certificate: &str, key: &str) -> Result<TlsAcceptor> {
    let provider = Arc::new(default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(roots(ca)?, provider.clone());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients.allow_unauthenticated().build()?)
        .with_single_cert(chain(certificate)?, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn connector(ca: &str, certificate: &str, key: &str) -> Result<TlsConnector> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca)?)
        .with_client_auth_cert(chain(certificate)?, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?;
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn accept(listener: Listener, acceptor: TlsAcceptor, known: Arc<Known>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, known) = (acceptor.clone(), known.clone());
        tokio::spawn(async move {
            if let Ok(tls) = acceptor.accept(tcp).await {
                // Whoever breaks off is told nothing more.
                let _ = serve(tls, &known).await;
            }
        });
    }
}

async fn serve(mut tls: TlsStream<TcpStream>, known: &Known) -> Result<()> {
    let mut read = Vec::new();
    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
        if tls.read_buf(&mut read).await? == 0 || read.len() > HEAD_MAX {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&read).to_ascii_lowercase();
    let path = head.split(' ').nth(1).unwrap_or_default();
    if path != "/cacerts" && !path.starts_with("/v1-k3s/") {
        return hand_on(tls, &read, known).await;
    }
    let (status, body) = known.answer(path, &head);
    let answer =
        format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    tls.write_all(answer.as_bytes()).await?;
    Ok(tls.shutdown().await?)
}

/// Whoever shows the node's certificate is handed on as that node, with all that follows.
async fn hand_on(mut tls: TlsStream<TcpStream>, read: &[u8], known: &Known) -> Result<()> {
    if tls.get_ref().1.peer_certificates().is_none() {
        let body = r#"{"kind":"Status","code":401,"message":"Unauthorized"}"#;
        let answer =
            format!("HTTP/1.1 401 X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        tls.write_all(answer.as_bytes()).await?;
        return Ok(tls.shutdown().await?);
    }
    let (host, port) = &known.api;
    let tcp = TcpStream::connect((host.as_str(), *port)).await?;
    let mut api = known.api_tls.connect(ServerName::try_from(host.clone())?, tcp).await?;
    api.write_all(read).await?;
    copy_bidirectional(&mut tls, &mut api).await?;
    Ok(())
}

impl Known {
    fn answer(&self, path: &str, head: &str) -> (u16, &str) {
        if path == "/cacerts" {
            return (200, &self.ca);
        }
        if !head.contains(&self.authorization.to_ascii_lowercase()) {
            return (401, r#"{"kind":"Status","code":401,"message":"not authorized"}"#);
        }
        match path {
            "/v1-k3s/client-ca.crt" | "/v1-k3s/server-ca.crt" => (200, &self.ca),
            "/v1-k3s/client-kubelet.crt" if self.is_the_node(head) => (200, &self.pair),
            "/v1-k3s/client-kubelet.crt" => {
                (403, r#"{"kind":"Status","code":403,"message":"unable to verify password"}"#)
            }
            _ => (404, r#"{"kind":"Status","code":404,"message":"not found"}"#),
        }
    }

    /// The first password counts, as where a node of that name is new.
    fn is_the_node(&self, head: &str) -> bool {
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let shown = header("k3s-node-password:").unwrap_or_default();
        let mut password = self.password.lock().unwrap_or_else(PoisonError::into_inner);
        let known = password.get_or_insert_with(|| shown.to_owned());
        header("k3s-node-name:") == Some(&self.node) && !shown.is_empty() && shown == known
    }
}
