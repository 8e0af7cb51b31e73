//! Where an API server is: a host and a port, as `KUBERNETES_MASTER|SERVER` has them (SONIC.md 2.2).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use tokio_rustls::rustls::pki_types::ServerName;

use crate::forms::{FormError, is_dns_name};

const RULE: &str =
    "wanted is an IPv4 address, an IPv6 address or a host name; set it with: config kubernetes server ip";
const PORT_RULE: &str = "wanted is a number from 1 to 65535; set it with: config kubernetes server port";

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Host {
    Address(IpAddr),
    Name(String),
}

/// The address of an API server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    host: Host,
    port: u16,
}

impl ServerAddress {
    /// The port of an API server that says nothing else.
    pub const PORT: u16 = 6443;

    /// Takes a host (an IPv6 address with or without brackets) and a port.
    pub fn new(host: &str, port: u16) -> Result<Self, FormError> {
        let bad = || FormError::Open { what: "server address", text: host.to_owned(), rule: RULE };
        if port == 0 {
            return Err(FormError::Open { what: "server port", text: "0".to_owned(), rule: PORT_RULE });
        }
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(inner) => Host::Address(inner.parse::<Ipv6Addr>().map_err(|_| bad())?.into()),
            None => match host.parse::<IpAddr>() {
                Ok(address) => Host::Address(address),
                Err(_) => Host::Name(host_name(host).ok_or_else(bad)?),
            },
        };
        match host {
            Host::Address(address) if address.is_unspecified() || address.is_multicast() => Err(bad()),
            host => Ok(Self { host, port }),
        }
    }

    /// Takes the two fields of the row as they are.
    pub fn from_fields(ip: &str, port: &str) -> Result<Self, FormError> {
        let number = port.trim().parse().ok().filter(|number| *number != 0);
        let bad = || FormError::Open { what: "server port", text: port.to_owned(), rule: PORT_RULE };
        Self::new(ip.trim(), number.ok_or_else(bad)?)
    }

    /// Takes `https://host:port`, as kubeconfigs have it.
    pub fn from_url(url: &str) -> Result<Self, FormError> {
        let bad = || FormError::Open { what: "server address", text: url.to_owned(), rule: RULE };
        let rest = url.strip_prefix("https://").ok_or_else(bad)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // The colons of an IPv6 address are inside its brackets.
        match rest.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => Self::new(host, port.parse().map_err(|_| bad())?),
            None => Self::new(rest, 443),
        }
    }

    /// The host without brackets: what is resolved and connected to.
    pub fn host(&self) -> String {
        match &self.host {
            Host::Address(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The start of every request's address.
    pub fn url(&self) -> String {
        format!("https://{self}")
    }

    /// Whom the server's certificate must name.
    pub(crate) fn tls_name(&self) -> ServerName<'static> {
        match &self.host {
            Host::Address(address) => ServerName::IpAddress((*address).into()),
            // Each name taken by `host_name` is one; the other arm names nobody, so that no certificate fits.
            Host::Name(name) => ServerName::try_from(name.clone())
                .unwrap_or_else(|_| ServerName::IpAddress(IpAddr::from(Ipv6Addr::UNSPECIFIED).into())),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Host::Address(address) => write!(f, "{address}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// A host name in lower case. One whose last part is a number would be a mistyped IPv4 address.
fn host_name(text: &str) -> Option<String> {
    let name = text.to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_name = is_dns_name(&name) && !last.chars().all(|c| c.is_ascii_digit());
    (is_name && ServerName::try_from(name.as_str()).is_ok()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_taken_and_written_as_urls_have_them() {
        let cases = [
            ("10.0.0.5", "10.0.0.5:6443"),
            ("fd00::5", "[fd00::5]:6443"),
            ("[fd00::5]", "[fd00::5]:6443"),
            ("Kube.Example.com", "kube.example.com:6443"),
            ("kube", "kube:6443"),
        ];
        for (host, written) in cases {
            let server = ServerAddress::new(host, 6443).unwrap();
            assert_eq!(server.to_string(), written);
            assert_eq!(ServerAddress::from_url(&server.url()).unwrap(), server);
            let name = server.tls_name();
            assert_eq!(name.to_str(), server.host().as_str(), "a certificate must name the host");
        }
    }

    #[test]
    fn garbage_is_refused_with_the_command_that_sets_it() {
        let long = "x".repeat(300);
        for bad in [
            "",
            " ",
            "300.1.1.1",
            "10.0.0",
            "1234",
            "a b",
            "https://x",
            "x:6443",
            "a/b",
            "user@host",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "fe80::1%eth0",
            "[10.0.0.5]",
            "[fd00::5",
            "a_b",
            "-x",
            "x\ny",
            "{{ip}}",
            &long,
        ] {
            let error = ServerAddress::from_fields(bad, "6443").unwrap_err().to_string();
            assert!(error.contains("config kubernetes server ip"), "{bad:?}: {error}");
            assert!(!error.contains('\n') && error.len() < 400, "{error}");
        }
        for bad in ["", "0", "65536", "-1", "abc", "6443x"] {
            let error = ServerAddress::from_fields("10.0.0.5", bad).unwrap_err().to_string();
            assert!(error.contains("config kubernetes server port"), "{bad:?}: {error}");
        }
    }

    #[test]
    fn only_https_is_an_api_servers_url() {
        assert!(ServerAddress::from_url("http://10.0.0.5:6443").is_err());
        assert_eq!(ServerAddress::from_url("https://kube").unwrap().port(), 443);
        assert_eq!(ServerAddress::from_url("https://[fd00::5]").unwrap().port(), 443);
    }
}
