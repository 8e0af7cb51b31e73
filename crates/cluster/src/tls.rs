//! TLS to the cluster: rustls with ring, trust in the cluster's CA alone, and every refusal under its own name.

use std::io;
use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
};

use crate::address::ServerAddress;
use crate::error::{ClusterError, one_line};
use crate::trust::CaCertificate;

/// What a switch shows of itself.
pub(crate) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The settings of connections that trust this CA and no other.
pub(crate) fn trusting(
    server: &ServerAddress,
    ca: &CaCertificate,
    identity: Option<Identity>,
) -> Result<Arc<ClientConfig>, ClusterError> {
    let unusable = |error: Error| ClusterError::BadAnswer {
        server: server.clone(),
        why: format!("TLS cannot be set up with these certificates ({error})"),
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(ca.roots(server)?);
    let config = match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(unusable)?,
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// The settings of the one connection that takes every certificate, because it is to find out whom to trust. Nothing
/// secret is ever sent over it, and [`check_chain`] judges afterwards.
pub(crate) fn curious(server: &ServerAddress) -> Result<Arc<ClientConfig>, ClusterError> {
    let provider = provider();
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| handshake_failure(server, &io::Error::other(error)))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Whether the certificates that a server presented are of this CA and for this server.
pub(crate) fn check_chain(
    server: &ServerAddress,
    ca: &CaCertificate,
    chain: &[CertificateDer<'_>],
) -> Result<(), ClusterError> {
    let untrusted =
        |cause: String| ClusterError::Untrusted { server: server.clone(), cause: one_line(&cause) };
    let (end, others) = chain.split_first().ok_or_else(|| untrusted("it shows none".to_owned()))?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(ca.roots(server)?), provider())
        .build()
        .map_err(|error| untrusted(error.to_string()))?;
    match verifier.verify_server_cert(end, others, &server.tls_name(), &[], UnixTime::now()) {
        Ok(_) => Ok(()),
        Err(error) => Err(handshake_failure(server, &io::Error::other(error))),
    }
}

/// What a handshake that failed tells of the server.
pub(crate) fn handshake_failure(server: &ServerAddress, error: &io::Error) -> ClusterError {
    let server = server.clone();
    let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return ClusterError::Unreachable { server, cause: one_line(&error.to_string()) };
    };
    match inner {
        Error::InvalidCertificate(problem) => certificate_failure(server, problem),
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. } => {
            ClusterError::NotAnApiServer { server, found: "it does not speak TLS".to_owned() }
        }
        other => ClusterError::NotAnApiServer { server, found: one_line(&other.to_string()) },
    }
}

fn certificate_failure(server: ServerAddress, problem: &CertificateError) -> ClusterError {
    match problem {
        CertificateError::NotValidForName => ClusterError::WrongName { server, names: String::new() },
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names = if presented.is_empty() {
                " (it names nobody)".to_owned()
            } else {
                let presented: Vec<&str> = presented.iter().map(|name| plain(name)).collect();
                one_line(&format!(" ({})", presented.join(", ")))
            };
            let names = format!(" {}", names.trim_start());
            ClusterError::WrongName { server, names }
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ClusterError::ServerExpired { server, when: "has expired" }
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ClusterError::ServerExpired { server, when: "is not valid yet" }
        }
        CertificateError::UnknownIssuer => {
            ClusterError::Untrusted { server, cause: "another authority signed it".to_owned() }
        }
        other => ClusterError::Untrusted { server, cause: one_line(&other.to_string()) },
    }
}

/// `DnsName("kubernetes")`, as rustls tells a name, as people write it.
fn plain(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
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
