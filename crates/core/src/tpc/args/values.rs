//! The values of flags, each checked in the form that the engine takes.

mod storage;

use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::flags::Flag;
use super::{ArgsError, clip};
pub use storage::{Device, Mount, MountKind, Tmpfs};
pub(super) use storage::{absolute, device, mount, tmpfs, volume};

/// How a port is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say all")]
pub enum Transport {
    Tcp,
    Udp,
    Sctp,
}

/// A port of the container that the host passes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The address of the host; all of them if none is said.
    pub address: Option<IpAddr>,
    /// The port of the host; one that is free if none is said.
    pub host: Option<u16>,
    /// The port inside.
    pub container: u16,
    /// TCP unless said otherwise.
    pub transport: Transport,
}

/// A limit of each process inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// As `nofile`.
    pub name: String,
    /// What a process begins with; -1 is no limit.
    pub soft: i64,
    /// How far it may raise that itself.
    pub hard: i64,
}

pub(super) fn bad(flag: Flag, value: &str, rule: &'static str) -> ArgsError {
    ArgsError::BadValue { flag: flag.name(), value: clip(value), rule }
}

/// Text with nothing in it that a line or a terminal acts on.
pub(super) fn plain(flag: Flag, value: String) -> Result<String, ArgsError> {
    if value.is_empty() || value.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(bad(flag, &value, "wanted is one word"));
    }
    Ok(value)
}

pub(super) fn one_of(flag: Flag, value: String, modes: &[&str]) -> Result<String, ArgsError> {
    let fits = |mode: &&str| match mode.strip_suffix(':') {
        Some(_) => value.len() > mode.len() && value.starts_with(*mode),
        None => value == **mode,
    };
    if modes.iter().any(fits) {
        return plain(flag, value);
    }
    Err(bad(flag, &value, "wanted is one of the modes that `docker create --help` names, mostly host"))
}

pub(super) fn env(flag: Flag, value: String) -> Result<String, ArgsError> {
    match value.split_once('=') {
        Some((name, _)) if !name.is_empty() && !name.contains(char::is_whitespace) => Ok(value),
        // Docker would take it from whoever calls: another value at each call, none from CONFIG_DB or at boot.
        _ => Err(bad(flag, &value, "wanted is NAME=value")),
    }
}

pub(super) fn pair(flag: Flag, value: &str) -> Result<(String, String), ArgsError> {
    match value.split_once('=') {
        Some((name, text)) if !name.is_empty() && !name.contains(char::is_whitespace) => {
            Ok((name.to_owned(), text.to_owned()))
        }
        _ => Err(bad(flag, value, "wanted is name=value")),
    }
}

/// Labels by which others would take the container for something else.
const FOREIGN: [&str; 4] = ["io.kubernetes.", "com.azure.sonic.", "com.docker.compose.", "switchyard."];

pub(super) fn label(flag: Flag, value: &str) -> Result<(String, String), ArgsError> {
    let (name, text) = value.split_once('=').unwrap_or((value, ""));
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(bad(flag, value, "wanted is name=value"));
    }
    if FOREIGN.iter().any(|begin| name.starts_with(begin)) {
        return Err(bad(
            flag,
            value,
            "by such a label the container would be taken for one of SONiC's or Kubernetes'",
        ));
    }
    Ok((name.to_owned(), text.to_owned()))
}

pub(super) fn capability(flag: Flag, value: &str) -> Result<String, ArgsError> {
    let name = value.to_ascii_uppercase();
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
        return Err(bad(flag, value, "wanted is a capability such as NET_ADMIN"));
    }
    Ok(name)
}

pub(super) fn address(flag: Flag, value: &str) -> Result<String, ArgsError> {
    let found = value.parse::<IpAddr>().map_err(|_| bad(flag, value, "wanted is an address"))?;
    Ok(found.to_string())
}

pub(super) fn host_entry(flag: Flag, value: &str) -> Result<String, ArgsError> {
    const RULE: &str = "wanted is name:address";
    let (name, to) = value.split_once([':', '=']).ok_or_else(|| bad(flag, value, RULE))?;
    let to = to.strip_prefix('[').and_then(|to| to.strip_suffix(']')).unwrap_or(to);
    let to_is_known = to == "host-gateway" || to.parse::<IpAddr>().is_ok();
    if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace()) || !to_is_known {
        return Err(bad(flag, value, RULE));
    }
    Ok(format!("{name}:{to}"))
}

pub(super) fn hostname(flag: Flag, value: String) -> Result<String, ArgsError> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if value.is_empty() || value.len() > 63 || value.starts_with('-') || !value.chars().all(is_name) {
        return Err(bad(flag, &value, "wanted are at most 63 letters, digits, '-' and '.'"));
    }
    Ok(value)
}

pub(super) fn signal(flag: Flag, value: String) -> Result<String, ArgsError> {
    let number = value.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    let name = value.starts_with(|c: char| c.is_ascii_uppercase())
        && value.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '+' | '-'));
    if number || name {
        return Ok(value);
    }
    Err(bad(flag, &value, "wanted is a signal such as SIGTERM or 15"))
}

pub(super) fn seconds(flag: Flag, value: &str) -> Result<u32, ArgsError> {
    // Longer than systemd would wait for any unit.
    let number = value.parse().ok().filter(|number| *number <= 3600);
    number.ok_or_else(|| bad(flag, value, "wanted are seconds, at most 3600"))
}

/// Bytes with `b`, `k`, `m` or `g`, as Docker reads them.
pub(super) fn size(flag: Flag, value: &str) -> Result<u64, ArgsError> {
    let lower = value.to_ascii_lowercase();
    let text = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'k')) => (&text[..at], 10),
        Some((at, 'm')) => (&text[..at], 20),
        Some((at, 'g')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let number = digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|c| c.is_ascii_digit()));
    let bytes = number.and_then(|number| number.checked_mul(1 << shift)).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| bad(flag, value, "wanted is a size such as 64m"))
}

pub(super) fn ulimit(flag: Flag, value: &str) -> Result<Ulimit, ArgsError> {
    const RULE: &str = "wanted is name=soft:hard, -1 for no limit, such as nofile=1024:4096";
    let wrong = || bad(flag, value, RULE);
    let (name, limits) = value.split_once('=').ok_or_else(wrong)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= -1).ok_or_else(wrong);
    let (soft, hard) = (number(soft)?, number(hard)?);
    let is_above = hard != -1 && (soft == -1 || soft > hard);
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase()) || is_above {
        return Err(wrong());
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

pub(super) fn security(flag: Flag, value: String) -> Result<String, ArgsError> {
    let known = match value.split_once(['=', ':']) {
        Some(("seccomp", profile)) => profile == "unconfined",
        Some(("apparmor" | "label", rest)) => !rest.is_empty(),
        Some(("no-new-privileges", rest)) => matches!(rest, "true" | "false"),
        Some(_) => false,
        None => value == "no-new-privileges",
    };
    if known {
        return plain(flag, value);
    }
    Err(bad(
        flag,
        &value,
        "wanted is no-new-privileges, apparmor=…, label=… or seccomp=unconfined; no file is read",
    ))
}

/// `[[address:][host]:]container[/protocol]`, host and container as ranges of the same length.
pub(super) fn ports(flag: Flag, value: &str) -> Result<Vec<Port>, ArgsError> {
    const RULE: &str = "wanted is [[address:]port:]port[/tcp|udp|sctp]";
    let wrong = || bad(flag, value, RULE);
    let (rest, transport) = match value.split_once('/') {
        None | Some((_, "tcp")) => (value.split('/').next().unwrap_or(value), Transport::Tcp),
        Some((rest, "udp")) => (rest, Transport::Udp),
        Some((rest, "sctp")) => (rest, Transport::Sctp),
        Some(_) => return Err(wrong()),
    };
    let (before, inside) =
        rest.rsplit_once(':').map_or((None, rest), |(before, inside)| (Some(before), inside));
    let (address, outside) = match before {
        None => (None, None),
        Some(before) => match before.rsplit_once(':') {
            None => (None, Some(before)),
            Some((address, outside)) => {
                let bare =
                    address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
                (Some(bare.parse::<IpAddr>().map_err(|_| wrong())?), Some(outside))
            }
        },
    };
    let (first, last) = range(inside).ok_or_else(wrong)?;
    let host = match outside {
        None | Some("") => None,
        Some(outside) => {
            let (from, to) = range(outside).ok_or_else(wrong)?;
            if to - from != last - first {
                return Err(wrong());
            }
            Some(from)
        }
    };
    let port = |at: u16| Port { address, host: host.map(|from| from + at), container: first + at, transport };
    Ok((0..=last - first).map(port).collect())
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number =
        |text: &str| text.parse::<u16>().ok().filter(|number| *number != 0 && !text.starts_with('+'));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}
