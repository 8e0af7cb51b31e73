//! The part of a URL that says where and as whom.

use core::net::{IpAddr, Ipv6Addr};
use std::fmt;

use super::{SourceError, shown};

const HOST_RULE: &str = "wanted is a host name or an address, in a URL an IPv6 address in brackets";
const PORT_RULE: &str = "its port is a number from 1 to 65535";

/// A server, by its name or its address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// To be looked up.
    Name(String),
    /// To be connected to.
    Address(IpAddr),
}

impl Host {
    /// Takes a name or an address; one of IPv6 with or without brackets.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let bad = || SourceError::Server { text: shown(text), rule: HOST_RULE };
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or_else(bad)?;
            return inner.parse::<Ipv6Addr>().map(|address| Self::Address(address.into())).map_err(|_| bad());
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address));
        }
        let name = text.to_ascii_lowercase();
        let is_label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // One whose last part is a number would be a mistyped IPv4 address.
        let last_is_number =
            name.rsplit('.').next().is_some_and(|last| last.bytes().all(|c| c.is_ascii_digit()));
        if name.len() > 253 || last_is_number || !name.split('.').all(is_label) {
            return Err(bad());
        }
        Ok(Self::Name(name))
    }

    /// The name or the address without brackets.
    pub fn bare(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Address(address) => address.to_string(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// `user@host:port`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Authority {
    pub(super) user: Option<String>,
    pub(super) host: Host,
    pub(super) port: Option<u16>,
}

impl Authority {
    pub(super) fn parse(text: &str) -> Result<Self, SourceError> {
        let (user, place) = match text.rsplit_once('@') {
            // Neither error may repeat what could be a password.
            Some((user, _)) if user.contains(':') => return Err(SourceError::Password),
            Some((user, place)) => (Some(check_user(&decode(user)?)?), place),
            None => (None, text),
        };
        let (host, port) = match place.rsplit_once(':') {
            // The colons of an IPv6 address are inside its brackets.
            Some((host, port)) if !port.ends_with(']') => {
                let number = port.parse::<u16>().ok().filter(|number| *number != 0);
                let number = number.filter(|_| port.bytes().all(|c| c.is_ascii_digit()));
                let bad = || SourceError::Server { text: shown(place), rule: PORT_RULE };
                (host, Some(number.ok_or_else(bad)?))
            }
            _ => (place, None),
        };
        if host.contains(':') && !host.starts_with('[') {
            return Err(SourceError::Server { text: shown(place), rule: HOST_RULE });
        }
        Ok(Self { user, host: Host::parse(host)?, port })
    }
}

pub(super) fn check_user(text: &str) -> Result<String, SourceError> {
    let is_bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | ':');
    if text.is_empty() || text.chars().count() > 128 || text.starts_with('-') || text.contains(is_bad) {
        return Err(SourceError::User(shown(text)));
    }
    Ok(text.to_owned())
}

/// Resolves `%20` and the like.
pub(super) fn decode(text: &str) -> Result<String, SourceError> {
    let bad = || SourceError::Escape(shown(text));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|c| char::from(c).to_digit(16)).ok_or_else(bad);
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).map_err(|_| bad())?);
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

/// Writes what a URL cannot have as `%20` and the like.
pub(super) fn encode(text: &str) -> String {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"-._~/+,=".contains(&c);
    let written = text.bytes().map(|byte| match byte {
        byte if is_plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    written.collect()
}
