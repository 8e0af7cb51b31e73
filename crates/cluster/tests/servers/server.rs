//! Real TLS servers on loopback, good ones and bad ones, and the authorities that make their certificates.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use switchyard_cluster::{CaCertificate, ServerAddress};

/// An authority, as each cluster has one.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) pem: String,
    key: KeyPair,
}

pub(crate) fn hours_from_now(hours: i64) -> SystemTime {
    let far = Duration::from_hours(hours.unsigned_abs());
    if hours < 0 { SystemTime::now() - far } else { SystemTime::now() + far }
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap() }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn ca(&self) -> CaCertificate {
        CaCertificate::from_pem(self.pem().as_bytes()).unwrap()
    }

    /// Good from so many hours ago to so many hours from now.
    pub(crate) fn sign(&self, names: &[&str], common_name: &str, from: i64, to: i64) -> Pair {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut parameters = CertificateParams::new(names).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        parameters.not_before = hours_from_now(from).into();
        parameters.not_after = hours_from_now(to).into();
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let pem = certificate.pem() + &key.serialize_pem();
        Pair { certificate: certificate.der().clone(), pem, key }
    }

    /// A certificate as an API server on loopback has.
    pub(crate) fn for_loopback(&self) -> Pair {
        self.sign(&["127.0.0.1"], "kube-apiserver", -48, 48)
    }
}

/// What a server does with a request.
pub(crate) enum Reply {
    /// An ordinary answer.
    Json(u16, String),
    /// Any bytes, then the end.
    Raw(String),
    /// Never anything.
    Nothing,
    /// Zeros without an end; with a length beforehand or in pieces.
    Endless { announced: bool },
    /// What the test sends, piece by piece, until it lets go.
    Lines(mpsc::UnboundedReceiver<String>),
    /// What the test sends, and then the connection breaks.
    Broken(mpsc::UnboundedReceiver<String>),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) body: String,
    /// The subject of the client's certificate in DER, if it showed one.
    pub(crate) client: Option<Vec<u8>>,
}

impl Asked {
    /// `GET /path`.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap().trim_end_matches(" HTTP/1.1")
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    pub(crate) address: ServerAddress,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
    sent: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Handler = dyn Fn(&Asked) -> Reply + Send + Sync;

impl Server {
    /// With TLS, taking client certificates of any of these authorities but asking for none.
    pub(crate) async fn tls(
        pair: &Pair,
        clients: Option<&Authority>,
        handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.issuer.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(
                    Arc::new(roots),
                    Arc::new(default_provider()),
                )
                .allow_unauthenticated()
                .build()
                .unwrap();
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::try_from(pair.key.serialize_der()).unwrap();
        let config = builder.with_single_cert(vec![pair.certificate.clone()], key).unwrap();
        Self::start(Some(TlsAcceptor::from(Arc::new(config))), Arc::new(handler)).await
    }

    /// Without TLS.
    pub(crate) async fn plain(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(handler)).await
    }

    async fn start(tls: Option<TlsAcceptor>, handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = ServerAddress::new("127.0.0.1", listener.local_addr().unwrap().port()).unwrap();
        let (asked, sent) = (Arc::default(), Arc::default());
        let task = tokio::spawn(accept(listener, tls, handler, Arc::clone(&asked), Arc::clone(&sent)));
        Self { address, asked, sent, task }
    }

    /// All that was ever said to it.
    pub(crate) fn everything(&self) -> String {
        let asked = self.asked.lock().unwrap();
        asked.iter().flat_map(|asked| [asked.head.as_str(), asked.body.as_str()]).collect()
    }

    pub(crate) fn bytes_sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    handler: Arc<Handler>,
    asked: Arc<Mutex<Vec<Asked>>>,
    sent: Arc<AtomicUsize>,
) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let (tls, handler, asked, sent) = (tls.clone(), handler.clone(), asked.clone(), sent.clone());
        connections.spawn(async move {
            let Some(tls) = tls else { return serve(tcp, None, &*handler, &asked, &sent).await };
            let Ok(stream) = tls.accept(tcp).await else { return };
            let client = stream.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec());
            serve(stream, client, &*handler, &asked, &sent).await;
        });
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    client: Option<Vec<u8>>,
    handler: &Handler,
    log: &Mutex<Vec<Asked>>,
    sent: &AtomicUsize,
) {
    let Some(asked) = read_request(&mut stream, client).await else { return };
    log.lock().unwrap().push(asked.clone());
    match handler(&asked) {
        Reply::Json(status, body) => {
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
        Reply::Raw(text) => drop(stream.write_all(text.as_bytes()).await),
        Reply::Nothing => std::future::pending().await,
        Reply::Endless { announced } => {
            let length = if announced { "Content-Length: 524288000" } else { "Connection: close" };
            let head = format!("HTTP/1.1 200 OK\r\n{length}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(&[b' '; 8192]).await.is_ok() {
                sent.fetch_add(8192, Ordering::Relaxed);
            }
        }
        Reply::Lines(mut lines) => {
            send_lines(&mut stream, &mut lines).await;
            let _ = stream.write_all(b"0\r\n\r\n").await;
        }
        Reply::Broken(mut lines) => return send_lines(&mut stream, &mut lines).await,
    }
    let _ = stream.shutdown().await;
}

async fn send_lines(stream: &mut (impl AsyncWrite + Unpin), lines: &mut mpsc::UnboundedReceiver<String>) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let _ = stream.flush().await;
    while let Some(line) = lines.recv().await {
        let _ = stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await;
        let _ = stream.flush().await;
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin), client: Option<Vec<u8>>) -> Option<Asked> {
    let mut text = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        text.extend_from_slice(&piece[..count]);
        let read = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = read.split_once("\r\n\r\n") else {
            // What is no HTTP, such as TLS said to a server without it, is answered all the same.
            if !text[0].is_ascii_uppercase() {
                return Some(Asked { head: "JUNK".to_owned(), body: String::new(), client });
            }
            continue;
        };
        let headers: BTreeMap<String, &str> = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value))
            .collect();
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        if body.len() >= length {
            return Some(Asked { head: head.to_owned(), body: body.to_owned(), client });
        }
    }
}

/// A port on which nobody listens.
pub(crate) async fn closed_port() -> ServerAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    ServerAddress::new("127.0.0.1", listener.local_addr().unwrap().port()).unwrap()
}

/// A listener that takes connections and says nothing, not even in TLS.
pub(crate) async fn mute() -> (ServerAddress, JoinHandle<Vec<TcpStream>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = ServerAddress::new("127.0.0.1", listener.local_addr().unwrap().port()).unwrap();
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(listener.accept().await.unwrap().0);
        }
    });
    (address, task)
}
