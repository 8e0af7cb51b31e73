//! Whom a download trusts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use switchyard_tpc::fetch::FetchError;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::server::{Reply, Server, answer, file};
use super::{Case, read};

/// A web server with a certificate of an authority of its own.
struct Secure {
    address: SocketAddr,
    directory: TempDir,
}

impl Secure {
    async fn start(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let shown =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![shown.der().clone()], private)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    answer(stream, |question| match question.path() {
                        "/away" => {
                            Reply::new("HTTP/1.1 302 F\nLocation: http://127.0.0.1/i\nContent-Length: 0", b"")
                        }
                        _ => file(&question, b"secret", "\"t\"", usize::MAX),
                    })
                    .await;
                });
            }
        });
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
        Self { address, directory }
    }

    fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_only_when_it_is_named() {
    let server = Secure::start("127.0.0.1").await;
    let mut case = Case::new(&server.url("/i"));
    case.ca = Some(server.ca());
    assert_eq!(read(&case.fetch().await.unwrap().path), b"secret");
    let other = Secure::start("127.0.0.1").await;
    case.ca = Some(other.ca());
    let error = case.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::Certificate { .. }) && error.to_string().contains("--ca"), "{error}");
    case.insecure = true;
    assert!(case.fetch().await.is_ok());
}

#[tokio::test]
async fn a_certificate_for_another_name_and_a_server_without_tls_are_refused() {
    let server = Secure::start("elsewhere.example.com").await;
    let mut case = Case::new(&server.url("/i"));
    case.ca = Some(server.ca());
    let error = case.fetch().await.unwrap_err();
    assert!(error.to_string().contains("another name"), "{error}");
    let plain = Server::start(|_, question| file(question, b"x", "\"t\"", usize::MAX)).await;
    let mut case = Case::new(&plain.url("/i").replace("http:", "https:"));
    case.ca = Some(server.ca());
    case.patience.stall = std::time::Duration::from_millis(300);
    case.patience.connect = std::time::Duration::from_millis(300);
    case.patience.attempts = 1;
    let error = case.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::Tls { .. } | FetchError::NoAnswer { .. }), "{error}");
}

#[tokio::test]
async fn tls_is_never_left_by_a_redirect() {
    let server = Secure::start("127.0.0.1").await;
    let mut case = Case::new(&server.url("/away"));
    case.ca = Some(server.ca());
    let error = case.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::Redirect { why: "it leaves TLS", .. }), "{error}");
}

#[tokio::test]
async fn authorities_that_cannot_be_read_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let server = Secure::start("127.0.0.1").await;
    let mut case = Case::new(&server.url("/i"));
    for (name, text) in [("none.pem", None), ("empty.pem", Some("")), ("garbage.pem", Some("hello"))] {
        let path = directory.path().join(name);
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        case.ca = Some(path);
        let error = case.fetch().await.unwrap_err();
        assert!(
            matches!(error, FetchError::Authorities { .. }) && error.to_string().contains(name),
            "{error}"
        );
    }
}
