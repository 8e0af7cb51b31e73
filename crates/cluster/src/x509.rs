//! What is read out of certificates, and the PEM form that files have.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

/// What a certificate says of its holder and of its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) common_name: String,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

/// The public key in the form that pins hash (SubjectPublicKeyInfo). None if it is no certificate.
pub(crate) fn public_key(der: &[u8]) -> Option<Vec<u8>> {
    Certificate::from_der(der).ok()?.tbs_certificate().subject_public_key_info().to_der().ok()
}

/// Reads a certificate. None if it is none.
pub(crate) fn facts(der: &[u8]) -> Option<Facts> {
    let certificate = Certificate::from_der(der).ok()?;
    let tbs = certificate.tbs_certificate();
    let validity = tbs.validity();
    Some(Facts {
        common_name: common_name(&tbs.subject().to_string()),
        not_before: validity.not_before.to_system_time(),
        not_after: validity.not_after.to_system_time(),
    })
}

/// Of `CN=system:node:a,O=system:nodes` the name; parts come in any order and are joined by `,` or `+`.
fn common_name(subject: &str) -> String {
    let name = subject.split([',', '+']).find_map(|part| part.trim().strip_prefix("CN="));
    name.unwrap_or_default().to_owned()
}

/// A time for people.
pub(crate) fn told(time: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(time);
    at.map_or_else(|_| "an unknown time".to_owned(), |at| at.to_string())
}

/// The PEM form, in lines as everybody writes them.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, further) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = further;
    }
    text + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn a_node_certificate_tells_its_node_and_its_end() {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        parameters.distinguished_name.push(DnType::CommonName, "system:node:switch1");
        parameters.not_before = date_time_ymd(2026, 1, 1);
        parameters.not_after = date_time_ymd(2027, 1, 1);
        let certificate = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let facts = facts(certificate.der()).unwrap();
        assert_eq!(facts.common_name, "system:node:switch1");
        let year = facts.not_after.duration_since(facts.not_before).unwrap();
        assert_eq!(year, Duration::from_hours(365 * 24));
    }

    #[test]
    fn junk_is_no_certificate() {
        assert_eq!(facts(b""), None);
        assert_eq!(public_key(&[0x30, 0x82, 0xff, 0xff]), None);
    }
}
