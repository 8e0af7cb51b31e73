//! TLS to a web server: rustls with ring, the system's authorities or the operator's, each refusal with its reason.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::connect::Server;
use super::error::one_line;
use super::{FetchError, Request};

/// Where Debian, and so SONiC, keeps whom to trust.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Shakes hands over a connection.
pub(super) async fn wrap(
    tcp: TcpStream,
    server: &Server,
    request: &Request<'_>,
) -> Result<TlsStream<TcpStream>, FetchError> {
    let name = ServerName::try_from(server.host.clone())
        .map_err(|error| FetchError::Tls { server: server.shown(), why: one_line(&error.to_string()) })?;
    let connector = TlsConnector::from(settings(server, request)?);
    timeout(request.patience.connect, connector.connect(name, tcp))
        .await
        .map_err(|_| FetchError::NoAnswer {
            server: server.shown(),
            seconds: request.patience.connect.as_secs(),
        })?
        .map_err(|error| refused(server, &error))
}

fn settings(server: &Server, request: &Request<'_>) -> Result<Arc<ClientConfig>, FetchError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Tls { server: server.shown(), why: one_line(&error.to_string()) })?;
    let config = if request.insecure {
        let any = Arc::new(AnyCertificate(provider));
        builder.dangerous().with_custom_certificate_verifier(any).with_no_client_auth()
    } else {
        let file = request.ca.unwrap_or(Path::new(SYSTEM));
        builder.with_root_certificates(authorities(file)?).with_no_client_auth()
    };
    Ok(Arc::new(config))
}

fn authorities(path: &Path) -> Result<RootCertStore, FetchError> {
    let unusable = |why: String| FetchError::Authorities { path: path.to_owned(), why: one_line(&why) };
    let found = CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| unusable(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(found);
    if taken == 0 {
        return Err(unusable("there is no certificate of an authority in it".to_owned()));
    }
    Ok(roots)
}

fn refused(server: &Server, error: &io::Error) -> FetchError {
    let server = server.shown();
    let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return FetchError::Tls { server, why: one_line(&error.to_string()) };
    };
    let Error::InvalidCertificate(problem) = inner else {
        return FetchError::Tls { server, why: one_line(&inner.to_string()) };
    };
    let why = match problem {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; see: date".to_owned()
        }
        CertificateError::UnknownIssuer => "it is signed by an authority that is not trusted here".to_owned(),
        other => one_line(&other.to_string()),
    };
    FetchError::Certificate { server, why }
}

/// Takes every certificate, but insists that the server has the key of what it shows.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
